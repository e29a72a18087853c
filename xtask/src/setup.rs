//! `cargo xtask setup`: everything that building and testing need, each step in one line.
//!
//! Looks at the real state every time, which takes a fraction of a second; the one thing it
//! remembers is that rustup's nightly cannot be used here ([`toolchain::reject_nightly`]).

use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::toolchain::{self, Compiler, Origin, Toolchain};
use crate::{apt, paths, run};

/// What tests and the demonstration run, and the Debian package that has it.
const PROGRAMS: [(&str, &str); 6] = [
    ("chromium", "chromium"),
    ("curl", "curl"),
    ("ip", "iproute2"),
    ("nats-server", "nats-server"),
    ("openssl", "openssl"),
    ("python3", "python3"),
];

/// Go's verifier of transparency logs: where Debian puts it, and its package.
const GO_MODULE: (&str, &str) = (
    "/usr/share/gocode/src/golang.org/x/mod/sumdb/tlog",
    "golang-golang-x-mod-dev",
);

/// What tests run in Python to check what Hoop writes for others, as `PyPI` has it.
const PYTHON: [&str; 5] = [
    "confluent-kafka==2.16.1",
    "jsonschema==4.26.0",
    "ocsf-json-schema==1.2.0",
    "opentelemetry-proto==1.45.2",
    "py-ocsf-models==0.10.0",
];

/// Programs that speak TLS by other libraries, and the Debian package that has each. The test of one that
/// cannot be had says so and is skipped.
const TLS_PROGRAMS: [(&str, &str); 3] = [("wget", "wget"), ("go", "golang-go"), ("node", "nodejs")];

/// Bun, which has `BoringSSL` inside it, as npm has it.
const BUN: &str = "@oven/bun-linux-x64@1.4.5";

/// The official package of the Model Context Protocol, as `PyPI` has it.
const MCP: &str = "mcp==2.3.0";

/// A package of `PyPI` that brings OpenSSL 1.1.1 along. The version of Python is one that it has a wheel for: only its
/// libraries are used.
const OPENSSL_1_1: [&str; 5] = [
    "psycopg2-binary==2.9.5",
    "--no-deps",
    "--only-binary=:all:",
    "--python-version=3.11",
    "--platform=manylinux2014_x86_64",
];

/// What only guests need, and the Debian package that has it.
const QEMU: (&str, &str) = ("qemu-system-x86_64", "qemu-system-x86");

/// The bpf-linker to install where there is none, and the LLVM versions that it knows.
const LINKER_VERSION: &str = "0.13.0";
const LINKER_LLVM: std::ops::RangeInclusive<u32> = 21..=23;

/// How long rustup may try to download a toolchain, in seconds.
const RUSTUP_DEADLINE: &str = "60";

/// Sets up all there is.
///
/// # Errors
///
/// A step could neither find what it needs nor install it; says what would help.
pub(crate) fn run() -> Result<Toolchain> {
    host_components()?;
    let toolchain = toolchain()?;
    programs(&PROGRAMS)?;
    if !Path::new(GO_MODULE.0).is_dir() {
        apt::install(&[GO_MODULE.1])?;
        say("programs", format_args!("installed {}", GO_MODULE.1));
    }
    say("Python packages", python()?);
    for program in TLS_PROGRAMS {
        if let Err(err) = programs(&[program]) {
            say(
                program.0,
                format_args!(
                    "not to be had, so its test is skipped: {}",
                    first_line(&err)
                ),
            );
        }
    }
    for (name, installed) in [
        ("bun", bun()),
        ("mcp", from_pypi("mcp", &[MCP])),
        ("openssl-1.1", from_pypi("openssl-1.1", &OPENSSL_1_1)),
    ] {
        match installed {
            Ok(done) => say(name, done),
            Err(err) => say(
                name,
                format_args!(
                    "not to be had, so its test is skipped: {}",
                    first_line(&err)
                ),
            ),
        }
    }
    Ok(toolchain)
}

/// Sets up what building the kernel object needs.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn toolchain() -> Result<Toolchain> {
    let compiler = compiler()?;
    let linker = match toolchain::linker() {
        Some(linker) => {
            say("bpf-linker", format_args!("found {}", linker.display()));
            linker
        }
        None => install_linker(&compiler)?,
    };
    Ok(Toolchain { compiler, linker })
}

/// Sets up what guests need besides, and returns where QEMU is.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn qemu() -> Result<PathBuf> {
    programs(&[QEMU])?;
    paths::find(QEMU.0)
        .with_context(|| format!("apt installed {}, yet {} is missing", QEMU.1, QEMU.0))
}

/// The compilers of this machine, the first that is complete; else whichever can be installed.
fn compiler() -> Result<Compiler> {
    let rejected = toolchain::nightly_rejected();
    let nightly = || {
        if rejected.is_some() {
            None
        } else {
            Compiler::find(Origin::Rustup)
        }
    };
    if let Some(compiler) = nightly().or_else(|| Compiler::find(Origin::Debian)) {
        say("eBPF compiler", format_args!("found {compiler}"));
        return with_clippy(compiler);
    }
    let why_not_rustup = match rejected {
        Some(why) => why,
        None => match install_nightly() {
            Ok(compiler) => {
                say("eBPF compiler", format_args!("installed {compiler}"));
                return Ok(compiler);
            }
            Err(err) => {
                let why = first_line(&err);
                toolchain::reject_nightly(&why)?;
                why
            }
        },
    };
    apt::install(&["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy"]).with_context(
        || {
            format!(
                "no eBPF compiler: rustup's nightly is not to be had ({why_not_rustup}), nor \
                 Debian's rustc-web; `rustup toolchain install nightly --component rust-src` on a \
                 machine with the internet is the usual way"
            )
        },
    )?;
    let compiler = Compiler::find(Origin::Debian)
        .context("apt installed rustc-web and rust-web-src, yet /usr lacks rustc or its source")?;
    say(
        "eBPF compiler",
        format_args!("installed {compiler}, as rustup could not: {why_not_rustup}"),
    );
    Ok(compiler)
}

/// `compiler` with the clippy that lints BPF code.
fn with_clippy(compiler: Compiler) -> Result<Compiler> {
    if compiler.has_clippy() {
        return Ok(compiler);
    }
    match compiler.origin {
        Origin::Rustup => run::capture(Command::new("rustup").args([
            "component",
            "add",
            "clippy",
            "--toolchain",
            "nightly",
        ]))
        .map(drop)?,
        Origin::Debian => apt::install(&["rust-web-clippy"])?,
    }
    if !compiler.has_clippy() {
        bail!("{compiler} still lacks clippy");
    }
    say("eBPF clippy", "installed");
    Ok(compiler)
}

fn install_nightly() -> Result<Compiler> {
    let subcommand: &[&str] = if toolchain::has_nightly() {
        &[
            "component",
            "add",
            "rust-src",
            "clippy",
            "--toolchain",
            "nightly",
        ]
    } else {
        &["toolchain", "install", "nightly", "--profile", "minimal"]
    };
    let mut rustup = Command::new("timeout");
    rustup.arg(RUSTUP_DEADLINE).arg("rustup").args(subcommand);
    if subcommand[0] == "toolchain" {
        rustup.args(["--component", "rust-src", "--component", "clippy"]);
    }
    run::capture(&mut rustup)?;
    Compiler::find(Origin::Rustup).context("rustup installed nightly without the library's source")
}

fn install_linker(compiler: &Compiler) -> Result<PathBuf> {
    let llvm = compiler.version.llvm;
    if !LINKER_LLVM.contains(&llvm) {
        bail!(
            "{compiler} needs a bpf-linker of at least that LLVM, and {LINKER_VERSION} knows {} to \
             {} only; put one that does into PATH",
            LINKER_LLVM.start(),
            LINKER_LLVM.end()
        );
    }
    let prefix = format!("/usr/lib/llvm-{llvm}");
    if !Path::new(&prefix).join("bin/llvm-config").exists() {
        let package = format!("llvm-{llvm}-dev");
        apt::install(&[&package])?;
        say("LLVM", format_args!("installed {package}"));
    }
    begin(
        "bpf-linker",
        format_args!("building {LINKER_VERSION} with LLVM {llvm}, about a minute"),
    );
    let features = format!("llvm-{llvm}");
    let install = [
        "install",
        "bpf-linker",
        "--locked",
        "--version",
        LINKER_VERSION,
        "--force",
    ];
    let built = run::capture(
        run::cargo(install)
            .args(["--no-default-features", "--features", &features])
            .env("LLVM_PREFIX", &prefix),
    );
    println!("{}", if built.is_ok() { ", done" } else { ", failed" });
    built?;
    toolchain::linker().context("bpf-linker is installed but does not start")
}

/// Clippy and rustfmt of the toolchain that runs this xtask: rustup's minimal profile lacks them.
fn host_components() -> Result<()> {
    let missing: Vec<&str> = [("cargo-clippy", "clippy"), ("rustfmt", "rustfmt")]
        .into_iter()
        .filter(|(program, _)| !paths::is_executable(&paths::host_toolchain_bin().join(program)))
        .map(|(_, component)| component)
        .collect();
    if missing.is_empty() {
        say("host compiler", "clippy and rustfmt are there");
        return Ok(());
    }
    run::capture(
        Command::new("rustup")
            .args(["component", "add"])
            .args(&missing),
    )?;
    say(
        "host compiler",
        format_args!("installed {}", missing.join(", ")),
    );
    Ok(())
}

fn programs(wanted: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&str> = wanted
        .iter()
        .filter(|(program, _)| paths::find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        let found: Vec<&str> = wanted.iter().map(|(program, _)| *program).collect();
        say("programs", format_args!("found {}", found.join(", ")));
        return Ok(());
    }
    apt::install(&missing)?;
    say("programs", format_args!("installed {}", missing.join(", ")));
    Ok(())
}

/// Bun, put into the target directory where the tests look for it.
fn bun() -> Result<&'static str> {
    let programs = paths::target().join("programs");
    if paths::is_executable(&programs.join("bun")) {
        return Ok("found in the target directory");
    }
    std::fs::create_dir_all(&programs)?;
    let packed = run::capture(
        Command::new("npm")
            .args(["pack", "--silent", BUN, "--pack-destination"])
            .arg(&programs),
    )?;
    let archive = programs.join(packed.trim());
    run::capture(
        Command::new("tar")
            .arg("-xzf")
            .arg(&archive)
            .arg("-C")
            .arg(&programs)
            .args(["--strip-components=2", "package/bin/bun"]),
    )?;
    std::fs::remove_file(archive)?;
    Ok("installed")
}

/// The Python that has what tests run.
pub(crate) fn python_program() -> PathBuf {
    paths::target().join("programs/python/bin/python")
}

/// Debian's Python with [`PYTHON`], put into the target directory where the tests look for it.
fn python() -> Result<&'static str> {
    let environment = paths::target().join("programs/python");
    let has_all = environment.join("has-all");
    if std::fs::read_to_string(&has_all).is_ok_and(|has| has == PYTHON.join(" ")) {
        return Ok("found in the target directory");
    }
    if run::capture(Command::new("/usr/bin/python3").args(["-c", "import ensurepip"])).is_err() {
        apt::install(&["python3-venv"])?;
    }
    run::capture(
        Command::new("/usr/bin/python3")
            .args(["-m", "venv", "--clear"])
            .arg(&environment),
    )?;
    run::capture(
        Command::new(python_program())
            .args(["-m", "pip", "install", "--quiet"])
            .args(PYTHON),
    )?;
    std::fs::write(has_all, PYTHON.join(" "))?;
    Ok("installed")
}

/// A package for Debian's Python, likewise.
fn from_pypi(name: &str, what: &[&str]) -> Result<&'static str> {
    let programs = paths::target().join("programs");
    let package = programs.join(name);
    if package.is_dir() {
        return Ok("found in the target directory");
    }
    let python = "/usr/bin/python3";
    if run::capture(Command::new(python).args(["-m", "pip", "--version"])).is_err() {
        apt::install(&["python3-pip"])?;
    }
    let begun = programs.join(format!("{name}.begun"));
    run::capture(
        Command::new(python)
            .args(["-m", "pip", "install", "--quiet", "--target"])
            .arg(&begun)
            .args(what),
    )?;
    std::fs::rename(begun, package)?;
    Ok("installed")
}

fn say(step: &str, what: impl Display) {
    println!("setup: {step}: {what}");
}

/// Like [`say`], for a step that takes long: its line is ended by the caller.
fn begin(step: &str, what: impl Display) {
    print!("setup: {step}: {what}");
    // A terminal that went away does not stop the set-up.
    io::stdout().flush().ok();
}

/// The part of an error that fits into a line: what a program said last, else the error itself.
fn first_line(err: &anyhow::Error) -> String {
    let text = format!("{err:#}");
    let told = text
        .lines()
        .find(|line| line.trim_start().starts_with("error:"));
    told.or_else(|| text.lines().next())
        .unwrap_or_default()
        .trim()
        .to_owned()
}
