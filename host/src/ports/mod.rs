//! What the rooms agree on, and nothing else: plain data and traits. No room's code lives here.

mod bucket;
mod budget;
mod counted;
mod effects;
mod event;
mod handler;
mod http;
mod journal;
mod key;
mod keyvalue;
mod names;
mod outcome;
mod queue;
mod room;
mod text;
mod transaction;

pub use crate::guard::visible;
pub use bucket::{Bucket, Listing, ObjectDraft, ObjectError, StagedWriter};
pub use budget::{Budget, MemoryUse, Share};
pub use counted::Counted;
pub use effects::{AnswerKey, Committed, Effects, Field, KeptAnswer, RequestEffects, Witness};
pub use event::{Event, Message, ObjectInfo, Payload, SCHEDULE_TOPIC, TOLD};
pub use handler::{Handled, Handler, Spent};
pub use http::{
    Afterwards, BrokenOff, Fetch, FetchError, HttpHandler, IncomingBody, KeepsApart, Place,
    REQUEST_ID, ResponseBody, Secure, plain,
};
pub use journal::{Journal, Level, Record, RecordKind, Stream};
pub use key::validate_key;
pub use keyvalue::{Expected, KeyChange, KeyValue, Value};
pub use names::{TooLong, check_attributes, check_name};
pub use outcome::{Cost, Failure, HostFault, Limit, NAME_BYTES, Outcome, REASON_BYTES, Trap};
pub use queue::{
    Accept, Accepted, AttemptRecord, COUNTED, Commitment, Count, DeadFilter, DeadLetter, Delivery,
    Disposition, Identity, IntendedChange, Intent, Intents, Listed, Queue, QueueError, STEP,
    STEP_BYTES, Settled, Settlement, Sighting, Taken, Totals, WaitState, Waiter,
};
pub use room::{Reserved, StagingRoom};
pub use text::{format_short, is_within, shorten, shorten_in_place, visible_short};
pub use transaction::{Change, Condition, Discard, Draft, StagedKey, StagedObject, Transaction};
