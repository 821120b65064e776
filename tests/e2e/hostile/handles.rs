//! Attacks on handles.

use super::attack::{Attack, End, guest, raw};

const RAW: &str = include_str!("../../guests/hostile/raw/handles.wat");

const FULL: End = End::Limit("handles", 4_096);

pub const ATTACKS: &[Attack] = &[
    guest("open-topics", "", FULL).stopped_by("handles"),
    guest("open-pollables", "", FULL).stopped_by("handles"),
    guest("open-fields", "", FULL)
        .by("hostile-network")
        .stopped_by("handles"),
    guest("open-writers", "", End::Failed("64 writers are open")).stopped_by("staged-count"),
    guest("leak", "", End::Done),
    raw(RAW, "make-resources", FULL).stopped_by("handles"),
    raw(
        RAW,
        "guess-a-handle",
        End::Trap("unknown handle index 12345"),
    ),
    raw(RAW, "use-after-drop", End::Trap("unknown handle index")),
    raw(RAW, "drop-twice", End::Trap("unknown handle index")),
    raw(RAW, "take-one-for-another", End::Trap("handle index")),
];
