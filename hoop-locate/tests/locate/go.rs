//! Go programs, with symbols and without. Needs a Go toolchain of at least 1.17.

use crate::support::{Workshop, library, locate, offset_of, probe, run};
use hoop_locate::{Function, How, Kind, Library, Located, Reason, Refusal};
use std::path::{Path, PathBuf};
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

fn build(shop: &Workshop, name: &str, flags: &[&str]) -> PathBuf {
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
        .env("GOCACHE", concat!(env!("CARGO_TARGET_TMPDIR"), "/go")));
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

fn has_toolchain() -> bool {
    let has = Command::new("go").arg("version").output().is_ok();
    if !has {
        eprintln!("SKIPPED: no Go toolchain; `apt-get install golang-go` brings one");
    }
    has
}

fn go(located: &Located) -> &Library {
    assert_eq!(located.refusals, []);
    library(located, Kind::Go)
}

#[test]
fn functions_and_all_their_returns_are_found_with_symbols_and_without() {
    if !has_toolchain() {
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

    // As tools that shrink executables leave it.
    let mut bare = std::fs::read(shop.path("stripped")).unwrap();
    bare[0x28..0x30].fill(0); // e_shoff
    bare[0x3c..0x40].fill(0); // e_shnum, e_shstrndx
    let bare = hoop_locate::locate(&bare, hoop_locate::Options::default()).unwrap();
    assert_eq!(go(&bare).probes, named.probes);
}

#[test]
#[ignore = "compiles all of Go's library anew, which takes a minute"]
fn functions_are_found_in_an_executable_that_can_be_loaded_anywhere() {
    if !has_toolchain() {
        return;
    }
    let shop = Workshop::new();
    let named = locate(&build(&shop, "named", &["-buildmode=pie"]));
    let stripped = locate(&build(
        &shop,
        "stripped",
        &["-buildmode=pie", "-ldflags=-s -w"],
    ));
    assert_eq!(go(&stripped).how, How::Pclntab);
    assert_eq!(go(&stripped).probes, go(&named).probes);
}

/// `cmp rsp, [r14+16]`.
const REGISTERS: &str = "cmp 16(%r14), %rsp";

/// `mov rcx, fs:-8`.
const STACK: &str = "mov %fs:0xfffffffffffffff8, %rcx";

/// A program with a table as Go 1.16 and 1.17 write it, and functions that begin like that.
fn old_program(shop: &Workshop, prologue: &str) -> PathBuf {
    let body = format!("{prologue}\nnop\nret\n");
    let description = |index: usize, name: &str| {
        format!("d{index}: .quad {name}\n.long n{index}-names\n.balign 8\n")
    };
    let source = format!(
        ".globl _start\n_start: nop\nread: {body}write: {body}close: {body}end: nop\n\
         .section .gopclntab,\"a\",@progbits\n\
         tab: .long 0xfffffffa\n.byte 0,0,1,8\n.quad 3,0,names-tab,0,0,0,functions-tab\n\
         names: .byte 0\nn0: .string \"{}\"\nn1: .string \"{}\"\nn2: .string \"{}\"\n.balign 8\n\
         functions: .quad read,d0-functions,write,d1-functions,close,d2-functions,end\n{}{}{}",
        FUNCTIONS[0].name(),
        FUNCTIONS[1].name(),
        FUNCTIONS[2].name(),
        description(0, "read"),
        description(1, "write"),
        description(2, "close"),
    );
    shop.gcc("a.s", &source, &["-static", "-nostdlib"])
}

#[test]
fn the_table_of_go_1_17_is_read() {
    let shop = Workshop::new();
    let file = old_program(&shop, REGISTERS);
    let located = locate(&file);
    assert_eq!(go(&located).how, How::Pclntab);
    for (function, symbol) in FUNCTIONS.into_iter().zip(["read", "write", "close"]) {
        let probe = probe(go(&located), function);
        assert_eq!(probe.entry, offset_of(&file, symbol));
        // cmp: 4 bytes, nop: 1.
        assert_eq!(probe.returns, [probe.entry + 5]);
    }
}

#[test]
fn arguments_on_the_stack_are_refused() {
    let shop = Workshop::new();
    let located = locate(&old_program(&shop, STACK));
    let refusal = Refusal {
        kind: Kind::Go,
        reason: Reason::StackAbi,
    };
    assert_eq!(
        (located.libraries, located.refusals),
        (vec![], vec![refusal])
    );
}

#[test]
fn what_does_not_begin_as_a_function_of_go_is_refused() {
    let shop = Workshop::new();
    let located = locate(&old_program(&shop, "nop"));
    let reason = Reason::Undecodable {
        function: Function::GoConnRead,
    };
    assert_eq!(located.libraries, []);
    assert_eq!(
        located.refusals,
        [Refusal {
            kind: Kind::Go,
            reason
        }]
    );
}
