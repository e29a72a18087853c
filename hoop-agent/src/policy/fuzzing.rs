//! Fuzzing what reads policies, and the tables that they become.

use std::path::Path;

use hoop_common::exec::{ExecEntry, Facts, Found, Met};
use hoop_common::matcher::{self, Dfa, Walk};
use hoop_common::policy::{Cell, Key, Segment};
use hoop_mask::Masker;
use zerocopy::FromBytes;

use super::book::RuleBook;
use super::compile::compile;
use super::exec::{Command, Exec, ExecRule, Pattern, explain_exec};
use super::explain::{Destination, Verdict, explain_destination};
use super::model::{Action, Policy};
use super::{fields, source, testing};
use crate::diagnostic::Position;

/// A policy file.
///
/// Holds: no panic; a file without problems is all policies, and one with problems says what they
/// are; whatever the policies are, the compiled tables and `explain` give the same answers.
pub fn policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (documents, problems) = source::read(Path::new("policy.yaml"), text);
    assert!(!problems.is_empty() || documents.iter().all(|it| it.policy.is_some()));
    let _ = problems.sorted().to_string();
    let policies: Vec<Policy> = documents.into_iter().filter_map(|it| it.policy).collect();
    let seed = data.iter().fold(0, |seed: u64, &byte| {
        seed.wrapping_mul(31).wrapping_add(byte.into())
    });
    let mut commands = vec![Command {
        path: Some(b"/usr/bin/env".to_vec()),
        args: Some(b"env\0delete".to_vec()),
        parent: None,
        uid: 0,
    }];
    for rule in policies.iter().flat_map(|policy| policy.exec.rules()) {
        let text = |pattern: &Option<Pattern>| pattern.as_ref().map(|it| it.text.clone().into());
        commands.push(Command {
            path: text(&rule.path),
            args: text(&rule.args),
            parent: text(&rule.parent),
            uid: rule.uids.first().map_or(0, |range| range.last),
        });
    }
    agree(&policies, seed, &commands);
}

/// A pattern of an exec rule, and behind the first byte 0xff what it is compared with. The first
/// byte says whether it is a glob.
///
/// Holds: no panic, no automaton beyond its limits; the compiled tables agree with another engine.
pub fn pattern(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else {
        return;
    };
    let mut parts = rest.splitn(2, |&byte| byte == 0xff);
    let Ok(text) = std::str::from_utf8(parts.next().unwrap_or_default()) else {
        return;
    };
    let subject = parts.next().unwrap_or_default();
    let is_glob = kind % 2 == 0;
    let pattern = if is_glob {
        Pattern::glob(text)
    } else {
        Pattern::regex(text)
    };
    let Ok(pattern) = pattern else { return };
    let (path, args) = if is_glob {
        (Some(pattern), None)
    } else {
        (None, Some(pattern))
    };
    let rule = ExecRule {
        name: "rule".to_owned(),
        action: Action::Deny,
        because: "reason".to_owned(),
        path,
        args,
        parent: None,
        uids: Vec::new(),
        position: Position::default(),
    };
    let Ok(exec) = Exec::new(Action::Allow, vec![rule]) else {
        return;
    };
    let (documents, _) = source::read(Path::new("policy.yaml"), PLAIN);
    let policy = documents.into_iter().find_map(|it| it.policy);
    let policy = policy.expect("the plain policy is right");
    let command = |path: &[u8], args: &[u8]| Command {
        path: Some(path.to_vec()),
        args: Some(args.to_vec()),
        parent: None,
        uid: 0,
    };
    let commands = [
        command(subject, subject),
        command(&[b"/", subject].concat(), &[subject, b"\0"].concat()),
    ];
    agree(&[Policy { exec, ..policy }], 0, &commands);
}

/// A gitleaks rule file.
///
/// Holds: no panic; each rule of it can be masked by, or is said to be none.
pub fn gitleaks(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(file) = hoop_mask::gitleaks::read(text) else {
        return;
    };
    let said = file.refused.iter().map(ToString::to_string);
    assert!(
        said.chain(file.notes.iter().map(ToString::to_string))
            .all(|it| !it.is_empty())
    );
    let config = hoop_mask::Config {
        rules: file.rules,
        ..hoop_mask::Config::default()
    };
    match Masker::new(&config, hoop_mask::Key::new("fuzz", &[0; 32])) {
        Ok(masker) => drop(masker.mask(data)),
        // What is too large is told from what is not.
        Err(error) => assert!(matches!(error, hoop_mask::Error::BadRule { .. }), "{error}"),
    }
}

/// A field of a policy file or an argument of the command line, in each of its languages.
///
/// Holds: no panic; what is read and written again is the same.
pub fn field(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(net) = fields::cidr(text) {
        assert_eq!(fields::cidr(&net.to_string()), Ok(net));
    }
    if let Ok(range) = fields::ports(text) {
        assert!(0 < range.first && range.first <= range.last);
    }
    if let Ok(range) = fields::uids(text) {
        assert_eq!(fields::uids(&range.to_string()), Ok(range));
    }
    if let Ok(destination) = text.parse::<Destination>() {
        assert_eq!(destination.to_string().parse(), Ok(destination));
    }
    let _ = fields::protocol(text);
    let _ = (
        fields::name(text),
        fields::line(text),
        fields::spiffe_id(text),
    );
    if let Ok(glob) = fields::cgroup_glob(text) {
        let _ = glob.is_match("/hoop/copilot-1");
    }
}

/// Tables of an epoch, entries that point into them, and a text: none of them as it should be.
///
/// Holds: no panic, no read outside of the tables, which `None` answers; a text in two pieces is
/// the same text; the arguments do not change what was judged without them, where no rule has any.
pub fn tables(data: &[u8]) {
    let Ok((head, rest)) = Head::read_from_prefix(data) else {
        return;
    };
    let (text, table) = rest.split_at(usize::from(head.text).min(rest.len()));
    let words: Vec<u32> = table
        .chunks_exact(4)
        .map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))
        .collect();
    let cells: Vec<Cell> = table
        .chunks_exact(size_of::<Cell>())
        .filter_map(|cell| Cell::read_from_bytes(cell).ok())
        .collect();
    let word = |index: u32| words.get(index as usize).copied();
    let cell = |index: u32| cells.get(index as usize);

    let found = matcher::find(&head.dfa, text, word);
    let cut = text.len() / 2;
    let in_two = || {
        let mut walk = Walk::new(&head.dfa);
        for piece in [&text[..cut], &text[cut..]] {
            for &byte in piece {
                walk.step(&head.dfa, byte, word)?;
            }
        }
        walk.finish(&head.dfa, word)
    };
    if !head.dfa.is_empty() {
        assert_eq!(found, in_two());
    }
    let segment = Segment {
        start: head.segment[0],
        len: head.segment[1],
    };
    let port = Key::from_port(head.bytes[0], head.port);
    let _ = hoop_common::policy::judge(segment, head.key, port, cell);

    let known = |rules: u64, complete: u8| Found {
        rules,
        complete: complete & 1 == 0,
        trusted: complete & 2 == 0,
    };
    let facts = Facts {
        path: known(head.found[0], head.bytes[1]),
        parent: known(head.found[1], head.bytes[2]),
        uid: head.segment[0],
    };
    let args = known(head.found[2], head.bytes[3]);
    // Of other entries, only the compiler's order of rules makes the two judgements one.
    let plain = ExecEntry {
        needs_args: 0,
        ..head.entry
    };
    for entry in [&head.entry, &plain] {
        let Some(met) = Met::of(entry, &facts, cell) else {
            continue;
        };
        let ruling = met.judge(entry, args, word);
        if entry.needs_args == 0 {
            assert!(!met.needs_args(entry));
            assert_eq!(met.judge(entry, Found::UNREADABLE, word), ruling);
        }
    }
}

/// What [`tables`] reads first.
#[repr(C)]
#[derive(Clone, Copy, FromBytes)]
struct Head {
    entry: ExecEntry,
    dfa: Dfa,
    key: Key,
    found: [u64; 3],
    segment: [u32; 2],
    port: u16,
    text: u16,
    bytes: [u8; 4],
}

const PLAIN: &str = "apiVersion: hoop.dev/v1alpha1\nkind: WorkloadPolicy\n\
    metadata: { name: plain }\nspec: { identity: spiffe://example.org/a, mode: enforce }\n";

/// Asks the tables and the rules about the same things.
fn agree(policies: &[Policy], seed: u64, commands: &[Command]) {
    let mut book = RuleBook::default();
    let Ok(compiled) = compile(policies, &mut book) else {
        return;
    };
    let allows = |verdict| matches!(verdict, Verdict::Allow | Verdict::Observe);
    for (index, policy) in policies.iter().enumerate() {
        for destination in testing::random_destinations(seed, 16, policy) {
            let said = explain_destination(policy, &destination);
            let Destination {
                address,
                protocol,
                port,
            } = destination;
            let ruling = compiled.judge(index, address, protocol, port);
            let ruling = ruling.expect("the tables are whole");
            let rule = book.get(ruling.rule).expect("the rule has a number");
            assert_eq!(rule.rule, said.rule, "{said}");
            assert_eq!(ruling.allow, allows(said.verdict), "{said}");
        }
        for command in commands {
            let said = explain_exec(policy, command);
            let ruling = compiled.judge_exec(index, command);
            let ruling = ruling.expect("the tables are whole");
            let rule = book.get(ruling.rule).expect("the rule has a number");
            assert_eq!(rule.rule, said.rule, "{said}");
            assert_eq!(ruling.allow, allows(said.verdict), "{said}");
        }
    }
}
