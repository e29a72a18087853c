//! Programs at performance events: uprobes (an offset of a file, for every process that maps it), and
//! tracepoints by their number.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use aya_obj::generated::{perf_event_attr, perf_type_id::PERF_TYPE_TRACEPOINT};

use super::sys;

/// The kernel's `uprobe` performance unit.
const UNIT: &str = "/sys/bus/event_source/devices/uprobe";

/// `PERF_FLAG_FD_CLOEXEC` of `include/uapi/linux/perf_event.h`.
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;

/// How this kernel names uprobes.
#[derive(Clone, Copy, Debug)]
pub struct Uprobes {
    kind: u32,
    return_bit: u32,
}

/// Where a probe is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Before the instruction there.
    Instruction,
    /// Where the function that begins there returns to.
    Return,
}

/// A program at an event, until this is dropped.
#[derive(Debug)]
pub struct Event {
    // Declared first, so that it is closed first.
    _link: OwnedFd,
    _event: OwnedFd,
}

impl Uprobes {
    /// Reads how this kernel names them.
    ///
    /// # Errors
    ///
    /// When it has none.
    pub fn find() -> io::Result<Self> {
        let number = |name: &str, prefix: &str| {
            let text = fs::read_to_string(Path::new(UNIT).join(name))?;
            let number = text.trim().trim_start_matches(prefix).parse();
            number.map_err(|_| io::Error::other(format!("{UNIT}/{name} holds {text:?}")))
        };
        Ok(Self {
            kind: number("type", "")?,
            return_bit: number("format/retprobe", "config:")?,
        })
    }

    /// Attaches `program`. `file` may be any path that leads to the file, also one below `/proc/PID/fd`:
    /// the kernel keeps the inode. The program finds `cookie` by `bpf_get_attach_cookie()`.
    ///
    /// # Errors
    ///
    /// When the kernel refuses: no such file, or no instruction at that offset.
    pub fn attach(
        self,
        program: BorrowedFd<'_>,
        file: &Path,
        offset: u64,
        at: At,
        cookie: u64,
    ) -> io::Result<Event> {
        let file = CString::new(file.as_os_str().as_bytes())?;
        // SAFETY: the struct is made of integers, and unions of them.
        let mut attr: perf_event_attr = unsafe { std::mem::zeroed() };
        attr.size = size_of::<perf_event_attr>() as u32;
        attr.type_ = self.kind;
        if at == At::Return {
            attr.config = 1 << self.return_bit;
        }
        attr.__bindgen_anon_3.config1 = file.as_ptr() as u64;
        attr.__bindgen_anon_4.config2 = offset;
        attach(program, &attr, cookie)
    }
}

/// Attaches `program` to the tracepoint with this number.
///
/// # Errors
///
/// When the kernel refuses.
pub(super) fn attach_tracepoint(program: BorrowedFd<'_>, id: u64) -> io::Result<Event> {
    // SAFETY: the struct is made of integers, and unions of them.
    let mut attr: perf_event_attr = unsafe { std::mem::zeroed() };
    attr.size = size_of::<perf_event_attr>() as u32;
    attr.type_ = PERF_TYPE_TRACEPOINT as u32;
    attr.config = id;
    attach(program, &attr, 0)
}

fn attach(program: BorrowedFd<'_>, attr: &perf_event_attr, cookie: u64) -> io::Result<Event> {
    let event = open_event(attr)?;
    // SAFETY: `open_event` made it for us.
    let event = unsafe { OwnedFd::from_raw_fd(event) };
    let link = sys::link_event(program, event.as_raw_fd(), cookie)?;
    Ok(Event {
        _link: link,
        _event: event,
    })
}

/// Every process, whatever CPU it runs on: a program is not bound to the event's CPU.
fn open_event(attr: &perf_event_attr) -> io::Result<i32> {
    const EVERY_PROCESS: libc::pid_t = -1;
    const CPU: libc::c_int = 0;
    const NO_GROUP: libc::c_int = -1;
    loop {
        // SAFETY: `attr` and the path in it are readable for the call.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                std::ptr::from_ref(attr),
                EVERY_PROCESS,
                CPU,
                NO_GROUP,
                PERF_FLAG_FD_CLOEXEC,
            )
        };
        if fd >= 0 {
            return Ok(fd as i32);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
