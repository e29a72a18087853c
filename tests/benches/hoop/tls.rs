//! What it costs to read plaintext: traps, program time, and whether anything is lost.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use hoop_tests::bpf::{self, Cost, Program};
use hoop_tests::daemon::Daemon;
use hoop_tests::lab::{Lab, Workload};
use hoop_tests::wait;

use crate::load::place;
use crate::report::{Bound, Report, Row};
use crate::stats::{Samples, Summary};
use crate::{Settings, stop};

const POLICY: &str = "mode: enforce\negress: { default: allow }\ncapture: { tls: true }";

const SERVER: &str = include_str!("tls/server.py");
const CLIENT: &str = include_str!("tls/client.py");
const NODE_CLIENT: &str = include_str!("tls/client.js");

/// The Python that uses the system's OpenSSL.
const PYTHON: &str = "/usr/bin/python3";

/// The programs that a trap runs for each call; those for the end of a connection are not among them.
const PROBES: [&str; 4] = [
    "hoop_tls_call",
    "hoop_tls_return",
    "hoop_go_call",
    "hoop_go_return",
];

/// Requests of a short and of a long run: what a connection costs is in both.
const FEW: u32 = 10;
const MANY: u32 = 110;

/// Writes of a run, few enough for the ring to hold.
const WRITES: u32 = 500;
/// Bytes of a long write.
const LONG: u32 = 16 << 10;

/// What the programs are to keep up with, in MB a second, and for how many seconds.
const PACE: u32 = 50;
const PACED_SECONDS: u32 = 5;

/// A lab with a daemon that captures, and a server outside every workload.
struct Stage<'lab> {
    lab: &'lab Lab,
    workload: Workload<'lab>,
    daemon: Daemon<'lab>,
    server: Server,
    probes: Vec<Program>,
}

/// The server. Dropping it ends it.
struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Measures.
pub fn measure(settings: &Settings, report: &mut Report) -> Result<()> {
    let lab = Lab::new();
    let server = serve(&lab)?;
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", POLICY));
    let mut probes = bpf::held_by(daemon.pid());
    probes.retain(|program| PROBES.contains(&program.name().as_str()));
    ensure!(!probes.is_empty(), "the daemon captures nothing");
    let stage = Stage {
        lab: &lab,
        workload,
        daemon,
        server,
        probes,
    };
    let _counting = bpf::count_runs();
    stage.traps(report)?;
    stage.time(settings, report)?;
    stage.losses(report)
}

impl Stage<'_> {
    /// Traps of a request and its response, by library.
    fn traps(&self, report: &mut Report) -> Result<()> {
        let directory = self.lab.directory();
        let node = directory.join("client.js");
        fs::write(&node, NODE_CLIENT)?;
        let address = format!("https://127.0.0.1:{}/", self.server.port);
        let python = |times: u32| self.client(&["calls", &times.to_string()]);
        let curl = |times: u32| {
            let mut command = Command::new("curl");
            command
                .args(["-sk", "-o", "/dev/null", "-d", "{}"])
                .arg(format!("{address}[1-{times}]"));
            Ok(command)
        };
        let wget = |times: u32| {
            let mut command = Command::new("wget");
            command
                .args(["-q", "-O", "/dev/null", "--no-check-certificate"])
                .args((0..times).map(|number| format!("{address}{number}")));
            Ok(command)
        };
        let node = |times: u32| {
            let mut command = Command::new("node");
            command
                .arg(&node)
                .args([self.server.port.to_string(), times.to_string()]);
            Ok(command)
        };
        type Make<'a> = &'a dyn Fn(u32) -> Result<Command>;
        let clients: [(&str, &str, Make<'_>, Bound, &str); 4] = [
            (
                "OpenSSL, Python",
                "libssl",
                &python,
                Bound::AtMost(4.0),
                "one call each way",
            ),
            ("OpenSSL, curl", "libssl", &curl, Bound::None, ""),
            ("GnuTLS, wget", "libgnutls", &wget, Bound::None, ""),
            ("OpenSSL in Node", "node", &node, Bound::None, ""),
        ];
        for (name, file, client, bound, note) in clients {
            stop::unless_asked()?;
            let mut first = client(1)?;
            if !exists(&first) {
                println!("skipped: {name}: it is not installed");
                continue;
            }
            self.run(&mut first)?;
            wait::within(Duration::from_secs(30), || {
                self.has_probes(file).then_some(())
            })
            .with_context(|| format!("no probes at {file}"))?;
            let mut runs = [0_u64; 2];
            for (runs, times) in runs.iter_mut().zip([FEW, MANY]) {
                *runs = self.cost(&mut client(times)?)?.runs;
            }
            ensure!(runs[0] > 0, "{name} is not covered");
            let each = (runs[1] - runs[0]) as f64 / f64::from(MANY - FEW);
            report.add(Row {
                what: format!("traps per request and response, {name}"),
                unit: "traps",
                bound,
                measured: Summary {
                    median: each,
                    mad: 0.0,
                    runs: 1,
                },
                note: note.into(),
            });
        }
        Ok(())
    }

    /// Program time of what is copied, beyond what a call costs anyway.
    fn time(&self, settings: &Settings, report: &mut Report) -> Result<()> {
        let (mut short, mut long, mut each) =
            (Samples::default(), Samples::default(), Samples::default());
        for _ in 0..if settings.quick { 5 } else { 15 } {
            stop::unless_asked()?;
            let mut ns = [0.0; 2];
            for (ns, size) in ns.iter_mut().zip([1, LONG]) {
                let arguments = ["writes", &size.to_string(), &WRITES.to_string()];
                let cost = self.cost(&mut self.client(&arguments)?)?;
                *ns = cost.time_ns as f64 / f64::from(WRITES);
            }
            short.push(ns[0]);
            long.push(ns[1]);
            each.push((ns[1] - ns[0]) / f64::from(LONG / 1024));
        }
        report.add(Row {
            what: "program time per captured KiB, without the trap, ns".into(),
            unit: "ns",
            bound: Bound::AtMost(1000.0),
            measured: each.summary(),
            note: format!(
                "call and return of a write: {:.0} ns for 1 byte, {:.0} ns for 16 KiB",
                short.summary().median,
                long.summary().median
            ),
        });
        Ok(())
    }

    /// Plaintext that is lost at a steady rate.
    fn losses(&self, report: &mut Report) -> Result<()> {
        let before = self.plaintext();
        let arguments = ["pace", &PACE.to_string(), &PACED_SECONDS.to_string()];
        let mut client = self.client(&arguments)?;
        client.stdout(Stdio::piped());
        place(&mut client, self.lab.near(), &self.workload.cgroup)?;
        let output = client.output()?;
        ensure!(output.status.success(), "the client: {}", output.status);
        let reached: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
        let sent = (reached * 1e6 * f64::from(PACED_SECONDS)) as u64;
        let after = wait::within(Duration::from_secs(60), || {
            let after = self.plaintext();
            let counted = after.read + after.lost + after.skipped;
            (counted >= before.read + before.lost + before.skipped + sent).then_some(after)
        });
        let after = after.context("the daemon does not catch up")?;
        let lost = after.lost + after.skipped - before.lost - before.skipped;
        report.add(Row {
            what: format!("plaintext lost at {PACE} MB/s, bytes"),
            unit: "bytes",
            bound: Bound::AtMost(0.0),
            measured: Summary {
                median: lost as f64,
                mad: 0.0,
                runs: 1,
            },
            note: format!("{reached:.1} MB/s reached, for {PACED_SECONDS} s"),
        });
        Ok(())
    }

    fn client(&self, arguments: &[&str]) -> Result<Command> {
        let script = self.lab.directory().join("client.py");
        fs::write(&script, CLIENT)?;
        let mut command = Command::new(PYTHON);
        command
            .arg(script)
            .arg(self.server.port.to_string())
            .args(arguments);
        Ok(command)
    }

    /// Runs a client in the workload to its end.
    fn run(&self, command: &mut Command) -> Result<()> {
        place(command, self.lab.near(), &self.workload.cgroup)?;
        command.stdout(Stdio::null());
        let status = command.status()?;
        ensure!(status.success(), "{command:?}: {status}");
        Ok(())
    }

    /// What the probes cost while a client ran.
    fn cost(&self, command: &mut Command) -> Result<Cost> {
        let sum = || {
            let costs = self.probes.iter().map(Program::cost);
            costs.fold((0, 0), |(runs, time_ns), cost| {
                (runs + cost.runs, time_ns + cost.time_ns)
            })
        };
        let before = sum();
        self.run(command)?;
        let after = sum();
        Ok(Cost {
            runs: after.0 - before.0,
            time_ns: after.1 - before.1,
        })
    }

    /// Whether the daemon says that a file has probes.
    fn has_probes(&self, file: &str) -> bool {
        let said = self.daemon.diagnostics();
        said.lines()
            .any(|line| line.contains("plaintext is read") && line.contains(file))
    }

    fn plaintext(&self) -> Plaintext {
        let status = self.daemon.status();
        let of = |part: &str, name: &str| status["plaintext"][part][name].as_u64().unwrap_or(0);
        Plaintext {
            read: of("read", "bytes"),
            skipped: of("read", "skipped"),
            lost: of("lost", "bytes"),
        }
    }
}

/// Bytes of plaintext, as the daemon counts them.
struct Plaintext {
    read: u64,
    skipped: u64,
    lost: u64,
}

fn exists(command: &Command) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(command.get_program()).is_file())
}

/// Starts the server, on a copy of OpenSSL: a probe is at a file, whoever maps it, and only what the
/// client does is to be counted.
fn serve(lab: &Lab) -> Result<Server> {
    let directory = lab.directory();
    let libraries = directory.join("libraries");
    fs::create_dir(&libraries)?;
    for library in ["libssl.so.3", "libcrypto.so.3"] {
        fs::copy(find_library(library)?, libraries.join(library))?;
    }
    let certificate = directory.join("certificate.pem");
    let status = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
        .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=bench"])
        .arg("-keyout")
        .arg(&certificate)
        .arg("-out")
        .arg(directory.join("public.pem"))
        .stderr(Stdio::null())
        .status()
        .context("openssl")?;
    ensure!(status.success(), "openssl: {status}");
    let public = fs::read(directory.join("public.pem"))?;
    let both = [fs::read(&certificate)?, public].concat();
    fs::write(&certificate, both)?;
    let script = directory.join("server.py");
    fs::write(&script, SERVER)?;
    let mut command = Command::new(PYTHON);
    command
        .arg(script)
        .arg(certificate)
        .env("LD_LIBRARY_PATH", libraries)
        .stdout(Stdio::piped());
    let mut child = lab.near().enter(&mut command).spawn().context(PYTHON)?;
    let mut line = String::new();
    let stdout = child.stdout.take().context("stdout is piped")?;
    BufReader::new(stdout).read_line(&mut line)?;
    let port = line.trim().parse().context("the server did not start")?;
    Ok(Server { child, port })
}

/// Where the dynamic linker finds a library of this machine's kind.
fn find_library(name: &str) -> Result<PathBuf> {
    let output = Command::new("/sbin/ldconfig").arg("-p").output()?;
    let text = String::from_utf8(output.stdout)?;
    for line in text.lines() {
        if line.trim_start().starts_with(&format!("{name} "))
            && let Some((_, path)) = line.split_once(" => ")
        {
            return Ok(path.into());
        }
    }
    bail!("no {name}")
}
