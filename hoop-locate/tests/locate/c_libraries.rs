//! OpenSSL and `GnuTLS`.

use crate::support::{Workshop, library, locate, offset_of, probe};
use hoop_locate::{Function, How, Kind, Options, Reason, Refusal};
use std::path::{Path, PathBuf};

const OPENSSL: [Function; 11] = [
    Function::SslRead,
    Function::SslReadEx,
    Function::SslWrite,
    Function::SslWriteEx,
    Function::SslReadEarlyData,
    Function::SslWriteEarlyData,
    Function::SslSendfile,
    Function::SslFree,
    Function::SslSetFd,
    Function::SslSetRfd,
    Function::SslSetWfd,
];

/// Functions of these names, each with a number of its own in its first instruction.
fn assembly(names: &[&str]) -> String {
    let mut text = String::from(".globl _start\n_start: nop\n");
    for (index, name) in names.iter().enumerate() {
        text += &format!(
            ".globl {name}\n.type {name},@function\n{name}: mov ${},%eax\ntest %eax,%eax\nje 1f\nret\n\
             1: ret\n.size {name},.-{name}\n",
            number(index)
        );
    }
    text
}

fn number(index: usize) -> u32 {
    0x5eed_0000 + u32::try_from(index).unwrap()
}

fn names(functions: &[Function]) -> Vec<&'static str> {
    functions.iter().map(|function| function.name()).collect()
}

/// That `entry` is where the function with that number begins.
fn assert_is(file: &Path, entry: u64, index: usize) {
    let file = std::fs::read(file).unwrap();
    let code = &file[usize::try_from(entry).unwrap()..];
    assert_eq!(code[0], 0xb8, "mov eax, imm32");
    assert_eq!(code[1..5], number(index).to_le_bytes());
}

/// A library of the system.
fn system(name: &str) -> PathBuf {
    [
        "/usr/lib/x86_64-linux-gnu",
        "/lib/x86_64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
    ]
    .iter()
    .map(|directory| Path::new(directory).join(name))
    .find(|path| path.exists())
    .unwrap_or_else(|| panic!("{name} is not installed"))
}

#[test]
fn a_shared_library_is_found_by_its_dynamic_symbols() {
    let shop = Workshop::new();
    let flags = ["-shared", "-nostdlib"];
    let file = shop.stripped(&shop.gcc("a.s", &assembly(&names(&OPENSSL)), &flags));
    let located = locate(&file);
    let library = library(&located, Kind::OpenSsl);
    assert_eq!(library.how, How::DynamicSymbols);
    assert_eq!(located.refusals, []);
    for (index, function) in OPENSSL.into_iter().enumerate() {
        let probe = probe(library, function);
        assert_is(&file, probe.entry, index);
        // mov: 5 bytes, test: 2, je: 2, ret: 1.
        assert_eq!(probe.returns, [probe.entry + 9, probe.entry + 10]);
    }
    let bytes = std::fs::read(&file).unwrap();
    let located = hoop_locate::locate(&bytes, Options::default()).unwrap();
    assert!(
        located.libraries[0]
            .probes
            .iter()
            .all(|probe| probe.returns.is_empty())
    );
}

#[test]
fn an_executable_is_found_by_its_symbols_until_it_is_stripped() {
    let shop = Workshop::new();
    let source = assembly(&names(&OPENSSL)) + ".section .rodata\n.string \"../ssl/ssl_lib.c\"\n";
    let file = shop.gcc("a.s", &source, &["-static", "-nostdlib"]);
    let located = locate(&file);
    assert_eq!(library(&located, Kind::OpenSsl).how, How::Symbols);
    for (index, function) in OPENSSL.into_iter().enumerate() {
        assert_is(
            &file,
            probe(library(&located, Kind::OpenSsl), function).entry,
            index,
        );
    }
    let located = locate(&shop.stripped(&file));
    assert_eq!(located.libraries, []);
    let refusal = Refusal {
        kind: Kind::OpenSsl,
        reason: Reason::Stripped,
    };
    assert_eq!(located.refusals, [refusal]);
}

#[test]
fn a_direction_that_is_not_there_is_said() {
    let shop = Workshop::new();
    let file = shop.gcc(
        "a.s",
        &assembly(&["SSL_read_ex"]),
        &["-shared", "-nostdlib"],
    );
    let located = locate(&file);
    assert_eq!(library(&located, Kind::OpenSsl).probes.len(), 1);
    let reason = Reason::Absent {
        function: Function::SslWrite,
    };
    assert_eq!(
        located.refusals,
        [Refusal {
            kind: Kind::OpenSsl,
            reason
        }]
    );
}

#[test]
fn what_the_file_only_calls_is_not_in_it() {
    let shop = Workshop::new();
    let source = ".globl _start\n_start: call SSL_read@PLT\n call SSL_write@PLT\n";
    let located = locate(&shop.gcc("a.s", source, &["-shared", "-nostdlib"]));
    assert_eq!((located.libraries, located.refusals), (vec![], vec![]));
}

#[test]
fn boringssl_with_symbols_is_told_from_openssl() {
    let shop = Workshop::new();
    let functions = ["SSL_read", "SSL_write", "SSL_CTX_set_grease_enabled"];
    let located = locate(&shop.gcc("a.s", &assembly(&functions), &["-shared", "-nostdlib"]));
    assert_eq!(library(&located, Kind::BoringSsl).probes.len(), 2);
}

#[test]
fn a_function_that_ends_in_a_jump_has_no_list_of_returns() {
    let shop = Workshop::new();
    let mut source = assembly(&["SSL_read", "SSL_free"]);
    source += ".globl SSL_write\n.type SSL_write,@function\nSSL_write: test %eax,%eax\nje 1f\nret\n\
               1: jmp SSL_free@PLT\n.size SSL_write,.-SSL_write\n";
    let located = locate(&shop.gcc("a.s", &source, &["-shared", "-nostdlib"]));
    let library = library(&located, Kind::OpenSsl);
    assert!(probe(library, Function::SslWrite).returns.is_empty());
    assert!(!probe(library, Function::SslRead).returns.is_empty());
}

#[test]
fn gnutls_is_probed_where_its_calls_come_together() {
    let shop = Workshop::new();
    let old = ["gnutls_record_send", "gnutls_record_recv", "gnutls_deinit"];
    let flags = ["-shared", "-nostdlib"];
    let located = locate(&shop.gcc("a.s", &assembly(&old), &flags));
    probe(library(&located, Kind::GnuTls), Function::GnutlsRecordSend);

    let new = [
        "gnutls_record_send",
        "gnutls_record_send2",
        "gnutls_record_recv",
    ];
    let located = locate(&shop.gcc("a.s", &assembly(&new), &flags));
    let library = library(&located, Kind::GnuTls);
    probe(library, Function::GnutlsRecordSend2);
    assert!(
        library
            .probes
            .iter()
            .all(|probe| probe.function != Function::GnutlsRecordSend)
    );
    assert_eq!(located.refusals, []);
}

#[test]
fn the_systems_libraries_are_found() {
    for (name, kind, functions) in [
        ("libssl.so.3", Kind::OpenSsl, &OPENSSL[..]),
        (
            "libgnutls.so.30",
            Kind::GnuTls,
            &[
                Function::GnutlsRecordSend2,
                Function::GnutlsRecordRecv,
                Function::GnutlsRecordRecvSeq,
                Function::GnutlsRecordRecvPacket,
                Function::GnutlsRecordSendRange,
                Function::GnutlsRecordUncork,
                Function::GnutlsDeinit,
            ],
        ),
    ] {
        let file = system(name);
        let located = locate(&file);
        let library = library(&located, kind);
        assert!(
            library
                .version
                .as_ref()
                .is_some_and(|version| version.contains('.'))
        );
        for function in functions {
            let entry = probe(library, *function).entry;
            assert_eq!(entry, offset_of(&file, function.name()), "{function}");
        }
    }
    let located = locate(&system("libcrypto.so.3"));
    assert_eq!((located.libraries, located.refusals), (vec![], vec![]));
}

#[test]
fn a_file_with_neither_direction_is_no_library() {
    let shop = Workshop::new();
    let file = shop.gcc(
        "a.s",
        &assembly(&["SSL_free", "gnutls_deinit"]),
        &["-shared", "-nostdlib"],
    );
    let located = locate(&file);
    assert_eq!((located.libraries, located.refusals), (vec![], vec![]));
}
