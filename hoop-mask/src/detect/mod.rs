//! The built-in detectors: each looks at a window around a trigger and reports what it is sure of.

mod base64;
mod context;
mod email;
mod keyed;
mod lettered;
mod national;
mod network;
mod number;
mod pem;
mod phone;
mod spoken;
mod token;
mod url;
mod vendors;

use crate::Masker;
use crate::prefilter::{self, Trigger};

pub(crate) use base64::{Alignment, Base64};
pub(crate) use keyed::{KEY_ENDS, secret_field};
pub(crate) use national::NATIONAL;
pub(crate) use pem::in_armor;
pub(crate) use vendors::VENDORS;
use vendors::Vendor;

/// What a detector is, apart from how it finds.
pub(crate) struct Spec {
    pub(crate) class: &'static str,
    pub(crate) rule: &'static str,
    /// Of two findings that overlap the lower gives the class.
    pub(crate) rank: u8,
    pub(crate) normal: Normal,
}

/// What about a value makes no difference to its digest.
#[derive(Clone, Copy)]
pub(crate) enum Normal {
    /// Everything counts.
    Exact,
    /// Case.
    Lower,
    /// Case and whatever is no letter or digit.
    Compact,
}

/// Declares the built-in detectors: an id for each, and a table by id.
macro_rules! detectors {
    ($($id:ident $class:literal $rule:literal $rank:literal $normal:ident;)*) => {
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) enum Core { $($id),* }

        pub(crate) static CORE: &[Spec] = &[$(Spec {
            class: $class,
            rule: $rule,
            rank: $rank,
            normal: Normal::$normal,
        }),*];
    };
}

detectors! {
    PrivateKey     "PRIVATE_KEY"      "pem-private-key"   1 Exact;
    Jwt            "JWT"              "jwt"               1 Exact;
    AwsSecretKey   "AWS_SECRET_KEY"   "aws-secret-key"    2 Exact;
    DatabaseUrl    "DATABASE_URL"     "database-url"      3 Exact;
    UrlCredentials "URL_CREDENTIALS"  "url-credentials"   3 Exact;
    Authorization  "AUTHORIZATION"    "authorization"     6 Exact;
    Cookie         "COOKIE"           "cookie"            6 Exact;
    Password       "PASSWORD"         "password"          7 Exact;
    Secret         "SECRET"           "keyed-secret"      8 Exact;
    Email          "EMAIL"            "email"             4 Lower;
    Card           "CARD"             "card"              4 Compact;
    Iban           "IBAN"             "iban"              4 Compact;
    UsSsn          "US_SSN"           "us-ssn"            4 Compact;
    DateOfBirth    "DATE_OF_BIRTH"    "date-of-birth"     5 Compact;
    Phone          "PHONE"            "phone"             6 Compact;
    IpAddress      "IP_ADDRESS"       "ip-address"        5 Lower;
    MacAddress     "MAC_ADDRESS"      "mac-address"       5 Compact;
}

/// The number of a detector: those of [`CORE`], then [`NATIONAL`], then [`VENDORS`], then the
/// custom rules.
pub(crate) type Id = usize;

/// The number of the custom rule `i`.
pub(crate) fn custom(i: usize) -> Id {
    CORE.len() + NATIONAL.len() + VENDORS.len() + i
}

/// How a value that is longer than the window goes on, byte by byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shape {
    /// To the first byte that no token holds.
    Token,
    /// To a quote of this level or a lower one.
    Quoted(u32),
    /// To the end of the line.
    Line,
    /// To the armor's end (RFC 7468).
    Pem,
}

/// A secret in a view.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) id: Id,
    /// It goes on beyond the window.
    pub(crate) open: Option<Shape>,
    /// It was found in base64, and this is the digest of what stood there.
    pub(crate) inner: Option<[u8; 3]>,
}

/// One look at a window.
pub(crate) struct Scan<'a> {
    masker: &'a Masker,
    pub(crate) text: &'a [u8],
    /// The text ends here, rather than the window.
    pub(crate) at_end: bool,
    pub(crate) found: &'a mut Vec<Found>,
    context: context::Cache,
    /// The end of the word that [`spoken`] looked at last.
    word_end: usize,
    ends: Ends,
}

/// Where the last looks ahead ended: the same look from a place in between ends there too, so that a
/// text of many keys and no values takes no longer than another.
#[derive(Default)]
struct Ends {
    ranges: [(usize, usize); Ahead::COUNT],
    /// Where the last value ends that was judged to be no secret.
    judged: usize,
}

/// What is looked for ahead: each is the next byte of a set.
#[derive(Clone, Copy)]
enum Ahead {
    /// The end of a value without quotes.
    Bare,
    Line,
    Url,
    /// A quote of this level or a lower one.
    Quote(u32),
}

impl Ahead {
    const COUNT: usize = 7;

    fn slot(self) -> usize {
        match self {
            Self::Bare => 0,
            Self::Line => 1,
            Self::Url => 2,
            Self::Quote(level) => 3 + level.min(3) as usize,
        }
    }
}

impl<'a> Scan<'a> {
    pub(crate) fn new(
        masker: &'a Masker,
        text: &'a [u8],
        at_end: bool,
        found: &'a mut Vec<Found>,
    ) -> Self {
        Self {
            masker,
            text,
            at_end,
            found,
            context: context::Cache::default(),
            word_end: 0,
            ends: Ends::default(),
        }
    }

    /// Looks at every trigger from `from` up to `to`, and hands runs that can be base64 on.
    pub(crate) fn run(&mut self, from: usize, to: usize, mut run: impl FnMut(&mut Self, usize)) {
        prefilter::scan(self.text, from, to, |at, trigger| match trigger {
            Trigger::Mark => keyed::look(self, at),
            Trigger::At => email::look(self, at),
            Trigger::Number => number::look(self, at + 1 - prefilter::NUMBER_RUN),
            Trigger::Mixed => lettered::look(self, at),
            Trigger::Year => number::look_at_year(self, at - 1),
            Trigger::Url => url::look(self, at - 2),
            Trigger::Colons => network::look(self, at - 1),
            Trigger::Address => network::look_at_run(self, at + 1 - prefilter::ADDRESS_RUN),
            Trigger::Token => {
                token::look(self, at + 1 - prefilter::TOKEN_RUN);
                spoken::look(self, at);
                run(self, at);
            }
            Trigger::Dashes => pem::look(self, at),
        });
    }

    /// The first place from `start` on whose byte `ends` it, or the end of the window.
    fn ahead(&mut self, what: Ahead, start: usize, ends: impl Fn(u8) -> bool) -> usize {
        let start = start.min(self.text.len());
        let known = &mut self.ends.ranges[what.slot()];
        if !(known.0..=known.1).contains(&start) || known.1 == 0 {
            let rest = &self.text[start..];
            let len = rest
                .iter()
                .position(|&byte| ends(byte))
                .unwrap_or(rest.len());
            *known = (start, start + len);
        }
        known.1
    }

    /// The digest of a value that `id` found.
    fn digest(&self, id: Id, value: &[u8]) -> [u8; 3] {
        self.masker.digest(id, value)
    }

    fn report(&mut self, core: Core, start: usize, end: usize) {
        self.push(core as Id, start, end, None);
    }

    /// Reports what ends at `end`, or goes on in `shape` if that is the end of the window.
    fn report_open(&mut self, core: Core, start: usize, end: usize, shape: Shape) {
        self.push(core as Id, start, end, Some(shape));
    }

    fn push(&mut self, id: Id, start: usize, end: usize, shape: Option<Shape>) {
        if self.masker.enabled[id] && start < end {
            let open = shape.filter(|_| end == self.text.len() && !self.at_end);
            self.found.push(Found {
                start,
                end,
                id,
                open,
                inner: None,
            });
        }
    }
}

/// Whether a piece of text is a placeholder of ours, of a template or of a documentation.
fn is_placeholder(value: &[u8]) -> bool {
    let Some(&first) = value.first() else {
        return true;
    };
    matches!(first, b'$' | b'{' | b'<' | b'[' | b'*' | b'%')
        || value.iter().all(|&byte| byte == first)
}

/// Shannon entropy in bits per byte.
pub(crate) fn entropy(value: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for &byte in value {
        counts[byte as usize] += 1;
    }
    let len = value.len() as f64;
    counts
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| f64::from(count) / len)
        .map(|share| -share * share.log2())
        .sum()
}
