//! CloudEvents.

use std::collections::BTreeMap;

use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::{headers, manifest};
use crate::config::Ingress;
use crate::triggers::ingress::cloudevents::{self, CloudEvent};
use crate::triggers::ingress::{Batch, DecodeError, MOST_EVENTS, Posted, decode};

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
