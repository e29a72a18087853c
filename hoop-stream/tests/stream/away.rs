//! A receiver that is away for long.

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use hoop_stream::sinks::Sinks;
use hoop_stream::source::{Entry, Limit, Log, Source, SourceError};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::node::{config, node, numbers, record, stored, until};
use crate::receiver::{ACCEPTED, Receiver, answer};

/// A log that keeps nothing: what grows is not the log.
#[derive(Clone)]
struct Made(watch::Sender<u64>);

struct MadeSource {
    last: watch::Receiver<u64>,
    next: u64,
}

impl Log for Made {
    type Source = MadeSource;

    fn open(&self, from: u64) -> MadeSource {
        MadeSource {
            last: self.0.subscribe(),
            next: from.max(1),
        }
    }

    fn last(&self) -> u64 {
        *self.0.borrow()
    }
}

impl Source for MadeSource {
    async fn next(&mut self, limit: Limit) -> Result<Vec<Entry>, SourceError> {
        let last = self.last.wait_for(|&last| last >= self.next).await;
        let last = *last.map_err(|_| SourceError::Closed)?;
        let through = last.min(self.next + limit.records as u64 - 1);
        let entries = (self.next..=through).map(|number| Entry {
            number,
            record: record(number).encode_to_vec().into(),
        });
        let entries = entries.collect();
        self.next = through + 1;
        Ok(entries)
    }
}

/// What a receiver got: the newest number, and whether each came for the first time in order.
#[derive(Default)]
struct Got {
    newest: AtomicU64,
    skipped: Mutex<Vec<u64>>,
}

impl Got {
    fn take(&self, body: &[u8]) {
        for number in numbers(body) {
            let newest = self.newest.load(Ordering::Relaxed);
            if number > newest + 1 {
                self.skipped.lock().unwrap().push(number);
            }
            self.newest.store(number.max(newest), Ordering::Relaxed);
        }
    }

    async fn receive(self: &Arc<Self>, address: &str) -> Receiver {
        let got = Arc::clone(self);
        Receiver::answering(None, address.parse().unwrap(), move |posted| {
            got.take(&posted.body);
            answer(ACCEPTED)
        })
        .await
    }
}

fn sink(name: &str, receiver: &Receiver) -> Value {
    json!({
        "name": name,
        "kind": "webhook",
        "url": format!("http://{}/", receiver.address),
        "batch": { "records": 2000, "delay": "1ms" },
        "backoff": { "min": "1ms", "max": "20ms" },
    })
}

/// The most memory that this process ever had, in KiB.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_receiver_that_was_away_gets_everything_in_order_and_costs_nobody_anything() {
    // Alone in a process, whose memory no other test has.
    let alone = "HOOP_TEST_ALONE";
    if std::env::var_os(alone).is_none() {
        let name =
            "away::a_receiver_that_was_away_gets_everything_in_order_and_costs_nobody_anything";
        let ran = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(alone, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(away());
}

async fn away() {
    let (got_away, got_here) = (Arc::new(Got::default()), Arc::new(Got::default()));
    let any = "127.0.0.1:0";
    let (away, here) = (got_away.receive(any).await, got_here.receive(any).await);
    let cursors = tempfile::tempdir().unwrap();
    let log = Made(watch::Sender::new(0));
    let configs = [sink("away", &away), sink("here", &here)].map(config);
    let sinks = Sinks::start(&configs, &log, &node(), cursors.path()).unwrap();
    log.0.send_replace(10_000);
    stored(&sinks, 10_000).await;
    let before = most_memory();

    let address = away.address.to_string();
    drop(away);
    let statuses = sinks.statuses();
    let of = |name: &str| statuses.iter().find(|sink| sink.name() == name).unwrap();
    for through in (15_000..=210_000).step_by(5000) {
        log.0.send_replace(through);
        // The other is not disturbed at any time.
        until("the other is with it", || of("here").done() == through).await;
    }
    assert_eq!(of("away").lag_records(), 200_000);
    assert!(of("away").lag_seconds() > 0.0);
    assert!(of("away").retries() > 0);

    let back = got_away.receive(&address).await;
    stored(&sinks, 210_000).await;
    assert_eq!(
        (of("away").lag_records(), of("away").lag_seconds()),
        (0, 0.0)
    );
    for got in [got_away, got_here] {
        assert_eq!(got.newest.load(Ordering::Relaxed), 210_000);
        assert_eq!(*got.skipped.lock().unwrap(), [0_u64; 0]);
    }
    let grown = most_memory() - before;
    println!("{before} KiB before, {grown} KiB more after");
    assert!(grown < 16 << 10, "{grown} KiB more");
    drop(back);
}
