//! Sources of events: they turn outside happenings into accepted events, and do nothing else.

pub mod http;
pub mod ingress;
pub mod objects;
pub mod schedule;
mod watch;

pub use watch::WatchError;
