//! Makes the guests of the target `calls`, and the shells that `smith` puts its modules into: run it where the contract
//! has changed.
//!
//! Such a guest's handler reads a program from the body of the (first) message. Each step is a byte, which chooses one
//! of the imports or of the operations below, and its arguments: numbers as `Interpreter::argument` reads them.

use std::path::Path;

use anyhow::{Context, bail};
use kinglet_fuzz::World;
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, DataSection, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, GlobalSection, GlobalType, ImportSection, Instruction as I, MemArg,
    MemorySection, MemoryType, Module, TypeSection, ValType,
};
use wasmparser::{CompositeInnerType, FuncType, Parser, Payload, TypeRef};

/// Texts that lead somewhere, each with room for `TEXT_BYTES`.
const TEXTS: [&str; 24] = [
    "photos", "out", "made", "counters", "a.txt", "made/x", "made/large", "n", "text", "large", "secret", "size",
    "text/plain", "../x", "made/../../x", "e", "made/", "a key", "made/y", "orders", "made/.x", "user.a", "\u{1b}[2J",
    "made/\n",
];
const TEXT_BYTES: u32 = 32;
/// Where things are in memory: zeros, which are a success; registers; texts; two areas for results; the heap.
const SUCCESS: i32 = 64;
const REGISTERS: i32 = 512;
const TEXTS_AT: i32 = 1_024;
const RESULTS: i32 = 2_048;
const MORE_RESULTS: i32 = 4_096;
const HEAP: i32 = 16_384;
/// Where a message's body is in its record: after the delivery and the topic.
const BODY: u64 = 40;
/// What a step may be beside a call.
const OPERATIONS: usize = 7;

/// Globals.
const PC: u32 = 0;
const END: u32 = 1;
const NEXT: u32 = 2;
const JUMPS: u32 = 3;
const START: u32 = 4;

fn main() -> anyhow::Result<()> {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzzed/guests");
    for (kind, name) in [("message", "message-function"), ("batch", "batch-function")] {
        let world = World::new(name)?;
        let module = Shape::read(&world.shape())?.interpreter()?;
        std::fs::write(guests.join(format!("{kind}.wasm")), world.component(module)?)?;
    }
    Ok(())
}

/// What a module imports and exports.
#[derive(Default)]
struct Shape {
    types: Vec<FuncType>,
    imports: Vec<(String, String, u32)>,
    functions: Vec<u32>,
    exports: Vec<(String, u32)>,
}

impl Shape {
    fn read(module: &[u8]) -> anyhow::Result<Self> {
        let mut shape = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::TypeSection(types) => {
                    for group in types {
                        for ty in group?.into_types() {
                            let CompositeInnerType::Func(ty) = ty.composite_type.inner else {
                                bail!("a type that isn't a function's");
                            };
                            shape.types.push(ty);
                        }
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        let import = import?;
                        let TypeRef::Func(ty) = import.ty else {
                            bail!("an import that isn't a function");
                        };
                        let (module, name) = (import.module.to_owned(), import.name.to_owned());
                        shape.imports.push((module, name, ty));
                    }
                }
                Payload::FunctionSection(functions) => {
                    shape.functions = functions.into_iter().collect::<Result<_, _>>()?;
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        let export = export?;
                        if export.kind == wasmparser::ExternalKind::Func {
                            shape.exports.push((export.name.to_owned(), export.index));
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(shape)
    }

    fn ty(&self, at: u32) -> anyhow::Result<&FuncType> {
        self.types.get(at as usize).context("a type that isn't there")
    }

    fn interpreter(&self) -> anyhow::Result<Vec<u8>> {
        Interpreter { shape: self }.module()
    }
}

fn val(ty: wasmparser::ValType) -> anyhow::Result<ValType> {
    Ok(match ty {
        wasmparser::ValType::I32 => ValType::I32,
        wasmparser::ValType::I64 => ValType::I64,
        wasmparser::ValType::F32 => ValType::F32,
        wasmparser::ValType::F64 => ValType::F64,
        other => bail!("an argument of type {other}"),
    })
}

fn vals(types: &[wasmparser::ValType]) -> anyhow::Result<Vec<ValType>> {
    types.iter().map(|ty| val(*ty)).collect()
}

fn at(offset: u64) -> MemArg {
    MemArg { offset, align: 0, memory_index: 0 }
}

fn function(locals: u32, body: &[I<'_>]) -> Function {
    let mut function = Function::new([(locals, ValType::I32)]);
    for instruction in body {
        function.instruction(instruction);
    }
    function.instruction(&I::End);
    function
}

struct Interpreter<'a> {
    shape: &'a Shape,
}

impl Interpreter<'_> {
    /// Own functions follow the imports: `byte`, `argument`, `argument64`, `run`, then the exports.
    fn own(&self, at: u32) -> u32 {
        self.shape.imports.len() as u32 + at
    }

    fn module(&self) -> anyhow::Result<Vec<u8>> {
        let (mut types, mut imports) = (TypeSection::new(), ImportSection::new());
        for ty in &self.shape.types {
            types.ty().function(vals(ty.params())?, vals(ty.results())?);
        }
        let own = self.shape.types.len() as u32;
        types.ty().function([], [ValType::I32]);
        types.ty().function([], [ValType::I64]);
        for (module, name, ty) in &self.shape.imports {
            imports.import(module, name, EntityType::Function(*ty));
        }
        let (mut functions, mut code, mut exports) =
            (FunctionSection::new(), CodeSection::new(), ExportSection::new());
        for (ty, body) in [
            (own, self.byte()),
            (own, self.argument()),
            (own + 1, self.argument64()),
            (own, self.run()?),
        ] {
            functions.function(ty);
            code.function(&body);
        }
        for (number, (name, index)) in self.shape.exports.iter().enumerate() {
            let defined = *index as usize - self.shape.imports.len();
            let ty = *self.shape.functions.get(defined).context("a function that isn't there")?;
            functions.function(ty);
            code.function(&self.export(name, self.shape.ty(ty)?));
            exports.export(name, ExportKind::Func, self.own(4 + number as u32));
        }
        exports.export("memory", ExportKind::Memory, 0);
        let mut memories = MemorySection::new();
        memories.memory(MemoryType { minimum: 2, maximum: None, memory64: false, shared: false, page_size_log2: None });
        let mut globals = GlobalSection::new();
        for first in [0, 0, HEAP, 0, 0] {
            let ty = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
            globals.global(ty, &ConstExpr::i32_const(first));
        }
        let mut data = DataSection::new();
        for (number, text) in TEXTS.iter().enumerate() {
            let place = TEXTS_AT + (number as u32 * TEXT_BYTES) as i32;
            data.active(0, &ConstExpr::i32_const(place), text.bytes());
        }
        let mut module = Module::new();
        module.section(&types).section(&imports).section(&functions).section(&memories);
        module.section(&globals).section(&exports).section(&code).section(&data);
        Ok(module.finish())
    }

    /// The program's next byte; past its end zeros.
    fn byte(&self) -> Function {
        function(0, &[
            I::GlobalGet(PC), I::GlobalGet(END), I::I32GeU,
            I::If(BlockType::Empty), I::I32Const(0), I::Return, I::End,
            I::GlobalGet(PC), I::I32Load8U(at(0)),
            I::GlobalGet(PC), I::I32Const(1), I::I32Add, I::GlobalSet(PC),
        ])
    }

    /// A number below 0xc0 is itself; below 0xe0 it is the place of a text; then come a number of two bytes, one of
    /// four, eight registers, the program's own place, places for results, and numbers that are hard to get right.
    fn argument(&self) -> Function {
        let byte = I::Call(self.own(0));
        let mut body = vec![
            byte.clone(), I::LocalTee(0), I::I32Const(0xc0), I::I32LtU,
            I::If(BlockType::Empty), I::LocalGet(0), I::Return, I::End,
            I::LocalGet(0), I::I32Const(0xe0), I::I32LtU, I::If(BlockType::Empty),
            I::LocalGet(0), I::I32Const(0xc0), I::I32Sub, I::I32Const(5), I::I32Shl, I::I32Const(TEXTS_AT), I::I32Add,
            I::Return, I::End,
        ];
        let when = |body: &mut Vec<I<'static>>, tag: i32, then: Vec<I<'static>>| {
            body.extend([I::LocalGet(0), I::I32Const(tag), I::I32Eq, I::If(BlockType::Empty)]);
            body.extend(then);
            body.extend([I::Return, I::End]);
        };
        let eight = |count: i32| -> Vec<I<'static>> {
            let mut read = vec![I::Call(self.own(0))];
            for shift in 1..count {
                read.extend([I::Call(self.own(0)), I::I32Const(shift * 8), I::I32Shl, I::I32Or]);
            }
            read
        };
        when(&mut body, 0xe0, eight(2));
        when(&mut body, 0xe1, eight(4));
        for register in 0..8 {
            when(&mut body, 0xe2 + register, vec![I::I32Const(REGISTERS + register * 4), I::I32Load(at(0))]);
        }
        for (tag, number) in [
            I::GlobalGet(PC), I::I32Const(RESULTS), I::I32Const(MORE_RESULTS), I::I32Const(-1), I::I32Const(i32::MAX),
            I::I32Const(0x1_fffc), I::I32Const(i32::MIN), I::GlobalGet(START),
        ].into_iter().enumerate() {
            when(&mut body, 0xea + tag as i32, vec![number]);
        }
        body.push(I::LocalGet(0));
        function(1, &body)
    }

    /// As `argument`, or eight bytes where the first is 0xff.
    fn argument64(&self) -> Function {
        let mut body = vec![
            I::GlobalGet(PC), I::GlobalGet(END), I::I32LtU, I::If(BlockType::Empty),
            I::GlobalGet(PC), I::I32Load8U(at(0)), I::I32Const(0xff), I::I32Eq, I::If(BlockType::Empty),
            I::Call(self.own(0)), I::Drop, I::I64Const(0),
        ];
        for shift in 0..8 {
            body.extend([I::Call(self.own(0)), I::I64ExtendI32U, I::I64Const(shift * 8), I::I64Shl, I::I64Or]);
        }
        body.extend([I::Return, I::End, I::End, I::Call(self.own(1)), I::I64ExtendI32S]);
        function(0, &body)
    }

    /// Runs the program, and returns where its result is.
    fn run(&self) -> anyhow::Result<Function> {
        let imports = self.shape.imports.len();
        let steps = imports + OPERATIONS;
        let mut body = vec![
            I::Loop(BlockType::Empty),
            I::GlobalGet(PC), I::GlobalGet(END), I::I32GeU,
            I::If(BlockType::Empty), I::I32Const(SUCCESS), I::Return, I::End,
        ];
        body.extend((0..steps).map(|_| I::Block(BlockType::Empty)));
        body.extend([I::Call(self.own(0)), I::I32Const(steps as i32), I::I32RemU]);
        let targets: Vec<u32> = (0..steps as u32 - 1).collect();
        body.push(I::BrTable(targets.into(), steps as u32 - 1));
        for step in 0..steps {
            body.push(I::End);
            match self.shape.imports.get(step) {
                Some((_, _, ty)) => self.call(step as u32, self.shape.ty(*ty)?, &mut body)?,
                None => self.operation(step - imports, &mut body),
            }
            // To the loop's start, out of the blocks that are left.
            body.push(I::Br((steps - step - 1) as u32));
        }
        body.extend([I::End, I::Unreachable]);
        Ok(function(0, &body))
    }

    fn call(&self, import: u32, ty: &FuncType, body: &mut Vec<I<'static>>) -> anyhow::Result<()> {
        if !ty.results().is_empty() {
            body.push(I::I32Const(REGISTERS));
        }
        for param in ty.params() {
            body.push(match val(*param)? {
                ValType::I32 => I::Call(self.own(1)),
                ValType::I64 => I::Call(self.own(2)),
                other => bail!("an argument of type {other:?}"),
            });
        }
        body.push(I::Call(import));
        match ty.results() {
            [] => {}
            [wasmparser::ValType::I32] => body.push(I::I32Store(at(0))),
            [wasmparser::ValType::I64] => body.push(I::I64Store(at(0))),
            other => bail!("results of types {other:?}"),
        }
        Ok(())
    }

    fn operation(&self, which: usize, body: &mut Vec<I<'static>>) {
        let argument = I::Call(self.own(1));
        body.extend(match which {
            // Ends with the result that is there.
            0 => vec![argument, I::Return],
            // Loads into a register.
            1 => vec![
                argument.clone(), I::I32Const(7), I::I32And, I::I32Const(2), I::I32Shl,
                argument, I::I32Load(at(0)), I::I32Store(at(REGISTERS as u64)),
            ],
            2 => vec![argument.clone(), argument, I::I32Store(at(0))],
            // Copies: from, to, how many.
            3 => vec![argument.clone(), argument.clone(), argument, I::MemoryCopy { src_mem: 0, dst_mem: 0 }],
            4 => vec![I::I32Const(REGISTERS), argument, I::MemoryGrow(0), I::I32Store(at(0))],
            // Goes back, at most so many times in all.
            5 => vec![
                argument.clone(), I::GlobalGet(JUMPS), I::I32GtU, I::If(BlockType::Empty),
                I::GlobalGet(JUMPS), I::I32Const(1), I::I32Add, I::GlobalSet(JUMPS),
                I::GlobalGet(START), argument, I::I32Add, I::GlobalSet(PC), I::End,
            ],
            _ => vec![I::Unreachable],
        });
    }

    fn export(&self, name: &str, ty: &FuncType) -> Function {
        if name == "cabi_realloc" {
            return self.realloc();
        }
        if name.ends_with("#handle") && !name.starts_with("cabi_post_") {
            return function(0, &[
                I::LocalGet(0), I::I32Load(at(BODY)), I::GlobalSet(PC),
                I::GlobalGet(PC), I::GlobalSet(START),
                I::GlobalGet(PC), I::LocalGet(0), I::I32Load(at(BODY + 4)), I::I32Add, I::GlobalSet(END),
                I::Call(self.own(3)),
            ]);
        }
        let body: Vec<_> = ty.results().iter().map(|_| I::I32Const(0)).collect();
        function(0, &body)
    }

    /// Gives what comes next, aligned, and never takes anything back.
    fn realloc(&self) -> Function {
        function(2, &[
            I::GlobalGet(NEXT), I::LocalGet(2), I::I32Add, I::I32Const(1), I::I32Sub,
            I::I32Const(0), I::LocalGet(2), I::I32Sub, I::I32And, I::LocalTee(4),
            I::LocalGet(3), I::I32Add, I::GlobalSet(NEXT),
            I::GlobalGet(NEXT), I::I32Const(0xffff), I::I32Add, I::I32Const(16), I::I32ShrU,
            I::MemorySize(0), I::I32Sub, I::LocalTee(5), I::I32Const(0), I::I32GtS, I::If(BlockType::Empty),
            I::LocalGet(5), I::MemoryGrow(0), I::Drop, I::End,
            I::LocalGet(4), I::LocalGet(0), I::LocalGet(1), I::MemoryCopy { src_mem: 0, dst_mem: 0 },
            I::LocalGet(4),
        ])
    }
}
