//! Bytes that a workload chose become text, without loss.
//!
//! [`path`] and [`command_line`] are the only ways by which such bytes enter a record. Nothing in
//! their text can break a line, move a terminal's cursor or be mistaken for something else:
//!
//! - in a path, a control character or a byte that is not UTF-8 is written `\xNN`, and a
//!   backslash `\\`;
//! - in a command line, an argument that a POSIX shell would not take as it stands is put in
//!   `'...'`, or with such characters in `$'...'`, where `\n`, `\t`, `\r`, `\xNN`, `\'` and `\\`
//!   stand for what they stand for in a shell.

use std::fmt::Write as _;

/// The text of a path.
#[must_use]
pub fn path(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    escape(bytes, Escapes::Path, &mut text);
    text
}

/// The text of an argument vector whose arguments are each ended by a NUL, the last one
/// perhaps not.
#[must_use]
pub fn command_line(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 16);
    if bytes.is_empty() {
        return text;
    }
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    for (index, argument) in bytes.split(|&byte| byte == 0).enumerate() {
        if index > 0 {
            text.push(' ');
        }
        quote(argument, &mut text);
    }
    text
}

/// The last component of a path, as text.
#[must_use]
pub fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The longest front of `text` that has at most `max` bytes.
#[must_use]
pub fn front(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

fn quote(argument: &[u8], text: &mut String) {
    let bare = |&byte: &u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&byte);
    if !argument.is_empty() && argument.iter().all(bare) {
        escape(argument, Escapes::Path, text);
    } else if str::from_utf8(argument).is_ok_and(|argument| !argument.contains(char::is_control)) {
        text.push('\'');
        escape(argument, Escapes::Quoted, text);
        text.push('\'');
    } else {
        text.push_str("$'");
        escape(argument, Escapes::DollarQuoted, text);
        text.push('\'');
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Escapes {
    Path,
    Quoted,
    DollarQuoted,
}

fn escape(bytes: &[u8], escapes: Escapes, text: &mut String) {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match (character, escapes) {
                ('\'', Escapes::Quoted) => text.push_str(r"'\''"),
                ('\'', Escapes::DollarQuoted) => text.push_str(r"\'"),
                ('\\', Escapes::Path | Escapes::DollarQuoted) => text.push_str(r"\\"),
                ('\n', Escapes::DollarQuoted) => text.push_str(r"\n"),
                ('\t', Escapes::DollarQuoted) => text.push_str(r"\t"),
                ('\r', Escapes::DollarQuoted) => text.push_str(r"\r"),
                (character, _) if character.is_control() => {
                    hex(character.encode_utf8(&mut [0; 4]).as_bytes(), text);
                }
                (character, _) => text.push(character),
            }
        }
        hex(chunk.invalid(), text);
    }
}

fn hex(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(text, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_escaped() {
        assert_eq!(path("/tmp/ü b".as_bytes()), "/tmp/ü b");
        assert_eq!(
            path(b"/a\\x41\n\xff\x1b[2J\xc2\x85"),
            r"/a\\x41\x0a\xff\x1b[2J\xc2\x85"
        );
    }

    #[test]
    fn command_lines_are_quoted_where_a_shell_needs_it() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"ls\0", "ls"),
            (b"ls\0-l\0/tmp\0", "ls -l /tmp"),
            (b"ls\0-l", "ls -l"),
            (b"a\0\0b\0", "a '' b"),
            (b"a\0\0", "a ''"),
            (b"sh\0-c\0echo $HOME\0", "sh -c 'echo $HOME'"),
            (b"it's\0", r"'it'\''s'"),
            (b"a\\b\0", r"'a\b'"),
            (b"a\nb'\\\0", r"$'a\nb\'\\'"),
            (b"\xff\t\x1b\0", r"$'\xff\t\x1b'"),
        ] {
            assert_eq!(command_line(bytes), text, "{bytes:?}");
        }
    }

    #[test]
    fn a_front_ends_at_a_character() {
        assert_eq!(front("aü", 2), "a");
        assert_eq!(front("aü", 3), "aü");
        assert_eq!(front("aü", 9), "aü");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        /// bash is the judge of what the quotes mean. A NUL cannot be in an argument.
        #[test]
        fn a_shell_reads_the_same_arguments(
            arguments in prop::collection::vec(prop::collection::vec(1u8.., 0..12), 1..5),
        ) {
            let bytes: Vec<u8> = arguments.iter().flat_map(|a| [a, &b"\0"[..]].concat()).collect();
            let script = format!("printf '%s\\0' {}", command_line(&bytes));
            let output = Command::new("bash").args(["-c", &script]).output()?;
            prop_assert_eq!(output.stdout, bytes);
        }

        #[test]
        fn paths_are_not_mistaken_for_each_other(
            a in prop::collection::vec(prop::sample::select(&b"\\x0a\n\xff/"[..]), 0..6),
            b in prop::collection::vec(prop::sample::select(&b"\\x0a\n\xff/"[..]), 0..6),
        ) {
            prop_assert_eq!(a == b, path(&a) == path(&b));
            prop_assert!(!path(&a).contains(char::is_control));
        }
    }

    #[test]
    fn names_are_last_components() {
        assert_eq!(name("/usr/bin/python3"), "python3");
        assert_eq!(name("python3"), "python3");
        assert_eq!(name(""), "");
    }
}
