//! An init that does what the manifest's `init` says, for which `config` must be allowed; and a handler that
//! prints what the init left.

use std::collections::HashMap;
use std::io::Read;
use std::sync::LazyLock;
use std::time::{Instant, SystemTime};

use kinglet_sdk::{Bucket, Config, Failure, KeyValue, Message, Topic};

static INIT: LazyLock<String> =
    LazyLock::new(|| Config::get_or("init", String::new()).unwrap_or_default());

static NUMBERS: LazyLock<HashMap<u32, String>> =
    LazyLock::new(|| (0..1_000).map(|n| (n, n.to_string())).collect());

/// A quarter of it isn't zero, in many places.
static SPARSE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = vec![0; 40 << 20];
    for page in bytes.chunks_mut(64 << 10) {
        page.iter_mut().take(16 << 10).for_each(|byte| *byte = 7);
    }
    bytes
});

#[allow(clippy::disallowed_methods, reason = "a guest has no other clock")]
static TIME: LazyLock<SystemTime> = LazyLock::new(SystemTime::now);

#[kinglet_sdk::init]
#[allow(clippy::disallowed_methods, reason = "a guest has no other clock")]
fn prepare() -> Result<(), String> {
    let shown = |error: kinglet_sdk::Error| error.to_string();
    match INIT.as_str() {
        "nothing" => {}
        "random" => assert_eq!(NUMBERS.len(), 1_000),
        "time" => drop(LazyLock::force(&TIME)),
        "instant" => _ = Instant::now(),
        "environment" => assert_eq!(std::env::var("HOME").ok(), None),
        "arguments" => assert_eq!(std::env::args().count(), 0),
        "file" => _ = std::fs::read("/etc/passwd"),
        "input" => _ = std::io::stdin().read(&mut [0]),
        "bucket" => _ = Bucket::open("b"),
        "topic" => _ = Topic::open("t"),
        "keyvalue" => _ = KeyValue::open("k"),
        "sparse" => assert_eq!(SPARSE.len(), 40 << 20),
        "print" => println!("table \x1b[31mready\nfor use"),
        "print-unfinished" => print!("table ready"),
        "log" => kinglet_sdk::warn!("table ready"),
        "panic" => {
            let sizes: Vec<u32> = Vec::new();
            assert!(!sizes.is_empty(), "the table has no sizes");
        }
        "error" => {
            _ = "ten"
                .parse::<u8>()
                .map_err(|error| format!("the size: {error}"))?
        }
        "exit" => std::process::exit(3),
        "spin" => loop {
            std::hint::black_box(());
        },
        "allocate" => drop(std::hint::black_box(vec![1_u8; 64 << 20])),
        "sleep" => std::thread::sleep(std::time::Duration::from_secs(3_600)),
        other => return Err(format!("there is no {other:?} to do")),
    }
    Config::all().map(drop).map_err(shown)
}

#[kinglet_sdk::message]
fn tell(event: Message) -> Result<(), Failure> {
    println!("init {:?}", *INIT);
    if *INIT == "sparse" {
        let (set, zero) = (SPARSE.get(32 << 20), SPARSE.get((32 << 20) + (16 << 10)));
        println!("sparse {set:?} {zero:?}");
        return Ok(());
    }
    let keys: Vec<&u32> = NUMBERS.keys().take(20).collect();
    println!("keys {keys:?}");
    // A map of the handler's own, with the frozen keys or fresh ones.
    let own: HashMap<u32, ()> = (0..20).map(|n| (n, ())).collect();
    println!(
        "sum {}",
        NUMBERS.values().map(String::len).sum::<usize>() + own.len()
    );
    println!("time {:?}", *TIME);
    println!("event {}", event.text()?);
    Ok(())
}
