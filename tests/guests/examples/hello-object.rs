//! The least there is to a function that objects wake: it logs the key.

use kinglet_sdk::ObjectCreated;

#[kinglet_sdk::object_created]
fn hello_object(event: ObjectCreated) {
    kinglet_sdk::info!("hello {}", event.key());
}
