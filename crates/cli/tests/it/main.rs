//! The built binary, from outside.

mod access;
mod access_log;
mod architecture;
mod bench;
mod config;
mod help;
mod kserve;
mod printing;
mod refusals;
mod reload;
mod running;
mod serving;
mod tls;

use std::process::{Command, Output, Stdio};

/// The models that the repository brings along.
const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/models");

/// The binary with these arguments and no settings of whoever runs the tests.
fn oip(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oip"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

/// Runs to the end. Only for commands that end by themselves.
fn output(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let text = format!("{output:?}");
    assert!(!text.contains("panicked"), "{text}");
    output
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
