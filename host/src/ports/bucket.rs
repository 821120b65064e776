//! What capabilities, delivery and triggers ask of an object store.

use std::collections::HashSet;

use async_trait::async_trait;
use thiserror::Error;

use super::{Condition, IntendedChange, ObjectInfo, StagedObject};

/// A bucket of objects.
#[async_trait]
pub trait Bucket: Send + Sync + 'static {
    /// Its name in the manifest.
    fn name(&self) -> &str;

    /// What is known of an object.
    async fn head(&self, key: &str) -> Result<ObjectInfo, ObjectError>;

    /// Up to `length` bytes from `offset`, fewer only at the end; of the version `etag`, where given.
    async fn read(
        &self,
        key: &str,
        etag: Option<&str>,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, ObjectError>;

    /// Up to `limit` objects whose keys start with `prefix`, past `after`, in the byte order of keys.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listing, ObjectError>;

    /// Starts an object that nobody sees until it is applied.
    async fn stage(&self, draft: ObjectDraft) -> Result<Box<dyn StagedWriter>, ObjectError>;

    /// Reads of a staged object, as `read` does.
    async fn read_staged(
        &self,
        token: &str,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, ObjectError>;

    /// Finds everything that would make `apply` fail, before the decision to commit is written.
    async fn prepare(&self, change: &IntendedChange) -> Result<(), ObjectError>;

    /// Makes decided changes visible, and durable before it returns. Applying again changes nothing.
    async fn apply(&self, changes: &[IntendedChange]) -> Result<(), ObjectError>;

    /// Removes what is staged but for `keep`: what an ended host left behind.
    async fn sweep(&self, keep: &HashSet<String>) -> Result<(), ObjectError>;

    /// Looks whether the bucket is where it was, so that somebody can be warned of it who asks nothing else.
    async fn check(&self) -> Result<(), ObjectError> {
        Ok(())
    }
}

/// What an object is to be.
#[derive(Clone, Debug)]
pub struct ObjectDraft {
    /// The full key.
    pub key: String,
    /// Absent: guessed from the key.
    pub content_type: Option<String>,
    /// Name and value pairs.
    pub metadata: Vec<(String, String)>,
    /// What must hold at the commit.
    pub condition: Condition,
}

/// An object being staged.
#[async_trait]
pub trait StagedWriter: Send + Sync {
    /// Adds to the end.
    async fn append(&mut self, chunk: Vec<u8>) -> Result<(), ObjectError>;
    /// Syncs it; it then waits for its commit.
    async fn finish(self: Box<Self>) -> Result<StagedObject, ObjectError>;
}

/// A page of a bucket.
#[derive(Debug, Default)]
pub struct Listing {
    /// In the byte order of their keys.
    pub objects: Vec<ObjectInfo>,
    /// What lies in the bucket's place but can't be an object, and why.
    pub problems: Vec<String>,
}

/// How an object store fails.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ObjectError {
    /// No such object.
    #[error("no object {key:?} in bucket {bucket:?}")]
    NotFound {
        /// The bucket's name.
        bucket: String,
        /// The key that was asked for.
        key: String,
    },
    /// Another version than the one that was asked for.
    #[error("object {key:?} in bucket {bucket:?} is another version by now")]
    Changed {
        /// The bucket's name.
        bucket: String,
        /// The key that was asked for.
        key: String,
    },
    /// A key or an option that can't be used.
    #[error("{0}")]
    Invalid(String),
    /// An object that the host may not read, though its bucket works.
    #[error(
        "object {key:?} in bucket {bucket:?} can't be read: {reason}; make it readable, or replace it"
    )]
    Unreadable {
        /// The bucket's name.
        bucket: String,
        /// The object's key.
        key: String,
        /// Why not.
        reason: String,
    },
    /// The store's medium failed.
    #[error("bucket {bucket:?}: {reason}")]
    Unavailable {
        /// The bucket's name.
        bucket: String,
        /// What failed.
        reason: String,
    },
}
