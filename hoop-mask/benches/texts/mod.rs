//! Texts to measure with, made anew for each run from a fixed seed.

/// So many bytes has each text at least.
const SIZE: usize = 4 << 20;

/// Each text and its name.
pub fn all() -> Vec<(String, Vec<u8>)> {
    let text = |name: &str, make: &dyn Fn(&mut Random) -> String| {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut text = String::with_capacity(SIZE + 4096);
        while text.len() < SIZE {
            text += &make(&mut random);
        }
        (name.to_owned(), text.into_bytes())
    };
    vec![
        text("prose, none", &|random| paragraph(random, 600) + "\n"),
        text("code, none", &code),
        text("LLM JSON, none", &|random| conversation(random, false)),
        text("LLM JSON, one per KiB", &|random| {
            conversation(random, true)
        }),
        text("log lines, none", &log_line),
    ]
}

/// xorshift64*: the same numbers on every machine.
pub struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    fn string(&mut self, alphabet: &[u8], len: usize) -> String {
        (0..len)
            .map(|_| alphabet[self.below(alphabet.len())] as char)
            .collect()
    }
}

const WORDS: &[&str] = &[
    "the",
    "of",
    "and",
    "to",
    "in",
    "a",
    "is",
    "that",
    "for",
    "it",
    "as",
    "was",
    "with",
    "be",
    "by",
    "on",
    "not",
    "service",
    "request",
    "policy",
    "network",
    "because",
    "configuration",
    "between",
    "responsibility",
    "agent",
    "kernel",
    "table",
    "customer",
    "report",
    "token",
    "key",
    "password",
    "secret",
    "value",
    "number",
    "deployment",
    "should",
    "would",
    "under",
    "through",
    "however",
    "important",
    "different",
    "information",
    "development",
    "2023",
    "42",
    "3.14",
    "v1.2.3",
    "10%",
    "it's",
    "state-of-the-art",
    "well-known",
];

fn paragraph(random: &mut Random, len: usize) -> String {
    let mut text = String::new();
    let mut sentence = 0;
    while text.len() < len {
        let word = random.of(WORDS);
        if sentence == 0 {
            text += &word[..1].to_uppercase();
            text += &word[1..];
        } else {
            text += word;
        }
        sentence += 1;
        if sentence > 6 + random.below(12) {
            text += ". ";
            sentence = 0;
        } else {
            text += random.of(&[" ", " ", " ", " ", " ", ", "]);
        }
    }
    text
}

fn code(random: &mut Random) -> String {
    let name = |random: &mut Random| {
        format!(
            "{}_{}",
            random.of(&["read", "parse", "load", "handle", "max"]),
            random.of(&["header", "config", "event", "tokens", "key_value_pairs"])
        )
    };
    let (a, b, c) = (name(random), name(random), name(random));
    let n = random.below(4096);
    format!(
        "    /// Reads the {a} and returns `{b}`.\n    pub fn {a}(&mut self, {b}: &[u8]) -> Result<usize, Error> {{\n        let {c} = self.{b}.get({n}).copied().unwrap_or(0x{n:x});\n        if {c} == {n} && {b}.len() >= 16 {{\n            return Err(Error::{a} {{ at: {n}, because: \"not a {c}: {{}}\" }});\n        }}\n        self.{b}::<u64>(&{a}[..{n}])?; // {c} = {b}\n        Ok({n})\n    }}\n\n"
    )
}

/// One request and its answer, of some 2 KiB.
fn conversation(random: &mut Random, secrets: bool) -> String {
    let id = random.string(
        b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
        24,
    );
    let text = |random: &mut Random| {
        let mut text = paragraph(random, 700);
        if secrets {
            let half = text.len() / 2;
            text.insert_str(half, &secret(random));
        }
        text.replace(". ", ".\\n\\n")
    };
    let (question, answer) = (text(random), text(random));
    let (prompt, completion) = (random.below(4000), random.below(900));
    let city = random.of(&["Paris", "Lima", "Oslo"]);
    format!(
        r#"{{"id":"chatcmpl-{id}","object":"chat.completion","created":17{:08},"model":"gpt-4o-2024-08-06","messages":[{{"role":"system","content":"You are a helpful assistant."}},{{"role":"user","content":"{question}"}}],"choices":[{{"index":0,"message":{{"role":"assistant","content":"{answer}","tool_calls":[{{"id":"call_{}","type":"function","function":{{"name":"get_weather","arguments":"{{\"location\":\"{city}\",\"unit\":\"celsius\",\"days\":3}}"}}}}]}},"logprobs":null,"finish_reason":"tool_calls"}}],"usage":{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{}}},"temperature":0.7,"system_fingerprint":"fp_{}"}}
"#,
        random.below(100_000_000),
        &id[..20],
        prompt + completion,
        &id[4..14].to_lowercase(),
    )
}

/// One of what is often found.
fn secret(random: &mut Random) -> String {
    let digits = b"0123456789";
    match random.below(8) {
        0 | 1 => format!(
            " {}.{}@example.com ",
            random.of(&["bob", "alice", "carol"]),
            random.string(b"abcdefgh", 6)
        ),
        2 => format!(" {} ", card(random)),
        3 => format!(" call +1 212 555 {} ", random.string(digits, 4)),
        4 => format!(" 10.{}.{}.17 ", random.below(250), random.below(250)),
        5 => format!(
            " {}{} ",
            "ghp_",
            random.string(
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
                36
            )
        ),
        6 => format!(" password={}Q7! ", random.string(b"abcdefghkmnp", 9)),
        _ => format!(
            " SSN 219-{:02}-{:04} ",
            10 + random.below(80),
            1 + random.below(9000)
        ),
    }
}

/// A card number with its check digit (ISO/IEC 7812-1).
fn card(random: &mut Random) -> String {
    let mut number = format!("4{}", random.string(b"0123456789", 14));
    let sum: u32 = number
        .bytes()
        .enumerate()
        .map(|(i, digit)| {
            let value = u32::from(digit - b'0') * if i % 2 == 0 { 2 } else { 1 };
            value / 10 + value % 10
        })
        .sum();
    number += &((10 - sum % 10) % 10).to_string();
    number
}

fn log_line(random: &mut Random) -> String {
    format!(
        "2026-03-0{}T12:{:02}:{:02}.{:06}Z INFO hoop::pipeline: batch done session=s{} events={} lag_ms={} path=/var/lib/hoop/segments/{:012}.log status=ok\n",
        1 + random.below(9),
        random.below(60),
        random.below(60),
        random.below(1_000_000),
        random.below(1000),
        random.below(100_000),
        random.below(100),
        random.below(1_000_000),
    )
}
