//! `oip bench --batching`: what gathering requests brings. Two servers of our own serve the same
//! networks, one with a `model.toml` that switches batching on; both are measured in turn.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::check::{self, Expect};
use super::figures::{Row, throughput_ratio};
use super::load::{self, Bounds, Load};
use super::options::Options;
use super::ours::OwnServer;
use super::progress::Progress;
use super::report::{Condition, conditions_json, row_json};
use super::run::{Cpus, conditions};
use super::sample::Input;
use super::work::Wire;
use super::{BenchError, onnx, request};

/// The networks: a large one that waits for memory at one row, and one that takes microseconds.
const NETWORKS: [(&str, &[usize]); 2] = [
    ("mlp-512-4096-4096-10", &[512, 4096, 4096, 10]),
    ("mlp-16-64-3", &[16, 64, 3]),
];

/// What switches batching on.
const SETTINGS: &str = "[batching]\nmax_batch_size = 32\n";

/// The engines, and what `--onnxruntime-library` is to be for each.
const ENGINES: [(&str, Option<&str>); 2] = [("onnxruntime", None), ("tract", Some("off"))];

/// What came of it.
pub(super) struct Gain {
    network: &'static str,
    engine: &'static str,
    /// Batching off, batching on.
    rows: [Row; 2],
    /// Rows of a run on average, batching on.
    rows_a_run: f64,
}

/// Measures every network on every engine that is here; with what somebody needs to repeat it. An
/// engine that is not installed is none that failed.
pub(super) fn run(options: &Options) -> Result<(Vec<Condition>, Vec<Gain>), BenchError> {
    let folder = Folder::make().map_err(BenchError::Load)?;
    let cpus = Cpus::share();
    let mut conditions = conditions(options, &cpus, &NETWORKS.map(|(network, _)| network));
    let asking = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::Load)?;
    let measurements = (ENGINES.len() * NETWORKS.len() * 2) as u32 * options.repeat;
    let mut bench = Bench {
        load: Load {
            connections: options.one_connections(),
            rate: None,
            bounds: Bounds::default(),
            warm_up: options.warm_up,
            measure: options.measure,
            cpus: cpus.load,
        },
        repeat: options.repeat,
        progress: Progress::new((options.warm_up + options.measure) * measurements),
        asking,
    };
    let (mut gains, mut engines) = (Vec::new(), Vec::new());
    for (engine, library) in ENGINES {
        let off = OwnServer::start(&folder.0.join("off"), library, &cpus.server)?;
        let on = OwnServer::start(&folder.0.join("on"), library, &cpus.server)?;
        if !bench.is_on(engine, [&off, &on])? {
            eprintln!("note: {engine} is not here, so it is not measured");
            continue;
        }
        engines.push(engine);
        for (network, widths) in NETWORKS {
            let width = widths.first().copied().unwrap_or(1);
            gains.push(bench.network(engine, network, width, [&off, &on])?);
        }
    }
    bench.progress.finish();
    conditions.push(("engines", engines.join(",")));
    Ok((conditions, gains))
}

struct Bench {
    load: Load,
    repeat: u32,
    progress: Progress,
    asking: tokio::runtime::Runtime,
}

impl Bench {
    /// Whether the servers run their networks on this engine.
    fn is_on(&self, engine: &str, servers: [&OwnServer; 2]) -> Result<bool, BenchError> {
        for server in servers {
            for (network, _) in NETWORKS {
                self.progress.say(format!("{network} on {engine} loads"));
                self.asking.block_on(server.target.inputs(network))?;
                let config = self.asking.block_on(server.ask(network, "/config"))?;
                if config["backend"] != engine {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Measures one network.
    fn network(
        &mut self,
        engine: &'static str,
        network: &'static str,
        width: usize,
        servers: [&OwnServer; 2],
    ) -> Result<Gain, BenchError> {
        let mut rows = [Row::default(), Row::default()];
        let mut inputs = Vec::new();
        for server in servers {
            let declared = self.asking.block_on(server.target.inputs(network))?;
            inputs = declared.iter().map(|input| input.fill(width)).collect();
            let first = check::first_answer(
                Wire::Binary,
                &server.host,
                network,
                &inputs,
                Expect::Outputs,
            );
            self.asking.block_on(first)?;
        }
        for _ in 0..self.repeat {
            for (row, (server, name)) in rows.iter_mut().zip(servers.into_iter().zip(["off", "on"]))
            {
                let what = format!("{network} on {engine}, batching {name}");
                self.measure(&what, network, server, &inputs, row)?;
            }
        }
        let [_, on] = servers;
        let statistics = self.asking.block_on(on.ask(network, "/stats"))?;
        let statistics = &statistics["model_stats"][0];
        let count = |name: &str| statistics[name].as_f64().unwrap_or(0.0);
        Ok(Gain {
            network,
            engine,
            rows,
            rows_a_run: count("inference_count") / count("execution_count").max(1.0),
        })
    }

    fn measure(
        &mut self,
        what: &str,
        network: &str,
        server: &OwnServer,
        inputs: &[Input],
        row: &mut Row,
    ) -> Result<(), BenchError> {
        let ask = request::build(Wire::Binary, &server.host, network, inputs);
        let beat = |elapsed, answers| self.progress.beat(what, elapsed, answers);
        let process = server.target.process;
        let measured = load::run(&self.load, &server.host.way, &ask, process, beat);
        row.add(&measured.map_err(BenchError::Load)?);
        self.progress.next(self.load.warm_up + self.load.measure);
        Ok(())
    }
}

/// The networks' files, in a folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn make() -> io::Result<Self> {
        let name = format!("oip-bench-{}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        for (network, widths) in NETWORKS {
            let (off, on) = (folder.of("off", network), folder.of("on", network));
            std::fs::create_dir_all(&off)?;
            std::fs::create_dir_all(&on)?;
            std::fs::write(off.join("model.onnx"), onnx::perceptron(widths))?;
            std::fs::hard_link(off.join("model.onnx"), on.join("model.onnx"))?;
            std::fs::write(on.join("model.toml"), SETTINGS)?;
        }
        Ok(folder)
    }

    fn of(&self, batching: &str, network: &str) -> PathBuf {
        self.0.join(batching).join(network)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The table for people.
pub(super) fn table(gains: &[Gain]) -> String {
    let mut table = format!(
        "{:<21} {:<11} {:>12} {:>12} {:>6} {:>11} {:>11} {:>11}\n",
        "network",
        "engine",
        "off req/s",
        "on req/s",
        "ratio",
        "off p99 ms",
        "on p99 ms",
        "rows a run"
    );
    for gain in gains {
        let [off, on] = &gain.rows;
        let rate = |row: &Row| row.rate().map_or(0.0, |rate| rate.median);
        let p99 = |row: &Row| row.spread(|f| Some(f.p99)).map_or(0.0, |p99| p99.median);
        let ratio = throughput_ratio(on, off).unwrap_or(0.0);
        let _ = writeln!(
            table,
            "{:<21} {:<11} {:>12.0} {:>12.0} {:>6.2} {:>11.2} {:>11.2} {:>11.1}",
            gain.network,
            gain.engine,
            rate(off),
            rate(on),
            ratio,
            p99(off),
            p99(on),
            gain.rows_a_run
        );
        for row in &gain.rows {
            if let Some(why) = &row.first_failure {
                let _ = writeln!(table, "  {} failed, the first: {why}", row.failures);
            }
        }
    }
    table
}

/// Everything, as JSON.
pub(super) fn as_json(conditions: &[Condition], gains: &[Gain]) -> Value {
    let of_gain = |gain: &Gain| {
        let [off, on] = &gain.rows;
        json!({
            "network": gain.network,
            "engine": gain.engine,
            "off": row_json(off),
            "on": row_json(on),
            "ratio": throughput_ratio(on, off),
            "rows_a_run": gain.rows_a_run,
        })
    };
    let rows: Vec<Value> = gains.iter().map(of_gain).collect();
    json!({ "conditions": conditions_json(conditions), "rows": rows })
}

/// How many requests failed.
pub(super) fn failures(gains: &[Gain]) -> u64 {
    let rows = gains.iter().flat_map(|gain| &gain.rows);
    rows.map(|row| row.failures).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::tests::row;

    #[test]
    fn the_table_shows_what_batching_brings() {
        let gain = Gain {
            network: "mlp",
            engine: "tract",
            rows: [row(&[(100.0, None)]), row(&[(350.0, None)])],
            rows_a_run: 12.5,
        };
        let mut gains = [gain];
        let line = table(&gains).lines().nth(1).unwrap().to_owned();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[..5], ["mlp", "tract", "100", "350", "3.50"]);
        assert_eq!(words.last(), Some(&"12.5"));
        gains[0].rows[1].failures = 4;
        let json = as_json(&[("engines", "tract".to_owned())], &gains);
        assert_eq!(json["conditions"]["engines"], "tract");
        let on = &json["rows"][0]["on"];
        assert_eq!(
            (&on["failures"], &on["requests_per_second"]["median"]),
            (&json!(4), &json!(350.0))
        );
    }

    #[test]
    fn both_folders_hold_every_network_and_one_switches_batching_on() {
        let folder = Folder::make().unwrap();
        for (network, _) in NETWORKS {
            assert!(folder.of("off", network).join("model.onnx").is_file());
            assert!(!folder.of("off", network).join("model.toml").exists());
            assert!(folder.of("on", network).join("model.toml").is_file());
        }
        let root = folder.0.clone();
        drop(folder);
        assert!(!root.exists());
    }
}
