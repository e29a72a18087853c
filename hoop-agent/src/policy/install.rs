//! Compiled policy to kernel maps, all policies in one step.

use hoop_common::{
    limits::MAX_POLICIES,
    policy::{Epoch, WorkloadEntry},
    unix_path::UnixKey,
};

use super::compile::Compiled;
use crate::kernel::load::{Kernel, LoadError, Pod, make_table};

/// Puts compiled policies in force. `workloads` are the tagged cgroups by id with the index of
/// their policy.
///
/// The idle bank is filled first; then one store makes it the one in force. Returns only when no
/// program uses the former bank any more, so that the next call may fill it.
///
/// # Errors
///
/// When the kernel refuses a map update. The former policies are then still in force.
pub fn install(
    kernel: &mut Kernel,
    compiled: &Compiled,
    workloads: impl IntoIterator<Item = (u64, u32)>,
) -> Result<Epoch, LoadError> {
    // Epoch 0 means that nothing was ever installed.
    let current = kernel.state.epoch();
    let next = current.next();
    let bank = next.bank();
    let table = make_table(&compiled.cells)?;
    // The kernel waits here until no program reads the map that this one replaces.
    kernel
        .tables
        .set(bank, &table, 0)
        .map_err(|error| LoadError::map("TABLES", error))?;
    kernel.matcher.fill(bank, &compiled.matcher);
    let first = bank * MAX_POLICIES;
    for index in 0..kernel.policies_in_bank[bank as usize].max(compiled.policies.len() as u32) {
        let entry = compiled
            .policies
            .get(index as usize)
            .copied()
            .unwrap_or_default();
        kernel
            .policies
            .set(first + index, Pod(entry), 0)
            .map_err(|error| LoadError::map("POLICIES", error))?;
        let entry = compiled
            .exec
            .get(index as usize)
            .copied()
            .unwrap_or_default();
        kernel
            .execs
            .set(first + index, Pod(entry), 0)
            .map_err(|error| LoadError::map("EXECS", error))?;
    }
    deny_unix_sockets(kernel, compiled, first)?;
    kernel.policies_in_bank[bank as usize] = compiled.policies.len() as u32;
    for (id, policy) in workloads {
        assign(kernel, id, bank, policy)?;
    }
    kernel.state.set_epoch(next);
    // Setting it again waits for every program that began under the former epoch.
    kernel
        .tables
        .set(bank, &table, 0)
        .map_err(|error| LoadError::map("TABLES", error))?;
    Ok(next)
}

/// Fills the part of the idle bank, which begins at policy `first`.
fn deny_unix_sockets(
    kernel: &mut Kernel,
    compiled: &Compiled,
    first: u32,
) -> Result<(), LoadError> {
    let failed = |error| LoadError::map("UNIX_DENIED", error);
    let of_bank = first..first + MAX_POLICIES;
    let stale: Vec<_> = kernel
        .unix_denied
        .keys()
        .flatten()
        .filter(|Pod(key)| of_bank.contains(&key.policy))
        .collect();
    for key in stale {
        kernel.unix_denied.remove(&key).map_err(failed)?;
    }
    for &(policy, path, rule) in &compiled.unix_denied {
        let key = UnixKey {
            path,
            policy: first + policy,
            reserved: 0,
        };
        kernel
            .unix_denied
            .insert(Pod(key), rule, 0)
            .map_err(failed)?;
    }
    Ok(())
}

/// Gives a workload its policy for the epoch of `bank`; the other bank keeps what it has.
fn assign(kernel: &mut Kernel, id: u64, bank: u32, policy: u32) -> Result<(), LoadError> {
    let mut entry = match kernel.workloads.get(&id, 0) {
        Ok(Pod(entry)) => entry,
        Err(_) => WorkloadEntry {
            policy: [policy; 2],
        },
    };
    entry.policy[bank as usize] = policy;
    kernel
        .workloads
        .insert(id, Pod(entry), 0)
        .map_err(|error| LoadError::map("WORKLOADS", error))
}
