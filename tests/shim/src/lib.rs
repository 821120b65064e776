//! Loaded under a host (`LD_PRELOAD`), it stands between the host and its files.
//!
//! It notes before each change below a folder how to undo it, and at each sync that it stands, so that
//! `kinglet_powercut::discard` can take back what a disk may have lost. As the plan says, it kills the
//! process inside of a window of a commit, has calls fail, and has syncs do nothing. Without a plan it does
//! nothing at all.
//!
//! What it sees are calls of libc, `syscall` among them. A library that makes its own goes past it, as
//! rustix does without its feature `use-libc`; the harness compares what changed on disk with what was
//! noted. Not noted are changes of permissions, owners and times, and sockets: nothing is lost with them.
//! `sync_file_range` promises nothing, and makes nothing stand.
//!
//! - `exports`: the calls, in place of libc's.
//! - `real`: libc's own.
//! - `shim`: what happens around a call.
//! - `notes`: what is noted of it, whether it fails, and when the process ends.
//! - `inside`: keeps the shim's own calls apart.
//! - `place`: which file or folder a call is about.

// Elsewhere libraries are loaded and called differently.
#![cfg(all(target_os = "linux", target_pointer_width = "64"))]
#![allow(
    unsafe_code,
    reason = "functions that stand in for libc's take what libc's take; nothing else here is unsafe"
)]

mod exports;
mod inside;
mod notes;
mod place;
mod real;
mod shim;
