//! `policy explain` and the kernel give the same verdict, whatever the policy and the destination.

use std::net::SocketAddr;

use hoop_agent::policy::explain::{Destination, Verdict, explain_destination};
use hoop_agent::policy::testing::{random_destinations, random_policy};
use hoop_agent::policy::{load, model::Policy};
use hoop_tests::daemon::policy_file;
use hoop_tests::lab::Lab;
use hoop_tests::long;
use hoop_tests::probe::Act;
use hoop_tests::prober::Prober;

/// Policies in force at one time, each with a workload of its own.
const POLICIES: usize = 100;
/// Rounds, each with another hundred policies.
const ROUNDS: usize = 4;
const ROUNDS_LONG: usize = 10;
const DESTINATIONS: usize = 20;

#[test]
fn the_kernel_does_what_explain_says() {
    let lab = Lab::new();
    let daemon = lab.daemon(&lab.policy("nothing", "mode: enforce\negress: { default: deny }"));
    let names: Vec<String> = (0..POLICIES)
        .map(|number| format!("random-{number}"))
        .collect();
    let workloads: Vec<_> = names.iter().map(|name| lab.workload(name)).collect();
    let (mut denied, mut allowed) = (0, 0);
    let mut seeds = 0..;
    for _ in 0..long::either(ROUNDS, ROUNDS_LONG) {
        let round: Vec<_> = names
            .iter()
            .zip(&workloads)
            .map(|(name, workload)| {
                let found = seeds.find_map(|seed| {
                    let text = governing(&random_policy(seed), name, workload.cgroup.path());
                    read(&lab, &text).map(|policy| (seed, text, policy))
                });
                found.expect("seeds do not end")
            })
            .collect();
        let texts: Vec<&str> = round.iter().map(|(_, text, _)| text.as_str()).collect();
        daemon.change_policy(&texts.join("---\n"));
        let listed = daemon.json(&["workload", "list"]);
        assert_eq!(
            listed.as_array().map(Vec::len),
            Some(POLICIES),
            "every workload is tagged"
        );

        for ((seed, text, policy), workload) in round.iter().zip(&workloads) {
            // Who moved from one to the next would be ended as an escape.
            let mut agent = workload.probe();
            let destinations: Vec<Destination> = random_destinations(*seed, DESTINATIONS, policy)
                .into_iter()
                // The kernel has no such port to connect to.
                .filter(|to| to.port != 0 || !matches!(to.protocol, 6 | 17))
                .collect();
            let errnos = aim(&mut agent, &destinations);
            for (destination, errno) in destinations.iter().zip(errnos) {
                let explanation = explain_destination(policy, destination);
                let expected = explanation.verdict == Verdict::Deny;
                let kernel = errno == libc::EPERM;
                assert_eq!(
                    kernel, expected,
                    "seed {seed}, errno {errno}: {explanation:?}\n{text}"
                );
                denied += usize::from(kernel);
                allowed += usize::from(!kernel);
            }
        }
        // The command line asks the same judge.
        let (seed, _, policy) = &round[0];
        if let Some(destination) = random_destinations(*seed, 1, policy).first() {
            let said = daemon.explain(&policy.name, &destination.to_string());
            let explanation = explain_destination(policy, destination);
            assert_eq!(said["rule"], explanation.rule, "{said}");
        }
    }
    assert!(
        denied > 800 && allowed > 800,
        "{denied} denied, {allowed} allowed"
    );
}

/// What the kernel says of each destination, as an errno or 0.
fn aim(agent: &mut Prober, destinations: &[Destination]) -> Vec<i32> {
    let at = destinations
        .iter()
        .map(|to| (to.protocol, SocketAddr::new(to.address, to.port)));
    let done = agent
        .act(&Act::Aim { at: at.collect() })
        .expect("an errno each");
    let errnos = done.text.split_whitespace();
    let errnos: Vec<i32> = errnos
        .map(|errno| errno.parse().expect("a number"))
        .collect();
    assert_eq!(errnos.len(), destinations.len());
    errnos
}

/// The policy, under this name and for this cgroup.
fn governing(policy: &str, name: &str, cgroup: &str) -> String {
    let header = format!(
        "spec:\n  workloads: [{{ cgroup: \"{cgroup}\" }}]\n  \
         sockets: {{ allow: [tcp, udp, unix, raw] }}\n"
    );
    policy
        .replacen("spec:\n", &header, 1)
        .replacen("name: random ", &format!("name: {name} "), 1)
}

/// The policy, if it is one that may be loaded: some random ones hold a rule that can never apply.
fn read(lab: &Lab, text: &str) -> Option<Policy> {
    let path = policy_file(lab).with_file_name("random.yaml");
    std::fs::write(&path, text).expect("write a policy");
    load(&path).ok()?.pop()
}
