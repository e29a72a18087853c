//! The LSM's `inode_unlink`, `inode_rmdir`, `inode_rename` and `sb_umount`: a task takes something away
//! from a file system, or the whole of it.
//!
//! Fails closed for a process of a workload and any BPF file system: a pin is what keeps Hoop's programs
//! attached while no daemon runs. Other file systems are let through before anything else is read.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use hoop_common::event::Hook;

use super::lsm_answer;
use crate::{
    guard::{self, NOBODY, Reach},
    kernel::{KernelPtr, offset},
    workload::Workload,
};

/// Entry for names.
#[lsm(hook = "inode_unlink")]
pub fn hoop_unlink(ctx: LsmContext) -> i32 {
    // LSM_HOOK(int, 0, inode_unlink, struct inode *dir, struct dentry *dentry)
    lsm_answer(try_remove(inode(ctx.arg(0)), Hook::Unlink).is_some())
}

/// Entry for directories.
#[lsm(hook = "inode_rmdir")]
pub fn hoop_rmdir(ctx: LsmContext) -> i32 {
    // LSM_HOOK(int, 0, inode_rmdir, struct inode *dir, struct dentry *dentry)
    lsm_answer(try_remove(inode(ctx.arg(0)), Hook::Rmdir).is_some())
}

/// Entry for other names.
#[lsm(hook = "inode_rename")]
pub fn hoop_rename(ctx: LsmContext) -> i32 {
    // LSM_HOOK(int, 0, inode_rename, struct inode *old_dir, struct dentry *old_dentry,
    //          struct inode *new_dir, struct dentry *new_dentry)
    lsm_answer(try_remove(inode(ctx.arg(0)), Hook::Rename).is_some())
}

/// Entry for mounts.
#[lsm(hook = "sb_umount")]
pub fn hoop_umount(ctx: LsmContext) -> i32 {
    // LSM_HOOK(int, 0, sb_umount, struct vfsmount *mnt, int flags)
    let mount: *const u8 = ctx.arg(0);
    let super_block = KernelPtr(mount as u64).follow(offset!(vfsmount_mnt_sb));
    lsm_answer(try_remove(super_block, Hook::Umount).is_some())
}

/// The `super_block` of a directory's `inode`.
#[inline(always)]
fn inode(directory: *const u8) -> Option<KernelPtr> {
    KernelPtr(directory as u64).follow(offset!(inode_i_sb))
}

#[inline(always)]
fn try_remove(super_block: Option<KernelPtr>, hook: Hook) -> Option<()> {
    if !guard::holds_pins(super_block?) {
        return None;
    }
    let workload = Workload::of_current_process()?;
    let reach = Reach {
        hook,
        target: NOBODY,
        detail: 0,
    };
    guard::denies(workload, reach, |policy| policy.tamper_rule).then_some(())
}
