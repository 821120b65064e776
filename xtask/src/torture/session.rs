//! Rounds on one application, and what came of them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use kinglet_powercut::{Choice, Class, Log, Plan, Record, Snapshot, Window, discard};

use super::app::{App, INBOX};
use super::checks::{Violation, check};
use super::load::{Ledger, send, send_again};
use super::process::{Ended, Host, PATIENCE, Tools, home, watching};
use super::round::Round;
use super::told::{Told, pending};

/// The host may finish its work after so many rounds; sooner where a check is to fail.
const SETTLE_EVERY: u32 = 10;
const SETTLE_EVERY_WITHOUT: u32 = 3;
/// How often a host is started that an injected fault may keep from starting.
const STARTS: u32 = 3;
/// The host has so long to finish without anything happening.
const IDLE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(100);

/// How to torture.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub seed: u64,
    pub rounds: u32,
    pub without: Option<Class>,
}

/// How a process was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Killed {
    Inside(Window),
    AtRandom,
    /// The instant that was planned didn't come: killed from outside.
    FromOutside,
    /// It gave up by itself, over faults.
    NotAtAll,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    pub rounds: u32,
    pub kills: BTreeMap<Killed, u32>,
    /// Of these before the host was ready: in what it does to recover.
    pub in_recovery: u32,
    pub accepted: usize,
    pub unknown: usize,
    pub discarded_bytes: usize,
    pub discarded_names: usize,
    pub faults: usize,
    pub lies: usize,
    pub violations: Vec<Violation>,
}

/// Rounds on one application.
pub struct Session<'a> {
    tools: &'a Tools,
    setting: Setting,
    dir: tempfile::TempDir,
    app: App,
    ledger: Ledger,
    report: Report,
}

impl<'a> Session<'a> {
    pub fn start(tools: &'a Tools, setting: Setting) -> anyhow::Result<Self> {
        std::fs::create_dir_all(home())?;
        let dir = tempfile::tempdir_in(home())?;
        Ok(Self {
            tools,
            setting,
            app: App::make(dir.path())?,
            dir,
            ledger: Ledger::new(),
            report: Report::default(),
        })
    }

    /// All rounds, or until a check fails: then the application is kept.
    pub fn run(mut self) -> anyhow::Result<Report> {
        let every = match self.setting.without {
            Some(_) => SETTLE_EVERY_WITHOUT,
            None => SETTLE_EVERY,
        };
        for number in 0..self.setting.rounds {
            let round = Round::draw(self.setting.seed, number, self.setting.without.is_some());
            self.round(&round)
                .with_context(|| format!("round {number}: {round:?}"))?;
            self.report.rounds += 1;
            let last = number + 1 == self.setting.rounds;
            if self.report.violations.is_empty() && (last || (number + 1).is_multiple_of(every)) {
                self.settle()?;
                eprintln!("{} rounds, {} events", number + 1, self.ledger.len());
            }
            if !self.report.violations.is_empty() {
                break;
            }
        }
        let accepted = |sent: &&super::load::Sent| sent.answer == super::load::Answer::Accepted;
        self.report.accepted = self.ledger.values().filter(accepted).count();
        self.report.unknown = self.ledger.len() - self.report.accepted;
        if !self.report.violations.is_empty() && self.setting.without.is_none() {
            let kept = self.dir.keep();
            eprintln!("the application is kept in {}", kept.display());
        }
        Ok(self.report)
    }

    /// Load, a kill, and the loss of what isn't synced.
    fn round(&mut self, round: &Round) -> anyhow::Result<()> {
        let plan = Plan {
            seed: round.seed,
            kill: round.kill,
            faults: round.faults,
            ..self.watching()
        };
        let before = Snapshot::of(&self.app.root)?;
        let mut host = Host::start(self.tools, &self.app, &plan)?;
        let starts_within = if round.kill.is_some() {
            PATIENCE
        } else {
            round.lives
        };
        let ready = host.ready(starts_within);
        let ended = if ready {
            self.load(&mut host, round)?
        } else {
            let within = if round.kill.is_some() {
                PATIENCE
            } else {
                Duration::ZERO
            };
            match host.ends(within)? {
                Some(ended) => ended,
                None => host.kill()?,
            }
        };
        let log = Log::read(&self.app.undo)?;
        let inside = log.records.iter().find_map(|(_, record)| match record {
            Record::Killed { window } => Some(*window),
            _ => None,
        });
        let killed = match inside {
            Some(window) => Killed::Inside(window),
            None if ended.gave_up() => Killed::NotAtAll,
            None if round.kill.is_none() => Killed::AtRandom,
            None => Killed::FromOutside,
        };
        *self.report.kills.entry(killed).or_default() += 1;
        self.report.in_recovery += u32::from(!ready);
        if ended.gave_up() && round.faults.is_none() {
            self.violated("the host runs", format!("{}: {}", ended.status, ended.said));
        }
        self.compare(&before, &log)?;
        self.lose(round.choice, &log)
    }

    /// Sends the load to a host that is ready, until it ends.
    fn load(&mut self, host: &mut Host, round: &Round) -> anyhow::Result<Ended> {
        let plan = Plan {
            idle: !round.takeover,
            ..self.watching()
        };
        let (tools, app, ledger) = (self.tools, &self.app, &mut self.ledger);
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| send(tools, app, &plan, &round.load, ledger));
            let mut ended = None;
            // An instant inside of a window may come as late as the last of the load.
            while round.kill.is_some() && ended.is_none() && !sender.is_finished() {
                ended = host.ends(POLL)?;
            }
            if ended.is_none() {
                ended = host.ends(round.lives)?;
            }
            let ended = match ended {
                Some(ended) => ended,
                None => host.kill()?,
            };
            match sender.join() {
                Ok(sent) => sent.map(|()| ended),
                Err(_) => anyhow::bail!("the load panicked"),
            }
        })
    }

    /// What changed on disk must be what the shim saw; files that were dropped are no doing of the host.
    fn compare(&mut self, before: &Snapshot, log: &Log) -> anyhow::Result<()> {
        let after = Snapshot::of(&self.app.root)?;
        let inbox = self.app.bucket(INBOX);
        for path in before.unseen(&after, log) {
            let dropped = path.parent() == Some(inbox.as_path())
                && path
                    .file_name()
                    .is_none_or(|name| name != ".kinglet-staging");
            if !dropped {
                self.violated("the shim sees every change", path.display().to_string());
            }
        }
        Ok(())
    }

    fn lose(&mut self, choice: Choice, log: &Log) -> anyhow::Result<()> {
        for (_, record) in &log.records {
            self.report.faults += usize::from(matches!(record, Record::Failed { .. }));
            self.report.lies += usize::from(matches!(record, Record::Lied { .. }));
        }
        let discarded = discard(&self.app.root, &self.app.undo, choice)
            .context("what isn't synced can't be taken back")?;
        self.report.discarded_bytes += discarded.bytes;
        self.report.discarded_names += discarded.names;
        Ok(())
    }

    /// Lets a host finish its work, and checks what is there. Its notes go on: a clean end syncs no more than
    /// it syncs.
    fn settle(&mut self) -> anyhow::Result<()> {
        let plan = self.watching();
        let mut host = Host::start(self.tools, &self.app, &plan)?;
        if !host.ready(PATIENCE) {
            let said = host.ends(IDLE)?.map(|ended| ended.said).unwrap_or_default();
            self.violated("the host runs", format!("it doesn't start: {said}"));
            return Ok(());
        }
        let mut tries = 0;
        while !send_again(self.tools, &self.app, &plan, &mut self.ledger)? {
            tries += 1;
            if tries == STARTS {
                self.violated("the host runs", "it answers no publisher");
                return Ok(());
            }
        }
        let (told, mut violations) = self.finish()?;
        if violations.is_empty() {
            match host.stop() {
                Ok(()) => violations = check(&self.app, &self.ledger, &told)?,
                Err(error) => self.violated("the host runs", error.to_string()),
            }
        }
        self.report.violations.extend(violations);
        Ok(())
    }

    /// Waits until nothing waits and the checks hold. Returns what the host told then, and what doesn't hold,
    /// where nothing happens any more.
    fn finish(&self) -> anyhow::Result<(Told, Vec<Violation>)> {
        let failed = |check, what| Ok((Told::default(), vec![Violation::new(check, what)]));
        let mut idle = Duration::ZERO;
        let mut left = u64::MAX;
        loop {
            std::thread::sleep(POLL);
            idle += POLL;
            let now = match pending(self.tools, &self.app, &self.watching()) {
                Ok(now) => now,
                Err(error) => return failed("the host runs", error.to_string()),
            };
            if now != left {
                left = now;
                idle = Duration::ZERO;
            }
            if left == 0 {
                let told = match Told::ask(self.tools, &self.app, &self.watching()) {
                    Ok(told) => told,
                    Err(error) => return failed("the host runs", error.to_string()),
                };
                let mut violations = check(&self.app, &self.ledger, &told)?;
                // It may be at work on a look at a folder; once nothing happens, it isn't.
                if violations.is_empty() || idle >= Duration::from_secs(3) {
                    violations.truncate(20);
                    return Ok((told, violations));
                }
            }
            if idle >= IDLE {
                let what = format!("{left} deliveries stay pending");
                return failed("nothing is unaccounted", what);
            }
        }
    }

    fn watching(&self) -> Plan {
        Plan {
            without: self.setting.without,
            ..watching(&self.app)
        }
    }

    fn violated(&mut self, check: &'static str, what: impl Into<String>) {
        self.report.violations.push(Violation::new(check, what));
    }
}
