//! Attacks by what is handed over: pointers, lengths, cases.

use super::attack::{Attack, End, raw};

const RAW: &str = include_str!("../../guests/hostile/raw/values.wat");

const UNREACHABLE: End = End::Trap("unreachable");
const BEYOND: End = End::Trap("out of bounds");
const ASKEW: End = End::Trap("not aligned");
const NO_CASE: End = End::Trap("discriminant");

pub const ATTACKS: &[Attack] = &[
    raw(RAW, "trap-in-start", UNREACHABLE),
    raw(RAW, "trap-after-return", UNREACHABLE),
    raw(RAW, "trap-half-lowered", UNREACHABLE),
    raw(
        RAW,
        "realloc-beyond",
        End::Trap("realloc return: beyond end of memory"),
    ),
    raw(RAW, "realloc-askew", ASKEW),
    raw(RAW, "return-beyond", BEYOND),
    raw(RAW, "return-askew", ASKEW),
    raw(RAW, "return-no-such-case", NO_CASE),
    raw(RAW, "return-endless-text", BEYOND),
    raw(RAW, "no-text", End::Trap("invalid utf-8")),
    raw(RAW, "text-beyond", BEYOND),
    raw(RAW, "text-beyond-in-start", BEYOND),
    raw(RAW, "no-such-case", NO_CASE),
    raw(RAW, "list-beyond", BEYOND),
    raw(RAW, "list-askew", ASKEW),
    raw(RAW, "list-of-one-text", End::Limit("arguments", 128 << 20)).stopped_by("host-calls"),
    raw(RAW, "draft-no-such-case", NO_CASE),
];
