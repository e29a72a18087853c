//! A sealed segment: zstd frames (RFC 8878) of about a mebibyte each that can be read one by one, and an index.
//!
//! The index is a skippable frame at the end, so that any zstd decoder reads the file: for each frame the number
//! of its first record and its offset (8 bytes each, little-endian), how many there are (4 bytes), and the SHA-256
//! of everything before it. A zstd frame has bits that mean nothing, which the Merkle tree does not see;
//! the hash leaves none that could be changed.

use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest as _, Sha256};
use zstd_safe::{CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer};

use crate::chain::Chain;
use crate::layout::{self, Segment, UNFINISHED};
use crate::segment::{self, Message, Messages};

/// How much a frame holds at least, in bytes, but for the last.
const FRAME: usize = 1 << 20;
/// What a segment is written once for is worth some time of an idle processor.
const LEVEL: i32 = 9;
/// Binary logarithm of the largest window that a decoder takes memory for: a frame holds one message more than
/// `FRAME`.
const MAX_WINDOW: u32 = 25;
/// Magic number of a skippable frame.
const SKIPPABLE: u32 = 0x184d_2a50;
const ENTRY: usize = 16;
/// Count and hash.
const TRAILER: usize = 4 + 32;
/// Most entries that an index is read with: a segment of 64 GiB.
const MAX_ENTRIES: usize = 1 << 16;

/// Compresses a segment that is full, leaving out its checkpoints but the last. Whatever happens, the segment is
/// there, whole: the new file replaces the old one when it is complete.
///
/// It gives up when `stop` is set. `replace` is called for the moment of the replacement, and says whether the segment is still wanted.
///
/// # Errors
///
/// It is not whole, or not what its last checkpoint says; or a file could not be read or written.
pub(crate) fn seal(
    segment: &Segment,
    stop: &AtomicBool,
    replace: impl FnOnce(&dyn Fn() -> io::Result<()>) -> io::Result<()>,
) -> io::Result<()> {
    let (plain, sealed) = (segment.path(), segment.as_sealed().path());
    let mut unfinished = sealed.clone().into_os_string();
    unfinished.push(UNFINISHED);
    let result = (|| {
        let input = File::open(&plain)?;
        let modified = input.metadata()?.modified()?;
        let file = File::create(&unfinished)?;
        compress(input, &file, stop)?;
        // Its age is that of its records.
        file.set_modified(modified)?;
        file.sync_all()?;
        replace(&|| {
            fs::metadata(&plain)?;
            fs::rename(&unfinished, &sealed)?;
            layout::sync_dir(&segment.log)?;
            fs::remove_file(&plain)
        })
    })();
    if result.is_err() {
        // What is left is removed at the next start, too.
        let _ = fs::remove_file(&unfinished);
    }
    result
}

fn compress(input: File, output: &File, stop: &AtomicBool) -> io::Result<()> {
    let invalid = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut messages = Messages::new(input);
    let mut encoder = Encoder::new(output)?;
    let Ok(Some(Message::Start(start))) = messages.next() else {
        return Err(invalid("the segment has no start"));
    };
    let mut chain = Chain::of(&start).ok_or(invalid("the segment's start is none"))?;
    segment::put_start(start, &mut encoder.plain);
    let mut last = None;
    loop {
        match messages.next() {
            Ok(Some(Message::Record(record))) => {
                chain
                    .push(&record)
                    .map_err(|_| invalid("the segment's records are not in order"))?;
                encoder.plain.extend_from_slice(&prefix(record.bytes.len()));
                encoder.plain.extend_from_slice(record.bytes);
                last = None;
                encoder.split(chain.next(), stop)?;
            }
            Ok(Some(Message::Checkpoint(note))) => last = Some(note),
            Ok(Some(Message::End(end))) => {
                let note = last.ok_or(invalid("the segment does not end with a checkpoint"))?;
                let checkpoint = crate::note::Checkpoint::read(&note);
                if !checkpoint.is_ok_and(|checkpoint| chain.is(&checkpoint)) {
                    return Err(invalid("the segment is not what its checkpoint says"));
                }
                segment::put_checkpoint(note, &mut encoder.plain);
                segment::put_end(end.closed, &mut encoder.plain);
                break;
            }
            _ => return Err(invalid("the segment does not end")),
        }
    }
    if !matches!(messages.next(), Ok(None)) {
        return Err(invalid("the segment goes on behind its end"));
    }
    encoder.finish()
}

/// The length that stands before a message.
fn prefix(length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(5);
    segment::put_varint(length as u64, &mut bytes);
    bytes
}

struct Encoder<'a> {
    context: CCtx<'static>,
    output: &'a File,
    hasher: Sha256,
    written: u64,
    index: Vec<u8>,
    /// Number of the first record in `plain`.
    first: u64,
    plain: Vec<u8>,
    compressed: Vec<u8>,
}

impl<'a> Encoder<'a> {
    fn new(output: &'a File) -> io::Result<Self> {
        let mut context = CCtx::create();
        for parameter in [
            CParameter::CompressionLevel(LEVEL),
            CParameter::ChecksumFlag(true),
        ] {
            context.set_parameter(parameter).map_err(zstd)?;
        }
        Ok(Self {
            context,
            output,
            hasher: Sha256::new(),
            written: 0,
            index: Vec::new(),
            first: 0,
            plain: Vec::new(),
            compressed: Vec::new(),
        })
    }

    /// Ends the frame if it is full. `next` is the number of the record that comes.
    fn split(&mut self, next: u64, stop: &AtomicBool) -> io::Result<()> {
        if self.plain.len() >= FRAME {
            if stop.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            self.flush()?;
            self.first = next;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.plain.is_empty() {
            return Ok(());
        }
        self.index.extend_from_slice(&self.first.to_le_bytes());
        self.index.extend_from_slice(&self.written.to_le_bytes());
        self.compressed.clear();
        let bound = zstd_safe::compress_bound(self.plain.len());
        self.compressed.reserve(bound);
        self.context
            .compress2(&mut self.compressed, &self.plain)
            .map_err(zstd)?;
        self.plain.clear();
        let compressed = std::mem::take(&mut self.compressed);
        self.write(&compressed)?;
        self.compressed = compressed;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        self.output.write_all(bytes)
    }

    fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        let mut index = std::mem::take(&mut self.index);
        let count = (index.len() / ENTRY) as u32;
        let length = (index.len() + TRAILER) as u32;
        let mut frame = Vec::with_capacity(8 + index.len() + TRAILER);
        frame.extend_from_slice(&SKIPPABLE.to_le_bytes());
        frame.extend_from_slice(&length.to_le_bytes());
        frame.append(&mut index);
        frame.extend_from_slice(&count.to_le_bytes());
        self.write(&frame)?;
        let hash = self.hasher.finalize();
        self.output.write_all(&hash)
    }
}

/// Reads the messages of a sealed segment.
pub(crate) struct Decoder<R> {
    context: DCtx<'static>,
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Whether a frame is not over.
    within: bool,
}

impl<R: Read> Decoder<R> {
    pub(crate) fn new(input: R) -> io::Result<Self> {
        let mut context = DCtx::create();
        context
            .set_parameter(DParameter::WindowLogMax(MAX_WINDOW))
            .map_err(zstd)?;
        Ok(Self {
            context,
            input,
            buffer: vec![0; DCtx::in_size()],
            start: 0,
            end: 0,
            within: false,
        })
    }
}

impl Decoder<File> {
    /// From the frame that has the record on, by the index. The numbers in it are hints: what they lead to is
    /// checked by who reads it.
    pub(crate) fn from(mut input: File, number: u64) -> io::Result<Self> {
        let offset = index(&mut input)?
            .into_iter()
            .rev()
            .find(|&(first, _)| first <= number);
        input.seek(SeekFrom::Start(offset.map_or(0, |(_, offset)| offset)))?;
        Self::new(input)
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.start == self.end {
                self.start = 0;
                self.end = self.input.read(&mut self.buffer)?;
                if self.end == 0 && self.within {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                if self.end == 0 {
                    return Ok(0);
                }
            }
            let mut input = InBuffer::around(&self.buffer[self.start..self.end]);
            let mut output = OutBuffer::around(out);
            let hint = self
                .context
                .decompress_stream(&mut output, &mut input)
                .map_err(zstd)?;
            self.within = hint > 0;
            let (read, written) = (input.pos(), output.pos());
            self.start += read;
            if written > 0 || out.is_empty() {
                return Ok(written);
            }
        }
    }
}

/// Entries of the index: number of a frame's first record, offset of the frame.
fn index(file: &mut File) -> io::Result<Vec<(u64, u64)>> {
    let length = file.metadata()?.len();
    let mut trailer = [0; TRAILER];
    let Some(at) = length.checked_sub(TRAILER as u64) else {
        return Ok(Vec::new());
    };
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut trailer)?;
    let [a, b, c, d, ..] = trailer;
    let entries = u32::from_le_bytes([a, b, c, d]) as usize;
    let Some(start) = at.checked_sub((entries * ENTRY) as u64) else {
        return Ok(Vec::new());
    };
    if entries > MAX_ENTRIES {
        return Ok(Vec::new());
    }
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = vec![0; entries * ENTRY];
    file.read_exact(&mut bytes)?;
    let (entries, _) = bytes.as_chunks::<ENTRY>();
    let half =
        |entry: &[u8; ENTRY], at: usize| entry[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
    Ok(entries
        .iter()
        .map(|entry| (half(entry, 0), half(entry, 8)))
        .collect())
}

/// Whether every byte of a sealed segment's file is the one that was written.
pub(crate) fn is_whole(mut file: File) -> io::Result<bool> {
    let length = file.metadata()?.len();
    let Some(hashed) = length.checked_sub(32) else {
        return Ok(false);
    };
    let mut hasher = HashWriter(Sha256::new());
    io::copy(&mut Read::by_ref(&mut file).take(hashed), &mut hasher)?;
    let mut hash = [0; 32];
    file.read_exact(&mut hash)?;
    Ok(hash == <[u8; 32]>::from(hasher.0.finalize()))
}

struct HashWriter(Sha256);

impl Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn zstd(code: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, zstd_safe::get_error_name(code))
}
