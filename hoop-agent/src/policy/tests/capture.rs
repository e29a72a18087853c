//! `capture` and `masking`: what they mean, and what is wrong with them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use hoop_mask::{Action, Key, Masker};

use super::{parse, policy_with_egress, problems};
use crate::agent;
use crate::policy::load;
use crate::policy::model::{Capture, Policy};
use crate::policy::show::Show;

/// A policy with these lines in its `spec`, from line 7 on.
fn with(lines: &str) -> String {
    let text = policy_with_egress("    default: deny\n");
    text.replace("  egress:", &format!("{lines}\n  egress:"))
}

#[track_caller]
fn assert_problem(lines: &str, expected: &str) {
    assert_eq!(problems(&with(lines)), format!("policy.yaml:{expected}"));
}

fn masked(policy: &Policy, text: &str) -> String {
    let masker = Masker::new(&policy.masking, Key::new("test", &[7; 32])).unwrap();
    Arc::new(masker).mask_str(text).0
}

#[test]
fn nothing_is_captured_unless_it_is_said() {
    for lines in ["", "  capture: { tls: false }"] {
        assert_eq!(parse(&with(lines)).capture, None);
    }
    let capture = parse(&with("  capture: { tls: true }")).capture.unwrap();
    assert_eq!(capture.max_bytes_per_call, Capture::DEFAULT_BYTES_PER_CALL);
    assert_eq!(capture.max_body_bytes, Capture::DEFAULT_BODY_BYTES);
    assert_eq!((capture.position.line, capture.position.column), (7, 12));
    assert!(!capture.stdio);
    let capture = parse(&with("  capture: { tls: true, stdio: true }")).capture;
    assert!(capture.unwrap().stdio);
    let capture = "  capture: { tls: true, maxBytesPerCall: 4194304, maxBodyBytes: 1 }";
    let capture = parse(&with(capture)).capture.unwrap();
    assert_eq!(
        (capture.max_bytes_per_call, capture.max_body_bytes),
        (4_194_304, 1)
    );
}

#[test]
fn what_is_wrong_with_capture() {
    assert_problem(
        "  capture: { tls: yes }",
        "7:19: error: unknown value `yes`\n  help: write one of true, false",
    );
    for bytes in ["4194305", "0"] {
        assert_problem(
            &format!("  capture: {{ tls: true, maxBytesPerCall: {bytes} }}"),
            &format!(
                "7:42: error: {bytes} bytes cannot be taken\n  help: write a number from 1 to 4194304"
            ),
        );
    }
    assert_problem(
        "  capture: { tls: true, maxBodyBytes: 16777217 }",
        "7:39: error: 16777217 bytes cannot be taken\n  help: write a number from 1 to 16777216",
    );
    assert_problem(
        "  capture: { tls: true, maxBodyBytes: 1MiB }",
        "7:39: error: a number of bytes must be a number, found `1MiB`\n  help: write digits",
    );
    assert!(problems(&with("  capture: { tls: true, pipes: true }")).contains("pipes"));
}

#[test]
fn everything_is_masked_unless_it_is_said() {
    let text = "jane@example.org, 4111 1111 1111 1111";
    let all = masked(&parse(&with("")), text);
    assert!(!all.contains("jane") && !all.contains("4111"), "{all}");
    assert_eq!(
        masked(&parse(&with("  masking: { detectors: [default] }")), text),
        all
    );
    let one = parse(&with(
        "  masking: { detectors: [EMAIL], actions: { EMAIL: full } }",
    ));
    assert_eq!(masked(&one, text), "[EMAIL], 4111 1111 1111 1111");
}

#[test]
fn rules_and_actions_of_a_policy() {
    let policy = parse(&with(
        "  masking:\n    \
           detectors: []\n    \
           rules:\n    \
           - { name: badge, class: EMPLOYEE_ID, pattern: 'EMP-(\\d{5})', group: 1, keywords: [badge], action: drop }\n    \
           - { name: card, class: CARD, pattern: '\\d{16}', validator: luhn, entropy: 0.5, allow: ['^4111'] }\n    \
           actions: { CARD: keep-last-4 }",
    ));
    assert_eq!(masked(&policy, "badge EMP-12345"), "badge EMP-");
    assert_eq!(masked(&policy, "EMP-12345"), "EMP-12345");
    let cards = "5555555555554444 5555555555554445 4111111111111111";
    assert_eq!(
        masked(&policy, cards),
        "****4444 5555555555554445 4111111111111111"
    );
    assert_eq!(
        policy.masking.actions,
        [("CARD".to_owned(), Action::KeepLast4)]
    );
}

#[test]
fn what_is_wrong_with_masking() {
    let rule = |rest: &str| format!("  masking: {{ rules: [{{ name: r, class: C, {rest} }}] }}");
    assert_problem(
        &rule("group: 0"),
        "7:22: error: missing `pattern`\n  help: add `pattern: REGEX`",
    );
    assert_problem(
        &rule("pattern: a, group: x"),
        "7:62: error: `group` must be a number, found `x`\n  help: write digits",
    );
    assert_problem(
        &rule("pattern: a, action: hide"),
        "7:63: error: unknown action `hide`\n  \
         help: write one of placeholder, full, keep-last-4, drop, allow",
    );
    for (bad, says) in [
        (rule("pattern: '('"), "rule \"r\""),
        (rule("pattern: a, allow: ['(']"), "rule \"r\""),
        (
            rule("pattern: a").replace("class: C", "class: c"),
            "upper-case",
        ),
        (
            "  masking: { actions: { NOTHING: full } }".to_owned(),
            "NOTHING",
        ),
        ("  masking: { rules: {} }".to_owned(), "must be a list"),
        ("  masking: [EMAIL]".to_owned(), "`masking`"),
    ] {
        let problems = problems(&with(&bad));
        assert_eq!(problems.matches("error:").count(), 1, "{problems}");
        assert!(problems.contains(says), "{problems}");
    }
}

#[test]
fn rules_of_a_gitleaks_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policy.yaml");
    let masking = "  masking: { gitleaks: rules.toml, actions: { ACME_TOKEN: full } }";
    fs::write(&path, with(masking)).unwrap();
    let rules = "[[rules]]\nid = \"acme-token\"\nregex = '''\\bacme_[a-z]{8}\\b'''\n\
                 [[rules]]\nid = \"key-file\"\npath = '''\\.key$'''\n";
    fs::write(directory.path().join("rules.toml"), rules).unwrap();
    let [policy] = &load(&path).unwrap()[..] else {
        panic!("one policy");
    };
    assert_eq!(masked(policy, "with acme_abcdefgh"), "with [ACME_TOKEN]");
    assert_eq!(
        policy.notes,
        [
            "rules.toml: rule \"key-file\" is not applied: it looks at paths only, and a stream has none"
        ]
    );

    let refused = |name: &str, text: &[u8]| {
        fs::write(directory.path().join("rules.toml"), text).unwrap();
        fs::write(&path, with(&masking.replace("rules.toml", name))).unwrap();
        let problems = load(&path).unwrap_err().to_string();
        let place = format!("{}:7:24: error: `{name}` ", path.display());
        assert!(problems.starts_with(&place), "{problems}");
        problems[place.len()..].to_owned()
    };
    let missing = refused("no.toml", b"");
    assert!(
        missing.contains("a relative path starts where"),
        "{missing}"
    );
    let toml = refused("rules.toml", b"[[rules]]\nid = acme\n");
    assert!(toml.starts_with("is no rule file: 2:6: "), "{toml}");
    let latin = refused("rules.toml", b"title = '\xe9'");
    assert!(latin.contains("it is not UTF-8"), "{latin}");
    assert!(refused(".", b"").contains("cannot be read"));
    let long = refused("rules.toml", &b"#\n".repeat((2 << 20) + 1));
    assert!(long.contains("more than 4 MiB"), "{long}");
    nix::unistd::mkfifo(
        &directory.path().join("pipe"),
        nix::sys::stat::Mode::S_IRUSR,
    )
    .unwrap();
    assert!(refused("pipe", b"").contains("not a regular file"));
}

#[test]
fn notes_are_of_the_policy_that_names_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let rules = "[[rules]]\nid = \"a\"\nregex = 'a{4}'\n[extend]\nuseDefault = true\n";
    fs::write(directory.path().join("rules.toml"), rules).unwrap();
    let named = with("  masking: { gitleaks: rules.toml }");
    let other = with("").replace("copilot }", "other }");
    let path = directory.path().join("policy.yaml");
    fs::write(&path, format!("{named}---\n{other}")).unwrap();
    let notes: Vec<_> = load(Path::new(&path))
        .unwrap()
        .into_iter()
        .map(|policy| policy.notes.len())
        .collect();
    assert_eq!(notes, [1, 0]);
}

#[test]
fn both_are_shown() {
    let policy = parse(&with(
        "  capture: { tls: true, maxBodyBytes: 4096 }\n  \
           masking:\n    \
           detectors: [EMAIL, IBAN]\n    \
           rules: [{ name: badge, class: EMPLOYEE_ID, pattern: 'EMP' }]\n    \
           actions: { EMAIL: full, EMPLOYEE_ID: drop }",
    ));
    let shown = Show(&policy).to_string();
    for line in [
        "  capture   TLS, 1048576 bytes of a call, 4096 of a body\n",
        "  masking   EMAIL, IBAN, and 1 rule\n",
        "            EMAIL: full\n",
        "            EMPLOYEE_ID: drop\n",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
    let json = agent::show(&policy);
    assert_eq!(json["capture"]["max_body_bytes"], 4096);
    assert_eq!(json["masking"]["detectors"][1], "IBAN");
    assert_eq!(json["masking"]["rules"][0]["class"], "EMPLOYEE_ID");
    assert_eq!(json["masking"]["actions"]["EMAIL"], "full");
    let plain = agent::show(&parse(&with("")));
    assert!(plain["capture"].is_null() && plain["masking"]["detectors"].is_null());
}
