//! What an init reaches: the streams, which are watched, and logs. All else that its component imports is
//! there and ends it when called.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, LinkerInstance, ResourceType, Val};

use crate::config::{Allowed, Function};
use crate::engine::settings;
use crate::engine::state::{RANDOM_BYTES, State};

/// An init called what it isn't allowed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("`{import}` was called: {next}")]
pub(super) struct Refused {
    pub import: String,
    pub next: &'static str,
}

/// Stands for whatever an init can't have.
struct Nothing;

/// What becomes of an interface.
enum Rule {
    /// As at an event.
    Linked,
    /// Numbers that derive from the component.
    Random,
    /// Answered with an empty list, as at each event.
    Empty,
    /// Answered with an empty list, and refused as soon as the init has returned: Rust's panic hook reads its
    /// environment, and the adapter of `cargo component` asks for folders, before a panic prints its message.
    EmptyOnce(&'static str),
    Refused(&'static str),
}

impl Rule {
    fn of(interface: &str, function: &Function) -> Self {
        let (allowed, rule, next) = match interface {
            "wasi:io/error"
            | "wasi:io/poll"
            | "wasi:io/streams"
            | "wasi:cli/exit"
            | "wasi:cli/stdin"
            | "wasi:cli/stdout"
            | "wasi:cli/stderr"
            | "wasi:cli/terminal-input"
            | "wasi:cli/terminal-output"
            | "wasi:cli/terminal-stdin"
            | "wasi:cli/terminal-stdout"
            | "wasi:cli/terminal-stderr"
            | "wasi:logging/logging"
            | "kinglet:events/types" => return Self::Linked,
            "wasi:cli/environment" if function.environment.is_empty() => return Self::Empty,
            "wasi:cli/environment" => return Self::EmptyOnce(OTHER_ENVIRONMENT),
            "wasi:filesystem/preopens" => return Self::EmptyOnce(NO_FILES),
            "wasi:random/random" | "wasi:random/insecure" | "wasi:random/insecure-seed" => (
                Allowed::Random,
                Self::Random,
                "random numbers would be the same in every instance; draw them in the handler, or add \"random\" to \
                 `snapshot.allow`, as a `HashMap` needs it",
            ),
            "wasi:clocks/wall-clock" | "wasi:clocks/monotonic-clock" => (
                Allowed::Clock,
                Self::Linked,
                "the time would be that of the build; ask for it in the handler, or add \"clock\" to \
                 `snapshot.allow`",
            ),
            "wasi:config/store" | "wasi:config/runtime" | "fermyon:spin/variables" => (
                Allowed::Config,
                Self::Linked,
                "the function's `config` would be that of the build; read it in the handler, or add \"config\" to \
                 `snapshot.allow`",
            ),
            _ => return Self::Refused(refusal(interface)),
        };
        if function.snapshot.allow.contains(&allowed) {
            rule
        } else {
            Self::Refused(next)
        }
    }
}

const OTHER_ENVIRONMENT: &str = "guests keep what they read of their environment, so that the function's `environment` \
     would be missing at each event; read it in the handler, or move it to `config`";

const NO_FILES: &str =
    "functions have no files; put the file into the component with `include_bytes!`";

fn refusal(interface: &str) -> &'static str {
    match interface.split('/').next().unwrap_or_default() {
        "wasi:filesystem" => NO_FILES,
        "wasi:http" | "wasi:sockets" => {
            "a build has no network; put what it needs into the component with `include_bytes!`"
        }
        "kinglet:events" | "wasi:keyvalue" | "fermyon:spin" => {
            "there is no event yet that it could belong to; do it in the handler"
        }
        _ => "it isn't the same at each event; do it in the handler",
    }
}

/// Links what a component imports, for its init. What is answered with nothing is noted in `asked`.
pub(super) fn linker(
    engine: &wasmtime::Engine,
    wasm: &[u8],
    component: &Component,
    function: &Function,
    asked: &Arc<OnceLock<Refused>>,
) -> wasmtime::Result<Linker<State>> {
    let mut linker = settings::linker(engine, false)?;
    linker.allow_shadowing(true);
    let numbers = Arc::new(Numbers::of(wasm));
    // Each is defined where it is imported first; the other interfaces only name it.
    let mut resources = Vec::new();
    for (name, item) in component.component_type().imports(engine) {
        let interface = name.split('@').next().unwrap_or(name);
        let rule = Rule::of(interface, function);
        let ComponentItem::ComponentInstance(instance) = item.ty else {
            if let ComponentItem::ComponentFunc(_) = item.ty {
                let (import, next) = (name.to_owned(), refusal(name));
                refuse(&mut linker.root(), name, Refused { import, next })?;
            }
            continue;
        };
        for (item, ty) in instance.exports(engine) {
            match ty.ty {
                ComponentItem::Resource(resource) if !resources.contains(&resource) => {
                    resources.push(resource);
                    if !matches!(rule, Rule::Linked) {
                        let ty = ResourceType::host::<Nothing>();
                        linker.instance(name)?.resource(item, ty, |_, _| Ok(()))?;
                    }
                }
                ComponentItem::ComponentFunc(_) => {
                    let import = format!("{name}#{item}");
                    match rule {
                        Rule::Linked => {}
                        Rule::Random => random(&mut linker.instance(name)?, item, &numbers)?,
                        Rule::Empty => answer(&mut linker.instance(name)?, item, || ())?,
                        Rule::EmptyOnce(next) => {
                            let (refused, asked) = (Refused { import, next }, Arc::clone(asked));
                            let note = move || _ = asked.get_or_init(|| refused.clone());
                            answer(&mut linker.instance(name)?, item, note)?;
                        }
                        Rule::Refused(next) => {
                            let refused = Refused { import, next };
                            refuse(&mut linker.instance(name)?, item, refused)?;
                        }
                    }
                }
                _ => {}
            }
        }
    }
    Ok(linker)
}

fn refuse(
    instance: &mut LinkerInstance<'_, State>,
    item: &str,
    refused: Refused,
) -> wasmtime::Result<()> {
    instance.func_new(item, move |_, _, _, _| Err(refused.clone().into()))
}

/// Answers with no current folder, or with an empty list, and notes each call.
fn answer(
    instance: &mut LinkerInstance<'_, State>,
    item: &str,
    note: impl Fn() + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    let nothing = match item {
        "initial-cwd" => Val::Option(None),
        _ => Val::List(Vec::new()),
    };
    instance.func_new(item, move |_, _, _, results| {
        note();
        if let Some(result) = results.first_mut() {
            *result = nothing.clone();
        }
        Ok(())
    })
}

fn random(
    instance: &mut LinkerInstance<'_, State>,
    item: &str,
    numbers: &Arc<Numbers>,
) -> wasmtime::Result<()> {
    let numbers = Arc::clone(numbers);
    match item {
        "get-random-u64" | "get-insecure-random-u64" => {
            instance.func_wrap(item, move |_, (): ()| Ok((numbers.word(),)))
        }
        "insecure-seed" => instance.func_wrap(item, move |_, (): ()| {
            Ok(((numbers.word(), numbers.word()),))
        }),
        _ => instance.func_wrap(item, move |_, (length,): (u64,)| {
            if length > RANDOM_BYTES as u64 {
                wasmtime::bail!("{length} random bytes at once are more than {RANDOM_BYTES}");
            }
            Ok((numbers.bytes(length as usize),))
        }),
    }
}

/// BLAKE3's output, extended, of the component's bytes: the same component has the same numbers with each build.
struct Numbers {
    output: Mutex<blake3::OutputReader>,
}

impl Numbers {
    fn of(wasm: &[u8]) -> Self {
        Self {
            output: Mutex::new(blake3::Hasher::new().update(wasm).finalize_xof()),
        }
    }

    fn bytes(&self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        output.fill(&mut bytes);
        bytes
    }

    fn word(&self) -> u64 {
        let bytes = self.bytes(8);
        u64::from_le_bytes(<[u8; 8]>::try_from(bytes.as_slice()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_of_the_component_and_do_not_repeat() {
        let draw = |wasm: &[u8]| {
            let numbers = Numbers::of(wasm);
            (numbers.bytes(100), numbers.word(), numbers.word())
        };
        let (bytes, one, other) = draw(b"a");
        assert_eq!(draw(b"a"), (bytes.clone(), one, other));
        assert_ne!(draw(b"b").0, bytes);
        assert_eq!(bytes.len(), 100);
        assert_ne!(bytes[..32], bytes[32..64]);
        assert_ne!(one, other);
    }

    fn function(allow: &str, environment: &str) -> Function {
        let text = format!(
            "name = 'f'\ncomponent = 'f.wasm'\non = {{ message = 'in' }}\n\
             snapshot = {{ allow = [{allow}] }}\nenvironment = {{ {environment} }}"
        );
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn what_an_init_may_have_is_listed_and_all_else_refused() {
        let refused = |interface: &str, allow: &str| match Rule::of(interface, &function(allow, ""))
        {
            Rule::Refused(next) => Some(next),
            _ => None,
        };
        for (interface, name) in [
            ("wasi:clocks/wall-clock", "\"clock\""),
            ("wasi:clocks/monotonic-clock", "\"clock\""),
            ("wasi:random/insecure-seed", "\"random\""),
            ("wasi:config/store", "\"config\""),
        ] {
            let next = refused(interface, "").unwrap();
            assert!(
                next.contains(name) && next.contains("snapshot.allow"),
                "{next}"
            );
            assert!(refused(interface, name).is_none(), "{interface}");
        }
        for interface in [
            "kinglet:events/objects",
            "kinglet:events/topics",
            "wasi:keyvalue/store",
            "wasi:filesystem/types",
            "wasi:sockets/tcp",
            "wasi:http/outgoing-handler",
            "acme:new/thing",
        ] {
            let all = "\"clock\", \"random\", \"config\"";
            assert!(refused(interface, all).is_some(), "{interface}");
        }
    }

    #[test]
    fn an_environment_is_empty_where_it_is_so_at_each_event() {
        let rule = |environment| Rule::of("wasi:cli/environment", &function("", environment));
        assert!(matches!(rule(""), Rule::Empty));
        assert!(matches!(rule("A = 'b'"), Rule::EmptyOnce(next) if next.contains("`environment`")));
    }
}
