//! What a request stages is committed before its answer's head leaves.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, HeaderName, StatusCode};
use thiserror::Error;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, HostResponseOutparam as _};
use wasmtime_wasi_http::p2::types::{HostOutgoingResponse, HostResponseOutparam};

use super::Told;
use crate::capabilities::Staged;
use crate::engine::Engine;
use crate::engine::load::LoadedFunction;
use crate::engine::state::State;
use crate::ports::{Committed, Cost, Effects, Outcome, RequestEffects, Witness};

/// What becomes of what one request stages.
pub(in crate::engine) struct Committing {
    effects: Arc<dyn Effects>,
    function: Arc<str>,
    when: When,
    decided: Arc<Decided>,
    /// Whether its effects' time has come.
    due: bool,
    /// What waits for the end of its answer.
    waiting: Option<RequestEffects>,
    /// Whether its answer has none.
    none: bool,
    /// The memory that it wanted.
    wanted: u64,
}

/// When effects are committed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum When {
    /// Before the answer's head leaves.
    Head,
    /// Once the answer is whole, which is remembered with them.
    End,
}

/// What came of a request's effects.
#[derive(Default)]
pub(in crate::engine) struct Done {
    /// What was committed at the head.
    pub committed: Option<Committed>,
    /// Whether a commit was begun.
    pub due: bool,
    /// To be committed with the answer.
    pub waiting: Option<RequestEffects>,
    /// Whether its answer has none.
    pub none: bool,
    pub wanted: u64,
}

/// A request's effects weren't committed.
#[derive(Debug, Error)]
#[error("{0}")]
pub(in crate::engine) struct NotCommitted(pub Outcome);

/// What was decided of one attempt's effects. It goes into the journal with the attempt's outcome. Where that is written already, or
/// never will be, as when the client went away, it is told once the last one lets go of it.
pub(in crate::engine) struct Decided {
    engine: Arc<Engine>,
    function: Arc<LoadedFunction>,
    told: Told,
    committed: Mutex<Option<Committed>>,
}

impl Decided {
    pub fn new(engine: Arc<Engine>, function: Arc<LoadedFunction>, told: Told) -> Self {
        Self {
            engine,
            function,
            told,
            committed: Mutex::default(),
        }
    }

    /// What was committed, for whoever tells it.
    pub fn take(&self) -> Option<Committed> {
        self.committed().take()
    }

    fn committed(&self) -> MutexGuard<'_, Option<Committed>> {
        self.committed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Witness for Decided {
    fn committed(&self, committed: Committed) {
        *self.committed() = Some(committed);
    }
}

impl Drop for Decided {
    fn drop(&mut self) {
        let committed = self.take();
        // An answer alone, which is remembered, is none that was had.
        let committed = committed.filter(|committed| *committed != Committed::default());
        if let Some(committed) = committed {
            let text = "done, though nobody waited for the answer any more".to_owned();
            let (told, cost) = (self.told.clone(), Cost::default());
            self.engine.write(
                &self.function,
                told,
                (&Outcome::Done, text),
                cost,
                Some(committed),
            );
        }
    }
}

impl fmt::Debug for Decided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decided").finish_non_exhaustive()
    }
}

/// Effects whose time has come.
pub(super) struct Due {
    effects: Arc<dyn Effects>,
    staged: RequestEffects,
}

impl Committing {
    pub fn new(
        effects: Arc<dyn Effects>,
        decided: Arc<Decided>,
        function: Arc<str>,
        when: When,
    ) -> Self {
        Self {
            effects,
            decided,
            due: false,
            function,
            when,
            waiting: None,
            none: false,
            wanted: 0,
        }
    }

    pub fn finish(self) -> Done {
        Done {
            committed: self.decided.take(),
            due: self.due,
            waiting: self.waiting,
            none: self.none,
            wanted: self.wanted,
        }
    }
}

impl Due {
    pub async fn commit(self) -> wasmtime::Result<()> {
        let committed = self.effects.commit(self.staged).await;
        committed.map_err(|outcome| NotCommitted(outcome).into())
    }
}

/// The guest has said its answer's head: nothing more is staged from now on. Returns what is to be committed before the
/// head leaves: nothing of an answer that has no effects. That is one of a failure, or none that the guest gave, or one that says
/// so, or that calls the request wrong when a store had failed the guest: whoever sends it again must find it as it was.
pub(super) fn at_head(state: &mut State, said: Said) -> Option<Due> {
    let committing = state.committing.as_mut()?;
    let none = match said {
        Said::Nothing => true,
        Said::Wrong => state.context.trouble.is_met(),
        Said::Answer => false,
    };
    let Staged {
        shared, reserved, ..
    } = state.context.staging.seal();
    committing.wanted = reserved.wanted();
    if none {
        committing.none = true;
        return None;
    }
    let staged = RequestEffects {
        function: Arc::clone(&committing.function),
        transaction: shared,
        reserved,
        answer: None,
        witness: Arc::clone(&committing.decided) as Arc<dyn Witness>,
    };
    match committing.when {
        When::Head if staged.transaction.is_empty() => None,
        When::Head => {
            committing.due = true;
            Some(Due {
                effects: Arc::clone(&committing.effects),
                staged,
            })
        }
        When::End => {
            committing.waiting = Some(staged);
            None
        }
    }
}

/// The header by which an answer that is none of a failure says that it has no effects, as `kinglet-effects: none`. It isn't
/// sent on.
pub(super) const EFFECTS: HeaderName = HeaderName::from_static("kinglet-effects");

/// What an answer says by its head of its effects.
#[derive(Clone, Copy)]
pub(super) enum Said {
    /// That it has none.
    Nothing,
    /// That the request is wrong.
    Wrong,
    /// That the request was taken as it is.
    Answer,
}

impl Said {
    pub fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        if status.is_informational() || status.is_server_error() || headers.contains_key(EFFECTS) {
            Self::Nothing
        } else if status.is_client_error() {
            Self::Wrong
        } else {
            Self::Answer
        }
    }
}

type Answer = Result<Resource<HostOutgoingResponse>, ErrorCode>;

/// Puts a function that commits first in the place of wasmtime's `response-outparam.set`. The guest waits for it, so that
/// it learns nothing of an answer whose effects didn't come about.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker
        .instance("wasi:http/types@0.2.12")?
        .func_wrap_async("[static]response-outparam.set", set)
}

fn set<'a>(
    mut store: StoreContextMut<'a, State>,
    (out, answer): (Resource<HostResponseOutparam>, Answer),
) -> Box<dyn Future<Output = wasmtime::Result<()>> + Send + 'a> {
    Box::new(async move {
        let said = match &answer {
            Ok(response) => {
                let http = store.data_mut().http();
                let response = http.table.get(response)?;
                Said::of(response.status, &response.headers)
            }
            Err(_) => Said::Nothing,
        };
        if let Some(due) = at_head(store.data_mut(), said) {
            due.commit().await?;
        }
        store.data_mut().http().set(out, answer)
    })
}
