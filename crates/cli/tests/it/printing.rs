//! What commands print, where it cannot be printed.

use std::fs::OpenOptions;

use super::*;

/// Commands that print something, and end by themselves.
const COMMANDS: [&[&str]; 6] = [
    &["config", "--auth-enabled", "false"],
    &["config", "check", "--auth-enabled", "false"],
    &["policy", "explain", "server_metadata"],
    &["policy", "check", POLICY],
    &["apikey", "new", "--id", "ann"],
    &["audit", "verify", "/dev/null"],
];

const POLICY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../deploy/kubernetes/policy.cedar"
);

fn full() -> Stdio {
    let device = OpenOptions::new().write(true).open("/dev/full");
    device.unwrap().into()
}

#[test]
fn a_full_disk_behind_standard_output_is_said_and_ends_a_command_with_1() {
    for arguments in COMMANDS {
        let output = output(oip(arguments).stdout(full()));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("cannot print: No space left"), "{said}");
    }
}

#[test]
fn a_pipe_that_nobody_reads_any_more_ends_a_command_with_1_and_in_silence() {
    for arguments in COMMANDS {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = output(oip(arguments).stdout(writer));
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(!said.contains("error"), "{arguments:?}: {said}");
    }
}

#[test]
fn notes_that_cannot_be_said_change_nothing() {
    for arguments in COMMANDS {
        let heard = output(&mut oip(arguments));
        let unheard = output(oip(arguments).stderr(full()));
        assert_eq!(heard.status.code(), Some(0), "{arguments:?}: {heard:?}");
        assert_eq!(unheard.status.code(), Some(0), "{arguments:?}: {unheard:?}");
    }
}
