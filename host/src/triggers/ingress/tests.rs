//! What others post, decoded.

mod cloudevents;
mod s3;
mod sns;

use std::path::{Path, PathBuf};

use http::HeaderValue;
use serde_json::{Value, json};

use super::*;

/// The ingress of a manifest that has these lines in it, and a bucket `photos`.
fn manifest(lines: &str) -> Manifest {
    let text = format!(
        "[app]\nname = \"a\"\n[buckets.photos]\n[topics.orders]\n[topics.others]\n\
         [[ingress]]\npath = \"/e\"\nauth = \"none\"\n{lines}"
    );
    Manifest::parse(&text, Path::new("/app"), "kinglet.toml").unwrap()
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

/// A record as Amazon S3 has it, with some of it replaced.
fn record(changes: &Value) -> Value {
    let mut record = json!({
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "eu-west-1",
        "eventTime": "2026-01-31T12:00:00.123Z",
        "eventName": "ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": "photos"},
            "object": {"key": "a+b/c%2Bd.jpg", "size": 1024, "eTag": "e1", "sequencer": "0A"},
        },
    });
    merge(&mut record, changes);
    record
}

/// Null removes a member.
fn merge(value: &mut Value, changes: &Value) {
    let (Some(members), Some(changes)) = (value.as_object_mut(), changes.as_object()) else {
        *value = changes.clone();
        return;
    };
    for (name, change) in changes {
        match change {
            Value::Null => drop(members.remove(name)),
            _ => merge(members.entry(name.clone()).or_insert(Value::Null), change),
        }
    }
}

/// The folder of the fixtures that the crate `aws_lambda_events` has, where cargo unpacked it to build this test.
fn fixtures() -> PathBuf {
    let lock = include_str!("../../../../Cargo.lock");
    let (_, behind) = lock.split_once("name = \"aws_lambda_events\"").unwrap();
    let version = behind.split('"').nth(1).unwrap();
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home =
        home.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cargo"));
    let registries = home.join("registry/src");
    let unpacked = registries
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let fixtures = format!("aws_lambda_events-{version}/src/fixtures");
    let mut folders = unpacked.map(|registry| registry.join(&fixtures));
    folders.find(|folder| folder.is_dir()).unwrap_or_else(|| {
        panic!(
            "there is no {fixtures} in {}; run `cargo fetch`",
            registries.display()
        )
    })
}

/// What AWS sends to functions: notifications of S3 are taken, what is wrapped for Lambda alone isn't, and nothing is taken
/// for what it isn't.
#[test]
fn each_fixture_of_aws_is_taken_for_what_it_is() {
    let objects = manifest("format = \"s3\"\nbuckets = { sourcebucket = \"photos\" }");
    let events = manifest("format = \"cloudevents\"\ntopic = \"orders\"");
    let by_sns = manifest(
        "format = \"s3\"\nsns = { topics = [\"arn:aws:sns:us-west-2:123456789012:MyTopic\", \"arn:aws:sns:us-east-1:123456789012:MyTopic\"] }",
    );
    let mut seen = 0;
    let mut confirmed = Vec::new();
    for entry in fixtures().read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        seen += 1;
        let body = std::fs::read(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let s3 = decode(&objects, &objects.ingresses[0], &HeaderMap::new(), &body);
        if name.starts_with("example-s3-event") {
            let Ok(Posted::Events(batch)) = s3 else {
                panic!("{name}: {s3:?}")
            };
            assert_eq!(batch.objects[0].object.key, "Happy Face.jpg");
            assert_eq!(batch.objects[0].id, "Happy Face.jpg@version");
        } else {
            let error = s3.unwrap_err();
            assert!(
                error.status().is_client_error() && !error.to_string().is_empty(),
                "{name}: {error}"
            );
        }
        for content_type in [
            "application/json",
            "application/cloudevents+json",
            "application/cloudevents-batch+json",
        ] {
            let headers = headers(&[("content-type", content_type)]);
            let error = decode(&events, &events.ingresses[0], &headers, &body).unwrap_err();
            assert!(error.status().is_client_error(), "{name}: {error}");
        }
        match decode(&by_sns, &by_sns.ingresses[0], &HeaderMap::new(), &body) {
            Ok(Posted::Confirm { .. } | Posted::Unsubscribed { .. }) => confirmed.push(name),
            Ok(other) => panic!("{name}: {other:?}"),
            Err(error) => assert!(error.status().is_client_error(), "{name}: {error}"),
        }
    }
    confirmed.sort();
    assert!(seen >= 173, "there are {seen}");
    assert_eq!(
        confirmed,
        [
            "example-sns-subscription-confirmation",
            "example-sns-unsubscribe-confirmation"
        ]
    );
}
