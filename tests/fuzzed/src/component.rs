//! A function's file: bytes that are a component, or aren't.

use std::cell::RefCell;

use crate::app::{App, KINDS, assert_plain};
use crate::{choice, in_time};

/// Bytes load as a function, or are refused in words; what loads can be called, and whatever it does ends as the
/// guest's own doing within its limits, with no effect that wasn't granted. An instance that is made before its event
/// changes nothing of that.
///
/// The first byte chooses what wakes the function.
pub fn component(data: &[u8]) {
    let Some((kind, wasm)) = choice(data, 4) else {
        return;
    };
    let kind = KINDS[usize::from(kind)];
    thread_local! {
        static APP: RefCell<App> = RefCell::new(App::new());
    }
    APP.with_borrow_mut(|app| match in_time(|| app.load(kind, wasm)) {
        Ok(()) if kind == "http" => {}
        Ok(()) => in_time(|| {
            app.call(kind, b"an order");
            app.prepare(kind);
            app.call(kind, b"another");
        }),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(kind), "{text}");
            assert_plain(&text);
        }
    });
}

/// The section of a component that is a core module.
const MODULE: u8 = 1;
/// The magic number, the version and the layer.
const HEADER: usize = 8;

/// Puts another core module in the place of a component's first: none where this isn't a component with one.
pub fn splice(component: &[u8], module: &[u8]) -> Option<Vec<u8>> {
    let mut at = HEADER;
    loop {
        let id = *component.get(at)?;
        let (size, start) = number(component, at + 1)?;
        let end = start.checked_add(size)?;
        if id != MODULE {
            at = end;
            continue;
        }
        let mut spliced = component.get(..=at)?.to_vec();
        let mut length = module.len();
        while length > 0x7f {
            spliced.push(0x80 | (length & 0x7f) as u8);
            length >>= 7;
        }
        spliced.push(length as u8);
        spliced.extend_from_slice(module);
        spliced.extend_from_slice(component.get(end..)?);
        return Some(spliced);
    }
}

/// A number as WebAssembly has it (LEB128), and where what follows begins.
fn number(bytes: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let mut number = 0_usize;
    for shift in (0..35).step_by(7) {
        let byte = *bytes.get(at)?;
        at += 1;
        number |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((number, at));
        }
    }
    None
}
