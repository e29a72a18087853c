//! What the keys of a policy mean.

use hoop_common::limits::MAX_CELLS;
use hoop_common::policy::{Mode, SocketKind};

use super::{parse, policy_with_egress};
use crate::policy::book::RuleBook;
use crate::policy::compile::{CompileError, compile};
use crate::policy::explain::{Destination, ParseDestinationError, Verdict, explain_destination};
use crate::policy::model::{ALL_SOCKETS, Action, DEFAULT_SOCKETS, Policy};
use crate::policy::show::Show;

/// The verdict and rule, the same from `explain` and from the compiled tables.
#[track_caller]
fn judge(policy: &Policy, destination: &str) -> (Verdict, String) {
    let destination: Destination = destination.parse().unwrap();
    let explanation = explain_destination(policy, &destination);
    let mut book = RuleBook::default();
    let compiled = compile(std::slice::from_ref(policy), &mut book).unwrap();
    let Destination {
        address,
        protocol,
        port,
    } = destination;
    let ruling = compiled.judge(0, address, protocol, port).unwrap();
    let rule = book.get(ruling.rule).unwrap();
    assert_eq!(
        (&rule.rule, &rule.because),
        (&explanation.rule, &explanation.because)
    );
    let allowed = matches!(explanation.verdict, Verdict::Allow | Verdict::Observe);
    assert_eq!(ruling.allow, allowed, "{explanation}");
    (explanation.verdict, explanation.rule)
}

#[track_caller]
fn assert_judged(policy: &Policy, verdict: Verdict, rule: &str, destinations: &[&str]) {
    for destination in destinations {
        assert_eq!(
            judge(policy, destination),
            (verdict, rule.to_owned()),
            "{destination}"
        );
    }
}

#[test]
fn the_example_of_the_design() {
    let policy = parse(
        "apiVersion: hoop.dev/v1alpha1\n\
         kind: WorkloadPolicy\n\
         metadata: { name: coding-copilots }\n\
         spec:\n  \
           identity: spiffe://example.org/agents/copilot\n  \
           onBehalfOf: user:alice@example.org\n  \
           workloads:\n    \
             - cgroup: /hoop/copilot-*\n  \
           mode: enforce\n  \
           egress:\n    \
             default: deny\n    \
             allow:\n      \
               - { name: orders-db, cidrs: [10.20.0.0/16, \"fd00:20::/32\"], ports: [5432] }\n    \
             deny:\n      \
               - { name: metadata, cidrs: [169.254.169.254/32], because: cloud credentials }\n  \
           sockets: { allow: [tcp, udp, unix] }\n  \
           allowDegraded: true\n",
    );
    assert_eq!(policy.name, "coding-copilots");
    assert_eq!(policy.identity, "spiffe://example.org/agents/copilot");
    assert_eq!(
        policy.on_behalf_of.as_deref(),
        Some("user:alice@example.org")
    );
    assert_eq!(policy.mode, Mode::Enforce);
    assert_eq!(policy.egress.default, Action::Deny);
    let sockets = [SocketKind::Tcp, SocketKind::Udp, SocketKind::Unix];
    assert_eq!(
        policy.sockets,
        sockets.into_iter().fold(0, |bits, kind| bits | kind.bit())
    );
    assert!(policy.sockets_stated.is_some() && policy.allow_degraded);

    assert!(policy.matches_cgroup("/hoop/copilot-1"));
    for path in [
        "/",
        "",
        "/hoop",
        "/hoop/copilot-1/child",
        "/hoop/other",
        "/x/hoop/copilot-1",
    ] {
        assert!(!policy.matches_cgroup(path), "{path}");
    }
    assert_eq!(policy.cgroups[0].literal_prefix(), "/hoop");

    assert_judged(
        &policy,
        Verdict::Allow,
        "orders-db",
        &["10.20.0.1:5432", "udp/[fd00:20::1]:5432"],
    );
    assert_judged(
        &policy,
        Verdict::Deny,
        "default",
        &[
            "10.20.0.1:5431",
            "10.20.0.1:5433",
            "10.21.0.0:5432",
            "icmp/10.20.0.1",
            "[fd00:21::]:5432",
        ],
    );
    assert_judged(
        &policy,
        Verdict::Deny,
        "metadata",
        &["169.254.169.254:80", "47/169.254.169.254"],
    );
}

#[test]
fn protocols() {
    let policy = parse(&policy_with_egress(
        "    default: deny\n    allow:\n      \
         - { name: plain, cidrs: [192.0.2.1] }\n      \
         - { name: any, cidrs: [192.0.2.2], protocol: any }\n      \
         - { name: any-ports, cidrs: [192.0.2.3], protocol: any, ports: [53] }\n      \
         - { name: ping, protocol: icmp }\n      \
         - { name: one, cidrs: [192.0.2.4, \"2001:db8::4\"], protocol: 1 }\n      \
         - { name: gre, protocol: 47 }\n    deny:\n      \
         - { name: ports, cidrs: [192.0.2.5], ports: [53], because: no }\n      \
         - { name: all, cidrs: [192.0.2.6], because: no }\n",
    ));
    use Verdict::{Allow, Deny};
    assert_judged(
        &policy,
        Allow,
        "plain",
        &["192.0.2.1:1", "udp/192.0.2.1:65535"],
    );
    assert_judged(
        &policy,
        Deny,
        "default",
        &["136/192.0.2.1", "132/192.0.2.1", "58/192.0.2.1"],
    );
    assert_judged(
        &policy,
        Allow,
        "any",
        &[
            "192.0.2.2:1",
            "136/192.0.2.2",
            "0/192.0.2.2",
            "255/192.0.2.2",
        ],
    );
    assert_judged(
        &policy,
        Allow,
        "any-ports",
        &["192.0.2.3:53", "udp/192.0.2.3:53"],
    );
    assert_judged(&policy, Deny, "default", &["192.0.2.3:54", "132/192.0.2.3"]);
    assert_judged(
        &policy,
        Allow,
        "ping",
        &["icmp/192.0.2.9", "1/192.0.2.9", "58/2001:db8::9"],
    );
    assert_judged(&policy, Deny, "default", &["58/192.0.2.9", "1/2001:db8::9"]);
    assert_judged(&policy, Allow, "one", &["1/2001:db8::4"]);
    assert_judged(&policy, Allow, "gre", &["47/192.0.2.9", "47/2001:db8::9"]);
    assert_judged(
        &policy,
        Deny,
        "ports",
        &["192.0.2.5:53", "udp/192.0.2.5:53"],
    );
    assert_judged(
        &policy,
        Deny,
        "all",
        &["192.0.2.6:1", "icmp/192.0.2.6", "47/192.0.2.6"],
    );
}

#[test]
fn families_and_unspecified_addresses() {
    let policy = parse(&policy_with_egress(
        "    default: deny\n    allow:\n      \
         - { name: six, cidrs: [\"::/0\"] }\n      \
         - { name: mapped, cidrs: [\"::ffff:192.0.2.0/120\"] }\n      \
         - { name: loopback, cidrs: [127.0.0.0/8] }\n    deny:\n      \
         - { name: home, cidrs: [\"::1\"], because: no }\n",
    ));
    use Verdict::{Allow, Deny};
    assert_judged(
        &policy,
        Allow,
        "six",
        &["[2001:db8::1]:1", "[::fffe:ffff:ffff]:1", "[::1:0:0:0]:1"],
    );
    assert_judged(
        &policy,
        Deny,
        "default",
        &[
            "198.51.100.1:1",
            "[::ffff:198.51.100.1]:1",
            "255.255.255.255:1",
        ],
    );
    assert_judged(
        &policy,
        Allow,
        "mapped",
        &["192.0.2.1:1", "[::ffff:192.0.2.1]:1"],
    );
    assert_judged(
        &policy,
        Allow,
        "loopback",
        &["0.0.0.0:1", "[::ffff:0.0.0.0]:1", "127.0.0.1:1"],
    );
    assert_judged(&policy, Deny, "home", &["[::]:1", "[::1]:1"]);
}

#[test]
fn precedence_is_explained() {
    let policy = parse(&policy_with_egress(
        "    default: allow\n    allow:\n      \
         - { name: web, ports: [80-90] }\n      \
         - { name: net, cidrs: [192.0.2.0/24] }\n    deny:\n      \
         - { name: host, cidrs: [192.0.2.1], because: not yours }\n",
    ));
    let text = |to: &str| explain_destination(&policy, &to.parse().unwrap()).to_string();
    assert_eq!(
        text("192.0.2.1:80"),
        "deny tcp/192.0.2.1:80 by rule `host` of policy `copilot` (enforce): not yours\n  \
         `web` (allow) matches too: `host` denies, and deny beats allow\n  \
         `net` (allow) matches too: `host` denies, and deny beats allow"
    );
    assert_eq!(
        text("[::ffff:192.0.2.2]:80"),
        "allow tcp/[::ffff:192.0.2.2]:80 by rule `web` of policy `copilot` (enforce)\n  \
         ::ffff:192.0.2.2 is judged as 192.0.2.2\n  \
         `net` (allow) matches too: `web` stands before it"
    );
    assert_eq!(
        text("icmp/192.0.2.1"),
        "deny icmp/192.0.2.1 by rule `host` of policy `copilot` (enforce): not yours"
    );
    assert_eq!(
        text("[2001:db8::1]:1"),
        "allow tcp/[2001:db8::1]:1 by rule `default` of policy `copilot` (enforce)"
    );
}

#[test]
fn a_policy_is_shown_in_order_of_precedence() {
    let policy = parse(&policy_with_egress(
        "    default: deny\n    allow:\n      \
         - { name: web, ports: [80, 443, 8000-8999, 9000] }\n      \
         - { name: ping, protocol: icmp, cidrs: [192.0.2.0/24] }\n    deny:\n      \
         - { name: metadata, cidrs: [169.254.169.254], because: cloud credentials }\n",
    ));
    let expected = "\
copilot (enforce)
  file      policy.yaml:3
  identity  spiffe://example.org/agents/copilot
  sockets   tcp, udp, unix (not stated)
  capture   nothing
  masking   all that is built in
         RULE      PROTOCOL  PORTS                       CIDRS               BECAUSE
  deny   metadata  any       any                         169.254.169.254/32  cloud credentials
  allow  web       tcp, udp  80, 443, 8000-8999, 1 more  any
  allow  ping      icmp      -                           192.0.2.0/24
  deny   default   any       any                         any                 no rule allows it
";
    assert_eq!(Show(&policy).to_string(), expected);
}

#[test]
fn modes_and_sockets() {
    let text =
        policy_with_egress("    default: deny\n    allow:\n      - { name: web, ports: [80] }\n");
    let shadow = parse(&text.replace("enforce", "shadow"));
    assert_judged(&shadow, Verdict::Shadow, "default", &["192.0.2.1:81"]);
    assert_judged(&shadow, Verdict::Allow, "web", &["192.0.2.1:80"]);
    let observe = parse(&text.replace("enforce", "observe"));
    assert_judged(
        &observe,
        Verdict::Observe,
        "observe",
        &["192.0.2.1:81", "[::1]:80", "47/192.0.2.1"],
    );
    let enforce = parse(&text);
    assert_eq!(
        (enforce.sockets, enforce.sockets_stated),
        (DEFAULT_SOCKETS, None)
    );

    let mut book = RuleBook::default();
    let compiled = compile(&[enforce, observe], &mut book).unwrap();
    let [enforce, observe] = compiled.policies[..] else {
        panic!("{compiled:?}")
    };
    let named = |number| {
        let info = book.get(number).unwrap();
        (&*info.rule, &*info.because)
    };
    assert_eq!(
        (enforce.mode, enforce.sockets),
        (Mode::Enforce as u32, DEFAULT_SOCKETS)
    );
    assert_eq!(named(enforce.sockets_allow_rule), ("builtin/sockets", ""));
    assert_eq!(
        named(enforce.sockets_deny_rule),
        ("builtin/sockets", "not in sockets.allow")
    );
    assert_eq!(
        named(enforce.opaque_rule),
        ("builtin/opaque", "hides its destination")
    );
    assert_eq!(
        named(enforce.escape_rule),
        ("builtin/escape", "left its workload")
    );
    assert_eq!(
        named(enforce.ptrace_rule),
        (
            "builtin/ptrace",
            "reaches into a process outside its workload"
        )
    );
    assert_eq!(
        named(enforce.bpf_rule),
        ("builtin/bpf", "could change what Hoop enforces")
    );
    assert_eq!(
        named(enforce.tamper_rule),
        ("builtin/tamper", "would take Hoop apart")
    );
    assert_eq!(
        (observe.mode, observe.sockets),
        (Mode::Observe as u32, ALL_SOCKETS)
    );
    assert_eq!(observe.len, 1);
    assert_eq!(named(observe.sockets_allow_rule), ("observe", ""));
}

#[test]
fn egress_left_out_denies_everything() {
    let policy = parse(&policy_with_egress("").replace("  egress:\n", ""));
    assert_judged(
        &policy,
        Verdict::Deny,
        "default",
        &["192.0.2.1:80", "[::1]:80", "icmp/192.0.2.1"],
    );
}

#[test]
fn neighbours_with_the_same_answer_share_a_cell() {
    let cidrs: Vec<_> = (0..=255).map(|n| format!("192.0.2.{n}")).collect();
    let policy = parse(&policy_with_egress(&format!(
        "    default: deny\n    allow:\n      - {{ name: net, cidrs: [{}], ports: [1-9, 10-20] }}\n",
        cidrs.join(", ")
    )));
    let compiled = compile(&[policy], &mut RuleBook::default()).unwrap();
    // Before, the network, after; and for each of the two answers a port segment, one with TCP
    // from 1 to 20, the same for UDP, and what is around them.
    assert_eq!(compiled.policies[0].len, 3);
    assert_eq!(compiled.cells.len(), 3 + 1 + 5);
}

#[test]
fn too_many_cells() {
    // Every second address: two cells each.
    let mut policy = parse(&policy_with_egress(
        "    default: deny\n    allow:\n      - { name: all, cidrs: [10.0.0.0] }\n",
    ));
    let host = |n: u32| std::net::Ipv4Addr::from(0x0a00_0000 + 2 * n);
    let cidrs = (0..MAX_CELLS / 2)
        .map(|n| std::net::IpAddr::V4(host(n)).into())
        .collect();
    policy.egress.rules[0].cidrs = Some(cidrs);
    let error = compile(&[policy], &mut RuleBook::default()).unwrap_err();
    let CompileError::TooManyCells {
        found,
        complete: true,
        ref largest,
        cells,
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!(
        (found, &**largest, cells),
        (MAX_CELLS as usize + 7, "copilot", found)
    );
    assert_eq!(
        error.to_string(),
        "the policies need 2097159 table cells, the limit is 2097152: drop CIDRs or rules, \
         or merge neighbouring CIDRs; policy `copilot` needs the most, 2097159"
    );
}

#[test]
fn destinations_that_cannot_be_parsed() {
    use ParseDestinationError as Error;
    let error = |text: &str| text.parse::<Destination>().unwrap_err();
    let text = str::to_owned;
    assert_eq!(error("192.0.2.1"), Error::PortMissing(text("tcp")));
    assert_eq!(error("2001:db8::1"), Error::PortMissing(text("tcp")));
    assert_eq!(error("192.0.2.1:0"), Error::Port(text("0")));
    assert_eq!(error("192.0.2.1:"), Error::Port(text("")));
    assert_eq!(
        error("icmp/192.0.2.1:1"),
        Error::PortUnexpected(text("icmp"))
    );
    assert_eq!(error("sctp/192.0.2.1"), Error::Protocol(text("sctp")));
    assert_eq!(error("256/192.0.2.1"), Error::Protocol(text("256")));
    assert_eq!(
        error("llm.example:443"),
        Error::Address(text("llm.example"))
    );
    assert_eq!(
        error("[2001:db8::1:443"),
        Error::Address(text("[2001:db8::1:443"))
    );
    let scoped: Destination = "[fe80::1%eth0]:80".parse().unwrap();
    assert_eq!(scoped.to_string(), "tcp/[fe80::1]:80");
    assert_eq!(
        "icmp/fe80::1%eth0"
            .parse::<Destination>()
            .unwrap()
            .to_string(),
        "icmpv6/fe80::1"
    );
}
