//! A proof that a record is in the log, which needs nothing but itself: <https://c2sp.org/tlog-proof>.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::chain::Chain;
use crate::error::Error;
use crate::key::VerifierKey;
use crate::layout;
use crate::merkle::{Hash, Prover, leaf_hash, root_by_proof};
use crate::note::{Checkpoint, MAX_NOTE, NoteError, decimal};
use crate::sealed::Decoder;
use crate::segment::{Message, Messages};

/// What a proof begins with.
const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// Most hashes of a proof: a tree has no more than 2^64 leaves.
const MAX_HASHES: usize = 64;

/// A proof that a record is in a log. Its text is that of a `.tlog-proof` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Which leaf of the tree it is, from 0.
    pub index: u64,
    /// Siblings from the leaf up.
    pub hashes: Vec<Hash>,
    /// The checkpoint of the tree, a signed note.
    pub checkpoint: String,
}

/// Why something is no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It has not the form of one.
    #[error("this is no proof")]
    Form,
    /// Its checkpoint is none, or not signed by the key.
    #[error(transparent)]
    Checkpoint(#[from] NoteError),
    /// The record is not in the tree, or not there.
    #[error("the record is not the one that is in the log")]
    OtherRecord,
}

/// Proves that a record is in its log, by the first checkpoint that is kept behind it.
///
/// # Errors
///
/// There is no such record, or it is not kept, or the log is not what its checkpoint says.
pub fn prove(dir: &Path, number: u64) -> Result<Proof, Error> {
    let mut segments = Vec::new();
    for log in layout::logs(dir)? {
        for segment in log.segments()? {
            segments.push((log.clone(), segment));
        }
    }
    let after = segments.partition_point(|(_, segment)| segment.first <= number);
    let Some((log, mut segment)) = after.checked_sub(1).map(|at| segments.swap_remove(at)) else {
        return Err(match segments.first() {
            Some((_, segment)) if number > 0 => Error::Gone {
                first_kept: segment.first,
            },
            _ => Error::NoRecord { number },
        });
    };
    let damaged = Error::Damaged {
        number,
        resume: None,
    };
    let key = log.key()?;
    let file: File = segment.open()?;
    let input: Box<dyn Read> = if segment.sealed {
        Box::new(Decoder::new(file)?)
    } else {
        Box::new(file)
    };
    let mut messages = Messages::new(input);
    let Ok(Some(Message::Start(start))) = messages.next() else {
        return Err(damaged);
    };
    let Some(mut chain) = Chain::of(&start) else {
        return Err(damaged);
    };
    let mut prover: Option<Prover> = None;
    loop {
        match messages.next() {
            Ok(Some(Message::Record(record))) => {
                let found = (record.number == number).then(|| Prover::new(chain.tree()));
                let Ok(hash) = chain.push(&record) else {
                    return Err(damaged);
                };
                match &mut prover {
                    Some(prover) => prover.push(hash),
                    None => prover = found,
                }
            }
            Ok(Some(Message::Checkpoint(note))) => {
                let Some(prover) = prover.take() else {
                    continue;
                };
                let signed = Checkpoint::open(&note, &key);
                if !signed.is_ok_and(|checkpoint| chain.is(&checkpoint)) {
                    return Err(damaged);
                }
                return Ok(Proof {
                    index: number - chain.log_first(),
                    hashes: prover.finish(),
                    checkpoint: note,
                });
            }
            Ok(Some(Message::End(_)) | None) => return Err(Error::NoRecord { number }),
            Ok(Some(Message::Start(_))) | Err(_) => return Err(damaged),
        }
    }
}

impl Proof {
    /// What the log's checkpoint says, if the record (a `hoop.v1.Record`, whole) is in its tree and the key signed it.
    ///
    /// # Errors
    ///
    /// It is not, or did not.
    pub fn verify(&self, record: &[u8], key: &VerifierKey) -> Result<Checkpoint, ProofError> {
        let checkpoint = Checkpoint::open(&self.checkpoint, key)?;
        let leaf = leaf_hash(record);
        let root = root_by_proof(self.index, checkpoint.size, leaf, &self.hashes);
        if root != Some(checkpoint.root) {
            return Err(ProofError::OtherRecord);
        }
        Ok(checkpoint)
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{HEADER}\nindex {}", self.index)?;
        for hash in &self.hashes {
            writeln!(formatter, "{}", STANDARD.encode(hash))?;
        }
        write!(formatter, "\n{}", self.checkpoint)
    }
}

impl FromStr for Proof {
    type Err = ProofError;

    fn from_str(text: &str) -> Result<Self, ProofError> {
        let (proof, checkpoint) = text.split_once("\n\n").ok_or(ProofError::Form)?;
        let mut lines = proof.split('\n').peekable();
        if checkpoint.len() > MAX_NOTE || lines.next() != Some(HEADER) {
            return Err(ProofError::Form);
        }
        // Nothing vouches for it, and nobody here asks for it.
        lines.next_if(|line| line.starts_with("extra "));
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = index.and_then(decimal).ok_or(ProofError::Form)?;
        let mut hashes = Vec::new();
        for line in lines {
            let hash = STANDARD.decode(line).ok();
            let hash = hash.and_then(|hash| hash.try_into().ok());
            hashes.push(hash.ok_or(ProofError::Form)?);
            if hashes.len() > MAX_HASHES {
                return Err(ProofError::Form);
            }
        }
        Ok(Self {
            index,
            hashes,
            checkpoint: checkpoint.to_owned(),
        })
    }
}
