//! What is kept of the run, as somebody who was not there gets it: a copy of the log, without a daemon.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::COLLECTOR;
use super::checks::Check;
use crate::{paths, run};

/// A copy of the state directory's log, and what was taken down beside it while the daemon ran.
pub(crate) struct Kept {
    program: PathBuf,
    dir: PathBuf,
}

impl Kept {
    /// Copies the log of `state`, for the owner of the target directory.
    pub(crate) fn copy(program: &Path, state: &Path) -> Result<Self> {
        let dir = paths::target().join("demo");
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        let kept = Self {
            program: program.to_owned(),
            dir,
        };
        for what in ["key", "checkpoint"] {
            let mut command = Command::new(program);
            command.args(["audit", what, "--state-dir"]).arg(state);
            let said = run::capture(&mut command)?;
            fs::write(kept.dir.join(format!("{what}.txt")), said)?;
        }
        copy_tree(&state.join("audit"), &kept.dir.join("audit"))?;
        Ok(kept)
    }

    /// Where it is, as a person would write it.
    pub(crate) fn shown(&self) -> String {
        let shown = self.dir.strip_prefix(paths::workspace());
        shown.unwrap_or(&self.dir).display().to_string()
    }

    /// The session of the process, as `session show` tells it. Writes its page too.
    pub(crate) fn tell(&self, pid: u64) -> Result<(String, String)> {
        let said = run::capture(&mut self.command(&["session", "list", "--output", "json"]))?;
        let sessions: Value = serde_json::from_str(&said)?;
        let begins = format!("{pid}-");
        let session = sessions
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|row| row["uid"].as_str())
            .find(|uid| uid.starts_with(&begins))
            .with_context(|| format!("no session of process {pid} in {said}"))?
            .to_owned();
        let tree = run::capture(&mut self.command(&["session", "show", &session]))?;
        let page = self.dir.join("session.html");
        let mut export = self.command(&["session", "export", &session]);
        run::capture(export.arg("--out").arg(page))?;
        own(&self.dir)?;
        Ok((session, tree))
    }

    /// What must be so about it.
    pub(crate) fn check(&self, tree: &str) -> Vec<Check> {
        let mut verify = self.command(&["audit", "verify"]);
        for what in ["key", "checkpoint"] {
            let file = self.dir.join(format!("{what}.txt"));
            verify.arg(format!("--{what}")).arg(file);
        }
        let verified = run::capture(&mut verify);
        let page = fs::read_to_string(self.dir.join("session.html")).unwrap_or_default();
        let all = |text: &str, words: &[&str]| words.iter().all(|word| text.contains(word));
        let told = [
            "alice@example.org",
            "Summarise the release notes",
            "run_command",
            "uname -sr",
            COLLECTOR,
            "collectors",
            "collects stolen data",
            "Release 4.2 starts faster",
        ];
        let check = |expected, passed, seen: String| Check {
            expected,
            passed,
            seen,
        };
        let lines = tree.lines().count();
        vec![
            check(
                "`audit verify` of a copy, by key and checkpoint",
                verified.is_ok(),
                match &verified {
                    Ok(said) => said
                        .lines()
                        .next()
                        .unwrap_or_default()
                        .chars()
                        .take(40)
                        .collect(),
                    Err(error) => format!("{error:#}"),
                },
            ),
            check(
                "`session show`: who asked, what was said, ran, denied",
                all(tree, &told),
                format!("{lines} lines"),
            ),
            check(
                "the page of the session: the same, in one file",
                all(&page, &told),
                format!("{} KiB", page.len() / 1024),
            ),
        ]
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--state-dir").arg(&self.dir);
        command
    }
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let copy = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &copy)?;
        } else {
            fs::copy(entry.path(), copy)?;
        }
    }
    Ok(())
}

/// Gives all of it to the owner of the target directory, who may not be root.
fn own(path: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let owner = fs::metadata(paths::target())?;
    chown(path, Some(owner.uid()), Some(owner.gid()))?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            own(&entry?.path())?;
        }
    }
    Ok(())
}
