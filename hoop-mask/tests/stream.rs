//! However the input is cut, the output is that of the whole.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use hoop_mask::{Action, Config, Finding, Key, Masker, Rule};
use proptest::prelude::*;

fn masker(config: &Config) -> Arc<Masker> {
    Arc::new(Masker::new(config, Key::new("test", &[7; 32])).unwrap())
}

fn in_parts(masker: &Arc<Masker>, input: &[u8], cuts: &[usize]) -> (Vec<u8>, Vec<Finding>) {
    let (mut output, mut findings) = (Vec::new(), Vec::new());
    let mut stream = masker.stream();
    let mut cuts = cuts.to_vec();
    cuts.sort_unstable();
    let mut from = 0;
    for cut in cuts.into_iter().chain([input.len()]) {
        stream.push(&input[from..cut], &mut output, &mut findings);
        from = cut;
    }
    stream.finish(&mut output, &mut findings);
    (output, findings)
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

fn pem(len: usize) -> String {
    let dashes = "-".repeat(5);
    let body: String = base64(&(0..len).map(|i| (i * 37 % 251) as u8).collect::<Vec<_>>())
        .as_bytes()
        .chunks(64)
        .map(|line| format!("{}\n", str::from_utf8(line).unwrap()))
        .collect();
    format!("{dashes}BEGIN RSA PRIVATE KEY{dashes}\n{body}{dashes}END RSA PRIVATE KEY{dashes}")
}

/// Secrets, and things that are nearly ones.
fn piece() -> impl Strategy<Value = String> {
    let secret = prop_oneof![
        Just("bob@example.com".to_owned()),
        Just("alice\\u0040example.org".to_owned()),
        Just("carol%40example.net".to_owned()),
        Just("4111 1111 1111 1111".to_owned()),
        Just("{\"card\": 4111111111111111}".to_owned()),
        Just("{\"a\":[-4111111111111111,2]}".to_owned()),
        Just("GB82 WEST 1234 5698 7654 32".to_owned()),
        Just("+44 20 7946 0958".to_owned()),
        Just("10.1.2.3".to_owned()),
        Just("fe80::1:2".to_owned()),
        Just("born 1980-02-03".to_owned()),
        Just(["ghp", "_aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hI6"].concat()),
        Just(
            [
                "Bearer eyJhbGciOiJIUzI1NiJ9",
                ".eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"
            ]
            .concat()
        ),
        Just("postgres://app:s3cr3t@db.internal:5432/app".to_owned()),
        Just("\"password\": \"correct horse \\\"battery\\\" staple\"".to_owned()),
        Just("{\\\"password\\\":\\\"hunter2hunter2\\\",\\\"n\\\":4111111111111111}".to_owned()),
        Just("\nCookie: a=b; session=Zm9vYmFyYmF6\r\n".to_owned()),
        (0_usize..9000).prop_map(pem),
        (0_usize..9000).prop_map(|len| format!("token=\"{}1x", "aB3".repeat(len))),
        ("[a-z ]{0,40}", "[a-z ]{0,40}")
            .prop_map(|(a, b)| base64(format!("{a} bob@example.com {b}").as_bytes())),
        ("[a-z ]{0,3000}", 0_usize..6000).prop_map(|(a, b)| base64(
            format!("{a} bob@example.com {} 4111111111111111", "x".repeat(b)).as_bytes()
        )),
    ];
    prop_oneof![
        4 => secret,
        2 => "[ -~]{0,60}",
        2 => "[a-z ,.\n]{0,400}",
        1 => "[0-9 .:-]{0,40}",
        1 => "[\\\\\"u0-9%a-f:={}]{0,40}",
        1 => (0_usize..20000, "[a-z ]|.").prop_map(|(len, text)| text.repeat(len)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn cuts_make_no_difference(
        pieces in proptest::collection::vec((piece(), "[ \n,;\"]{0,2}"), 1..30),
        cuts in proptest::collection::vec(0.0..1.0, 0..12),
        action in prop_oneof![Just(Action::Placeholder), Just(Action::KeepLast4), Just(Action::Allow), Just(Action::Drop)],
    ) {
        let text: String = pieces.into_iter().map(|(piece, gap)| piece + &gap).collect();
        let config = Config {
            actions: vec![("CARD".into(), action), ("SECRET".into(), action)],
            rules: vec![Rule {
                name: "badge".into(),
                class: "BADGE".into(),
                pattern: "b[0-9a-f]{4,}".into(),
                fields: vec!["*.a*".into()],
                ..Rule::default()
            }],
            ..Config::default()
        };
        let masker = masker(&config);
        let whole = masker.mask(text.as_bytes());
        let cuts: Vec<_> = cuts.iter().map(|share| (share * text.len() as f64) as usize).collect();
        let (output, findings) = in_parts(&masker, text.as_bytes(), &cuts);
        prop_assert!(output == whole.bytes, "output differs");
        prop_assert_eq!(&findings, &whole.findings);
        // The findings are the map from input to output.
        let (mut from, mut rebuilt) = (0, 0);
        for finding in &findings {
            prop_assert!(from <= finding.start && finding.start < finding.end);
            rebuilt += (finding.start - from) as usize + finding.masked_len;
            from = finding.end;
        }
        prop_assert_eq!(rebuilt + text.len() - from as usize, output.len());
    }

    #[test]
    fn byte_by_byte_makes_no_difference(pieces in proptest::collection::vec(piece(), 1..6)) {
        let text = pieces.concat();
        let masker = masker(&Config::default());
        let whole = masker.mask(text.as_bytes());
        let cuts: Vec<_> = (0..text.len()).collect();
        let (output, findings) = in_parts(&masker, text.as_bytes(), &cuts);
        prop_assert!(output == whole.bytes, "output differs");
        prop_assert_eq!(findings, whole.findings);
    }

    #[test]
    fn any_bytes_pass_through_or_are_masked(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let masker = masker(&Config::default());
        let (output, findings) = in_parts(&masker, &bytes, &[]);
        if findings.is_empty() {
            prop_assert_eq!(output, bytes);
        }
    }
}
