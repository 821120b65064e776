//! Output that can't be written: a full disk, a reader that is gone. Nothing panics.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{App, Output, echo};

fn full() -> Stdio {
    File::options()
        .write(true)
        .open("/dev/full")
        .unwrap()
        .into()
}

/// A pipe whose reader is gone.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// Every command that prints a result.
fn commands() -> Vec<Vec<&'static str>> {
    let words = [
        "--help",
        "--version",
        "publish --help",
        "check",
        "check --json",
        "publish in --body x",
        "publish in --body x --json",
        "invoke echo --body x",
        "invoke echo --body x --json",
        "status",
        "status --json",
        "status --memory",
        "events echo",
        "logs",
        "logs --json",
        "dlq list",
        "dlq show 1",
        "dlq redrive --function reject",
        "pause echo",
        "resume echo",
        "backup copy",
        "restore kept",
        "run copy in-objects",
        "new made --on message",
    ];
    words
        .map(|line| line.split(' ').collect())
        .into_iter()
        .collect()
}

/// An application of which each command has something to print.
fn app() -> App {
    let app = App::new(&format!(
        r#"{}
        [buckets.in-objects]
        [buckets.out]
        [[function]]
        name = "reject"
        component = "guest:reject"
        on = {{ message = "bad" }}
        retry = {{ attempts = 1 }}
        [[function]]
        name = "copy"
        component = "guest:copy"
        on = {{ object-created = "in-objects" }}
        grants = {{ read = ["in-objects"], write = ["out"] }}
        "#,
        echo("in")
    ));
    app.put_old("in-objects/a", "1");
    // The first event of all, so that its number is 1.
    app.publish("bad", "x");
    let mut host = app.up();
    host.outcome_of("reject", "bad");
    host.outcome_of("copy", "a");
    host.stop();
    app.ok(&["publish", "in", "--body", "waits"]);
    app.ok(&["backup", "kept"]);
    app
}

fn run(app: &App, arguments: &[&str], stdout: Stdio, stderr: Stdio) -> Output {
    for made in ["copy", "made"] {
        let _ = std::fs::remove_file(app.path(made));
        let _ = std::fs::remove_dir_all(app.path(made));
    }
    let mut command = app.bounded_command(arguments);
    command.stdout(stdout).stderr(stderr);
    Output::of(command)
}

#[test]
fn results_that_cannot_be_written_are_an_error_and_a_reader_that_is_gone_is_none() {
    let app = app();
    for arguments in commands() {
        let output = run(&app, &arguments, full(), Stdio::piped());
        assert_eq!(output.code, 2, "{arguments:?} {output:#?}");
        assert!(
            output.stderr.contains("standard output"),
            "{arguments:?} {output:#?}"
        );
        let output = run(&app, &arguments, closed(), Stdio::piped());
        assert_eq!(output.code, 0, "{arguments:?} {output:#?}");
        assert!(
            !output.stderr.contains("panicked"),
            "{arguments:?} {output:#?}"
        );
    }
}

/// A command whose standard error can't be written does its work, and says so by its exit status.
#[test]
fn a_full_standard_error_ends_nothing() {
    let app = app();
    for stderr in [full, closed] {
        for arguments in commands() {
            let output = run(&app, &arguments, Stdio::piped(), stderr());
            assert_eq!(output.code, 0, "{arguments:?} {output:#?}");
        }
        for wrong in [
            &["publish", "none", "--body", "x"] as &[&str],
            &["no-such-command"],
            &["restore", "none"],
            &["status", "--manifest", "none"],
        ] {
            let output = run(&app, wrong, Stdio::piped(), stderr());
            assert_eq!(output.code, 2, "{wrong:?} {output:#?}");
        }
    }
}

/// `kinglet up 2>/dev/full` panicked, with status 101.
#[test]
fn a_host_whose_output_cannot_be_written_continues() {
    for stderr in [full, closed] {
        let app = App::new(&echo("in"));
        let mut command: Command = app.command(&["up", "--json"]);
        let mut host = command.stderr(stderr()).spawn().unwrap();
        app.publish("in", "x");
        let said = BufReader::new(host.stdout.take().unwrap()).lines();
        let mut said = said.map_while(Result::ok);
        assert!(said.any(|line| line.contains("\"done\"")));
        kill_process(Pid::from_child(&host), Signal::INT).unwrap();
        assert_eq!(host.wait().unwrap().code(), Some(0));
    }
    for stdout in [full, closed] {
        let app = App::new(&echo("in"));
        let mut command: Command = app.command(&["up", "--json"]);
        let mut host = command.stdout(stdout()).spawn().unwrap();
        let mut lines = BufReader::new(host.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().starts_with("ready")));
        for body in ["1", "2"] {
            app.publish("in", body);
        }
        // The journal has what can't be shown.
        while app.ok(&["logs", "--json"]).matches("\"done\"").count() < 2 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        kill_process(Pid::from_child(&host), Signal::INT).unwrap();
        let mut rest = String::new();
        lines.for_each(|line| rest.push_str(&line.unwrap()));
        assert_eq!(host.wait().unwrap().code(), Some(0), "{rest}");
        assert!(!rest.contains("panicked"), "{rest}");
    }
}
