//! BYPASSES.md claims nothing that no test shows.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Entries of the catalogue.
const ENTRIES: std::ops::RangeInclusive<u32> = 1..=26;

/// What a row may say, and whether it needs a test, and a reason.
const STATES: [(&str, bool, bool); 6] = [
    ("blocked", true, false),
    ("blocked by the LSM", true, true),
    ("recorded", true, false),
    ("masked", true, false),
    ("limit", false, true),
    ("not covered", false, true),
];

#[test]
fn the_catalogue_is_whole_and_every_claim_has_its_test() {
    let root = root();
    let catalogue = fs::read_to_string(root.join("BYPASSES.md")).expect("the catalogue");
    let tests = |file: &str| fs::read_to_string(root.join("tests/tests").join(file)).ok();
    assert_eq!(problems(&catalogue, &tests), Vec::<String>::new());
}

#[test]
fn a_limit_that_a_test_shows_is_in_the_catalogue() {
    let root = root();
    let catalogue = fs::read_to_string(root.join("BYPASSES.md")).expect("the catalogue");
    for entry in fs::read_dir(root.join("tests/tests")).expect("tests") {
        let path = entry.expect("readable").path();
        let file = path.file_name().and_then(|name| name.to_str());
        let file = file.expect("UTF-8").to_owned();
        let text = fs::read_to_string(&path).expect("a test file");
        for name in text.lines().filter_map(function) {
            if name.starts_with("limit_") {
                let test = format!("{file}::{name}");
                assert!(catalogue.contains(&test), "{test} is in no row");
            }
        }
    }
}

#[test]
fn what_is_wrong_with_a_catalogue_is_found() {
    let source = "#[test]\nfn works() {}\n\n#[test]\n#[ignore = \"long\"]\nfn is_long() {}\n\nfn helper() {}\n";
    let tests = |file: &str| (file == "some.rs").then(|| source.to_owned());
    let whole: String = ENTRIES
        .map(|entry| format!("| {entry} | a way | blocked | `some.rs::works` | |\n"))
        .collect();
    assert_eq!(problems(&whole, &tests), Vec::<String>::new());
    for (row, problem) in [
        ("| 1 | a way | blocked | | |", "no test"),
        ("| 1 | a way | blocked | | it is |", "no test"),
        ("| 1 | a way | recorded | | |", "no test"),
        (
            "| 1 | a way | blocked by the LSM | `some.rs::works` | |",
            "no reason",
        ),
        ("| 1 | a way | limit | `some.rs::works` | |", "no reason"),
        ("| 1 | a way | not covered | | |", "no reason"),
        ("| 1 | a way | | `some.rs::works` | |", "state"),
        ("| 1 | a way | mitigated | `some.rs::works` | |", "state"),
        (
            "| 1 | a way | blocked | `some.rs::missing` | |",
            "no test `missing`",
        ),
        (
            "| 1 | a way | blocked | `some.rs::helper` | |",
            "no test `helper`",
        ),
        (
            "| 1 | a way | blocked | `some.rs::is_long` | |",
            "no test `is_long`",
        ),
        ("| 1 | a way | blocked | `other.rs::works` | |", "no file"),
        ("| 1 | a way | blocked | some.rs::works | |", "in backticks"),
        (
            "| 1 | a way | limit | | as `some.rs::missing` shows |",
            "no test `missing`",
        ),
        ("| 27 | a way | limit | | a reason |", "entry"),
        ("| x | a way | limit | | a reason |", "entry"),
        ("| 1 | | limit | | a reason |", "no way"),
        ("| 1 | a way | limit | a reason |", "cells"),
    ] {
        let found = problems(&format!("{whole}{row}\n"), &tests);
        let [found] = found.as_slice() else {
            panic!("{row}: {found:?}");
        };
        assert!(found.contains(problem), "{row}: {found}");
    }
    let without_26 = whole.replace("| 26 |", "| 25 |");
    assert_eq!(problems(&without_26, &tests), ["entry 26 has no row"]);
}

/// What is wrong with the catalogue. `tests` gives the text of a test file.
fn problems(catalogue: &str, tests: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut entries = BTreeSet::new();
    let mut lines = catalogue.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let next = lines.peek().map_or("", |(_, next)| next);
        // A head is above its rule. The table of states, whose rows have two cells, is no catalogue.
        let of_rows = line.starts_with('|') && !next.starts_with("| ---") && cells(line).len() != 2;
        if !of_rows || line.starts_with("| ---") {
            continue;
        }
        match row(line, tests) {
            Ok(entry) => {
                entries.insert(entry);
            }
            Err(problem) => found.push(format!("line {}: {problem}: {line}", index + 1)),
        }
    }
    let missing = ENTRIES.filter(|entry| !entries.contains(entry));
    found.extend(missing.map(|entry| format!("entry {entry} has no row")));
    found
}

/// The entry that a row is about.
fn row(line: &str, tests: &dyn Fn(&str) -> Option<String>) -> Result<u32, String> {
    let cells = cells(line);
    let [entry, way, state, shown_by, reason] = cells.as_slice() else {
        return Err(format!("{} cells", cells.len()));
    };
    let entry = entry.parse().ok().filter(|entry| ENTRIES.contains(entry));
    let entry = entry.ok_or("no such entry")?;
    if way.is_empty() {
        return Err("no way".to_owned());
    }
    let known = STATES.iter().find(|(name, ..)| name == state);
    let &(_, needs_test, needs_reason) = known.ok_or("no such state")?;
    let named: Vec<&str> = named(shown_by).collect();
    if named.is_empty() && needs_test && shown_by.is_empty() {
        return Err("no test".to_owned());
    }
    if named.len() != shown_by.split_terminator(',').count() {
        return Err("tests are named in backticks, with commas between".to_owned());
    }
    if reason.is_empty() && needs_reason {
        return Err("no reason".to_owned());
    }
    for test in named.into_iter().chain(self::named(reason)) {
        let (file, name) = test.split_once("::").ok_or("no test")?;
        let source = tests(file).ok_or_else(|| format!("no file `{file}`"))?;
        if !has_test(&source, name) {
            return Err(format!("no test `{name}` that always runs"));
        }
    }
    Ok(entry)
}

/// The cells of a table's row.
fn cells(line: &str) -> Vec<&str> {
    let inner = line.trim().trim_start_matches('|');
    let inner = inner.strip_suffix('|').unwrap_or(inner);
    inner.split('|').map(str::trim).collect()
}

/// Tests that a cell names, as `FILE.rs::NAME` in backticks.
fn named(cell: &str) -> impl Iterator<Item = &str> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted.filter(|quoted| quoted.contains(".rs::"))
}

/// Whether a file has this test, and does not leave it out.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().collect();
    let Some(at) = lines.iter().position(|line| function(line) == Some(name)) else {
        return false;
    };
    let above = lines[..at].iter().rev();
    let attributes: Vec<_> = above.take_while(|line| line.starts_with("#[")).collect();
    attributes.iter().any(|line| **line == "#[test]")
        && !attributes.iter().any(|line| line.starts_with("#[ignore"))
}

/// The name of the function that begins on this line.
fn function(line: &str) -> Option<&str> {
    line.strip_prefix("fn ")?.split('(').next()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a package of the workspace")
        .to_owned()
}
