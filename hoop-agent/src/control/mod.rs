//! The local API that the command line talks to: one JSON request on a line, one or more JSON
//! answers on lines, over a Unix socket that only root can open.

pub mod client;
pub mod server;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::policy::explain::Question;

/// Where the daemon listens unless another path is named.
pub const DEFAULT_SOCKET: &str = "/run/hoop/hoop.sock";

/// Longest request, in bytes.
const MAX_REQUEST: u64 = 64 * 1024;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// How the daemon is.
    Status,
    /// The policies in force; one of them if it is named.
    PolicyShow {
        /// Name of the policy.
        name: Option<String>,
    },
    /// What a policy in force says about a destination or a command.
    PolicyExplain {
        /// Name of the policy.
        name: String,
        /// What is asked.
        question: Question,
    },
    /// The workloads.
    WorkloadList,
    /// Tags a cgroup.
    WorkloadTag {
        /// Path below the cgroup v2 mount.
        cgroup: String,
        /// Name of the policy.
        policy: String,
    },
    /// Takes a tag off.
    WorkloadUntag {
        /// Path below the cgroup v2 mount.
        cgroup: String,
    },
    /// Makes a cgroup for a command, tagged. It lives until it is empty and this connection is
    /// closed.
    Exec {
        /// Name of the policy.
        policy: String,
    },
    /// Records, a line each, until the connection is closed.
    Follow {
        /// Number of the first; from now on if there is none.
        from: Option<u64>,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Done.
    Done(Value),
    /// Not done, and why.
    Failed(String),
}
