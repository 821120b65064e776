//! What happens around a call: it is noted, or fails, or lies, or is the last one.
//!
//! A change and its note are one step under a lock, so that notes are in the order of the changes. Syncs run
//! without the lock, as long as they take: what changes meanwhile isn't covered by them.

use std::ffi::{CStr, c_int};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use kinglet_powercut::{Change, Class, FileId, Record, Step};

use crate::inside::{Inside, failed, give_up, keep_errno};
use crate::notes::Span;
use crate::place::{Place, Target};

const STAGING: &str = ".kinglet-staging";

/// A call that changes bytes. `call` gets how many of them it may write.
pub fn bytes<T: From<i8>>(target: Target<'_>, span: Span, call: impl FnOnce(usize) -> T) -> T {
    let asked = span.length();
    let Some(inside) = Inside::enter() else {
        return call(asked);
    };
    let find = || inside.find(target).filter(|file| file.metadata.is_file());
    if find().is_none() {
        return call(asked);
    }
    let mut state = inside.lock();
    // Again: until now another thread may have changed it.
    let Some(file) = find() else {
        return call(asked);
    };
    let allowed = match state.fault_of_write(&file.path, asked) {
        Ok(allowed) => allowed,
        Err(errno) => {
            drop(state);
            return failed(errno);
        }
    };
    state.note_bytes(&file, target, span, allowed);
    let answer = call(allowed);
    keep_errno(|| drop(state));
    answer
}

/// A call that changes an extended attribute.
pub fn attribute(target: Target<'_>, name: &CStr, call: impl FnOnce() -> c_int) -> c_int {
    let Some(inside) = Inside::enter() else {
        return call();
    };
    let Some(file) = inside.find(target) else {
        return call();
    };
    let mut state = inside.lock();
    // 64 KiB is the most that Linux stores in one attribute.
    let mut value = vec![0; 65_536];
    let was = rustix::fs::getxattr(&file.path, name, value.as_mut_slice());
    let was = was.ok().map(|length| {
        value.truncate(length);
        value.into()
    });
    let name = name.to_string_lossy().into_owned();
    let (file, path) = (file.id, file.path);
    state.note(&Record::Attribute {
        file,
        path,
        name,
        was,
    });
    let answer = call();
    keep_errno(|| drop(state));
    answer
}

/// A call that may make a file as it opens it, or empty one.
pub fn open(folder: c_int, path: &CStr, flags: c_int, call: impl FnOnce() -> c_int) -> c_int {
    if flags & (libc::O_CREAT | libc::O_TRUNC) == 0 {
        return call();
    }
    let Some(inside) = Inside::enter() else {
        return call();
    };
    let Some(place) = Place::new(&inside.plan().root, folder, path) else {
        return call();
    };
    let mut state = inside.lock();
    match place.found() {
        None if flags & libc::O_CREAT != 0 => state.note_made(&place),
        Some(_) if flags & libc::O_TRUNC != 0 && flags & libc::O_EXCL == 0 => {
            let target = Target::Path(folder, path);
            if let Some(file) = inside.find(target).filter(|file| file.metadata.is_file()) {
                state.note_bytes(&file, target, Span::From(0), 0);
            }
        }
        _ => {}
    }
    let answer = call();
    keep_errno(|| drop(state));
    answer
}

/// A call that makes a folder or a link.
pub fn make(folder: c_int, path: &CStr, call: impl FnOnce() -> c_int) -> c_int {
    let Some(inside) = Inside::enter() else {
        return call();
    };
    let Some(place) = Place::new(&inside.plan().root, folder, path) else {
        return call();
    };
    let mut state = inside.lock();
    if place.found().is_none() {
        state.note_made(&place);
    }
    let answer = call();
    keep_errno(|| {
        if answer == 0 && place.found().is_some_and(|found| found.is_dir()) {
            let name = place.path.file_name().unwrap_or_default();
            state.folders.made(place.folder, Path::new(name));
        }
        drop(state);
    });
    answer
}

/// A call that removes a file, a link or an empty folder.
pub fn remove(folder: c_int, path: &CStr, call: impl FnOnce() -> c_int) -> c_int {
    let Some(inside) = Inside::enter() else {
        return call();
    };
    let Some(place) = Place::new(&inside.plan().root, folder, path) else {
        return call();
    };
    let mut state = inside.lock();
    match place.found() {
        Some(found) if found.is_dir() => state.note_names(
            &place,
            Change::RemovedFolder {
                path: place.path.clone(),
                mode: found.mode() & 0o7777,
            },
        ),
        Some(_) => {
            let kept = state.keep(&place.path);
            let path = place.path.clone();
            state.note_names(&place, Change::Removed { path, kept });
        }
        None => {}
    }
    let answer = call();
    keep_errno(|| {
        if is_staged(&place.path) {
            state.step(Step::Unstaged(&place.path));
        } else if answer == 0 {
            state.folders.named(place.folder);
        }
        drop(state);
    });
    answer
}

/// A call that gives another name.
pub fn rename(from: (c_int, &CStr), to: (c_int, &CStr), call: impl FnOnce() -> c_int) -> c_int {
    let Some(inside) = Inside::enter() else {
        return call();
    };
    let root = &inside.plan().root;
    let (from, to) = match (
        Place::new(root, from.0, from.1),
        Place::new(root, to.0, to.1),
    ) {
        (Some(from), Some(to)) => (from, to),
        (None, None) => return call(),
        _ => give_up("a rename into the watched folder, or out of it"),
    };
    let mut state = inside.lock();
    let Some(moved) = from.found() else {
        return call();
    };
    let staged = is_staged(&from.path);
    if staged {
        state.step(Step::Renaming);
    }
    let replaced = match to.found() {
        Some(found) if !found.is_dir() => Some(state.keep(&to.path)),
        _ => None,
    };
    let change = Change::Renamed {
        from: from.path.clone(),
        to: to.path.clone(),
        moved: FileId::of(&moved),
        replaced,
    };
    state.note_names(&to, change);
    let answer = call();
    keep_errno(|| {
        if answer == 0 {
            state.folders.named(to.folder);
            if staged {
                state.step(Step::Renamed(&from.path));
            }
        }
        drop(state);
    });
    answer
}

/// A call that has a file or a folder on disk when it returns.
pub fn sync(fd: c_int, call: impl FnOnce() -> c_int) -> c_int {
    let Some(inside) = Inside::enter() else {
        return call();
    };
    let Some(found) = inside.find(Target::Open(fd)) else {
        return call();
    };
    let plan = &inside.plan();
    let mut state = inside.lock();
    let below = found.path.strip_prefix(&plan.root).unwrap_or(&found.path);
    let changed = state.folders.take(found.id);
    let class = if found.metadata.is_dir() {
        Class::of_folder(below, changed)
    } else {
        Class::of_file(below)
    };
    if class == Class::Store {
        state.step(Step::SyncingStore);
    }
    if state.fault_of_sync(&found.path, class) {
        state.folders.put_back(found.id, changed);
        drop(state);
        return failed(libc::EIO);
    }
    let before = state.position();
    drop(state);
    let lies = plan.without == Some(class);
    let answer = if lies { 0 } else { call() };
    keep_errno(|| {
        let mut state = inside.lock();
        if lies {
            state.note(&Record::Lied { class });
        } else if answer == 0 {
            let file = found.id;
            state.note(&Record::Synced { file, before });
        }
        if lies || answer != 0 {
            state.folders.put_back(found.id, changed);
        }
        match class {
            Class::Store => state.step(Step::StoreSynced),
            Class::StagedFile => state.step(Step::StagedFileSynced(&found.path)),
            Class::StagingFolder => state.step(Step::StagingFolderSynced),
            Class::BucketFolder => state.step(Step::BucketFolderSynced),
            _ => {}
        }
    });
    answer
}

/// A call that has everything on disk when it returns.
pub fn sync_all(call: impl FnOnce() -> c_int) -> c_int {
    let Some(inside) = Inside::enter() else {
        return call();
    };
    let before = inside.lock().position();
    let answer = call();
    keep_errno(|| {
        if answer == 0 {
            inside.lock().note(&Record::AllSynced { before });
        }
    });
    answer
}

/// A call that maps a file. Writes through a shared mapping can't be seen, and none is expected.
pub fn map(fd: c_int, protection: c_int, flags: c_int) {
    let shared = flags & (libc::MAP_SHARED | libc::MAP_SHARED_VALIDATE) != 0
        && flags & libc::MAP_ANONYMOUS == 0;
    if !shared || protection & libc::PROT_WRITE == 0 {
        return;
    }
    if let Some(inside) = Inside::enter()
        && let Some(found) = inside.find(Target::Open(fd))
    {
        give_up(&format!("{} is mapped to be written", found.path.display()));
    }
}

fn is_staged(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == STAGING)
}
