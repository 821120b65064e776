//! What a manifest's values must be to each other: every problem is found at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::{
    COMPILER, Function, HostName, INSTANCE, Manifest, OrderBy, Requests, STATE_FOLDER,
    SnapshotConfig, Source, keyvalue_bucket,
};

/// What a name must be, for errors. Names go into paths, sources and keys, and keep to what all of these
/// can hold.
pub const NAME_RULE: &str = "use letters, digits, `-` and `_`, at most 63, beginning with a letter";

/// What all names and values of a function's environment take: it is given at once, which burns no fuel.
const ENVIRONMENT: usize = 64 << 10;

/// The most effects of one attempt: changes of objects and keys are written in one step, for which
/// others wait.
const MAX_EFFECTS: u64 = 100_000;

/// With less no instance of any use could run.
const LEAST_MEMORY: u64 = 4 << 20;

/// A path from the root of the file system, without `.` and `..`. Links are left to whoever opens it.
fn plain(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

impl Manifest {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check_name = |what: &str, name: &str| {
            if !is_name(name) {
                problems.push(format!("{what} {name:?} isn't a name; {NAME_RULE}"));
            }
        };
        check_name("app.name", &self.app.name);
        self.buckets
            .keys()
            .for_each(|name| check_name("bucket", name));
        self.topics
            .keys()
            .for_each(|name| check_name("topic", name));
        for function in &self.functions {
            check_name("function", &function.name);
            if let Some(topic) = &function.on.message {
                check_name("topic", topic);
            }
            function
                .grants
                .publish
                .iter()
                .for_each(|name| check_name("topic", name));
            function
                .grants
                .keyvalue
                .iter()
                .for_each(|name| check_name("keyvalue bucket", keyvalue_bucket(name)));
        }
        for (name, value) in [
            ("max-events", self.queue.max_events),
            ("max-bytes", self.queue.max_bytes.0),
            ("max-staging", self.queue.max_staging.0),
            ("max-dead-letters", self.queue.max_dead_letters),
            ("max-answers", self.queue.max_answers.0),
        ] {
            if value == 0 {
                problems.push(format!(
                    "queue.{name} = 0: nothing could ever be accepted; use more"
                ));
            }
        }
        let connections = self.http.max_connections;
        if !(1..=100_000).contains(&connections) {
            problems.push(format!(
                "http.max-connections = {connections}: use 1 to 100000"
            ));
        }
        if self.compile.timeout.0.is_zero() {
            problems
                .push("compile.timeout = \"0s\": nothing could be compiled; use more".to_owned());
        }
        if let Some(memory) = self.compile.memory.filter(|memory| *memory < COMPILER) {
            problems.push(format!(
                "compile.memory = \"{memory}\": the compiler itself takes \"{COMPILER}\"; use more"
            ));
        }
        if self
            .host
            .memory
            .is_some_and(|memory| memory.0 < LEAST_MEMORY)
        {
            problems.push(format!(
                "host.memory is too little for anything to run; use {LEAST_MEMORY} bytes or more"
            ));
        }
        for (name, bucket) in &self.buckets {
            if let Some(url) = &bucket.url {
                problems.push(format!(
                    "buckets.{name}.url = {url:?}: only folders are supported by now; use `path`"
                ));
            }
        }
        let own = plain(&self.root.join(STATE_FOLDER));
        for (name, bucket) in &self.buckets {
            let path = plain(&self.bucket_path(name));
            if path.starts_with(&own) || own.starts_with(&path) {
                let given = bucket.path.as_deref().unwrap_or(Path::new(name));
                problems.push(format!(
                    "buckets.{name}: path {} is, contains or lies in `{STATE_FOLDER}`, the host's own folder beside \
                     the manifest; give the bucket a `path` beside it",
                    given.display()
                ));
            }
            bucket.problems(name, &mut problems);
        }
        let folders: Vec<_> = self
            .buckets
            .keys()
            .map(|name| (name, self.bucket_path(name)))
            .collect();
        for (at, (one, path)) in folders.iter().enumerate() {
            for (other, folder) in folders.iter().skip(at + 1) {
                if path.starts_with(folder) || folder.starts_with(path) {
                    problems.push(format!(
                        "buckets {one:?} and {other:?} share a folder or lie one in the other; give each \
                         a `path` of its own"
                    ));
                }
            }
        }
        let mut seen = BTreeMap::new();
        let mut routes = Routes::default();
        for function in &self.functions {
            if seen.insert(&function.name, ()).is_some() {
                problems.push(format!(
                    "two functions have the name {:?}; rename one",
                    function.name
                ));
            }
            if let Source::Http(requests) = function.on.source() {
                routes.add(&function.name, requests, &mut problems);
            }
            self.function_problems(function, &mut problems);
        }
        for ingress in &self.ingresses {
            ingress.problems(self, &mut problems);
        }
        if problems.is_empty() {
            problems.extend(self.circle());
        }
        problems
    }

    fn function_problems(&self, function: &Function, problems: &mut Vec<String>) {
        let mut say = |text: String| problems.push(format!("function {:?}: {text}", function.name));
        let on = &function.on;
        let sources = [
            on.object_created.is_some(),
            on.message.is_some(),
            on.schedule.is_some(),
            !on.http.is_empty(),
        ];
        if sources.into_iter().filter(|given| *given).count() != 1 {
            say(
                "`on` needs exactly one of `object-created`, `message`, `schedule` and `http`"
                    .to_owned(),
            );
        }
        if on.schedule.is_none() && (on.time_zone.is_some() || on.missed.is_some()) {
            say("`time-zone` and `missed` go with `schedule`".to_owned());
        }
        if on.object_created.is_none() && (on.prefix.is_some() || !on.suffix.is_empty()) {
            say("`prefix` and `suffix` go with `object-created`".to_owned());
        }
        if on.message.is_none() && (on.batch_size.is_some() || on.batch_window.is_some()) {
            say("`batch-size` and `batch-window` go with `message`".to_owned());
        }
        if on.message.is_none() && matches!(on.order_by, Some(OrderBy::Attribute(_))) {
            say("objects have no attributes to order by; use `order-by = \"key\"`".to_owned());
        }
        match on.reuse {
            Some(_) if on.http.is_empty() => {
                say("`reuse` goes with `http`: each event has an instance of its own".to_owned());
            }
            Some(reuse) if !(1..=100_000).contains(&reuse) => {
                say(format!("reuse = {reuse}: use 1 to 100000"));
            }
            _ => {}
        }
        if on.http.is_empty() && !(on.methods.is_empty() && on.hosts.is_empty()) {
            say("`methods` and `hosts` go with `http`".to_owned());
        }
        if !on.http.is_empty() && on.order_by.is_some() {
            say("`order-by` goes with `object-created` and `message`".to_owned());
        }
        if let Some(size) = on.batch_size.filter(|size| !(1..=1_000).contains(size)) {
            say(format!("batch-size = {size}: use 1 to 1000"));
        }
        let grants = &function.grants;
        let named = on
            .object_created
            .iter()
            .map(|bucket| ("on.object-created", bucket));
        let read = grants
            .read
            .iter()
            .map(|grant| ("grants.read", &grant.bucket));
        let write = grants
            .write
            .iter()
            .map(|grant| ("grants.write", &grant.bucket));
        for (key, bucket) in named.chain(read).chain(write) {
            if bucket.is_empty() {
                say(format!(
                    "{key}: a bucket's name is missing; write it before the prefix"
                ));
            } else if !self.buckets.contains_key(bucket) {
                say(format!(
                    "{key}: there is no bucket {bucket:?}; add `[buckets.{bucket}]`"
                ));
            }
        }
        let limits = &function.limits;
        for (name, value, least, most) in [
            ("memory", limits.memory.0, 1 << 16, 4 << 30),
            ("fuel", limits.fuel, 1, u64::MAX),
            ("concurrency", function.concurrency() as u64, 1, 10_000),
            ("staging", limits.staging.0, 0, 64 << 30),
            ("effects", limits.effects.into(), 0, MAX_EFFECTS),
            ("log", limits.log.0, 0, 64 << 20),
            ("host-calls", limits.host_calls.0, 1, 1 << 40),
            ("request", limits.request.0, 0, 1 << 40),
            ("response", limits.response.0, 0, 1 << 40),
        ] {
            if !(least..=most).contains(&value) {
                say(format!("limits.{name} = {value}: use {least} to {most}"));
            }
        }
        if limits.staging > self.queue.max_staging {
            say(format!(
                "limits.staging = \"{}\" is more than all functions have together; lower it, or raise \
                 `queue.max-staging`, which is \"{}\"",
                limits.staging, self.queue.max_staging
            ));
        }
        let instance = limits.memory.0.saturating_add(INSTANCE.0);
        if let Some(memory) = self.host.memory.filter(|memory| instance > memory.0) {
            say(format!(
                "limits.memory = \"{}\" and the \"{INSTANCE}\" of an instance are more than all functions have \
                 together; lower it, or raise `host.memory`, which is \"{memory}\"",
                limits.memory
            ));
        }
        if limits.timeout.0.is_zero() {
            say("limits.timeout = \"0s\": no attempt could ever succeed; use more".to_owned());
        }
        if on.http.is_empty() && on.spin_headers {
            say("`spin-headers` goes with `http`".to_owned());
        }
        for (name, value) in &function.environment {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                say(format!(
                    "environment: {name:?} = {value:?} can't be in an environment; a name has no `=`, and neither has \
                     a zero character"
                ));
            }
        }
        let environment = function.environment.iter();
        let bytes: usize = environment
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if bytes > ENVIRONMENT {
            say(format!(
                "environment has {bytes} bytes; use at most {ENVIRONMENT}, and `config` for more"
            ));
        }
        if function.source.is_none() && function.snapshot != SnapshotConfig::default() {
            say(
                "`snapshot` goes with `source`: a snapshot is taken where `kinglet build` builds"
                    .to_owned(),
            );
        }
        if !function.targets.is_empty() && (function.source.is_none() || on.http.is_empty()) {
            say(
                "`targets` goes with `source` and `on.http`: `kinglet build` makes components of \
                 HTTP functions for other hosts"
                    .to_owned(),
            );
        }
        for target in &function.targets {
            let file = target.component(&function.component);
            let mut others = self.functions.iter().filter(|other| other.source.is_some());
            if let Some(other) = others
                .find(|other| other.component == file && other.component != function.component)
            {
                say(format!(
                    "targets: \"{target}\" is built into {}, which is the component of {:?}; name \
                     another file there",
                    file.display(),
                    other.name
                ));
            }
        }
        if function.snapshot.timeout.0.is_zero() {
            say("snapshot.timeout = \"0s\": no init could ever succeed; use more".to_owned());
        }
        if function.retry.max_age.is_some_and(|age| age.0.is_zero()) {
            say("retry.max-age = \"0s\": no event could ever be tried; use more".to_owned());
        }
        if function.retry.attempts == 0 {
            say("retry.attempts = 0: use 1 for no retries".to_owned());
        }
    }

    /// Functions whose effects wake one another in a circle: one event would never come to rest. The first that is
    /// found; each function is looked at once, since there can be more ways than anybody waits for.
    fn circle(&self) -> Option<String> {
        let mut seen = BTreeSet::new();
        // A function that allows loops has bounded every circle it is part of.
        let bounded = |function: &Function| function.allow_loop.is_some();
        for start in self.functions.iter().filter(|start| !bounded(start)) {
            if !seen.insert(&start.name) {
                continue;
            }
            // How we came here, each with those that it may wake and that weren't looked at yet.
            let mut way = vec![(start, self.functions.iter())];
            let mut on_way = BTreeSet::from([&start.name]);
            while let Some((last, others)) = way.last_mut() {
                let last = *last;
                match others.find(|next| wakes(last, next) && !bounded(next)) {
                    Some(next) if on_way.contains(&next.name) => {
                        let way = way.into_iter().map(|(function, _)| function);
                        let circle: Vec<_> = way
                            .skip_while(|function| function.name != next.name)
                            .collect();
                        return Some(self.describe_loop(&circle));
                    }
                    Some(next) if seen.insert(&next.name) => {
                        on_way.insert(&next.name);
                        way.push((next, self.functions.iter()));
                    }
                    Some(_) => {}
                    None => {
                        on_way.remove(&last.name);
                        way.pop();
                    }
                }
            }
        }
        None
    }

    fn describe_loop(&self, path: &[&Function]) -> String {
        let steps: Vec<String> = path
            .iter()
            .map(|function| {
                let source = match function.on.source() {
                    Source::Bucket(bucket) => format!("bucket {bucket:?}"),
                    Source::Topic(topic) => format!("topic {topic:?}"),
                    Source::Schedule(schedule) => format!("schedule {:?}", schedule.as_str()),
                    Source::Http(requests) => format!("a request to {requests}"),
                };
                format!("{source} wakes {:?}", function.name)
            })
            .collect();
        let back = path
            .first()
            .map_or(String::new(), |first| match first.on.source() {
                Source::Bucket(bucket) => format!(", which may write to bucket {bucket:?}"),
                Source::Topic(topic) => format!(", which may publish to topic {topic:?}"),
                Source::Schedule(_) | Source::Http(_) => String::new(),
            });
        format!(
            "an event would never come to rest: {}{back}; narrow the grant or the prefix, or allow it \
             with `allow-loop = HOPS`",
            steps.join(", then ")
        )
    }
}

/// Which requests are taken, by host and pattern.
#[derive(Default)]
struct Routes<'a>(BTreeMap<(Option<&'a HostName>, String), Vec<Taken<'a>>>);

/// By the function of this name.
type Taken<'a> = (&'a str, Requests<'a>);

impl<'a> Routes<'a> {
    /// Each request has one function at most.
    fn add(&mut self, function: &'a str, requests: Requests<'a>, problems: &mut Vec<String>) {
        let hosts = requests.hosts.iter().map(Some);
        let whichever = requests.hosts.is_empty().then_some(None);
        for host in hosts.chain(whichever) {
            for route in requests.routes {
                let others = self.0.entry((host, route.pattern())).or_default();
                if let Some((other, _)) = others.iter().find(|(_, of)| requests.share_a_method(*of))
                {
                    let host = host.map_or_else(String::new, |host| format!(" of host {host}"));
                    problems.push(match *other == function {
                        true => format!("function {function:?} has the route {route}{host} twice; remove one"),
                        false => format!(
                            "functions {other:?} and {function:?} have the same route {route}{host}; give one of them \
                             another, or other `methods`"
                        ),
                    });
                }
                others.push((function, requests));
            }
        }
    }
}

/// Whether effects of `function` can wake `next`.
fn wakes(function: &Function, next: &Function) -> bool {
    match next.on.source() {
        Source::Schedule(_) | Source::Http(_) => false,
        Source::Topic(topic) => function
            .grants
            .publish
            .iter()
            .any(|granted| granted == topic),
        Source::Bucket(bucket) => {
            let watched = next.on.prefix.as_deref().unwrap_or_default();
            function.grants.write.iter().any(|grant| {
                grant.bucket == bucket
                    && (grant.prefix.starts_with(watched) || watched.starts_with(&grant.prefix))
            })
        }
    }
}

/// Whether this can be the name of an application, bucket, topic or function.
pub fn is_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const GOOD: &str = r#"
        [app]
        name = "photos"
        [buckets.photos]
        [buckets.thumbs]
        path = "out/thumbs"
        [[function]]
        name = "thumbnail"
        component = "thumbnail.wasm"
        on = { object-created = "photos", suffix = [".jpg", ".png"] }
        limits = { memory = "64MiB", fuel = 5_000_000_000, timeout = "10s", concurrency = 8 }
        retry = { attempts = 5, backoff = "200ms..30s" }
        grants = { read = ["photos"], write = ["thumbs"], publish = ["thumbnailed"] }
        config = { width = "256" }
    "#;

    fn parse(text: &str) -> Result<Manifest, String> {
        Manifest::parse(text, Path::new("/app"), "kinglet.toml").map_err(|e| e.to_string())
    }

    #[test]
    fn a_whole_manifest() {
        let manifest = parse(GOOD).unwrap();
        let function = manifest.function("thumbnail").unwrap();
        assert_eq!(function.limits.memory.0, 64 << 20);
        assert_eq!(manifest.bucket_path("thumbs"), Path::new("/app/out/thumbs"));
        assert_eq!(manifest.bucket_path("photos"), Path::new("/app/photos"));
        assert_eq!(manifest.woken_by_object("photos", "a/B.JPG"), ["thumbnail"]);
        assert!(manifest.woken_by_object("photos", "a.gif").is_empty());
        assert!(manifest.has_topic("thumbnailed"));
    }

    /// One bad value each: what replaces what, and what the error must say.
    #[test]
    fn bad_values_name_themselves_and_the_next_step() {
        for (old, new, says) in [
            (r#"name = "photos""#, r#"name = "my photos""#, "my photos"),
            (
                r#"name = "photos""#,
                r#"nmae = "photos""#,
                "kinglet.toml:3:9: ",
            ),
            (
                r#"memory = "64MiB""#,
                r#"memory = "64 potatoes""#,
                "64 potatoes",
            ),
            (r#"memory = "64MiB""#, r#"memory = "8GiB""#, "limits.memory"),
            (r#"timeout = "10s""#, r#"timeout = 10"#, "\"10s\""),
            (r#"timeout = "10s""#, r#"timeout = "0s""#, "limits.timeout"),
            ("concurrency = 8", "concurrency = 0", "limits.concurrency"),
            ("fuel = 5_000_000_000", "fuel = -1", "fuel"),
            ("fuel = 5_000_000_000", "fuel = 0", "limits.fuel"),
            ("attempts = 5", "attempts = 0", "retry.attempts"),
            (
                "[buckets.photos]",
                "[queue]\nmax-events = 0\n[buckets.photos]",
                "queue.max-events",
            ),
            (
                "concurrency = 8",
                r#"staging = "17GiB""#,
                "queue.max-staging",
            ),
            (
                r#"object-created = "photos", suffix = [".jpg", ".png"]"#,
                r#"message = "t", batch-size = 0"#,
                "batch-size = 0",
            ),
            (
                r#"object-created = "photos", suffix = [".jpg", ".png"]"#,
                r#"message = "t", batch-size = 1001"#,
                "batch-size = 1001",
            ),
            (
                r#"suffix = [".jpg", ".png"]"#,
                r#"batch-window = "1s""#,
                "`message`",
            ),
            (
                r#"suffix = [".jpg", ".png"]"#,
                r#"time-zone = "Europe/Berlin""#,
                "`schedule`",
            ),
            (
                r#"object-created = "photos", suffix = [".jpg", ".png"]"#,
                r#"schedule = "at noon""#,
                "\"at noon\"",
            ),
            (
                r#"suffix = [".jpg", ".png"]"#,
                r#"missed = "all""#,
                "`schedule`",
            ),
            (
                r#"suffix = [".jpg", ".png"]"#,
                r#"schedule = "0 3 * * *""#,
                "exactly one",
            ),
            ("attempts = 5", "max-age = \"0s\"", "retry.max-age"),
            (
                r#"suffix = [".jpg", ".png"]"#,
                "spin-headers = true",
                "`spin-headers` goes with `http`",
            ),
            (
                "limits =",
                "environment = { \"A=B\" = \"c\" }\nlimits =",
                "\"A=B\"",
            ),
            (
                "limits =",
                "environment = { A = 7 }\nlimits =",
                "write A = \"7\"",
            ),
            (
                r#"suffix = [".jpg", ".png"]"#,
                r#"order-by = "attribute:a""#,
                "no attributes",
            ),
            (
                r#"suffix = [".jpg", ".png"]"#,
                r#"order-by = "size""#,
                "\"size\"",
            ),
            (
                r#"publish = ["thumbnailed"]"#,
                r#"keyvalue = ["a b"]"#,
                "keyvalue bucket \"a b\"",
            ),
            (
                "[buckets.photos]",
                "[host]\nmemory = \"32MiB\"\n[buckets.photos]",
                "`host.memory`, which is \"32MiB\"",
            ),
            (
                "[buckets.photos]",
                "[host]\nmemory = \"1MiB\"\n[buckets.photos]",
                "too little",
            ),
            (r#"memory = "64MiB""#, "host-calls = 0", "limits.host-calls"),
            (
                r#"memory = "64MiB""#,
                "effects = 100_001",
                "limits.effects = 100001: use 0 to 100000",
            ),
            ("200ms..30s", "30s..200ms", "swap"),
            ("200ms..30s", "soon", "200ms..30s"),
            (
                r#"read = ["photos"]"#,
                r#"read = ["photo"]"#,
                "[buckets.photo]",
            ),
            (
                r#"object-created = "photos""#,
                r#"object-created = "inbox""#,
                "[buckets.inbox]",
            ),
            (
                r#"object-created = "photos""#,
                r#"message = "t""#,
                "`suffix`",
            ),
            (r#"object-created = "photos", "#, "", "exactly one"),
            (
                r#"write = ["thumbs"]"#,
                r#"write = ["photos"]"#,
                "never come to rest",
            ),
            (
                r#"write = ["thumbs"]"#,
                r#"write = ["thumbs", "photos/x"]"#,
                "never come to rest",
            ),
            (
                r#"path = "out/thumbs""#,
                r#"path = "photos/thumbs""#,
                "one in the other",
            ),
            (
                r#"path = "out/thumbs""#,
                r#"url = "s3://thumbs""#,
                "s3://thumbs",
            ),
            (
                "limits =",
                "snapshot = { allow = [\"random\"] }\nlimits =",
                "`snapshot` goes with `source`",
            ),
            (
                "limits =",
                "source = \"f\"\nsnapshot = { allow = \"time\" }\nlimits =",
                "\"random\", \"clock\" or \"config\"",
            ),
            (
                "limits =",
                "source = \"f\"\nsnapshot = { timeout = \"0s\" }\nlimits =",
                "snapshot.timeout",
            ),
            (
                r#"config = { width = "256" }"#,
                r#"config = { width = 256 }"#,
                "width",
            ),
        ] {
            assert!(GOOD.contains(old), "{old}");
            let error = parse(&GOOD.replacen(old, new, 1)).unwrap_err();
            assert!(error.contains(says), "{new}: {error}");
        }
    }

    #[test]
    fn what_an_init_may_ask_for_is_one_text_or_a_list() {
        use crate::config::Allowed;

        for (allow, expected) in [
            ("\"clock\"", vec![Allowed::Clock]),
            (
                "[\"random\", \"config\"]",
                vec![Allowed::Random, Allowed::Config],
            ),
            ("[]", vec![]),
        ] {
            let text = format!("source = \"f\"\nsnapshot = {{ allow = {allow} }}\nlimits =");
            let manifest = parse(&GOOD.replacen("limits =", &text, 1)).unwrap();
            assert_eq!(manifest.functions[0].snapshot.allow, expected, "{allow}");
        }
    }

    #[test]
    fn a_loop_may_be_allowed_or_avoided_by_prefix() {
        let looping = GOOD.replacen(r#"write = ["thumbs"]"#, r#"write = ["photos/small/"]"#, 1);
        assert!(parse(&looping).is_err());
        parse(&looping.replacen("retry =", "allow-loop = 3\nretry =", 1)).unwrap();
        parse(&looping.replacen("suffix =", "prefix = \"large/\", suffix =", 1)).unwrap();
    }

    #[test]
    fn a_loop_of_two_is_spelled_out() {
        let text = r#"
            [app]
            name = "a"
            [[function]]
            name = "ping"
            component = "p.wasm"
            on = { message = "a" }
            grants = { publish = ["b"] }
            [[function]]
            name = "pong"
            component = "p.wasm"
            on = { message = "b" }
            grants = { publish = ["a"] }
        "#;
        let error = parse(text).unwrap_err();
        assert!(
            error.contains(r#"topic "a" wakes "ping", then topic "b" wakes "pong", which may publish to topic "a""#),
            "{error}"
        );
    }
}
