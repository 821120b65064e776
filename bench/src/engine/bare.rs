//! The least that wasmtime itself can do: instantiate, call, drop.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use kinglet::bindings::message_function::MessageFunctionPre;
use kinglet::bindings::message_function::exports::kinglet::events::message::MessageEvent;
use kinglet::capabilities::message_event;
use kinglet::ports::{Delivery, Payload};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Enabled, Engine, PoolingAllocationConfig, Result, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// What an instance has: WASI once it asks, as ours.
#[derive(Default)]
pub struct State {
    wasi: Option<WasiCtx>,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: self.wasi.get_or_insert_with(|| WasiCtx::builder().build()),
            table: &mut self.table,
        }
    }
}

/// A component in wasmtime with its fastest allocator, and nothing that limits or counts.
pub struct Bare {
    engine: Engine,
    function: MessageFunctionPre<State>,
}

/// How long one cycle took.
pub struct Cycle {
    /// Until the handler, which does nothing, has returned.
    pub called: Duration,
    /// Until nothing is left of it.
    pub whole: Duration,
}

impl Bare {
    pub fn new(wasm: &[u8], instances: u32) -> anyhow::Result<Self> {
        Self::set_up(wasm, instances).map_err(own)
    }

    fn set_up(wasm: &[u8], instances: u32) -> Result<Self> {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(instances)
            .total_core_instances(instances * 4)
            .total_memories(instances)
            .total_tables(instances * 4)
            .total_stacks(instances)
            .linear_memory_keep_resident(64 << 10)
            .table_keep_resident(64 << 10)
            .pagemap_scan(Enabled::Auto);
        let mut config = Config::new();
        config
            .allocation_strategy(pool)
            .concurrency_support(false)
            .wasm_memory64(false);
        let engine = Engine::new(&config)?;
        let component = Component::new(&engine, wasm)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        // The component imports capabilities that this handler never calls.
        linker.define_unknown_imports_as_traps(&component)?;
        let function = MessageFunctionPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { engine, function })
    }

    pub async fn cycle(&self, delivery: &Delivery) -> anyhow::Result<Cycle> {
        let Payload::Message(message) = &delivery.event.payload else {
            bail!("not a message");
        };
        self.run(&message_event(delivery, message))
            .await
            .map_err(own)
    }

    async fn run(&self, event: &MessageEvent) -> Result<Cycle> {
        let start = Instant::now();
        let mut store = Store::new(&self.engine, State::default());
        let instance = self.function.instantiate_async(&mut store).await?;
        let handler = instance.kinglet_events_message();
        let returned = handler.call_handle(&mut store, event).await?;
        let called = start.elapsed();
        drop(store);
        let whole = start.elapsed();
        returned?;
        Ok(Cycle { called, whole })
    }
}

fn own(error: wasmtime::Error) -> anyhow::Error {
    anyhow!("{error:#}")
}

/// The component that does nothing.
pub fn noop(guests: &std::path::Path) -> anyhow::Result<Vec<u8>> {
    let path = guests.join("noop_message.wasm");
    std::fs::read(&path).with_context(|| format!("can't read {}", path.display()))
}
