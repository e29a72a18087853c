//! Fuzzing what is made of plaintext: pieces in any order and with anything in them.

use std::sync::{Arc, LazyLock};

use hoop_common::payload::{Join, PieceHeader, PieceKind, SENT, SocketPair, TlsCall};
use hoop_mask::{Config, Key, Masker};
use zerocopy::{FromZeros, IntoBytes};

use super::coverage::Libraries;
use super::{Conversations, Directory, Said, Settings, piece};
use crate::clock::ClockOffset;
use hoop_records::render;
use hoop_records::{Shared, Workload};

const WORKLOAD: u64 = 4242;
/// Processes, and connections of each: few, so that they meet.
const PROCESSES: usize = 2;
const OBJECTS: usize = 2;
const KINDS: [PieceKind; 7] = [
    PieceKind::Data,
    PieceKind::Joined,
    PieceKind::Closed,
    PieceKind::Mapped,
    PieceKind::Ended,
    PieceKind::Hello,
    PieceKind::Piped,
];

/// Pieces and settles in an order that the bytes choose.
///
/// Holds: no panic; every record is one line of JSON; every byte that was read is counted, and so is
/// every one that was not.
pub fn payload(data: &[u8]) {
    let mut kernel = Kernel {
        data,
        boot_ns: 1,
        offsets: [0; PROCESSES * OBJECTS * 2],
    };
    let mut conversations = Conversations::default();
    let (mut bytes, mut skipped, mut malformed) = (0, 0, 0);
    let mut line = Vec::new();
    let mut sink = |(record, _): Said| {
        line.clear();
        render(&record, &mut line);
        let end = line.iter().position(|&byte| byte == b'\n');
        assert_eq!(end, Some(line.len() - 1), "not one line");
        if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&line) {
            panic!("{error}: {}", line.escape_ascii());
        }
    };
    let offset = ClockOffset::default();
    while let Some(step) = kernel.byte() {
        let (written, whole) = match step % 8 {
            0 => {
                let now = kernel.now();
                conversations.settle(now, &Names, offset, &mut sink);
                continue;
            }
            1 => (kernel.text().to_vec(), false),
            _ => (kernel.piece(), true),
        };
        match piece::decode(&written) {
            Ok(piece) => {
                if let piece::Body::Data { bytes: text, .. } | piece::Body::Piped { bytes: text } =
                    piece.body
                {
                    bytes += text.len() as u64;
                    skipped += u64::from(piece.header.skipped);
                }
                conversations.take(&piece, &Names, offset, &mut sink);
            }
            Err(error) => {
                assert!(!whole, "{error}");
                malformed += 1;
                conversations.malformed();
            }
        }
    }
    conversations.end_all(offset, &mut sink);
    let _ = conversations.refused().count();
    let stats = conversations.stats();
    assert_eq!(
        (stats.bytes, stats.skipped, stats.malformed),
        (bytes, skipped, malformed)
    );
}

/// Gives pieces as the programs would.
struct Kernel<'d> {
    data: &'d [u8],
    boot_ns: u64,
    /// By connection and direction.
    offsets: [u64; PROCESSES * OBJECTS * 2],
}

impl<'d> Kernel<'d> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.data.split_first()?;
        self.data = rest;
        Some(byte)
    }

    fn next(&mut self) -> u8 {
        self.byte().unwrap_or(0)
    }

    /// The next bytes, behind two that say how many.
    fn text(&mut self) -> &'d [u8] {
        let len = u16::from_be_bytes([self.next(), self.next()]);
        let (bytes, rest) = self.data.split_at(self.data.len().min(len.into()));
        self.data = rest;
        bytes
    }

    /// Time never goes back, and sometimes goes on by more than anything waits.
    fn now(&mut self) -> u64 {
        self.boot_ns += 1 << (self.next() % 40);
        self.boot_ns
    }

    /// A piece that can be decoded: five bytes, and text.
    fn piece(&mut self) -> Vec<u8> {
        let [kind, whose, call, rest, skipped] = [0; 5].map(|_| self.next());
        let text = self.text();
        let kind = KINDS[usize::from(kind) % KINDS.len()];
        let connection = usize::from(whose) % (PROCESSES * OBJECTS);
        let direction = whose >> 7;
        let stream = connection * 2 + usize::from(direction != SENT);
        let tgid = (connection / OBJECTS + 1) as u32;
        let mut header = PieceHeader::new_zeroed();
        header.boot_ns = self.now();
        header.workload = WORKLOAD + u64::from(rest % 8 == 7);
        header.start_ns = u64::from(tgid) * 1000;
        header.tgid = tgid;
        header.tid = tgid;
        header.object = (connection % OBJECTS) as u64;
        // Now and then what comes next is elsewhere than it should be.
        header.offset = self.offsets[stream].wrapping_add(u64::from(rest >> 7) * 100);
        header.other = u64::from(rest >> 4 & 7);
        header.len = text.len() as u32;
        header.skipped = skipped.into();
        header.kind = kind as u8;
        header.direction = direction;
        header.join =
            [Join::Nested, Join::NestedInGoroutine, Join::NextSend][usize::from(rest) % 3] as u8;
        header.call = TlsCall::from_number(call.into()).map_or(0, |call| call as u8);
        if matches!(kind, PieceKind::Data | PieceKind::Piped) {
            self.offsets[stream] += text.len() as u64 + u64::from(skipped);
            return [header.as_bytes(), text].concat();
        }
        let mut pair = SocketPair::new_zeroed();
        let len = text.len().min(size_of::<SocketPair>());
        pair.as_mut_bytes()[..len].copy_from_slice(&text[..len]);
        [header.as_bytes(), pair.as_bytes()].concat()
    }
}

/// Knows one workload.
struct Names;

impl Directory for Names {
    fn captured(&self, cgroup_id: u64) -> Option<(Shared<Workload>, Arc<Settings>)> {
        static SETTINGS: LazyLock<Arc<Settings>> = LazyLock::new(|| {
            let masker = Masker::new(&Config::default(), Key::new("fuzz", &[0; 32]));
            Arc::new(Settings {
                stdio: true,
                masker: Arc::new(masker.expect("it names no class")),
                max_body: 1000,
            })
        });
        (cgroup_id == WORKLOAD).then(|| (Shared::new(Workload::default()), Arc::clone(&SETTINGS)))
    }

    fn libraries(&self, _tgid: u32) -> Libraries {
        Libraries::default()
    }
}
