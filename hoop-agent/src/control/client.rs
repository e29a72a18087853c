//! The command line's end.

use std::{
    io::{BufRead, BufReader, ErrorKind, Write},
    os::unix::net::UnixStream,
    path::Path,
};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use super::{Answer, Request};

/// A connection to the daemon.
pub struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    ///
    /// When no daemon listens, or not for this user.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => anyhow!(
                "no daemon answers at {}: start one with `hoop-agent run`, or name its --socket",
                socket.display()
            ),
            ErrorKind::PermissionDenied => {
                anyhow!(
                    "{}: only root may talk to the daemon: use sudo",
                    socket.display()
                )
            }
            _ => anyhow!("{}: {error}", socket.display()),
        })?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    ///
    /// When the daemon says no, or goes away.
    pub fn ask(&mut self, request: &Request) -> Result<Value> {
        self.send(request)?;
        let line = self.line()?.context("the daemon went away")?;
        match serde_json::from_str(&line).context("the daemon's answer is of another version")? {
            Answer::Done(value) => Ok(value),
            Answer::Failed(why) => bail!(why),
        }
    }

    /// Sends a request whose answers are read with [`Client::line`].
    ///
    /// # Errors
    ///
    /// When the daemon goes away.
    pub fn send(&mut self, request: &Request) -> Result<()> {
        let mut text = serde_json::to_vec(request)?;
        text.push(b'\n');
        Ok(self.stream.get_mut().write_all(&text)?)
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    ///
    /// When the daemon goes away in the middle of one.
    pub fn line(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        Ok((self.stream.read_line(&mut line)? > 0).then_some(line))
    }
}
