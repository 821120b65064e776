//! `kinglet:events/topics`: messages are staged, and accepted with the event's acknowledgement.

use std::sync::Arc;

use wasmtime::component::Resource;

use super::View;
use super::denials::cut;
use super::staging::keeping;
use crate::bindings::OpenTopic;
use crate::bindings::topics as wit;
use crate::bindings::types::Error;
use crate::config::GrantKind;
use crate::guard::{self, Guard};
use crate::ports::{Draft, TooLong, check_attributes, check_name};

/// A message's own share of the host's memory, in bytes.
const KEEPING: usize = 256;
/// And an attribute's: two texts, however short.
const KEEPING_ATTRIBUTE: usize = 64;

type Answer<T> = wasmtime::Result<Result<T, Error>>;

impl wit::Host for View<'_> {}

impl wit::HostTopic for View<'_> {
    async fn open(&mut self, name: String) -> Answer<Resource<OpenTopic>> {
        self.carry(name.len()).await?;
        let granted = self.context.reach.grants.publish.contains(&name);
        if !granted && guard::holds(Guard::Grants) {
            let what = format!("publishing to topic {:?}", cut(&name));
            let denied = self
                .context
                .denials()
                .note(&what, GrantKind::Publish, &name);
            return Ok(Err(Error::Denied(denied)));
        }
        let name = Arc::from(name);
        Ok(Ok(self.table.push(OpenTopic { name })?))
    }

    async fn publish(
        &mut self,
        topic: Resource<OpenTopic>,
        messages: Vec<wit::Draft>,
    ) -> Answer<()> {
        let bytes = messages.iter().map(bytes_of).sum();
        self.carry(bytes).await?;
        let topic = Arc::clone(&self.table.get(&topic)?.name);
        if let Err(long) = messages.iter().try_for_each(check_names) {
            return Ok(Err(Error::Invalid(long.to_string())));
        }
        if let Err(full) = self.context.staging.admit_messages(messages.len()) {
            return Ok(Err(self.context.trouble.staging(full)));
        }
        if let Err(full) = self.context.staging.charge_memory(bytes) {
            return Ok(Err(self.context.trouble.staging(full)));
        }
        let drafts = messages
            .into_iter()
            .map(|message| Draft {
                topic: topic.to_string(),
                body: message.body,
                content_type: message.content_type,
                ordering_key: message.ordering_key,
                attributes: message.attributes,
                delay_ms: message.delay_ms,
            })
            .collect();
        self.context.staging.publish(drafts);
        Ok(Ok(()))
    }

    async fn drop(&mut self, topic: Resource<OpenTopic>) -> wasmtime::Result<()> {
        self.table.delete(topic)?;
        Ok(())
    }
}

/// Checks the lengths of what a message names.
fn check_names(message: &wit::Draft) -> Result<(), TooLong> {
    let named = [
        ("content-type", &message.content_type),
        ("ordering-key", &message.ordering_key),
    ];
    for (name, value) in named {
        check_name(name, value.as_deref().unwrap_or_default())?;
    }
    let attributes = message.attributes.iter();
    check_attributes(attributes.map(|(name, value)| (name, value)))
}

/// What a message takes while it is staged: every part of it, and the keeping.
fn bytes_of(message: &wit::Draft) -> usize {
    let attributes = message.attributes.iter();
    let attributes: usize = attributes
        .map(|(name, value)| name.len() + value.len() + keeping(KEEPING_ATTRIBUTE))
        .sum();
    let texts = [&message.content_type, &message.ordering_key];
    let texts: usize = texts.into_iter().flatten().map(String::len).sum();
    message.body.len() + attributes + texts + keeping(KEEPING)
}
