//! What comes by SNS.

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::{headers, manifest, merge, record};
use crate::config::Manifest;
use crate::triggers::ingress::{DecodeError, Posted, decode};

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
