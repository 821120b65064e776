//! A folder as a bucket: a file is an object, its path below the folder the key.
//!
//! Every access goes through a directory handle that no path or link leads out of. A written object
//! is staged as a hidden file in the same file system, synced, and gets its name by a rename, so that
//! a reader sees the whole old object or the whole new one. A content type that the key's extension
//! doesn't tell, and metadata, travel with the file as extended attributes.

use std::collections::{BTreeSet, HashSet};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, Metadata, MetadataExt, OpenOptions, OpenOptionsExt};

use super::walk::{Query, walk};
use crate::clock::{Clock, millis};
use crate::ports::{
    Bucket, Condition, Discard, IntendedChange, Listing, ObjectDraft, ObjectError, ObjectInfo,
    StagedObject, StagedWriter, validate_key,
};
use crate::stores::folders;

/// Hidden, so that it is never listed; inside the bucket, so that a rename stays in one file system.
const STAGING: &str = ".kinglet-staging";
/// No token of a staged object, which are ids.
const MARK: &str = "bucket";
/// The freedesktop name for a file's media type.
const CONTENT_TYPE_ATTRIBUTE: &str = "user.mime_type";
const METADATA_ATTRIBUTE: &str = "user.kinglet.metadata";

/// The mark that a folder is an owner's bucket, in its folder for what is staged.
fn mark(owner: &str) -> String {
    format!("{STAGING}/{owner}/{MARK}")
}

/// A bucket in a folder.
#[derive(Clone, Debug)]
pub struct FolderBucket {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    /// As it was given; links in it may lead elsewhere later.
    given: PathBuf,
    /// With links resolved.
    path: PathBuf,
    owner: String,
    place: RwLock<Arc<Place>>,
    clock: Clock,
}

/// The folder, opened. Another takes its place where the folder is put back from a copy.
#[derive(Debug)]
struct Place {
    dir: Dir,
    staging: Dir,
    /// Device and inode of the folder.
    id: (u64, u64),
}

impl FolderBucket {
    /// Opens the folder at `path`, making it where it is missing. What it stages is kept apart under
    /// `owner`, since several applications may have the same folder as a bucket.
    ///
    /// # Errors
    /// Where the folder can't be made, read or written.
    pub fn open(name: &str, path: &Path, owner: &str, clock: Clock) -> Result<Self, ObjectError> {
        let failed = |doing: &str, error: io::Error| ObjectError::Unavailable {
            bucket: name.to_owned(),
            reason: format!("can't {doing} {}: {error}", path.display()),
        };
        folders::make(path).map_err(|e| failed("make folder", e))?;
        let place = Place::open(path, owner).map_err(|e| failed("use folder", e))?;
        let resolved = path
            .canonicalize()
            .map_err(|e| failed("resolve folder", e))?;
        Ok(Self {
            inner: Arc::new(Inner {
                name: name.to_owned(),
                given: path.to_owned(),
                path: resolved,
                owner: owner.to_owned(),
                place: RwLock::new(Arc::new(place)),
                clock,
            }),
        })
    }

    /// Whether the folder at `path` bears the mark of `owner`'s bucket.
    pub fn is_marked(path: &Path, owner: &str) -> bool {
        path.join(mark(owner)).exists()
    }

    /// Marks the folder as this owner's bucket: an empty one in its place, as where a disk isn't mounted,
    /// isn't taken for it.
    ///
    /// # Errors
    /// Where the folder can't be written.
    pub fn mark(&self) -> Result<(), ObjectError> {
        let inner = &*self.inner;
        let marked = inner.current().mark(&inner.owner);
        marked.map_err(|e| inner.failed("mark folder", ".", &e))
    }

    /// The folder, with links resolved.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Runs file work off the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, ObjectError> + Send + 'static,
    ) -> Result<T, ObjectError> {
        let inner = Arc::clone(&self.inner);
        let name = inner.name.clone();
        tokio::task::spawn_blocking(move || work(&inner))
            .await
            .unwrap_or_else(|error| {
                Err(ObjectError::Unavailable {
                    bucket: name,
                    reason: error.to_string(),
                })
            })
    }
}

#[async_trait]
impl Bucket for FolderBucket {
    fn name(&self) -> &str {
        &self.inner.name
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo, ObjectError> {
        let key = key.to_owned();
        self.blocking(move |bucket| {
            let file = bucket.open(&key)?;
            bucket.describe(&key, &file)
        })
        .await
    }

    async fn read(
        &self,
        key: &str,
        etag: Option<&str>,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, ObjectError> {
        let (key, etag) = (key.to_owned(), etag.map(str::to_owned));
        self.blocking(move |bucket| bucket.read(&key, etag.as_deref(), offset, length))
            .await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listing, ObjectError> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.blocking(move |bucket| {
            let query = Query {
                prefix: &prefix,
                after: after.as_deref(),
                limit,
            };
            let place = bucket.place()?;
            let found = walk(&place.dir, &query).map_err(|e| bucket.failed("list", &prefix, &e))?;
            let mut listing = Listing {
                objects: Vec::new(),
                problems: found.problems,
            };
            for (key, metadata) in found.files {
                // The attributes of every file would cost an open each; a page tells what names and
                // metadata tell, and `head` the rest.
                listing.objects.push(plain_info(key, &metadata));
            }
            Ok(listing)
        })
        .await
    }

    async fn stage(&self, draft: ObjectDraft) -> Result<Box<dyn StagedWriter>, ObjectError> {
        validate_key(&draft.key).map_err(ObjectError::Invalid)?;
        let bucket = self.clone();
        self.blocking(move |inner| {
            let token = inner.clock.new_id();
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            let mut place = inner.place()?;
            let opened = match place.staging.open_with(&token, &options) {
                // Somebody removed the folder of what is staged.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    place = inner.renew().map_err(|e| inner.failed("stage", &draft.key, &e))?;
                    place.staging.open_with(&token, &options)
                }
                opened => opened,
            };
            let file = opened.map_err(|e| inner.failed("stage", &draft.key, &e))?;
            let undo = (Arc::clone(&bucket.inner), Arc::clone(&place), token.clone());
            let discard = Discard::new(move || {
                let (inner, place, token) = undo;
                if let Err(error) = place.staging.remove_file(&token)
                    && error.kind() != io::ErrorKind::NotFound
                {
                    tracing::warn!(bucket = inner.name, token, %error, "a staged object stays behind");
                }
            });
            let writer = Writer { bucket, place, draft, token, file, broken: None, discard };
            Ok(Box::new(writer) as Box<dyn StagedWriter>)
        })
        .await
    }

    async fn read_staged(
        &self,
        token: &str,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, ObjectError> {
        let token = token.to_owned();
        self.blocking(move |bucket| {
            let mut file = bucket
                .place()?
                .staging
                .open(&token)
                .map_err(|e| bucket.failed("read staged object", &token, &e))?;
            read_range(&mut file, offset, length).map_err(|e| bucket.failed("read", &token, &e))
        })
        .await
    }

    async fn prepare(&self, change: &IntendedChange) -> Result<(), ObjectError> {
        let change = change.clone();
        self.blocking(move |bucket| match &change {
            IntendedChange::Remove { .. } => Ok(()),
            IntendedChange::Write {
                token,
                key,
                condition,
            } => bucket.prepare_write(token, key, condition),
        })
        .await
    }

    async fn apply(&self, changes: &[IntendedChange]) -> Result<(), ObjectError> {
        let changes = changes.to_vec();
        self.blocking(move |bucket| bucket.apply(&changes)).await
    }

    async fn sweep(&self, keep: &HashSet<String>) -> Result<(), ObjectError> {
        let keep = keep.clone();
        self.blocking(move |bucket| {
            let failed = |e: io::Error| bucket.failed("sweep", STAGING, &e);
            let place = bucket.place()?;
            for entry in place.staging.entries().map_err(failed)? {
                let name = entry.map_err(failed)?.file_name();
                if name != MARK && !name.to_str().is_some_and(|token| keep.contains(token)) {
                    place.staging.remove_file(&name).map_err(failed)?;
                }
            }
            Ok(())
        })
        .await
    }

    async fn check(&self) -> Result<(), ObjectError> {
        self.blocking(|bucket| {
            bucket.place()?;
            // Of the same folder somebody may have removed what makes it the bucket at the next start.
            if !FolderBucket::is_marked(&bucket.path, &bucket.owner) {
                let renewed = bucket.renew();
                renewed.map_err(|e| bucket.failed("mark folder", ".", &e))?;
            }
            Ok(())
        })
        .await
    }
}

impl Place {
    fn open(path: &Path, owner: &str) -> io::Result<Self> {
        let dir = Dir::open_ambient_dir(path, ambient_authority())?;
        let folder = format!("{STAGING}/{owner}");
        dir.create_dir_all(&folder)?;
        // A decided intent relies on its staged files, so on these names.
        for above in [STAGING, "."] {
            dir.open(above)?.sync_all()?;
        }
        let staging = dir.open_dir(&folder)?;
        let found = dir.dir_metadata()?;
        let id = (found.dev(), found.ino());
        Ok(Self { dir, staging, id })
    }

    fn mark(&self, owner: &str) -> io::Result<()> {
        self.dir.create(mark(owner))?;
        self.dir.open(format!("{STAGING}/{owner}"))?.sync_all()
    }

    fn is_at(&self, path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == self.id)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Tidy where nothing is staged; what is stays for who owns it.
        let place = self.current();
        let staging = format!("{STAGING}/{}", self.owner);
        if place.dir.remove_dir(staging).is_ok() {
            let _ = place.dir.remove_dir(STAGING);
        }
    }
}

impl Inner {
    fn current(&self) -> Arc<Place> {
        Arc::clone(&self.place.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the folder, opened, where it is the one at the bucket's path. A folder that was removed
    /// lists as empty through its old handle for ever, and nobody would see what is written to it.
    fn place(&self) -> Result<Arc<Place>, ObjectError> {
        let place = self.current();
        if place.is_at(&self.given) {
            return Ok(place);
        }
        self.find()
    }

    /// Takes the folder that is at the bucket's path now, where it bears the bucket's mark: it was put
    /// back from a copy, or somebody made the mark on purpose.
    fn find(&self) -> Result<Arc<Place>, ObjectError> {
        let mut current = self.place.write().unwrap_or_else(PoisonError::into_inner);
        if current.is_at(&self.given) {
            return Ok(Arc::clone(&current));
        }
        let problem = match self.given.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => "was removed",
            Err(error) => {
                return Err(self.failed("look at", &self.given.display().to_string(), &error));
            }
            Ok(found) if found != self.path => {
                return Err(ObjectError::Unavailable {
                    bucket: self.name.clone(),
                    reason: format!(
                        "{} leads to {}, and led to {} when the host started; start the host again",
                        self.given.display(),
                        found.display(),
                        self.path.display()
                    ),
                });
            }
            Ok(_) if FolderBucket::is_marked(&self.path, &self.owner) => {
                let opened = Place::open(&self.path, &self.owner);
                let opened = opened.map_err(|e| self.failed("open folder", ".", &e))?;
                *current = Arc::new(opened);
                return Ok(Arc::clone(&current));
            }
            Ok(_) => "is another folder, without the bucket's mark",
        };
        let staging = self.path.join(STAGING).join(&self.owner);
        let mark = staging.join(MARK);
        Err(ObjectError::Unavailable {
            bucket: self.name.clone(),
            reason: format!(
                "{} {problem}. Put the folder back or mount its disk, and the host continues with it. To \
                 have the bucket as the folder is now, make the mark, and objects that aren't there count as \
                 deleted: mkdir -p {} && touch {}",
                self.path.display(),
                quoted(&staging),
                quoted(&mark)
            ),
        })
    }

    /// Makes the folder of what is staged, and the mark, in the same folder of the bucket again.
    fn renew(&self) -> io::Result<Arc<Place>> {
        let mut current = self.place.write().unwrap_or_else(PoisonError::into_inner);
        let opened = Place::open(&self.path, &self.owner)?;
        if opened.id != current.id {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        opened.mark(&self.owner)?;
        *current = Arc::new(opened);
        Ok(Arc::clone(&current))
    }

    /// Opens an object. Never waits, whatever lies at the key: a pipe without a writer would.
    fn open(&self, key: &str) -> Result<File, ObjectError> {
        validate_key(key).map_err(ObjectError::Invalid)?;
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(nonblock());
        let place = self.place()?;
        let file = match place.dir.open_with(key, &options) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Err(self.not_found(key)),
            // Its folders are no hindrance, so it is this one alone: no permission, a socket, links in a circle.
            Err(error) if place.dir.symlink_metadata(key).is_ok() && is_of_one(&error) => {
                return Err(self.unreadable(key, error));
            }
            Err(error) => return Err(self.failed("open", key, &error)),
        };
        match file.metadata() {
            Ok(metadata) if metadata.is_file() => Ok(file),
            Ok(_) => Err(self.not_found(key)),
            Err(error) => Err(self.failed("look at", key, &error)),
        }
    }

    fn describe(&self, key: &str, file: &File) -> Result<ObjectInfo, ObjectError> {
        let metadata = file
            .metadata()
            .map_err(|e| self.failed("look at", key, &e))?;
        let mut info = plain_info(key.to_owned(), &metadata);
        if let Some(content_type) = attribute(file, CONTENT_TYPE_ATTRIBUTE) {
            info.content_type = Some(content_type);
        }
        if let Some(stored) = attribute(file, METADATA_ATTRIBUTE) {
            info.metadata =
                serde_json::from_str(&stored).map_err(|error| self.unreadable(key, error))?;
        }
        Ok(info)
    }

    fn read(
        &self,
        key: &str,
        etag: Option<&str>,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, ObjectError> {
        let changed = || ObjectError::Changed {
            bucket: self.name.clone(),
            key: key.to_owned(),
        };
        let mut file = self.open(key)?;
        let version = |file: &File| {
            file.metadata()
                .map(|m| etag_of(&m))
                .map_err(|e| self.failed("look at", key, &e))
        };
        if let Some(wanted) = etag
            && version(&file)? != wanted
        {
            return Err(changed());
        }
        let body =
            read_range(&mut file, offset, length).map_err(|error| self.unreadable(key, error))?;
        // A writer may have changed the file in place meanwhile: then these bytes are of no version.
        if let Some(wanted) = etag
            && version(&file)? != wanted
        {
            return Err(changed());
        }
        Ok(body)
    }

    fn prepare_write(
        &self,
        token: &str,
        key: &str,
        condition: &Condition,
    ) -> Result<(), ObjectError> {
        let place = self.place()?;
        // A change whose staged file is missing counts as applied, so it must be there before the decision.
        if let Err(error) = place.staging.symlink_metadata(token) {
            return Err(self.failed("find what was staged for", key, &error));
        }
        let current = match self.open(key) {
            Ok(file) => Some(self.describe(key, &file)?.etag),
            Err(ObjectError::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        if !condition.holds(current.as_deref()) {
            return Err(ObjectError::Changed {
                bucket: self.name.clone(),
                key: key.to_owned(),
            });
        }
        if current.is_none()
            && place
                .dir
                .symlink_metadata(key)
                .is_ok_and(|found| found.is_dir())
        {
            return Err(ObjectError::Invalid(format!(
                "key {key:?} is a folder of other objects in bucket {:?}; choose another key",
                self.name
            )));
        }
        self.make_parents(&place, key)
    }

    /// Makes the folder of a key, and has it on disk.
    fn make_parents(&self, place: &Place, key: &str) -> Result<(), ObjectError> {
        let Some((parents, _)) = key.rsplit_once('/') else {
            return Ok(());
        };
        if place.dir.is_dir(parents) {
            return Ok(());
        }
        place.dir.create_dir_all(parents).map_err(|error| {
            use io::ErrorKind::{AlreadyExists, NotADirectory};
            match error.kind() {
                AlreadyExists | NotADirectory => ObjectError::Invalid(format!(
                    "key {key:?} is below another object of bucket {:?}, which is a file and no \
                     folder; choose another key",
                    self.name
                )),
                _ => self.failed("make the folder of", key, &error),
            }
        })?;
        let mut synced = parents;
        loop {
            self.sync_dir(place, synced)?;
            match synced.rsplit_once('/') {
                Some((above, _)) => synced = above,
                None => return self.sync_dir(place, ""),
            }
        }
    }

    fn apply(&self, changes: &[IntendedChange]) -> Result<(), ObjectError> {
        let place = &*self.place()?;
        let mut touched = BTreeSet::new();
        for change in changes {
            let key = match change {
                IntendedChange::Write { token, key, .. } => {
                    let name = || place.staging.rename(token, &place.dir, key);
                    let staged = || place.staging.symlink_metadata(token).is_ok();
                    match name() {
                        Ok(()) => {}
                        // Somebody removed the folder since it was made.
                        Err(error) if error.kind() == io::ErrorKind::NotFound && staged() => {
                            self.make_parents(place, key)?;
                            name().map_err(|e| self.failed("name", key, &e))?;
                        }
                        // Applied before: the staged file has its name by now.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        Err(error) => return Err(self.failed("name", key, &error)),
                    }
                    key
                }
                IntendedChange::Remove { key, etag } => {
                    let file = match self.open(key) {
                        Ok(file) => file,
                        Err(ObjectError::NotFound { .. }) => continue,
                        Err(error) => return Err(error),
                    };
                    if self.describe(key, &file)?.etag == *etag {
                        place
                            .dir
                            .remove_file(key)
                            .map_err(|e| self.failed("remove", key, &e))?;
                    }
                    key
                }
            };
            touched.insert(key.rsplit_once('/').map_or("", |(parents, _)| parents));
        }
        for dir in touched {
            self.sync_dir(place, dir)?;
        }
        Ok(())
    }

    /// A rename is durable once its directory is synced. One that is gone by now has nothing to sync.
    fn sync_dir(&self, place: &Place, key: &str) -> Result<(), ObjectError> {
        let path = if key.is_empty() { "." } else { key };
        let mut options = OpenOptions::new();
        // Whatever lies there, opening it doesn't wait.
        options.read(true).custom_flags(nonblock());
        let folder = place.dir.open_with(path, &options);
        match folder.and_then(|folder| folder.sync_all()) {
            Err(error) if !is_absent(&error) => Err(self.failed("sync the folder", path, &error)),
            _ => Ok(()),
        }
    }

    fn not_found(&self, key: &str) -> ObjectError {
        ObjectError::NotFound {
            bucket: self.name.clone(),
            key: key.to_owned(),
        }
    }

    fn unreadable(&self, key: &str, error: impl std::fmt::Display) -> ObjectError {
        ObjectError::Unreadable {
            bucket: self.name.clone(),
            key: key.to_owned(),
            reason: error.to_string(),
        }
    }

    fn failed(&self, doing: &str, what: &str, error: &io::Error) -> ObjectError {
        ObjectError::Unavailable {
            bucket: self.name.clone(),
            reason: format!("can't {doing} {what:?}: {error}"),
        }
    }
}

struct Writer {
    bucket: FolderBucket,
    place: Arc<Place>,
    draft: ObjectDraft,
    token: String,
    file: File,
    /// Why an `append` failed. A part of its bytes may be there, so that no more may follow.
    broken: Option<ObjectError>,
    discard: Discard,
}

#[async_trait]
impl StagedWriter for Writer {
    async fn append(&mut self, chunk: Vec<u8>) -> Result<(), ObjectError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let key = self.draft.key.clone();
        let mut file = self
            .file
            .try_clone()
            .map_err(|e| self.bucket.inner.failed("stage", &key, &e))?;
        let appended = self
            .bucket
            .blocking(move |bucket| {
                file.write_all(&chunk)
                    .map_err(|e| bucket.failed("stage", &key, &e))
            })
            .await;
        self.broken = appended.as_ref().err().cloned();
        appended
    }

    async fn finish(self: Box<Self>) -> Result<StagedObject, ObjectError> {
        let Self {
            bucket,
            place,
            draft,
            token,
            file,
            broken,
            discard,
        } = *self;
        if let Some(error) = broken {
            return Err(error);
        }
        bucket
            .blocking(move |bucket| {
                let key = &draft.key;
                if let Some(content_type) = &draft.content_type
                    && guess(key).as_ref() != Some(content_type)
                {
                    bucket.set_attribute(&file, key, CONTENT_TYPE_ATTRIBUTE, content_type)?;
                }
                if !draft.metadata.is_empty() {
                    let text = serde_json::to_string(&draft.metadata)
                        .map_err(|e| bucket.failed("store the metadata of", key, &e.into()))?;
                    bucket.set_attribute(&file, key, METADATA_ATTRIBUTE, &text)?;
                }
                file.sync_all()
                    .map_err(|e| bucket.failed("sync", key, &e))?;
                // The file's name must be on disk as well: the intent will refer to it.
                place
                    .staging
                    .open(".")
                    .and_then(|staging| staging.sync_all())
                    .map_err(|e| bucket.failed("sync the staging folder of", key, &e))?;
                let info = bucket.describe(key, &file)?;
                Ok(StagedObject {
                    token,
                    info,
                    condition: draft.condition,
                    discard,
                })
            })
            .await
    }
}

impl Inner {
    fn set_attribute(
        &self,
        file: &File,
        key: &str,
        name: &str,
        value: &str,
    ) -> Result<(), ObjectError> {
        rustix::fs::fsetxattr(
            file,
            name,
            value.as_bytes(),
            rustix::fs::XattrFlags::empty(),
        )
        .map_err(|error| {
            ObjectError::Invalid(format!(
                "the content type or metadata of {key:?} can't be stored with it in bucket \
                     {:?}: {error}; leave them out, make them shorter, or use a file system with \
                     extended attributes",
                self.name
            ))
        })
    }
}

fn attribute(file: &File, name: &str) -> Option<String> {
    // 64 KiB is the most that Linux stores in one attribute.
    let mut value = vec![0; 65_536];
    let length = rustix::fs::fgetxattr(file, name, value.as_mut_slice()).ok()?;
    value.truncate(length);
    String::from_utf8(value).ok()
}

/// Whether an error is of the one file that was to be opened, and others may be well.
fn is_of_one(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| {
        [Errno::ACCESS, Errno::PERM, Errno::LOOP, Errno::NXIO].contains(&errno)
    })
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

fn nonblock() -> i32 {
    i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0)
}

/// What names and metadata tell, without opening the file.
fn plain_info(key: String, metadata: &Metadata) -> ObjectInfo {
    ObjectInfo {
        size: metadata.len(),
        etag: etag_of(metadata),
        content_type: guess(&key),
        modified: metadata
            .modified()
            .ok()
            .and_then(|time| time.into_std().duration_since(UNIX_EPOCH).ok())
            .map_or(0, millis),
        metadata: Vec::new(),
        key,
    }
}

/// A file's version: size, modification time in nanoseconds and inode. Hashing contents would read
/// every large file, and take a deliberate second upload of the same bytes for the first.
fn etag_of(metadata: &Metadata) -> String {
    format!(
        "{:x}-{:x}.{:x}-{:x}",
        metadata.len(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ino()
    )
}

fn guess(key: &str) -> Option<String> {
    mime_guess::from_path(key)
        .first()
        .map(|mime| mime.essence_str().to_owned())
}

fn read_range(file: &mut File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let size = file.metadata()?.len();
    let expected = size.saturating_sub(offset).min(length);
    file.seek(SeekFrom::Start(offset))?;
    let mut body = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
    file.take(length).read_to_end(&mut body)?;
    Ok(body)
}

/// A path that can't exist is as absent as one that doesn't; one that leaves the folder is too, since
/// there is no such object in this bucket.
fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    let escapes = error.kind() == PermissionDenied && error.raw_os_error().is_none();
    let crosses = error.raw_os_error() == Some(rustix::io::Errno::XDEV.raw_os_error());
    matches!(error.kind(), NotFound | NotADirectory) || escapes || crosses
}
