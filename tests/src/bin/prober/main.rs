//! Does what a test tells it, the way an AI agent's process would: reads one JSON act per line,
//! answers each with one JSON outcome.

mod after;
mod aim;
mod call;
mod ip;
mod raw;
mod ring;
mod run;
mod tamper;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, Write as _};
use std::os::fd::IntoRawFd as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use hoop_tests::descriptor;
use hoop_tests::probe::{Act, Done, Outcome};
use nix::errno::Errno;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, pipe, steps, act] = arguments.as_slice() {
        let steps: Vec<_> = serde_json::from_str(steps)?;
        after::resume(pipe.parse()?, &steps, &serde_json::from_str(act)?);
    }
    let mut answers = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let mut answer = serde_json::to_string(&perform(&serde_json::from_str(&line?)?))?;
        answer.push('\n');
        answers.write_all(answer.as_bytes())?;
        answers.flush()?;
    }
    Ok(())
}

fn perform(act: &Act) -> Outcome {
    match act {
        Act::Reach { route, to, text } => ip::reach(*route, *to, text),
        Act::SendMany { to, text } => ip::send_many(to, text),
        Act::Tunnel {
            protocol,
            outer,
            inner,
            text,
        } => raw::tunnel(*protocol, *outer, *inner, text),
        Act::SourceRoute { via, to, text } => raw::source_route(*via, *to, text),
        Act::Socket {
            family,
            kind,
            protocol,
        } => call::socket(*family, *kind, *protocol).map(|_socket| Done::default()),
        Act::SocketByRing {
            family,
            kind,
            protocol,
        } => ring::socket(*family, *kind, *protocol),
        Act::Open { stream, v6 } => ip::open(*stream, *v6),
        Act::Connect { fd, to } => ip::connect(*fd, *to),
        Act::Send { fd, text } => ip::send(*fd, text),
        Act::SendTo { fd, to, text } => ip::send_to(*fd, *to, text, 0),
        Act::Receive { fd } => ip::receive(*fd),
        Act::TakeSocket { path } => ip::take_socket(path),
        Act::TakeDescriptor { pid, fd } => descriptor::copy_of(*pid, *fd)
            .map(|copy| ip::done(copy.into_raw_fd().into()))
            .map_err(|error| call::failure("pidfd_getfd", &error)),
        Act::ConnectUnix { path } => UnixStream::connect(path)
            .map(|_stream| Done::default())
            .map_err(|error| call::failure("connect", &error)),
        Act::SendUnix { path } => UnixDatagram::unbound()
            .and_then(|socket| socket.send_to(b"!", path))
            .map(|_size| Done::default())
            .map_err(|error| call::failure("sendto", &error)),
        Act::After { steps, act } => after::fork(steps, act),
        Act::Run {
            program,
            argv,
            directory,
            user,
        } => run::program(program, argv, directory.as_deref(), *user),
        Act::RunFromMemory { program, argv } => run::from_memory(program, argv),
        Act::RunMounted {
            program,
            over,
            argv,
            user_namespace,
        } => run::mounted(program, over, argv, *user_namespace),
        Act::RunRacing {
            program,
            argv,
            texts,
            times,
        } => run::racing(program, argv, texts, *times),
        Act::Spawn { count } => run::spawn(*count),
        Act::Flood {
            to,
            processes,
            each,
        } => run::flood(*to, *processes, *each),
        Act::Repeat {
            act,
            per_second,
            until,
        } => Ok(repeat(act, *per_second, until)),
        Act::Execs {
            program,
            processes,
            each,
        } => run::execs(program, *processes, *each),
        Act::Write { path, text } => fs::write(path, text)
            .map(|()| Done::default())
            .map_err(|error| call::failure("write", &error)),
        Act::Tamper(tamper) => tamper::tamper(tamper),
        Act::Flee { sign, to, text } => run::flee(sign, *to, text),
        Act::Aim { at } => Ok(aim::each(at)),
        Act::Exit { code } => std::process::exit(*code),
    }
    .map(|done| match done.pid {
        0 => Done {
            pid: std::process::id(),
            ..done
        },
        _ => done,
    })
}

fn repeat(act: &Act, per_second: u32, until: &Path) -> Done {
    let mut outcomes: BTreeMap<String, i64> = BTreeMap::new();
    let start = Instant::now();
    let mut count = 0;
    while !until.exists() {
        let outcome = match perform(act) {
            Ok(done) => format!("ok {}", done.value),
            Err(failure) => format!("{:?}", Errno::from_raw(failure.errno)),
        };
        *outcomes.entry(outcome).or_default() += 1;
        count += 1;
        // The pace is the point of it; who is behind does not rest.
        let due = Duration::from_secs(1) * count / per_second;
        std::thread::sleep(due.saturating_sub(start.elapsed()));
    }
    let lines = outcomes
        .iter()
        .map(|(outcome, times)| format!("{outcome} {times}\n"));
    Done {
        value: count.into(),
        text: lines.collect(),
        ..Done::default()
    }
}
