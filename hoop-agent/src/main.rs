//! `hoop-agent`: see the library.

fn main() -> std::process::ExitCode {
    hoop_agent::cli::main()
}
