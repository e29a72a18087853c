//! What a policy says about one destination or command, and why: reads the rules as a person
//! would, without the compiled tables, so that each can be tested against the other.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use hoop_common::policy::Mode;
use serde::{Deserialize, Serialize};

use super::exec::{Command, explain_exec};
use super::model::{
    Action, DEFAULT_BECAUSE, DEFAULT_RULE, ICMP, ICMPV6, OBSERVE_RULE, Policy, Protocol, Rule, TCP,
    UDP, has_ports, judged_address, mode_name, protocol_name,
};

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// May it be reached?
    Destination(Destination),
    /// May it run?
    Command(Command),
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Destination(destination) => destination.fmt(f),
            Self::Command(command) => command.fmt(f),
        }
    }
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Destination {
    /// The address, as the program names it.
    pub address: IpAddr,
    /// IANA protocol number.
    pub protocol: u8,
    /// The port; 0 for protocols other than TCP and UDP.
    pub port: u16,
}

/// Why text is not a [`Destination`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseDestinationError {
    /// The part before `/`.
    #[error("`{0}` is not a protocol: write tcp, udp, icmp or a number from 0 to 255")]
    Protocol(String),
    /// The address.
    #[error("`{0}` is not an address: write 192.0.2.1:443, [2001:db8::1]:443 or icmp/192.0.2.1")]
    Address(String),
    /// TCP and UDP without a port.
    #[error("{0} needs a port: write {0}/192.0.2.1:443 or {0}/[2001:db8::1]:443")]
    PortMissing(String),
    /// A port that is none.
    #[error("`{0}` is not a port: write a number from 1 to 65535")]
    Port(String),
    /// A port with a protocol that has none.
    #[error("protocol {0} has no ports: leave the port out")]
    PortUnexpected(String),
}

impl FromStr for Destination {
    type Err = ParseDestinationError;

    /// Parses `[PROTOCOL/]ADDRESS[:PORT]`. The protocol is TCP if none is named; an IPv6 address
    /// with a port stands in brackets; a scope (`%eth0`) is ignored, as policies do.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        use ParseDestinationError as Error;

        let (protocol, rest) = text.split_once('/').unwrap_or(("tcp", text));
        let (address, port) = match rest.strip_prefix('[') {
            Some(bracketed) => match bracketed.split_once(']') {
                Some((address, "")) => (address, None),
                Some((address, port)) => match port.strip_prefix(':') {
                    Some(port) => (address, Some(port)),
                    None => return Err(Error::Address(rest.to_owned())),
                },
                None => return Err(Error::Address(rest.to_owned())),
            },
            // More than one colon is an IPv6 address.
            None => match rest.split_once(':') {
                Some((address, port)) if !port.contains(':') => (address, Some(port)),
                _ => (rest, None),
            },
        };
        let unscoped = match address.split_once('%') {
            Some((unscoped, scope)) if !scope.is_empty() && unscoped.contains(':') => unscoped,
            _ => address,
        };
        let address: IpAddr = unscoped
            .parse()
            .map_err(|_| Error::Address(address.to_owned()))?;
        let protocol = match protocol {
            "tcp" => TCP,
            "udp" => UDP,
            "icmp" if address.to_canonical().is_ipv4() => ICMP,
            "icmp" | "icmpv6" => ICMPV6,
            _ => protocol
                .parse()
                .map_err(|_| Error::Protocol(protocol.to_owned()))?,
        };
        let port = match port {
            None if has_ports(protocol) => return Err(Error::PortMissing(protocol_name(protocol))),
            None => 0,
            Some(_) if !has_ports(protocol) => {
                return Err(Error::PortUnexpected(protocol_name(protocol)));
            }
            Some(port) => match port.parse() {
                Ok(number) if number > 0 => number,
                _ => return Err(Error::Port(port.to_owned())),
            },
        };
        Ok(Self {
            address,
            protocol,
            port,
        })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = protocol_name(self.protocol);
        if has_ports(self.protocol) {
            write!(f, "{protocol}/{}", SocketAddr::new(self.address, self.port))
        } else {
            write!(f, "{protocol}/{}", self.address)
        }
    }
}

/// What a policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The policy's name.
    pub policy: String,
    /// The policy's mode.
    pub mode: Mode,
    /// What was asked.
    pub question: Question,
    /// The answer.
    pub verdict: Verdict,
    /// The rule that gave it.
    pub rule: String,
    /// The rule's reason; may be empty if it allows.
    pub because: String,
    /// The other rules that match, in order of precedence.
    pub others: Vec<OtherMatch>,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It is allowed.
    Allow,
    /// It is denied.
    Deny,
    /// It is allowed and recorded, because the mode is `shadow`; `enforce` would deny it.
    Shadow,
    /// It is allowed and recorded, because the mode is `observe`; no rule was consulted.
    Observe,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Shadow => "shadow",
            Self::Observe => "observe",
        })
    }
}

/// A rule that matches and did not decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherMatch {
    /// The rule's name.
    pub rule: String,
    /// What it would have done.
    pub action: Action,
    /// Why it did not.
    pub why: String,
}

/// Answers a question.
#[must_use]
pub fn explain(policy: &Policy, question: &Question) -> Explanation {
    match question {
        Question::Destination(destination) => explain_destination(policy, destination),
        Question::Command(command) => explain_exec(policy, command),
    }
}

/// Judges a destination by a policy.
#[must_use]
pub fn explain_destination(policy: &Policy, destination: &Destination) -> Explanation {
    let judged = judged_address(destination.address);
    let mut matching = policy
        .rules_by_precedence()
        .filter(|rule| matches(rule, judged, destination.protocol, destination.port));
    let others = |rules: &mut dyn Iterator<Item = &Rule>, why: &dyn Fn(&Rule) -> String| {
        let other = |rule: &Rule| OtherMatch {
            rule: rule.name.clone(),
            action: rule.action,
            why: why(rule),
        };
        rules.map(other).collect()
    };
    let (verdict, rule, because, others) = if policy.mode == Mode::Observe {
        let why = |_: &Rule| "rules are not consulted in observe mode".to_owned();
        (
            Verdict::Observe,
            OBSERVE_RULE,
            "",
            others(&mut matching, &why),
        )
    } else if let Some(winner) = matching.next() {
        let why = |rule: &Rule| {
            if rule.action == winner.action {
                format!("`{}` stands before it", winner.name)
            } else {
                format!("`{}` denies, and deny beats allow", winner.name)
            }
        };
        let verdict = verdict(winner.action, policy.mode);
        (
            verdict,
            &*winner.name,
            &*winner.because,
            others(&mut matching, &why),
        )
    } else {
        let because = match policy.egress.default {
            Action::Allow => "",
            Action::Deny => DEFAULT_BECAUSE,
        };
        (
            verdict(policy.egress.default, policy.mode),
            DEFAULT_RULE,
            because,
            Vec::new(),
        )
    };
    Explanation {
        policy: policy.name.clone(),
        mode: policy.mode,
        question: Question::Destination(*destination),
        verdict,
        rule: rule.to_owned(),
        because: because.to_owned(),
        others,
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            verdict,
            question,
            rule,
            because,
            policy,
            ..
        } = self;
        write!(
            f,
            "{verdict} {question} by rule `{rule}` of policy `{policy}`"
        )?;
        write!(f, " ({})", mode_name(self.mode))?;
        if !because.is_empty() {
            write!(f, ": {because}")?;
        }
        if let Question::Destination(Destination { address, .. }) = question {
            let judged = judged_address(*address);
            if judged != *address {
                write!(f, "\n  {address} is judged as {judged}")?;
            }
        }
        for OtherMatch { rule, action, why } in &self.others {
            write!(f, "\n  `{rule}` ({action}) matches too: {why}")?;
        }
        Ok(())
    }
}

/// The rule that decides, `None` for the default. Modes are not considered.
pub(super) fn decides<'p>(policy: &'p Policy, destination: &Destination) -> Option<&'p Rule> {
    let Destination {
        address,
        protocol,
        port,
    } = *destination;
    let judged = judged_address(address);
    policy
        .rules_by_precedence()
        .find(|rule| matches(rule, judged, protocol, port))
}

pub(super) fn verdict(action: Action, mode: Mode) -> Verdict {
    match (action, mode) {
        (Action::Allow, _) => Verdict::Allow,
        (Action::Deny, Mode::Shadow) => Verdict::Shadow,
        (Action::Deny, _) => Verdict::Deny,
    }
}

fn matches(rule: &Rule, address: IpAddr, protocol: u8, port: u16) -> bool {
    let protocol_matches = match rule.protocol {
        Protocol::Any => true,
        Protocol::Transport => protocol == TCP || protocol == UDP,
        Protocol::Icmp if address.is_ipv4() => protocol == ICMP,
        Protocol::Icmp => protocol == ICMPV6,
        Protocol::Number(number) => protocol == number,
    };
    let port_matches = rule.ports.is_empty()
        || has_ports(protocol)
            && rule
                .ports
                .iter()
                .any(|range| (range.first..=range.last).contains(&port));
    let address_matches = match &rule.cidrs {
        None => true,
        Some(cidrs) => cidrs.iter().any(|cidr| cidr.contains(&address)),
    };
    protocol_matches && port_matches && address_matches
}
