//! What holds for every policy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use hoop_common::policy::{Key, Mode};
use proptest::prelude::*;

use super::parse;
use crate::policy::book::RuleBook;
use crate::policy::compile::compile;
use crate::policy::dead::dead_rules;
use crate::policy::explain::{Destination, Verdict, explain_destination};
use crate::policy::model::{Action, Egress, Policy, PortRange, Protocol, Rule};
use crate::policy::{source, testing};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

    #[test]
    fn tables_and_rules_agree(policy in policy(), picks in prop::collection::vec(any::<[u32; 3]>(), 40)) {
        let mut book = RuleBook::default();
        let compiled = compile(&[decoy(), policy.clone()], &mut book).unwrap();
        for entry in &compiled.policies {
            prop_assert_eq!(compiled.cells[entry.start as usize].key, Key { hi: 0, lo: 0 });
        }
        let borders = Borders::of(&policy);
        for pick in picks {
            let destination = borders.pick(pick);
            let Destination { address, protocol, port } = destination;
            let ruling = compiled.judge(1, address, protocol, port).unwrap();
            let rule = book.get(ruling.rule).unwrap();
            let explanation = explain_destination(&policy, &destination);
            prop_assert_eq!(&rule.policy, &policy.name);
            prop_assert_eq!(&rule.rule, &explanation.rule, "{}", explanation);
            prop_assert_eq!(&rule.because, &explanation.because);
            prop_assert_eq!(ruling.allow, explanation.verdict == Verdict::Allow, "{}", explanation);
        }
    }
}

proptest! {
    // Each case is a search through everything near a border.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn dead_rules_are_those_that_decide_nothing(policy in policy()) {
        let borders = Borders::of(&policy);
        let mut decides = std::collections::HashSet::new();
        for &address in &borders.addresses {
            for &protocol in &borders.protocols {
                for &port in &borders.ports {
                    let port = if matches!(protocol, 6 | 17) { port } else { 0 };
                    decides.insert(explain_destination(&policy, &Destination { address, protocol, port }).rule);
                }
            }
        }
        let expected: Vec<_> = policy
            .rules_by_precedence()
            .map(|rule| rule.name.clone())
            .filter(|name| !decides.contains(name))
            .collect();
        let dead = dead_rules(&policy, usize::MAX);
        let found: Vec<_> = dead.iter().map(|dead| dead.rule.name.clone()).collect();
        prop_assert_eq!(found, expected);
        for dead in dead {
            prop_assert!(!dead.shadowed_by.is_empty());
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC*|([-:{}\\[\\]&*!|>'\"%@`,? a\n]{0,60})") {
        let (documents, problems) = source::read(Path::new("random"), &text);
        prop_assert!(!problems.is_empty() || documents.iter().all(|document| document.policy.is_some()));
    }

    #[test]
    fn no_edit_of_a_policy_makes_the_reader_panic(
        seed in any::<u64>(), at in any::<prop::sample::Index>(), with in "\\PC{0,3}|[\n :\\-\\[{&*]{1,3}",
    ) {
        let mut text = testing::random_policy(seed);
        let at = at.index(text.len());
        if text.is_char_boundary(at) && text.is_char_boundary(at + 1) {
            text.replace_range(at..=at, &with);
        }
        let _ = source::read(Path::new("random"), &text);
    }
}

#[test]
fn generated_policies_are_sound_and_agree() {
    let mut usable = 0;
    for seed in 0..300 {
        let (documents, problems) =
            source::read(Path::new("random"), &testing::random_policy(seed));
        let dead = problems
            .as_slice()
            .iter()
            .all(|problem| problem.message.contains("never apply"));
        assert!(dead, "{problems}");
        let Some(policy) = documents.into_iter().find_map(|document| document.policy) else {
            continue;
        };
        usable += 1;
        let mut book = RuleBook::default();
        let compiled = compile(std::slice::from_ref(&policy), &mut book).unwrap();
        for destination in testing::random_destinations(seed, 100, &policy) {
            let Destination {
                address,
                protocol,
                port,
            } = destination;
            let ruling = compiled.judge(0, address, protocol, port).unwrap();
            let explanation = explain_destination(&policy, &destination);
            assert_eq!(
                book.get(ruling.rule).unwrap().rule,
                explanation.rule,
                "{explanation}"
            );
        }
    }
    assert!(usable > 200, "{usable}");
}

#[test]
fn compiling_is_deterministic() {
    let policies: Vec<_> = (0..20)
        .filter_map(|seed| {
            let (mut documents, _) =
                source::read(Path::new("random"), &testing::random_policy(seed));
            documents.remove(0).policy
        })
        .collect();
    let once = compile(&policies, &mut RuleBook::default()).unwrap();
    assert_eq!(compile(&policies, &mut RuleBook::default()).unwrap(), once);
}

/// Another policy of the same epoch, with rules of its own.
fn decoy() -> Policy {
    parse(&super::policy_with_egress(
        "    default: allow\n    deny:\n      - { name: rule-0, ports: [80], because: decoy }\n",
    ))
}

fn policy() -> impl Strategy<Value = Policy> {
    let action = || prop_oneof![Just(Action::Allow), Just(Action::Deny)];
    let cidr = prop_oneof![
        // Few distinct networks, so that rules overlap, touch and cover each other.
        (0..8u32, 29..=32u8).prop_map(|(host, prefix)| v4(0xc000_0200 + host, prefix)),
        (0..4u32, 24..=32u8).prop_map(|(host, prefix)| v4(0xffff_fffc + host, prefix)),
        (0..4u32, 0..=32u8).prop_map(|(host, prefix)| v4(host, prefix)),
        (0..4u128, 0..=128u8).prop_map(|(host, prefix)| v6(host, prefix)),
        (0..4u128, 0..=95u8).prop_map(|(host, prefix)| v6((0xfffe + host) << 32, prefix)),
        (0..4u128, 120..=128u8).prop_map(|(host, prefix)| v6(u128::MAX - host, prefix)),
    ];
    // As the reader does.
    let cidr = cidr.prop_filter("0.0.0.0/32 and ::/128 are refused", |net| {
        !(net.addr().is_unspecified() && net.prefix_len() == net.max_prefix_len())
    });
    let cidrs = prop::option::weighted(0.9, prop::collection::vec(cidr, 1..5));
    let range = (0..4u16, 0..3u16).prop_map(|(first, more)| {
        let first = [1, 79, 80, 65533][usize::from(first)];
        PortRange {
            first,
            last: first + more.min(2),
        }
    });
    let with_ports = (
        prop::collection::vec(range, 1..3),
        prop_oneof![
            Just(Protocol::Transport),
            Just(Protocol::Number(6)),
            Just(Protocol::Number(17))
        ],
    );
    let without_ports = prop_oneof![
        Just(Protocol::Transport),
        Just(Protocol::Any),
        Just(Protocol::Icmp),
        prop::sample::select(vec![0, 1, 6, 17, 58, 255]).prop_map(Protocol::Number),
    ];
    let targets = prop_oneof![
        with_ports,
        without_ports.prop_map(|protocol| (Vec::new(), protocol))
    ];
    let rules = prop::collection::vec((action(), cidrs, targets), 1..7);
    (action(), rules).prop_map(|(default, rules)| {
        let rules =
            rules
                .into_iter()
                .enumerate()
                .map(|(number, (action, cidrs, (ports, protocol)))| Rule {
                    name: format!("rule-{number}"),
                    action,
                    because: format!("reason {number}"),
                    cidrs,
                    ports,
                    protocol,
                    position: Default::default(),
                });
        Policy {
            name: "random".to_owned(),
            mode: Mode::Enforce,
            egress: Egress {
                default,
                rules: rules.collect(),
            },
            ..decoy()
        }
    })
}

fn v4(address: u32, prefix: u8) -> ipnet::IpNet {
    ipnet::Ipv4Net::new_assert(address.into(), prefix)
        .trunc()
        .into()
}

fn v6(address: u128, prefix: u8) -> ipnet::IpNet {
    let net = ipnet::Ipv6Net::new_assert(address.into(), prefix).trunc();
    let mapped = net.prefix_len() >= 96 && net.addr().to_ipv4_mapped().is_some();
    assert!(!mapped, "the reader makes this IPv4");
    net.into()
}

/// Where answers can change.
struct Borders {
    addresses: Vec<IpAddr>,
    protocols: Vec<u8>,
    ports: Vec<u16>,
}

impl Borders {
    fn of(policy: &Policy) -> Self {
        let mut v4 = vec![0, 1, u32::MAX, 0x7f00_0001];
        let mut v6 = vec![0, 1, u128::MAX, 0xfffe_ffff_ffff, 0x1_0000_0000_0000];
        let mut ports = vec![0, 1, u16::MAX];
        for rule in &policy.egress.rules {
            for net in rule.cidrs.iter().flatten() {
                match net {
                    ipnet::IpNet::V4(net) => {
                        let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
                        v4.extend([first.wrapping_sub(1), first, last, last.wrapping_add(1)]);
                    }
                    ipnet::IpNet::V6(net) => {
                        let (first, last) =
                            (u128::from(net.network()), u128::from(net.broadcast()));
                        v6.extend([first.wrapping_sub(1), first, last, last.wrapping_add(1)]);
                    }
                }
            }
            for range in &rule.ports {
                ports.extend([
                    range.first - 1,
                    range.first,
                    range.last,
                    range.last.wrapping_add(1),
                ]);
            }
        }
        v4.sort_unstable();
        v4.dedup();
        v6.sort_unstable();
        v6.dedup();
        ports.sort_unstable();
        ports.dedup();
        let v4 = v4.into_iter().map(|address| Ipv4Addr::from(address).into());
        let v6 = v6.into_iter().map(|address| Ipv6Addr::from(address).into());
        Self {
            addresses: v4.chain(v6).collect(),
            protocols: vec![0, 1, 2, 6, 17, 47, 58, 136, 255],
            ports,
        }
    }

    fn pick(&self, [address, protocol, port]: [u32; 3]) -> Destination {
        fn at<T: Copy>(items: &[T], pick: u32) -> T {
            items[pick as usize % items.len()]
        }
        let protocol = at(&self.protocols, protocol);
        let port = if matches!(protocol, 6 | 17) {
            at(&self.ports, port)
        } else {
            0
        };
        Destination {
            address: at(&self.addresses, address),
            protocol,
            port,
        }
    }
}
