//! Documents that carry a secret, and how it is written in each.

use super::random::Random;
use super::secrets::Secret;

/// A document and the forms in which the secret stands in it.
pub struct Document {
    pub text: String,
    /// None of these may be left, nor eight bytes of one.
    pub forms: Vec<String>,
}

type Carry = fn(&Secret, &mut Random) -> Option<Document>;

/// Every way to carry a secret; none where a kind cannot be carried so.
pub const CARRIERS: &[(&str, Carry)] = &[
    ("prose", |secret, random| {
        let text = format!(
            "{} Mind the {} {}. Then go on.",
            filler(random),
            words(secret),
            secret.text
        );
        plain(text, secret)
    }),
    ("prose, quoted", |secret, random| {
        let (open, close) = [
            ("\"", "\""),
            ("'", "'"),
            ("`", "`"),
            ("(", ")"),
            ("<", ">"),
            ("**", "**"),
        ][random.below(6)];
        plain(
            format!(
                "My {}: {open}{}{close}, {}",
                words(secret),
                secret.text,
                filler(random)
            ),
            secret,
        )
    }),
    ("json", |secret, random| {
        let value = escape(&secret.text);
        let text = format!(
            r#"{{"id":{},"user":{{"{}":"{value}","about":"{}"}},"n":[1,2.5,null]}}"#,
            random.below(1000),
            secret.label,
            filler(random)
        );
        with_forms(text, vec![secret.hidden.clone()])
    }),
    ("json, pretty", |secret, random| {
        let text = format!(
            "{{\n  \"role\": \"user\",\n  \"{}\": \"{}\",\n  \"content\": \"{}\"\n}}\n",
            secret.label,
            escape(&secret.text),
            filler(random)
        );
        plain(text, secret)
    }),
    ("json, escaped", |secret, random| {
        let escaped = unicode_escapes(&secret.text, random);
        let text = format!(r#"{{"{}":"{escaped}"}}"#, secret.label);
        with_forms(text, vec![secret.hidden.clone(), escaped])
    }),
    ("json, number", |secret, _| {
        let is_number =
            secret.text.bytes().all(|byte| byte.is_ascii_digit()) && !secret.text.starts_with('0');
        let text = format!(r#"{{"{}": {}, "next": 1}}"#, secret.label, secret.text);
        if is_number { plain(text, secret) } else { None }
    }),
    ("json in json", |secret, random| {
        let inner = format!(r#"{{"{}": "{}"}}"#, secret.label, escape(&secret.text));
        let text = format!(
            r#"{{"name":"save","arguments":"{}","id":{}}}"#,
            escape(&inner),
            random.below(100)
        );
        plain(text, secret)
    }),
    ("chat", |secret, random| {
        let said = format!(
            "{}\nMy {} is {}\nthanks",
            filler(random),
            words(secret),
            secret.text
        );
        let text = format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"text","text":"{}"}}]}}]}}"#,
            escape(&said)
        );
        plain(text, secret)
    }),
    ("server-sent events", |secret, random| {
        let said = format!("{} {} {}", filler(random), words(secret), secret.text);
        let text = format!(
            "event: delta\ndata: {{\"delta\":{{\"text\":\"{}\"}}}}\n\ndata: [DONE]\n\n",
            escape(&said)
        );
        plain(text, secret)
    }),
    ("form", |secret, random| {
        let value = percent(&secret.text, false, random).replace("%20", "+");
        with_forms(
            format!("a=1&{}={value}&b=2", secret.label),
            vec![secret.hidden.clone(), value],
        )
    }),
    ("url", |secret, random| {
        let value = percent(&secret.text, false, random);
        let text = format!(
            "GET /find?page=2&{}={value} HTTP/1.1\r\nHost: a.test\r\n\r\n",
            secret.label
        );
        with_forms(text, vec![secret.hidden.clone(), value])
    }),
    ("percent-encoded", |secret, random| {
        let value = percent(&secret.text, true, random);
        with_forms(
            format!("x=1&{}={value}", secret.label),
            vec![secret.hidden.clone(), value],
        )
    }),
    ("header", |secret, _| {
        let name = secret.label.replace('_', "-");
        let text = format!(
            "POST / HTTP/1.1\r\nX-{name}: {}\r\nAccept: */*\r\n\r\n",
            secret.text
        );
        if secret.text.contains('\n') {
            None
        } else {
            plain(text, secret)
        }
    }),
    ("sql", |secret, random| {
        let text = format!(
            "UPDATE users SET {} = '{}' WHERE id = {};",
            secret.label,
            secret.text,
            random.below(1000)
        );
        plain(text, secret)
    }),
    ("sql, condition", |secret, _| {
        plain(
            format!(
                "SELECT * FROM t WHERE a > 3 AND {}='{}' LIMIT 5",
                secret.label, secret.text
            ),
            secret,
        )
    }),
    ("yaml", |secret, random| {
        let text = format!(
            "user:\n  name: {}\n  {}: {}\n  age: 40\n",
            filler(random),
            secret.label,
            secret.text
        );
        if secret.text.contains('\n') {
            None
        } else {
            plain(text, secret)
        }
    }),
    ("environment", |secret, _| {
        let text = format!(
            "PATH=/bin\nexport {}={}\nHOME=/root\n",
            secret.label.to_uppercase(),
            secret.text
        );
        if secret.text.contains('\n') {
            None
        } else {
            plain(text, secret)
        }
    }),
    ("xml", |secret, random| {
        plain(
            format!(
                "<u><{0}>{1}</{0}><a>{2}</a></u>",
                secret.label,
                secret.text,
                filler(random)
            ),
            secret,
        )
    }),
    ("log", |secret, random| {
        let text = format!(
            "2026-11-25T16:40:0{}Z INFO request done {}={} status=200 took=12ms\n",
            random.below(10),
            secret.label,
            secret.text
        );
        plain(text, secret)
    }),
    ("base64", |secret, random| {
        let inner = format!(
            r#"{{"{}":"{}","z":"{}"}}"#,
            secret.label,
            escape(&secret.text),
            filler(random)
        );
        let encoded = base64(inner.as_bytes());
        let at = inner.find(&escape(&secret.hidden))?;
        // The digits that hold nothing but the secret.
        let (first, last) = (
            at.div_ceil(3) * 4,
            (at + escape(&secret.hidden).len()) / 3 * 4,
        );
        let form = encoded.get(first..last)?.to_owned();
        with_forms(
            format!(r#"{{"data":"{encoded}"}}"#),
            vec![secret.hidden.clone(), form],
        )
    }),
];

fn plain(text: String, secret: &Secret) -> Option<Document> {
    with_forms(text, vec![secret.hidden.clone()])
}

fn with_forms(text: String, forms: Vec<String>) -> Option<Document> {
    Some(Document { text, forms })
}

/// A label as a person says it.
fn words(secret: &Secret) -> String {
    secret.label.replace('_', " ")
}

/// Words that say nothing of anything.
fn filler(random: &mut Random) -> String {
    let words = [
        "green", "the", "river", "runs", "over", "stones", "and", "sleeps", "by", "night",
    ];
    let count = random.below(12);
    (0..=count)
        .map(|_| words[random.below(words.len())])
        .collect::<Vec<_>>()
        .join(" ")
}

/// As in a JSON string (RFC 8259).
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// Some characters as `\u0041`, slashes as `\/`.
fn unicode_escapes(text: &str, random: &mut Random) -> String {
    let write = |char: char| match char {
        '\n' => "\\n".to_owned(),
        '/' => "\\/".to_owned(),
        char if random.below(3) == 0 => format!("\\u{:04x}", u32::from(char)),
        char => char.to_string(),
    };
    text.chars().map(write).collect()
}

/// Percent-encoded (RFC 3986): what must be, or everything.
fn percent(text: &str, all: bool, random: &mut Random) -> String {
    let write = |byte: u8| {
        let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        match (unreserved && !all, random.below(2)) {
            (true, _) => char::from(byte).to_string(),
            (false, 0) => format!("%{byte:02x}"),
            (false, _) => format!("%{byte:02X}"),
        }
    };
    text.bytes().map(write).collect()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let mut padded = [0; 4];
        padded[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(padded);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= group.len() {
                digit as char
            } else {
                '='
            });
        }
    }
    text
}
