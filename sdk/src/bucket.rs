use std::collections::VecDeque;

use crate::{Attributes, Error, Object, ObjectInfo, Writer, backend};

/// A bucket that this function was granted.
///
/// Writes and removals are staged: this handler reads them at once, everybody else once the handler
/// has succeeded. Keys are UTF-8, at most 1,024 bytes, their parts separated by `/`; no part is empty,
/// longer than 255 bytes, `.` or `..` or begins with a dot, and there are no control characters.
///
/// ```
/// use kinglet_sdk::{Bucket, Failure, Message};
///
/// fn store(event: Message) -> Result<(), Failure> {
///     let notes = Bucket::open("notes")?;
///     notes.put("newest.txt", event.body(), "text/plain")?;
///     let day = notes.write("2026/day.txt").metadata("from", event.topic()).if_absent();
///     day.put(event.body())?;
///     for info in notes.list("2026/") {
///         kinglet_sdk::debug!("{}", info?.key());
///     }
///     Ok(())
/// }
///
/// let host = kinglet_sdk::testing::Host::new();
/// host.bucket("notes");
/// assert_eq!(host.run(store, host.message("lines", "hello")), Ok(()));
/// assert_eq!(host.bucket("notes").get("newest.txt").unwrap(), b"hello");
/// ```
///
/// Beside what each method says, every call may fail with [`Error::Denied`] where the grants don't
/// cover it, [`Error::Invalid`] for a key that breaks these rules, [`Error::Limit`] and
/// [`Error::Unavailable`].
#[derive(Debug)]
pub struct Bucket {
    name: String,
    handle: backend::Bucket,
}

impl Bucket {
    /// Opens a bucket by the name that the manifest gives it.
    ///
    /// # Errors
    /// [`Error::Denied`] where neither reading nor writing it is granted.
    pub fn open(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        let handle = backend::Bucket::open(&name)?;
        Ok(Self { name, handle })
    }

    /// The name by which it was opened.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is known of an object, without reading it.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none, or this handler removed it.
    pub fn head(&self, key: impl AsRef<str>) -> Result<ObjectInfo, Error> {
        self.handle.head(key.as_ref())
    }

    /// A handle on the newest version of an object, pinned to it, to be read whole or in parts.
    ///
    /// # Errors
    /// As [`head`](Self::head).
    pub fn object(&self, key: impl AsRef<str>) -> Result<Object, Error> {
        Ok(Object::new(self.name.clone(), self.head(key)?))
    }

    /// The newest version of an object, whole.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none; [`Error::Limit`] where it doesn't fit the function's
    /// memory.
    pub fn read(&self, key: impl AsRef<str>) -> Result<Vec<u8>, Error> {
        self.handle.read(key.as_ref(), None)
    }

    /// The version of an object that has this etag, whole.
    ///
    /// # Errors
    /// [`Error::Changed`] where the object is another version; otherwise as [`read`](Self::read).
    pub fn read_version(
        &self,
        key: impl AsRef<str>,
        etag: impl AsRef<str>,
    ) -> Result<Vec<u8>, Error> {
        self.handle.read(key.as_ref(), Some(etag.as_ref()))
    }

    /// `length` bytes of an object's newest version, from `offset`; fewer only where the object ends,
    /// none past its end. Two calls may see two versions: [`object`](Self::object) pins one.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_range(
        &self,
        key: impl AsRef<str>,
        offset: u64,
        length: u32,
    ) -> Result<Vec<u8>, Error> {
        self.handle.read_range(key.as_ref(), None, offset, length)
    }

    pub(crate) fn read_pinned(
        &self,
        info: &ObjectInfo,
        offset: u64,
        length: u32,
    ) -> Result<Vec<u8>, Error> {
        self.handle
            .read_range(info.key(), Some(info.etag()), offset, length)
    }

    /// Stages a whole object. The last write of a key wins, removals included.
    ///
    /// # Errors
    /// [`Error::Limit`] where staging is full.
    pub fn put(
        &self,
        key: impl Into<String>,
        body: impl AsRef<[u8]>,
        content_type: impl Into<String>,
    ) -> Result<(), Error> {
        self.write(key).content_type(content_type).put(body)
    }

    /// Begins an object with a content type, metadata or a condition. [`Write::put`] ends it with the
    /// whole body, [`Write::create`] with a [`Writer`] that takes it piece by piece.
    pub fn write(&self, key: impl Into<String>) -> Write<'_> {
        Write {
            bucket: self,
            key: key.into(),
            options: WriteOptions::default(),
        }
    }

    /// Stages a removal. A key without an object is a success.
    ///
    /// # Errors
    /// The common ones.
    pub fn remove(&self, key: impl AsRef<str>) -> Result<(), Error> {
        self.handle.remove(key.as_ref())
    }

    /// The objects whose keys start with `prefix`, in the byte order of their keys, with what this
    /// handler staged. They are asked for page by page, 1,000 at a time.
    ///
    /// In a page the content type is the guess and the metadata is empty, whatever was written: ask
    /// [`head`](Self::head) for both. Only what this handler staged has them as it wrote them.
    ///
    /// It gives [`Error::Denied`] where reading all that starts with `prefix` isn't granted.
    pub fn list(&self, prefix: impl Into<String>) -> List<'_> {
        List {
            bucket: self,
            prefix: prefix.into(),
            after: None,
            page: VecDeque::new(),
            ended: false,
        }
    }
}

/// An object about to be written: see [`Bucket::write`].
#[derive(Debug)]
#[must_use = "nothing is written before `put` or `create`"]
pub struct Write<'a> {
    bucket: &'a Bucket,
    key: String,
    options: WriteOptions,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct WriteOptions {
    pub content_type: Option<String>,
    pub metadata: Attributes,
    pub condition: Condition,
}

#[derive(Clone, Debug, Default)]
pub(crate) enum Condition {
    #[default]
    None,
    Absent,
    Matches(String),
}

impl Write<'_> {
    /// The body's media type. Without one it is guessed from the key's extension.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.options.content_type = Some(content_type.into());
        self
    }

    /// Adds to the object's metadata; a name given twice keeps the last value.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.metadata.set(name.into(), value.into());
        self
    }

    /// Writes only where there is no object of this key. It replaces any other condition.
    ///
    /// Conditions are checked by [`put`](Self::put) and [`create`](Self::create), as [`Error::Changed`],
    /// and again at the commit, where a failure has the event tried again.
    pub fn if_absent(mut self) -> Self {
        self.options.condition = Condition::Absent;
        self
    }

    /// Writes only where the object's etag is this one. It replaces any other condition, and is checked
    /// as that of [`if_absent`](Self::if_absent) is.
    pub fn if_matches(mut self, etag: impl Into<String>) -> Self {
        self.options.condition = Condition::Matches(etag.into());
        self
    }

    /// Stages the whole object.
    ///
    /// # Errors
    /// [`Error::Changed`] where the condition fails; [`Error::Limit`] where staging is full.
    pub fn put(self, body: impl AsRef<[u8]>) -> Result<(), Error> {
        self.bucket
            .handle
            .write(&self.key, body.as_ref(), self.options)
    }

    /// Begins to write the object piece by piece.
    ///
    /// # Errors
    /// [`Error::Changed`] where the condition fails; [`Error::Limit`] where staging is full or 64 writers
    /// are open.
    pub fn create(self) -> Result<Writer, Error> {
        Ok(Writer::new(
            self.bucket.handle.create(&self.key, self.options)?,
        ))
    }
}

/// The objects of a bucket: see [`Bucket::list`]. After an error it ends.
#[derive(Debug)]
pub struct List<'a> {
    bucket: &'a Bucket,
    prefix: String,
    after: Option<String>,
    page: VecDeque<ObjectInfo>,
    ended: bool,
}

/// As many as the contract has in a full page.
const PAGE: usize = 1000;

impl List<'_> {
    /// Begins past this key instead of at the first one.
    pub fn after(mut self, key: impl Into<String>) -> Self {
        self.after = Some(key.into());
        self
    }
}

impl Iterator for List<'_> {
    type Item = Result<ObjectInfo, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty() && !self.ended {
            match self
                .bucket
                .handle
                .list_page(&self.prefix, self.after.as_deref())
            {
                Ok(page) => {
                    self.ended = page.len() < PAGE;
                    self.after = page.last().map(|info| info.key().to_owned());
                    self.page = page.into();
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        self.page.pop_front().map(Ok)
    }
}
