//! Does with Spin's SDK what a request's path says, and answers with what came of it.

use futures::future::join_all;
use spin_sdk::http::{IntoResponse, Request};
use spin_sdk::http_service;
use spin_sdk::key_value::Store;
use spin_sdk::variables;

#[http_service]
async fn handle(request: Request) -> anyhow::Result<impl IntoResponse> {
    let path = request.uri().path().to_owned();
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let (what, with) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    match what {
        "told" => Ok(told(&request)),
        "values" => values().await,
        "keys" => keys().await,
        "first" => first().await,
        "open" => Ok(format!("{:?}", Store::open(with).await.err())),
        "stores" => Ok(stores(with.parse()?).await),
        "set" => {
            let store = Store::open_default().await?;
            Ok(format!("{:?}", store.set(with, "x").await))
        }
        "flood" => flood(with).await,
        "large" => large(with.parse()?).await,
        "lists" => lists(with.parse()?).await,
        "side-by-side" => side_by_side(with.parse()?).await,
        "variable" => Ok(format!("{:?}", variables::get(with).await)),
        "environment" => Ok(format!("{:?}", std::env::vars().collect::<Vec<_>>())),
        _ => anyhow::bail!("there is no {what:?}"),
    }
}

fn told(request: &Request) -> String {
    let headers = request.headers().iter();
    let mut told: Vec<String> = headers
        .filter(|(name, _)| name.as_str().starts_with("spin-"))
        .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap_or("no text")))
        .collect();
    told.sort();
    told.concat()
}

/// What a store tells of its own values.
async fn values() -> anyhow::Result<String> {
    let store = Store::open_default().await?;
    let before = store.get("one").await?;
    store.set("one", "1").await?;
    store.set("two", "2").await?;
    store.set("three", "3").await?;
    store.delete("two").await?;
    store.delete("none").await?;
    let mut keys = store.get_keys().await.collect().await?;
    keys.sort();
    Ok(format!(
        "{before:?} {:?} {:?} {} {} {keys:?}",
        store.get("one").await?,
        store.get("two").await?,
        store.exists("three").await?,
        store.exists("two").await?,
    ))
}

/// How many keys there are, each as it comes.
async fn keys() -> anyhow::Result<String> {
    let store = Store::open_default().await?;
    store.set("of-this-request", "x").await?;
    store.delete("key-0000").await?;
    let mut keys = store.get_keys().await;
    let (mut count, mut last) = (0, String::new());
    while let Some(key) = keys.next().await {
        anyhow::ensure!(key > last, "{key} comes after {last}");
        count += 1;
        last = key;
    }
    keys.result().await?;
    Ok(format!("{count} {last}"))
}

/// Stops after one.
async fn first() -> anyhow::Result<String> {
    let store = Store::open_default().await?;
    let (mut keys, ending) = store.get_keys().await.into_inner();
    let first = keys.next().await;
    drop(keys);
    Ok(format!("{first:?} {:?}", ending.await))
}

async fn stores(count: usize) -> String {
    let mut open = Vec::new();
    for _ in 0..count {
        match Store::open_default().await {
            Ok(store) => open.push(store),
            Err(error) => return format!("{} {error:?}", open.len()),
        }
    }
    format!("all {count}")
}

/// Reads a value for ever.
async fn flood(key: &str) -> anyhow::Result<String> {
    let store = Store::open_default().await?;
    loop {
        store.get(key).await?;
    }
}

/// Writes a value of so many bytes.
async fn large(bytes: usize) -> anyhow::Result<String> {
    let store = Store::open_default().await?;
    store.set("large", vec![b'x'; bytes]).await?;
    Ok(format!(
        "{:?}",
        store.get("large").await?.map(|value| value.len())
    ))
}

/// Begins so many lists, and reads one key of each.
async fn lists(count: usize) -> anyhow::Result<String> {
    let store = Store::open_default().await?;
    let mut lists = Vec::new();
    for at in 0..count {
        let mut keys = store.get_keys().await;
        if keys.next().await.is_none() {
            return Ok(format!("{at}: {:?}", keys.result().await));
        }
        lists.push(keys);
    }
    Ok(format!("all {count}"))
}

/// Reads a value so many times at once.
async fn side_by_side(count: usize) -> anyhow::Result<String> {
    let store = Store::open_default().await?;
    store.set("shared", "yes").await?;
    let reads = (0..count).map(|_| store.get("shared"));
    let values: Result<Vec<_>, _> = join_all(reads).await.into_iter().collect();
    let right = values?
        .into_iter()
        .flatten()
        .filter(|value| value == b"yes");
    Ok(right.count().to_string())
}
