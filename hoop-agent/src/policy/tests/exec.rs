//! Exec rules of policy files: what they mean, what is wrong with them, what they need.

use std::fmt::Write;

use hoop_common::limits::MAX_MATCHER_CELLS;

use super::{parse, policy_with_egress, problems};
use crate::policy::book::RuleBook;
use crate::policy::compile::{CompileError, compile};
use crate::policy::exec::{Command, explain_exec};
use crate::policy::explain::Verdict;
use crate::policy::model::Policy;

/// A policy file around the lines of `exec`, which begin at line 10.
fn policy_with_exec(exec: &str) -> String {
    policy_with_egress(&format!("    default: deny\n  exec:\n{exec}"))
}

/// Asserts the one problem of an exec rule on line 11: `      - { name: r, ... }`.
#[track_caller]
fn assert_rule_problem(list: &str, rule: &str, expected: &str) {
    let text = policy_with_exec(&format!("    {list}:\n      - {rule}\n"));
    assert_eq!(
        problems(&text),
        format!("policy.yaml:{expected}"),
        "\nin\n{text}"
    );
}

/// The verdict and rule for `PATH [ARGUMENT...]` run by uid 1000 from `/usr/bin/bash`, the same
/// from `explain_exec` and from the compiled tables.
#[track_caller]
fn judge(policy: &Policy, line: &str) -> (Verdict, String) {
    let path = line.split(' ').next().unwrap();
    let name = path.rsplit('/').next().unwrap();
    let args = line.replacen(path, name, 1).replace(' ', "\0");
    let command = Command {
        path: Some(path.into()),
        args: Some(args.into()),
        parent: Some("/usr/bin/bash".into()),
        uid: 1000,
    };
    let explanation = explain_exec(policy, &command);
    let mut book = RuleBook::default();
    let compiled = compile(std::slice::from_ref(policy), &mut book).unwrap();
    let ruling = compiled.judge_exec(0, &command).unwrap();
    assert_eq!(
        book.get(ruling.rule).unwrap().rule,
        explanation.rule,
        "{explanation}"
    );
    let allowed = matches!(explanation.verdict, Verdict::Allow | Verdict::Observe);
    assert_eq!(ruling.allow, allowed, "{explanation}");
    (explanation.verdict, explanation.rule)
}

#[track_caller]
fn assert_judged(policy: &Policy, verdict: Verdict, rule: &str, lines: &[&str]) {
    for line in lines {
        assert_eq!(judge(policy, line), (verdict, rule.to_owned()), "{line}");
    }
}

/// Rules as security teams write them, with a command that each denies and one that it does not.
const REAL: [(&str, &str, &str, &str); 20] = [
    (
        "**/kubectl",
        r"\bdelete\b",
        "/usr/bin/kubectl -n prod delete ns x",
        "/usr/bin/kubectl get undeleted",
    ),
    (
        "**/rm",
        r"\s-\w*r\w*f\w*\s(.*\s)?/\*?(\s|$)",
        "/bin/rm -rf --no-preserve-root /",
        "/bin/rm -rf /tmp/x",
    ),
    (
        "**/{sh,bash,dash,zsh,busybox}",
        r"\b(curl|wget)\b.*\|\s*(sudo\s+)?(ba|da|z)?sh\b",
        "/bin/bash -c curl -s x|sh",
        "/bin/bash -c curl x",
    ),
    (
        "**/{terraform,tofu}",
        r"\bdestroy\b",
        "/opt/tf/terraform destroy -auto-approve",
        "/opt/tf/terraform plan",
    ),
    (
        "**/{psql,mysql,sqlite3}",
        r"(?i)\b(drop|truncate)\s+(table|database|schema)\b",
        "/usr/bin/psql -c DROP  Table t",
        "/usr/bin/psql -c select 1",
    ),
    (
        "**/git",
        r"\bpush\b.*(\s-f\b|\s--force\b)",
        "/usr/bin/git push origin main --force",
        "/usr/bin/git push origin",
    ),
    (
        "**/git",
        r"\breset\b.*--hard\b",
        "/usr/bin/git reset HEAD~1 --hard",
        "/usr/bin/git reset --soft",
    ),
    (
        "**/aws",
        r"\bs3\b.*\brb\b.*--force\b",
        "/usr/bin/aws s3 rb s3://b --force",
        "/usr/bin/aws s3 ls",
    ),
    (
        "**/aws",
        r"\b(terminate-instances|delete-\w+)",
        "/usr/bin/aws ec2 terminate-instances x",
        "/usr/bin/aws ec2 describe-instances",
    ),
    (
        "**/gcloud",
        r"\bprojects\s+delete\b",
        "/usr/bin/gcloud projects delete p",
        "/usr/bin/gcloud projects list",
    ),
    (
        "**/docker",
        r"\brun\b.*--privileged\b",
        "/usr/bin/docker run -it --privileged a",
        "/usr/bin/docker run a",
    ),
    (
        "**/docker",
        r"\s-v\s+/:|--volume[= ]/:",
        "/usr/bin/docker run -v /:/host a",
        "/usr/bin/docker run -v /x:/y a",
    ),
    (
        "**/helm",
        r"\b(uninstall|delete)\b",
        "/usr/bin/helm uninstall r",
        "/usr/bin/helm list",
    ),
    (
        "**/chmod",
        r"\b0?777\b",
        "/bin/chmod -R 777 .",
        "/bin/chmod 755 .",
    ),
    (
        "**/dd",
        r"\bof=/dev/(sd|nvme|vd)",
        "/bin/dd if=x of=/dev/sda",
        "/bin/dd if=x of=y",
    ),
    (
        "**/{nc,ncat,netcat,socat}",
        r"\s(-e|-c|exec:)",
        "/bin/nc x 1 -e /bin/sh",
        "/bin/nc -z x 1",
    ),
    (
        "**/python3*",
        r"\b(pty|socket)\b.*\bsubprocess\b",
        "/usr/bin/python3.11 -c import socket,subprocess",
        "/usr/bin/python3 x.py",
    ),
    (
        "**/npm",
        r"\bpublish\b",
        "/usr/bin/npm publish",
        "/usr/bin/npm ci",
    ),
    (
        "**/crontab",
        r"\s-(e|r)\b",
        "/usr/bin/crontab -r",
        "/usr/bin/crontab -l",
    ),
    (
        "**/systemctl",
        r"\b(stop|disable|mask)\b.*\b(auditd|falco|hoop)",
        "/bin/systemctl stop hoop-agent",
        "/bin/systemctl status hoop-agent",
    ),
];

fn real_rules() -> String {
    let mut exec = "    deny:\n".to_owned();
    for (number, (path, args, ..)) in REAL.iter().enumerate() {
        let _ = writeln!(
            exec,
            "      - {{ name: r{number}, path: '{path}', args: '{args}', because: no }}"
        );
    }
    exec
}

#[test]
fn real_rules_fit_and_mean_what_they_say() {
    let policy = parse(&policy_with_exec(&real_rules()));
    for (number, (_, _, denied, allowed)) in REAL.iter().enumerate() {
        assert_judged(&policy, Verdict::Deny, &format!("r{number}"), &[denied]);
        assert_judged(&policy, Verdict::Allow, "default", &[allowed]);
    }
    let compiled = compile(&[policy], &mut RuleBook::default()).unwrap();
    assert!(
        compiled.matcher.len() < MAX_MATCHER_CELLS as usize / 8,
        "{}",
        compiled.matcher.len()
    );
}

#[test]
fn policies_with_the_same_rules_share_their_automata() {
    let policy = parse(&policy_with_exec(&real_rules()));
    let one = compile(std::slice::from_ref(&policy), &mut RuleBook::default()).unwrap();
    let many = compile(&vec![policy; 100], &mut RuleBook::default()).unwrap();
    assert_eq!(many.matcher.len(), one.matcher.len() + 99 * many_numbers());
}

/// Cells of rule numbers: one for each rule, and for each `.*` that splits a pattern.
fn many_numbers() -> usize {
    let policy = parse(&policy_with_exec(&real_rules()));
    policy.exec.rules_with_bits().last().unwrap().1 as usize + 1
}

#[test]
fn conditions_and_precedence() {
    let policy = parse(&policy_with_exec(
        "    default: deny\n    \
         allow:\n      \
         - { name: tools, path: '/usr/bin/*' }\n      \
         - { name: root-only, path: /sbin/reboot, uid: [0] }\n      \
         - { name: build, path: '/build/**', uid: [0, 500-1000], parent: '**/bash' }\n    \
         deny:\n      \
         - { name: args, args: '^git push', because: no }\n      \
         - { name: shells, path: '**/sh', because: no }\n",
    ));
    assert_judged(
        &policy,
        Verdict::Allow,
        "tools",
        &["/usr/bin/git pull", "/usr/bin/x"],
    );
    assert_judged(
        &policy,
        Verdict::Deny,
        "args",
        &["/usr/bin/git push", "/x/git push"],
    );
    // Both deny; the one that needs no arguments is named.
    assert_judged(&policy, Verdict::Deny, "shells", &["/usr/bin/sh", "/sh"]);
    assert_judged(
        &policy,
        Verdict::Deny,
        "default",
        &["/usr/bin/a/b", "/sbin/reboot", "/bin/ls"],
    );
    assert_judged(
        &policy,
        Verdict::Allow,
        "build",
        &["/build/x", "/build/a/b c"],
    );

    // Left out, the default is allow; without `exec`, everything is.
    let policy = parse(&policy_with_exec(
        "    deny:\n      - { name: a, args: x, because: no }\n",
    ));
    assert_judged(&policy, Verdict::Allow, "default", &["/bin/ls"]);
    let policy = parse(&policy_with_egress("    default: deny\n"));
    assert_judged(&policy, Verdict::Allow, "default", &["/bin/ls"]);
    let text = policy_with_exec("    default: deny\n");
    assert_judged(
        &parse(&text.replace("enforce", "shadow")),
        Verdict::Shadow,
        "default",
        &["/a"],
    );
    assert_judged(
        &parse(&text.replace("enforce", "observe")),
        Verdict::Observe,
        "observe",
        &["/a"],
    );
}

#[test]
fn what_cannot_be_read_is_denied_where_a_deny_rule_may_match() {
    let policy = parse(&policy_with_exec(
        "    deny:\n      - { name: d, path: /a, args: x, because: no }\n",
    ));
    let command = Command {
        path: Some("/a".into()),
        args: None,
        parent: None,
        uid: 0,
    };
    let explanation = explain_exec(&policy, &command);
    assert_eq!(
        explanation.to_string(),
        "deny /a `(unreadable)` from (unreadable) as 0 by rule `builtin/unreadable` of policy \
         `copilot` (enforce): cannot be read in full, and a deny rule may match"
    );
    let other = Command {
        path: Some("/b".into()),
        ..command
    };
    assert_eq!(explain_exec(&policy, &other).verdict, Verdict::Allow);
}

#[test]
fn wrong_patterns() {
    let syntax = "the syntax is that of https://docs.rs/regex; quote the value with '...'";
    let bytes = "patterns are over bytes: write characters beyond ASCII outside of `[...]`, and \
                 classes like `\\w` without `(?u)`";
    for (args, message, help) in [
        (
            "a(b",
            "`a(b` is not a regular expression: unclosed group, at its character 2",
            syntax,
        ),
        (
            "a(?!b)",
            "`a(?!b)` is not a regular expression: look-around, including look-ahead and \
             look-behind, is not supported, at its character 2",
            "write two rules: deny beats allow, so an allow rule can leave out what a deny rule has",
        ),
        (
            r"(a)\1",
            r"`(a)\\1` is not a regular expression: backreferences are not supported, at its \
             character 4"
                .trim(),
            "write the text out",
        ),
        (
            "[é]",
            "`[é]` is not a regular expression: Unicode not allowed here, at its character 2",
            bytes,
        ),
        (
            r"(?u:\bx)",
            "a Unicode word boundary is not supported",
            "write `\\b` outside of `(?u)`; it then knows ASCII letters, digits and `_`",
        ),
    ] {
        let message = message.replace("\\\n             ", "");
        let rule = format!("{{ name: r, args: '{args}' }}");
        assert_rule_problem(
            "allow",
            &rule,
            &format!("11:26: error: {message}\n  help: {help}"),
        );
    }
    assert_rule_problem(
        "allow",
        "{ name: r, path: '/a[' }",
        "11:26: error: `/a[` is not a glob: unclosed character class; missing ']'\n  help: `*` and \
         `?` match within a component, `**` across, `[a-z]` and `{a,b}` alternatives; escape with \
         `\\`",
    );
    let uid_help = "\n  help: write a number from 0 to 4294967294, or a range like \"1000-1999\"";
    for (uid, message) in [
        ("root", "`root` is not a user id"),
        ("4294967295", "`4294967295` is not a user id"),
        ("+1", "`+1` is not a user id"),
    ] {
        let rule = format!("{{ name: r, uid: [1, {uid}] }}");
        assert_rule_problem(
            "allow",
            &rule,
            &format!("11:29: error: {message}{uid_help}"),
        );
    }
    assert_rule_problem(
        "allow",
        "{ name: r, uid: [9-1] }",
        "11:26: error: the range of user ids `9-1` is reversed\n  help: write \"1-9\"",
    );
}

#[test]
fn wrong_rules() {
    assert_rule_problem(
        "deny",
        "{ name: r, path: /a }",
        "11:17: error: a deny rule has no `because`\n  \
         help: add `because: REASON`; whoever is denied is told it",
    );
    assert_rule_problem(
        "allow",
        "{ name: r }",
        "11:17: error: the rule names no command\n  \
         help: add `path`, `args`, `parent` or `uid`; for everything, set `default`",
    );
    assert_rule_problem(
        "allow",
        "{ name: r, cwd: /a, path: /a }",
        "11:20: error: unknown key `cwd` in an exec rule\n  \
         help: the keys are name, path, args, parent, uid, because",
    );
    assert_rule_problem(
        "allow",
        "{ name: r, path: }",
        "11:24: error: `path` must be text, found nothing\n  \
         help: write it on one line, in quotes if it ends with `:`",
    );
    assert_eq!(
        problems(
            &policy_with_exec("    allow:\n      - { name: web, path: /a }\n").replace(
                "    default: deny\n",
                "    default: deny\n    allow: [{ name: web, ports: [80] }]\n"
            )
        ),
        "policy.yaml:12:17: error: a second rule has the name `web`\n  \
         help: rename one of them; the first is at 9:21"
    );
}

#[test]
fn rules_that_can_never_apply() {
    let absolute = "\n  help: resolved paths begin with `/`: write the whole path, or `**/NAME`";
    for path in ["kubectl", "*kubectl", "./a"] {
        let expected = format!(
            "11:17: error: the rule `r` can never apply: no path matches its `path`{absolute}"
        );
        assert_rule_problem(
            "allow",
            &format!("{{ name: r, path: '{path}' }}"),
            &expected,
        );
        let expected = expected.replace("its `path`", "its `parent`");
        assert_rule_problem(
            "allow",
            &format!("{{ name: r, parent: '{path}' }}"),
            &expected,
        );
    }
    for args in [r"a\x00b", r"a\bb", r"[^\x00-\xff]"] {
        let expected = "11:17: error: the rule `r` can never apply: no command line matches its \
                        `args`\n  help: change the pattern; NUL between arguments is matched as a space";
        assert_rule_problem("allow", &format!("{{ name: r, args: '{args}' }}"), expected);
    }
    let covered = |one: &str, two: &str| {
        let text = policy_with_exec(&format!(
            "    deny:\n      - {{ name: one, {one}, because: no }}\n    \
             allow:\n      - {{ name: two, {two} }}\n"
        ));
        let problems = problems(&text);
        let expected = "policy.yaml:13:17: error: the rule `two` can never apply: `one` (line 11) \
                        decides every command of it\n  help: remove it";
        assert!(
            problems.is_empty() || problems.starts_with(expected),
            "{problems}"
        );
        !problems.is_empty()
    };
    assert!(covered("path: '**/git'", "path: /usr/bin/git"));
    assert!(covered("path: '/usr/**'", "path: '/usr/bin/*', args: x"));
    assert!(covered("args: x", "args: x, uid: [0]"));
    assert!(covered("uid: [0-9]", "uid: [1, 2-9]"));
    assert!(covered(
        "path: /a, parent: '**'",
        "path: '/a', parent: '/b'"
    ));
    assert!(!covered("path: /usr/bin/git", "path: '**/git'"));
    assert!(!covered("path: '**/git', args: x", "path: /usr/bin/git"));
    assert!(!covered("uid: [1-9]", "uid: [0-9]"));
    assert!(!covered("uid: [1-9]", "path: /a"));
}

#[test]
fn rules_over_the_limits() {
    let mut exec = "    allow:\n".to_owned();
    for number in 0..64 {
        let _ = writeln!(exec, "      - {{ name: r{number}, path: /a{number} }}");
    }
    parse(&policy_with_exec(&exec));
    let over = exec.replace("/a40 }", "/a40, args: 'a.*b' }");
    assert_eq!(
        problems(&policy_with_exec(&over)),
        "policy.yaml:51:17: error: the exec rules are 64 and need 65 patterns, the limit is 64; \
         `r40` needs 2\n  help: drop this rule or others, merge rules with `{a,b}` or `(a|b)`, or \
         use `.*` in fewer `args`: each needs one more"
    );

    let wide = |times| {
        policy_with_exec(&format!(
            "    allow:\n      - {{ name: small, args: ab }}\n      \
             - {{ name: large, args: 'a[^x]{{{times}}}b' }}\n"
        ))
    };
    parse(&wide(8));
    let refused = problems(&wide(12));
    let expected = "policy.yaml:12:17: error: `args` of the exec rules needs an automaton of ";
    assert!(refused.starts_with(expected), "{refused}");
    let limit = " states, the limit is 4096; `large` adds the most\n  help: drop this rule";
    assert!(refused.contains(limit), "{refused}");
    let refused = problems(&wide(900));
    assert!(refused.contains("far more than 4096 states"), "{refused}");

    let policies: Vec<_> = (0..200)
        .map(|number| {
            let text = wide(8).replace("args: ab", &format!("args: ab{number}"));
            parse(&text.replace("name: copilot", &format!("name: p{number}")))
        })
        .collect();
    match compile(&policies, &mut RuleBook::default()) {
        Err(error @ CompileError::TooManyMatcherCells { cells, most, .. }) => {
            assert!(0 < cells && cells <= most);
            assert!(
                error
                    .to_string()
                    .contains("the exec rules need more than 1048576"),
                "{error}"
            );
        }
        other => panic!("{:?}", other.map(|compiled| compiled.matcher.len())),
    }
}
