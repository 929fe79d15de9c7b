//! `oip bench --latency`: how long answers take at half of the load that a server can take. A
//! server at its limit shows how long the line is, not how fast it is.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::BenchError;
use super::arrivals::{Rate, Spacing};
use super::figures::{Figures, Row, Spread};
use super::load::Load;
use super::options::Options;
use super::plot::{Bars, Plot};
use super::progress::Progress;
use super::report::{Condition, conditions_json, middle, number, row_json};
use super::run::{Lab, Stand, conditions};
use super::work::Work;

/// The part of the most that is sent.
const PART: f64 = 0.5;

/// One server at one kind of request.
pub(super) struct Delay {
    work: Work,
    server: String,
    /// The most that it answered in a closed loop.
    most: Row,
    /// At half of the median of that.
    half: Row,
    /// Its p99 over the floor's.
    ratio: Option<f64>,
}

/// All of them, and what somebody needs to repeat it.
pub(super) struct Delays {
    conditions: Vec<Condition>,
    delays: Vec<Delay>,
    /// What could not be measured, and why.
    pub(super) unmeasured: Vec<String>,
}

/// Measures every kind of request that was asked for.
pub(super) fn run(options: &Options) -> Result<Delays, BenchError> {
    let mut lab = Lab::open(options)?;
    let servers = options.servers() + usize::from(options.floor);
    let works = lab.works();
    let once = lab.load(1).takes() * (servers * works.len()) as u32;
    lab.progress = Progress::new(once * (2 * options.repeat));
    let mut delays = Vec::new();
    for work in works {
        let mut base = None;
        let stands = lab.stands(work)?;
        let mut rows = Vec::new();
        for stand in stands.iter().filter(|stand| stand.ask.is_ok()) {
            rows.push((stand, Row::default(), Row::default()));
        }
        for _ in 0..options.repeat {
            for (stand, most, _) in &mut rows {
                let load = lab.load(options.one_connections());
                most.add(&lab.measure(work, &load, stand)?);
            }
        }
        // Once it is known, the median of all repeats: each half is of the same.
        for _ in 0..options.repeat {
            for (stand, most, half) in &mut rows {
                at_half(&mut lab, work, stand, most, half)?;
            }
        }
        for (stand, most, half) in rows {
            let p99 = half.median(|figures| figures.p99);
            let ratio = p99.zip(base).map(|(p99, base): (f64, f64)| p99 / base);
            if stand.is_floor {
                base = p99;
            }
            let server = stand.name.clone();
            delays.push(Delay {
                work,
                server,
                most,
                half,
                ratio,
            });
        }
    }
    lab.progress.finish();
    Ok(Delays {
        conditions: conditions(options, &lab.cpus, &[&options.model]),
        delays,
        unmeasured: lab.unmeasured,
    })
}

fn at_half(
    lab: &mut Lab<'_>,
    work: Work,
    stand: &Stand,
    most: &Row,
    half: &mut Row,
) -> Result<(), BenchError> {
    let most = most.median(|figures| figures.rate).unwrap_or(0.0).max(1.0);
    let rate = Rate {
        per_second: most * PART,
        spacing: Spacing::Poisson,
    };
    // Connections enough that none is waited for, where the server keeps up.
    let load = lab.load(64);
    let load = Load {
        rate: Some(rate),
        ..load
    };
    half.add(&lab.measure(work, &load, stand)?);
    Ok(())
}

impl Delays {
    pub(super) fn failures(&self) -> u64 {
        let rows = self
            .delays
            .iter()
            .flat_map(|delay| [&delay.most, &delay.half]);
        rows.map(|row| row.failures).sum()
    }

    /// The table for people.
    pub(super) fn table(&self) -> String {
        let names = self.delays.iter().map(|delay| delay.server.len());
        let wide = names.max().unwrap_or(0).max(6);
        let mut table = format!(
            "{:<19} {:<wide$} {:>12} {:>12} {:>9} {:>9} {:>9} {:>9}   p99 over the floor's\n",
            "work", "server", "most req/s", "sent req/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms"
        );
        let mut above = String::new();
        for delay in &self.delays {
            let its = delay.work.name();
            let work = if its == above { "" } else { &its };
            let most = delay.most.median(|f| f.rate).unwrap_or(0.0);
            let columns = [
                |f: &Figures| f.p50,
                |f: &Figures| f.p90,
                |f: &Figures| f.p99,
                |f: &Figures| f.p999,
            ];
            let columns = columns.map(|figure| middle(delay.half.spread(|f| Some(figure(f)))));
            let [p50, p90, p99, p999] = columns;
            let _ = writeln!(
                table,
                "{work:<19} {:<wide$} {:>12} {:>12} {p50:>9} {p90:>9} {p99:>9} {p999:>9}   {}",
                delay.server,
                number(most),
                number(most * PART),
                self.ratio(delay)
            );
            for row in [&delay.most, &delay.half] {
                if let Some(why) = &row.first_failure {
                    let _ = writeln!(table, "  {} failed, the first: {why}", row.failures);
                }
            }
            above = its;
        }
        table
    }

    /// `2.14 (1.90 to 2.60)`: the ends are those of the server's repeats.
    fn ratio(&self, delay: &Delay) -> String {
        let p99 = delay.half.spread(|figures| Some(figures.p99));
        match (delay.ratio, p99) {
            (Some(ratio), Some(Spread { median, low, high })) if low < high => {
                let [low, high] = [low, high].map(|end| ratio * end / median);
                format!("{ratio:.2} ({low:.2} to {high:.2})")
            }
            (Some(ratio), _) => format!("{ratio:.2}"),
            (None, _) => String::new(),
        }
    }

    /// Everything, as JSON.
    pub(super) fn json(&self) -> Value {
        let conditions = conditions_json(&self.conditions);
        let of = |delay: &Delay| {
            json!({
                "work": delay.work.name(),
                "server": delay.server,
                "most": row_json(&delay.most),
                "half": row_json(&delay.half),
                "p99_ratio": delay.ratio,
            })
        };
        let rows: Vec<Value> = self.delays.iter().map(of).collect();
        json!({ "conditions": conditions, "rows": rows, "not_measured": self.unmeasured })
    }

    /// The p99 of each server at each kind of request.
    pub(super) fn plots(&self) -> Vec<Plot> {
        let mut names: Vec<String> = Vec::new();
        let mut groups: Vec<(String, Vec<Option<f64>>)> = Vec::new();
        for delay in &self.delays {
            if !names.contains(&delay.server) {
                names.push(delay.server.clone());
            }
        }
        for delay in &self.delays {
            let work = delay.work.name();
            if groups.last().is_none_or(|(last, _)| *last != work) {
                groups.push((work, vec![None; names.len()]));
            }
            let place = names.iter().position(|name| *name == delay.server);
            if let (Some(place), Some((_, values))) = (place, groups.last_mut()) {
                values[place] = delay.half.median(|f| f.p99);
            }
        }
        let bars = Bars {
            title: "p99 at half of the most that each can answer".to_owned(),
            x: "ms (logarithmic)",
            names,
            groups,
        };
        vec![Plot {
            file: "latency-at-half.svg".to_owned(),
            svg: bars.svg(),
        }]
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::row;
    use super::super::work::WORKS;
    use super::*;

    #[test]
    fn the_table_shows_the_p99_over_that_of_the_floor() {
        let delay = |server: &str, ratio| Delay {
            work: WORKS[0],
            server: server.to_owned(),
            most: row(&[(1000.0, None)]),
            half: row(&[(500.0, None)]),
            ratio,
        };
        let delays = Delays {
            unmeasured: Vec::new(),
            conditions: Vec::new(),
            delays: vec![delay("floor", None), delay("oip", Some(1.5))],
        };
        let table = delays.table();
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[1].starts_with("rest-json-16        floor"), "{table}");
        assert!(lines[2].trim_end().ends_with("1.50"), "{table}");
        let row = &delays.json()["rows"][1];
        assert_eq!(
            (&row["p99_ratio"], &row["half"]["failures"]),
            (&json!(1.5), &json!(0))
        );
        assert!(delays.plots()[0].svg.contains("1.25"));
    }
}
