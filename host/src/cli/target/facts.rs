//! What other hosts have, as their source of August 2026 says.
//!
//! A version of two numbers stands for all that are compatible, of which hosts take an older or a newer one: `0.2` for
//! `0.2.0` and `0.2.12`. Drafts and candidates fit nothing but themselves.

/// A host, and what it has.
#[derive(Debug)]
pub struct Facts {
    /// As users call it, with the release that was looked at.
    pub name: &'static str,
    /// What a component may import.
    pub imports: &'static [Offer],
    /// What a component may export, for the host to call.
    pub handlers: &'static [Offer],
}

/// Interfaces of a package.
#[derive(Debug)]
pub struct Offer {
    pub package: &'static str,
    /// All of the package where there are none.
    pub interfaces: &'static [&'static str],
    pub version: &'static str,
    /// What the user has to say, in the host's own words, where it isn't there otherwise.
    pub with: Option<&'static str>,
}

const fn all(package: &'static str, version: &'static str) -> Offer {
    some(package, &[], version)
}

const fn some(
    package: &'static str,
    interfaces: &'static [&'static str],
    version: &'static str,
) -> Offer {
    Offer {
        package,
        interfaces,
        version,
        with: None,
    }
}

impl Offer {
    const fn with(mut self, with: &'static str) -> Self {
        self.with = Some(with);
        self
    }
}

/// Spin 4.0.2 of June 2026: `wit/world.wit`, `wit/deps/spin@*`, `crates/world/src/lib.rs` and `crates/http/src/trigger.rs`
/// of spinframework/spin. Spin 3.6 has the same without 0.3 and without `spin:*`, but `spin:postgres` and `spin:sqlite`.
pub const SPIN: Facts = Facts {
    name: "Spin 4.0",
    imports: &[
        some("wasi:http", &["types"], "0.2"),
        some("wasi:http", &["outgoing-handler"], "0.2").with(HOSTS),
        all("wasi:cli", "0.2"),
        all("wasi:clocks", "0.2"),
        all("wasi:filesystem", "0.2"),
        all("wasi:io", "0.2"),
        all("wasi:random", "0.2"),
        all("wasi:sockets", "0.2"),
        some("wasi:http", &["types"], SPIN_P3),
        some("wasi:http", &["client"], SPIN_P3).with(HOSTS),
        all("wasi:cli", SPIN_P3),
        all("wasi:clocks", SPIN_P3),
        all("wasi:filesystem", SPIN_P3),
        all("wasi:random", SPIN_P3),
        all("wasi:sockets", SPIN_P3),
        some(
            "wasi:keyvalue",
            &["store", "atomics", "batch"],
            "0.2.0-draft2",
        )
        .with("`key_value_stores` in spin.toml"),
        some("wasi:config", &["store"], "0.2.0-draft-2024-09-27").with("`variables` in spin.toml"),
        all("fermyon:spin", "2.0.0"),
        all("fermyon:spin", "3.0.0"),
        all("fermyon:spin", ""),
        all("spin:key-value", "3.0").with("`key_value_stores` in spin.toml"),
        all("spin:variables", "3.0").with("`variables` in spin.toml"),
        all("spin:sqlite", "3.0").with("`sqlite_databases` in spin.toml"),
        all("spin:sqlite", "3.1").with("`sqlite_databases` in spin.toml"),
        all("spin:redis", "3.0").with(HOSTS),
        all("spin:mqtt", "3.0").with(HOSTS),
        all("spin:mysql", "3.0").with(HOSTS),
        all("spin:postgres", "3.0").with(HOSTS),
        all("spin:postgres", "4.0").with(HOSTS),
        all("spin:postgres", "4.1").with(HOSTS),
        all("spin:postgres", "4.2").with(HOSTS),
    ],
    handlers: &[
        some("wasi:http", &["incoming-handler"], "0.2"),
        some("wasi:http", &["handler"], SPIN_P3),
        some("spin:redis", &["inbound-redis"], "3.0"),
        some("fermyon:spin", &["inbound-redis"], ""),
    ],
};

const SPIN_P3: &str = "0.3.0-rc-2026-03-15";
const HOSTS: &str = "`allowed_outbound_hosts` in spin.toml";

/// Wasmtime 48.0: `src/commands/serve.rs`, `add_to_linker` in `crates/wasi-http/src/p2/mod.rs` and `crates/wasi/src/p2/mod.rs`,
/// and the packages in the `wit` folders of `crates/wasi-*` of bytecodealliance/wasmtime.
pub const WASMTIME: Facts = Facts {
    name: "wasmtime serve 48.0",
    imports: &[
        some("wasi:http", &["types", "outgoing-handler"], "0.2"),
        all("wasi:io", "0.2"),
        some("wasi:clocks", &["wall-clock", "monotonic-clock"], "0.2"),
        some("wasi:random", &["random"], "0.2"),
        some("wasi:cli", &["stdin", "stdout", "stderr"], "0.2"),
        all("wasi:cli", "0.2").with(CLI),
        all("wasi:random", "0.2").with(CLI),
        all("wasi:filesystem", "0.2").with(CLI),
        all("wasi:sockets", "0.2").with(CLI),
        some("wasi:http", &["types", "client"], "0.3"),
        all("wasi:clocks", "0.3"),
        all("wasi:random", "0.3"),
        all("wasi:cli", "0.3"),
        all("wasi:filesystem", "0.3").with(CLI),
        all("wasi:sockets", "0.3").with(CLI),
        some("wasi:config", &["store"], "0.2.0-rc.1").with("`-S config`"),
        some(
            "wasi:keyvalue",
            &["store", "atomics", "batch"],
            "0.2.0-draft",
        )
        .with("`-S keyvalue`"),
        all("wasi:nn", "0.2.0-rc-2024-10-28").with("`-S nn`"),
    ],
    handlers: &[
        some("wasi:http", &["incoming-handler"], "0.2"),
        some("wasi:http", &["handler"], "0.3"),
    ],
};

/// All of WASI, where it has only the world `wasi:http/proxy` otherwise.
const CLI: &str = "`-S cli`";

/// wasmCloud 2.7.0 of August 2026: `crates/wash-runtime` of wasmCloud/wasmCloud: `src/engine/mod.rs`, the `HostPlugin`s in
/// `src/plugin` and the packages in `wit/deps`. Its 1.x line, which gives a component to providers, isn't told here.
pub const WASMCLOUD: Facts = Facts {
    name: "wasmCloud 2.7",
    imports: &[
        some("wasi:http", &["types", "outgoing-handler"], "0.2"),
        all("wasi:cli", "0.2"),
        all("wasi:clocks", "0.2"),
        all("wasi:filesystem", "0.2"),
        all("wasi:io", "0.2"),
        all("wasi:random", "0.2"),
        all("wasi:sockets", "0.2"),
        some("wasi:http", &["types", "client"], "0.3"),
        all("wasi:cli", "0.3"),
        all("wasi:clocks", "0.3"),
        all("wasi:filesystem", "0.3"),
        all("wasi:random", "0.3"),
        all("wasi:sockets", "0.3"),
        some("wasi:config", &["store"], "0.2.0-rc.1").with(DECLARED),
        some(
            "wasi:keyvalue",
            &["store", "atomics", "batch"],
            "0.2.0-draft",
        )
        .with(DECLARED),
        some("wasi:logging", &["logging"], "0.1.0-draft").with(DECLARED),
        some(
            "wasi:blobstore",
            &["blobstore", "container", "types"],
            "0.2.0-draft",
        )
        .with(DECLARED),
        all("wasi:otel", "0.2.0-rc.2").with(DECLARED),
        all("wasmcloud:messaging", "0.2.0").with(DECLARED),
        all("wasmcloud:messaging", "0.3.0").with(DECLARED),
        all("wasmcloud:keyvalue", "0.2.0").with(DECLARED),
        all("wasmcloud:blobstore", "0.1.0").with(DECLARED),
        all("wasmcloud:postgres", "0.1.1-draft").with(DECLARED),
        all("wasmcloud:postgres", "0.2.0").with(DECLARED),
        all("wasmcloud:secrets", "2.1.0").with(DECLARED),
    ],
    handlers: &[
        some("wasi:http", &["incoming-handler"], "0.2"),
        some("wasi:http", &["handler"], "0.3"),
        some("wasmcloud:messaging", &["handler"], "0.2.0"),
        some("wasmcloud:messaging", &["handler"], "0.3.0"),
    ],
};

const DECLARED: &str = "an entry in the workload's `hostInterfaces`";
