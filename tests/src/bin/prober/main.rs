//! Does what a test tells it, the way an AI agent's process would: reads one JSON act per line,
//! answers each with one JSON outcome.

mod after;
mod aim;
mod call;
mod ip;
mod raw;
mod ring;
mod run;

use std::io::{BufRead as _, Write as _};
use std::os::unix::net::{UnixDatagram, UnixStream};

use hoop_tests::probe::{Act, Done, Outcome};

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
