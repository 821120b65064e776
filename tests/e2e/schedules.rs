//! Functions that the clock wakes.

use std::collections::BTreeSet;

use rusqlite::Connection;

use crate::harness::{App, settled, text};

fn scheduled(on: &str) -> String {
    format!(
        r#"
        [[function]]
        name = "tick"
        component = "guest:echo"
        on = {{ {on} }}
        "#
    )
}

#[test]
fn each_time_comes_once_also_over_restarts() {
    let app = App::new(&scheduled(r#"schedule = "* * * * * *""#));
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut host = app.up();
        host.outcomes(2, "tick");
        let ended = host.stop();
        let outcomes = ended.outcomes("tick");
        ids.extend(outcomes.iter().map(|o| text(o, "event").to_owned()));
        let said = ended.records.iter().find(|r| r["kind"] == "log").unwrap();
        assert!(
            text(said, "text").starts_with("20"),
            "the time is the body: {said}"
        );
    }
    assert!(ids.iter().all(|id| id.starts_with("tick@20")), "{ids:?}");
    let different: BTreeSet<&String> = ids.iter().collect();
    assert_eq!(different.len(), ids.len(), "{ids:?}");
}

/// An hour without a host: sixty times are missed.
#[test]
fn missed_times_go_by_the_policy() {
    for (policy, expected) in [
        ("", 1..=2),
        (", missed = \"once\"", 1..=2),
        (", missed = \"all\"", 60..=61),
        (", missed = \"skip\"", 0..=1),
    ] {
        let on = format!(r#"schedule = "* * * * *"{policy}"#);
        let manifest = scheduled(&on)
            + r#"
            [[function]]
            name = "after"
            component = "guest:echo"
            on = { message = "after" }
        "#;
        let app = App::new(&manifest);
        app.up().stop();
        let store = Connection::open(app.path(".kinglet/events.sqlite")).unwrap();
        let hour_ago = "UPDATE sighting SET etag =
            (CAST(substr(etag, 1, 13) AS INTEGER) - 3600000) || substr(etag, 14)
            WHERE bucket = 'schedule/' AND key = 'tick'";
        while store.execute(hour_ago, []).unwrap() == 0 {
            // Stopped before the schedule was looked at: the next host does.
            app.up().stop();
        }
        drop(store);
        let mut host = app.up();
        if *expected.start() > 0 {
            host.outcomes(*expected.start(), "tick");
        }
        app.publish("after", "x");
        host.outcome_of("after", "after");
        let ended = host.stop();
        let ticks = ended
            .records
            .iter()
            .filter(|r| settled(r) && r["function"] == "tick")
            .count();
        assert!(expected.contains(&ticks), "{policy}: {ticks}");
    }
}

#[test]
fn what_is_no_schedule_or_no_zone_is_refused() {
    for (on, says) in [
        (r#"schedule = "at noon""#, "at noon"),
        (
            r#"schedule = "0 3 * * *", time-zone = "Mars/Olympus""#,
            "Mars/Olympus",
        ),
        (r#"schedule = "0 3 * * *", message = "in""#, "exactly one"),
        (
            r#"schedule = "0 0 30 2 *""#,
            "the schedule \"0 0 30 2 *\" never comes",
        ),
    ] {
        let app = App::new(&scheduled(on));
        app.kinglet(&["check"]).expect(2).says(&[says]);
    }
}

/// It was called good.
#[test]
fn a_schedule_whose_times_are_past_is_refused_unless_it_came_before() {
    let over = r#"schedule = "0 0 0 1 1 * 2020""#;
    let app = App::new(&scheduled(over));
    let says = "the schedule \"0 0 0 1 1 * 2020\" has no time left";
    let checked = app.kinglet(&["check"]).expect(1);
    assert!(checked.stdout.contains(says), "{checked:?}");
    app.kinglet(&["up"]).expect(2).says(&["\"tick\"", says]);

    // As if a host had run until its last time.
    app.manifest(&scheduled(r#"schedule = "* * * * * *""#));
    let mut host = app.up();
    host.outcomes(1, "tick");
    host.stop();
    let store = Connection::open(app.path(".kinglet/events.sqlite")).unwrap();
    let noted = "UPDATE sighting SET etag = '1577836800000 0 0 0 1 1 * 2020'
        WHERE bucket = 'schedule/' AND key = 'tick'";
    assert_eq!(store.execute(noted, []).unwrap(), 1);
    drop(store);
    app.manifest(&scheduled(over));
    let mut host = app.up();
    host.warned(says);
    host.stop();
}

#[test]
fn the_next_times_are_shown() {
    let on = r#"schedule = "30 2 1 1 *", time-zone = "Europe/Berlin""#;
    let app = App::new(&scheduled(on));
    let is_shown = |text: &str| {
        let times = text.matches("-01-01T02:30:00+01:00").count();
        assert_eq!(times, 3, "{text}");
    };
    is_shown(&app.kinglet(&["check"]).expect(0).stderr);
    let found = app.kinglet(&["check", "--json"]).expect(0).json();
    is_shown(&found[0]["next"].to_string());
    let mut host = app.up();
    host.warned("next at ");
    is_shown(&app.ok(&["status"]));
    let status = app.kinglet(&["status", "--json"]).expect(0).json();
    is_shown(&status[0]["next"].to_string());
    assert_eq!(status[0]["function"], "tick");
    assert_eq!(status[0]["pending"], 0);
    let ended = host.stop();
    is_shown(&ended.lines.concat());
}

#[test]
fn what_is_valid_and_not_meant_is_noted() {
    let app = App::new(
        r#"
        [buckets.in]
        [[function]]
        name = "tick"
        component = "guest:echo"
        on = { schedule = "*/90 * * * *" }
        [[function]]
        name = "copy"
        component = "guest:copy"
        on = { object-created = "in", prefix = "/in/", suffix = "*.jpg" }
        grants = { read = "in/a" }
        "#,
    );
    let words = [
        "`*/90` in its schedule",
        "`prefix = \"/in/\"`",
        "`suffix = \"*.jpg\"`",
        "`grants.read = \"in/a\"`",
    ];
    app.kinglet(&["check"]).expect(0).says(&words);
    let mut host = app.up();
    for word in words {
        host.warned(word);
    }
    host.stop();
}
