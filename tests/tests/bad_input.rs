//! What cannot work is refused: by cause, place and next step, with the policy in force untouched.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output};

use hoop_tests::attempt::Attempt;
use hoop_tests::daemon::{self, Daemon, policy_file, program, run, run_command, write_policy};
use hoop_tests::lab::Lab;
use hoop_tests::probe::Route;
use hoop_tests::{cgroup, lab};
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};

const GOOD: &str = "mode: enforce\negress: { default: deny }";

/// What stands below `spec:`, at which line and column it is wrong (`workloads` is line 7), and a
/// word of the message.
const WRONG: &[(&str, &str, &str)] = &[
    ("mode: enforce\negress: [deny", "9:11", "YAML"),
    ("mode: enforce\negres: {}", "9:3", "egres"),
    ("mode: maybe", "8:9", "maybe"),
    (
        "mode: enforce\negress:\n  default: deny\n  allow:\n    - { name: api, cidrs: [10.0.0.300/8], ports: [443] }",
        "12:30",
        "10.0.0.300/8",
    ),
    (
        "mode: enforce\negress:\n  default: deny\n  allow:\n    - { name: api, cidrs: [10.0.0.1/8], ports: [443] }",
        "12:30",
        "10.0.0.0/8",
    ),
    (
        "mode: enforce\negress:\n  default: deny\n  allow:\n    - { name: api, cidrs: [10.0.0.0/8], ports: [70000] }",
        "12:51",
        "70000",
    ),
    (
        "mode: enforce\negress:\n  default: deny\n  allow:\n    - { name: api, cidrs: [10.0.0.0/8] }\n    \
         - { name: api, cidrs: [11.0.0.0/8] }",
        "13:17",
        "api",
    ),
    (
        "mode: enforce\negress:\n  default: deny\n  allow:\n    - { name: narrow, cidrs: [10.1.0.0/16], ports: [443] }\n  \
         deny:\n    - { name: wide, cidrs: [10.0.0.0/8], because: not ours }",
        "12:17",
        "narrow",
    ),
    (
        "mode: enforce\negress:\n  default: deny\n  allow:\n    - { name: llm, hosts: [api.llm.test], ports: [443] }",
        "12:29",
        "hosts",
    ),
    (
        "mode: enforce\nsockets: { allow: [tcp, quic] }",
        "9:27",
        "quic",
    ),
];

#[test]
fn a_wrong_policy_is_refused_with_its_place_before_anything_starts() {
    let lab = Lab::new();
    for &(spec, place, word) in WRONG {
        write_policy(&lab, &lab.policy("agent", spec));
        let checked = run(Command::new(program())
            .args(["policy", "check"])
            .arg(policy_file(&lab)));
        let started = run(&mut run_command(&lab));
        for output in [checked, started] {
            let said = refusal(&output, 2);
            assert!(
                said.contains(&format!("policy.yaml:{place}")),
                "{place} in {said}"
            );
            assert!(said.contains(word), "{word} in {said}");
            assert!(said.contains("help: "), "a next step in {said}");
        }
        assert!(
            !lab.pins().exists()
                || fs::read_dir(lab.pins()).is_ok_and(|mut pins| pins.next().is_none())
        );
    }
}

#[test]
fn a_wrong_policy_leaves_the_one_in_force() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", GOOD));
    let mut agent = workload.probe();
    for &(spec, place, word) in WRONG {
        let record = daemon.change_policy_in_vain(&lab.policy("agent", spec));
        let detail = record.text("lifecycle.detail");
        assert!(
            detail.contains(&format!("policy.yaml:{place}")),
            "{place} in {detail}"
        );
        assert!(detail.contains(word), "{word} in {detail}");
        still_denied(&lab, &mut agent);
    }
}

#[test]
fn more_policies_than_the_kernel_holds_are_refused() {
    let lab = Lab::new();
    let policies: Vec<String> = (0..=1024)
        .map(|number| lab::policy(&format!("p{number}"), &format!("/hoop-test/{number}"), GOOD))
        .collect();
    write_policy(&lab, &policies.join("---\n"));
    let said = refusal(&run(&mut run_command(&lab)), 2);
    assert!(said.contains("1024"), "the limit in {said}");
}

#[test]
fn a_policy_that_is_not_there_is_named() {
    let lab = Lab::new();
    let said = refusal(&run(&mut run_command(&lab)), 2);
    assert!(
        said.contains(policy_file(&lab).to_str().expect("UTF-8")),
        "{said}"
    );
}

#[test]
fn without_root_it_says_so() {
    let lab = Lab::new();
    write_policy(&lab, &lab.policy("agent", GOOD));
    // Where anybody can read it; the build's directory may not be.
    let shared = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()
        .expect("a directory");
    let copy = shared.path().join("hoop-agent");
    fs::copy(program(), &copy).expect("copy the daemon");
    let policy = shared.path().join("policy.yaml");
    fs::copy(policy_file(&lab), &policy).expect("copy the policy");
    let mut command = Command::new(&copy);
    command
        .arg("run")
        .arg("--policy")
        .arg(&policy)
        .uid(65534)
        .gid(65534);
    command.arg("--state-dir").arg(shared.path().join("state"));
    command.arg("--socket").arg(shared.path().join("hoop.sock"));
    command.arg("--pin-dir").arg(lab.pins()).current_dir("/");
    let said = refusal(&run(&mut command), 1);
    assert!(said.contains("root") || said.contains("CAP_"), "{said}");
}

#[test]
fn without_btf_it_says_so() {
    let lab = Lab::new();
    write_policy(&lab, &lab.policy("agent", GOOD));
    let mut command = run_command(&lab);
    in_own_mounts(&mut command, || {
        mount(
            Some("tmpfs"),
            "/sys/kernel/btf",
            Some("tmpfs"),
            MsFlags::empty(),
            None::<&str>,
        )
    });
    let said = refusal(&run(&mut command), 1);
    assert!(said.contains("BTF"), "{said}");
}

#[test]
fn without_cgroup_v2_it_says_so() {
    let lab = Lab::new();
    write_policy(&lab, &lab.policy("agent", GOOD));
    let mounted = cgroup::mount().expect("cgroup v2");
    let mut command = run_command(&lab);
    in_own_mounts(&mut command, move || umount(&mounted));
    let said = refusal(&run(&mut command), 1);
    assert!(
        said.contains("cgroup v2") || said.contains("cgroup2"),
        "{said}"
    );
}

#[test]
fn a_second_daemon_leaves_the_first_alone() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let daemon = lab.daemon(&lab.policy("agent", GOOD));
    let said = refusal(&run(&mut run_command(&lab)), 1);
    assert!(said.contains("already"), "{said}");
    assert_eq!(daemon.status()["state"], "enforcing");
    still_denied(&lab, &mut workload.probe());
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let lab = Lab::new();
    write_policy(&lab, &lab.policy("agent", GOOD));
    let mut command = Command::new(program());
    command.arg("run").arg("--policy").arg(policy_file(&lab));
    command.args(["--state-dir", "/sys/hoop-test"]);
    command
        .arg("--socket")
        .arg(daemon::socket(&lab))
        .arg("--pin-dir")
        .arg(lab.pins());
    let said = refusal(&run(&mut command), 1);
    assert!(said.contains("/sys/hoop-test"), "{said}");
}

#[test]
fn pins_that_are_no_bpf_file_system_are_named() {
    let lab = Lab::new();
    write_policy(&lab, &lab.policy("agent", GOOD));
    let pins = lab.directory().join("not-bpf");
    let mut command = Command::new(program());
    command.arg("run").arg("--policy").arg(policy_file(&lab));
    command.arg("--state-dir").arg(daemon::state(&lab));
    command
        .arg("--socket")
        .arg(daemon::socket(&lab))
        .arg("--pin-dir")
        .arg(&pins);
    let said = refusal(&run(&mut command), 1);
    assert!(said.contains(pins.to_str().expect("UTF-8")), "{said}");
    assert!(said.contains("bpf"), "the next step in {said}");
}

#[test]
fn a_broken_pin_is_named_and_what_is_enforced_stands() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let mut daemon: Daemon<'_> = lab.daemon(&lab.policy("agent", GOOD));
    let mut agent = workload.probe();
    still_denied(&lab, &mut agent);
    assert!(daemon.stop().success());
    // Of a map: without a link, something would not be enforced any more.
    let layout = fs::read_dir(lab.pins()).expect("pins").next();
    let maps = layout
        .expect("a layout")
        .expect("readable")
        .path()
        .join("maps");
    let pin = first_file(&maps).expect("a pin");
    fs::remove_file(&pin).expect("unpin");
    fs::create_dir(&pin).expect("put something else there");

    let said = refusal(&run(&mut run_command(&lab)), 1);
    assert!(said.contains(pin.to_str().expect("UTF-8")), "{said}");
    assert!(said.contains("uninstall"), "the next step in {said}");
    still_denied(&lab, &mut agent);
    fs::remove_dir(&pin).expect("tidy up");
}

#[test]
fn wrong_use_is_exit_code_2() {
    for arguments in [
        &["frobnicate"][..],
        &["policy", "explain"],
        &["exec", "--policy", "agent"],
        &["workload", "tag"],
    ] {
        let output = run(Command::new(program()).args(arguments));
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            daemon::text(&output)
        );
    }
    let lab = Lab::new();
    let mut command = Command::new(program());
    let said = refusal(
        &run(command
            .arg("--socket")
            .arg(daemon::socket(&lab))
            .arg("status")),
        1,
    );
    assert!(
        said.contains(daemon::socket(&lab).to_str().expect("UTF-8")),
        "{said}"
    );
}

/// What a command that failed said, to a person: an error, no panic.
#[track_caller]
fn refusal(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{}", daemon::text(output));
    assert!(!said.contains("panicked"), "{said}");
    assert!(!said.trim().is_empty(), "a reason");
    said
}

fn still_denied(lab: &Lab, agent: &mut hoop_tests::prober::Prober) {
    let to: SocketAddr = "198.51.100.66:443".parse().expect("an address");
    Attempt::by(Route::TcpConnect, to).is_denied(lab, agent);
}

/// Lets `command` start in mounts of its own, changed by `change`.
fn in_own_mounts(
    command: &mut Command,
    change: impl Fn() -> nix::Result<()> + Send + Sync + 'static,
) {
    // SAFETY: the closure makes system calls only, on strings that live in it.
    unsafe {
        command.pre_exec(move || {
            unshare(CloneFlags::CLONE_NEWNS)?;
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
            Ok(change()?)
        });
    }
}

fn first_file(directory: &std::path::Path) -> Option<std::path::PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(directory)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths.into_iter().find_map(|path| {
        if path.is_dir() {
            first_file(&path)
        } else {
            Some(path)
        }
    })
}
