//! Hostile text on a terminal.

use std::fmt::Write as _;

/// One line of at most `max` characters: control characters, and those that turn the direction of writing or
/// cannot be seen, are escaped; line breaks become ` ⏎ `; what is cut is counted.
#[must_use]
pub fn line(text: &str, max: usize) -> String {
    let text = text.trim();
    let mut line = String::with_capacity(text.len().min(4 * max));
    let mut count = 0;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if count >= max {
            let rest = 1 + characters.count();
            let _ = write!(line, "… (+{rest} characters)");
            break;
        }
        let before = line.len();
        push(character, &mut line);
        count += line[before..].chars().count();
    }
    line
}

/// The lines of a text, each [escaped](line), at most `max_lines` of them; how many more there are is the last.
pub fn lines(text: &str, max: usize, max_lines: usize) -> impl Iterator<Item = String> {
    let all = text.trim_end().lines().count();
    let shown = text
        .trim_end()
        .lines()
        .take(max_lines)
        .map(move |text| line(text, max));
    let more = (all > max_lines).then(|| format!("… (+{} lines)", all - max_lines));
    shown.chain(more)
}

fn push(character: char, line: &mut String) {
    match character {
        '\n' => line.push_str(" ⏎ "),
        '\t' => line.push(' '),
        '\r' => line.push_str("\\r"),
        c if c.is_control() || is_invisible(c) => {
            let _ = write!(line, "\\u{{{:x}}}", c as u32);
        }
        c => line.push(c),
    }
}

/// Whether a terminal or a reader could be misled by it: bidirectional controls, invisible and tag characters,
/// line and paragraph separators, combining marks without end.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_drives_the_terminal() {
        assert_eq!(
            line("a\x1b[2Jb\u{9b}c\u{202e}d\ne\rf", 100),
            r"a\u{1b}[2Jb\u{9b}c\u{202e}d ⏎ e\rf"
        );
        assert_eq!(line("abcdef", 4), "abcd… (+2 characters)");
        let shown: Vec<_> = lines("a\nb\x07\nc\nd\n", 10, 2).collect();
        assert_eq!(shown, ["a", r"b\u{7}", "… (+2 lines)"]);
    }

    proptest! {
        #[test]
        fn a_line_has_no_control_character_and_is_short(text in "(?s).{0,400}", max in 0_usize..80) {
            let line = line(&text, max);
            prop_assert!(!line.chars().any(|c| c.is_control() || is_invisible(c)), "{:?}", line);
            prop_assert!(line.chars().count() < max + 40);
        }
    }
}
