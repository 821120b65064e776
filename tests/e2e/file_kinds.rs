//! Paths that are to lead to a file and don't: pipes that never open, devices that never end. Each is named, and
//! nothing waits for it.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use crate::harness::{App, Output, echo};
use crate::host::Host;
use crate::http::up;
use crate::http_server::certify;

const MIB: u64 = 1 << 20;

/// Puts something else at a file's place, in one step as whoever renews a file does.
fn replace_by_pipe(app: &App, name: &str) {
    app.pipe("pipe-new");
    fs::rename(app.path("pipe-new"), app.path(name)).unwrap();
}

fn replace_by_zeros(app: &App, name: &str) {
    symlink("/dev/zero", app.path("link-new")).unwrap();
    fs::rename(app.path("link-new"), app.path(name)).unwrap();
}

/// A secret or a certificate that became a pipe held up the reading for good, and the stop with it; one that
/// led to `/dev/zero` took 2.9 GB in 8 seconds.
#[test]
fn secrets_and_certificates_that_are_no_files_leave_the_last_good_ones() {
    let app = App::new(&format!(
        "{}\n[http]\ntls = {{ certificate = \"cert.pem\", key = \"key.pem\" }}\n[[ingress]]\npath = \"/orders\"\n\
         format = \"cloudevents\"\ntopic = \"orders\"\nauth = {{ bearer = \"secret\" }}\n",
        echo("orders")
    ));
    fs::write(app.path("secret"), "0123456789abcdef\n").unwrap();
    certify(&app, 1);
    let mut host = up(&app);
    for file in ["secret", "cert.pem"] {
        replace_by_pipe(&app, file);
        host.warned(&format!("{file}: it isn't a file but a pipe"));
        replace_by_zeros(&app, file);
        host.warned(&format!("{file}: it isn't a file but a device"));
    }
    assert!(host.peak_memory() < 500 * MIB, "{}", host.peak_memory());
    host.stop();
    for file in ["secret", "cert.pem"] {
        for name in ["secret", "cert.pem"] {
            let _ = fs::remove_file(app.path(name));
        }
        fs::write(app.path("secret"), "0123456789abcdef\n").unwrap();
        certify(&app, 2);
        replace_by_pipe(&app, file);
        for command in ["up", "check"] {
            app.bounded(&[command])
                .expect(2)
                .says(&[file, "a pipe", "regular file"]);
        }
    }
}

/// Files that a command line or a manifest names.
#[test]
fn a_pipe_is_named_and_not_waited_for() {
    let app = App::new(&echo("in"));
    app.pipe("pipe");
    symlink("/dev/zero", app.path("zeros")).unwrap();
    for (name, kind) in [("pipe", "a pipe"), ("zeros", "a device"), (".", "a folder")] {
        for arguments in [
            &["restore", name] as &[&str],
            &["publish", "in", "--file", name],
            &["invoke", "echo", "--file", name],
            &["invoke", "echo", "--event", name],
            &["check", "--target", "spin", name],
        ] {
            let output = app.bounded(arguments).expect(2);
            output.says(&[name, kind, "regular file"]);
        }
    }
    for (name, kind) in [("pipe", "a pipe"), ("zeros", "a device")] {
        app.bounded(&["status", "--manifest", name])
            .expect(2)
            .says(&[name, kind]);
        app.manifest(&format!(
            "[[function]]\nname = \"echo\"\ncomponent = \"{name}\"\non = {{ message = \"in\" }}\n"
        ));
        app.bounded(&["up"]).expect(2).says(&[name, kind]);
        let checked = app.bounded(&["check"]).expect(1);
        assert!(checked.stdout.contains(kind), "{checked:#?}");
        app.manifest(&echo("in"));
    }
}

/// A pipe that the shell opened has its writer, and an end.
#[test]
fn what_the_shell_opens_is_read() {
    let app = App::new(&echo("in"));
    let script = r#""$0" publish in --file <(printf one) && printf two | "$0" publish in --file - &&
        printf three | "$0" publish in --file /dev/stdin && "$0" invoke echo --file <(printf four) --json"#;
    let kinglet = app.command(&[]);
    let mut bash = std::process::Command::new("bash");
    bash.args(["-c", script])
        .arg(kinglet.get_program())
        .current_dir(app.path("."))
        .envs(
            kinglet
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = Output::of(bash).expect(0);
    assert!(output.stdout.contains("\"done\""), "{output:#?}");
    assert!(output.stderr.contains("four"), "{output:#?}");
    let mut host = app.up();
    for body in ["one", "two", "three"] {
        host.until(|r| r["kind"] == "log" && r["text"].as_str().is_some_and(|t| t.contains(body)));
    }
    host.stop();
}

/// The host's own files.
#[test]
fn a_pipe_in_the_hosts_own_folder_is_named() {
    for name in [
        "lock",
        "host",
        "id",
        "running",
        "buckets.json",
        "events.sqlite",
        "events.sqlite-wal",
        "logs/journal.jsonl",
    ] {
        let app = App::new(&echo("in"));
        app.pipe(&format!(".kinglet/{name}"));
        app.bounded(&["up"]).expect(2).says(&[name, "a pipe"]);
        if name == "logs/journal.jsonl" {
            app.bounded(&["logs"]).expect(2).says(&[name, "a pipe"]);
        }
    }
    let app = App::new(&echo("in"));
    app.pipe(".kinglet");
    for command in ["up", "status"] {
        app.bounded(&[command]).expect(2).says(&[".kinglet"]);
    }
}

/// A file of the cache that can't be used is made again, or not kept.
#[test]
fn pipes_in_the_cache_hold_up_nothing() {
    let app = App::new(&echo("in"));
    let command = |arguments: &[&str]| {
        let mut command = app.bounded_command(arguments);
        command
            .env("KINGLET_CACHE_DIR", app.path("cache"))
            .env("KINGLET_CACHE_KEY", app.path("key"));
        Output::of(command)
    };
    command(&["invoke", "echo", "--body", "x"]).expect(0);
    for entry in fs::read_dir(app.path("cache")).unwrap() {
        let name = entry.unwrap().file_name();
        replace_by_pipe(&app, &format!("cache/{}", name.to_str().unwrap()));
    }
    command(&["invoke", "echo", "--body", "x"]).expect(0);
    replace_by_pipe(&app, "key");
    command(&["invoke", "echo", "--body", "x"])
        .expect(0)
        .says(&["a pipe", "--cache-key"]);
}

/// Pipes and devices in a bucket aren't objects, and the logs name them.
#[test]
fn a_pipe_in_a_bucket_is_no_object() {
    let app = App::new(
        r#"
        [buckets.in]
        [buckets.out]
        [[function]]
        name = "copy"
        component = "guest:copy"
        on = { object-created = "in" }
        grants = { read = ["in"], write = ["out"] }
        "#,
    );
    app.pipe("in/pipe");
    app.pipe("out/a");
    symlink("/dev/zero", app.path("in/zeros")).unwrap();
    app.put_old("in/a", "1");
    let mut host: Host = app.up();
    host.outcome_of("copy", "a");
    for name in ["pipe", "zeros"] {
        let named = format!("\"{name}\"");
        host.until(|r| {
            r["kind"] == "host" && r["text"].as_str().is_some_and(|t| t.contains(&named))
        });
    }
    app.pipe("in/later");
    host.until(|r| r["kind"] == "host" && r["text"].as_str().is_some_and(|t| t.contains("later")));
    host.stop();
    assert_eq!(app.keys("out"), ["a"]);
    app.bounded(&["invoke", "copy", "--object", "in/pipe"])
        .expect(2);
}

/// Nothing of a large file is copied that isn't a backup.
#[test]
fn a_file_that_is_no_backup_is_refused_before_it_is_copied() {
    let app = App::new(&echo("in"));
    app.ok(&["publish", "in", "--body", "x"]);
    let large = fs::File::create(app.path("large")).unwrap();
    large.set_len(1 << 40).unwrap();
    app.bounded(&["restore", "large"])
        .expect(2)
        .says(&["isn't a backup"]);
    assert!(!app.path(".kinglet/restored.partial").exists());
    let body = fs::File::create(app.path("body")).unwrap();
    body.set_len(1 << 40).unwrap();
    app.bounded(&["publish", "in", "--file", "body"])
        .expect(2)
        .says(&["body", "268435456 bytes"]);
}
