//! JSON-RPC over pipes and Unix sockets between processes, as a program and its tools speak it by way of standard
//! input and output.
//!
//! Taken where it is written, and nowhere else: so each message is there once. Whether a channel carries
//! JSON-RPC is judged by how its first writes begin, and remembered.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_ktime_get_boot_ns, bpf_loop, bpf_probe_read_user};
use hoop_common::payload::{Carries, Channel, PieceHeader, PieceKind, STANDARD_OUTPUT};

use crate::{
    emit::fetch_add,
    kernel::{KernelPtr, Process, current_task, offset},
    maps::{CHANNELS, STANDARD},
    payload::{self, Text},
    verifier::at_most,
    workload::Workload,
};

/// Magic numbers of the file systems in which the kernel keeps pipes and sockets
/// (`include/uapi/linux/magic.h`). Named pipes are elsewhere.
const PIPEFS_MAGIC: u64 = 0x5049_5045;
const SOCKFS_MAGIC: u64 = 0x534f_434b;

/// `AF_UNIX` of `include/linux/socket.h`.
const AF_UNIX: u16 = 1;

/// Writes that are looked at before a channel counts as one that carries something else: servers
/// greet before they speak JSON.
const TRIES: u32 = 16;

/// Bytes of a write that are looked at.
const TASTE: usize = 32;

/// How a JSON-RPC message may begin, without white space: with any of its members (JSON-RPC 2.0, 4 and 5). As
/// numbers of so many bits.
const BEGINNINGS: [(u64, u32); 6] = [
    (u64::from_be_bytes(*b"{\"jsonrp"), 64),
    (u64::from_be_bytes(*b"{\"method"), 64),
    (u64::from_be_bytes(*b"{\"params"), 64),
    (u64::from_be_bytes(*b"{\"result"), 64),
    (u64::from_be_bytes(*b"{\"error\""), 64),
    (u64::from_be_bytes(*b"\0\0{\"id\":"), 48),
];

/// A channel that the running process wrote to.
#[derive(Clone, Copy)]
pub struct WrittenTo {
    workload: Workload,
    /// Most bytes of a call to take.
    limit: u64,
    id: u64,
}

/// The channels that a process has as standard input and output, or 0 for other files.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Standard {
    /// Start of the process: another may have its id later.
    start_ns: u64,
    input: u64,
    output: u64,
}

/// The channel behind a descriptor, if the process is one of which plaintext is taken.
#[inline(always)]
pub fn written_to(descriptor: u32) -> Option<WrittenTo> {
    let (workload, limit) = payload::captured()?;
    let file = file_at(descriptor)?;
    let id = hoop_channel(file.0, 1);
    (id != 0).then_some(WrittenTo {
        workload,
        limit,
        id,
    })
}

/// Takes `moved` bytes that were written to a channel, if they or what was written before look like JSON-RPC.
#[inline(always)]
pub fn take(to: WrittenTo, text: Text, moved: u64) -> Option<()> {
    let channel = taken(to.id, text, moved)?;
    // SAFETY: a map value; the verifier checks the access.
    let (since_ns, counter) = unsafe { ((*channel).since_ns, &raw mut (*channel).written) };
    let process = Process::current();
    let mut header = PieceHeader {
        workload: to.workload.id,
        start_ns: process.start_ns,
        object: to.id,
        since_ns,
        offset: fetch_add(counter, moved),
        kind: PieceKind::Piped as u8,
        ..payload::blank()
    };
    let standard = standard(process);
    if standard.output == to.id {
        header.join = STANDARD_OUTPUT;
        header.other = standard.input;
    }
    payload::send_text(header, text, moved, to.limit);
    Some(())
}

/// Notes what the running process has as standard input and output as it begins a program. Servers move them
/// later, so that nothing else is written there.
#[inline(always)]
pub fn begin() -> Option<()> {
    payload::captured()?;
    let process = Process::current();
    let _ = STANDARD.insert(process.tgid, Standard::now(process), 0);
    Some(())
}

/// What a process had as standard input and output when it began its program, else what it has now.
#[inline(always)]
fn standard(process: Process) -> Standard {
    match STANDARD.get_ptr(process.tgid) {
        // SAFETY: a map value that is written whole, when the process has one thread.
        Some(standard) => match unsafe { *standard } {
            standard if standard.start_ns == process.start_ns => standard,
            _ => Standard::now(process),
        },
        None => Standard::now(process),
    }
}

impl Standard {
    #[inline(always)]
    fn now(process: Process) -> Self {
        Self {
            start_ns: process.start_ns,
            input: file_at(0).map_or(0, |file| hoop_channel(file.0, 0)),
            output: file_at(1).map_or(0, |file| hoop_channel(file.0, 1)),
        }
    }
}

/// The file behind a descriptor of the running process.
#[inline(always)]
fn file_at(descriptor: u32) -> Option<KernelPtr> {
    let table = current_task()
        .0
        .follow(offset!(task_struct_files))?
        .follow(offset!(files_struct_fdt))?;
    let most: u32 = table.at(offset!(fdtable_max_fds)).read_or_zero();
    if descriptor >= most {
        return None;
    }
    let slot = descriptor as usize * size_of::<u64>();
    table.follow(offset!(fdtable_fd))?.follow(slot)
}

/// A channel whose text is taken, entered if it is new and `text` looks like JSON-RPC.
#[inline(always)]
fn taken(id: u64, text: Text, moved: u64) -> Option<*mut Channel> {
    if let Some(channel) = CHANNELS.get_ptr_mut(id) {
        // SAFETY: a map value, read volatile: other CPUs and the daemon change it.
        let (carries, others) = unsafe {
            (
                core::ptr::read_volatile(&raw const (*channel).carries),
                &raw mut (*channel).others,
            )
        };
        if carries == Carries::JsonRpc as u32 {
            return Some(channel);
        }
        if carries == Carries::Other as u32 {
            return None;
        }
        if hoop_is_json_rpc(text.buffer, text.slices, moved) == 0 {
            // SAFETY: a map value. Two CPUs may count one; the bound is no promise.
            unsafe {
                *others += 1;
                if *others >= TRIES {
                    (*channel).carries = Carries::Other as u32;
                }
            }
            return None;
        }
    } else if hoop_is_json_rpc(text.buffer, text.slices, moved) == 0 {
        let unknown = Channel {
            since_ns: 0,
            written: 0,
            carries: Carries::Unknown as u32,
            others: 1,
        };
        let _ = CHANNELS.insert(id, unknown, 0);
        return None;
    }
    let fresh = Channel {
        // SAFETY: the helper takes no pointers.
        since_ns: unsafe { bpf_ktime_get_boot_ns() },
        written: 0,
        carries: Carries::JsonRpc as u32,
        others: 0,
    };
    let _ = CHANNELS.insert(id, fresh, 0);
    CHANNELS.get_ptr_mut(id)
}

/// What names the channel behind a file: the inode number of the pipe, or that of the Unix socket at which what
/// is written to it is read, if `write` is not 0, and else of the socket itself. 0 for every other file.
/// Global, as every function here that the verifier is to follow once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hoop_channel(file: u64, write: u32) -> u64 {
    let file = KernelPtr(file);
    let inode = file.follow_or_zero(offset!(file_f_inode));
    let magic: u64 = inode
        .follow_or_zero(offset!(inode_i_sb))
        .at(offset!(super_block_s_magic))
        .read_or_zero();
    if magic == SOCKFS_MAGIC {
        let sk = file
            .follow_or_zero(offset!(file_private_data))
            .follow_or_zero(offset!(socket_sk));
        let family: u16 = sk.at(offset!(sock_common_skc_family)).read_or_zero();
        if family != AF_UNIX {
            return 0;
        }
        if write != 0 {
            return reader(sk);
        }
    } else if magic != PIPEFS_MAGIC {
        return 0;
    }
    inode.at(offset!(inode_i_ino)).read_or_zero()
}

/// The inode number of the socket that a Unix socket is connected to, or 0.
#[inline(always)]
fn reader(sk: KernelPtr) -> u64 {
    if offset!(unix_sock_peer) == 0 {
        return 0;
    }
    let Some(socket) = sk
        .follow(offset!(unix_sock_peer))
        .and_then(|peer| peer.follow(offset!(sock_sk_socket)))
    else {
        return 0;
    };
    // The kernel makes a socket and its inode as one (`struct socket_alloc`).
    let inode = socket
        .at(offset!(socket_alloc_vfs_inode))
        .0
        .wrapping_sub(offset!(socket_alloc_socket) as u64);
    KernelPtr(inode).at(offset!(inode_i_ino)).read_or_zero()
}

/// Whether text begins as a JSON-RPC message does, or a batch, or may: it is shorter than what tells. Of
/// scattered text the first slice is looked at.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hoop_is_json_rpc(buffer: u64, slices: u64, moved: u64) -> u32 {
    let mut first = [buffer, moved];
    if slices != 0 {
        // SAFETY: writes as many bytes as there are, and zeroes them if it fails.
        unsafe {
            bpf_probe_read_user(
                first.as_mut_ptr().cast(),
                size_of::<[u64; 2]>() as u32,
                buffer as *const _,
            );
        }
    }
    let [from, len] = first;
    let mut taste = Taste {
        text: [0; TASTE],
        start: 0,
        known: 0,
    };
    let len = at_most::<{ TASTE as u32 }>(len.min(moved).min(TASTE as u64) as u32);
    // SAFETY: `text` has room for that many, and is zeroed if it fails. The callback takes a `Taste`, which outlives the
    // call.
    unsafe {
        bpf_probe_read_user(taste.text.as_mut_ptr().cast(), len, from as *const _);
        bpf_loop(
            TASTE as u32,
            taste_byte as *mut c_void,
            (&raw mut taste).cast::<c_void>(),
            0,
        );
    }
    let Taste { start, known, .. } = taste;
    let begins = BEGINNINGS.iter().any(|(beginning, bits)| {
        let shared = known.min(*bits);
        start >> (known - shared) == beginning >> (bits - shared)
    });
    u32::from(known != 0 && begins)
}

/// The beginning of a text without white space.
struct Taste {
    text: [u8; TASTE],
    /// Its first characters as a number, of `known` bits.
    start: u64,
    known: u32,
}

/// One turn for `bpf_loop`; 1 ends the loop.
unsafe extern "C" fn taste_byte(turn: u32, context: *mut c_void) -> i64 {
    // SAFETY: `hoop_is_json_rpc` passes a `Taste`.
    let taste = unsafe { &mut *context.cast::<Taste>() };
    let Some(&byte) = taste.text.get(turn as usize) else {
        return 1;
    };
    let passed = byte <= b' ' || byte == b'[' && taste.known == 0;
    if !passed {
        taste.start = taste.start << 8 | u64::from(byte);
        taste.known += u8::BITS;
    }
    i64::from(taste.known >= u64::BITS)
}
