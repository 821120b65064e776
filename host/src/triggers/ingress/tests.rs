use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use http::HeaderValue;
use serde_json::{Value, json};

use super::cloudevents::{self, CloudEvent};
use super::*;
use crate::config::Keys;

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

fn structured(event: &str) -> Result<CloudEvent, DecodeError> {
    let headers = headers(&[(
        "content-type",
        "application/cloudevents+json; charset=utf-8",
    )]);
    let events = cloudevents::decode(&headers, event.as_bytes())?;
    let [event] = <[_; 1]>::try_from(events).unwrap();
    Ok(event)
}

fn binary(pairs: &[(&'static str, &str)], body: &[u8]) -> Result<CloudEvent, DecodeError> {
    let mut headers = headers(pairs);
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
    ] {
        if !headers.contains_key(name) {
            headers.append(name, HeaderValue::from_static(value));
        }
    }
    let events = cloudevents::decode(&headers, body)?;
    let [event] = <[_; 1]>::try_from(events).unwrap();
    Ok(event)
}

#[test]
fn a_structured_event_keeps_its_data_as_it_is() {
    let event = structured(
        r#" { "specversion" : "1.0", "id": "7", "source": "/shop", "type": "com.example.order", "subject": "a\u00e9",
              "time": "2026-01-31T12:00:00.5+01:00", "flag": true, "count": -3, "nothing": null,
              "data": {"b": 1.00, "a": [12345678901234567890123] } } "#,
    )
    .unwrap();
    assert_eq!((event.id.as_str(), event.source.as_str()), ("7", "/shop"));
    assert_eq!(event.kind, "com.example.order");
    assert_eq!(event.content_type.as_deref(), Some("application/json"));
    assert_eq!(
        event.data,
        br#"{"b": 1.00, "a": [12345678901234567890123] }"#
    );
    let names: Vec<&str> = event.attributes.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "count",
            "flag",
            "id",
            "source",
            "specversion",
            "subject",
            "time",
            "type"
        ]
    );
    assert_eq!(event.attributes["subject"], "a\u{e9}");
    assert_eq!(
        (&*event.attributes["flag"], &*event.attributes["count"]),
        ("true", "-3")
    );
}

/// An event with these members beside those that it must have.
fn with(members: &str) -> Result<CloudEvent, DecodeError> {
    structured(&format!(
        r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{members}}}"#
    ))
}

#[test]
fn data_is_what_its_type_says() {
    for (members, content_type, data) in [
        ("", None, ""),
        (r#","data":"a\nb""#, Some("application/json"), r#""a\nb""#),
        (r#","data":null"#, Some("application/json"), "null"),
        (
            r#","datacontenttype":"text/plain","data":"a\nb""#,
            Some("text/plain"),
            "a\nb",
        ),
        (
            r#","datacontenttype":"text/plain","data":7"#,
            Some("text/plain"),
            "7",
        ),
        (
            r#","datacontenttype":"application/vnd.x+json; v=1","data":"a""#,
            Some("application/vnd.x+json; v=1"),
            r#""a""#,
        ),
        (r#","data_base64":"AGFi""#, None, "\0ab"),
        (
            r#","datacontenttype":"image/png","data_base64":"""#,
            Some("image/png"),
            "",
        ),
        (r#","data_base64":null"#, None, ""),
    ] {
        let event = with(members).unwrap();
        assert_eq!(event.content_type.as_deref(), content_type, "{members}");
        assert_eq!(event.data, data.as_bytes(), "{members}");
    }
}

#[test]
fn a_structured_event_that_is_none_is_told_why() {
    for (event, says) in [
        ("", "isn't JSON"),
        ("{\"id\":", "isn't JSON"),
        ("[]", "a list where an object is wanted"),
        ("{}", "`specversion` is missing"),
        (
            r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#,
            "\"0.3\"; send \"1.0\"",
        ),
        (
            r#"{"specversion":1.0,"id":"1","source":"/s","type":"t"}"#,
            "`specversion` is 1.0",
        ),
        (
            r#"{"specversion":"1.0","id":"","source":"/s","type":"t"}"#,
            "`id` is empty",
        ),
        (
            r#"{"specversion":"1.0","id":"1","type":"t"}"#,
            "`source` is missing",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":null,"type":"t"}"#,
            "`source` is missing",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"/s"}"#,
            "`type` is missing",
        ),
        (
            r#"{"specversion":"1.0","id":"1","id":"2","source":"/s","type":"t"}"#,
            "`id` twice",
        ),
    ] {
        let error = structured(event).unwrap_err();
        assert_eq!(error.status(), StatusCode::BAD_REQUEST);
        assert!(error.to_string().contains(says), "{event}: {error}");
    }
    for (members, says) in [
        (r#","Ext":"a""#, "`Ext` isn't an attribute's name"),
        (r#","my_ext":"a""#, "`my_ext`"),
        (r#","ext":{"a":1}"#, "`ext` is an object"),
        (r#","ext":2147483648"#, "`ext` is 2147483648"),
        (r#","ext":1.5"#, "`ext` is 1.5"),
        (r#","ext":"a\u0000b""#, "`ext` has a control character"),
        (r#","time":"noon""#, "`time` is \"noon\""),
        (r#","data":1,"data_base64":"AA==""#, "one of them"),
        (r#","data_base64":"A""#, "`data_base64` isn't base64"),
        (r#","data_base64":7"#, "`data_base64` is a number"),
        (
            r#","datacontenttype":"text/plain","data":"\ud800""#,
            "isn't text",
        ),
    ] {
        let error = with(members).unwrap_err();
        assert!(error.to_string().contains(says), "{members}: {error}");
    }
}

#[test]
fn a_binary_event_is_in_its_headers() {
    let event = binary(
        &[
            ("content-type", "text/plain; charset=utf-8"),
            ("ce-id", "a%20b"),
            ("ce-subject", "Euro %E2%82%AC %F0%9F%98%80"),
            ("ce-quoted", r#""a \"b\" %20\\c""#),
            ("ce-odd", "100% %zz"),
            ("ce-time", "2026-01-31T12:00:00Z"),
            ("x-other", "no"),
        ],
        b"\xff\x00",
    )
    .unwrap();
    assert_eq!(event.id, "a b");
    assert_eq!(event.attributes["subject"], "Euro \u{20ac} \u{1f600}");
    assert_eq!(event.attributes["quoted"], "a \"b\"  \\c");
    assert_eq!(event.attributes["odd"], "100% %zz");
    assert!(!event.attributes.contains_key("other"));
    assert_eq!(
        event.content_type.as_deref(),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(event.data, b"\xff\x00");
    // Some senders write it as an attribute.
    let event = binary(&[("ce-datacontenttype", "text/csv")], b"a").unwrap();
    assert_eq!(event.content_type.as_deref(), Some("text/csv"));
    assert!(!event.attributes.contains_key("datacontenttype"));
    assert_eq!(binary(&[], b"").unwrap().content_type, None);
}

#[test]
fn a_binary_event_that_is_none_is_told_why() {
    for (pairs, says) in [
        (&[("ce-specversion", "2.0")][..], "\"2.0\"; send \"1.0\""),
        (&[("ce-id", "")], "`id` is empty"),
        (
            &[("ce-id", "a"), ("ce-id", "b")],
            "`ce-id` is there more than once",
        ),
        (
            &[("ce-subject", "\u{20ac}")],
            "`ce-subject` has bytes that aren't ASCII",
        ),
        (&[("ce-subject", "%ff")], "isn't UTF-8"),
        (&[("ce-subject", "%00")], "control character"),
        (&[("ce-subject", "\"a")], "doesn't end with one"),
        (&[("ce-subject", "\"a\"b\"")], "goes on"),
        (&[("ce-subject", "\"a\\\"")], "ends within"),
        (&[("ce-a_b", "x")], "`a_b` isn't an attribute's name"),
    ] {
        let error = binary(pairs, b"").unwrap_err();
        assert!(error.to_string().contains(says), "{pairs:?}: {error}");
    }
    for content_type in [
        "application/json",
        "application/cloudevents+avro",
        "APPLICATION/CloudEvents",
    ] {
        let headers = headers(&[("content-type", content_type)]);
        let error = cloudevents::decode(&headers, b"{}").unwrap_err();
        assert_eq!(
            error.status(),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{content_type}"
        );
        assert!(
            error
                .to_string()
                .contains("application/cloudevents-batch+json"),
            "{error}"
        );
    }
}

#[test]
fn one_bad_event_of_a_batch_is_named() {
    let headers = headers(&[("content-type", "Application/CloudEvents-Batch+JSON")]);
    let event =
        |id: &str| json!({"specversion": "1.0", "id": id, "source": "/s", "type": "t", "data": id});
    let decode = |batch: &Value| cloudevents::decode(&headers, batch.to_string().as_bytes());
    let events = decode(&json!([event("a"), event("b")])).unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].data, b"\"b\"");
    assert_eq!(decode(&json!([])).unwrap(), []);
    let error = decode(&json!([event("a"), event(""), event("c")])).unwrap_err();
    assert_eq!(error.to_string(), "event 1 isn't taken: `id` is empty");
    let error = decode(&json!([event("a"), 7])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "event 1 is a number where an object is wanted"
    );
    assert!(decode(&event("a")).is_err());
    let error = decode(&Value::Array(vec![event("a"); MOST_EVENTS + 1])).unwrap_err();
    assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[test]
fn a_cloud_event_becomes_a_message_on_the_topic_of_its_type() {
    let manifest = manifest("format = \"cloudevents\"\ntopics = { \"a.order\" = \"orders\" }");
    let ingress = &manifest.ingresses[0];
    let headers = headers(&[("content-type", "application/cloudevents+json")]);
    let event = |kind: &str| json!({"specversion": "1.0", "id": "7", "source": "/s", "type": kind, "partitionkey": "k", "data": 1});
    let posted = |ingress: &Ingress, kind: &str| {
        decode(
            &manifest,
            ingress,
            &headers,
            event(kind).to_string().as_bytes(),
        )
    };
    let Posted::Events(Batch { messages, .. }) = posted(ingress, "a.order").unwrap() else {
        panic!("it is an event");
    };
    let [message] = messages.as_slice() else {
        panic!("it is one")
    };
    assert_eq!(
        (message.id.as_deref(), message.source.as_deref()),
        (Some("7"), Some("/s"))
    );
    assert_eq!(message.draft.topic, "orders");
    assert_eq!(message.draft.ordering_key.as_deref(), Some("k"));
    let attributes: BTreeMap<_, _> = message.draft.attributes.iter().cloned().collect();
    assert_eq!(attributes["ce-type"], "a.order");
    assert_eq!(attributes["ce-partitionkey"], "k");
    assert_eq!(attributes.len(), 5);
    let error = posted(ingress, "b.order").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the event isn't taken: `type` is \"b.order\", which no topic takes here"
    );
    let fallback = Ingress {
        topic: Some("others".to_owned()),
        ..ingress.clone()
    };
    let Posted::Events(Batch { messages, .. }) = posted(&fallback, "b.order").unwrap() else {
        panic!("it is an event");
    };
    assert_eq!(messages[0].draft.topic, "others");
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

fn told(changes: &Value) -> Result<s3::Notification, DecodeError> {
    s3::decode(
        json!({"Records": [record(changes)]}).to_string().as_bytes(),
        None,
    )
}

fn one(changes: &Value) -> s3::StoredObject {
    let notification = told(changes).unwrap();
    let [object] = notification.objects.as_slice() else {
        panic!("{changes}: {notification:?}");
    };
    object.clone()
}

fn object(members: Value) -> Value {
    json!({"s3": {"object": members}})
}

#[test]
fn keys_are_read_as_their_sender_writes_them() {
    let key = |changes: &Value| one(changes).object.key;
    assert_eq!(key(&json!({})), "a b/c+d.jpg");
    // MinIO encodes slashes as well.
    let minio = json!({"eventSource": "minio:s3", "eventVersion": "2.0", "eventName": "s3:ObjectCreated:Put",
        "s3": {"object": {"key": "a%2F%E7%8C%AB+1.jpg"}}});
    assert_eq!(key(&minio), "a/\u{732b} 1.jpg");
    let ceph = json!({"eventSource": "ceph:s3", "eventVersion": "2.2", "s3": {"object": {"key": "a+b%20c/100%.jpg"}}});
    assert_eq!(key(&ceph), "a+b%20c/100%.jpg");
    let overruled = |changes: &Value, keys| {
        let body = json!({"Records": [record(changes)]}).to_string();
        s3::decode(body.as_bytes(), Some(keys)).unwrap().objects[0]
            .object
            .key
            .clone()
    };
    assert_eq!(overruled(&json!({}), Keys::Raw), "a+b/c%2Bd.jpg");
    let encoded = json!({"eventSource": "ceph:s3", "s3": {"object": {"key": "a+b"}}});
    assert_eq!(overruled(&encoded, Keys::Encoded), "a b");
}

#[test]
fn what_is_told_of_an_object_comes_along() {
    let stored = one(&json!({}));
    assert_eq!(
        (stored.bucket.as_str(), stored.version.as_str()),
        ("photos", "e1.0A")
    );
    assert_eq!(
        (stored.object.size, stored.object.etag.as_str()),
        (1024, "e1")
    );
    assert_eq!(stored.object.modified, 1_769_860_800_123);
    let minio = one(&json!({"eventSource": "minio:s3", "s3": {"object": {
        "size": null, "contentType": "image/jpeg",
        "userMetadata": {"content-type": "image/jpeg", "X-Amz-Meta-Owner": "me"}}}}));
    assert_eq!(
        (minio.object.size, minio.object.content_type.as_deref()),
        (0, Some("image/jpeg"))
    );
    assert_eq!(
        minio.object.metadata,
        [("owner".to_owned(), "me".to_owned())]
    );
    let ceph = one(
        &json!({"eventSource": "ceph:s3", "eventTime": "2026-01-31T12:00:00.123456Z", "s3": {"object": {
        "size": "7", "versionId": "", "metadata": [{"key": "x-amz-meta-owner", "val": "me"}], "tags": []}}}),
    );
    assert_eq!(ceph.object.size, 7);
    assert_eq!(
        ceph.object.metadata,
        [("owner".to_owned(), "me".to_owned())]
    );
}

#[test]
fn an_upload_is_told_from_every_other_and_from_no_repeat() {
    let version = |members: Value| one(&object(members)).version;
    let first = version(json!({}));
    assert_eq!(first, version(json!({"size": 1024})));
    // The same bytes once more.
    assert_ne!(first, version(json!({"sequencer": "0B"})));
    assert_ne!(first, version(json!({"eTag": "e2"})));
    assert_eq!(
        version(json!({"versionId": "v1"})),
        version(json!({"versionId": "v1", "sequencer": "0B"}))
    );
    assert_eq!(first, version(json!({"versionId": "null"})));
    // Ceph's sequencer is the time at which it tells, and its time is the object's.
    let ceph = |time: &str, sequencer: &str| {
        one(&json!({"eventSource": "ceph:s3", "eventTime": time, "s3": {"object": {"sequencer": sequencer}}})).version
    };
    let (noon, later) = ("2026-01-31T12:00:00.1Z", "2026-01-31T12:00:00.2Z");
    assert_eq!(ceph(noon, "0A"), ceph(noon, "0B"));
    assert_ne!(ceph(noon, "0A"), ceph(later, "0A"));
    let by_time = |time: &str| {
        one(&json!({"eventTime": time, "s3": {"object": {"sequencer": null}}})).version
    };
    assert_ne!(by_time(noon), by_time(later));
}

#[test]
fn what_creates_no_object_is_ignored_and_told() {
    for name in [
        "ObjectRemoved:Delete",
        "s3:ObjectRestore:Completed",
        "ObjectTagging:Put",
        "s3:ObjectCreated:PutRetention",
        "s3:ObjectCreated:PutLegalHold",
        "s3:ObjectCreated:PutTagging",
        "s3:ObjectCreated:DeleteTagging",
        "LifecycleTransition",
    ] {
        let notification = told(&json!({"eventName": name, "s3": null})).unwrap();
        assert_eq!(notification.objects, []);
        assert!(notification.ignored[0].contains(name), "{notification:?}");
    }
    let begun = json!({"eventSource": "ceph:s3", "eventName": "ObjectCreated:Post", "s3": {"object": {"eTag": ""}}});
    assert!(told(&begun).unwrap().ignored[0].contains("begin of a multipart"));
    let posted = json!({"eventSource": "ceph:s3", "eventName": "ObjectCreated:Post"});
    assert_eq!(told(&posted).unwrap().objects.len(), 1);
    let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "photos"});
    let test = s3::decode(test.to_string().as_bytes(), None).unwrap();
    assert_eq!((test.objects.len(), test.ignored.len()), (0, 1));
    let empty = s3::decode(br#"{"Records":[]}"#, None).unwrap();
    assert_eq!(empty, s3::Notification::default());
}

#[test]
fn a_record_that_is_none_is_told_why() {
    for (changes, says) in [
        (
            json!({"eventSource": "aws:ses"}),
            "event 0 isn't taken: `eventSource` is \"aws:ses\"",
        ),
        (json!({"eventSource": null}), "`eventSource`"),
        (json!({"eventVersion": "3.0"}), "`eventVersion` is \"3.0\""),
        (json!({"eventVersion": null}), "`eventVersion`"),
        (json!({"eventName": null}), "`eventName` is missing"),
        (json!({"eventTime": null}), "`eventTime`"),
        (json!({"eventTime": "noon"}), "\"noon\""),
        (json!({"s3": null}), "`s3` is missing"),
        (object(json!({"key": null})), "missing field `key`"),
        (object(json!({"key": 7})), "invalid type"),
        (object(json!({"key": "100%.jpg"})), "keys = \"raw\""),
        (object(json!({"key": "%zz"})), "encodes nothing"),
        (object(json!({"key": "%ff"})), "isn't UTF-8"),
        (object(json!({"size": -1})), "a size in bytes"),
        (object(json!({"size": "many"})), "a size in bytes"),
        (
            object(json!({"eTag": null})),
            "nothing tells one version from another",
        ),
    ] {
        let error = told(&changes).unwrap_err();
        assert!(error.to_string().contains(says), "{changes}: {error}");
    }
    for (body, says) in [
        (&b""[..], "isn't JSON"),
        (b"[]", "isn't a notification"),
        (b"{}", "no `Records`"),
        (b"{\"Records\":{}}", "isn't a notification"),
        (b"{\"Event\":\"s3:Other\"}", "no `Records`"),
        (
            b"{\"detail-type\":\"Object Created\",\"source\":\"me\"}",
            "no `Records`",
        ),
        (
            b"{\"detail-type\":\"Object Created\",\"source\":\"aws.s3\"}",
            "`detail` is missing",
        ),
    ] {
        let error = s3::decode(body, None).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
    let many = json!({"Records": vec![record(&json!({})); MOST_EVENTS + 1]});
    let error = s3::decode(many.to_string().as_bytes(), None).unwrap_err();
    assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[test]
fn event_bridge_tells_of_objects_as_well() {
    let event = |kind: &str| {
        json!({"version": "0", "id": "1", "detail-type": kind, "source": "aws.s3", "time": "2026-01-31T12:00:00Z",
            "detail": {"bucket": {"name": "photos"}, "reason": "PutObject",
                "object": {"key": "a+b.jpg", "size": 5, "etag": "e1", "version-id": "v1", "sequencer": "0A"}}})
        .to_string()
    };
    let created = s3::decode(event("Object Created").as_bytes(), None).unwrap();
    let object = &created.objects[0];
    assert_eq!(
        (object.object.key.as_str(), object.version.as_str()),
        ("a+b.jpg", "v1")
    );
    assert_eq!((object.object.etag.as_str(), object.object.size), ("e1", 5));
    let deleted = s3::decode(event("Object Deleted").as_bytes(), None).unwrap();
    assert_eq!((deleted.objects.len(), deleted.ignored.len()), (0, 1));
}

#[test]
fn an_object_is_of_the_manifests_bucket() {
    let post = |manifest: &Manifest, records: &[Value]| {
        let body = json!({"Records": records}).to_string();
        match decode(
            manifest,
            &manifest.ingresses[0],
            &HeaderMap::new(),
            body.as_bytes(),
        ) {
            Ok(Posted::Events(batch)) => Ok(batch),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        }
    };
    let same = manifest("format = \"s3\"");
    let batch = post(&same, &[record(&json!({}))]).unwrap();
    assert_eq!(
        (
            batch.objects[0].bucket.as_str(),
            batch.objects[0].id.as_str()
        ),
        ("photos", "a b/c+d.jpg@e1.0A")
    );
    let remote = json!({"s3": {"bucket": {"name": "remote.photos"}}});
    let error = post(&same, &[record(&json!({})), record(&remote)]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("event 1 isn't taken: `s3.bucket.name` is \"remote.photos\""),
        "{error}"
    );
    let mapped = manifest("format = \"s3\"\nbuckets = { \"remote.photos\" = \"photos\" }");
    assert_eq!(
        post(&mapped, &[record(&remote)]).unwrap().objects[0].bucket,
        "photos"
    );
    assert!(post(&mapped, &[record(&json!({}))]).is_err());
    // What a folder's bucket couldn't have.
    let keys = ["folder%2F", ".hidden", "a%2F..%2Fb", "a.part", "%00", ""];
    let records = keys.map(|key| record(&object(json!({"key": key}))));
    let batch = post(&same, &records).unwrap();
    assert_eq!(
        (batch.objects.len(), batch.ignored.len()),
        (0, keys.len()),
        "{batch:?}"
    );
}

const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:photos";

fn sns(lines: &str) -> Manifest {
    manifest(&format!(
        "{lines}\nsns = {{ topics = \"{TOPIC}\", confirm = \"http://localhost:5000\" }}"
    ))
}

fn envelope(message: &Value) -> Value {
    json!({"Type": "Notification", "MessageId": "m", "TopicArn": TOPIC, "Message": message.to_string(),
        "Timestamp": "2026-01-31T12:00:00.000Z", "SignatureVersion": "1", "Signature": "x"})
}

fn post(manifest: &Manifest, headers: &HeaderMap, body: &Value) -> Result<Posted, DecodeError> {
    decode(
        manifest,
        &manifest.ingresses[0],
        headers,
        body.to_string().as_bytes(),
    )
}

#[test]
fn what_comes_by_sns_is_unwrapped() {
    let photos = sns("format = \"s3\"");
    let notification = json!({"Records": [record(&json!({}))]});
    let raw = headers(&[
        ("x-amz-sns-rawdelivery", "true"),
        ("x-amz-sns-topic-arn", TOPIC),
    ]);
    for (headers, body) in [
        (HeaderMap::new(), envelope(&notification)),
        (raw.clone(), notification.clone()),
    ] {
        let posted = post(&photos, &headers, &body).unwrap();
        assert!(
            matches!(&posted, Posted::Events(batch) if batch.objects.len() == 1),
            "{posted:?}"
        );
    }
    let test = envelope(&json!({"Service": "Amazon S3", "Event": "s3:TestEvent"}));
    let posted = post(&photos, &HeaderMap::new(), &test).unwrap();
    assert!(
        matches!(&posted, Posted::Events(batch) if batch.ignored.len() == 1),
        "{posted:?}"
    );
    let orders = sns("format = \"cloudevents\"\ntopic = \"orders\"");
    let event = json!({"specversion": "1.0", "id": "7", "source": "/s", "type": "t"});
    for (message, count) in [(event.clone(), 1), (json!([event, event]), 2)] {
        let posted = post(&orders, &HeaderMap::new(), &envelope(&message)).unwrap();
        assert!(
            matches!(&posted, Posted::Events(batch) if batch.messages.len() == count),
            "{posted:?}"
        );
    }
    let error = post(&orders, &HeaderMap::new(), &event).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("isn't what SNS sends: `Type` is missing"),
        "{error}"
    );
}

#[test]
fn only_topics_of_the_manifest_send() {
    let photos = sns("format = \"s3\"");
    let mut other = envelope(&json!({"Records": []}));
    other["TopicArn"] = json!("arn:aws:sns:eu-west-1:666:photos");
    let error = post(&photos, &HeaderMap::new(), &other).unwrap_err();
    assert_eq!(error.status(), StatusCode::FORBIDDEN);
    let other = headers(&[
        ("x-amz-sns-rawdelivery", "true"),
        ("x-amz-sns-topic-arn", "arn:other"),
    ]);
    assert!(matches!(
        post(&photos, &other, &json!({"Records": []})),
        Err(DecodeError::Topic { .. })
    ));
    let none = headers(&[("x-amz-sns-rawdelivery", "true")]);
    assert!(matches!(
        post(&photos, &none, &json!({"Records": []})),
        Err(DecodeError::Event { .. })
    ));
    let gone = json!({"Type": "UnsubscribeConfirmation", "TopicArn": TOPIC});
    assert!(matches!(
        post(&photos, &HeaderMap::new(), &gone),
        Ok(Posted::Unsubscribed { .. })
    ));
    for (changes, says) in [
        (json!({"Type": "Other"}), "\"Other\""),
        (json!({"Type": null}), "`Type`"),
        (json!({"TopicArn": null}), "`TopicArn`"),
        (json!({"Message": null}), "`Message`"),
        (
            json!({"Type": "SubscriptionConfirmation"}),
            "`SubscribeURL`",
        ),
    ] {
        let mut body = envelope(&json!({}));
        merge(&mut body, &changes);
        let error = post(&photos, &HeaderMap::new(), &body).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn a_subscription_is_confirmed_where_it_may_be_and_nowhere_else() {
    let photos = sns("format = \"s3\"");
    let ask = |address: &str| {
        let body =
            json!({"Type": "SubscriptionConfirmation", "TopicArn": TOPIC, "SubscribeURL": address});
        post(&photos, &HeaderMap::new(), &body)
    };
    for good in [
        "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=a&Token=b",
        "https://sns.cn-north-1.amazonaws.com.cn/?Action=ConfirmSubscription&Token=b",
        "https://SNS.us-gov-west-1.amazonaws.com:443/?Action=ConfirmSubscription",
        "http://localhost:5000/anything",
    ] {
        let asked = ask(good);
        assert!(
            matches!(&asked, Ok(Posted::Confirm { address, .. }) if address == good),
            "{good}: {asked:?}"
        );
    }
    for bad in [
        "",
        "/?Action=ConfirmSubscription",
        "http://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription",
        "https://sns.eu-west-1.amazonaws.com/",
        "https://sns.eu-west-1.amazonaws.com/?Action=Publish",
        "https://sns.eu-west-1.amazonaws.com:8443/?Action=ConfirmSubscription",
        "https://sns.eu-west-1.amazonaws.com.evil.org/?Action=ConfirmSubscription",
        "https://bucket.sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription",
        "https://sns.a.b.amazonaws.com/?Action=ConfirmSubscription",
        "https://sns..amazonaws.com/?Action=ConfirmSubscription",
        "https://s3.amazonaws.com/?Action=ConfirmSubscription",
        "https://sns.eu-west-1.amazonaws.com@127.0.0.1/?Action=ConfirmSubscription",
        "https://127.0.0.1/?Action=ConfirmSubscription",
        "http://169.254.169.254/latest/meta-data",
        "http://localhost:5001/",
        "https://localhost:5000/",
        "ftp://localhost:5000/",
        "file:///etc/passwd",
    ] {
        let asked = ask(bad);
        assert!(
            matches!(&asked, Err(DecodeError::Address { .. })),
            "{bad}: {asked:?}"
        );
        assert_eq!(asked.unwrap_err().status(), StatusCode::FORBIDDEN);
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
    assert!(seen >= 174, "there are {seen}");
    assert_eq!(
        confirmed,
        [
            "example-sns-subscription-confirmation",
            "example-sns-unsubscribe-confirmation"
        ]
    );
}
