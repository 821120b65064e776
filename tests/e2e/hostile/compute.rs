//! Attacks on time.

use super::attack::{Attack, End, guest, raw};

const RAW: &str = include_str!("../../guests/hostile/raw/compute.wat");

const FUEL: u64 = 50_000_000;
const FUELLED: &str = "limits.fuel = 50_000_000";
/// More than any of them burns.
const TIMED: &str = "limits.fuel = 9_000_000_000_000_000_000\nlimits.timeout = \"2s\"";
const TIMEOUT: u64 = 2_000;
const STACK: End = End::Limit("stack", 512 << 10);

pub const ATTACKS: &[Attack] = &[
    guest("spin", FUELLED, End::Fuel(FUEL)).stopped_by("fuel"),
    guest("spin-on", TIMED, End::Deadline(TIMEOUT))
        .doing("spin")
        .stopped_by("deadline"),
    guest("spin-at-once", TIMED, End::Deadline(TIMEOUT))
        .doing("spin")
        .at_once(4)
        .stopped_by("yields"),
    guest("copy", FUELLED, End::Fuel(FUEL)).stopped_by("fuel"),
    guest("recurse", "", STACK).stopped_by("stack"),
    guest("sleep", TIMED, End::Deadline(TIMEOUT)).stopped_by("deadline"),
    guest("doze", TIMED, End::Deadline(TIMEOUT)).stopped_by("deadline"),
    guest("block", TIMED, End::Deadline(TIMEOUT)).stopped_by("deadline"),
    guest("poll-many", TIMED, End::Deadline(TIMEOUT)).stopped_by("deadline"),
    raw(RAW, "spin-in-destructor", End::Fuel(FUEL))
        .with(FUELLED)
        .stopped_by("fuel"),
    raw(RAW, "spin-after-return", End::Fuel(FUEL))
        .with(FUELLED)
        .stopped_by("fuel"),
    raw(RAW, "spin-in-start", End::Fuel(FUEL))
        .with(FUELLED)
        .stopped_by("fuel"),
    raw(RAW, "spin-in-realloc", End::Fuel(FUEL))
        .with(FUELLED)
        .stopped_by("fuel"),
    raw(RAW, "fill", End::Fuel(FUEL))
        .with(FUELLED)
        .stopped_by("fuel"),
    raw(RAW, "recurse-natively", STACK).stopped_by("stack"),
    raw(RAW, "recurse-with-calls", STACK).stopped_by("stack"),
    raw(RAW, "recurse-in-realloc", STACK).stopped_by("stack"),
    raw(
        RAW,
        "call-from-realloc",
        End::Trap("cannot leave component"),
    ),
    raw(RAW, "floats", End::Done),
    raw(RAW, "vectors", End::Done),
    raw(RAW, "divide-by-zero", End::Trap("divide by zero")),
    raw(RAW, "overflow", End::Trap("integer overflow")),
    raw(
        RAW,
        "convert-nan",
        End::Trap("invalid conversion to integer"),
    ),
    raw(
        RAW,
        "call-the-wrong-type",
        End::Trap("indirect call type mismatch"),
    ),
];
