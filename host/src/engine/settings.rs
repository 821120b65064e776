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

/// The most core instances of one component: they are counted, and take no address space. Cargo makes
/// three of a component, a JavaScript runtime has nine, a Python runtime fourteen. A chain has those of
/// its components, and one or two for each call between them.
const MAX_CORE_INSTANCES: u32 = 64;
/// The most linear memories of one component. A chain has one for each of its components.
const MAX_MEMORIES: u32 = 8;
/// The most tables of one component.
const MAX_TABLES: u32 = 32;
/// The memories of one place in the pool, which reserves 4 GiB of address space for each. Most
/// components fit one place; a larger one takes several.
const PLACE_MEMORIES: u32 = 2;
/// The tables of one place, for each of which the pool reserves 160 KB of address space.
const PLACE_TABLES: u32 = 6;
/// The places of the largest component. No pool has fewer, so that none waits forever.
pub(super) const MAX_PLACES: u32 = {
    let (memories, tables) = (
        MAX_MEMORIES.div_ceil(PLACE_MEMORIES),
        MAX_TABLES.div_ceil(PLACE_TABLES),
    );
    if memories > tables { memories } else { tables }
};
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

/// Returns how many places of the pool an instance of a component takes.
pub(super) fn places(component: &Component) -> u32 {
    // None for one that imports modules, which no host links.
    let required = component.resources_required();
    required.map_or(1, |required| {
        let memories = required.num_memories.div_ceil(PLACE_MEMORIES);
        let tables = required.num_tables.div_ceil(PLACE_TABLES);
        memories.max(tables).clamp(1, MAX_PLACES)
    })
}

/// Returns how a component exceeds the pool's bounds, with its figure and the bound, where that is why
/// it can't be loaded. wasmtime has no type for this error; the hostile tests hold its texts.
pub(super) fn excess(error: &wasmtime::Error) -> Option<String> {
    let text = format!("{error:#}");
    if !text.contains("exceeds the") {
        return None;
    }
    for (of, noun, most) in [
        (
            "core module instances",
            "core instances",
            MAX_CORE_INSTANCES,
        ),
        ("Wasm linear memories", "linear memories", MAX_MEMORIES),
        ("tables", "tables", MAX_TABLES),
    ] {
        let before = text.split_once(&format!(" {of}, which"));
        let figure = before.and_then(|(before, _)| before.rsplit(' ').next());
        if let Some(figure) = figure.and_then(|figure| figure.parse::<u64>().ok()) {
            return Some(format!(
                "{figure} {noun}, where an instance may have {most}"
            ));
        }
    }
    Some(text)
}

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
        .total_core_instances(instances.saturating_mul(MAX_CORE_INSTANCES))
        .total_memories(instances.saturating_mul(PLACE_MEMORIES))
        .total_tables(instances.saturating_mul(PLACE_TABLES))
        .total_stacks(instances.saturating_mul(if concurrent { STACKS_EACH } else { 1 }))
        .max_core_instances_per_component(bound(MAX_CORE_INSTANCES))
        .max_memories_per_component(bound(MAX_MEMORIES))
        .max_tables_per_component(bound(MAX_TABLES))
        // One module may have all of its component's.
        .max_memories_per_module(bound(MAX_MEMORIES))
        .max_tables_per_module(bound(MAX_TABLES))
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
