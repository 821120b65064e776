//! Why a call didn't return, in words that name the true cause.

use wasmtime::{OutOfMemory, PoolConcurrencyLimitError, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::invoke::WrongEvent;
use super::limiter::MemoryExceeded;
use super::load::LoadedFunction;
use super::settings::MAX_WASM_STACK;
use crate::capabilities::GuestLog;
use crate::clock::millis;
use crate::ports::{Failure, HostFault, Limit, Outcome, Trap, visible};

/// A call that was cut short.
pub(super) enum Cut {
    Deadline,
    Ended(wasmtime::Error),
}

/// This often the same name in a backtrace is a recursion.
const RECURSION_FRAMES: usize = 8;

/// Names the true cause of a call that didn't return.
pub(super) fn explain(cut: Cut, began: bool, function: &LoadedFunction, log: &GuestLog) -> Outcome {
    let limits = &function.limits;
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
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        let reason = format!(
            "the guest ended itself with exit status {} in place of returning from its handler",
            exit.0
        );
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
        let reason = visible(&format!("{error:#}"));
        // The capabilities hand failures of the stores to the guest, so what ends its start or a call is the guest's
        // own doing: a broken pointer, too many handles, an index past the end. But an instance needs room first.
        return if began || !lacks_room(&error) {
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
            let reason = log.panic_message().unwrap_or_else(|| trap.to_string());
            Outcome::Trap(Trap { reason, backtrace })
        }
        // A Rust guest keeps its own stack in linear memory, and runs out of that first.
        wasmtime::Trap::MemoryOutOfBounds if recurses(&backtrace) => Outcome::Trap(Trap {
            reason: format!(
                "{trap}: the guest's stack ran out, with {:?} calling itself again and again",
                backtrace.first().map_or("a function", String::as_str)
            ),
            backtrace,
        }),
        trap => Outcome::Trap(Trap {
            reason: trap.to_string(),
            backtrace,
        }),
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

/// A symbol as its author wrote it.
fn demangle(name: &str) -> String {
    visible(&format!("{:#}", rustc_demangle::demangle(name)))
}

fn recurses(backtrace: &[String]) -> bool {
    backtrace.first().is_some_and(|first| {
        backtrace.iter().filter(|name| *name == first).count() >= RECURSION_FRAMES
    })
}
