//! Plaintext of TLS connections, taken at the library's own functions.
//!
//! Only what a call really moved is taken: at its return, by what it returned. So a write that is
//! tried again is there once, and a read that gave nothing leaves nothing.

use core::ffi::c_void;

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid,
    generated::{
        bpf_get_smp_processor_id, bpf_ktime_get_boot_ns, bpf_loop, bpf_probe_read_user,
        bpf_ringbuf_output, bpf_ringbuf_reserve, bpf_ringbuf_submit,
    },
};
use hoop_common::{
    limits::{MAX_CALL_BYTES, PIECE_BYTES},
    payload::{PayloadLoss, PieceHeader, PieceKind, RECEIVED, TlsCall},
};

use crate::{
    emit::{exchange, fetch_add},
    kernel::Process,
    maps::{CALLS, CONNECTIONS, PAYLOAD, PAYLOAD_LOST, TURNS},
    verifier::opaque,
    workload::{self, Workload},
};

/// Most plaintext of a TLS record (RFC 8446, 5.1).
const RECORD_BYTES: u64 = 1 << 14;

/// Slices of scattered plaintext that are taken; what is in others is missing from the record, and
/// counted there.
const MAX_SLICES: u32 = 256;

/// Names a call that has not returned.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CallKey {
    /// Process and thread; of a goroutine only the process.
    pub thread: u64,
    /// The caller's stack pointer, which calls inside the call do not share; or the goroutine.
    pub frame: u64,
}

/// A call that has not returned.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Call {
    /// The connection.
    pub object: u64,
    /// Where the plaintext is, or will be.
    pub buffer: u64,
    /// Bytes at most.
    pub len: u64,
    /// Where the function will write how many bytes it moved, if it does. Of scattered plaintext: how
    /// many slices `buffer` points to.
    pub out: u64,
    /// Of scattered plaintext: where in it the bytes begin.
    pub start: u64,
    /// Cgroup id of the workload.
    pub workload: u64,
    /// Start of the process.
    pub start_ns: u64,
    /// Most bytes to take.
    pub limit: u64,
}

/// Names a connection.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ConnectionKey {
    /// Process id.
    pub tgid: u64,
    /// Address of its object.
    pub object: u64,
}

/// A connection.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Connection {
    /// When it was first seen.
    pub since_ns: u64,
    /// Bytes of plaintext that the process sent.
    pub sent: u64,
    /// Bytes of plaintext that it received.
    pub received: u64,
    /// Cookie of its socket, or 0.
    pub cookie: u64,
}

/// A thread whose next use of a socket says which socket a connection has.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Turn {
    /// The connection.
    pub object: u64,
    /// 1 while the thread is inside the library.
    pub inside: u64,
    /// Bytes of plaintext that were encrypted into memory and did not leave since.
    pub plain: u64,
    /// Records that they became, at most.
    pub records: u64,
    /// Cgroup id of the workload.
    pub workload: u64,
    /// Start of the process.
    pub start_ns: u64,
    /// 1 if a goroutine made the call.
    pub goroutine: u64,
}

/// The workload of the running process and how much of a call its policy takes. Called first of all:
/// nothing else is looked at for a process of which nothing is taken.
#[inline(always)]
pub fn captured() -> Option<(Workload, u64)> {
    if !workload::reporting() {
        return None;
    }
    let workload = Workload::of_current_process()?;
    let limit = u64::from(workload.governed().policy?.capture_bytes);
    (limit != 0).then_some((workload, limit))
}

/// Tells the daemon something of a process of which plaintext is taken: that it may use another
/// library now, or that it has ended.
#[inline(always)]
pub fn tell(kind: PieceKind, workload: Workload, process: Process) {
    let Some(policy) = workload.governed().policy else {
        return;
    };
    if policy.capture_bytes == 0 {
        return;
    }
    send(&PieceHeader {
        workload: workload.id,
        start_ns: process.start_ns,
        tgid: process.tgid,
        tid: process.tid,
        kind: kind as u8,
        ..blank()
    });
}

/// Notes that a call begins.
#[inline(always)]
pub fn begin(
    frame: u64,
    thread: u64,
    call: TlsCall,
    mut noted: Call,
    workload: Workload,
    limit: u64,
) {
    let process = Process::current();
    noted.workload = workload.id;
    noted.start_ns = process.start_ns;
    noted.limit = limit;
    let goroutine = is_go(call);
    if call.is_endless() || !joined(process.tgid, noted.object) {
        let thread = bpf_get_current_pid_tgid();
        let (plain, records) = unsent(thread, noted.object);
        let turn = Turn {
            object: noted.object,
            inside: 1,
            plain,
            records,
            workload: workload.id,
            start_ns: process.start_ns,
            goroutine: u64::from(goroutine),
        };
        let _ = TURNS.insert(thread, turn, 0);
    }
    if CALLS.insert(CallKey { thread, frame }, noted, 0).is_err() {
        lose(PayloadLoss::Calls, 1);
    }
}

/// Ends a call that moved `moved` bytes, which may be more than there was room for if the function
/// was misread.
#[inline(always)]
pub fn end(noted: &Call, call: TlsCall, moved: u64) {
    let moved = moved.min(noted.len);
    let pid_tgid = bpf_get_current_pid_tgid();
    let key = ConnectionKey {
        tgid: pid_tgid >> 32,
        object: noted.object,
    };
    let Some(connection) = connection(key) else {
        lose(PayloadLoss::Calls, 1);
        return;
    };
    if moved > 0 {
        take(noted, call, moved, connection);
    }
    // SAFETY: a map value.
    let unknown = unsafe { core::ptr::read_volatile(&raw const (*connection).cookie) } == 0;
    let (mut plain, mut records) = unsent(pid_tgid, noted.object);
    if call.direction() != RECEIVED {
        plain += moved;
        records += moved.div_ceil(RECORD_BYTES);
    }
    if plain > 0 && (unknown || call.is_endless()) && !is_go(call) {
        let turn = Turn {
            object: noted.object,
            inside: 0,
            plain,
            records,
            workload: noted.workload,
            start_ns: noted.start_ns,
            goroutine: 0,
        };
        let _ = TURNS.insert(pid_tgid, turn, 0);
    } else {
        let _ = TURNS.remove(pid_tgid);
    }
}

/// Bytes and records that the thread encrypted into memory for a connection and did not send since.
#[inline(always)]
fn unsent(thread: u64, object: u64) -> (u64, u64) {
    match TURNS.get_ptr(thread) {
        // SAFETY: only this thread writes the entry.
        Some(turn) => match unsafe { *turn } {
            turn if turn.object == object => (turn.plain, turn.records),
            _ => (0, 0),
        },
        None => (0, 0),
    }
}

/// Says that the library forgot a connection.
#[inline(always)]
pub fn close(object: u64, call: TlsCall, workload: Workload) {
    let process = Process::current();
    let key = ConnectionKey {
        tgid: u64::from(process.tgid),
        object,
    };
    let Some(connection) = CONNECTIONS.get_ptr(key) else {
        return;
    };
    // SAFETY: a map value, copied at once.
    let Connection {
        since_ns,
        sent,
        received,
        ..
    } = unsafe { *connection };
    let _ = CONNECTIONS.remove(key);
    let header = PieceHeader {
        workload: workload.id,
        start_ns: process.start_ns,
        object,
        since_ns,
        offset: sent,
        other: received,
        kind: PieceKind::Closed as u8,
        call: call as u8,
        ..blank()
    };
    send(&header);
}

/// Joins a connection to a socket. `None` if another thread was quicker.
#[inline(always)]
pub fn join(tgid: u32, object: u64, cookie: u64) -> Option<Connection> {
    let key = ConnectionKey {
        tgid: u64::from(tgid),
        object,
    };
    let connection = connection(key)?;
    // SAFETY: a map value; the verifier checks the access.
    let word = unsafe { &raw mut (*connection).cookie };
    if exchange(word, cookie) == cookie {
        return None;
    }
    // SAFETY: as above.
    Some(unsafe { *connection })
}

/// A header with what the kernel knows by itself.
#[inline(always)]
pub fn blank() -> PieceHeader {
    let pid_tgid = bpf_get_current_pid_tgid();
    PieceHeader {
        // SAFETY: the helper takes no pointers.
        boot_ns: unsafe { bpf_ktime_get_boot_ns() },
        workload: 0,
        start_ns: 0,
        tgid: (pid_tgid >> 32) as u32,
        tid: pid_tgid as u32,
        object: 0,
        since_ns: 0,
        offset: 0,
        other: 0,
        len: 0,
        skipped: 0,
        kind: 0,
        direction: 0,
        join: 0,
        call: 0,
        // SAFETY: the helper takes no pointers.
        cpu: unsafe { bpf_get_smp_processor_id() },
    }
}

/// Counts what did not reach the ring.
#[inline(always)]
pub fn lose(what: PayloadLoss, count: u64) {
    if let Some(counter) = PAYLOAD_LOST.get_ptr_mut(what as u32) {
        fetch_add(counter, count);
    }
}

/// Writes a piece of a fixed layout that has no plaintext.
#[inline(always)]
pub fn send<T>(piece: &T) {
    let ring = (&raw const PAYLOAD).cast_mut().cast::<c_void>();
    let data = core::ptr::from_ref(piece).cast_mut().cast::<c_void>();
    // SAFETY: `data` points to `size_of::<T>()` initialised bytes.
    let written = unsafe { bpf_ringbuf_output(ring, data, size_of::<T>() as u64, 0) };
    if written < 0 {
        lose(PayloadLoss::Pieces, 1);
    }
}

#[inline(always)]
fn is_go(call: TlsCall) -> bool {
    matches!(call, TlsCall::GoRead | TlsCall::GoWrite | TlsCall::GoClose)
}

#[inline(always)]
fn joined(tgid: u32, object: u64) -> bool {
    let key = ConnectionKey {
        tgid: u64::from(tgid),
        object,
    };
    match CONNECTIONS.get_ptr(key) {
        // SAFETY: a map value. Volatile: another CPU may join it.
        Some(connection) => unsafe {
            core::ptr::read_volatile(&raw const (*connection).cookie) != 0
        },
        None => false,
    }
}

/// The connection, made if it is new.
#[inline(always)]
fn connection(key: ConnectionKey) -> Option<*mut Connection> {
    if let Some(connection) = CONNECTIONS.get_ptr_mut(key) {
        return Some(connection);
    }
    let fresh = Connection {
        // SAFETY: the helper takes no pointers.
        since_ns: unsafe { bpf_ktime_get_boot_ns() },
        sent: 0,
        received: 0,
        cookie: 0,
    };
    // Another thread may be quicker.
    let _ = CONNECTIONS.insert(key, fresh, 1);
    CONNECTIONS.get_ptr_mut(key)
}

/// Where text is in the memory of the running process.
#[derive(Clone, Copy)]
pub struct Text {
    /// Its address; of scattered text that of an array of `[(pointer, length)]`.
    pub buffer: u64,
    /// How many of those there are, or 0 if it is in one place.
    pub slices: u64,
    /// Of scattered text: where in it the bytes begin.
    pub start: u64,
}

impl Text {
    /// Text in one place.
    #[inline(always)]
    pub fn in_one_place(buffer: u64) -> Self {
        Self {
            buffer,
            slices: 0,
            start: 0,
        }
    }

    /// The text of an array of `struct iovec`.
    #[inline(always)]
    pub fn scattered(array: u64, slices: u64) -> Self {
        Self {
            buffer: array,
            slices,
            start: 0,
        }
    }
}

/// What is left to take of one call.
struct Rest {
    header: PieceHeader,
    /// Where it is in the process.
    from: u64,
    /// How many bytes are there.
    left: u64,
    /// Bytes that are elsewhere, and will be taken too.
    after: u64,
    /// Bytes of the call that come after those, and will not be taken.
    beyond: u64,
}

/// Scattered plaintext: `[(pointer, length)]`.
struct Scattered {
    rest: Rest,
    slices: u64,
    count: u64,
    /// Bytes of the first slice that were taken, or do not count.
    skip: u64,
}

#[inline(always)]
fn take(noted: &Call, call: TlsCall, moved: u64, connection: *mut Connection) {
    let direction = call.direction();
    // SAFETY: a map value; the verifier checks the access.
    let (since_ns, counter) = unsafe {
        let counter = if direction == RECEIVED {
            &raw mut (*connection).received
        } else {
            &raw mut (*connection).sent
        };
        ((*connection).since_ns, counter)
    };
    let header = PieceHeader {
        workload: noted.workload,
        start_ns: noted.start_ns,
        object: noted.object,
        since_ns,
        offset: fetch_add(counter, moved),
        kind: PieceKind::Data as u8,
        direction,
        call: call as u8,
        ..blank()
    };
    let slices = if call as u8 == TlsCall::RustlsWrite as u8 {
        noted.out
    } else {
        0
    };
    let text = Text {
        buffer: noted.buffer,
        slices,
        start: noted.start,
    };
    send_text(header, text, moved, noted.limit);
}

/// Sends `moved` bytes of text that begin at the header's offset, the first `limit` of them.
#[inline(always)]
pub fn send_text(header: PieceHeader, text: Text, moved: u64, limit: u64) {
    let left = moved.min(limit);
    let mut rest = Rest {
        header,
        from: text.buffer,
        left,
        after: 0,
        beyond: moved - left,
    };
    if text.slices != 0 {
        rest.left = 0;
        rest.after = left;
        let mut scattered = Scattered {
            rest,
            slices: text.buffer,
            count: text.slices,
            skip: text.start,
        };
        // SAFETY: the callback takes a `Scattered`, which outlives the call.
        unsafe {
            bpf_loop(
                MAX_SLICES + MAX_CALL_BYTES / PIECE_BYTES[2],
                slice as *mut c_void,
                (&raw mut scattered).cast::<c_void>(),
                0,
            )
        };
        return;
    }
    if left <= u64::from(PIECE_BYTES[2]) {
        hoop_take_piece(&raw mut rest);
        return;
    }
    // SAFETY: the callback takes a `Rest`, which outlives the call.
    unsafe {
        bpf_loop(
            MAX_CALL_BYTES / PIECE_BYTES[2] + 1,
            turn as *mut c_void,
            (&raw mut rest).cast::<c_void>(),
            0,
        )
    };
}

/// One turn for `bpf_loop`; 1 ends the loop.
unsafe extern "C" fn turn(_turn: u32, context: *mut c_void) -> i64 {
    // SAFETY: `take` passes a `Rest`.
    let rest = unsafe { &mut *context.cast::<Rest>() };
    hoop_take_piece(rest);
    i64::from(rest.left == 0)
}

/// One turn for `bpf_loop` over scattered plaintext: a piece of the first slice, or on to the next.
unsafe extern "C" fn slice(_turn: u32, context: *mut c_void) -> i64 {
    // SAFETY: `take` passes a `Scattered`.
    let scattered = unsafe { &mut *context.cast::<Scattered>() };
    if scattered.count == 0 || scattered.rest.after == 0 {
        return 1;
    }
    let mut first = [0_u64; 2];
    // SAFETY: writes 16 bytes at most, and zeroes them if it fails.
    unsafe {
        bpf_probe_read_user(
            first.as_mut_ptr().cast(),
            size_of::<[u64; 2]>() as u32,
            scattered.slices as *const c_void,
        );
    }
    let [pointer, len] = first;
    if scattered.skip >= len {
        scattered.skip -= len;
        scattered.slices += size_of::<[u64; 2]>() as u64;
        scattered.count -= 1;
        return 0;
    }
    let here = (len - scattered.skip)
        .min(scattered.rest.after)
        .min(u64::from(PIECE_BYTES[2]));
    scattered.rest.from = pointer + scattered.skip;
    scattered.rest.left = here;
    scattered.rest.after -= here;
    scattered.skip += here;
    hoop_take_piece(&raw mut scattered.rest);
    0
}

/// Takes one piece, in the smallest room that holds it. Global, so that the verifier follows it once, and
/// not for everything that its callers may know.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hoop_take_piece(rest: *mut Rest) -> u32 {
    // SAFETY: null, or one of the callers' own; the verifier checks the access.
    let Some(rest) = (unsafe { rest.as_mut() }) else {
        return 0;
    };
    let left = rest.left;
    if left <= u64::from(PIECE_BYTES[0]) {
        piece_of::<512>(rest);
    } else if left <= u64::from(PIECE_BYTES[1]) {
        piece_of::<4096>(rest);
    } else {
        piece_of::<16_384>(rest);
    }
    0
}

const _: () = assert!(PIECE_BYTES[0] == 512 && PIECE_BYTES[1] == 4096 && PIECE_BYTES[2] == 16_384);

#[inline(always)]
fn piece_of<const ROOM: usize>(rest: &mut Rest) {
    let len = opaque(rest.left.min(ROOM as u64) as u32);
    let len = if len > ROOM as u32 { ROOM as u32 } else { len };
    let ring = (&raw const PAYLOAD).cast_mut().cast::<c_void>();
    // SAFETY: `ring` is a ring buffer map.
    let room = unsafe { bpf_ringbuf_reserve(ring, (size_of::<PieceHeader>() + ROOM) as u64, 0) }
        .cast::<u8>();
    rest.left -= u64::from(len);
    if room.is_null() {
        lose(PayloadLoss::Pieces, 1);
        lose(PayloadLoss::Bytes, u64::from(len));
    } else {
        // SAFETY: the room is that long.
        let read = unsafe {
            bpf_probe_read_user(
                room.add(size_of::<PieceHeader>()).cast(),
                len,
                rest.from as *const c_void,
            )
        };
        let mut header = rest.header;
        if rest.left == 0 && rest.after == 0 {
            header.skipped = rest.beyond as u32;
        }
        if read == 0 {
            header.len = len;
        } else {
            // Memory that is not there just now: what was moved, without what it was.
            header.skipped = header.skipped.saturating_add(len);
        }
        // SAFETY: the room holds a header, and ring buffers align to 8 bytes.
        unsafe {
            room.cast::<PieceHeader>().write(header);
            bpf_ringbuf_submit(room.cast(), 0);
        }
    }
    rest.from += u64::from(len);
    rest.header.offset += u64::from(len);
}
