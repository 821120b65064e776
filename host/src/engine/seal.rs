//! Tells what this machine's hosts wrote from what anybody else did: a keyed hash (BLAKE3's keyed mode, a MAC), whose
//! key stays in a file that only its owner reads.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use blake3::{Hash, Hasher};

use crate::clock::secret;
use crate::files;
use crate::guard::{self, Guard};

/// Bytes of a key.
const KEY: usize = blake3::KEY_LEN;

/// Seals what is written under a name, so that neither the content nor the name can be changed.
#[derive(Debug)]
pub(super) struct Seal([u8; KEY]);

impl Seal {
    /// With the key in that file, which is made where there is none.
    pub fn open(path: &Path) -> io::Result<Self> {
        match read_key(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_key(path)?;
                read_key(path)
            }
            read => read,
        }
        .map(Self)
    }

    /// The seal of a content under a name.
    pub fn of(&self, name: &str, content: impl Read) -> io::Result<Hash> {
        let mut hasher = Hasher::new_keyed(&self.0);
        hasher.update(name.as_bytes()).update(b"\0");
        hasher.update_reader(content)?;
        Ok(hasher.finalize())
    }

    /// Whether that is the seal of the content under the name, in hexadecimal digits.
    pub fn holds(&self, seal: &[u8], name: &str, content: impl Read) -> bool {
        if !guard::holds(Guard::CacheSeal) {
            return true;
        }
        // Hashes compare in constant time.
        match (Hash::from_hex(seal), self.of(name, content)) {
            (Ok(seal), Ok(found)) => seal == found,
            _ => false,
        }
    }
}

fn read_key(path: &Path) -> io::Result<[u8; KEY]> {
    let mut file = files::open(path)?;
    let found = file.metadata()?;
    if found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o077 != 0 {
        return Err(io::Error::other(
            "others may have read it: remove it, and a new one is made",
        ));
    }
    let mut key = [0; KEY];
    file.read_exact(&mut key)
        .map_err(|_| io::Error::other("it isn't a key: remove it, and a new one is made"))?;
    Ok(key)
}

/// Of several hosts that make a key at once the first wins.
fn make_key(path: &Path) -> io::Result<()> {
    let key = secret()?;
    if let Some(folder) = path.parent() {
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700).create(folder)?;
    }
    let new = beside(path)?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    let made = file
        .write_all(&key)
        // An empty key would stay one.
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&new, path));
    fs::remove_file(&new)?;
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// A name beside a file's that nobody else uses: others may write the same at once, in containers with the same
/// process number.
pub(super) fn beside(path: &Path) -> io::Result<PathBuf> {
    let random = u64::from_le_bytes(secret()?.first_chunk().copied().unwrap_or_default());
    Ok(path.with_extension(format!("{random:016x}.tmp")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_seal_is_of_the_content_the_name_and_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep").join("key");
        let seal = Seal::open(&path).unwrap();
        let of = seal.of("a", &b"content"[..]).unwrap().to_hex();
        let again = Seal::open(&path).unwrap();
        assert!(again.holds(of.as_bytes(), "a", &b"content"[..]));
        assert!(!again.holds(of.as_bytes(), "a", &b"contents"[..]));
        assert!(!again.holds(of.as_bytes(), "b", &b"content"[..]));
        assert!(!again.holds(b"", "a", &b"content"[..]));
        let other = Seal::open(&dir.path().join("other")).unwrap();
        assert!(!other.holds(of.as_bytes(), "a", &b"content"[..]));
    }

    #[test]
    fn a_key_that_others_could_read_or_that_is_cut_short_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        Seal::open(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Seal::open(&path).unwrap_err().to_string();
        assert!(error.contains("others may have read it"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short").unwrap();
        let error = Seal::open(&path).unwrap_err().to_string();
        assert!(error.contains("isn't a key"), "{error}");
    }
}
