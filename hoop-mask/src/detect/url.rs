//! URLs with credentials (RFC 3986, section 3.2.1), databases' among them.

use super::{Ahead, Core, Scan, Shape, is_placeholder};
use crate::bytes::{self, ALNUM};

const SCHEME_LIMIT: usize = 24;
const AUTHORITY_LIMIT: usize = 1024;
/// A user name alone can be a token if it is so long.
const TOKEN_LEN: usize = 16;

const DATABASES: &[&[u8]] = &[
    b"postgres",
    b"postgresql",
    b"mysql",
    b"mariadb",
    b"mongodb",
    b"mongodb+srv",
    b"redis",
    b"rediss",
    b"amqp",
    b"amqps",
    b"mssql",
    b"sqlserver",
    b"oracle",
    b"clickhouse",
    b"cockroachdb",
    b"cassandra",
    b"neo4j",
    b"bolt",
    b"couchdb",
    b"influxdb",
    b"nats",
    b"db2",
    b"snowflake",
];

/// Looks around the `:` of `://` at `at`.
#[inline(never)]
pub(super) fn look(scan: &mut Scan<'_>, at: usize) {
    let text = scan.text;
    let start = scheme_start(text, at);
    if start == at {
        return;
    }
    let first = at + 3;
    let limit = text.len().min(first + AUTHORITY_LIMIT);
    let authority = text[first..limit]
        .iter()
        .position(|&byte| ends_url(byte) || matches!(byte, b'/' | b'?' | b'#'))
        .map_or(limit, |len| first + len);
    let scheme = text[start..at].to_ascii_lowercase();
    // `postgresql+psycopg2://`, as SQLAlchemy writes it.
    let dialect = scheme
        .split(|&byte| byte == b'+')
        .next()
        .unwrap_or_default();
    let database = DATABASES.contains(&scheme.as_slice()) || DATABASES.contains(&dialect);
    let Some(user_end) = text[first..authority]
        .iter()
        .rposition(|&byte| byte == b'@')
    else {
        return;
    };
    let user = &text[first..first + user_end];
    let secret = match user.iter().position(|&byte| byte == b':') {
        Some(colon) => !is_placeholder(&user[colon + 1..]),
        None => user.len() >= TOKEN_LEN,
    };
    if !secret {
        return;
    }
    let mut end = scan.ahead(Ahead::Url, authority, ends_url);
    // In a form it ends at `&`, unless that is of its own query.
    let path = &text[authority..end.min(authority + AUTHORITY_LIMIT)];
    if let Some(mark) = path.iter().position(|byte| matches!(byte, b'&' | b'?'))
        && path[mark] == b'&'
    {
        end = authority + mark;
    }
    if end < text.len() || scan.at_end {
        while end > authority
            && matches!(
                text[end - 1],
                b'.' | b',' | b';' | b':' | b'!' | b'?' | b')' | b']' | b'}'
            )
        {
            end -= 1;
        }
    }
    let core = if database {
        Core::DatabaseUrl
    } else {
        Core::UrlCredentials
    };
    scan.report_open(core, start, end, Shape::Token);
}

fn scheme_start(text: &[u8], at: usize) -> usize {
    let mut start = at;
    while start > 0
        && at - start < SCHEME_LIMIT
        && (bytes::is(text[start - 1], ALNUM) || matches!(text[start - 1], b'+' | b'.' | b'-'))
    {
        start -= 1;
    }
    while start < at && !text[start].is_ascii_alphabetic() {
        start += 1;
    }
    start
}

/// Whether `byte` is none of a URL, or a quote around it.
fn ends_url(byte: u8) -> bool {
    byte <= b' '
        || matches!(
            byte,
            b'"' | b'\'' | b'`' | b'<' | b'>' | b'\\' | b'|' | 0x7f
        )
}
