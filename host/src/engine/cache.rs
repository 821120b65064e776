//! Compiled components on disk, so that the second start compiles nothing.
//!
//! An artifact's name says what it was made from: the component's digest, and wasmtime's own hash of
//! its version and every setting that shapes code. Native code is trusted as far as its file is, so the folder is
//! private to its owner, and a seal beside each artifact says that a host of this machine wrote it, under that name:
//! what was changed, damaged or brought from elsewhere is compiled anew.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use wasmtime::component::Component;

use super::compile::{CompileError, CompileLimits, Compiler};
use super::seal::{Seal, beside};
use super::settings::excess;
use crate::files;

/// The most of an artifact that is looked at: a larger one doesn't bear its seal.
const ARTIFACT: u64 = 4 << 30;
/// The largest file of notes.
const NOTES: u64 = 256 << 20;

/// A folder of compiled components.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: PathBuf,
    key: PathBuf,
    compiler: Compiler,
    /// None where the folder or the key can't be used.
    seal: Arc<OnceLock<Option<Seal>>>,
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

impl Cache {
    /// A cache in `dir` whose files are sealed with the key in the file `key`: both are made when first needed. What
    /// isn't there is compiled by `compiler`.
    pub fn new(dir: PathBuf, key: PathBuf, compiler: Compiler) -> Self {
        Self {
            dir,
            key,
            compiler,
            seal: Arc::default(),
        }
    }

    /// Compiles `wasm` for an engine of that kind, and keeps the result.
    pub(super) fn compile(
        &self,
        (engine, concurrent): (&wasmtime::Engine, bool),
        wasm: &[u8],
        limits: &CompileLimits,
    ) -> Result<Component, CompileError> {
        let artifact = self.compiler.compile(wasm, concurrent, limits)?;
        let component = self.keep(engine, &digest(wasm), &artifact);
        component.map_err(|error| match excess(&error) {
            Some(excess) => CompileError::TooLarge(excess),
            None => CompileError::Refused(format!("{error:#}")),
        })
    }

    /// Loads what was compiled from the component of that digest, if it is there and sealed. A component that
    /// exceeds the pool's bounds is compiled once: each later load ends here, with the same error.
    pub(super) fn compiled(
        &self,
        engine: &wasmtime::Engine,
        digest: &str,
    ) -> Option<Result<Component, CompileError>> {
        let name = artifact_name(engine, digest);
        let path = self.dir.join(&name);
        let artifact = match files::open(&path) {
            Ok(artifact) => artifact.take(ARTIFACT),
            Err(error) if error.is_absent() => return None,
            Err(error) => {
                tracing::warn!("{error}; compiling again");
                return None;
            }
        };
        let seal = files::read(&seal_path(&path), files::SMALL).unwrap_or_default();
        if !self.open()?.holds(&seal, &name, artifact) {
            tracing::warn!(
                artifact = %path.display(),
                "a compiled component isn't as a host of this machine wrote it; compiling again"
            );
            return None;
        }
        match load(engine, &path) {
            Ok(component) => Some(Ok(component)),
            Err(error) => Some(Err(CompileError::TooLarge(excess(&error)?))),
        }
    }

    /// Keeps what was compiled from the component of that digest, and loads it.
    fn keep(
        &self,
        engine: &wasmtime::Engine,
        digest: &str,
        artifact: &[u8],
    ) -> wasmtime::Result<Component> {
        let name = artifact_name(engine, digest);
        let Some(seal) = self.open() else {
            return load_bytes(engine, artifact);
        };
        let path = self.dir.join(&name);
        let write = || {
            // The seal goes last: without it, a half-written artifact counts as absent.
            self.replace(&path, artifact)?;
            let seal = seal.of(&name, artifact)?;
            self.replace(&seal_path(&path), seal.to_hex().as_bytes())
        };
        match write() {
            Ok(()) => load(engine, &path),
            Err(error) => {
                tracing::warn!(
                    folder = %self.dir.display(),
                    %error,
                    "compiled components can't be kept, so each start compiles again; pass `--cache-dir`"
                );
                load_bytes(engine, artifact)
            }
        }
    }

    /// The content of the sealed file of that name.
    pub(super) fn sealed(&self, name: &str) -> Option<Vec<u8>> {
        let seal = self.open()?;
        let file = files::read(&self.dir.join(name), NOTES).ok()?;
        let (found, content) = file.split_at_checked(2 * blake3::OUT_LEN)?;
        seal.holds(found, name, content).then(|| content.to_owned())
    }

    /// Writes a sealed file.
    pub(super) fn seal(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let Some(seal) = self.open() else {
            return Ok(());
        };
        let mut file = seal.of(name, content)?.to_hex().as_bytes().to_owned();
        file.extend_from_slice(content);
        self.replace(&self.dir.join(name), &file)
    }

    /// The name of what is noted of the components of the application in that folder. Another Kinglet may link other
    /// interfaces, so that what one could run the other can't.
    pub(super) fn notes_name(engine: &wasmtime::Engine, application: &Path) -> String {
        use std::os::unix::ffi::OsStrExt;
        let application = application.canonicalize();
        let application = application.as_deref().unwrap_or(Path::new(""));
        let digest = digest(application.as_os_str().as_bytes());
        let version = env!("CARGO_PKG_VERSION");
        format!("{digest}-{version}-{:016x}.notes", settings(engine))
    }

    /// The seal, where the cache can be used.
    fn open(&self) -> Option<&Seal> {
        let seal = self.seal.get_or_init(|| {
            let unusable = |path: &Path, problem: &str, option: &str| {
                tracing::warn!(
                    path = %path.display(),
                    problem,
                    "compiled components aren't kept; pass `{option}`"
                );
            };
            if let Err(problem) = self.check_private() {
                unusable(&self.dir, problem, "--cache-dir");
                return None;
            }
            let key = Seal::open(&self.key);
            key.inspect_err(|error| unusable(&self.key, &error.to_string(), "--cache-key"))
                .ok()
        });
        seal.as_ref()
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

    /// Writes under another name and renames: a host may have the old file mapped.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700).create(&self.dir)?;
        let temporary = beside(path)?;
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        let written = file
            .write_all(content)
            .and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            // A full disk isn't to be filled further.
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

fn artifact_name(engine: &wasmtime::Engine, digest: &str) -> String {
    format!("{digest}-{:016x}.cwasm", settings(engine))
}

fn settings(engine: &wasmtime::Engine) -> u64 {
    let mut settings = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut settings);
    settings.finish()
}

/// The digest of a component, by which what was compiled from it is found.
pub(super) fn digest(wasm: &[u8]) -> String {
    blake3::hash(wasm).to_hex().to_string()
}

fn seal_path(artifact: &Path) -> PathBuf {
    artifact.with_extension("seal")
}

#[expect(
    unsafe_code,
    reason = "the only way to load native code; see the comment"
)]
fn load(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the artifact must be one that `precompile_component` made, unchanged. It was written by
    // `keep` into a folder that only its owner can write, its seal was checked since, and files in
    // it are replaced by renames, never changed while mapped. An owner who changes it between the two
    // already runs code as this user.
    unsafe { Component::deserialize_file(engine, path) }
}

#[expect(unsafe_code, reason = "as `load`, without a file")]
fn load_bytes(engine: &wasmtime::Engine, artifact: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: these are the bytes that the compiler gave, in this process' own memory.
    unsafe { Component::deserialize(engine, artifact) }
}
