//! `policy explain` and the kernel give the same verdict on commands, whatever the rules and the
//! command: the kernel walks its tables, `explain` asks the regex and glob libraries.

use std::fs;

use hoop_agent::policy::exec::Command;
use hoop_agent::policy::explain::{Explanation, Question, Verdict, explain};
use hoop_agent::policy::testing::exec::{RandomCommand, random_commands, random_exec};
use hoop_agent::policy::{load, model::Policy};
use hoop_tests::daemon::policy_file;
use hoop_tests::lab::Lab;
use hoop_tests::prober;

const POLICIES: usize = 10;
const COMMANDS: usize = 40;

#[test]
fn the_kernel_does_what_explain_says_of_commands() {
    let lab = Lab::new();
    let workload = lab.workload("agent");
    let spec = |exec: &str| format!("mode: enforce\negress: {{ default: allow }}\n{exec}");
    let daemon = lab.daemon(&lab.policy("agent", &spec("")));
    let mut agent = workload.probe();
    let directory = fs::canonicalize(lab.directory()).expect("a directory");
    let programs = directory.join("programs");
    let (mut denied, mut allowed) = (0, 0);
    let mut seeds = 0..;
    for _ in 0..POLICIES {
        let found = seeds.find_map(|seed| {
            let text = lab.policy("agent", &spec(&random_exec(seed)));
            read(&lab, &text).map(|policy| (seed, text, policy))
        });
        let (seed, text, policy) = found.expect("seeds do not end");
        daemon.change_policy(&text);
        let mut explanations = Vec::new();
        for RandomCommand { path, arguments } in random_commands(seed, COMMANDS) {
            // Names are both directories and programs: each command has a place of its own.
            let _ = fs::remove_dir_all(&programs);
            let program = programs.join(&path);
            fs::create_dir_all(program.parent().expect("a parent")).expect("directories");
            fs::hard_link("/usr/bin/true", &program)
                .or_else(|_| fs::copy("/usr/bin/true", &program).map(drop))
                .expect("a program");
            let program = program.to_str().expect("UTF-8");
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let done = agent.run(program, &arguments).expect("it starts");

            let args = [&[program], arguments.as_slice()].concat().join("\0");
            let command = Command {
                path: Some(program.into()),
                args: Some(args.into()),
                parent: Some(prober::program().to_str().expect("UTF-8").into()),
                uid: 0,
            };
            let explanation: Explanation = explain(&policy, &Question::Command(command));
            let expected = explanation.verdict == Verdict::Deny;
            let kernel = done.value & 0x7f == 9;
            assert_eq!(kernel, expected, "seed {seed}: {explanation}\n{text}");
            denied += usize::from(kernel);
            allowed += usize::from(!kernel);
            explanations.push((done.pid, explanation));
        }
        let records = daemon.settled();
        for (pid, explanation) in &explanations {
            let mut of_process = records.iter().filter(|record| record.pid() == *pid);
            let record = of_process.find(|record| record.is("exec"));
            let rule = record.map(|record| record.text("verdict.rule"));
            assert_eq!(rule, Some(&*explanation.rule), "{explanation}\n{text}");
        }
    }
    let all = POLICIES * COMMANDS;
    assert!(
        denied > all / 6 && allowed > all / 6,
        "{denied} denied, {allowed} allowed"
    );
}

/// The policy, if it is one that may be loaded: some random ones hold a rule that can never apply.
fn read(lab: &Lab, text: &str) -> Option<Policy> {
    let path = policy_file(lab).with_file_name("random.yaml");
    fs::write(&path, text).expect("write a policy");
    load(&path).ok()?.pop()
}
