//! Compiled components: what wasn't written by a host of this machine is never run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::harness::{App, Host, guest};

/// Two functions that reply on their own topics, with a cache of their own.
pub fn app() -> App {
    let app = App::bare();
    let function = |name: &str, guest: &str| {
        format!(
            "[[function]]\nname = \"{name}\"\ncomponent = \"guest:{guest}\"\non = {{ message = \"{name}\" }}\n"
        )
    };
    app.manifest(&[function("echo", "echo"), function("noop", "noop-message")].concat());
    app
}

/// Runs the host, has both functions answer, and gives what was said meanwhile.
#[track_caller]
pub fn run(app: &App) -> String {
    run_without(app, None)
}

/// The same, without a guard.
#[track_caller]
pub fn run_without(app: &App, guard: Option<&str>) -> String {
    let arguments = ["up", "--json", "--cache-dir", "cache", "--cache-key", "key"];
    let command = app.command_without(&arguments, guard);
    let mut host = Host::start(command);
    host.said("ready");
    for function in ["echo", "noop"] {
        app.publish(function, "x");
        let outcome = host.outcomes(1, function).remove(0);
        assert_eq!(outcome["outcome"], "done", "{outcome}");
    }
    let ended = host.stop();
    let echoed = ended.records.iter().any(|record| record["text"] == "x");
    assert!(echoed, "{:?}", ended.records);
    ended.lines.join("\n")
}

/// The cache's files that end so.
pub fn files(app: &App, end: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(app.path("cache")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|found| found == end))
        .collect();
    files.sort();
    files
}

pub const ALTERED: &str = "isn't as a host of this machine wrote it";

#[test]
fn an_altered_artifact_is_compiled_again() {
    let app = app();
    assert_eq!(run(&app).matches("(compiled").count(), 2);
    let said = run(&app);
    assert_eq!(said.matches("from the cache").count(), 2, "{said}");
    assert!(!said.contains(ALTERED), "{said}");

    for path in files(&app, "cwasm") {
        let mut artifact = fs::read(&path).unwrap();
        let middle = artifact.len() / 2;
        artifact[middle] ^= 1;
        fs::write(&path, artifact).unwrap();
    }
    assert_eq!(run(&app).matches(ALTERED).count(), 2);
    assert!(!run(&app).contains(ALTERED));
}

/// Each is as a host wrote it, and the one isn't the other.
#[test]
fn an_artifact_under_the_name_of_another_is_compiled_again() {
    let app = app();
    run(&app);
    for end in ["cwasm", "seal"] {
        let [one, other] = files(&app, end).try_into().unwrap();
        fs::rename(&one, app.path("aside")).unwrap();
        fs::rename(&other, &one).unwrap();
        fs::rename(app.path("aside"), &other).unwrap();
    }
    assert_eq!(run(&app).matches(ALTERED).count(), 2);
}

#[test]
fn altered_notes_are_made_again() {
    let app = app();
    run(&app);
    let [notes] = files(&app, "notes").try_into().unwrap();
    let written = fs::read(&notes).unwrap();
    let mut altered = written.clone();
    *altered.last_mut().unwrap() ^= 1;
    for content in [&altered[..], b"", &written[..40]] {
        fs::write(&notes, content).unwrap();
        let said = run(&app);
        assert_eq!(said.matches("from the cache").count(), 2, "{said}");
        assert_eq!(fs::read(&notes).unwrap(), written);
    }
}

#[test]
fn a_cache_of_another_machine_is_compiled_again() {
    let app = app();
    run(&app);
    fs::remove_file(app.path("key")).unwrap();
    assert_eq!(run(&app).matches(ALTERED).count(), 2);
    assert_eq!(run(&app).matches("from the cache").count(), 2);
}

#[test]
fn a_key_that_others_could_read_is_not_used() {
    let app = app();
    run(&app);
    fs::set_permissions(app.path("key"), fs::Permissions::from_mode(0o644)).unwrap();
    let said = run(&app);
    assert!(said.contains("others may have read it"), "{said}");
    assert!(said.contains("--cache-key"), "{said}");
    assert_eq!(said.matches("(compiled").count(), 2, "{said}");
}

#[test]
fn what_takes_too_long_to_compile_or_never_ends_is_refused() {
    let app = App::bare();
    let function = "[[function]]\nname = \"f\"\non = { message = \"t\" }\ncomponent = ";
    let check = |rest: &str| {
        app.manifest(&format!("{rest}\n{function}\"function.wasm\""));
        let arguments = ["check", "--cache-dir", "cache"];
        app.kinglet(&arguments).expect(1).stdout
    };
    fs::copy(guest("echo"), app.path("function.wasm")).unwrap();
    let said = check("[compile]\ntimeout = \"1ms\"");
    assert!(
        said.contains("longer than 1ms") && said.contains("compile.timeout"),
        "{said}"
    );

    let component = fs::File::create(app.path("function.wasm")).unwrap();
    component.set_len(3 << 30).unwrap();
    let said = check("");
    assert!(
        said.contains("more than 2GiB") && said.contains("compile.memory"),
        "{said}"
    );

    fs::remove_file(app.path("function.wasm")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", app.path("function.wasm")).unwrap();
    let said = check("");
    assert!(said.contains("it isn't a file"), "{said}");
    assert!(!app.path("cache").exists());
}
