//! Processor scheduling of the host's own threads.
//!
//! Threads that serve ask the kernel for short time slices. Such a thread preempts a longer slice as
//! soon as it wakes, so that guests can compute beside it at ordinary priority. Guests then lose no
//! processor time to other programs, which a lower priority would give away.

use std::time::Duration;

/// Slice of threads that serve: the shortest that Linux grants.
const SERVING_SLICE: Duration = Duration::from_micros(100);

/// Priority step of threads that compute, where the kernel has no slices for single threads.
///
/// Beside one busy program such a thread gets 39% of a processor instead of 50%.
const NICE_STEP: i32 = 2;

/// Asks for short time slices for the calling thread and for all threads that it starts later.
///
/// Does nothing on kernels before Linux 6.12, which have one length for all slices.
pub fn use_short_slices() {
    linux::set_slice(SERVING_SLICE);
}

/// Gives the calling thread the kernel's default slice again, as computing threads need.
///
/// Raises the thread's nice value by [`NICE_STEP`] on kernels before Linux 6.12, so that threads that
/// serve still come first.
pub fn use_default_slices() {
    if linux::set_slice(Duration::ZERO) {
        return;
    }
    if let Ok(own) = rustix::process::getpriority_process(None) {
        // A refusal leaves all threads with the same share.
        let _ = rustix::process::setpriority_process(None, own + NICE_STEP);
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::time::Duration;

    use libc::{SYS_sched_getattr, SYS_sched_setattr, c_long, sched_attr};

    /// Sets the calling thread's slice, or the default one for a duration of zero.
    ///
    /// Returns whether the kernel has slices for single threads.
    pub fn set_slice(slice: Duration) -> bool {
        let Some(mut attributes) = current() else {
            return false;
        };
        attributes.sched_runtime = u64::try_from(slice.as_nanos()).unwrap_or(0);
        call(SYS_sched_setattr, &mut attributes, 0)
            // Older kernels accept the field, ignore it, and report zero.
            && current().is_some_and(|attributes| attributes.sched_runtime > 0)
    }

    /// Returns the calling thread's scheduling attributes.
    pub fn current() -> Option<sched_attr> {
        let mut attributes = sched_attr {
            size: u32::try_from(size_of::<sched_attr>()).unwrap_or(0),
            sched_policy: 0,
            sched_flags: 0,
            sched_nice: 0,
            sched_priority: 0,
            sched_runtime: 0,
            sched_deadline: 0,
            sched_period: 0,
        };
        let size = attributes.size.into();
        call(SYS_sched_getattr, &mut attributes, size).then_some(attributes)
    }

    /// Calls `sched_getattr` or `sched_setattr` for the calling thread; `third` is the third argument.
    ///
    /// Returns whether the call succeeded.
    #[expect(
        unsafe_code,
        reason = "no library wraps these calls for threads of ordinary priority"
    )]
    fn call(number: c_long, attributes: &mut sched_attr, third: c_long) -> bool {
        // SAFETY: the kernel reads or writes at most `attributes.size` bytes at the pointer, which is
        // valid for the call. Zero names the calling thread, and the last argument must be zero.
        unsafe { libc::syscall(number, 0, std::ptr::from_mut(attributes), third, 0) == 0 }
    }
}

#[cfg(not(target_os = "linux"))]
mod linux {
    /// Returns false, because slices for single threads are Linux's own.
    pub fn set_slice(_: std::time::Duration) -> bool {
        false
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    fn slice() -> Duration {
        Duration::from_nanos(linux::current().unwrap().sched_runtime)
    }

    /// A guest that computes at a lower priority loses most of its time beside any busy program.
    #[test]
    fn computing_threads_keep_the_ordinary_priority_and_slice() {
        let thread = std::thread::spawn(|| {
            let default = slice();
            if default.is_zero() {
                // A kernel before 6.12: the nice value is all there is.
                return;
            }
            use_short_slices();
            assert_eq!(slice(), SERVING_SLICE);
            let computing = std::thread::spawn(|| {
                assert_eq!(slice(), SERVING_SLICE, "inherited");
                use_default_slices();
                (slice(), linux::current().unwrap().sched_nice)
            });
            let nice = linux::current().unwrap().sched_nice;
            assert_eq!(computing.join().unwrap(), (default, nice));
        });
        thread.join().unwrap();
    }
}
