//! Runs the commands of a message, separated by `;`, on a keyvalue bucket: the attribute `bucket`, or else
//! `counters`. What comes of each is logged, `command: result`, and published to the topic `out` where that
//! is granted, all in one message. An error is a result, and the next command follows; only `fail` fails.
//!
//! | command | result |
//! |---|---|
//! | `open BUCKET` | `ok`, and the next commands are for that bucket |
//! | `get KEY` | the value, or `none` |
//! | `exists KEY` | `true` or `false` |
//! | `set KEY VALUE` | `ok` |
//! | `delete KEY` | `ok` |
//! | `incr KEY DELTA` | the sum |
//! | `cas KEY VALUE` | by compare-and-swap: the values that were met on the way, `none` among them |
//! | `race KEY VALUE` | the same, with `KEY` set to `raced` before the first swap, which must fail |
//! | `keys` | all of them |
//! | `get-many KEY..` | a value or `none` for each |
//! | `set-many KEY=VALUE..` | `ok` |
//! | `delete-many KEY..` | `ok` |
//! | `wait` | `ok` once the bucket `gate` has an object `open` |
//! | `fail` | fails the event |
//!
//! An error is `error` and its text. A word `""` is empty text; a word `k*1025` repeats what precedes the
//! star; a value may have spaces. Several results are joined by one space. Values are shown as text.

use std::time::Duration;

use kinglet_sdk::{Bucket, Error, Failure, KeyValue, Message, Topic};

#[kinglet_sdk::message]
fn kv_probe(event: Message) -> Result<(), Failure> {
    let name = event.attributes().get("bucket").unwrap_or("counters");
    let mut bucket = KeyValue::open(name);
    let mut lines = Vec::new();
    for command in event.text()?.split(';').map(str::trim) {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        if verb == "fail" {
            return Err("failed as asked".into());
        }
        let result = match (verb, &bucket) {
            ("open", _) => {
                bucket = KeyValue::open(word(rest));
                bucket.as_ref().map(done).map_err(Error::clone)
            }
            ("wait", _) => wait(),
            (_, Ok(bucket)) => run(bucket, verb, rest),
            (_, Err(error)) => Err(error.clone()),
        };
        let line = match result {
            Ok(result) => format!("{command}: {result}"),
            Err(error) => format!("{command}: error {error}"),
        };
        kinglet_sdk::info!("{line}");
        lines.push(line);
    }
    if let Ok(out) = Topic::open("out") {
        out.publish(lines.join("\n"))?;
    }
    Ok(())
}

fn run(bucket: &KeyValue, verb: &str, rest: &str) -> Result<String, Error> {
    let (key, value) = rest.split_once(' ').unwrap_or((rest, ""));
    let (key, value) = (word(key), word(value));
    match verb {
        "get" => Ok(shown(bucket.get(key)?)),
        "exists" => Ok(bucket.contains(key)?.to_string()),
        "set" => bucket.set(key, value).map(done),
        "delete" => bucket.remove(key).map(done),
        "incr" => {
            let delta = value.parse();
            let delta = delta.map_err(|error| Error::Invalid(format!("{value:?}: {error}")))?;
            Ok(bucket.increment(key, delta)?.to_string())
        }
        "cas" => swap(bucket, &key, &value, |_| Ok(())),
        "race" => swap(bucket, &key, &value, |met| match met {
            1 => bucket.set(&key, "raced"),
            _ => Ok(()),
        }),
        "keys" => {
            let keys: Result<Vec<String>, Error> = bucket.keys().collect();
            Ok(keys?.join(" "))
        }
        "get-many" => {
            let values = bucket.get_many(rest.split_whitespace().map(word))?;
            Ok(values.into_iter().map(shown).collect::<Vec<_>>().join(" "))
        }
        "set-many" => {
            let pairs = rest.split_whitespace().map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (word(key), word(value))
            });
            bucket.set_many(pairs).map(done)
        }
        "delete-many" => bucket
            .remove_many(rest.split_whitespace().map(word))
            .map(done),
        _ => Err(Error::Invalid(format!("no command {verb:?}"))),
    }
}

/// Calls `meddle` with the number of values met so far, before each swap.
fn swap(
    bucket: &KeyValue,
    key: &str,
    value: &str,
    meddle: impl Fn(usize) -> Result<(), Error>,
) -> Result<String, Error> {
    let mut met = Vec::new();
    let mut meddled = Ok(());
    bucket.update(key, |current| {
        met.push(shown(current));
        if meddled.is_ok() {
            meddled = meddle(met.len());
        }
        value
    })?;
    meddled.map(|()| met.join(" "))
}

fn wait() -> Result<String, Error> {
    let gate = Bucket::open("gate")?;
    loop {
        match gate.head("open") {
            Ok(_) => return Ok(done(())),
            Err(Error::NotFound(_)) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(error),
        }
    }
}

fn word(text: &str) -> String {
    let repeated = text
        .rsplit_once('*')
        .and_then(|(text, times)| Some(text.repeat(times.parse().ok()?)));
    match text {
        "\"\"" => String::new(),
        _ => repeated.unwrap_or_else(|| text.to_owned()),
    }
}

fn shown(value: Option<Vec<u8>>) -> String {
    value.map_or("none".to_owned(), |bytes| {
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn done<T>(_: T) -> String {
    "ok".to_owned()
}
