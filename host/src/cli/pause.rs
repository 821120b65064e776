//! `kinglet pause` and `kinglet resume`

use clap::Args;

use super::output::print_line;
use super::{AppArgs, Verdict, ask, find_function, unexpected};
use crate::control::{Request, Response};

/// Stop giving a function its events: what runs is finished, what comes waits. It stays paused over
/// restarts.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  kinglet pause thumbnail")]
pub(super) struct Pause {
    #[command(flatten)]
    app: AppArgs,
    /// The function's name.
    function: String,
}

/// Give a paused function its events again.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  kinglet resume thumbnail")]
pub(super) struct Resume {
    #[command(flatten)]
    app: AppArgs,
    /// The function's name.
    function: String,
}

impl Pause {
    pub async fn execute(self) -> anyhow::Result<Verdict> {
        set(&self.app, self.function, true).await
    }
}

impl Resume {
    pub async fn execute(self) -> anyhow::Result<Verdict> {
        set(&self.app, self.function, false).await
    }
}

async fn set(app: &AppArgs, function: String, paused: bool) -> anyhow::Result<Verdict> {
    let manifest = app.load()?;
    find_function(&manifest, &function)?;
    let request = Request::Pause {
        function: function.clone(),
        paused,
    };
    let changed = match ask(&manifest, request).await? {
        Response::Paused(changed) => changed,
        other => return Err(unexpected(&other)),
    };
    print_line(&match (paused, changed) {
        (true, true) => format!("{function} is paused; go on with `kinglet resume {function}`"),
        (true, false) => format!("{function} was paused already"),
        (false, true) => format!("{function} goes on"),
        (false, false) => format!("{function} wasn't paused"),
    })?;
    Ok(Verdict::Good)
}
