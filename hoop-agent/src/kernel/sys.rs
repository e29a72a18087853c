//! The bpf(2) commands that aya 0.14 has no function for.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use aya_obj::generated::{
    bpf_attach_type::BPF_PERF_EVENT, bpf_map_type::BPF_MAP_TYPE_ARRAY_OF_MAPS,
    bpf_prog_type::BPF_PROG_TYPE_SOCKET_FILTER,
};
use zerocopy::{Immutable, IntoBytes};

const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_MAP_UPDATE_BATCH: libc::c_int = 26;
const BPF_LINK_CREATE: libc::c_int = 28;
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

/// `union bpf_attr`, the part for a new link to a performance event.
#[repr(C)]
#[derive(IntoBytes, Immutable)]
struct EventLinkAttr {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    bpf_cookie: u64,
}

/// Runs a program at a performance event, until the link is closed.
pub fn link_event(program: BorrowedFd<'_>, event: RawFd, cookie: u64) -> io::Result<OwnedFd> {
    let attr = EventLinkAttr {
        prog_fd: program.as_raw_fd() as u32,
        target_fd: event as u32,
        attach_type: BPF_PERF_EVENT as u32,
        flags: 0,
        bpf_cookie: cookie,
    };
    let fd = bpf(BPF_LINK_CREATE, &attr)?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
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

/// `union bpf_attr`, the part for new maps, as far as it is used.
#[repr(C)]
#[derive(IntoBytes, Immutable)]
struct MapAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
    reserved: u32,
}

/// `union bpf_attr`, the part for programs, as far as it is used.
#[repr(C)]
#[derive(IntoBytes, Immutable)]
struct ProgramAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
}

/// Asks whether the kernel takes a program of these instructions (`struct bpf_insn`).
pub fn try_program(instructions: &[[u8; 8]]) -> io::Result<()> {
    let attr = ProgramAttr {
        prog_type: BPF_PROG_TYPE_SOCKET_FILTER as u32,
        insn_cnt: instructions.len() as u32,
        insns: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
    };
    let fd = bpf(BPF_PROG_LOAD, &attr)?;
    // SAFETY: the kernel just made this descriptor for us.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(())
}

/// Makes an array of `entries` maps that are like `inner`.
pub fn create_array_of_maps(
    name: &str,
    entries: u32,
    inner: BorrowedFd<'_>,
) -> io::Result<OwnedFd> {
    let mut map_name = [0; 16];
    // The last byte stays 0.
    for (to, from) in map_name[..15].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    let attr = MapAttr {
        map_type: BPF_MAP_TYPE_ARRAY_OF_MAPS as u32,
        key_size: size_of::<u32>() as u32,
        value_size: size_of::<u32>() as u32,
        max_entries: entries,
        map_flags: 0,
        inner_map_fd: inner.as_raw_fd() as u32,
        numa_node: 0,
        map_name,
        reserved: 0,
    };
    let fd = bpf(BPF_MAP_CREATE, &attr)?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Pins an object, where nothing is yet.
pub fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attr = ObjectAttr {
        path: path.as_ptr() as u64,
        bpf_fd: object.as_raw_fd() as u32,
        file_flags: 0,
    };
    bpf(BPF_OBJ_PIN, &attr).map(drop)
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
