//! A host in a process of its own, and what it says.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// No single wait takes longer: far more than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

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

    /// Waits until standard error has a line with this in it.
    #[track_caller]
    pub fn warned(&mut self, part: &str) {
        self.wait(part, |host| {
            let said = host.lines.iter().any(|line| line.contains(part));
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

    /// The most memory that the process has had at once, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.unwrap().trim().strip_suffix("kB").unwrap();
        kib.trim().parse::<u64>().unwrap() << 10
    }

    /// Waits until so many records from the one at `start` on fit, and gives the place of the last of them; none where
    /// the host ends before, or the patience does.
    #[expect(clippy::disallowed_methods, reason = "bounds the wait")]
    pub fn place_of(
        &mut self,
        start: usize,
        count: usize,
        patience: Duration,
        fits: impl Fn(&Value) -> bool,
    ) -> Option<usize> {
        let end = Instant::now() + patience;
        let (mut found, mut seen) = (0, start);
        loop {
            while let Some(record) = self.records.get(seen) {
                found += usize::from(fits(record));
                if found == count {
                    return Some(seen);
                }
                seen += 1;
            }
            self.hear(end).ok()?;
        }
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
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
            match self.hear(end) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.fail(&format!("{what} didn't come")),
            }
        }
    }

    /// Takes the next of what it says.
    #[expect(clippy::disallowed_methods, reason = "bounds the wait")]
    fn hear(&mut self, end: Instant) -> Result<(), RecvTimeoutError> {
        match self.heard.recv_timeout(end - Instant::now().min(end))? {
            Said::Record(record) => self.records.push(record),
            Said::Line(line) => self.lines.push(line),
        }
        Ok(())
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
