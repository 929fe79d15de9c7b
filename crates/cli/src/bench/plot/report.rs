//! The plots that a report gives: over connections, rates and sizes, where there are several of
//! them; and servers side by side.

use super::super::figures::{Row, throughput_ratio};
use super::super::report::{Entry, Report};
use super::{Bars, Chart, Line, Plot, PlotError, Scale};

/// Names rows alike over several entries: the floor and the servers.
fn rows(entry: &Entry) -> Vec<(&str, &Row)> {
    let floor = entry.floor.iter().map(|row| ("floor", row));
    let servers = entry.servers.iter().map(|(name, row)| (name.as_str(), row));
    floor.chain(servers).collect()
}

/// All plots of a report.
pub(in crate::bench) fn of_report(report: &Report) -> Result<Vec<Plot>, PlotError> {
    let mut plots = Vec::new();
    for group in groups(&report.entries, |entry| (entry.work.name(), rate_of(entry))) {
        if several(&group, |entry| entry.connections as f64) {
            plots.push(over_connections(&group)?);
        }
    }
    for group in groups(&report.entries, |entry| {
        (entry.work.name(), entry.connections)
    }) {
        if several(&group, |entry| entry.rate.unwrap_or(0.0)) {
            plots.push(over_rates(&group)?);
        }
    }
    for group in groups(&report.entries, |entry| {
        (entry.work.wire.name(), entry.connections, rate_of(entry))
    }) {
        if several(&group, |entry| entry.elements as f64) && group.len() > 2 {
            plots.extend(over_sizes(&group)?);
        }
    }
    if plots.is_empty() {
        plots.extend(side_by_side(report));
    }
    Ok(plots)
}

fn rate_of(entry: &Entry) -> Option<u64> {
    entry.rate.map(f64::to_bits)
}

/// Entries that have something in common, in the order of the report.
fn groups<K: PartialEq>(entries: &[Entry], of: impl Fn(&Entry) -> K) -> Vec<Vec<&Entry>> {
    let mut groups: Vec<(K, Vec<&Entry>)> = Vec::new();
    for entry in entries {
        let key = of(entry);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.push(entry),
            None => groups.push((key, vec![entry])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

fn several(group: &[&Entry], x: impl Fn(&Entry) -> f64) -> bool {
    group.iter().any(|entry| x(entry) != x(group[0]))
}

/// A line for each row, of one figure.
fn lines(
    group: &[&Entry],
    x: impl Fn(&Entry) -> f64,
    y: impl Fn(&Row) -> Option<f64>,
    of: &str,
) -> Vec<Line> {
    let names = group.first().map(|entry| rows(entry)).unwrap_or_default();
    let line = |(name, _): (&str, &Row)| {
        let points = group.iter().filter_map(|entry| {
            let rows = rows(entry);
            let (_, row) = rows.iter().find(|(its, _)| *its == name)?;
            Some((x(entry), y(row)?))
        });
        Line {
            name: format!("{name}{of}"),
            points: points.collect(),
        }
    };
    names
        .into_iter()
        .map(line)
        .filter(|line| !line.points.is_empty())
        .collect()
}

fn over_connections(group: &[&Entry]) -> Result<Plot, PlotError> {
    let work = group[0].work.name();
    let chart = Chart {
        title: format!("Throughput by connections: {work}"),
        x: ("connections", Scale::Logarithmic),
        y: ("requests/s", Scale::Linear),
        lines: lines(
            group,
            |e| e.connections as f64,
            |row| row.median(|f| f.rate),
            "",
        ),
    };
    Ok(Plot {
        file: format!("throughput-by-connections-{work}.svg"),
        svg: chart.svg()?,
    })
}

fn over_rates(group: &[&Entry]) -> Result<Plot, PlotError> {
    let work = group[0].work.name();
    let rate = |entry: &Entry| entry.rate.unwrap_or(0.0);
    let of = |of: &str, y: fn(&Row) -> Option<f64>| lines(group, rate, y, of);
    let p50 = of(" p50", |row| row.median(|f| f.p50));
    let p99 = of(" p99", |row| row.median(|f| f.p99));
    let p999 = of(" p99.9", |row| row.median(|f| f.p999));
    let chart = Chart {
        title: format!("Latency by rate: {work}"),
        x: ("requests/s sent", Scale::Logarithmic),
        y: ("ms", Scale::Logarithmic),
        lines: p50.into_iter().chain(p99).chain(p999).collect(),
    };
    Ok(Plot {
        file: format!("latency-by-rate-{work}.svg"),
        svg: chart.svg()?,
    })
}

fn over_sizes(group: &[&Entry]) -> Result<[Plot; 2], PlotError> {
    let wire = group[0].work.wire.name();
    let size = |entry: &Entry| entry.elements as f64;
    let chart = |title: &str, y, lines| Chart {
        title: format!("{title} by size: {wire}"),
        x: ("elements", Scale::Logarithmic),
        y: (y, Scale::Logarithmic),
        lines,
    };
    let rate = lines(group, size, |row| row.median(|f| f.rate), "");
    let cpu = lines(group, size, |row| row.cpu().map(|cpu| cpu.median), "");
    Ok([
        Plot {
            file: format!("throughput-by-size-{wire}.svg"),
            svg: chart("Throughput", "requests/s", rate).svg()?,
        },
        Plot {
            file: format!("cpu-by-size-{wire}.svg"),
            svg: chart("CPU time", "us a request", cpu).svg()?,
        },
    ])
}

/// Each server's part of the floor; without a floor its requests/s.
fn side_by_side(report: &Report) -> Option<Plot> {
    let first = report.entries.first()?;
    let has_floor = report.entries.iter().all(|entry| entry.floor.is_some());
    let value = |entry: &Entry, row: &Row| match (&entry.floor, has_floor) {
        (Some(floor), true) => throughput_ratio(row, floor),
        _ => row.median(|f| f.rate),
    };
    let names: Vec<String> = first.servers.iter().map(|(name, _)| name.clone()).collect();
    let group = |entry: &Entry| {
        let values = entry.servers.iter().map(|(_, row)| value(entry, row));
        (entry.work.name(), values.collect())
    };
    let bars = Bars {
        title: "Throughput of servers side by side".to_owned(),
        x: match has_floor {
            true => "part of the floor (logarithmic)",
            false => "requests/s (logarithmic)",
        },
        names,
        groups: report.entries.iter().map(group).collect(),
    };
    Some(Plot {
        file: "servers.svg".to_owned(),
        svg: bars.svg(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::figures::tests::row;
    use super::super::super::work::{WORKS, Wire, Work};
    use super::*;

    fn entry(work: Work, connections: usize, rate: Option<f64>) -> Entry {
        Entry {
            work,
            connections,
            rate,
            elements: work.elements.unwrap_or(0) as u64,
            floor: Some(row(&[(100.0, Some(1.0))])),
            servers: vec![("oip".to_owned(), row(&[(50.0, Some(2.0))]))],
        }
    }

    fn files(entries: Vec<Entry>) -> Vec<String> {
        let report = Report {
            base: "floor",
            conditions: Vec::new(),
            entries,
            unmeasured: Vec::new(),
        };
        let plots = of_report(&report).unwrap();
        assert!(plots.iter().all(|plot| plot.svg.contains("oip")));
        plots.into_iter().map(|plot| plot.file).collect()
    }

    #[test]
    fn what_was_varied_is_plotted() {
        let connections = [1, 8].map(|connections| entry(WORKS[0], connections, None));
        let file = "throughput-by-connections-rest-json-16.svg";
        assert_eq!(files(connections.into()), [file]);
        let rates = [10.0, 90.0].map(|rate| entry(WORKS[3], 4, Some(rate)));
        assert_eq!(files(rates.into()), ["latency-by-rate-grpc-16.svg"]);
        let sizes = [16, 64, 256].map(|size| entry(Work::new(Wire::Binary, size), 4, None));
        let [rate, cpu] =
            ["throughput", "cpu"].map(|what| format!("{what}-by-size-rest-binary.svg"));
        assert_eq!(files(sizes.into()), [rate, cpu]);
    }

    #[test]
    fn where_nothing_was_varied_servers_stand_side_by_side() {
        let plain = WORKS.map(|work| entry(work, 32, None));
        assert_eq!(files(plain.into()), ["servers.svg"]);
        assert!(files(Vec::new()).is_empty());
    }
}
