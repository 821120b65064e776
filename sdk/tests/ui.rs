//! What the attributes say about handlers that aren't any.

#![cfg(not(target_family = "wasm"))]

#[test]
fn wrong_handlers_are_explained() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
