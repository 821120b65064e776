//! Each target on each file of its corpus, and on some inputs that are made of them, always the same: what an hour of
//! `cargo xtask fuzz` looks for, in some seconds.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helpers may fail as it does"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use fastrand::Rng;

/// Where the inputs made here begin.
const SEED: u64 = 7;
/// No input made here is longer.
const LONGEST: usize = 64 << 10;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let mut paths: Vec<_> = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 10, "{} has few files", folder.display());
    let read = |path| std::fs::read(path).unwrap();
    paths.into_iter().map(read).collect()
}

/// A little of everything that libFuzzer does to its inputs.
fn mutate(corpus: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
    let pick = |random: &mut Rng| &corpus[random.usize(..corpus.len())];
    let mut input = pick(random).clone();
    for _ in 0..random.u8(1..5) {
        if input.is_empty() {
            input.push(random.u8(..));
        }
        let at = random.usize(..input.len());
        let to = random.usize(at..input.len().min(at + 64));
        match random.u8(..7) {
            0 => input[at] ^= 1 << random.u8(..8),
            1 => input[at] = random.u8(..),
            2 => input.insert(at, random.u8(..)),
            3 => drop(input.drain(at..to)),
            4 => {
                let piece = input[at..to].to_vec();
                input.splice(at..at, piece);
            }
            5 => {
                let other = pick(random);
                let from = random.usize(..=other.len());
                let piece = &other[from..other.len().min(from + 64)];
                input.splice(at..to, piece.iter().copied());
            }
            _ => input.truncate(at),
        }
    }
    input.truncate(LONGEST);
    input
}

fn run(target: &str, body: fn(&[u8]), mutated: usize) {
    let corpus = corpus(target);
    for input in &corpus {
        run_one(target, body, input);
    }
    let mut random = Rng::with_seed(SEED);
    for _ in 0..mutated {
        run_one(target, body, &mutate(&corpus, &mut random));
    }
}

/// Keeps an input that is a find.
fn run_one(target: &str, body: fn(&[u8]), input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| body(input))).is_err() {
        let find = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("find-{target}"));
        std::fs::write(&find, input).unwrap();
        panic!("{} is a find", find.display());
    }
}

#[test]
fn manifests() {
    run("manifest", kinglet_fuzzed::manifest, 4_000);
}

#[test]
fn events() {
    run("events", kinglet_fuzzed::events, 20_000);
}

#[test]
fn stores() {
    run("store", kinglet_fuzzed::store, 300);
}

#[test]
fn components() {
    run("component", kinglet_fuzzed::component, 100);
}

#[test]
fn calls() {
    run("calls", kinglet_fuzzed::calls, 2_000);
}
