//! Amazon SNS: what a topic sends to an address that is subscribed to it.

use http::{HeaderMap, Uri};
use serde::Deserialize;

use super::{DecodeError, json, shown};
use crate::config::{Destination, Sns};

/// The header that says that a message comes without its envelope.
const RAW: &str = "x-amz-sns-rawdelivery";
/// The header with the topic.
const TOPIC: &str = "x-amz-sns-topic-arn";

/// What a topic sends.
#[derive(Debug)]
pub enum Envelope {
    /// A message's body.
    Message(Vec<u8>),
    /// The question whether it may send.
    Confirm {
        /// The topic.
        topic_arn: String,
        /// What is to be got as the answer.
        address: Uri,
    },
    /// That it sends no more.
    Unsubscribed {
        /// The topic.
        topic_arn: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Notification {
    r#type: Option<String>,
    topic_arn: Option<String>,
    message: Option<String>,
    #[serde(rename = "SubscribeURL")]
    subscribe_url: Option<String>,
}

/// What a request has, of a topic that may send.
///
/// # Errors
/// Where it isn't of SNS, or its topic may not send, or it is to be confirmed where it may not.
pub fn decode(sns: &Sns, headers: &HeaderMap, body: &[u8]) -> Result<Envelope, DecodeError> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if header(RAW).is_some_and(|raw| raw.eq_ignore_ascii_case("true")) {
        let topic = header(TOPIC).ok_or_else(|| DecodeError::event(None, TOPIC, "is missing"))?;
        check_topic(sns, topic)?;
        return Ok(Envelope::Message(body.to_vec()));
    }
    let text = json::text(body)?;
    let not_of_sns = |problem: &str| DecodeError::Body {
        problem: format!("isn't what SNS sends: {problem}"),
    };
    let notification: Notification =
        serde_json::from_str(text).map_err(|error| not_of_sns(&error.to_string()))?;
    let kind = notification
        .r#type
        .ok_or_else(|| not_of_sns("`Type` is missing"))?;
    let topic_arn = notification
        .topic_arn
        .ok_or_else(|| not_of_sns("`TopicArn` is missing"))?;
    check_topic(sns, &topic_arn)?;
    match kind.as_str() {
        "Notification" => {
            let message = notification
                .message
                .ok_or_else(|| not_of_sns("`Message` is missing"))?;
            Ok(Envelope::Message(message.into_bytes()))
        }
        "SubscriptionConfirmation" => {
            let address = notification
                .subscribe_url
                .ok_or_else(|| not_of_sns("`SubscribeURL` is missing"))?;
            let parsed = address
                .parse()
                .ok()
                .filter(|uri| may_confirm(&sns.confirm, uri));
            let address = parsed.ok_or_else(|| DecodeError::Address {
                address: shown(&address),
            })?;
            Ok(Envelope::Confirm { topic_arn, address })
        }
        "UnsubscribeConfirmation" => Ok(Envelope::Unsubscribed { topic_arn }),
        other => Err(not_of_sns(&format!("there is no type {:?}", shown(other)))),
    }
}

fn check_topic(sns: &Sns, topic_arn: &str) -> Result<(), DecodeError> {
    match sns.topics.iter().any(|topic| topic == topic_arn) {
        true => Ok(()),
        false => Err(DecodeError::Topic {
            topic_arn: shown(topic_arn),
        }),
    }
}

/// Whether a subscription may be confirmed at an address: at Amazon's own hosts, or where the manifest says. It is the
/// only request that a sender has this host make, and it mustn't choose where to.
fn may_confirm(confirm: &[Destination], address: &Uri) -> bool {
    let Some(authority) = address.authority() else {
        return false;
    };
    let secure = address.scheme_str() == Some("https");
    let scheme = secure || address.scheme_str() == Some("http");
    if !scheme || authority.as_str().contains('@') {
        return false;
    }
    let default = if secure { 443 } else { 80 };
    let port = authority.port_u16().unwrap_or(default);
    let asked = address.query().unwrap_or_default();
    let confirms = asked
        .split('&')
        .any(|pair| pair == "Action=ConfirmSubscription");
    let amazon = secure && port == 443 && is_amazon(authority.host()) && confirms;
    amazon
        || confirm
            .iter()
            .any(|destination| destination.covers(secure, authority.host(), port))
}

/// `sns.REGION.amazonaws.com`, or the same in China.
fn is_amazon(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let region = host.strip_prefix("sns.").and_then(|rest| {
        rest.strip_suffix(".amazonaws.com")
            .or_else(|| rest.strip_suffix(".amazonaws.com.cn"))
    });
    region.is_some_and(|region| {
        !region.is_empty()
            && region
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    })
}
