//! `oip bench --overload`: what remains of a server's throughput at up to ten times the load.
//!
//! The model takes a time that is known; the server makes one run at a time and has a bounded
//! queue.
//! What it can do is measured in a closed loop. Then requests come in an open loop, each with a
//! deadline, and only answers within it count.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oip::runtime::engine::{Programs, Share};
use oip::runtime::{Engine, Laps, LoadError, Model, ModelFile, Repository, RepositoryOptions};
use oip::{Datatype, Result, Server, Tensor, TensorMetadata};
use serde_json::{Value, json};

use super::arrivals::{Rate, Spacing};
use super::children::{self, Role};
use super::figures::Row;
use super::load::{self, Ask, Bounds, Load, Measured};
use super::options::Options;
use super::plot::{Chart, Line, Plot, PlotError, Scale};
use super::progress::Progress;
use super::report::middle;
use super::request;
use super::run::Cpus;
use super::sample::Input;
use super::target::Host;
use super::work::Wire;
use super::{BenchError, affinity};

/// The load, as multiples of what the server can do.
const TIMES: [f64; 7] = [0.5, 0.8, 1.0, 1.5, 2.0, 5.0, 10.0];
/// What the file of such a model is called; it holds the microseconds of a run.
const FILE: &str = "model.takes";
/// Connections of the closed loop: enough that the server never waits for the load, nor for a
/// batch to fill.
const CLOSED: usize = 40;

/// The models: one sleeps, one computes, one sleeps and takes requests in batches.
const MODELS: [&str; 3] = ["sleeps", "computes", "gathers"];
/// How many rows a batch has at most; a request has one, whatever its elements.
const BATCH: u32 = 4;

/// One model under growing load.
pub(super) struct Overload {
    model: &'static str,
    /// Of a request.
    elements: usize,
    /// What the server can do, in answers a second.
    most: f64,
    /// At each of the multiples.
    rows: Vec<Row>,
    failures: u64,
}

/// Measures every model.
pub(super) fn run(options: &Options) -> Result<Vec<Overload>, BenchError> {
    let cpus = Cpus::share();
    let takes = options.service_time.as_micros().to_string();
    let server = children::start_with(Role::Overload, &cpus.server, |folder| {
        for model in MODELS {
            std::fs::create_dir_all(folder.join(model))?;
            std::fs::write(folder.join(model).join(FILE), &takes)?;
            if model == "gathers" {
                let settings = format!("[batching]\nmax_batch_size = {BATCH}");
                std::fs::write(folder.join(model).join("model.toml"), settings)?;
            }
        }
        Ok(())
    })?;
    let Some(host) = server.target.rest.clone() else {
        return Ok(Vec::new());
    };
    let asking = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::Load)?;
    let load = Load {
        connections: CLOSED,
        rate: None,
        bounds: Bounds::default(),
        warm_up: options.warm_up,
        measure: options.measure,
        cpus: cpus.load,
    };
    let measurements = (MODELS.len() * (1 + TIMES.len())) as u32 * options.repeat;
    let progress = Progress::new(load.takes() * measurements);
    let mut trial = Trial {
        options,
        load,
        host,
        process: server.target.process,
        progress,
    };
    let mut overloads = Vec::new();
    let elements = options.one_elements();
    for model in MODELS {
        // It answers when its model is loaded.
        let declared = asking.block_on(server.target.inputs(model))?;
        let inputs: Vec<_> = declared.iter().map(|input| input.fill(elements)).collect();
        overloads.push(trial.of(model, &inputs)?);
    }
    trial.progress.finish();
    Ok(overloads)
}

/// A server under growing load.
struct Trial<'a> {
    options: &'a Options,
    /// The closed loop.
    load: Load,
    host: Host,
    process: Option<u32>,
    progress: Progress,
}

impl Trial<'_> {
    fn of(&mut self, model: &'static str, inputs: &[Input]) -> Result<Overload, BenchError> {
        let ask = request::build(Wire::Json, &self.host, model, inputs);
        let hurried = request::with_timeout(&ask, self.options.within);
        let (mut closed, mut rows) = (Row::default(), vec![Row::default(); TIMES.len()]);
        for _ in 0..self.options.repeat {
            let load = self.load.clone();
            let most = self.measure(model, &load, &ask)?;
            closed.add(&most);
            let most = most.answers as f64 / most.elapsed.as_secs_f64();
            for (times, row) in TIMES.iter().zip(&mut rows) {
                let load = self.open((most * times).max(1.0));
                row.add(&self.measure(&format!("{model}, {times} times"), &load, &hurried)?);
            }
        }
        let failures = closed.failures + rows.iter().map(|row| row.failures).sum::<u64>();
        Ok(Overload {
            model,
            elements: self.options.one_elements(),
            most: closed.median(|figures| figures.rate).unwrap_or(0.0),
            rows,
            failures,
        })
    }

    /// An open loop in which only answers in time count.
    fn open(&self, per_second: f64) -> Load {
        let spacing = Spacing::Poisson;
        Load {
            connections: self.options.one_connections(),
            rate: Some(Rate {
                per_second,
                spacing,
            }),
            bounds: Bounds {
                within: Some(self.options.within),
                refusals: true,
            },
            ..self.load.clone()
        }
    }

    fn measure(&mut self, what: &str, load: &Load, ask: &Ask) -> Result<Measured, BenchError> {
        let beat = |elapsed, answers| self.progress.beat(what, elapsed, answers);
        let measured = load::run(load, self.host.address, ask, self.process, beat);
        self.progress.next(load.takes());
        measured.map_err(BenchError::Load)
    }
}

impl Overload {
    /// The goodput at each multiple, as a part of the most.
    fn goodput(&self) -> impl Iterator<Item = (f64, f64)> {
        let of = |(times, row): (&f64, &Row)| {
            let rate = row.median(|figures| figures.rate).unwrap_or(0.0);
            (*times, rate / self.most.max(f64::MIN_POSITIVE))
        };
        TIMES.iter().zip(&self.rows).map(of)
    }
}

/// How many requests failed.
pub(super) fn failures(overloads: &[Overload]) -> u64 {
    overloads.iter().map(|overload| overload.failures).sum()
}

/// The table for people.
pub(super) fn table(overloads: &[Overload]) -> String {
    let mut table = String::new();
    for overload in overloads {
        let _ = writeln!(
            table,
            "the model {}, {} elements a request; at most {:.0} answers a second\n{:>6} {:>10} {:>10} {:>8} {:>10} {:>10} {:>9} {:>9}",
            overload.model,
            overload.elements,
            overload.most,
            "load",
            "sent/s",
            "good/s",
            "part",
            "refused/s",
            "late/s",
            "p50 ms",
            "p99 ms"
        );
        for ((times, part), row) in overload.goodput().zip(&overload.rows) {
            let figure = |figure: fn(&super::figures::Figures) -> f64| {
                middle(row.spread(|figures| Some(figure(figures))))
            };
            let _ = writeln!(
                table,
                "{times:>5}x {:>10.0} {:>10} {part:>8.3} {:>10} {:>10} {:>9} {:>9}",
                overload.most * times,
                figure(|f| f.rate),
                figure(|f| f.refused),
                figure(|f| f.late + f.unsent),
                figure(|f| f.p50),
                figure(|f| f.p99),
            );
            if let Some(why) = &row.first_failure {
                let _ = writeln!(table, "  {} failed, the first: {why}", row.failures);
            }
        }
    }
    table
}

/// Everything, as JSON.
pub(super) fn as_json(overloads: &[Overload]) -> Value {
    let of = |overload: &Overload| {
        let rows = overload
            .goodput()
            .zip(&overload.rows)
            .map(|((times, part), row)| {
                json!({
                    "times": times,
                    "good_per_second": row.median(|f| f.rate),
                    "part": part,
                    "refused_per_second": row.median(|f| f.refused),
                    "late_per_second": row.median(|f| f.late),
                    "p50_ms": row.median(|f| f.p50),
                    "p99_ms": row.median(|f| f.p99),
                })
            });
        json!({
            "model": overload.model,
            "elements": overload.elements,
            "most_per_second": overload.most,
            "rows": rows.collect::<Vec<_>>(),
        })
    };
    Value::from(overloads.iter().map(of).collect::<Vec<_>>())
}

/// The goodput over the load.
pub(super) fn plots(overloads: &[Overload]) -> std::result::Result<Vec<Plot>, PlotError> {
    let line = |overload: &Overload| Line {
        name: format!("the model {}", overload.model),
        points: overload.goodput().collect(),
    };
    let chart = Chart {
        title: "Goodput under overload".to_owned(),
        x: (
            "load, as a multiple of the most that is answered",
            Scale::Logarithmic,
        ),
        y: ("answers in time, as a part of the most", Scale::Linear),
        lines: overloads.iter().map(line).collect(),
    };
    Ok(vec![Plot {
        file: "goodput-by-load.svg".to_owned(),
        svg: chart.svg()?,
    }])
}

/// Our server with models that take a known time, one run at a time.
pub(super) fn server(folder: &Path) -> std::io::Result<Server> {
    let mut options = RepositoryOptions::new(folder);
    options.concurrency = Some(1);
    options.programs = vec![Programs {
        file: FILE,
        engine: Arc::new(Taking),
    }];
    let repository = Repository::open(options).map_err(std::io::Error::other)?;
    let free = (std::net::Ipv4Addr::LOCALHOST, 0);
    let server = Server::of_models(repository);
    Ok(server.without_authentication().rest(free).grpc(free))
}

/// Loads models that take the time that their file says.
struct Taking;

impl Engine for Taking {
    fn name(&self) -> &'static str {
        "taking"
    }

    fn load(&self, file: &ModelFile, _: Share) -> std::result::Result<Arc<dyn Model>, LoadError> {
        let micros = std::str::from_utf8(&file.bytes).ok();
        let micros = micros.and_then(|text| text.trim().parse().ok());
        let micros =
            micros.ok_or_else(|| LoadError::Invalid("no number of microseconds".to_owned()))?;
        let lies_in = |folder: &str| file.path.iter().any(|part| part == folder);
        let shape: Vec<i64> = match lies_in("gathers") {
            true => vec![-1, -1],
            false => vec![-1],
        };
        let tensor = |name: &str| vec![TensorMetadata::new(name, Datatype::Fp32, shape.clone())];
        Ok(Arc::new(Takes {
            time: Duration::from_micros(micros),
            computes: lies_in("computes"),
            gathers: lies_in("gathers"),
            inputs: tensor("x"),
            outputs: tensor("y"),
        }))
    }
}

struct Takes {
    time: Duration,
    computes: bool,
    /// A full batch takes three times as long as a request alone, about.
    gathers: bool,
    inputs: Vec<TensorMetadata>,
    outputs: Vec<TensorMetadata>,
}

impl Model for Takes {
    fn inputs(&self) -> &[TensorMetadata] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorMetadata] {
        &self.outputs
    }

    fn run(&self, inputs: &[Tensor], _: &mut Laps) -> Result<Vec<Tensor>> {
        let rows = |input: &Tensor| input.shape().dims().first().copied().unwrap_or(0);
        match self.computes {
            false if self.gathers => {
                let rows = inputs.first().map_or(0, rows);
                std::thread::sleep(self.time + self.time * rows as u32 / (BATCH / 2));
            }
            false => std::thread::sleep(self.time),
            // Of its own: what others use of the CPU meanwhile does not count.
            true => {
                let began = Instant::now();
                let used = || affinity::thread_time().unwrap_or_else(|| began.elapsed());
                let until = used() + self.time;
                while used() < until {
                    std::hint::spin_loop();
                }
            }
        }
        Ok(inputs
            .iter()
            .map(|input| input.clone().with_name("y"))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::row;
    use super::*;

    #[test]
    fn the_goodput_is_shown_as_a_part_of_the_most() {
        let rows = TIMES.map(|times| row(&[(200.0 * f64::min(times, 0.95), None)]));
        let overload = Overload {
            model: "sleeps",
            elements: 16,
            most: 200.0,
            rows: rows.into(),
            failures: 0,
        };
        let overloads = [overload];
        let table = table(&overloads);
        let last = table.lines().last().unwrap().trim_start();
        assert!(
            last.starts_with("10x") && last.contains(" 0.950 "),
            "{table}"
        );
        assert_eq!(as_json(&overloads)[0]["rows"][0]["part"], 0.5);
        let svg = &plots(&overloads).unwrap()[0].svg;
        assert_eq!(svg.matches("<circle").count(), TIMES.len());
    }

    #[test]
    fn a_model_takes_the_time_of_its_file() {
        let file = |path: &str, bytes: &str| ModelFile {
            path: path.into(),
            bytes: bytes.into(),
        };
        let share = Share {
            threads: 1,
            concurrency: 1,
            sessions: None,
        };
        for path in ["sleeps/model.takes", "computes/model.takes"] {
            let model = Taking.load(&file(path, "3000\n"), share).unwrap();
            let input = Tensor::from_vec("x", [1], vec![1.0_f32]).unwrap();
            let began = Instant::now();
            let outputs = model.run(&[input], &mut Laps::begin()).unwrap();
            assert!(began.elapsed() >= Duration::from_millis(3));
            assert_eq!(outputs[0].name(), "y");
        }
        assert!(Taking.load(&file("x", "soon"), share).is_err());
    }
}
