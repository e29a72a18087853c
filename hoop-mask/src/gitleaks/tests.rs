#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::*;

/// Every key of the format, as in the files of the wild.
const FILE: &str = r#####"
title = "our rules"
minVersion = "v8.25.0"

[extend]
useDefault = true
disabledRules = ["sourcegraph-access-token"]

[allowlist]
description = "everywhere"
paths = ['''gitleaks\.toml''']
regexes = ['''^\$(?:[A-Z_]+|[a-z_]+)$''', '''(?=never)''']
stopwords = ["014df517-39d1-4453-b7b3-9930c563627c"]

[[allowlists]]
targetRules = ["acme-token", "gone"]
regexes = ['''^acme_dev_''']

[[rules]]
id = "acme-token"
description = "A token of Acme"
regex = '''(?i)\b(acme_(?:dev|live)_[a-z0-9]{16})(?:[\x60'"\s;]|\\[nr]|$)'''
entropy = 3.5
keywords = ["acme_"]
tags = ["token"]

    [[rules.allowlists]]
    description = "examples"
    condition = "AND"
    regexes = ['''example''', '''EXAMPLE''']

    [[rules.allowlists]]
    condition = "AND"
    regexes = ['''test''']
    paths = ['''_test\.go$''']

    [[rules.allowlists]]
    condition = "AND"
    regexes = ['''test''']
    stopwords = ["foo"]

    [[rules.allowlists]]
    regexTarget = "line"
    regexes = ['''acme help''']

[[rules]]
id = "generic-api-key"
regex = '''(?:key|api)(?:[ \t\w.-]{0,20})[=:]\s?([\w.=-]{10,150})'''
secretGroup = 1
entropy = 3
keywords = ["key", "api"]
[rules.allowlist]
stopwords = ["client", "a.b", ""]

[[rules]]
id = "pkcs12-file"
path = '''(?i)\.p12$'''

[[rules]]
id = "nuget"
regex = '''value="(.{8,})"'''
path = '''nuget\.config$'''

[[rules]]
id = "lookahead"
regex = '''(?!a)secret'''

[[rules]]
id = "group"
regex = '''a(b)c'''
secretGroup = 2

[[rules]]
id = "empty"

[[rules]]
regex = '''nameless'''

[[rules]]
id = "either"
regex = '''a(b+)|c(d+)'''
[[rules.allowlists]]
regexTarget = "match"
regexes = ['''abb''']
[[rules.required]]
id = "acme-token"
"#####;

fn rule<'file>(file: &'file RuleFile, name: &str) -> &'file Rule {
    file.rules.iter().find(|rule| rule.name == name).unwrap()
}

fn notes(file: &RuleFile, rule: Option<&str>) -> Vec<String> {
    let of_rule = file
        .notes
        .iter()
        .filter(|note| note.rule.as_deref() == rule);
    of_rule.map(|note| note.text.clone()).collect()
}

#[test]
fn rules_are_read_as_they_are() {
    let file = read(FILE).unwrap();
    let names: Vec<&str> = file.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["acme-token", "generic-api-key", "nuget", "either"]);
    let acme = rule(&file, "acme-token");
    assert_eq!(
        (
            acme.class.as_str(),
            acme.group,
            acme.entropy,
            acme.keywords.as_slice()
        ),
        ("ACME_TOKEN", 1, Some(3.5), ["acme_".to_owned()].as_slice())
    );
    let generic = rule(&file, "generic-api-key");
    assert_eq!((generic.group, generic.entropy), (1, Some(3.0)));
    assert_eq!(rule(&file, "nuget").group, 1);
    assert_eq!(
        rule(&file, "either").group,
        0,
        "no one group is in each match"
    );
}

#[test]
fn allow_lists_reach_their_rules() {
    let file = read(FILE).unwrap();
    let everywhere = [
        r"^\$(?:[A-Z_]+|[a-z_]+)$",
        r"(?i-u:014df517\-39d1\-4453\-b7b3\-9930c563627c)",
    ];
    let mut expected = vec![r"example", r"EXAMPLE"];
    expected.extend(everywhere);
    expected.push("^acme_dev_");
    assert_eq!(rule(&file, "acme-token").allow, expected);
    let mut expected = vec![r"\A[^0-9]*\z", r"(?i-u:client|a\.b)"];
    expected.extend(everywhere);
    assert_eq!(rule(&file, "generic-api-key").allow, expected);
    let mut expected = vec!["abb"];
    expected.extend(everywhere);
    assert_eq!(rule(&file, "either").allow, expected);
}

#[test]
fn what_is_refused_is_told() {
    let refused: Vec<String> = read(FILE)
        .unwrap()
        .refused
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        refused,
        [
            r#"rule "pkcs12-file" is not applied: it looks at paths only, and a stream has none"#,
            r#"rule "lookahead" is not applied: (?!a)secre opens no group of RE2"#,
            r#"rule "group" is not applied: secretGroup is 2, and the regex has 1 groups"#,
            r#"rule "empty" is not applied: it has no regex"#,
            r#"rule "number 8" is not applied: it has no id"#,
        ]
    );
}

#[test]
fn what_differs_is_told() {
    let file = read(FILE).unwrap();
    assert_eq!(
        notes(&file, None),
        [
            "[extend] is not followed (disabledrules, usedefault): pass that file too",
            "an allow list of paths or commits is not applied",
            r#""(?=never)" of an allow list is not applied: (?=never) opens no group of RE2"#,
            r#"an allow list is for rule "gone", which is not applied"#,
        ]
    );
    assert_eq!(
        notes(&file, Some("acme-token")),
        [
            "an allow list asks for a path or a commit too: not applied",
            "an allow list asks for a regex and a stop word: not applied",
            "an allow list looks at the line: not applied",
        ]
    );
    assert_eq!(
        notes(&file, Some("nuget")),
        ["its path is not asked for: it looks at every stream"]
    );
    assert_eq!(
        notes(&file, Some("either")),
        ["the rules that it requires are not asked for"]
    );
    assert_eq!(file.notes[0].to_string(), file.notes[0].text);
    assert!(
        file.notes
            .iter()
            .any(|note| note.to_string().starts_with(r#"rule "nuget": its path"#))
    );
}

#[test]
fn keys_nobody_knows_are_told() {
    let file = read(
        "speed = 9\n[[rules]]\nid = 'a'\nREGEX = 'a'\ncolour = 1\n[[rules.allowlists]]\nfoo = 2\ncondition = 'XOR'",
    )
    .unwrap();
    assert_eq!(file.rules[0].pattern, "a");
    let told: Vec<String> = file.notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "speed is not known, and not applied",
            r#"rule "a": colour is not known, and not applied"#,
            r#"rule "a": an allow list has the condition "XOR": not applied"#,
        ]
    );
}

#[test]
fn no_rule_file() {
    for text in [
        "rules = 1",
        "[[rules]]\nid = 1",
        "[[rules]\n",
        "[[rules]]\nentropy = 'high'",
    ] {
        assert!(read(text).is_err(), "{text}");
    }
    assert!(read("").unwrap().rules.is_empty());
}

/// What the rules of a file are good for: the secret goes, with its class, and what is allowed stays.
#[test]
fn the_engine_applies_them() {
    let rules = read(FILE).unwrap().rules;
    let config = crate::Config {
        detectors: Some(Vec::new()),
        rules,
        ..crate::Config::default()
    };
    let masker = crate::Masker::new(&config, crate::Key::new("test", &[7; 32])).unwrap();
    let token = ["acme_", "live_", "q7r2x9k4m1z8w5t3"].concat();
    let (masked, findings) = masker.mask_str(&format!("use {token} now"));
    assert!(
        masked.starts_with("use [ACME_TOKEN:") && masked.ends_with("] now"),
        "{masked}"
    );
    assert_eq!(findings[0].rule.as_ref(), "acme-token");
    for allowed in [
        // Of the file's list for this rule, of too little entropy, of a list of the rule.
        token.replace("live", "dev"),
        ["acme_", "live_", "aaaaaaaaaaaaaaaa"].concat(),
        ["acme_", "live_", "q7examplek4m1z8w"].concat(),
    ] {
        let text = format!("use {allowed} now");
        assert_eq!(masker.mask_str(&text).0, text);
    }
}
