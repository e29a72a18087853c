//! TLS connections of which nothing was read: said, with the reason.

use std::collections::{BTreeSet, HashSet, VecDeque};

use hoop_common::{event::ProcessKey, payload::SocketPair};

use super::{Said, piece::Piece, tls};
use crate::clock::ClockOffset;
use hoop_records::{Coverage, Fact, Kind, Record, Shared, Workload};

/// How long a connection may take from its first message until plaintext of it is read, in nanoseconds.
const PATIENCE_NS: u64 = 5_000_000_000;

/// Connections that are waited for at one time.
const WAITING: usize = 16_384;

/// Sockets of which plaintext was read that are remembered.
const READ: usize = 65_536;

/// OCSF class: Detection Finding.
const DETECTION_FINDING: u32 = 2004;

/// What is known of the TLS libraries that a process runs code from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Libraries {
    /// Those with probes, as people name them: `OpenSSL 3.0.17 in /usr/lib/.../libssl.so.3`.
    pub covered: BTreeSet<String>,
    /// Those without, each with the reason.
    pub uncovered: BTreeSet<String>,
}

/// TLS connections, until plaintext of them was read.
#[derive(Default)]
pub(super) struct Hellos {
    waiting: VecDeque<Hello>,
    /// Cookies of sockets, and the order in which they were noted.
    read: HashSet<u64>,
    read_order: VecDeque<u64>,
}

struct Hello {
    boot_ns: u64,
    process: ProcessKey,
    workload: Shared<Workload>,
    cookie: u64,
    pair: SocketPair,
}

impl Hellos {
    /// A connection began.
    pub(super) fn begin(
        &mut self,
        piece: &Piece<'_>,
        pair: SocketPair,
        workload: Shared<Workload>,
    ) {
        if self.waiting.len() >= WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Hello {
            boot_ns: piece.header.boot_ns,
            process: piece.process(),
            workload,
            cookie: piece.header.other,
            pair,
        });
    }

    /// Plaintext of a connection was read.
    pub(super) fn read(&mut self, cookie: u64) {
        if self.read.insert(cookie) {
            self.read_order.push_back(cookie);
            if self.read_order.len() > READ
                && let Some(oldest) = self.read_order.pop_front()
            {
                self.read.remove(&oldest);
            }
        }
    }

    /// Says which connections were not read: those of a process that has ended, and those that took
    /// too long.
    pub(super) fn settle(
        &mut self,
        now_ns: u64,
        ended: Option<ProcessKey>,
        libraries: impl Fn(u32) -> Libraries,
        offset: ClockOffset,
        sink: &mut impl FnMut(Said),
    ) {
        let read = &self.read;
        self.waiting.retain(|hello| {
            if read.contains(&hello.cookie) {
                return false;
            }
            let over = hello.boot_ns.saturating_add(PATIENCE_NS) <= now_ns;
            if !over && ended != Some(hello.process) {
                return true;
            }
            sink((
                hello.record(&libraries(hello.process.tgid), offset),
                hello.process,
            ));
            false
        });
    }
}

impl Hello {
    fn record(&self, libraries: &Libraries, offset: ClockOffset) -> Record {
        let reason = if !libraries.uncovered.is_empty() {
            "a TLS library of the process cannot be read"
        } else if libraries.covered.is_empty() {
            "no TLS library that is known was found in the process"
        } else {
            "nothing was said through the libraries that are read, or not after they were found"
        };
        Record {
            time_dt: offset.utc(self.boot_ns),
            boot_time_ns: self.boot_ns,
            kind: Kind::Coverage.into(),
            class_uid: DETECTION_FINDING,
            activity_id: 1,
            workload: Some(self.workload.clone()),
            fact: Some(Fact::Coverage(Coverage {
                dst_endpoint: Some(tls::remote(&self.pair)),
                socket: self.cookie,
                covered: libraries.covered.iter().cloned().collect(),
                uncovered: libraries.uncovered.iter().cloned().collect(),
                reason: reason.to_owned(),
            })),
            ..Record::default()
        }
    }
}
