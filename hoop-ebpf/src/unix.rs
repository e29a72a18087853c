//! Unix sockets that a policy denies by their path.
//!
//! The path is that at which the socket was bound, in the mount namespace of its server: no bind
//! mount, symbolic link or `chroot` of the client changes it.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use hoop_common::{
    event::{EventKind, Hook, SocketEvent, Verdict},
    unix_path::{self, EMPTY, MAX_NAMES, NAME_BYTES, NAME_WORDS, UnixKey},
};

use crate::{
    emit,
    kernel::{KernelPtr, Process, offset},
    maps::UNIX_DENIED,
    verdict::Decision,
    verifier::at_most,
    workload::{self, Workload},
};

/// `AF_UNIX`
const AF_UNIX: u16 = 1;

/// Mounts that a path may cross, on top of its names.
const MAX_MOUNTS: usize = 16;

/// Judges a socket that the running task turns to: `server` is its `struct sock`.
#[inline(always)]
pub fn judge(server: KernelPtr, kind: u16, hook: Hook) -> Option<Decision> {
    let workload = Workload::of_current_process()?;
    let governed = workload.governed();
    let policy = governed.index?;
    let path = hash(server.at(offset!(unix_sock_path)))?;
    let key = UnixKey {
        path,
        policy,
        reserved: 0,
    };
    // SAFETY: entries are 4 bytes and replaced whole; the copy is taken at once.
    let rule = *unsafe { UNIX_DENIED.get(key) }?;
    let decision = governed.denied_by(rule);
    // As in `family::judge`: only one load gets to deny.
    if decision.verdict as u8 != Verdict::Allow as u8
        && (!decision.passes() || workload::reporting())
    {
        let event = SocketEvent {
            header: emit::header::<SocketEvent>(EventKind::Socket, workload.id, Process::current()),
            epoch: governed.epoch.0,
            rule: decision.rule,
            family: AF_UNIX,
            kind,
            protocol: 0,
            hook: hook as u8,
            verdict: decision.verdict as u8,
            mode: decision.mode,
            enforcement: decision.enforce_by_answer() as u8,
        };
        emit::send(&event, decision.priority());
    }
    Some(decision)
}

/// [`unix_path::hash`] of a `struct path`. `None` if there is none, as for a socket without a path, or
/// if it is longer than any that a policy can name.
#[inline(always)]
fn hash(path: KernelPtr) -> Option<u64> {
    let mut mount = path.follow(offset!(path_mnt))?;
    let mut dentry = path.follow(offset!(path_dentry))?;
    let mut hash = EMPTY;
    for _ in 0..MAX_NAMES + MAX_MOUNTS {
        if mount.at(offset!(vfsmount_mnt_root)).read::<u64>()? == dentry.0 {
            let outer = KernelPtr(mount.0.wrapping_sub(offset!(mount_mnt) as u64));
            let parent = outer.follow(offset!(mount_mnt_parent))?;
            if parent == outer {
                return Some(hash);
            }
            mount = parent.at(offset!(mount_mnt));
            dentry = outer.follow(offset!(mount_mnt_mountpoint))?;
            continue;
        }
        let len: u32 = dentry.at(offset!(dentry_d_name_len)).read()?;
        if len > NAME_BYTES as u32 {
            return None;
        }
        let name = dentry.follow(offset!(dentry_d_name_name))?;
        let mut words = [0_u64; NAME_WORDS];
        // Once more: before Linux 6.7 the verifier forgets the bound of 32 bits on the stack.
        let len = at_most::<{ NAME_BYTES as u32 }>(len);
        // SAFETY: `len` is less than the size of `words`.
        if unsafe { bpf_probe_read_kernel(words.as_mut_ptr().cast(), len, name.0 as *const _) } != 0
        {
            return None;
        }
        hash = unix_path::prepend(hash, &words);
        dentry = dentry.follow(offset!(dentry_d_parent))?;
    }
    None
}
