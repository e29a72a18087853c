//! Go programs, with symbols and without. Needs a Go toolchain of at least 1.17.

use crate::support::{Workshop, library, locate, offset_of, probe, run};
use hoop_locate::{Function, How, Kind, Library, Located};
use std::path::Path;
use std::process::Command;

const SOURCE: &str = r#"package main

import "crypto/tls"

func main() {
	connection, err := tls.Dial("tcp", "localhost:1", nil)
	if err != nil {
		return
	}
	buffer := make([]byte, 16)
	connection.Write(buffer)
	connection.Read(buffer)
	connection.Close()
}
"#;

const FUNCTIONS: [Function; 3] = [
    Function::GoConnRead,
    Function::GoConnWrite,
    Function::GoConnClose,
];

fn build(shop: &Workshop, name: &str, flags: &[&str]) -> std::path::PathBuf {
    let source = shop.write("main.go", SOURCE);
    let made = shop.path(name);
    run(Command::new("go")
        .args(["build", "-p", "1"])
        .args(flags)
        .arg("-o")
        .arg(&made)
        .arg(source)
        .envs([
            ("GO111MODULE", "off"),
            ("GOTOOLCHAIN", "local"),
            ("GOFLAGS", ""),
        ])
        .env("GOCACHE", std::env::temp_dir().join("hoop-locate-go")));
    made
}

/// Offsets of the `RET`s from `entry` on, as `objdump` reads them.
fn returns(file: &Path, function: Function) -> Vec<u64> {
    let listing = run(Command::new("objdump")
        .args(["-d", "--no-show-raw-insn"])
        .arg(format!("--disassemble={}", function.name()))
        .arg(file));
    let entry = offset_of(file, function.name());
    let mut base = None;
    let mut found = Vec::new();
    for line in listing.lines() {
        let Some((address, instruction)) = line.split_once(":\t") else {
            continue;
        };
        let address = u64::from_str_radix(address.trim(), 16).unwrap();
        let base = *base.get_or_insert(address);
        if instruction.trim() == "ret" {
            found.push(address - base + entry);
        }
    }
    found
}

fn go(located: &Located) -> &Library {
    assert_eq!(located.refusals, []);
    library(located, Kind::Go)
}

#[test]
fn functions_and_all_their_returns_are_found_with_symbols_and_without() {
    if Command::new("go").arg("version").output().is_err() {
        eprintln!("SKIPPED: no Go toolchain; `apt-get install golang-go` brings one");
        return;
    }
    let shop = Workshop::new();
    let file = build(&shop, "named", &[]);
    let located = locate(&file);
    let named = go(&located);
    assert_eq!(named.how, How::Symbols);
    for function in FUNCTIONS {
        let probe = probe(named, function);
        assert_eq!(probe.entry, offset_of(&file, function.name()), "{function}");
        assert_eq!(probe.returns, returns(&file, function), "{function}");
    }
    let version = run(Command::new("go").args(["env", "GOVERSION"]));
    assert_eq!(named.version.as_deref(), version.trim().strip_prefix("go"));

    // The linker lays the code out the same.
    let located = locate(&build(&shop, "stripped", &["-ldflags=-s -w"]));
    assert_eq!(go(&located).how, How::Pclntab);
    assert_eq!(go(&located).probes, named.probes);
    assert_eq!(go(&located).version, named.version);

    let file = build(&shop, "anywhere", &["-buildmode=pie"]);
    let with_symbols = locate(&file);
    let stripped = locate(&build(
        &shop,
        "anywhere-stripped",
        &["-buildmode=pie", "-ldflags=-s -w"],
    ));
    assert_eq!(go(&stripped).probes, go(&with_symbols).probes);

    // As tools that shrink executables leave it.
    let mut bare = std::fs::read(shop.path("stripped")).unwrap();
    bare[0x28..0x30].fill(0); // e_shoff
    bare[0x3c..0x40].fill(0); // e_shnum, e_shstrndx
    let bare = hoop_locate::locate(&bare, hoop_locate::Options::default()).unwrap();
    assert_eq!(go(&bare).probes, named.probes);
}
