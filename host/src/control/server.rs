//! The host's side.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::{ControlError, Request, Response, SOCKET, SocketPath, receive, send};
use crate::events::{Events, Stop, stopped};
use crate::ports::{QueueError, STEP};

/// Connections at once. For a further one the connection goes that has waited longest for its client.
const CONNECTIONS: usize = 512;
/// The time that a connection may take until its first request is whole.
const FIRST_REQUEST: Duration = Duration::from_secs(60);
/// The pause between two looks at the socket, which somebody may remove.
const LOOK: Duration = Duration::from_secs(1);
/// The pause where a connection can't be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How many objects are accepted in one step.
const PAGE: usize = STEP;

/// How long an answer may lie unread once the host is to end.
const UNREAD: Duration = Duration::from_secs(5);
/// The time that sending an answer may take.
const SENDING: Duration = Duration::from_secs(600);

/// Listens for the command line.
pub struct Control {
    listener: UnixListener,
    /// Device and inode of the socket's name.
    name: SocketName,
    state: PathBuf,
    served: Served,
}

type SocketName = (u64, u64);

/// What every conversation is about.
#[derive(Clone)]
struct Served {
    events: Arc<Events>,
    restores: mpsc::Sender<Restore>,
    idle: Arc<IdleConnections>,
}

/// Connections that wait for their clients: those that haven't asked yet, and then the others, each in the
/// order in which they came. Dropping a sender closes its connection.
#[derive(Default)]
struct IdleConnections {
    next: AtomicU64,
    waiting: Mutex<BTreeMap<(bool, u64), oneshot::Sender<()>>>,
}

impl IdleConnections {
    /// Adds a connection for as long as the guard lives. The receiver ends once it is to be closed.
    fn enter(&self, asked: bool) -> (IdleGuard<'_>, oneshot::Receiver<()>) {
        let (sender, closed) = oneshot::channel();
        let key = (asked, self.next.fetch_add(1, Ordering::Relaxed));
        self.lock().insert(key, sender);
        (IdleGuard { idle: self, key }, closed)
    }

    /// Closes the first.
    fn close_one(&self) {
        self.lock().pop_first();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(bool, u64), oneshot::Sender<()>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Served {
    /// Waits until a connection may be served, and closes one that waits for its client where there are as many as
    /// may be.
    async fn room_for_one(&self, permits: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
                return Some(permit);
            }
            self.idle.close_one();
            let freed = Arc::clone(permits).acquire_owned();
            if let Ok(permit) = tokio::time::timeout(ACCEPT_PAUSE, freed).await {
                return permit.ok();
            }
        }
    }
}

struct IdleGuard<'a> {
    idle: &'a IdleConnections,
    key: (bool, u64),
}

impl Drop for IdleGuard<'_> {
    fn drop(&mut self) {
        self.idle.lock().remove(&self.key);
    }
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
        let (listener, name) = bind(state).map_err(failed)?;
        Ok(Self {
            listener: UnixListener::from_std(listener).map_err(failed)?,
            name,
            state: state.to_owned(),
            served: Served {
                events,
                restores,
                idle: Arc::default(),
            },
        })
    }

    /// Answers until told to stop; answers that are under way are finished.
    pub async fn serve(mut self, mut stop: Stop) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            while connections.try_join_next().is_some() {}
            let stream = tokio::select! {
                () = stopped(&mut stop) => break,
                _ = look.tick() => {
                    let restored = self.restore_name().await;
                    if let Err(error) = &restored && !failing {
                        tracing::warn!(%error, "the control socket is gone, and can't be made again");
                    }
                    failing = restored.is_err();
                    continue;
                }
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "a control connection failed");
                        // As where there are no more files to open.
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            let permit = tokio::select! {
                () = stopped(&mut stop) => break,
                permit = self.served.room_for_one(&permits) => permit,
            };
            let (served, stop) = (self.served.clone(), stop.clone());
            connections.spawn(async move {
                converse(stream, served, stop).await;
                drop(permit);
            });
        }
        while connections.join_next().await.is_some() {}
    }

    /// Listens again where the socket was removed or replaced: no command could reach the host otherwise.
    async fn restore_name(&mut self) -> io::Result<()> {
        let (state, name) = (self.state.clone(), self.name);
        let bound = tokio::task::spawn_blocking(move || match name_of(&state) {
            Ok(found) if found == name => Ok(None),
            // Nothing of the host is there: the folder isn't made for the socket alone.
            _ if !state.is_dir() => Ok(None),
            _ => bind(&state).map(Some),
        });
        if let Some((listener, name)) = bound.await.map_err(io::Error::other)?? {
            self.listener = UnixListener::from_std(listener)?;
            self.name = name;
            tracing::warn!(
                socket = %self.state.join(SOCKET).display(),
                "the control socket was removed or replaced, and is made again"
            );
        }
        Ok(())
    }
}

/// Makes the socket in a state folder. An old one is left over.
fn bind(state: &Path) -> io::Result<(std::os::unix::net::UnixListener, SocketName)> {
    // The folder is closed to others before the socket is there, so that nobody gets in between.
    std::fs::set_permissions(state, std::fs::Permissions::from_mode(0o700))?;
    match std::fs::remove_file(state.join(SOCKET)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = SocketPath::new(state)?;
    let listener = std::os::unix::net::UnixListener::bind(&socket.path)?;
    listener.set_nonblocking(true)?;
    Ok((listener, name_of(state)?))
}

fn name_of(state: &Path) -> io::Result<SocketName> {
    let found = std::fs::symlink_metadata(state.join(SOCKET))?;
    Ok((found.dev(), found.ino()))
}

async fn converse(mut stream: UnixStream, served: Served, mut stop: Stop) {
    let mut asked = false;
    loop {
        let request = {
            let (_idle, closed) = served.idle.enter(asked);
            tokio::select! {
                () = stopped(&mut stop) => return,
                _ = closed => return,
                () = tokio::time::sleep(FIRST_REQUEST), if !asked => return,
                request = receive::<Request>(&mut stream) => request,
            }
        };
        asked = true;
        let response = match request {
            Ok(Request::Restore { from }) => return restore(stream, &served.restores, from).await,
            Ok(request) => answer(&served.events, request).await,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return,
            Err(error) => Response::Failed(format!("the request can't be read: {error}")),
        };
        let (_idle, closed) = served.idle.enter(asked);
        let sent = tokio::select! {
            sent = send_or_say_why_not(&mut stream, &response) => sent,
            // A client that doesn't read its answer mustn't keep others out, or the host from ending.
            _ = closed => return,
            () = tokio::time::sleep(SENDING) => return,
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
        Request::Problems => Response::Problems(events.problems().await.into_values().collect()),
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
            .filter(|object| wanted.on.matches_key(&object.key))
            .filter(|object| !events.manifest().is_unfinished(bucket, &object.key))
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
