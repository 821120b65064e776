//! What SQLite may take of memory for one guest's connection, to the byte.
//!
//! A statement can have SQLite hold any amount: sorts, temporary tables, rows that are compared. SQLite has a bound for
//! the whole process alone, which would have one guest's statement fail for another's, and the store of events with
//! them. A connection has a thread of its own here, so that what is asked for on that thread is the connection's: the
//! allocator counts it, and gives none past the thread's bound. SQLite takes that as memory that has run out: the
//! statement fails, and is rolled back.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

use rusqlite::ffi;

/// SQLite's own allocator.
static BELOW: OnceLock<Below> = OnceLock::new();
static INSTALLED: OnceLock<bool> = OnceLock::new();

thread_local! {
    /// How much more the thread may have, where it has a bound.
    static LEFT: Cell<Option<i64>> = const { Cell::new(None) };
}

#[derive(Clone, Copy)]
struct Below {
    malloc: unsafe extern "C" fn(c_int) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void),
    realloc: unsafe extern "C" fn(*mut c_void, c_int) -> *mut c_void,
    size: unsafe extern "C" fn(*mut c_void) -> c_int,
}

/// Has SQLite's memory be counted from now on. Whether it is: it can't be where a database was opened before, so that
/// whoever opens one calls this first.
pub(in crate::stores) fn count() -> bool {
    *INSTALLED.get_or_init(install)
}

/// Bounds what SQLite takes on this thread from now on, in bytes.
pub(super) fn bound_this_thread(bytes: u64) {
    LEFT.set(Some(i64::try_from(bytes).unwrap_or(i64::MAX)));
}

/// Takes so many bytes of what the thread has left, or gives them back where they are negative; whether it had them.
fn take(bytes: i64) -> bool {
    LEFT.with(|left| match left.get() {
        // What another thread had asked for may be given back here, and the other way round: little, and bounded.
        Some(had) if bytes <= had || bytes <= 0 => {
            left.set(Some(had.saturating_sub(bytes)));
            true
        }
        Some(_) => false,
        None => true,
    })
}

#[expect(
    unsafe_code,
    reason = "SQLite has no other way to bound what one connection takes"
)]
mod calls {
    use super::*;

    /// # Safety
    /// As SQLite's own `xMalloc`, which it stands for.
    pub unsafe extern "C" fn malloc(bytes: c_int) -> *mut c_void {
        let Some(below) = BELOW.get().filter(|_| take(i64::from(bytes))) else {
            return std::ptr::null_mut();
        };
        // SAFETY: what SQLite promises to its allocator it promises to the one below.
        let given = unsafe { (below.malloc)(bytes) };
        match given.is_null() {
            true => take(-i64::from(bytes)),
            // SAFETY: it was given just now.
            false => take(i64::from(bytes) - i64::from(unsafe { (below.size)(given) })),
        };
        given
    }

    /// # Safety
    /// As SQLite's own `xFree`.
    pub unsafe extern "C" fn free(given: *mut c_void) {
        if let Some(below) = BELOW.get().filter(|_| !given.is_null()) {
            // SAFETY: it was given by `malloc` or `realloc`, and so by the allocator below.
            unsafe {
                take(-i64::from((below.size)(given)));
                (below.free)(given);
            }
        }
    }

    /// # Safety
    /// As SQLite's own `xRealloc`.
    pub unsafe extern "C" fn realloc(given: *mut c_void, bytes: c_int) -> *mut c_void {
        let Some(below) = BELOW.get() else {
            return std::ptr::null_mut();
        };
        // SAFETY: as in `free`.
        let had = i64::from(unsafe { (below.size)(given) });
        if !take(i64::from(bytes) - had) {
            return std::ptr::null_mut();
        }
        // SAFETY: as in `malloc`.
        let moved = unsafe { (below.realloc)(given, bytes) };
        match moved.is_null() {
            true => take(had - i64::from(bytes)),
            // SAFETY: it was given just now.
            false => take(i64::from(unsafe { (below.size)(moved) }) - i64::from(bytes)),
        };
        moved
    }

    /// Puts the counting allocator over SQLite's own.
    pub fn install() -> bool {
        let mut methods = std::mem::MaybeUninit::<ffi::sqlite3_mem_methods>::zeroed();
        // SAFETY: this setting takes a pointer to the struct, which it fills; all of its fields may be null. The
        // functions in the one that is set have the contract of those below, and are there as long as the process. SQLite
        // refuses both settings once it was initialised, and who calls this holds the lock of `INSTALLED`.
        unsafe {
            let known = ffi::sqlite3_config(ffi::SQLITE_CONFIG_GETMALLOC, methods.as_mut_ptr());
            let mut methods = methods.assume_init();
            let (Some(malloc), Some(free), Some(realloc), Some(size)) = (
                methods.xMalloc,
                methods.xFree,
                methods.xRealloc,
                methods.xSize,
            ) else {
                return false;
            };
            if known != ffi::SQLITE_OK {
                return false;
            }
            let below = Below {
                malloc,
                free,
                realloc,
                size,
            };
            if BELOW.set(below).is_err() {
                return false;
            }
            methods.xMalloc = Some(self::malloc);
            methods.xFree = Some(self::free);
            methods.xRealloc = Some(self::realloc);
            ffi::sqlite3_config(ffi::SQLITE_CONFIG_MALLOC, &raw mut methods) == ffi::SQLITE_OK
        }
    }
}

use calls::install;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_what_it_is_bounded_to_and_others_have_all() {
        assert!(count());
        let fill = || {
            let connection = rusqlite::Connection::open_in_memory().unwrap();
            connection.execute_batch(
                "CREATE TABLE t (x);
                 WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 100)
                 INSERT INTO t SELECT randomblob(100000) FROM c",
            )
        };
        let bounded = std::thread::spawn(move || {
            bound_this_thread(4 << 20);
            let before = LEFT.get();
            let failed = fill().unwrap_err();
            assert_eq!(LEFT.get(), before, "all was given back");
            failed.sqlite_error_code()
        });
        assert_eq!(
            bounded.join().unwrap(),
            Some(rusqlite::ErrorCode::OutOfMemory)
        );
        fill().unwrap();
    }
}
