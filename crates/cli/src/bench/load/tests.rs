use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::arrivals::Spacing;
use super::*;

#[test]
fn connections_are_shared_out_evenly() {
    let shares = shares(&[4, 5, 6], 8);
    assert_eq!(shares, [(vec![4], 3), (vec![5], 3), (vec![6], 2)]);
}

#[test]
fn a_thread_without_connections_is_not_started() {
    assert_eq!(shares(&[0, 1, 2, 3], 2), [(vec![0], 1), (vec![1], 1)]);
    assert_eq!(shares(&[], 5), [(vec![], 5)]);
}

/// A server that answers each request after a while, for as long as the test runs.
fn slow_server(answer: &'static str, after: Duration) -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut request = [0; 1024];
                    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                        tokio::time::sleep(after).await;
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
    });
    told.recv().unwrap()
}

fn measure(answer: &'static str, after: u64, rate: f64, bounds: Bounds) -> Measured {
    let address = slow_server(answer, Duration::from_millis(after));
    let load = Load {
        connections: 1,
        rate: Some(Rate {
            per_second: rate,
            spacing: Spacing::Constant,
        }),
        bounds,
        warm_up: Duration::from_millis(1),
        measure: Duration::from_millis(500),
        cpus: Vec::new(),
    };
    let ask = Ask::Http1(b"GET / HTTP/1.1\r\n\r\n".to_vec());
    run(&load, &Way::plain(address), &ask, None, |_, _| {}).unwrap()
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

#[test]
fn a_server_too_slow_for_its_rate_is_charged_for_what_waits_unsent() {
    // One connection and 25 ms an answer make 40 a second; 200 are due.
    let measured = measure(OK, 25, 200.0, Bounds::default());
    assert!((95..=101).contains(&measured.due), "{}", measured.due);
    assert!(measured.unsent > 60, "{}", measured.unsent);
    assert_eq!(measured.latency.len(), measured.due);
    // The last of them to be answered was due hundreds of milliseconds before.
    let p99 = Duration::from_nanos(measured.latency.value_at_quantile(0.99));
    assert!(p99 > Duration::from_millis(250), "{p99:?}");
    assert_eq!(measured.failures, 0);
}

#[test]
fn at_a_rate_that_the_server_keeps_every_request_is_sent_when_it_is_due() {
    // A thread that the system holds up at the end leaves what was due then; not again and again.
    let all_sent = (0..10).any(|_| {
        let measured = measure(OK, 0, 100.0, Bounds::default());
        assert!((45..=51).contains(&measured.due), "{}", measured.due);
        assert_eq!(measured.failures, 0);
        measured.unsent == 0
    });
    assert!(all_sent, "something was left every time");
}

#[test]
fn refusals_are_counted_by_themselves_where_they_are_expected() {
    let refusal = "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n";
    let bounds = Bounds {
        refusals: true,
        within: None,
    };
    let measured = measure(refusal, 0, 100.0, bounds);
    // 50 where nothing holds the threads up.
    assert!(measured.refused > 10, "{measured:?}");
    assert_eq!((measured.answers, measured.failures), (0, 0));
    let measured = measure(refusal, 0, 100.0, Bounds::default());
    assert!(measured.failures > 0 && measured.first_failure.is_some());
}

#[test]
fn an_answer_after_its_time_is_late_and_not_good() {
    let bounds = Bounds {
        refusals: true,
        within: Some(Duration::from_millis(10)),
    };
    let measured = measure(OK, 20, 20.0, bounds);
    // Ten where nothing holds the threads up.
    assert!(measured.late > 0, "{measured:?}");
    assert_eq!(measured.answers, 0);
}
