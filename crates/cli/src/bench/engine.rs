//! `oip bench --onnx`: a network of ResNet-18's size on our server, against ONNX Runtime alone
//! with as many sessions and threads on the same CPUs.

use std::io;
use std::path::{Path, PathBuf};

use super::bare::Bare;
use super::check::{self, Expect};
use super::figures::Row;
use super::load::{self, Bounds, Load};
use super::options::Options;
use super::ours::OwnServer;
use super::progress::Progress;
use super::report::{Entry, Report};
use super::run::{Cpus, conditions};
use super::work::{LARGE, Wire, Work};
use super::{BenchError, onnx, request};

const NETWORK: &str = "resnet-18";

/// Measures the network by each way to travel, ONNX Runtime alone before each.
pub(super) fn run(options: &Options) -> Result<Report, BenchError> {
    let cpus = Cpus::share();
    let mut progress = Progress::new((options.warm_up + options.measure) * (6 * options.repeat));
    progress.say(format!("{NETWORK} is made and loaded"));
    let folder = Folder::make().map_err(BenchError::Load)?;
    let server = OwnServer::start(&folder.0, None, &cpus.server)?;
    let asking = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::Load)?;
    let declared = asking.block_on(server.target.inputs(NETWORK))?;
    let config = asking.block_on(server.ask(NETWORK, "/config"))?;
    if config["backend"] != "onnxruntime" {
        return Err(BenchError::Usage {
            why: "--onnx: ONNX Runtime is not found; name it by OIP_ONNXRUNTIME_LIBRARY".to_owned(),
        });
    }
    let mut bare = Bare::start(&folder.0.join(NETWORK), &cpus.server)?;
    let inputs: Vec<_> = declared.iter().map(|input| input.fill(LARGE)).collect();
    let load = closed_loop(options, &cpus);
    let mut entries = Vec::new();
    for work in works(options) {
        let Some(host) = server.target.host(work.is_grpc()) else {
            continue;
        };
        let first = check::first_answer(work.wire, host, NETWORK, &inputs, Expect::Outputs);
        asking.block_on(first)?;
        let ask = request::build(work.wire, host, NETWORK, &inputs);
        let mut rows = [Row::default(), Row::default()];
        for _ in 0..options.repeat {
            progress.say("ONNX Runtime alone".to_owned());
            bare.run(load.warm_up)?;
            rows[0].figures.push(bare.run(load.measure)?);
            progress.next(load.takes());
            let what = work.name();
            let beat = |elapsed, answers| progress.beat(&what, elapsed, answers);
            let measured = load::run(&load, &host.way, &ask, server.target.process, beat);
            rows[1].add(&measured.map_err(BenchError::Load)?);
            progress.next(load.takes());
        }
        let [alone, ours] = rows;
        entries.push(Entry {
            work,
            connections: load.connections,
            rate: None,
            elements: LARGE as u64,
            floor: Some(alone),
            servers: vec![("oip".to_owned(), ours)],
        });
    }
    progress.finish();
    Ok(Report {
        base: "onnxruntime",
        conditions: conditions(options, &cpus, &[NETWORK]),
        entries,
        unmeasured: Vec::new(),
    })
}

fn closed_loop(options: &Options, cpus: &Cpus) -> Load {
    Load {
        connections: options.one_connections(),
        rate: None,
        bounds: Bounds::default(),
        warm_up: options.warm_up,
        measure: options.measure,
        cpus: cpus.load.clone(),
    }
}

/// An image by each way to travel that was asked for.
fn works(options: &Options) -> impl Iterator<Item = Work> {
    let asked = |wire: &Wire| options.works.iter().any(|work| work.wire == *wire);
    let wires = [Wire::Binary, Wire::Grpc, Wire::Json].into_iter();
    wires.filter(asked).map(|wire| Work::new(wire, LARGE))
}

/// The network's file, in a folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn make() -> io::Result<Self> {
        let name = format!("oip-bench-onnx-{}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        write(&folder.0.join(NETWORK))?;
        Ok(folder)
    }
}

fn write(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("model.onnx"), onnx::resnet_18())
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
