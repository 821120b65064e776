//! The calls of libc that change files, in place of libc's own.
//!
//! Several have a second name, from when lengths had 32 bits: on the systems that this is built for both
//! take the same.

use std::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};

use libc::{AT_FDCWD, RENAME_EXCHANGE, iovec, mode_t, off_t, size_t, ssize_t};

use crate::inside::give_up;
use crate::notes::Span;
use crate::place::Target;
use crate::real::{Next, in_place_of_libc};
use crate::shim;

/// A path that a caller gave.
///
/// # Safety
/// It must end with a zero, and stay as it is during the call: what libc asks for as well.
unsafe fn text<'a>(path: *const c_char) -> &'a CStr {
    // SAFETY: as this function's.
    unsafe { CStr::from_ptr(path) }
}

/// The parts of a write.
///
/// # Safety
/// There must be `count` of them.
unsafe fn parts_of<'a>(parts: *const iovec, count: c_int) -> &'a [iovec] {
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: as this function's.
    unsafe { std::slice::from_raw_parts(parts, count) }
}

/// How many bytes they have together.
fn total(parts: &[iovec]) -> usize {
    parts.iter().map(|part| part.iov_len).sum()
}

/// The first of them, up to so many bytes.
fn first(parts: &[iovec], mut length: usize) -> Vec<iovec> {
    let cut = |part: &iovec| {
        let iov_len = part.iov_len.min(length);
        length -= iov_len;
        iovec { iov_len, ..*part }
    };
    parts.iter().map(cut).collect()
}

fn place(offset: off_t) -> u64 {
    u64::try_from(offset).unwrap_or(0)
}

// Every call passes on what its caller gave, and so asks of it what libc does: that makes each `unsafe` below
// sound.
macro_rules! opens {
    ($($open:ident, $openat:ident, $creat:ident;)*) => { in_place_of_libc! {$(
        fn $open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int, next {
            shim::open(AT_FDCWD, unsafe { text(path) }, flags, || unsafe { next(path, flags, mode) })
        }
        fn $openat(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int, next {
            let call = || unsafe { next(folder, path, flags, mode) };
            shim::open(folder, unsafe { text(path) }, flags, call)
        }
        fn $creat(path: *const c_char, mode: mode_t) -> c_int, next {
            let flags = libc::O_CREAT | libc::O_TRUNC;
            shim::open(AT_FDCWD, unsafe { text(path) }, flags, || unsafe { next(path, mode) })
        }
    )*} };
}

opens! {
    open, openat, creat;
    open64, openat64, creat64;
}

macro_rules! writes_at {
    ($($pwrite:ident, $pwritev:ident, $ftruncate:ident, $truncate:ident, $fallocate:ident, $posix_fallocate:ident,
        $sendfile:ident;)*) => { in_place_of_libc! {$(
        fn $pwrite(fd: c_int, from: *const c_void, length: size_t, at: off_t) -> ssize_t, next {
            let span = Span::At(place(at), length);
            shim::bytes(Target::Open(fd), span, |length| unsafe { next(fd, from, length, at) })
        }
        fn $pwritev(fd: c_int, parts: *const iovec, count: c_int, at: off_t) -> ssize_t, next {
            let parts = unsafe { parts_of(parts, count) };
            let span = Span::At(place(at), total(parts));
            shim::bytes(Target::Open(fd), span, |length| unsafe {
                next(fd, first(parts, length).as_ptr(), count, at)
            })
        }
        fn $ftruncate(fd: c_int, length: off_t) -> c_int, next {
            let span = Span::From(place(length));
            shim::bytes(Target::Open(fd), span, |_| unsafe { next(fd, length) })
        }
        fn $truncate(path: *const c_char, length: off_t) -> c_int, next {
            let target = Target::Path(AT_FDCWD, unsafe { text(path) });
            shim::bytes(target, Span::From(place(length)), |_| unsafe { next(path, length) })
        }
        fn $fallocate(fd: c_int, mode: c_int, at: off_t, length: off_t) -> c_int, next {
            // Whatever the mode does comes after the place.
            shim::bytes(Target::Open(fd), Span::From(place(at)), |_| unsafe {
                next(fd, mode, at, length)
            })
        }
        fn $posix_fallocate(fd: c_int, at: off_t, length: off_t) -> c_int, next {
            shim::bytes(Target::Open(fd), Span::From(u64::MAX), |_| unsafe { next(fd, at, length) })
        }
        fn $sendfile(to: c_int, from: c_int, at: *mut off_t, length: size_t) -> ssize_t, next {
            let span = Span::Cursor(length);
            shim::bytes(Target::Open(to), span, |length| unsafe { next(to, from, at, length) })
        }
    )*} };
}

writes_at! {
    pwrite, pwritev, ftruncate, truncate, fallocate, posix_fallocate, sendfile;
    pwrite64, pwritev64, ftruncate64, truncate64, fallocate64, posix_fallocate64, sendfile64;
}

in_place_of_libc! {
    fn write(fd: c_int, from: *const c_void, length: size_t) -> ssize_t, next {
        let span = Span::Cursor(length);
        shim::bytes(Target::Open(fd), span, |length| unsafe { next(fd, from, length) })
    }
    fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t, next {
        let parts = unsafe { parts_of(parts, count) };
        shim::bytes(Target::Open(fd), Span::Cursor(total(parts)), |length| unsafe {
            next(fd, first(parts, length).as_ptr(), count)
        })
    }
    fn copy_file_range(
        from: c_int,
        from_at: *mut i64,
        to: c_int,
        to_at: *mut i64,
        length: size_t,
        flags: c_uint
    ) -> ssize_t, next {
        // SAFETY: null or a place, as libc asks.
        let span = match unsafe { to_at.as_ref() } {
            Some(at) => Span::At(place(*at), length),
            None => Span::Cursor(length),
        };
        shim::bytes(Target::Open(to), span, |length| unsafe {
            next(from, from_at, to, to_at, length, flags)
        })
    }

    fn fsync(fd: c_int) -> c_int, next {
        shim::sync(fd, || unsafe { next(fd) })
    }
    fn fdatasync(fd: c_int) -> c_int, next {
        shim::sync(fd, || unsafe { next(fd) })
    }
    fn syncfs(fd: c_int) -> c_int, next {
        shim::sync_all(|| unsafe { next(fd) })
    }
    fn sync() -> (), next {
        shim::sync_all(|| {
            unsafe { next() };
            0
        });
    }

    fn mkdir(path: *const c_char, mode: mode_t) -> c_int, next {
        shim::make(AT_FDCWD, unsafe { text(path) }, || unsafe { next(path, mode) })
    }
    fn mkdirat(folder: c_int, path: *const c_char, mode: mode_t) -> c_int, next {
        shim::make(folder, unsafe { text(path) }, || unsafe { next(folder, path, mode) })
    }
    fn symlink(to: *const c_char, path: *const c_char) -> c_int, next {
        shim::make(AT_FDCWD, unsafe { text(path) }, || unsafe { next(to, path) })
    }
    fn symlinkat(to: *const c_char, folder: c_int, path: *const c_char) -> c_int, next {
        shim::make(folder, unsafe { text(path) }, || unsafe { next(to, folder, path) })
    }
    fn link(from: *const c_char, path: *const c_char) -> c_int, next {
        shim::make(AT_FDCWD, unsafe { text(path) }, || unsafe { next(from, path) })
    }
    fn linkat(
        from_folder: c_int,
        from: *const c_char,
        folder: c_int,
        path: *const c_char,
        flags: c_int
    ) -> c_int, next {
        shim::make(folder, unsafe { text(path) }, || unsafe {
            next(from_folder, from, folder, path, flags)
        })
    }

    fn unlink(path: *const c_char) -> c_int, next {
        shim::remove(AT_FDCWD, unsafe { text(path) }, || unsafe { next(path) })
    }
    fn remove(path: *const c_char) -> c_int, next {
        shim::remove(AT_FDCWD, unsafe { text(path) }, || unsafe { next(path) })
    }
    fn rmdir(path: *const c_char) -> c_int, next {
        shim::remove(AT_FDCWD, unsafe { text(path) }, || unsafe { next(path) })
    }
    fn unlinkat(folder: c_int, path: *const c_char, flags: c_int) -> c_int, next {
        shim::remove(folder, unsafe { text(path) }, || unsafe { next(folder, path, flags) })
    }

    fn rename(from: *const c_char, to: *const c_char) -> c_int, next {
        let (old, new) = unsafe { (text(from), text(to)) };
        shim::rename((AT_FDCWD, old), (AT_FDCWD, new), || unsafe { next(from, to) })
    }
    fn renameat(
        from_folder: c_int,
        from: *const c_char,
        to_folder: c_int,
        to: *const c_char
    ) -> c_int, next {
        let (old, new) = unsafe { (text(from), text(to)) };
        shim::rename((from_folder, old), (to_folder, new), || unsafe {
            next(from_folder, from, to_folder, to)
        })
    }
    fn renameat2(
        from_folder: c_int,
        from: *const c_char,
        to_folder: c_int,
        to: *const c_char,
        flags: c_uint
    ) -> c_int, next {
        if flags & RENAME_EXCHANGE != 0 {
            give_up("names are exchanged, which isn't noted");
        }
        let (old, new) = unsafe { (text(from), text(to)) };
        shim::rename((from_folder, old), (to_folder, new), || unsafe {
            next(from_folder, from, to_folder, to, flags)
        })
    }

    fn setxattr(
        path: *const c_char,
        name: *const c_char,
        value: *const c_void,
        length: size_t,
        flags: c_int
    ) -> c_int, next {
        let target = Target::Path(AT_FDCWD, unsafe { text(path) });
        shim::attribute(target, unsafe { text(name) }, || unsafe {
            next(path, name, value, length, flags)
        })
    }
    fn fsetxattr(
        fd: c_int,
        name: *const c_char,
        value: *const c_void,
        length: size_t,
        flags: c_int
    ) -> c_int, next {
        shim::attribute(Target::Open(fd), unsafe { text(name) }, || unsafe {
            next(fd, name, value, length, flags)
        })
    }
    fn removexattr(path: *const c_char, name: *const c_char) -> c_int, next {
        let target = Target::Path(AT_FDCWD, unsafe { text(path) });
        shim::attribute(target, unsafe { text(name) }, || unsafe { next(path, name) })
    }
    fn fremovexattr(fd: c_int, name: *const c_char) -> c_int, next {
        let target = Target::Open(fd);
        shim::attribute(target, unsafe { text(name) }, || unsafe { next(fd, name) })
    }

    fn mmap(
        at: *mut c_void,
        length: size_t,
        protection: c_int,
        flags: c_int,
        fd: c_int,
        offset: off_t
    ) -> *mut c_void, next {
        shim::map(fd, protection, flags);
        unsafe { next(at, length, protection, flags, fd, offset) }
    }
    fn mmap64(
        at: *mut c_void,
        length: size_t,
        protection: c_int,
        flags: c_int,
        fd: c_int,
        offset: off_t
    ) -> *mut c_void, next {
        shim::map(fd, protection, flags);
        unsafe { next(at, length, protection, flags, fd, offset) }
    }

    fn syscall(
        number: c_long,
        a: c_long,
        b: c_long,
        c: c_long,
        d: c_long,
        e: c_long,
        f: c_long
    ) -> c_long, next {
        let call = || unsafe { next(number, a, b, c, d, e, f) };
        match number {
            libc::SYS_openat2 => {
                // SAFETY: the third argument of this call is of that type.
                let how = unsafe { (c as *const libc::open_how).as_ref() };
                let flags = how.map_or(0, |how| how.flags as c_int);
                let path = unsafe { text(b as *const c_char) };
                shim::open(a as c_int, path, flags, || call() as c_int).into()
            }
            libc::SYS_openat => {
                let path = unsafe { text(b as *const c_char) };
                shim::open(a as c_int, path, c as c_int, || call() as c_int).into()
            }
            libc::SYS_mkdirat => {
                let path = unsafe { text(b as *const c_char) };
                shim::make(a as c_int, path, || call() as c_int).into()
            }
            libc::SYS_unlinkat => {
                let path = unsafe { text(b as *const c_char) };
                shim::remove(a as c_int, path, || call() as c_int).into()
            }
            libc::SYS_renameat2 if e as c_uint & RENAME_EXCHANGE == 0 => {
                let (old, new) = unsafe { (text(b as *const c_char), text(d as *const c_char)) };
                let (old, new) = ((a as c_int, old), (c as c_int, new));
                shim::rename(old, new, || call() as c_int).into()
            }
            libc::SYS_fsync | libc::SYS_fdatasync => shim::sync(a as c_int, || call() as c_int).into(),
            libc::SYS_write
            | libc::SYS_pwrite64
            | libc::SYS_writev
            | libc::SYS_pwritev
            | libc::SYS_pwritev2
            | libc::SYS_ftruncate
            | libc::SYS_copy_file_range
            | libc::SYS_splice
            | libc::SYS_linkat
            | libc::SYS_symlinkat
            | libc::SYS_renameat2
            | libc::SYS_fsetxattr => {
                give_up(&format!("call {number} is made by `syscall`, and not noted"))
            }
            _ => call(),
        }
    }
}
