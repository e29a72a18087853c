//! rustls, played by a crate of that name.

use crate::support::{Workshop, library, locate, offset_of, probe, run};
use hoop_locate::{Function, Kind, Reason, Refusal};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program with methods of those names, from sources of those versions.
fn program(
    shop: &Workshop,
    mangling: Option<&str>,
    versions: &[&str],
    methods: &[&str],
) -> PathBuf {
    let methods: String = methods
        .iter()
        .map(|name| {
            format!(
                "#[inline(never)] pub fn {name}(&mut self, n: usize) -> usize {{ \
                 self.0 = std::hint::black_box(\"{name}\").len() + n; self.0 }}\n"
            )
        })
        .collect();
    let calls: String = methods
        .split("pub fn ")
        .skip(1)
        .map(|rest| format!("state.{}(paths.len());", rest.split('(').next().unwrap()))
        .collect();
    let paths: Vec<_> = versions
        .iter()
        .map(|version| format!("/registry/rustls-{version}/src/conn.rs"))
        .collect();
    let source = format!(
        "mod common_state {{ pub struct CommonState(pub usize);\nimpl CommonState {{ {methods} }} }}\n\
         fn main() {{ let paths = std::hint::black_box({paths:?});\n\
         let mut state = common_state::CommonState(paths.len()); {calls} println!(\"{{}}\", state.0); }}"
    );
    let source = shop.write("rustls.rs", &source);
    let made = shop.path("program");
    let mut rustc = Command::new("rustc");
    rustc
        .args(["--crate-name", "rustls", "-O", "-o"])
        .arg(&made)
        .arg(source);
    if let Some(mangling) = mangling {
        rustc.args(["-C", &format!("symbol-mangling-version={mangling}")]);
    }
    run(&mut rustc);
    made
}

const ALL: [&str; 3] = [
    "send_appdata_encrypt",
    "buffer_plaintext",
    "take_received_plaintext",
];

/// The symbol that has that name in it.
fn mangled(file: &Path, name: &str) -> String {
    let names = run(Command::new("nm").arg(file));
    let symbol = names
        .lines()
        .find(|line| line.contains(name) && line.contains("CommonState"));
    symbol
        .unwrap()
        .split_whitespace()
        .last()
        .unwrap()
        .to_owned()
}

#[test]
fn the_methods_are_found_however_names_are_mangled() {
    for mangling in [Some("v0"), None] {
        let shop = Workshop::new();
        let file = program(&shop, mangling, &["0.23.46"], &ALL);
        let located = locate(&file);
        let library = library(&located, Kind::Rustls);
        assert_eq!(library.version.as_deref(), Some("0.23.46"));
        assert_eq!(
            library.probes.len(),
            2,
            "the outer method sees the bytes again"
        );
        let send = probe(library, Function::RustlsSendAppdataEncrypt).entry;
        assert_eq!(send, offset_of(&file, &mangled(&file, ALL[0])));
        let take = probe(library, Function::RustlsTakeReceivedPlaintext).entry;
        assert_eq!(take, offset_of(&file, &mangled(&file, ALL[2])));

        let located = locate(&shop.stripped(&file));
        let refusal = Refusal {
            kind: Kind::Rustls,
            reason: Reason::Stripped,
        };
        assert_eq!(
            (located.libraries, located.refusals),
            (vec![], vec![refusal])
        );
    }
}

#[test]
fn a_method_of_an_older_version_is_not_taken_for_the_newest() {
    let shop = Workshop::new();
    let methods = [
        "send_appdata_encrypt",
        "send_some_plaintext",
        "take_received_plaintext",
    ];
    for versions in [
        &["0.21.12"][..],
        &["0.23.46", "0.22.4"],
        &["0.22.4", "0.23.46"],
    ] {
        let located = locate(&program(&shop, Some("v0"), versions, &methods));
        let library = library(&located, Kind::Rustls);
        let probed: Vec<_> = library.probes.iter().map(|probe| probe.function).collect();
        assert!(
            !probed.contains(&Function::RustlsSendAppdataEncrypt),
            "{versions:?}"
        );
        assert!(probed.contains(&Function::RustlsSendSomePlaintext));
    }
}

#[test]
fn a_version_that_is_not_known_is_refused() {
    let shop = Workshop::new();
    let located = locate(&program(&shop, Some("v0"), &["0.24.0"], &ALL));
    let reason = Reason::Version {
        version: "0.24.0".into(),
    };
    assert_eq!(located.libraries, []);
    assert_eq!(
        located.refusals,
        [Refusal {
            kind: Kind::Rustls,
            reason
        }]
    );
}
