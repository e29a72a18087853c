//! The daemon's configuration file: what is kept how long, and who takes records.
//!
//! ```yaml
//! audit: { keepMiB: 4096, keepDays: 90, fsync: everySecond }
//! metrics: { listen: "127.0.0.1:9464" }
//! sinks:
//!   - { name: soc, kind: webhook, url: "https://soc.example.org/hoop", format: ocsf }
//! ```

use std::{borrow::Cow, fs, io, path::Path, time::Duration};

use hoop_stream::{config::SinkConfig, grpc::GrpcConfig, metrics::MetricsConfig, sinks::Target};
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use serde_path_to_error::{Path as FieldPath, Segment};

use crate::{
    confine,
    diagnostic::{Diagnostic, Diagnostics, Position},
    yaml::{self, Node, Value},
};

/// Where the daemon looks for it. Without one, everything is at its default.
pub const DEFAULT_CONFIG: &str = "/etc/hoop-agent.yaml";

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ConfigFile {
    /// The audit log.
    pub audit: Audit,
    /// The audit stream over gRPC: always on a Unix socket, over TCP with mutual TLS if it is named here.
    pub stream: GrpcConfig,
    /// Metrics, and what an orchestrator asks. None are served if this is absent.
    pub metrics: Option<MetricsConfig>,
    /// Who takes records.
    pub sinks: Vec<SinkConfig>,
}

impl ConfigFile {
    /// Whether anything in it needs the network.
    #[must_use]
    pub fn uses_network(&self) -> bool {
        self.stream.tcp.is_some()
            || self.metrics.is_some()
            || self
                .sinks
                .iter()
                .any(|sink| !matches!(sink.target, Target::File(_)))
    }
}

/// How the audit log is kept.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Audit {
    /// When written records are forced to the disk.
    pub fsync: Fsync,
    /// Size of a segment, in MiB, before it is compressed.
    #[serde(rename = "segmentMiB")]
    pub segment_mib: u32,
    /// What the log may take, in MiB. Older segments are removed once every sink has read them.
    #[serde(rename = "keepMiB")]
    pub keep_mib: u32,
    /// Days after which a segment is removed. 0: none is.
    pub keep_days: u32,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            fsync: Fsync::default(),
            segment_mib: 64,
            keep_mib: 4096,
            keep_days: 0,
        }
    }
}

/// When written records are forced to the disk. What was written outlives the daemon in any case;
/// this is about power cuts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fsync {
    /// The kernel decides.
    Never,
    /// Once a second, if anything was written.
    #[default]
    EverySecond,
    /// Before anybody is shown a record.
    EachCommit,
}

impl Audit {
    /// As the log of that directory has it.
    #[must_use]
    pub fn log(&self, dir: &Path) -> hoop_log::Config {
        hoop_log::Config {
            segment_bytes: u64::from(self.segment_mib.max(1)) << 20,
            fsync: match self.fsync {
                Fsync::Never => hoop_log::Fsync::Never,
                Fsync::EverySecond => hoop_log::Fsync::Every(Duration::from_secs(1)),
                Fsync::EachCommit => hoop_log::Fsync::EachCommit,
            },
            retention: hoop_log::Retention {
                bytes: Some(u64::from(self.keep_mib) << 20),
                age: (self.keep_days > 0)
                    .then(|| Duration::from_secs(u64::from(self.keep_days) * 86_400)),
            },
            thread_begins: || {
                if let Err(error) = confine::bare_thread() {
                    tracing::warn!(%error, "what compresses the audit log keeps capabilities");
                }
            },
            ..hoop_log::Config::new(dir)
        }
    }
}

/// Reads the file. `required`: it was named, so that it must be there.
///
/// # Errors
///
/// What is wrong with it, and where.
pub fn read(path: &Path, required: bool) -> Result<ConfigFile, Diagnostics> {
    match fs::read_to_string(path) {
        Ok(text) => parse(path, &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !required => {
            Ok(ConfigFile::default())
        }
        Err(error) => Err(problem(
            path,
            None,
            format!("it cannot be read: {error}"),
            "name a file that can be read with --config",
        )),
    }
}

pub(crate) fn parse(path: &Path, text: &str) -> Result<ConfigFile, Diagnostics> {
    let (nodes, malformed) = yaml::documents(text);
    if let Some(first) = malformed.into_iter().next() {
        return Err(problem(
            path,
            Some(first.position),
            first.message,
            first.help,
        ));
    }
    let node = match nodes.as_slice() {
        [] => return Ok(ConfigFile::default()),
        [node] => node,
        [_, second, ..] => {
            return Err(problem(
                path,
                Some(second.position),
                "a second document".to_owned(),
                "write everything into one",
            ));
        }
    };
    let value = to_json(node).map_err(|(position, key)| {
        problem(
            path,
            Some(position),
            format!("`{key}` is there twice"),
            "remove one of them",
        )
    })?;
    serde_path_to_error::deserialize(value).map_err(|error| {
        let position = find(node, error.path());
        let message = match error.path().to_string().as_str() {
            "." => error.inner().to_string(),
            field => format!("`{field}`: {}", error.inner()),
        };
        problem(
            path,
            Some(position),
            message,
            "see `Stream` in README.md for what can be there",
        )
    })
}

fn problem(
    path: &Path,
    position: Option<Position>,
    message: String,
    help: impl Into<String>,
) -> Diagnostics {
    let mut problems = Diagnostics::default();
    problems.push(Diagnostic {
        path: path.to_owned(),
        position,
        message,
        help: help.into(),
    });
    problems
}

/// The tree as JSON, by YAML's core schema as far as JSON has it. An error is a key that is there
/// twice.
fn to_json(node: &Node<'_>) -> Result<Json, (Position, String)> {
    Ok(match &node.value {
        _ if node.is_null() => Json::Null,
        Value::Scalar { text, plain: false } => Json::from(text.as_ref()),
        Value::Scalar { text, plain: true } => match text.as_ref() {
            "true" => Json::from(true),
            "false" => Json::from(false),
            text => text
                .parse::<u64>()
                .map(Json::from)
                .or_else(|_| text.parse::<f64>().map(Json::from))
                .unwrap_or_else(|_| Json::from(text)),
        },
        Value::Sequence(items) => items.iter().map(to_json).collect::<Result<_, _>>()?,
        Value::Mapping(items) => {
            let mut map = Map::new();
            for [key, value] in items.as_chunks().0 {
                let name = key_of(key).into_owned();
                if map.insert(name.clone(), to_json(value)?).is_some() {
                    return Err((key.position, name));
                }
            }
            Json::Object(map)
        }
    })
}

fn key_of<'n>(key: &'n Node<'_>) -> Cow<'n, str> {
    match &key.value {
        Value::Scalar { text, .. } => Cow::Borrowed(text),
        _ => Cow::Borrowed(key.describe()),
    }
}

/// Where the value of that path is: as deep as there is one.
fn find(root: &Node<'_>, path: &FieldPath) -> Position {
    let mut node = root;
    let mut position = root.position;
    for segment in path {
        let next = match (segment, &node.value) {
            (Segment::Seq { index }, Value::Sequence(items)) => {
                items.get(*index).map(|item| (item.position, item))
            }
            (Segment::Map { key }, Value::Mapping(items)) => items
                .as_chunks()
                .0
                .iter()
                .find(|[name, _]| key_of(name) == *key)
                .map(|[name, value]| (name.position, value)),
            _ => None,
        };
        let Some((place, value)) = next else {
            break;
        };
        (position, node) = (place, value);
    }
    position
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse(Path::new("c.yaml"), text)
            .expect_err("it is wrong")
            .to_string()
    }

    #[test]
    fn an_empty_file_is_all_defaults() {
        for text in ["", "# nothing\n", "audit: {}\n"] {
            let file = parse(Path::new("c.yaml"), text).expect("it is right");
            assert_eq!(
                (file.audit.keep_mib, file.audit.fsync),
                (4096, Fsync::EverySecond)
            );
        }
        assert!(read(Path::new("/nonexistent"), false).is_ok());
        assert!(read(Path::new("/nonexistent"), true).is_err());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let text = "audit:\n  keepMiB: 10\n  fsync: sometimes\n";
        let said = refused(text);
        assert!(
            said.starts_with("c.yaml:3:3: error: `audit.fsync`: unknown variant"),
            "{said}"
        );
        let said = refused("audit: { keepMib: 10 }");
        assert!(
            said.contains("c.yaml:1:10: error: `audit.keepMib`: unknown field"),
            "{said}"
        );
        let said = refused("audit: { keepMiB: 10, keepMiB: 11 }");
        assert!(
            said.contains("c.yaml:1:23: error: `keepMiB` is there twice"),
            "{said}"
        );
        let said = refused("audit: { keepMiB: -1 }");
        assert!(
            said.contains("c.yaml:1:10: error: `audit.keepMiB`: invalid"),
            "{said}"
        );
    }
}
