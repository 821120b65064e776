//! Compiling a component: in a process of its own, since whatever a component's bytes do to the compiler, in time,
//! memory or by a defect, is to happen there.

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::num::NonZero;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use wasmparser::{KnownCustom, Name, NameSectionReader, Parser, Payload};

use super::settings::build_engine;
use crate::clock::{millis, process_time};
use crate::config::{ByteSize, Period};
use crate::guard::{self, Guard};

/// The wall-clock time of a compiler, in multiples of its processor time, and what is added. On a busy
/// machine it waits for processors.
const WALL_FACTOR: u32 = 10;
const WALL_MORE: Duration = Duration::from_secs(10);
/// Of what a compiler says.
const SAYS: u64 = 64 << 10;
/// So often, and at such intervals, a compiler that has said everything is looked at until it has ended.
const ENDING: u32 = 2_000;
const LOOK: Duration = Duration::from_millis(1);
/// The longest function name that is compiled into the code, in bytes.
const SYMBOL_BYTES: usize = 16 << 10;
/// The exit status of a compiler that refused its component.
const REFUSED: i32 = 1;
/// The exit status of a compiler that has used up its processor time.
const OUT_OF_TIME: i32 = 124;
/// The stack of the thread that watches the processor time.
const WATCH_STACK: usize = 64 << 10;

/// How components are compiled.
#[derive(Clone, Debug)]
pub enum Compiler {
    /// In this process, without limits: for who trusts them.
    Here,
    /// In a process of this program, which is `kinglet`.
    Apart(PathBuf),
}

/// How far compiling one component may go.
#[derive(Clone, Copy, Debug)]
pub struct CompileLimits {
    /// Processor time of the process that compiles, over all its threads.
    pub timeout: Period,
    /// Memory of the process that compiles, and the largest file that is read as a component.
    pub memory: ByteSize,
}

/// How compiling fails.
#[derive(Clone, Debug, Error)]
pub(super) enum CompileError {
    /// The component can't be compiled, in the compiler's words.
    #[error("{0}")]
    Refused(String),
    /// It exceeds the pool's bounds; with its figure and the bound.
    #[error("{0}")]
    TooLarge(String),
    #[error("compiling takes longer than `compile.timeout`")]
    Time,
    /// It got too few processors to end within the backstop of the wall clock.
    #[error("compiling didn't end within {0:?}")]
    Stalled(Duration),
    #[error("compiling takes more memory than `compile.memory`")]
    Memory,
    /// The compiler's process.
    #[error("the compiler {0}")]
    Broken(String),
}

impl Compiler {
    /// Native code for the engine of that kind.
    pub(super) fn compile(
        &self,
        wasm: &[u8],
        concurrent: bool,
        limits: &CompileLimits,
    ) -> Result<Vec<u8>, CompileError> {
        match self {
            Self::Here => compile(wasm, concurrent)
                .map_err(|error| CompileError::Refused(format!("{error:#}"))),
            Self::Apart(program) => {
                let limits = &without_guards(*limits);
                let mut command = Command::new(program);
                command.args(["compile", "--memory", &limits.memory.0.to_string()]);
                command.args(["--milliseconds", &millis(limits.timeout.0).to_string()]);
                command.args(concurrent.then_some("--concurrent"));
                let wall = limits.timeout.0.saturating_mul(WALL_FACTOR);
                run(command, wasm, limits.memory, wall.saturating_add(WALL_MORE))
            }
        }
    }
}

/// Compiles here and now.
///
/// # Errors
/// Where it isn't a component that an engine of that kind can run.
pub fn compile(wasm: &[u8], concurrent: bool) -> wasmtime::Result<Vec<u8>> {
    build_engine(concurrent)?.precompile_component(&without_long_symbols(wasm))
}

/// Returns a component without the function names of those modules in which one is longer than
/// `SYMBOL_BYTES`: a trap copies the name of each frame. The section with the names is renamed in
/// place, so that nobody looks for it.
fn without_long_symbols(wasm: &[u8]) -> Cow<'_, [u8]> {
    let mut without = Cow::Borrowed(wasm);
    // The compiler tells of bytes that can't be parsed.
    for payload in Parser::new(0).parse_all(wasm).map_while(Result::ok) {
        let Payload::CustomSection(section) = payload else {
            continue;
        };
        let long = match section.as_known() {
            KnownCustom::Name(names) => has_long_symbol(names),
            _ => false,
        };
        let end = section.data_offset().saturating_sub(1);
        if long && let Some(last) = without.to_mut().get_mut(end) {
            *last = b'_';
        }
    }
    without
}

fn has_long_symbol(names: NameSectionReader<'_>) -> bool {
    names.into_iter().flatten().any(|names| match names {
        Name::Function(names) => {
            let mut names = names.into_iter().flatten();
            names.any(|naming| naming.name.len() > SYMBOL_BYTES)
        }
        _ => false,
    })
}

/// Limits this process to this much memory of its own, to this much processor time over all its threads,
/// and to writing no file. It ends with the process that started it.
///
/// # Errors
/// Where the system refuses a limit, or gives no thread.
pub fn confine(memory: u64, time: Duration) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // The system counts whole seconds. Its limit is for a compiler whose own watch is broken.
    let seconds = time.as_secs().saturating_add(2);
    for (resource, most) in [
        (Resource::Data, memory),
        (Resource::Cpu, seconds),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
    ] {
        // Where less is allowed, by whoever started the host, it is less.
        let allowed = getrlimit(resource).maximum;
        let most = allowed.map_or(most, |allowed| allowed.min(most));
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, limit)?;
    }
    let watch = thread::Builder::new().stack_size(WATCH_STACK);
    watch.spawn(move || watch_time(time))?;
    Ok(())
}

/// Ends this process once it has used up its processor time.
fn watch_time(limit: Duration) {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let processors = u32::try_from(processors).unwrap_or(u32::MAX);
    loop {
        let left = limit.saturating_sub(process_time());
        if left.is_zero() {
            std::process::exit(OUT_OF_TIME);
        }
        // Even with all processors it lasts as long.
        thread::sleep((left / processors).max(LOOK));
    }
}

/// The limits, but for those whose guard a test has off.
fn without_guards(mut limits: CompileLimits) -> CompileLimits {
    if !guard::holds(Guard::CompileTime) {
        limits.timeout = Period::from_secs(3_600);
    }
    if !guard::holds(Guard::CompileMemory) {
        limits.memory = ByteSize(1 << 40);
    }
    limits
}

fn run(
    mut command: Command,
    wasm: &[u8],
    memory: ByteSize,
    wall: Duration,
) -> Result<Vec<u8>, CompileError> {
    let broken = |error: io::Error| CompileError::Broken(format!("can't be run: {error}"));
    let mut child = command
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(broken)?;
    let (Some(mut stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(CompileError::Broken("has no pipes".to_owned()));
    };
    thread::scope(|scope| {
        // It may end before it has read everything: its own words tell why.
        scope.spawn(move || stdin.write_all(wasm));
        let says = scope.spawn(move || read(stderr, SAYS));
        let (sender, artifact) = channel();
        scope.spawn(move || sender.send(read(stdout, memory.0)));
        let artifact = artifact.recv_timeout(wall);
        // Once it has said everything it has nothing left to do.
        let looks = if artifact.is_ok() { ENDING } else { 0 };
        let status = end(&mut child, looks).map_err(broken)?;
        let artifact = match artifact {
            Ok(artifact) => artifact.map_err(broken)?,
            Err(RecvTimeoutError::Timeout) => return Err(CompileError::Stalled(wall)),
            Err(RecvTimeoutError::Disconnected) => Vec::new(),
        };
        let says = says.join().ok().and_then(Result::ok).unwrap_or_default();
        match status.success() {
            true => Ok(artifact),
            false => Err(explain(status, &String::from_utf8_lossy(&says))),
        }
    })
}

fn read(from: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Looks so many times whether a process has ended, and kills it then.
fn end(child: &mut Child, looks: u32) -> io::Result<ExitStatus> {
    for _ in 0..looks {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        thread::sleep(LOOK);
    }
    child.kill()?;
    child.wait()
}

fn explain(status: ExitStatus, says: &str) -> CompileError {
    let says = says.trim();
    if status.code() == Some(REFUSED) {
        return CompileError::Refused(says.strip_prefix("error: ").unwrap_or(says).to_owned());
    }
    // What Rust's allocator says, and the system of memory and of threads.
    let out_of_memory = ["memory allocation of", "os error 12", "os error 11"];
    if out_of_memory.iter().any(|words| says.contains(words)) {
        return CompileError::Memory;
    }
    match (status.code(), status.signal()) {
        (Some(OUT_OF_TIME), _) => CompileError::Time,
        (_, Some(signal)) => CompileError::Broken(format!("was ended by signal {signal}: {says}")),
        (code, None) => {
            let code = code.unwrap_or_default();
            CompileError::Broken(format!("ended with status {code}: {says}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_symbols_are_left_out() {
        let text = |name: &str| {
            let module = format!("(core module $m (func ${name} unreachable) (func $other))");
            wat::parse_str(format!("(component {module} (core module (func $kept)))")).unwrap()
        };
        let plain = text("plain");
        assert!(matches!(without_long_symbols(&plain), Cow::Borrowed(_)));
        let long = text(&"N".repeat(SYMBOL_BYTES + 1));
        let without = without_long_symbols(&long);
        let sections = |wasm: &[u8]| -> Vec<String> {
            let payloads = Parser::new(0).parse_all(wasm).map(Result::unwrap);
            let custom = payloads.filter_map(|payload| match payload {
                Payload::CustomSection(section) => Some(section.name().to_owned()),
                _ => None,
            });
            custom.filter(|name| name.starts_with("nam")).collect()
        };
        assert_eq!(sections(&long), ["name", "name"]);
        assert_eq!(sections(&without), ["nam_", "name"]);
        assert_eq!(without.len(), long.len());
        assert!(matches!(without_long_symbols(b"\0asm"), Cow::Borrowed(_)));
    }

    /// Longer than any of these scripts takes, on any machine.
    const WALL: Duration = Duration::from_secs(600);

    fn shell(script: &str, wall: Duration) -> Result<Vec<u8>, CompileError> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        run(command, &[7; 300_000], ByteSize(1 << 20), wall)
    }

    #[test]
    fn what_a_compiler_prints_is_the_artifact() {
        assert_eq!(shell("printf code", WALL).unwrap(), b"code");
        assert_eq!(shell("wc -c", WALL).unwrap().trim_ascii(), b"300000");
    }

    #[test]
    fn each_end_of_a_compiler_is_told_apart() {
        let says_error = |script| shell(script, WALL).unwrap_err();
        let says = |script| says_error(script).to_string();
        assert_eq!(
            says("echo 'error: no os error 12' >&2; exit 1"),
            "no os error 12"
        );
        assert_eq!(
            says("echo 'memory allocation of 9 bytes failed' >&2; kill -6 $$"),
            CompileError::Memory.to_string()
        );
        assert!(says("kill -11 $$").contains("signal 11"));
        assert!(says("exit 3").contains("status 3"));
        // It has said everything, and stays.
        assert!(says("exec sleep 60 >&- 2>&-").contains("signal 9"));
        assert!(matches!(says_error("exit 124"), CompileError::Time));
        let error = shell("exec sleep 60", Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, CompileError::Stalled(_)), "{error}");
    }
}
