//! An application in a folder of its own, and the commands on it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;

pub use crate::host::{Ended, Host, settled, text, waits};

const KINGLET: &str = env!("CARGO_BIN_EXE_kinglet");

/// An application in a temporary folder.
pub struct App {
    dir: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl App {
    /// Writes the manifest. `guest:NAME` in it stands for the path of that fixture.
    pub fn new(functions: &str) -> Self {
        let app = Self::bare();
        app.manifest(functions);
        app
    }

    /// A folder without a manifest.
    pub fn bare() -> Self {
        // In the target folder, which has extended attributes on every machine that builds there.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self { dir }
    }

    /// Replaces the manifest.
    pub fn manifest(&self, functions: &str) {
        let mut text = format!("[app]\nname = \"test\"\n{functions}");
        while let Some(at) = text.find("guest:") {
            let end = at + text[at..].find('"').expect("a quoted path");
            let path = guest(&text[at + 6..end]);
            text.replace_range(at..end, path.to_str().unwrap());
        }
        fs::write(self.path("kinglet.toml"), text).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file, and the folders above it, as a program would that knows nothing of Kinglet.
    pub fn put(&self, name: &str, body: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, body).unwrap();
    }

    /// Writes a file that looks as if it had been there for long, so that a starting host needn't wait
    /// to see whether it still grows.
    pub fn put_old(&self, name: &str, body: impl AsRef<[u8]>) {
        self.put(name, body);
        let hour_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let file = File::options().append(true).open(self.path(name)).unwrap();
        file.set_modified(hour_ago).unwrap();
    }

    /// A file's text.
    pub fn read(&self, name: &str) -> String {
        let path = self.path(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Every object of a bucket, hidden files left out.
    pub fn objects(&self, bucket: &str) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        gather(&self.path(bucket), "", &mut found);
        found
    }

    /// The keys of `objects`.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.objects(bucket).into_keys().collect()
    }

    /// What lies in a bucket's staging folder.
    pub fn staged(&self, bucket: &str) -> usize {
        let staging = self.path(bucket).join(".kinglet-staging");
        // A folder for each application that has the bucket; none where nothing is staged or runs.
        let Ok(owners) = fs::read_dir(staging) else {
            return 0;
        };
        owners
            .flat_map(|owner| fs::read_dir(owner.unwrap().path()).unwrap())
            // The mark that the folder is a bucket stays.
            .filter(|staged| staged.as_ref().unwrap().file_name() != "bucket")
            .count()
    }

    /// A command on this application, not yet run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(KINGLET);
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env_remove("KINGLET_MANIFEST")
            .env("KINGLET_CACHE_DIR", tmp().join("cache"))
            .env("KINGLET_CACHE_KEY", tmp().join("cache-key"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub fn kinglet(&self, arguments: &[&str]) -> Output {
        finish(self.command(arguments).spawn().unwrap(), b"")
    }

    /// Runs a command to its end, with something on its standard input.
    pub fn kinglet_with(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(arguments);
        finish(command.stdin(Stdio::piped()).spawn().unwrap(), input)
    }

    /// Runs a command that must succeed, and gives its standard output.
    pub fn ok(&self, arguments: &[&str]) -> String {
        self.kinglet(arguments).expect(0).stdout
    }

    /// Publishes a message.
    pub fn publish(&self, topic: &str, body: &str) {
        self.ok(&["publish", topic, "--body", body]);
    }

    /// Publishes each line as a message, and gives what is printed: an id for each.
    #[track_caller]
    pub fn publish_lines<L: Display>(
        &self,
        topic: &str,
        lines: impl IntoIterator<Item = L>,
    ) -> String {
        let input: String = lines.into_iter().map(|line| format!("{line}\n")).collect();
        let output = self.kinglet_with(&["publish", topic, "--lines"], input.as_bytes());
        output.expect(0).stdout
    }

    /// Runs a command to its end, which must come by itself: one that hangs is killed, and has no good code.
    pub fn bounded(&self, arguments: &[&str]) -> Output {
        Output::of(self.bounded_command(arguments))
    }

    /// The command of `bounded`, not yet run.
    pub fn bounded_command(&self, arguments: &[&str]) -> Command {
        let plain = self.command(arguments);
        let mut command = Command::new("timeout");
        command
            .args(["--signal=KILL", "100"])
            .arg(plain.get_program())
            .args(plain.get_args())
            .current_dir(self.dir.path())
            .env_remove("KINGLET_MANIFEST")
            .envs(
                plain
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Makes a named pipe.
    pub fn pipe(&self, name: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
    }

    /// A command that permissions hold for, also where root runs the tests.
    pub fn command_without_privileges(&self, arguments: &[&str]) -> Command {
        let plain = self.command(arguments);
        if !rustix::process::geteuid().is_root() {
            return plain;
        }
        let mut command = Command::new("setpriv");
        command
            .args(["--bounding-set", "-all", "--inh-caps", "-all", "--"])
            .arg(plain.get_program())
            .args(plain.get_args())
            .current_dir(self.dir.path())
            .envs(
                plain
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts such a host, and waits until it is ready.
    pub fn up_without_privileges(&self) -> Host {
        let mut host = Host::start(self.command_without_privileges(&["up", "--json"]));
        host.said("ready");
        host
    }

    /// A command of a build that may have the guard of this name off.
    pub fn command_without<'a>(&self, args: &[&str], guard: impl Into<Option<&'a str>>) -> Command {
        let mut command = self.command(args);
        command.envs(guard.into().map(|guard| ("KINGLET_TEST_WITHOUT", guard)));
        command
    }

    /// Starts a host that may have the guard of this name off, and waits until it is ready.
    pub fn up_without<'a>(&self, guard: impl Into<Option<&'a str>>) -> Host {
        let command = self.command_without(&["up", "--json"], guard);
        let mut host = Host::start(command);
        host.said("ready");
        host
    }

    /// Starts the host, and waits until it is ready.
    pub fn up(&self) -> Host {
        let mut host = Host::start(self.command(&["up", "--json"]));
        host.said("ready");
        host
    }
}

impl Output {
    /// Waits for the end of a command.
    pub fn of(mut command: Command) -> Self {
        finish(command.spawn().unwrap(), b"")
    }

    /// Fails unless the command ended so.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// Fails unless standard error has all of these.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(
                self.stderr.contains(word),
                "{word:?} isn't said in {self:#?}"
            );
        }
        self
    }

    /// The lines of standard output as JSON.
    pub fn json(&self) -> Vec<Value> {
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
        };
        self.stdout.lines().map(parse).collect()
    }
}

/// The manifest of a function `echo`, which logs each message of a topic.
pub fn echo(topic: &str) -> String {
    format!(
        r#"
        [[function]]
        name = "echo"
        component = "guest:echo"
        on = {{ message = "{topic}" }}
        "#
    )
}

/// The file of a function or a fixture.
pub fn guest(name: &str) -> PathBuf {
    let built = match std::env::var_os("KINGLET_TEST_GUESTS") {
        Some(folder) => PathBuf::from(folder),
        None => workspace().join("target/wasm32-wasip2/release"),
    };
    let file = format!("{}.wasm", name.replace('-', "_"));
    let places = [
        built.join("examples").join(&file),
        built.join(&file),
        // Of workspaces of their own, made with Spin's SDK.
        built.join("../../spin/wasm32-wasip2/release").join(&file),
    ];
    let found = places.iter().find(|path| path.is_file());
    found
        .unwrap_or_else(|| {
            panic!(
                "there is no guest {name:?} in {}; run `cargo xtask test`",
                built.display()
            )
        })
        .clone()
}

pub fn workspace() -> PathBuf {
    let host = Path::new(env!("CARGO_MANIFEST_DIR"));
    host.parent().unwrap().to_owned()
}

/// A folder that all tests share and every run keeps.
pub fn tmp() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// Feeds a process and waits for its end.
pub fn finish(mut child: Child, input: &[u8]) -> Output {
    if let Some(stdin) = child.stdin.take() {
        feed(stdin, input);
    }
    let output = child.wait_with_output().unwrap();
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn feed(mut stdin: ChildStdin, input: &[u8]) {
    stdin.write_all(input).unwrap();
}

fn gather(dir: &Path, base: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        let key = format!("{base}{name}");
        if path.is_dir() {
            gather(&path, &format!("{key}/"), found);
        } else {
            found.insert(key, fs::read(&path).unwrap());
        }
    }
}
