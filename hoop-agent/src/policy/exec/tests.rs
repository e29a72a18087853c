//! The tables against other engines, on random patterns and text.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use hoop_common::exec::{Facts, Found, Met};
use hoop_common::matcher::{self, Dfa, Walk};
use hoop_common::policy::Mode;
use proptest::prelude::*;
use regex_automata::meta::Regex;
use zerocopy::{FromBytes, IntoBytes};

use super::*;
use crate::policy::book::RuleBook;
use crate::policy::compile::compile;
use crate::policy::explain::Verdict;
use crate::policy::model::Policy;

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        max_global_rejects: 100_000,
        ..ProptestConfig::with_cases(cases)
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn command_lines_are_searched_as_by_another_engine(
        patterns in prop::collection::vec(regex(), 1..4),
        lines in prop::collection::vec(line(), 12),
        cuts in prop::collection::vec(0..4usize, 40),
    ) {
        let exec = unchecked(patterns.iter().map(|text| rule(Action::Deny, None, Some(text))));
        let Ok((exec, args)) = exec else { return Ok(()) };
        let automaton = RulePatterns::automaton(&args, Subject::CommandLine).unwrap();
        let mut table = vec![0; 7];
        let (classes, start) = automaton.append(&mut table);
        let dfa = Dfa { classes, start, first: exec.automata.first };
        for line in &lines {
            let found = in_chunks(&dfa, line, &cuts, &table);
            for (rule, bit) in exec.rules_with_bits() {
                let pattern = rule.args.as_ref().unwrap();
                prop_assert_eq!(
                    found >> bit & 1 == 1, is_found(&pattern.text, line),
                    "{:?} in {:?}, parts {:?}", pattern.text, line.escape_ascii().to_string(), args[0].patterns
                );
            }
        }
    }

    #[test]
    fn paths_are_matched_as_by_globset(
        globs in prop::collection::vec(glob(), 1..5),
        paths in prop::collection::vec(path(), 20),
        cuts in prop::collection::vec(0..4usize, 40),
    ) {
        let rules = globs.iter().map(|text| rule(Action::Deny, Some(text), None));
        let Ok((exec, _)) = unchecked(rules) else { return Ok(()) };
        let patterns = exec.automata.patterns(&exec.rules, |rule| rule.path.as_ref());
        let mut table = Vec::new();
        let automaton = RulePatterns::automaton(&patterns, Subject::Path).unwrap();
        let (classes, start) = automaton.append(&mut table);
        let dfa = Dfa { classes, start, first: u64::MAX };
        let glob = |rule: &ExecRule| pattern::glob(&rule.path.as_ref().unwrap().text).unwrap();
        let matchers: Vec<_> = exec.rules.iter().map(|rule| glob(rule).compile_matcher()).collect();
        for path in &paths {
            let found = in_chunks(&dfa, path, &cuts, &table);
            for ((rule, bit), matcher) in exec.rules_with_bits().zip(&matchers) {
                let text = &rule.path.as_ref().unwrap().text;
                let path = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(path);
                prop_assert_eq!(found >> bit & 1 == 1, matcher.is_match(path), "{:?} {:?}", text, path);
            }
        }
    }

    #[test]
    fn tables_and_rules_agree(
        default in action(),
        rules in prop::collection::vec(exec_rule(), 0..6),
        commands in prop::collection::vec(command(), 10),
    ) {
        let rules = named(rules);
        let exec = match Exec::new(default, rules.clone()) {
            Ok(exec) => exec,
            Err(unfit) => {
                for unfit in unfit {
                    prop_assert!(unfit.message.contains("can never apply"), "{}", unfit);
                    let rule = &rules[unfit.position.line as usize].name;
                    let (exec, _) = unchecked(rules.iter().cloned()).unwrap();
                    let policy = Policy { exec, ..policy() };
                    for command in &commands {
                        let explanation = explain_exec(&policy, command);
                        prop_assert_ne!(&explanation.rule, rule, "{}, but {}", unfit, explanation);
                    }
                }
                return Ok(());
            }
        };
        let policies = [policy(), Policy { exec, ..policy() }];
        let mut book = RuleBook::default();
        let compiled = compile(&policies, &mut book).unwrap();
        for command in &commands {
            let explanation = explain_exec(&policies[1], command);
            let ruling = compiled.judge_exec(1, command).unwrap();
            let rule = book.get(ruling.rule).unwrap();
            prop_assert_eq!(&rule.rule, &explanation.rule, "{}", explanation);
            prop_assert_eq!(&rule.because, &explanation.because);
            prop_assert_eq!(ruling.allow, explanation.verdict == Verdict::Allow);

            let cell = |index: u32| compiled.matcher.get(index as usize).copied();
            let entry = &compiled.exec[1];
            let found = |dfa, text: &Option<Vec<u8>>| match text {
                Some(text) => Found::complete(matcher::find(dfa, text, cell).unwrap()),
                None => Found::UNREADABLE,
            };
            let facts = Facts {
                path: found(&entry.paths, &command.path),
                parent: found(&entry.parents, &command.parent),
                uid: command.uid,
            };
            let met = Met::of(entry, &facts, |index| compiled.cells.get(index as usize)).unwrap();
            if met.needs_args(entry) {
                prop_assert!(rules.iter().any(|rule| rule.args.is_some()));
            } else {
                // Whatever the arguments: they need not even be read.
                for args in [Found::complete(0), Found::complete(u64::MAX), Found::UNREADABLE] {
                    let early = met.judge(entry, args, cell);
                    prop_assert_eq!(early, Some(ruling), "{}", explanation);
                }
            }
        }
    }

    #[test]
    fn no_pattern_makes_the_reader_panic(text in "\\PC*|[-\\\\(){}\\[\\]*?+|^$.,!/abuix0-9 ]{0,30}") {
        if let Ok(pattern) = Pattern::glob(&text) {
            let rule = ExecRule { path: Some(pattern), ..rule(Action::Allow, None, None) };
            let _ = Exec::new(Action::Deny, vec![rule]);
        }
        if let Ok(pattern) = Pattern::regex(&text) {
            let rule = ExecRule { args: Some(pattern), ..rule(Action::Allow, None, None) };
            let _ = Exec::new(Action::Deny, vec![rule]);
        }
    }
}

#[test]
fn parts_that_can_end_inside_the_next_stay_together() {
    for (pattern, parts) in [
        (r"\bcurl\b.*\|\s*(ba)?sh\b", 2),
        (r"(push.*--force)", 2),
        ("a.*b.*?c", 3),
        (".*a.*.*b.*", 2),
        ("ab.*bc", 1),
        ("abc.*b", 2),
        ("b.*abc", 1),
        ("ab.*bc.*d", 2),
        ("a.*b.*(?m:^)", 1),
        ("a.*(?i)AB", 1),
        ("a.+b", 1),
        ("a[^|]*b", 1),
        ("a*.*b", 1),
        (".*", 1),
        ("(?-s)a.*b", 1),
        ("^.*a", 1),
    ] {
        let found = Pattern::regex(pattern).unwrap().parts();
        assert_eq!(found.len(), parts, "{pattern}: {found:?}");
    }
}

/// A walk that is put away as bytes after every few bytes, as the kernel side does.
fn in_chunks(dfa: &Dfa, text: &[u8], cuts: &[usize], table: &[u32]) -> u64 {
    let cell = |index: u32| table.get(index as usize).copied();
    let whole = matcher::find(dfa, text, cell).unwrap();
    let mut stored = Walk::new(dfa).as_bytes().to_vec();
    let mut rest = text;
    for &len in cuts.iter().chain([&text.len()]) {
        let (chunk, after) = rest.split_at(len.min(rest.len()));
        let mut walk = Walk::read_from_bytes(&stored).unwrap();
        for &byte in chunk {
            walk.step(dfa, byte, cell).unwrap();
        }
        stored = walk.as_bytes().to_vec();
        rest = after;
    }
    let walk = Walk::read_from_bytes(&stored).unwrap();
    assert_eq!(walk.finish(dfa, cell).unwrap(), whole);
    whole
}

fn is_found(pattern: &str, line: &[u8]) -> bool {
    let syntax = regex_automata::util::syntax::Config::new()
        .unicode(false)
        .utf8(false)
        .dot_matches_new_line(true);
    let regex = Regex::builder()
        .syntax(syntax)
        .configure(Regex::config().utf8_empty(false))
        .build(pattern)
        .unwrap();
    let line: Vec<u8> = line
        .iter()
        .map(|&byte| if byte == 0 { b' ' } else { byte })
        .collect();
    regex.is_match(&line)
}

#[test]
fn equal_rules_share_automata_and_others_do_not() {
    let rules = |path| vec![rule(Action::Deny, Some(path), Some("x.*y"))];
    let make = |path| Exec::new(Action::Allow, rules(path)).unwrap();
    let (one, two, other) = (make("/shared/*"), make("/shared/*"), make("/other/*"));
    assert!(Arc::ptr_eq(&one.automata, &two.automata));
    assert_ne!(one.automata, other.automata);
    let left = Arc::downgrade(&one.automata);
    drop((one, two));
    assert!(left.upgrade().is_none(), "unused automata are kept");
}

/// Rules numbered as [`Exec::new`] does, without automata and without looking for dead ones.
fn unchecked(
    rules: impl IntoIterator<Item = ExecRule>,
) -> Result<(Exec, Vec<RulePatterns>), Vec<UnfitRule>> {
    let mut rules: Vec<_> = rules.into_iter().collect();
    rules.sort_by_key(|rule| (rule.action == Action::Allow, rule.args.is_some()));
    let mut automata = Automata::default();
    let args = automata.number(&rules)?;
    let exec = Exec {
        rules,
        automata: Arc::new(automata),
        ..Exec::unrestricted()
    };
    Ok((exec, args))
}

fn rule(action: Action, path: Option<&str>, args: Option<&str>) -> ExecRule {
    ExecRule {
        name: "r".to_owned(),
        action,
        because: "no".to_owned(),
        path: path.map(|text| Pattern::glob(text).unwrap()),
        args: args.map(|text| Pattern::regex(text).unwrap()),
        parent: None,
        uids: Vec::new(),
        position: Position::default(),
    }
}

/// Names the rules and gives each its index as a line.
fn named(rules: Vec<ExecRule>) -> Vec<ExecRule> {
    let rules = rules.into_iter().enumerate().map(|(index, rule)| ExecRule {
        name: format!("rule-{index}"),
        because: format!("reason {index}"),
        position: Position {
            line: index as u32,
            column: 1,
        },
        ..rule
    });
    rules.collect()
}

fn policy() -> Policy {
    Policy {
        name: "random".to_owned(),
        identity: String::new(),
        on_behalf_of: None,
        cgroups: Vec::new(),
        mode: Mode::Enforce,
        egress: crate::policy::model::Egress {
            default: Action::Deny,
            rules: Vec::new(),
        },
        exec: Exec::new(
            Action::Deny,
            vec![rule(Action::Deny, Some("/a/*"), Some("b"))],
        )
        .unwrap(),
        sockets: 0,
        sockets_stated: None,
        unix_deny: Vec::new(),
        capture: None,
        masking: hoop_mask::Config::default(),
        notes: Vec::new(),
        allow_degraded: false,
        file: "policy.yaml".into(),
        position: Position::default(),
    }
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![Just(Action::Allow), Just(Action::Deny)]
}

fn regex() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "a",
        "b",
        "c",
        "ab",
        "ba",
        "bc",
        "abc",
        " ",
        "-",
        r"\b",
        r"\B",
        "^",
        "$",
        ".",
        ".*",
        ".*",
        ".*?",
        "[^a]",
        "[ab]",
        r"\s",
        r"\w",
        "(?i:a)",
        "(?m:^)",
        "(?m:$)",
        r"\xff",
        r"\b{start}",
        "",
        "é",
    ]);
    let part = leaf
        .prop_map(str::to_owned)
        .prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                4 => prop::collection::vec(inner.clone(), 1..5).prop_map(|parts| parts.concat()),
                1 => (inner.clone(), inner.clone()).prop_map(|(one, two)| format!("({one}|{two})")),
                1 => (inner, prop::sample::select(vec!["*", "?", "+", "{2}", "{0,2}", "*?"]))
                    .prop_map(|(inner, times)| format!("(?:{inner}){times}")),
            ]
        });
    prop::collection::vec(part, 1..4).prop_map(|parts| parts.join(".*"))
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop::sample::select(b"aaabbbcA- \0\n\xff\xc3\xa9".to_vec());
    prop::collection::vec(byte, 0..24)
}

fn glob() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "/", "/", "/a", "/b", "a", "b", "*", "?", "/**/", "**/", "/**", "[ab]", "[!a]", "{a,b/c}",
        "{,a}", r"\*", "é",
    ]);
    let globs = prop::collection::vec(part, 1..6).prop_map(|parts| parts.concat());
    globs.prop_filter("not a glob", |text| Pattern::glob(text).is_ok())
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop::sample::select(b"//aabbc*\n\0\xff\xc3\xa9".to_vec());
    prop::collection::vec(byte, 0..12).prop_map(|rest| [b"/", &*rest].concat())
}

fn exec_rule() -> impl Strategy<Value = ExecRule> {
    let globs = || prop::sample::select(vec!["/a", "/a/*", "/**", "**/a", "/b", "/{a,b}", "/?/b"]);
    let args = prop_oneof![
        prop::sample::select(vec!["a", "a.*b", "b.*a", r"\bab\b", "^a", "b$", "a b"])
            .prop_map(str::to_owned),
        regex().prop_filter("no regex", |text| Pattern::regex(text).is_ok()),
    ];
    let uid = (0..4_u32, 0..3_u32).prop_map(|(first, more)| UidRange {
        first: [0, 1, 1000, u32::MAX - 3][first as usize],
        last: [0, 1, 1000, u32::MAX - 3][first as usize] + more,
    });
    let uids = prop_oneof![
        Just(Vec::new()),
        Just(Vec::new()),
        prop::collection::vec(uid, 1..3)
    ];
    (
        action(),
        prop::option::of(globs()),
        prop::option::of(args),
        prop::option::weighted(0.3, globs()),
        uids,
    )
        .prop_map(|(action, path, args, parent, uids)| ExecRule {
            parent: parent.map(|text| Pattern::glob(text).unwrap()),
            uids,
            ..rule(action, path, args.as_deref())
        })
        .prop_filter("no condition", |rule| {
            rule.path.is_some()
                || rule.args.is_some()
                || rule.parent.is_some()
                || !rule.uids.is_empty()
        })
}

fn command() -> impl Strategy<Value = Command> {
    let path = || {
        let paths = ["/a", "/b", "/a/a", "/a/b", "/b/a", "/", "/c"];
        let path = prop::sample::select(paths.to_vec());
        prop::option::weighted(0.9, path.prop_map(|path| path.as_bytes().to_vec()))
    };
    let uid = prop::sample::select(vec![
        0,
        1,
        2,
        3,
        999,
        1000,
        1002,
        1003,
        u32::MAX - 3,
        u32::MAX - 1,
        u32::MAX,
    ]);
    (path(), prop::option::weighted(0.9, line()), path(), uid).prop_map(
        |(path, args, parent, uid)| Command {
            path,
            args,
            parent,
            uid,
        },
    )
}
