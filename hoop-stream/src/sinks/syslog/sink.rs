use std::io::{self, ErrorKind, Write as _};
use std::pin::Pin;
use std::sync::Arc;

use hoop_ocsf::Node;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Config, Transport, message};
use crate::render;
use crate::runner::{Failure, Sink};
use crate::source::Entry;
use crate::tls;

/// What stands in the way of a start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SyslogError {
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    #[error("address: {0}")]
    Name(#[from] InvalidDnsNameError),
}

/// The sink. Connects with the first record.
pub(crate) fn sink(config: &Config, node: &Arc<Node>) -> Result<impl Sink + use<>, SyslogError> {
    if config.transport == Transport::Tls {
        tls::client(&config.tls)?;
        ServerName::try_from(config.host.clone())?;
    }
    Ok(Syslog {
        config: config.clone(),
        node: Arc::clone(node),
        stream: None,
    })
}

struct Syslog {
    config: Config,
    node: Arc<Node>,
    stream: Option<Stream>,
}

type Stream = Pin<Box<dyn Duplex>>;

trait Duplex: AsyncRead + AsyncWrite + Send + Sync {}

impl<T: AsyncRead + AsyncWrite + Send + Sync> Duplex for T {}

impl Sink for Syslog {
    async fn deliver(&mut self, records: &[Entry]) -> Result<(), Failure> {
        let (records, rest) = render::decode(records);
        if records.is_empty() {
            return rest;
        }
        let limit = self.config.timeout;
        // Taken: what fails or is dropped half way is not used again.
        let stream = self.stream.take();
        let sent = async {
            if self.config.transport == Transport::Udp {
                let messages = records.iter().map(|record| self.datagram(record));
                return self.send(messages).await.map(|()| None);
            }
            let mut frames = Vec::new();
            for record in &records {
                self.frame(record, &mut frames);
            }
            self.stream(stream, &frames).await
        };
        let sent = timeout(limit, sent).await;
        self.stream = sent
            .unwrap_or_else(|_| Err(timed_out(self.config.confirm)))
            .map_err(Failure::retry)?;
        rest
    }
}

impl Syslog {
    /// Sends all frames; returns the stream if it is kept.
    async fn stream(&self, stream: Option<Stream>, frames: &[u8]) -> io::Result<Option<Stream>> {
        let mut stream = match still_open(stream).await {
            Some(stream) => stream,
            None => self.connect().await?,
        };
        stream.write_all(frames).await?;
        stream.flush().await?;
        if !self.config.confirm {
            return Ok(Some(stream));
        }
        // Ends our side. A receiver that has read everything ends its own; had it not, its kernel would reset
        // the connection.
        stream.shutdown().await?;
        let mut scratch = [0; 1024];
        loop {
            match stream.read(&mut scratch).await {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                // Closed without TLS's own goodbye: still closed, not reset.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    async fn connect(&self) -> io::Result<Stream> {
        let tcp = TcpStream::connect((&*self.config.host, self.config.port)).await?;
        tcp.set_nodelay(true)?;
        if self.config.transport == Transport::Tcp {
            return Ok(Box::pin(tcp));
        }
        let config = tls::client(&self.config.tls).map_err(io::Error::other)?;
        let name = ServerName::try_from(self.config.host.clone()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await?;
        Ok(Box::pin(stream))
    }

    /// Octet counting of RFC 6587, section 3.4.1: `MSG-LEN SP SYSLOG-MSG`.
    fn frame(&self, record: &hoop_records::Record, frames: &mut Vec<u8>) {
        let mut message = Vec::new();
        message::write(record, &self.config, &self.node, &mut message);
        // Writing to a vector does not fail.
        let _ = write!(frames, "{} ", message.len());
        frames.append(&mut message);
    }

    fn datagram(&self, record: &hoop_records::Record) -> Vec<u8> {
        let mut message = Vec::new();
        message::write(record, &self.config, &self.node, &mut message);
        message::cut(&mut message, self.config.max_bytes);
        message
    }

    async fn send(&self, mut messages: impl Iterator<Item = Vec<u8>>) -> io::Result<()> {
        let remote = tokio::net::lookup_host((&*self.config.host, self.config.port)).await?;
        let mut last = io::Error::new(ErrorKind::NotFound, "the host has no address");
        for remote in remote {
            let any = if remote.is_ipv4() {
                "0.0.0.0:0"
            } else {
                "[::]:0"
            };
            let socket = UdpSocket::bind(any).await?;
            match socket.connect(remote).await {
                Ok(()) => {
                    for message in messages.by_ref() {
                        socket.send(&message).await?;
                    }
                    return Ok(());
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// The stream, unless the receiver has closed its side: without a look, a batch would go nowhere unseen.
async fn still_open(stream: Option<Stream>) -> Option<Stream> {
    let mut stream = stream?;
    let mut byte = [0];
    let open = tokio::select! {
        biased;
        read = stream.read(&mut byte) => matches!(read, Ok(1)),
        () = std::future::ready(()) => true,
    };
    open.then_some(stream)
}

fn timed_out(confirm: bool) -> io::Error {
    let what = if confirm {
        "no end of the connection in time; a receiver that never ends its side needs `confirm: false`"
    } else {
        "not sent in time"
    };
    io::Error::new(ErrorKind::TimedOut, what)
}
