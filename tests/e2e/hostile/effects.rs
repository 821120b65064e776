//! Attacks by effects without end, or with names that mean something else to a file system.

use serde_json::Value;

use super::attack::{Attack, End, guest};
use crate::harness::{App, settled, text};

const STAGING: &str = "limits.staging = \"1MiB\"";
const MANY: End = End::Failed("limit reached: effects are limited to 10000");
const FULL: End = End::Failed("staging is limited to 1048576 bytes");

pub const ATTACKS: &[Attack] = &[
    guest("objects", STAGING, FULL).stopped_by("staged-count"),
    guest("object-without-end", STAGING, FULL).stopped_by("staging"),
    guest("removals", STAGING, FULL).stopped_by("staged-count"),
    guest("messages", STAGING, FULL).stopped_by("staged-count"),
    guest("huge-message", STAGING, FULL).stopped_by("staging"),
    guest("attributes", "", End::Failed("the list of attributes has")).stopped_by("event-names"),
    guest("many-messages", "", MANY).stopped_by("effects"),
    guest(
        "many-values",
        "",
        End::Failed("effects are limited to 10000"),
    )
    .stopped_by("effects"),
    guest("many-removals", "", MANY).stopped_by("effects"),
    guest("huge-names", "", End::Done).stopped_by("event-names"),
    guest("far-future", "", End::Done),
    guest("values", STAGING, FULL).stopped_by("staged-count"),
    guest("huge-value", STAGING, FULL).stopped_by("staging"),
    guest("huge-key", "", End::Done).stopped_by("keyvalue-sizes"),
    guest("huge-reason", "", End::Failed("at length"))
        .stopped_by("reasons")
        .also(reason_is_cut),
    guest("retry-in-ages", "", End::Failed("later")),
    guest("object-names", "", End::Done)
        .stopped_by("object-keys")
        .also(nothing_escaped),
    guest("odd-names", "", End::Done).also(each_is_its_own),
];

/// To some kilobytes, which get longer where characters are escaped.
fn reason_is_cut(_: &App, said: &[&Value]) -> Result<(), String> {
    let outcome = said.iter().find(|record| settled(record));
    let length = outcome.map_or(0, |outcome| text(outcome, "reason").len());
    match length {
        1..=65_536 => Ok(()),
        _ => Err(format!("a reason of {length} bytes")),
    }
}

fn nothing_escaped(app: &App, _: &[&Value]) -> Result<(), String> {
    let folder = app.path("");
    for place in [folder.clone(), folder.join("out"), "/tmp".into()] {
        if place.join("escaped").exists() {
            return Err(format!("there is an object in {}", place.display()));
        }
    }
    Ok(())
}

/// Each object has its own key for its body.
fn each_is_its_own(app: &App, _: &[&Value]) -> Result<(), String> {
    let objects = app.objects("out");
    let other = objects.iter().find(|(key, body)| key.as_bytes() != *body);
    match (objects.len(), other) {
        (24, None) => Ok(()),
        (count, other) => Err(format!("{count} objects, and of another {other:?}")),
    }
}
