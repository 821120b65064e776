//! Buckets of objects. A folder is the embedded one.

mod folder;
mod overlay;
#[cfg(test)]
mod tests;
mod walk;

pub use folder::FolderBucket;
pub use overlay::OverlayBucket;
