//! An application in a folder of its own, the host that runs it, and what that host says.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// No single wait takes longer: far more than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

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
        fs::read_dir(staging).unwrap().count()
    }

    /// A command on this application, not yet run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(KINGLET);
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env_remove("KINGLET_MANIFEST")
            .env("KINGLET_CACHE_DIR", tmp().join("cache"))
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

    /// Starts the host, and waits until it is ready.
    pub fn up(&self) -> Host {
        let mut host = Host::start(self.command(&["up", "--json"]));
        host.said("ready");
        host
    }
}

impl Output {
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

/// What a running process says, in the order in which it came.
enum Said {
    Record(Value),
    Line(String),
}

/// A running `kinglet up`, killed when dropped.
pub struct Host {
    child: Child,
    heard: Receiver<Said>,
    /// What came so far.
    pub records: Vec<Value>,
    pub lines: Vec<String>,
}

/// A host that ended.
pub struct Ended {
    pub code: Option<i32>,
    pub records: Vec<Value>,
    pub lines: Vec<String>,
}

impl Host {
    /// Starts a command whose standard output has records.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (sender, heard) = channel();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        listen(stdout, sender.clone(), |line| {
            let record = serde_json::from_str(&line);
            Said::Record(record.unwrap_or_else(|_| panic!("not a record: {line}")))
        });
        listen(stderr, sender, Said::Line);
        Self {
            child,
            heard,
            records: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// Waits until standard error has a line that starts so.
    #[track_caller]
    pub fn said(&mut self, start: &str) {
        self.wait(start, |host| {
            let said = host.lines.iter().any(|line| line.starts_with(start));
            said.then_some(())
        });
    }

    /// Waits until a record fits, and gives the first that does.
    #[track_caller]
    pub fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        self.wait("a record", |host| {
            host.records.iter().find(|record| fits(record)).cloned()
        })
    }

    /// Waits until so many records fit, and gives them.
    #[track_caller]
    pub fn until_many(&mut self, count: usize, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
        let what = format!("{count} records");
        self.wait(&what, |host| {
            let found: Vec<Value> = host.records.iter().filter(|r| fits(r)).cloned().collect();
            (found.len() >= count).then_some(found)
        })
    }

    /// Waits for the first settled outcome of a function at an object or a topic.
    #[track_caller]
    pub fn outcome_of(&mut self, function: &str, subject: &str) -> Value {
        self.until(|r| settled(r) && r["function"] == function && r["subject"] == subject)
    }

    /// Waits for so many settled outcomes of a function.
    #[track_caller]
    pub fn outcomes(&mut self, count: usize, function: &str) -> Vec<Value> {
        self.until_many(count, |r| settled(r) && r["function"] == function)
    }

    /// Waits until so many attempts at the fixture `gate` wait.
    #[track_caller]
    pub fn waiting(&mut self, count: usize) {
        self.until_many(count, waits);
    }

    /// Ctrl-c.
    pub fn interrupt(&self) {
        kill_process(self.pid(), Signal::INT).unwrap();
    }

    /// Ctrl-c, and the good end that must follow.
    #[track_caller]
    pub fn stop(self) -> Ended {
        self.interrupt();
        let ended = self.end();
        assert_eq!(ended.code, Some(0), "{:#?}", ended.lines);
        ended
    }

    /// The end that no process can prepare for.
    pub fn kill(self) -> Ended {
        kill_process(self.pid(), Signal::KILL).unwrap();
        self.end()
    }

    /// Waits for the end.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        self.wait_or_end("the end", |_| None::<()>);
        let status = self.child.wait().unwrap();
        Ended {
            code: status.code(),
            records: std::mem::take(&mut self.records),
            lines: std::mem::take(&mut self.lines),
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    #[track_caller]
    fn wait<T>(&mut self, what: &str, found: impl Fn(&Self) -> Option<T>) -> T {
        match self.wait_or_end(what, found) {
            Some(found) => found,
            None => self.fail(&format!("the host ended before {what} came")),
        }
    }

    /// None where the host ended.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "bounds the wait")]
    fn wait_or_end<T>(&mut self, what: &str, found: impl Fn(&Self) -> Option<T>) -> Option<T> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = found(self) {
                return Some(found);
            }
            match self.heard.recv_timeout(end - Instant::now().min(end)) {
                Ok(Said::Record(record)) => self.records.push(record),
                Ok(Said::Line(line)) => self.lines.push(line),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.fail(&format!("{what} didn't come")),
            }
        }
    }

    #[track_caller]
    fn fail(&self, why: &str) -> ! {
        let records: Vec<String> = self.records.iter().map(Value::to_string).collect();
        panic!(
            "{why}; records:\n{}\nstandard error:\n{}",
            records.join("\n"),
            self.lines.join("\n")
        )
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The settled outcomes of a function.
    pub fn outcomes(&self, function: &str) -> Vec<&Value> {
        let of = |r: &&Value| settled(r) && r["function"] == function;
        self.records.iter().filter(of).collect()
    }
}

/// Whether a record is the end of an event.
pub fn settled(record: &Value) -> bool {
    record["kind"] == "outcome" && record["settled"] == true
}

/// Whether a record says that the fixture `gate` waits.
pub fn waits(record: &Value) -> bool {
    let text = record["text"].as_str().unwrap_or_default();
    record["kind"] == "log" && text.starts_with("waiting ")
}

/// The text of a record's member.
pub fn text<'a>(record: &'a Value, member: &str) -> &'a str {
    record[member]
        .as_str()
        .unwrap_or_else(|| panic!("no text {member:?} in {record}"))
}

/// The file of a function or a fixture.
pub fn guest(name: &str) -> PathBuf {
    let built = match std::env::var_os("KINGLET_TEST_GUESTS") {
        Some(folder) => PathBuf::from(folder),
        None => workspace().join("target/wasm32-wasip2/release"),
    };
    let file = format!("{}.wasm", name.replace('-', "_"));
    let places = [built.join("examples").join(&file), built.join(&file)];
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

/// Passes on each line of a pipe. The channel closes when both pipes have.
fn listen(
    pipe: impl Read + Send + 'static,
    sender: Sender<Said>,
    said: impl Fn(String) -> Said + Send + 'static,
) {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines() {
            let Ok(line) = line else { return };
            if sender.send(said(line)).is_err() {
                return;
            }
        }
    });
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
