//! Secrets longer than a window, followed byte by byte to their end.

use crate::bytes::{self, ALPHA};
use crate::detect::{Shape, in_armor};

/// So many bytes before the window's end say in what state the secret goes on.
const LOOK_BACK: usize = 96;
/// Armor's dashes (RFC 7468).
const DASHES: usize = 5;
/// The longest last line of armor.
const FOOTER: usize = 80;

/// What has to be known of a secret to see its end.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    shape: Shape,
    /// The backslashes or dashes that were last.
    run: usize,
    /// Bytes since the dashes that may start armor's last line; 0: not there.
    footer: usize,
    own: u64,
}

impl Tail {
    /// The state after `head`.
    pub(crate) fn new(shape: Shape, head: &[u8]) -> Self {
        let mut tail = Self {
            shape,
            run: 0,
            footer: 0,
            own: 0,
        };
        for &byte in &head[head.len().saturating_sub(LOOK_BACK)..] {
            tail.ends(byte);
        }
        tail.own = 0;
        tail
    }

    /// How many of `bytes` belong to the secret if it ends in them.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, &byte) in bytes.iter().enumerate() {
            if self.ends(byte) {
                let last_of_it = self.shape == Shape::Pem && byte == b'-';
                return Some(at + usize::from(last_of_it));
            }
        }
        None
    }

    /// How many bytes before the end are the quote's own backslashes.
    pub(crate) fn own(&self) -> u64 {
        self.own
    }

    /// Whether the secret ends at `byte`.
    fn ends(&mut self, byte: u8) -> bool {
        match self.shape {
            Shape::Token => {
                byte <= b' '
                    || matches!(
                        byte,
                        b'"' | b'\''
                            | b'`'
                            | b'<'
                            | b'>'
                            | b'\\'
                            | b','
                            | b';'
                            | b'|'
                            | b'('
                            | b')'
                            | b'{'
                            | b'}'
                            | b'['
                            | b']'
                            | 0x7f
                    )
            }
            Shape::Line => matches!(byte, b'\n' | b'\r' | b'"' | b'\'' | b'\\'),
            Shape::Quoted(level) => {
                if byte == b'\\' {
                    self.run += 1;
                    return false;
                }
                let run = std::mem::take(&mut self.run);
                let found = run.trailing_ones();
                self.own = (1_u64 << found.min(16)) - 1;
                byte == b'"' && found <= level
            }
            Shape::Pem => self.ends_armor(byte),
        }
    }

    fn ends_armor(&mut self, byte: u8) -> bool {
        if byte != b'-' {
            if self.run == DASHES && byte == b'E' {
                self.footer = 1;
            } else if self.footer > 0 {
                self.footer += 1;
                if self.footer > FOOTER || !(bytes::is(byte, ALPHA) || byte == b' ') {
                    self.footer = 0;
                }
            }
            self.run = 0;
            return !in_armor(byte) && byte != b'\\';
        }
        self.run += 1;
        self.footer > 0 && self.run == DASHES
    }
}
