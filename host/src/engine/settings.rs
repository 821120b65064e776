//! How wasmtime is set up. Each setting that differs is another pool and another cache, so there are two
//! engines: one without support for concurrent component tasks, which makes its cycle half as long, and one with
//! it, for components of WASI 0.3, which can't do without.

use wasmtime::component::{Component, InstancePre, Linker};
#[cfg(debug_assertions)]
use wasmtime::component::{LinkerInstance, types::ComponentItem};
use wasmtime::{Config, Enabled, PoolingAllocationConfig, WasmBacktraceDetails};

use super::load::LoadError;
use super::random::{self, Version};
use super::state::State;
use crate::capabilities;
use crate::guard::{self, Guard};

/// A component built by cargo has three core instances, one of `cargo component` four; composed ones
/// have more.
const CORE_INSTANCES_EACH: u32 = 8;
const TABLES_EACH: u32 = 6;
const MEMORIES_EACH: u32 = 2;
/// Where its tasks are concurrent, one waits on a stack while another runs.
const STACKS_EACH: u32 = 4;
/// What stays in memory between two instances in the same slot: more costs more to reset.
const KEEP_RESIDENT: usize = 64 << 10;
/// Up to this a component's initial memory is mapped copy on write, whatever is in it, and takes as much of the
/// cache; a larger one only where it is half full, and else is copied into each instance.
const MAPPED_IMAGE: u64 = 128 << 20;
/// The native stack of a guest.
pub(super) const MAX_WASM_STACK: usize = 512 << 10;
/// And what of it the host may take beside the guest, while it calls the host.
const HOST_STACK: usize = 1536 << 10;
/// So many times more is there where the guard of the stack is off.
const STACK_BEYOND: usize = 16;
/// Stands for no bound at what one component has, where its guard is off.
const UNBOUNDED: u32 = 1_000;

/// An engine, and what the host links to each component that it runs.
pub(super) struct Runtime {
    pub engine: wasmtime::Engine,
    pub linker: Linker<State>,
}

impl Runtime {
    /// Where `concurrent`, for components of WASI 0.3 too.
    pub fn new(instances: u32, concurrent: bool) -> Result<Self, LoadError> {
        let engine = engine(instances, concurrent).map_err(|error| LoadError::Engine {
            instances,
            reason: format!("{error:#}"),
        })?;
        let linker = linker(&engine, concurrent).map_err(|error| LoadError::Link {
            reason: format!("{error:#}"),
        })?;
        Ok(Self { engine, linker })
    }

    /// Links a component.
    pub fn link(&self, component: &Component) -> wasmtime::Result<InstancePre<State>> {
        #[cfg(debug_assertions)]
        if !guard::holds(Guard::Imports) {
            let mut linker = self.linker.clone();
            link_unknown(&mut linker, component)?;
            return linker.instantiate_pre(component);
        }
        self.linker.instantiate_pre(component)
    }
}

/// Links a function that traps for each import of a package that no host has.
#[cfg(debug_assertions)]
fn link_unknown(linker: &mut Linker<State>, component: &Component) -> wasmtime::Result<()> {
    let engine = component.engine();
    for (name, import) in component.component_type().imports(engine) {
        let missing = format!("`{name}` isn't there");
        match import.ty {
            _ if name.starts_with("wasi:") || name.starts_with("kinglet:") => {}
            ComponentItem::ComponentFunc(_) => {
                trap(&mut linker.root(), name, missing)?;
            }
            ComponentItem::ComponentInstance(instance) => {
                let mut linked = linker.instance(name)?;
                for (item, ty) in instance.exports(engine) {
                    if let ComponentItem::ComponentFunc(_) = ty.ty {
                        trap(&mut linked, item, missing.clone())?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(debug_assertions)]
fn trap(linker: &mut LinkerInstance<'_, State>, item: &str, text: String) -> wasmtime::Result<()> {
    linker.func_new(item, move |_, _, _, _| {
        Err(wasmtime::Error::msg(text.clone()))
    })
}

fn engine(instances: u32, concurrent: bool) -> wasmtime::Result<wasmtime::Engine> {
    let bound = |most: u32| {
        if guard::holds(Guard::Instances) {
            most
        } else {
            UNBOUNDED
        }
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_EACH))
        .total_memories(instances.saturating_mul(MEMORIES_EACH))
        .total_tables(instances.saturating_mul(TABLES_EACH))
        .total_stacks(instances.saturating_mul(if concurrent { STACKS_EACH } else { 1 }))
        .max_core_instances_per_component(bound(CORE_INSTANCES_EACH))
        .max_memories_per_component(bound(MEMORIES_EACH))
        .max_tables_per_component(bound(TABLES_EACH))
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT)
        .pagemap_scan(Enabled::Auto);
    let mut config = config(concurrent);
    config.allocation_strategy(pool);
    wasmtime::Engine::new(&config)
}

/// To compile, and for the one instance that an init runs in: the same components, without a pool.
pub(super) fn build_engine(concurrent: bool) -> wasmtime::Result<wasmtime::Engine> {
    wasmtime::Engine::new(&config(concurrent))
}

fn config(concurrent: bool) -> Config {
    let stack = if guard::holds(Guard::Stack) {
        MAX_WASM_STACK
    } else {
        MAX_WASM_STACK * STACK_BEYOND
    };
    let mut config = Config::new();
    config
        .concurrency_support(concurrent)
        // Fuel carries the deadline too: a guest yields every so many units, and a timer ends it.
        // Epochs beside it would cost as much again.
        .consume_fuel(true)
        .max_wasm_stack(stack)
        .async_stack_size(stack + HOST_STACK)
        .wasm_memory64(false)
        // What an init leaves may be mostly zero, and is to be mapped all the same.
        .memory_guaranteed_dense_image_size(MAPPED_IMAGE)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config
}

/// What the host links to a component.
pub(super) fn linker(
    engine: &wasmtime::Engine,
    concurrent: bool,
) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    // Files and sockets are linked, since every component that `cargo component` builds imports them,
    // and closed: there are no preopened folders, and no address is allowed. So are outgoing requests.
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    capabilities::add_to_linker(&mut linker)?;
    random::link(&mut linker, Version::Two)?;
    if concurrent {
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
        random::link(&mut linker, Version::Three)?;
        capabilities::add_concurrent_to_linker(&mut linker)?;
    }
    super::http::link(&mut linker, concurrent)?;
    Ok(linker)
}
