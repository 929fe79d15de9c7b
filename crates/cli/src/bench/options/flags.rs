//! The flags of `oip bench`.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, ValueParser};
use clap::{Arg, ArgAction, Command, value_parser};

use super::super::arrivals::Spacing;
use super::super::work::{WORKS, Wire};
use super::super::{children, identity};
use super::parse;
use crate::credential;

const LONG_ABOUT: &str = "\
Measures how fast a server of the Open Inference Protocol is, as a part of what is possible.

Started plainly, it runs two other processes of this program: the floor, which is what the \
libraries below us cost when nobody looks at the bytes (bare axum sends the body back, bare tonic \
the tensors), and our server with a model that returns its inputs, every check switched on. Both \
have one half of the CPUs, the load has the other. Each kind of request is looked at once for the \
right numbers, warmed up, then measured over connections that always have one request under way.

With --url or --grpc-url it measures the server that runs there instead, ours or another's; given \
several times with names, several servers side by side, each in turn. https:// goes over TLS, whose \
work is then in every figure; the floor has none.

Lists (--connections, --elements, --rate) are measured value by value, in every combination, and \
--plot draws what came of them. With --rate requests are sent at moments laid down beforehand, \
whether or not the server keeps up, and timed from that moment on.";

const AFTER: &str = "\
What the columns say:
  requests/s          good answers per second
  p50 ms, p99 ms      half of the answers, 99 of 100, came within this time
  CPU us/req          CPU time of the server for one answer, in microseconds, all its threads
                      and the processes that it started
  part of the floor   by throughput: server's requests/s over the floor's
                      by CPU: the floor's CPU time over the server's; where the load generator
                      cannot keep the server busy, this is the one to trust

Examples:
  oip bench
  oip bench --only rest-json-16 --only grpc-16 --repeat 5
  oip bench --only rest-json-16 --connections 1,2,4,8,16,32,64,128,256 --plot plots
  oip bench --elements 16,256,4k,64k,1M --seconds 2 --plot plots
  oip bench --only grpc-16 --rate 1000,5000,10000,20000 --plot plots
  oip bench --url http://127.0.0.1:8000 --grpc-url 127.0.0.1:8001 --model iris
  oip bench --url https://models.example --ca-file ca.pem --api-key-file key --model iris
  oip bench --url ours=127.0.0.1:8082 --url theirs=127.0.0.1:8000 --input request.json
  oip bench --latency
  oip bench --overload --plot plots
  oip bench --overload --elements 150528
  oip bench --seconds 20 --csv figures.csv";

/// The heading of flags that measure something else.
const INSTEAD: &str = "Measure this instead";
/// Those flags, of which one may be given.
pub(super) const MODES: [&str; 6] = ["gates", "batching", "latency", "mixed", "overload", "onnx"];

fn named(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn several(arg: Arg) -> Arg {
    arg.action(ArgAction::Append)
}

fn file(name: &'static str, help: &'static str) -> Arg {
    named(name, "FILE", help).value_parser(value_parser!(PathBuf))
}

/// The command line.
pub(crate) fn command() -> Command {
    Command::new("bench")
        .about("Measure a server, ours or another's, against bare axum and tonic")
        .long_about(LONG_ABOUT)
        .after_help(AFTER)
        .args(load())
        .args(servers())
        .args(modes())
        .args([
            file("json", "Write everything as JSON"),
            file(
                "csv",
                "Write the medians as CSV (of requests, --gates and --onnx)",
            ),
            named("plot", "DIR", "Write plots as SVG into this folder")
                .value_parser(value_parser!(PathBuf)),
        ])
}

/// What is sent, and how much of it.
fn load() -> [Arg; 10] {
    let works = WORKS.map(|work| work.name());
    let wires = Wire::ALL.map(|wire| wire.name().to_owned());
    let works = PossibleValuesParser::new(works.into_iter().chain(wires));
    [
        several(named(
            "only",
            "WORK",
            "Measure only this kind of request; may be repeated",
        ))
        .value_parser(works),
        named(
            "connections",
            "N,...",
            "Connections, each with one request under way",
        )
        .default_value("32")
        .value_parser(ValueParser::new(parse::connections)),
        named(
            "elements",
            "N,...",
            "Elements of each input, in place of 16 and 150528 [16, 4k, 1M]; one number for --overload",
        )
        .value_parser(ValueParser::new(parse::elements)),
        named(
            "rate",
            "R,...",
            "Send so many requests a second, whatever the server does",
        )
        .long_help(
            "Send so many requests a second, whether or not the server keeps up (an open \
                 loop). Each is timed from the moment at which it was due, so that a server that \
                 stalls is charged for all that would have come meanwhile.",
        )
        .value_parser(ValueParser::new(parse::rates)),
        named("arrivals", "HOW", "How the requests of --rate lie apart")
            .default_value(Spacing::Poisson.name())
            .value_parser(PossibleValuesParser::new(Spacing::ALL.map(Spacing::name))),
        named("seconds", "S", "How long each measurement takes")
            .default_value("5")
            .value_parser(ValueParser::new(parse::seconds)),
        named(
            "warm-up",
            "S",
            "How long the same load runs before it; 0 for none",
        )
        .default_value("1")
        .value_parser(ValueParser::new(parse::seconds_or_none)),
        named(
            "repeat",
            "N",
            "Measure so often; show the median and the spread",
        )
        .default_value("1")
        .value_parser(value_parser!(u32).range(1..=1000)),
        named(
            "model",
            "NAME",
            "Which model runs there; inputs are made from its metadata",
        )
        .default_value(identity::NAME),
        file(
            "input",
            "Send this inference request; its binary forms are made of it",
        )
        .long_help(
            "Send the inputs of this inference request; its binary forms are made of it. It is \
                 JSON as RFC 8259 has it, without the NaN and Infinity that the servers' doors \
                 take as well.",
        )
        .conflicts_with("elements"),
    ]
}

/// Where it is sent.
fn servers() -> [Arg; 8] {
    let host = || ValueParser::new(parse::host);
    let [token, key] = credential::flags();
    [
        several(named(
            "url",
            "[NAME=]URL",
            "Measure the REST door here instead of a server of our own; may be repeated",
        ))
        .value_parser(host()),
        several(named(
            "grpc-url",
            "[NAME=]URL",
            "Measure the gRPC door here; the same NAME is the same server",
        ))
        .value_parser(host()),
        several(named(
            "pid",
            "[NAME=]PID",
            "Process of that server, to show its CPU time",
        ))
        .value_parser(ValueParser::new(parse::process)),
        Arg::new("own")
            .long("own")
            .help("Measure a server of our own beside those of --url")
            .action(ArgAction::SetTrue),
        token,
        key,
        file(
            "ca-file",
            "PEM file of the authorities to trust, in place of the system's",
        ),
        Arg::new("no-floor")
            .long("no-floor")
            .help("Measure no floor, so show no ratios")
            .action(ArgAction::SetTrue),
    ]
}

/// What is measured in place of throughput.
fn modes() -> [Arg; 8] {
    const ELSEWHERE: [&str; 8] = [
        "url",
        "grpc-url",
        "pid",
        "token-file",
        "api-key-file",
        "ca-file",
        "input",
        "no-floor",
    ];
    let sized = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .help(help)
            .help_heading(INSTEAD)
            .action(ArgAction::SetTrue)
            .conflicts_with_all(MODES.into_iter().filter(|other| *other != name))
            .conflicts_with("rate")
    };
    let mode = |name, help| sized(name, help).conflicts_with("elements");
    let ours = |name, help| mode(name, help).conflicts_with_all(ELSEWHERE);
    [
        ours(
            "gates",
            "What authentication, the audit and the access log cost",
        )
        .long_help(
            "What authentication, the audit and the access log cost: the same requests, each with \
             its token, to our server without them and with each of them.",
        ),
        ours(
            "batching",
            "What dynamic batching brings, at 64 connections by default",
        )
        .conflicts_with_all(["only", "csv", "plot"]),
        mode("latency", "Latency at half of the load that each can take")
            .long_help(
                "Latency at half of the load that each can take: the most that floor and server \
                 answer over --connections is measured first, then each is sent half of its own \
                 most in an open loop.",
            )
            .conflicts_with("csv"),
        ours(
            "mixed",
            "Latency of small requests while large ones run on the same server",
        )
        .conflicts_with_all(["only", "csv", "plot"]),
        sized(
            "overload",
            "What remains of the throughput at up to ten times the load",
        )
        .long_help(
            "What remains of the throughput at up to ten times the load: a model that takes \
                 --service-time (once sleeping, once computing, once sleeping in batches) behind a bounded queue is sent \
                 half to ten times of what it can do, in an open loop. Only answers within \
                 --within count. A request has 16 elements, or as many as --elements says.",
        )
        .conflicts_with_all(ELSEWHERE)
        .conflicts_with_all(["only", "csv"]),
        ours(
            "onnx",
            "A network of ResNet-18's size, against ONNX Runtime alone",
        )
        .long_help(
            "A network of ResNet-18's size with random weights, made on the spot and served \
                 by ONNX Runtime, against ONNX Runtime alone on the same CPUs with as many \
                 sessions and threads; at 8 connections by default. The library is looked for as \
                 `oip serve` does, or named by OIP_ONNXRUNTIME_LIBRARY.",
        )
        .conflicts_with("plot"),
        named(
            "service-time",
            "MS",
            "How long the model of --overload takes, in milliseconds",
        )
        .help_heading(INSTEAD)
        .default_value("5")
        .value_parser(ValueParser::new(parse::millis)),
        named(
            "within",
            "MS",
            "How soon an answer must come to count in --overload",
        )
        .help_heading(INSTEAD)
        .default_value("500")
        .value_parser(ValueParser::new(parse::millis)),
    ]
}

/// The hidden command line of the processes that are measured.
pub(crate) fn child_command() -> Command {
    let roles = PossibleValuesParser::new(children::Role::ALL.map(children::Role::name));
    Command::new(children::COMMAND)
        .hide(true)
        .about("What `oip bench` measures; it runs this by itself")
        .arg(Arg::new("role").required(true).value_parser(roles))
        .arg(Arg::new("folder").value_parser(value_parser!(PathBuf)))
}
