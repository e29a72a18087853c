//! Fuzzing what reads `/proc` and the cgroup tree: a process chooses its names.

use super::cgroup::{Mounts, numbers};
use super::path::CgroupPath;
use super::procfs::{Stat, cgroup_v2, field, first_two};
use super::selector::Selector;

/// A file of `/proc/PID` or of a cgroup, read as each of them; and as a cgroup's path and pattern.
///
/// Holds: no panic; a path that is read and written again is the same, and never the root.
pub fn proc(data: &[u8]) {
    let _ = Stat::parse(data);
    let _ = field(data, b"Uid:").and_then(first_two);
    let _ = cgroup_v2(data);
    let _ = Mounts::parse(data);
    assert!(numbers(data).all(|id| id != 0));
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(path) = CgroupPath::parse(text) else {
        return;
    };
    assert_eq!(CgroupPath::parse(path.as_str()).as_ref(), Ok(&path));
    assert!(path.level() >= 1 && path.is_within(&path));
    // Every cgroup on the way to one that a pattern names must be looked into.
    let selector = Selector::new([path.as_str()], |_| true);
    for (end, _) in path.as_str().match_indices('/') {
        let above = &path.as_str()[..end];
        let deep = above.matches('/').count() >= hoop_common::limits::MAX_TAG_LEVEL as usize;
        assert!(deep || selector.can_hold(above), "{above:?} of {path}");
    }
}
