use super::super::Host;
use crate::{Batch, Bucket, Error, Failure, KeyValue, Message};

fn open() -> KeyValue {
    KeyValue::open("k").unwrap()
}

/// Adds 1 to the key that the message names.
fn count(event: Message) -> Result<(), Failure> {
    open().increment(event.text()?, 1)?;
    Ok(())
}

fn all_keys() -> Vec<String> {
    open().keys().map(Result::unwrap).collect()
}

#[test]
fn success_commits_and_failure_discards() {
    let host = Host::new();
    host.keyvalue("k").set("old", "x");
    let act = |outcome: Result<(), Failure>| {
        move |_: Message| -> Result<(), Failure> {
            let values = open();
            values.set("new", "1")?;
            values.increment("new", 41)?;
            values.remove("old")?;
            // The handler sees what it staged, by other handles too.
            assert_eq!(open().get_text("new")?.as_deref(), Some("42"));
            assert!(!values.contains("old")?);
            assert_eq!(values.get("old")?, None);
            assert_eq!(all_keys(), ["new"]);
            outcome
        }
    };
    let no = Err(Failure::reject("no"));
    assert_eq!(host.run(act(no.clone()), host.message("in", "")), no);
    assert_eq!(host.keyvalue("k").keys(), ["old"]);

    assert_eq!(host.run(act(Ok(())), host.message("in", "")), Ok(()));
    assert_eq!(host.keyvalue("k").keys(), ["new"]);
    assert_eq!(host.keyvalue("k").get("new").unwrap(), b"42");
}

#[test]
fn it_must_be_granted() {
    let host = Host::new();
    host.bucket("k");
    let Err(Error::Denied(text)) = KeyValue::open("k") else {
        unreachable!("a bucket of objects is no keyvalue bucket")
    };
    assert!(text.contains("keyvalue bucket `k`"), "{text}");
    assert!(text.contains("grants.keyvalue"), "{text}");
}

#[test]
fn keys_are_checked() {
    let host = Host::new();
    host.keyvalue("k");
    let longest = "k".repeat(1024);
    for key in [".", "a/", "/a", "a\n", "猫", longest.as_str()] {
        assert_eq!(open().set(key, "x"), Ok(()), "{key}");
    }
    let too_long = "k".repeat(1025);
    for key in ["", too_long.as_str()] {
        let invalid = |result: Result<(), Error>| matches!(result, Err(Error::Invalid(_)));
        assert!(invalid(open().get(key).map(drop)));
        assert!(invalid(open().set(key, "x")));
        assert!(invalid(open().remove(key)));
        assert!(invalid(open().contains(key).map(drop)));
        assert!(invalid(open().increment(key, 1).map(drop)));
        assert!(invalid(open().update(key, |_| "x")));
        assert!(invalid(open().get_many(["k", key]).map(drop)));
        assert!(invalid(open().set_many([(key, "x")])));
        assert!(invalid(open().remove_many([key])));
    }
}

#[test]
fn numbers_are_decimal_text() {
    let host = Host::new();
    host.keyvalue("k")
        .set("most", i64::MAX.to_string())
        .set("least", i64::MIN.to_string())
        .set("word", "ten")
        .set("spaced", " 1")
        .set("bytes", [0xff]);
    assert_eq!(open().increment("new", -3), Ok(-3));
    assert_eq!(host.keyvalue("k").get("new").unwrap(), b"-3");
    assert_eq!(open().increment("new", 0), Ok(-3));
    for (key, delta, text) in [
        ("most", 1, "64 bits"),
        ("least", -1, "64 bits"),
        ("word", 1, "decimal number"),
        ("spaced", 1, "decimal number"),
        ("bytes", 1, "decimal number"),
    ] {
        let before = host.keyvalue("k").get(key);
        let error = open().increment(key, delta).unwrap_err().to_string();
        assert!(error.contains(text) && error.contains(key), "{error}");
        assert_eq!(host.keyvalue("k").get(key), before);
    }
}

#[test]
fn values_are_parsed() {
    let host = Host::new();
    host.keyvalue("k")
        .set("n", "7")
        .set("long", "x".repeat(1000))
        .set("bytes", [b'a', 0xff]);
    assert_eq!(open().get_as::<u8>("n"), Ok(Some(7)));
    assert_eq!(open().get_as::<u8>("none"), Ok(None));
    assert_eq!(open().get_text("none"), Ok(None));
    let Err(Error::Invalid(text)) = open().get_as::<u8>("long") else {
        unreachable!()
    };
    assert!(text.contains("xxx\"...: invalid digit"), "{text}");
    assert!(text.len() < 200, "{text}");
    assert!(matches!(open().get_text("bytes"), Err(Error::Invalid(_))));
    assert!(matches!(
        open().get_as::<u8>("bytes"),
        Err(Error::Invalid(_))
    ));
}

#[test]
fn keys_go_from_page_to_page() {
    let host = Host::new();
    for n in 0..2500 {
        host.keyvalue("k").set(&format!("{n:04}"), "x");
    }
    let handler = |_: Message| -> Result<(), Failure> {
        assert_eq!(all_keys().len(), 2500);
        open().remove_many((500..2000).map(|n| format!("{n:04}")))?;
        open().set("5000", "x")?;
        let keys = all_keys();
        assert_eq!(keys.len(), 1001);
        assert!(keys.is_sorted());
        Ok(())
    };
    assert_eq!(host.run(handler, host.message("in", "")), Ok(()));
    assert_eq!(host.keyvalue("k").keys().len(), 1001);
    host.keyvalue("empty");
    assert!(KeyValue::open("empty").unwrap().keys().next().is_none());
}

#[test]
fn several_at_once() {
    let host = Host::new();
    host.keyvalue("k");
    let handler = |_: Message| -> Result<(), Failure> {
        let values = open();
        values.set_many([("a", "1"), ("b", "2"), ("c", "3")])?;
        values.remove_many(["b", "none"])?;
        assert_eq!(
            values.get_many(["c", "b", "a"])?,
            [Some(b"3".to_vec()), None, Some(b"1".to_vec())]
        );
        Ok(())
    };
    assert_eq!(host.run(handler, host.message("in", "")), Ok(()));
    assert_eq!(host.keyvalue("k").keys(), ["a", "c"]);
}

#[test]
fn an_update_makes_a_value_of_the_current_one() {
    let host = Host::new();
    host.keyvalue("k").set("a", "1");
    let handler = |_: Message| -> Result<(), Failure> {
        let append = |current: Option<Vec<u8>>| [current.unwrap_or_default(), vec![b'+']].concat();
        open().update("a", append)?;
        open().update("a", append)?;
        open().update("b", append)?;
        let stopped = open().try_update("a", |current| {
            let text = String::from_utf8(current.unwrap_or_default())?;
            Ok(text.parse::<u8>()?.to_string())
        });
        assert_eq!(
            stopped,
            Err(Failure::Other("invalid digit found in string".into()))
        );
        Ok(())
    };
    assert_eq!(host.run(handler, host.message("in", "")), Ok(()));
    assert_eq!(host.keyvalue("k").get("a").unwrap(), b"1++");
    assert_eq!(host.keyvalue("k").get("b").unwrap(), b"+");
}

#[test]
fn an_update_starts_again_where_the_value_changes_under_it() {
    let host = Host::new();
    host.keyvalue("k");
    let mut seen = Vec::new();
    let raced = open().update("a", |current| {
        if seen.is_empty() {
            host.keyvalue("k").set("a", "theirs");
        }
        seen.push(current);
        "mine"
    });
    assert_eq!(raced, Ok(()));
    assert_eq!(seen, [None, Some(b"theirs".to_vec())]);
    assert_eq!(host.keyvalue("k").get("a").unwrap(), b"mine");
}

#[test]
fn an_update_that_never_settles_ends() {
    let host = Host::new();
    host.keyvalue("k");
    let mut calls = 0;
    let endless = open().update("a", |_| {
        calls += 1;
        open().increment("a", 1).unwrap();
        "mine"
    });
    assert!(matches!(endless, Err(Error::Changed(_))), "{endless:?}");
    assert_eq!(calls, 100);
}

#[test]
fn what_a_handler_relied_on_holds_at_the_commit() {
    type Change = fn() -> Result<(), Error>;
    let cases: [(Change, bool); 7] = [
        (|| open().set("a", "5"), true),
        (|| open().remove("a"), true),
        (|| open().get("a").map(drop), true),
        (|| open().increment("a", 1).map(drop), false),
        (|| open().update("a", |_| "5"), false),
        // A later change forgets nothing of what an earlier one relied on.
        (
            || open().increment("a", 1).and_then(|_| open().set("a", "5")),
            false,
        ),
        (
            || {
                open()
                    .set("a", "5")
                    .and_then(|()| open().increment("a", 1).map(drop))
            },
            true,
        ),
    ];
    for (index, (change, commits)) in cases.into_iter().enumerate() {
        for before in [None, Some("1")] {
            let host = Host::new();
            host.bucket("b");
            let values = host.keyvalue("k");
            if let Some(before) = before {
                values.set("a", before);
            }
            let handler = |_: Message| -> Result<(), Failure> {
                change()?;
                open().set("other", "x")?;
                Bucket::open("b")?.put("o", "x", "text/plain")?;
                host.keyvalue("k").set("a", "9");
                Ok(())
            };
            let outcome = host.run(handler, host.message("in", ""));
            assert_eq!(outcome.is_ok(), commits, "{index}: {outcome:?}");
            // Nothing of it is there, or all of it.
            assert_eq!(values.get("other").is_some(), commits);
            assert_eq!(host.bucket("b").get("o").is_some(), commits);
            if let Err(failure) = outcome {
                assert!(matches!(failure, Failure::Retry { .. }), "{failure:?}");
                assert_eq!(values.get("a").unwrap(), b"9");
            }
        }
    }
}

#[test]
fn two_messages_of_a_batch_that_count_one_key_are_in_conflict() {
    let host = Host::new();
    host.keyvalue("k");
    let batch = ["a", "a", "b"].map(|body| host.message("in", body));
    let results = host.run_batch(count, batch);
    assert_eq!(results[0], Ok(()));
    assert!(matches!(results[1], Err(Failure::Retry { .. })));
    assert_eq!(results[2], Ok(()));
    assert_eq!(host.keyvalue("k").get("a").unwrap(), b"1");
    assert_eq!(host.keyvalue("k").get("b").unwrap(), b"1");

    let again = [host.message("in", "a")];
    assert_eq!(host.run_batch(count, again), [Ok(())]);
    assert_eq!(host.keyvalue("k").get("a").unwrap(), b"2");
}

#[test]
fn a_message_that_fails_is_in_nobodys_way() {
    let host = Host::new();
    host.keyvalue("k");
    let mut first = true;
    let handler = |event: Message| -> Result<(), Failure> {
        assert_eq!(open().get("a")?, None, "another message's change is seen");
        count(event)?;
        if std::mem::take(&mut first) {
            return Err("it is the first".into());
        }
        Ok(())
    };
    let batch = ["a", "a"].map(|body| host.message("in", body));
    let results = host.run_batch(handler, batch);
    assert!(results[0].is_err());
    assert_eq!(results[1], Ok(()));
    assert_eq!(host.keyvalue("k").get("a").unwrap(), b"1");
}

#[test]
fn what_a_batch_shares_commits_with_all_of_it() {
    for (bodies, commits) in [
        (["a", "b"], true),
        // The first message goes on from what is shared; for the second that is a neighbour's change.
        (["shared", "b"], true),
        (["b", "shared"], false),
        (["a", "a"], false),
        (["a", "bad"], false),
    ] {
        let host = Host::new();
        let values = host.keyvalue("k");
        let handler = |batch: Batch| -> Result<Vec<Result<(), Failure>>, Failure> {
            open().increment("shared", 10)?;
            Ok(batch.each(|_, message| {
                // Read by every message.
                assert!(open().contains("shared")?);
                count(message.clone())?;
                match message.body() {
                    b"bad" => Err("it is bad".into()),
                    _ => Ok(()),
                }
            }))
        };
        let batch = bodies.map(|body| host.message("in", body));
        let results = host.run_batch(handler, batch);
        assert_eq!(
            values.get("shared").is_some(),
            commits,
            "{bodies:?} {results:?}"
        );
        if bodies == ["shared", "b"] {
            assert_eq!(values.get("shared").unwrap(), b"11");
        }
        if bodies == ["a", "bad"] {
            assert_eq!(values.keys(), ["a"]);
        } else if !commits {
            assert!(results.iter().all(Result::is_err), "{bodies:?} {results:?}");
            assert!(values.keys().is_empty());
        }
    }
}
