//! When requests are sent in an open loop: at moments laid down beforehand, whether or not the
//! server keeps up. What counts is the time from the moment on, so a server that stalls is
//! charged for every request that would have come meanwhile.

use std::time::{Duration, Instant};

use super::random::Random;

/// How moments lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spacing {
    /// All alike.
    Constant,
    /// As callers who do not know of each other come: exponentially distributed.
    Poisson,
}

impl Spacing {
    pub(super) const ALL: [Self; 2] = [Self::Poisson, Self::Constant];

    /// Its name on the command line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Poisson => "poisson",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|spacing| spacing.name() == name)
    }
}

/// How many requests are sent, and how they lie apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate {
    pub(super) per_second: f64,
    pub(super) spacing: Spacing,
}

impl Rate {
    /// A part of it.
    pub(super) fn part(self, part: f64) -> Self {
        Self {
            per_second: self.per_second * part,
            ..self
        }
    }
}

/// The moments, one after the other.
#[derive(Debug)]
pub(super) struct Arrivals {
    from: Instant,
    to: Instant,
    rate: Rate,
    /// Seconds from the beginning to the next moment.
    next: f64,
    random: Random,
}

impl Arrivals {
    /// From the first moment to the second. Equal seeds give equal moments.
    pub(super) fn new(from: Instant, to: Instant, rate: Rate, seed: u64) -> Self {
        let mut arrivals = Self {
            from,
            to,
            rate,
            next: 0.0,
            random: Random::new(seed),
        };
        arrivals.next = arrivals.gap();
        arrivals
    }

    /// Seconds to the moment after the next.
    fn gap(&mut self) -> f64 {
        let mean = 1.0 / self.rate.per_second;
        match self.rate.spacing {
            Spacing::Constant => mean,
            Spacing::Poisson => -mean * (1.0 - self.random.unit()).ln(),
        }
    }
}

impl Iterator for Arrivals {
    type Item = Instant;

    fn next(&mut self) -> Option<Instant> {
        let after = Duration::try_from_secs_f64(self.next).ok()?;
        let moment = self.from.checked_add(after).filter(|at| *at < self.to)?;
        self.next += self.gap();
        Some(moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(spacing: Spacing) -> Vec<f64> {
        let from = Instant::now();
        let rate = Rate {
            per_second: 1000.0,
            spacing,
        };
        let moments: Vec<Instant> =
            Arrivals::new(from, from + Duration::from_secs(20), rate, 7).collect();
        let pairs = moments.windows(2);
        pairs
            .map(|pair| (pair[1] - pair[0]).as_secs_f64())
            .collect()
    }

    #[test]
    fn constant_moments_lie_a_thousandth_apart_at_a_thousand_a_second() {
        let gaps = gaps(Spacing::Constant);
        assert!((19_990..20_001).contains(&gaps.len()), "{}", gaps.len());
        assert!(gaps.iter().all(|gap| (gap - 1e-3).abs() < 1e-6));
    }

    #[test]
    fn poisson_moments_have_the_rate_and_the_spread_of_an_exponential_distribution() {
        let gaps = gaps(Spacing::Poisson);
        assert!((19_400..20_600).contains(&gaps.len()), "{}", gaps.len());
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let squares: f64 = gaps.iter().map(|gap| (gap - mean).powi(2)).sum();
        let deviation = (squares / gaps.len() as f64).sqrt();
        assert!(
            (deviation / mean - 1.0).abs() < 0.05,
            "{deviation} of {mean}"
        );
        // An exponential distribution has 1/e of its values above the mean.
        let above = gaps.iter().filter(|gap| **gap > mean).count() as f64;
        assert!((above / gaps.len() as f64 - 0.368).abs() < 0.02);
    }

    #[test]
    fn no_moment_lies_at_or_beyond_the_end() {
        let from = Instant::now();
        let to = from + Duration::from_millis(10);
        for spacing in Spacing::ALL {
            let rate = Rate {
                per_second: 200.0,
                spacing,
            };
            assert!(Arrivals::new(from, to, rate, 1).all(|at| at > from && at < to));
        }
    }
}
