//! `BPF_CGROUP_UDP4_SENDMSG`: an unconnected UDP socket sends a datagram to an IPv4 address.
//!
//! Fails closed for a task or socket of a workload: no policy, no table or no memory means EPERM.
//! Fails open for what belongs to none, which reaches this hook only as a socket that a workload
//! passed to an outsider; the egress hook judges its packets.

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};
use hoop_common::{event::Hook, policy::Key};

use crate::{hooks, socket, verdict::Decision};

/// Entry.
#[cgroup_sock_addr(sendmsg4)]
pub fn hoop_sendmsg4(ctx: SockAddrContext) -> i32 {
    hooks::answer(try_sendmsg4(&ctx))
}

fn try_sendmsg4(ctx: &SockAddrContext) -> Option<Decision> {
    let address = hooks::user_address_v4(ctx.sock_addr);
    socket::judge_address(ctx.sock_addr, Hook::Sendmsg4, address, Key { hi: 0, lo: 0 })
}
