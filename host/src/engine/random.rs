//! `wasi:random`'s bytes: counted with what else the host gives, and no more at once than a call may ask for.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, LinkerInstance};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::p2::bindings::random::{insecure, random};
use wasmtime_wasi::random::WasiRandomCtx;

use super::state::{State, random_bytes};

/// Whose `wasi:random` it is.
#[derive(Clone, Copy)]
pub(super) enum Version {
    /// 0.2, where a length past the bound ends the call.
    Two,
    /// 0.3, where it is a wish.
    Three,
}

type Draw = fn(&mut WasiRandomCtx, u64) -> wasmtime::Result<Vec<u8>>;

/// Puts counted functions in the place of wasmtime's.
pub(super) fn link(linker: &mut Linker<State>, version: Version) -> wasmtime::Result<()> {
    let number = match version {
        Version::Two => "0.2.12",
        Version::Three => "0.3.0",
    };
    let draws: [(&str, &str, Draw); 2] = [
        ("random", "get-random-bytes", random::Host::get_random_bytes),
        (
            "insecure",
            "get-insecure-random-bytes",
            insecure::Host::get_insecure_random_bytes,
        ),
    ];
    linker.allow_shadowing(true);
    for (interface, function, draw) in draws {
        let name = format!("wasi:random/{interface}@{number}");
        count(&mut linker.instance(&name)?, function, version, draw)?;
    }
    linker.allow_shadowing(false);
    Ok(())
}

fn count(
    instance: &mut LinkerInstance<'_, State>,
    name: &str,
    version: Version,
    draw: Draw,
) -> wasmtime::Result<()> {
    instance.func_wrap_async(
        name,
        move |mut store: StoreContextMut<'_, State>, (length,): (u64,)| {
            Box::new(async move {
                let length = match version {
                    Version::Two => length,
                    Version::Three => length.min(random_bytes()),
                };
                let bytes = draw(store.data_mut().ctx().ctx.random(), length)?;
                if store.data().context.calls.count(bytes.len())? {
                    tokio::task::yield_now().await;
                }
                Ok((bytes,))
            })
        },
    )
}
