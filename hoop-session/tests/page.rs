//! The page of a session in a real browser: it asks no network, runs nothing that a record has in it, and can be
//! used by keyboard.

#![expect(clippy::unwrap_used, reason = "tests")]

mod browser;

use std::io::Read as _;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use hoop_records::{Record, Result as Verdict};
use hoop_session::testing::{Maker, calls, demo, placed, result, said};
use hoop_session::{Session, export};
use serde_json::{Value, json};
use tempfile::TempDir;

use browser::Browser;

struct Page {
    browser: Browser,
    _directory: TempDir,
}

fn page(session: &Session, width: u32) -> Page {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("session.html");
    let mut html = Vec::new();
    export::html(session, &mut html).unwrap();
    std::fs::write(&path, html).unwrap();
    let mut browser = Browser::start(width, 900);
    browser.open(&path);
    Page {
        browser,
        _directory: directory,
    }
}

impl Page {
    fn value(&mut self, expression: &str) -> Value {
        self.browser.evaluate(expression)
    }

    fn text(&mut self, selector: &str) -> String {
        let value = self.value(&format!("document.querySelector({selector:?}).innerText"));
        value.as_str().unwrap().to_owned()
    }

    /// Nothing was asked of the network but the page itself, and nothing complained.
    fn is_quiet(&mut self) {
        for event in &self.browser.events {
            match event["method"].as_str().unwrap_or_default() {
                "Network.requestWillBeSent" => {
                    let url = event["params"]["request"]["url"].as_str().unwrap();
                    assert!(url.ends_with("/session.html"), "{url}");
                }
                "Runtime.exceptionThrown"
                | "Log.entryAdded"
                | "Runtime.consoleAPICalled"
                | "Page.javascriptDialogOpening" => panic!("{event}"),
                _ => {}
            }
        }
    }
}

fn demo_session() -> Session {
    Session::build(&Maker::uid(4242), demo())
}

#[test]
fn a_person_who_was_not_there_reads_what_happened() {
    let mut page = page(&demo_session(), 1400);
    let header = page.text("header");
    for text in [
        "user:alice@example.org",
        "spiffe://example.org/agents/release-notes",
        "demo-agent (enforce)",
        "demo-1",
        "3 denied",
    ] {
        assert!(header.contains(text), "{text}: {header}");
    }
    let denied = page.text("#denied");
    for text in [
        "203.0.113.66:443",
        "collectors",
        "collects stolen data",
        "private-keys",
        "keys belong to people",
        "killed",
    ] {
        assert!(denied.contains(text), "{text}: {denied}");
    }
    let talk = page.text("#talk");
    for text in [
        "[EMAIL:95675f]",
        "run_command",
        "sh -c 'uname -sr; id -un'",
        "joined by command",
        "ended by SIGKILL",
    ] {
        assert!(talk.contains(text), "{text}: {talk}");
    }
    assert_eq!(
        page.value("document.querySelectorAll('#timeline .mark.deny').length"),
        3
    );
    assert_eq!(
        page.value("document.querySelectorAll('#graph .edge.join').length"),
        3
    );
    page.is_quiet();
}

#[test]
fn it_is_used_by_keyboard() {
    let mut page = page(&demo_session(), 1400);
    let selected =
        "document.querySelector('#records [aria-selected=true]').getAttribute('aria-posinset')";
    page.browser.press(&["j", "j", "ArrowDown", "k"]);
    assert_eq!(page.value(selected), "3");
    assert_eq!(page.value("document.activeElement.id"), "records");
    assert_eq!(
        page.value("document.activeElement.matches(':focus-visible')"),
        true
    );
    let described = "(() => { const list = document.getElementById('records'); \
        return document.getElementById(list.getAttribute('aria-activedescendant')).getAttribute('role'); })()";
    assert_eq!(page.value(described), "option");

    page.browser.press(&["Enter"]);
    assert_eq!(page.value("document.getElementById('details').open"), true);
    assert!(
        page.text("#details").contains("coverage"),
        "{}",
        page.text("#details")
    );
    page.browser.press(&["Escape"]);
    assert_eq!(page.value("document.getElementById('details').open"), false);

    page.browser.press(&["/", "e", "d", "2", "5"]);
    assert_eq!(
        page.value("document.getElementById('search').value"),
        "ed25"
    );
    let shown = page.text("#shown");
    assert!(
        shown.ends_with(" of 32") && !shown.starts_with("32"),
        "{shown}"
    );
    page.browser.press(&["Enter", "End"]);
    assert_eq!(page.value("document.activeElement.id"), "records");
    page.browser.press(&["/", "Escape"]);
    assert_eq!(page.text("#shown"), "32 of 32");

    page.value("document.querySelector('#filters [aria-checked=true]').focus()");
    page.browser.press(&["ArrowRight"]);
    assert_eq!(page.text("#shown"), "3 of 32");

    page.value("document.querySelector('#graph .node[tabindex=\"0\"]').focus()");
    page.browser
        .press(&["ArrowRight", "ArrowDown", "ArrowRight", "Enter"]);
    assert!(
        page.text("#details").contains("uname -sr; id -un"),
        "{}",
        page.text("#details")
    );
    page.is_quiet();
}

#[test]
fn what_a_record_says_never_runs() {
    const HOSTILE: [&str; 7] = [
        "</script><script>window.ran = 1</script>",
        "<!--<script>window.ran = 1",
        "<img src=x onerror='window.ran = 1'><svg onload='window.ran = 1'>",
        "\u{2028}window.ran = 1\u{2029}\"';window.ran = 1//",
        "javascript:window.ran=1",
        "{{script}}{{data}}${window.ran = 1}`",
        "https://192.0.2.1/x.png\u{202e}\x1b[2J",
    ];
    let all = HOSTILE.concat();
    let mut maker = Maker::new(50, &all);
    maker.workload(hoop_records::Workload {
        identity: all.clone(),
        on_behalf_of: all.clone(),
        policy: all.clone(),
        cgroup: all.clone(),
        ..Default::default()
    });
    let reply = calls(&all, &[(&all, &all, json!({all.clone(): all.clone()}))]);
    maker.model(0, 10, 50, &json!([said(&all, &all)]), &json!([reply]));
    maker.exec(20, 51, 50, &all);
    maker.judged(Verdict::Deny, &all, &all, &all);
    maker.connect(25, 51, &all, &all, 1);
    maker.judged(Verdict::Deny, &all, &all, &all);
    maker.coverage(26, 51, &all);
    maker.model(
        40,
        10,
        50,
        &json!([reply, result(&all, &all)]),
        &json!([said("assistant", &all)]),
    );
    let session = Session::build(&Maker::uid(50), placed(maker.records()));
    let mut page = page(&session, 1400);
    let count = page.value("session.events.length").as_u64().unwrap();
    page.browser.press(&["j"]);
    for _ in 0..count {
        page.browser.press(&["Enter", "Escape", "j"]);
    }
    assert_eq!(page.value("typeof window.ran"), "undefined");
    // Nothing became markup, and what turns the direction of writing is shown by its number.
    assert_eq!(
        page.value("document.querySelectorAll('img, iframe, a[href^=javascript]').length"),
        0
    );
    assert_eq!(page.value("document.scripts.length"), 2);
    assert_eq!(
        page.value("/[\\u202e\\u001b]/.test(document.body.innerText)"),
        false
    );
    assert!(page.text("#denied").contains("</script>"));
    page.is_quiet();
}

#[test]
fn no_network_and_no_foreign_script_even_if_something_got_in() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut page = page(&demo_session(), 1400);
    page.value(&format!(
        "(() => {{ const add = (name, text, value) => {{ const e = document.createElement(name); \
           Object.assign(e, value); e.textContent = text; document.body.append(e); }}; \
           const url = 'http://127.0.0.1:{port}/'; \
           add('script', 'window.ran = 1', {{}}); add('script', '', {{src: url}}); add('img', '', {{src: url}}); \
           add('link', '', {{rel: 'stylesheet', href: url}}); add('iframe', '', {{src: url}}); \
           fetch(url).catch(() => {{}}); navigator.sendBeacon(url, 'x'); \
           add('form', '', {{action: url, method: 'post', id: 'form'}}); document.getElementById('form').submit(); \
           document.body.insertAdjacentHTML('beforeend', '<b onclick=\"window.ran=1\" id=trap>x</b>'); \
           document.getElementById('trap').click(); }})()"
    ));
    assert_eq!(page.value("typeof window.ran"), "undefined");
    // That the browser can reach it shows that the others had their time.
    page.value(&format!(
        "setTimeout(() => {{ location = 'http://127.0.0.1:{port}/allowed'; }}) > 0"
    ));
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        assert!(Instant::now() < deadline, "the browser does not come");
        let Ok((mut connection, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        connection
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let mut said = Vec::new();
        let _ = connection.read_to_end(&mut said);
        if said.starts_with(b"GET /allowed ") {
            break;
        }
        // It may open a connection ahead of a navigation that it then blocks: nothing is said on it.
        assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
    }
}

#[test]
fn it_fits_a_telephone() {
    let mut page = page(&demo_session(), 390);
    let wider = "document.documentElement.scrollWidth > document.documentElement.clientWidth";
    assert_eq!(page.value(wider), false);
    page.is_quiet();
}

#[test]
fn of_five_thousand_records_only_what_is_seen_is_drawn() {
    let session = Session::build(&Maker::uid(60), placed(long_run()));
    assert!(session.events.len() >= 5000, "{}", session.events.len());
    let mut page = page(&session, 1400);
    for what in [
        "0",
        "select(records.at + 240)",
        "(document.getElementById('search').value = 'step ', refilter(), 0)",
    ] {
        page.value(what);
        let rows = page.value("document.querySelectorAll('#records .row').length");
        assert!(
            (1..100).contains(&rows.as_u64().unwrap()),
            "{rows} after {what}"
        );
    }
    page.is_quiet();
}

fn long_run() -> Vec<Record> {
    let mut maker = Maker::new(60, "python3 agent.py");
    for n in 0..640_u64 {
        let (at, pid) = (n * 1000, 1000 + n as u32 * 2);
        let id = format!("call-{n}");
        let command = format!("make step{n} | tee log");
        let reply = calls(
            &format!("Step {n}."),
            &[(&*id, "bash", json!({"command": command}))],
        );
        maker.model(
            at,
            200,
            60,
            &json!([said("user", "go on")]),
            &json!([reply]),
        );
        maker.exec(at + 210, pid, 60, &format!("sh -c '{command}'"));
        maker.exec(at + 212, pid + 1, pid, &format!("make step {n}"));
        maker.connect(at + 220, pid + 1, "tcp", "192.0.2.7", 443);
        if n % 10 == 0 {
            maker.judged(
                Verdict::Deny,
                "collectors",
                "collects stolen data",
                "refused",
            );
        }
        maker.exit(at + 230, pid + 1, 0);
        maker.exit(at + 231, pid, 0);
        maker.model(
            at + 300,
            100,
            60,
            &json!([reply, result(&id, "done")]),
            &json!([said("assistant", "Good.")]),
        );
    }
    maker.records()
}
