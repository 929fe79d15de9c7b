//! The `oip` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    oip_cli::run(std::env::args_os()).into()
}
