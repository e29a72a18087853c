//! The webhook, and what every sink has of the runner.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hoop_stream::memory::MemoryLog;
use hoop_stream::sinks::Sinks;
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::certificates::Authority;
use crate::node::{assert_each_in_order, config, fill, node, numbers, start, stored, until};
use crate::receiver::{Receiver, answer};

const ANY_PORT: &str = "127.0.0.1:0";

fn webhook(name: &str, receiver: &Receiver) -> Value {
    json!({
        "name": name,
        "kind": "webhook",
        "url": format!("http://{}/hook", receiver.address),
        "batch": { "delay": "1ms" },
        "backoff": { "min": "1ms", "max": "20ms" },
    })
}

#[tokio::test]
async fn a_receiver_that_fails_at_random_gets_each_record_at_least_once_and_in_order() {
    let failing = Receiver::answering(None, ANY_PORT.parse().unwrap(), {
        let mut turn = fastrand::Rng::with_seed(7);
        move |_| match turn.u8(..8) {
            0 => answer(500),
            1 => answer(503),
            2 => answer(401),
            3 => {
                let asked = Response::builder().status(429).header("retry-after", "0");
                asked.body(Full::default()).unwrap()
            }
            _ => answer(200),
        }
    })
    .await;
    let cursors = tempfile::tempdir().unwrap();
    let log = MemoryLog::default();
    let mut config = webhook("soc", &failing);
    config["batch"]["records"] = json!(50);
    let sinks = start(&log, cursors.path(), [config]);
    fill(&log, 10_000);
    stored(&sinks, 10_000).await;
    assert_eq!(failing.numbers(), (1..=10_000).collect::<Vec<_>>());
    assert!(sinks.statuses().iter().next().unwrap().retries() > 20);
    assert_eq!(sinks.statuses().iter().next().unwrap().delivered(), 10_000);
}

#[tokio::test]
async fn what_was_aborted_at_random_goes_on_behind_its_cursor_and_skips_nothing() {
    let receiver = Receiver::start().await;
    let cursors = tempfile::tempdir().unwrap();
    let log = MemoryLog::default();
    let mut random = fastrand::Rng::with_seed(11);
    for round in 1..=30 {
        let mut config = webhook("soc", &receiver);
        config["batch"]["records"] = json!(random.u32(1..400));
        let sinks = start(&log, cursors.path(), [config]);
        fill(&log, round * 1000);
        let until_then = round * 1000 - random.u64(0..1500).min(round * 1000);
        let statuses = sinks.statuses();
        until("some are delivered", || {
            statuses.iter().next().unwrap().done() >= until_then
        })
        .await;
        drop(sinks);
    }
    let sinks = start(&log, cursors.path(), [webhook("soc", &receiver)]);
    stored(&sinks, 30_000).await;
    assert_each_in_order(&receiver.numbers(), 1..=30_000);
}

#[tokio::test]
async fn stopping_delivers_what_is_there_and_stores_the_cursor() {
    let receiver = Receiver::start().await;
    let cursors = tempfile::tempdir().unwrap();
    let log = MemoryLog::default();
    let sinks = start(&log, cursors.path(), [webhook("soc", &receiver)]);
    fill(&log, 5000);
    sinks.stop(Duration::from_secs(20)).await;
    assert_eq!(receiver.numbers(), (1..=5000).collect::<Vec<_>>());
    let cursor = std::fs::read_to_string(cursors.path().join("soc")).unwrap();
    assert_eq!(cursor, "5000\n");
}

#[tokio::test]
async fn stopping_waits_for_no_receiver_that_is_away() {
    let receiver = Receiver::start().await;
    let mut config = webhook("soc", &receiver);
    config["backoff"] = json!({});
    drop(receiver);
    let cursors = tempfile::tempdir().unwrap();
    let log = MemoryLog::default();
    let sinks = start(&log, cursors.path(), [config]);
    fill(&log, 10);
    let begun = Instant::now();
    sinks.stop(Duration::from_millis(300)).await;
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_record_that_is_refused_for_good_is_skipped_alone_and_counted() {
    let refuses = [7, 8, 500, 1999];
    let receiver = Receiver::answering(None, ANY_PORT.parse().unwrap(), move |posted| {
        let numbers = numbers(&posted.body);
        let refused = numbers.iter().any(|number| refuses.contains(number));
        answer(if refused || numbers.len() > 100 {
            413
        } else {
            200
        })
    })
    .await;
    let cursors = tempfile::tempdir().unwrap();
    let log = MemoryLog::default();
    let sinks = start(&log, cursors.path(), [webhook("soc", &receiver)]);
    fill(&log, 2000);
    stored(&sinks, 2000).await;
    let wanted = (1..=2000).filter(|number| !refuses.contains(number));
    assert_eq!(receiver.numbers(), wanted.collect::<Vec<_>>());
    let statuses = sinks.statuses();
    let sink = statuses.iter().next().unwrap();
    assert_eq!(
        (sink.refused(), sink.delivered(), sink.retries()),
        (4, 1996, 0)
    );
}

#[tokio::test]
async fn a_receiver_that_refuses_everything_is_not_told_the_whole_log_at_once() {
    let receiver = Receiver::answering(None, ANY_PORT.parse().unwrap(), |_| answer(400)).await;
    let cursors = tempfile::tempdir().unwrap();
    let log = MemoryLog::default();
    let mut config = webhook("soc", &receiver);
    config["backoff"] = json!({ "min": "1h", "max": "24h" });
    let sinks = start(&log, cursors.path(), [config]);
    fill(&log, 1000);
    let statuses = sinks.statuses();
    let refused = || statuses.iter().next().unwrap().refused();
    until("it slows down", || refused() == 17).await;
    assert!(statuses.iter().next().unwrap().done() < 100);
}

#[tokio::test]
async fn records_that_retention_took_are_counted_and_the_rest_goes_on() {
    let receiver = Receiver::start().await;
    let cursors = tempfile::tempdir().unwrap();
    let log = MemoryLog::default();
    fill(&log, 100);
    log.remove_before(41);
    let sinks = start(&log, cursors.path(), [webhook("soc", &receiver)]);
    stored(&sinks, 100).await;
    assert_eq!(receiver.numbers(), (41..=100).collect::<Vec<_>>());
    assert_eq!(sinks.statuses().iter().next().unwrap().missed(), 40);
    assert_eq!(sinks.statuses().keep_from(), Some(101));
}

#[tokio::test]
async fn a_filter_passes_what_it_asks_for_and_moves_the_cursor_over_the_rest() {
    let receiver = Receiver::start().await;
    let cursors = tempfile::tempdir().unwrap();
    let log = MemoryLog::default();
    let mut config = webhook("soc", &receiver);
    config["filter"] = json!({ "verdicts": ["deny"] });
    let sinks = start(&log, cursors.path(), [config]);
    fill(&log, 1000);
    stored(&sinks, 1000).await;
    assert_eq!(
        receiver.numbers(),
        (1..=1000).step_by(2).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_sink_without_a_cursor_begins_where_it_is_told() {
    let receiver = Receiver::start().await;
    let cursors = tempfile::tempdir().unwrap();
    let log = MemoryLog::default();
    fill(&log, 10);
    let mut config = webhook("soc", &receiver);
    config["from"] = json!("newest");
    let sinks = start(&log, cursors.path(), [config]);
    fill(&log, 12);
    stored(&sinks, 12).await;
    assert_eq!(receiver.numbers(), [11, 12]);
}

#[tokio::test]
async fn a_cursor_that_cannot_be_true_loses_nothing_that_is_written_from_now_on() {
    for (cursor, wanted) in [
        // A log that lost its end gives numbers anew.
        ("500\n", vec![11, 12]),
        // A cursor that a power cut left empty: twice is better than never.
        ("", (1..=12).collect()),
    ] {
        let receiver = Receiver::start().await;
        let cursors = tempfile::tempdir().unwrap();
        std::fs::write(cursors.path().join("soc"), cursor).unwrap();
        let log = MemoryLog::default();
        fill(&log, 10);
        let sinks = start(&log, cursors.path(), [webhook("soc", &receiver)]);
        fill(&log, 12);
        stored(&sinks, 12).await;
        assert_eq!(receiver.numbers(), wanted);
    }
}

#[tokio::test]
async fn an_array_is_one_json_value_and_a_token_comes_from_its_file() {
    let receiver = Receiver::start().await;
    let cursors = tempfile::tempdir().unwrap();
    let token = cursors.path().join("token");
    std::fs::write(&token, "one\n").unwrap();
    let log = MemoryLog::default();
    let mut config = webhook("soc", &receiver);
    config["body"] = json!("array");
    config["format"] = json!("ocsf");
    config["headers"] = json!({ "x-node": "a" });
    config["auth"] = json!({ "token_file": token });
    let sinks = start(&log, cursors.path(), [config]);
    fill(&log, 3);
    stored(&sinks, 3).await;
    std::fs::write(&token, "two").unwrap();
    fill(&log, 4);
    stored(&sinks, 4).await;
    let taken = receiver.taken.lock().unwrap();
    let first: Vec<Value> = serde_json::from_slice(&taken[0].body).unwrap();
    assert_eq!(first.len(), 3);
    assert_eq!(taken[0].headers["x-node"], "a");
    assert_eq!(taken[0].headers["content-type"], "application/json");
    assert_eq!(taken[0].headers["authorization"], "Bearer one");
    assert_eq!(taken[1].headers["authorization"], "Bearer two");
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_of_another_authority() {
    let directory = tempfile::tempdir().unwrap();
    let ours = Authority::new(directory.path(), "ours");
    let theirs = Authority::new(directory.path(), "theirs");
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let tls = theirs.issue("far").server();
    let receiver = Receiver::answering(Some(tls), ANY_PORT.parse().unwrap(), move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        answer(200)
    })
    .await;
    let log = MemoryLog::default();
    let mut config = webhook("soc", &receiver);
    config["url"] = json!(format!("https://localhost:{}/", receiver.address.port()));
    config["tls"] = json!({ "ca": ours.file });
    let sinks = start(&log, &directory.path().join("cursors"), [config.clone()]);
    fill(&log, 10);
    let statuses = sinks.statuses();
    until("it is tried", || {
        statuses.iter().next().unwrap().retries() >= 5
    })
    .await;
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    assert_eq!(statuses.iter().next().unwrap().done(), 0);
    drop(sinks);

    // The authority's file is replaced, and the same sink is through.
    std::fs::copy(&theirs.file, &ours.file).unwrap();
    let sinks = start(&log, &directory.path().join("cursors"), [config]);
    stored(&sinks, 10).await;
    assert_eq!(receiver.numbers(), (1..=10).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_wrong_with_a_configuration_is_said_with_its_field() {
    let of = |fields: Value| {
        let mut all = json!({ "name": "soc", "kind": "webhook", "url": "https://soc.test/" });
        let into = all.as_object_mut().unwrap();
        for (name, value) in fields.as_object().unwrap() {
            into.insert(name.clone(), value.clone());
        }
        into.retain(|_, value| !value.is_null());
        all
    };
    for (fields, said) in [
        (json!({ "urls": "x" }), "unknown field `urls`"),
        (json!({ "kind": "webhok" }), "kind: \"webhok\""),
        (json!({ "name": "../etc" }), "name: "),
        (json!({ "name": "" }), "name: "),
        (json!({ "url": null }), "missing field `url`"),
        (json!({ "url": "ftp://x/" }), "url: is no http or https URL"),
        (
            json!({ "url": "https://user:pass@soc.test/" }),
            "url: has a user or password",
        ),
        (
            json!({ "headers": { "Authorization": "Bearer x" } }),
            "headers: authorization is a secret",
        ),
        (
            json!({ "url": "http://soc.test/", "auth": { "token_file": "/x" } }),
            "auth: a token goes over https only",
        ),
        (
            json!({ "tls": { "cacert": "/x" } }),
            "tls.cacert: unknown field",
        ),
        (
            json!({ "auth": { "token": "x" } }),
            "auth.token: unknown field",
        ),
        (json!({ "batch": { "records": 0 } }), "batch.records: "),
        (json!({ "batch": { "delay": "5" } }), "batch.delay: "),
        (json!({ "backoff": { "max": "1ms" } }), "backoff.max: "),
        (
            json!({ "filter": { "kinds": ["execs"] } }),
            "filter.kinds: no kind is named \"execs\"",
        ),
        (json!({ "timeout": "1ms" }), "timeout: "),
    ] {
        let error = serde_json::from_value::<hoop_stream::config::SinkConfig>(of(fields.clone()));
        let error = error
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(error.contains(said), "{fields}: {error}");
    }
    let directory = tempfile::tempdir().unwrap();
    let started = |configs: &[Value]| {
        let configs: Vec<_> = configs.iter().cloned().map(config).collect();
        let started = Sinks::start(&configs, &MemoryLog::default(), &node(), directory.path());
        started.map(|_| ()).unwrap_err().to_string()
    };
    let missing = of(json!({ "tls": { "ca": "/nowhere.pem" } }));
    assert!(started(&[missing]).contains("sink \"soc\": tls.ca: /nowhere.pem: "));
    let twice = of(json!({ "url": "http://127.0.0.1:1/" }));
    assert!(started(&[twice.clone(), twice]).contains("two sinks are named"));
}
