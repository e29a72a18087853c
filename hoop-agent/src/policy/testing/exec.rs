//! Random exec rules, and commands that they may meet.

use std::fmt::Write;

use super::Random;

/// A command to be run: a name, to be found below some directory, and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RandomCommand {
    /// The path below the directory.
    pub path: String,
    /// The arguments after the zeroth.
    pub arguments: Vec<String>,
}

/// The lines of `exec` in a policy file, at the depth of `egress`.
///
/// They are well formed; a rule may be dead, which `load` refuses: try the next seed.
#[must_use]
pub fn random_exec(seed: u64) -> String {
    let mut random = Random(seed);
    let default = *random.pick(&["allow", "allow", "deny"]);
    let mut text = format!("exec:\n  default: {default}\n");
    let mut number = 0;
    for action in ["allow", "deny"] {
        let _ = writeln!(text, "  {action}:");
        for _ in 0..=random.below(5) {
            number += 1;
            let _ = writeln!(text, "    - name: exec-{number}");
            let _ = writeln!(text, "      because: reason {number}");
            let with_args = random.chance(2, 3);
            if with_args {
                let _ = writeln!(text, "      args: '{}'", random.regex());
            }
            if !with_args || random.chance(1, 3) {
                let _ = writeln!(text, "      path: '{}'", random.glob());
            }
            if random.chance(1, 8) {
                let _ = writeln!(text, "      uid: [{}]", random.pick(&["0", "1-9", "0-9"]));
            }
        }
    }
    text
}

/// Commands made of what the patterns of [`random_exec`] are made of.
#[must_use]
pub fn random_commands(seed: u64, count: usize) -> Vec<RandomCommand> {
    let mut random = Random(seed);
    let command = |_| {
        let depth = 1 + random.below(3);
        let names: Vec<_> = (0..depth).map(|_| *random.pick(&NAMES)).collect();
        let mut arguments: Vec<String> = (0..random.below(6)).map(|_| random.word()).collect();
        if random.chance(1, 4) {
            // What follows lies at the border of two chunks.
            let filler = 4_060 + random.below(40) as usize;
            arguments.insert(0, "~".repeat(filler));
        }
        RandomCommand {
            path: names.join("/"),
            arguments,
        }
    };
    (0..count).map(command).collect()
}

const NAMES: [&str; 5] = ["a", "ab", "b", "kubectl", "x.sh"];

impl Random {
    fn regex(&mut self) -> String {
        let atoms = [
            "a",
            "b",
            "ab",
            "del",
            "\\bdel\\b",
            "x+",
            "[ab]{2,3}",
            "\\d",
            "(a|b)*c",
            "\\s",
            ".",
            "x?b",
            "[^a]",
            "(?i)DEL",
        ];
        let mut text = String::new();
        if self.chance(1, 6) {
            text.push('^');
        }
        for n in 0..=self.below(3) {
            if n > 0 && self.chance(1, 3) {
                text.push_str(".*");
            }
            text.push_str(self.pick::<&str>(&atoms));
        }
        if self.chance(1, 6) {
            text.push('$');
        }
        text
    }

    fn glob(&mut self) -> String {
        let starts = ["**/", "**/", "/**/a/", "**/b/**/"];
        let ends = [
            "a", "b", "ab", "a*", "*", "{a,b}", "?", "x.*", "kube*l", "[ab]*",
        ];
        format!("{}{}", self.pick(&starts), self.pick(&ends))
    }

    fn word(&mut self) -> String {
        let parts = ["a", "b", "c", "x", "del", "DEL", "ab", "1", "2", "_"];
        (0..self.below(5)).map(|_| *self.pick(&parts)).collect()
    }
}
