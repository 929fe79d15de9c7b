//! The whole exchange with a decision point, made up: status, headers, framing, body, and where it
//! breaks off or stalls. Nothing but a whole and legal permit permits.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::remote_tests::{body, is_legal_permit};
use super::stub::{Answer, PERMIT, Stub, remotes_within};
use super::testing::decide;
use super::{Enforced, GuardOptions, Guarded};

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    Chunks,
    Close,
}

/// What becomes of the bytes of an answer.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Whole,
    /// The connection is closed there.
    Cut(Index),
    /// Nothing comes any more from there on.
    Stalled(Index),
}

#[derive(Debug, Clone)]
struct Exchange {
    status: u16,
    content_type: &'static str,
    header: &'static str,
    framing: Framing,
    fate: Fate,
    body: Vec<u8>,
}

impl Exchange {
    fn head(&self) -> String {
        let framing = match self.framing {
            Framing::Length => format!("Content-Length: {}\r\n", self.body.len()),
            Framing::Chunks => "Transfer-Encoding: chunked\r\n".to_owned(),
            Framing::Close => String::new(),
        };
        format!(
            "HTTP/1.1 {} Reason\r\nContent-Type: {}\r\n{}{framing}\r\n",
            self.status, self.content_type, self.header
        )
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head().into_bytes();
        if self.framing == Framing::Chunks && !self.body.is_empty() {
            bytes.extend(format!("{:x}\r\n", self.body.len()).into_bytes());
            bytes.extend(&self.body);
            bytes.extend(b"\r\n");
        } else {
            bytes.extend(&self.body);
        }
        if self.framing == Framing::Chunks {
            bytes.extend(b"0\r\n\r\n");
        }
        bytes
    }

    /// What is sent, and the body that arrives whole; none where it does not.
    fn played(&self) -> (Answer, Option<Vec<u8>>) {
        let bytes = self.bytes();
        let by_close = self.framing == Framing::Close;
        match self.fate {
            Fate::Whole => (Answer::Bytes(bytes), Some(self.body.clone())),
            Fate::Stalled(at) => {
                let end = at.index(bytes.len() + 1);
                let whole = end == bytes.len() && !by_close;
                let body = whole.then(|| self.body.clone());
                (Answer::Stall(bytes[..end].to_vec()), body)
            }
            Fate::Cut(at) => {
                let end = at.index(bytes.len() + 1);
                let head = self.head().len();
                // Without a length the end of the connection is the end of the body, by the
                // letter of HTTP; the JSON then has to be whole.
                let body = match by_close && end >= head {
                    true => Some(bytes[head..end].to_vec()),
                    false => (end == bytes.len()).then(|| self.body.clone()),
                };
                (Answer::Bytes(bytes[..end].to_vec()), body)
            }
        }
    }
}

const JSON: [&str; 3] = [
    "application/json",
    "application/xacml+json",
    "application/json; charset=utf-8",
];

fn exchange() -> impl Strategy<Value = Exchange> {
    let status = prop_oneof![6 => Just(200), 2 => 100..1000_u16, 1 => select(vec![201, 204, 206, 302, 307, 403, 500, 503])];
    let types = [
        &JSON[..],
        &["text/html", "text/json", "", "application/jsonp"],
    ]
    .concat();
    let content_type = prop_oneof![3 => select(JSON.to_vec()), 1 => select(types)];
    let header = select(vec![
        "",
        "Location: http://127.0.0.1:1/\r\n",
        "X-Decision: Permit\r\n",
        "Connection: close\r\n",
        "Retry-After: 0\r\n",
        "Content-Encoding: identity\r\n",
        "Content-Encoding: gzip\r\n",
    ]);
    let framing = select(vec![Framing::Length, Framing::Chunks, Framing::Close]);
    let fate = prop_oneof![
        12 => Just(Fate::Whole),
        4 => any::<Index>().prop_map(Fate::Cut),
        1 => any::<Index>().prop_map(Fate::Stalled),
    ];
    let body = prop_oneof![2 => body(), 1 => Just(PERMIT.as_bytes().to_vec())];
    (status, content_type, header, framing, fate, body).prop_map(
        |(status, content_type, header, framing, fate, body)| Exchange {
            status,
            content_type,
            header,
            framing,
            fate,
            body,
        },
    )
}

/// What the decision points make of an exchange, as a server asks them: guarded and enforced.
async fn disagreements(exchange: &Exchange) -> Vec<String> {
    let (answer, arrives) = exchange.played();
    let stub = Stub::start(answer).await;
    let known = exchange.status == 200
        && JSON.contains(&exchange.content_type)
        && !exchange.header.contains("gzip");
    let body = arrives.filter(|_| known);
    let asked = remotes_within(&stub.url, Duration::from_millis(150));
    let decided = asked.into_iter().map(|pdp| async {
        let name = pdp.name();
        let guarded = Guarded::new(pdp, &GuardOptions::default());
        let enforced = Enforced::new(Arc::new(guarded));
        let decision = decide(&enforced, "alice", &[], "infer", None).await;
        let legal = body
            .as_ref()
            .is_some_and(|body| is_legal_permit(body, name));
        // A damaged name may stand twice; that is refused, and the oracle cannot see it.
        let stricter = legal && decision.reason().contains("stands twice");
        (decision.is_permit() != legal && !stricter).then(|| format!("{name}: {decision:?}"))
    });
    join_all(decided).await.into_iter().flatten().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_but_a_whole_and_legal_permit_permits(exchange in exchange()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let wrong = runtime.block_on(disagreements(&exchange));
        prop_assert!(wrong.is_empty(), "{wrong:?}");
    }
}
