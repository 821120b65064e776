//! What must hold once the host has nothing left to do. Each function is one check; a further one joins
//! `ALL`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::app::{App, CHAINS, Effect, OUTPUTS, OWN, REPORT, is_rejected};
use super::load::{Answer, Ledger};
use super::told::Told;

/// A check that failed, and on what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub check: &'static str,
    pub what: String,
}

impl Violation {
    pub fn new(check: &'static str, what: impl Into<String>) -> Self {
        Self {
            check,
            what: what.into(),
        }
    }
}

/// What is compared.
pub struct Found<'a> {
    pub app: &'a App,
    pub ledger: &'a Ledger,
    pub told: &'a Told,
    objects: Vec<Object>,
    /// The runs whose objects or own keys are there, and which parts of each, by bucket and event.
    runs: BTreeMap<(&'static str, String), BTreeMap<String, BTreeSet<String>>>,
}

struct Object {
    path: PathBuf,
    event: String,
}

type Check = fn(&Found<'_>) -> Vec<Violation>;

const ALL: [Check; 8] = [
    nothing_is_lost,
    effects_commit_once,
    messages_of_a_key_stay_in_order,
    counters_are_exact,
    rejected_events_are_dead_letters_once,
    objects_are_whole,
    nothing_stays_staged,
    nothing_is_unaccounted,
];

/// Every check on what is there, and on what the host told of the rest.
pub fn check(app: &App, ledger: &Ledger, told: &Told) -> anyhow::Result<Vec<Violation>> {
    let found = Found::look(app, ledger, told)?;
    Ok(ALL.iter().flat_map(|check| check(&found)).collect())
}

impl<'a> Found<'a> {
    fn look(app: &'a App, ledger: &'a Ledger, told: &'a Told) -> anyhow::Result<Self> {
        let mut found = Self {
            app,
            ledger,
            told,
            objects: Vec::new(),
            runs: BTreeMap::new(),
        };
        for bucket in OUTPUTS {
            let folder = app.bucket(bucket);
            for path in files(&folder)? {
                let key = path.strip_prefix(&folder)?.to_string_lossy().into_owned();
                // The event, what tells the runs apart that led here, and the part.
                let name = key.replace('/', "~");
                let (event, rest) = name.split_once('~').unwrap_or((&name, ""));
                let (run, part) = rest.rsplit_once('~').unwrap_or((rest, ""));
                let runs = found.runs.entry((bucket, event.to_owned())).or_default();
                let parts = runs.entry(run.to_owned()).or_default();
                parts.insert(part.to_owned());
                let event = event.to_owned();
                found.objects.push(Object { path, event });
            }
        }
        for (owner, event, run, _) in found.own_keys() {
            let runs = found.runs.entry((owner, event.to_owned())).or_default();
            runs.entry(run.to_owned())
                .or_default()
                .insert(String::new());
        }
        Ok(found)
    }

    /// The keys of events' own: under what, whose, of which run, and which counters the run added to.
    fn own_keys(
        &self,
    ) -> impl Iterator<Item = (&'static str, &'a str, &'a str, &'a str)> + use<'a> {
        self.told.tallies.iter().filter_map(|(key, counters)| {
            let (owner, name) = key.split_once('/')?;
            let owner = OWN.into_iter().find(|known| *known == owner)?;
            let (event, run) = name.split_once('~')?;
            Some((owner, event, run, counters.as_str()))
        })
    }

    fn runs_of(&self, effect: &Effect) -> Vec<(&String, &BTreeSet<String>)> {
        let runs = self.runs.get(&(effect.bucket, effect.event.clone()));
        runs.into_iter().flatten().collect()
    }

    /// What each event must leave, and whether it must.
    fn effects(&self) -> impl Iterator<Item = (&String, Answer, Vec<Effect>)> {
        self.ledger
            .iter()
            .map(|(event, sent)| (event, sent.answer, sent.kind.effects(event)))
    }
}

/// Visible files below a folder; none where there is no folder.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

fn nothing_is_lost(found: &Found<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (event, answer, effects) in found.effects() {
        let there = |effect: &&Effect| {
            let runs = found.runs_of(effect);
            runs.iter().any(|(_, parts)| parts.len() == effect.parts)
        };
        let missing: Vec<&Effect> = effects.iter().filter(|e| !there(e)).collect();
        // What nobody answered for is there as a whole, or not at all.
        let all = missing.len() == effects.len();
        let some = effects.iter().any(|e| !found.runs_of(e).is_empty());
        if !missing.is_empty() && (answer == Answer::Accepted || !all || some) {
            let missing: Vec<String> = missing
                .iter()
                .map(|effect| {
                    let runs = found.runs_of(effect);
                    format!("{} of {}, there is {runs:?}", effect.bucket, effect.event)
                })
                .collect();
            violations.push(Violation::new(
                "nothing is lost",
                format!("{event} ({answer:?}) lacks {}", missing.join("; ")),
            ));
        }
    }
    violations
}

fn effects_commit_once(found: &Found<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (event, _, effects) in found.effects() {
        for effect in effects {
            let runs = found.runs_of(&effect);
            if runs.len() > 1 {
                violations.push(Violation::new(
                    "effects commit once",
                    format!("{event}: {} has runs {runs:?}", effect.bucket),
                ));
            }
        }
    }
    violations
}

/// Each counter has what the runs added that committed, by their own keys; those are checked with the objects.
fn counters_are_exact(found: &Found<'_>) -> Vec<Violation> {
    let mut added: BTreeMap<&str, u64> = BTreeMap::new();
    for (.., counters) in found.own_keys() {
        for counter in counters.split_whitespace() {
            *added.entry(counter).or_default() += 1;
        }
    }
    let tallies = &found.told.tallies;
    let counters = tallies.keys().filter(|key| !key.starts_with("own of "));
    let all: BTreeSet<&str> = counters
        .map(String::as_str)
        .chain(added.keys().copied())
        .collect();
    let wrong = |counter: &str| {
        let has = tallies.get(counter).map_or("0", String::as_str);
        let added = added.get(counter).copied().unwrap_or(0).to_string();
        let what = format!("{counter} has {has}, and {added} events added 1 each");
        (has != added).then(|| Violation::new("counters are exact", what))
    };
    all.into_iter().filter_map(wrong).collect()
}

/// What its function rejects is a dead letter once, and nothing else is one.
fn rejected_events_are_dead_letters_once(found: &Found<'_>) -> Vec<Violation> {
    let mut letters: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for letter in &found.told.dead_letters {
        let of_event = (letter.function.as_str(), letter.event.as_str());
        letters.entry(of_event).or_default().push(&letter.reason);
    }
    let mut violations = Vec::new();
    let mut violated =
        |what: String| violations.push(Violation::new("rejected are dead letters once", what));
    for (event, sent) in found.ledger.iter().filter(|(event, _)| is_rejected(event)) {
        let reasons = letters
            .remove(&(sent.kind.topic(), event))
            .unwrap_or_default();
        let missing = reasons.is_empty() && sent.answer == Answer::Accepted;
        if missing || reasons.len() > 1 {
            let (answer, times) = (sent.answer, reasons.len());
            violated(format!("{event} ({answer:?}) is one {times} times"));
        }
    }
    for ((function, event), reasons) in letters {
        violated(format!("{function} gave up {event:?}: {reasons:?}"));
    }
    violations
}

/// A chain has each message once, in the order in which they were sent; some that nobody answered for may
/// be missing.
fn messages_of_a_key_stay_in_order(found: &Found<'_>) -> Vec<Violation> {
    let mut sent: BTreeMap<&str, Vec<(usize, &str, Answer)>> = BTreeMap::new();
    for (event, message) in found.ledger {
        if let Some(key) = &message.ordering_key
            && !is_rejected(event)
        {
            let of_key = sent.entry(key).or_default();
            of_key.push((message.number, event, message.answer));
        }
    }
    let mut violations = Vec::new();
    for (key, mut of_key) in sent {
        of_key.sort_unstable_by_key(|(number, ..)| *number);
        let path = found.app.bucket(CHAINS).join(key);
        let chain = fs::read_to_string(path).unwrap_or_default();
        let mut violated = |what: String| {
            let what = format!("key {key}: {what}");
            violations.push(Violation::new("messages of a key stay in order", what));
        };
        let mut next = of_key.iter();
        for line in chain.lines() {
            // Those that are passed over were never accepted, or this one came too early or twice.
            let passed_over = next
                .by_ref()
                .take_while(|(_, event, _)| *event != line)
                .filter(|(_, _, answer)| *answer == Answer::Accepted)
                .map(|(_, event, _)| *event)
                .collect::<Vec<_>>();
            if !passed_over.is_empty() {
                violated(format!("{line} comes before or without {passed_over:?}"));
            }
        }
        let lost: Vec<&str> = of_key
            .iter()
            .filter(|(_, event, answer)| {
                *answer == Answer::Accepted && !chain.lines().any(|line| line == *event)
            })
            .map(|(_, event, _)| *event)
            .collect();
        if !lost.is_empty() {
            violated(format!("{lost:?} are missing"));
        }
        let known: BTreeSet<&str> = of_key.iter().map(|(_, event, _)| *event).collect();
        let mut seen = BTreeSet::new();
        for line in chain.lines() {
            if !seen.insert(line) || !known.contains(line) {
                violated(format!(
                    "{line} is there twice, was rejected, or was never sent"
                ));
            }
        }
    }
    violations
}

fn objects_are_whole(found: &Found<'_>) -> Vec<Violation> {
    let problem = |object: &Object| {
        let problem = problem_of(object)?;
        let path = object.path.strip_prefix(&found.app.root).ok()?;
        let what = format!("{}: {} {problem}", object.event, path.display());
        Some(Violation::new("objects are whole", what))
    };
    found.objects.iter().filter_map(problem).collect()
}

fn problem_of(object: &Object) -> Option<String> {
    let bytes = match fs::read(&object.path) {
        Ok(bytes) => bytes,
        Err(error) => return Some(format!("can't be read: {error}")),
    };
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return Some(format!("has no first line in {} bytes", bytes.len()));
    };
    let (head, rest) = bytes.split_at(end);
    let rest = rest.get(1..).unwrap_or_default();
    let expected = format!("{} {:08x}", rest.len(), crc32fast::hash(rest));
    if head != expected.as_bytes() {
        return Some(format!(
            "says {:?}, is {expected:?}",
            String::from_utf8_lossy(head)
        ));
    }
    for (name, holds) in [
        ("user.mime_type", "application/x-torture"),
        ("user.kinglet.metadata", object.event.as_str()),
    ] {
        let mut value = vec![0; 4_096];
        let read = rustix::fs::getxattr(&object.path, name, value.as_mut_slice());
        let value = value.get(..read.unwrap_or(0)).unwrap_or_default();
        if !String::from_utf8_lossy(value).contains(holds) {
            return Some(format!("lacks attribute {name}"));
        }
    }
    None
}

fn nothing_stays_staged(found: &Found<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for bucket in OUTPUTS.into_iter().chain([CHAINS, REPORT]) {
        let staging = found.app.bucket(bucket).join(".kinglet-staging");
        let Ok(owners) = fs::read_dir(&staging) else {
            continue;
        };
        for owner in owners.flatten() {
            let mut left = files(&owner.path()).unwrap_or_default();
            // The mark of a bucket lies there too.
            left.retain(|path| path.file_name().is_none_or(|name| name != "bucket"));
            violations.extend(left.into_iter().map(|path| {
                let path = path.strip_prefix(&found.app.root).unwrap_or(&path);
                Violation::new("nothing stays staged", path.display().to_string())
            }));
        }
    }
    violations
}

fn nothing_is_unaccounted(found: &Found<'_>) -> Vec<Violation> {
    let expected: BTreeSet<(&str, String)> = found
        .effects()
        .flat_map(|(_, _, effects)| effects)
        .map(|effect| (effect.bucket, effect.event))
        .collect();
    found
        .runs
        .keys()
        .filter(|(bucket, event)| !expected.contains(&(*bucket, event.clone())))
        .map(|(bucket, event)| {
            Violation::new(
                "nothing is unaccounted",
                format!("{bucket} has {event:?}, which nobody sent, or which was rejected"),
            )
        })
        .collect()
}
