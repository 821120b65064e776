//! Answers in JSON.

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;
use spin_sdk::http::{FullBody, HeaderValue, StatusCode};

pub type Answer = http::Response<FullBody<Bytes>>;

pub fn json(status: StatusCode, value: &impl Serialize) -> anyhow::Result<Answer> {
    Ok(answer(status, serde_json::to_vec(value)?))
}

pub fn problem(status: StatusCode, text: &str) -> Answer {
    answer(status, json!({ "error": text }).to_string().into_bytes())
}

fn answer(status: StatusCode, body: Vec<u8>) -> Answer {
    let mut answer = Answer::new(FullBody::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert("content-type", json);
    answer
}
