//! Argument vectors from text.

/// Words of a command line that are compared, and bytes of them.
pub(super) const MAX_WORDS: usize = 256;
/// See [`MAX_WORDS`].
pub(super) const MAX_WORD_BYTES: usize = 8 << 10;

/// The argument vector of a command that has nothing for a shell to do but split it.
pub(super) fn split(command: &str) -> Vec<String> {
    if command.contains([
        '|', '&', ';', '<', '>', '(', ')', '$', '`', '\n', '*', '?', '#', '~',
    ]) {
        return Vec::new();
    }
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for character in command.chars() {
        match (quote, character) {
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (Some(open), _) if open == character => quote = None,
            // What a backslash does depends on the quotes.
            (_, '\\') => return Vec::new(),
            (None, ' ' | '\t') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
        if words.len() > MAX_WORDS {
            return Vec::new();
        }
    }
    words.extend(word);
    if quote.is_some() { Vec::new() } else { words }
}

/// The argument vector of a record's command line, which is quoted where a shell needs it: bare with `\\` and
/// `\xNN`, `'...'`, or `$'...'`. Says whether all of it was read.
pub(super) fn unquote(line: &str) -> (Vec<String>, bool) {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut bytes = 0;
    let mut rest = line.chars();
    while let Some(character) = rest.next() {
        if bytes > MAX_WORD_BYTES || words.len() >= MAX_WORDS {
            words.extend(word);
            return (words, false);
        }
        let before = bytes;
        match character {
            ' ' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                let text = rest.as_str();
                let end = text.find('\'').unwrap_or(text.len());
                let kept = &text[..text.floor_char_boundary(end.min(MAX_WORD_BYTES))];
                word.push_str(kept);
                bytes += kept.len();
                rest = text.get(end + 1..).unwrap_or_default().chars();
                if kept.len() < end {
                    words.push(std::mem::take(word));
                    return (words, false);
                }
            }
            '$' if rest.as_str().starts_with('\'') => {
                rest.next();
                let word = word.get_or_insert_default();
                while let Some(character) = rest.next() {
                    match character {
                        '\'' => break,
                        '\\' => word.push(escaped(&mut rest)),
                        other => word.push(other),
                    }
                    bytes += 1;
                    if bytes > MAX_WORD_BYTES {
                        break;
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(escaped(&mut rest)),
            other => word.get_or_insert_default().push(other),
        }
        bytes = bytes.max(before + 1);
    }
    words.extend(word);
    (words, true)
}

/// The character that is behind a backslash.
fn escaped(rest: &mut std::str::Chars<'_>) -> char {
    match rest.next() {
        Some('n') => '\n',
        Some('t') => '\t',
        Some('r') => '\r',
        Some('x') => {
            let digits = rest.as_str().get(..2).unwrap_or_default();
            let byte = u8::from_str_radix(digits, 16);
            byte.map_or('\u{fffd}', |byte| {
                *rest = rest.as_str()[2..].chars();
                char::from(byte)
            })
        }
        Some(other) => other,
        None => '\\',
    }
}

/// The last component of a path.
pub(super) fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_are_read_as_they_were_written() {
        for (line, words) in [
            (
                r"a '' 'b c' 'it'\''s' $'x\ny\'\x1b\\'",
                vec!["a", "", "b c", "it's", "x\ny'\x1b\\"],
            ),
            (r"/a\\b \xff", vec!["/a\\b", "\u{ff}"]),
            ("", vec![]),
            (r"\x", vec!["\u{fffd}"]),
        ] {
            assert_eq!(unquote(line).0, words, "{line}");
        }
    }
}
