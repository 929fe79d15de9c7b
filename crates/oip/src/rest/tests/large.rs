//! Large bodies and answers: where they are read and written, and how long they wait for that.

use std::pin::pin;
use std::time::Duration;

use super::*;
use crate::blocking::occupied;

fn large() -> String {
    let floats = vec!["0.5"; 100_000].join(",");
    format!(
        r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[50000,2],"data":[{floats}]}}]}}"#
    )
}

#[tokio::test(start_paused = true)]
async fn what_is_large_waits_for_its_turn_and_what_is_small_does_not() {
    let router = open();
    for request in [infer("iris", large()), infer("grows", TWO_FLOATS)] {
        let places = occupied().await;
        let mut answer = pin!(ask(&router, request));
        // The clock goes on only when nothing else does.
        let waits = tokio::time::timeout(Duration::from_secs(1), answer.as_mut()).await;
        assert!(
            waits.is_err(),
            "it was read or written on the thread that serves"
        );
        assert_eq!(ask(&router, infer("iris", TWO_FLOATS)).await.0, 200);
        drop(places);
        assert_eq!(answer.await.0, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_over_before_its_turn_is_answered_in_time() {
    let router = open();
    for mut request in [infer("iris", large()), infer("grows", TWO_FLOATS)] {
        let timeout = "50".parse().unwrap();
        request.headers_mut().insert("x-oip-timeout-ms", timeout);
        let places = occupied().await;
        let begun = tokio::time::Instant::now();
        assert_eq!(ask(&router, request).await.0, 504);
        // The paused clock, and its rounding.
        assert!(begun.elapsed() <= Duration::from_millis(51));
        drop(places);
    }
}
