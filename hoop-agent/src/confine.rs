//! The daemon confines itself: whoever takes it over gets no more than it needs once it runs.

use std::io;

use nix::{
    sys::{
        resource::{Resource, setrlimit},
        stat::{Mode, umask},
    },
    unistd::Pid,
};

/// A capability, see capabilities(7).
struct Capability {
    number: u32,
    name: &'static str,
}

/// What the daemon keeps once it enforces. README.md says what each is for.
const KEPT: [Capability; 7] = [
    Capability {
        number: 1,
        name: "dac_override",
    },
    Capability {
        number: 2,
        name: "dac_read_search",
    },
    Capability {
        number: 5,
        name: "kill",
    },
    Capability {
        number: 12,
        name: "net_admin",
    },
    Capability {
        number: 19,
        name: "sys_ptrace",
    },
    Capability {
        number: 21,
        name: "sys_admin",
    },
    Capability {
        number: 39,
        name: "bpf",
    },
];

/// System calls that a running daemon has no use for and an intruder has.
const REFUSED: [libc::c_long; 33] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_userfaultfd,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
    libc::SYS_personality,
    libc::SYS_mknodat,
    libc::SYS_syslog,
];

/// `BPF_PROG_LOAD` of `include/uapi/linux/bpf.h`: all programs are loaded when the daemon starts.
const BPF_PROG_LOAD: u32 = 5;

/// To be called first: files that are made are for this user only, and memory ends up in no core
/// file and is read by no other process of this user.
///
/// # Errors
///
/// When the kernel refuses.
pub fn begin() -> io::Result<()> {
    umask(Mode::from_bits_truncate(0o077));
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    nix::sys::prctl::set_dumpable(false)?;
    Ok(())
}

/// To be called in every thread that started before [`process`]: takes its other capabilities and
/// every way to new ones.
///
/// # Errors
///
/// When the kernel refuses.
pub fn thread() -> io::Result<()> {
    nix::sys::prctl::set_no_new_privs()?;
    let wanted = KEPT
        .iter()
        .fold(0_u64, |set, capability| set | 1 << capability.number);
    let has = permitted()?;
    for missing in KEPT.iter().filter(|kept| has >> kept.number & 1 == 0) {
        tracing::warn!("started without cap_{}", missing.name);
    }
    set_capabilities(has & wanted)
}

/// To be called in a thread that needs no capability at all.
///
/// # Errors
///
/// When the kernel refuses.
pub fn bare_thread() -> io::Result<()> {
    nix::sys::prctl::set_no_new_privs()?;
    set_capabilities(0)
}

/// What the daemon may open sockets for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// Its command line, and the kernel.
    Local,
    /// Those, and what takes records over the network.
    Internet,
}

/// To be called in the main thread once everything is attached. Threads that it starts later are as
/// confined as it is, and the filter of system calls holds for all of them.
///
/// # Errors
///
/// When the kernel refuses.
pub fn process(sockets: Sockets) -> io::Result<()> {
    thread()?;
    let filter = filter(sockets);
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the program is valid for the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_TSYNC,
            &raw const program,
        )
    };
    match result {
        0 => Ok(()),
        error if error < 0 => Err(io::Error::last_os_error()),
        thread => Err(io::Error::other(format!(
            "thread {} has another filter",
            Pid::from_raw(thread as i32)
        ))),
    }
}

/// `struct __user_cap_header_struct` of `include/uapi/linux/capability.h`.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

/// Two of `struct __user_cap_data_struct`: low words, then high words.
#[repr(C)]
#[derive(Default)]
struct CapabilityData([CapabilityWords; 2]);

#[repr(C)]
#[derive(Default)]
struct CapabilityWords {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

static CAPABILITY_HEADER: CapabilityHeader = CapabilityHeader {
    // _LINUX_CAPABILITY_VERSION_3
    version: 0x2008_0522,
    // The calling thread.
    pid: 0,
};

fn permitted() -> io::Result<u64> {
    let mut data = CapabilityData::default();
    // SAFETY: version 3 fills two sets of words.
    let result = unsafe {
        libc::syscall(
            libc::SYS_capget,
            &raw const CAPABILITY_HEADER,
            &raw mut data,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let [low, high] = data.0;
    Ok(u64::from(high.permitted) << 32 | u64::from(low.permitted))
}

fn set_capabilities(set: u64) -> io::Result<()> {
    let words = |set: u32| CapabilityWords {
        effective: set,
        permitted: set,
        inheritable: 0,
    };
    let data = CapabilityData([words(set as u32), words((set >> 32) as u32)]);
    // SAFETY: version 3 reads two sets of words.
    let result = unsafe {
        libc::syscall(
            libc::SYS_capset,
            &raw const CAPABILITY_HEADER,
            &raw const data,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Offsets in `struct seccomp_data` of `include/uapi/linux/seccomp.h`, little endian.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

/// `AUDIT_ARCH_*` of `include/uapi/linux/audit.h`.
#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;

/// System calls of the x32 ABI have this bit, and other numbers.
const X32: u32 = 0x4000_0000;

/// The filter, in classic BPF. What is refused fails with EPERM; another architecture's numbers
/// mean other calls, and end the daemon.
fn filter(sockets: Sockets) -> Vec<libc::sock_filter> {
    let mut filter = vec![
        load(ARCHITECTURE),
        skip_if_equal(NATIVE),
        answer(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER),
        skip_unless_at_least(X32),
        answer(refusal(libc::EPERM)),
    ];
    for number in REFUSED {
        filter.extend([
            skip_unless_equal(number as u32),
            answer(refusal(libc::EPERM)),
        ]);
    }
    let mut families = vec![libc::AF_UNIX, libc::AF_NETLINK];
    if sockets == Sockets::Internet {
        families.extend([libc::AF_INET, libc::AF_INET6]);
    }
    filter.extend([
        jump(
            libc::BPF_JEQ,
            libc::SYS_socket as u32,
            0,
            2 * families.len() as u8 + 2,
        ),
        load(FIRST_ARGUMENT),
    ]);
    for family in families {
        filter.extend([
            skip_unless_equal(family as u32),
            answer(libc::SECCOMP_RET_ALLOW),
        ]);
    }
    filter.extend([
        answer(refusal(libc::EAFNOSUPPORT)),
        jump(libc::BPF_JEQ, libc::SYS_bpf as u32, 0, 3),
        load(FIRST_ARGUMENT),
        skip_unless_equal(BPF_PROG_LOAD),
        answer(refusal(libc::EPERM)),
        answer(libc::SECCOMP_RET_ALLOW),
    ]);
    filter
}

fn load(offset: u32) -> libc::sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0)
}

fn skip_if_equal(value: u32) -> libc::sock_filter {
    jump(libc::BPF_JEQ, value, 1, 0)
}

fn skip_unless_equal(value: u32) -> libc::sock_filter {
    jump(libc::BPF_JEQ, value, 0, 1)
}

fn skip_unless_at_least(value: u32) -> libc::sock_filter {
    jump(libc::BPF_JGE, value, 0, 1)
}

/// Skips `yes` instructions if the comparison holds, `no` if it does not.
fn jump(comparison: u32, value: u32, yes: u8, no: u8) -> libc::sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_K | comparison, value, yes, no)
}

fn answer(action: u32) -> libc::sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, action, 0, 0)
}

fn refusal(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno as u32
}

fn instruction(code: u32, k: u32, yes: u8, no: u8) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: yes,
        jf: no,
        k,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    /// What the filter says to a call, by an interpreter of the few instructions that it has.
    fn ask(architecture: u32, number: u32, argument: u32) -> u32 {
        ask_one(Sockets::Local, architecture, number, argument)
    }

    fn ask_one(sockets: Sockets, architecture: u32, number: u32, argument: u32) -> u32 {
        let filter = filter(sockets);
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let instruction = filter[at];
            at += 1;
            match u32::from(instruction.code) & 0xff {
                code if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => {
                    accumulator = match instruction.k {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        FIRST_ARGUMENT => argument,
                        other => panic!("offset {other}"),
                    };
                }
                code if code & 7 == libc::BPF_RET => return instruction.k,
                code => {
                    let holds = if code & 0xf0 == libc::BPF_JEQ {
                        accumulator == instruction.k
                    } else {
                        accumulator >= instruction.k
                    };
                    let skip = if holds {
                        instruction.jt
                    } else {
                        instruction.jf
                    };
                    at += usize::from(skip);
                }
            }
        }
    }

    #[test]
    fn the_filter_refuses_what_it_names_and_nothing_else() {
        let native = |number: libc::c_long, argument| ask(NATIVE, number as u32, argument);
        let eperm = refusal(libc::EPERM);
        for number in REFUSED {
            assert_eq!(native(number, 0), eperm, "{number}");
        }
        let allowed = libc::SECCOMP_RET_ALLOW;
        for number in (0..600).filter(|number| !REFUSED.contains(number)) {
            if number != libc::SYS_socket && number != libc::SYS_bpf {
                assert_eq!(native(number, BPF_PROG_LOAD), allowed, "{number}");
            }
        }
        for (family, expected) in [
            (libc::AF_UNIX, allowed),
            (libc::AF_NETLINK, allowed),
            (libc::AF_INET, refusal(libc::EAFNOSUPPORT)),
            (libc::AF_PACKET, refusal(libc::EAFNOSUPPORT)),
        ] {
            let family = u32::try_from(family).unwrap();
            assert_eq!(native(libc::SYS_socket, family), expected);
            let network = matches!(family as i32, libc::AF_INET | libc::AF_INET6);
            let expected = if network { allowed } else { expected };
            let socket = libc::SYS_socket as u32;
            assert_eq!(ask_one(Sockets::Internet, NATIVE, socket, family), expected);
        }
        assert_eq!(native(libc::SYS_bpf, BPF_PROG_LOAD), eperm);
        assert_eq!(native(libc::SYS_bpf, BPF_PROG_LOAD + 1), allowed);
        assert_eq!(ask(NATIVE, X32 | 1, 0), eperm);
        assert_eq!(ask(NATIVE ^ 1, 1, 0), libc::SECCOMP_RET_KILL_PROCESS);
    }
}
