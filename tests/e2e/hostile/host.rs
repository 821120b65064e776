//! Attacks on what the host has for all together: they take many events, or files of its own.

use std::fs;

use serde_json::Value;

use crate::harness::{App, Output, echo, settled, text, waits};
use crate::{cache, chains, http};

/// An attack with a host of its own.
pub struct Siege {
    pub name: &'static str,
    pub guard: &'static str,
    /// Whether it was stopped, by a host that may be without a guard.
    pub stopped: fn(Option<&str>) -> bool,
}

pub const SIEGES: &[Siege] = &[
    Siege {
        name: "grow-together",
        guard: "budget",
        stopped: grow_together,
    },
    Siege {
        name: "stage-together",
        guard: "staging-room",
        stopped: stage_together,
    },
    Siege {
        name: "wake-itself",
        guard: "hops",
        stopped: wake_itself,
    },
    Siege {
        name: "answer-on-and-on",
        guard: "response",
        stopped: answer_on_and_on,
    },
    Siege {
        name: "hold-paths-p3",
        guard: "handle-contents",
        stopped: hold_paths,
    },
    Siege {
        name: "hold-fields-p3",
        guard: "handle-contents",
        stopped: hold_fields,
    },
    Siege {
        name: "long-method-p3",
        guard: "request-parts",
        stopped: long_method,
    },
    Siege {
        name: "hold-bodies-p3",
        guard: "buffers",
        stopped: hold_bodies,
    },
    Siege {
        name: "tell-the-client",
        guard: "error-texts",
        stopped: tell_the_client,
    },
    Siege {
        name: "send-on-and-on",
        guard: "requests",
        stopped: send_on_and_on,
    },
    Siege {
        name: "reach-the-own-network",
        guard: "own-networks",
        stopped: reach_the_own_network,
    },
    Siege {
        name: "post-huge-ids",
        guard: "event-names",
        stopped: post_huge_ids,
    },
    Siege {
        name: "forge-code",
        guard: "cache-seal",
        stopped: forge_code,
    },
    Siege {
        name: "much-to-compile",
        guard: "compile-memory",
        stopped: much_to_compile,
    },
];

/// Each would be well within its own limit, and all together aren't within the host's: they take turns, and nothing is
/// lost.
fn grow_together(without: Option<&str>) -> bool {
    const MIB: u64 = 1 << 20;
    const EVENTS: usize = 36;
    let app = App::new(
        r#"
        [host]
        memory = "256MiB"
        [[function]]
        name = "grow"
        component = "guest:grow"
        on = { message = "grow" }
        limits = { memory = "96MiB", concurrency = 12 }
        retry = { attempts = 1, backoff = "10ms..100ms" }
        "#,
    );
    app.publish_lines("grow", std::iter::repeat_n("60", EVENTS));
    let mut host = app.up_without(without);
    let ended = host.outcomes(EVENTS, "grow");
    let failed = ended.iter().find(|r| r["outcome"] != "done");
    assert_eq!(failed, None, "without {without:?}");
    let peak = host.peak_memory() / MIB;
    let memory = app.kinglet(&["status", "--memory", "--json"]).expect(0);
    assert_eq!(memory.json()[0]["total"], 256 * MIB, "{memory:?}");
    assert!(app.ok(&["status"]).contains("of 256"));
    host.stop();
    // With what it takes itself.
    let stopped = peak < 256 + 100;
    assert!(stopped || peak > 256 + 150, "{peak} MiB");
    stopped
}

/// Four stage an object each, which counts as 4 KiB and a little, and hold it: there is room for two. The others come
/// again when these are done, and it isn't counted.
fn stage_together(without: Option<&str>) -> bool {
    let app = App::new(
        r#"
        [queue]
        max-staging = 10_000
        [buckets.gate]
        [buckets.out]
        [[function]]
        name = "gate"
        component = "guest:gate"
        on = { message = "in" }
        limits = { concurrency = 4, timeout = "10min", staging = 10_000 }
        retry = { attempts = 1, backoff = "10ms..50ms" }
        grants = { read = ["gate"], write = ["out"] }
        "#,
    );
    app.publish_lines("in", ["a", "b", "c", "d"]);
    let mut host = app.up_without(without);
    let full = |record: &Value| record["outcome"] == "fault";
    let held = host.until_many(4, |record| waits(record) || full(record));
    app.put("gate/open", "");
    host.until_many(4, |record| settled(record) && record["outcome"] == "done");
    host.stop();
    assert_eq!(app.keys("out").len(), 4);
    held.iter().any(full)
}

fn wake_itself(without: Option<&str>) -> bool {
    let app = chains::looping();
    let mut host = app.up_without(without);
    app.publish("ball", "x");
    // That from outside, three hops, and what comes after them.
    let ended = host.until_many(5, settled);
    host.stop();
    ended.iter().any(|record| record["dead"] == true)
}

fn answer_on_and_on(without: Option<&str>) -> bool {
    let app = http::probe_within("http-probe", r#"memory = "64MiB", response = 1_000_000"#);
    let mut host = http::up_without(&app, without);
    let said = http::get(&host, "/large");
    if without.is_none() {
        let told = host.until(|r| r["of"] == "response");
        assert_eq!(told["limit"], 1_000_000, "{told}");
    }
    host.stop();
    !said.ends_with("\r\n0\r\n\r\n")
}

fn hold_paths(without: Option<&str>) -> bool {
    hold("/hold-paths", without)
}

fn hold_fields(without: Option<&str>) -> bool {
    hold("/hold-fields", without)
}

fn hold_bodies(without: Option<&str>) -> bool {
    hold("/hold-bodies", without)
}

/// A guest of 0.3 that holds more than its memory in the host ends as one that has too much itself.
fn hold(path: &str, without: Option<&str>) -> bool {
    let app = hostile_p3();
    let mut host = http::up_without(&app, without);
    let said = http::get(&host, path);
    if without.is_none() {
        let told = host.until(|r| r["kind"] == "outcome");
        assert_eq!(told["of"], "memory", "{told}");
        assert_eq!(told["limit"], 16 << 20, "{told}");
    }
    host.stop();
    said.starts_with("HTTP/1.1 500")
}

/// A method that is longer than any is refused.
fn long_method(without: Option<&str>) -> bool {
    let app = hostile_p3();
    let mut host = http::up_without(&app, without);
    let said = http::get(&host, "/long-method");
    if without.is_none() {
        let told = host.until(|r| r["kind"] == "outcome");
        assert_eq!(told["outcome"], "trap", "{told}");
    }
    host.stop();
    said.starts_with("HTTP/1.1 500")
}

/// Has the text of an error sent to whoever asks.
fn tell_the_client(without: Option<&str>) -> bool {
    let app = hostile_p3();
    let mut host = http::up_without(&app, without);
    let said = http::get(&host, "/tell");
    assert!(said.starts_with("HTTP/1.1 502"), "{said:.200}");
    let outcome = host.until(|r| r["kind"] == "outcome");
    let reason = text(&outcome, "reason");
    assert!(
        reason.contains("InternalError(Some(\"told told"),
        "{reason}"
    );
    assert!(reason.len() <= 8 << 10, "{} bytes", reason.len());
    host.stop();
    !said.contains("told")
}

fn hostile_p3() -> App {
    http::probe_within("hostile-p3", r#"memory = "16MiB", timeout = "60s""#)
}

fn send_on_and_on(without: Option<&str>) -> bool {
    let ended = send("http://localhost:PORT", "requests = 0", without);
    if without.is_none() {
        assert_eq!(ended["limit"], 0, "{ended}");
    }
    ended["of"] == "requests"
}

/// By a grant of every name, under a name that stands for this machine.
fn reach_the_own_network(without: Option<&str>) -> bool {
    let ended = send("http://*:*", "", without);
    let told = ended.to_string();
    assert!(
        without.is_some() || told.contains("DestinationIpProhibited"),
        "{told}"
    );
    ended["outcome"] != "done"
}

/// How an event ends that sends a request to a host beside it, with this grant, which may name that one's port.
fn send(granted: &str, limits: &str, without: Option<&str>) -> Value {
    let target = http::probe("http-probe");
    let target_host = http::up(&target);
    let port = http::address(&target_host).port();
    let granted = granted.replace("PORT", &port.to_string());
    let app = App::new(&format!(
        r#"
        [[function]]
        name = "send"
        component = "guest:fetch"
        on = {{ message = "in" }}
        grants = {{ http = "{granted}" }}
        limits = {{ {limits} }}
        retry = {{ attempts = 1 }}
        "#
    ));
    let mut host = app.up_without(without);
    app.publish("in", &format!("http://localhost:{port}/teapot"));
    let ended = host.outcome_of("send", "in");
    host.stop();
    target_host.stop();
    ended
}

/// An event whose id the host would keep, and show, at its whole length.
fn post_huge_ids(without: Option<&str>) -> bool {
    let app = App::new(&format!(
        "{}\n[[ingress]]\npath = \"/in\"\nformat = \"cloudevents\"\ntopic = \"in\"\nauth = \"none\"\n",
        echo("in")
    ));
    let host = http::up_without(&app, without);
    let body = format!(
        r#"{{"specversion":"1.0","id":"{}","source":"/s","type":"t","data":1}}"#,
        "x".repeat(500_000)
    );
    let said = http::send(
        &host,
        &format!(
            "POST /in HTTP/1.1\r\nhost: a\r\ncontent-type: application/cloudevents+json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        ),
    );
    host.stop();
    let stopped = said.contains("`id` has 500000 bytes");
    assert!(stopped || said.contains("202 Accepted"), "{said}");
    stopped
}

/// Somebody who can write to the cache, and hasn't the key.
fn forge_code(without: Option<&str>) -> bool {
    let app = cache::app();
    cache::run(&app);
    for path in cache::files(&app, "seal") {
        fs::write(&path, "0".repeat(64)).unwrap();
    }
    cache::run_without(&app, without).contains(cache::ALTERED)
}

/// A component of some size: the functions of a small one are compiled in the same memory one by one.
fn much_to_compile(without: Option<&str>) -> bool {
    let app = App::new(
        "[compile]\nmemory = \"64MiB\"\n[buckets.in]\n[[function]]\nname = \"f\"\ncomponent = \"guest:thumbnail\"\n\
         on = { object-created = \"in\" }\n",
    );
    let mut command = app.command_without(&["check"], without);
    command.env("KINGLET_CACHE_DIR", app.path("cache"));
    let checked = Output::of(command);
    let stopped = checked.stdout.contains("more than 64MiB of memory");
    checked.expect(i32::from(stopped));
    stopped
}
