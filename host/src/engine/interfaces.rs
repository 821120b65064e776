//! What a component imports and exports, read without compiling it.

use thiserror::Error;
use wasmparser::component_types::{ComponentEntityType, ComponentItem};
use wasmparser::types::Types;
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

use crate::ports::{NAME_BYTES, REASON_BYTES, visible_short};

/// An interface, or a function of no interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// `wasi:http/types@0.2.0`
    pub name: String,
    /// What a component calls of it, or others call there.
    pub functions: Vec<InterfaceFunction>,
}

/// A function of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceFunction {
    /// `handle`
    pub name: String,
    /// Of asynchronous type, which WASI 0.3 has.
    pub is_async: bool,
}

/// The interfaces of a component, in its own order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// What it calls.
    pub imports: Vec<Interface>,
    /// What it offers.
    pub exports: Vec<Interface>,
}

/// Why bytes have no interfaces.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotAComponent {
    /// No WebAssembly.
    #[error("it isn't WebAssembly; name the file of a component")]
    Other,
    /// Without interfaces.
    #[error("it is a core module; build it with `cargo build --target wasm32-wasip2`")]
    Module,
    /// Nothing that a host takes.
    #[error("it isn't a valid component: {0}; build it anew")]
    Invalid(String),
}

impl Interfaces {
    /// Those of a component's bytes.
    ///
    /// # Errors
    /// Where the bytes are none of a component.
    pub fn of(wasm: &[u8]) -> Result<Self, NotAComponent> {
        if !wasm.starts_with(b"\0asm") {
            return Err(NotAComponent::Other);
        }
        if Parser::is_core_wasm(wasm) {
            return Err(NotAComponent::Module);
        }
        let types = Validator::new_with_features(WasmFeatures::all())
            .validate_all(wasm)
            .map_err(|error| invalid(&error))?;
        let mut found = Self::default();
        // What is inside a component has sections of its own.
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.map_err(|error| invalid(&error))? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for import in section {
                        let name = import.map_err(|error| invalid(&error))?.name.name;
                        let item = types.component_item_for_import(name);
                        found.imports.extend(interface(&types, name, item));
                    }
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section {
                        let name = export.map_err(|error| invalid(&error))?.name.name;
                        let item = types.component_item_for_export(name);
                        found.exports.extend(interface(&types, name, item));
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

/// The section in which a component has the routes of its code, a line each.
const ROUTES: &str = "kinglet:routes";

/// Returns the routes that a component has in its code: none where it leaves them to the manifest.
pub fn routes_of(wasm: &[u8]) -> Vec<kinglet_route::Route> {
    let sections = Parser::new(0).parse_all(wasm).map_while(Result::ok);
    let lines = sections.filter_map(|payload| match payload {
        Payload::CustomSection(section) if section.name() == ROUTES => {
            std::str::from_utf8(section.data()).ok()
        }
        _ => None,
    });
    let lines = lines.flat_map(str::lines);
    lines
        .filter_map(|line| kinglet_route::Route::parse(line).ok())
        .collect()
}

fn invalid(error: &wasmparser::Error) -> NotAComponent {
    NotAComponent::Invalid(visible_short(&error.to_string(), REASON_BYTES))
}

/// None of a type, which nobody has to have.
fn interface(types: &Types, name: &str, item: Option<&ComponentItem>) -> Option<Interface> {
    let function = |name: &str, item: &ComponentItem| match item.ty {
        ComponentEntityType::Func(id) => Some(InterfaceFunction {
            name: visible_short(name, NAME_BYTES),
            is_async: types[id].async_,
        }),
        _ => None,
    };
    let item = item?;
    let functions = match item.ty {
        ComponentEntityType::Instance(id) => {
            let exports = types[id].exports.iter();
            exports
                .filter_map(|(name, item)| function(name, item))
                .collect()
        }
        ComponentEntityType::Func(_) => function(name, item).into_iter().collect(),
        ComponentEntityType::Type { .. } => return None,
        _ => Vec::new(),
    };
    Some(Interface {
        name: visible_short(name, NAME_BYTES),
        functions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Interfaces, NotAComponent> {
        Interfaces::of(&wat::parse_str(text).unwrap())
    }

    #[test]
    fn imports_and_exports_are_read() {
        let found = of(r#"(component
            (component (import "hidden:a/b@1.0.0" (instance)))
            (import "wasi:http/client@0.3.0" (instance
                (export "send" (func async))
                (export "other" (func))))
            (import "plain" (func $plain))
            (instance $handler (export "handle" (func $plain)))
            (export "wasi:http/incoming-handler@0.2.0" (instance $handler))
        )"#)
        .unwrap();
        let function = |name: &str, is_async| InterfaceFunction {
            name: name.to_owned(),
            is_async,
        };
        let interface = |name: &str, functions: Vec<InterfaceFunction>| Interface {
            name: name.to_owned(),
            functions,
        };
        let client = vec![function("send", true), function("other", false)];
        assert_eq!(
            found,
            Interfaces {
                imports: vec![
                    interface("wasi:http/client@0.3.0", client),
                    interface("plain", vec![function("plain", false)]),
                ],
                exports: vec![interface(
                    "wasi:http/incoming-handler@0.2.0",
                    vec![function("handle", false)]
                )],
            }
        );
    }

    #[test]
    fn routes_are_read_from_the_modules_of_a_component() {
        let text = r#"(component
            (core module (@custom "kinglet:routes" "/a/{id}\n/b/...\n") (@custom "other" "/c"))
        )"#;
        let found = routes_of(&wat::parse_str(text).unwrap());
        let found: Vec<String> = found.iter().map(kinglet_route::Route::pattern).collect();
        assert_eq!(found, ["/a/{}", "/b/..."]);
        assert!(routes_of(b"none").is_empty());
    }

    #[test]
    fn what_is_no_component_is_named() {
        assert_eq!(Interfaces::of(b"#!/bin/sh"), Err(NotAComponent::Other));
        assert_eq!(Interfaces::of(b""), Err(NotAComponent::Other));
        assert_eq!(of("(module)"), Err(NotAComponent::Module));
        let mut cut = wat::parse_str("(component (import \"a\" (func)))").unwrap();
        cut.truncate(cut.len() - 1);
        assert!(matches!(
            Interfaces::of(&cut),
            Err(NotAComponent::Invalid(_))
        ));
        assert!(matches!(
            Interfaces::of(b"\0asm"),
            Err(NotAComponent::Invalid(_))
        ));
    }
}
