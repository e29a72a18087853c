//! The end of the daemon is quick, and the programs whose plaintext it read go on as if nothing was.

use std::process::Command;
use std::time::{Duration, Instant};

use hoop_tests::lab::Lab;
use hoop_tests::tls::{CAPTURE, HttpsServer, PYTHON, Program};
use hoop_tests::wait;

/// Asks again and again until a file is there, over connections that live on and over new ones.
const CLIENT: &str = r#"
import http.client, os, ssl, sys, time
_, host, stop = sys.argv
context = ssl._create_unverified_context()
kept = http.client.HTTPSConnection(host, context=context)
number = 0
while not os.path.exists(stop):
    for connection in (kept, http.client.HTTPSConnection(host, context=context)):
        number += 1
        connection.request("POST", f"/{os.getpid()}/{number}", "x" * number)
        answer = connection.getresponse().read().decode()
        assert answer == '{"answer": "the answer to /%d/%d"}' % (os.getpid(), number), answer
    time.sleep(0.01)
"#;

#[test]
fn programs_go_on_when_the_daemon_ends_and_when_it_comes_back() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let server = HttpsServer::start(&lab);
    let mut daemon = lab.daemon(&lab.policy("agent", CAPTURE));
    let stop = lab.directory().join("stop");
    let client = || {
        let host = server.url("").replace("https://", "");
        let mut command = Command::new(PYTHON);
        command.args(["-c", CLIENT, &host]).arg(&stop);
        Program::start(&lab, Some(&workload), &mut command)
    };
    let mut clients = [client(), client(), client()];
    let go_on = || {
        let before = server.heard().len();
        wait::until("the programs to go on", || {
            (server.heard().len() > before + 12).then_some(())
        });
    };
    go_on();
    daemon.wait_for("what they say", |record| record.is("api"));

    let began = Instant::now();
    assert!(daemon.stop().success());
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "it took {took:?} to end");
    go_on();
    let mut daemon = hoop_tests::daemon::Daemon::start_again(&lab);
    go_on();
    daemon.wait_for("what they say after that", |record| record.is("api"));
    daemon.kill();
    go_on();
    let _daemon = hoop_tests::daemon::Daemon::start_again(&lab);
    go_on();
    std::fs::write(&stop, "").expect("tell them to stop");
    for client in &mut clients {
        assert_eq!(client.ended(), 0, "a program was harmed");
    }
}
