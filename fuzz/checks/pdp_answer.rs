//! The answer of a remote decision point, over a real connection: no panic, and a permit exactly
//! where the protocol's own words for it stand in the answer.
//!
//! Two bytes choose the protocol, the status and the content type; the rest is the body.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use oip_auth::http::{HttpClient, HttpOptions};
use oip_auth::pdp::{authzen::AuthZen, opa::Opa, xacml::Xacml};
use oip_core::BoxFuture;
use oip_core::access::{
    Access, Action, Arrival, Authenticator, Caller, Credentials, PolicyDecisionPoint, Question,
    Subject,
};
use oip_protocol::{ModelRef, Result};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::strict;

const STATUSES: [u16; 8] = [200, 200, 200, 201, 302, 403, 500, 503];
const TYPES: [&str; 4] = [
    "application/json",
    "application/xacml+json; charset=utf-8",
    "application/json-seq",
    "text/html",
];

/// What the decision point answers next: a whole HTTP message.
type Next = Arc<Mutex<Vec<u8>>>;

struct Alice;

impl Authenticator for Alice {
    fn authenticate<'a>(
        &'a self,
        _: &'a Credentials,
    ) -> BoxFuture<'a, Result<Option<Arc<Subject>>>> {
        Box::pin(async {
            Ok(Some(Arc::new(Subject {
                id: "alice".to_owned(),
                ..Subject::default()
            })))
        })
    }
}

/// A decision point, the three that ask it, and somebody to ask about.
struct World {
    runtime: Runtime,
    next: Next,
    points: [Arc<dyn PolicyDecisionPoint>; 3],
    caller: Caller,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let next = Next::default();
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let url = format!("http://{}/pdp", listener.local_addr().expect("an address"));
        runtime.spawn(accept(listener, Arc::clone(&next)));
        let options = HttpOptions {
            timeout: Duration::from_secs(5),
            ..HttpOptions::default()
        };
        let client = Arc::new(HttpClient::new(options).expect("a client"));
        let points: [Arc<dyn PolicyDecisionPoint>; 3] = [
            Arc::new(Xacml::new(Arc::clone(&client), &url).expect("an address")),
            Arc::new(AuthZen::new(Arc::clone(&client), &url).expect("an address")),
            Arc::new(Opa::new(client, &url).expect("an address")),
        ];
        let access = Access::new(Arc::new(Alice), Arc::clone(&points[0]));
        let caller = runtime
            .block_on(access.authenticate(Arrival::default()))
            .expect("Alice is known");
        Self {
            runtime,
            next,
            points,
            caller,
        }
    }

    fn permits(&self, which: usize, answer: Vec<u8>) -> bool {
        *self.next.lock().expect("not poisoned") = answer;
        let model = ModelRef {
            name: "iris".to_owned(),
            version: None,
        };
        let question = Question {
            caller: &self.caller,
            action: Action::by_name("infer").expect("an action"),
            model: Some(&model),
        };
        let decision = self.runtime.block_on(self.points[which].decide(&question));
        decision.is_permit()
    }
}

async fn accept(listener: TcpListener, next: Next) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, Arc::clone(&next)));
    }
}

/// Answers each request of a connection with what is next. A request comes in one piece or two.
async fn serve(mut stream: TcpStream, next: Next) {
    let (mut seen, mut piece) = (Vec::new(), [0; 8192]);
    while let Ok(length @ 1..) = stream.read(&mut piece).await {
        seen.extend_from_slice(&piece[..length]);
        if !is_whole(&seen) {
            continue;
        }
        seen.clear();
        let answer = next.lock().expect("not poisoned").clone();
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

fn is_whole(request: &[u8]) -> bool {
    let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
    request.len() >= end + 4 + length
}

/// Whether the protocol's words for a permit stand in a body, without a duty that comes with it.
fn says_permit(which: usize, body: &[u8]) -> bool {
    let Some(answer) = strict::read(body) else {
        return false;
    };
    let free = |duties: Option<&Value>| duties.is_none_or(|duties| *duties == Value::Array(vec![]));
    match which {
        0 => {
            let one = |result: &Value| {
                result.is_object()
                    && result.get("Decision") == Some(&Value::from("Permit"))
                    && free(result.get("Obligations"))
            };
            match answer.get("Response") {
                Some(Value::Array(results)) => !results.is_empty() && results.iter().all(one),
                Some(result) => one(result),
                None => false,
            }
        }
        1 => {
            let context = answer.get("context");
            answer.get("decision") == Some(&Value::Bool(true))
                && context.is_none_or(Value::is_object)
                && free(context.and_then(|context| context.get("obligations")))
        }
        _ => match answer.get("result") {
            Some(Value::Object(result)) => result.get("allow") == Some(&Value::Bool(true)),
            result => result == Some(&Value::Bool(true)),
        },
    }
}

thread_local! {
    static WORLD: World = World::new();
}

/// Whether it permits.
pub(crate) fn check(input: &[u8]) -> bool {
    let Some((&[which, how], body)) = input.split_first_chunk::<2>() else {
        return false;
    };
    let which = usize::from(which) % 3;
    let status = STATUSES[usize::from(how) % STATUSES.len()];
    let kind = TYPES[usize::from(how >> 4) % TYPES.len()];
    let mut answer = format!(
        "HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    let permitted = WORLD.with(|world| world.permits(which, answer));
    let json = kind != TYPES[2] && kind != TYPES[3];
    let expected = status == 200 && json && says_permit(which, body);
    assert_eq!(permitted, expected, "{status} {kind} from {which}");
    permitted
}
