//! Databases that can't be used, where nothing may be kept.

use std::sync::Arc;

use async_trait::async_trait;

use crate::ports::{Connection, DatabaseError, Databases};

/// Refuses every connection. What a statement does is done then and there, so that no invocation that is to keep nothing
/// can have it.
#[derive(Clone, Copy, Debug)]
pub struct NoDatabases;

#[async_trait]
impl Databases for NoDatabases {
    async fn connect(&self, _name: &str) -> Result<Arc<dyn Connection>, DatabaseError> {
        Err(DatabaseError::Statement(
            "nothing is kept here, and databases keep what they are told; have `kinglet up` run the function"
                .to_owned(),
        ))
    }
}
