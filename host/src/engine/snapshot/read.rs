//! Reads an instance's memories and globals, through the exports that the instrumented component has for it.

use std::collections::HashMap;

use wasmtime::Store;
use wasmtime::component::{Instance, Lift, WasmList};
use wasmtime_wizer::ComponentInstanceState;

use crate::engine::state::State;

/// Reads one instance. What can't be read counts as empty, and `failed` says why: what is made of it must not
/// be used.
pub(super) struct Reader<'a> {
    pub failed: Option<wasmtime::Error>,
    store: &'a mut Store<State>,
    instance: Instance,
    /// By the function that gives it. Each is asked for twice, and reading one changes its size.
    memories: HashMap<String, Vec<u8>>,
}

impl<'a> Reader<'a> {
    pub fn new(store: &'a mut Store<State>, instance: Instance) -> Self {
        Self {
            failed: None,
            store,
            instance,
            memories: HashMap::new(),
        }
    }

    async fn number<T: Lift + Send + Sync + Default + 'static>(
        &mut self,
        interface: &str,
        function: &str,
    ) -> T {
        let called = self.call(interface, function).await;
        self.or_default(called)
    }

    async fn call<T: Lift + Send + Sync + 'static>(
        &mut self,
        interface: &str,
        function: &str,
    ) -> wasmtime::Result<T> {
        let Self {
            store, instance, ..
        } = self;
        let export = instance
            .get_export_index(&mut *store, None, interface)
            .and_then(|at| instance.get_export_index(&mut *store, Some(&at), function))
            .ok_or_else(|| wasmtime::format_err!("{interface} has no {function}"))?;
        let function = instance.get_typed_func::<(), (T,)>(&mut *store, export)?;
        Ok(function.call_async(store, ()).await?.0)
    }

    fn or_default<T: Default>(&mut self, read: wasmtime::Result<T>) -> T {
        read.unwrap_or_else(|error| {
            self.failed.get_or_insert(error);
            T::default()
        })
    }
}

impl ComponentInstanceState for Reader<'_> {
    async fn call_func_ret_list_u8(
        &mut self,
        instance: &str,
        func: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        if !self.memories.contains_key(func) {
            let list = self.call::<WasmList<u8>>(instance, func).await;
            let memory = list.map(|list| list.as_le_slice(&*self.store).to_vec());
            let memory = self.or_default(memory);
            self.memories.insert(func.to_owned(), memory);
        }
        contents(self.memories.get(func).map_or(&[], Vec::as_slice));
    }

    async fn call_func_ret_s32(&mut self, instance: &str, func: &str) -> i32 {
        self.number(instance, func).await
    }

    async fn call_func_ret_s64(&mut self, instance: &str, func: &str) -> i64 {
        self.number(instance, func).await
    }

    async fn call_func_ret_f32(&mut self, instance: &str, func: &str) -> u32 {
        self.number::<f32>(instance, func).await.to_bits()
    }

    async fn call_func_ret_f64(&mut self, instance: &str, func: &str) -> u64 {
        self.number::<f64>(instance, func).await.to_bits()
    }
}
