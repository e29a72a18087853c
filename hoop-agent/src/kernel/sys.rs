//! The bpf(2) commands that aya 0.14 has no function for.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use zerocopy::{Immutable, IntoBytes};

const BPF_OBJ_GET: libc::c_int = 7;
const BPF_MAP_UPDATE_BATCH: libc::c_int = 26;
const BPF_LINK_UPDATE: libc::c_int = 29;

/// `union bpf_attr`, the part for batches.
#[repr(C)]
#[derive(IntoBytes, Immutable)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// `union bpf_attr`, the part for a link's update.
#[repr(C)]
#[derive(IntoBytes, Immutable)]
struct LinkUpdateAttr {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

/// Writes `values` to the entries 0 to `values.len() - 1` of an array map in one system call.
pub fn update_array<T: IntoBytes + Immutable>(map: BorrowedFd<'_>, values: &[T]) -> io::Result<()> {
    let keys: Vec<u32> = (0..values.len() as u32).collect();
    let attr = BatchAttr {
        in_batch: 0,
        out_batch: 0,
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count: keys.len() as u32,
        map_fd: map.as_raw_fd() as u32,
        elem_flags: 0,
        flags: 0,
    };
    bpf(BPF_MAP_UPDATE_BATCH, &attr).map(drop)
}

/// Puts another program behind a cgroup link, in one step.
pub fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attr = LinkUpdateAttr {
        link_fd: link.as_raw_fd() as u32,
        new_prog_fd: program.as_raw_fd() as u32,
        flags: 0,
        old_prog_fd: 0,
    };
    bpf(BPF_LINK_UPDATE, &attr).map(drop)
}

/// `union bpf_attr`, the part for pinned objects.
#[repr(C)]
#[derive(IntoBytes, Immutable)]
struct ObjectAttr {
    path: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// Opens a pinned object.
pub fn open_pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attr = ObjectAttr {
        path: path.as_ptr() as u64,
        bpf_fd: 0,
        file_flags: 0,
    };
    let fd = bpf(BPF_OBJ_GET, &attr)?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bpf<T: IntoBytes + Immutable>(command: libc::c_int, attr: &T) -> io::Result<i32> {
    loop {
        // SAFETY: `attr` is readable for its size, and what it points to outlives the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                command,
                std::ptr::from_ref(attr),
                size_of::<T>(),
            )
        };
        if result >= 0 {
            return Ok(result as i32);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
