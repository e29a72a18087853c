//! What takes records loses none, also if it is away, and metrics say how things are.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use hoop_tests::attempt::Attempt;
use hoop_tests::daemon::{self, Daemon, kept, read_records, state};
use hoop_tests::lab::Lab;
use hoop_tests::probe::{Act, Route};
use hoop_tests::wait;

const SPEC: &str = "mode: enforce\negress:\n  default: allow\n  deny:\n    \
                    - { name: collectors, cidrs: [203.0.113.0/24], because: collects stolen data }";

#[test]
fn a_sink_that_was_away_gets_all_and_others_do_not_wait_for_it() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    // An address that nobody listens on, until the test does.
    let address = free_address();
    let copy = lab.directory().join("copy.jsonl");
    daemon::write_config(
        &lab,
        &format!(
            "sinks:\n  - {{ name: copy, kind: file, path: {copy:?}, batch: {{ delay: 5ms }} }}\n  \
             - {{ name: soc, kind: webhook, url: \"http://{address}/\", batch: {{ delay: 5ms }}, \
             backoff: {{ min: 10ms, max: 200ms }} }}\n"
        ),
    );
    let mut daemon = lab.daemon(&lab.policy("agent", SPEC));
    let mut agent = workload.probe();
    agent.act(&Act::Spawn { count: 1000 }).expect("spawn");
    let records = daemon.settled();
    let last = records.last().expect("there are records").number("number");
    wait::until("the other sink to have all", || {
        let newest = read_records(&copy).last()?.number("number");
        (newest >= last).then_some(())
    });
    // Still away over a restart.
    daemon.kill();
    let mut daemon = Daemon::start_again(&lab);
    let arrived = receive(address);
    let mut numbers = BTreeSet::new();
    let mut next = 1;
    wait::until("the sink to catch up", || {
        while let Ok(number) = arrived.try_recv() {
            assert!(number <= next, "{number} came before {next}");
            next = next.max(number + 1);
            numbers.insert(number);
        }
        (next > last).then_some(())
    });
    assert!(daemon.stop().success());
    numbers.extend(arrived.try_iter());
    let all = kept(&state(&lab)).len() as u64;
    assert!(
        numbers.into_iter().eq(1..=all),
        "each at least once, the last words too"
    );
}

#[test]
fn metrics_say_how_things_are() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let address = free_address();
    let copy = lab.directory().join("copy.jsonl");
    daemon::write_config(
        &lab,
        &format!(
            "metrics: {{ listen: \"{address}\" }}\nsinks:\n  - {{ name: copy, kind: file, path: {copy:?} }}\n"
        ),
    );
    let daemon = lab.daemon(&lab.policy("agent", SPEC));
    let mut agent = workload.probe();
    let denied: SocketAddr = "203.0.113.66:443".parse().expect("an address");
    for _ in 0..3 {
        Attempt::by(Route::UdpSendto, denied).is_denied(&lab, &mut agent);
    }
    let _ = daemon.settled();
    for path in ["/healthz", "/readyz"] {
        assert!(get(address, path).starts_with("HTTP/1.1 200"), "{path}");
    }
    let line = |metrics: &str, begins: &str| {
        let found = metrics.lines().find(|line| line.starts_with(begins));
        found.and_then(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
    };
    wait::until("the kernel's run times", || {
        let metrics = get(address, "/metrics");
        let verdicts = "hoop_verdicts_total{policy=\"agent\",rule=\"collectors\",result=\"deny\"}";
        assert!(line(&metrics, verdicts)? >= 3.0, "{metrics}");
        assert!(
            line(&metrics, "hoop_sink_lag_records{sink=\"copy\"}").is_some(),
            "{metrics}"
        );
        (line(&metrics, "hoop_bpf_run_seconds_total{program=\"sendmsg4\"}")? > 0.0).then_some(())
    });
    assert!(get(address, "/").starts_with("HTTP/1.1 404"));
    // The stream of records, for root alone.
    let socket = daemon::socket(&lab).with_file_name("audit.sock");
    let mode = std::fs::metadata(socket)
        .expect("a socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address")
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("metrics are served");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )
    .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Listens, and takes what is posted: the numbers of records, in the order in which they arrive. Lives as long as
/// the test's process.
fn receive(address: SocketAddr) -> Receiver<u64> {
    let listener = TcpListener::bind(address).expect("nobody took the port");
    let (sender, receiver) = sync_channel(64 << 10);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            let mut reader = BufReader::new(stream);
            while let Some(body) = body(&mut reader) {
                for line in body.lines().filter(|line| !line.is_empty()) {
                    let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
                    let number = record["number"].as_u64().expect("a number");
                    if sender.send(number).is_err() {
                        return;
                    }
                }
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                if reader.get_mut().write_all(answer).is_err() {
                    break;
                }
            }
        }
    });
    receiver
}

/// The body of the next request of a connection.
fn body(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    String::from_utf8(body).ok()
}
