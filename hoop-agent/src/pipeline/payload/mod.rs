//! From pieces of plaintext to records: parsed, joined, masked.
//!
//! Plaintext is held here, in memory that is bounded, until what it says is complete. What leaves is
//! masked: a record's texts come from [`masking`](super::masking) only.

mod body;
mod conversation;
pub mod coverage;
mod exchange;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod meaning;
pub mod piece;
mod stdio;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use hoop_common::{event::ProcessKey, limits::MAX_TLS_CONNECTIONS, payload::PieceHeader};
use hoop_mask::Masker;
use hoop_protocols::{Direction, mcp};

use self::{
    conversation::Conversation,
    coverage::{Hellos, Libraries},
    piece::{Body, Piece},
    stdio::Channels,
};
use crate::clock::ClockOffset;
use hoop_records::{Record, Shared, Workload};

/// How a client begins HTTP/2 (RFC 9113, 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a policy says of captured plaintext.
#[derive(Clone)]
pub struct Settings {
    /// Whether what is written to pipes is recorded.
    pub stdio: bool,
    /// Masks it.
    pub masker: Arc<Masker>,
    /// Most bytes that a record holds of one body.
    pub max_body: usize,
}

/// What the caller knows when pieces arrive.
pub trait Directory {
    /// The workload of a tagged cgroup, and what its policy says. `None`: nothing is captured there.
    fn captured(&self, cgroup_id: u64) -> Option<(Shared<Workload>, Arc<Settings>)>;

    /// What is known of the TLS libraries of a process.
    fn libraries(&self, tgid: u32) -> Libraries;
}

/// The conversations that are going on.
#[derive(Default)]
pub struct Conversations {
    open: HashMap<ConnectionKey, Conversation>,
    /// The order in which they were begun, oldest first, for when there are too many.
    order: VecDeque<ConnectionKey>,
    /// What is said to tools, by the process that says it: an answer may come on another connection.
    tools: HashMap<ProcessKey, mcp::Http>,
    channels: Channels,
    hellos: Hellos,
    stats: Stats,
}

/// Counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stats {
    /// Bytes of plaintext that were read.
    pub bytes: u64,
    /// Bytes that the kernel moved and no piece had.
    pub skipped: u64,
    /// Pieces that were none.
    pub malformed: u64,
    /// Conversations that were ended since there were too many.
    pub evicted: u64,
}

/// A record about a process, which only the process table knows more of.
pub type Said = (Record, ProcessKey);

/// A connection of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ConnectionKey {
    tgid: u32,
    object: u64,
    since_ns: u64,
}

impl Conversations {
    /// Takes one piece. Records of what is complete by it go to `sink`.
    pub fn take(
        &mut self,
        piece: &Piece<'_>,
        directory: &impl Directory,
        offset: ClockOffset,
        sink: &mut impl FnMut(Said),
    ) {
        let header = &piece.header;
        let key = ConnectionKey {
            tgid: header.tgid,
            object: header.object,
            since_ns: header.since_ns,
        };
        match piece.body {
            Body::Mapped => {}
            Body::Ended => {
                self.end_process(piece.process(), offset, sink);
                let libraries = |tgid| directory.libraries(tgid);
                let ended = Some(piece.process());
                self.hellos
                    .settle(header.boot_ns, ended, libraries, offset, sink);
            }
            Body::Hello { pair } => {
                if let Some((workload, _)) = directory.captured(header.workload) {
                    self.hellos.begin(piece, pair, workload);
                }
            }
            Body::Piped { bytes } => {
                // The program takes it of every workload that captures, once a policy asks for it.
                let captured = directory.captured(header.workload);
                if !captured.is_some_and(|(_, settings)| settings.stdio) {
                    return;
                }
                self.stats.bytes += bytes.len() as u64;
                self.stats.skipped += u64::from(header.skipped);
                self.channels.take(piece, bytes, directory, offset, sink);
            }
            Body::Closed => self.end(key, Some(header), offset, sink),
            Body::Joined { join, pair } => {
                self.begin(key, piece, directory, offset, sink);
                if let Some(conversation) = self.open.get_mut(&key) {
                    conversation.join(join, &pair, header.other);
                    if conversation.has_said() {
                        self.hellos.read(header.other);
                    }
                }
            }
            Body::Data { direction, bytes } => {
                self.stats.bytes += bytes.len() as u64;
                self.stats.skipped += u64::from(header.skipped);
                if direction == Direction::Sent && bytes.starts_with(HTTP2_PREFACE) {
                    // Not every library says when a connection ends; this one begins.
                    self.end(key, None, offset, sink);
                }
                self.begin(key, piece, directory, offset, sink);
                if let Some(conversation) = self.open.get_mut(&key) {
                    let tools = tools_of(&mut self.tools, piece.process());
                    conversation.take(header, direction, bytes, tools, offset, sink);
                    if let Some(cookie) = conversation.cookie() {
                        self.hellos.read(cookie);
                    }
                }
            }
        }
    }

    /// Says of which TLS connections nothing was read in time. `now_ns`: nanoseconds since boot.
    pub fn settle(
        &mut self,
        now_ns: u64,
        directory: &impl Directory,
        offset: ClockOffset,
        sink: &mut impl FnMut(Said),
    ) {
        let libraries = |tgid| directory.libraries(tgid);
        self.hellos.settle(now_ns, None, libraries, offset, sink);
        self.channels.settle(offset, sink);
    }

    /// Channels that turned out to carry something else than JSON-RPC, since this was last asked.
    pub fn refused(&mut self) -> impl Iterator<Item = u64> {
        self.channels.refused()
    }

    /// Ends all of them.
    pub fn end_all(&mut self, offset: ClockOffset, sink: &mut impl FnMut(Said)) {
        let open: Vec<ConnectionKey> = self.open.keys().copied().collect();
        for key in open {
            self.end(key, None, offset, sink);
        }
        self.order.clear();
        self.channels.end_all(offset, sink);
    }

    /// Notes bytes that were no piece.
    pub fn malformed(&mut self) {
        self.stats.malformed += 1;
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Begins a conversation, unless there is one or nothing is captured there.
    fn begin(
        &mut self,
        key: ConnectionKey,
        piece: &Piece<'_>,
        directory: &impl Directory,
        offset: ClockOffset,
        sink: &mut impl FnMut(Said),
    ) {
        if self.open.contains_key(&key) {
            return;
        }
        let Some((workload, settings)) = directory.captured(piece.header.workload) else {
            return;
        };
        while self.order.len() >= MAX_TLS_CONNECTIONS as usize {
            // Most of them were ended long ago.
            if let Some(oldest) = self.order.pop_front()
                && self.open.contains_key(&oldest)
            {
                self.stats.evicted += 1;
                self.end(oldest, None, offset, sink);
            }
        }
        self.order.push_back(key);
        self.open
            .insert(key, Conversation::new(piece, workload, settings));
    }

    fn end(
        &mut self,
        key: ConnectionKey,
        closed: Option<&PieceHeader>,
        offset: ClockOffset,
        sink: &mut impl FnMut(Said),
    ) {
        if let Some(conversation) = self.open.remove(&key) {
            let tools = tools_of(&mut self.tools, conversation.process());
            conversation.end(closed, tools, offset, sink);
        }
    }

    /// Ends the conversations of a process that has ended.
    fn end_process(
        &mut self,
        process: ProcessKey,
        offset: ClockOffset,
        sink: &mut impl FnMut(Said),
    ) {
        let ended: Vec<ConnectionKey> = self
            .open
            .iter()
            .filter(|(_, conversation)| conversation.process() == process)
            .map(|(key, _)| *key)
            .collect();
        for key in ended {
            self.end(key, None, offset, sink);
        }
        self.tools.remove(&process);
        self.channels.end_process(process, offset, sink);
    }
}

/// The sessions with tools of a process.
fn tools_of(all: &mut HashMap<ProcessKey, mcp::Http>, process: ProcessKey) -> &mut mcp::Http {
    all.entry(process)
        .or_insert_with(|| mcp::Http::new(mcp::Limits::default()))
}
