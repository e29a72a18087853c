//! Ways round an exec rule: what a list of denied commands stops, what it cannot, and that a list of
//! allowed ones stops it (bypasses 18 to 20). Judged by the file that a command would have written.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use hoop_tests::lab::{Lab, Workload};
use hoop_tests::probe::{Act, Outcome};
use hoop_tests::prober::Prober;

/// Everything runs but `touch`.
const DENY: &str = r#"
mode: enforce
egress: { default: allow }
exec:
  deny:
    - { name: no-touch, path: "**/touch", because: files are made by people }
"#;

/// Only what is listed runs: nothing that runs others, or what it is told.
const STRICT: &str = r#"
mode: enforce
egress: { default: allow }
exec:
  default: deny
  allow:
    - { name: the-prober, path: "**/prober" }
    - { name: copies, path: "/usr/bin/cp" }
"#;

/// Everything runs, and is judged.
const OPEN: &str = r#"
mode: enforce
egress: { default: allow }
exec:
  deny:
    - { name: nothing, path: "/nowhere", because: it is not there }
"#;

const TOUCH: &str = "/usr/bin/touch";
const COPY: &str = "/usr/bin/cp";
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

#[test]
fn a_denied_program_does_not_run_by_another_name() {
    let bench = Bench::new();
    let (lab, workload) = (&bench.lab, bench.workload());
    let _daemon = lab.daemon(&lab.policy("agent", DENY));
    let mut agent = workload.probe();
    let link = bench.at("link");
    for program in [TOUCH, COPY] {
        let _ = fs::remove_file(&link);
        symlink(program, &link).expect("a link");
        let name = program.trim_start_matches("/usr/bin/");
        let made = bench.made();
        let arguments: &[&str] = match program {
            TOUCH => &[made],
            _ => &["/etc/hostname", made],
        };
        let by_descriptor = format!("exec 9<{program}; /proc/self/fd/9 {}", arguments.join(" "));
        let ways: [(&str, &str, Vec<&str>); 4] = [
            ("/", &link, arguments.to_vec()),
            ("/", &format!("/usr/../usr/bin/{name}"), arguments.to_vec()),
            ("/usr/bin", &format!("./{name}"), arguments.to_vec()),
            ("/", "/bin/sh", vec!["-c", &by_descriptor]),
        ];
        for (directory, path, arguments) in ways {
            let outcome = run_in(&mut agent, directory, path, &arguments);
            let wrote = bench.wrote();
            assert_eq!(wrote, program == COPY, "{path} {arguments:?}: {outcome:?}");
        }
    }
}

#[test]
fn what_an_interpreter_starts_is_judged_anew() {
    let bench = Bench::new();
    let (lab, workload) = (&bench.lab, bench.workload());
    let _daemon = lab.daemon(&lab.policy("agent", DENY));
    let mut agent = workload.probe();
    let made = bench.made();
    let commands = [
        (TOUCH, vec![TOUCH, made]),
        (COPY, vec![COPY, "/etc/hostname", made]),
    ];
    for (program, command) in commands {
        let line = command.join(" ");
        let in_background = format!("{line} & wait");
        let quoted = command.join("', '");
        let script = bench.script("script", "/bin/sh", &line);
        let python = format!("import os; os.execv('{program}', ['{quoted}'])");
        let ways: [(&str, Vec<&str>); 8] = [
            ("/bin/sh", vec!["-c", &line]),
            ("/bin/sh", vec!["-c", &in_background]),
            ("/usr/bin/env", command.clone()),
            ("/usr/bin/env", vec!["-S", &line]),
            ("/usr/bin/xargs", [&["-a", "/dev/null"], &*command].concat()),
            (
                "/usr/bin/find",
                [&["/etc/hostname", "-exec"], &*command, &[";"]].concat(),
            ),
            ("/usr/bin/python3", vec!["-c", &python]),
            (&script, vec![]),
        ];
        for (interpreter, arguments) in ways {
            if !Path::new(interpreter).exists() {
                eprintln!("left out: no {interpreter}");
                continue;
            }
            let outcome = run_in(&mut agent, "/", interpreter, &arguments);
            let wrote = bench.wrote();
            assert_eq!(
                wrote,
                program == COPY,
                "{interpreter} {arguments:?}: {outcome:?}"
            );
        }
    }
}

/// A limit of every list of what is denied: the program has another path, or another program does
/// the same. The strict profile stops each of them.
#[test]
fn limit_a_deny_rule_knows_a_program_by_its_path() {
    let bench = Bench::new();
    let (lab, workload) = (&bench.lab, bench.workload());
    let daemon = lab.daemon(&lab.policy("agent", DENY));
    let mut agent = workload.probe();
    fs::copy(TOUCH, bench.at("copy")).expect("a copy");
    fs::hard_link(bench.at("copy"), bench.at("hard-link")).expect("a hard link");
    let made = bench.made();
    let denied = run_in(&mut agent, "/", TOUCH, &[made]);
    assert!(!bench.wrote(), "{denied:?}");
    for strict in [false, true] {
        if strict {
            daemon.change_policy(&lab.policy("agent", STRICT));
        }
        for (program, arguments) in [
            (bench.at("copy"), vec![made.to_owned()]),
            (bench.at("hard-link"), vec![made.to_owned()]),
            (LOADER.to_owned(), vec![TOUCH.to_owned(), made.to_owned()]),
        ] {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let outcome = run_in(&mut agent, "/", &program, &arguments);
            assert_eq!(bench.wrote(), !strict, "{program}: {outcome:?}");
        }
        let outcome = agent.act(&Act::RunFromMemory {
            program: TOUCH.into(),
            argv: ["touch", made].map(Into::into).to_vec(),
        });
        assert_eq!(bench.wrote(), !strict, "from memory: {outcome:?}");
    }
    // The list itself works.
    run_in(&mut agent, "/", COPY, &["/etc/hostname", made]).expect("it is listed");
    assert!(bench.wrote());
}

/// What an interpreter does itself starts no program: only the strict profile stops that, by not
/// listing the interpreter.
#[test]
fn the_strict_profile_lets_no_interpreter_pass() {
    let bench = Bench::new();
    let (lab, workload) = (&bench.lab, bench.workload());
    let daemon = lab.daemon(&lab.policy("agent", OPEN));
    let mut agent = workload.probe();
    let made = bench.made();
    let shell = format!("echo made > {made}");
    let python = format!("open('{made}', 'w')");
    let perl = format!("open(F, '>', '{made}')");
    let awk = format!("BEGIN {{ print \"made\" > \"{made}\" }}");
    let shell_script = bench.script("shell-script", "/bin/sh", &shell);
    let python_script = bench.script("python-script", "/usr/bin/python3", &python);
    let busybox_script = bench.script("busybox-script", "/usr/bin/busybox sh", &shell);
    let ways: [(&str, &str, &[&str]); 10] = [
        ("/bin/sh", "/bin/sh", &["-c", &shell]),
        ("/usr/bin/python3", "/usr/bin/python3", &["-c", &python]),
        ("/usr/bin/perl", "/usr/bin/perl", &["-e", &perl]),
        ("/usr/bin/awk", "/usr/bin/awk", &[&awk]),
        ("/usr/bin/busybox", "/usr/bin/busybox", &["touch", made]),
        (
            "/usr/bin/busybox",
            "/usr/bin/busybox",
            &["sh", "-c", &shell],
        ),
        (LOADER, LOADER, &["/bin/sh", "-c", &shell]),
        ("/bin/sh", &shell_script, &[]),
        ("/usr/bin/python3", &python_script, &[]),
        ("/usr/bin/busybox", &busybox_script, &[]),
    ];
    for strict in [false, true] {
        if strict {
            daemon.change_policy(&lab.policy("agent", STRICT));
        }
        for (needs, program, arguments) in ways {
            if !Path::new(needs).exists() {
                eprintln!("left out: no {needs}");
                continue;
            }
            let outcome = run_in(&mut agent, "/", program, arguments);
            assert_eq!(
                bench.wrote(),
                !strict,
                "{program} {arguments:?}: {outcome:?}"
            );
        }
    }
    run_in(&mut agent, "/", COPY, &["/etc/hostname", made]).expect("it is listed");
    assert!(bench.wrote());
}

/// A limit: a rule sees the arguments of the shell, not what the shell makes of them. What it then
/// starts is judged by the arguments that this gets.
#[test]
fn limit_quotes_hide_a_word_until_it_is_an_argument() {
    const WORD: &str = r#"
mode: enforce
egress: { default: allow }
exec:
  deny:
    - { name: no-deletes, args: '\bdelete\b', because: ask the on-call }
"#;
    let bench = Bench::new();
    let (lab, workload) = (&bench.lab, bench.workload());
    let _daemon = lab.daemon(&lab.policy("agent", WORD));
    let mut agent = workload.probe();
    let made = bench.made();
    let said = |agent: &mut Prober, line: &str| {
        let line = format!("{line} > {made}");
        let _ = fs::remove_file(made);
        let _ = run_in(agent, "/", "/bin/sh", &["-c", &line]);
        fs::read_to_string(made).unwrap_or_default()
    };
    assert_eq!(said(&mut agent, "echo delete"), "", "the word is there");
    assert_eq!(said(&mut agent, "echo keep"), "keep\n");
    // The limit: the shell's own `echo` is no command.
    for hidden in [
        r#"echo del""ete"#,
        r"echo del\ete",
        "d=del; echo ${d}ete",
        r"printf 'del\145te\n'",
    ] {
        assert_eq!(said(&mut agent, hidden), "delete\n", "{hidden}");
    }
    for started in [
        r#"/bin/echo del""ete"#,
        "d=del; /usr/bin/env echo ${d}ete",
        r#"eval "/bin/echo del""ete""#,
    ] {
        assert_eq!(said(&mut agent, started), "", "{started}");
    }
    assert_eq!(said(&mut agent, r#"/bin/echo ke""ep"#), "keep\n");
}

/// A limit: an allow rule is as good as the place that it names.
#[test]
fn limit_a_program_put_in_an_allowed_place_runs() {
    let bench = Bench::new();
    let (lab, workload) = (&bench.lab, bench.workload());
    let (place, made) = (bench.at("tool"), bench.made());
    let spec = format!("{STRICT}    - {{ name: tool, path: \"{place}\" }}\n");
    let _daemon = lab.daemon(&lab.policy("agent", &spec));
    let mut agent = workload.probe();
    run_in(&mut agent, "/", COPY, &[TOUCH, &bench.at("beside")]).expect("it is listed");
    let outcome = run_in(&mut agent, "/", &bench.at("beside"), &[made]);
    assert!(!bench.wrote(), "{outcome:?}");
    run_in(&mut agent, "/", COPY, &[TOUCH, &place]).expect("it is listed");
    run_in(&mut agent, "/", &place, &[made]).expect("its place is listed");
    assert!(bench.wrote());
}

/// A lab with a file that commands write.
struct Bench {
    lab: Lab,
    made: String,
}

impl Bench {
    fn new() -> Self {
        let lab = Lab::new();
        let made = path_text(lab.directory().join("made"));
        Self { lab, made }
    }

    fn workload(&self) -> Workload<'_> {
        self.lab.workload("agent")
    }

    fn at(&self, name: &str) -> String {
        path_text(self.lab.directory().join(name))
    }

    fn made(&self) -> &str {
        &self.made
    }

    /// Whether a command wrote the file, which is removed for the next one.
    fn wrote(&self) -> bool {
        fs::remove_file(&self.made).is_ok()
    }

    fn script(&self, name: &str, interpreter: &str, line: &str) -> String {
        let path = self.at(name);
        fs::write(&path, format!("#!{interpreter}\n{line}\n")).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
        path
    }
}

fn run_in(agent: &mut Prober, directory: &str, program: &str, arguments: &[&str]) -> Outcome {
    let argv = std::iter::once(&program).chain(arguments);
    agent.act(&Act::Run {
        program: program.into(),
        argv: argv.map(|argument| argument.as_bytes().to_vec()).collect(),
        directory: Some(directory.into()),
        user: None,
    })
}

fn path_text(path: PathBuf) -> String {
    path.into_os_string().into_string().expect("UTF-8")
}
