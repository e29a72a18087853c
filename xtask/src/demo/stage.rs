//! The stage: two networks and a wire, the servers at the far end, a daemon, and agents.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use serde_json::Value;

use super::PATIENCE;
use super::items::{Item, Seen};
use super::story::Story;
use super::undo::{self, BpfMount, Cgroups, Directory, Network, Process};
use crate::{paths, run};

const POLICY: &str = include_str!("../../demo/policy.yaml");
const AGENT: &str = include_str!("../../demo/agent.py");
const FAR: &str = include_str!("../../demo/far.py");

const MODEL_URL: &str = "https://192.0.2.10:8443/v1/chat/completions";

/// Lines that wait to be told; writers wait when there are more.
const QUEUE: usize = 4096;

/// How long a fact is held back, so that the agent's and Hoop's can be told in the order in which
/// they happened.
const HOLD: Duration = Duration::from_millis(80);

/// Whether somebody asked this process to end.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// See the module. Fields are dropped in this order.
pub(crate) struct Stage {
    agent: Option<Process>,
    daemon: Option<Process>,
    cgroups: Option<Cgroups>,
    installed: Installed,
    far_server: Process,
    _far: Network,
    near: Network,
    _bpffs: BpfMount,
    directory: Directory,

    python: PathBuf,
    asks_far: ChildStdin,
    far_answers: Receiver<String>,
    sender: SyncSender<Message>,
    messages: Receiver<Message>,
    /// Facts that are yet to be told.
    held: Vec<Item>,
    seen: Seen,
}

enum Message {
    Record(Item),
    Event(Item),
}

/// What the daemon pins, and the program that removes it.
struct Installed {
    program: PathBuf,
    pins: PathBuf,
    state: PathBuf,
}

impl Stage {
    /// Builds it, with the daemon's program.
    pub(crate) fn build(program: &Path) -> Result<Self> {
        let directory = Directory::new()?;
        let bpffs = BpfMount::new(directory.0.join("bpf"))?;
        let (sender, messages) = sync_channel(QUEUE);
        heed_signals()?;
        let python = python()?;
        let (near, far) = (Network::new()?, Network::new()?);
        join(&near, &far)?;
        fs::write(directory.0.join("policy.yaml"), POLICY)?;
        fs::write(directory.0.join("agent.py"), AGENT)?;

        let (certificate, key) = (directory.0.join("model.crt"), directory.0.join("model.key"));
        certify(&certificate, &key)?;
        let mut command = far.command(&python);
        command
            .arg("-c")
            .arg(FAR)
            .arg("far0")
            .args([&certificate, &key])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut far_server = Process::start(&mut command)?;
        let asks_far = far_server
            .0
            .stdin
            .take()
            .context("no pipe to the far side")?;
        let (answer, far_answers) = sync_channel(QUEUE);
        let stdout = far_server
            .0
            .stdout
            .take()
            .context("no pipe from the far side")?;
        thread::spawn(move || each_line(stdout, |line| answer.send(line).is_ok()));
        far_answers
            .recv_timeout(PATIENCE)
            .context("the far side did not start")?;

        let installed = Installed {
            program: program.to_owned(),
            pins: bpffs.0.join("hoop"),
            state: directory.0.join("state"),
        };
        Ok(Self {
            agent: None,
            daemon: None,
            cgroups: None,
            installed,
            far_server,
            _far: far,
            near,
            _bpffs: bpffs,
            directory,
            python,
            asks_far,
            far_answers,
            sender,
            messages,
            held: Vec::new(),
            seen: Seen::default(),
        })
    }

    /// Runs Python code outside every workload, and returns what it says.
    pub(crate) fn outside(&self, code: &str) -> Result<String> {
        let said = run::capture(self.near.command(&self.python).arg("-c").arg(code))?;
        Ok(said.trim().to_owned())
    }

    /// Runs Python code as a workload of the policy in shadow mode, and returns what it says.
    pub(crate) fn shadow(&self, code: &str) -> Result<String> {
        let mut command = self.exec("demo-shadow");
        let said = run::capture(command.arg(&self.python).arg("-c").arg(code))?;
        Ok(said.trim().to_owned())
    }

    /// What arrived at the far side so far: packets, by destination.
    pub(crate) fn packets(&mut self) -> Result<Value> {
        self.asks_far
            .write_all(b"\n")
            .context("the far side is gone")?;
        let answer = self
            .far_answers
            .recv_timeout(PATIENCE)
            .context("the far side is silent")?;
        Ok(serde_json::from_str::<Value>(&answer)?["packets"].take())
    }

    /// Starts the daemon, and waits until it enforces.
    pub(crate) fn start_daemon(&mut self) -> Result<()> {
        let notify = self.path("notify");
        let ready = UnixDatagram::bind(&notify)?;
        // Short, so that the death of the daemon is noticed soon.
        ready.set_read_timeout(Some(Duration::from_millis(100)))?;
        let mut command = Command::new(&self.installed.program);
        command
            .arg("run")
            .arg("--policy")
            .arg(self.path("policy.yaml"));
        command.arg("--state-dir").arg(&self.installed.state);
        command.arg("--pin-dir").arg(&self.installed.pins);
        command.arg("--socket").arg(self.path("hoop.sock"));
        command
            .env("NOTIFY_SOCKET", &notify)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut daemon = Process::start(command.stderr(File::create(self.path("daemon.log"))?))?;
        self.cgroups = Some(Cgroups::of(daemon.0.id())?);
        let stdout = daemon.0.stdout.take().context("no pipe from the daemon")?;
        self.daemon = Some(daemon);
        self.listen(stdout, Message::Record);
        let deadline = Instant::now() + PATIENCE;
        let mut message = [0; 64];
        while ready.recv(&mut message).is_err() {
            self.check_daemon()?;
            if Instant::now() > deadline {
                bail!("the daemon is not ready\n{}", self.log());
            }
        }
        Ok(())
    }

    /// Starts the agent as a workload, and returns its process id.
    pub(crate) fn start_agent(&mut self, prompt: &str) -> Result<u64> {
        let mut command = self.exec("demo-agent");
        command
            .arg(&self.python)
            .arg(self.path("agent.py"))
            .args([MODEL_URL, prompt]);
        let mut agent = Process::start(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let stdout = agent.0.stdout.take().context("no pipe from the agent")?;
        let pid = agent.0.id().into();
        self.agent = Some(agent);
        self.listen(stdout, Message::Event);
        Ok(pid)
    }

    /// Replaces the policy file by those of its lines that `keep` says, in one step.
    pub(crate) fn change_policy(&self, keep: impl Fn(&str) -> bool) -> Result<()> {
        let lines: Vec<&str> = POLICY.lines().filter(|line| keep(line)).collect();
        fs::write(self.path("policy.new"), lines.join("\n"))?;
        Ok(fs::rename(
            self.path("policy.new"),
            self.path("policy.yaml"),
        )?)
    }

    /// What `hoop-agent status` says.
    pub(crate) fn status(&self) -> Result<Value> {
        let said = run::capture(self.cli().args(["status", "--output", "json"]))?;
        Ok(serde_json::from_str(&said)?)
    }

    /// Tells what happens until `done`.
    ///
    /// # Errors
    ///
    /// It does not come to that, or somebody interrupts.
    pub(crate) fn pump(
        &mut self,
        story: &mut Story,
        what: &str,
        done: impl Fn(&Seen) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if INTERRUPTED.load(Ordering::Relaxed) {
                bail!("interrupted");
            }
            match self.messages.recv_timeout(Duration::from_millis(10)) {
                Ok(Message::Record(item)) => {
                    self.held.push(item.clone());
                    self.seen.records.push(item);
                }
                Ok(Message::Event(item)) => {
                    self.held.push(item.clone());
                    self.seen.events.push(item);
                }
                Err(RecvTimeoutError::Timeout) => self.check_daemon()?,
                Err(RecvTimeoutError::Disconnected) => bail!("nothing reports any more"),
            }
            self.tell(story);
            if self.held.is_empty() && done(&self.seen) {
                return Ok(());
            }
            if Instant::now() > deadline {
                // What was seen says more than that something was not.
                println!("gave up waiting for {what}");
                return Ok(());
            }
        }
    }

    /// Everything that was reported.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.clone()
    }

    /// The daemon's state directory.
    pub(crate) fn state(&self) -> &Path {
        &self.installed.state
    }

    /// Takes everything down, and says what is left.
    pub(crate) fn strike(self) -> Vec<String> {
        let path = self.directory.0.clone();
        let daemon = self.daemon.as_ref().map_or(0, |daemon| daemon.0.id());
        drop(self);
        let mut left = Vec::new();
        if path.exists() {
            left.push(path.display().to_string());
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let ours = path.to_string_lossy();
        left.extend(
            mounts
                .lines()
                .filter(|line| line.contains(&*ours))
                .map(str::to_owned),
        );
        match Cgroups::of(daemon) {
            Ok(cgroups) => {
                left.extend(cgroups.list().iter().map(|path| path.display().to_string()));
            }
            Err(err) => left.push(err.to_string()),
        }
        let me = format!("/proc/self/task/{}/children", std::process::id());
        let children = fs::read_to_string(me).unwrap_or_default();
        left.extend(
            children
                .split_whitespace()
                .map(|pid| format!("process {pid}")),
        );
        left
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.0.join(name)
    }

    fn cli(&self) -> Command {
        let mut command = Command::new(&self.installed.program);
        command.arg("--socket").arg(self.path("hoop.sock"));
        command
    }

    /// A command that becomes the rest of its arguments, as a workload, on the near side.
    fn exec(&self, policy: &str) -> Command {
        let mut command = self.cli();
        command.args(["exec", "--policy", policy, "--", "nsenter"]);
        command.arg(format!("--net={}", self.near.path())).arg("--");
        // The commands that the model asks for get the same Python.
        let own = self.python.parent().map(Path::to_owned);
        let path = env::var_os("PATH").unwrap_or_default();
        // Whom the agent believes to be the model.
        command.env("SSL_CERT_FILE", self.path("model.crt"));
        if let Ok(path) = env::join_paths(own.into_iter().chain(env::split_paths(&path))) {
            command.env("PATH", path);
        }
        command
    }

    fn listen(&self, stdout: ChildStdout, message: fn(Item) -> Message) {
        let sender = self.sender.clone();
        thread::spawn(move || {
            each_line(stdout, |line| match serde_json::from_str(&line) {
                Ok(value) => sender.send(message(Item(value))).is_ok(),
                Err(err) => {
                    eprintln!("not JSON ({err}): {line}");
                    true
                }
            });
        });
    }

    /// Tells what nothing earlier can be expected to come before.
    fn tell(&mut self, story: &mut Story) {
        self.held.sort_by_key(Item::time);
        let hold = u64::try_from(HOLD.as_nanos()).unwrap_or(u64::MAX);
        let told = boot_ns().saturating_sub(hold);
        let due = self.held.partition_point(|item| item.time() <= told);
        for item in self.held.drain(..due) {
            story.tell(&item);
        }
    }

    fn check_daemon(&mut self) -> Result<()> {
        if let Some(Process(daemon)) = &mut self.daemon
            && let Some(status) = daemon.try_wait()?
        {
            bail!("the daemon ended: {status}\n{}", self.log());
        }
        if let Some(status) = self.far_server.0.try_wait()? {
            bail!("the far side ended: {status}");
        }
        Ok(())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("daemon.log")).unwrap_or_default()
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        if let Err(err) = undo::uninstall(&self.program, &self.pins, &self.state) {
            eprintln!("left behind: {}: {err:#}", self.pins.display());
        }
    }
}

/// Lays the wire. The far side answers for every address of the demonstration.
fn join(near: &Network, far: &Network) -> Result<()> {
    near.ip(&format!(
        "link set lo up
link add near0 type veth peer name far0 netns {}
addr add 192.0.2.1/24 dev near0
link set near0 up",
        far.path()
    ))?;
    far.ip("link set lo up
addr add 192.0.2.10/24 dev far0
addr add 198.51.100.20/32 dev far0
addr add 198.51.100.99/32 dev far0
addr add 203.0.113.66/32 dev far0
link set far0 up")?;
    near.ip("route add default via 192.0.2.10")
}

/// Makes the certificate of the model, which nobody else believes.
fn certify(certificate: &Path, key: &Path) -> Result<()> {
    let openssl = paths::find("openssl").context("no openssl: `cargo xtask setup` installs it")?;
    let mut command = Command::new(openssl);
    command.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-noenc",
        "-days",
        "2",
        "-subj",
        "/CN=model",
        "-addext",
        "subjectAltName=IP:192.0.2.10",
    ]);
    command.arg("-out").arg(certificate).arg("-keyout").arg(key);
    run::capture(&mut command).map(drop)
}

/// The interpreter itself: what is in `PATH` may be a script that chooses one.
fn python() -> Result<PathBuf> {
    let python = paths::find("python3").context("no python3: `cargo xtask setup` installs it")?;
    let code = "import sys; print(sys.executable)";
    let said = run::capture(Command::new(&python).args(["-c", code]))?;
    Ok(PathBuf::from(said.trim()))
}

/// From here on, signals that would end this process only say so: it takes everything down first.
fn heed_signals() -> Result<()> {
    let action = SigAction::new(
        SigHandler::Handler(interrupted),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only stores to an atomic.
        unsafe { sigaction(signal, &action) }.context("signals")?;
    }
    Ok(())
}

extern "C" fn interrupted(_signal: i32) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Hands every line over until there is none, or nobody wants it.
fn each_line(from: ChildStdout, mut to: impl FnMut(String) -> bool) {
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        if !to(line) {
            return;
        }
    }
}

fn boot_ns() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME);
    now.map_or(u64::MAX, |now| {
        let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
        seconds * 1_000_000_000 + u64::try_from(now.tv_nsec()).unwrap_or(0)
    })
}
