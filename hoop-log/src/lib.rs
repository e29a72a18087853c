//! The audit log: append-only, numbered, signed, and able to prove itself.
//!
//! A directory holds logs, one after the other, and each of them segments; what is in a segment is defined in
//! `log.proto`. The records of a log are the leaves of an RFC 6962 Merkle tree, and with each commit the
//! log signs a checkpoint of it (<https://c2sp.org/tlog-checkpoint>). A record is bytes: what it says is its
//! owner's business.
//!
//! [`Writer`] appends, [`Reader`] reads by number, [`verify`] checks all that is there, and [`prove`] gives a proof of one
//! record that needs nothing else.

mod chain;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod key;
mod layout;
mod merkle;
mod note;
mod prove;
mod reader;
mod recover;
mod retention;
mod sealed;
mod sealer;
mod segment;
mod tail;
mod verify;
mod writer;

pub use error::Error;
pub use key::{KeyError, SigningKey, VerifierKey};
pub use merkle::{Frontier, Hash, leaf_hash, node_hash, root_by_proof};
pub use note::{Checkpoint, NoteError};
pub use prove::{Proof, ProofError, prove};
pub use reader::{Entry, Reader};
pub use recover::Reason;
pub use retention::{Removal, Retention};
pub use tail::{Closed, Tail};
pub use verify::fault::{Fault, What};
pub use verify::{Options, Told, Verified, VerifiedLog, verify};
pub use writer::{Config, Followed, Fsync, Opened, Repaired, Writer};
