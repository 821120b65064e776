//! Asks what hosts of `wasi:http` 0.2 had before the contract: key-value and variables of Spin 2, and `wasi:config` in
//! the versions of Spin and wasmCloud. What comes of it is logged; the message is the name of a variable.

use kinglet_sdk::{Failure, Message};

mod bindings {
    #![allow(missing_docs, reason = "generated from the WIT, where the docs are")]

    wit_bindgen::generate!({
        path: "../../wit/other-hosts",
        inline: "
            package kinglet:test-guests;
            world spin-two {
                import fermyon:spin/key-value@2.0.0;
                import fermyon:spin/variables@2.0.0;
                import wasi:config/store@0.2.0-draft-2024-09-27;
                import wasi:config/store@0.2.0-draft;
                import wasi:config/runtime@0.2.0-draft;
            }
        ",
        world: "kinglet:test-guests/spin-two",
        generate_all,
    });
}

use bindings::fermyon::spin::key_value::Store;
use bindings::fermyon::spin::variables;
use bindings::wasi::{config0_2_0_draft as draft, config0_2_0_draft_2024_09_27 as dated};

#[kinglet_sdk::message]
fn spin_two(event: Message) -> Result<(), Failure> {
    let name = event.text()?;
    kinglet_sdk::info!("variable: {:?}", variables::get(name));
    kinglet_sdk::info!("dated: {:?}", dated::store::get(name));
    kinglet_sdk::info!("draft: {:?}", draft::store::get_all());
    kinglet_sdk::info!("runtime: {:?}", draft::runtime::get(name));
    kinglet_sdk::info!("denied: {:?}", Store::open("other").err());
    let store = Store::open("default").map_err(|error| error.to_string())?;
    kinglet_sdk::info!("before: {:?}", store.get_keys());
    let set = store.set("a", b"1").and_then(|()| store.set("b", b"2"));
    let deleted = set.and_then(|()| store.delete("b"));
    kinglet_sdk::info!("written: {deleted:?}");
    kinglet_sdk::info!(
        "read: {:?} {:?} {:?}",
        store.get("a"),
        store.exists("b"),
        store.get_keys()
    );
    kinglet_sdk::info!("bad: {:?}", store.get(""));
    Ok(())
}
