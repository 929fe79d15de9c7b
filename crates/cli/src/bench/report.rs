//! The report: a table for people, JSON and CSV for machines.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::figures::{Figures, Row, Spread, cpu_ratio, throughput_ratio};
use super::work::Work;

/// Something that one needs to know to repeat it, by its name.
pub(super) type Condition = (&'static str, String);

/// Everything that was measured.
#[derive(Debug)]
pub(super) struct Report {
    /// What the servers are held against, in one word.
    pub(super) base: &'static str,
    /// Connections, seconds, CPUs: whatever somebody needs to repeat it.
    pub(super) conditions: Vec<Condition>,
    pub(super) entries: Vec<Entry>,
    /// What could not be measured, and why.
    pub(super) unmeasured: Vec<String>,
}

/// One kind of request.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) work: Work,
    pub(super) connections: usize,
    /// Requests a second of an open loop; `None`: a closed one.
    pub(super) rate: Option<f64>,
    /// Elements that each request really carried.
    pub(super) elements: u64,
    pub(super) floor: Option<Row>,
    /// What was measured, by name.
    pub(super) servers: Vec<(String, Row)>,
}

/// A figure's name in JSON and CSV, and where it is found.
type Column = (&'static str, fn(&Figures) -> Option<f64>);

/// Those of the table.
const SHOWN: [Column; 4] = [
    ("requests_per_second", |figures| Some(figures.rate)),
    ("p50_ms", |figures| Some(figures.p50)),
    ("p99_ms", |figures| Some(figures.p99)),
    ("cpu_us_per_request", |figures| figures.cpu),
];

/// Those of JSON and CSV.
const COLUMNS: [Column; 7] = [
    SHOWN[0],
    SHOWN[1],
    ("p90_ms", |figures| Some(figures.p90)),
    SHOWN[2],
    ("p999_ms", |figures| Some(figures.p999)),
    SHOWN[3],
    ("unsent_per_second", |figures| Some(figures.unsent)),
];

impl Entry {
    /// Its name in the table.
    fn label(&self, several: bool) -> String {
        let mut label = self.work.name();
        if several {
            let _ = write!(label, " x{}", self.connections);
        }
        if let Some(rate) = self.rate {
            let _ = write!(label, " {rate:.0}/s");
        }
        label
    }
}

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
        let several = self.several_connections();
        let labels = self.entries.iter().map(|entry| entry.label(several).len());
        let label = labels.max().unwrap_or(0).max(19);
        let part = match self.base {
            "floor" => "part of the floor".to_owned(),
            "without" => "part of the server without".to_owned(),
            base => format!("part of {base}"),
        };
        let mut table = format!(
            "{:<label$} {:<wide$} {:>12} {:>9} {:>9} {:>11}   {part}\n",
            "work", "server", "requests/s", "p50 ms", "p99 ms", "CPU us/req"
        );
        let mut above = String::new();
        for (entry, name, row) in self.rows() {
            let its = entry.label(several);
            let work = if above == its { "" } else { &its };
            self.line(&mut table, (work, label), (name, wide), entry, row);
            above = its;
        }
        table
    }

    /// Whether the number of connections tells rows apart.
    fn several_connections(&self) -> bool {
        let first = self.entries.first().map(|entry| entry.connections);
        self.entries
            .iter()
            .any(|entry| Some(entry.connections) != first)
    }

    fn line(
        &self,
        table: &mut String,
        (work, label): (&str, usize),
        (name, wide): (&str, usize),
        entry: &Entry,
        row: &Row,
    ) {
        if let Some(why) = &row.lacking {
            let _ = writeln!(table, "{work:<label$} {name:<wide$} not measured: {why}");
            return;
        }
        let [rate, p50, p99, cpu] = SHOWN.map(|(_, figure)| middle(row.spread(figure)));
        let ratios = self.floor_of(entry, name).map(|floor| ratios(row, floor));
        let ratios = ratios.unwrap_or_default();
        let line = format!(
            "{work:<label$} {name:<wide$} {rate:>12} {p50:>9} {p99:>9} {cpu:>11}   {ratios}"
        );
        let _ = writeln!(table, "{}", line.trim_end());
        let _ = write!(table, "{}", spread_line(row, label + wide + 1));
        let unsent = row.median(|figures| figures.unsent).unwrap_or(0.0);
        if unsent > 0.0 {
            let _ = writeln!(
                table,
                "  {unsent:.0} a second were due and waited unsent: all connections were busy"
            );
        }
        if let Some(why) = &row.first_failure {
            let _ = writeln!(table, "  {} failed, the first: {why}", row.failures);
        }
    }

    /// What a row is held against; nothing for the floor itself.
    fn floor_of<'a>(&self, entry: &'a Entry, name: &str) -> Option<&'a Row> {
        entry.floor.as_ref().filter(|_| name != self.base)
    }

    /// Everything, as JSON.
    pub(super) fn json(&self) -> Value {
        let conditions = conditions_json(&self.conditions);
        let servers = self.entries.iter().flat_map(|entry| {
            let servers = entry.servers.iter();
            servers.map(|(name, row)| self.entry(entry, name, row))
        });
        let works: Vec<Value> = servers.collect();
        json!({ "conditions": conditions, "works": works })
    }

    fn entry(&self, entry: &Entry, name: &str, row: &Row) -> Value {
        let mut value = json!({
            "work": entry.work.name(),
            "elements": entry.elements,
            "connections": entry.connections,
            "rate": entry.rate,
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
        let mut csv = String::from("work,elements,connections,rate,server");
        for (name, _) in COLUMNS {
            let _ = write!(csv, ",{name}");
        }
        csv.push_str(",failures,throughput_ratio,cpu_ratio\n");
        for (entry, name, row) in self.rows() {
            let floor = self.floor_of(entry, name);
            let name = name.replace([',', '"', '\n'], " ");
            let rate = entry.rate.map(|rate| rate.to_string()).unwrap_or_default();
            let (work, elements) = (entry.work.name(), entry.elements);
            let _ = write!(csv, "{work},{elements},{},{rate},{name}", entry.connections);
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

/// Every figure of a row with its spread, and what failed.
pub(super) fn row_json(row: &Row) -> Value {
    let mut value = json!({
        "failures": row.failures,
        "first_failure": row.first_failure,
        "not_measured": row.lacking,
    });
    for (name, figure) in COLUMNS {
        value[name] = spread_json(row.spread(figure));
    }
    value
}

pub(super) fn spread_json(spread: Option<Spread>) -> Value {
    let of = |Spread { median, low, high }| json!({ "median": median, "low": low, "high": high });
    spread.map_or(Value::Null, of)
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
fn spread_line(row: &Row, before: usize) -> String {
    if row.figures.len() < 2 {
        return String::new();
    }
    let [rate, p50, p99, cpu] = SHOWN.map(|(_, figure)| apart(row.spread(figure)));
    let line = format!("{:<before$} {rate:>12} {p50:>9} {p99:>9} {cpu:>11}", "");
    line.trim_end().to_owned() + "\n"
}

/// How far repeats lie from their median at most: `+-12%`.
pub(super) fn apart(spread: Option<Spread>) -> String {
    match spread {
        Some(spread) if spread.median > 0.0 => {
            let most = (spread.high - spread.median).max(spread.median - spread.low);
            format!("+-{:.0}%", 100.0 * most / spread.median)
        }
        _ => String::new(),
    }
}

pub(super) fn middle(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "-".to_owned(), |spread| number(spread.median))
}

/// Three digits that say something, thousands apart.
pub(super) fn number(value: f64) -> String {
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

/// What somebody needs to repeat it, as JSON.
pub(super) fn conditions_json(conditions: &[Condition]) -> Value {
    let of = |(name, value): &Condition| ((*name).to_owned(), Value::from(value.as_str()));
    Value::Object(conditions.iter().map(of).collect())
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
                connections: 32,
                rate: None,
                elements: 16,
                floor: Some(row(&[(100_000.0, Some(10.0))])),
                servers: vec![("oip".to_owned(), server)],
            }],
            unmeasured: Vec::new(),
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
        assert_eq!(fields, [15, 15, 15], "{csv}");
    }

    #[test]
    fn large_numbers_have_their_thousands_apart() {
        assert_eq!(number(1_234_567.0), "1,234,567");
        assert_eq!(number(999.6), "1000");
        assert_eq!(number(123_456.0), "123,456");
        assert_eq!(number(0.0311), "0.031");
    }
}
