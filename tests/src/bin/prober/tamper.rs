//! Reaches into other processes, and into what keeps the daemon's programs attached.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use hoop_tests::probe::{Done, Failure, Outcome, Tamper};

use super::call::{call, failure};

/// `BPF_OBJ_GET` of `include/uapi/linux/bpf.h`.
const OBJ_GET: i64 = 7;

/// Tries it.
pub(crate) fn tamper(tamper: &Tamper) -> Outcome {
    let value = match tamper {
        Tamper::Seize { pid } => {
            // It is not stopped by that, and is let go when this process ends.
            // SAFETY: the request takes no memory.
            call("ptrace", || unsafe {
                libc::ptrace(libc::PTRACE_SEIZE, *pid as libc::pid_t, 0, 0)
            })?
        }
        Tamper::Open { path } => {
            fs::File::open(path).map_err(|error| failure("open", &error))?;
            0
        }
        Tamper::Signal { pid, signal } => {
            // SAFETY: kill takes no memory.
            call("kill", || unsafe {
                libc::kill(*pid as libc::pid_t, *signal)
            })?
        }
        Tamper::GetPin { path } => get_pin(path)?,
        Tamper::Remove { path } => done("unlink", fs::remove_file(path))?,
        Tamper::RemoveDirectory { path } => done("rmdir", fs::remove_dir(path))?,
        Tamper::Rename { from, to } => done("rename", fs::rename(from, to))?,
        Tamper::Unmount { path } => {
            let path = text(path)?;
            // SAFETY: a string that ends with a NUL.
            call("umount2", || unsafe {
                libc::umount2(path.as_ptr(), libc::MNT_DETACH)
            })?
        }
    };
    Ok(Done {
        value,
        pid: std::process::id(),
        ..Done::default()
    })
}

fn done(name: &str, result: std::io::Result<()>) -> Result<i64, Failure> {
    result.map(|()| 0).map_err(|error| failure(name, &error))
}

/// The descriptor of a pinned object.
fn get_pin(path: &Path) -> Result<i64, Failure> {
    /// The members of `union bpf_attr` for `BPF_OBJ_GET`.
    #[repr(C)]
    struct Attr {
        pathname: u64,
        bpf_fd: u32,
        file_flags: u32,
    }
    let path = text(path)?;
    let attr = Attr {
        pathname: path.as_ptr() as u64,
        bpf_fd: 0,
        file_flags: 0,
    };
    // SAFETY: the attributes are as long as the call is told, and the string outlives it.
    call("bpf", || unsafe {
        libc::syscall(
            libc::SYS_bpf,
            OBJ_GET,
            std::ptr::from_ref(&attr),
            size_of::<Attr>(),
        )
    })
}

fn text(path: &Path) -> Result<CString, Failure> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_nul| Failure::new("path", libc::EINVAL))
}
