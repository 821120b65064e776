//! What the targets and the maker of guests share: the host's worlds as core modules see them.

mod smith;

use std::convert::Infallible;
use std::path::Path;

use wasm_encoder::reencode::{Error, Reencode};
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve, WorldId};

pub use smith::smith;

/// A world of the contract.
pub struct World {
    resolve: Resolve,
    id: WorldId,
}

impl World {
    /// By its name in `wit/worlds.wit`.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let mut resolve = Resolve::default();
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
        let (package, _) = resolve.push_dir(wit)?;
        let id = resolve.select_world(&[package], Some(name))?;
        Ok(Self { resolve, id })
    }

    /// A core module that imports and exports what the world has, and does nothing.
    pub fn shape(&self) -> Vec<u8> {
        let mangling = ManglingAndAbi::Legacy(wit_parser::LiftLowerAbi::Sync);
        dummy_module(&self.resolve, self.id, mangling)
    }

    /// The same with a page of memory.
    pub fn shape_with_memory(&self) -> anyhow::Result<Vec<u8>> {
        let mut module = wasm_encoder::Module::new();
        OnePage.parse_core_module(&mut module, wasmparser::Parser::new(0), &self.shape())?;
        Ok(module.finish())
    }

    /// A core module of that shape as a component.
    pub fn component(&self, mut module: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        embed_component_metadata(&mut module, &self.resolve, self.id, StringEncoding::UTF8)?;
        ComponentEncoder::default().module(&module)?.validate(true).encode()
    }
}

struct OnePage;

impl Reencode for OnePage {
    type Error = Infallible;

    fn memory_type(
        &mut self,
        ty: wasmparser::MemoryType,
    ) -> Result<wasm_encoder::MemoryType, Error<Infallible>> {
        let ty = wasm_encoder::reencode::utils::memory_type(self, ty);
        Ok(wasm_encoder::MemoryType { minimum: 1, ..ty })
    }
}
