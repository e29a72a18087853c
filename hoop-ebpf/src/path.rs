//! Paths of programs and directories, resolved as the kernel has them.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_kernel};
use hoop_common::limits::{PATH_BYTES, PATH_STEPS};

use crate::{
    kernel::{KernelPtr, offset},
    verifier::{Forgotten, opaque},
};

/// Longest name of a directory entry (`NAME_MAX` of `include/uapi/linux/limits.h`).
const NAME_MAX: u32 = 255;

/// A path, and room to resolve it in.
#[repr(C)]
pub struct Path {
    /// It grows from the end of the first [`PATH_BYTES`] toward the front.
    bytes: [u8; PATH_BYTES + NAME_MAX as usize + 1],
    /// Where it starts.
    at: Forgotten<u32>,
    /// Whether it is whole, as 0 or 1.
    whole: Forgotten<u32>,
    /// Whether a mount on the way was made by a user namespace, as 0 or 1.
    user_mounts: Forgotten<u32>,
    /// The `vfsmount` that the walk is in.
    mount: Forgotten<u64>,
    /// The `dentry` that the walk is at.
    dentry: Forgotten<u64>,
}

impl Path {
    /// Resolves a `struct path` as `d_path` would, to the root of the mount namespace.
    #[inline(always)]
    pub fn resolve(&mut self, path: KernelPtr) {
        self.at.set(PATH_BYTES as u32);
        self.whole.set(0);
        self.user_mounts.set(0);
        self.mount.set(path.at(offset!(path_mnt)).read_or_zero());
        self.dentry
            .set(path.at(offset!(path_dentry)).read_or_zero());
        let mut climb = Climb { path: self };
        // SAFETY: the callback takes a `Climb`, which outlives the call.
        unsafe {
            bpf_loop(
                PATH_STEPS,
                step as *mut c_void,
                (&raw mut climb).cast::<c_void>(),
                0,
            )
        };
        if self.at.get() == PATH_BYTES as u32 {
            // The root directory itself.
            self.put_slash();
        }
    }

    /// Whether the last [`Path::resolve`] reached the root. If not, the path is cut at its front.
    #[inline(always)]
    pub fn is_whole(&self) -> bool {
        self.whole.get() != 0
    }

    /// Whether the last [`Path::resolve`] went through a mount of a user namespace other than the
    /// first: one that its user could make.
    #[inline(always)]
    pub fn has_user_mounts(&self) -> bool {
        self.user_mounts.get() != 0
    }

    /// The first of the bytes, of which the path uses those from [`Path::start`] up to
    /// [`PATH_BYTES`].
    #[inline(always)]
    pub fn bytes(&self) -> *const u8 {
        (&raw const self.bytes).cast()
    }

    /// Where the path starts, below [`PATH_BYTES`].
    #[inline(always)]
    pub fn start(&self) -> u32 {
        opaque(self.at.get()) & (PATH_BYTES as u32 - 1)
    }

    /// One step up: over a mount point, or over a name, which it writes. `None` at the top.
    #[inline(always)]
    fn climb(&mut self) -> Option<()> {
        let (mount, dentry) = (KernelPtr(self.mount.get()), KernelPtr(self.dentry.get()));
        if mount.at(offset!(vfsmount_mnt_root)).read::<u64>()? == dentry.0 {
            let outer = KernelPtr(mount.0.wrapping_sub(offset!(mount_mnt) as u64));
            let level: u32 = outer
                .follow_or_zero(offset!(mount_mnt_ns))
                .follow_or_zero(offset!(mnt_namespace_user_ns))
                .at(offset!(user_namespace_level))
                .read_or_zero();
            if level != 0 {
                self.user_mounts.set(1);
            }
            let parent: u64 = outer.at(offset!(mount_mnt_parent)).read()?;
            if parent == outer.0 {
                self.whole.set(1);
                return None;
            }
            self.mount.set(KernelPtr(parent).at(offset!(mount_mnt)).0);
            self.dentry
                .set(outer.at(offset!(mount_mnt_mountpoint)).read()?);
            return Some(());
        }
        let parent: u64 = dentry.at(offset!(dentry_d_parent)).read()?;
        let name: u64 = dentry.at(offset!(dentry_d_name_name)).read()?;
        let len: u32 = dentry.at(offset!(dentry_d_name_len)).read()?;
        // `NAME_MAX` is a mask too.
        let len = opaque(len) & NAME_MAX;
        let at = self.at.get();
        if at < len + 2 {
            return None;
        }
        let at = opaque(at - len) & (PATH_BYTES as u32 - 1);
        // SAFETY: `at` is below `PATH_BYTES` and the buffer is `NAME_MAX` longer.
        unsafe {
            let bytes = (&raw mut self.bytes).cast::<u8>();
            bpf_probe_read_kernel(bytes.add(at as usize).cast(), len, name as *const _);
        }
        self.at.set(at);
        self.put_slash();
        if parent == dentry.0 {
            // The root of a file system that is mounted nowhere: a memfd.
            self.whole.set(1);
            return None;
        }
        self.dentry.set(parent);
        Some(())
    }

    /// Puts a slash before what is there.
    #[inline(always)]
    fn put_slash(&mut self) {
        let at = (self.at.get().wrapping_sub(1)) & (PATH_BYTES as u32 - 1);
        // SAFETY: `at` is below `PATH_BYTES`.
        unsafe { *(&raw mut self.bytes).cast::<u8>().add(at as usize) = b'/' };
        self.at.set(at);
    }
}

struct Climb {
    path: *mut Path,
}

/// [`Path::climb`] for `bpf_loop`, of which the verifier follows one turn for all; 1 ends the loop.
unsafe extern "C" fn step(_turn: u32, context: *mut c_void) -> i64 {
    // SAFETY: `Path::resolve` passes a `Climb`, and its own reference sleeps meanwhile.
    let path = unsafe { &mut *(*context.cast::<Climb>()).path };
    i64::from(path.climb().is_none())
}
