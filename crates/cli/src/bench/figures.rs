//! The arithmetic of the report.

use std::time::Duration;

use super::load::Measured;

/// What one measurement says.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Figures {
    /// Good answers per second.
    pub(super) rate: f64,
    /// Milliseconds within which half of the answers came.
    pub(super) p50: f64,
    /// Milliseconds within which 90 of 100 came.
    pub(super) p90: f64,
    /// Milliseconds within which 99 of 100 came.
    pub(super) p99: f64,
    /// Milliseconds within which 999 of 1,000 came.
    pub(super) p999: f64,
    /// Requests of an open loop that were due and could not be sent, per second.
    pub(super) unsent: f64,
    /// Answers 429 per second, where they are counted by themselves.
    pub(super) refused: f64,
    /// Good answers that came too late to count, per second.
    pub(super) late: f64,
    /// CPU time of the server, in microseconds per good answer.
    pub(super) cpu: Option<f64>,
}

impl Figures {
    pub(super) fn new(measured: &Measured) -> Self {
        let answers = measured.answers as f64;
        let quantile = |q: f64| measured.latency.value_at_quantile(q) as f64 / 1e6;
        let per_answer = |cpu: Duration| cpu.as_secs_f64() * 1e6 / answers;
        let per_second = |count: u64| count as f64 / measured.elapsed.as_secs_f64();
        Self {
            rate: per_second(measured.answers),
            p50: quantile(0.50),
            p90: quantile(0.90),
            p99: quantile(0.99),
            p999: quantile(0.999),
            unsent: per_second(measured.unsent),
            refused: per_second(measured.refused),
            late: per_second(measured.late),
            cpu: measured
                .cpu
                .filter(|_| measured.answers > 0)
                .map(per_answer),
        }
    }
}

/// The middle of several measurements and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Spread {
    /// `None` of no values.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => (values[middle - 1] + values[middle]) / 2.0,
            _ => values[middle],
        };
        Some(Self { median, low, high })
    }
}

/// One server at one kind of request: every repeat of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    pub(super) figures: Vec<Figures>,
    /// Why nothing was measured: the server does not take such requests.
    pub(super) lacking: Option<String>,
    pub(super) failures: u64,
    pub(super) first_failure: Option<String>,
}

impl Row {
    pub(super) fn add(&mut self, measured: &Measured) {
        self.figures.push(Figures::new(measured));
        self.failures += measured.failures;
        if self.first_failure.is_none() {
            self.first_failure.clone_from(&measured.first_failure);
        }
    }

    /// One figure over the repeats.
    pub(super) fn spread(&self, figure: impl Fn(&Figures) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.figures.iter().filter_map(figure))
    }

    /// The middle of one figure over the repeats.
    pub(super) fn median(&self, figure: impl Fn(&Figures) -> f64) -> Option<f64> {
        Some(self.spread(|figures| Some(figure(figures)))?.median)
    }

    pub(super) fn rate(&self) -> Option<Spread> {
        self.spread(|figures| Some(figures.rate))
    }

    pub(super) fn cpu(&self) -> Option<Spread> {
        self.spread(|figures| figures.cpu)
    }
}

/// What part of the floor's throughput a server reaches.
pub(super) fn throughput_ratio(server: &Row, floor: &Row) -> Option<f64> {
    ratio(server.rate()?.median, floor.rate()?.median)
}

/// What part of a server's CPU time the floor needs: 1 is as cheap as the floor.
pub(super) fn cpu_ratio(server: &Row, floor: &Row) -> Option<f64> {
    ratio(floor.cpu()?.median, server.cpu()?.median)
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::bench) fn row(figures: &[(f64, Option<f64>)]) -> Row {
        let figures = figures.iter().map(|(rate, cpu)| Figures {
            rate: *rate,
            p50: 0.5,
            p99: 1.25,
            cpu: *cpu,
            ..Figures::default()
        });
        Row {
            figures: figures.collect(),
            ..Row::default()
        }
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let spread = Spread::of([4.0, 1.0, 2.0, 10.0]).unwrap();
        assert_eq!((spread.median, spread.low, spread.high), (3.0, 1.0, 10.0));
        assert_eq!(Spread::of([7.0]).unwrap().median, 7.0);
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn half_the_rate_and_twice_the_cpu_time_are_both_a_half() {
        let floor = row(&[(100.0, Some(10.0))]);
        let server = row(&[(50.0, Some(20.0))]);
        assert_eq!(throughput_ratio(&server, &floor), Some(0.5));
        assert_eq!(cpu_ratio(&server, &floor), Some(0.5));
    }

    #[test]
    fn a_server_whose_cpu_time_is_unknown_has_no_cpu_ratio() {
        let floor = row(&[(100.0, Some(10.0))]);
        assert_eq!(cpu_ratio(&row(&[(50.0, None)]), &floor), None);
    }

    #[test]
    fn figures_are_per_answer_and_per_second() {
        let mut measured = Measured::new(Duration::from_millis(500));
        measured.answers = 100;
        measured.latency.record_n(2_000_000, 100).unwrap();
        measured.cpu = Some(Duration::from_millis(1));
        measured.refused = 7;
        let figures = Figures::new(&measured);
        assert_eq!((figures.rate, figures.cpu), (200.0, Some(10.0)));
        assert_eq!((figures.refused, figures.unsent), (14.0, 0.0));
        assert!((figures.p50 - 2.0).abs() < 0.01);
    }

    #[test]
    fn without_answers_there_is_no_cpu_time_per_answer() {
        let mut measured = Measured::new(Duration::from_secs(1));
        measured.cpu = Some(Duration::from_millis(1));
        assert_eq!(Figures::new(&measured).cpu, None);
    }
}
