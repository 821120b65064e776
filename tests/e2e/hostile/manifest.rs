//! A manifest with each value wrong in turn.

use crate::harness::App;

/// Every key there is: its value, and what kind that is of. The tables follow one another as in a manifest.
const KEYS: &[(&str, &str, Kind)] = &[
    ("[app]", "", Kind::Table),
    ("name", "\"test\"", Kind::Name),
    ("[http]", "", Kind::Table),
    ("listen", "\"127.0.0.1:0\"", Kind::Address),
    ("max-connections", "100", Kind::Few),
    ("access-log", "true", Kind::Switch),
    ("[host]", "", Kind::Table),
    ("memory", "\"8GiB\"", Kind::Compiler),
    ("[compile]", "", Kind::Table),
    ("timeout", "\"60s\"", Kind::Positive),
    ("memory", "\"2GiB\"", Kind::Compiler),
    ("[buckets.in]", "", Kind::Table),
    ("path", "\"here\"", Kind::Path),
    ("[buckets.out]", "", Kind::Table),
    ("[topics.told]", "", Kind::Table),
    ("[queue]", "", Kind::Table),
    ("duplicate-window", "\"1h\"", Kind::Period),
    ("max-events", "1000", Kind::Count),
    ("max-bytes", "\"1GiB\"", Kind::Bytes),
    ("max-staging", "\"1GiB\"", Kind::Bytes),
    ("max-dead-letters", "10", Kind::Count),
    ("dead-letter-age", "\"1h\"", Kind::Period),
    ("[[function]]", "", Kind::Table),
    ("name", "\"objects\"", Kind::Name),
    ("component", "\"guest:copy\"", Kind::Path),
    ("source", "\"objects\"", Kind::Path),
    ("snapshot.allow", "[\"clock\"]", Kind::Allowed),
    ("snapshot.timeout", "\"10s\"", Kind::Positive),
    ("on.object-created", "\"in\"", Kind::Bucket),
    ("on.prefix", "\"new/\"", Kind::Text),
    ("on.suffix", "[\".jpg\"]", Kind::Texts),
    ("on.order-by", "\"key\"", Kind::Order),
    ("limits.memory", "\"64MiB\"", Kind::Memory),
    ("limits.fuel", "1000", Kind::Count),
    ("limits.timeout", "\"10s\"", Kind::Positive),
    ("limits.concurrency", "2", Kind::Few),
    ("limits.staging", "\"1MiB\"", Kind::Bound),
    ("limits.log", "\"1KiB\"", Kind::Bound),
    ("limits.host-calls", "\"1MiB\"", Kind::Moved),
    ("limits.request", "\"1MiB\"", Kind::Response),
    ("limits.response", "\"1MiB\"", Kind::Response),
    ("limits.requests", "5", Kind::Hops),
    ("retry.attempts", "2", Kind::Few),
    ("retry.backoff", "\"200ms..30s\"", Kind::Backoff),
    ("retry.max-age", "\"1h\"", Kind::Positive),
    ("grants.read", "[\"in\"]", Kind::Buckets),
    ("grants.write", "[\"out\"]", Kind::Buckets),
    ("grants.publish", "[\"told\"]", Kind::Names),
    ("grants.keyvalue", "[\"counters\"]", Kind::Keyvalues),
    (
        "grants.http",
        "[\"https://api.example.com\"]",
        Kind::Origins,
    ),
    ("config.width", "\"256\"", Kind::Text),
    ("allow-loop", "1", Kind::Hops),
    ("[[function]]", "", Kind::Table),
    ("name", "\"messages\"", Kind::Name),
    ("component", "\"guest:batch\"", Kind::Path),
    ("on.message", "\"orders\"", Kind::Name),
    ("on.batch-size", "10", Kind::Few),
    ("on.batch-window", "\"10ms\"", Kind::Wait),
    ("on.order-by", "\"attribute:customer\"", Kind::Order),
    ("[[function]]", "", Kind::Table),
    ("name", "\"times\"", Kind::Name),
    ("component", "\"guest:echo\"", Kind::Path),
    ("on.schedule", "\"@daily\"", Kind::Schedule),
    ("on.time-zone", "\"Europe/Berlin\"", Kind::Zone),
    ("on.missed", "\"all\"", Kind::Missed),
    ("[[function]]", "", Kind::Table),
    ("name", "\"requests\"", Kind::Name),
    ("component", "\"guest:hello-http\"", Kind::Path),
    ("on.http", "[\"/hello\", \"/users/{id}\"]", Kind::Route),
    ("on.methods", "[\"GET\", \"POST\"]", Kind::Methods),
    (
        "on.hosts",
        "[\"api.example.com\", \"*.example.org\"]",
        Kind::Hosts,
    ),
    ("on.reuse", "2", Kind::Few),
];

/// What a value is.
#[derive(Clone, Copy)]
enum Kind {
    Table,
    Name,
    Bucket,
    Text,
    Texts,
    Keyvalues,
    Names,
    Buckets,
    Path,
    Address,
    Route,
    Methods,
    Origins,
    Hosts,
    Switch,
    Order,
    Schedule,
    Zone,
    Missed,
    Allowed,
    Backoff,
    /// A period that may be none.
    Period,
    /// A wait that every event has.
    Wait,
    Positive,
    Bytes,
    Memory,
    /// Bytes with a bound.
    Moved,
    Response,
    /// Enough bytes for the compiler.
    Compiler,
    /// Bytes that may be none.
    Bound,
    Count,
    /// A count with a bound.
    Few,
    /// A count that may be none.
    Hops,
}

impl Kind {
    /// What is no value of it.
    fn wrong(self) -> Vec<&'static str> {
        const NEVER_TEXT: &[&str] = &["-1", "7", "1.5", "true", "[7]", "{}", "1979-05-27"];
        const NEVER_NUMBER: &[&str] = &[
            "-1",
            "1.5",
            "true",
            "[]",
            "{}",
            "\"\"",
            "\"7\"",
            "99999999999999999999",
        ];
        const NEVER_UNIT: &[&str] = &[
            "-1",
            "1.5",
            "true",
            "[]",
            "{}",
            "\"\"",
            "\"lots\"",
            "\"-1s\"",
            "\"1\\u0000s\"",
        ];
        const ODD: &[&str] = &[
            "\"\"",
            "\"a b\"",
            "\"../up\"",
            "\"nul\\u0000\"",
            "\"\u{e9}\"",
            "\"\u{202e}\"",
            "\"\\u001b[2J\"",
        ];
        let lists: &[&[&str]] = match self {
            Self::Table => &[],
            Self::Bucket => &[NEVER_TEXT, &["\"\"", "\"nowhere\"", "\"a b\""]],
            Self::Name => &[NEVER_TEXT, ODD, &["[\"a\"]"]],
            Self::Text => &[NEVER_TEXT, &["[\"a\"]"]],
            Self::Path => &[&["-1", "7", "true", "[]", "{}"]],
            Self::Texts => &[NEVER_TEXT],
            // The name `""` opens the bucket `default`.
            Self::Keyvalues => &[NEVER_TEXT, &["\"a b\"", "[\"a\", \"a b\"]", "[[\"a\"]]"]],
            Self::Names => &[NEVER_TEXT, ODD, &["[\"a\", \"a b\"]", "[[\"a\"]]"]],
            Self::Buckets => &[
                NEVER_TEXT,
                &["\"nowhere\"", "[\"in\", \"nowhere/x\"]", "\"\"", "\"/\""],
            ],
            Self::Address => &[
                NEVER_TEXT,
                ODD,
                &["\"127.0.0.1\"", "\"127.0.0.1:99999\"", "\"localhost:1\""],
            ],
            Self::Route => &[NEVER_TEXT, ODD, &["\"hello\"", "\"/a/.../b\"", "\"/*\""]],
            Self::Methods => &[NEVER_TEXT, ODD, &["\"get\"", "[\"GET\", \"CONNECT\"]"]],
            Self::Origins => &[NEVER_TEXT, ODD, &["\"example.com\"", "\"https://a/b\""]],
            Self::Hosts => &[
                NEVER_TEXT,
                ODD,
                &["\"A.example.com\"", "\"a:80\"", "[\"*\"]"],
            ],
            Self::Switch => &[&["-1", "7", "\"true\"", "[]", "{}"]],
            Self::Order => &[NEVER_TEXT, ODD, &["\"size\"", "\"attribute:\""]],
            Self::Schedule => &[
                NEVER_TEXT,
                ODD,
                &["\"at noon\"", "\"99 * * * *\"", "\"* * * *\""],
            ],
            Self::Zone => &[NEVER_TEXT, ODD, &["\"Middle/Earth\""]],
            Self::Missed => &[NEVER_TEXT, ODD, &["\"Once\""]],
            Self::Allowed => &[NEVER_TEXT, ODD, &["[\"time\"]"]],
            Self::Backoff => &[
                NEVER_UNIT,
                &["0", "\"1s\"", "\"2s..1s\"", "\"..\"", "\"1s..2s..3s\""],
            ],
            Self::Period | Self::Wait => {
                &[NEVER_UNIT, &["10", "\"10\"", "\"99999999999999999999y\""]]
            }
            Self::Positive => &[
                NEVER_UNIT,
                &["10", "\"10\"", "\"0s\"", "\"99999999999999999999y\""],
            ],
            Self::Bytes => &[
                NEVER_UNIT,
                &["0", "\"0MiB\"", "\"99999999999GiB\"", "\"1mib\""],
            ],
            Self::Memory => &[NEVER_UNIT, &["0", "1", "\"5GiB\"", "\"99999999999GiB\""]],
            Self::Compiler => &[NEVER_UNIT, &["0", "\"1MiB\"", "\"99999999999GiB\""]],
            Self::Moved => &[NEVER_UNIT, &["0", "\"2000GiB\""]],
            Self::Response => &[NEVER_UNIT, &["\"2000GiB\""]],
            Self::Bound => &[NEVER_UNIT, &["\"100GiB\"", "\"99999999999GiB\""]],
            Self::Count => &[NEVER_NUMBER, &["0"]],
            Self::Few => &[NEVER_NUMBER, &["0", "4294967296"]],
            Self::Hops => &[NEVER_NUMBER, &["4294967296"]],
        };
        lists.concat()
    }

    /// The largest that it may be.
    fn huge(self) -> Option<&'static str> {
        match self {
            Self::Period | Self::Positive => Some("\"500000000000y\""),
            Self::Backoff => Some("\"0s..500000000000y\""),
            Self::Bytes | Self::Count => Some("9223372036854775807"),
            Self::Memory => Some("\"4GiB\""),
            Self::Hops => Some("4294967295"),
            _ => None,
        }
    }
}

/// The manifest, with the value of `at` replaced.
fn manifest(value: impl Fn(usize, &'static str, Kind) -> &'static str) -> String {
    let line = |(at, (key, good, kind)): (usize, &(&str, &'static str, Kind))| match kind {
        Kind::Table => format!("{key}\n"),
        _ => format!("{key} = {}\n", value(at, good, *kind)),
    };
    let text: String = KEYS.iter().enumerate().map(line).collect();
    // The harness has begun with this table.
    text.split_once("name = \"test\"\n")
        .map_or(text.clone(), |(_, rest)| rest.to_owned())
}

#[test]
fn each_wrong_value_is_named() {
    let app = App::new(&manifest(|_, good, _| good));
    app.ok(&["check"]);
    for (at, (key, good, kind)) in KEYS.iter().enumerate().skip(2) {
        let mut wrong = kind.wrong();
        if *good == "\"guest:copy\"" {
            wrong.push("\"nowhere.wasm\"");
        }
        for bad in wrong {
            app.manifest(&manifest(
                |other, good, _| if other == at { bad } else { good },
            ));
            let output = app.kinglet(&["check"]);
            let said = output.stderr.clone() + &output.stdout;
            assert!(matches!(output.code, 1 | 2), "{key} = {bad}: {output:?}");
            assert!(!said.contains("panicked"), "{key} = {bad}: {said}");
            let last = key.rsplit('.').next().unwrap_or(key);
            let mut words = bad.split(|c: char| !c.is_alphanumeric());
            let longest = bad.split('"').max_by_key(|part| part.len());
            let escaped = longest.unwrap_or_default().escape_debug().to_string();
            let named = said.contains(last)
                || said.contains(bad)
                || (!escaped.is_empty() && said.contains(&escaped))
                || words.any(|word| word.len() > 1 && said.contains(word));
            assert!(named, "{key} = {bad}: {said}");
            assert!(!said.contains('\u{1b}'), "{key} = {bad}: {said:?}");
        }
    }
}

/// What overflows where somebody adds to it.
#[test]
fn the_largest_values_are_lived_with() {
    let app = App::new(&manifest(|_, good, kind| kind.huge().unwrap_or(good)));
    app.ok(&["check"]);
    let mut host = app.up();
    app.publish("orders", "x");
    host.outcome_of("messages", "orders");
    app.put("here/new/a.jpg", "x");
    host.until(|record| record["kind"] == "outcome" && record["function"] == "objects");
    host.stop();
    app.ok(&["status"]);
}
