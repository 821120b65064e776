//! `kinglet:events/objects`: reads go to the bucket or to what this handler staged, writes are staged.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::component::Resource;

use super::denials::cut;
use super::staging::keeping;
use super::wire::object_info;
use super::{Context, View};
use crate::bindings::objects as wit;
use crate::bindings::types::{Error, ObjectInfo};
use crate::bindings::{OpenBucket, OpenWriter};
use crate::config::GrantKind;
use crate::guard::{self, Guard};
use crate::ports::{
    Bucket, Change, Condition, ObjectDraft, ObjectError, StagedWriter, TooLong, check_attributes,
    check_name, validate_key,
};

/// What a staged object takes beside its body, in bytes: an inode, and its share of the folder.
const KEEPING: usize = 4_096;
/// And a removal's.
const KEEPING_REMOVAL: usize = 256;
/// What either keeps in memory until the event is settled, beside its texts.
const KEPT: usize = 256;
/// The most writers that are open at once: each has a file open.
const WRITERS: usize = 64;
/// The most objects that one page lists.
const PAGE: usize = 1_000;

type Answer<T> = wasmtime::Result<Result<T, Error>>;

impl wit::Host for View<'_> {}

impl wit::HostBucket for View<'_> {
    async fn open(&mut self, name: String) -> Answer<Resource<OpenBucket>> {
        self.carry(name.len()).await?;
        let grants = &self.context.reach.grants;
        let granted = grants
            .read
            .iter()
            .chain(&grants.write)
            .any(|grant| grant.bucket == name);
        let granted = granted || !guard::holds(Guard::Grants);
        if !granted || !self.context.reach.buckets.contains_key(&name) {
            let what = format!("bucket {:?}", cut(&name));
            let denied = self.context.denials().note(&what, GrantKind::Read, &name);
            return Ok(Err(Error::Denied(format!(
                "{denied}, or the same with `write`"
            ))));
        }
        let name = Arc::from(name);
        Ok(Ok(self.table.push(OpenBucket { name })?))
    }

    async fn head(&mut self, bucket: Resource<OpenBucket>, key: String) -> Answer<ObjectInfo> {
        self.carry(key.len()).await?;
        let bucket = self.bucket(&bucket)?;
        let head = self.context.head_of(&*bucket, &key).await.map(object_info);
        self.carry(head.as_ref().map_or(0, info_bytes)).await?;
        Ok(head)
    }

    async fn read(
        &mut self,
        bucket: Resource<OpenBucket>,
        key: String,
        etag: Option<String>,
    ) -> Answer<Vec<u8>> {
        self.read_range(bucket, key, etag, 0, u64::MAX).await
    }

    async fn read_range(
        &mut self,
        bucket: Resource<OpenBucket>,
        key: String,
        etag: Option<String>,
        offset: u64,
        length: u32,
    ) -> Answer<Vec<u8>> {
        self.read_range(bucket, key, etag, offset, length.into())
            .await
    }

    async fn write(
        &mut self,
        bucket: Resource<OpenBucket>,
        key: String,
        body: Vec<u8>,
        options: wit::WriteOptions,
    ) -> Answer<()> {
        self.carry(key.len() + body.len() + options_bytes(&options))
            .await?;
        let bucket = self.bucket(&bucket)?;
        Ok(self.context.write_of(&*bucket, key, body, options).await)
    }

    async fn create(
        &mut self,
        bucket: Resource<OpenBucket>,
        key: String,
        options: wit::WriteOptions,
    ) -> Answer<Resource<OpenWriter>> {
        self.carry(key.len() + options_bytes(&options)).await?;
        let bucket = self.bucket(&bucket)?;
        if self.context.staging.open_writers() >= WRITERS && guard::holds(Guard::StagedCount) {
            return Ok(Err(Error::Limit(format!(
                "{WRITERS} writers are open at once; finish or drop some"
            ))));
        }
        match self.context.stage(&*bucket, key, options).await {
            Ok(writer) => {
                let id = self.context.staging.add_writer(bucket.name(), writer);
                Ok(Ok(self.table.push(OpenWriter { id })?))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    async fn remove(&mut self, bucket: Resource<OpenBucket>, key: String) -> Answer<()> {
        self.carry(key.len()).await?;
        let bucket = self.bucket(&bucket)?;
        Ok(self.context.remove_of(bucket.name(), &key))
    }

    async fn list_page(
        &mut self,
        bucket: Resource<OpenBucket>,
        prefix: String,
        after: Option<String>,
    ) -> Answer<Vec<ObjectInfo>> {
        self.carry(prefix.len() + after.as_ref().map_or(0, String::len))
            .await?;
        let bucket = self.bucket(&bucket)?;
        let page = self.context.page_of(&*bucket, &prefix, after).await;
        let listed = page.as_deref().unwrap_or_default();
        self.carry(listed.iter().map(info_bytes).sum()).await?;
        Ok(page)
    }

    async fn drop(&mut self, bucket: Resource<OpenBucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl wit::HostWriter for View<'_> {
    async fn append(&mut self, writer: Resource<OpenWriter>, chunk: Vec<u8>) -> Answer<()> {
        self.carry(chunk.len()).await?;
        let id = self.table.get(&writer)?.id;
        if let Err(full) = self.context.staging.charge(chunk.len()) {
            return Ok(Err(self.context.trouble.staging(full)));
        }
        let Some(writer) = self.context.staging.writer(id) else {
            return Ok(Err(Error::Invalid(
                "this writer is finished; create another".to_owned(),
            )));
        };
        let appended = writer.append(chunk).await;
        Ok(appended.map_err(|error| self.context.trouble.object(error)))
    }

    async fn finish(&mut self, writer: Resource<OpenWriter>) -> Answer<()> {
        let id = self.table.delete(writer)?.id;
        let Some((bucket, writer)) = self.context.staging.take_writer(id) else {
            return Ok(Err(Error::Invalid(
                "this writer is finished; create another".to_owned(),
            )));
        };
        match writer.finish().await {
            Ok(object) => {
                self.context.staging.write(&bucket, object);
                Ok(Ok(()))
            }
            Err(error) => Ok(Err(self.context.trouble.object(error))),
        }
    }

    async fn drop(&mut self, writer: Resource<OpenWriter>) -> wasmtime::Result<()> {
        let writer = self.table.delete(writer)?;
        self.context.staging.take_writer(writer.id);
        Ok(())
    }
}

impl View<'_> {
    async fn read_range(
        &mut self,
        bucket: Resource<OpenBucket>,
        key: String,
        etag: Option<String>,
        offset: u64,
        length: u64,
    ) -> Answer<Vec<u8>> {
        self.carry(key.len() + etag.as_ref().map_or(0, String::len))
            .await?;
        let bucket = self.bucket(&bucket)?;
        let read = self
            .context
            .read_of(&*bucket, &key, etag, offset, length)
            .await;
        self.carry(read.as_ref().map_or(0, Vec::len)).await?;
        Ok(read)
    }

    fn bucket(&self, handle: &Resource<OpenBucket>) -> wasmtime::Result<Arc<dyn Bucket>> {
        let name = &self.table.get(handle)?.name;
        let bucket = self.context.reach.buckets.get(&**name).map(Arc::clone);
        bucket.ok_or_else(|| wasmtime::format_err!("bucket {name:?} was opened and is gone"))
    }
}

/// What the guest tells of an object beside its key and its body.
fn options_bytes(options: &wit::WriteOptions) -> usize {
    let condition = match &options.condition {
        wit::Condition::Matches(etag) => etag.len(),
        wit::Condition::None | wit::Condition::Absent => 0,
    };
    let content_type = options.content_type.as_ref().map_or(0, String::len);
    condition + content_type + metadata_bytes(&options.metadata)
}

/// Checks the lengths of what the guest tells of an object.
fn check_names(options: &wit::WriteOptions) -> Result<(), TooLong> {
    check_name(
        "content-type",
        options.content_type.as_deref().unwrap_or_default(),
    )?;
    let metadata = options.metadata.iter();
    check_attributes(metadata.map(|(name, value)| (name, value)))
}

fn metadata_bytes(metadata: &[(String, String)]) -> usize {
    let metadata = metadata.iter();
    metadata.map(|(name, value)| name.len() + value.len()).sum()
}

/// What the host tells of an object.
fn info_bytes(info: &ObjectInfo) -> usize {
    let content_type = info.content_type.as_ref().map_or(0, String::len);
    info.key.len() + info.etag.len() + content_type + metadata_bytes(&info.metadata)
}

impl Context {
    fn check_read(&self, bucket: &str, key: &str) -> Result<(), Error> {
        let granted = self.reach.grants.read.iter().any(|g| g.covers(bucket, key));
        if granted || !guard::holds(Guard::Grants) {
            return Ok(());
        }
        Err(self.key_denied("reading", GrantKind::Read, bucket, key))
    }

    fn check_write(&self, bucket: &str, key: &str) -> Result<(), Error> {
        validate_key(key).map_err(Error::Invalid)?;
        let granted = self
            .reach
            .grants
            .write
            .iter()
            .any(|g| g.covers(bucket, key));
        if granted || !guard::holds(Guard::Grants) {
            return Ok(());
        }
        Err(self.key_denied("writing", GrantKind::Write, bucket, key))
    }

    /// Proposes a grant of the key's folder: the bucket where it has none.
    fn key_denied(&self, doing: &str, kind: GrantKind, bucket: &str, key: &str) -> Error {
        let what = format!("{doing} {:?} of bucket {bucket:?}", cut(key));
        let folder = key.rfind('/').and_then(|end| key.get(..=end));
        let grant = folder.map_or_else(|| bucket.to_owned(), |folder| format!("{bucket}/{folder}"));
        Error::Denied(self.denials().note(&what, kind, &grant))
    }

    /// Lists live in the guest's memory: one that can't fit isn't read at all.
    fn check_room(&self, key: &str, size: u64, offset: u64, length: u64) -> Result<(), Error> {
        let wanted = size.saturating_sub(offset).min(length);
        if self.fits(wanted) {
            return Ok(());
        }
        Err(Error::Limit(format!(
            "{key:?} has {wanted} bytes to read and the function's memory is limited to {}; read it in \
             ranges, or raise `limits.memory`",
            self.room
        )))
    }

    /// A handler sees what it staged, whatever it may read.
    async fn head_of(
        &self,
        bucket: &dyn Bucket,
        key: &str,
    ) -> Result<crate::ports::ObjectInfo, Error> {
        match self.staging.change(bucket.name(), key) {
            Some(Change::Write(object)) => Ok(object.info.clone()),
            Some(Change::Remove) => Err(Error::NotFound),
            None => {
                self.check_read(bucket.name(), key)?;
                bucket
                    .head(key)
                    .await
                    .map_err(|error| self.trouble.object(error))
            }
        }
    }

    async fn read_of(
        &self,
        bucket: &dyn Bucket,
        key: &str,
        etag: Option<String>,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, Error> {
        match self.staging.change(bucket.name(), key) {
            Some(Change::Remove) => Err(Error::NotFound),
            Some(Change::Write(object)) => {
                if etag.is_some_and(|etag| etag != object.info.etag) {
                    return Err(Error::Changed);
                }
                self.check_room(key, object.info.size, offset, length)?;
                bucket
                    .read_staged(&object.token, offset, length)
                    .await
                    .map_err(|error| self.trouble.object(error))
            }
            None => {
                self.check_read(bucket.name(), key)?;
                let size = bucket
                    .head(key)
                    .await
                    .map_err(|error| self.trouble.object(error))?
                    .size;
                self.check_room(key, size, offset, length)?;
                bucket
                    .read(key, etag.as_deref(), offset, length)
                    .await
                    .map_err(|error| self.trouble.object(error))
            }
        }
    }

    fn remove_of(&mut self, bucket: &str, key: &str) -> Result<(), Error> {
        self.check_write(bucket, key)?;
        self.staging
            .admit_object(bucket, key)
            .map_err(|full| self.trouble.staging(full))?;
        self.staging
            .charge_kept(
                key.len() + keeping(KEEPING_REMOVAL),
                key.len() + keeping(KEPT),
            )
            .map_err(|full| self.trouble.staging(full))?;
        self.staging.remove(bucket, key);
        Ok(())
    }

    async fn stage(
        &mut self,
        bucket: &dyn Bucket,
        key: String,
        options: wit::WriteOptions,
    ) -> Result<Box<dyn StagedWriter>, Error> {
        self.check_write(bucket.name(), &key)?;
        check_names(&options).map_err(|long| Error::Invalid(long.to_string()))?;
        self.staging
            .admit_object(bucket.name(), &key)
            .map_err(|full| self.trouble.staging(full))?;
        let metadata = metadata_bytes(&options.metadata);
        let content_type = options.content_type.as_ref().map_or(0, String::len);
        self.staging
            .charge_kept(
                key.len() + content_type + metadata + keeping(KEEPING),
                key.len() + content_type + metadata + keeping(KEPT),
            )
            .map_err(|full| self.trouble.staging(full))?;
        let condition = self
            .checked_condition(bucket, &key, options.condition)
            .await?;
        let draft = ObjectDraft {
            key,
            content_type: options.content_type,
            metadata: options.metadata,
            condition,
        };
        bucket
            .stage(draft)
            .await
            .map_err(|error| self.trouble.object(error))
    }

    /// Checks a condition now, and tells what is to be checked again at the commit: where this handler
    /// wrote the key before, that is what the first write asked for.
    async fn checked_condition(
        &self,
        bucket: &dyn Bucket,
        key: &str,
        condition: wit::Condition,
    ) -> Result<Condition, Error> {
        let condition = match condition {
            wit::Condition::None => Condition::None,
            wit::Condition::Absent => Condition::Absent,
            wit::Condition::Matches(etag) => Condition::Matches(etag),
        };
        let (current, at_commit) = match self.staging.change(bucket.name(), key) {
            Some(Change::Write(staged)) => {
                (Some(staged.info.etag.clone()), staged.condition.clone())
            }
            Some(Change::Remove) => (None, Condition::None),
            None if condition == Condition::None => return Ok(condition),
            None => match bucket.head(key).await {
                Ok(info) => (Some(info.etag), condition.clone()),
                Err(ObjectError::NotFound { .. }) => (None, condition.clone()),
                Err(error) => return Err(self.trouble.object(error)),
            },
        };
        if condition.holds(current.as_deref()) {
            Ok(at_commit)
        } else {
            Err(Error::Changed)
        }
    }

    async fn write_of(
        &mut self,
        bucket: &dyn Bucket,
        key: String,
        body: Vec<u8>,
        options: wit::WriteOptions,
    ) -> Result<(), Error> {
        self.staging
            .charge(body.len())
            .map_err(|full| self.trouble.staging(full))?;
        let mut writer = self.stage(bucket, key, options).await?;
        writer
            .append(body)
            .await
            .map_err(|error| self.trouble.object(error))?;
        let object = writer
            .finish()
            .await
            .map_err(|error| self.trouble.object(error))?;
        self.staging.write(bucket.name(), object);
        Ok(())
    }

    /// A page of the bucket as it will be once this handler's changes are committed.
    async fn page_of(
        &self,
        bucket: &dyn Bucket,
        prefix: &str,
        after: Option<String>,
    ) -> Result<Vec<ObjectInfo>, Error> {
        self.check_read(bucket.name(), prefix)?;
        let changes = self.staging.changes(bucket.name());
        let mut page = BTreeMap::new();
        let mut seen = after.clone();
        let whole = loop {
            let objects = bucket
                .list(prefix, seen.as_deref(), PAGE)
                .await
                .map_err(|error| self.trouble.object(error))?
                .objects;
            let full = objects.len() >= PAGE;
            seen = objects.last().map(|object| object.key.clone()).or(seen);
            page.extend(
                objects
                    .into_iter()
                    .filter(|object| !changes.contains_key(&object.key))
                    .map(|object| (object.key.clone(), object)),
            );
            if !full || page.len() >= PAGE {
                break !full;
            }
        };
        for (key, change) in changes {
            let past = after.as_ref().is_none_or(|after| key > *after);
            let known = whole || seen.as_ref().is_some_and(|seen| key <= *seen);
            if let Some(info) = change
                && key.starts_with(prefix)
                && past
                && known
            {
                page.insert(key, info.clone());
            }
        }
        Ok(page.into_values().take(PAGE).map(object_info).collect())
    }
}
