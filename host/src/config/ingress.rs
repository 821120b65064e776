//! Events that others send over HTTP: to which path, in which form, who may, and what becomes of them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use http::HeaderName;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::validate::{NAME_RULE, is_name};
use super::values::one_or_many;
use super::{ByteSize, Destination, Manifest, Route, Segment, Source};

/// The largest body that may be allowed: it is held in memory.
const MOST_BODY: ByteSize = ByteSize(64 << 20);

/// Events that are posted to one path.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Ingress {
    /// Where they are posted to, whichever host the request names.
    pub path: ExactPath,
    /// What they look like.
    pub format: Format,
    /// Of CloudEvents: the topic on which they are published.
    pub topic: Option<String>,
    /// Of CloudEvents: the topic by the event's `type`, before `topic`.
    #[serde(default)]
    pub topics: BTreeMap<String, String>,
    /// Of S3: the manifest's bucket by the sender's. Where it is empty, they have the same names.
    #[serde(default)]
    pub buckets: BTreeMap<String, String>,
    /// Of S3: how keys are written, where the sender doesn't do as others of its kind.
    pub keys: Option<Keys>,
    /// Has them come by way of Amazon SNS.
    pub sns: Option<Sns>,
    /// Who may post.
    pub auth: Auth,
    /// How long a request's body may be.
    #[serde(default = "default_max_body")]
    pub max_body: ByteSize,
}

fn default_max_body() -> ByteSize {
    ByteSize(1 << 20)
}

/// A path without parameters.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ExactPath(String);

/// What posted events look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// CloudEvents 1.0: binary, structured or in batches.
    CloudEvents,
    /// Notifications of an object store.
    S3,
}

/// How a sender writes keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keys {
    /// As a form has them: `a+b%2Fc`.
    Encoded,
    /// As they are.
    Raw,
}

/// Subscriptions of Amazon SNS.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sns {
    /// The ARNs of the topics that are taken, and whose subscriptions are confirmed.
    #[serde(deserialize_with = "one_or_many")]
    pub topics: Vec<String>,
    /// Where else than at Amazon's own hosts a subscription may be confirmed.
    #[serde(default, deserialize_with = "one_or_many")]
    pub confirm: Vec<Destination>,
}

/// How a sender shows that it may post. Files are relative to the manifest and have a secret on each line, each of which
/// holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Anybody may.
    Open,
    /// By a token.
    Bearer {
        /// Of tokens.
        file: PathBuf,
        /// The header that has it as it is, in place of `Authorization: Bearer`.
        header: Option<HeaderName>,
    },
    /// By a signature of the body, HMAC with SHA-256.
    Hmac {
        /// Of keys.
        file: PathBuf,
        /// The header that has it, in hex or base64.
        header: HeaderName,
    },
    /// By a name and a password.
    Basic {
        /// Of `name:password`.
        file: PathBuf,
    },
}

impl ExactPath {
    /// As requests have it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ExactPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ExactPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let route = Route::try_from(text.clone())?;
        let is_exact = |segment: &Segment| matches!(segment, Segment::Exact(_));
        if route.is_below() || !route.segments().iter().all(is_exact) {
            return Err(format!(
                "{text:?} stands for many paths; events are posted to one, as \"/events/orders\""
            ));
        }
        Ok(Self(text))
    }
}

impl Auth {
    /// Where its secrets are; none where anybody may post.
    pub fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::Open => None,
            Self::Bearer { file, .. } | Self::Hmac { file, .. } | Self::Basic { file } => {
                Some(file)
            }
        }
    }
}

const AUTH: &str = "\"none\", { bearer = FILE }, { basic = FILE } or { hmac = FILE, header = \"x-hub-signature-256\" }";

impl<'de> Deserialize<'de> for Auth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfAuth;
        impl<'de> Visitor<'de> for OfAuth {
            type Value = Auth;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(AUTH)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Auth, E> {
                match text {
                    "none" => Ok(Auth::Open),
                    _ => Err(E::custom(format!(
                        "{text:?} isn't a way to tell who posts; use {AUTH}"
                    ))),
                }
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Auth, M::Error> {
                let table = AuthTable::deserialize(MapAccessDeserializer::new(map))?;
                table.auth().map_err(M::Error::custom)
            }
        }
        deserializer.deserialize_any(OfAuth)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthTable {
    bearer: Option<PathBuf>,
    hmac: Option<PathBuf>,
    basic: Option<PathBuf>,
    header: Option<String>,
}

impl AuthTable {
    fn auth(self) -> Result<Auth, String> {
        let header = self.header.map(|name| {
            let parsed = HeaderName::try_from(&name);
            parsed.map_err(|_| {
                format!("{name:?} isn't a header's name; use one as \"x-hub-signature-256\"")
            })
        });
        let header = header.transpose()?;
        match (self.bearer, self.hmac, self.basic, header) {
            (Some(file), None, None, header) => Ok(Auth::Bearer { file, header }),
            (None, Some(file), None, Some(header)) => Ok(Auth::Hmac { file, header }),
            (None, Some(_), None, None) => Err(
                "`hmac` needs the `header` that has the signature, as \"x-hub-signature-256\""
                    .to_owned(),
            ),
            (None, None, Some(file), None) => Ok(Auth::Basic { file }),
            (None, None, Some(_), Some(_)) => Err(
                "`header` goes with `hmac` and `bearer`; `basic` comes in `Authorization`"
                    .to_owned(),
            ),
            _ => Err(format!("`auth` is exactly one of {AUTH}")),
        }
    }
}

impl Sns {
    /// Where subscriptions may be confirmed as far as connections go: the trigger looks at the whole address as well.
    pub fn destinations(&self) -> impl Iterator<Item = Destination> {
        let amazon = ["https://*.amazonaws.com", "https://*.amazonaws.com.cn"];
        let amazon = amazon.into_iter().map(str::to_owned);
        let amazon = amazon.filter_map(|origin| Destination::try_from(origin).ok());
        amazon.chain(self.confirm.iter().cloned())
    }
}

impl Ingress {
    /// The topic of CloudEvents of this type.
    pub fn topic_of(&self, kind: &str) -> Option<&str> {
        let topic = self.topics.get(kind).or(self.topic.as_ref());
        topic.map(String::as_str)
    }

    /// Every topic that it may publish on.
    pub fn topic_names(&self) -> impl Iterator<Item = &String> {
        self.topic.iter().chain(self.topics.values())
    }

    /// The manifest's bucket for what the sender calls its bucket.
    pub fn bucket_of<'a>(&'a self, manifest: &'a Manifest, sender: &str) -> Option<&'a str> {
        if self.buckets.is_empty() {
            let found = manifest.buckets.get_key_value(sender);
            return found.map(|(name, _)| name.as_str());
        }
        self.buckets.get(sender).map(String::as_str)
    }

    /// What becomes of its events, for people.
    pub fn describe(&self) -> String {
        let by_sns = if self.sns.is_some() { " by SNS" } else { "" };
        let mut names: Vec<&str> = match self.format {
            Format::CloudEvents => self.topic_names().map(String::as_str).collect(),
            Format::S3 => self.buckets.values().map(String::as_str).collect(),
        };
        names.sort_unstable();
        names.dedup();
        match self.format {
            Format::CloudEvents => format!("CloudEvents{by_sns} to {}", names.join(", ")),
            Format::S3 if names.is_empty() => format!("notifications{by_sns} of buckets"),
            Format::S3 => format!("notifications{by_sns} of buckets {}", names.join(", ")),
        }
    }

    pub(super) fn problems(&self, manifest: &Manifest, problems: &mut Vec<String>) {
        let mut say = |text: String| problems.push(format!("ingress {}: {text}", self.path));
        match self.format {
            Format::CloudEvents => {
                if self.topic.is_none() && self.topics.is_empty() {
                    say("`cloudevents` needs the topic that they go to; add `topic`, or `topics` by their types".to_owned());
                }
                if !self.buckets.is_empty() || self.keys.is_some() {
                    say("`buckets` and `keys` go with the format `s3`".to_owned());
                }
            }
            Format::S3 => {
                if self.topic.is_some() || !self.topics.is_empty() {
                    say("`topic` and `topics` go with the format `cloudevents`".to_owned());
                }
                if manifest.buckets.is_empty() {
                    say(
                        "`s3` needs a bucket whose functions are woken; add `[buckets.NAME]`"
                            .to_owned(),
                    );
                }
            }
        }
        for name in self.topic_names().filter(|name| !is_name(name)) {
            say(format!("topic {name:?} isn't a name; {NAME_RULE}"));
        }
        for bucket in self.buckets.values() {
            if !manifest.buckets.contains_key(bucket) {
                say(format!(
                    "`buckets`: there is no bucket {bucket:?}; add `[buckets.{bucket}]`"
                ));
            }
        }
        if let Some(sns) = &self.sns {
            if sns.topics.is_empty() {
                say("`sns.topics` is empty; name the ARNs of the topics that may send".to_owned());
            }
            for arn in sns.topics.iter().filter(|arn| !is_topic_arn(arn)) {
                say(format!(
                    "`sns.topics`: {arn:?} isn't a topic's ARN; use one as \"arn:aws:sns:eu-west-1:123456789012:photos\""
                ));
            }
        }
        if self.max_body.0 == 0 || self.max_body > MOST_BODY {
            say(format!(
                "max-body = \"{}\": use up to \"{MOST_BODY}\"",
                self.max_body
            ));
        }
        for function in &manifest.functions {
            let Source::Http(requests) = function.on.source() else {
                continue;
            };
            if requests
                .routes
                .iter()
                .any(|route| route.pattern() == self.path.0)
            {
                say(format!(
                    "function {:?} answers requests to the same path; give one of them another",
                    function.name
                ));
            }
        }
        let mut same = manifest
            .ingresses
            .iter()
            .filter(|other| other.path == self.path);
        if same.next().is_some_and(|first| std::ptr::eq(first, self)) && same.next().is_some() {
            say("there are several of this path; give each one of its own".to_owned());
        }
    }

    /// Sentences about what is valid and may not be meant.
    pub fn advice(&self, manifest: &Manifest) -> Vec<String> {
        let mut advice = Vec::new();
        for topic in self.topic_names() {
            if manifest.woken_by_message(topic).is_empty() {
                advice.push(format!(
                    "it publishes on {topic:?}, which wakes no function: such messages are gone"
                ));
            }
        }
        for bucket in self.buckets.values() {
            if !manifest.is_watched(bucket) {
                advice.push(format!(
                    "objects in {bucket:?} wake no function: such events are gone"
                ));
            }
        }
        if self.auth == Auth::Open && !manifest.http.listen.ip().is_loopback() {
            advice.push("anybody who reaches this machine may post events; see `auth`".to_owned());
        }
        advice
    }
}

fn is_topic_arn(arn: &str) -> bool {
    let parts: Vec<&str> = arn.split(':').collect();
    matches!(parts.as_slice(), ["arn", partition, "sns", _, _, name]
        if !partition.is_empty() && !name.is_empty())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const GOOD: &str = r#"
        [app]
        name = "shop"
        [buckets.photos]
        [[function]]
        name = "bill"
        component = "bill.wasm"
        on = { message = "orders" }
        [[function]]
        name = "site"
        component = "site.wasm"
        on = { http = ["/...", "/hook"] }
        [[ingress]]
        path = "/events/orders"
        format = "cloudevents"
        topic = "orders"
        auth = { bearer = "orders.token" }
        [[ingress]]
        path = "/events/photos"
        format = "s3"
        buckets = { "remote.photos" = "photos" }
        sns = { topics = "arn:aws:sns:eu-west-1:1:photos", confirm = "http://localhost:5000" }
        auth = { hmac = "key", header = "X-Signature" }
    "#;

    fn parse(text: &str) -> Result<Manifest, String> {
        Manifest::parse(text, Path::new("/app"), "kinglet.toml").map_err(|e| e.to_string())
    }

    #[test]
    fn a_whole_one() {
        let manifest = parse(GOOD).unwrap();
        let [orders, photos] = manifest.ingresses.as_slice() else {
            panic!("two are there");
        };
        assert_eq!(orders.topic_of("any"), Some("orders"));
        assert_eq!(orders.max_body, ByteSize(1 << 20));
        assert_eq!(photos.bucket_of(&manifest, "remote.photos"), Some("photos"));
        assert_eq!(photos.bucket_of(&manifest, "photos"), None);
        assert_eq!(orders.bucket_of(&manifest, "photos"), Some("photos"));
        let header = HeaderName::from_static("x-signature");
        assert_eq!(
            photos.auth,
            Auth::Hmac {
                file: "key".into(),
                header
            }
        );
        let sns = photos.sns.as_ref().unwrap();
        assert_eq!(sns.destinations().count(), 3);
    }

    #[test]
    fn bad_values_name_themselves_and_the_next_step() {
        for (old, new, says) in [
            (r#""/events/orders""#, r#""events""#, "doesn't begin"),
            (r#""/events/orders""#, r#""/events/{id}""#, "many paths"),
            (r#""/events/orders""#, r#""/events/...""#, "many paths"),
            (
                r#""/events/orders""#,
                r#""/hook""#,
                "function \"site\" answers",
            ),
            (
                r#""/events/orders""#,
                r#""/events/photos""#,
                "several of this path",
            ),
            (r#""cloudevents""#, r#""avro""#, "avro"),
            ("topic = \"orders\"", "", "needs the topic"),
            ("topic = \"orders\"", "topic = \"my orders\"", "my orders"),
            (
                "topic = \"orders\"",
                "topics = { \"a.b\" = \"x y\" }",
                "x y",
            ),
            (
                "topic = \"orders\"",
                "topic = \"orders\"\nkeys = \"raw\"",
                "go with the format `s3`",
            ),
            (
                "format = \"s3\"",
                "format = \"s3\"\ntopic = \"orders\"",
                "go with the format `cloudevents`",
            ),
            (
                "format = \"s3\"",
                "format = \"s3\"\nkeys = \"plain\"",
                "plain",
            ),
            (r#"= "photos" }"#, r#"= "thumbs" }"#, "[buckets.thumbs]"),
            (
                r#""arn:aws:sns:eu-west-1:1:photos""#,
                "[]",
                "`sns.topics` is empty",
            ),
            (
                r#""arn:aws:sns:eu-west-1:1:photos""#,
                r#""photos""#,
                "arn:aws:sns",
            ),
            (
                "http://localhost:5000",
                "localhost",
                "https://api.example.com",
            ),
            (r#"{ bearer = "orders.token" }"#, r#""open""#, "\"open\""),
            (
                r#"{ bearer = "orders.token" }"#,
                r#"{ token = "x" }"#,
                "token",
            ),
            (r#"{ bearer = "orders.token" }"#, "7", "bearer"),
            (r#"{ bearer = "orders.token" }"#, "{}", "exactly one"),
            (
                r#"bearer = "orders.token""#,
                r#"bearer = "a", basic = "b""#,
                "exactly one",
            ),
            (
                r#"bearer = "orders.token""#,
                r#"basic = "b", header = "x-a""#,
                "`header` goes with",
            ),
            (
                r#", header = "X-Signature""#,
                "",
                "`hmac` needs the `header`",
            ),
            ("\"X-Signature\"", "\"x y\"", "x y"),
            ("auth = { bearer = \"orders.token\" }", "", "auth"),
            (
                "auth = { bearer",
                "max-body = 0\nauth = { bearer",
                "max-body",
            ),
            (
                "auth = { bearer",
                "max-body = \"65MiB\"\nauth = { bearer",
                "max-body",
            ),
            ("auth = { bearer", "maxbody = 0\nauth = { bearer", "maxbody"),
        ] {
            assert!(GOOD.contains(old), "{old}");
            let error = parse(&GOOD.replacen(old, new, 1)).unwrap_err();
            assert!(error.contains(says), "{new}: {error}");
        }
    }

    #[test]
    fn what_may_not_be_meant_is_noted() {
        let text = GOOD.replacen("topic = \"orders\"", "topic = \"others\"", 1);
        let manifest =
            parse(&text.replacen("{ bearer = \"orders.token\" }", "\"none\"", 1)).unwrap();
        let advice = manifest.ingresses[0].advice(&manifest);
        assert_eq!(advice.len(), 1, "{advice:?}");
        assert!(advice[0].contains("\"others\""), "{advice:?}");
        assert!(manifest.has_topic("others"));
        let advice = manifest.ingresses[1].advice(&manifest);
        assert!(
            advice[0].contains("\"photos\" wake no function"),
            "{advice:?}"
        );
    }
}
