//! Which cgroups are asked for, and where they can appear.

use std::fmt;

use hoop_common::limits::MAX_TAG_LEVEL;

use super::path::level;

/// The cgroups that a set of glob patterns matches.
///
/// The patterns say where a match can appear, `matches` says what is one. A `*` or `?` stays
/// within a component; `**` does not.
pub struct Selector {
    scopes: Vec<Scope>,
    matches: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

/// Where the matches of one pattern can be.
#[derive(Debug, PartialEq, Eq)]
struct Scope {
    /// The leading components without a wildcard, as a normal path; empty for the root.
    prefix: String,
    /// How many levels below `prefix` a match is at most; `None` for any.
    depth: Option<u32>,
}

impl Selector {
    /// The cgroups for which `matches` says so, among those that one of `patterns` can match.
    #[must_use]
    pub fn new<'a>(
        patterns: impl IntoIterator<Item = &'a str>,
        matches: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            scopes: patterns.into_iter().map(Scope::of).collect(),
            matches: Box::new(matches),
        }
    }

    /// Whether the cgroup at `path` is asked for.
    pub(super) fn matches(&self, path: &str) -> bool {
        (1..=MAX_TAG_LEVEL).contains(&level(path)) && (self.matches)(path)
    }

    /// Whether a cgroup that is asked for can be a child of `path`.
    pub(super) fn can_hold(&self, path: &str) -> bool {
        level(path) < MAX_TAG_LEVEL && self.scopes.iter().any(|scope| scope.can_hold(path))
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selector")
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

impl Scope {
    fn of(pattern: &str) -> Self {
        let names: Vec<&str> = pattern.split('/').filter(|name| !name.is_empty()).collect();
        let literal = names
            .iter()
            .take(names.len().saturating_sub(1))
            .take_while(|name| !name.contains(['*', '?', '[', ']', '{', '}', '\\']))
            .count();
        let (prefix, rest) = names.split_at(literal);
        // Alternatives may differ in depth.
        let any = rest.iter().any(|name| name.contains("**"))
            || pattern
                .split_once('{')
                .is_some_and(|(_, after)| after.contains('/'));
        Self {
            prefix: prefix.iter().flat_map(|name| ["/", name]).collect(),
            depth: (!any).then(|| u32::try_from(rest.len()).unwrap_or(u32::MAX)),
        }
    }

    fn can_hold(&self, path: &str) -> bool {
        if is_within(&self.prefix, path) {
            return true;
        }
        is_within(path, &self.prefix)
            && self
                .depth
                .is_none_or(|depth| level(path) - level(&self.prefix) < depth)
    }
}

fn is_within(path: &str, ancestor: &str) -> bool {
    path.strip_prefix(ancestor)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::Selector;

    fn can_hold(pattern: &str, paths: [&str; 5]) -> [bool; 5] {
        let selector = Selector::new([pattern], |_| true);
        paths.map(|path| selector.can_hold(path))
    }

    #[test]
    fn only_possible_parents_are_looked_into() {
        assert_eq!(
            can_hold(
                "/hoop/copilot-*",
                ["", "/hoop", "/hoop/copilot-1", "/other", "/hoopla"]
            ),
            [true, true, false, false, false]
        );
        assert_eq!(
            can_hold("/exact", ["", "/exact", "/a", "/exact/b", "/b"]),
            [true, false, false, false, false]
        );
        assert_eq!(
            can_hold("/k8s/*/app", ["", "/k8s", "/k8s/pod", "/k8s/pod/app", "/x"]),
            [true, true, true, false, false]
        );
        assert_eq!(
            can_hold("/k8s/**", ["", "/k8s", "/k8s/a/b/c", "/k8sx", "/x/k8s"]),
            [true, true, true, false, false]
        );
        assert_eq!(
            can_hold("/a/{b,c/d}", ["", "/a", "/a/c", "/a/c/d", "/b"]),
            [true, true, true, true, false]
        );
    }

    #[test]
    fn nothing_below_the_deepest_tag_is_looked_at() {
        let selector = Selector::new(["**"], |_| true);
        let (deepest, below) = ("/a".repeat(63), "/a".repeat(64));
        assert!(selector.matches(&deepest) && !selector.can_hold(&deepest));
        assert!(!selector.matches(&below) && !selector.matches(""));
    }
}
