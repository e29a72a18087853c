//! A reader of JSON that keeps what can be read.
//!
//! A strict parser gives nothing of a body with one lone surrogate, one number out of range, one
//! value too deep or its last byte missing, and whoever wants a call not to be seen needs only one
//! of these: many clients and servers take them. This one goes on where it can, stops where it
//! cannot, and tells what was wrong in [`Notes`].

mod read;

pub(crate) use read::{Notes, read};

/// Stands at the end of a text that is not all there, wherever that is: a character that Unicode keeps for such use
/// (Unicode 16.0, 23.7) and that no text should have. What is before it may be the first half of a secret.
pub const CUT: char = '\u{fdd0}';

/// A JSON value as it was written: members in order, repeated ones too, numbers by their digits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(String),
    String(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

static NULL: Json = Json::Null;

impl Json {
    /// The member of that name, the last one if there are several; `Null` if there is none or this
    /// is no object.
    pub(crate) fn get(&self, key: &str) -> &Self {
        match self {
            Self::Object(members) => members
                .iter()
                .rev()
                .find(|(name, _)| name == key)
                .map_or(&NULL, |(_, value)| value),
            _ => &NULL,
        }
    }

    /// Of the members of these names, the first that is there and not `Null`.
    pub(crate) fn any(&self, keys: &[&str]) -> &Self {
        keys.iter()
            .map(|key| self.get(key))
            .find(|value| !value.is_null())
            .unwrap_or(&NULL)
    }

    /// The members of an object, in the order written; none of anything else.
    pub(crate) fn members(&self) -> &[(String, Self)] {
        match self {
            Self::Object(members) => members,
            _ => &[],
        }
    }

    /// The items of an array; none of anything else.
    pub(crate) fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }

    pub(crate) fn str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// A copy of a string.
    pub(crate) fn string(&self) -> Option<String> {
        self.str().map(str::to_owned)
    }

    pub(crate) fn bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// A number without fraction within `u64`.
    pub(crate) fn u64(&self) -> Option<u64> {
        let Self::Number(digits) = self else {
            return None;
        };
        digits.parse().ok().or_else(|| {
            // 1e3 and 1.0 are integers too. Up to 2^53 all of them are exact.
            let value: f64 = digits.parse().ok()?;
            let whole = (0.0..=9_007_199_254_740_992.0).contains(&value) && value.fract() == 0.0;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked to be whole and in range"
            )]
            whole.then_some(value as u64)
        })
    }

    pub(crate) fn i64(&self) -> Option<i64> {
        match self {
            Self::Number(digits) => digits.parse().ok(),
            _ => None,
        }
    }

    /// A number; `None` if it is beyond `f64`.
    pub(crate) fn f64(&self) -> Option<f64> {
        match self {
            Self::Number(digits) => digits.parse().ok().filter(|value: &f64| value.is_finite()),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        *self == Self::Null
    }

    pub(crate) fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    pub(crate) fn is_array(&self) -> bool {
        matches!(self, Self::Array(_))
    }

    /// A string itself; anything else as JSON, nothing of `Null`.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::String(text) => Some(text.clone()),
            other => Some(other.to_json()),
        }
    }

    /// As JSON, without space.
    pub(crate) fn to_json(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    /// Whether every number in it is one that `u64`, `i64` or `f64` gives back as it was written.
    pub(crate) fn is_exact(&self) -> bool {
        match self {
            Self::Number(digits) => {
                digits.parse::<i64>().is_ok()
                    || digits.parse::<u64>().is_ok()
                    || digits.parse::<f64>().is_ok_and(|value| {
                        // Fifteen significant digits survive a double.
                        let significant = digits.bytes().filter(u8::is_ascii_digit).count();
                        value.is_finite() && significant <= 15
                    })
            }
            Self::Array(items) => items.iter().all(Self::is_exact),
            Self::Object(members) => members.iter().all(|(_, value)| value.is_exact()),
            _ => true,
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(digits) => out.push_str(digits),
            Self::String(text) => quote(text, out),
            Self::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    out.push(if i == 0 { '[' } else { ',' });
                    item.write(out);
                }
                out.push_str(if items.is_empty() { "[]" } else { "]" });
            }
            Self::Object(members) => {
                for (i, (key, value)) in members.iter().enumerate() {
                    out.push(if i == 0 { '{' } else { ',' });
                    quote(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push_str(if members.is_empty() { "{}" } else { "}" });
            }
        }
    }
}

fn quote(text: &str, out: &mut String) {
    // Writing a string into memory does not fail.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}
