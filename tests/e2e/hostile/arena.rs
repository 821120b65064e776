//! A host on which one function attacks and another, its neighbour, does its work.

use std::time::{Duration, Instant};
use std::{fs, thread};

use serde_json::Value;

use super::attack::{Attack, shown};
use crate::harness::{App, Host, echo, settled};

/// The neighbour's events with each attack.
const NEIGHBOURS: usize = 3;
/// What the host's memory may have grown by once an attack is over, of the pieces that its allocator keeps. That no
/// attack leaves as much again is for `what_attacks_leave_doesnt_add_up`.
const RESIDENT_KIB: u64 = 48 << 10;
/// And its threads: those that wait for the next call of the file system, for some seconds.
const THREADS: usize = 8;
/// Between two looks at what the host holds. Nothing happens in it meanwhile: threads that are used stay.
const LOOK: Duration = Duration::from_millis(50);

pub struct Arena {
    app: App,
    host: Host,
    patience: Duration,
}

/// What a host holds.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    resident_kib: u64,
    files: usize,
    threads: usize,
}

impl Arena {
    /// With these attacks' functions, and perhaps without a guard. A wait that is longer than `patience` is a failure.
    pub fn new(attacks: &[Attack], without: Option<&str>, patience: Duration) -> Self {
        let app = App::bare();
        let functions: String = attacks.iter().map(|attack| attack.manifest(&app)).collect();
        let neighbour = echo("neighbour");
        app.manifest(&format!(
            "[http]\nlisten = \"127.0.0.1:0\"\n[buckets.out]\n{neighbour}\n{functions}"
        ));
        let host = app.up_without(without);
        let mut arena = Self {
            app,
            host,
            patience,
        };
        arena.neighbour().unwrap();
        arena
    }

    /// Attacks, and gives the outcome: as it must be, with the neighbour's events done meanwhile.
    pub fn suffer(&mut self, attack: &Attack) -> Result<Value, String> {
        let start = self.host.records.len();
        let messages = std::iter::repeat_n(attack.message(), attack.events);
        self.app.publish_lines(attack.name, messages);
        let neighbour = self.neighbour()?;
        let ended = |r: &Value| settled(r) && r["function"] == attack.name;
        let Some(end) = self.host.place_of(start, 1, self.patience, ended) else {
            return Err(format!("no end came; {:?}", self.host.lines.last()));
        };
        let outcome = self.host.records[end].clone();
        if attack.lasts() && neighbour > end {
            return Err(format!("the neighbour waited until: {}", shown(&outcome)));
        }
        let said = self.host.records[start..].iter();
        let said: Vec<_> = said.filter(|r| r["function"] == attack.name).collect();
        attack.check(&self.app, &outcome, &said)?;
        Ok(outcome)
    }

    /// What the host holds now.
    pub fn held(&self) -> Held {
        let of = |name: &str| format!("/proc/{}/{name}", self.host.id());
        let status = fs::read_to_string(of("status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|rest| rest.split_whitespace().next());
        Held {
            resident_kib: kib.unwrap().parse().unwrap(),
            files: fs::read_dir(of("fd")).unwrap().count(),
            threads: fs::read_dir(of("task")).unwrap().count(),
        }
    }

    /// Waits until the host holds no more than before, but for what the constants above allow.
    #[track_caller]
    pub fn rest(&self, before: Held, after: &str) {
        self.rest_within(before, RESIDENT_KIB, after);
    }

    /// The same, with another allowance of memory.
    #[track_caller]
    pub fn rest_within(&self, before: Held, allowed_kib: u64, after: &str) {
        let end = Instant::now() + self.patience;
        loop {
            let now = self.held();
            if now.resident_kib <= before.resident_kib + allowed_kib
                && now.files <= before.files
                && now.threads <= before.threads + THREADS
            {
                return;
            }
            assert!(
                Instant::now() < end,
                "after {after} {now:?}; {before:?} before"
            );
            thread::sleep(LOOK);
        }
    }

    /// Ends the host, which must end well.
    pub fn stop(self) {
        self.host.stop();
    }

    /// Has the neighbour handle some events, and gives the place where the last was done.
    fn neighbour(&mut self) -> Result<usize, String> {
        let start = self.host.records.len();
        self.app.publish_lines("neighbour", 0..NEIGHBOURS);
        let done = |r: &Value| settled(r) && r["function"] == "echo" && r["outcome"] == "done";
        let place = self.host.place_of(start, NEIGHBOURS, self.patience, done);
        place.ok_or_else(|| "the neighbour's events weren't done".to_owned())
    }
}
