use std::io::{self, Write};

use crate::object::CHUNK;
use crate::{Error, backend};

/// An object written piece by piece, through [`std::io::Write`]. Dropped without
/// [`finish`](Self::finish), it leaves nothing.
///
/// ```
/// use kinglet_sdk::{Bucket, Failure, Message};
/// use std::io::Write;
///
/// fn table(event: Message) -> Result<(), Failure> {
///     let mut writer = Bucket::open("tables")?.write("squares.csv").create()?;
///     for n in 0..3 {
///         writeln!(writer, "{n},{}", n * n)?;
///     }
///     writer.finish()?;
///     Ok(())
/// }
///
/// let host = kinglet_sdk::testing::Host::new();
/// host.bucket("tables");
/// assert_eq!(host.run(table, host.message("ticks", "")), Ok(()));
/// assert_eq!(host.bucket("tables").get("squares.csv").unwrap(), b"0,0\n1,1\n2,4\n");
/// ```
///
/// It hands on 64 KiB at a time, so that small writes cost little. Its errors are [`io::Error`]s with
/// an [`Error`] inside.
#[derive(Debug)]
#[must_use = "dropped without `finish`, it leaves no object"]
pub struct Writer {
    handle: backend::Writer,
    buffer: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(handle: backend::Writer) -> Self {
        Self {
            handle,
            buffer: Vec::new(),
        }
    }

    /// Stages what was written, as one object. The write's condition isn't checked here:
    /// [`create`](crate::Write::create) did, and the commit does again.
    ///
    /// # Errors
    /// [`Error::Limit`] where staging is full; [`Error::Invalid`] where the store can't hold the content
    /// type or the metadata.
    pub fn finish(mut self) -> Result<(), Error> {
        self.hand_on()?;
        self.handle.finish()
    }

    fn hand_on(&mut self) -> Result<(), Error> {
        if !self.buffer.is_empty() {
            self.handle.append(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() >= CHUNK as usize {
            self.hand_on()?;
        }
        // A large piece goes on as it is; a small one is gathered.
        if bytes.len() >= CHUNK as usize {
            self.handle.append(bytes)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.hand_on()?)
    }
}
