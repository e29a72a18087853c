//! What each detector finds, what it lets be, and in which writings.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use hoop_mask::{Action, Config, Finding, Key, Masker, Rule, Via};

fn masker(config: &Config) -> Arc<Masker> {
    Arc::new(Masker::new(config, Key::new("test", &[7; 32])).unwrap())
}

/// Class and secret of each finding.
fn found(text: &str) -> Vec<(String, String)> {
    let masked = masker(&Config::default()).mask(text.as_bytes());
    let name = |finding: &Finding| {
        let secret = &text[finding.start as usize..finding.end as usize];
        (finding.class.to_string(), secret.to_owned())
    };
    masked.findings.iter().map(name).collect()
}

#[track_caller]
fn assert_found(text: &str, class: &str, secret: &str) {
    assert_eq!(
        found(text),
        [(class.to_owned(), secret.to_owned())],
        "{text}"
    );
}

#[track_caller]
fn assert_none(text: &str) {
    assert_eq!(found(text), [], "{text}");
}

fn mask(text: &str) -> String {
    masker(&Config::default()).mask_str(text).0
}

/// Examples by class, put together here so that scanners of sources do not take them for live ones.
fn examples() -> Vec<(&'static str, String)> {
    let random = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hI6kL9nO2qR5tU8wX1zA4cD7fG0iJ3lM6oP9rS2uV5xY8";
    let hex = "3f9a0c7e51b8d2463f9a0c7e51b8d2461a2b3c4d5e6f708192a3b4c5d6e7f809";
    let token = |prefix: &str, len: usize| format!("{prefix}{}", &random[..len]);
    let hexadecimal = |prefix: &str, len: usize| format!("{prefix}{}", &hex[..len]);
    vec![
        ("EMAIL", "bob.o+tag@mail.example.com".into()),
        ("PHONE", "+44 20 7946 0958".into()),
        ("PHONE", "(212) 555-0123".into()),
        ("CARD", "4111 1111 1111 1111".into()),
        ("CARD", "378282246310005".into()),
        ("CARD", "5555-5555-5555-4444".into()),
        ("IBAN", "GB82 WEST 1234 5698 7654 32".into()),
        ("IBAN", "DE89370400440532013000".into()),
        ("US_SSN", "219-09-9999".into()),
        ("IP_ADDRESS", "203.0.113.7".into()),
        ("IP_ADDRESS", "2001:db8::8a2e:370:7334".into()),
        ("MAC_ADDRESS", "00:1b:44:11:3a:b7".into()),
        ("MAC_ADDRESS", "00-1B-44-11-3A-B7".into()),
        ("BR_CPF", "529.982.247-25".into()),
        ("CH_AHV", "756.9217.0769.85".into()),
        (
            "JWT",
            [
                "eyJhbGciOiJIUzI1NiJ9",
                ".eyJzdWIiOiIxMjM0NTY3ODkwIn0",
                ".dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
            ]
            .concat(),
        ),
        ("AWS_ACCESS_KEY_ID", "AKIA".to_owned() + "IOSFODNN7Q3XBMPL"),
        ("GCP_API_KEY", token("AIza", 35)),
        ("GITHUB_TOKEN", token("ghp_", 36)),
        ("GITHUB_TOKEN", token("github_pat_", 60)),
        ("GITLAB_TOKEN", token("glpat-", 20)),
        (
            "SLACK_TOKEN",
            "xoxb-".to_owned() + "123456789012-123456789012-" + &random[..24],
        ),
        ("STRIPE_KEY", token("sk_live_", 24)),
        ("OPENAI_API_KEY", token("sk-proj-", 48)),
        ("ANTHROPIC_API_KEY", token("sk-ant-api03-", 60)),
        ("NPM_TOKEN", token("npm_", 36)),
        ("PYPI_TOKEN", token("pypi-AgEIcHlwaS5vcmc", 60)),
        (
            "SENDGRID_KEY",
            format!("SG.{}.{}", &random[..22], &random[20..63]),
        ),
        ("TWILIO_KEY", hexadecimal("SK", 32)),
        ("HUGGINGFACE_TOKEN", token("hf_", 34)),
        ("DIGITALOCEAN_TOKEN", hexadecimal("dop_v1_", 64)),
        ("SHOPIFY_TOKEN", hexadecimal("shpat_", 32)),
        ("DATABRICKS_TOKEN", hexadecimal("dapi", 32)),
        ("VAULT_TOKEN", token("hvs.", 40)),
        ("TELEGRAM_TOKEN", format!("123456789:AA{}", &random[..33])),
        (
            "DISCORD_TOKEN",
            format!("MTA{}.{}.{}", &random[..23], &random[..6], &random[..38]),
        ),
        (
            "DATABASE_URL",
            ["postgres://app:", "s3cr3tpw@db.example.com:5432/app"].concat(),
        ),
        (
            "URL_CREDENTIALS",
            ["https://bob:", "hunter22@example.com/x"].concat(),
        ),
    ]
}

#[test]
fn every_example_in_every_writing() {
    for (class, secret) in examples() {
        for (before, after) in [
            ("", ""),
            ("see ", " there"),
            ("(", ")"),
            ("x\n", "\n"),
            ("a, ", ". And"),
        ] {
            assert_found(&format!("{before}{secret}{after}"), class, &secret);
        }
        let json = format!("{{\"text\":\"line\\n{secret}\\tend\",\"n\":1}}");
        assert_found(&json, class, &secret);
        let nested =
            format!("{{\"arguments\":\"{{\\\"note\\\":\\\"{secret}\\\",\\\"n\\\":[1]}}\"}}");
        assert_found(&nested, class, &secret);
        assert!(!mask(&nested).contains(&secret));
    }
}

#[test]
fn every_example_percent_encoded() {
    for (class, secret) in examples() {
        let encoded: String = secret
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                    (byte as char).to_string()
                }
                _ => format!("%{byte:02X}"),
            })
            .collect();
        let text = format!("q={encoded}&page=2");
        let masked = masker(&Config::default()).mask(text.as_bytes());
        let classes: Vec<_> = masked
            .findings
            .iter()
            .map(|finding| &*finding.class)
            .collect();
        assert_eq!(classes, [class], "{text}");
        let output = String::from_utf8(masked.bytes).unwrap();
        assert!(
            output.starts_with(&format!("q=[{class}:")) && output.ends_with("]&page=2"),
            "{output}"
        );
    }
}

#[test]
fn every_example_in_base64() {
    for (class, secret) in examples() {
        let text = format!(
            "blob {} end",
            base64(format!("some text {secret} and more of it").as_bytes())
        );
        let masked = masker(&Config::default()).mask(text.as_bytes());
        let classes: Vec<_> = masked
            .findings
            .iter()
            .map(|finding| (&*finding.class, finding.via))
            .collect();
        assert_eq!(classes, [(class, Via::Base64)], "{text}");
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let mut padded = [0; 4];
        padded[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(padded);
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= group.len() { digit as char } else { '=' });
        }
    }
    text
}

#[test]
fn near_misses() {
    for text in [
        // Check digits, areas, lengths.
        "4111 1111 1111 1112",
        "GB83 WEST 1234 5698 7654 32",
        "666-09-9999",
        "529.982.247-26",
        "256.1.1.1",
        "1.2.3",
        // Parts of longer numbers.
        "94111111111111111123456789",
        "x4111111111111111y",
        "1.2.3.4.5",
        // Code and prose.
        "the password v1.2.3 and the password 2023-11-02",
        "each token gpt-4o-2024-08-06 writes",
        "The password is SHA-256 hashed, the key is utf-8",
        "git@github.com:org/repo",
        "@property and @types/node and foo@bar",
        "icon@2x.png",
        "std::vec::Vec and a::b",
        "12:30:45",
        "if password == null { return token(key); }",
        "let api_key = config.get(\"key\");",
        "max_tokens: 4096, \"token\": \" the\"",
        "https://example.com/path?query=1",
        "550e8400-e29b-41d4-a716-446655440000",
        "2026-03-01T12:00:00Z",
        "v1.2.3-beta.4+build.20230101",
        "\"password\": null, \"secret\": \"${SECRET}\"",
        "a_rather_long_identifier_without_secrets",
    ] {
        assert_none(text);
    }
}

#[test]
fn values_beside_keys() {
    assert_found(
        "{\"password\": \"correct horse\"}",
        "PASSWORD",
        "correct horse",
    );
    assert_found(
        "{\"password\":\"a\\\"b c\\\\\",\"x\":1}",
        "PASSWORD",
        "a\\\"b c\\\\",
    );
    assert_found(
        "{\\\"db_password\\\":\\\"a\\\\\\\"b\\\",\\\"x\\\":1}",
        "PASSWORD",
        "a\\\\\\\"b",
    );
    assert_found("DB_PASSWORD=hunter", "PASSWORD", "hunter");
    assert_found("my password is hunter22, ok", "PASSWORD", "hunter22");
    let value = ["Tr0ub4", "dor#3x"].concat();
    assert_found(&format!("the password {value} is it"), "PASSWORD", &value);
    assert_found("user=x&password=hunter&y=1", "PASSWORD", "hunter");
    assert_found(
        "UPDATE t SET password = 'it''s me' WHERE 1",
        "PASSWORD",
        "it''s me",
    );
    let secret = ["wJalrXUtnFEMI/K7MDENG", "/bPxRfiCYzR7Q3XBMPLKE"].concat();
    assert_found(
        &format!("aws_secret_access_key = {secret}"),
        "AWS_SECRET_KEY",
        &secret,
    );
    assert_found(
        "\"api_key\": \"9f86d081884c7d65\"",
        "SECRET",
        "9f86d081884c7d65",
    );
    assert_found(
        "Authorization: Basic dXNlcjpwYXNzd29yZA==",
        "AUTHORIZATION",
        "dXNlcjpwYXNzd29yZA==",
    );
    assert_found(
        "\"authorization\":\"Bearer abc.def-123\"",
        "AUTHORIZATION",
        "abc.def-123",
    );
    assert_found(
        "GET /\r\nCookie: a=b; sid=31d4d96e407aad42\r\n\r\n",
        "COOKIE",
        "a=b; sid=31d4d96e407aad42",
    );
    assert_found("\"dob\": \"1980-02-03\"", "DATE_OF_BIRTH", "1980-02-03");
    assert_found("she was born on 3/23/1940.", "DATE_OF_BIRTH", "3/23/1940");
}

#[test]
fn private_keys() {
    let dashes = "-".repeat(5);
    let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n".repeat(120);
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY"] {
        let key = format!("{dashes}BEGIN {label}{dashes}\n{body}{dashes}END {label}{dashes}");
        assert_found(&format!("key:\n{key}\nafter"), "PRIVATE_KEY", &key);
        let escaped = key.replace('\n', "\\n");
        assert_found(
            &format!("{{\"k\":\"{escaped}\\n\"}}"),
            "PRIVATE_KEY",
            &escaped,
        );
    }
    let public = format!(
        "{dashes}BEGIN PUBLIC KEY{dashes}\n{}{dashes}END PUBLIC KEY{dashes}",
        &body[..200]
    );
    assert!(
        !found(&public)
            .iter()
            .any(|(class, _)| class == "PRIVATE_KEY")
    );
}

#[test]
fn json_stays_json() {
    assert_eq!(
        mask("{\"card\":4111111111111111}"),
        format!("{{\"card\":\"{}\"}}", mask("4111111111111111"))
    );
    assert_eq!(
        mask("[1, 4111111111111111, 2]"),
        format!("[1, \"{}\", 2]", mask("4111111111111111"))
    );
    assert_eq!(
        mask("[-4111111111111111]"),
        format!("[\"{}\"]", mask("4111111111111111"))
    );
    assert_eq!(
        mask("{\"a\":\"{\\\"card\\\":4111111111111111}\"}"),
        format!(
            "{{\"a\":\"{{\\\"card\\\":\\\"{}\\\"}}\"}}",
            mask("4111111111111111")
        ),
    );
    // In a string it is one already.
    assert_eq!(
        mask("{\"a\":\": 4111111111111111, \"}"),
        format!("{{\"a\":\": {}, \"}}", mask("4111111111111111"))
    );
    assert_eq!(
        mask("cards: 4111111111111111, x"),
        format!("cards: {}, x", mask("4111111111111111"))
    );
}

#[test]
fn one_value_has_one_placeholder() {
    let plain = mask("bob@example.com");
    assert!(plain.starts_with("[EMAIL:") && plain.len() == "[EMAIL:7f3a9c]".len());
    assert_eq!(mask("BOB@Example.com"), plain);
    assert_eq!(mask("bob\\u0040example.com"), plain);
    assert_eq!(mask("bob%40example.com"), plain);
    assert_ne!(mask("rob@example.com"), plain);
    assert_eq!(mask("4111-1111-1111-1111"), mask("4111111111111111"));
    let other = Masker::new(&Config::default(), Key::new("other", &[8; 32])).unwrap();
    assert_ne!(other.mask_str("bob@example.com").0, plain);
}

#[test]
fn actions() {
    let with = |action| {
        let actions = vec![("CARD".to_owned(), action)];
        masker(&Config {
            actions,
            ..Config::default()
        })
        .mask_str("pay 4111111111111111 now")
        .0
    };
    assert_eq!(with(Action::Full), "pay [CARD] now");
    assert_eq!(with(Action::KeepLast4), "pay ****1111 now");
    assert_eq!(with(Action::Drop), "pay  now");
    assert_eq!(with(Action::Allow), "pay 4111111111111111 now");
}

#[test]
fn fields() {
    let masker = masker(&Config::default());
    let masked = |name: &str, value: &str| {
        String::from_utf8(masker.mask_field(name, value.as_bytes()).bytes).unwrap()
    };
    assert!(masked("password", "correct horse").starts_with("[PASSWORD:"));
    assert!(masked("dob", "1980-02-03").starts_with("[DATE_OF_BIRTH:"));
    assert_eq!(masked("created", "1980-02-03"), "1980-02-03");
    let finding = &masker.mask_field("note", b"to bob@example.com").findings[0];
    assert_eq!((finding.start, finding.end), (3, 18));
}

#[test]
fn rules() {
    let rule = |pattern: &str| Rule {
        name: "badge".into(),
        class: "EMPLOYEE_ID".into(),
        pattern: pattern.into(),
        ..Rule::default()
    };
    let mask = |rule: Rule, text: &str| {
        masker(&Config {
            rules: vec![rule],
            ..Config::default()
        })
        .mask_str(text)
        .0
    };
    assert!(mask(rule(r"\bE-\d{6}\b"), "id E-123456.").starts_with("id [EMPLOYEE_ID:"));
    let near = Rule {
        keywords: vec!["badge".into()],
        ..rule(r"\b\d{6}\b")
    };
    assert_eq!(mask(near.clone(), "order 123456"), "order 123456");
    assert!(mask(near, "BADGE 123456").starts_with("BADGE [EMPLOYEE_ID:"));
    let group = Rule {
        group: 1,
        action: Some(Action::Full),
        ..rule(r"emp=(\d+)")
    };
    assert_eq!(mask(group, "emp=77;"), "emp=[EMPLOYEE_ID];");
    let allow = Rule {
        allow: vec!["^E-0+$".into()],
        action: Some(Action::Full),
        ..rule(r"E-\d+")
    };
    assert_eq!(mask(allow, "E-000 E-123"), "E-000 [EMPLOYEE_ID]");
    let fields = Rule {
        fields: vec!["users.*.badge".into()],
        action: Some(Action::Full),
        ..rule(r"\d{6}")
    };
    assert_eq!(
        mask(
            fields,
            r#"{"n":"123456","users":[{"badge":"123456"},{"badge":"654321","x":"111111"}]}"#
        ),
        r#"{"n":"123456","users":[{"badge":"[EMPLOYEE_ID]"},{"badge":"[EMPLOYEE_ID]","x":"111111"}]}"#
    );
    assert!(
        Masker::new(
            &Config {
                rules: vec![rule("(")],
                ..Config::default()
            },
            Key::new("k", &[0; 32])
        )
        .is_err()
    );
}

#[test]
fn nothing_prints_a_secret() {
    let masker = masker(&Config::default());
    let masked = masker.mask(b"bob@example.com");
    let mut stream = masker.stream();
    stream.push(b"bob@example.com", &mut Vec::new(), &mut Vec::new());
    let printed = format!(
        "{masked:?} {masker:?} {stream:?} {:?}",
        Key::new("id", b"bob@example.com.................")
    );
    assert!(!printed.contains("bob") && !printed.contains("98, 111, 98"));
}

#[test]
fn hostile_text_takes_no_longer() {
    let masker = masker(&Config::default());
    let dashes = "-".repeat(5);
    for text in [
        "key=".to_owned(),
        "password=\"".into(),
        "pwd='".into(),
        "a://b:c@".into(),
        "1 ".into(),
        "a@a.".into(),
        "eyJaaaaaaaaaaaaaaaa.".into(),
        format!("{dashes}BEGIN PRIVATE KEY{dashes}"),
        "\\".into(),
        "\\u0041".into(),
        "%41".into(),
        "::1".into(),
        "\\\"key\\\":\\\"".into(),
        "glpat-aB3dE6gH9jK2mN5pQ8sT.".into(),
        "Cookie: a=".into(),
        "authorization: x ".into(),
    ] {
        let long = text.repeat((256 << 10) / text.len());
        let start = std::time::Instant::now();
        let masked = masker.mask(long.as_bytes());
        assert!(!masked.bytes.is_empty());
        assert!(
            start.elapsed().as_secs() < 20,
            "{text}: {:?}",
            start.elapsed()
        );
        eprintln!("TIME {text} {:?}", start.elapsed());
    }
}
