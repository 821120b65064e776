//! Does what an event asks for in a way that tells how often it was committed: each run draws a
//! random number, and every effect carries it. An object's key is `EVENT~RUN~PART`, or
//! `EVENT~RUN/PART` with config `layout = "folder"`; its body starts with the length and the CRC-32
//! of the rest. A message's body is `EVENT.PART~RUN`, which is the event's name for whom it wakes,
//! and a line of blanks, which is long at times.
//!
//! A message with an ordering key adds its name to the object of that key, a line for each: what the bucket
//! has says in which order messages were handled, and how often.
//!
//! It adds 1 to each counter that config `counters` names, with `#` for a digit by the event's name, and
//! notes in a key of its own to which: `OWN/EVENT~RUN`, with config `own`. Config `shared` names a
//! counter to which a batch adds its size outside of any message's scope; its messages succeed together.
//!
//! An event whose name ends with `x` is rejected after its effects. A message on the topic `report` gets the
//! keyvalue bucket written into an object: its body, and a line for each key.
//!
//! Config: `objects` and `messages`, how many of each; `fail-percent`, how often a run fails at random,
//! before, between and after its effects.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use kinglet_sdk::{Batch, Bucket, Config, Error, Failure, KeyValue, Message, ObjectCreated, Topic};

/// What makes two messages more than one step of the store.
const LARGE: usize = 700 << 10;
/// The longest body: some pages.
const LONGEST: u64 = 20_000;

#[kinglet_sdk::message]
fn message(event: Message) -> Result<(), Failure> {
    if event.topic() == "report" {
        return report(event.text()?);
    }
    match event.ordering_key() {
        Some(key) => add_to_chain(key, event.text()?),
        None => work(event.text()?),
    }
}

#[kinglet_sdk::message_batch]
fn batch(batch: Batch) -> Result<Vec<Result<(), Failure>>, Failure> {
    let shared = Config::get::<String>("shared")?;
    if let Some(shared) = &shared {
        let size = i64::try_from(batch.messages().len()).unwrap_or(i64::MAX);
        KeyValue::open("tallies")?.increment(shared, size)?;
    }
    let mut results = batch.each(|_, message| work(message.text()?));
    if shared.is_some() && results.iter().any(Result::is_err) {
        // What they share doesn't commit, so that none may do without it.
        for result in results.iter_mut().filter(|result| result.is_ok()) {
            *result = Err("another message of the batch failed".into());
        }
    }
    Ok(results)
}

#[kinglet_sdk::object_created]
fn object(event: ObjectCreated) -> Result<(), Failure> {
    // What wakes this is whole, however it came.
    event.object().read()?;
    work(event.key())
}

fn work(event: &str) -> Result<(), Failure> {
    let event = event.lines().next().unwrap_or(event);
    let run = format!("{:016x}", random());
    maybe_fail("before")?;
    count(event, &run)?;
    let objects: u32 = Config::get_or("objects", 0)?;
    for part in 0..objects {
        let separator = match Config::get::<String>("layout")?.as_deref() {
            Some("folder") => '/',
            _ => '~',
        };
        let key = format!("{event}~{run}{separator}{part}");
        Bucket::open(Config::require::<String>("bucket")?)?
            .write(&key)
            .content_type("application/x-torture")
            .metadata("event", event)
            .put(body())?;
        maybe_fail("between")?;
    }
    let messages: u32 = Config::get_or("messages", 0)?;
    for part in 0..messages {
        // Large ones are accepted in steps of their own.
        let padding = if random().is_multiple_of(8) { LARGE } else { 0 };
        let body = format!("{event}.{part}~{run}\n{}", " ".repeat(padding));
        Topic::open("parts")?.publish(body)?;
    }
    maybe_fail("after")?;
    maybe_reject(event)
}

fn count(event: &str, run: &str) -> Result<(), Failure> {
    let Some(own) = Config::get::<String>("own")? else {
        return Ok(());
    };
    let tallies = KeyValue::open("tallies")?;
    let digit = (crc32fast::hash(event.as_bytes()) % 5).to_string();
    let counters = Config::get_or("counters", String::new())?.replace('#', &digit);
    for counter in counters.split_whitespace() {
        tallies.increment(counter, 1)?;
        maybe_fail("between")?;
    }
    let shared = Config::get_or("shared", String::new())?;
    tallies.set(
        format!("{own}/{event}~{run}"),
        format!("{counters} {shared}"),
    )?;
    maybe_fail("between")
}

fn report(name: &str) -> Result<(), Failure> {
    let tallies = KeyValue::open("tallies")?;
    let keys = tallies.keys().collect::<Result<Vec<String>, Error>>()?;
    let mut lines = format!("{name}\n");
    for (key, value) in keys.iter().zip(tallies.get_many(&keys)?) {
        let value = value.unwrap_or_default();
        lines.push_str(&format!("{key}\t{}\n", String::from_utf8_lossy(&value)));
    }
    Bucket::open("report")?.put("tallies", lines, "text/plain")?;
    Ok(())
}

fn add_to_chain(key: &str, event: &str) -> Result<(), Failure> {
    let bucket = Bucket::open(Config::require::<String>("bucket")?)?;
    let mut chain = match bucket.read(key) {
        Ok(chain) => chain,
        Err(Error::NotFound(_)) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    maybe_fail("before")?;
    chain.extend(format!("{event}\n").bytes());
    bucket.put(key, chain, "text/plain")?;
    count(event, &format!("{:016x}", random()))?;
    maybe_fail("after")?;
    maybe_reject(event)
}

fn body() -> Vec<u8> {
    let length = random() % LONGEST;
    let mut state = random();
    let rest: Vec<u8> = (0..length)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .collect();
    let mut body = format!("{} {:08x}\n", rest.len(), crc32fast::hash(&rest)).into_bytes();
    body.extend(rest);
    body
}

/// Fails as often as the config says: by an ordinary error, after a moment of its own choice, or as the
/// function's backoff has it.
fn maybe_fail(when: &str) -> Result<(), Failure> {
    let percent: u64 = Config::get_or("fail-percent", 0)?;
    if random() % 100 >= percent {
        return Ok(());
    }
    let reason = format!("failed {when} its effects, by chance");
    Err(match random() % 3 {
        0 => reason.into(),
        1 => Failure::retry_after(reason, Duration::from_millis(5)),
        _ => Failure::retry(reason),
    })
}

fn maybe_reject(event: &str) -> Result<(), Failure> {
    if event.ends_with('x') {
        return Err(Failure::reject("its name says so"));
    }
    Ok(())
}

/// The standard library's only use of randomness is in the seeds of its hash maps.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}
