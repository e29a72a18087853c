//! Checks the dependencies by `deny.toml`, of which it reads the part that needs no network:
//! licences, sources, and crates that may be there in one version only.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{paths, run};

/// How cargo names its default registry, whatever stands in for it on this machine.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What is checked: the workspace, and that of the fuzzers.
const WORKSPACES: [&str; 2] = ["Cargo.toml", "fuzz/Cargo.toml"];

#[derive(Deserialize)]
struct Rules {
    graph: Graph,
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Ban {
    name: String,
    #[serde(default)]
    deny_multiple_versions: bool,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

/// Checks every package that the workspace builds, its own included, and returns their number.
///
/// # Errors
///
/// `deny.toml` or cargo's metadata cannot be read, or packages break the rules: one line each.
pub(crate) fn check() -> Result<usize> {
    let path = paths::workspace().join("deny.toml");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let rules: Rules = toml::from_str(&text).with_context(|| path.display().to_string())?;
    let mut count = 0;
    for manifest in WORKSPACES {
        let mut cargo = run::cargo(["metadata", "--format-version=1", "--locked"]);
        cargo.args(["--manifest-path", manifest]);
        for target in &rules.graph.targets {
            cargo.args(["--filter-platform", target]);
        }
        let metadata: Metadata = serde_json::from_str(&run::capture(&mut cargo)?)?;
        let found = offences(&rules, &metadata.packages);
        if !found.is_empty() {
            let found = found.join("\n  ");
            bail!("{manifest}: not as deny.toml has it:\n  {found}");
        }
        count += metadata.packages.len();
    }
    Ok(count)
}

fn offences(rules: &Rules, packages: &[Package]) -> Vec<String> {
    let mut found = Vec::new();
    for Package {
        name,
        version,
        license,
        source,
    } in packages
    {
        match license
            .as_deref()
            .map(|it| permits(it, &rules.licenses.allow))
        {
            Some(Ok(true)) => {}
            Some(Ok(false)) => {
                let license = license.as_deref().unwrap_or_default();
                found.push(format!(
                    "{name} {version}: licence {license} is not allowed"
                ));
            }
            Some(Err(err)) => found.push(format!("{name} {version}: {err:#}")),
            None => found.push(format!("{name} {version}: names no licence")),
        }
        if let Some(source) = source.as_deref().filter(|source| *source != CRATES_IO) {
            found.push(format!("{name} {version}: source {source} is not allowed"));
        }
    }
    for ban in rules
        .bans
        .deny
        .iter()
        .filter(|ban| ban.deny_multiple_versions)
    {
        let versions: Vec<&str> = packages
            .iter()
            .filter(|it| it.name == ban.name)
            .map(|it| &*it.version)
            .collect();
        if versions.len() > 1 {
            found.push(format!(
                "{}: in several versions: {}",
                ban.name,
                versions.join(", ")
            ));
        }
    }
    found
}

/// Whether an SPDX licence expression can be satisfied by allowed licences alone.
///
/// # Errors
///
/// The expression is not well formed.
fn permits(expression: &str, allow: &BTreeSet<String>) -> Result<bool> {
    // Before SPDX expressions, cargo had `A/B` for `A OR B`.
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let mut rest = spaced.split_whitespace().peekable();
    let permitted = any(&mut rest, allow).with_context(|| format!("licence {expression}"))?;
    if let Some(word) = rest.next() {
        bail!("licence {expression}: {word} is out of place");
    }
    Ok(permitted)
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, allow: &BTreeSet<String>) -> Result<bool> {
    let mut permitted = all(words, allow)?;
    while words.next_if_eq(&"OR").is_some() {
        permitted |= all(words, allow)?;
    }
    Ok(permitted)
}

fn all(words: &mut Words<'_>, allow: &BTreeSet<String>) -> Result<bool> {
    let mut permitted = one(words, allow)?;
    while words.next_if_eq(&"AND").is_some() {
        permitted &= one(words, allow)?;
    }
    Ok(permitted)
}

fn one(words: &mut Words<'_>, allow: &BTreeSet<String>) -> Result<bool> {
    match words.next() {
        Some("(") => {
            let permitted = any(words, allow)?;
            words
                .next_if_eq(&")")
                .context("a parenthesis is not closed")?;
            Ok(permitted)
        }
        None | Some(")" | "AND" | "OR" | "WITH") => bail!("an identifier is missing"),
        Some(id) if words.next_if_eq(&"WITH").is_some() => {
            let exception = words.next().context("an exception is missing")?;
            Ok(allow.contains(id) || allow.contains(&format!("{id} WITH {exception}")))
        }
        Some(id) => Ok(allow.contains(id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow() -> BTreeSet<String> {
        ["MIT", "Apache-2.0", "Unicode-3.0"]
            .map(str::to_owned)
            .into()
    }

    fn package(name: &str, version: &str, license: Option<&str>, source: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            license: license.map(str::to_owned),
            source: Some(source.to_owned()),
        }
    }

    #[test]
    fn expressions_are_judged_by_what_can_be_chosen() -> Result<()> {
        for (expression, permitted) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("MIT OR GPL-2.0-only", true),
            ("GPL-2.0-only/MIT", true),
            ("GPL-2.0-only", false),
            ("MIT AND GPL-2.0-only", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("MIT OR Apache-2.0 AND GPL-2.0-only", true),
            ("(MIT OR Apache-2.0) AND GPL-2.0-only", false),
            ("Apache-2.0 WITH LLVM-exception OR GPL-2.0-only", true),
            ("GPL-2.0-only WITH Classpath-exception-2.0", false),
        ] {
            assert_eq!(permits(expression, &allow())?, permitted, "{expression}");
        }
        Ok(())
    }

    #[test]
    fn malformed_expressions_are_errors() {
        for expression in [
            "",
            "MIT OR",
            "(MIT",
            "MIT)",
            "MIT Apache-2.0",
            "AND MIT",
            "MIT WITH",
        ] {
            assert!(permits(expression, &allow()).is_err(), "{expression}");
        }
    }

    #[test]
    fn every_offence_is_named() {
        let rules = Rules {
            graph: Graph {
                targets: Vec::new(),
            },
            licenses: Licenses { allow: allow() },
            bans: Bans {
                deny: vec![Ban {
                    name: "aya".to_owned(),
                    deny_multiple_versions: true,
                }],
            },
        };
        let packages = [
            package("aya", "0.13.0", Some("MIT"), CRATES_IO),
            package("aya", "0.14.0", Some("MIT"), CRATES_IO),
            package("copyleft", "1.0.0", Some("GPL-3.0-only"), CRATES_IO),
            package("silent", "1.0.0", None, CRATES_IO),
            package(
                "stray",
                "1.0.0",
                Some("MIT"),
                "git+https://example.org/stray",
            ),
        ];
        let found = offences(&rules, &packages);
        let subjects: Vec<&str> = found
            .iter()
            .filter_map(|it| it.split([' ', ':']).next())
            .collect();
        assert_eq!(subjects, ["copyleft", "silent", "stray", "aya"]);
        assert!(offences(&rules, &packages[1..2]).is_empty());
    }
}
