//! `kinglet.toml`, as anybody may write it.

use std::collections::BTreeSet;
use std::path::Path;

use kinglet::config::{
    ByteSize, Function, Manifest, Missed, Period, Source, duration, is_name, keyvalue_bucket,
};

use crate::in_time;

/// What errors must name.
const FILE: &str = "some/kinglet.toml";
/// In the year 2026, in Unix milliseconds.
const NOW: u64 = 1_795_000_000_000;

/// A text is a manifest or is refused with the file's name, always with the same words; a manifest holds what its
/// types promise: one source for each function, names that are names, buckets that there are, an index that finds
/// what a look at each function finds, units that can be read again.
pub fn manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let parse = || Manifest::parse(text, Path::new("/app"), FILE);
    match (in_time(parse), parse()) {
        (Ok(manifest), Ok(again)) => {
            let functions = |manifest: &Manifest| format!("{:?}", manifest.functions);
            assert_eq!(functions(&manifest), functions(&again));
            in_time(|| check(&manifest));
        }
        (Err(error), Err(again)) => {
            let error = error.to_string();
            assert_eq!(error, again.to_string());
            assert!(error.starts_with(FILE), "{error}");
            assert!(error.len() > FILE.len() + 2, "{error}");
        }
        _ => panic!("it is a manifest, and it isn't"),
    }
}

fn check(manifest: &Manifest) {
    assert!(is_name(&manifest.app.name));
    assert!(manifest.buckets.keys().all(|name| is_name(name)));
    assert!(manifest.topic_names().all(is_name));
    for (name, bucket) in &manifest.buckets {
        assert!(bucket.url.is_none());
        for other in manifest.buckets.keys().filter(|other| *other != name) {
            let (path, other) = (manifest.bucket_path(name), manifest.bucket_path(other));
            assert!(!path.starts_with(&other), "{path:?} is in {other:?}");
        }
    }
    let mut names = BTreeSet::new();
    let mut routes = BTreeSet::new();
    for function in &manifest.functions {
        assert!(is_name(&function.name) && names.insert(&function.name));
        let found = manifest.function(&function.name).unwrap();
        assert!(std::ptr::eq(found, function));
        check_source(manifest, function);
        if let Source::Http(route) = function.on.source() {
            assert!(routes.insert(route.to_string()));
        }
        check_values(manifest, function);
        for sentence in manifest.advice(function) {
            assert!(!sentence.is_empty());
        }
    }
    check_ingresses(manifest);
}

fn check_ingresses(manifest: &Manifest) {
    let mut paths = BTreeSet::new();
    for ingress in &manifest.ingresses {
        assert!(paths.insert(ingress.path.as_str()) && ingress.path.as_str().starts_with('/'));
        assert!(ingress.topic_names().all(|name| manifest.has_topic(name)));
        assert!(
            ingress
                .buckets
                .values()
                .all(|name| manifest.buckets.contains_key(name))
        );
        assert!((1..=64 << 20).contains(&ingress.max_body.0));
        assert!(
            ingress
                .advice(manifest)
                .iter()
                .all(|sentence| !sentence.is_empty())
        );
        assert!(!ingress.describe().is_empty());
    }
}

fn check_source(manifest: &Manifest, function: &Function) {
    let on = &function.on;
    let sources = [
        on.object_created.is_some(),
        on.message.is_some(),
        on.schedule.is_some(),
        !on.http.is_empty(),
    ];
    assert_eq!(sources.iter().filter(|given| **given).count(), 1);
    match on.source() {
        Source::Bucket(bucket) => {
            assert!(manifest.is_watched(bucket));
            let suffix = on.suffix.first().map_or("", String::as_str);
            let key = format!("{}{suffix}", on.prefix.as_deref().unwrap_or_default());
            assert!(on.matches_key(&key));
            assert_eq!(
                manifest.woken_by_object(bucket, &key),
                woken(
                    manifest,
                    |other| matches!(other.on.source(), Source::Bucket(name) if name == bucket)
                        && other.on.matches_key(&key)
                )
            );
        }
        Source::Topic(topic) => {
            assert!(manifest.has_topic(topic));
            assert_eq!(
                manifest.woken_by_message(topic),
                woken(
                    manifest,
                    |other| matches!(other.on.source(), Source::Topic(name) if name == topic)
                )
            );
        }
        Source::Schedule(schedule) => {
            let zone = on.time_zone.clone().unwrap_or_default();
            if let Some(next) = schedule.next(NOW, &zone) {
                assert!(next > NOW, "{} gives {next}", schedule.as_str());
            }
            if let Some(last) = schedule.last(NOW, &zone) {
                assert!(last <= NOW, "{} gives {last}", schedule.as_str());
            }
            let _: Missed = on.missed.unwrap_or_default();
        }
        Source::Http(requests) => {
            let mut routes = requests.routes.iter();
            assert!(routes.all(|route| route.to_string().starts_with('/')));
        }
    }
}

fn woken(manifest: &Manifest, by: impl Fn(&Function) -> bool) -> Vec<String> {
    let functions = manifest.functions.iter().filter(|function| by(function));
    functions.map(|function| function.name.clone()).collect()
}

fn check_values(manifest: &Manifest, function: &Function) {
    let limits = &function.limits;
    assert!((1 << 16..=4 << 30).contains(&limits.memory.0));
    assert!(limits.fuel > 0 && (1..=10_000).contains(&function.concurrency()));
    assert!(limits.staging <= manifest.queue.max_staging);
    assert!(function.retry.attempts > 0);
    assert!(function.retry.backoff.first <= function.retry.backoff.longest);
    for size in [limits.memory, limits.staging, limits.log] {
        assert_eq!(size.to_string().parse::<ByteSize>(), Ok(size));
    }
    let windows = [function.on.batch_window, function.retry.max_age];
    for period in windows.into_iter().flatten().chain([limits.timeout]) {
        assert!(same(period, duration(&period.to_string())), "{period}");
    }
    let granted = function.grants.read.iter().chain(&function.grants.write);
    for grant in granted {
        assert!(manifest.buckets.contains_key(&grant.bucket));
    }
    let mut keyvalue = function.grants.keyvalue.iter();
    assert!(keyvalue.all(|name| is_name(keyvalue_bucket(name))));
}

fn same(period: Period, read: Result<std::time::Duration, String>) -> bool {
    read.is_ok_and(|read| read == period.0)
}
