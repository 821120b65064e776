//! The contract's imports, implemented over the ports: one file for each interface.
//!
//! Everything that a function changes goes into its transaction, and nothing else does: what is
//! staged here becomes visible when delivery commits it.

mod batch_scope;
mod config;
mod config_other;
mod denials;
mod host_calls;
mod keyvalue;
mod keyvalue_draft;
mod logging;
mod objects;
mod outgoing;
mod side_by_side;
mod spin_key_value;
mod spin_two;
mod spin_variables;
mod staging;
mod topics;
mod trouble;
mod wire;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use wasmtime::component::{HasData, Linker, ResourceTable};

pub use denials::DenialLog;
pub use host_calls::{HostCalls, HostCallsExceeded};
pub use logging::{GuestLog, LogScope};
pub use outgoing::{Fetcher, Outgoing, Requests, RequestsExceeded, Sent};
pub use side_by_side::SideBySide;
pub use staging::{Staged, Staging, StagingLimits};
pub use trouble::Trouble;
pub use wire::{failure_from, message_event, object_event};

use crate::bindings;
use crate::config::Grants;
use crate::guard::{self, Guard};
use crate::ports::{Bucket, KeyValue};

/// All the buckets of an application, by name.
pub type Buckets = Arc<HashMap<String, Arc<dyn Bucket>>>;

/// What a function may reach, the same for all its events.
pub struct Reach {
    /// All buckets; the grants say which of them.
    pub buckets: Buckets,
    /// The values of all keyvalue buckets.
    pub keyvalue: Arc<dyn KeyValue>,
    /// What the manifest grants.
    pub grants: Arc<Grants>,
    /// What `wasi:config` tells.
    pub config: Arc<BTreeMap<String, String>>,
    /// What it finds in its environment.
    pub environment: Arc<BTreeMap<String, String>>,
    /// Its requests to elsewhere; none where no destination is granted.
    pub outgoing: Option<Arc<Outgoing>>,
}

/// What the capabilities of one instance work on.
pub struct Context {
    /// What the function may reach.
    pub reach: Arc<Reach>,
    /// What it staged so far.
    pub staging: Staging,
    /// Where it logs to.
    pub log: GuestLog,
    /// What of the host failed it.
    pub trouble: Trouble,
    /// The function's memory limit, in bytes: nothing larger is read for it.
    pub room: u64,
    /// Bytes that handles hold for the guest.
    pub held: u64,
    /// What moved between guest and host.
    pub calls: Arc<HostCalls>,
    /// What its tasks that read side by side have together.
    pub side_by_side: Arc<SideBySide>,
}

impl Context {
    /// Whether the guest's memory has room for so many bytes at once.
    fn fits(&self, bytes: u64) -> bool {
        bytes <= self.room || !guard::holds(Guard::Reads)
    }
}

/// The context and the table of an instance, as host functions see them.
pub struct View<'a> {
    /// The context.
    pub context: &'a mut Context,
    /// The handles that the guest holds.
    pub table: &'a mut ResourceTable,
}

/// What a store's data must give for the capabilities to be linked.
pub trait CapabilitiesView: Send {
    /// The context and the table.
    fn capabilities(&mut self) -> View<'_>;
}

struct HasCapabilities;

impl HasData for HasCapabilities {
    type Data<'a> = View<'a>;
}

/// Links every capability of the contract.
///
/// # Errors
/// Where a name is linked already.
pub fn add_to_linker<T: CapabilitiesView + 'static>(
    linker: &mut Linker<T>,
) -> wasmtime::Result<()> {
    bindings::types::add_to_linker::<T, HasCapabilities>(linker, T::capabilities)?;
    bindings::objects::add_to_linker::<T, HasCapabilities>(linker, T::capabilities)?;
    bindings::topics::add_to_linker::<T, HasCapabilities>(linker, T::capabilities)?;
    bindings::batch_scope::add_to_linker::<T, HasCapabilities>(linker, T::capabilities)?;
    bindings::config::add_to_linker::<T, HasCapabilities>(linker, T::capabilities)?;
    bindings::logging::add_to_linker::<T, HasCapabilities>(linker, T::capabilities)?;
    bindings::keyvalue::store::add_to_linker::<T, HasCapabilities>(linker, T::capabilities)?;
    bindings::keyvalue::atomics::add_to_linker::<T, HasCapabilities>(linker, T::capabilities)?;
    bindings::keyvalue::batch::add_to_linker::<T, HasCapabilities>(linker, T::capabilities)?;
    bindings::keyvalue_draft::store::add_to_linker::<T, HasCapabilities>(linker, T::capabilities)?;
    bindings::keyvalue_draft::atomics::add_to_linker::<T, HasCapabilities>(
        linker,
        T::capabilities,
    )?;
    bindings::keyvalue_draft::batch::add_to_linker::<T, HasCapabilities>(linker, T::capabilities)?;
    bindings::config_spin::store::add_to_linker::<T, HasCapabilities>(linker, T::capabilities)?;
    bindings::config_draft::store::add_to_linker::<T, HasCapabilities>(linker, T::capabilities)?;
    bindings::config_draft::runtime::add_to_linker::<T, HasCapabilities>(linker, T::capabilities)?;
    bindings::spin_two::key_value::add_to_linker::<T, HasCapabilities>(linker, T::capabilities)?;
    bindings::spin_two::variables::add_to_linker::<T, HasCapabilities>(linker, T::capabilities)?;
    Ok(())
}

/// Links what only an engine for concurrent tasks can have: interfaces of asynchronous functions.
///
/// # Errors
/// Where a name is linked already.
pub fn add_concurrent_to_linker<T: CapabilitiesView + 'static>(
    linker: &mut Linker<T>,
) -> wasmtime::Result<()> {
    use bindings::spin::{key_value::key_value, variables::variables};
    key_value::add_to_linker::<T, HasCapabilities>(linker, T::capabilities)?;
    variables::add_to_linker::<T, HasCapabilities>(linker, T::capabilities)?;
    Ok(())
}
