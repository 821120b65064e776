//! Who may post: what a request must have, against the secrets of its ingress.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use blake3::Hash;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use ring::hmac;

use crate::config::Auth;

/// A shorter secret can be guessed.
const LEAST_BYTES: usize = 16;

/// What is known of the secrets of an ingress. Each of them holds, so that a new one can be there before the old one goes.
pub struct Credentials {
    kind: Kind,
}

enum Kind {
    Open,
    /// Secrets are compared by their hashes, which takes as long whatever was sent.
    Bearer {
        header: Option<HeaderName>,
        secrets: Vec<Hash>,
    },
    Basic {
        secrets: Vec<Hash>,
    },
    Hmac {
        header: HeaderName,
        keys: Vec<hmac::Key>,
    },
}

/// A request that doesn't show that it may post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unauthorized {
    /// What it must have.
    pub problem: String,
    /// The header `WWW-Authenticate` of the answer.
    pub challenge: HeaderValue,
}

impl Credentials {
    /// From the text of the file that `auth` names: a secret on each line.
    ///
    /// # Errors
    /// Where it has none, or one that is too short to be a secret. The error has nothing of them.
    pub fn parse(auth: &Auth, text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).enumerate();
        let lines: Vec<(usize, &str)> = lines.filter(|(_, line)| !line.is_empty()).collect();
        if lines.is_empty() && *auth != Auth::Open {
            return Err("is empty; write a secret into it, a line for each".to_owned());
        }
        for (at, line) in &lines {
            let secret = match auth {
                Auth::Basic { .. } => line
                    .split_once(':')
                    .map(|(_, password)| password)
                    .ok_or_else(|| {
                        format!("has no colon on line {}; write `name:password`", at + 1)
                    })?,
                _ => line,
            };
            if secret.len() < LEAST_BYTES {
                return Err(format!(
                    "has a secret of {} bytes on line {}; use {LEAST_BYTES} or more, that nobody can guess",
                    secret.len(),
                    at + 1
                ));
            }
        }
        let hashes = || {
            lines
                .iter()
                .map(|(_, line)| blake3::hash(line.as_bytes()))
                .collect()
        };
        let kind = match auth {
            Auth::Open => Kind::Open,
            Auth::Bearer { header, .. } => Kind::Bearer {
                header: header.clone(),
                secrets: hashes(),
            },
            Auth::Basic { .. } => Kind::Basic { secrets: hashes() },
            Auth::Hmac { header, .. } => Kind::Hmac {
                header: header.clone(),
                keys: lines
                    .iter()
                    .map(|(_, line)| hmac::Key::new(hmac::HMAC_SHA256, line.as_bytes()))
                    .collect(),
            },
        };
        Ok(Self { kind })
    }

    /// What can be told by a request's head, so that nothing is read of who may not post.
    ///
    /// # Errors
    /// Where the request may not post.
    pub fn check_head(&self, headers: &HeaderMap) -> Result<(), Unauthorized> {
        match &self.kind {
            Kind::Open => Ok(()),
            Kind::Bearer {
                header: None,
                secrets,
            } => {
                let token = authorization(headers, "bearer");
                check(
                    secrets,
                    token.map(str::as_bytes),
                    "a token in the header `Authorization: Bearer`",
                    "Bearer",
                )
            }
            Kind::Bearer {
                header: Some(name),
                secrets,
            } => {
                let token = single(headers, name);
                let challenge = format!("Token header=\"{name}\"");
                check(
                    secrets,
                    token.map(str::as_bytes),
                    &format!("a token in the header `{name}`"),
                    &challenge,
                )
            }
            Kind::Basic { secrets } => {
                let pair = authorization(headers, "basic")
                    .and_then(|pair| BASE64_STANDARD.decode(pair).ok());
                check(
                    secrets,
                    pair.as_deref(),
                    "a name and a password",
                    "Basic realm=\"kinglet\", charset=\"UTF-8\"",
                )
            }
            Kind::Hmac { header: name, .. } => match single(headers, name) {
                Some(_) => Ok(()),
                None => Err(unsigned(name)),
            },
        }
    }

    /// What can be told by its body.
    ///
    /// # Errors
    /// Where the request may not post.
    pub fn check_body(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Unauthorized> {
        let Kind::Hmac { header: name, keys } = &self.kind else {
            return Ok(());
        };
        let signature = single(headers, name).and_then(signature);
        let signature = signature.ok_or_else(|| unsigned(name))?;
        let signed = keys
            .iter()
            .any(|key| hmac::verify(key, body, &signature).is_ok());
        if signed { Ok(()) } else { Err(unsigned(name)) }
    }
}

/// The value of a header that is there once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// What stands behind a scheme in the header `Authorization`.
fn authorization<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (found, rest) = single(headers, &header::AUTHORIZATION)?.split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

fn check(
    secrets: &[Hash],
    sent: Option<&[u8]>,
    wanted: &str,
    challenge: &str,
) -> Result<(), Unauthorized> {
    let sent = sent.map(blake3::hash);
    // Every one is looked at: nothing is told by the time that it takes.
    let known = secrets
        .iter()
        .filter(|secret| Some(**secret) == sent)
        .count()
        > 0;
    if known {
        Ok(())
    } else {
        Err(refused(wanted, challenge))
    }
}

fn unsigned(name: &HeaderName) -> Unauthorized {
    refused(
        &format!(
            "a signature of its body in the header `{name}`: HMAC with SHA-256, in hex or base64"
        ),
        &format!("HMAC-SHA256 header=\"{name}\""),
    )
}

fn refused(wanted: &str, challenge: &str) -> Unauthorized {
    let challenge = HeaderValue::try_from(challenge);
    Unauthorized {
        problem: format!("missing or unknown credentials; expected {wanted}"),
        challenge: challenge.unwrap_or_else(|_| HeaderValue::from_static("Bearer")),
    }
}

/// `sha256=` and hex, as GitHub has it, hex alone, or base64.
fn signature(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    let text = text.strip_prefix("sha256=").unwrap_or(text);
    match text.len() {
        64 => unhex(text),
        _ => BASE64_STANDARD.decode(text).ok(),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text
        .chars()
        .map(|c| c.to_digit(16))
        .collect::<Option<Vec<u32>>>()?;
    let bytes = digits.chunks_exact(2).map(|pair| match pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    });
    bytes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef";

    fn headers(pairs: &[(&'static str, String)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::try_from(value).unwrap(),
            )
        });
        pairs.collect()
    }

    fn hmac_auth() -> Auth {
        Auth::Hmac {
            file: "k".into(),
            header: HeaderName::from_static("x-hub-signature-256"),
        }
    }

    #[test]
    fn a_token_is_one_of_the_file() {
        let auth = Auth::Bearer {
            file: "t".into(),
            header: None,
        };
        let text = format!("{SECRET}old\n\n  {SECRET}new  \n");
        let credentials = Credentials::parse(&auth, &text).unwrap();
        for (value, good) in [
            (format!("Bearer {SECRET}old"), true),
            (format!("bearer  {SECRET}new"), true),
            (format!("Bearer {SECRET}"), false),
            (format!("Basic {SECRET}old"), false),
            (format!("{SECRET}old"), false),
            ("Bearer ".to_owned(), false),
        ] {
            let found = credentials.check_head(&headers(&[("authorization", value.clone())]));
            assert_eq!(found.is_ok(), good, "{value}");
        }
        let refused = credentials.check_head(&HeaderMap::new()).unwrap_err();
        assert_eq!(refused.challenge, "Bearer");
        let mut twice = headers(&[("authorization", format!("Bearer {SECRET}old"))]);
        twice.append("authorization", HeaderValue::from_static("Bearer other"));
        assert!(credentials.check_head(&twice).is_err());
    }

    #[test]
    fn a_token_may_have_a_header_of_its_own() {
        let header = Some(HeaderName::from_static("x-api-key"));
        let auth = Auth::Bearer {
            file: "t".into(),
            header,
        };
        let credentials = Credentials::parse(&auth, SECRET).unwrap();
        let key = |value: &str| headers(&[("x-api-key", value.to_owned())]);
        assert!(credentials.check_head(&key(SECRET)).is_ok());
        assert!(credentials.check_head(&key("other")).is_err());
        let elsewhere = headers(&[("authorization", format!("Bearer {SECRET}"))]);
        assert!(credentials.check_head(&elsewhere).is_err());
    }

    #[test]
    fn a_name_and_a_password() {
        let auth = Auth::Basic { file: "p".into() };
        let pair = format!("sns:{SECRET}");
        let credentials = Credentials::parse(&auth, &pair).unwrap();
        let basic = |pair: &str| {
            headers(&[(
                "authorization",
                format!("Basic {}", BASE64_STANDARD.encode(pair)),
            )])
        };
        assert!(credentials.check_head(&basic(&pair)).is_ok());
        assert!(
            credentials
                .check_head(&basic(&format!("other:{SECRET}")))
                .is_err()
        );
        assert!(credentials.check_head(&basic("sns:")).is_err());
        let refused = credentials.check_head(&headers(&[("authorization", "Basic %".to_owned())]));
        assert!(
            refused
                .unwrap_err()
                .challenge
                .to_str()
                .unwrap()
                .starts_with("Basic realm=")
        );
    }

    #[test]
    fn a_signature_is_of_the_body() {
        let credentials = Credentials::parse(&hmac_auth(), "It's a Secret to Everybody").unwrap();
        // GitHub's own example of its signatures.
        let hex = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let bytes = unhex(hex).unwrap();
        let base64 = BASE64_STANDARD.encode(&bytes);
        for (value, good) in [
            (format!("sha256={hex}"), true),
            (hex.to_uppercase(), true),
            (base64.clone(), true),
            (format!("sha256={base64}"), true),
            (hex.replacen('7', "8", 1), false),
            (format!("sha1={hex}"), false),
            ("sha256=".to_owned(), false),
            (String::new(), false),
        ] {
            let headers = headers(&[("x-hub-signature-256", value.clone())]);
            credentials.check_head(&headers).unwrap();
            let found = credentials.check_body(&headers, b"Hello, World!");
            assert_eq!(found.is_ok(), good, "{value}");
            assert!(credentials.check_body(&headers, b"Hello, world!").is_err());
        }
        assert!(credentials.check_head(&HeaderMap::new()).is_err());
    }

    #[test]
    fn secrets_that_are_none_are_refused() {
        let bearer = Auth::Bearer {
            file: "t".into(),
            header: None,
        };
        let basic = Auth::Basic { file: "p".into() };
        for (auth, text, says) in [
            (&bearer, "", "is empty"),
            (&bearer, " \n\n", "is empty"),
            (&bearer, "hunter2", "7 bytes on line 1"),
            (&bearer, "0123456789abcdef\n\nshort", "5 bytes on line 3"),
            (&basic, "0123456789abcdef", "no colon on line 1"),
            (&basic, "0123456789abcdef:short", "5 bytes on line 1"),
        ] {
            let error = Credentials::parse(auth, text).map(drop).unwrap_err();
            assert!(error.contains(says), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let open = Credentials::parse(&Auth::Open, "").unwrap();
        assert!(open.check_head(&HeaderMap::new()).is_ok());
        assert!(open.check_body(&HeaderMap::new(), b"x").is_ok());
    }
}
