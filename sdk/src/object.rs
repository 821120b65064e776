use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::time::SystemTime;

use crate::{Attributes, Bucket, Error};

/// What is known of one version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) content_type: Option<String>,
    pub(crate) modified: SystemTime,
    pub(crate) metadata: Attributes,
}

impl ObjectInfo {
    /// The full key, `/` between its parts, never starting with one.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// In bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Names this version: it changes with every write. Opaque: compare it, nothing else.
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// As written with the object, or guessed from the key's extension. In a [list](Bucket::list) it is
    /// the guess.
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// When this version was written, to the millisecond.
    pub fn modified(&self) -> SystemTime {
        self.modified
    }

    /// As written with the object; empty where nothing was, and in a [list](Bucket::list).
    pub fn metadata(&self) -> &Attributes {
        &self.metadata
    }
}

/// One version of an object: what is read through it is that version, or [`Error::Changed`].
///
/// An event has one ([`ObjectCreated::object`](crate::ObjectCreated::object)), and
/// [`Bucket::object`] gives the newest one of a key.
///
/// ```
/// use kinglet_sdk::{Failure, ObjectCreated};
/// use std::io::{BufRead, Seek, SeekFrom};
///
/// fn header(event: ObjectCreated) -> Result<(), Failure> {
///     let object = event.object();
///     let magic = object.read_range(0, 4)?;
///     let mut reader = object.reader()?;
///     reader.seek(SeekFrom::Start(4))?;
///     let first = reader.lines().next().ok_or("no lines")??;
///     kinglet_sdk::info!("{magic:?} {first}");
///     Ok(())
/// }
///
/// let host = kinglet_sdk::testing::Host::new();
/// host.bucket("in").put("a.bin", "ABCDfirst\nsecond");
/// assert_eq!(host.run(header, host.object_created("in", "a.bin")), Ok(()));
/// assert_eq!(host.logs()[0].message, "[65, 66, 67, 68] first");
/// ```
///
/// Every read may also fail with [`Error::Denied`] where reading the bucket isn't granted, and with
/// [`Error::NotFound`] where the object was removed since.
#[derive(Clone, Debug)]
pub struct Object {
    bucket: String,
    info: ObjectInfo,
}

impl Object {
    pub(crate) fn new(bucket: String, info: ObjectInfo) -> Self {
        Self { bucket, info }
    }

    /// Size, etag, content type and metadata.
    pub fn info(&self) -> &ObjectInfo {
        &self.info
    }

    /// The object's full key.
    pub fn key(&self) -> &str {
        &self.info.key
    }

    /// The whole object.
    ///
    /// # Errors
    /// [`Error::Limit`] where it doesn't fit the function's memory.
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        Bucket::open(&self.bucket)?.read_version(&self.info.key, &self.info.etag)
    }

    /// `length` bytes from `offset`; fewer only where the object ends, none past its end.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_range(&self, offset: u64, length: u32) -> Result<Vec<u8>, Error> {
        Bucket::open(&self.bucket)?.read_pinned(&self.info, offset, length)
    }

    /// A reader for an object that is larger than the function's memory, or of which only a part is
    /// needed. It asks for 64 KiB at a time. Its errors are [`io::Error`]s with an [`Error`] inside.
    ///
    /// # Errors
    /// [`Error::Denied`] where the bucket isn't granted.
    pub fn reader(&self) -> Result<Reader, Error> {
        Ok(Reader {
            bucket: Bucket::open(&self.bucket)?,
            info: self.info.clone(),
            position: 0,
            buffer: Vec::new(),
            consumed: 0,
        })
    }
}

/// Reads one version of an object by ranges: see [`Object::reader`].
#[derive(Debug)]
pub struct Reader {
    bucket: Bucket,
    info: ObjectInfo,
    /// Where the next byte comes from; the buffer's rest begins there.
    position: u64,
    buffer: Vec<u8>,
    consumed: usize,
}

/// What a reader asks for at a time, and what a writer gathers.
pub(crate) const CHUNK: u32 = 64 * 1024;

impl BufRead for Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.consumed >= self.buffer.len() && self.position < self.info.size {
            self.buffer = self.bucket.read_pinned(&self.info, self.position, CHUNK)?;
            self.consumed = 0;
        }
        Ok(self.buffer.get(self.consumed..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        let amount = amount.min(self.buffer.len().saturating_sub(self.consumed));
        self.consumed += amount;
        self.position += amount as u64;
    }
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let count = available.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.info.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let target = target.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "seek to before the object's first byte",
            )
        })?;
        let start = self.position - self.consumed as u64;
        match target.checked_sub(start).map(usize::try_from) {
            Some(Ok(within)) if within <= self.buffer.len() => self.consumed = within,
            _ => {
                self.buffer.clear();
                self.consumed = 0;
            }
        }
        self.position = target;
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Host;

    #[test]
    fn a_reader_reads_seeks_and_ends() {
        let host = Host::new();
        let body: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        host.bucket("b").put("large", &body);
        let mut reader = Bucket::open("b")
            .unwrap()
            .object("large")
            .unwrap()
            .reader()
            .unwrap();
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(all, body);

        let mut two = [0; 2];
        for offset in [0_u64, 1, 65_535, 65_536, 131_071, 3, 199_998] {
            assert_eq!(reader.seek(SeekFrom::Start(offset)).unwrap(), offset);
            reader.read_exact(&mut two).unwrap();
            assert_eq!(two, body[offset as usize..][..2], "at {offset}");
        }
        assert_eq!(reader.seek(SeekFrom::End(-1)).unwrap(), 199_999);
        assert_eq!(reader.seek(SeekFrom::Current(-9)).unwrap(), 199_990);
        assert_eq!(reader.seek(SeekFrom::End(5)).unwrap(), 200_005);
        assert_eq!(reader.read(&mut two).unwrap(), 0);
        assert!(reader.seek(SeekFrom::Current(-300_000)).is_err());
    }

    #[test]
    fn a_reader_stays_with_its_version() {
        let host = Host::new();
        host.bucket("b").put("k", "one");
        let mut reader = Bucket::open("b")
            .unwrap()
            .object("k")
            .unwrap()
            .reader()
            .unwrap();
        host.bucket("b").put("k", "two");
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
        let inner = error.get_ref().unwrap().downcast_ref::<Error>();
        assert!(matches!(inner, Some(Error::Changed(_))), "{error}");
    }
}
