//! The far side of a webhook: takes every batch, and notes the records' numbers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::seen::Seen;

/// It ends with this program.
pub struct Receiver {
    address: SocketAddr,
    seen: Arc<Seen>,
}

impl Receiver {
    /// On a free port of loopback.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, seen) = (listener.local_addr()?, Arc::<Seen>::default());
        let saw = Arc::clone(&seen);
        let thread = std::thread::Builder::new().name("receiver".into());
        thread.spawn(move || {
            for connection in listener.incoming().flatten() {
                // The daemon connects again.
                let _ = serve(&connection, &saw);
            }
        })?;
        Ok(Self { address, seen })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What arrived.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }
}

fn serve(connection: &TcpStream, seen: &Seen) -> Result<()> {
    let mut input = BufReader::with_capacity(256 << 10, connection);
    let (mut line, mut body) = (String::new(), Vec::new());
    loop {
        let mut length = None;
        loop {
            line.clear();
            if input.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line.trim_end().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse()?);
            }
        }
        body.resize(length.context("a body without a length")?, 0);
        input.read_exact(&mut body)?;
        for record in body.split(|&byte| byte == b'\n') {
            if let Some(number) = number(record) {
                seen.saw(number);
            }
        }
        { connection }.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
}

/// The number of a record's JSON, which begins with it.
pub fn number(record: &[u8]) -> Option<u64> {
    let digits = record.strip_prefix(br#"{"number":"#)?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}
