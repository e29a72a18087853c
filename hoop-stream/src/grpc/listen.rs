//! Who is let in.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::config::{GrpcConfig, Limits, TcpConfig};
use super::connection;
use super::refusals::Refusals;
use super::service::Audit;
use crate::source::Log;
use crate::tls::{self, TlsError};

/// Why the stream is not served.
#[derive(Debug, thiserror::Error)]
pub enum GrpcError {
    /// The Unix socket cannot be made.
    #[error("socket: {path}: {source}", path = path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The TCP address cannot be listened on.
    #[error("tcp.listen: {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The files of the TLS cannot be used.
    #[error("tcp: {0}")]
    Tls(#[from] TlsError),
}

/// The server. Dropping it ends every connection.
#[derive(Debug)]
pub struct GrpcServer {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
    tcp: Option<SocketAddr>,
}

impl GrpcServer {
    /// Listens where `config` says. Must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// A socket cannot be made, or a file of the TLS cannot be used.
    pub async fn start<L: Log>(config: &GrpcConfig, log: &L) -> Result<Self, GrpcError> {
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        let door = |log: &L| Door {
            log: log.clone(),
            limits: config.limits,
            places: Arc::new(Semaphore::new(config.limits.connections)),
            refusals: Arc::new(Refusals::new()),
            stop: stop.subscribe(),
        };
        if let Some(path) = &config.socket {
            let listener = bind(path).map_err(|source| GrpcError::Socket {
                path: path.clone(),
                source,
            })?;
            tasks.spawn(door(log).unix(listener));
        }
        let mut tcp = None;
        if let Some(config) = &config.tcp {
            let identity = Identity::read(config)?;
            let bound = async {
                let listener = TcpListener::bind(config.listen).await?;
                tcp = Some(listener.local_addr()?);
                Ok(listener)
            };
            let listener = bound.await.map_err(|source| GrpcError::Listen {
                address: config.listen,
                source,
            })?;
            tasks.spawn(door(log).tcp(listener, identity));
        }
        Ok(Self { tasks, stop, tcp })
    }

    /// The TCP address that is listened on, for a configuration that leaves the port to the kernel.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// Ends every stream with `UNAVAILABLE` and every connection, no later than `grace` from now.
    pub async fn stop(mut self, grace: Duration) {
        self.stop.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout(grace, ended).await;
    }
}

/// Where clients of one socket come in.
struct Door<L> {
    log: L,
    limits: Limits,
    places: Arc<Semaphore>,
    refusals: Arc<Refusals>,
    stop: watch::Receiver<bool>,
}

impl<L: Log> Door<L> {
    async fn unix(mut self, listener: UnixListener) {
        let mut clients = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = clients.join_next() => continue,
                _ = self.stop.wait_for(|&stop| stop) => break,
            };
            let Some((stream, _)) = taken(accepted).await else {
                continue;
            };
            if let Err(why) = may_read(&stream) {
                self.refusals.tell("unix", why);
                continue;
            }
            self.serve(&mut clients, "unix".to_owned(), async move { Some(stream) });
        }
        while clients.join_next().await.is_some() {}
    }

    async fn tcp(mut self, listener: TcpListener, mut identity: Identity) {
        let mut clients = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = clients.join_next() => continue,
                _ = self.stop.wait_for(|&stop| stop) => break,
            };
            let Some((stream, peer)) = taken(accepted).await else {
                continue;
            };
            let acceptor = identity.current();
            let handshake = self.limits.handshake;
            let refusals = Arc::clone(&self.refusals);
            self.serve(&mut clients, peer.to_string(), async move {
                match timeout(handshake, shake(acceptor, stream)).await {
                    Ok(Ok(stream)) => return Some(stream),
                    Ok(Err(error)) => refusals.tell(peer, error),
                    Err(_) => refusals.tell(peer, "no handshake in time"),
                }
                None
            });
        }
        while clients.join_next().await.is_some() {}
    }

    fn serve<S>(
        &self,
        clients: &mut JoinSet<()>,
        peer: String,
        arrive: impl Future<Output = Option<S>> + Send + 'static,
    ) where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.refusals.tell(peer, "too many connections");
            return;
        };
        let audit = Audit {
            log: self.log.clone(),
            heartbeat: self.limits.heartbeat,
            stop: self.stop.clone(),
        };
        let limits = self.limits;
        let mut stop = self.stop.clone();
        clients.spawn(async move {
            let served = async {
                let Some(stream) = arrive.await else { return };
                tracing::info!(peer, "a client of the audit stream");
                if let Err(error) = connection::serve(stream, audit, limits).await {
                    tracing::info!(peer, %error, "a client of the audit stream is gone");
                }
            };
            tokio::select! {
                () = served => {}
                () = async {
                    let _ = stop.wait_for(|&stop| stop).await;
                    // Its streams say that the daemon stops.
                    sleep(Duration::from_millis(100)).await;
                } => {}
            }
            drop(place);
        });
    }
}

async fn shake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    acceptor.accept(stream).await
}

/// What was accepted. An error is of that client, or says that there are no descriptors: a while later there
/// may be.
async fn taken<T>(accepted: io::Result<T>) -> Option<T> {
    match accepted {
        Ok(accepted) => Some(accepted),
        Err(error) => {
            tracing::warn!(%error, "a client of the audit stream cannot be taken");
            sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

/// Whether the client is root or the daemon's own user.
fn may_read(stream: &UnixStream) -> Result<(), String> {
    let peer = stream.peer_cred().map_err(|error| error.to_string())?;
    let own = nix::unistd::geteuid().as_raw();
    if peer.uid() == 0 || peer.uid() == own {
        Ok(())
    } else {
        Err(format!(
            "user {} is neither root nor the daemon's",
            peer.uid()
        ))
    }
}

/// Listens at `path`, where nobody else listens. It is never there with another mode than 0600.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return Err(io::Error::other("is there and is no socket"));
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(io::Error::from(io::ErrorKind::AddrInUse));
        }
        _ => {}
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, Permissions::from_mode(0o600))?;
    fs::rename(&new, path)?;
    Ok(listener)
}

/// The server's certificate and the clients' authorities, as the files have them.
struct Identity {
    config: TcpConfig,
    acceptor: TlsAcceptor,
    changed: [Option<SystemTime>; 3],
}

impl Identity {
    fn read(config: &TcpConfig) -> Result<Self, TlsError> {
        let changed = changed(config);
        let server = tls::server(&config.cert, &config.key, &config.client_ca)?;
        Ok(Self {
            config: config.clone(),
            acceptor: TlsAcceptor::from(Arc::new(server)),
            changed,
        })
    }

    /// As the files are now. What cannot be used yet leaves it as it was.
    fn current(&mut self) -> TlsAcceptor {
        if changed(&self.config) != self.changed {
            match Self::read(&self.config) {
                Ok(renewed) => *self = renewed,
                Err(error) => tracing::error!(%error, "the new certificate cannot be used"),
            }
        }
        self.acceptor.clone()
    }
}

fn changed(config: &TcpConfig) -> [Option<SystemTime>; 3] {
    [&config.cert, &config.key, &config.client_ca]
        .map(|file| fs::metadata(file).and_then(|file| file.modified()).ok())
}
