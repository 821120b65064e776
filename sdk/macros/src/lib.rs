//! The attributes of `kinglet-sdk`, which re-exports and documents them.

mod handler;
mod init;

use proc_macro::TokenStream;

use handler::Kind;

/// Makes a function the crate's handler of created objects.
///
/// The function stays as it is. In a component it is exported as `kinglet:events/object-created`;
/// natively nothing is exported.
#[proc_macro_attribute]
pub fn object_created(arguments: TokenStream, item: TokenStream) -> TokenStream {
    handler::expand(Kind::ObjectCreated, arguments.into(), item.into()).into()
}

/// Makes a function the crate's handler of messages, one at a time.
///
/// The function stays as it is. In a component it is exported as `kinglet:events/message`; natively
/// nothing is exported.
#[proc_macro_attribute]
pub fn message(arguments: TokenStream, item: TokenStream) -> TokenStream {
    handler::expand(Kind::Message, arguments.into(), item.into()).into()
}

/// Makes a function the crate's handler of messages that come several at once.
///
/// Where the messages have nothing to do with each other, it takes one of them, and is called for each
/// in turn: `fn(Message) -> Result<(), Failure>`. What it stages belongs to that message alone, and
/// commits or is discarded with it.
///
/// Where they are worked on together, it takes the `Batch` and returns one result per message, in the
/// batch's order, or a failure of them all: `fn(Batch) -> Result<Vec<Result<(), Failure>>, Failure>`.
///
/// The function stays as it is. In a component it is exported as `kinglet:events/message-batch`;
/// natively nothing is exported.
#[proc_macro_attribute]
pub fn message_batch(arguments: TokenStream, item: TokenStream) -> TokenStream {
    handler::expand(Kind::MessageBatch, arguments.into(), item.into()).into()
}

/// Makes a function the crate's handler of requests, and takes their routes.
///
/// The function stays as it is; with routes, it begins with a look at the request's path. In a
/// component it is exported as `wasi:http/incoming-handler`; natively nothing is exported.
#[proc_macro_attribute]
pub fn http(arguments: TokenStream, item: TokenStream) -> TokenStream {
    handler::expand(Kind::Http, arguments.into(), item.into()).into()
}

/// Makes a function the crate's init, which `kinglet build` runs.
///
/// The function stays as it is. In a component it is exported as `kinglet:events/init`; natively nothing
/// is exported.
#[proc_macro_attribute]
pub fn init(arguments: TokenStream, item: TokenStream) -> TokenStream {
    init::expand(arguments.into(), item.into()).into()
}
