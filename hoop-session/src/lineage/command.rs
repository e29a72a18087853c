//! Whether a process runs what a call of a tool has in its arguments.

use serde_json::Value;

use super::words::{MAX_WORDS, base, split, unquote};

/// Texts of one call that are compared.
const MAX_TEXTS: usize = 32;

/// Bytes of them together; what is longer is compared as far as it was kept.
const MAX_TEXT_BYTES: usize = 8 << 10;

/// Levels of objects and arrays in arguments that are looked into.
const MAX_DEPTH: usize = 8;

/// A text of this length is not in another by chance.
const LONG: usize = 8;

/// What was masked on one side may stand plain on the other, so a placeholder stands for anything. There must
/// be more to a text than that.
const MIN_LITERAL: usize = 4;

/// What a call asks for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Asked {
    texts: Vec<Text>,
    /// Names of programs that may be in them.
    programs: Vec<String>,
    bytes: usize,
}

#[derive(Debug, PartialEq)]
struct Text {
    text: String,
    cut: bool,
    /// As an argument vector, if a shell is not needed to make one of it.
    words: Vec<String>,
}

/// What a process runs.
#[derive(Debug, Default)]
pub(super) struct Command {
    words: Vec<String>,
    /// The last word is not all there is.
    cut: bool,
    /// Last component of the program's path.
    program: String,
}

/// How a process and a call fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fit {
    /// It runs the whole command; how sure that is.
    Whole(f64),
    /// It runs a program that the call names; how sure that is.
    Program(f64),
}

impl Asked {
    /// From a tool's name and arguments.
    pub(super) fn new(tool: &str, arguments: &Value) -> Self {
        let mut asked = Self::default();
        asked.visit(arguments, 0);
        asked.name(tool);
        asked
    }

    /// Bytes of memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn visit(&mut self, value: &Value, depth: usize) {
        if depth > MAX_DEPTH || self.texts.len() >= MAX_TEXTS {
            return;
        }
        match value {
            Value::String(text) => self.add(text, None),
            Value::Array(values) => {
                let words: Option<Vec<&str>> = values.iter().map(Value::as_str).collect();
                if let Some(words) = words.filter(|words| !words.is_empty()) {
                    self.add(&words.join(" "), Some(&words));
                }
                for value in values {
                    self.visit(value, depth + 1);
                }
            }
            Value::Object(members) => {
                for value in members.values() {
                    self.visit(value, depth + 1);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn add(&mut self, text: &str, words: Option<&[&str]>) {
        let text = text.trim();
        let room = MAX_TEXT_BYTES.saturating_sub(self.bytes) / 3;
        if text.is_empty() || room == 0 || self.texts.len() >= MAX_TEXTS {
            return;
        }
        let kept = &text[..text.floor_char_boundary(room)];
        let cut = kept.len() < text.len();
        let words: Vec<String> = match words {
            _ if cut => Vec::new(),
            Some(words) => words
                .iter()
                .take(MAX_WORDS)
                .map(ToString::to_string)
                .collect(),
            None => split(kept),
        };
        self.bytes += kept.len() + words.iter().map(String::len).sum::<usize>();
        for name in kept.split(|c: char| c.is_whitespace() || ";|&()`$<>\"'{}=\\".contains(c)) {
            self.name(name);
        }
        self.texts.push(Text {
            text: kept.to_owned(),
            cut,
            words,
        });
    }

    fn name(&mut self, word: &str) {
        let name = base(word);
        let is_name = |c: char| c.is_alphanumeric() || "._+-".contains(c);
        if self.programs.len() < MAX_WORDS
            && (2..=64).contains(&name.len())
            && name.chars().all(is_name)
            && name.starts_with(char::is_alphanumeric)
            && !self.programs.iter().any(|known| known == name)
        {
            self.bytes += name.len();
            self.programs.push(name.to_owned());
        }
    }
}

impl Command {
    /// From the record of an exec: the program's path and the command line.
    pub(super) fn new(path: &str, line: &str, truncated: bool) -> Self {
        let (words, whole) = unquote(line);
        Self {
            words,
            cut: truncated || !whole,
            program: base(path).to_owned(),
        }
    }

    /// Bytes of memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.words.iter().map(String::len).sum::<usize>() + 24 * self.words.len()
    }

    /// How it fits what was asked for.
    pub(super) fn fits(&self, asked: &Asked) -> Option<Fit> {
        let whole = asked.texts.iter().filter_map(|text| self.runs(text));
        if let Some(confidence) = whole.max_by(f64::total_cmp) {
            return Some(Fit::Whole(confidence));
        }
        let program = [
            self.program.as_str(),
            self.words.first().map_or("", |word| base(word)),
        ];
        let named = asked
            .programs
            .iter()
            .any(|name| program.contains(&name.as_str()));
        named.then(|| {
            // `ls -la` of `cd /srv && ls -la`: more than the name is in it.
            let line = self.words[usize::from(!self.words.is_empty())..].join(" ");
            let more = line.len() >= 2 && asked.texts.iter().any(|text| text.text.contains(&line));
            Fit::Program(if more { 0.7 } else { 0.5 })
        })
    }

    fn runs(&self, text: &Text) -> Option<f64> {
        let mut best: Option<f64> = None;
        let mut found = |confidence: f64| best = Some(best.unwrap_or(0.0).max(confidence));
        if !text.words.is_empty() && self.is_vector(&text.words) {
            found(0.9);
        }
        let last = self.words.len().saturating_sub(1);
        for (place, pair) in self.words.windows(2).enumerate() {
            let (flag, word) = (pair[0].as_str(), pair[1].trim());
            let script = takes_script(flag);
            let cut = (self.cut && place + 1 == last) || text.cut;
            if cut && script && shares_front(word, &text.text) {
                found(0.8);
            } else if let Some(masked) = like(&text.text, word) {
                match (script, masked) {
                    (true, false) => found(0.95),
                    (true, true) => found(0.85),
                    (false, _) if text.text.contains(char::is_whitespace) => found(0.8),
                    (false, _) => {}
                }
            } else if script && !text.cut && within(&text.text, word) {
                found(if text.text.len() >= LONG { 0.8 } else { 0.6 });
            }
        }
        best
    }

    fn is_vector(&self, words: &[String]) -> bool {
        let Some((program, arguments)) = words.split_first() else {
            return false;
        };
        !self.cut
            && self.words.len() == words.len()
            && base(program) == base(&self.words[0])
            && arguments
                .iter()
                .zip(&self.words[1..])
                .all(|(a, b)| like(a, b).is_some())
    }
}

/// Whether what follows the flag is a script: `-c`, `-lc`, `-e`, `--command`.
fn takes_script(flag: &str) -> bool {
    let letters = flag.strip_prefix('-').unwrap_or_default();
    let short = (1..=6).contains(&letters.len())
        && letters.bytes().all(|byte| byte.is_ascii_alphabetic())
        && letters.ends_with(['c', 'e', 'C']);
    short || matches!(flag, "--command" | "--eval" | "-Command")
}

/// Whether the shorter of two is the front of the other, and long.
fn shares_front(a: &str, b: &str) -> bool {
    let length = a.len().min(b.len());
    length >= 4 * LONG && a.as_bytes()[..length] == b.as_bytes()[..length]
}

/// Whether `text` is `asked`, where placeholders in that stand for anything. Says whether there are any.
fn like(asked: &str, text: &str) -> Option<bool> {
    if asked == text {
        return Some(false);
    }
    let literals = literals(asked);
    let (first, rest) = literals.split_first()?;
    let (last, middle) = rest.split_last()?;
    if literals.iter().map(|literal| literal.len()).sum::<usize>() < MIN_LITERAL {
        return None;
    }
    let mut text = text.strip_prefix(first)?.strip_suffix(last)?;
    for literal in middle {
        let at = text.find(literal)?;
        text = &text[at + literal.len()..];
    }
    Some(true)
}

/// Whether `asked` stands in a longer script, on its own or inside quotes of a shell.
fn within(asked: &str, script: &str) -> bool {
    let bounded = |asked: &str| {
        script.find(asked).is_some_and(|at| {
            let is_word = |c: char| c.is_alphanumeric() || "_-./".contains(c);
            let before = script[..at].chars().next_back();
            let after = script[at + asked.len()..].chars().next();
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
    };
    bounded(asked)
        || asked.contains('\'')
            && [r"'\''", r#"'"'"'"#]
                .iter()
                .any(|quote| bounded(&asked.replace('\'', quote)))
}

/// What is between placeholders: `[EMAIL:7f3a9c]`, `[EMAIL]`. More than one if there is a placeholder.
fn literals(text: &str) -> Vec<&str> {
    let mut literals = Vec::new();
    let (mut from, mut at) = (0, 0);
    while let Some(open) = text[at..].find('[').map(|open| at + open) {
        match placeholder(&text[open..]) {
            Some(length) => {
                literals.push(&text[from..open]);
                at = open + length;
                from = at;
            }
            None => at = open + 1,
        }
    }
    literals.push(&text[from..]);
    literals
}

/// The length of the placeholder that the text begins with.
fn placeholder(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('[')?;
    let class = inner
        .bytes()
        .take(64)
        .take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_')
        .count();
    let rest = &inner[class..];
    let digest = rest.strip_prefix(':').map_or(0, |digest| {
        1 + digest
            .bytes()
            .take(16)
            .take_while(u8::is_ascii_hexdigit)
            .count()
    });
    (class >= 2 && rest[digest..].starts_with(']')).then_some(class + digest + 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::words::MAX_WORD_BYTES;
    use super::*;

    fn fit(arguments: &Value, line: &str) -> Option<Fit> {
        let program = line.split(' ').next().unwrap_or_default();
        Command::new(program, line, false).fits(&Asked::new("run_command", arguments))
    }

    #[test]
    fn a_process_that_runs_the_whole_command_is_told_from_one_that_runs_a_part() {
        let command = json!({"command": "uname -sr; id -un", "timeout": 20});
        for (line, expected) in [
            ("sh -c 'uname -sr; id -un'", Some(Fit::Whole(0.95))),
            (
                "timeout 30 bash -lc 'uname -sr; id -un'",
                Some(Fit::Whole(0.95)),
            ),
            // An agent that puts the command into a script of its own.
            (
                r"/bin/bash -c 'source /x && eval '\''uname -sr; id -un'\'' < /dev/null'",
                Some(Fit::Whole(0.8)),
            ),
            ("ssh host 'uname -sr; id -un'", Some(Fit::Whole(0.8))),
            ("/usr/bin/uname -sr", Some(Fit::Program(0.7))),
            ("id -g", Some(Fit::Program(0.5))),
            ("sh -c 'uname -a'", None),
            ("sleep 5", None),
        ] {
            assert_eq!(fit(&command, line), expected, "{line}");
        }
        assert_eq!(
            fit(
                &json!({"command": ["bash", "-lc", "ls | wc"]}),
                "bash -lc 'ls | wc'"
            ),
            Some(Fit::Whole(0.95))
        );
        assert_eq!(
            fit(
                &json!({"cmd": "git log --format=%h -n 3"}),
                "/usr/bin/git log --format=%h -n 3"
            ),
            Some(Fit::Whole(0.9))
        );
        // A file that is named is no command that is run.
        assert_eq!(
            fit(&json!({"path": "/etc/passwd"}), "cat /etc/passwd"),
            None
        );
    }

    #[test]
    fn what_is_masked_on_one_side_only_joins_all_the_same() {
        let masked = json!({"command": "curl -s http://[IP_ADDRESS:0a1b2c]/x | head"});
        assert_eq!(
            fit(&masked, "sh -c 'curl -s http://203.0.113.9/x | head'"),
            Some(Fit::Whole(0.85))
        );
        assert!(
            fit(&masked, "sh -c 'curl -s http://203.0.113.9/y | head'") != Some(Fit::Whole(0.85))
        );
        // A text that is nothing but a placeholder fits everything, and so nothing.
        assert_eq!(
            fit(&json!({"command": "[TOKEN]"}), "sh -c 'rm -rf /'"),
            None
        );
        assert_eq!(
            literals("a[EMAIL]b[X:zz]c[IP_ADDRESS:00ff00]"),
            ["a", "b[X:zz]c", ""]
        );
    }

    #[test]
    fn a_cut_command_line_joins_by_its_front() {
        let script = "echo one; ".repeat(9);
        let command = Command::new("sh", &format!("sh -c '{}", &script[..60]), true);
        let asked = Asked::new("t", &json!({"command": script}));
        assert_eq!(command.fits(&asked), Some(Fit::Whole(0.8)));
        let other = Asked::new("t", &json!({"command": script.replace("one", "two")}));
        assert_ne!(command.fits(&other), Some(Fit::Whole(0.8)));
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_is_kept_is_bounded(line in "\\PC{0,300}", text in "\\PC{0,300}") {
            let command = Command::new(&line, &line, true);
            let asked = Asked::new(&text, &json!({"a": [text.clone(), {"b": text}]}));
            let _ = command.fits(&asked);
        }
    }

    #[test]
    fn long_input_is_cut() {
        let long = "a b'c ".repeat(100_000);
        let command = Command::new(&long, &long, false);
        assert!(command.bytes() < 4 * MAX_WORD_BYTES, "{}", command.bytes());
        let asked = Asked::new("t", &json!([long.clone(), long.clone(), {"x": long}]));
        assert!(asked.bytes() < 4 * MAX_TEXT_BYTES, "{}", asked.bytes());
    }
}
