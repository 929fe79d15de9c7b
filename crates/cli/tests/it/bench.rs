//! `oip bench`, asked for what it cannot do.

use crate::{oip, output, stderr};

#[test]
fn bench_says_which_server_it_cannot_reach() {
    // Port 9 is for discarding; nobody listens there.
    let output = output(&mut oip(&["bench", "--url", "127.0.0.1:9", "--no-floor"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("127.0.0.1:9 cannot be asked"));
}

#[test]
fn bench_names_the_flag_of_the_door_that_is_missing() {
    let arguments = ["bench", "--url", "127.0.0.1:9", "--only", "grpc-16"];
    let output = output(&mut oip(&arguments));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--grpc-url"));
}
