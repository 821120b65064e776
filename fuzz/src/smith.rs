//! Components and modules that `wasm-smith` makes of the input. They are made here and not in `tests/fuzzed`, since
//! `wasm-smith` switches on features of what wasmtime is built of: the whole workspace would be built twice. What they
//! found is in the corpus of `component`, as WebAssembly.

use std::convert::Infallible;
use std::sync::OnceLock;

use arbitrary::Unstructured;
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{CodeSection, Function, Instruction, Module};
use wasm_smith::{Component, Config};
use wasmparser::{ExternalKind, Parser, Payload};

use super::World;

const WORLDS: [&str; 3] = ["object-function", "message-function", "batch-function"];
/// Where the arguments of a handler are put, all of them: nobody reads them to the end.
const ARGUMENTS: i32 = 1_024;

/// Makes what the first two bytes choose: for which trigger, and a component, a module, or a module of the shape that
/// the trigger's world needs, in a component.
pub fn smith(data: &[u8]) {
    let [kind, how, seed @ ..] = data else {
        return;
    };
    let mut seed = Unstructured::new(seed);
    let made = match how % 8 {
        0 => component(&mut seed),
        1 => module(&mut seed, Config::default()),
        _ => handler(usize::from(kind % 4), &mut seed),
    };
    if let Ok(wasm) = made {
        let mut input = vec![*kind];
        input.extend(wasm);
        if let Some(folder) = std::env::var_os("KINGLET_FUZZ_SAVE") {
            let name = format!("{:08x}", crc32(&input));
            std::fs::write(std::path::Path::new(&folder).join(name), &input).unwrap();
        }
        kinglet_fuzzed::component(&input);
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum: u32, byte| sum.rotate_left(5) ^ u32::from(*byte))
}

fn config(seed: &mut Unstructured<'_>) -> arbitrary::Result<Config> {
    // Chosen by the input, but for what this engine hasn't.
    let mut config: Config = seed.arbitrary()?;
    config.memory64_enabled = false;
    config.shared_everything_threads_enabled = false;
    config.threads_enabled = false;
    config.gc_enabled = false;
    config.exceptions_enabled = false;
    config.custom_page_sizes_enabled = false;
    config.wide_arithmetic_enabled = false;
    config.max_memories = 1;
    config.max_memory32_bytes = 4 << 20;
    config.max_table_elements = 10_000;
    Ok(config)
}

fn component(seed: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
    let config = config(seed)?;
    Ok(Component::new(config, seed)?.to_bytes())
}

fn module(seed: &mut Unstructured<'_>, config: Config) -> arbitrary::Result<Vec<u8>> {
    Ok(wasm_smith::Module::new(config, seed)?.to_bytes())
}

struct Shell {
    shape: Vec<u8>,
    component: Vec<u8>,
}

/// The component of each world, and the shape of the module in it.
fn shells() -> &'static [Shell; 3] {
    static SHELLS: OnceLock<[Shell; 3]> = OnceLock::new();
    SHELLS.get_or_init(|| {
        WORLDS.map(|name| {
            let world = World::new(name).unwrap();
            let shape = world.shape_with_memory().unwrap();
            let component = world.component(shape.clone()).unwrap();
            Shell { shape, component }
        })
    })
}

fn handler(kind: usize, seed: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
    let shell = &shells()[kind % WORLDS.len()];
    let mut config = config(seed)?;
    config.module_shape = Some(shell.shape.clone());
    let module = with_realloc(&module(seed, config)?);
    Ok(kinglet_fuzzed::splice(&shell.component, &module).unwrap())
}

/// Gives a module an allocator: with one of arbitrary code hardly a handler would ever be called.
fn with_realloc(module: &[u8]) -> Vec<u8> {
    let (mut imports, mut realloc) = (0, None);
    for payload in Parser::new(0).parse_all(module) {
        match payload.unwrap() {
            Payload::ImportSection(section) => {
                let functions = section.into_imports().map(Result::unwrap);
                imports = functions.filter(|import| matches!(import.ty, wasmparser::TypeRef::Func(_))).count();
            }
            Payload::ExportSection(exports) => {
                let functions = exports.into_iter().map(Result::unwrap);
                realloc = functions
                    .filter(|export| export.kind == ExternalKind::Func)
                    .find(|export| export.name == "cabi_realloc")
                    .map(|export| export.index as usize);
            }
            _ => {}
        }
    }
    let mut replace = Replace { at: realloc.unwrap() - imports, next: 0 };
    let mut made = Module::new();
    replace.parse_core_module(&mut made, Parser::new(0), module).unwrap();
    made.finish()
}

/// Replaces one function's body.
struct Replace {
    at: usize,
    next: usize,
}

impl Reencode for Replace {
    type Error = Infallible;

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: wasmparser::FunctionBody<'_>,
    ) -> Result<(), Error<Infallible>> {
        let at = self.next;
        self.next += 1;
        if at != self.at {
            return utils::parse_function_body(self, code, body);
        }
        let mut function = Function::new([]);
        function.instruction(&Instruction::I32Const(ARGUMENTS));
        function.instruction(&Instruction::End);
        code.function(&function);
        Ok(())
    }
}
