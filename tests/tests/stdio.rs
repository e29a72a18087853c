//! What an agent says to its tools over standard input and output is on record: once, whole, masked, and as said
//! by who said it, whether the two are joined by pipes or by Unix sockets.

use std::path::{Path, PathBuf};
use std::process::Command;

use hoop_tests::daemon::{Daemon, Record};
use hoop_tests::lab::{Lab, Workload};
use hoop_tests::tls::saying::{holds_nothing, json_with};
use hoop_tests::tls::secrets::Maker;
use hoop_tests::tls::{self, PYTHON, all_records, succeed};
use hoop_tests::{long, wait};
use serde_json::{Value, json};

/// A server that answers each request by what it was asked, by a call of its own for each line.
const STDIO: &str =
    "mode: enforce\negress: { default: allow }\ncapture: { tls: true, stdio: true }";
const SERVER: &str = r#"
import json, os, sys
os.write(1, b"the server greets before it speaks JSON\n")
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    if message["method"] == "initialize":
        result = { "protocolVersion": "2025-06-18", "capabilities": {},
            "serverInfo": { "name": "orders", "version": "1" } }
    else:
        text = "found " + message["params"]["arguments"]["note"]
        result = { "content": [{ "type": "text", "text": text }] }
    line = json.dumps({ "jsonrpc": "2.0", "id": message["id"], "result": result }, separators=(",", ":")) + "\n"
    written, size = 0, int(sys.argv[1]) if sys.argv[1].isdigit() else len(line)
    while written < len(line):
        written += os.write(1, line[written:written + size].encode())
"#;

/// A client that says what its plan has, and prints the server's process id.
const CLIENT: &str = r#"
import json, os, socket, subprocess, sys
_, server, how, plan = sys.argv
if how == "sockets":
    (ours, theirs), (back, answers) = socket.socketpair(), socket.socketpair()
    process = subprocess.Popen([sys.executable, "-c", server, how], stdin=theirs, stdout=answers)
    theirs.close(), answers.close()
    write, read = ours.send, back.makefile()
else:
    process = subprocess.Popen([sys.executable, "-c", server, how], stdin=-1, stdout=-1)
    write, read = lambda text: os.write(process.stdin.fileno(), text), process.stdout
    if how.isdigit():
        write = lambda text: os.write(process.stdin.fileno(), text[:int(how)])
    if how == "slices":
        write = lambda text: os.writev(process.stdin.fileno(), [text[:5], text[5:40], text[40:]])
print(process.pid, flush=True)
read.readline()
def ask(message):
    text = (json.dumps(message, separators=(",", ":")) + "\n").encode()
    while text:
        text = text[write(text):]
    return json.loads(read.readline()) if "id" in message else None
for message in json.load(open(plan)):
    ask(message)
"#;

/// The same by Node, which joins a program to its children by Unix sockets.
const NODE: &str = r#"
const { spawn } = require("child_process");
const [python, server, plan] = process.argv.slice(-3);
const child = spawn(python, ["-c", server, "whole"], { stdio: ["pipe", "pipe", "inherit"] });
const messages = JSON.parse(require("fs").readFileSync(plan));
const lines = require("readline").createInterface({ input: child.stdout });
const next = () => {
  while (messages.length > 0) {
    const message = messages.shift();
    child.stdin.write(JSON.stringify(message) + "\n");
    if ("id" in message) return;
  }
  child.stdin.end();
};
lines.on("line", next);
"#;

/// The official package on both sides.
const PACKAGE_SERVER: &str = r#"
from mcp.server import MCPServer
server = MCPServer("orders")
@server.tool()
def look_up(note: str) -> str:
    """Looks an order up."""
    return "found " + note
server.run("stdio")
"#;
const PACKAGE_CLIENT: &str = r#"
import sys
_, server, package, note = sys.argv
sys.path.insert(0, package)
import anyio
from mcp import ClientSession, StdioServerParameters, stdio_client
async def main():
    arguments = StdioServerParameters(command=sys.executable, args=["-c", server], env={"PYTHONPATH": package})
    async with stdio_client(arguments) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        assert [tool.name for tool in (await session.list_tools()).tools] == ["look_up"]
        result = await session.call_tool("look_up", { "note": note })
        assert result.content[0].text == "found " + note
anyio.run(main)
"#;

#[test]
fn over_pipes() {
    is_read(|_, plan| client("pipes", plan));
}

#[test]
fn over_pipes_in_slices() {
    is_read(|_, plan| client("slices", plan));
}

#[test]
fn over_unix_sockets() {
    is_read(|_, plan| client("sockets", plan));
}

#[test]
fn by_node() {
    let Some(node) = tls::find("node") else {
        return;
    };
    is_read(|lab, plan| {
        let mut command = Command::new(node);
        command
            .arg(tls::file(lab, "client.js", NODE))
            .args([PYTHON, SERVER])
            .arg(plan);
        command
    });
}

#[test]
fn by_the_official_package() {
    let Some(package) = tls::program("mcp") else {
        return;
    };
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let mut secrets = Maker::new(21);
    let note = secrets.of_every_form("an argument").join(" and ");
    let mut daemon = lab.daemon(&lab.policy("agent", STDIO));
    let mut command = Command::new(PYTHON);
    command
        .args(["-c", PACKAGE_CLIENT, PACKAGE_SERVER])
        .arg(&package)
        .arg(&note);
    let pid = succeed(&lab, Some(&workload), &mut command);
    let records = all_records(&mut daemon);
    let said = said(&records);
    let methods: Vec<String> = said.iter().map(|record| method(record)).collect();
    let whole = format!("{said:#?}");
    for wanted in ["initialize", "tools/list", "tools/call"] {
        let count = methods.iter().filter(|method| *method == wanted).count();
        assert_eq!(count, 1, "{wanted}: {whole}");
    }
    assert!(said.iter().all(|record| record.pid() == pid), "{whole}");
    assert!(whole.contains("[EMAIL:"), "{whole}");
    assert_none(&secrets, &daemon);
}

#[test]
fn however_messages_are_cut_nothing_of_a_secret_is_left() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let mut secrets = Maker::new(22);
    let mut daemon = lab.daemon(&lab.policy("agent", STDIO));
    let rounds = long::either(1, 18);
    for round in 0..rounds {
        for size in ["pipes", "1", "2", "7", "13", "500"] {
            let place = format!("round {round}, cut every {size}");
            let mut note = secrets.of_every_form(&place).join(" and ");
            note = note + &secrets.pem(&place) + &json_with(&mut secrets, &place);
            let plan = plan(&lab, "plan", &note);
            let pid = succeed(&lab, Some(&workload), &mut client(size, &plan));
            daemon.wait_for("the call", |record| {
                record.pid() == pid
                    && method(record) == "tools/call"
                    && *record.at("api.incomplete") == Value::Null
            });
        }
    }
    holds_nothing(&lab, &mut daemon, &secrets);
}

#[test]
fn what_nobody_in_a_workload_says_is_not_copied() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let mut daemon = lab.daemon(&lab.policy("agent", STDIO));
    let plan = plan(&lab, "plan", "four blue lamps");
    for how in ["pipes", "slices", "sockets"] {
        succeed(&lab, None, &mut client(how, &plan));
    }
    assert_eq!(read_before(&lab, &workload, &mut daemon), 0);
    assert_eq!(said(&all_records(&mut daemon)).len(), 3);
}

#[test]
fn other_text_in_pipes_is_not_copied() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let mut daemon = lab.daemon(&lab.policy("agent", STDIO));
    let noise = "seq 1 100000 | cat | sort -n | gzip -c | gunzip | tail -n 1 | grep -q 100000";
    succeed(&lab, Some(&workload), &mut shell(noise));
    assert_eq!(read_before(&lab, &workload, &mut daemon), 0);
    assert_eq!(said(&all_records(&mut daemon)).len(), 3);
}

#[test]
fn of_json_that_is_none_of_json_rpcs_only_a_few_lines_are_copied() {
    const LINES: u64 = 2000;
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let mut daemon = lab.daemon(&lab.policy("agent", STDIO));
    let line = r#"{"id": 7, "level": "info", "said": "nothing"}"#;
    let log = format!(
        "i=0; while [ $i -lt {LINES} ]; do echo '{line}'; i=$((i+1)); test $((i%20)) -gt 0 || sleep 0.01; done | cat | wc -l"
    );
    succeed(&lab, Some(&workload), &mut shell(&log));
    let read = read_before(&lab, &workload, &mut daemon);
    let all = LINES * (line.len() as u64 + 1);
    assert!(0 < read && read < all / 4, "{read} of {all}");
    assert_eq!(said(&all_records(&mut daemon)).len(), 3);
}

#[test]
fn a_message_that_is_long_is_whole_and_a_longer_one_says_so() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let mut daemon = lab.daemon(&lab.policy("agent", STDIO));
    let note = |len: usize| "lamp ".repeat(len / 5);
    let long = plan(&lab, "long", &note(200_000));
    let longer = plan(&lab, "longer", &note(600_000));
    let long = succeed(&lab, Some(&workload), &mut client("pipes", &long));
    let longer = succeed(&lab, Some(&workload), &mut client("pipes", &longer));
    let records = all_records(&mut daemon);
    let call = |pid| {
        let mut of = said(&records)
            .into_iter()
            .filter(move |record| record.pid() == pid);
        of.find(|record| method(record) == "tools/call")
            .expect("a call")
    };
    let arguments = attribute(call(long), "gen_ai.tool.call.arguments");
    assert_eq!(arguments["note"], note(200_000));
    assert_eq!(*call(long).at("api.incomplete"), Value::Null);
    assert!(
        call(longer)
            .at("api.incomplete")
            .to_string()
            .contains("request_truncated")
    );
}

/// Runs what `command` makes of a plan in a workload, and holds the records to it.
#[track_caller]
fn is_read(command: impl FnOnce(&Lab, &Path) -> Command) {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let mut secrets = Maker::new(20);
    let note = secrets.of_every_form("an argument").join(" and ");
    let plan = plan(&lab, "plan", &note);
    let mut daemon = lab.daemon(&lab.policy("agent", STDIO));
    let pid = succeed(&lab, Some(&workload), &mut command(&lab, &plan));
    let records = all_records(&mut daemon);
    let said = said(&records);
    let whole = format!("{said:#?}");
    let [initialize, initialized, call] = said[..] else {
        panic!("{} records instead of three: {whole}", said.len());
    };
    for record in [initialize, initialized, call] {
        assert_eq!(record.pid(), pid, "{whole}");
        assert_eq!(record.text("api.protocol"), "stdio");
        assert_eq!(attribute(record, "mcp.protocol.version"), "2025-06-18");
        assert_eq!(attribute(record, "hoop.mcp.caller"), "client");
        assert_eq!(attribute(record, "network.transport"), "pipe");
    }
    assert_eq!(method(initialize), "initialize");
    assert_eq!(attribute(call, "hoop.mcp.server.name"), "orders", "{whole}");
    assert_eq!(method(initialized), "notifications/initialized");
    assert_eq!(method(call), "tools/call");
    assert_eq!(attribute(call, "gen_ai.tool.name"), "look_up");
    let told = attribute(call, "gen_ai.tool.call.arguments").to_string();
    let found = attribute(call, "gen_ai.tool.call.result").to_string();
    assert!(
        told.contains("[EMAIL:") && found.contains("[EMAIL:"),
        "{whole}"
    );
    assert!(found.contains("found "), "{whole}");
    assert_none(&secrets, &daemon);
}

#[track_caller]
fn assert_none(secrets: &Maker, daemon: &Daemon<'_>) {
    let state: PathBuf = daemon.state();
    let found = secrets.found_in([state.as_path()]);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn plan(lab: &Lab, name: &str, note: &str) -> PathBuf {
    tls::file(lab, name, &Value::from(plan_of(note)).to_string())
}

fn plan_of(note: &str) -> Vec<Value> {
    let start = json!({ "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": { "name": "agent", "version": "1" } });
    let call = json!({ "name": "look_up", "arguments": { "note": note } });
    vec![
        json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": start }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call }),
    ]
}

fn client(how: &str, plan: &Path) -> Command {
    let mut command = Command::new(PYTHON);
    command.args(["-c", CLIENT, SERVER, how]).arg(plan);
    command
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

fn said(records: &[Record]) -> Vec<&Record> {
    let of_tools = |record: &&Record| record.is("api") && record.text("api.protocol") == "stdio";
    records.iter().filter(of_tools).collect()
}

fn method(record: &Record) -> String {
    attribute(record, "mcp.method.name")
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn attribute(record: &Record, key: &str) -> Value {
    record.at("api.attributes")[key].clone()
}

/// Runs the client in a workload once more, and waits until what it said is counted: with it all that was said before.
/// Answers with the bytes that were read before it.
#[track_caller]
fn read_before(lab: &Lab, workload: &Workload<'_>, daemon: &mut Daemon<'_>) -> u64 {
    let note = "by an agent";
    let plan = plan(lab, "fence", note);
    let pid = succeed(lab, Some(workload), &mut client("pipes", &plan));
    daemon.wait_for("the call of the fence", |record| {
        record.pid() == pid && method(record) == "tools/call"
    });
    let messages = plan_of(note);
    let answers = [
        json!({ "jsonrpc": "2.0", "id": 0, "result": { "protocolVersion": "2025-06-18",
            "capabilities": {}, "serverInfo": { "name": "orders", "version": "1" } } }),
        json!({ "jsonrpc": "2.0", "id": 1, "result": { "content": [
            { "type": "text", "text": format!("found {note}") }] } }),
    ];
    let all = messages.iter().chain(&answers);
    let fence: usize = all.map(|message| message.to_string().len() + 1).sum();
    let mut settled = None;
    wait::until("the counters", || {
        let now = bytes_read(daemon);
        (settled.replace(now) == Some(now) && now >= fence as u64).then_some(())
    });
    bytes_read(daemon) - fence as u64
}

fn bytes_read(daemon: &Daemon<'_>) -> u64 {
    let status = daemon.status();
    status["plaintext"]["read"]["bytes"]
        .as_u64()
        .expect("a number")
}
