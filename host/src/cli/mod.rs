//! The command line: one file for each command. Results go to standard output, all else to standard
//! error. The environment is read here and nowhere else.

/// Prints a line to standard error. Where that can't be written, as on a full disk or to a reader that is
/// gone, the line is lost: the command's own work counts more.
macro_rules! say {
    ($($argument:tt)*) => {
        $crate::cli::output::print_aside(format_args!($($argument)*))
    };
}

mod backup;
mod build;
mod check;
mod compile;
mod dlq;
mod events;
mod invoke;
mod logs;
mod new;
mod output;
mod pause;
mod publish;
mod run;
mod status;
mod target;
mod up;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

#[doc(hidden)]
pub use invoke::EventFile;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::app::{App, AppError, state_dir};
use crate::clock::Clock;
use crate::config::{Function, Manifest, Variables};
use crate::control::{Client, Request, Response, answer};
use crate::engine::{Cache, Compiler};
use crate::files::{self, FileError};
use crate::ports::QueueError;
use crate::scheduling::use_short_slices;
use crate::stores::queue::{self, HostTurn};

/// The largest component that a command reads by itself, in bytes.
const MAX_COMPONENT_BYTES: u64 = 1 << 30;

/// Runs small WebAssembly functions on events: one fresh instance each, hard limits, nothing lost.
#[derive(Debug, Parser)]
#[command(
    name = "kinglet",
    version,
    max_term_width = 100,
    propagate_version = true
)]
#[command(
    after_help = "Start with `kinglet new hello --on object-created`. KINGLET_LOG=debug shows what the host does itself."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(new::New),
    Build(build::Build),
    Up(up::Up),
    Invoke(invoke::Invoke),
    Run(run::Run),
    Publish(publish::Publish),
    Logs(logs::Logs),
    Status(status::Status),
    Events(events::Events),
    Dlq(dlq::Dlq),
    Pause(pause::Pause),
    Resume(pause::Resume),
    Backup(backup::Backup),
    Restore(backup::Restore),
    Check(check::Check),
    Compile(compile::Compile),
}

const MANIFEST: &str = "kinglet.toml";
const SPIN_MANIFEST: &str = "spin.toml";
const NO_FUNCTIONS: &str = "the manifest has no functions; add a `[[function]]`";

/// How long a command waits for a store that is in use: by another command, or a host between two of its states.
const HELD: Duration = Duration::from_secs(60);
const HELD_PAUSE: Duration = Duration::from_millis(50);
/// The time that the process gives its threads at its end.
const LEFT_BEHIND: Duration = Duration::from_secs(2);

/// The time that a host waits for a store that is in use, as by a command or by a host that is stopping.
const HOST_WAIT: Duration = Duration::from_secs(10);
const HOST_PAUSE: Duration = Duration::from_millis(10);

/// How a command ended that ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// As wished: exit status 0.
    Good,
    /// With a negative result: exit status 1.
    Bad,
}

/// Reads the command line, and runs its command.
pub fn main() -> ExitCode {
    let error = match Cli::try_parse() {
        Ok(cli) => return cli.run(),
        Err(error) => error,
    };
    let code = u8::try_from(error.exit_code()).unwrap_or(2);
    if error.use_stderr() {
        // Where nobody can read it, the exit status says it.
        let _ = error.print();
        return ExitCode::from(code);
    }
    // Help, or the version: results, as any.
    let text = error.render();
    let printed = match std::io::stdout().is_terminal() {
        true => output::write_output(text.ansi().to_string().as_bytes()),
        false => output::write_output(text.to_string().as_bytes()),
    };
    ended(printed.map(|()| Verdict::Good))
}

/// Reports an error, and gives the exit status.
fn ended(result: anyhow::Result<Verdict>) -> ExitCode {
    match result {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::from(1),
        Err(error) if output::is_unwanted(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

impl Cli {
    /// Runs the command. The exit status is 0, 1 for a negative result, 2 for an error; a closed pipe is
    /// no error.
    pub fn run(self) -> ExitCode {
        give_memory_back();
        init_diagnostics();
        #[cfg(debug_assertions)]
        if let Err(error) = switch_off_guard() {
            say!("error: {error:#}");
            return ExitCode::from(2);
        }
        let result = match self.command {
            Command::New(command) => command.execute(),
            Command::Build(command) => on_runtime(command.execute()),
            Command::Up(command) => serve(command.execute()),
            Command::Invoke(command) => on_runtime(command.execute()),
            Command::Run(command) => serve(command.execute()),
            Command::Publish(command) => on_runtime(command.execute()),
            Command::Logs(command) => on_runtime(command.execute()),
            Command::Status(command) => on_runtime(command.execute()),
            Command::Events(command) => on_runtime(command.execute()),
            Command::Dlq(command) => on_runtime(command.execute()),
            Command::Pause(command) => on_runtime(command.execute()),
            Command::Resume(command) => on_runtime(command.execute()),
            Command::Backup(command) => on_runtime(command.execute()),
            Command::Restore(command) => on_runtime(command.execute()),
            Command::Check(command) => command.execute(),
            Command::Compile(command) => command.execute(),
        };
        ended(result)
    }
}

/// Which application a command is about.
#[derive(Clone, Debug, Args)]
struct AppArgs {
    /// The application's manifest, or the folder that has it; may be a `spin.toml` of Spin [default: `kinglet.toml`
    /// here or in the nearest folder above].
    #[arg(
        short,
        long,
        visible_alias = "from",
        value_name = "FILE",
        env = "KINGLET_MANIFEST"
    )]
    manifest: Option<PathBuf>,
}

/// Values for the variables of a `spin.toml`.
#[derive(Clone, Debug, Args)]
struct VariableArgs {
    /// A value for a variable of a `spin.toml`; may be given several times. Without, the environment's
    /// SPIN_VARIABLE_NAME is taken, and then the default.
    #[arg(long, value_name = "NAME=VALUE", value_parser = publish::parse_attribute)]
    variable: Vec<(String, String)>,
}

impl VariableArgs {
    fn variables(&self) -> anyhow::Result<Variables> {
        let mut environment = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else {
                continue;
            };
            if name.starts_with(Variables::ENVIRONMENT) {
                let Ok(value) = value.into_string() else {
                    anyhow::bail!("{name} isn't text, as functions read it; set it to text");
                };
                environment.push((name, value));
            }
        }
        Ok(Variables::new(self.variable.iter().cloned(), environment))
    }
}

/// Where compiled components are kept.
#[derive(Clone, Debug, Args)]
struct CacheArgs {
    /// Where compiled components are kept [default: `kinglet/components` in the user's cache folder].
    #[arg(long, value_name = "DIR", env = "KINGLET_CACHE_DIR")]
    cache_dir: Option<PathBuf>,
    /// The key by which this machine's hosts know what they compiled; made where there is none [default:
    /// `kinglet/cache-key` in the user's folder for state].
    #[arg(long, value_name = "FILE", env = "KINGLET_CACHE_KEY")]
    cache_key: Option<PathBuf>,
}

impl AppArgs {
    /// For who runs no function.
    fn load(&self) -> anyhow::Result<Arc<Manifest>> {
        self.load_with(&Variables::unneeded())
    }

    fn load_with(&self, variables: &Variables) -> anyhow::Result<Arc<Manifest>> {
        let path = match &self.manifest {
            Some(dir) if dir.is_dir() => manifest_in(dir),
            Some(file) => file.clone(),
            None => nearest_manifest(),
        };
        Ok(Arc::new(Manifest::load_with(&path, variables)?))
    }
}

/// The manifest of a folder: Spin's where there is no other.
fn manifest_in(dir: &Path) -> PathBuf {
    let ours = dir.join(MANIFEST);
    let spin = dir.join(SPIN_MANIFEST);
    if !ours.exists() && spin.exists() {
        return spin;
    }
    ours
}

/// The manifest of this folder or of the nearest one above; this folder's where there is none.
fn nearest_manifest() -> PathBuf {
    let here = PathBuf::from(MANIFEST);
    if here.exists() {
        return here;
    }
    let above = std::env::current_dir().ok().and_then(|dir| {
        let mut candidates = dir.ancestors().skip(1).map(|dir| dir.join(MANIFEST));
        candidates.find(|path| path.exists())
    });
    above.unwrap_or(here)
}

impl CacheArgs {
    fn cache(&self) -> Cache {
        let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let user = |named: &str, below: &str| {
            let home = || from("HOME").map(|home| Path::new(&home).join(below));
            let folder = from(named).map(PathBuf::from).or_else(home)?;
            Some(folder.join("kinglet"))
        };
        // Not the folder for temporary files: others could put native code there.
        let here = || PathBuf::from(".kinglet");
        let dir = self.cache_dir.clone().unwrap_or_else(|| {
            let user = user("XDG_CACHE_HOME", ".cache");
            user.unwrap_or_else(here).join("components")
        });
        // Not with what it seals: who brings a cache here mustn't bring its key.
        let key = self.cache_key.clone().unwrap_or_else(|| {
            let user = user("XDG_STATE_HOME", ".local/state");
            user.unwrap_or_else(here).join("cache-key")
        });
        Cache::new(dir, key, compiler())
    }
}

/// Components are compiled by this very program, whatever has been put in its file's place since.
fn compiler() -> Compiler {
    const RUNNING: &str = "/proc/self/exe";
    let running = PathBuf::from(RUNNING);
    let found = (!running.exists()).then(std::env::current_exe);
    // Where neither is there, nothing is compiled: the error names this one.
    Compiler::Apart(found.and_then(Result::ok).unwrap_or(running))
}

/// Who has the application's store.
enum Holder {
    /// A running host.
    Host(Client),
    /// This process, now.
    Here(Box<App>),
}

/// Reaches the running host, or opens the store where none runs. A store that is held without a host that
/// answers is so for a moment: its host is starting or stopping, or another command has it.
async fn reach(manifest: &Arc<Manifest>, clock: &Clock) -> anyhow::Result<Holder> {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(host) = Client::connect(&state_dir(manifest)).await? {
            return Ok(Holder::Host(host));
        }
        match App::open_for(&command_name(), None, Arc::clone(manifest), clock.clone()).await {
            Ok(app) => return Ok(Holder::Here(Box::new(app))),
            Err(AppError::Queue(QueueError::InUse { process, .. })) if waited < HELD => {
                if waited.is_zero() {
                    say!("the store is in use by {process}; waiting for it");
                }
                waited += HELD_PAUSE;
                tokio::time::sleep(HELD_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Refuses root certificates that would be waited for at the first request that needs them.
fn check_roots(manifest: &Manifest) -> anyhow::Result<()> {
    let mut functions = manifest.functions.iter();
    if functions.all(|function| function.grants.http.is_empty()) {
        return Ok(());
    }
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let mut paths: Vec<PathBuf> = named("SSL_CERT_FILE")
        .map(PathBuf::from)
        .into_iter()
        .collect();
    if let Some(folders) = named("SSL_CERT_DIR") {
        for folder in std::env::split_paths(&folders) {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            paths.extend(
                entries
                    .map(|entry| entry.path())
                    .filter(|path| !path.is_dir()),
            );
        }
    }
    for path in paths {
        match files::read(&path, files::TEXT) {
            // What is missing or may not be read, its reader says.
            Ok(_) | Err(FileError::Io { .. }) => {}
            Err(error) => return Err(error).context("root certificates"),
        }
    }
    Ok(())
}

/// The name of this command, for others that wait for what it has.
fn command_name() -> String {
    const LONGEST: usize = 32;
    let command = std::env::args_os().nth(1).unwrap_or_default();
    let command: String = command.to_string_lossy().chars().take(LONGEST).collect();
    format!("kinglet {command}")
}

/// Takes a host's turn at the application, and opens its store, for which it waits some seconds. Commands
/// that come meanwhile wait for the host.
async fn open_as_host(
    manifest: &Arc<Manifest>,
    clock: &Clock,
    mut turn: Option<Arc<HostTurn>>,
) -> Result<(App, Arc<HostTurn>), AppError> {
    let dir = state_dir(manifest);
    let command = command_name();
    let waiting = clock.stopwatch();
    let mut said = false;
    loop {
        let taken = match &turn {
            Some(turn) => Ok(Arc::clone(turn)),
            None => HostTurn::take(&dir, &command).map(Arc::new),
        };
        let opened = match taken {
            Ok(taken) => {
                let taken = turn.insert(taken);
                let manifest = Arc::clone(manifest);
                App::open_for(&command, Some(taken), manifest, clock.clone()).await
            }
            Err(error) => Err(error.into()),
        };
        let process = match (opened, &turn) {
            (Ok(app), Some(turn)) => return Ok((app, Arc::clone(turn))),
            (Err(AppError::Queue(QueueError::InUse { process, .. })), _)
                if waiting.elapsed() < HOST_WAIT =>
            {
                process
            }
            (Err(error), _) => return Err(error),
            (Ok(_), None) => continue,
        };
        // A command that is about to end needs no word.
        if !said && waiting.elapsed() > HELD_PAUSE {
            said = true;
            say!("the store is in use by {process}; waiting up to {HOST_WAIT:?} for it");
        }
        tokio::time::sleep(HOST_PAUSE).await;
    }
}

/// Puts a backup in the place of a store that no host has. Another command may have it for a moment, which is
/// waited for.
async fn restore_store(
    from: &Path,
    manifest: &Manifest,
    patience: Duration,
    turn: Option<&HostTurn>,
) -> Result<Option<PathBuf>, QueueError> {
    let command = command_name();
    let mut waited = Duration::ZERO;
    loop {
        let dir = state_dir(manifest);
        let restored =
            tokio::task::block_in_place(|| queue::restore_for(&command, turn, from, &dir));
        match restored {
            Err(QueueError::InUse { .. }) if waited < patience => {
                waited += HELD_PAUSE;
                tokio::time::sleep(HELD_PAUSE).await;
            }
            restored => return restored,
        }
    }
}

/// Asks whoever has the application's store. A request that is refused is an error.
async fn ask(manifest: &Arc<Manifest>, request: Request) -> anyhow::Result<Response> {
    let response = match reach(manifest, &Clock::system()).await? {
        Holder::Host(mut host) => host.ask(&request).await?,
        Holder::Here(app) => answer(app.events(), request).await,
    };
    match response {
        Response::Failed(reason) => anyhow::bail!(reason),
        response => Ok(response),
    }
}

/// For an answer that doesn't fit what was asked.
fn unexpected(response: &Response) -> anyhow::Error {
    anyhow::anyhow!(
        "the running host gave another answer: {response:?}; is it of another version of Kinglet?"
    )
}

/// The function of this name.
fn find_function<'a>(manifest: &'a Manifest, name: &str) -> anyhow::Result<&'a Function> {
    manifest.function(name).with_context(|| {
        let names = manifest.functions.iter().map(|f| f.name.as_str());
        format!(
            "there is no function {name:?}; the manifest has {}",
            listed(names)
        )
    })
}

/// Names for an error, also where there are none.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// Runs a command whose threads answer at once while guests compute.
fn serve(command: impl Future<Output = anyhow::Result<Verdict>>) -> anyhow::Result<Verdict> {
    use_short_slices();
    on_runtime(command)
}

fn on_runtime(command: impl Future<Output = anyhow::Result<Verdict>>) -> anyhow::Result<Verdict> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("can't start the runtime")?;
    let result = runtime.block_on(command);
    // What is left looks at files or writes to a pipe, which may take for ever; nothing depends on it.
    runtime.shutdown_timeout(LEFT_BEHIND);
    result
}

fn init_diagnostics() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("KINGLET_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Where standard error can't be written, telling so there would panic.
        .log_internal_errors(false)
        .init();
}

/// From this size on, in bytes, what is freed is the system's again at once.
#[cfg(target_env = "gnu")]
const GIVEN_BACK: std::ffi::c_int = 1 << 20;

/// Glibc takes a large piece that is freed as a sign to keep pieces of that size from then on, up to 32 MiB: a few
/// guests with large arguments would have the host hold as much in each arena for good.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "a setting of the C library")]
fn give_memory_back() {
    // SAFETY: it sets two numbers of the allocator's, and there is no other thread yet. The second is to the first as
    // glibc itself has it.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, GIVEN_BACK);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * GIVEN_BACK);
    }
}

#[cfg(not(target_env = "gnu"))]
fn give_memory_back() {}

/// Tests see by this that they fail where the guard is off that they are about.
#[cfg(debug_assertions)]
fn switch_off_guard() -> anyhow::Result<()> {
    const WITHOUT: &str = "KINGLET_TEST_WITHOUT";
    let Some(name) = std::env::var_os(WITHOUT) else {
        return Ok(());
    };
    let guard = name.to_string_lossy().parse();
    crate::guard::switch_off(guard.map_err(anyhow::Error::msg).context(WITHOUT)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// The commands that have none below them.
    fn leaves(command: &clap::Command) -> Vec<&clap::Command> {
        let below: Vec<_> = command.get_subcommands().flat_map(leaves).collect();
        if below.is_empty() {
            vec![command]
        } else {
            below
        }
    }

    /// Every command has help and an example, and every argument has help.
    #[test]
    fn the_command_tree_is_whole() {
        let command = Cli::command();
        command.clone().debug_assert();
        for subcommand in leaves(&command) {
            let name = subcommand.get_name();
            assert!(subcommand.get_about().is_some(), "{name} has no help");
            let example = subcommand
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                example.contains("kinglet ") && example.contains(name),
                "{name} has no example"
            );
            for argument in subcommand.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{name} {} has no help",
                    argument.get_id()
                );
            }
        }
    }

    #[test]
    fn the_reference_has_every_option() {
        const PAGE: &str = include_str!("../../../docs/src/reference/cli.md");
        let command = Cli::command();
        let shown = leaves(&command)
            .into_iter()
            .filter(|command| !command.is_hide_set());
        for subcommand in shown {
            let name = subcommand.get_name();
            assert!(PAGE.contains(name), "the reference has no {name}");
            for long in subcommand.get_arguments().filter_map(clap::Arg::get_long) {
                let has = PAGE.contains(&format!("`--{long}"));
                assert!(has, "the reference has no `--{long}` of {name}");
            }
        }
    }
}
