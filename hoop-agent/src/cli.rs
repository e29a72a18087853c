//! The command line.

mod audit;
mod doctor;
mod exec;
mod explain;
mod mask;
mod print;
mod session;

use std::{ffi::OsString, io::Write, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::Value;

use crate::{
    agent::{self, StartError},
    audit::read,
    config::{DEFAULT_POLICY, DEFAULT_STATE_DIR, Settings, file},
    control::{DEFAULT_SOCKET, Request, client::Client},
    kernel::pins,
    policy::{self, book::RuleBook, compile::compile},
};

/// Done.
const DONE: u8 = 0;
/// Failed.
const FAILED: u8 = 1;
/// Wrong use, or an invalid policy. clap uses the same code.
const INVALID: u8 = 2;

/// Host-level governance for AI workloads.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    /// The daemon's control socket
    #[arg(long, global = true, default_value = DEFAULT_SOCKET, value_name = "PATH")]
    socket: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Run(Run),
    /// Run a command as a workload, in a cgroup of its own
    Exec {
        /// The policy that governs it
        #[arg(long)]
        policy: String,
        /// The command and its arguments
        #[arg(required = true, last = true)]
        command: Vec<OsString>,
    },
    /// Say what this kernel offers, what is missing, what that costs, and the fix
    Doctor(Output),
    /// Say what the daemon enforces and has counted
    Status(Output),
    /// Check, show and explain policies
    #[command(subcommand)]
    Policy(Policy),
    /// Mask secrets and personal data in standard input; no daemon is needed
    Mask(mask::Mask),
    /// List, tag and untag workloads
    #[command(subcommand)]
    Workload(Workload),
    /// Show records as they are written
    Events {
        /// Go on until interrupted, instead of showing only what is kept
        #[arg(long, short)]
        follow: bool,
        /// Number of the first record: instead of all that are kept, or of those from now on
        #[arg(long, value_name = "NUMBER")]
        from: Option<u64>,
        /// Where the daemon keeps records
        #[arg(long, default_value = DEFAULT_STATE_DIR, value_name = "DIR")]
        state_dir: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// Verify the audit log, and prove what is in it
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Show what agents did, from prompt to connection; no daemon is needed
    #[command(subcommand)]
    Session(session::Command),
    /// Remove everything that was pinned: nothing is enforced any more. Records are kept
    Uninstall {
        /// Where programs and maps are pinned
        #[arg(long, default_value = pins::DEFAULT_DIR, value_name = "DIR")]
        pin_dir: PathBuf,
        /// Where the daemon keeps records and state
        #[arg(long, default_value = DEFAULT_STATE_DIR, value_name = "DIR")]
        state_dir: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Run {
    /// A policy file, or a directory of them
    #[arg(long, default_value = DEFAULT_POLICY, value_name = "PATH")]
    policy: PathBuf,
    /// Where records and state are kept
    #[arg(long, default_value = DEFAULT_STATE_DIR, value_name = "DIR")]
    state_dir: PathBuf,
    /// Where programs and maps are pinned, on a BPF file system
    #[arg(long, default_value = pins::DEFAULT_DIR, value_name = "DIR")]
    pin_dir: PathBuf,
    /// What is kept how long, and who takes records [default: /etc/hoop-agent.yaml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The key for masking: a name and 64 hexadecimal digits; made in the state directory if not named
    #[arg(long, value_name = "FILE")]
    mask_key: Option<PathBuf>,
    /// Do not write records to standard output
    #[arg(long)]
    quiet: bool,
    /// Diagnostics on standard error; `debug` and `trace` include the kernel programs'
    #[arg(
        long,
        value_enum,
        default_value = "info",
        env = "HOOP_LOG",
        hide_env_values = true
    )]
    log_level: LogLevel,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Subcommand)]
enum Policy {
    /// Check a policy file or directory; no daemon is needed
    Check {
        /// The file or directory
        path: PathBuf,
    },
    /// Show the policies in force
    Show {
        /// Only this one
        name: Option<String>,
        /// Show this file or directory instead; no daemon is needed
        #[arg(long, value_name = "PATH")]
        file: Option<PathBuf>,
        #[command(flatten)]
        output: Output,
    },
    /// Say what a policy decides about a destination or a command, and why
    Explain {
        /// The policy
        name: String,
        /// `192.0.2.1:443`, `udp/[2001:db8::1]:53`, `icmp/192.0.2.1`, `47/192.0.2.1`
        #[arg(required_unless_present = "command")]
        destination: Option<String>,
        /// A command, as the caller's shell would run it here, instead of a destination
        #[arg(last = true, conflicts_with = "destination", value_name = "COMMAND")]
        command: Vec<OsString>,
        /// The command's parent runs this program, instead of the caller's shell
        #[arg(long, value_name = "PATH", requires = "command")]
        parent: Option<PathBuf>,
        /// The command runs as this real user id, instead of the caller's
        #[arg(long, requires = "command")]
        uid: Option<u32>,
        /// Ask this file or directory instead; no daemon is needed
        #[arg(long, value_name = "PATH")]
        file: Option<PathBuf>,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
enum Workload {
    /// List the tagged cgroups
    List(Output),
    /// Tag a cgroup: its processes are governed from then on
    Tag {
        /// The policy
        #[arg(long)]
        policy: String,
        /// Path below the cgroup v2 mount, such as `/system.slice/copilot.service`
        cgroup: String,
    },
    /// Take a tag off
    Untag {
        /// Path below the cgroup v2 mount
        cgroup: String,
    },
}

#[derive(Clone, Copy, Debug, Args)]
struct Output {
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[value(alias = "compact")]
    Table,
    /// For programs
    Json,
}

/// Runs the command that the process was called with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    ExitCode::from(match dispatch(cli) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => DONE,
        Err(error) => {
            print::error(&format!("{error:#}"));
            FAILED
        }
    })
}

fn dispatch(cli: Cli) -> Result<u8> {
    let Cli { socket, command } = cli;
    match command {
        Command::Run(arguments) => Ok(run(arguments, socket)),
        Command::Exec { policy, command } => exec::run(&socket, policy, &command),
        Command::Doctor(output) => doctor::run(output.output, &socket),
        Command::Status(output) => {
            let status = Client::connect(&socket)?.ask(&Request::Status)?;
            print::show(&status, output.output, print::status)
        }
        Command::Policy(command) => run_policy(command, &socket),
        Command::Mask(arguments) => mask::run(&arguments),
        Command::Workload(command) => run_workload(command, &socket),
        Command::Events {
            follow,
            from,
            state_dir,
            output,
        } => {
            if follow {
                follow_events(&socket, from, output.output)
            } else {
                kept_events(&state_dir, from, output.output)
            }
        }
        Command::Audit(command) => audit::run(command),
        Command::Session(command) => session::run(command),
        Command::Uninstall { pin_dir, state_dir } => uninstall(&pin_dir, &state_dir),
    }
}

fn run(arguments: Run, socket: PathBuf) -> u8 {
    start_diagnostics(arguments.log_level);
    let (path, named) = match &arguments.config {
        Some(path) => (path.as_path(), true),
        None => (std::path::Path::new(file::DEFAULT_CONFIG), false),
    };
    let file = match file::read(path, named) {
        Ok(file) => file,
        Err(problems) => {
            print::error(&format!("the configuration is invalid\n{problems}"));
            return INVALID;
        }
    };
    let settings = Settings {
        policy: arguments.policy,
        state_dir: arguments.state_dir,
        socket,
        pin_dir: arguments.pin_dir,
        mask_key: arguments.mask_key,
        file,
        stdout: !arguments.quiet,
        kernel_log_level: match arguments.log_level {
            LogLevel::Debug => aya_log_level::DEBUG,
            LogLevel::Trace => aya_log_level::TRACE,
            _ => 0,
        },
    };
    match agent::run(settings) {
        Ok(()) => DONE,
        Err(StartError::Policy(problems)) => {
            print::error(&format!("the policy is invalid\n{problems}"));
            INVALID
        }
        Err(StartError::Other(error)) => {
            print::error(&format!("{error:#}"));
            FAILED
        }
    }
}

/// Levels of the kernel programs' log statements (`aya_log_common::Level`).
mod aya_log_level {
    pub(super) const DEBUG: u8 = 4;
    pub(super) const TRACE: u8 = 5;
}

fn start_diagnostics(level: LogLevel) {
    use tracing_subscriber::filter::LevelFilter;
    let level = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_max_level(level)
        .init();
}

fn run_policy(command: Policy, socket: &std::path::Path) -> Result<u8> {
    match command {
        Policy::Check { path } => {
            let policies = match load(&path) {
                Ok(policies) => policies,
                Err(code) => return Ok(code),
            };
            let mut out = std::io::stdout().lock();
            for policy in &policies {
                writeln!(
                    out,
                    "{}: policy {} is valid: {}, {} rules",
                    policy.file.display(),
                    policy.name,
                    policy::model::mode_name(policy.mode),
                    policy.egress.rules.len() + policy.exec.rules().len()
                )?;
                for note in &policy.notes {
                    writeln!(out, "  note: {note}")?;
                }
            }
            Ok(DONE)
        }
        Policy::Show {
            name,
            file: Some(path),
            output,
        } => {
            let policies = match load(&path) {
                Ok(policies) => policies,
                Err(code) => return Ok(code),
            };
            let shown: Value = policies
                .iter()
                .filter(|policy| name.as_ref().is_none_or(|name| *name == policy.name))
                .map(agent::show)
                .collect();
            print::show(&shown, output.output, print::policies)
        }
        Policy::Show {
            name,
            file: None,
            output,
        } => {
            let shown = Client::connect(socket)?.ask(&Request::PolicyShow { name })?;
            print::show(&shown, output.output, print::policies)
        }
        Policy::Explain {
            name,
            destination,
            command,
            parent,
            uid,
            file,
            output,
        } => {
            let asked = explain::Asked {
                destination,
                command,
                parent,
                uid,
            };
            explain::run(socket, name, asked, file.as_deref(), output.output)
        }
    }
}

/// Loads and compiles policies; prints what is wrong with them.
fn load(path: &std::path::Path) -> Result<Vec<policy::model::Policy>, u8> {
    let policies = policy::load(path).map_err(|problems| {
        print::error(&format!("the policy is invalid\n{problems}"));
        INVALID
    })?;
    if let Err(error) = compile(&policies, &mut RuleBook::default()) {
        print::error(&format!("{}: {error}", path.display()));
        return Err(INVALID);
    }
    Ok(policies)
}

fn run_workload(command: Workload, socket: &std::path::Path) -> Result<u8> {
    let mut client = Client::connect(socket)?;
    match command {
        Workload::List(output) => {
            let list = client.ask(&Request::WorkloadList)?;
            print::show(&list, output.output, print::workloads)
        }
        Workload::Tag { policy, cgroup } => {
            client.ask(&Request::WorkloadTag {
                cgroup: cgroup.clone(),
                policy: policy.clone(),
            })?;
            writeln!(std::io::stdout(), "{cgroup} is governed by {policy}")?;
            Ok(DONE)
        }
        Workload::Untag { cgroup } => {
            client.ask(&Request::WorkloadUntag {
                cgroup: cgroup.clone(),
            })?;
            writeln!(std::io::stdout(), "{cgroup} is governed no more")?;
            Ok(DONE)
        }
    }
}

/// The records that are kept.
fn kept_events(state_dir: &std::path::Path, from: Option<u64>, format: Format) -> Result<u8> {
    let mut reader = read::open(state_dir, from)?;
    let mut line = Vec::new();
    while let Some(entry) = reader.read()? {
        line.clear();
        read::line(entry.bytes, &mut line);
        print::event(str::from_utf8(&line)?, format)?;
    }
    Ok(DONE)
}

fn follow_events(socket: &std::path::Path, from: Option<u64>, format: Format) -> Result<u8> {
    let mut client = Client::connect(socket)?;
    client.send(&Request::Follow { from })?;
    while let Some(line) = client.line()? {
        print::event(&line, format)?;
    }
    Ok(DONE)
}

fn uninstall(pin_dir: &std::path::Path, state_dir: &std::path::Path) -> Result<u8> {
    // A daemon that runs would pin everything again.
    let lock = state_dir
        .exists()
        .then(|| crate::config::StateDir::open(state_dir))
        .transpose()?;
    let count = pins::remove_all(pin_dir)?;
    agent::forget(state_dir)?;
    drop(lock);
    writeln!(
        std::io::stdout(),
        "{count} pins removed from {}; records stay in {}",
        pin_dir.display(),
        state_dir.display()
    )?;
    Ok(DONE)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
