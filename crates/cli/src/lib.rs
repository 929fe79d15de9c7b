//! The command line of `oip`.

mod apikey;
mod args;
mod audit;
mod bench;
mod config;
mod credential;
mod exit;
mod itself;
mod memory;
mod policy;
mod print;
mod programs;
mod replay;
mod serve;

use std::ffi::OsString;

use clap::Command;

pub use exit::Exit;
pub use programs::Programs;

/// Runs the command line and says how it ended. The first argument is the program's name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    run_with(arguments, &programs::None)
}

/// The same, where `oip serve` also takes programs.
pub fn run_with(arguments: impl IntoIterator<Item = OsString>, programs: &dyn Programs) -> Exit {
    let _last = LastLines;
    itself::is(programs.itself());
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version are "errors" that go to standard output.
            let asked = !error.use_stderr();
            let _ = error.print();
            return if asked { Exit::Success } else { Exit::Usage };
        }
    };
    match matches.subcommand() {
        Some(("serve", matches)) => serve::run(matches, programs),
        Some(("config", matches)) => config::run(matches),
        Some(("apikey", matches)) => apikey::run(matches),
        Some(("policy", matches)) => policy::run(matches),
        Some(("audit", matches)) => audit::run(matches),
        Some(("replay", matches)) => replay::run(matches),
        Some(("bench", matches)) => bench::run(matches),
        Some((bench::CHILD, matches)) => bench::run_child(matches),
        _ => Exit::Usage,
    }
}

/// Sees to it that what was logged is written before the process ends, in a panic too.
struct LastLines;

impl Drop for LastLines {
    fn drop(&mut self) {
        oip::logging::flush();
    }
}

const EXAMPLES: &str = "\
Examples:
  oip serve models --auth-enabled false     serve every model in the folder 'models'
  oip serve models --port 9000              REST and gRPC on one port
  oip config                                what is configured, and where it comes from
  oip policy explain --as alice infer iris  whether alice may run iris, and why
  oip bench                                 how fast it is on this machine

Exit codes: 0 done, 1 failed, 2 asked wrongly (flags, configuration).";

fn command() -> Command {
    Command::new("oip")
        .about("Serve models over the Open Inference Protocol (KServe V2), REST and gRPC")
        .version(env!("CARGO_PKG_VERSION"))
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(serve::command())
        .subcommand(config::command())
        .subcommand(apikey::command())
        .subcommand(policy::command())
        .subcommand(audit::command())
        .subcommand(replay::command())
        .subcommand(bench::command())
        .subcommand(bench::child_command())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
