//! Heads of HTTP/1 messages, and what they say of the body: RFC 9112 sections 2 to 6.

use httparse::{EMPTY_HEADER, ParserConfig};
use memchr::memchr;

use crate::{Field, Headers, RequestHead, ResponseHead, Version};

/// Where a body ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    /// Chunked, with the transfer codings before it.
    Chunked(Vec<String>),
    /// At the end of the connection, with the transfer codings.
    UntilClose(Vec<String>),
    /// Nobody can tell.
    Broken,
}

/// What a request asks of its response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub stream: u64,
    /// `HEAD`: no body, whatever the fields say.
    pub head: bool,
    pub connect: bool,
    /// It has `Upgrade`.
    pub upgrade: bool,
}

/// The longest target by which a connection is known. Many servers answer 414 to longer ones; after one
/// that is longer, heads are searched for.
const LONGEST_TARGET: usize = 8 << 10;

/// Where the blank line ends that ends a head. `scanned` is how far earlier calls looked.
pub(super) fn end(input: &[u8], scanned: &mut usize) -> Option<usize> {
    while let Some(found) = memchr(b'\n', &input[*scanned..]) {
        let at = *scanned + found;
        match &input[at + 1..] {
            [b'\n', ..] => return Some(at + 2),
            [b'\r', b'\n', ..] => return Some(at + 3),
            [] | [b'\r'] => {
                *scanned = at;
                return None;
            }
            _ => *scanned = at + 1,
        }
    }
    *scanned = input.len();
    None
}

/// Whether these bytes can begin a request; `None`: too few to tell.
pub(crate) fn begins_request(input: &[u8]) -> Option<bool> {
    const LONGEST_METHOD: usize = 32;
    match input
        .iter()
        .take(LONGEST_METHOD + 1)
        .position(|byte| !is_token(*byte))
    {
        Some(0) => Some(false),
        Some(at) => Some(input[at] == b' '),
        None if input.len() > LONGEST_METHOD => Some(false),
        None => None,
    }
}

/// Whether these bytes begin a request for sure: up to its version. For bytes of which nothing is
/// known yet.
pub(crate) fn begins_exact_request(input: &[u8]) -> Option<bool> {
    if !begins_request(input)? {
        return Some(false);
    }
    let method = input.iter().position(|byte| *byte == b' ')?;
    let target = &input[method + 1..];
    let Some(end) = target.iter().position(|byte| *byte <= b' ') else {
        return (target.len() > LONGEST_TARGET).then_some(false);
    };
    if end == 0 || end > LONGEST_TARGET || target[end] != b' ' {
        return Some(false);
    }
    begins_response(&target[end + 1..])
}

/// Whether these bytes can begin a response; `None`: too few to tell.
pub(crate) fn begins_response(input: &[u8]) -> Option<bool> {
    const START: &[u8] = b"HTTP/1.";
    let common = input.len().min(START.len());
    match input[..common] == START[..common] {
        true if common < START.len() => None,
        same => Some(same),
    }
}

/// `tchar`, RFC 9110 section 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

pub(super) fn parse_request(head: &[u8], limit: usize) -> Option<RequestHead> {
    with_fields(head, |fields| {
        let mut request = httparse::Request::new(fields);
        let config = lenient();
        config
            .parse_request(&mut request, head)
            .ok()
            .filter(httparse::Status::is_complete)?;
        let headers = pack(request.headers, limit);
        let mut parsed = RequestHead {
            version: version(request.version),
            method: Field::new(request.method?.as_bytes()),
            scheme: Field::Absent,
            authority: headers.get("host").map_or(Field::Absent, Field::new),
            path: Field::Absent,
            protocol: Field::Absent,
            headers,
        };
        let target = request.path?;
        if request.method == Some("CONNECT") {
            parsed.authority = Field::new(target.as_bytes());
        } else if let Some((scheme, rest)) = target.split_once("://").filter(|(scheme, _)| {
            !scheme.is_empty() && scheme.bytes().all(|it| it.is_ascii_alphanumeric())
        }) {
            let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            parsed.scheme = Field::new(scheme.as_bytes());
            parsed.authority = Field::new(authority.as_bytes());
            parsed.path = Field::new(if path.is_empty() {
                b"/"
            } else {
                path.as_bytes()
            });
        } else {
            parsed.path = Field::new(target.as_bytes());
        }
        Some(parsed)
    })
}

pub(super) fn parse_response(head: &[u8], limit: usize) -> Option<ResponseHead> {
    with_fields(head, |fields| {
        let mut response = httparse::Response::new(fields);
        let config = lenient();
        config
            .parse_response(&mut response, head)
            .ok()
            .filter(httparse::Status::is_complete)?;
        let headers = pack(response.headers, limit);
        Some(ResponseHead {
            version: version(response.version),
            status: response.code,
            headers,
        })
    })
}

/// The trailer section, with the blank line.
pub(super) fn parse_trailers(section: &[u8], limit: usize) -> Option<Headers> {
    with_fields(section, |fields| {
        match httparse::parse_headers(section, fields) {
            Ok(httparse::Status::Complete((_, fields))) => Some(pack(fields, limit)),
            _ => None,
        }
    })
}

/// RFC 9112 section 6.3 for requests. CONNECT has no body.
pub(super) fn frame_request(headers: &Headers, connect: bool) -> Framing {
    if connect {
        return Framing::Length(0);
    }
    match framing(headers) {
        Some(Framing::UntilClose(_)) => Framing::Broken,
        Some(framing) => framing,
        None => Framing::Length(0),
    }
}

/// RFC 9112 section 6.3 for responses.
pub(super) fn frame_response(head: &ResponseHead, asked: Option<Asked>) -> Framing {
    let empty =
        matches!(head.status, Some(100..=199 | 204 | 304)) || asked.is_some_and(|asked| asked.head);
    if empty {
        return Framing::Length(0);
    }
    framing(&head.headers).unwrap_or(Framing::UntilClose(Vec::new()))
}

/// The names in a comma separated field, over all lines of it.
pub(super) fn names<'a>(headers: &'a Headers, name: &'a str) -> impl Iterator<Item = &'a str> {
    let values = headers
        .all(name)
        .filter_map(|value| str::from_utf8(value).ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

/// What the response to this has to be read by.
pub(super) fn asked(stream: u64, head: &RequestHead) -> Asked {
    let method = head.method.as_str();
    Asked {
        stream,
        head: method == Some("HEAD"),
        connect: method == Some("CONNECT"),
        upgrade: head.headers.get("upgrade").is_some(),
    }
}

fn framing(headers: &Headers) -> Option<Framing> {
    if headers.get("transfer-encoding").is_some() {
        let mut codings: Vec<_> = names(headers, "transfer-encoding")
            .map(str::to_ascii_lowercase)
            .collect();
        let chunked = codings.pop_if(|last| last == "chunked").is_some();
        return Some(
            match (chunked, codings.iter().any(|coding| coding == "chunked")) {
                (_, true) => Framing::Broken,
                (true, _) => Framing::Chunked(codings),
                (false, _) => Framing::UntilClose(codings),
            },
        );
    }
    let mut length = None;
    for value in headers.all("content-length") {
        for value in value.split(|byte| *byte == b',') {
            let value = value.trim_ascii();
            let digits = value.iter().all(u8::is_ascii_digit) && !value.is_empty();
            let Some(value) = str::from_utf8(value).ok().filter(|_| digits) else {
                return Some(Framing::Broken);
            };
            let Ok(value) = value.parse::<u64>() else {
                return Some(Framing::Broken);
            };
            if length.is_some_and(|length| length != value) {
                return Some(Framing::Broken);
            }
            length = Some(value);
        }
    }
    length.map(Framing::Length)
}

/// What servers and clients take in practice; what they take has to be seen.
fn lenient() -> ParserConfig {
    let mut config = ParserConfig::default();
    config
        .allow_multiple_spaces_in_request_line_delimiters(true)
        .allow_multiple_spaces_in_response_status_delimiters(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .ignore_invalid_headers_in_requests(true)
        .ignore_invalid_headers_in_responses(true);
    config
}

/// Gives room for as many fields as there can be.
fn with_fields<'h, T>(
    head: &'h [u8],
    parse: impl FnOnce(&mut [httparse::Header<'h>]) -> Option<T>,
) -> Option<T> {
    const COMMON: usize = 64;
    let lines = memchr::memchr_iter(b'\n', head).count();
    if lines <= COMMON {
        parse(&mut [EMPTY_HEADER; COMMON])
    } else {
        parse(&mut vec![EMPTY_HEADER; lines])
    }
}

fn pack(fields: &[httparse::Header<'_>], limit: usize) -> Headers {
    let mut headers = Headers::default();
    for field in fields {
        headers.push(
            Some(field.name.as_bytes()),
            Some(field.value.trim_ascii()),
            limit,
        );
    }
    headers
}

fn version(minor: Option<u8>) -> Version {
    if minor == Some(0) {
        Version::Http10
    } else {
        Version::Http11
    }
}
