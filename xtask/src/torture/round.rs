//! What a round does, drawn from the seed.

use std::time::Duration;

use kinglet_powercut::{Choice, Faults, Kill, Window};

use super::app::Kind;

/// Beside the windows, every sixth kill comes at a random instant.
const IN_TURN: usize = Window::ALL.len() + 1;
/// A process lives no longer, if the instant to kill it at doesn't come.
const LONGEST: Duration = Duration::from_millis(1_500);

/// One life of the host.
#[derive(Clone, Debug)]
pub struct Round {
    /// Given to the shim.
    pub seed: u64,
    /// None: after `lives`.
    pub kill: Option<Kill>,
    /// The longest that the host lives once it is ready, or at all where it is killed at a random instant.
    pub lives: Duration,
    pub faults: Option<Faults>,
    pub choice: Choice,
    /// Whether publishers that find no host any more may take the store, before what isn't synced is lost.
    pub takeover: bool,
    pub load: Vec<Arrival>,
}

/// Something that comes from outside.
#[derive(Clone, Debug)]
pub enum Arrival {
    /// Messages in one publication.
    Messages { kind: Kind, events: Vec<String> },
    /// Messages with an ordering key in one publication.
    Ordered { key: String, events: Vec<String> },
    /// A message with an id, which is published again until it is answered.
    WithId { kind: Kind, event: String },
    /// A file.
    File { event: String },
    /// The dead letters of a function are delivered again, and die again.
    Redrive { kind: Kind },
}

impl Round {
    /// The round of this number.
    pub fn draw(seed: u64, number: u32, thorough: bool) -> Self {
        let mut random =
            fastrand::Rng::with_seed(seed ^ u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let window = Window::ALL.get(number as usize % IN_TURN);
        let kill = window.map(|window| Kill {
            window: *window,
            nth: random.u32(1..=most(*window)),
        });
        let lives = match kill {
            Some(_) => LONGEST,
            None => LONGEST.mul_f64(random.f64()),
        };
        let faults = (!thorough && random.u8(..4) == 0).then_some(Faults {
            writes: 4_000,
            short_writes: 8_000,
            syncs: 8_000,
        });
        let choice = if !thorough && random.u8(..3) == 0 {
            Choice::Some {
                seed: random.u64(..),
            }
        } else {
            Choice::All
        };
        Self {
            seed: random.u64(..),
            kill,
            lives,
            faults,
            choice,
            takeover: !thorough && random.u8(..4) == 0,
            load: load(&mut random, number),
        }
    }
}

/// How many instants of a window the load surely has, more or less.
fn most(window: Window) -> u32 {
    match window {
        // While anything is staged, a sync of the log is in another window.
        Window::Accepted => 4,
        Window::Staged | Window::Applied => 40,
        Window::Decided | Window::Acknowledged => 15,
    }
}

fn load(random: &mut fastrand::Rng, number: u32) -> Vec<Arrival> {
    let mut next = 0;
    let mut event = || {
        next += 1;
        // Of every kind in one round or another.
        let rejected = if (number + next).is_multiple_of(8) {
            "x"
        } else {
            ""
        };
        format!("r{number}e{next}{rejected}")
    };
    let mut load = Vec::new();
    for kind in Kind::MESSAGES {
        let events = (0..random.u32(2..=5)).map(|_| event()).collect();
        load.push(Arrival::Messages { kind, events });
        let event = event();
        load.push(Arrival::WithId { kind, event });
    }
    // One publication of a key in a round, so that it is known in which order they came.
    for key in ["one", "two"] {
        let events = (0..random.u32(2..=4)).map(|_| event()).collect();
        let key = key.to_owned();
        load.push(Arrival::Ordered { key, events });
    }
    for _ in 0..3 {
        load.push(Arrival::File { event: event() });
    }
    if random.u8(..3) == 0 {
        let kinds = [
            Kind::Flat,
            Kind::Batch,
            Kind::Relay,
            Kind::Ordered,
            Kind::File,
        ];
        let kind = random.choice(kinds).unwrap_or(Kind::Flat);
        load.push(Arrival::Redrive { kind });
    }
    random.shuffle(&mut load);
    load
}
