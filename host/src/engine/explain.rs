//! Why a call didn't return, in words that name the true cause.

use std::fmt::Display;

use wasmtime::component::ResourceTableError;
use wasmtime::{OutOfMemory, PoolConcurrencyLimitError, WasmBacktrace};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::FieldMapError;

use super::http::{NotCommitted, RequestBroken};
use super::invoke::WrongEvent;
use super::limiter::{HostFull, MemoryExceeded};
use super::load::LoadedFunction;
use super::settings::MAX_WASM_STACK;
use super::state::{FIELD_BYTES, State, max_handles};
use crate::capabilities::{GuestLog, HostCallsExceeded, RequestsExceeded};
use crate::clock::millis;
use crate::guard::{self, Guard};
use crate::ports::{
    Failure, HostFault, Limit, NAME_BYTES, Outcome, REASON_BYTES, Trap, format_short, visible,
    visible_short,
};

/// A call that was cut short.
pub(super) enum Cut {
    Deadline,
    Ended(wasmtime::Error),
}

/// A longer symbol isn't demangled, in bytes.
const MANGLED_BYTES: usize = 4 << 10;

/// This often the same name in a backtrace is a recursion.
const RECURSION_FRAMES: usize = 5;

/// How a call ended; `None` where its time did. A guest that got over the error of a stream went too far all the same.
pub(super) fn ended<T>(call: Option<wasmtime::Result<T>>, state: &State) -> Result<T, Cut> {
    state
        .context
        .calls
        .check()
        .map_err(|error| Cut::Ended(error.into()))?;
    state
        .check_requests()
        .map_err(|error| Cut::Ended(error.into()))?;
    state
        .check_memory()
        .map_err(|full| Cut::Ended(full.trap()))?;
    match call {
        Some(call) => call.map_err(Cut::Ended),
        None => Err(Cut::Deadline),
    }
}

/// Names the true cause of a call that didn't return.
pub(super) fn explain(cut: Cut, began: bool, function: &LoadedFunction, state: &State) -> Outcome {
    let (limits, log) = (&function.limits, &state.context.log);
    let error = match cut {
        Cut::Deadline => {
            return Outcome::Limit(Limit::Deadline {
                limit_ms: millis(limits.timeout.0),
            });
        }
        Cut::Ended(error) => error,
    };
    if let Some(exceeded) = error.downcast_ref::<MemoryExceeded>() {
        let MemoryExceeded { limit, wanted } = *exceeded;
        return Outcome::Limit(Limit::Memory { limit, wanted });
    }
    if let Some(full) = error.downcast_ref::<HostFull>() {
        let HostFull { most, wanted } = *full;
        if wanted > most {
            let limit = most;
            return Outcome::Limit(Limit::HostMemory { limit, wanted });
        }
        let reason = full.to_string();
        return Outcome::Fault(HostFault { reason });
    }
    if let Some(NotCommitted(outcome)) = error.downcast_ref() {
        return outcome.clone();
    }
    match error.downcast_ref::<RequestBroken>() {
        Some(RequestBroken::Limit(limit)) => return Outcome::Limit(limit.clone()),
        Some(broken @ RequestBroken::Off(_)) => {
            let reason = broken.to_string();
            return Outcome::Failed(Failure::Reject { reason });
        }
        None => {}
    }
    if let Some(limit) = limit_of(&error, function) {
        return Outcome::Limit(limit);
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        let ended = format!(
            "the guest ended itself with exit status {}, and didn't return from its handler",
            exit.0
        );
        let reason = with_errors(ended, log);
        return Outcome::Trap(Trap {
            reason,
            backtrace: Vec::new(),
        });
    }
    if let Some(wrong) = error.downcast_ref::<WrongEvent>() {
        return Outcome::Failed(Failure::Reject {
            reason: wrong.to_string(),
        });
    }
    let backtrace = backtrace(&error);
    let Some(trap) = error.downcast_ref::<wasmtime::Trap>() else {
        // The capabilities hand failures of the stores to the guest, so what ends its start or a call is the guest's
        // own doing: a broken pointer, too many handles, an index past the end. But an instance needs room first.
        let ran = error.downcast_ref::<WasmBacktrace>().is_some();
        let reason = if ran {
            told(error.root_cause())
        } else {
            told(format_args!("{error:#}"))
        };
        return if began || ran || !lacks_room(&error) {
            Outcome::Trap(Trap { reason, backtrace })
        } else {
            Outcome::Fault(HostFault { reason })
        };
    };
    match trap {
        wasmtime::Trap::OutOfFuel => Outcome::Limit(Limit::Fuel { limit: limits.fuel }),
        wasmtime::Trap::StackOverflow => Outcome::Limit(Limit::Stack {
            limit: MAX_WASM_STACK as u64,
        }),
        wasmtime::Trap::UnreachableCodeReached => {
            let reason = match (log.panic_message(), state.limiter.own_maximum()) {
                (Some(message), _) => message,
                (None, Some(maximum)) => format!(
                    "{trap}: its memory couldn't grow past its own maximum of {maximum} bytes"
                ),
                (None, None) => with_errors(trap.to_string(), log),
            };
            Outcome::Trap(Trap { reason, backtrace })
        }
        // A Rust guest keeps its own stack in linear memory, and runs out of that first.
        wasmtime::Trap::MemoryOutOfBounds if let Some(name) = recursion(&backtrace) => {
            Outcome::Trap(Trap {
                reason: format!(
                    "{trap}: the guest's stack ran out, with {name:?} calling itself again and again"
                ),
                backtrace,
            })
        }
        trap => Outcome::Trap(Trap {
            reason: trap.to_string(),
            backtrace,
        }),
    }
}

/// Adds the last lines of standard error to why a guest ended, where it printed any. A runtime that ends its guest
/// has no other way to say why.
fn with_errors(reason: String, log: &GuestLog) -> String {
    match log.panic_message().or_else(|| log.last_errors()) {
        Some(errors) => format!("{reason}; standard error ended with: {errors}"),
        None => reason,
    }
}

/// Whether the system has no room for an instance. What this doesn't know uses up attempts: were it taken for a fault of
/// the host, an event could come again for ever.
fn lacks_room(error: &wasmtime::Error) -> bool {
    let is_systems = |cause: &(dyn std::error::Error + 'static)| {
        cause.is::<std::io::Error>() || cause.is::<rustix::io::Errno>()
    };
    error.is::<PoolConcurrencyLimitError>()
        || error.is::<OutOfMemory>()
        || error.chain().any(is_systems)
}

fn backtrace(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return Vec::new();
    };
    let name = |frame: &wasmtime::FrameInfo| match frame.func_name() {
        Some(name) => demangle(name),
        None => format!("function {}", frame.func_index()),
    };
    backtrace.frames().iter().map(name).collect()
}

/// Returns a symbol as its author wrote it. A long one stays as it is, since demangling can make it
/// much longer still.
fn demangle(name: &str) -> String {
    if !guard::holds(Guard::Names) {
        return visible(&format!("{:#}", rustc_demangle::demangle(name)));
    }
    if name.len() > MANGLED_BYTES {
        return visible_short(name, NAME_BYTES);
    }
    let demangled = rustc_demangle::demangle(name);
    visible_short(
        &format_short(format_args!("{demangled:#}"), NAME_BYTES),
        NAME_BYTES,
    )
}

/// Returns what the engine says of an error. A component's names can be part of it.
pub(super) fn told(error: impl Display) -> String {
    if guard::holds(Guard::Names) {
        visible(&format_short(error, REASON_BYTES))
    } else {
        visible(&error.to_string())
    }
}

/// The function that is in a backtrace again and again, itself or by way of a few others.
fn recursion(backtrace: &[String]) -> Option<&str> {
    let often = |name: &&String| {
        let same = backtrace.iter().filter(|other| other == name);
        same.count() >= RECURSION_FRAMES
    };
    backtrace.iter().find(often).map(String::as_str)
}

/// The limit that an error stands for, if it does for one.
fn limit_of(error: &wasmtime::Error, function: &LoadedFunction) -> Option<Limit> {
    if let Some(HostCallsExceeded { limit }) = error.downcast_ref() {
        return Some(Limit::HostCalls { limit: *limit });
    }
    if let Some(RequestsExceeded { limit }) = error.downcast_ref() {
        let limit = u64::from(*limit);
        return Some(Limit::Requests { limit });
    }
    if let Some(FieldMapError::TooManyFields | FieldMapError::TotalSizeTooBig) =
        error.downcast_ref()
    {
        return Some(Limit::Headers {
            limit: FIELD_BYTES as u64,
        });
    }
    let root = error.root_cause().to_string();
    let full = matches!(error.downcast_ref(), Some(ResourceTableError::Full));
    if full || HANDLES.iter().any(|said| root.contains(said)) {
        return Some(Limit::Handles {
            limit: max_handles() as u64,
        });
    }
    if root.contains(ARGUMENTS) {
        return Some(match function.arguments as u64 {
            limit if limit == function.limits.host_calls.0 => Limit::HostCalls { limit },
            limit => Limit::Arguments { limit },
        });
    }
    None
}

/// What wasmtime says of a store that has too many handles, and has no type for.
const HANDLES: [&str; 2] = ["store handle limit exceeded", "too many active lends"];
/// And where one call is given too much.
const ARGUMENTS: &str = "fuel allocated for hostcalls has been exhausted";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recursion_is_found_also_over_several_functions() {
        let trace = |names: &[&str]| -> Vec<String> {
            let names = names.iter().cycle().take(20);
            names.map(|name| (*name).to_owned()).collect()
        };
        assert_eq!(recursion(&trace(&["a"])), Some("a"));
        assert_eq!(recursion(&trace(&["a", "b", "c"])), Some("a"));
        let mut leaf = trace(&["b", "c"]);
        leaf.insert(0, "memset".to_owned());
        assert_eq!(recursion(&leaf), Some("b"));
        assert_eq!(recursion(&trace(&["a", "b", "c", "d", "e", "f"])), None);
        assert_eq!(recursion(&[]), None);
    }
}
