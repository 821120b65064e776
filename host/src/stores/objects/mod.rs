//! Buckets of objects. A folder is the embedded one.

mod folder;
mod walk;

pub use folder::FolderBucket;
