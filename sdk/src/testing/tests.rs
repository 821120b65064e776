mod http;
mod keyvalue;

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::Context;

use super::Host;
use crate::{Batch, Bucket, Config, Draft, Error, Failure, Message, ObjectCreated, Topic};

fn put(key: &str) -> Result<(), Error> {
    Bucket::open("b")?.put(key, "x", "text/plain")
}

/// A name that the host refuses was taken here.
#[test]
fn names_of_messages_are_bounded_as_the_host_bounds_them() {
    fn publish(event: Message) -> Result<(), Failure> {
        let length = event.text()?.parse().map_err(Failure::reject)?;
        let draft = Draft::new("").attribute("a", "v".repeat(length));
        Ok(Topic::open("out")?.publish(draft)?)
    }
    let host = Host::new();
    host.topic("out");
    assert_eq!(host.run(publish, host.message("in", "8192")), Ok(()));
    let refused = host.run(publish, host.message("in", "8193"));
    let says = "invalid: `a` has 8193 bytes, and at most 8192 are taken; use a shorter one";
    assert_eq!(refused, Err(Failure::Permanent(says.into())));
}

/// An event that no attempt could help was tried five times.
#[test]
fn a_denial_is_permanent() {
    fn publish(_event: Message) -> Result<(), Failure> {
        Ok(Topic::open("nowhere")?.publish("")?)
    }
    let host = Host::new();
    let refused = host.run(publish, host.message("in", ""));
    assert!(matches!(refused, Err(Failure::Permanent(_))), "{refused:?}");
}

#[test]
fn without_a_host_every_capability_says_so() {
    let message = Bucket::open("b").unwrap_err().to_string();
    assert!(message.contains("kinglet_sdk::testing::Host"), "{message}");
    assert!(Topic::open("t").is_err());
    assert!(crate::KeyValue::open("k").is_err());
    assert!(Config::get::<String>("k").is_err());
    assert!(Config::all().is_err());
    crate::info!("to standard error");
}

#[test]
fn the_host_leaves_with_its_scope() {
    let outer = Host::new();
    outer.config("who", "outer");
    {
        let inner = Host::new();
        inner.config("who", "inner");
        assert_eq!(Config::require::<String>("who").unwrap(), "inner");
    }
    assert_eq!(Config::require::<String>("who").unwrap(), "outer");
    drop(outer);
    assert!(Config::get::<String>("who").is_err());
}

#[test]
fn success_commits_and_failure_discards() {
    let host = Host::new();
    host.bucket("b").put("old", "x");
    host.topic("t");
    let act = |fail: bool| {
        move |event: Message| -> Result<(), Failure> {
            let bucket = Bucket::open("b")?;
            bucket.put("new", event.body(), "text/plain")?;
            bucket.remove("old")?;
            // The handler sees what it staged, by other handles too.
            assert_eq!(Bucket::open("b")?.read("new")?, b"body");
            assert!(matches!(bucket.head("old"), Err(Error::NotFound(_))));
            let listed: Vec<_> = bucket
                .list("")
                .map(|info| info.map(|i| i.key().to_owned()))
                .collect();
            assert_eq!(listed, [Ok("new".to_owned())]);
            Topic::open("t")?.publish("done")?;
            if fail {
                Err(Failure::reject("no"))
            } else {
                Ok(())
            }
        }
    };
    assert_eq!(
        host.run(act(true), host.message("in", "body")),
        Err(Failure::reject("no"))
    );
    assert_eq!(host.bucket("b").keys(), ["old"]);
    assert!(host.topic("t").messages().is_empty());

    assert_eq!(host.run(act(false), host.message("in", "body")), Ok(()));
    assert_eq!(host.bucket("b").keys(), ["new"]);
    assert_eq!(host.topic("t").messages()[0].text(), "done");
}

#[test]
fn a_panic_discards() {
    let host = Host::new();
    host.bucket("b");
    let event = host.message("in", "");
    let handler = |_: Message| -> Result<(), Error> {
        put("k")?;
        panic!("the cat is not a photo");
    };
    catch_unwind(AssertUnwindSafe(|| host.run(handler, event))).unwrap_err();
    assert!(host.bucket("b").keys().is_empty());
    assert_eq!(
        host.run(|_: Message| put("k"), host.message("in", "")),
        Ok(())
    );
    assert_eq!(host.bucket("b").keys(), ["k"]);
}

#[test]
fn grants_are_checked() {
    let host = Host::new();
    host.bucket("in").read_only().put("k", "x");
    host.bucket("out").write_only().put("k", "x");
    let denied = |result: Result<(), Error>| matches!(result, Err(Error::Denied(_)));
    assert!(denied(Bucket::open("other").map(drop)));
    assert!(denied(Topic::open("other").map(drop)));
    let (input, output) = (Bucket::open("in").unwrap(), Bucket::open("out").unwrap());
    assert_eq!(input.read("k").unwrap(), b"x");
    assert!(denied(input.put("k", "y", "text/plain")));
    assert!(denied(input.write("k").create().map(drop)));
    assert!(denied(input.remove("k")));
    assert!(denied(output.read("k").map(drop)));
    assert!(denied(output.head("k").map(drop)));
    assert!(denied(output.list("").next().unwrap().map(drop)));
    output.put("k", "y", "text/plain").unwrap();
}

#[test]
fn keys_are_checked() {
    let host = Host::new();
    host.bucket("b");
    let (long, long_part) = ("k/".repeat(511) + "kk", "k".repeat(255));
    for key in [
        "a",
        "a/b.c",
        "ä/猫.jpg",
        "a..b",
        long.as_str(),
        long_part.as_str(),
    ] {
        assert_eq!(put(key), Ok(()), "{key}");
    }
    let too_long = "k/".repeat(512) + "k";
    // Bytes count, not characters.
    let too_long_part = format!("a/{}", "猫".repeat(86));
    for key in [
        "",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        ".hidden",
        "a\n",
        too_long.as_str(),
        too_long_part.as_str(),
    ] {
        assert!(matches!(put(key), Err(Error::Invalid(_))), "{key}");
    }
}

#[test]
fn conditions_hold_at_the_write() {
    let host = Host::new();
    host.bucket("b").put("k", "1");
    let handler = |event: ObjectCreated| -> Result<(), Failure> {
        let bucket = Bucket::open("b")?;
        let changed = |result| matches!(result, Err(Error::Changed(_)));
        assert!(changed(bucket.write("k").if_absent().put("2")));
        assert!(changed(bucket.write("k").if_matches("other").put("2")));
        bucket.write("k").if_matches(event.info().etag()).put("2")?;
        assert!(changed(
            bucket.write("k").if_matches(event.info().etag()).put("3")
        ));
        assert!(matches!(event.object().read(), Err(Error::Changed(_))));
        bucket.remove("k")?;
        bucket.write("k").if_absent().put("4")?;
        Ok(())
    };
    assert_eq!(host.run(handler, host.object_created("b", "k")), Ok(()));
    assert_eq!(host.bucket("b").get("k").unwrap(), b"4");
}

#[test]
fn conditions_hold_at_the_commit() {
    let host = Host::new();
    host.bucket("b");
    let handler = |_: Message| -> Result<(), Failure> {
        Bucket::open("b")?.write("k").if_absent().put("mine")?;
        put("other")?;
        host.bucket("b").put("k", "theirs");
        Ok(())
    };
    let outcome = host.run(handler, host.message("in", ""));
    assert!(matches!(outcome, Err(Failure::Retry { .. })), "{outcome:?}");
    assert_eq!(host.bucket("b").keys(), ["k"]);
}

#[test]
fn a_writer_meets_its_condition_at_create_and_at_the_commit() {
    let host = Host::new();
    host.bucket("b");
    let begin = || Bucket::open("b")?.write("k").if_absent().create();
    let handler = |_: Message| -> Result<(), Failure> {
        let writer = begin()?;
        host.bucket("b").put("k", "theirs");
        assert_eq!(writer.finish(), Ok(()));
        assert!(matches!(begin(), Err(Error::Changed(_))));
        Ok(())
    };
    let outcome = host.run(handler, host.message("in", ""));
    assert!(matches!(outcome, Err(Failure::Retry { .. })), "{outcome:?}");
    assert_eq!(host.bucket("b").get("k").unwrap(), b"theirs");

    // Outside of a handler `finish` is the commit.
    host.bucket("b").remove("k");
    let writer = begin().unwrap();
    host.bucket("b").put("k", "theirs");
    assert!(matches!(writer.finish(), Err(Error::Changed(_))));
}

#[test]
fn what_an_object_is_known_by() {
    let host = Host::new();
    host.bucket("b")
        .put_with("k.png", "xyz", "image/x-png", &[("camera", "old")]);
    let info = Bucket::open("b").unwrap().head("k.png").unwrap();
    assert_eq!((info.key(), info.size()), ("k.png", 3));
    assert_eq!(info.content_type(), Some("image/x-png"));
    assert_eq!(info.metadata().get("camera"), Some("old"));
    host.bucket("b").put("k.png", "xyz");
    let newer = host.bucket("b").info("k.png").unwrap();
    assert_eq!(newer.content_type(), Some("image/png"));
    assert_ne!(newer.etag(), info.etag());
    assert!(newer.modified() > info.modified());
}

#[test]
fn ranges_end_with_the_object() {
    let host = Host::new();
    host.bucket("b").put("k", "0123456789");
    let bucket = Bucket::open("b").unwrap();
    let object = bucket.object("k").unwrap();
    for (offset, length, expected) in [
        (0, 3, "012"),
        (8, 9, "89"),
        (10, 1, ""),
        (11, 1, ""),
        (u64::MAX, u32::MAX, ""),
    ] {
        assert_eq!(
            bucket.read_range("k", offset, length).unwrap(),
            expected.as_bytes()
        );
        assert_eq!(
            object.read_range(offset, length).unwrap(),
            expected.as_bytes()
        );
    }
}

#[test]
fn a_list_goes_from_page_to_page() {
    let host = Host::new();
    for n in 0..2000 {
        host.bucket("b").put(&format!("n/{n:04}"), "");
    }
    host.bucket("b").put("z", "");
    let count = |list: crate::List<'_>| list.map(Result::unwrap).count();
    let bucket = Bucket::open("b").unwrap();
    assert_eq!(count(bucket.list("n/")), 2000);
    assert_eq!(count(bucket.list("n/").after("n/0999")), 1000);
    assert_eq!(count(bucket.list("")), 2001);
    assert_eq!(count(bucket.list("none")), 0);
}

#[test]
fn a_page_tells_less_than_head() {
    let host = Host::new();
    host.bucket("b")
        .put_with("k.png", "xyz", "image/x-png", &[("camera", "old")]);
    let handler = |_: Message| -> Result<(), Failure> {
        let bucket = Bucket::open("b")?;
        let own = bucket.write("own.png").content_type("image/x-png");
        own.metadata("camera", "new").put("x")?;
        let listed: Vec<_> = bucket.list("").collect::<Result<_, _>>()?;
        let known: Vec<_> = listed
            .iter()
            .map(|info| (info.content_type(), info.metadata().get("camera")))
            .collect();
        // What this handler staged is known as it wrote it.
        assert_eq!(
            known,
            [
                (Some("image/png"), None),
                (Some("image/x-png"), Some("new"))
            ]
        );
        let head = bucket.head("k.png")?;
        assert_eq!(head.content_type(), Some("image/x-png"));
        assert_eq!((listed[0].etag(), listed[0].size()), (head.etag(), 3));
        Ok(())
    };
    assert_eq!(host.run(handler, host.message("in", "")), Ok(()));
}

#[test]
fn an_unfinished_writer_leaves_nothing() {
    let host = Host::new();
    host.bucket("b");
    let handler = |_: Message| -> Result<(), Failure> {
        use std::io::Write;
        let bucket = Bucket::open("b")?;
        bucket.write("left").create()?.write_all(&[1; 100_000])?;
        let mut writer = bucket.write("kept").content_type("text/x").create()?;
        writer.write_all(&[1; 100_000])?;
        writer.write_all(b"end")?;
        writer.finish()?;
        Ok(())
    };
    assert_eq!(host.run(handler, host.message("in", "")), Ok(()));
    assert_eq!(host.bucket("b").keys(), ["kept"]);
    assert_eq!(host.bucket("b").info("kept").unwrap().size(), 100_003);
}

#[test]
fn attempts_and_sources() {
    let host = Host::new();
    host.attempt(3);
    let event = host.message("in", Draft::new("x").attribute("a", "b").ordering_key("k"));
    assert_eq!(event.delivery().attempt(), 3);
    assert_eq!(event.delivery().source(), "topic/in");
    assert_eq!(event.attributes().get("a"), Some("b"));
    assert_eq!(event.ordering_key(), Some("k"));
    assert_ne!(
        host.message("in", "x").delivery().id(),
        event.delivery().id()
    );
}

#[test]
fn each_message_of_a_batch_has_effects_of_its_own() {
    let host = Host::new();
    host.bucket("b");
    let handler = |event: Message| -> Result<(), Failure> {
        put(event.text()?)?;
        if event.body() == b"bad" {
            Err("it is bad".into())
        } else {
            Ok(())
        }
    };
    let batch = ["one", "bad", "two"].map(|body| host.message("in", body));
    let results = host.run_batch(handler, batch);
    assert_eq!(
        results,
        [Ok(()), Err(Failure::Other("it is bad".into())), Ok(())]
    );
    assert_eq!(host.bucket("b").keys(), ["one", "two"]);
}

#[test]
fn what_a_batch_stages_outside_of_scopes_needs_every_success() {
    for (second, expected) in [("bad", vec!["one"]), ("two", vec!["all", "one", "two"])] {
        let host = Host::new();
        host.bucket("b");
        let handler = |batch: Batch| -> Result<Vec<Result<(), Failure>>, Failure> {
            put("all")?;
            assert!(batch.scope(2).is_err());
            Ok(batch.each(|index, message| {
                put(message.text()?)?;
                assert_eq!(batch.messages()[index].body(), message.body());
                if message.body() == b"bad" {
                    Err("it is bad".into())
                } else {
                    Ok(())
                }
            }))
        };
        let results = host.run_batch(
            handler,
            ["one", second].map(|body| host.message("in", body)),
        );
        assert_eq!(results[1].is_ok(), second == "two");
        assert_eq!(host.bucket("b").keys(), expected);
    }
}

#[test]
fn a_failing_batch_fails_every_message() {
    let host = Host::new();
    host.bucket("b");
    let messages = || ["one", "two"].map(|body| host.message("in", body));
    let short = |batch: Batch| -> Vec<Result<(), Failure>> {
        let mut results = batch.each(|_, message| Ok(put(message.text()?)?));
        results.pop();
        results
    };
    let results = host.run_batch(short, messages());
    assert_eq!(results.len(), 2);
    assert!(results.iter().all(Result::is_err));
    let whole = |_: Batch| -> Result<Vec<Result<(), Failure>>, Failure> { Err("down".into()) };
    assert_eq!(
        host.run_batch(whole, messages()),
        vec![Err(Failure::Other("down".into())); 2]
    );
    assert!(host.bucket("b").keys().is_empty());
}

#[test]
fn a_handler_reads_what_it_staged_where_it_may_only_write() {
    let host = Host::new();
    host.bucket("out").write_only().put("other", "x");
    let handler = |_: Message| -> Result<(), Failure> {
        let out = Bucket::open("out")?;
        out.put("k", "mine", "text/plain")?;
        assert_eq!(out.read("k")?, b"mine");
        assert!(matches!(out.read("other"), Err(Error::Denied(_))));
        Ok(())
    };
    assert_eq!(host.run(handler, host.message("in", "")), Ok(()));
}

#[test]
fn a_handler_may_return_any_error_or_nothing() {
    let host = Host::new();
    let any = |event: Message| -> anyhow::Result<()> {
        let number: u8 = event.text()?.parse().context("a small number")?;
        anyhow::ensure!(number < 9, "{number} is too large");
        Ok(())
    };
    for (body, outcome) in [
        ("8", Ok(())),
        ("9", Err("9 is too large")),
        ("x", Err("a small number: invalid digit found in string")),
    ] {
        let outcome = outcome.map_err(|text: &str| Failure::Other(text.to_owned()));
        assert_eq!(host.run(any, host.message("in", body)), outcome);
    }
    assert_eq!(host.run(|_: Message| (), host.message("in", "")), Ok(()));
}
