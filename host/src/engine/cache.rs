//! Compiled components on disk, so that the second start compiles nothing.
//!
//! An artifact's name says what it was made from: the component's digest, and wasmtime's own hash of
//! its version and every setting that shapes code. Native code is trusted as far as the folder is, so
//! the folder is private to its owner, and a digest beside each artifact shows damage, which the
//! loader itself wouldn't.
//!
//! What a component's file was found to be is noted as well, by its path, with its size, times and
//! inode: where these are as they were, a start needn't read the file, nor load what was compiled from it.

use std::fs;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use super::load::Handlers;

/// A folder of compiled components.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: PathBuf,
}

/// Whether a component had to be compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheUse {
    /// It was in the cache.
    Hit,
    /// It was compiled, and is in the cache now.
    Compiled,
}

/// What a component's file was found to be.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Known {
    pub version: FileVersion,
    pub digest: String,
    pub handlers: Handlers,
    /// Bytes.
    pub initial_memory: u64,
    /// Whether it runs in the engine for concurrent tasks.
    #[serde(default)]
    pub concurrent: bool,
}

/// What tells versions of a file apart without reading it.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct FileVersion {
    size: u64,
    modified: (i64, i64),
    /// Moves with every write, also of who sets the time of modification back.
    changed: (i64, i64),
    device: u64,
    inode: u64,
}

impl FileVersion {
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        Ok(Self {
            size: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
            device: found.dev(),
            inode: found.ino(),
        })
    }
}

impl Cache {
    /// A cache in `dir`, which is made when first needed.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The compiled form of `wasm`.
    ///
    /// # Errors
    /// Where it isn't a component that this engine can run.
    pub fn component(
        &self,
        engine: &wasmtime::Engine,
        wasm: &[u8],
    ) -> wasmtime::Result<(Component, CacheUse)> {
        if let Err(problem) = self.check_private() {
            tracing::warn!(
                folder = %self.dir.display(),
                problem,
                "compiled components aren't kept there; pass `--cache-dir`"
            );
            return Ok((Component::new(engine, wasm)?, CacheUse::Compiled));
        }
        let digest = digest(wasm);
        if let Some(component) = self.compiled(engine, &digest) {
            return Ok((component, CacheUse::Hit));
        }
        let path = self.dir.join(artifact_name(engine, &digest));
        let artifact = engine.precompile_component(wasm)?;
        if let Err(error) = self.store(&path, &artifact) {
            tracing::warn!(
                folder = %self.dir.display(),
                %error,
                "compiled components can't be kept, so each start compiles again; pass `--cache-dir`"
            );
            return Ok((Component::new(engine, wasm)?, CacheUse::Compiled));
        }
        Ok((load(engine, &path)?, CacheUse::Compiled))
    }

    /// What was compiled from the component of that digest, if it is there and intact.
    pub fn compiled(&self, engine: &wasmtime::Engine, digest: &str) -> Option<Component> {
        let path = self.dir.join(artifact_name(engine, digest));
        if self.check_private().is_err() || !is_intact(&path) {
            return None;
        }
        load(engine, &path).ok()
    }

    /// What the file at `path` was found to be, where it is the same still.
    pub(super) fn known(&self, engine: &wasmtime::Engine, path: &Path) -> Option<Known> {
        self.check_private().ok()?;
        let note = fs::read(self.dir.join(note_name(engine, path)?)).ok()?;
        let known: Known = serde_json::from_slice(&note).ok()?;
        (known.version == FileVersion::of(path).ok()?).then_some(known)
    }

    /// Whether what was compiled from the component of that digest is there.
    pub(super) fn has(&self, engine: &wasmtime::Engine, digest: &str) -> bool {
        self.dir.join(artifact_name(engine, digest)).exists()
    }

    /// Notes what the file at `path` was found to be. Without the note the next start takes longer, and that is all.
    pub(super) fn note(&self, engine: &wasmtime::Engine, path: &Path, known: &Known) {
        if self.check_private().is_ok()
            && let Some(name) = note_name(engine, path)
            && let Ok(text) = serde_json::to_vec(known)
            && let Err(error) = replace(&self.dir.join(name), &text)
        {
            tracing::debug!(%error, "what a component is can't be noted");
        }
    }

    /// Native code is loaded from the folder, so nobody else may write there.
    fn check_private(&self) -> Result<(), &'static str> {
        match fs::symlink_metadata(&self.dir) {
            Err(_) => Ok(()),
            Ok(found) if !found.is_dir() => Err("it isn't a folder"),
            Ok(found) if found.uid() != rustix::process::geteuid().as_raw() => {
                Err("it belongs to another user")
            }
            Ok(found) if found.mode() & 0o022 != 0 => Err("others may write to it"),
            Ok(_) => Ok(()),
        }
    }

    fn store(&self, path: &Path, artifact: &[u8]) -> io::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)?;
        // The digest goes last: without it, a half-written artifact counts as absent.
        replace(path, artifact)?;
        replace(
            &digest_path(path),
            hex(&Sha256::digest(artifact)).as_bytes(),
        )
    }
}

/// Writes under another name and renames: a host may have the old file mapped.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    // Others may write the same at once, in containers with the same process number.
    let random = RandomState::new().build_hasher().finish();
    let temporary = path.with_extension(format!("{random:016x}.tmp"));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(content)?;
    fs::rename(&temporary, path)
}

fn artifact_name(engine: &wasmtime::Engine, digest: &str) -> String {
    format!("{digest}-{:016x}.cwasm", settings(engine))
}

/// Another Kinglet may link other interfaces, so that what one could run the other can't.
fn note_name(engine: &wasmtime::Engine, path: &Path) -> Option<String> {
    use std::os::unix::ffi::OsStrExt;
    let path = path.canonicalize().ok()?;
    let version = env!("CARGO_PKG_VERSION");
    let path = digest(path.as_os_str().as_bytes());
    Some(format!("{path}-{version}-{:016x}.json", settings(engine)))
}

fn settings(engine: &wasmtime::Engine) -> u64 {
    let mut settings = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut settings);
    settings.finish()
}

/// The digest of a component, by which what was compiled from it is found.
pub(super) fn digest(wasm: &[u8]) -> String {
    hex(&Sha256::digest(wasm))
}

fn digest_path(artifact: &Path) -> PathBuf {
    artifact.with_extension("sha256")
}

fn is_intact(path: &Path) -> bool {
    let (Ok(artifact), Ok(digest)) = (fs::read(path), fs::read_to_string(digest_path(path))) else {
        return false;
    };
    let intact = hex(&Sha256::digest(&artifact)) == digest;
    if !intact {
        tracing::warn!(artifact = %path.display(), "a compiled component is damaged; compiling again");
    }
    intact
}

#[expect(
    unsafe_code,
    reason = "the only way to load native code; see the comment"
)]
fn load(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the artifact must be one that `precompile_component` made, unchanged. It was written by
    // `store` into a folder that only its owner can write, its digest was compared since, and files in
    // it are replaced by renames, never changed while mapped. An owner who forges both files already
    // runs code as this user.
    unsafe { Component::deserialize_file(engine, path) }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
