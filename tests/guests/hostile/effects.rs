//! Stages without end.

use std::time::Duration;

use kinglet_sdk::{Bucket, Draft, Failure, KeyValue, Topic};

use crate::{Ended, must_fail};

pub fn objects() -> Ended {
    let bucket = Bucket::open("out")?;
    for number in 0..2_000 {
        bucket.write(format!("{number}")).put("")?;
    }
    Ok(())
}

/// 128 MiB.
pub fn object_without_end() -> Ended {
    use std::io::Write;
    let mut writer = Bucket::open("out")?.write("endless").create()?;
    let chunk = vec![1; 1 << 20];
    for _ in 0..128 {
        writer.write_all(&chunk).map_err(Failure::reject)?;
    }
    Ok(writer.finish()?)
}

/// Stages more than fits, and wants it back at once.
pub fn read_back() -> Ended {
    object_without_end()?;
    Bucket::open("out")?.read("endless")?;
    Ok(())
}

pub fn removals() -> Ended {
    let bucket = Bucket::open("out")?;
    for number in 0..9_000 {
        bucket.remove(format!("{number}"))?;
    }
    Ok(())
}

pub fn messages() -> Ended {
    let topic = Topic::open("out")?;
    for _ in 0..9_000 {
        topic.publish("")?;
    }
    Ok(())
}

pub fn huge_message() -> Ended {
    Ok(Topic::open("out")?.publish(vec![0; 32 << 20])?)
}

pub fn attributes() -> Ended {
    let topic = Topic::open("out")?;
    let mut draft = Draft::new("");
    for number in 0..2_000 {
        draft = draft.attribute(format!("{number}"), "x".repeat(8 << 10));
    }
    Ok(topic.publish(draft)?)
}

/// In one call, as few bytes as there can be.
pub fn many_messages() -> Ended {
    Ok(Topic::open("out")?.publish_all((0..20_000).map(|_| ""))?)
}

pub fn many_values() -> Ended {
    let values = (0..20_000).map(|number| (number.to_string(), ""));
    Ok(KeyValue::open("out")?.set_many(values)?)
}

pub fn many_removals() -> Ended {
    let bucket = Bucket::open("out")?;
    for number in 0..20_000 {
        bucket.remove(format!("{number}"))?;
    }
    Ok(())
}

/// That the host would keep with each event, and show.
pub fn huge_names() -> Ended {
    let topic = Topic::open("out")?;
    let long = || "x".repeat(1 << 20);
    must_fail(
        "a key of order",
        topic.publish(Draft::new("").ordering_key(long())),
    )?;
    must_fail(
        "a media type",
        topic.publish(Draft::new("").content_type(long())),
    )?;
    must_fail(
        "a name",
        topic.publish(Draft::new("").attribute(long(), "")),
    )?;
    must_fail(
        "a value",
        topic.publish(Draft::new("").attribute("a", long())),
    )?;
    let many = (0..100).fold(Draft::new(""), |draft, number| {
        draft.attribute(number.to_string(), "x".repeat(1_000))
    });
    must_fail("many attributes", topic.publish(many))
}

/// After the end of time.
pub fn far_future() -> Ended {
    let delay = Duration::from_millis(u64::MAX);
    Ok(Topic::open("out")?.publish(Draft::new("late").delay(delay))?)
}

pub fn values() -> Ended {
    let values = KeyValue::open("out")?;
    for number in 0..9_000 {
        values.set(format!("{number}"), "")?;
    }
    Ok(())
}

pub fn huge_value() -> Ended {
    Ok(KeyValue::open("out")?.set("huge", vec![0; 32 << 20])?)
}

pub fn huge_key() -> Ended {
    let values = KeyValue::open("out")?;
    must_fail("no key", values.set("", "x"))?;
    must_fail("a key of 10 MB", values.set("x".repeat(10_000_000), "x"))
}

pub fn huge_reason() -> Ended {
    Err(Failure::reject("\u{1b}[2J at length".repeat(1 << 20)))
}

pub fn retry_in_ages() -> Ended {
    Err(Failure::retry_after(
        "later",
        Duration::from_millis(u64::MAX),
    ))
}
