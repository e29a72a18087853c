//! The daemon's end.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
};

use super::{Answer, MAX_REQUEST, Request};
use crate::audit::read::{Follower, Source};

/// Requests that wait for the daemon at one time.
const QUEUE: usize = 64;

/// Connections at one time. Further ones wait to be accepted.
const CONNECTIONS: usize = 128;

/// A request, and where its answer goes.
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Answer>,
    /// Ends when the caller is gone.
    pub hang_up: oneshot::Receiver<()>,
}

/// The listening socket. Removed when dropped.
pub struct Server {
    path: PathBuf,
    accept: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Listens at `path`, 0600. Calls arrive at the receiver.
    ///
    /// # Errors
    ///
    /// When another daemon listens there, or the socket cannot be made.
    pub fn start(path: &Path, source: Source) -> io::Result<(Self, mpsc::Receiver<Call>)> {
        if let Some(dir) = path.parent() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)?;
        }
        // The state directory's lock says that no other daemon of ours is alive; a socket that
        // answers belongs to one with another state directory.
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another daemon listens there",
            ));
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Bound under a name of its own and opened to nobody before it gets its place.
        let new = path.with_extension("new");
        let _ = fs::remove_file(&new);
        let listener = UnixListener::bind(&new)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
        fs::rename(&new, path)?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let accept = tokio::spawn(accept(listener, sender, source));
        Ok((
            Self {
                path: path.to_owned(),
                accept,
            },
            receiver,
        ))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accept.abort();
        let _ = fs::remove_file(&self.path);
    }
}

async fn accept(listener: UnixListener, calls: mpsc::Sender<Call>, source: Source) {
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = std::sync::Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (calls, source) = (calls.clone(), source.clone());
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, &calls, &source).await {
                        tracing::debug!(%error, "a control connection ended");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a control connection was not accepted");
                // Out of descriptors: others must close first.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, calls: &mpsc::Sender<Call>, source: &Source) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut read)
            .take(MAX_REQUEST)
            .read_until(b'\n', &mut line)
            .await?
            == 0
        {
            return Ok(());
        }
        let request = match serde_json::from_slice(&line) {
            Ok(request) => request,
            Err(error) => {
                let answer = Answer::Failed(format!("the request is of another version: {error}"));
                return send(&mut write, &answer).await;
            }
        };
        if let Request::Follow { from } = request {
            return follow(source.follow(from), &mut read, &mut write).await;
        }
        let (answer, answered) = oneshot::channel();
        let (alive, hang_up) = oneshot::channel::<()>();
        if calls
            .send(Call {
                request,
                answer,
                hang_up,
            })
            .await
            .is_err()
        {
            return Ok(());
        }
        let Ok(answer) = answered.await else {
            return Ok(());
        };
        send(&mut write, &answer).await?;
        // Until the next request or the end, whichever comes.
        read.fill_buf().await?;
        drop(alive);
    }
}

/// Writes records until the caller goes away, or the log is closed.
async fn follow(
    follower: Result<Follower, hoop_log::Error>,
    read: &mut (impl AsyncReadExt + Unpin),
    write: &mut (impl AsyncWriteExt + Unpin),
) -> io::Result<()> {
    let mut follower = follower.map_err(io::Error::other)?;
    let mut byte = [0];
    loop {
        tokio::select! {
            lines = follower.lines() => match lines.map_err(io::Error::other)? {
                Some(lines) => write.write_all(&lines).await?,
                None => return Ok(()),
            },
            // The caller says nothing more; this is its end.
            _ = read.read(&mut byte) => return Ok(()),
        }
    }
}

async fn send(write: &mut (impl AsyncWriteExt + Unpin), answer: &Answer) -> io::Result<()> {
    let mut text = serde_json::to_vec(answer)?;
    text.push(b'\n');
    write.write_all(&text).await
}
