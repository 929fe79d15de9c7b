//! Clients that take little or nothing of what they are answered.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use oip::grpc::messages::ModelInferRequest;
use oip::grpc::messages::model_infer_request::InferInputTensor;
use oip::server::{ConnectionLimits, Limits};
use oip::testing::TestServer;
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::limits::counted;
use crate::{http, lab};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// As much of HTTP/2 as a client needs that does not read.
pub(crate) struct Raw(TcpStream);

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    frame.extend_from_slice(payload);
    frame
}

impl Raw {
    /// `window`: how much of each answer the server may send before it is told to go on.
    pub(crate) async fn connect(address: SocketAddr, window: u32) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
        let hello = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(SETTINGS, 0, 0, &settings),
        ];
        stream.write_all(&hello.concat()).await.unwrap();
        let mut raw = Self(stream);
        while raw.read().await.0 != SETTINGS {}
        raw.send(&frame(SETTINGS, 1, 0, &[])).await;
        raw
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The kind and the stream of the next frame.
    pub(crate) async fn read(&mut self) -> (u8, u32) {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).await.unwrap();
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        (head[3], stream)
    }

    pub(crate) async fn ask(&mut self, stream: u32, method: &str, path: &str, body: Option<&[u8]>) {
        self.head(stream, method, path, body.is_some(), body.is_none())
            .await;
        let mut pieces = body.unwrap_or_default().chunks(16 << 10).peekable();
        while let Some(piece) = pieces.next() {
            let end = if pieces.peek().is_none() {
                END_STREAM
            } else {
                0
            };
            self.send(&frame(DATA, end, stream, piece)).await;
        }
    }

    /// Begins a call of gRPC, of which nothing follows yet.
    pub(crate) async fn begin(&mut self, stream: u32, path: &str) {
        self.head(stream, "POST", path, true, false).await;
    }

    /// The same for a request of REST with a body.
    pub(crate) async fn begin_rest(&mut self, stream: u32, path: &str) {
        self.head(stream, "POST", path, false, false).await;
    }

    /// Asks for a path, with so many fields of a byte each besides what is needed.
    pub(crate) async fn ask_with_fields(&mut self, stream: u32, path: &str, fields: usize) {
        let head = [head_of("GET", path, false), many(fields)].concat();
        self.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &head))
            .await;
    }

    /// Begins a call of gRPC with such fields.
    pub(crate) async fn begin_with_fields(&mut self, stream: u32, path: &str, fields: usize) {
        let head = [head_of("POST", path, true), many(fields)].concat();
        self.send(&frame(HEADERS, END_HEADERS, stream, &head)).await;
    }

    async fn head(&mut self, stream: u32, method: &str, path: &str, grpc: bool, ends: bool) {
        let end = if ends { END_STREAM } else { 0 };
        let head = head_of(method, path, grpc);
        self.send(&frame(HEADERS, END_HEADERS | end, stream, &head))
            .await;
    }

    /// Waits until the server closes the connection.
    async fn closed(&mut self) {
        let mut rest = Vec::new();
        let closed = self.0.read_to_end(&mut rest);
        let closed = tokio::time::timeout(Duration::from_secs(10), closed).await;
        assert!(closed.is_ok(), "it is still there");
    }
}

/// The fields of a head, in HPACK without its table.
fn head_of(method: &str, path: &str, grpc: bool) -> Vec<u8> {
    let mut headers = Vec::new();
    let more = [("content-type", "application/grpc"), ("te", "trailers")];
    let pseudo = [
        (":method", method),
        (":scheme", "http"),
        (":path", path),
        (":authority", "a"),
    ];
    let more = if grpc { &more[..] } else { &[] };
    for (name, value) in pseudo.iter().chain(more) {
        headers.push(0);
        for text in [name, value] {
            headers.push(u8::try_from(text.len()).unwrap());
            headers.extend_from_slice(text.as_bytes());
        }
    }
    headers
}

/// The field `a` without a value so many times: put into the table, and then a byte for each.
fn many(fields: usize) -> Vec<u8> {
    let mut many = vec![0x40, 1, b'a', 0];
    many.resize(many.len() + fields - 1, 0x80 | 62);
    many
}

/// A request over HTTP/1 for the model that answers with what it is sent.
fn identity_request(bytes: usize) -> Vec<u8> {
    let json = format!(
        r#"{{"inputs":[{{"name":"x","shape":[{bytes}],"datatype":"UINT8","parameters":{{"binary_data_size":{bytes}}}}}],"parameters":{{"binary_data_output":true}}}}"#,
    );
    let head = format!(
        "POST /v2/models/free/infer HTTP/1.1\r\nhost: a\r\nconnection: close\r\ninference-header-content-length: {}\r\n\
         content-length: {}\r\n\r\n{json}",
        json.len(),
        json.len() + bytes
    );
    [head.into_bytes(), vec![7; bytes]].concat()
}

/// A call of the model that answers with what it is sent, as gRPC frames it.
fn identity(bytes: usize) -> Vec<u8> {
    let message = ModelInferRequest {
        model_name: "free".into(),
        inputs: vec![InferInputTensor {
            name: "x".into(),
            datatype: "UINT8".into(),
            shape: vec![bytes as i64],
            ..InferInputTensor::default()
        }],
        raw_input_contents: vec![vec![7; bytes].into()],
        ..ModelInferRequest::default()
    };
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, &message].concat()
}

const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
const MIB: usize = 1 << 20;

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !is_so().await {
        assert!(Instant::now() < end, "not so: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn server(memory: usize, write_timeout: Duration) -> TestServer {
    let mut limits = Limits::default();
    limits.body_memory = memory;
    let mut connections = ConnectionLimits::default();
    connections.write_timeout = write_timeout;
    let server = lab::server().limits(limits).connections(connections);
    TestServer::start(server).await.unwrap()
}

#[tokio::test]
async fn an_answer_that_is_not_read_is_counted_as_memory_until_it_is_dropped() {
    let server = server(20 * MIB, Duration::from_secs(60)).await;
    let request = identity_request(8 * MIB);
    let memory = server.dataplane().memory().clone();
    let mut silent = Vec::new();
    for n in 1..=2 {
        let mut stream = TcpStream::connect(server.rest_address()).await.unwrap();
        stream.write_all(&request).await.unwrap();
        silent.push(stream);
        until("answered", async || memory.held() >= n * 8 * MIB).await;
        // Not only while it is worked on.
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(memory.held() >= n * 8 * MIB, "{} of {n}", memory.held());
    }
    let refused = http::raw(server.rest_address(), &request).await;
    let refused = http::parse(&refused);
    assert_eq!(refused.status, 429, "{}", refused.head);
    assert_eq!(refused.header("retry-after"), Some("1"));
    drop(silent);
    until("given back", async || memory.held() == 0).await;
}

#[tokio::test]
async fn an_answer_that_a_stream_has_no_window_for_is_counted_and_then_cut_off() {
    let server = server(8 * MIB, Duration::from_millis(400)).await;
    let memory = server.dataplane().memory().clone();
    // Nothing, and a byte: then the rest waits in another place.
    for window in [0, 1] {
        let before = counted(&server, "write_timeout").await;
        let mut raw = Raw::connect(server.grpc_address(), window).await;
        for stream in [1, 3] {
            raw.ask(stream, "POST", INFER, Some(&identity(3 * MIB)))
                .await;
        }
        until("held", async || memory.held() >= 6 * MIB).await;
        raw.closed().await;
        until("given back", async || memory.held() == 0).await;
        assert!(counted(&server, "write_timeout").await > before, "{window}");
    }
}

#[tokio::test]
async fn the_rest_door_cuts_off_a_stream_that_takes_nothing_too() {
    let server = server(8 * MIB, Duration::from_millis(400)).await;
    for window in [0, 1] {
        let mut raw = Raw::connect(server.rest_address(), window).await;
        raw.ask(1, "GET", "/openapi.json", None).await;
        raw.closed().await;
    }
}

#[tokio::test]
async fn a_connection_is_cut_when_it_is_twice_as_old_as_it_may_be() {
    let mut limits = ConnectionLimits::default();
    limits.age = Some(Duration::from_millis(300));
    limits.header_timeout = Duration::from_millis(200);
    let server = TestServer::start(lab::server().connections(limits)).await;
    let server = server.unwrap();
    let mut raw = Raw::connect(server.grpc_address(), 65_535).await;
    let watch = "/grpc.health.v1.Health/Watch";
    raw.ask(1, "POST", watch, Some(&[0; 5])).await;
    let begun = Instant::now();
    raw.closed().await;
    assert!(begun.elapsed() > Duration::from_millis(450));
}

/// Takes an answer of 24 MiB, the beginning of it a little at a time: slower than the system says
/// that there is room again.
async fn takes_slowly(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    stream.write_all(&identity_request(24 * MIB)).await.unwrap();
    let (mut little, mut taken) = (vec![0; 64 << 10], 0);
    while taken < 3 * MIB {
        let length = stream.read(&mut little).await.unwrap();
        assert!(length > 0, "cut off after {taken} bytes");
        taken += length;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    taken += rest.len();
    assert!(taken > 24 * MIB, "cut off after {taken} bytes");
}

#[tokio::test]
async fn a_client_that_reads_slowly_and_steadily_is_not_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("rest");
    let mut limits = ConnectionLimits::default();
    // Longer than a busy machine stands still; what the system holds takes longer to be read.
    limits.write_timeout = Duration::from_secs(2);
    let server = || lab::server().connections(limits.clone());
    let tcp = TestServer::start(server()).await.unwrap();
    let unix = server().rest_socket(&socket).grpc_socket(&socket);
    let unix = unix.bind().await.unwrap();
    let unix = tokio::spawn(unix.serve(std::future::pending()));
    let over_tcp = TcpStream::connect(tcp.rest_address()).await.unwrap();
    let over_unix = UnixStream::connect(&socket).await.unwrap();
    tokio::join!(takes_slowly(over_tcp), takes_slowly(over_unix));
    unix.abort();
}

/// Asks until there is room for it, and says whether it was refused before.
async fn asks_until_there_is_room(server: &TestServer, request: &[u8]) -> bool {
    let end = Instant::now() + Duration::from_secs(60);
    let mut refused = false;
    loop {
        let answer = http::parse(&http::raw(server.rest_address(), request).await);
        match answer.status {
            200 => return refused,
            429 => refused = true,
            _ => panic!("{}", answer.head),
        }
        assert!(Instant::now() < end, "there is no room for others");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_large_body_that_stops_before_its_end_gives_way_to_others_and_one_alone_does_not() {
    let server = server(20 * MIB, Duration::from_secs(60)).await;
    let memory = server.dataplane().memory().clone();
    let request = identity_request(16 * MIB);
    let mut slow = TcpStream::connect(server.rest_address()).await.unwrap();
    let (most, rest) = request.split_at(request.len() - 1000);
    slow.write_all(most).await.unwrap();
    until("it has come", async || memory.held() >= 15 * MIB).await;
    // A byte now and then. Nobody else is there for longer than it may be slow.
    for byte in &rest[..8] {
        tokio::time::sleep(Duration::from_secs(1)).await;
        slow.write_all(&[*byte]).await.unwrap();
    }
    assert!(memory.held() >= 15 * MIB, "it was in nobody's way");
    let mut answer = [0; 12];
    let trickles = async {
        let mut rest = rest[8..].iter();
        loop {
            tokio::select! {
                read = slow.read(&mut answer) => break read.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(300)) => {
                    // It may be closed already, before what it is told is read.
                    let _ = slow.write_all(&[*rest.next().unwrap()]).await;
                }
            }
        }
    };
    let request = identity_request(8 * MIB);
    let (read, refused) = tokio::join!(trickles, asks_until_there_is_room(&server, &request));
    assert!(refused, "there was room for both");
    assert_eq!(&answer[..read], b"HTTP/1.1 429");
}

#[tokio::test]
async fn a_large_answer_that_is_hardly_taken_gives_way_to_others() {
    // Nothing but being in the way of others ends it in time.
    let server = server(20 * MIB, Duration::from_secs(600)).await;
    let memory = server.dataplane().memory().clone();
    let mut slow = TcpStream::connect(server.rest_address()).await.unwrap();
    slow.write_all(&identity_request(18 * MIB)).await.unwrap();
    until("it is answered", async || memory.held() >= 18 * MIB).await;
    let taken = tokio::spawn(async move {
        let mut little = vec![0; 16 << 10];
        let mut taken = 0;
        while let Ok(length @ 1..) = slow.read(&mut little).await {
            taken += length;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        taken
    });
    assert!(asks_until_there_is_room(&server, &identity_request(8 * MIB)).await);
    taken.abort();
}

#[tokio::test]
async fn clients_that_rest_and_ignore_their_end_give_their_places_to_all_that_come() {
    let mut limits = ConnectionLimits::default();
    limits.connections = 6;
    let server = TestServer::start(lab::server().connections(limits)).await;
    let server = server.unwrap();
    let mut resting = Vec::new();
    for _ in 0..6 {
        let mut raw = Raw::connect(server.rest_address(), 65_535).await;
        raw.ask(1, "GET", "/v2", None).await;
        while raw.read().await.0 != HEADERS {}
        resting.push(raw);
    }
    // Who has rested for less is about to ask again.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let mut busy = Vec::new();
    for _ in 0..6 {
        let mut stream = TcpStream::connect(server.rest_address()).await.unwrap();
        let head = b"POST /v2/models/free/infer HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n";
        stream.write_all(head).await.unwrap();
        busy.push(stream);
    }
    for stream in &mut busy {
        stream.write_all(b"{}").await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        // There was a place for each: it is told what is wrong with its body.
        assert_eq!(&answer, b"HTTP/1.1 400");
    }
    for mut raw in resting {
        raw.closed().await;
    }
}
