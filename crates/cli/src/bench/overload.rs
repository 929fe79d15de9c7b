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
use super::figures::{Figures, Row, Spread};
use super::host::Host;
use super::load::{self, Ask, Bounds, Load, Measured};
use super::options::Options;
use super::plot::{Chart, Line, Plot, PlotError, Scale};
use super::progress::Progress;
use super::report::{Condition, apart, conditions_json, middle, row_json, spread_json};
use super::request;
use super::run::{Cpus, conditions};
use super::sample::Input;
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
    /// What the server can do.
    closed: Row,
    /// At each of the multiples.
    rows: Vec<Row>,
}

/// Measures every model; with what somebody needs to repeat it.
pub(super) fn run(options: &Options) -> Result<(Vec<Condition>, Vec<Overload>), BenchError> {
    let cpus = Cpus::share();
    let mut conditions = conditions(options, &cpus, &MODELS);
    for (name, time) in [
        ("service_time_ms", options.service_time),
        ("within_ms", options.within),
    ] {
        conditions.push((name, (time.as_secs_f64() * 1e3).to_string()));
    }
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
        return Ok((conditions, Vec::new()));
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
    Ok((conditions, overloads))
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
        Ok(Overload {
            model,
            elements: self.options.one_elements(),
            closed,
            rows,
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
        let measured = load::run(load, &self.host.way, ask, self.process, beat);
        self.progress.next(load.takes());
        measured.map_err(BenchError::Load)
    }
}

impl Overload {
    /// What the server can do, in answers a second.
    fn most(&self) -> f64 {
        self.closed.median(|figures| figures.rate).unwrap_or(0.0)
    }

    /// The goodput at each multiple, as a part of the most of the same repeat.
    fn goodput(&self) -> impl Iterator<Item = (f64, Option<Spread>, &Row)> {
        let of = |row: &Row| {
            let repeats = row.figures.iter().zip(&self.closed.figures);
            Spread::of(repeats.map(|(row, most)| row.rate / most.rate.max(f64::MIN_POSITIVE)))
        };
        let rows = TIMES.into_iter().zip(&self.rows);
        rows.map(move |(times, row)| (times, of(row), row))
    }

    /// Of the closed loop, and at each multiple.
    fn all(&self) -> impl Iterator<Item = &Row> {
        std::iter::once(&self.closed).chain(&self.rows)
    }
}

/// How many requests failed.
pub(super) fn failures(overloads: &[Overload]) -> u64 {
    let rows = overloads.iter().flat_map(Overload::all);
    rows.map(|row| row.failures).sum()
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
            overload.most(),
            "load",
            "sent/s",
            "good/s",
            "part",
            "refused/s",
            "late/s",
            "p50 ms",
            "p99 ms"
        );
        failed(&mut table, &overload.closed);
        for (times, part, row) in overload.goodput() {
            let sent = overload.most() * times;
            let shown = part.map_or(0.0, |part| part.median);
            let figures = COLUMNS.map(|figure| row.spread(|figures| Some(figure(figures))));
            let [good, refused, late, p50, p99] = figures.map(middle);
            let _ = writeln!(
                table,
                "{times:>5}x {sent:>10.0} {good:>10} {shown:>8.3} {refused:>10} {late:>10} {p50:>9} {p99:>9}",
            );
            if row.figures.len() > 1 {
                let [good, refused, late, p50, p99] = figures.map(apart);
                let part = apart(part);
                let line = format!(
                    "{:>17} {good:>10} {part:>8} {refused:>10} {late:>10} {p50:>9} {p99:>9}",
                    ""
                );
                let _ = writeln!(table, "{}", line.trim_end());
            }
            failed(&mut table, row);
        }
    }
    table
}

/// Those of the table, the part left out.
const COLUMNS: [fn(&Figures) -> f64; 5] = [
    |figures| figures.rate,
    |figures| figures.refused,
    |figures| figures.late + figures.unsent,
    |figures| figures.p50,
    |figures| figures.p99,
];

fn failed(table: &mut String, row: &Row) {
    if let Some(why) = &row.first_failure {
        let _ = writeln!(table, "  {} failed, the first: {why}", row.failures);
    }
}

/// Everything, as JSON.
pub(super) fn as_json(conditions: &[Condition], overloads: &[Overload]) -> Value {
    let of = |overload: &Overload| {
        let rows = overload.goodput().map(|(times, part, row)| {
            let mut value = row_json(row);
            value["times"] = json!(times);
            value["part"] = spread_json(part);
            let spread = |figure: fn(&Figures) -> f64| row.spread(|f| Some(figure(f)));
            value["refused_per_second"] = spread_json(spread(|f| f.refused));
            value["late_per_second"] = spread_json(spread(|f| f.late));
            value
        });
        json!({
            "model": overload.model,
            "elements": overload.elements,
            "most": row_json(&overload.closed),
            "loads": rows.collect::<Vec<_>>(),
        })
    };
    let rows: Vec<Value> = overloads.iter().map(of).collect();
    json!({ "conditions": conditions_json(conditions), "rows": rows })
}

/// The goodput over the load.
pub(super) fn plots(overloads: &[Overload]) -> std::result::Result<Vec<Plot>, PlotError> {
    let line = |overload: &Overload| Line {
        name: format!("the model {}", overload.model),
        points: overload
            .goodput()
            .map(|(times, part, _)| (times, part.map_or(0.0, |part| part.median)))
            .collect(),
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
            closed: row(&[(200.0, None)]),
            rows: rows.into(),
        };
        let mut overloads = [overload];
        let table = table(&overloads);
        let last = table.lines().last().unwrap().trim_start();
        assert!(
            last.starts_with("10x") && last.contains(" 0.950 "),
            "{table}"
        );
        let svg = &plots(&overloads).unwrap()[0].svg;
        assert_eq!(svg.matches("<circle").count(), TIMES.len());
        let rows = &mut overloads[0].rows;
        (rows[0].failures, rows[0].first_failure) = (3, Some("400: no".to_owned()));
        let json = as_json(&[("within_ms", "500".to_owned())], &overloads);
        assert_eq!(json["conditions"]["within_ms"], "500");
        let half = &json["rows"][0]["loads"][0];
        assert_eq!(
            (&half["part"]["median"], &half["failures"]),
            (&json!(0.5), &json!(3))
        );
        assert_eq!(failures(&overloads), 3);
    }

    #[test]
    fn repeats_show_how_far_they_lie_apart_and_are_parts_of_their_own_most() {
        let overload = Overload {
            model: "sleeps",
            elements: 16,
            closed: row(&[(100.0, None), (200.0, None), (150.0, None)]),
            rows: vec![row(&[(50.0, None), (100.0, None), (75.0, None)])],
        };
        let (_, part, _) = overload.goodput().next().unwrap();
        let part = part.unwrap();
        assert_eq!((part.low, part.median, part.high), (0.5, 0.5, 0.5));
        let table = table(&[overload]);
        let apart: Vec<&str> = table.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(apart, ["+-33%", "+-0%", "+-0%", "+-0%"], "{table}");
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
