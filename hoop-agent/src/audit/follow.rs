//! Followers see lines as they are written. A slow one loses lines, and is told how many.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use crate::pipeline::attribute::gap_now;
use hoop_records::Gap;
use hoop_records::render;

/// Bytes of lines that wait for one follower, by default.
pub const FOLLOWER_BYTES: usize = 4 << 20;

/// All followers of one log. Clones are handles to the same.
#[derive(Clone, Debug, Default)]
pub struct Followers(Arc<Mutex<Vec<Weak<Channel>>>>);

impl Followers {
    /// Follows from the next line on. At most `bytes` of lines wait to be received.
    #[must_use]
    pub fn subscribe(&self, bytes: usize) -> Follower {
        let channel = Arc::new(Channel {
            queue: Mutex::new(Queue {
                limit: bytes,
                ..Queue::default()
            }),
            arrived: Notify::new(),
        });
        lock(&self.0).push(Arc::downgrade(&channel));
        Follower(channel)
    }

    /// Shows every line of `lines` to every follower. Never waits.
    pub(super) fn publish(&self, lines: &[u8]) {
        let mut followers = lock(&self.0);
        followers.retain(|follower| follower.strong_count() > 0);
        if followers.is_empty() {
            return;
        }
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            let line: Arc<[u8]> = line.into();
            for follower in followers.iter().filter_map(Weak::upgrade) {
                lock(&follower.queue).push(&line);
            }
        }
        for follower in followers.iter().filter_map(Weak::upgrade) {
            follower.arrived.notify_one();
        }
    }

    /// Ends every follower once it received what waits.
    pub(super) fn close(&self) {
        for follower in lock(&self.0)
            .drain(..)
            .filter_map(|follower| follower.upgrade())
        {
            lock(&follower.queue).closed = true;
            follower.arrived.notify_one();
        }
    }
}

/// The receiving end: dropped, it no longer costs anything.
#[derive(Debug)]
pub struct Follower(Arc<Channel>);

impl Follower {
    /// The next line, with its newline; `None` when the log was closed. A gap line, which has no
    /// number, stands for lines that were lost because this follower was slow.
    pub async fn recv(&mut self) -> Option<Arc<[u8]>> {
        loop {
            {
                let mut queue = lock(&self.0.queue);
                let line = queue.pop();
                if line.is_some() || queue.closed {
                    return line;
                }
            }
            self.0.arrived.notified().await;
        }
    }

    /// The next line if one waits.
    pub fn try_recv(&mut self) -> Option<Arc<[u8]>> {
        lock(&self.0.queue).pop()
    }
}

#[derive(Debug)]
struct Channel {
    queue: Mutex<Queue>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Arc<[u8]>>,
    bytes: usize,
    limit: usize,
    /// Lines lost after the last one in `lines`.
    lost: u64,
    closed: bool,
}

impl Queue {
    fn push(&mut self, line: &Arc<[u8]>) {
        // Once lines were lost, room for many is waited for: one gap, not one for every other line.
        let limit = if self.lost > 0 {
            self.limit / 2
        } else {
            self.limit
        };
        if self.bytes + line.len() > limit {
            self.lost += 1;
            return;
        }
        if let Some(gap) = self.take_gap() {
            self.bytes += gap.len();
            self.lines.push_back(gap);
        }
        self.bytes += line.len();
        self.lines.push_back(Arc::clone(line));
    }

    fn pop(&mut self) -> Option<Arc<[u8]>> {
        let Some(line) = self.lines.pop_front() else {
            return self.take_gap();
        };
        self.bytes -= line.len();
        Some(line)
    }

    fn take_gap(&mut self) -> Option<Arc<[u8]>> {
        let count = std::mem::take(&mut self.lost);
        if count == 0 {
            return None;
        }
        let record = gap_now(Gap {
            count,
            cause: "follower too slow".to_owned(),
            ..Gap::default()
        });
        let mut line = Vec::new();
        render(&record, &mut line);
        Some(line.into())
    }
}

/// A panic elsewhere leaves no queue half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(follower: &mut Follower) -> Vec<String> {
        std::iter::from_fn(|| follower.try_recv())
            .map(|line| String::from_utf8_lossy(&line).into_owned())
            .collect()
    }

    #[test]
    fn a_slow_follower_loses_lines_and_is_told_how_many() {
        let followers = Followers::default();
        let mut slow = followers.subscribe(8);
        let mut fast = followers.subscribe(1000);
        followers.publish(b"1\n2\n3\n4\n5\n6\n");
        assert_eq!(slow.try_recv().as_deref(), Some(&b"1\n"[..]));
        // There is room for one, and it stays empty: half of it must be free.
        followers.publish(b"7\n");
        let lines = received(&mut slow);
        assert_eq!(lines[..3], ["2\n", "3\n", "4\n"]);
        assert!(
            lines[3].contains(r#""gap":{"count":3,"cause":"follower too slow"}"#),
            "{lines:?}"
        );
        followers.publish(b"8\n");
        assert_eq!(received(&mut slow), ["8\n"]);
        assert_eq!(received(&mut fast).len(), 8);
    }

    #[test]
    fn the_gap_stands_where_the_lines_were_lost() {
        let followers = Followers::default();
        let mut slow = followers.subscribe(8);
        followers.publish(b"1\n2\n3\n4\n5\n");
        for _ in 0..3 {
            slow.try_recv();
        }
        followers.publish(b"6\n");
        let lines = received(&mut slow);
        assert_eq!((&*lines[0], &*lines[2], lines.len()), ("4\n", "6\n", 3));
        assert!(lines[1].contains(r#""count":1"#), "{lines:?}");
    }

    #[tokio::test]
    async fn a_follower_waits_for_a_writer_in_another_thread_and_ends_with_it() {
        let followers = Followers::default();
        let mut follower = followers.subscribe(FOLLOWER_BYTES);
        let writer = std::thread::spawn(move || {
            followers.publish(b"1\n");
            followers.close();
        });
        assert_eq!(follower.recv().await.as_deref(), Some(&b"1\n"[..]));
        assert_eq!(follower.recv().await, None);
        assert!(writer.join().is_ok());
    }
}
