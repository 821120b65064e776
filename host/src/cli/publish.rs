//! `kinglet publish`

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::output::{print_json, print_line};
use super::{AppArgs, Verdict, ask, unexpected};
use crate::clock::millis;
use crate::config::duration;
use crate::control::{Request, Response};
use crate::events::NewMessage;
use crate::files;
use crate::ports::{Accepted, Draft};

/// Publish a message to a topic. It is on disk when this returns, whether or not a host runs.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kinglet publish orders --body '{\"id\": 7}' --content-type application/json\n  kinglet publish orders --file order.json --id order-7\n  generate | kinglet publish orders --lines"
)]
pub(super) struct Publish {
    #[command(flatten)]
    app: AppArgs,
    /// The topic's name.
    topic: String,
    /// The message's body, as text.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["file", "lines"])]
    body: Option<String>,
    /// A file with the message's body, of up to 256 MiB; without this and `--body`, and with `-`, standard
    /// input is read.
    #[arg(long, value_name = "FILE", conflicts_with = "lines")]
    file: Option<PathBuf>,
    /// A message for each line of standard input.
    #[arg(long, conflicts_with = "id")]
    lines: bool,
    /// The message's id: a second message of the same id within `queue.duplicate-window`, a day by default,
    /// isn't delivered.
    #[arg(long)]
    id: Option<String>,
    /// Where the message comes from, as a CloudEvents `source`: ids are told apart by it [default:
    /// topic/TOPIC].
    #[arg(long, value_name = "URI")]
    source: Option<String>,
    /// The body's media type.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Messages of one key are delivered in order.
    #[arg(long, value_name = "KEY")]
    ordering_key: Option<String>,
    /// An attribute, as `name=value`; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_attribute)]
    attribute: Vec<(String, String)>,
    /// Not delivered before so long, as `10s`.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    delay: Option<Duration>,
    /// The ids as JSON, an object a line.
    #[arg(long)]
    json: bool,
}

impl Publish {
    pub async fn execute(self) -> anyhow::Result<Verdict> {
        let manifest = self.app.load()?;
        let messages = self.bodies()?.into_iter().map(|body| NewMessage {
            id: self.id.clone(),
            source: self.source.clone(),
            draft: self.draft(body),
        });
        let request = Request::Publish {
            messages: messages.collect(),
        };
        let published = match ask(&manifest, request).await? {
            Response::Published(published) => published,
            other => return Err(unexpected(&other)),
        };
        if manifest.woken_by_message(&self.topic).is_empty() {
            say!("note: no function is woken by topic {:?}", self.topic);
        }
        for (id, accepted) in published {
            if self.json {
                print_json(&serde_json::json!({ "id": id, "accepted": accepted }))?;
            } else if accepted == Accepted::Duplicate {
                print_line(&format!("{id} (a duplicate: it was accepted before)"))?;
            } else {
                print_line(&id)?;
            }
        }
        Ok(Verdict::Good)
    }

    fn bodies(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        if let Some(text) = &self.body {
            return Ok(vec![text.clone().into_bytes()]);
        }
        let path = self.file.as_deref().unwrap_or(Path::new("-"));
        let input = files::read_input(path, files::INPUT)?;
        if !self.lines {
            return Ok(vec![input]);
        }
        let lines = input
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        Ok(lines.map(<[u8]>::to_vec).collect())
    }

    fn draft(&self, body: Vec<u8>) -> Draft {
        Draft {
            topic: self.topic.clone(),
            body,
            content_type: self.content_type.clone(),
            ordering_key: self.ordering_key.clone(),
            attributes: self.attribute.clone(),
            delay_ms: self.delay.map(millis),
        }
    }
}

pub(super) fn parse_attribute(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} has no `=`; write name=value"))?;
    Ok((name.to_owned(), value.to_owned()))
}
