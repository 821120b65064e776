//! What most benches begin with.

use std::path::Path;

use anyhow::Result;
use tempfile::TempDir;

/// Runs a bench on all cores.
pub fn on_all_cores(bench: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(bench)
}

/// A folder in `dir`, on the disk that is measured, which is gone with the bench.
pub fn scratch(dir: &Path) -> Result<TempDir> {
    let dir = dir.canonicalize()?;
    Ok(tempfile::Builder::new()
        .prefix("bench-tmp")
        .tempdir_in(dir)?)
}
