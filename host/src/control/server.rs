//! The host's side.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::{ControlError, Request, Response, SOCKET, SocketPath, receive, send};
use crate::events::{Events, Stop, stopped};
use crate::ports::{QueueError, STEP, is_unfinished};

/// Connections at once; further ones wait to be accepted.
const CONNECTIONS: usize = 512;
/// How many objects are accepted in one step.
const PAGE: usize = STEP;

/// How long an answer may lie unread once the host is to end.
const UNREAD: Duration = Duration::from_secs(5);

/// Listens for the command line.
pub struct Control {
    listener: UnixListener,
    served: Served,
}

/// What every conversation is about.
#[derive(Clone)]
struct Served {
    events: Arc<Events>,
    restores: mpsc::Sender<Restore>,
}

/// A backup is to be put in the place of the store. Whoever takes this ends the host's use of the store,
/// restores it, and answers.
pub struct Restore {
    /// The backup.
    pub from: PathBuf,
    /// Told what came of it.
    pub answer: oneshot::Sender<Response>,
}

impl Control {
    /// Makes the socket in `state`. Who has the store has the socket: an old one is left over.
    ///
    /// # Errors
    /// Where it can't be made.
    pub fn listen(
        state: &Path,
        events: Arc<Events>,
        restores: mpsc::Sender<Restore>,
    ) -> Result<Self, ControlError> {
        let failed = |error: io::Error| ControlError::Listen {
            path: state.join(SOCKET).display().to_string(),
            reason: error.to_string(),
        };
        // The folder is closed to others before the socket is there, so that nobody gets in between.
        std::fs::set_permissions(state, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
        match std::fs::remove_file(state.join(SOCKET)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let socket = SocketPath::new(state).map_err(failed)?;
        let listener = UnixListener::bind(&socket.path).map_err(failed)?;
        let served = Served { events, restores };
        Ok(Self { listener, served })
    }

    /// Answers until told to stop; answers that are under way are finished.
    pub async fn serve(self, mut stop: Stop) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                break;
            };
            while connections.try_join_next().is_some() {}
            let stream = tokio::select! {
                () = stopped(&mut stop) => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "a control connection failed");
                        continue;
                    }
                },
            };
            let (served, stop) = (self.served.clone(), stop.clone());
            connections.spawn(async move {
                converse(stream, served, stop).await;
                drop(permit);
            });
        }
        while connections.join_next().await.is_some() {}
    }
}

async fn converse(mut stream: UnixStream, served: Served, mut stop: Stop) {
    loop {
        let request = tokio::select! {
            () = stopped(&mut stop) => return,
            request = receive::<Request>(&mut stream) => request,
        };
        let response = match request {
            Ok(Request::Restore { from }) => return restore(stream, &served.restores, from).await,
            Ok(request) => answer(&served.events, request).await,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return,
            Err(error) => Response::Failed(format!("the request can't be read: {error}")),
        };
        let sent = tokio::select! {
            sent = send_or_say_why_not(&mut stream, &response) => sent,
            // Who doesn't read its answer mustn't keep the host from ending.
            () = async { stopped(&mut stop).await; tokio::time::sleep(UNREAD).await } => return,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn send_or_say_why_not(stream: &mut UnixStream, response: &Response) -> io::Result<()> {
    match send(stream, response).await {
        // Nothing of it is sent by then, so that another answer can be.
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            let text = format!("the answer has {error}; ask for less, as with `--limit`");
            send(stream, &Response::Failed(text)).await
        }
        sent => sent,
    }
}

/// Hands the request on. The answer comes when all conversations of this host have ended, so this one
/// leaves their company.
async fn restore(mut stream: UnixStream, restores: &mpsc::Sender<Restore>, from: PathBuf) {
    let (answer, answered) = oneshot::channel();
    // Where nobody takes it, the answer's sender is dropped with it.
    let _ = restores.send(Restore { from, answer }).await;
    tokio::spawn(async move {
        let response = answered.await.unwrap_or_else(|_| {
            Response::Failed("the host is stopping or restoring already; try again".to_owned())
        });
        // Who doesn't wait for the answer any more sees the result in the host's output.
        let _ = send(&mut stream, &response).await;
    });
}

/// Does what is asked. The command line calls it as well, where no host runs and the stores are its own.
pub async fn answer(events: &Arc<Events>, request: Request) -> Response {
    try_answer(events, request)
        .await
        .unwrap_or_else(Response::Failed)
}

async fn try_answer(events: &Arc<Events>, request: Request) -> Result<Response, String> {
    let text = |error: QueueError| error.to_string();
    let queue = events.queue();
    Ok(match request {
        Request::Publish { messages } => {
            let published = events.publish(messages).await;
            Response::Published(published.map_err(|error| error.to_string())?)
        }
        Request::Run {
            function,
            bucket,
            prefix,
            run,
        } => Response::Running(run_on(events, &function, &bucket, &prefix, &run).await?),
        Request::Status => {
            let counts = events.status().await.map_err(text)?;
            Response::Status(counts, events.memory())
        }
        Request::Events { function, limit } => {
            let now = events.clock().now();
            Response::Events(now, queue.list(&function, limit, now).await.map_err(text)?)
        }
        Request::DeadLetters {
            filter,
            after,
            limit,
        } => Response::DeadLetters(
            queue
                .dead_letters(&filter, after, limit)
                .await
                .map_err(text)?,
        ),
        Request::Redrive { filter, rate } => {
            Response::Redriven(events.redrive(&filter, rate).await.map_err(text)?)
        }
        Request::DropDead { filter } => {
            Response::Dropped(events.drop_dead(&filter).await.map_err(text)?)
        }
        Request::Pause { function, paused } => {
            Response::Paused(events.pause(&function, paused).await.map_err(text)?)
        }
        Request::Backup { to } => {
            queue.backup(&to).await.map_err(text)?;
            Response::BackedUp
        }
        Request::Restore { .. } => {
            return Err("only a running host is asked to restore".to_owned());
        }
    })
}

async fn run_on(
    events: &Arc<Events>,
    function: &str,
    bucket: &str,
    prefix: &str,
    run: &str,
) -> Result<u64, String> {
    let store = events
        .bucket(bucket)
        .ok_or_else(|| format!("there is no bucket {bucket:?} in the manifest"))?;
    let wanted = events
        .manifest()
        .function(function)
        .ok_or_else(|| format!("there is no function {function:?} in the manifest"))?;
    let mut total = 0;
    let mut after: Option<String> = None;
    loop {
        let page = store
            .list(prefix, after.as_deref(), PAGE)
            .await
            .map_err(|error| error.to_string())?
            .objects;
        let full = page.len() >= PAGE;
        after = page.last().map(|object| object.key.clone());
        let objects: Vec<_> = page
            .into_iter()
            .filter(|object| wanted.on.matches_key(&object.key) && !is_unfinished(&object.key))
            .collect();
        total += objects.len() as u64;
        events
            .run_on(function, run, bucket, objects)
            .await
            .map_err(|error| error.to_string())?;
        if !full {
            return Ok(total);
        }
    }
}
