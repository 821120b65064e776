//! Failures of the host that a guest meets: it is told, and may go on. Where it fails with them, the failure
//! isn't its own.

use std::sync::OnceLock;

use super::staging::StagingFull;
use crate::bindings::keyvalue::store::Error as KeyError;
use crate::bindings::types::Error;
use crate::ports::{ObjectError, QueueError};

/// The first such failure in one call.
#[derive(Debug, Default)]
pub struct Trouble(OnceLock<String>);

impl Trouble {
    /// What failed.
    pub fn into_reason(self) -> Option<String> {
        self.0.into_inner()
    }

    /// Whether something failed.
    pub fn is_met(&self) -> bool {
        self.0.get().is_some()
    }

    fn note(&self, reason: String) {
        self.0.get_or_init(|| reason);
    }

    /// A bucket's error as a guest may see it: the medium's own words are for the operator.
    pub(super) fn object(&self, error: ObjectError) -> Error {
        self.note_unavailable(&error);
        match error {
            ObjectError::NotFound { .. } => Error::NotFound,
            ObjectError::Changed { .. } => Error::Changed,
            ObjectError::Invalid(reason) => Error::Invalid(reason),
            ObjectError::Unreadable { key, .. } => Error::Denied(format!(
                "the host may not read {key:?}; make its file readable"
            )),
            ObjectError::Unavailable { bucket, .. } => {
                Error::Unavailable(format!("bucket {bucket:?} is unavailable; try again later"))
            }
        }
    }

    fn note_unavailable(&self, error: &ObjectError) {
        if matches!(error, ObjectError::Unavailable { .. }) {
            self.note(error.to_string());
        }
    }

    pub(super) fn keys(&self, error: &QueueError) -> KeyError {
        self.note(error.to_string());
        KeyError::Other(error.to_string())
    }

    /// That there is no room to stage more.
    pub(super) fn staging(&self, full: StagingFull) -> Error {
        let text = full.to_string();
        match full {
            StagingFull::Event { .. } | StagingFull::Effects { .. } | StagingFull::Never => {
                Error::Limit(text)
            }
            StagingFull::Answered => Error::Invalid(text),
            StagingFull::Host | StagingFull::Memory => {
                self.note(text.clone());
                Error::Unavailable(text)
            }
        }
    }

    /// The same for keys, whose errors are texts.
    pub(super) fn key_staging(&self, full: StagingFull) -> KeyError {
        if matches!(full, StagingFull::Host | StagingFull::Memory) {
            self.note(full.to_string());
        }
        KeyError::Other(full.to_string())
    }
}
