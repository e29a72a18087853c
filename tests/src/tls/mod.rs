//! TLS as it is spoken by real programs, and a real server for them.

pub mod saying;
pub mod secrets;

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::daemon::{Daemon, Record, run, text};
use crate::lab::{Lab, Workload};
use crate::wait;

/// Debian's Python, which uses the OpenSSL of the system.
pub const PYTHON: &str = "/usr/bin/python3";

/// What a policy says to have plaintext read.
pub const CAPTURE: &str = "mode: enforce\negress: { default: allow }\ncapture: { tls: true }";

/// Where the server listens, in the network that workloads are in.
const ADDRESS: Ipv4Addr = Ipv4Addr::LOCALHOST;
const PORT: u16 = 8443;

const SERVER: &str = include_str!("server.py");

/// An HTTPS server outside every workload. It remembers what it was asked. Dropping it ends it.
#[derive(Debug)]
pub struct HttpsServer {
    child: Child,
    directory: PathBuf,
}

/// A program that runs in the lab's network. Dropping it ends it.
#[derive(Debug)]
pub struct Program(Child);

/// What a record is to say of a request and its response.
#[derive(Debug)]
pub struct Said<'a> {
    /// The method.
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// The request's body.
    pub sent: &'a str,
    /// The response's status.
    pub status: u64,
    /// The response's body.
    pub received: &'a str,
}

impl HttpsServer {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// When it does not start, for want of Python or OpenSSL's command.
    #[must_use]
    pub fn start(lab: &Lab) -> Self {
        let directory = lab.directory().join("https");
        fs::create_dir_all(directory.join("answers")).expect("a directory");
        let certificate = directory.join("certificate.pem");
        let made = run(Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
            .args(["-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            .arg("-keyout")
            .arg(&certificate)
            .arg("-out")
            .arg(directory.join("public.pem")));
        assert!(made.status.success(), "{}", text(&made));
        let public = fs::read(directory.join("public.pem")).expect("a certificate");
        let mut whole = fs::read(&certificate).expect("a key");
        whole.extend(public);
        fs::write(&certificate, whole).expect("write a certificate");

        let mut command = Command::new(PYTHON);
        command
            .args(["-c", SERVER, &PORT.to_string()])
            .arg(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = lab.near().enter(&mut command).spawn().expect("python3");
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("the server speaks");
        assert_eq!(line.trim(), "ready", "the server did not start");
        Self { child, directory }
    }

    /// The URL of a path, which begins with `/`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://{ADDRESS}:{PORT}{path}")
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        PORT
    }

    /// The file with its certificate and key, in PEM.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.directory.join("certificate.pem")
    }

    /// Answers requests of `/name` with these bytes from now on, each by a call of its own.
    ///
    /// # Panics
    ///
    /// When that cannot be written.
    pub fn answer(&self, name: &str, pieces: &[Vec<u8>]) {
        let texts = pieces
            .iter()
            .map(|piece| piece.iter().copied().map(char::from).collect::<String>());
        let texts = Value::from_iter(texts);
        let path = self.directory.join("answers").join(name);
        fs::write(path, texts.to_string()).expect("write an answer");
    }

    /// What it was asked so far.
    ///
    /// # Panics
    ///
    /// When that cannot be read.
    #[must_use]
    pub fn heard(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.directory.join("heard")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }
}

impl Drop for HttpsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    /// Starts `command` in the lab's network, in a workload if one is given: it is there before its first
    /// instruction.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn start(lab: &Lab, workload: Option<&Workload<'_>>, command: &mut Command) -> Self {
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", lab.directory())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        lab.near().enter(command);
        let entrance = workload.map(|workload| {
            OpenOptions::new()
                .write(true)
                .custom_flags(libc::O_CLOEXEC)
                .open(workload.cgroup.directory().join("cgroup.procs"))
                .expect("the cgroup exists")
        });
        if let Some(entrance) = &entrance {
            let fd = entrance.as_raw_fd();
            // SAFETY: write is async-signal-safe, and the file stays open until after the spawn.
            unsafe {
                command.pre_exec(move || match libc::write(fd, b"0".as_ptr().cast(), 1) {
                    1 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                });
            }
        }
        Self(command.spawn().expect("start a program"))
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits until it has ended. Answers with its exit code.
    ///
    /// # Panics
    ///
    /// When it goes on, or was ended by a signal.
    #[track_caller]
    pub fn ended(&mut self) -> i32 {
        let ended = wait::within(wait::patience() * 2, || {
            self.0.try_wait().expect("wait for a program")
        });
        let status = ended.expect("the program ends");
        status.code().unwrap_or_else(|| panic!("{status}"))
    }

    /// Waits until it has ended well. Answers with its process id.
    ///
    /// # Panics
    ///
    /// When it goes on, or did not end well.
    #[track_caller]
    pub fn succeeds(mut self) -> u32 {
        assert_eq!(self.ended(), 0, "the program's exit code");
        self.pid()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program and waits until it has ended well. Answers with its process id.
///
/// # Panics
///
/// When it does not.
#[track_caller]
pub fn succeed(lab: &Lab, workload: Option<&Workload<'_>>, command: &mut Command) -> u32 {
    Program::start(lab, workload, command).succeeds()
}

/// A file of the lab with this text.
///
/// # Panics
///
/// When it cannot be written.
#[must_use]
pub fn file(lab: &Lab, name: &str, text: &str) -> PathBuf {
    let path = lab.directory().join(name);
    fs::write(&path, text).expect("write a file");
    path
}

/// The program of this name, or nothing and why the test is skipped.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|program| program.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: no {name}: cargo xtask setup");
    }
    found
}

/// The records of what was said by a process.
#[must_use]
pub fn said_by(records: &[Record], pid: u32) -> Vec<&Record> {
    records
        .iter()
        .filter(|record| record.is("api") && record.pid() == pid)
        .collect()
}

/// Ends the daemon and returns every record that it kept: nothing is to come any more.
///
/// # Panics
///
/// When it does not end well.
#[track_caller]
#[must_use]
pub fn all_records(daemon: &mut Daemon<'_>) -> Vec<Record> {
    let status = daemon.stop();
    assert!(status.success(), "the daemon ended with {status}");
    daemon.kept()
}

/// Holds the records of a process to one exchange: it is there once, whole, and on a connection to
/// the server.
///
/// # Panics
///
/// When they say anything else.
#[track_caller]
pub fn assert_said(records: &[Record], pid: u32, server: &HttpsServer, said: &Said<'_>) {
    let about: Vec<&Record> = records
        .iter()
        .filter(|record| record.pid() == pid)
        .collect();
    let found = said_by(records, pid);
    let [record] = found[..] else {
        panic!("{} records instead of one: {about:#?}", found.len());
    };
    let text = |path: &str| record.text(path);
    assert_eq!(
        text("api.http_request.http_method"),
        said.method,
        "{record:#?}"
    );
    assert_eq!(text("api.http_request.url.path"), said.path);
    assert_eq!(text("api.http_request.body.text"), said.sent, "{record:#?}");
    assert_eq!(record.number("api.http_response.code"), said.status);
    assert_eq!(
        text("api.http_response.body.text"),
        said.received,
        "{record:#?}"
    );
    assert_eq!(*record.at("api.incomplete"), Value::Null, "{record:#?}");
    assert_eq!(
        record.number("api.connection.dst_endpoint.port"),
        u64::from(server.port()),
        "{record:#?}"
    );
    let silent = |record: &&&Record| record.is("coverage") || record.is("plaintext");
    let other: Vec<_> = about.iter().filter(silent).collect();
    assert!(other.is_empty(), "{other:#?}");
}

/// Bun, as `cargo xtask setup` put it beside the build; or nothing, and why the test is skipped.
#[must_use]
pub fn bun() -> Option<PathBuf> {
    program("bun")
}

/// What `cargo xtask setup` put beside the build under this name; or nothing, and why the test is skipped.
///
/// # Panics
///
/// When the running test has no path.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    let test = std::env::current_exe().expect("the running program has a path");
    let found = test
        .ancestors()
        .map(|directory| directory.join("programs").join(name))
        .find(|program| program.exists());
    if found.is_none() {
        eprintln!("SKIPPED: no programs/{name} in the target directory: cargo xtask setup");
    }
    found
}

/// Something to say on a connection of its own, byte for byte.
#[derive(Clone, Debug)]
pub struct Talk {
    /// What to send, each by a call of its own.
    pub send: Vec<Vec<u8>>,
    /// What to wait for in the answer.
    pub until: String,
}

/// A client in Python that says all of it.
///
/// # Panics
///
/// When its plan cannot be written.
#[must_use]
pub fn talker(lab: &Lab, name: &str, talks: &[Talk]) -> Command {
    let plan = plan(lab, name, talks);
    let mut command = Command::new(PYTHON);
    command
        .args([
            "-c",
            include_str!("client.py"),
            "127.0.0.1",
            &PORT.to_string(),
        ])
        .arg(plan);
    command
}

/// A file that has it for any such client: `[{"send": [text], "until": text}]`, a character for each byte.
///
/// # Panics
///
/// When it cannot be written.
#[must_use]
pub fn plan(lab: &Lab, name: &str, talks: &[Talk]) -> PathBuf {
    let latin1 =
        |bytes: &Vec<u8>| Value::from(bytes.iter().copied().map(char::from).collect::<String>());
    let plan: Vec<Value> = talks
        .iter()
        .map(|talk| {
            let send: Vec<Value> = talk.send.iter().map(latin1).collect();
            serde_json::json!({ "send": send, "until": talk.until })
        })
        .collect();
    file(lab, name, &Value::from(plan).to_string())
}
