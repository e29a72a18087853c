//! `cargo xtask demo`: a small AI agent under Hoop, told as it happens.
//!
//! The agent, a model that answers by script, the places it talks to and the policy are under
//! `demo/`. They run in network namespaces of their own, on addresses reserved for documentation.

mod checks;
mod items;
mod kept;
mod stage;
mod story;
mod undo;

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use self::checks::{Evidence, Packets};
use self::kept::Kept;
use self::stage::Stage;
use self::story::Story;
use crate::{build, build_ebpf, paths, run, setup};

/// What the agent is asked.
const PROMPT: &str =
    "Summarise the release notes and the build log of 4.2, and address it to bob@example.org.";

/// What of it must be in no record.
const PERSONAL: &str = "bob@example.org";

/// The collector of stolen data.
const COLLECTOR: &str = "203.0.113.66";
/// Where the agent sends a datagram that no rule allows.
const STRANGER: &str = "198.51.100.99";
/// Where releases are.
const ARTEFACTS: &str = "198.51.100.20";

/// Connects to the collector and says how that went, whoever runs it. Waits for the end of the
/// connection, so that none of its packets is still to come when they are counted.
const TRY_COLLECTOR: &str = r#"import socket
try:
    with socket.create_connection(("203.0.113.66", 443), 5) as collector:
        collector.shutdown(socket.SHUT_WR)
        while collector.recv(4096):
            pass
    print("connected")
except OSError as error:
    print(error)"#;

/// How long any one thing may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Command line of `demo`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the part that needs root, with this daemon.
    #[arg(long, hide = true, value_name = "HOOP_AGENT")]
    agent: Option<PathBuf>,
}

/// Sets up, builds, and shows. Returns whether all was seen that should be.
///
/// # Errors
///
/// What is needed cannot be had, or something of the demonstration does not work.
pub(crate) fn run(args: &Args) -> Result<bool> {
    if let Some(agent) = &args.agent {
        return show(agent);
    }
    let toolchain = setup::run()?;
    build_ebpf::build(&toolchain)?;
    let agent = build::agent()?;
    if run::is_root() {
        return show(&agent);
    }
    println!("demo: not root: going on with sudo");
    let mut command = run::as_root()?;
    // sudo may take these away.
    for key in ["PATH", "CARGO_TARGET_DIR", "NO_COLOR"] {
        if let Some(value) = env::var_os(key) {
            let mut pair = OsString::from(key);
            pair.push("=");
            pair.push(value);
            command.arg(pair);
        }
    }
    command.arg(env::current_exe()?).args(["demo", "--agent"]);
    Err(command.arg(agent).exec()).context("sudo")
}

fn show(agent: &Path) -> Result<bool> {
    let mut stage = Stage::build(agent)?;
    let mut story = Story::new();

    story.heading("Without Hoop, a process reaches the collector of stolen data");
    let said = stage.outside(TRY_COLLECTOR)?;
    story.note("outsider", &format!("{COLLECTOR}:443: {said}"));
    if said != "connected" {
        bail!("the network of the demonstration does not work: {said}");
    }
    let before = stage.packets()?;

    story.heading("The daemon starts on xtask/demo/policy.yaml");
    stage.start_daemon()?;
    stage.pump(&mut story, "the policy to be in force", |seen| {
        seen.records
            .iter()
            .any(|record| record.is("policy", "loaded"))
    })?;

    story.heading(&format!("An agent is asked: {PROMPT}"));
    let pid = stage.start_agent(PROMPT)?;
    stage.pump(&mut story, "the agent to read the build log", |seen| {
        seen.agent("receiving")
            .any(|event| event.text("/url").ends_with("build.log"))
    })?;
    story.heading("Meanwhile the rule `artefacts` is taken out of the policy file");
    stage.change_policy(|line| !line.contains("name: artefacts"))?;
    stage.pump(&mut story, "the agent to end", |seen| {
        let ended = |record: &items::Item| record.is("workload", "untagged");
        seen.agent("answer").next().is_some()
            && seen.records.iter().any(ended)
            && seen.records.iter().any(|record| record.kind() == "reset")
    })?;
    let status = stage.status()?;
    let after = stage.packets()?;

    story.heading("The same, with a policy in shadow mode: recorded, not denied");
    let said = stage.shadow(TRY_COLLECTOR)?;
    stage.pump(&mut story, "the newcomer to end", |seen| {
        let ended = |record: &&items::Item| record.is("workload", "untagged");
        seen.records.iter().filter(ended).count() == 2
    })?;
    story.note("newcomer", &format!("{COLLECTOR}:443: {said}"));
    let shadow_status = stage.status()?;

    let kept = Kept::copy(agent, stage.state())?;
    let (session, tree) = kept.tell(pid)?;
    let seen = stage.seen();
    let evidence = Evidence {
        agent_pid: pid,
        seen: &seen,
        packets: Packets { before, after },
        status,
        shadow_status,
        newcomer_connected: said == "connected",
    };
    let mut checks = checks::check(&evidence);
    checks.extend(kept.check(&tree));
    // Everything is taken down before the last check can be made.
    let left = stage.strike();
    checks.push(checks::nothing_left(&left));

    story.heading("The session, as somebody reads it who was not there: `hoop-agent session show`");
    story.paragraph(tree.trim_end());

    story.heading("Expected, and seen");
    let passed = story.table(&checks);
    let agent = agent
        .strip_prefix(paths::workspace())
        .unwrap_or(agent)
        .display();
    let kept = kept.shown();
    story.paragraph(&format!(
        "{} records are in {kept}/audit, and the session in {kept}/session.html. To look further:\n  \
         {agent} session replay {session} --state-dir {kept}\n  \
         {agent} audit verify --state-dir {kept} --key {kept}/key.txt --checkpoint {kept}/checkpoint.txt\n  \
         {agent} events --state-dir {kept}\n  \
         {agent} policy explain demo-agent {COLLECTOR}:443 --file xtask/demo/policy.yaml",
        seen.records.len(),
    ));
    Ok(passed)
}
