//! Go's regular expressions in the syntax of the `regex` crate.
//!
//! Both descend from RE2 and differ where a class holds `[`, `&&`, `--` or `~~`, in `\Q...\E`,
//! octal escapes, `\<`, braces that are no repetition, and in `\d`, `\w`, `\s` and `\b`, which are
//! ASCII in Go (`regexp/syntax`). Names of groups are left out: nobody asks for them.

use std::fmt::Write;

use regex_syntax::ParserBuilder;
use regex_syntax::hir::Hir;

/// The pattern translated, and parsed as the engine will parse it.
pub(super) fn translate(pattern: &str) -> Result<(String, Hir), Unsupported> {
    let mut translator = Translator {
        rest: pattern,
        out: String::new(),
    };
    translator.pattern()?;
    let parsed = ParserBuilder::new()
        .utf8(false)
        .build()
        .parse(&translator.out);
    let hir = parsed.map_err(|error| Unsupported::Syntax(reason(&error)))?;
    Ok((translator.out, hir))
}

/// Why a pattern cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unsupported {
    /// Look-around, a condition, a comment: what RE2 has not either.
    #[error("(?{0} opens no group of RE2")]
    Group(String),
    /// A back-reference, `\C`, an unknown letter, or the end of the pattern.
    #[error("\\{0} is no escape of RE2")]
    Escape(String),
    /// A class without its end.
    #[error("a character class does not end")]
    Class,
    /// What the parser of the `regex` crate says.
    #[error("{0}")]
    Syntax(String),
}

/// What an escape stands for.
enum Escape<'pattern> {
    Char(char),
    /// `\d` and the like: items of a class, and whether all characters but these are meant.
    Class {
        items: &'static str,
        negated: bool,
    },
    /// `\pL`, `\P{Greek}`.
    Property(String),
    Assertion(&'static str),
    /// `\Q...\E`.
    Quoted(&'pattern str),
}

struct Translator<'pattern> {
    rest: &'pattern str,
    out: String,
}

impl<'pattern> Translator<'pattern> {
    fn pattern(&mut self) -> Result<(), Unsupported> {
        while let Some(char) = self.next() {
            match char {
                '\\' => match self.escape()? {
                    Escape::Char(char) => self.literal(char),
                    Escape::Class { items, negated } => self.perl_class(items, negated),
                    Escape::Property(text) => self.out.push_str(&text),
                    Escape::Assertion(text) => self.out.push_str(text),
                    Escape::Quoted(text) => text.chars().for_each(|char| self.literal(char)),
                },
                '[' => self.class()?,
                '(' if self.eat("?") => self.group()?,
                '{' => match repetition(self.rest) {
                    Some(length) => {
                        self.out.push('{');
                        self.copy(length);
                    }
                    None => self.literal('{'),
                },
                '(' | ')' | '|' | '.' | '^' | '$' | '*' | '+' | '?' => self.out.push(char),
                _ => self.literal(char),
            }
        }
        Ok(())
    }

    /// What follows `(?`: a name, or flags and a colon or the end.
    fn group(&mut self) -> Result<(), Unsupported> {
        let unknown = Unsupported::Group(self.rest.chars().take(8).collect());
        if self.eat("P<") || self.eat("<") {
            let (name, rest) = self.rest.split_once('>').ok_or(unknown.clone())?;
            if name.is_empty()
                || !name
                    .chars()
                    .all(|char| char == '_' || char.is_alphanumeric())
            {
                return Err(unknown);
            }
            self.rest = rest;
            self.out.push('(');
            return Ok(());
        }
        let flags = self.rest.find([')', ':']).ok_or(unknown.clone())?;
        if !self.rest[..flags]
            .chars()
            .all(|char| "imsU-".contains(char))
        {
            return Err(unknown);
        }
        self.out.push_str("(?");
        self.copy(flags + 1);
        Ok(())
    }

    /// What follows `[`, to the `]` that ends it.
    fn class(&mut self) -> Result<(), Unsupported> {
        self.out.push('[');
        if self.eat("^") {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            if !first && self.eat("]") {
                self.out.push(']');
                return Ok(());
            }
            first = false;
            if self.rest.starts_with("[:")
                && let Some(end) = self.rest.find(":]")
            {
                self.copy(end + 2);
                continue;
            }
            let Some(low) = self.class_char()? else {
                continue;
            };
            self.literal(low);
            let mut after = self.rest.chars();
            if after.next() == Some('-') && after.next().is_some_and(|char| char != ']') {
                self.copy(1);
                let high = self.class_char()?.ok_or(Unsupported::Class)?;
                self.literal(high);
            }
        }
    }

    /// One character of a class; none when it was a whole class, which is written then.
    fn class_char(&mut self) -> Result<Option<char>, Unsupported> {
        match self.next().ok_or(Unsupported::Class)? {
            '\\' => match self.escape()? {
                Escape::Char(char) => return Ok(Some(char)),
                Escape::Class { items, negated } => self.perl_class(items, negated),
                Escape::Property(text) => self.out.push_str(&text),
                Escape::Quoted(text) => text.chars().for_each(|char| self.literal(char)),
                Escape::Assertion(_) => return Err(Unsupported::Class),
            },
            char => return Ok(Some(char)),
        }
        Ok(None)
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<Escape<'pattern>, Unsupported> {
        let unknown = Unsupported::Escape(self.rest.chars().take(1).collect());
        let char = self.next().ok_or(unknown.clone())?;
        Ok(match char {
            'Q' => {
                let (text, rest) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
                self.rest = rest;
                Escape::Quoted(text)
            }
            'd' | 'D' => Escape::Class {
                items: "0-9",
                negated: char == 'D',
            },
            's' | 'S' => Escape::Class {
                items: r"\t\n\f\r ",
                negated: char == 'S',
            },
            'w' | 'W' => Escape::Class {
                items: "0-9A-Za-z_",
                negated: char == 'W',
            },
            'p' | 'P' => Escape::Property(self.property(char == 'P').ok_or(unknown)?),
            'A' => Escape::Assertion(r"\A"),
            'z' => Escape::Assertion(r"\z"),
            'b' => Escape::Assertion(r"(?-u:\b)"),
            'B' => Escape::Assertion(r"(?-u:\B)"),
            'a' => Escape::Char('\x07'),
            'f' => Escape::Char('\x0c'),
            'n' => Escape::Char('\n'),
            'r' => Escape::Char('\r'),
            't' => Escape::Char('\t'),
            'v' => Escape::Char('\x0b'),
            'x' => Escape::Char(self.hexadecimal().ok_or(unknown)?),
            '0'..='7' => Escape::Char(self.octal(char).ok_or(unknown)?),
            _ if char.is_ascii_punctuation() || char == ' ' => Escape::Char(char),
            _ => return Err(unknown),
        })
    }

    fn property(&mut self, negated: bool) -> Option<String> {
        let name = if self.eat("{") {
            let (name, rest) = self.rest.split_once('}')?;
            self.rest = rest;
            name.to_owned()
        } else {
            self.next()?.to_string()
        };
        Some(match (name.strip_prefix('^'), negated) {
            (Some(name), false) => format!("\\P{{{name}}}"),
            (Some(name), true) => format!("\\p{{{name}}}"),
            (None, false) => format!("\\p{{{name}}}"),
            (None, true) => format!("\\P{{{name}}}"),
        })
    }

    fn hexadecimal(&mut self) -> Option<char> {
        let digits = if self.eat("{") {
            let (digits, rest) = self.rest.split_once('}')?;
            self.rest = rest;
            digits
        } else {
            let (digits, rest) = self.rest.split_at_checked(2)?;
            self.rest = rest;
            digits
        };
        char::from_u32(u32::from_str_radix(digits, 16).ok()?)
    }

    /// Up to three octal digits; a single one but 0 would be a back-reference.
    fn octal(&mut self, first: char) -> Option<char> {
        let more = self
            .rest
            .chars()
            .take(2)
            .take_while(|char| char.is_digit(8))
            .count();
        if more == 0 && first != '0' {
            return None;
        }
        let (digits, rest) = self.rest.split_at(more);
        self.rest = rest;
        char::from_u32(u32::from_str_radix(&format!("{first}{digits}"), 8).ok()?)
    }

    fn perl_class(&mut self, items: &str, negated: bool) {
        self.out.push_str(if negated { "[^" } else { "[" });
        self.out.push_str(items);
        self.out.push(']');
    }

    /// Writes a character so that it is itself, in and out of a class.
    fn literal(&mut self, char: char) {
        match char {
            _ if char.is_alphanumeric() || char == '_' || char == ' ' => self.out.push(char),
            // No escape of these exists, or a different one.
            '<' | '>' => self.out.push(char),
            _ if char.is_ascii_graphic() => self.out.extend(['\\', char]),
            _ => {
                let written = write!(self.out, "\\x{{{:x}}}", u32::from(char));
                debug_assert!(written.is_ok(), "a string takes any text");
            }
        }
    }

    fn next(&mut self) -> Option<char> {
        let char = self.rest.chars().next()?;
        self.rest = &self.rest[char.len_utf8()..];
        Some(char)
    }

    fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn copy(&mut self, length: usize) {
        let (text, rest) = self.rest.split_at(length);
        self.out.push_str(text);
        self.rest = rest;
    }
}

/// The length of `n}`, `n,}` or `n,m}` at the start; anything else leaves the brace before it a
/// character.
fn repetition(text: &str) -> Option<usize> {
    let end = text.find('}')?;
    let (least, most) = text[..end].split_once(',').unwrap_or((&text[..end], ""));
    let is_count = |count: &str| {
        !count.is_empty()
            && count.bytes().all(|byte| byte.is_ascii_digit())
            && (count.len() == 1 || !count.starts_with('0'))
    };
    (is_count(least) && (most.is_empty() || is_count(most))).then_some(end + 1)
}

/// The kind of a syntax error, without the drawing of the pattern around it.
fn reason(error: &regex_syntax::Error) -> String {
    match error {
        regex_syntax::Error::Parse(error) => error.kind().to_string(),
        regex_syntax::Error::Translate(error) => error.kind().to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use regex_automata::meta;

    use super::*;

    fn search(pattern: &str, text: &str) -> Option<String> {
        let (_, hir) = translate(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        let config = meta::Config::new().utf8_empty(false);
        let regex = meta::Builder::new().configure(config).build_from_hir(&hir);
        let regex = regex.unwrap_or_else(|error| panic!("{pattern}: {error}"));
        regex.find(text).map(|found| text[found.range()].to_owned())
    }

    #[test]
    fn the_same_is_found() {
        for (pattern, text, found) in [
            (
                r"(?i)\b(AKIA[0-9]{4})(?:[\x60'\s;]|\\[nr]|$)",
                "x akia1234'",
                "akia1234'",
            ),
            // What would be a nested class, a set operation or the start of a word.
            (r"[[a]+", "x[a", "[a"),
            (r"[a&&b]+", "x&ab", "&ab"),
            (r"[+--]+", "a+,-", "+,-"),
            (r"[a~~b]+", "~a", "~a"),
            (r"[]a]+", "b]a", "]a"),
            (r"[^]a]+", "]ab", "b"),
            (r"[\w.-]+", "é a.b-c", "a.b-c"),
            (r"[a\-z]+", "m-z", "-z"),
            (r"\<a\>", "a <a>", "<a>"),
            // ASCII only.
            (r"\d+", "٣3", "3"),
            (r"\w+", "é_a", "_a"),
            (r"[^\W]+", "éa", "a"),
            (r"\bb", "éb", "b"),
            (r"a\sb", "a\u{a0}b a b", "a b"),
            // Braces that are no repetition.
            (r"^\${(?:[A-Z_]+)}$", "${HOME}", "${HOME}"),
            (r"a{,2}", "a{,2}", "a{,2}"),
            (r"a{1", "aa{1", "a{1"),
            (r"a{02}", "aa a{02}", "a{02}"),
            (r"a{2,3}b{1}c{1,}", "aaabc", "aaabc"),
            // Escapes.
            (r"\Qa.b[\E+", "aab a.b[[", "a.b[["),
            (r"\Q*", "a*", "*"),
            (r"\101\x42\x{43}\060\0", "ABC0\0", "ABC0\0"),
            (r"\a\f\v\_\-\/", "\x07\x0c\x0b_-/", "\x07\x0c\x0b_-/"),
            (r"\pL\p{^Greek}\P{^Greek}[\PL]", "xaα1", "xaα1"),
            (r"[[:alpha:]\d]+[[:^digit:]]", "-a1-", "a1-"),
            // Groups, flags and laziness.
            (r"(?P<all>a(?i:b)(?-i)c)", "aBc", "aBc"),
            (r"(?<1st>a)(?s:.)b", "a\nb", "a\nb"),
            (r"(?U)a+", "aaa", "a"),
            (r"a+?", "aaa", "a"),
            (r"(?m)^b$", "a\nb\nc", "b"),
            ("`\"# é\t", "`\"# é\t", "`\"# é\t"),
        ] {
            assert_eq!(
                search(pattern, text).as_deref(),
                Some(found),
                "{pattern} in {text:?}"
            );
        }
    }

    #[test]
    fn the_same_is_not_found() {
        for (pattern, text) in [
            (r"[[a]", "]"),
            (r"[a&&b]b", "c"),
            (r"[+--]", "."),
            (r"^a$", "b\na"),
            (r"\bé", "é"),
            (r"a.b", "a\nb"),
        ] {
            assert_eq!(search(pattern, text), None, "{pattern} in {text:?}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for (pattern, reason) in [
            ("(?=a)", "(?=a)"),
            ("(?<!a)b", "(?<!a)b"),
            ("(?<=a)b", "(?<=a)b"),
            ("(?P=name)", "(?P=name)"),
            ("(?x)a b", "(?x)a b"),
            ("(?#c)", "(?#c)"),
            (r"(a)\1", r"\1 is no"),
            (r"\Ca", r"\C is no"),
            (r"\Z", r"\Z is no"),
            (r"\xg1", r"\x is no"),
            (r"\x{110000}", r"\x is no"),
            ("a\\", r"\ is no"),
            ("[a", "does not end"),
            (r"[a-\d]", "does not end"),
            ("[z-a]", "range"),
            ("(a", "unclosed group"),
            ("a)", "unopened group"),
            ("*a", "repetition operator"),
            (r"\p{Klingon}", "property"),
        ] {
            let error = translate(pattern)
                .map(|(out, _)| out)
                .map_err(|error| error.to_string());
            assert!(
                error.as_ref().is_err_and(|text| text.contains(reason)),
                "{pattern}: {error:?}"
            );
        }
    }

    proptest::proptest! {
        /// Hostile patterns never panic.
        #[test]
        fn any_pattern(pattern in r"[\\\[\](){}?*+|^$.,:<>Qx0-9a-fpPd&~é-]{0,24}") {
            let _ = translate(&pattern);
        }

        /// A quoted text is found as it is.
        #[test]
        fn quoted_text(text in r"[ -\[\]-~é]{1,20}") {
            proptest::prop_assert_eq!(search(&format!(r"\Q{text}\E"), &text), Some(text.clone()));
        }
    }
}
