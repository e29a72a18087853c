//! Reads the policy files of an epoch.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hoop_common::limits::MAX_POLICIES;

use super::model::Policy;
use super::source::{self, Document};
use crate::diagnostic::{Diagnostic, Diagnostics, Position};

/// Size of all files together at most, in bytes: room for a policy at the limit of cells.
const MAX_BYTES: u64 = 64 << 20;

/// Reads every policy of a file, or of a directory's `*.yaml` and `*.yml` files in the order of
/// their names. Symbolic links to files are followed; names that start with `.`, other names and
/// sub-directories are passed over, so a mounted Kubernetes `ConfigMap` works as it is.
///
/// # Errors
///
/// Every problem of every file. No policy is returned then.
pub fn load(path: &Path) -> Result<Vec<Policy>, Diagnostics> {
    let mut problems = Diagnostics::default();
    let mut documents: Vec<(PathBuf, Document)> = Vec::new();
    let mut budget = MAX_BYTES;
    for file in files(path, &mut problems) {
        match text(&file, &mut budget) {
            Ok(text) => {
                let (found, diagnostics) = source::read(&file, &text);
                problems.append(diagnostics);
                documents.extend(found.into_iter().map(|document| (file.clone(), document)));
            }
            Err(problem) => problems.push(problem),
        }
    }
    compare(&documents, &mut problems);
    if documents.len() > MAX_POLICIES as usize {
        problems.push(Diagnostic {
            path: path.to_owned(),
            position: None,
            message: format!(
                "there are {} policies, the limit is {MAX_POLICIES}",
                documents.len()
            ),
            help: format!(
                "remove {} of them, or give workloads with the same rules one policy",
                documents.len() - MAX_POLICIES as usize
            ),
        });
    }
    if problems.is_empty() {
        Ok(documents
            .into_iter()
            .filter_map(|(_, document)| document.policy)
            .map(resolve_sockets)
            .collect())
    } else {
        Err(problems.sorted())
    }
}

/// Resolves the directories of Unix sockets: `/var/run` is a symbolic link nearly everywhere.
fn resolve_sockets(mut policy: Policy) -> Policy {
    for path in &mut policy.unix_deny {
        let text = Path::new(&path.text);
        let resolved = text
            .parent()
            .zip(text.file_name())
            .and_then(|(directory, name)| Some(fs::canonicalize(directory).ok()?.join(name)))
            .and_then(|path| path.into_os_string().into_string().ok());
        path.resolved = resolved.filter(|resolved| *resolved != path.text);
    }
    policy
}

/// Finds what no two policies may share.
fn compare(documents: &[(PathBuf, Document)], problems: &mut Diagnostics) {
    let mut names: HashMap<&str, (&Path, Position)> = HashMap::new();
    let mut globs: HashMap<&str, (&Path, Position)> = HashMap::new();
    for (path, document) in documents {
        let mut once = |seen: &mut HashMap<_, _>, text, position, message: &str, help: &str| {
            if let Some((first, at)) = seen.insert(text, (&**path, position)) {
                problems.push(Diagnostic {
                    path: path.clone(),
                    position: Some(position),
                    message: format!("{message} `{text}`"),
                    help: format!("{help}; the other is at {}:{at}", first.display()),
                });
            }
        };
        if let Some((name, position)) = &document.name {
            let message = "a second policy has the name";
            once(&mut names, name, *position, message, "rename one of them");
        }
        for cgroup in &document.cgroups {
            let message = "the same cgroup is named twice:";
            let help = "keep it in one place; a cgroup has one policy";
            once(&mut globs, &cgroup.text, cgroup.position, message, help);
        }
    }
}

fn files(path: &Path, problems: &mut Diagnostics) -> Vec<PathBuf> {
    let listed = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => list(path),
        Ok(_) => return vec![path.to_owned()],
        Err(error) => Err(error),
    };
    let (message, help) = match listed {
        Ok(files) if !files.is_empty() => return files,
        Ok(_) => (
            "the directory has no *.yaml or *.yml file".to_owned(),
            "put a policy there, or name another path with --policy",
        ),
        Err(error) => (format!("cannot be read: {error}"), next_step(&error)),
    };
    problems.push(Diagnostic {
        path: path.to_owned(),
        position: None,
        message,
        help: help.to_owned(),
    });
    Vec::new()
}

fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
        let policy = path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        // A link that leads nowhere is kept, so that reading it says so.
        if policy && !hidden && !fs::metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn text(path: &Path, budget: &mut u64) -> Result<String, Diagnostic> {
    let problem = |position, message: String, help: &str| Diagnostic {
        path: path.to_owned(),
        position,
        message,
        help: help.to_owned(),
    };
    let unreadable =
        |error: io::Error| problem(None, format!("cannot be read: {error}"), next_step(&error));

    // Before opening: that of a pipe would wait for a writer.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        let help = "name a file or a directory of files";
        return Err(problem(None, "is not a regular file".to_owned(), help));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(*budget + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    *budget = budget.checked_sub(bytes.len() as u64).ok_or_else(|| {
        let message = format!(
            "the policy files have more than {} MiB in all",
            MAX_BYTES >> 20
        );
        problem(None, message, "merge neighbouring CIDRs, or remove files")
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before
            .split(|&byte| byte == b'\n')
            .next_back()
            .unwrap_or(before);
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let position = Position {
            line: number(before.iter().filter(|&&byte| byte == b'\n').count() + 1),
            column: number(String::from_utf8_lossy(line).chars().count() + 1),
        };
        problem(
            Some(position),
            "not UTF-8".to_owned(),
            "save the file as UTF-8",
        )
    })
}

fn next_step(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "check the path, or create the file",
        io::ErrorKind::PermissionDenied => "run as root, or make it readable for this user",
        _ => "check that it is a readable file on a healthy file system",
    }
}
