//! What fuzzing found, each input with its story. A file in `regressions` is named by a test here.

#![expect(clippy::unwrap_used, reason = "a test's helpers may fail as it does")]

use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions")
}

fn check(body: fn(&[u8]), input: &str) {
    body(&std::fs::read(folder().join(input)).unwrap());
}

/// Forty layers of two functions each, which wake both of the next: the search for a circle went by each of a million
/// million ways, and `kinglet check` never came back.
#[test]
fn a_manifest_with_many_ways_and_no_circle_is_read_in_time() {
    check(kinglet_fuzzed::manifest, "manifest/many-ways");
}

/// One changed byte in the ordering key beside a record made it no text. Every look for what is due failed on that row,
/// and its function never got an event again.
#[test]
fn a_key_that_is_no_text_holds_up_nobody() {
    check(kinglet_fuzzed::store, "store/lane-is-no-text");
}

/// A row whose function was made nothing, which the index still had: it couldn't be set aside, and its function never
/// got an event again.
#[test]
fn a_row_without_a_function_is_set_aside() {
    check(kinglet_fuzzed::store, "store/row-without-function");
}

/// A record of an older store that was made text. The newer table takes bytes alone, so that the whole store couldn't be
/// opened, with words that helped nobody.
#[test]
fn an_older_store_with_a_record_that_is_text_is_migrated() {
    check(kinglet_fuzzed::store, "store/old-record-is-text");
}

/// A record that was made nothing: the figures that triggers keep had no sum with it, so that its row couldn't be
/// removed, and its function never got an event again.
#[test]
fn a_record_that_is_null_is_set_aside() {
    check(kinglet_fuzzed::store, "store/record-is-null");
}

/// A function's name that is no text, among the figures: no source's events were accepted any more, since room is made
/// sure of by these, and `kinglet status` said nothing.
#[test]
fn a_name_that_is_no_text_hides_no_other() {
    check(kinglet_fuzzed::store, "store/name-is-no-text");
}

/// A function's name that was made bytes, of a delivery that the last host had when it ended. That couldn't be noted in
/// its row, and the whole store didn't open.
#[test]
fn an_attempt_that_cannot_be_noted_as_cut_off_keeps_no_store_closed() {
    check(kinglet_fuzzed::store, "store/cut-off-and-changed");
}

/// A component with control characters in a name, which the engine's words have in them: `kinglet check` handed them
/// to the terminal.
#[test]
fn a_component_that_is_refused_does_not_steer_the_terminal() {
    check(
        kinglet_fuzzed::component,
        "component/name-that-steers-the-terminal",
    );
}

/// A component whose start drops a handle that it hasn't. What ended a start counted as a fault of the host, which uses
/// up no attempt: its events would have come again for ever.
#[test]
fn a_start_that_the_host_ends_is_the_guests_doing() {
    check(
        kinglet_fuzzed::component,
        "component/start-drops-what-it-has-not",
    );
}

/// The same, by a component whose start is an import: there is no code of the guest's then in which it ends.
#[test]
fn a_start_that_is_an_import_and_ends_is_the_guests_doing() {
    check(kinglet_fuzzed::component, "component/start-is-an-import");
}

#[test]
fn every_input_has_its_test() {
    let tests = include_str!("regressions.rs");
    for target in folder().read_dir().unwrap() {
        for input in target.unwrap().path().read_dir().unwrap() {
            let input = input.unwrap().path();
            let name = input.strip_prefix(folder()).unwrap().to_str().unwrap();
            assert!(tests.contains(&format!("{name:?}")), "{name}");
        }
    }
}
