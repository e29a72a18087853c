//! Lineage and sessions: from a prompt to the call of a tool, the process that carried it out, and what that
//! connected to.
//!
//! [`lineage::Lineage`] runs in the daemon and places each record. The rest reads records back, in any number,
//! and tells one session to a person or a program.

pub mod export;
pub mod ids;
pub mod lineage;
mod messages;
pub mod replay;
mod session;
mod show;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod text;

pub use session::{
    Call, CallResult, Category, Connection, Denial, Event, FindError, Gap, Link, Process, Program,
    Request, Row, Said, Session, Time, Turn, Uncovered, list,
};
pub use show::show;
