//! End to end: the real host in a process of its own, real folders, real components.
//!
//! Nothing here sleeps, but between two looks at what a host holds. A test waits for the record or the line that it is
//! about, for as long as `host::PATIENCE`, and fails with what it saw until then.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod batches;
mod cache;
mod chains;
mod checks;
mod composed;
mod control_socket;
mod crashes;
mod delivery;
mod denials;
mod effects;
mod faults;
mod file_kinds;
mod guests;
mod harness;
mod host;
mod hostile;
mod http;
mod http2;
mod http_behaviours;
mod http_behaviours_p3;
mod http_clients;
mod http_effects;
mod http_elsewhere;
mod http_heads;
mod http_keys;
mod http_sdk;
mod http_server;
mod ingress;
mod init;
mod instances;
mod invoke;
mod keyvalue;
mod languages;
mod limits;
mod logs;
mod names;
mod new;
mod objects;
mod operate;
mod order;
mod outages;
mod outgoing;
mod photos;
mod printing;
mod restarts;
mod run;
mod schedules;
mod spin;
mod starts;
mod taken_away;
mod targets;
mod unfinished;
