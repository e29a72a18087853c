//! Names of cgroups.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The path of a cgroup relative to the cgroup v2 mount, never the root: `/hoop/copilot-1`.
///
/// Starts with `/`, does not end with one, has no empty, `.` or `..` component.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CgroupPath(String);

/// Why a text is not the path of a cgroup that can be a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CgroupPathError {
    /// The root cgroup holds every process of the machine.
    #[error("the root cgroup cannot be a workload: name a cgroup below it")]
    Root,
    /// A component is `..`.
    #[error("`..` in a cgroup path: write the path from the cgroup v2 mount downward")]
    Parent,
    /// A character that the kernel refuses in a cgroup's name.
    #[error("a cgroup's name cannot hold a newline or a NUL")]
    Character,
    /// A component is longer than `NAME_MAX`.
    #[error("a component of a cgroup path is longer than 255 bytes")]
    Name,
}

impl CgroupPath {
    /// Normalises `text`: repeated and trailing slashes and `.` go, a missing leading slash comes.
    ///
    /// # Errors
    /// See [`CgroupPathError`].
    pub fn parse(text: &str) -> Result<Self, CgroupPathError> {
        if text.contains(['\n', '\0']) {
            return Err(CgroupPathError::Character);
        }
        let mut path = String::with_capacity(text.len() + 1);
        for name in text.split('/') {
            match name {
                "" | "." => {}
                ".." => return Err(CgroupPathError::Parent),
                _ if name.len() > 255 => return Err(CgroupPathError::Name),
                _ => {
                    path.push('/');
                    path.push_str(name);
                }
            }
        }
        if path.is_empty() {
            return Err(CgroupPathError::Root);
        }
        Ok(Self(path))
    }

    /// The path, starting with `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many levels the cgroup is below the root; at least 1. The kernel's `cgroup.level`.
    #[must_use]
    pub fn level(&self) -> u32 {
        level(&self.0)
    }

    /// Whether this is `ancestor` or a cgroup below it.
    #[must_use]
    pub fn is_within(&self, ancestor: &Self) -> bool {
        self.0
            .strip_prefix(&ancestor.0)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Levels of a normal path, where `""` is the root.
pub(super) fn level(path: &str) -> u32 {
    u32::try_from(path.bytes().filter(|&byte| byte == b'/').count()).unwrap_or(u32::MAX)
}

impl FromStr for CgroupPath {
    type Err = CgroupPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{CgroupPath, CgroupPathError};

    #[test]
    fn normalises() {
        for text in ["/hoop/a", "hoop/a", "//hoop/./a/", "/hoop//a"] {
            let path = CgroupPath::parse(text);
            assert_eq!(path.as_ref().map(CgroupPath::as_str), Ok("/hoop/a"));
            assert_eq!(path.map(|path| path.level()), Ok(2));
        }
    }

    #[test]
    fn refuses_what_is_no_workload() {
        for root in ["", "/", "///", "/./"] {
            assert_eq!(CgroupPath::parse(root), Err(CgroupPathError::Root));
        }
        assert_eq!(CgroupPath::parse("/a/../b"), Err(CgroupPathError::Parent));
        assert_eq!(CgroupPath::parse("/a\nb"), Err(CgroupPathError::Character));
        let long = "a".repeat(256);
        assert_eq!(CgroupPath::parse(&long), Err(CgroupPathError::Name));
        assert!(CgroupPath::parse("/a..b").is_ok());
    }

    #[test]
    fn within_goes_by_components() -> Result<(), CgroupPathError> {
        let a = CgroupPath::parse("/a")?;
        assert!(CgroupPath::parse("/a")?.is_within(&a));
        assert!(CgroupPath::parse("/a/b")?.is_within(&a));
        assert!(!CgroupPath::parse("/ab")?.is_within(&a));
        Ok(())
    }
}
