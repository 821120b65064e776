//! Notifications of object stores.

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::{manifest, record};
use crate::config::{Keys, Manifest};
use crate::triggers::ingress::{DecodeError, MOST_EVENTS, Posted, decode, s3};

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
