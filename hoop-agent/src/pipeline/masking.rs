//! Text for records: whatever leaves here is masked.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use hoop_mask::{Action, Config, Finding, Key, Masker};

use crate::proto::Masked;

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
    masker.mask_into(complete, &mut masked, &mut findings);
    if !begun.is_empty() {
        masker.stream().push(begun, &mut masked, &mut findings);
    }
    masked
}
