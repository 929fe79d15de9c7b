//! One run: start what is measured, check it, measure it.

use std::time::Duration;

use super::check::{self, Expect};
use super::children::{self, Role, Running};
use super::figures::Row;
use super::gates::{self, Variant};
use super::load::{self, Ask, Bounds, Load, Measured};
use super::options::{Mode, Options};
use super::progress::Progress;
use super::report::{Condition, Entry, Report};
use super::sample::{Declared, Input};
use super::target::Target;
use super::work::{Wire, Work};
use super::{BenchError, affinity, identity, input, request};

/// Measures what was asked for.
pub(super) fn run(options: &Options) -> Result<Report, BenchError> {
    let mut lab = Lab::open(options)?;
    let works = lab.works();
    lab.progress = Progress::new(total(options, works.len()));
    let mut entries = Vec::new();
    for work in works {
        lab.work(work, &mut entries)?;
    }
    lab.progress.finish();
    Ok(Report {
        base: if options.mode == Mode::Gates {
            "without"
        } else {
            "floor"
        },
        conditions: conditions(options, &lab.cpus, &[&options.model]),
        entries,
        unmeasured: lab.unmeasured,
    })
}

/// Which CPUs are whose; empty where the system decides.
pub(super) struct Cpus {
    pub(super) server: Vec<usize>,
    pub(super) load: Vec<usize>,
}

impl Cpus {
    pub(super) fn share() -> Self {
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

fn total(options: &Options, works: usize) -> Duration {
    let servers = match options.mode {
        Mode::Gates => 1 + Variant::ALL.len(),
        _ => options.servers() + usize::from(options.floor),
    };
    let points = works * options.connections.len() * options.rates.len().max(1);
    let measurements = u32::try_from(servers * points).unwrap_or(u32::MAX);
    let measurements = measurements.saturating_mul(options.repeat);
    (options.warm_up + options.measure).saturating_mul(measurements)
}

/// What somebody needs to repeat it: of these models, with names as the servers have them.
pub(super) fn conditions(options: &Options, cpus: &Cpus, models: &[&str]) -> Vec<Condition> {
    let connections = options.connections.iter().map(usize::to_string);
    vec![
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("model", models.join(",")),
        ("connections", connections.collect::<Vec<_>>().join(",")),
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
        if options.mode == Mode::Gates {
            let without = start(Role::Server)?.showing(&gates::credential());
            let variants = Variant::ALL.into_iter();
            let servers: Result<_, _> = variants.map(|kind| start(Role::Gates(kind))).collect();
            return Ok(Self {
                servers: servers?,
                floors: [Some(without.clone()), Some(without)],
                _running: running,
            });
        }
        for target in &options.targets {
            has_clock(target)?;
        }
        let mut servers = Vec::new();
        if options.own {
            servers.push(start(Role::Server)?);
        }
        servers.extend(options.targets.iter().cloned().map(Target::reached));
        if let Some(credential) = &options.credential {
            servers = servers
                .into_iter()
                .map(|server| server.showing(credential))
                .collect();
        }
        for work in &options.works {
            if servers
                .iter()
                .all(|server| server.host(work.is_grpc()).is_none())
            {
                let flag = if work.is_grpc() {
                    "--grpc-url"
                } else {
                    "--url"
                };
                let work = work.name();
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
            servers,
            floors,
            _running: running,
        })
    }
}

/// Refuses a process of `--pid` whose CPU time cannot be read: the column would be empty.
fn has_clock(target: &Target) -> Result<(), BenchError> {
    match target.process {
        Some(process) if affinity::cpu_time(process).is_none() => Err(BenchError::Usage {
            why: format!("--pid: the CPU time of process {process} cannot be read: is it there?"),
        }),
        _ => Ok(()),
    }
}

/// What the inputs of a server are made of.
enum Material {
    File(Vec<Input>),
    Declared(Vec<Declared>),
}

impl Material {
    fn inputs(&self, work: Work) -> Vec<Input> {
        match (self, work.elements) {
            (Self::File(inputs), _) => inputs.clone(),
            (Self::Declared(declared), elements) => {
                let elements = elements.unwrap_or(1);
                declared.iter().map(|input| input.fill(elements)).collect()
            }
        }
    }
}

/// Servers, and what it takes to measure them.
pub(super) struct Lab<'a> {
    options: &'a Options,
    fleet: Fleet,
    /// For each of the fleet's servers.
    material: Vec<Material>,
    pub(super) cpus: Cpus,
    pub(super) progress: Progress,
    /// Of each server that could not be asked though its door is known: what, and why.
    pub(super) unmeasured: Vec<String>,
    asking: tokio::runtime::Runtime,
}

/// A server of the fleet at one kind of request.
pub(super) struct Stand {
    pub(super) name: String,
    pub(super) target: Target,
    /// What it is asked; or why it cannot be.
    pub(super) ask: Result<Ask, String>,
    pub(super) is_floor: bool,
    elements: u64,
}

impl<'a> Lab<'a> {
    /// Starts what is to be started, and asks the servers for their models.
    pub(super) fn open(options: &'a Options) -> Result<Self, BenchError> {
        let cpus = Cpus::share();
        let fleet = Fleet::start(options, &cpus.server)?;
        let asking = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(BenchError::Load)?;
        let mut lab = Self {
            options,
            fleet,
            material: Vec::new(),
            cpus,
            progress: Progress::new(Duration::ZERO),
            unmeasured: Vec::new(),
            asking,
        };
        lab.material = lab.material()?;
        Ok(lab)
    }

    /// What is in the file; else what each server's metadata declare. Beside others a server
    /// whose metadata say nothing gets what the first of them declares.
    fn material(&self) -> Result<Vec<Material>, BenchError> {
        let servers = &self.fleet.servers;
        // A server answers when its model is loaded; those that are not asked yet load meanwhile.
        let ask = |server: &Target| self.asking.block_on(server.inputs(&self.options.model));
        if let Some(file) = &self.options.input {
            let inputs = input::read(file)?;
            // What the model declares is of no interest here, only that it is there.
            let asked = servers.iter().map(|server| drop(ask(server)));
            return Ok(asked.map(|()| Material::File(inputs.clone())).collect());
        }
        let answers: Vec<_> = servers.iter().map(ask).collect();
        let known = answers
            .iter()
            .find_map(|answer| answer.as_ref().ok())
            .cloned();
        let of = |answer: Result<Vec<Declared>, BenchError>| match (answer, &known) {
            (Ok(declared), _) => Ok(Material::Declared(declared)),
            (Err(_), Some(known)) => Ok(Material::Declared(known.clone())),
            (Err(error), None) => Err(error),
        };
        answers.into_iter().map(of).collect()
    }

    /// The kinds of request that were asked for as the first server's model takes them: named by
    /// what is sent, and one of those that come to the same.
    pub(super) fn works(&self) -> Vec<Work> {
        let mut works: Vec<Work> = Vec::new();
        for asked in &self.options.works {
            let work = match (self.material.first(), asked.elements) {
                (Some(Material::Declared(declared)), Some(elements)) => {
                    let counts = declared.iter().map(|input| input.count(elements));
                    asked.sending(&counts.collect::<Vec<_>>())
                }
                _ => *asked,
            };
            let (asked, name) = (asked.name(), work.name());
            if works.iter().any(|known| known.name() == name) {
                eprintln!("note: {asked} is {name} with this model, and is measured once");
            } else {
                works.push(work);
            }
        }
        works
    }

    /// Floor and servers at a kind of request, each with its first answer looked at.
    pub(super) fn stands(&mut self, work: Work) -> Result<Vec<Stand>, BenchError> {
        let floor = self.fleet.floors[usize::from(work.is_grpc())].iter();
        let floor = floor.map(|floor| (floor, self.material.first(), true));
        let servers = self.fleet.servers.iter().zip(&self.material);
        let servers = servers.map(|(server, material)| (server, Some(material), false));
        let (mut stands, mut unmeasured) = (Vec::new(), Vec::new());
        for (target, material, is_floor) in floor.chain(servers) {
            let inputs = material
                .map(|material| material.inputs(work))
                .unwrap_or_default();
            let ask = match self.first(work, target, &inputs, is_floor) {
                Ok(ask) => Ok(ask),
                // Of several, one that does not take such requests is no reason to stop.
                Err(error) if self.fleet.servers.len() > 1 && !is_floor && !self.is_gates() => {
                    // A door that was not named is none that failed.
                    if target.host(work.is_grpc()).is_some() {
                        unmeasured.push(format!("{} at {}: {error}", work.name(), target.name));
                    }
                    Err(error.to_string())
                }
                Err(error) => {
                    return Err(BenchError::Check {
                        work: work.name(),
                        server: target.name.clone(),
                        source: Box::new(error),
                    });
                }
            };
            let counts = inputs
                .iter()
                .map(|input| input.shape.iter().product::<u64>());
            stands.push(Stand {
                name: target.name.clone(),
                target: target.clone(),
                ask,
                is_floor,
                elements: counts.sum(),
            });
        }
        self.unmeasured.extend(unmeasured);
        Ok(stands)
    }

    fn is_gates(&self) -> bool {
        self.options.mode == Mode::Gates
    }

    /// Looks at the first answer; what is to be sent from then on.
    fn first(
        &self,
        work: Work,
        target: &Target,
        inputs: &[Input],
        is_floor: bool,
    ) -> Result<Ask, BenchError> {
        let ours = self.options.targets.is_empty() || self.options.model == identity::NAME;
        let expect = match (is_floor && !self.is_gates(), work.wire) {
            (true, Wire::Grpc) => Expect::SameNumbers,
            (true, _) => Expect::SameBytes,
            (false, _) if ours => Expect::SameNumbers,
            (false, _) => Expect::Outputs,
        };
        let Some(host) = target.host(work.is_grpc()) else {
            return Err(BenchError::Usage {
                why: "it has no such door".to_owned(),
            });
        };
        let (work_name, name) = (work.name(), &target.name);
        self.progress.say(format!("{work_name}: is {name} right?"));
        let model = &self.options.model;
        let first = check::first_answer(work.wire, host, model, inputs, expect);
        self.asking.block_on(first)?;
        Ok(request::build(work.wire, host, model, inputs))
    }

    /// Measures one kind of request, with every number of connections and every rate.
    fn work(&mut self, work: Work, entries: &mut Vec<Entry>) -> Result<(), BenchError> {
        let stands = self.stands(work)?;
        let options = self.options;
        let rates: Vec<_> = match options.rates.is_empty() {
            true => vec![None],
            false => options.rates.iter().copied().map(Some).collect(),
        };
        for connections in options.connections.iter().copied() {
            for rate in rates.iter().copied() {
                let load = Load {
                    rate,
                    ..self.load(connections)
                };
                let mut rows = vec![Row::default(); stands.len()];
                // Floor and servers in turn, so that a machine that grows slower slows all.
                for _ in 0..options.repeat {
                    for (row, stand) in rows.iter_mut().zip(&stands) {
                        self.repeat(work, &load, stand, row)?;
                    }
                }
                let rows = stands.iter().zip(rows);
                let (floors, servers): (Vec<_>, Vec<_>) = rows.partition(|(s, _)| s.is_floor);
                entries.push(Entry {
                    work,
                    connections,
                    rate: rate.map(|rate| rate.per_second),
                    elements: stands.last().map_or(0, |stand| stand.elements),
                    floor: floors.into_iter().next().map(|(_, row)| row),
                    servers: servers
                        .into_iter()
                        .map(|(s, row)| (s.name.clone(), row))
                        .collect(),
                });
            }
        }
        Ok(())
    }

    /// A closed loop over so many connections.
    pub(super) fn load(&self, connections: usize) -> Load {
        Load {
            connections,
            rate: None,
            bounds: Bounds::default(),
            warm_up: self.options.warm_up,
            measure: self.options.measure,
            cpus: self.cpus.load.clone(),
        }
    }

    fn repeat(
        &mut self,
        work: Work,
        load: &Load,
        stand: &Stand,
        row: &mut Row,
    ) -> Result<(), BenchError> {
        match &stand.ask {
            Ok(_) => row.add(&self.measure(work, load, stand)?),
            Err(why) => row.lacking = Some(why.clone()),
        }
        Ok(())
    }

    /// Puts a server under load once.
    pub(super) fn measure(
        &mut self,
        work: Work,
        load: &Load,
        stand: &Stand,
    ) -> Result<Measured, BenchError> {
        let what = format!("{} at {}", work.name(), stand.name);
        let (Some(host), Ok(ask)) = (stand.target.host(work.is_grpc()), &stand.ask) else {
            return Err(BenchError::Wrong {
                why: format!("{what} cannot be asked"),
            });
        };
        let beat = |elapsed, answers| self.progress.beat(&what, elapsed, answers);
        let measured = load::run(load, &host.way, ask, stand.target.process, beat);
        let measured = measured.map_err(BenchError::Load)?;
        self.progress.next(load.takes());
        Ok(measured)
    }
}
