//! A thread inside of the shim: its own calls are not to be noted, and the errors of the calls that it
//! stands around stay as they are.

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use kinglet_powercut::{ENVIRONMENT, Plan};

use crate::notes::Notes;
use crate::place::{Found, Target};

struct Shim {
    plan: Plan,
    state: Mutex<Notes>,
}

impl Shim {
    /// None without a plan.
    fn get() -> Option<&'static Self> {
        static SHIM: OnceLock<Option<Shim>> = OnceLock::new();
        let shim = SHIM.get_or_init(|| {
            let text = std::env::var(ENVIRONMENT).ok()?;
            match Plan::from_text(&text) {
                Ok(plan) => Some(Self {
                    state: Mutex::new(Notes::new(&plan)),
                    plan,
                }),
                Err(error) => give_up(&format!("{ENVIRONMENT} isn't a plan: {error}")),
            }
        });
        shim.as_ref()
    }
}

thread_local! {
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// A thread that is at work here.
pub struct Inside {
    shim: &'static Shim,
}

impl Inside {
    /// None without a plan, and where the thread is inside already.
    pub fn enter() -> Option<Self> {
        if IS_INSIDE.replace(true) {
            return None;
        }
        let shim = Shim::get();
        if shim.is_none() {
            IS_INSIDE.set(false);
        }
        shim.map(|shim| Self { shim })
    }

    pub fn plan(&self) -> &'static Plan {
        &self.shim.plan
    }

    pub fn find(&self, target: Target<'_>) -> Option<Found> {
        Found::new(&self.shim.plan.root, target)
    }

    pub fn lock(&self) -> MutexGuard<'static, Notes> {
        self.shim
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        IS_INSIDE.set(false);
    }
}

/// Ends the process: what happens next couldn't be taken back.
pub fn give_up(why: &str) -> ! {
    eprintln!("shim: {why}");
    std::process::abort()
}

/// The answer of a call that failed so.
pub fn failed<T: From<i8>>(errno: c_int) -> T {
    // SAFETY: it points to this thread's number, for as long as the thread lives.
    unsafe { *libc::__errno_location() = errno };
    T::from(-1)
}

/// Does what mustn't change the error that a call ended with.
pub fn keep_errno(work: impl FnOnce()) {
    // SAFETY: as above.
    let errno = unsafe { *libc::__errno_location() };
    work();
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}
