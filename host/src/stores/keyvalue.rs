//! Keyvalue buckets without values, for an invocation that has no store.

use async_trait::async_trait;

use crate::ports::{KeyValue, QueueError, Value};

/// Has no value for any key.
#[derive(Clone, Copy, Debug)]
pub struct EmptyKeyValue;

#[async_trait]
impl KeyValue for EmptyKeyValue {
    async fn get(&self, _bucket: &str, keys: &[String]) -> Result<Vec<Option<Value>>, QueueError> {
        Ok(keys.iter().map(|_| None).collect())
    }

    async fn keys(
        &self,
        _bucket: &str,
        _after: Option<&str>,
        _limit: usize,
    ) -> Result<Vec<String>, QueueError> {
        Ok(Vec::new())
    }
}
