//! Attacks on memory.

use super::attack::{Attack, End, guest, raw};

const RAW: &str = include_str!("../../guests/hostile/raw/memory.wat");

const LIMITED: &str = "limits.memory = \"16MiB\"";
const LIMIT: u64 = 16 << 20;

pub const ATTACKS: &[Attack] = &[
    guest("grow-by-pages", LIMITED, End::Memory(LIMIT)).stopped_by("memory"),
    guest("grow-at-once", LIMITED, End::Memory(LIMIT)).stopped_by("memory"),
    guest("hoard", LIMITED, End::Memory(LIMIT)).stopped_by("memory"),
    raw(RAW, "grow-by-turns", End::Memory(LIMIT))
        .with(LIMITED)
        .stopped_by("memory"),
    raw(RAW, "grow-a-table", End::Memory(320 << 10))
        .with("limits.memory = \"320KiB\"")
        .stopped_by("tables"),
    raw(
        RAW,
        "touch-beyond",
        End::Trap("out of bounds memory access"),
    ),
    raw(RAW, "fill-beyond", End::Trap("out of bounds memory access")),
    guest("hold-paths", LIMITED, End::Memory(LIMIT))
        .by("hostile-network")
        .stopped_by("handle-contents"),
    guest("hold-fields", LIMITED, End::Memory(LIMIT))
        .by("hostile-network")
        .stopped_by("handle-contents"),
    guest("hold-copies", LIMITED, End::Memory(LIMIT))
        .by("hostile-network")
        .stopped_by("handle-contents"),
    guest("hold-trailers", LIMITED, End::Memory(LIMIT))
        .by("hostile-network")
        .stopped_by("handle-contents"),
    guest("hold-bodies", LIMITED, End::Memory(LIMIT))
        .by("hostile-network")
        .stopped_by("buffers"),
    guest("hold-answers", LIMITED, End::Memory(LIMIT))
        .by("hostile-network")
        .stopped_by("buffers"),
    guest("hold-methods", LIMITED, End::Failed("the host refused it"))
        .by("hostile-network")
        .stopped_by("request-parts"),
    guest("let-go", LIMITED, End::Done).by("hostile-network"),
    guest("read-back", LIMITED, End::Failed("limits.memory")).stopped_by("reads"),
];
