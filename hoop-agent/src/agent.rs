//! The daemon: wires every stage. The only file that sees them all.

mod control_calls;
pub mod counters;
pub mod enforcer;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod hooks;
pub(crate) mod mask_key;
mod names;
pub mod output;
mod policy_watch;
mod promises;
mod reader;
pub mod recorder;
mod registry;
mod stream;
mod sweep;

use std::{collections::HashMap, io::Write, path::Path, time::Duration};

use anyhow::{Context, Result};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

pub use self::control_calls::{explanation, show};

use self::{
    control_calls::Exec,
    counters::{Counters, State},
    enforcer::{Enforcer, Origin},
    names::Publisher,
    policy_watch::PolicyWatch,
    promises::Degraded,
    reader::PayloadReader,
    recorder::Recorder,
    registry::Store,
    stream::Stream,
};
use crate::{
    audit::{
        self, Unread,
        log::Log,
        read::{Follower, Source},
    },
    capture::Capture,
    config::{Settings, StateDir},
    confine::{self, Sockets},
    control::server::Server,
    kernel::{
        btf::{Btf, VMLINUX},
        load::Kernel,
        offsets,
        pins::Pins,
        probe,
    },
    pipeline::attribute::lifecycle,
    policy::{self, Diagnostics},
    workload::{cgroup::CgroupRoot, watch::CgroupWatch},
};
use hoop_records::Kind;

/// Workloads that wait to be swept.
const SWEEPS: usize = 256;

/// Time between two sweeps: a program that keeps sending to what is denied must not keep the
/// daemon busy.
const SWEEP_EVERY: Duration = Duration::from_millis(50);

/// How often what metrics show of the kernel is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// How often cgroups made by `exec` are looked at, while there are any.
const EXEC_TICK: Duration = Duration::from_millis(200);

/// The key for masking, in the state directory, where no other is named.
const MASK_KEY: &str = "mask.key";

/// How long standard output may hold the daemon up when it ends.
const STDOUT_PATIENCE: Duration = Duration::from_secs(1);

/// Forgets what outlives the daemon besides records: the counterpart of removing the pins.
///
/// # Errors
///
/// When a file cannot be removed.
pub fn forget(state_dir: &Path) -> std::io::Result<()> {
    Store::new(state_dir).remove()?;
    recorder::forget(state_dir)
}

/// The running daemon.
struct Agent {
    settings: Settings,
    enforcer: Enforcer,
    // Before the recorder, which takes what they still have to say.
    capture: Option<Capture>,
    payload: PayloadReader,
    recorder: Recorder,
    cgroups: CgroupRoot,
    watch: CgroupWatch,
    /// Cgroups made by `exec`, by id.
    execs: HashMap<u64, Exec>,
    /// Workloads to sweep; `None`: all.
    sweep: Option<Sweep>,
    sweep_at: Instant,
    sweeping: bool,
    started: Instant,
    /// Policies in force without all that they promise.
    degraded: Vec<Degraded>,
}

/// Which workloads are to be swept.
enum Sweep {
    All,
    Some(Vec<u64>),
}

/// Why the daemon does not start, for the exit code.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The policy is invalid.
    #[error("{0}")]
    Policy(Diagnostics),
    /// Anything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
///
/// When it cannot start. What an earlier daemon left in force stays in force then.
pub fn run(settings: Settings) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(run_async(settings))
}

async fn run_async(settings: Settings) -> Result<(), StartError> {
    if !nix::unistd::geteuid().is_root() {
        let error = anyhow::anyhow!("the daemon needs root: use sudo, or run it as a service");
        return Err(error.into());
    }
    confine::begin().context("the daemon cannot be shielded from others")?;
    let policies = policy::load(&settings.policy).map_err(StartError::Policy)?;
    let cgroups = CgroupRoot::find().map_err(anyhow::Error::from)?;
    probe::require().map_err(anyhow::Error::from)?;
    let _state = StateDir::open(&settings.state_dir)?;
    let offsets = {
        let btf = Btf::read(Path::new(VMLINUX)).map_err(anyhow::Error::from)?;
        offsets::find(&btf).map_err(anyhow::Error::from)?
    };
    let pins = Pins::open(&settings.pin_dir).map_err(anyhow::Error::from)?;
    let (mut kernel, events, payload) =
        Kernel::load(pins, &offsets, settings.kernel_log_level).map_err(anyhow::Error::from)?;
    // Type information and verifier logs are large, and not needed again.
    // SAFETY: gives free memory back; no pointers.
    unsafe { libc::malloc_trim(0) };
    forward_kernel_log(&mut kernel, settings.kernel_log_level);
    let degraded = promises::check(&policies, kernel.hooks()).map_err(StartError::Policy)?;

    let unread = Unread::default();
    let log = Log::open(&settings.state_dir, &settings.file.audit, unread.clone())?;
    let source = Source::new(audit::directory(&settings.state_dir), log.tail());
    let health = log.health();
    let counters = Counters::default();
    let log_name = log.name().to_owned();
    let publisher = Publisher::default();
    let (denied, mut denials) = mpsc::channel(SWEEPS);
    let (condemned, mut condemnations) = mpsc::channel(1);
    let recorder = Recorder::start(
        events,
        log,
        publisher.reader(cgroups.clone()),
        &settings.state_dir,
        counters.clone(),
        denied,
        condemned,
    )
    .context("the recorder could not be started")?;
    let stdout = settings
        .stdout
        .then(|| source.follow(None))
        .transpose()
        .context("records cannot be read back")?
        .map(copy_to_stdout);
    recorder.record(lifecycle(
        Kind::Agent,
        "started",
        format!("hoop-agent {}", env!("CARGO_PKG_VERSION")),
        format!(
            "pid {}, cgroup v2 at {}",
            std::process::id(),
            cgroups.mount().display()
        ),
    ));

    recorder.record(hooks::record(kernel.hooks()));

    let store = Store::new(&settings.state_dir);
    let capture = start_capture(&kernel, &recorder);
    let payload = PayloadReader::start(
        payload,
        publisher.reader(cgroups.clone()),
        recorder.notes(),
        capture.as_ref().map(Capture::looks),
    )
    .context("the reader of plaintext could not be started")?;
    let mask_key = settings
        .mask_key
        .clone()
        .unwrap_or_else(|| settings.state_dir.join(MASK_KEY));
    let mut enforcer = Enforcer::new(kernel, cgroups.clone(), store, publisher, mask_key);
    let count = policies.len();
    enforcer.apply(policies, &recorder)?;
    recorder.record(loaded(count, enforcer.epoch().0));
    record_degraded(&degraded, &recorder);
    let (watch, found) =
        CgroupWatch::start(cgroups.clone(), enforcer.selector()).map_err(anyhow::Error::from)?;
    enforcer.follow(found, &recorder);
    enforcer.adopt(&recorder);
    enforcer
        .kernel()
        .take_over_node()
        .map_err(anyhow::Error::from)?;
    enforcer.release_rest()?;
    let released = enforcer
        .kernel()
        .pins()
        .release_other_layouts()
        .map_err(anyhow::Error::from)?;
    for path in released {
        let detail = "a daemon of another layout had pinned it".to_owned();
        recorder.record(lifecycle(
            Kind::Agent,
            "released",
            path.display().to_string(),
            detail,
        ));
    }
    enforcer.end_strays();
    recorder.begin();
    let (server, mut calls) = Server::start(&settings.socket, source.clone())
        .with_context(|| format!("the control socket {}", settings.socket.display()))?;
    let stream = Stream::start(
        &settings.file,
        stream::Daemon {
            state_dir: settings.state_dir.clone(),
            run_dir: settings.socket.parent().unwrap_or(Path::new("/")).into(),
            tail: recorder.tail(),
            unread,
            counters: counters.clone(),
            health: health.clone(),
            log_name,
        },
    )
    .inspect_err(|error| {
        // What is enforced does not depend on it.
        tracing::error!("records are given to nobody: {error:#}");
        let detail = format!("records are given to nobody: {error:#}");
        recorder.record(lifecycle(Kind::Agent, "degraded", String::new(), detail));
    })
    .ok();
    let mut policy_watch = PolicyWatch::start(&settings.policy)
        .with_context(|| format!("{} cannot be watched", settings.policy.display()))?;

    let execs = enforcer
        .workloads()
        .iter()
        .filter(|(_, tagged)| tagged.origin == Origin::Exec)
        .map(|(id, tagged)| (*id, Exec::adopted(tagged.path.clone())))
        .collect();
    let mut agent = Agent {
        settings,
        enforcer,
        payload,
        capture,
        recorder,
        cgroups,
        watch,
        execs,
        sweep: Some(Sweep::All),
        sweep_at: Instant::now(),
        sweeping: false,
        started: Instant::now(),
        degraded,
    };
    agent.look_at_workloads();
    let mut hang_up = signal(SignalKind::hangup()).context("signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signals")?;
    let mut tick = interval(EXEC_TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (swept_sender, mut swept) = mpsc::channel(1);
    let mut measure = interval(MEASURE_EVERY);
    measure.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let measured = agent.settings.file.metrics.is_some();
    let _counting = measured.then(|| agent.enforcer.kernel().measure_run_times());
    let sockets = if agent.settings.file.uses_network() {
        Sockets::Internet
    } else {
        Sockets::Local
    };
    if let Err(error) = confine::process(sockets) {
        tracing::warn!(%error, "the daemon is not confined");
        let detail = format!("the daemon is not confined: {error}");
        agent
            .recorder
            .record(lifecycle(Kind::Agent, "degraded", String::new(), detail));
    }
    health.set_enforcing();
    notify_ready();
    tracing::info!(workloads = agent.enforcer.workloads().len(), "enforcing");

    loop {
        let sweep_due = agent.sweep.is_some() && !agent.sweeping;
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => agent.reload(),
            () = policy_watch.changed() => agent.reload(),
            changes = agent.watch.next() => match changes {
                Ok(changes) => {
                    let fresh = agent.enforcer.follow(changes, &agent.recorder);
                    if !fresh.is_empty() {
                        agent.look_at_workloads();
                    }
                    agent.ask_sweep(fresh);
                }
                Err(error) => {
                    tracing::error!(%error, "new cgroups are not noticed");
                    let detail = format!("new cgroups are not noticed: {error}");
                    agent.recorder.record(lifecycle(Kind::Agent, "degraded", String::new(), detail));
                    // Not at once again: what failed will fail again.
                    tokio::time::sleep(SWEEP_EVERY).await;
                }
            },
            Some(call) = calls.recv() => agent.answer(call).await,
            Some(()) = condemnations.recv() => agent.enforcer.end_strays(),
            Some(workload) = denials.recv() => agent.ask_sweep(vec![workload]),
            () = sleep_until(agent.sweep_at), if sweep_due => agent.start_sweep(swept_sender.clone()),
            Some(()) = swept.recv() => agent.sweeping = false,
            _ = measure.tick(), if measured => counters.set_state(agent.state()),
            _ = tick.tick(), if !agent.execs.is_empty() => agent.tidy_execs(),
        }
    }

    drop(server);
    agent.recorder.record(lifecycle(
        Kind::Agent,
        "stopped",
        format!("hoop-agent {}", env!("CARGO_PKG_VERSION")),
        "what is enforced stays enforced; `hoop-agent uninstall` removes it".to_owned(),
    ));
    drop(agent);
    // Ends once what the recorder wrote last is delivered.
    drop(stream);
    if let Some(done) = stdout {
        // A reader that stalls must not keep the daemon alive.
        let _ = tokio::time::timeout(STDOUT_PATIENCE, done).await;
    }
    Ok(())
}

impl Agent {
    /// What metrics show of this thread.
    fn state(&mut self) -> State {
        State {
            programs: self.enforcer.kernel().run_times(),
            workloads: self.enforcer.workloads().len() as u64,
            epoch: self.enforcer.epoch().0,
        }
    }

    /// Reads the policy again and puts it in force, whole or not at all.
    fn reload(&mut self) {
        let path = self.settings.policy.display().to_string();
        let result = policy::load(&self.settings.policy)
            .map_err(|problems| problems.to_string())
            .and_then(|policies| {
                let count = policies.len();
                let degraded = promises::check(&policies, self.enforcer.kernel().hooks())
                    .map_err(|problems| problems.to_string())?;
                self.enforcer
                    .apply(policies, &self.recorder)
                    .map(|()| (count, degraded))
                    .map_err(|error| format!("{error:#}"))
            });
        let count = match result {
            Ok((count, degraded)) => {
                self.degraded = degraded;
                count
            }
            Err(problems) => {
                tracing::error!("the policy in force stays:\n{problems}");
                self.recorder
                    .record(lifecycle(Kind::Policy, "refused", path, problems));
                return;
            }
        };
        self.recorder.record(loaded(count, self.enforcer.epoch().0));
        record_degraded(&self.degraded, &self.recorder);
        match self.watch.select(self.enforcer.selector()) {
            Ok(changes) => {
                self.enforcer.follow(changes, &self.recorder);
            }
            Err(error) => {
                tracing::error!(%error, "new patterns are not watched");
                let detail = format!("new patterns are not watched: {error}");
                self.recorder
                    .record(lifecycle(Kind::Policy, "degraded", path, detail));
            }
        }
        self.enforcer.end_strays();
        self.look_at_workloads();
        self.sweep = Some(Sweep::All);
    }

    /// Has the processes looked at that are in workloads already, if a policy takes plaintext.
    fn look_at_workloads(&self) {
        if let Some(capture) = &self.capture
            && self.enforcer.captures()
        {
            capture.prepare();
            let looks = capture.looks();
            for tgid in self.enforcer.processes() {
                looks.look(tgid);
            }
        }
    }

    fn ask_sweep(&mut self, workloads: Vec<u64>) {
        match &mut self.sweep {
            _ if workloads.is_empty() => {}
            Some(Sweep::All) => {}
            Some(Sweep::Some(waiting)) => {
                waiting.extend(workloads);
                waiting.sort_unstable();
                waiting.dedup();
            }
            None => self.sweep = Some(Sweep::Some(workloads)),
        }
    }

    fn start_sweep(&mut self, done: mpsc::Sender<()>) {
        let (rules, targets) = match self.sweep.take() {
            Some(Sweep::All) => self.enforcer.sweep_targets(None),
            Some(Sweep::Some(ids)) => self.enforcer.sweep_targets(Some(&ids)),
            None => return,
        };
        self.sweeping = true;
        self.sweep_at = Instant::now() + SWEEP_EVERY;
        let cgroups = self.cgroups.clone();
        let notes = self.recorder.notes();
        tokio::task::spawn_blocking(move || {
            sweep::sweep(&cgroups, &rules, &targets, &notes);
            let _ = done.blocking_send(());
        });
    }
}

/// Starts what attaches probes. `None` where this kernel cannot: records and `doctor` say why, and
/// policies that capture are refused.
fn start_capture(kernel: &Kernel, recorder: &Recorder) -> Option<Capture> {
    let started = kernel
        .capture_programs()
        .and_then(|programs| programs.map(Capture::start).transpose());
    match started {
        Ok(capture) => capture,
        Err(error) => {
            tracing::warn!(%error, "TLS libraries get no probes");
            let detail = format!("TLS libraries get no probes: {error}");
            recorder.record(lifecycle(Kind::Agent, "degraded", String::new(), detail));
            None
        }
    }
}

fn loaded(policies: usize, epoch: u64) -> hoop_records::Record {
    let subject = format!("epoch {epoch}");
    let detail = format!(
        "{policies} {}",
        if policies == 1 { "policy" } else { "policies" }
    );
    lifecycle(Kind::Policy, "loaded", subject, detail)
}

/// Says which policies are in force without all that they promise.
fn record_degraded(degraded: &[Degraded], recorder: &Recorder) {
    for Degraded { policy, why } in degraded {
        tracing::warn!(policy, "degraded: {why}");
        recorder.record(lifecycle(
            Kind::Policy,
            "degraded",
            policy.clone(),
            why.clone(),
        ));
    }
}

/// Tells a service manager that the daemon enforces: `sd_notify(3)`.
fn notify_ready() {
    use std::os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    };
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let address = match path.as_encoded_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&path),
    };
    let sent =
        address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address));
    if let Err(error) = sent {
        tracing::warn!(%error, "the service manager was not told");
    }
}

/// Copies records to standard output on a thread of its own, since that may block for good. The
/// receiver ends with the last record.
fn copy_to_stdout(mut follower: Follower) -> oneshot::Receiver<()> {
    let (done, ended) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        if let Err(error) = confine::thread() {
            tracing::warn!(%error, "the copy to standard output keeps all capabilities");
        }
        let mut stdout = std::io::stdout().lock();
        runtime.block_on(async {
            loop {
                let lines = match follower.lines().await {
                    Ok(Some(lines)) => lines,
                    Ok(None) => break,
                    Err(error) => {
                        tracing::error!(%error, "no more records on standard output");
                        break;
                    }
                };
                if stdout
                    .write_all(&lines)
                    .and_then(|()| stdout.flush())
                    .is_err()
                {
                    break;
                }
            }
        });
        let _ = done.send(());
    });
    ended
}

fn forward_kernel_log(kernel: &mut Kernel, level: u8) {
    if level == 0 {
        return;
    }
    let forwarded = kernel
        .logger()
        .map_err(anyhow::Error::from)
        .and_then(|logger| {
            // SAFETY: the logger owns its descriptor for as long as it lives.
            Ok(unsafe {
                tokio::io::unix::AsyncFd::register_with_interest(
                    logger,
                    tokio::io::Interest::READABLE,
                )
            }?)
        });
    match forwarded {
        Ok(mut logger) => {
            tokio::spawn(async move {
                while let Ok(mut guard) = logger.readable_mut().await {
                    guard.get_inner_mut().flush();
                    guard.clear_ready();
                }
            });
        }
        Err(error) => tracing::warn!(%error, "no diagnostics from the kernel programs"),
    }
}
