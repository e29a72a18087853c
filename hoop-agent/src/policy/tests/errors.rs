//! Every kind of problem, where it is reported, and the next step.

use super::{policy_with_egress, problems};

/// Asserts that the text has these problems and no others.
#[track_caller]
fn assert_problems(text: &str, expected: &[&str]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|line| format!("policy.yaml:{line}"))
        .collect();
    assert_eq!(problems(text), expected.join("\n"), "\nin\n{text}");
}

/// Asserts the one problem of a rule on line 10: `    - { name: r, ... }` in flow style.
#[track_caller]
fn assert_rule_problem(list: &str, rule: &str, expected: &str) {
    let text = policy_with_egress(&format!("    default: deny\n    {list}:\n      - {rule}\n"));
    assert_problems(&text, &[expected]);
}

/// Asserts the one problem of a spec in which `line` comes sixth.
#[track_caller]
fn assert_spec_problem(line: &str, expected: &str) {
    let text = policy_with_egress("    default: deny\n").replace("  mode: enforce\n", "");
    let text = text.replace("  egress:", &format!("{line}\n  egress:"));
    assert_problems(&text, &[expected]);
}

const CIDR_HELP: &str =
    "\n  help: write an address and a prefix length, like 192.0.2.0/24 or 2001:db8::/32";
const PORT_HELP: &str = "\n  help: write a number from 1 to 65535, or a range like \"8000-8999\"";

#[test]
fn cidrs() {
    for (cidr, message) in [
        (
            "10.0.0.0/33",
            "`10.0.0.0/33` is not a CIDR: the prefix length is not 0 to 32",
        ),
        (
            "10.0.0.0/+8",
            "`10.0.0.0/+8` is not a CIDR: the prefix length is not 0 to 32",
        ),
        ("10.0.0/8", "`10.0.0/8` is not a CIDR"),
        ("010.0.0.0/8", "`010.0.0.0/8` is not a CIDR"),
        ("llm.example", "`llm.example` is not a CIDR"),
        (
            "2001:db8::/129",
            "`2001:db8::/129` is not a CIDR: the prefix length is not 0 to 128",
        ),
    ] {
        let rule = format!("{{ name: r, cidrs: [192.0.2.0/24, \"{cidr}\"] }}");
        assert_rule_problem(
            "allow",
            &rule,
            &format!("10:42: error: {message}{CIDR_HELP}"),
        );
    }
    assert_rule_problem(
        "allow",
        "{ name: r, cidrs: [10.0.0.1/8] }",
        "10:28: error: `10.0.0.1/8` is not a network: host bits are set\n  \
         help: did you mean 10.0.0.0/8? For the one address, write 10.0.0.1",
    );
    assert_rule_problem(
        "allow",
        "{ name: r, cidrs: [\"::\"] }",
        "10:28: error: `::` can never be a destination: the kernel takes it for this host\n  \
         help: write ::1, or a whole network",
    );
    assert_rule_problem(
        "allow",
        "{ name: r, cidrs: [] }",
        "10:27: error: `cidrs` is empty, so the rule can never apply\n  \
         help: write it like [192.0.2.0/24], or remove the rule",
    );
    assert_rule_problem(
        "allow",
        "{ name: r, cidrs: 192.0.2.0/24 }",
        "10:27: error: `cidrs` must be a list, found a single value\n  \
         help: write it like [192.0.2.0/24], or remove the key",
    );
}

#[test]
fn ports_and_protocols() {
    for port in ["0", "65536", "http", "-1", "+80"] {
        let shown = port.trim_start_matches('-');
        let shown = if port == "-1" { "" } else { shown };
        let rule = format!("{{ name: r, ports: [443, \"{port}\"] }}");
        let expected = format!("10:33: error: `{shown}` is not a port{PORT_HELP}");
        assert_rule_problem("allow", &rule, &expected);
    }
    assert_rule_problem(
        "allow",
        "{ name: r, ports: [90-80] }",
        "10:28: error: the port range `90-80` is reversed\n  help: write \"80-90\"",
    );
    assert_rule_problem(
        "allow",
        "{ name: r, protocol: sctp, cidrs: [192.0.2.1] }",
        "10:30: error: `sctp` is not a protocol\n  \
         help: write tcp, udp, icmp, icmpv6, any, or an IANA protocol number from 0 to 255",
    );
    for protocol in ["icmp", "47", "132"] {
        let rule = format!("{{ name: r, ports: [80], protocol: {protocol} }}");
        let expected = "10:27: error: the rule has ports, and its protocol has none\n  \
                        help: remove `ports`, or use protocol tcp or udp";
        assert_rule_problem("allow", &rule, expected);
    }
}

#[test]
fn rules() {
    assert_rule_problem(
        "allow",
        "{ name: r, hosts: [llm.example] }",
        "10:27: error: `hosts` is not supported yet\n  help: name the addresses in `cidrs`",
    );
    assert_rule_problem(
        "deny",
        "{ name: r, cidrs: [192.0.2.1] }",
        "10:17: error: a deny rule has no `because`\n  \
         help: add `because: REASON`; whoever is denied is told it",
    );
    assert_rule_problem(
        "deny",
        "{ name: r, cidrs: [192.0.2.1], because: \" \" }",
        "10:49: error: the text is empty\n  help: write it out, or remove the key",
    );
    assert_rule_problem(
        "deny",
        r#"{ name: r, cidrs: [192.0.2.1], because: "\e[2J" }"#,
        "10:49: error: the text contains control characters\n  \
         help: write it on one line, without them",
    );
    assert_rule_problem(
        "allow",
        "{ name: r }",
        "10:17: error: the rule names no destination\n  \
         help: add `cidrs`, `ports` or `protocol`; for everything, set `default`",
    );
    assert_rule_problem(
        "allow",
        "{ ports: [80] }",
        "10:9: error: missing `name`\n  help: add `name: NAME`",
    );
    assert_rule_problem(
        "allow",
        "{ name: \"\", ports: [80] }",
        "10:17: error: the name is empty\n  \
         help: give it a name of a-z, 0-9, `.`, `_` and `-`",
    );
    assert_rule_problem(
        "allow",
        "{ name: Web, ports: [80] }",
        "10:17: error: the name `Web` contains 'W'\n  help: use a-z, 0-9, `.`, `_` and `-` only",
    );
    for name in ["default", "observe", "builtin/opaque"] {
        let rule = format!("{{ name: {name}, ports: [80] }}");
        let expected = format!(
            "10:17: error: the rule name `{name}` is reserved\n  \
             help: use another name; records use this one for what no rule decides"
        );
        assert_rule_problem("allow", &rule, &expected);
    }
    assert_rule_problem(
        "allow",
        "{ name: r, cidr: [192.0.2.1], ports: [80] }",
        "10:20: error: unknown key `cidr` in a rule\n  \
         help: the keys are name, cidrs, hosts, ports, protocol, because",
    );
    assert_rule_problem(
        "allow",
        "{ name: r, ports: [80], ports: [443] }",
        "10:33: error: duplicate key `ports` in a rule\n  help: keep one of the two",
    );
}

#[test]
fn duplicate_rule_names() {
    let text = policy_with_egress(
        "    default: deny\n    \
         allow:\n      - { name: web, ports: [80] }\n    \
         deny:\n      - { name: web, cidrs: [192.0.2.1], because: no }\n",
    );
    assert_problems(
        &text,
        &["12:17: error: a second rule has the name `web`\n  \
           help: rename one of them; the first is at 10:17"],
    );
}

#[test]
fn dead_rules() {
    const HELP: &str = "\n  help: remove it, or narrow what stands before it; deny goes before allow, \
                        and earlier rules before later ones";
    let deny = "    deny:\n      - { name: no, cidrs: [192.0.0.0/16], because: no }\n";
    let text = |allow| policy_with_egress(&format!("    default: deny\n    allow:\n{allow}{deny}"));
    assert_problems(
        &text("      - { name: db, cidrs: [192.0.2.1], ports: [5432] }\n"),
        &[&format!(
            "10:17: error: the rule `db` can never apply: `no` (line 12) decides every \
             destination of it{HELP}"
        )],
    );
    assert_problems(
        &text(
            "      - { name: low, cidrs: [10.0.0.0/25], ports: [80] }\n      \
                   - { name: high, cidrs: [10.0.0.128/25], ports: [80-90] }\n      \
                   - { name: all, cidrs: [10.0.0.0/24], ports: [80] }\n      \
                   - { name: more, cidrs: [10.0.0.0/24], ports: [80, 81] }\n",
        ),
        &[&format!(
            "12:17: error: the rule `all` can never apply: `low` (line 10), `high` (line 11) \
             decide every destination of it{HELP}"
        )],
    );
    // An allow rule under `default: allow` that no deny rule overlaps still gives its name.
    let named = text("      - { name: db, cidrs: [10.0.0.1] }\n")
        .replace("default: deny", "default: allow");
    assert_problems(&named, &[]);
}

#[test]
fn the_envelope() {
    let text = policy_with_egress("    default: deny\n");
    assert_problems(
        &text.replace("v1alpha1", "v1"),
        &["1:13: error: unknown apiVersion `hoop.dev/v1`\n  help: write one of hoop.dev/v1alpha1"],
    );
    assert_problems(
        &text.replace("{ name: copilot }", "{ name: copilot, labels: {} }"),
        &["3:28: error: unknown key `labels` in `metadata`\n  help: the keys are name"],
    );
    assert_problems(
        &text.replace("default: deny", "default: drop"),
        &["8:14: error: unknown default `drop`\n  help: write one of allow, deny"],
    );
    assert_problems(
        &text.replace("    default: deny\n", "    allow: []\n"),
        &["8:5: error: missing `default`\n  help: add `default: deny`"],
    );
    assert_problems(
        "{}",
        &[
            "1:1: error: missing `apiVersion`\n  help: add `apiVersion: hoop.dev/v1alpha1`",
            "1:1: error: missing `kind`\n  help: add `kind: WorkloadPolicy`",
            "1:1: error: missing `metadata`\n  help: add `metadata: { name: NAME }`",
            "1:1: error: missing `spec`\n  help: add `spec: with identity, mode and egress`",
        ],
    );
    assert_problems(
        "# nothing\n",
        &["1:1: error: the file has no policy\n  help: write a policy, or remove the file"],
    );
}

#[test]
fn the_spec() {
    assert_spec_problem(
        "  mode: enforce\n  capture: {}",
        "7:12: error: missing `tls`\n  help: add `tls: true`",
    );
    assert_spec_problem(
        "  mode: enforce\n  capture: { tls: true, maxBytesPerCall: 0 }",
        "7:42: error: 0 bytes cannot be taken\n  help: write a number from 1 to 4194304",
    );
    assert_spec_problem(
        "  mode: enforce\n  masking: { detectors: [NOTHING] }",
        "7:12: error: unknown class \"NOTHING\"; see `hoop_mask::classes`\n  \
         help: `hoop-agent mask --policy FILE` tries it on standard input",
    );
    assert_spec_problem(
        "  mode: enforce\n  masking: { rules: [{ name: a, class: A, pattern: a, validator: soundness }] }",
        "7:66: error: unknown validator `soundness`\n  help: write for example `luhn` or `iban`",
    );
    assert_spec_problem(
        "  allowDegraded: false",
        "5:3: error: missing `mode`\n  \
         help: add `mode: enforce, or shadow or observe; it is never assumed`",
    );
    assert_spec_problem(
        "  mode: block",
        "6:9: error: unknown mode `block`\n  help: write one of observe, shadow, enforce",
    );
    assert_spec_problem(
        "  mode: shadow\n  allowDegraded: yes",
        "7:18: error: unknown value `yes`\n  help: write one of true, false",
    );
    assert_spec_problem(
        "  mode: shadow\n  sockets: { allow: [tcp, sctp] }",
        "7:27: error: unknown kind of socket `sctp`\n  help: write one of tcp, udp, unix, icmp, \
         raw, other-inet, netlink, packet, vsock, alg, other",
    );
    assert_spec_problem(
        "  mode: shadow\n  onBehalfOf:",
        "7:13: error: `onBehalfOf` must be text, found nothing\n  \
         help: write it on one line, in quotes if it ends with `:`",
    );
}

#[test]
fn identities() {
    for (id, why) in [
        ("https://example.org/a", "it does not start with spiffe://"),
        ("SPIFFE://example.org/a", "it does not start with spiffe://"),
        ("spiffe:///a", "the trust domain is empty"),
        (
            "spiffe://Example.org/a",
            "the trust domain may have a-z, 0-9, `.`, `-` and `_` only",
        ),
        (
            "spiffe://example.org:1/a",
            "the trust domain may have a-z, 0-9, `.`, `-` and `_` only",
        ),
        ("spiffe://example.org", "the path is empty"),
        ("spiffe://example.org/", "the path is empty"),
        (
            "spiffe://example.org/a/",
            "a path segment is empty, or the path ends with `/`",
        ),
        ("spiffe://example.org/../a", "a path segment is `.` or `..`"),
        (
            "spiffe://example.org/a%20b",
            "the path may have letters, digits, `.`, `-` and `_` only",
        ),
    ] {
        let text = policy_with_egress("    default: deny\n")
            .replace("spiffe://example.org/agents/copilot", &format!("'{id}'"));
        let expected = format!(
            "5:13: error: `{id}` is not a SPIFFE ID: {why}\n  \
             help: write it like spiffe://example.org/agents/copilot"
        );
        assert_problems(&text, &[&expected]);
    }
    let long = format!("spiffe://example.org/{}", "a".repeat(2048 - 20));
    let text = policy_with_egress("    default: deny\n")
        .replace("spiffe://example.org/agents/copilot", &long);
    assert_problems(
        &text,
        &["5:13: error: the SPIFFE ID has 2049 bytes, more than 2048\n  help: shorten it"],
    );
}

#[test]
fn cgroups() {
    let root = "would tag the root cgroup\n  help: name a cgroup below it, like /hoop/copilot-*; \
                the root cgroup is every process";
    let component =
        "\n  help: write the path of the cgroup itself, as /proc/PID/cgroup shows it after `0::`";
    for (glob, wrong) in [
        ("/", root.to_owned()),
        ("/*", root.to_owned()),
        ("/**", root.to_owned()),
        ("/**/*", root.to_owned()),
        ("/{,a}", root.to_owned()),
        ("/a/../b", format!("has the component `..`{component}")),
        ("/a//b", format!("has an empty component{component}")),
        ("/a/", format!("has an empty component{component}")),
        (
            "hoop",
            "does not start with `/`\n  \
             help: write the path relative to the cgroup v2 mount, like /hoop/copilot-*"
                .to_owned(),
        ),
        (
            "/a[",
            "is not a glob: unclosed character class; missing ']'\n  help: `*` and `?` match within a \
             component, `**` across, `[a-z]` and `{a,b}` alternatives; escape with `\\`"
                .to_owned(),
        ),
    ] {
        assert_spec_problem(
            &format!("  mode: shadow\n  workloads:\n    - cgroup: \"{glob}\""),
            &format!("8:15: error: the cgroup `{glob}` {wrong}"),
        );
    }
}

#[test]
fn malformed_yaml() {
    let help = "\n  help: check indentation, quotes and brackets here and on the line before";
    let text = problems("apiVersion: [hoop\nkind: x\n");
    assert!(
        text.starts_with("policy.yaml:2:5: error: not valid YAML: "),
        "{text}"
    );
    assert!(text.ends_with(help), "{text}");
    assert_problems(
        "a: &x [1]\nb: *x\n",
        &["2:4: error: YAML aliases are not supported\n  \
           help: write out what the alias stands for"],
    );
    assert_problems(
        "a: !!python/object x\n",
        &["1:4: error: YAML tags are not supported\n  help: remove the tag (`!...`)"],
    );
    let deep = problems(&"[".repeat(100_000));
    assert!(
        deep.starts_with("policy.yaml:1:33: error: not valid YAML: "),
        "{deep}"
    );
}

#[test]
fn every_problem_of_every_document_is_reported() {
    let bad = policy_with_egress(
        "    default: deny\n    allow:\n      \
         - { name: a, cidrs: [10.0.0.1/8, x] }\n      - { name: b, ports: [0] }\n",
    );
    let malformed = "a: 'x\n";
    let text = problems(&format!("{bad}---\n{bad}---\n{malformed}"));
    let places: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("policy.yaml:")?.split(" error").next())
        .collect();
    assert_eq!(
        places,
        [
            "10:28:", "10:40:", "11:28:", "22:28:", "22:40:", "23:28:", "25:4:"
        ],
        "{text}"
    );
}

#[test]
fn the_list_of_problems_is_bounded() {
    let cidrs = "x, ".repeat(1500);
    let text = policy_with_egress(&format!(
        "    default: deny\n    allow:\n      - {{ name: a, cidrs: [{cidrs}] }}\n"
    ));
    let text = problems(&text);
    assert!(text.contains("policy.yaml: error: 500 more problems, not listed"));
    assert_eq!(text.matches(" error: ").count(), 1001);
}
