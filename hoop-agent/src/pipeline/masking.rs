//! Text for records: whatever leaves here is masked.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use hoop_mask::{Action, Config, Finding, Key, Masker};

use hoop_records::Masked;

/// Classes that a command line keeps: records of connections have addresses anyway, and a command
/// without them says little.
const KEPT_IN_COMMANDS: [&str; 2] = ["IP_ADDRESS", "MAC_ADDRESS"];

/// The configuration for command lines of a policy that masks plaintext by `config`. A policy that names
/// its detectors means them everywhere.
#[must_use]
pub fn of_commands(config: &Config) -> Config {
    let mut config = config.clone();
    if config.detectors.is_none() {
        let classes = hoop_mask::classes().into_iter();
        let masked = classes.filter(|class| !KEPT_IN_COMMANDS.contains(class));
        config.detectors = Some(masked.map(String::from).collect());
    }
    config
}

/// Masks what belongs to no policy that is known. It has no key, so equal values cannot be told from
/// others.
#[must_use]
pub fn of_no_policy() -> Arc<Masker> {
    static MASKER: LazyLock<Arc<Masker>> = LazyLock::new(|| {
        let config = Config {
            actions: hoop_mask::classes()
                .into_iter()
                .map(|class| (class.to_owned(), Action::Full))
                .collect(),
            ..of_commands(&Config::default())
        };
        let masker = Masker::new(&config, Key::new("none", &[0; 32]));
        Arc::new(masker.expect("classes are named as they are listed"))
    });
    Arc::clone(&MASKER)
}

/// Counts what was masked, by class.
#[derive(Default)]
pub(crate) struct Findings(BTreeMap<String, u32>);

impl Findings {
    pub(crate) fn add(&mut self, findings: &[Finding]) {
        for finding in findings {
            *self.0.entry(finding.class.to_string()).or_default() += 1;
        }
    }

    pub(crate) fn take(&mut self) -> Vec<Masked> {
        std::mem::take(&mut self.0)
            .into_iter()
            .map(|(class, count)| Masked { class, count })
            .collect()
    }
}

/// Masks a whole text.
pub(crate) fn text(masker: &Masker, text: &[u8], findings: &mut Findings) -> String {
    let masked = masker.mask(text);
    findings.add(&masked.findings);
    string(masked.bytes)
}

/// Masks a text. If it is not the whole of it, what may be the first half of a secret is left out.
pub(crate) fn body(
    masker: &Arc<Masker>,
    bytes: &[u8],
    whole: bool,
    findings: &mut Findings,
) -> String {
    if whole {
        return text(masker, bytes, findings);
    }
    let (mut masked, mut found) = (Vec::with_capacity(bytes.len()), Vec::new());
    masker.stream().push(bytes, &mut masked, &mut found);
    findings.add(&found);
    string(masked)
}

/// Masks the value of a field whose name says what it is: a header, a column.
pub(crate) fn field(masker: &Masker, name: &str, value: &[u8], findings: &mut Findings) -> String {
    let masked = masker.mask_field(name, value);
    findings.add(&masked.findings);
    string(masked.bytes)
}

/// What is no UTF-8 is replaced.
fn string(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Masks arguments or a path, as a workload chose them. If the last argument is not the whole of it, what
/// may be the first half of a secret is left out.
pub(crate) fn bytes(masker: &Arc<Masker>, bytes: &[u8], whole: bool) -> Vec<u8> {
    let mut masked = Vec::with_capacity(bytes.len());
    let mut findings = Vec::new();
    let whole_until = if whole {
        bytes.len()
    } else {
        bytes
            .iter()
            .rposition(|byte| *byte == 0)
            .map_or(0, |nul| nul + 1)
    };
    let (complete, begun) = bytes.split_at(whole_until);
    let (complete, secret_follows) = options(masker, complete);
    masker.mask_into(&complete, &mut masked, &mut findings);
    if !begun.is_empty() && !secret_follows {
        masker.stream().push(begun, &mut masked, &mut findings);
    }
    masked
}

/// Masks the values that stand in an argument of their own, after the option that says what they are, as
/// in `--token VALUE`. Says also whether such a value was to follow. Arguments end in NUL.
fn options(masker: &Masker, arguments: &[u8]) -> (Vec<u8>, bool) {
    let mut masked = Vec::with_capacity(arguments.len());
    let mut option: &[u8] = b"";
    for argument in arguments.split_inclusive(|byte| *byte == 0) {
        let (value, end) = match argument.split_last() {
            Some((0, value)) => (value, &b"\0"[..]),
            _ => (argument, &b""[..]),
        };
        if value.starts_with(b"-") || option.is_empty() {
            masked.extend(value);
        } else if is_user(option) {
            // curl(1): `-u USER:PASSWORD`.
            let colon = value.iter().position(|byte| *byte == b':');
            let (user, password) = value.split_at(colon.map_or(value.len(), |at| at + 1));
            masked.extend(user);
            if !password.is_empty() {
                masked.extend(masker.mask_field("password", password).bytes);
            }
        } else {
            let name = String::from_utf8_lossy(option);
            masked.extend(masker.mask_field(name.trim_start_matches('-'), value).bytes);
        }
        masked.extend(end);
        let takes_one = is_user(value) || value.starts_with(b"--") && !value.contains(&b'=');
        option = if takes_one { value } else { b"" };
    }
    (masked, !option.is_empty())
}

fn is_user(option: &[u8]) -> bool {
    [&b"-u"[..], b"--user", b"-U", b"--proxy-user"].contains(&option)
}

#[cfg(test)]
mod tests {
    use super::{bytes, of_no_policy};

    fn masked(line: &str) -> String {
        let arguments = line.replace(' ', "\0") + "\0";
        let masked = bytes(&of_no_policy(), arguments.as_bytes(), true);
        String::from_utf8_lossy(&masked).replace('\0', " ")
    }

    #[test]
    fn an_option_says_what_the_next_argument_is() {
        let secret = ["hUeOq6gZE0K0q0y1", "wewHcVbrEVW1gCB6"].concat();
        for option in [
            "--oauth2-bearer ",
            "--api-token ",
            "--password ",
            "-u alice:",
        ] {
            let line = masked(&format!("tool {option}{secret} https://localhost/"));
            assert!(!line.contains(&secret[..8]), "{line}");
            assert!(line.ends_with(" https://localhost/ "), "{line}");
        }
    }

    #[test]
    fn other_options_leave_arguments_as_they_are() {
        for line in [
            "tool --output json --verbose ",
            "sort -u names ",
            "tool --token --verbose ",
            "tool --token=$TOKEN ",
            "",
        ] {
            assert_eq!(masked(line.trim_end()).trim(), line.trim());
        }
    }

    #[test]
    fn a_value_that_is_not_all_there_is_left_out() {
        let masked = bytes(&of_no_policy(), b"tool\0--password\0hunt", false);
        assert_eq!(masked, b"tool\0--password\0");
    }
}
