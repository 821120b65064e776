//! Components that no compiler would make, from `tests/guests/hostile/raw`.

const FRAME: &str = include_str!("../../guests/hostile/raw/frame.wat");

/// The component of an attack: in `text` the modules are told apart by lines `;;; NAME`, and what stands beside one
/// in the component follows a line `;; beside it:`.
pub fn component(text: &str, name: &str) -> Vec<u8> {
    let named = format!(";;; {name}\n");
    let start = text.find(&named).unwrap_or_else(|| panic!("no {named}"));
    let module = &text[start + named.len()..];
    let module = module.split("\n;;; ").next().unwrap_or(module);
    let (module, beside) = module.split_once(";; beside it:").unwrap_or((module, ""));
    compose(module, beside)
}

/// The frame with this module in it.
pub fn compose(module: &str, beside: &str) -> Vec<u8> {
    let component = text(module, beside);
    wat::parse_str(&component).unwrap_or_else(|error| panic!("{error}\n{component}"))
}

/// The same as text.
pub fn text(module: &str, beside: &str) -> String {
    let of = |function: &str| {
        let exported = module.contains(&format!("(export \"{function}\")"));
        if exported { "$attack" } else { "$libc" }
    };
    let lift = format!(
        "(realloc (func {} \"realloc\")) (post-return (func {} \"post\"))",
        of("realloc"),
        of("post")
    );
    let with = if module.contains("\"beside\"") {
        "(with \"beside\" (instance $beside))"
    } else {
        ""
    };
    FRAME
        .replace("(;beside;)", beside)
        .replace("(;module;)", module)
        .replace("(;with;)", with)
        .replace("(;lift;)", &lift)
}
