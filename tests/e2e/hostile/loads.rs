//! Files that are no component, or none that may run.

use std::fs;

use super::calls::recursion_of;
use super::raw;
use crate::harness::{App, Output, guest, text};

/// A file, and what must be said of it.
pub struct Refused {
    pub name: &'static str,
    bytes: fn() -> Vec<u8>,
    says: &'static str,
    /// Lines of the manifest.
    settings: &'static str,
    /// Without this it is taken.
    pub guard: Option<&'static str>,
}

pub const REFUSED: &[Refused] = &[
    refused("empty", Vec::new, "isn't WebAssembly"),
    refused(
        "text",
        || b"#!/bin/sh\necho hostile\n".to_vec(),
        "isn't WebAssembly",
    ),
    refused(
        "truncated",
        || half(fs::read(guest("hostile")).unwrap()),
        "breaks off",
    ),
    refused(
        "header-alone",
        || b"\0asm\x0d\0\x01\0".to_vec(),
        "no handler at all",
    ),
    refused("core-module", || wat("(module)"), "core module"),
    refused("no-handler", || wat("(component)"), "no handler at all"),
    refused("other-types", other_types, "the contract's types"),
    refused("deep", || nested(2_000), "no handler at all"),
    Refused {
        guard: Some("imports"),
        ..refused("unknown-import", unknown_import, "evil:host/shell")
    },
    Refused {
        guard: Some("instances"),
        ..refused("many-instances", || many("", 70), "72 core instances")
    },
    Refused {
        guard: Some("instances"),
        ..refused(
            "many-memories",
            || many("(memory 1)", 8),
            "9 linear memories",
        )
    },
    Refused {
        guard: Some("instances"),
        ..refused("many-tables", || many("(table 1 funcref)", 33), "33 tables")
    },
    Refused {
        guard: Some("compile-time"),
        settings: "[compile]\ntimeout = \"50ms\"",
        ..refused(
            "many-functions",
            || functions(100_000, 1),
            "longer than 50ms",
        )
    },
    Refused {
        guard: Some("compile-time"),
        settings: "[compile]\ntimeout = \"50ms\"",
        ..refused(
            "long-functions",
            || functions(100, 3_000),
            "longer than 50ms",
        )
    },
    refused(
        "long-addresses",
        || many("(memory i64 1)", 1),
        "memory64 must be enabled",
    ),
    refused(
        "shared-memory",
        || many("(memory 1 1 shared)", 1),
        "threads must be enabled",
    ),
    refused(
        "collected-garbage",
        || many("(type (struct (field i32)))", 1),
        "gc types are disabled",
    ),
    refused("exceptions", || many("(tag)", 1), "exceptions proposal"),
    refused("large-memory", || many("(memory 4096)", 1), "limits.memory"),
];

const FUNCTION: &str = r#"
[[function]]
name = "hostile"
component = "hostile.wasm"
on = { message = "in" }
"#;

/// That does nothing.
const HANDLER: &str = "(func (export \"handle\") (param i32) (result i32) (i32.const 0))";

const fn refused(name: &'static str, bytes: fn() -> Vec<u8>, says: &'static str) -> Refused {
    Refused {
        name,
        bytes,
        says,
        settings: "",
        guard: None,
    }
}

pub fn check(file: &Refused, without: Option<&str>) -> Output {
    let app = App::bare();
    app.put("hostile.wasm", (file.bytes)());
    app.manifest(&format!("{}\n{FUNCTION}", file.settings));
    let mut command = app.command_without(&["check", "--json"], without);
    // One that was compiled without a guard isn't compiled again.
    command.env("KINGLET_CACHE_DIR", app.path("cache"));
    Output::of(command)
}

#[test]
fn what_cant_run_is_refused() {
    for file in REFUSED {
        let output = check(file, None).expect(1);
        let problem = output.json().swap_remove(0);
        let problem = text(&problem, "problem").to_owned();
        assert!(problem.contains(file.says), "{}: {problem}", file.name);
        println!(
            "{:<22} {:<16} {problem:.160}",
            file.name,
            file.guard.unwrap_or("-")
        );
    }
}

/// A device has no end, and a pipe not even a beginning.
#[test]
fn what_is_no_file_isnt_read() {
    for path in ["/dev/zero", "/dev/tty", ".", "pipe"] {
        let app = App::new(&FUNCTION.replace("hostile.wasm", path));
        rustix::fs::mkfifoat(rustix::fs::CWD, app.path("pipe"), rustix::fs::Mode::RUSR).unwrap();
        let problem = app.kinglet(&["check"]).expect(1).stdout;
        assert!(problem.contains("it isn't a file"), "{path}: {problem}");
    }
}

/// Whatever a component calls what it wants, no error repeats more of it than a person reads.
#[test]
fn long_names_are_cut_in_errors() {
    let long = Refused {
        name: "long-import",
        bytes: long_import,
        says: "",
        settings: "",
        guard: Some("names"),
    };
    let problem = |without| {
        let output = check(&long, without).expect(1);
        text(&output.json().swap_remove(0), "problem").to_owned()
    };
    let cut = problem(None);
    assert!(
        cut.contains("evil:host/nnn") && cut.contains("... ("),
        "{cut:.300}"
    );
    assert!(cut.len() < 16 << 10, "{} bytes", cut.len());
    assert!(problem(long.guard).len() > 80_000);
}

/// Four megabytes, twenty frames of it, in a host that has room for little of that.
#[test]
fn a_name_of_megabytes_does_no_harm() {
    const MIB: u64 = 1 << 20;
    let app = App::new(FUNCTION);
    app.put("hostile.wasm", recursion_of(4_000_000));
    app.manifest(&format!(
        "{FUNCTION}\nretry = {{ attempts = 3, backoff = \"10ms..10ms\" }}"
    ));
    let mut host = app.up();
    let before = host.peak_memory();
    app.publish_lines("in", 0..20);
    let ended = host.outcomes(20, "hostile");
    for outcome in &ended {
        assert_eq!(outcome["outcome"], "trap", "{outcome:.300}");
        assert!(outcome.to_string().len() < 16 << 10);
    }
    let listed = app.ok(&["dlq", "list", "--json"]);
    assert!(listed.len() < 20 * (16 << 10), "{} bytes", listed.len());
    assert!(listed.contains("unreachable"), "{listed:.300}");
    let grown = host.peak_memory().saturating_sub(before) / MIB;
    assert!(grown < 100, "{grown} MiB");
    host.stop();
}

fn long_import() -> Vec<u8> {
    let name = "n".repeat(90_000);
    let import =
        format!(r#"(component (import "evil:host/{name}" (instance (export "run" (func))))"#);
    wat(&raw::text(HANDLER, "").replacen("(component", &import, 1))
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn half(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() / 2);
    bytes
}

/// A handler of no event.
fn other_types() -> Vec<u8> {
    wat(r#"(component
        (core module $m (func (export "handle") (param i32)))
        (core instance $i (instantiate $m))
        (func $handle (param "event" u32) (canon lift (core func $i "handle")))
        (instance $handler (export "handle" (func $handle)))
        (export "kinglet:events/message@0.1.0" (instance $handler)))"#)
}

fn unknown_import() -> Vec<u8> {
    wat(&raw::text(HANDLER, "").replacen(
        "(component",
        r#"(component (import "evil:host/shell" (instance (export "run" (func (param "line" string)))))"#,
        1,
    ))
}

/// A component with so many instances of a module beside the handler's.
fn many(fields: &str, count: usize) -> Vec<u8> {
    let beside: String = (0..count)
        .map(|number| {
            format!("(core module $m{number} {fields}) (core instance (instantiate $m{number}))\n")
        })
        .collect();
    raw::compose(HANDLER, &beside)
}

/// So many functions, each with so much to compile.
fn functions(count: usize, length: usize) -> Vec<u8> {
    let step = "(local.set 0 (i32.mul (local.get 0) (local.get 1)))\n".repeat(length);
    let function = format!("(func (param i32 i32) {step})\n");
    raw::compose(&(HANDLER.to_owned() + &function.repeat(count)), "")
}

/// Components, one in the other.
fn nested(depth: usize) -> Vec<u8> {
    const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
    let mut inner = HEADER.to_vec();
    for _ in 0..depth {
        let mut outer = HEADER.to_vec();
        outer.push(4);
        let mut length = inner.len();
        while length > 0x7f {
            outer.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        outer.push(u8::try_from(length).unwrap());
        outer.extend(inner);
        inner = outer;
    }
    inner
}
