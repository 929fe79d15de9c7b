//! One run: start what is measured, check it, measure it.

use std::time::Duration;

use super::check::{self, Expect};
use super::children::{self, Role, Running};
use super::figures::Row;
use super::gates::Variant;
use super::load::{self, Load};
use super::options::Options;
use super::progress::Progress;
use super::report::{Entry, Report};
use super::sample::{Declared, Input};
use super::target::Target;
use super::work::{Wire, Work};
use super::{BenchError, affinity, identity, request};

/// Measures what was asked for.
pub(super) fn run(options: &Options) -> Result<Report, BenchError> {
    let cpus = Cpus::share();
    let fleet = Fleet::start(options, &cpus.server)?;
    let asking = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::Load)?;
    let mut declared = Vec::new();
    for server in fleet.servers.iter().rev() {
        // It answers when its model is loaded. Those that are not asked for yet load meanwhile.
        declared = asking.block_on(server.inputs(&options.model))?;
    }
    let mut bench = Bench {
        options,
        fleet: &fleet,
        declared,
        load: Load {
            connections: options.connections,
            warm_up: options.warm_up,
            measure: options.measure,
            cpus: cpus.load.clone(),
        },
        progress: Progress::new(total(options)),
        asking,
    };
    let works = options.works.iter();
    let entries: Result<_, _> = works.map(|work| bench.entry(*work)).collect();
    bench.progress.finish();
    Ok(Report {
        base: if options.gates { "without" } else { "floor" },
        conditions: conditions(options, &cpus),
        entries: entries?,
    })
}

/// Which CPUs are whose; empty where the system decides.
struct Cpus {
    server: Vec<usize>,
    load: Vec<usize>,
}

impl Cpus {
    fn share() -> Self {
        match affinity::halves(&affinity::allowed()) {
            Some((server, load)) => Self { server, load },
            None => {
                eprintln!("note: server and load share their CPUs, so ratios say less");
                Self {
                    server: Vec::new(),
                    load: Vec::new(),
                }
            }
        }
    }
}

fn total(options: &Options) -> Duration {
    let servers = match options.gates {
        true => 1 + Variant::ALL.len() as u32,
        false => 1 + u32::from(options.floor),
    };
    let measurements = servers * options.repeat * options.works.len() as u32;
    (options.warm_up + options.measure) * measurements
}

fn conditions(options: &Options, cpus: &Cpus) -> Vec<(&'static str, String)> {
    vec![
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("model", options.model.clone()),
        ("connections", options.connections.to_string()),
        ("warm_up_seconds", options.warm_up.as_secs_f64().to_string()),
        ("seconds", options.measure.as_secs_f64().to_string()),
        ("repeat", options.repeat.to_string()),
        ("server_cpus", format!("{:?}", cpus.server)),
        ("load_cpus", format!("{:?}", cpus.load)),
    ]
}

/// The servers of a run. Those that we started end with it.
struct Fleet {
    /// What is measured; never empty.
    servers: Vec<Target>,
    /// What it is held against. For REST and for gRPC, where it is wanted.
    floors: [Option<Target>; 2],
    _running: Vec<Running>,
}

impl Fleet {
    fn start(options: &Options, cpus: &[usize]) -> Result<Self, BenchError> {
        let mut running = Vec::new();
        let mut start = |role| -> Result<Target, BenchError> {
            let child = children::start(role, cpus)?;
            let target = child.target.clone();
            running.push(child);
            Ok(target)
        };
        if options.gates {
            let without = start(Role::Server)?;
            let variants = Variant::ALL.into_iter();
            let servers: Result<_, _> = variants.map(|kind| start(Role::Gates(kind))).collect();
            return Ok(Self {
                servers: servers?,
                floors: [Some(without.clone()), Some(without)],
                _running: running,
            });
        }
        let server = match &options.target {
            Some(target) => target.clone(),
            None => start(Role::Server)?,
        };
        let server = match options.token()? {
            Some(token) => server.with_token(&token),
            None => server,
        };
        for work in &options.works {
            if server.host(work.is_grpc()).is_none() {
                let flag = if work.is_grpc() {
                    "--grpc-url"
                } else {
                    "--url"
                };
                let work = work.name;
                return Err(BenchError::NoDoor { work, flag });
            }
        }
        let mut floors = [None, None];
        let roles = [(false, Role::FloorRest), (true, Role::FloorGrpc)];
        for (floor, (grpc, role)) in floors.iter_mut().zip(roles) {
            if options.floor && options.works.iter().any(|work| work.is_grpc() == grpc) {
                *floor = Some(start(role)?);
            }
        }
        Ok(Self {
            servers: vec![server],
            floors,
            _running: running,
        })
    }

    fn floor(&self, work: Work) -> Option<&Target> {
        self.floors[usize::from(work.is_grpc())].as_ref()
    }
}

/// A run under way.
struct Bench<'a> {
    options: &'a Options,
    fleet: &'a Fleet,
    declared: Vec<Declared>,
    load: Load,
    progress: Progress,
    asking: tokio::runtime::Runtime,
}

impl Bench<'_> {
    fn entry(&mut self, work: Work) -> Result<Entry, BenchError> {
        let inputs = self.declared.iter();
        let inputs: Vec<Input> = inputs.map(|input| input.fill(work.elements)).collect();
        let fleet = self.fleet;
        let floor = fleet.floor(work);
        let targets: Vec<&Target> = floor.into_iter().chain(&fleet.servers).collect();
        let mut rows = vec![Row::default(); targets.len()];
        for target in &targets {
            self.check(work, target, &inputs)?;
        }
        // Floor and server in turn, so that a machine that grows slower slows both.
        for _ in 0..self.options.repeat {
            for (row, target) in rows.iter_mut().zip(&targets) {
                self.measure(work, target, &inputs, row)?;
            }
        }
        let mut rows = rows.into_iter();
        let floor = floor.and_then(|_| rows.next());
        let names = fleet.servers.iter().map(|server| server.name.clone());
        let elements = inputs
            .iter()
            .map(|input| input.shape.iter().product::<u64>());
        Ok(Entry {
            work,
            elements: elements.sum(),
            floor,
            servers: names.zip(rows).collect(),
        })
    }

    fn check(&self, work: Work, target: &Target, inputs: &[Input]) -> Result<(), BenchError> {
        let ours = self.options.target.is_none() || self.options.model == identity::NAME;
        let floor = !self.options.gates && !std::ptr::eq(target, &self.fleet.servers[0]);
        let expect = match (floor, work.wire) {
            (true, Wire::Grpc) => Expect::SameNumbers,
            (true, _) => Expect::SameBytes,
            (false, _) if ours => Expect::SameNumbers,
            (false, _) => Expect::Outputs,
        };
        let Some(host) = target.host(work.is_grpc()) else {
            return Ok(());
        };
        self.progress
            .say(format!("{}: is {} right?", work.name, target.name));
        let first = check::first_answer(work.wire, host, &self.options.model, inputs, expect);
        let first = self.asking.block_on(first);
        first.map_err(|source| BenchError::Check {
            work: work.name,
            server: target.name.clone(),
            source: Box::new(source),
        })
    }

    fn measure(
        &mut self,
        work: Work,
        target: &Target,
        inputs: &[Input],
        row: &mut Row,
    ) -> Result<(), BenchError> {
        let Some(host) = target.host(work.is_grpc()) else {
            return Ok(());
        };
        let ask = request::build(work.wire, host, &self.options.model, inputs);
        let what = format!("{} at {}", work.name, target.name);
        let beat = |elapsed, answers| self.progress.beat(&what, elapsed, answers);
        let measured = load::run(&self.load, host.address, &ask, target.process, beat);
        row.add(&measured.map_err(BenchError::Load)?);
        self.progress.next(self.load.warm_up + self.load.measure);
        Ok(())
    }
}
