//! What a request stages is committed before its answer's head leaves.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, StatusCode};
use thiserror::Error;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, HostResponseOutparam as _};
use wasmtime_wasi_http::p2::types::{HostOutgoingResponse, HostResponseOutparam};

use crate::capabilities::Staged;
use crate::engine::state::State;
use crate::ports::{Committed, Effects, Outcome, RequestEffects};

/// What becomes of what one request stages.
pub(in crate::engine) struct Committing {
    effects: Arc<dyn Effects>,
    function: Arc<str>,
    when: When,
    /// What was committed at its head.
    committed: Option<Committed>,
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
    pub committed: Option<Committed>,
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

/// Effects whose time has come.
pub(super) struct Due {
    effects: Arc<dyn Effects>,
    staged: RequestEffects,
}

impl Committing {
    pub fn new(effects: Arc<dyn Effects>, function: Arc<str>, when: When) -> Self {
        Self {
            effects,
            function,
            when,
            committed: None,
            waiting: None,
            none: false,
            wanted: 0,
        }
    }

    pub fn finish(self) -> Done {
        Done {
            committed: self.committed,
            waiting: self.waiting,
            none: self.none,
            wanted: self.wanted,
        }
    }
}

impl Due {
    pub async fn commit(self) -> wasmtime::Result<Committed> {
        let committed = self.effects.commit(self.staged).await;
        committed.map_err(|outcome| NotCommitted(outcome).into())
    }
}

/// The guest has said its answer's head: nothing more is staged from now on. Returns what is to be committed before the
/// head leaves: nothing of an answer that has no effects.
pub(super) fn at_head(state: &mut State, none: bool) -> Option<Due> {
    let committing = state.committing.as_mut()?;
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
    };
    match committing.when {
        When::Head if staged.transaction.is_empty() => None,
        When::Head => Some(Due {
            effects: Arc::clone(&committing.effects),
            staged,
        }),
        When::End => {
            committing.waiting = Some(staged);
            None
        }
    }
}

/// Notes what was committed.
pub(super) fn note(state: &mut State, committed: Committed) {
    if let Some(committing) = &mut state.committing {
        committing.committed = Some(committed);
    }
}

/// The header by which an answer that is none of a failure says that it has no effects, as `kinglet-effects: none`. It isn't
/// sent on.
pub(super) const EFFECTS: HeaderName = HeaderName::from_static("kinglet-effects");

/// Whether an answer of this head has no effects.
pub(super) fn has_none(status: StatusCode, headers: &HeaderMap) -> bool {
    status.is_informational() || status.is_server_error() || headers.contains_key(EFFECTS)
}

type Answer = Result<Resource<HostOutgoingResponse>, ErrorCode>;

/// Puts a function that commits first in the place of wasmtime's `response-outparam.set`. The guest waits for it, so that
/// it learns nothing of an answer whose effects didn't come about.
pub(in crate::engine) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker
        .instance("wasi:http/types@0.2.12")?
        .func_wrap_async("[static]response-outparam.set", set)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn set<'a>(
    mut store: StoreContextMut<'a, State>,
    (out, answer): (Resource<HostResponseOutparam>, Answer),
) -> Box<dyn Future<Output = wasmtime::Result<()>> + Send + 'a> {
    Box::new(async move {
        let none = match &answer {
            Ok(response) => {
                let http = store.data_mut().http();
                let response = http.table.get(response)?;
                has_none(response.status, &response.headers)
            }
            Err(_) => true,
        };
        if let Some(due) = at_head(store.data_mut(), none) {
            let committed = due.commit().await?;
            note(store.data_mut(), committed);
        }
        store.data_mut().http().set(out, answer)
    })
}
