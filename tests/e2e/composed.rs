//! Components that are composed of others, each with a memory of its own: as many as an instance may have,
//! and more.

use std::fmt::Write;
use std::fs;

use serde_json::Value;

use crate::cache::files;
use crate::harness::{App, echo, settled, text};
use crate::host::PATIENCE;

/// The most components of a chain, each of which has a memory.
const LONGEST: usize = 8;

/// A component that begins with the contract's types.
const FRAME: &str = include_str!("../guests/hostile/raw/frame.wat");

/// The memory of each component, into which events and outcomes are copied.
const MEMORY: &str = r#"
    (core module $libc-module
      (memory (export "memory") 2)
      (global $next (mut i32) (i32.const 4096))
      (func (export "realloc") (param i32 i32 i32 i32) (result i32)
        (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
        (global.get $next)
        (global.set $next (i32.add (global.get $next) (local.get 3)))))
    (core instance $libc (instantiate $libc-module))
"#;

const LIFT: &str = r#"
    (func $handle (param "event" $event) (result (result (error $failure)))
      (canon lift (core func $main "handle") (memory $libc "memory") (realloc (func $libc "realloc"))))
    (export "handle" (func $handle))
"#;

/// Fails each event, with the event's body as the reason.
const LAST: &str = r#"
    (core module $main-module
      (import "libc" "memory" (memory 2))
      (func (export "handle") (param $event i32) (result i32)
        (i32.store8 (i32.const 1024) (i32.const 1))
        (i32.store8 (i32.const 1032) (i32.const 2))
        (i64.store (i32.const 1040) (i64.load offset=40 (local.get $event)))
        (i32.const 1024)))
    (core instance $main (instantiate $main-module (with "libc" (instance $libc))))
"#;

/// Hands each event on to the next component, and its outcome back.
const MIDDLE: &str = r#"
    (import "next" (func $next (param "event" $event) (result (result (error $failure)))))
    (core func $lowered (canon lower (func $next)
      (memory $libc "memory") (realloc (func $libc "realloc"))))
    (core module $main-module
      (import "next" "handle" (func $next (param i32 i32)))
      (func (export "handle") (param $event i32) (result i32)
        (call $next (local.get $event) (i32.const 1024))
        (i32.const 1024)))
    (core instance $main (instantiate $main-module
      (with "next" (instance (export "handle" (func $lowered))))))
"#;

/// A chain of this many components, the last of which handles the events.
fn chain(length: usize) -> Vec<u8> {
    let (frame, _) = FRAME.split_once("(import \"kinglet:events/topics").unwrap();
    // Each component has the types, which the frame of all of them has from the host.
    let (_, types) = frame.split_once("(component").unwrap();
    let with = "(with \"kinglet:events/types@0.1.0\" (instance $types))";
    let mut text = format!(
        "{frame}
        (component $last {types} {MEMORY} {LAST} {LIFT})
        (component $middle {types} {MEMORY} {MIDDLE} {LIFT})
        (instance $link1 (instantiate $last {with}))\n"
    );
    for link in 2..=length {
        let next = link - 1;
        write!(
            text,
            "(instance $link{link} (instantiate $middle {with}
              (with \"next\" (func $link{next} \"handle\"))))\n"
        )
        .unwrap();
    }
    write!(
        text,
        "(instance $handler (export \"handle\" (func $link{length} \"handle\")))
        (export \"kinglet:events/message@0.1.0\" (instance $handler)))"
    )
    .unwrap();
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn function(name: &str) -> String {
    format!(
        r#"
        [[function]]
        name = "{name}"
        component = "{name}.wasm"
        on = {{ message = "{name}" }}
        retry = {{ attempts = 1 }}
        limits.concurrency = 2
        "#
    )
}

/// Longer chains take several places of the pool, and leave some to others: all events are handled.
#[test]
fn chains_run_beside_others() {
    const EVENTS: usize = 30;
    let app = App::new(&format!(
        "{}{}{}",
        function("short"),
        function("long"),
        echo("echo")
    ));
    app.put("short.wasm", chain(3));
    app.put("long.wasm", chain(LONGEST));
    let mut host = app.up();
    for topic in ["long", "short", "echo"] {
        app.publish_lines(topic, 0..EVENTS);
    }
    let done = |record: &Value| settled(record);
    host.place_of(0, 3 * EVENTS, PATIENCE, done).unwrap();
    for name in ["short", "long"] {
        let ends = host.records.iter();
        let ends = ends.filter(|record| settled(record) && record["function"] == name);
        let mut reasons: Vec<usize> = ends
            .map(|end| text(end, "reason").parse().unwrap())
            .collect();
        reasons.sort_unstable();
        assert_eq!(reasons, Vec::from_iter(0..EVENTS), "{name}");
    }
    host.stop();
}

#[test]
fn a_refusal_is_remembered_and_names_the_bound() {
    let check = |app: &App| {
        let output = app.kinglet(&["check", "--cache-dir", "cache"]).expect(1);
        output.stdout
    };
    let requests =
        "[[function]]\nname = \"long\"\ncomponent = \"long.wasm\"\non = { http = \"/\" }";
    // For requests there is a second engine, which isn't tried.
    for manifest in [&function("long"), requests] {
        let app = App::new(manifest);
        app.put("long.wasm", chain(LONGEST + 1));
        let refused = check(&app);
        for words in [
            "\"long\"",
            "9 linear memories, where an instance may have 8",
            "compose it of fewer",
        ] {
            assert!(refused.contains(words), "{words:?} isn't in {refused}");
        }
        assert_eq!(files(&app, "cwasm").len(), 1);
        // Compiling it again would take longer than that.
        app.manifest(&format!("[compile]\ntimeout = \"1ms\"\n{manifest}"));
        assert_eq!(check(&app), refused);
        // As it does where what was compiled is gone.
        fs::remove_dir_all(app.path("cache")).unwrap();
        let late = check(&app);
        assert!(late.contains("longer than 1ms of processor time"), "{late}");
    }
}

#[test]
fn a_middleware_alone_is_refused_with_what_to_do() {
    for interface in [
        "wasi:http/incoming-handler@0.2.0",
        "wasi:http/handler@0.3.0",
    ] {
        let app = App::new(
            "[[function]]\nname = \"guarded\"\ncomponent = \"guard.wasm\"\non = { http = \"/\" }",
        );
        let middleware = format!(
            "(component
              (import \"{interface}\" (instance (export \"handle\" (func (param \"n\" u32)))))
              (core module $module (func (export \"handle\") (param i32)))
              (core instance $instance (instantiate $module))
              (func $handle (param \"n\" u32) (canon lift (core func $instance \"handle\")))
              (instance $handler (export \"handle\" (func $handle)))
              (export \"{interface}\" (instance $handler)))"
        );
        app.put("guard.wasm", wat::parse_str(middleware).unwrap());
        let refused = app.kinglet(&["check"]).expect(1).stdout;
        for words in [
            "\"guarded\"",
            &format!("imports `{interface}`, as a middleware does"),
            "`wac plug MIDDLEWARE.wasm --plug HANDLER.wasm",
        ] {
            assert!(refused.contains(words), "{words:?} isn't in {refused}");
        }
    }
}
