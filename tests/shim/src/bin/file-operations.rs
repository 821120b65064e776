//! Carries out file operations, for the tests of the shim: each argument is one, in words.

#![expect(clippy::unwrap_used, clippy::panic, reason = "it fails as a test does")]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

fn main() {
    for operation in std::env::args().skip(1) {
        let words: Vec<&str> = operation.split(' ').collect();
        match words.as_slice() {
            ["write", path, text] => fs::write(path, text).unwrap(),
            ["append", path, text] => {
                let mut file = File::options().append(true).open(path).unwrap();
                file.write_all(text.as_bytes()).unwrap();
            }
            ["write-at", path, at, text] => {
                let file = File::options().write(true).open(path).unwrap();
                file.write_all_at(text.as_bytes(), at.parse().unwrap())
                    .unwrap();
            }
            ["truncate", path, length] => {
                let file = File::options().write(true).open(path).unwrap();
                file.set_len(length.parse().unwrap()).unwrap();
            }
            ["copy", from, to] => drop(fs::copy(from, to).unwrap()),
            ["rename", from, to] => fs::rename(from, to).unwrap(),
            ["link", from, to] => fs::hard_link(from, to).unwrap(),
            ["remove", path] if Path::new(path).is_dir() => fs::remove_dir(path).unwrap(),
            ["remove", path] => fs::remove_file(path).unwrap(),
            ["mkdir", path] => fs::create_dir(path).unwrap(),
            ["attribute", path, value] => {
                let flags = rustix::fs::XattrFlags::empty();
                rustix::fs::setxattr(*path, "user.test", value.as_bytes(), flags).unwrap();
            }
            // The way of a library that asks for a call that libc has no function for.
            ["openat2", path] => {
                use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
                let flags = OFlags::CREATE | OFlags::WRONLY;
                let mode = Mode::from_raw_mode(0o644);
                rustix::fs::openat2(CWD, *path, flags, mode, ResolveFlags::empty()).unwrap();
            }
            ["sync", path] => File::open(path).unwrap().sync_all().unwrap(),
            ["sync-data", path] => File::open(path).unwrap().sync_data().unwrap(),
            ["map", path] => {
                map(path);
            }
            _ => panic!("{operation:?} isn't known"),
        }
    }
}

#[expect(unsafe_code, reason = "the shim is to refuse it")]
fn map(path: &str) {
    use std::os::fd::AsRawFd;
    let file = File::options().read(true).write(true).open(path).unwrap();
    // SAFETY: nobody looks at the mapping.
    unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_WRITE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        );
    }
}
