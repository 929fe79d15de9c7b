//! `oip bench --mixed`: how long small requests take while large ones run on the same server.
//!
//! Both are sent in open loops, so that the small ones cannot wait politely: first the small ones
//! alone, then the same beside large ones at half of what the server can do of them. The floor
//! gets the same numbers of both: what it shows is what sharing the CPU costs anybody.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::BenchError;
use super::arrivals::{Rate, Spacing};
use super::figures::Row;
use super::load::{self, Load};
use super::options::Options;
use super::progress::Progress;
use super::report::{Condition, conditions_json, middle, row_json};
use super::run::{Lab, Stand, conditions};
use super::work::{LARGE, SMALL, Wire, Work};

/// Small requests a second.
const SMALL_RATE: f64 = 500.0;
/// Connections for each kind.
const CONNECTIONS: usize = 16;

/// Small requests at one server, by one door.
pub(super) struct Mixture {
    door: &'static str,
    server: String,
    /// Large requests a second beside the small ones.
    large_rate: f64,
    /// Alone, and beside the large ones.
    rows: [Row; 2],
    /// The large ones.
    large: Row,
}

impl Mixture {
    /// Of small ones and of large ones.
    fn all(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().chain([&self.large])
    }
}

/// Measures both doors, at the floor and at our server; with what somebody needs to repeat it.
pub(super) fn run(options: &Options) -> Result<(Vec<Condition>, Vec<Mixture>), BenchError> {
    let mut lab = Lab::open(options)?;
    let once = lab.load(1).takes();
    lab.progress = Progress::new(once * (1 + 8 * options.repeat));
    let large = Work::new(Wire::Json, LARGE);
    let large_stands = lab.stands(large)?;
    let Some(ours) = large_stands.last() else {
        return Ok((Vec::new(), Vec::new()));
    };
    let most = lab.measure(large, &lab.load(4), ours)?;
    let rate = Rate {
        per_second: (most.answers as f64 / most.elapsed.as_secs_f64() / 2.0).max(1.0),
        spacing: Spacing::Poisson,
    };
    let mut mixtures = Vec::new();
    for (door, wire) in [("REST", Wire::Json), ("gRPC", Wire::Grpc)] {
        let small = Work::new(wire, SMALL);
        let stands = lab.stands(small)?;
        let begin = mixtures.len();
        mixtures.extend(stands.iter().map(|stand| Mixture {
            door,
            server: stand.name.clone(),
            large_rate: rate.per_second,
            rows: [Row::default(), Row::default()],
            large: Row::default(),
        }));
        for _ in 0..options.repeat {
            let pairs = stands.iter().zip(&large_stands);
            for (mixture, (small_stand, large_stand)) in mixtures[begin..].iter_mut().zip(pairs) {
                let load = open(&lab, SMALL_RATE);
                mixture.rows[0].add(&lab.measure(small, &load, small_stand)?);
                beside(&mut lab, small, (small_stand, large_stand), rate, mixture)?;
            }
        }
    }
    lab.progress.finish();
    let mut conditions = conditions(options, &lab.cpus, &[&options.model]);
    for (name, value) in &mut conditions {
        if *name == "connections" {
            *value = CONNECTIONS.to_string();
        }
    }
    Ok((conditions, mixtures))
}

fn open(lab: &Lab<'_>, per_second: f64) -> Load {
    let spacing = Spacing::Poisson;
    Load {
        rate: Some(Rate {
            per_second,
            spacing,
        }),
        ..lab.load(CONNECTIONS)
    }
}

/// Measures the small ones while a second load generator sends the large ones.
fn beside(
    lab: &mut Lab<'_>,
    small: Work,
    (small_stand, large_stand): (&Stand, &Stand),
    rate: Rate,
    mixture: &mut Mixture,
) -> Result<(), BenchError> {
    let (Ok(ask), Some(host)) = (&large_stand.ask, large_stand.target.host(false)) else {
        return Ok(());
    };
    let load = Load {
        rate: Some(rate),
        ..lab.load(CONNECTIONS)
    };
    let small_load = open(lab, SMALL_RATE);
    let large = std::thread::scope(|scope| {
        let large = scope.spawn(|| load::run(&load, &host.way, ask, None, |_, _| {}));
        let measured = lab.measure(small, &small_load, small_stand);
        mixture.rows[1].add(&measured?);
        let panicked = || std::io::Error::other("a load generator panicked");
        let large = large.join().unwrap_or_else(|_| Err(panicked()));
        large.map_err(BenchError::Load)
    })?;
    mixture.large.add(&large);
    Ok(())
}

/// The table for people.
pub(super) fn table(mixtures: &[Mixture]) -> String {
    let rate = mixtures.first().map_or(0.0, |mixture| mixture.large_rate);
    let mut table = format!(
        "{SMALL_RATE} small requests a second alone, and beside {rate:.0} of {LARGE} floats as JSON\n\
         {:<6} {:<7} {:>14} {:>14} {:>14} {:>14}\n",
        "door", "server", "alone p50 ms", "p99 ms", "beside p50 ms", "p99 ms"
    );
    for mixture in mixtures {
        let figures = mixture.rows.each_ref().map(|row| {
            [
                middle(row.spread(|f| Some(f.p50))),
                middle(row.spread(|f| Some(f.p99))),
            ]
        });
        let [[a50, a99], [b50, b99]] = figures;
        let (door, server) = (mixture.door, &mixture.server);
        let _ = writeln!(
            table,
            "{door:<6} {server:<7} {a50:>14} {a99:>14} {b50:>14} {b99:>14}"
        );
        for row in mixture.all() {
            if let Some(why) = &row.first_failure {
                let _ = writeln!(table, "  {} failed, the first: {why}", row.failures);
            }
        }
    }
    table
}

/// Everything, as JSON.
pub(super) fn as_json(conditions: &[Condition], mixtures: &[Mixture]) -> Value {
    let of = |mixture: &Mixture| {
        json!({
            "door": mixture.door,
            "server": mixture.server,
            "small_per_second": SMALL_RATE,
            "large_per_second": mixture.large_rate,
            "alone": row_json(&mixture.rows[0]),
            "beside": row_json(&mixture.rows[1]),
            "large": row_json(&mixture.large),
        })
    };
    let rows: Vec<Value> = mixtures.iter().map(of).collect();
    json!({ "conditions": conditions_json(conditions), "rows": rows })
}

/// How many requests failed, small and large.
pub(super) fn failures(mixtures: &[Mixture]) -> u64 {
    let rows = mixtures.iter().flat_map(Mixture::all);
    rows.map(|row| row.failures).sum()
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::row;
    use super::*;

    #[test]
    fn the_table_shows_a_door_and_server_a_line() {
        let mixture = Mixture {
            door: "gRPC",
            server: "floor".to_owned(),
            large_rate: 80.4,
            rows: [row(&[(1.0, None)]), row(&[(1.0, None)])],
            large: Row::default(),
        };
        let mut mixtures = [mixture];
        let json = as_json(&[("seconds", "2".to_owned())], &mixtures);
        assert_eq!(json["conditions"]["seconds"], "2");
        assert_eq!(json["rows"][0]["door"], "gRPC");
        let table = table(&mixtures);
        assert!(table.starts_with("500 small requests a second alone, and beside 80 of"));
        let words: Vec<&str> = table.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(words, ["gRPC", "floor", "0.500", "1.25", "0.500", "1.25"]);
        let large = &mut mixtures[0].large;
        (large.failures, large.first_failure) = (2, Some("503: full".to_owned()));
        assert_eq!(failures(&mixtures), 2);
        assert_eq!(as_json(&[], &mixtures)["rows"][0]["large"]["failures"], 2);
        let table = super::table(&mixtures);
        assert!(table.contains("2 failed, the first: 503: full"), "{table}");
    }
}
