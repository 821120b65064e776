//! A bucket with one more object, in memory: to try a function on a file that isn't in the bucket.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;

use crate::ports::{
    Bucket, IntendedChange, Listing, ObjectDraft, ObjectError, ObjectInfo, StagedWriter,
};

/// A bucket below, an object above it.
pub struct OverlayBucket {
    below: Arc<dyn Bucket>,
    object: ObjectInfo,
    body: Vec<u8>,
}

impl OverlayBucket {
    /// `below`, with `body` as the object that `object` describes.
    pub fn new(below: Arc<dyn Bucket>, object: ObjectInfo, body: Vec<u8>) -> Self {
        Self {
            below,
            object,
            body,
        }
    }
}

#[async_trait]
impl Bucket for OverlayBucket {
    fn name(&self) -> &str {
        self.below.name()
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo, ObjectError> {
        if key == self.object.key {
            Ok(self.object.clone())
        } else {
            self.below.head(key).await
        }
    }

    async fn read(
        &self,
        key: &str,
        etag: Option<&str>,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, ObjectError> {
        if key != self.object.key {
            return self.below.read(key, etag, offset, length).await;
        }
        if etag.is_some_and(|etag| etag != self.object.etag) {
            let (bucket, key) = (self.name().to_owned(), key.to_owned());
            return Err(ObjectError::Changed { bucket, key });
        }
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(self.body.len());
        let end = usize::try_from(offset.saturating_add(length))
            .unwrap_or(usize::MAX)
            .min(self.body.len());
        Ok(self.body.get(start..end).unwrap_or_default().to_vec())
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listing, ObjectError> {
        let mut listing = self.below.list(prefix, after, limit).await?;
        let key = &self.object.key;
        let in_page = key.starts_with(prefix)
            && after.is_none_or(|after| key.as_str() > after)
            && (listing.objects.len() < limit
                || listing.objects.last().is_some_and(|last| *key < last.key));
        if in_page {
            listing.objects.retain(|object| object.key != *key);
            let at = listing.objects.partition_point(|object| object.key < *key);
            listing.objects.insert(at, self.object.clone());
            listing.objects.truncate(limit);
        }
        Ok(listing)
    }

    async fn stage(&self, draft: ObjectDraft) -> Result<Box<dyn StagedWriter>, ObjectError> {
        self.below.stage(draft).await
    }

    async fn read_staged(
        &self,
        token: &str,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, ObjectError> {
        self.below.read_staged(token, offset, length).await
    }

    async fn prepare(&self, change: &IntendedChange) -> Result<(), ObjectError> {
        self.below.prepare(change).await
    }

    async fn apply(&self, changes: &[IntendedChange]) -> Result<(), ObjectError> {
        self.below.apply(changes).await
    }

    async fn sweep(&self, keep: &HashSet<String>) -> Result<(), ObjectError> {
        self.below.sweep(keep).await
    }
}
