//! `masking.gitleaks`: the rules of a gitleaks file, beside the policy's own.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use hoop_mask::Rule;
use hoop_mask::gitleaks::{self, ReadError};

use super::{Node, Reader};

/// Most bytes of a rule file; the one that comes with gitleaks has some 100 KiB.
const MAX_BYTES: u64 = 4 << 20;

impl Reader<'_> {
    /// The rules of the file that `node` names, from the directory of the policy's file if its path is
    /// relative. What is not applied of it is noted.
    pub(super) fn gitleaks(&mut self, node: &Node<'_>) -> Option<Vec<Rule>> {
        let name = self.text(node, "`gitleaks`")?;
        let directory = self.path.parent().unwrap_or(Path::new(""));
        let read = text(&directory.join(name)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                let help = "a relative path starts where the policy's file is";
                (format!("cannot be read: {error}"), help)
            }
            _ => {
                let help = "name a gitleaks rule file that this user may read";
                (format!("cannot be read: {error}"), help)
            }
        });
        let file = read.and_then(|text| {
            gitleaks::read(&text).map_err(|ReadError::Toml(error)| {
                let place = error.span().map(|span| place(&text, span.start));
                let message = error.message();
                (
                    format!("is no rule file: {}{message}", place.unwrap_or_default()),
                    "gitleaks 8 reads TOML with [[rules]] that have an id and a regex",
                )
            })
        });
        match file {
            Ok(file) => {
                let refused = file.refused.iter().map(ToString::to_string);
                let notes = refused.chain(file.notes.iter().map(ToString::to_string));
                self.notes
                    .extend(notes.map(|note| format!("{name}: {note}")));
                Some(file.rules)
            }
            Err((problem, help)) => {
                let message = format!("`{}` {problem}", name.escape_debug());
                self.refuse(node.position, message, help);
                None
            }
        }
    }
}

/// The text of a regular file.
fn text(path: &Path) -> io::Result<String> {
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    // Opening a pipe would wait for a writer.
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(invalid("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(invalid("it has more than 4 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8"))
}

/// `LINE:COLUMN: `, both from 1, of a byte in a text.
fn place(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    format!("{line}:{column}: ")
}
