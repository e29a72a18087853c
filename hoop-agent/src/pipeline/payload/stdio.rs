//! MCP over pipes and Unix sockets between a workload's processes.
//!
//! A channel is a pipe, or one way of a pair of sockets. Pieces say what was written to one, and of a process that writes to
//! its standard output, which one it reads as its standard input: so the two channels of a server are joined.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use hoop_common::{event::ProcessKey, payload::STANDARD_OUTPUT};
use hoop_protocols::mcp::{Call, Limits, Side, Stdio};

use super::{Directory, Said, Settings, meaning, piece::Piece};
use crate::{clock::ClockOffset, pipeline::masking::Findings};
use hoop_records::{ApiActivity, Fact, Kind, Record, Shared, Workload};

/// OCSF class: API Activity.
const API_ACTIVITY: u32 = 6003;

/// Servers at one time; the oldest is ended to make room.
const MAX_SERVERS: usize = 128;

/// Bytes of requests to one server that wait for their answers; the oldest is told as unanswered to make room.
const MAX_WAITING: usize = 1 << 20;

/// Pieces after which channels count as carrying something else, if none had a message of JSON-RPC.
const MAX_OTHERS: u32 = 16;

/// The servers that are spoken with.
#[derive(Default)]
pub(super) struct Channels {
    /// By the channel that the server reads; by the one that it writes, if the other is not known.
    open: HashMap<u64, Server>,
    /// The order in which they were begun, oldest first.
    order: VecDeque<u64>,
    refused: Vec<u64>,
}

/// A server, and who speaks with it.
struct Server {
    workload: Shared<Workload>,
    settings: Arc<Settings>,
    messages: Stdio,
    client: Writer,
    server: Writer,
    others: u32,
    /// When the last piece was written.
    now_ns: u64,
}

/// Who wrote to a channel.
#[derive(Default)]
struct Writer {
    process: Option<ProcessKey>,
    channel: u64,
    since_ns: u64,
    /// Where the next bytes should be.
    next: u64,
}

impl Channels {
    /// Takes what was written to a channel. Records of what is complete by it go to `sink`.
    pub(super) fn take(
        &mut self,
        piece: &Piece<'_>,
        bytes: &[u8],
        directory: &impl Directory,
        offset: ClockOffset,
        sink: &mut impl FnMut(Said),
    ) {
        let header = &piece.header;
        // Who is read by one that is known is its client, wherever else it writes.
        let is_client = header.join != STANDARD_OUTPUT || self.open.contains_key(&header.object);
        let (from, key) = match header.other {
            _ if is_client => (Side::Client, header.object),
            0 => (Side::Server, header.object),
            input => (Side::Server, input),
        };
        if !self.open.contains_key(&key) {
            let Some((workload, settings)) = directory.captured(header.workload) else {
                return;
            };
            while self.order.len() >= MAX_SERVERS
                && let Some(oldest) = self.order.pop_front()
            {
                self.end(oldest, offset, sink);
            }
            self.order.push_back(key);
            self.open
                .insert(key, Server::new(header.boot_ns, workload, settings));
        }
        let Some(server) = self.open.get_mut(&key) else {
            return;
        };
        server.take(from, piece, bytes, offset, sink);
        if server.others >= MAX_OTHERS {
            let channels = [server.client.channel, server.server.channel];
            let known = channels.into_iter().filter(|channel| *channel != 0);
            self.refused.extend(known);
            self.end(key, offset, sink);
        }
    }

    /// To be called now and then.
    pub(super) fn settle(&mut self, offset: ClockOffset, sink: &mut impl FnMut(Said)) {
        for server in self.open.values_mut() {
            let mut calls = Vec::new();
            server.messages.settle(|call| calls.push(call));
            server.write(calls, offset, sink);
        }
    }

    /// Channels that turned out to carry something else, since this was last asked.
    pub(super) fn refused(&mut self) -> impl Iterator<Item = u64> {
        self.refused.drain(..)
    }

    /// Ends all of them.
    pub(super) fn end_all(&mut self, offset: ClockOffset, sink: &mut impl FnMut(Said)) {
        while let Some(oldest) = self.order.front() {
            self.end(*oldest, offset, sink);
        }
    }

    /// Ends what a process was part of that has ended.
    pub(super) fn end_process(
        &mut self,
        process: ProcessKey,
        offset: ClockOffset,
        sink: &mut impl FnMut(Said),
    ) {
        let part = |server: &Server| {
            let both = [&server.client, &server.server];
            both.iter().any(|end| end.process == Some(process))
        };
        let of_process = self.open.iter().filter(|(_, server)| part(server));
        let ended: Vec<u64> = of_process.map(|(key, _)| *key).collect();
        for key in ended {
            self.end(key, offset, sink);
        }
    }

    fn end(&mut self, key: u64, offset: ClockOffset, sink: &mut impl FnMut(Said)) {
        self.order.retain(|known| *known != key);
        if let Some(server) = self.open.remove(&key) {
            server.end(offset, sink);
        }
    }
}

impl Server {
    fn new(now_ns: u64, workload: Shared<Workload>, settings: Arc<Settings>) -> Self {
        let limits = Limits {
            message: settings.max_body,
            waiting: MAX_WAITING,
            ..Limits::default()
        };
        Self {
            workload,
            settings,
            messages: Stdio::new(limits),
            client: Writer::default(),
            server: Writer::default(),
            others: 0,
            now_ns,
        }
    }

    fn take(
        &mut self,
        from: Side,
        piece: &Piece<'_>,
        bytes: &[u8],
        offset: ClockOffset,
        sink: &mut impl FnMut(Said),
    ) {
        let header = &piece.header;
        self.now_ns = header.boot_ns;
        let writer = match from {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        };
        if writer.wrote(piece) {
            self.messages.gap(from);
        }
        let mut calls = Vec::new();
        self.messages.push(from, bytes, |call| calls.push(call));
        if header.skipped > 0 {
            self.messages.gap(from);
        }
        if self.messages.is_mcp() == Some(false) {
            self.others += 1;
        }
        self.write(calls, offset, sink);
    }

    fn end(mut self, offset: ClockOffset, sink: &mut impl FnMut(Said)) {
        let mut calls = Vec::new();
        self.messages.end(|call| calls.push(call));
        self.write(calls, offset, sink);
    }

    /// Writes calls, each as said by who made it.
    fn write(&self, calls: Vec<Call>, offset: ClockOffset, sink: &mut impl FnMut(Said)) {
        for call in calls {
            let processes = match call.caller {
                Side::Client => [self.client.process, self.server.process],
                Side::Server => [self.server.process, self.client.process],
            };
            let Some(process) = processes.into_iter().flatten().next() else {
                continue;
            };
            let incomplete = call.issues.iter().map(|issue| issue.as_str().to_owned());
            let incomplete = incomplete.collect();
            let mut findings = Findings::default();
            let attributes = meaning::of_tool(call, &self.settings.masker, &mut findings);
            let api = ApiActivity {
                protocol: "stdio".to_owned(),
                attributes,
                incomplete,
                masked: findings.take(),
                ..ApiActivity::default()
            };
            let record = Record {
                time_dt: offset.utc(self.now_ns),
                boot_time_ns: self.now_ns,
                kind: Kind::Api.into(),
                class_uid: API_ACTIVITY,
                workload: Some(self.workload.clone()),
                fact: Some(Fact::Api(Box::new(api))),
                ..Record::default()
            };
            sink((record, process));
        }
    }
}

impl Writer {
    /// Notes a piece. Whether bytes before it are missing.
    fn wrote(&mut self, piece: &Piece<'_>) -> bool {
        let header = &piece.header;
        if (self.channel, self.since_ns) != (header.object, header.since_ns) {
            self.channel = header.object;
            self.since_ns = header.since_ns;
            self.next = 0;
        }
        let missing = header.offset > self.next;
        let after = u64::from(header.len).saturating_add(header.skipped.into());
        self.next = self.next.max(header.offset.saturating_add(after));
        self.process = Some(piece.process());
        missing
    }
}
