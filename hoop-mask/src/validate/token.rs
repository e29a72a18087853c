//! Tokens whose form or checksum the vendor publishes.

/// Whether `text` is a JSON web token: three parts in base64url of which the first decodes to a
/// JSON object (RFC 7519, RFC 7515), or five if encrypted (RFC 7516); the last may be empty
/// (`"alg":"none"`).
pub fn is_jwt(text: &[u8]) -> bool {
    let mut parts = text.split(|&byte| byte == b'.');
    let header = parts.next().unwrap_or_default();
    let count = 1 + parts.clone().count();
    header.len() >= 8
        && starts_as_object(header)
        && matches!(count, 3 | 5)
        && parts
            .clone()
            .next()
            .is_some_and(|claims| count == 5 || !claims.is_empty())
        && parts.all(|part| {
            part.iter()
                .all(|&byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        })
}

/// Whether `text` is a token of GitHub or npm with a right checksum: a prefix of three letters, 30
/// random characters, and their CRC-32 as six digits of base 62 (GitHub, "Behind GitHub's new
/// authentication token formats", 2021). A wrong checksum proves that a token was never issued, not
/// that it is no secret of someone's.
pub fn has_token_checksum(text: &[u8]) -> bool {
    const PREFIXES: [&[u8]; 6] = [b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"npm_"];
    let Some(body) = PREFIXES
        .iter()
        .find_map(|prefix| text.strip_prefix(*prefix))
    else {
        return false;
    };
    let Some((random, checksum)) = body.split_last_chunk::<6>() else {
        return false;
    };
    random.len() == 30
        && random.iter().all(u8::is_ascii_alphanumeric)
        && *checksum == base62(crc32(random))
}

/// Whether `text` is an API token of the Python package index or its test instance: after `pypi-` a
/// macaroon in base64url, version 2, whose first field is its location (Warehouse, `macaroons`).
pub fn is_pypi_token(text: &[u8]) -> bool {
    let Some(macaroon) = text.strip_prefix(b"pypi-") else {
        return false;
    };
    // `02 01 08 "pypi.org"` and `02 01 0d "test.pypi.org"`.
    [b"AgEIcHlwaS5vcmc".as_slice(), b"AgENdGVzdC5weXBpLm9yZw"]
        .iter()
        .any(|prefix| macaroon.starts_with(prefix))
        && macaroon.len() >= 64
        && macaroon
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte))
}

/// Whether base64url decodes to a brace, maybe white space, and a quotation mark.
fn starts_as_object(header: &[u8]) -> bool {
    let mut decoded = [0; 9];
    let (mut length, mut bits, mut held) = (0, 0_u32, 0);
    for &byte in header.iter().take(12) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return false,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            decoded[length] = (bits >> held) as u8;
            length += 1;
        }
    }
    match decoded[..length].split_first() {
        Some((b'{', rest)) => rest.trim_ascii_start().first() == Some(&b'"'),
        _ => false,
    }
}

/// CRC-32 of IEEE 802.3, reflected.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| {
        if crc & 1 == 1 {
            crc >> 1 ^ 0xedb8_8320
        } else {
            crc >> 1
        }
    };
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), step)
    })
}

/// Six digits of base 62, in the order 0-9, A-Z, a-z.
fn base62(mut value: u32) -> [u8; 6] {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = [b'0'; 6];
    for digit in text.iter_mut().rev() {
        *digit = DIGITS[(value % 62) as usize];
        value /= 62;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_of_a_token() {
        // The check value that CRC catalogues give for CRC-32.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(&base62(0), b"000000");
        assert_eq!(&base62(61 + 62), b"00001z");
        // A revoked token, in two parts so that scanners of sources do not take it for a live one.
        let token = ["ghp_zQWBuTSOoRi4A9sp", "HcVY5ncnsDkxkJ0mLq17"].concat();
        assert!(has_token_checksum(token.as_bytes()));
        for place in 4..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[place] = if changed[place] == b'x' { b'y' } else { b'x' };
            assert!(!has_token_checksum(&changed), "{place}");
        }
        assert!(!has_token_checksum(
            token.replace("ghp_", "ghx_").as_bytes()
        ));
        assert!(!has_token_checksum(b"ghp_"));
    }

    #[test]
    fn json_web_tokens() {
        let header = "eyJhbGciOiJIUzI1NiJ9";
        for text in [
            format!("{header}.{}.c2lnbmF0dXJl", "e30"),
            // An unsigned one; one with a space after the brace; an encrypted one with a direct
            // key.
            format!("{header}.e30."),
            "eyAiYWxnIjogIkhTMjU2IiB9.e30.c2ln".to_owned(),
            format!("{header}..aXY.dGV4dA.dGFn"),
        ] {
            assert!(is_jwt(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "eyJhbGciOiJIUzI1NiJ9",
            "www.example.org",
            "eyJhbGciOiJIUzI1NiJ9.e30",
            "eyJhbGci+iJIUzI1NiJ9.e30.x",
            "eyJhbGciOiJIUzI1NiJ9..x",
            "eyJhbGciOiJIUzI1NiJ9.e30.x y",
            "example1.example.org",
        ] {
            assert!(!is_jwt(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn pypi_tokens() {
        let token = ["pypi-", "AgEIcHlwaS5vcmc", &"Abc_-123".repeat(10)].concat();
        assert!(is_pypi_token(token.as_bytes()));
        assert!(!is_pypi_token(
            token.replace("cHlwaS5vcmc", "cHlwaS5jb20").as_bytes()
        ));
        assert!(!is_pypi_token(&token.as_bytes()[..40]));
    }
}
