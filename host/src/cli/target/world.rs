//! The worlds that hosts publish, and whether a component fits one.
//!
//! The build script encodes them from `wit/other-hosts`. A component fits a world where its type is
//! a subtype of the world's, which wasmparser says. Hosts take every version of an interface that
//! is compatible with their own, and a world names one: so the component's names get the world's
//! versions first.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use wasm_encoder::reencode::{self, Reencode, ReencodeComponent};
use wasm_encoder::{ComponentBuilder, ComponentExportSection, ComponentImportSection};
use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentEntityType, ComponentTypeId, SubtypeCx,
};
use wasmparser::types::{Types, TypesRef};
use wasmparser::{
    ComponentExportSectionReader, ComponentImportSectionReader, Parser, Validator, WasmFeatures,
};

use crate::engine::Interfaces;
use crate::ports::visible;

/// The world of a host, as it is published.
#[derive(Debug)]
pub struct World {
    /// A package with the worlds `p2` and `p3`, of which the host calls `wasi:http` 0.2 and 0.3.
    encoded: &'static [u8],
    /// As users find it.
    pub name: &'static str,
}

pub static SPIN: World = World {
    encoded: include_bytes!(concat!(env!("OUT_DIR"), "/spin.wasm")),
    name: "spin:up/platform@4.0.0",
};

pub static WASMTIME: World = World {
    encoded: include_bytes!(concat!(env!("OUT_DIR"), "/wasmtime.wasm")),
    name: "wasi:http/proxy@0.2.12 with wasi:cli/imports@0.2.12",
};

pub static WASMCLOUD: World = World {
    encoded: include_bytes!(concat!(env!("OUT_DIR"), "/wasmcloud.wasm")),
    name: "wasmcloud:runtime@0.1.0",
};

/// The result of a comparison.
#[derive(Debug, PartialEq, Eq)]
pub enum Fit {
    /// The component fits.
    Good,
    /// It doesn't, for this reason.
    Bad(String),
    /// There is nothing to compare: the reason.
    Unknown(String),
}

impl World {
    /// Compares a component with the world.
    ///
    /// # Errors
    /// Fails if the host's own packages, or the component, can't be read.
    pub fn fit(&self, wasm: &[u8], interfaces: &Interfaces) -> anyhow::Result<Fit> {
        let exports = |path: &str| {
            let mut exports = interfaces.exports.iter();
            exports.any(|export| split(&export.name).0 == path)
        };
        let world = if exports("wasi:http/incoming-handler") {
            "p2"
        } else if exports("wasi:http/handler") {
            "p3"
        } else {
            return Ok(Fit::Unknown("it is for handlers of requests".to_owned()));
        };
        let types = validated(&[self.encoded])?;
        let id = world_type(&types, world).with_context(|| format!("no world {world}"))?;
        let names = match names(&types, id, interfaces) {
            Ok(names) => names,
            Err(reason) => return Ok(Fit::Unknown(reason)),
        };
        let renamed = Renamed { names, depth: 0 }.encode(wasm)?;
        // Types are compared within one validation.
        let types = validated(&[self.encoded, &renamed])?;
        let id = world_type(&types, world).with_context(|| format!("no world {world}"))?;
        let component = types.as_ref().component_at(1);
        let mut subtypes = SubtypeCx::new_with_refs(types.as_ref(), types.as_ref());
        Ok(match subtypes.component_type(component, id, 0) {
            Ok(()) => Fit::Good,
            Err(error) => Fit::Bad(visible(error.message())),
        })
    }

    /// Returns the names that a world imports and exports.
    #[cfg(test)]
    pub fn names(&self, world: &str) -> (Vec<String>, Vec<String>) {
        let types = validated(&[self.encoded]).unwrap();
        let id = world_type(&types, world).unwrap();
        let imports = types[id].imports.keys().cloned().collect();
        (imports, types[id].exports.keys().cloned().collect())
    }
}

/// Validates components as the parts of one.
fn validated(parts: &[&[u8]]) -> anyhow::Result<Types> {
    let mut root = ComponentBuilder::default();
    for part in parts {
        root.component_raw(None, part);
    }
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    Ok(validator.validate_all(&root.finish())?)
}

/// Finds a world in the package that is the first part. A package has for each world a type of a
/// component that exports it.
fn world_type(types: &Types, world: &str) -> Option<ComponentTypeId> {
    let types: TypesRef<'_> = types.as_ref();
    let published = types.get(types.component_at(0))?;
    let ComponentEntityType::Type { referenced, .. } = published.exports.get(world)?.ty else {
        return None;
    };
    let ComponentAnyTypeId::Component(package) = referenced else {
        return None;
    };
    match types.get(package)?.exports.values().next()?.ty {
        ComponentEntityType::Component(id) => Some(id),
        _ => None,
    }
}

/// Returns the world's name for each name of the component that the world has in another version;
/// the reason where the world can't say anything about one.
fn names(
    types: &Types,
    world: ComponentTypeId,
    interfaces: &Interfaces,
) -> Result<BTreeMap<String, String>, String> {
    let world = &types[world];
    let mut names = BTreeMap::new();
    let mut taken = BTreeSet::new();
    let compatible = |name: &str, candidate: &str| {
        let ((path, version), (other, own)) = (split(name), split(candidate));
        path == other && track(version) == track(own)
    };
    for import in &interfaces.imports {
        let mut candidates = world.imports.keys();
        let Some(name) = candidates.find(|candidate| compatible(&import.name, candidate)) else {
            return Err(format!("it has no {}", import.name));
        };
        if !taken.insert(name) {
            return Err(format!("the component imports {name} in two versions"));
        }
        names.insert(import.name.clone(), name.clone());
    }
    for export in &interfaces.exports {
        let mut candidates = world.exports.keys();
        if let Some(name) = candidates.find(|candidate| compatible(&export.name, candidate)) {
            names.insert(export.name.clone(), name.clone());
        }
    }
    names.retain(|own, name| own != name);
    Ok(names)
}

fn split(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, ""))
}

/// Returns what is the same for all versions that stand for each other: `0.2` of `0.2.6`, and a
/// candidate itself.
fn track(version: &str) -> &str {
    let mut dots = version.match_indices('.').map(|(at, _)| at);
    let (first, second) = (dots.next(), dots.next());
    let end = match version.strip_prefix("0.") {
        _ if version.contains('-') => None,
        Some(rest) if rest.starts_with("0.") => None,
        Some(_) => second,
        None => first,
    };
    end.and_then(|end| version.get(..end)).unwrap_or(version)
}

/// A component whose own imports and exports have other names.
struct Renamed {
    names: BTreeMap<String, String>,
    /// The number of components around the one that is read.
    depth: usize,
}

impl Renamed {
    fn encode(mut self, wasm: &[u8]) -> anyhow::Result<Vec<u8>> {
        if self.names.is_empty() {
            return Ok(wasm.to_vec());
        }
        let mut renamed = wasm_encoder::Component::new();
        self.parse_component(&mut renamed, Parser::new(0), wasm)?;
        Ok(renamed.finish())
    }

    fn name<'a>(&'a self, name: &'a str) -> &'a str {
        let other = self.names.get(name).filter(|_| self.depth == 0);
        other.map_or(name, String::as_str)
    }
}

impl Reencode for Renamed {
    type Error = std::convert::Infallible;
}

impl ReencodeComponent for Renamed {
    fn push_depth(&mut self) {
        self.depth += 1;
    }

    fn pop_depth(&mut self) {
        self.depth -= 1;
    }

    fn parse_component_import_section(
        &mut self,
        imports: &mut ComponentImportSection,
        section: ComponentImportSectionReader<'_>,
    ) -> Result<(), reencode::Error<Self::Error>> {
        for import in section {
            let import = import?;
            let ty = self.component_type_ref(import.ty)?;
            imports.import(self.name(import.name.name), ty);
        }
        Ok(())
    }

    fn parse_component_export_section(
        &mut self,
        exports: &mut ComponentExportSection,
        section: ComponentExportSectionReader<'_>,
    ) -> Result<(), reencode::Error<Self::Error>> {
        for export in section {
            let export = export?;
            let ty = export
                .ty
                .map(|ty| self.component_type_ref(ty))
                .transpose()?;
            let index = self.component_external_index(export.kind, export.index);
            exports.export(self.name(export.name.name), export.kind.into(), index, ty);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_a_track_stand_for_each_other() {
        for (version, expected) in [
            ("0.2.6", "0.2"),
            ("0.2.0", "0.2"),
            ("3.1.0", "3"),
            ("0.0.1", "0.0.1"),
            ("0.2.0-draft2", "0.2.0-draft2"),
            ("", ""),
        ] {
            assert_eq!(track(version), expected, "{version}");
        }
    }

    fn fit(world: &World, text: &str) -> Fit {
        let wasm = wat::parse_str(text).unwrap();
        world.fit(&wasm, &Interfaces::of(&wasm).unwrap()).unwrap()
    }

    /// A component that imports this, and exports a handler with nothing in it.
    fn component(import: &str, handler: &str) -> String {
        format!("(component {import} (instance $none) (export \"{handler}\" (instance $none)))")
    }

    #[test]
    fn a_component_has_what_the_world_has() {
        // The handler's function is missing.
        for (world, handler) in [
            (&SPIN, "wasi:http/incoming-handler@0.2.0"),
            (&SPIN, "wasi:http/handler@0.3.0-rc-2026-03-15"),
            (&WASMTIME, "wasi:http/incoming-handler@0.2.3"),
            (&WASMTIME, "wasi:http/handler@0.3.1"),
            (&WASMCLOUD, "wasi:http/incoming-handler@0.2.12"),
        ] {
            let Fit::Bad(reason) = fit(world, &component("", handler)) else {
                panic!("{handler}");
            };
            assert!(reason.contains("handle"), "{handler}: {reason}");
        }
        let text = component(
            "(import \"own:thing/x@1.0.0\" (instance))",
            "wasi:http/handler@0.3.0",
        );
        let Fit::Unknown(reason) = fit(&WASMTIME, &text) else {
            panic!("an import that the world doesn't have");
        };
        assert!(reason.contains("own:thing/x@1.0.0"), "{reason}");
        assert!(matches!(fit(&SPIN, "(component)"), Fit::Unknown(_)));
    }

    #[test]
    fn an_import_of_another_type_doesnt_fit() {
        let handler = "wasi:http/incoming-handler@0.2.0";
        let import = r#"(import "wasi:random/random@0.2.1" (instance
            (export "get-random-u64" (func (result RESULT)))))"#;
        let with = |result: &str| {
            fit(
                &SPIN,
                &component(&import.replace("RESULT", result), handler),
            )
        };
        // Imports are compared before exports: what is wrong with it is the handler, as above.
        let Fit::Bad(reason) = with("u64") else {
            panic!("it has no handler");
        };
        assert!(reason.contains("handle"), "{reason}");
        let Fit::Bad(reason) = with("u32") else {
            panic!("it imports another function");
        };
        assert!(reason.contains("u64") && reason.contains("u32"), "{reason}");
    }
}
