//! Questions to the kernel about BPF programs.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::errno::Errno;

/// `BPF_PROG_GET_FD_BY_ID` and the other commands of bpf(2) used here.
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const OBJ_GET: libc::c_long = 7;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const PROG_QUERY: libc::c_long = 16;
const ENABLE_STATS: libc::c_long = 32;

/// Attach types to ask about: more than there are, the kernel refuses the rest.
const ATTACH_TYPES: std::ops::Range<u32> = 0..80;

/// A loaded program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Program {
    /// Its number in the kernel.
    pub id: u32,
    /// A `BPF_PROG_TYPE_*`.
    pub kind: u32,
}

/// What a program did while somebody was [`Counting`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// How often it ran.
    pub runs: u64,
    /// How long all runs together took, in nanoseconds.
    pub time_ns: u64,
}

/// While this lives, the kernel counts how often programs run, and how long.
#[derive(Debug)]
pub struct Counting {
    _fd: OwnedFd,
}

impl Program {
    /// Whether it is of a kind that attaches to cgroups: socket, packet or address.
    #[must_use]
    pub const fn is_for_cgroups(&self) -> bool {
        // CGROUP_SKB, CGROUP_SOCK, SOCK_OPS, CGROUP_DEVICE, CGROUP_SOCK_ADDR, CGROUP_SYSCTL,
        // CGROUP_SOCKOPT
        matches!(self.kind, 8 | 9 | 13 | 15 | 18 | 23 | 25)
    }

    /// Its name, of which the kernel keeps 15 bytes.
    ///
    /// # Panics
    ///
    /// When it is gone.
    #[must_use]
    pub fn name(&self) -> String {
        // `name` of `struct bpf_prog_info`.
        const NAME: std::ops::Range<usize> = 64..80;
        let program = self.open();
        let mut info = [0_u64; 32];
        let pointer = info.as_mut_ptr().addr() as u64;
        // bpf_fd and info_len, info
        let known = (size_of_val(&info) as u64) << 32;
        let mut attributes = [
            u64::from(program.as_raw_fd().cast_unsigned()) | known,
            pointer,
        ];
        // SAFETY: the attributes are as long as the call is told, and the info as long as they say.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                OBJ_GET_INFO_BY_FD,
                attributes.as_mut_ptr(),
                size_of_val(&attributes),
            )
        };
        assert_eq!(Errno::result(result), Ok(0), "BPF_OBJ_GET_INFO_BY_FD");
        let bytes: Vec<u8> = info.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let name = bytes[NAME].split(|&byte| byte == 0).next();
        String::from_utf8_lossy(name.unwrap_or_default()).into_owned()
    }

    /// How often it ran while somebody was [`Counting`].
    ///
    /// # Panics
    ///
    /// When it is gone.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.cost().runs
    }

    /// What it did while somebody was [`Counting`].
    ///
    /// # Panics
    ///
    /// When it is gone.
    #[must_use]
    pub fn cost(&self) -> Cost {
        let program = self.open();
        let count = |name| field(&program, name).unwrap_or_else(|| panic!("{name} in fdinfo"));
        Cost {
            runs: count("run_cnt"),
            time_ns: count("run_time_ns"),
        }
    }

    fn open(&self) -> OwnedFd {
        bpf(PROG_GET_FD_BY_ID, &mut [self.id, 0, 0]).expect("the program is there")
    }
}

/// Starts to count how often programs run.
///
/// # Panics
///
/// When the kernel refuses.
#[must_use]
pub fn count_runs() -> Counting {
    // BPF_STATS_RUN_TIME is 0.
    let fd = bpf(ENABLE_STATS, &mut [0_u32; 1]).expect("BPF_ENABLE_STATS");
    Counting { _fd: fd }
}

/// The programs that are pinned below `directory`, or whose links are.
///
/// # Panics
///
/// When a pin cannot be opened.
#[must_use]
pub fn pinned(directory: &Path) -> Vec<Program> {
    let mut programs = Vec::new();
    for entry in fs::read_dir(directory)
        .expect("the pins are there")
        .flatten()
    {
        let path = entry.path();
        if path.is_dir() {
            programs.extend(pinned(&path));
            continue;
        }
        let name = CString::new(path.as_os_str().as_bytes()).expect("a path without NUL");
        let mut attributes = [0_u64; 2];
        attributes[0] = name.as_ptr().addr() as u64;
        let pin = bpf(OBJ_GET, &mut attributes)
            .unwrap_or_else(|errno| panic!("pin {}: {errno}", path.display()));
        let Some(id) = field(&pin, "prog_id") else {
            continue;
        };
        let id = u32::try_from(id).expect("ids have 32 bits");
        let program = bpf(PROG_GET_FD_BY_ID, &mut [id, 0, 0]).expect("the program is there");
        let kind = field(&program, "prog_type").expect("prog_type in fdinfo");
        let kind = u32::try_from(kind).expect("types have 32 bits");
        programs.push(Program { id, kind });
    }
    programs.sort();
    programs.dedup();
    programs
}

/// The programs that a process has descriptors of.
///
/// # Panics
///
/// When the process is gone.
#[must_use]
pub fn held_by(pid: u32) -> Vec<Program> {
    let mut programs: Vec<Program> = fs::read_dir(format!("/proc/{pid}/fdinfo"))
        .expect("the process is there")
        .flatten()
        // A descriptor may be closed meanwhile.
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .filter_map(|info| {
            let number = |name| u32::try_from(number_in(&info, name)?).ok();
            Some(Program {
                id: number("prog_id")?,
                kind: number("prog_type")?,
            })
        })
        .collect();
    programs.sort();
    programs.dedup();
    programs
}

/// Numbers of the programs that are attached to the cgroup itself, not to those above it.
///
/// # Panics
///
/// When the cgroup is gone.
#[must_use]
pub fn attached(cgroup: &Path) -> Vec<u32> {
    let directory = File::open(cgroup).expect("the cgroup is there");
    let mut found = Vec::new();
    for kind in ATTACH_TYPES {
        let mut ids = [0_u32; 64];
        let pointer = ids.as_mut_ptr().addr() as u64;
        // target_fd, attach_type, query_flags, attach_flags, prog_ids, prog_cnt and more
        let mut attributes = [0_u32; 16];
        attributes[0] = directory.as_raw_fd().cast_unsigned();
        attributes[1] = kind;
        attributes[4] = pointer as u32;
        attributes[5] = (pointer >> 32) as u32;
        attributes[6] = ids.len() as u32;
        // SAFETY: the attributes are as long as the call is told, and the ids as long as they say.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                PROG_QUERY,
                attributes.as_mut_ptr(),
                size_of_val(&attributes),
            )
        };
        if result == 0 {
            found.extend_from_slice(&ids[..attributes[6] as usize]);
        }
    }
    found
}

fn bpf<T>(command: libc::c_long, attributes: &mut [T]) -> Result<OwnedFd, Errno> {
    loop {
        // SAFETY: the attributes are as long as the call is told.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                command,
                attributes.as_mut_ptr(),
                size_of_val(attributes),
            )
        };
        match Errno::result(fd) {
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            // SAFETY: the descriptor is new and nobody else's.
            fd => return fd.map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) }),
        }
    }
}

/// A number in the descriptor's fdinfo.
fn field(fd: &OwnedFd, name: &str) -> Option<u64> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    number_in(&info, name)
}

fn number_in(info: &str, name: &str) -> Option<u64> {
    let mut lines = info.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(field, _)| *field == name)?;
    value.trim().parse().ok()
}
