//! `policy explain` and the kernel give the same verdict, whatever the policy and the destination.

use std::net::SocketAddr;

use hoop_agent::policy::explain::{Destination, Verdict, explain};
use hoop_agent::policy::testing::{random_destinations, random_policy};
use hoop_agent::policy::{load, model::Policy};
use hoop_tests::daemon::policy_file;
use hoop_tests::lab::Lab;
use hoop_tests::probe::Act;

const POLICIES: usize = 60;
const DESTINATIONS: usize = 100;

#[test]
fn the_kernel_does_what_explain_says() {
    let lab = Lab::new();
    let workload = lab.workload("random");
    let cgroup = workload.cgroup.path();
    let header = format!(
        "spec:\n  workloads: [{{ cgroup: \"{cgroup}\" }}]\n  \
         sockets: {{ allow: [tcp, udp, unix, raw] }}\n"
    );
    // Deny-all first, so that the daemon runs before there is anything random.
    let daemon = lab.daemon(&lab.policy("random", "mode: enforce\negress: { default: deny }"));
    let mut agent = workload.probe();
    let (mut denied, mut allowed) = (0, 0);
    let policies = (0..).filter_map(|seed| {
        let text = random_policy(seed).replacen("spec:\n", &header, 1);
        read(&lab, &text).map(|policy| (seed, text, policy))
    });
    for (seed, text, policy) in policies.take(POLICIES) {
        daemon.change_policy(&text);
        let destinations: Vec<Destination> = random_destinations(seed, DESTINATIONS, &policy)
            .into_iter()
            // The kernel has no such port to connect to.
            .filter(|to| to.port != 0 || !matches!(to.protocol, 6 | 17))
            .collect();
        let at = destinations
            .iter()
            .map(|to| (to.protocol, SocketAddr::new(to.address, to.port)));
        let done = agent
            .act(&Act::Aim { at: at.collect() })
            .expect("an errno each");
        let errnos: Vec<i32> = done
            .text
            .split(' ')
            .map(|errno| errno.parse().expect("a number"))
            .collect();
        assert_eq!(errnos.len(), destinations.len());
        for (destination, errno) in destinations.iter().zip(errnos) {
            let explanation = explain(&policy, destination);
            let expected = explanation.verdict == Verdict::Deny;
            let kernel = errno == libc::EPERM;
            assert_eq!(
                kernel, expected,
                "seed {seed}, errno {errno}: {explanation:?}\n{text}"
            );
            denied += usize::from(kernel);
            allowed += usize::from(!kernel);
        }
        // The command line asks the same judge.
        if let Some(destination) = destinations.first() {
            let said = daemon.explain("random", &destination.to_string());
            let explanation = explain(&policy, destination);
            assert_eq!(said["rule"], explanation.rule, "{said}");
        }
    }
    assert!(
        denied > 500 && allowed > 500,
        "{denied} denied, {allowed} allowed"
    );
}

/// The policy, if it is one that may be loaded: some random ones hold a rule that can never apply.
fn read(lab: &Lab, text: &str) -> Option<Policy> {
    let path = policy_file(lab).with_file_name("random.yaml");
    std::fs::write(&path, text).expect("write a policy");
    load(&path).ok()?.pop()
}
