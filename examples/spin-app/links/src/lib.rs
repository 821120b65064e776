//! Short links: a JSON API below `/links`, and `/go/NAME`, which leads to where the link of that name does.

mod answer;
mod link;

use answer::{Answer, json, problem};
use link::{Link, Links, Named};
use serde_json::json;
use spin_sdk::http::body::IncomingBodyExt;
use spin_sdk::http::{HeaderValue, Method, Request, StatusCode, get};
use spin_sdk::http_service;
use spin_sdk::variables;

#[http_service]
async fn handle(request: Request) -> anyhow::Result<Answer> {
    let name = told(&request, "spin-path-match-name");
    if let Some(name) = name {
        return go(&name).await;
    }
    // What is left of the path behind the route.
    let path = told(&request, "spin-path-info").unwrap_or_default();
    let segments: Vec<&str> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .collect();
    match (request.method(), segments.as_slice()) {
        (&Method::GET, []) => list().await,
        (&Method::GET, [name]) => show(name).await,
        (&Method::POST, [name, "check"]) => check(name).await,
        (&Method::POST, []) => import(request).await,
        (&Method::PUT, [name]) => {
            let name = (*name).to_owned();
            put(name, request).await
        }
        (&Method::DELETE, [name]) => delete(name, &request).await,
        _ => Ok(problem(StatusCode::NOT_FOUND, "there is nothing here")),
    }
}

/// What the host says of a request.
fn told(request: &Request, header: &str) -> Option<String> {
    let value = request.headers().get(header)?;
    Some(value.to_str().ok()?.to_owned())
}

/// Counts the visit and sends the client on. Two visits at the same time may count as one: a value that is read and
/// written again is the last writer's, here as with Spin.
async fn go(name: &str) -> anyhow::Result<Answer> {
    let links = Links::open().await?;
    let Some(mut link) = links.get(name).await? else {
        return Ok(unknown(name));
    };
    link.visits += 1;
    links.set(name, &link).await?;
    let mut answer = json(StatusCode::FOUND, &json!({ "url": link.url }))?;
    answer
        .headers_mut()
        .insert("location", HeaderValue::from_str(&link.url)?);
    Ok(answer)
}

async fn list() -> anyhow::Result<Answer> {
    let title = std::env::var("LINKS_NAME").unwrap_or_default();
    let names = Links::open().await?.names().await?;
    json(StatusCode::OK, &json!({ "title": title, "links": names }))
}

async fn show(name: &str) -> anyhow::Result<Answer> {
    match Links::open().await?.get(name).await? {
        Some(link) => json(StatusCode::OK, &link),
        None => Ok(unknown(name)),
    }
}

async fn put(name: String, request: Request) -> anyhow::Result<Answer> {
    if !may_change(&request).await? {
        return Ok(unauthorized());
    }
    let body = request.into_body().bytes().await?;
    let link: Link = match serde_json::from_slice(&body) {
        Ok(link) => link,
        Err(error) => return Ok(problem(StatusCode::BAD_REQUEST, &error.to_string())),
    };
    keep(vec![Named { name, link }]).await
}

async fn import(request: Request) -> anyhow::Result<Answer> {
    if !may_change(&request).await? {
        return Ok(unauthorized());
    }
    let body = request.into_body().bytes().await?;
    match serde_json::from_slice(&body) {
        Ok(links) => keep(links).await,
        Err(error) => Ok(problem(StatusCode::BAD_REQUEST, &error.to_string())),
    }
}

/// All of them, or none.
async fn keep(named: Vec<Named>) -> anyhow::Result<Answer> {
    let links = Links::open().await?;
    if let Some(bad) = named.iter().find(|named| !named.is_good()) {
        let text = format!("{:?} at {:?} isn't a link", bad.name, bad.link.url);
        return Ok(problem(StatusCode::BAD_REQUEST, &text));
    }
    let most: usize = variables::get("max_links").await?.parse()?;
    if links.names().await?.len() + named.len() > most {
        let text = format!("there are at most {most} links; delete some");
        return Ok(problem(StatusCode::CONFLICT, &text));
    }
    for Named { name, link } in &named {
        links.set(name, link).await?;
    }
    json(StatusCode::CREATED, &json!({ "kept": named.len() }))
}

async fn delete(name: &str, request: &Request) -> anyhow::Result<Answer> {
    if !may_change(request).await? {
        return Ok(unauthorized());
    }
    let links = Links::open().await?;
    if !links.exists(name).await? {
        return Ok(unknown(name));
    }
    links.delete(name).await?;
    json(StatusCode::OK, &json!({ "deleted": name }))
}

/// Whether what a link leads to answers.
async fn check(name: &str) -> anyhow::Result<Answer> {
    let Some(link) = Links::open().await?.get(name).await? else {
        return Ok(unknown(name));
    };
    match get(&link.url).await {
        Ok(response) => json(
            StatusCode::OK,
            &json!({ "status": response.status().as_u16() }),
        ),
        Err(error) => Ok(problem(StatusCode::BAD_GATEWAY, &error.to_string())),
    }
}

async fn may_change(request: &Request) -> anyhow::Result<bool> {
    let expected = format!("Bearer {}", variables::get("token").await?);
    Ok(told(request, "authorization").is_some_and(|given| same(&given, &expected)))
}

/// In a time that doesn't tell how much of it is right.
fn same(one: &str, other: &str) -> bool {
    let differences = one.bytes().zip(other.bytes());
    one.len() == other.len() && differences.fold(0, |all, (one, other)| all | (one ^ other)) == 0
}

fn unauthorized() -> Answer {
    problem(
        StatusCode::UNAUTHORIZED,
        "send `authorization: Bearer TOKEN`",
    )
}

fn unknown(name: &str) -> Answer {
    problem(StatusCode::NOT_FOUND, &format!("there is no link {name:?}"))
}
