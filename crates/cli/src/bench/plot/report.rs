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

/// What is the same for all entries of a plot and another for those of the next, so that plots are
/// told apart by it.
#[derive(Clone, Copy)]
struct Fixed {
    connections: bool,
    rate: bool,
}

impl Fixed {
    fn of(report: &Report) -> Self {
        let entries: Vec<&Entry> = report.entries.iter().collect();
        let several = |group: &[&Entry], of: fn(&Entry) -> f64| several(group, of);
        Self {
            connections: several(&entries, |entry| entry.connections as f64),
            rate: several(&entries, |entry| entry.rate.unwrap_or(0.0)),
        }
    }

    /// `, 8 connections, 100 requests/s` of those that are true here.
    fn title(self, entry: &Entry) -> String {
        let mut title = String::new();
        if self.connections {
            title += &format!(", {} connections", entry.connections);
        }
        match entry.rate.filter(|_| self.rate) {
            Some(rate) => title += &format!(", {rate} requests/s"),
            None if self.rate => title += ", closed loop",
            None => {}
        }
        title
    }

    /// The same for the name of a file: `-8-connections-100-per-second`.
    fn file(self, entry: &Entry) -> String {
        let mut file = String::new();
        if self.connections {
            file += &format!("-{}-connections", entry.connections);
        }
        match entry.rate.filter(|_| self.rate) {
            Some(rate) => file += &format!("-{rate}-per-second"),
            None if self.rate => file += "-closed-loop",
            None => {}
        }
        file
    }
}

/// All plots of a report.
pub(in crate::bench) fn of_report(report: &Report) -> Result<Vec<Plot>, PlotError> {
    let mut plots = Vec::new();
    let fixed = Fixed::of(report);
    for group in groups(&report.entries, |entry| (entry.work.name(), rate_of(entry))) {
        if several(&group, |entry| entry.connections as f64) {
            let connections = false;
            plots.push(over_connections(
                &group,
                Fixed {
                    connections,
                    ..fixed
                },
            )?);
        }
    }
    for group in groups(&report.entries, |entry| {
        (entry.work.name(), entry.connections)
    }) {
        if several(&group, |entry| entry.rate.unwrap_or(0.0)) {
            let rate = false;
            plots.push(over_rates(&group, Fixed { rate, ..fixed })?);
        }
    }
    for group in groups(&report.entries, |entry| {
        (entry.work.wire.name(), entry.connections, rate_of(entry))
    }) {
        if several(&group, |entry| entry.elements as f64) && group.len() > 2 {
            plots.extend(over_sizes(&group, fixed)?);
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

fn over_connections(group: &[&Entry], fixed: Fixed) -> Result<Plot, PlotError> {
    let (work, title, file) = (
        group[0].work.name(),
        fixed.title(group[0]),
        fixed.file(group[0]),
    );
    let chart = Chart {
        title: format!("Throughput by connections: {work}{title}"),
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
        file: format!("throughput-by-connections-{work}{file}.svg"),
        svg: chart.svg()?,
    })
}

fn over_rates(group: &[&Entry], fixed: Fixed) -> Result<Plot, PlotError> {
    let (work, title, file) = (
        group[0].work.name(),
        fixed.title(group[0]),
        fixed.file(group[0]),
    );
    let rate = |entry: &Entry| entry.rate.unwrap_or(0.0);
    let of = |of: &str, y: fn(&Row) -> Option<f64>| lines(group, rate, y, of);
    let p50 = of(" p50", |row| row.median(|f| f.p50));
    let p99 = of(" p99", |row| row.median(|f| f.p99));
    let p999 = of(" p99.9", |row| row.median(|f| f.p999));
    let chart = Chart {
        title: format!("Latency by rate: {work}{title}"),
        x: ("requests/s sent", Scale::Logarithmic),
        y: ("ms", Scale::Logarithmic),
        lines: p50.into_iter().chain(p99).chain(p999).collect(),
    };
    Ok(Plot {
        file: format!("latency-by-rate-{work}{file}.svg"),
        svg: chart.svg()?,
    })
}

fn over_sizes(group: &[&Entry], fixed: Fixed) -> Result<[Plot; 2], PlotError> {
    let wire = group[0].work.wire.name();
    let (held, file) = (fixed.title(group[0]), fixed.file(group[0]));
    let size = |entry: &Entry| entry.elements as f64;
    let chart = |title: &str, y, lines| Chart {
        title: format!("{title} by size: {wire}{held}"),
        x: ("elements", Scale::Logarithmic),
        y: (y, Scale::Logarithmic),
        lines,
    };
    let rate = lines(group, size, |row| row.median(|f| f.rate), "");
    let cpu = lines(group, size, |row| row.cpu().map(|cpu| cpu.median), "");
    Ok([
        Plot {
            file: format!("throughput-by-size-{wire}{file}.svg"),
            svg: chart("Throughput", "requests/s", rate).svg()?,
        },
        Plot {
            file: format!("cpu-by-size-{wire}{file}.svg"),
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
    fn of_two_lists_each_plot_has_a_file_of_its_own_that_says_what_is_held() {
        let of = |rates: &[Option<f64>]| {
            let rates = rates.iter().copied();
            let both = rates.flat_map(|rate| [(1, rate), (8, rate)]);
            both.map(|(connections, rate)| entry(WORKS[3], connections, rate))
                .collect()
        };
        assert_eq!(
            files(of(&[Some(10.0), Some(90.5)])),
            [
                "throughput-by-connections-grpc-16-10-per-second.svg",
                "throughput-by-connections-grpc-16-90.5-per-second.svg",
                "latency-by-rate-grpc-16-1-connections.svg",
                "latency-by-rate-grpc-16-8-connections.svg",
            ]
        );
        let sizes = [16, 64, 256].map(|size| Work::new(Wire::Binary, size));
        let sizes = sizes
            .into_iter()
            .flat_map(|work| [1, 8].map(|c| entry(work, c, None)));
        let mut files = files(sizes.collect());
        let all = files.len();
        files.sort_unstable();
        files.dedup();
        assert_eq!(files.len(), all);
        assert!(files.contains(&"cpu-by-size-rest-binary-8-connections.svg".to_owned()));
    }

    #[test]
    fn a_title_says_what_its_plot_holds() {
        let both = Fixed {
            connections: true,
            rate: true,
        };
        let title = |rate| both.title(&entry(WORKS[0], 8, rate));
        assert_eq!(title(Some(100.0)), ", 8 connections, 100 requests/s");
        assert_eq!(title(None), ", 8 connections, closed loop");
    }

    #[test]
    fn where_nothing_was_varied_servers_stand_side_by_side() {
        let plain = WORKS.map(|work| entry(work, 32, None));
        assert_eq!(files(plain.into()), ["servers.svg"]);
        assert!(files(Vec::new()).is_empty());
    }
}
