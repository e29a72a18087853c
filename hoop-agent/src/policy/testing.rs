//! Random policies and destinations from a seed, for tests that compare two judges.
//!
//! Addresses stay inside 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, `2001:db8::/32` and
//! 127.0.0.0/8, which no test can harm anyone with.

pub mod exec;

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::explain::Destination;
use super::model::{Policy, TCP, UDP};

/// A policy file with one policy called `random`, in mode `enforce`.
///
/// The file is well formed; one of its rules may be dead, which `load` refuses: try the next seed.
#[must_use]
pub fn random_policy(seed: u64) -> String {
    let mut random = Random(seed);
    let mut text = format!(
        "apiVersion: hoop.dev/v1alpha1\nkind: WorkloadPolicy\nmetadata: {{ name: random }}\n\
         spec:\n  identity: spiffe://example.org/random\n  mode: enforce\n  egress:\n    default: {}\n",
        random.pick(&["deny", "deny", "allow"]),
    );
    let mut number = 0;
    for action in ["allow", "deny"] {
        let _ = writeln!(text, "    {action}:");
        for _ in 0..=random.below(4) {
            number += 1;
            let _ = writeln!(text, "      - name: rule-{number}");
            let _ = writeln!(text, "        because: reason {number}");
            let targeted = random.chance(9, 10);
            if targeted {
                let cidrs: Vec<_> = (0..=random.below(4)).map(|_| random.cidr()).collect();
                let _ = writeln!(text, "        cidrs: [\"{}\"]", cidrs.join("\", \""));
            }
            let protocols = [
                "tcp", "udp", "any", "icmp", "icmpv6", "1", "6", "17", "47", "132", "136",
            ];
            let stated = random.chance(1, 2).then(|| *random.pick(&protocols));
            if let Some(protocol) = stated {
                let _ = writeln!(text, "        protocol: {protocol}");
            }
            let has_ports = matches!(stated, None | Some("tcp" | "udp" | "any" | "6" | "17"));
            if has_ports && random.chance(2, 3) || !targeted && stated.is_none() {
                let ports: Vec<_> = (0..=random.below(2)).map(|_| random.ports()).collect();
                let _ = writeln!(text, "        ports: [\"{}\"]", ports.join("\", \""));
            }
        }
    }
    text
}

/// Destinations near the borders of the policy's rules, where mistakes are.
#[must_use]
pub fn random_destinations(seed: u64, count: usize, policy: &Policy) -> Vec<Destination> {
    let mut random = Random(seed);
    let rules = &policy.egress.rules;
    let cidrs: Vec<IpNet> = rules
        .iter()
        .flat_map(|rule| rule.cidrs.iter().flatten().copied())
        .collect();
    let ports: Vec<u16> = rules
        .iter()
        .flat_map(|rule| &rule.ports)
        .flat_map(|range| [range.first, range.last])
        .collect();
    let mut destinations = Vec::with_capacity(count);
    for _ in 0..count {
        let net = if cidrs.is_empty() || random.chance(1, 8) {
            random.area()
        } else {
            *random.pick(&cidrs)
        };
        let address = random.near(net);
        let protocol = *random.pick(&[TCP, TCP, TCP, UDP, UDP, 1, 58, 47, 132, 136]);
        let port = match protocol {
            TCP | UDP if ports.is_empty() || random.chance(1, 8) => random.number() as u16,
            TCP | UDP => {
                let border = *random.pick(&ports);
                *random.pick(&[border.wrapping_sub(1), border, border.wrapping_add(1)])
            }
            _ => 0,
        };
        destinations.push(Destination {
            address,
            protocol,
            port,
        });
    }
    destinations
}

/// `SplitMix64` (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators).
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    fn chance(&mut self, times: u64, of: u64) -> bool {
        self.below(of) < times
    }

    fn pick<'t, T>(&mut self, items: &'t [T]) -> &'t T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// A network that every address stays inside.
    fn area(&mut self) -> IpNet {
        *self.pick(&[
            IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 0)), 24),
            IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 0)), 24),
            IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 0)), 24),
            IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
            IpNet::new_assert(
                IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0)),
                32,
            ),
        ])
    }

    /// A network inside an area, often one of few so that rules overlap; now and then all of a
    /// family.
    fn cidr(&mut self) -> String {
        if self.chance(1, 16) {
            return (*self.pick(&["0.0.0.0/0", "::/0", "::ffff:192.0.2.0/120"])).to_owned();
        }
        let area = self.area();
        let spare = u64::from(area.max_prefix_len() - area.prefix_len());
        // Prefixes near the area's own, or single addresses.
        let longer = if self.chance(1, 4) {
            spare
        } else {
            self.below(spare.min(5))
        };
        let address = self.within(area, longer);
        let prefix = area.prefix_len() + longer as u8;
        IpNet::new_assert(address, prefix).trunc().to_string()
    }

    fn ports(&mut self) -> String {
        let borders = [1, 22, 53, 80, 443, 444, 8000, 65535];
        let (one, other) = (*self.pick(&borders), *self.pick(&borders));
        match one.cmp(&other) {
            std::cmp::Ordering::Equal => one.to_string(),
            std::cmp::Ordering::Less => format!("{one}-{other}"),
            std::cmp::Ordering::Greater => format!("{other}-{one}"),
        }
    }

    /// An address of `net`; of the bits after its prefix, only the first `bits` are random.
    fn within(&mut self, net: IpNet, bits: u64) -> IpAddr {
        let random = u128::from(self.number()) << 64 | u128::from(self.number());
        let spare = u64::from(net.max_prefix_len() - net.prefix_len());
        let keep = |width: u64| {
            if width == 0 {
                0
            } else {
                u128::MAX >> (128 - width)
            }
        };
        let host = random & keep(spare) & !keep(spare - bits.min(spare));
        offset(net.network(), host)
    }

    /// The first or last address of `net`, a neighbour of them, or one inside; within the areas.
    fn near(&mut self, net: IpNet) -> IpAddr {
        let (first, last) = (net.network(), net.broadcast());
        let candidates = [
            offset(first, u128::MAX),
            first,
            offset(first, 1),
            offset(last, u128::MAX),
            last,
            offset(last, 1),
            self.within(net, 128),
        ];
        let address = *self.pick(&candidates);
        if is_harmless(address) {
            return address;
        }
        let area = self.area();
        self.within(area, 128)
    }
}

/// The address plus an offset, wrapping around within its family.
fn offset(address: IpAddr, offset: u128) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            Ipv4Addr::from(u32::from(address).wrapping_add(offset as u32)).into()
        }
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address).wrapping_add(offset)).into(),
    }
}

fn is_harmless(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_documentation(),
        IpAddr::V6(address) => address.segments()[..2] == [0x2001, 0xdb8],
    }
}
