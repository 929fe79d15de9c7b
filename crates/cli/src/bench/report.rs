//! The report: a table for people, JSON and CSV for machines.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::figures::{Figures, Row, Spread, cpu_ratio, throughput_ratio};
use super::work::Work;

/// Everything that was measured.
#[derive(Debug)]
pub(super) struct Report {
    /// What the servers are held against, in one word.
    pub(super) base: &'static str,
    /// Connections, seconds, CPUs: whatever somebody needs to repeat it.
    pub(super) conditions: Vec<(&'static str, String)>,
    pub(super) entries: Vec<Entry>,
}

/// One kind of request.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) work: Work,
    /// Elements that each request really carried.
    pub(super) elements: u64,
    pub(super) floor: Option<Row>,
    /// What was measured, by name.
    pub(super) servers: Vec<(String, Row)>,
}

/// A figure's name in JSON and CSV, and where it is found.
type Column = (&'static str, fn(&Figures) -> Option<f64>);

const COLUMNS: [Column; 4] = [
    ("requests_per_second", |figures| Some(figures.rate)),
    ("p50_ms", |figures| Some(figures.p50)),
    ("p99_ms", |figures| Some(figures.p99)),
    ("cpu_us_per_request", |figures| figures.cpu),
];

impl Report {
    /// Rows of floor and servers, in the order of the table.
    fn rows(&self) -> impl Iterator<Item = (&Entry, &str, &Row)> {
        self.entries.iter().flat_map(|entry| {
            let base = self.base;
            let floor = entry.floor.iter().map(move |row| (entry, base, row));
            let servers = entry.servers.iter();
            floor.chain(servers.map(move |(name, row)| (entry, name.as_str(), row)))
        })
    }

    /// How many requests failed, at the server and at the floor.
    pub(super) fn failures(&self) -> u64 {
        self.rows().map(|(.., row)| row.failures).sum()
    }

    /// The table for people.
    pub(super) fn table(&self) -> String {
        let names = self.rows().map(|(_, name, _)| name.len());
        let wide = names.max().unwrap_or(0).max("server".len());
        let part = match self.base {
            "floor" => "part of the floor".to_owned(),
            base => format!("part of the server {base}"),
        };
        let mut table = format!(
            "{:<19} {:<wide$} {:>12} {:>9} {:>9} {:>11}   {part}\n",
            "work", "server", "requests/s", "p50 ms", "p99 ms", "CPU us/req"
        );
        let mut above = "";
        for (entry, name, row) in self.rows() {
            let [rate, p50, p99, cpu] = COLUMNS.map(|(_, figure)| middle(row.spread(figure)));
            let work = if above == entry.work.name {
                ""
            } else {
                entry.work.name
            };
            above = entry.work.name;
            let ratios = self.floor_of(entry, name).map(|floor| ratios(row, floor));
            let ratios = ratios.unwrap_or_default();
            let line = format!(
                "{work:<19} {name:<wide$} {rate:>12} {p50:>9} {p99:>9} {cpu:>11}   {ratios}"
            );
            let _ = writeln!(table, "{}", line.trim_end());
            let _ = write!(table, "{}", spread_line(row, wide));
            if let Some(why) = &row.first_failure {
                let _ = writeln!(table, "  {} failed, the first: {why}", row.failures);
            }
        }
        table
    }

    /// What a row is held against; nothing for the floor itself.
    fn floor_of<'a>(&self, entry: &'a Entry, name: &str) -> Option<&'a Row> {
        entry.floor.as_ref().filter(|_| name != self.base)
    }

    /// Everything, as JSON.
    pub(super) fn json(&self) -> Value {
        let conditions: serde_json::Map<_, _> = self
            .conditions
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str())))
            .collect();
        let servers = self.entries.iter().flat_map(|entry| {
            let servers = entry.servers.iter();
            servers.map(|(name, row)| self.entry(entry, name, row))
        });
        let works: Vec<Value> = servers.collect();
        json!({ "conditions": conditions, "works": works })
    }

    fn entry(&self, entry: &Entry, name: &str, row: &Row) -> Value {
        let mut value = json!({
            "work": entry.work.name,
            "elements": entry.elements,
            "server": { "name": name, "figures": row_json(row) },
        });
        if let Some(floor) = &entry.floor {
            value[self.base] = row_json(floor);
            value["throughput_ratio"] = json!(throughput_ratio(row, floor));
            value["cpu_ratio"] = json!(cpu_ratio(row, floor));
        }
        value
    }

    /// The medians, one line for each server and kind of request.
    pub(super) fn csv(&self) -> String {
        let mut csv = String::from("work,elements,server");
        for (name, _) in COLUMNS {
            let _ = write!(csv, ",{name}");
        }
        csv.push_str(",failures,throughput_ratio,cpu_ratio\n");
        for (entry, name, row) in self.rows() {
            let floor = self.floor_of(entry, name);
            let name = name.replace([',', '"', '\n'], " ");
            let _ = write!(csv, "{},{},{name}", entry.work.name, entry.elements);
            for (_, figure) in COLUMNS {
                let _ = write!(
                    csv,
                    ",{}",
                    plain(row.spread(figure).map(|spread| spread.median))
                );
            }
            let throughput = floor.and_then(|floor| throughput_ratio(row, floor));
            let cpu = floor.and_then(|floor| cpu_ratio(row, floor));
            let (throughput, cpu) = (plain(throughput), plain(cpu));
            let _ = writeln!(csv, ",{},{throughput},{cpu}", row.failures);
        }
        csv
    }
}

fn row_json(row: &Row) -> Value {
    let mut value = json!({ "failures": row.failures, "first_failure": row.first_failure });
    for (name, figure) in COLUMNS {
        value[name] = match row.spread(figure) {
            Some(Spread { median, low, high }) => {
                json!({ "median": median, "low": low, "high": high })
            }
            None => Value::Null,
        };
    }
    value
}

/// `0.63 by throughput, 0.58 by CPU`
fn ratios(row: &Row, floor: &Row) -> String {
    let throughput = throughput_ratio(row, floor);
    let by_cpu = cpu_ratio(row, floor);
    let mut parts = Vec::new();
    if let Some(ratio) = throughput {
        parts.push(format!("{ratio:.3} by throughput"));
    }
    if let Some(ratio) = by_cpu {
        parts.push(format!("{ratio:.3} by CPU"));
    }
    parts.join(", ")
}

/// How far the repeats lie apart; nothing for a single one.
fn spread_line(row: &Row, wide: usize) -> String {
    if row.figures.len() < 2 {
        return String::new();
    }
    let apart = COLUMNS.map(|(_, figure)| match row.spread(figure) {
        Some(spread) if spread.median > 0.0 => {
            let most = (spread.high - spread.median).max(spread.median - spread.low);
            format!("+-{:.0}%", 100.0 * most / spread.median)
        }
        _ => String::new(),
    });
    let [rate, p50, p99, cpu] = apart;
    let line = format!(
        "{:<19} {:<wide$} {rate:>12} {p50:>9} {p99:>9} {cpu:>11}",
        "", ""
    );
    line.trim_end().to_owned() + "\n"
}

fn middle(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "-".to_owned(), |spread| number(spread.median))
}

/// Three digits that say something, thousands apart.
fn number(value: f64) -> String {
    match value {
        value if value >= 1000.0 => {
            let digits = format!("{value:.0}");
            let first = digits.len() % 3;
            let (head, tail) = digits.split_at(first);
            let groups = tail.as_bytes().chunks(3).map(String::from_utf8_lossy);
            let head = (!head.is_empty()).then(|| head.into());
            head.into_iter().chain(groups).collect::<Vec<_>>().join(",")
        }
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 1.0 => format!("{value:.2}"),
        value => format!("{value:.3}"),
    }
}

fn plain(value: Option<f64>) -> String {
    value.map(|value| format!("{value:.4}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::row;
    use super::super::work::WORKS;
    use super::*;

    fn report(server: Row) -> Report {
        Report {
            base: "floor",
            conditions: vec![("connections", "32".to_owned())],
            entries: vec![Entry {
                work: WORKS[0],
                elements: 16,
                floor: Some(row(&[(100_000.0, Some(10.0))])),
                servers: vec![("oip".to_owned(), server)],
            }],
        }
    }

    #[test]
    fn the_table_shows_both_rows_and_both_ratios() {
        let table = report(row(&[(60_000.0, Some(20.0))])).table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3, "{table}");
        assert!(lines[1].starts_with("rest-json-16"), "{table}");
        assert!(lines[1].contains("100,000"), "{table}");
        assert!(
            lines[2].ends_with("0.600 by throughput, 0.500 by CPU"),
            "{table}"
        );
    }

    #[test]
    fn repeats_show_how_far_they_lie_apart() {
        let repeats = [(60_000.0, None), (50_000.0, None), (61_000.0, None)];
        let table = report(row(&repeats)).table();
        assert!(table.contains("+-17%"), "{table}");
    }

    #[test]
    fn the_first_failure_is_shown() {
        let mut server = row(&[(1.0, None)]);
        (server.failures, server.first_failure) = (3, Some("400: no".to_owned()));
        let table = report(server).table();
        assert!(table.contains("3 failed, the first: 400: no"), "{table}");
    }

    #[test]
    fn json_holds_the_medians_and_the_ratios() {
        let json = report(row(&[(60_000.0, Some(20.0))])).json();
        let work = &json["works"][0];
        let rate = &work["server"]["figures"]["requests_per_second"];
        assert_eq!(rate["median"], 60_000.0);
        assert_eq!(work["throughput_ratio"], 0.6);
        assert_eq!(json["conditions"]["connections"], "32");
    }

    #[test]
    fn csv_has_as_many_fields_in_every_line() {
        let csv = report(row(&[(60_000.0, None)])).csv();
        let fields: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
        assert_eq!(fields, [10, 10, 10], "{csv}");
    }

    #[test]
    fn large_numbers_have_their_thousands_apart() {
        assert_eq!(number(1_234_567.0), "1,234,567");
        assert_eq!(number(999.6), "1000");
        assert_eq!(number(123_456.0), "123,456");
        assert_eq!(number(0.0311), "0.031");
    }
}
