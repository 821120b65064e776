//! The functions that ours stand in front of.

use std::ffi::{CStr, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

/// The address of a function in the libraries after this one.
pub struct Next {
    name: &'static CStr,
    address: AtomicPtr<c_void>,
}

impl Next {
    pub const fn new(name: &'static CStr) -> Self {
        Self {
            name,
            address: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// Ends the process where there is no such function: nobody could have called ours.
    pub fn address(&self) -> *mut c_void {
        let found = self.address.load(Ordering::Relaxed);
        if !found.is_null() {
            return found;
        }
        // SAFETY: the name ends with a zero.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        if found.is_null() {
            crate::inside::give_up(&format!("libc has no {:?}", self.name));
        }
        self.address.store(found, Ordering::Relaxed);
        found
    }
}

/// Declares functions in place of libc's: `fn name(arguments) -> answer, next { body }`, where `next` is
/// libc's own.
macro_rules! in_place_of_libc {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $answer:ty, $next:ident $body:block)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($argument: $type),*) -> $answer {
            static NEXT: Next = Next::new(
                match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                    Ok(name) => name,
                    Err(_) => c"",
                },
            );
            // SAFETY: libc's function of this name takes what ours takes. Those with a variable number of
            // arguments get them in the same registers on the 64-bit systems that this is built for.
            let $next: unsafe extern "C" fn($($type),*) -> $answer =
                unsafe { std::mem::transmute(NEXT.address()) };
            $body
        }
    )*};
}

pub(crate) use in_place_of_libc;
