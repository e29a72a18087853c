//! Which files are read, and what is compared across them.

use std::fs;
use std::os::unix::fs::symlink;

use super::policy_with_egress;
use crate::policy::load;

fn named(name: &str, cgroup: &str) -> String {
    policy_with_egress("    default: deny\n")
        .replace("copilot }", &format!("{name} }}"))
        .replace(
            "  mode:",
            &format!("  workloads: [{{ cgroup: {cgroup} }}]\n  mode:"),
        )
}

#[test]
fn a_directory_is_read_in_the_order_of_names() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    // As Kubernetes mounts a ConfigMap: files are links through a hidden link to a hidden directory.
    fs::create_dir(path.join("..2026")).unwrap();
    symlink("..2026", path.join("..data")).unwrap();
    fs::write(path.join("..2026/b.yaml"), named("b", "/b")).unwrap();
    symlink("..data/b.yaml", path.join("b.yaml")).unwrap();
    fs::write(
        path.join("a.yml"),
        format!("{}---\n{}", named("a", "/a"), named("a2", "/a2")),
    )
    .unwrap();
    fs::write(path.join(".hidden.yaml"), "[").unwrap();
    fs::write(path.join("notes.txt"), "[").unwrap();
    fs::create_dir(path.join("sub.yaml")).unwrap();

    let policies = load(path).unwrap();
    let names: Vec<_> = policies.iter().map(|policy| &*policy.name).collect();
    assert_eq!(names, ["a", "a2", "b"]);
    assert_eq!(policies[2].file, path.join("b.yaml"));
}

#[test]
fn names_and_cgroups_are_unique_across_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::write(path.join("a.yaml"), named("same", "/same")).unwrap();
    fs::write(path.join("b.yaml"), named("same", "/same")).unwrap();
    let shown = path.display();
    assert_eq!(
        load(path).unwrap_err().to_string(),
        format!(
            "{shown}/b.yaml:3:19: error: a second policy has the name `same`\n  \
             help: rename one of them; the other is at {shown}/a.yaml:3:19\n\
             {shown}/b.yaml:6:25: error: the same cgroup is named twice: `/same`\n  \
             help: keep it in one place; a cgroup has one policy; the other is at {shown}/a.yaml:6:25"
        )
    );
}

#[test]
fn unreadable_paths_say_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let shown = path.display();
    assert_eq!(
        load(path).unwrap_err().to_string(),
        format!(
            "{shown}: error: the directory has no *.yaml or *.yml file\n  \
             help: put a policy there, or name another path with --policy"
        )
    );
    assert_eq!(
        load(&path.join("no.yaml")).unwrap_err().to_string(),
        format!(
            "{shown}/no.yaml: error: cannot be read: No such file or directory (os error 2)\n  \
             help: check the path, or create the file"
        )
    );
    symlink("nowhere", path.join("dangling.yaml")).unwrap();
    fs::write(path.join("latin.yaml"), b"a: b\nc: d\xe9\n").unwrap();
    nix::sys::stat::mknod(
        &path.join("pipe.yaml"),
        nix::sys::stat::SFlag::S_IFIFO,
        nix::sys::stat::Mode::S_IRUSR,
        0,
    )
    .unwrap();
    assert_eq!(
        load(path).unwrap_err().to_string(),
        format!(
            "{shown}/dangling.yaml: error: cannot be read: No such file or directory (os error 2)\n  \
             help: check the path, or create the file\n\
             {shown}/latin.yaml:2:5: error: not UTF-8\n  help: save the file as UTF-8\n\
             {shown}/pipe.yaml: error: is not a regular file\n  \
             help: name a file or a directory of files"
        )
    );
}

#[test]
fn too_many_policies() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("many.yaml");
    let policies: Vec<_> = (0..1026)
        .map(|n| named(&format!("p{n}"), &format!("/p{n}")))
        .collect();
    fs::write(&path, policies.join("---\n")).unwrap();
    assert_eq!(
        load(&path).unwrap_err().to_string(),
        format!(
            "{}: error: there are 1026 policies, the limit is 1024\n  \
             help: remove 2 of them, or give workloads with the same rules one policy",
            path.display()
        )
    );
}
