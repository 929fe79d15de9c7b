//! Axes: where the ticks stand and what they say.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

/// How numbers lie on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bench) enum Scale {
    /// Equal steps, from zero.
    Linear,
    /// Equal factors. What is not above zero is left out.
    Logarithmic,
}

/// An axis over some values.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    scale: Scale,
    /// In the coordinates of the plot.
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) ticks: Vec<f64>,
}

impl Axis {
    /// An axis that shows all of these values. With `exact` the ticks stand at the values, as
    /// far as there are few.
    pub(super) fn over(values: impl Iterator<Item = f64>, scale: Scale, exact: bool) -> Self {
        let mut values: Vec<f64> = values.filter(|value| shown(*value, scale)).collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        let (low, high) = match (values.first(), values.last()) {
            (Some(low), Some(high)) => (*low, *high),
            _ => (1.0, 1.0),
        };
        match scale {
            Scale::Linear => linear(high.max(f64::MIN_POSITIVE)),
            Scale::Logarithmic => {
                let at_values = exact && values.len() <= 12;
                let ticks = if at_values {
                    values
                } else {
                    round_numbers(low, high)
                };
                let ticks = ticks.into_iter().map(f64::log10).collect();
                let room = 0.03 * (high / low).log10().max(1.0);
                Self {
                    scale,
                    from: low.log10() - room,
                    to: high.log10() + room,
                    ticks,
                }
            }
        }
    }

    /// Where a value stands; `None` for one that cannot be shown.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        match self.scale {
            _ if !shown(value, self.scale) => None,
            Scale::Linear => Some(value),
            Scale::Logarithmic => Some(value.log10()),
        }
    }

    /// What a tick says.
    pub(super) fn label(&self, place: f64) -> String {
        match self.scale {
            Scale::Linear => short(place),
            Scale::Logarithmic => short(10_f64.powf(place)),
        }
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let part = (value - self.from) / (self.to - self.from);
        limit.0 + (part * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

fn shown(value: f64, scale: Scale) -> bool {
    value.is_finite() && (scale == Scale::Linear || value > 0.0)
}

/// From zero to a bit above the highest value, in steps of 1, 2 or 5 times a power of ten.
fn linear(high: f64) -> Axis {
    let power = 10_f64.powf((high / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let step = step
        .into_iter()
        .find(|step| high / step <= 5.5)
        .unwrap_or(10.0 * power);
    let count = (high / step).ceil() as u32;
    Axis {
        scale: Scale::Linear,
        from: 0.0,
        to: step * f64::from(count) * 1.02,
        ticks: (0..=count).map(|tick| step * f64::from(tick)).collect(),
    }
}

/// Powers of ten within the range and one around it; with 2 and 5 between them where there are
/// few.
fn round_numbers(low: f64, high: f64) -> Vec<f64> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let within: &[f64] = if last - first > 3 {
        &[1.0]
    } else {
        &[1.0, 2.0, 5.0]
    };
    let numbers =
        (first..=last).flat_map(|power| within.iter().map(move |f| f * 10_f64.powi(power)));
    numbers
        .filter(|number| (low * 0.99..=high * 1.01).contains(number))
        .collect()
}

/// `1200` as `1.2k`.
pub(super) fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        size if size >= 999_500.0 => (value / 1e6, "M"),
        size if size >= 9_995.0 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_axis_begins_at_zero_and_has_round_steps() {
        let axis = Axis::over([3.0, 870.0].into_iter(), Scale::Linear, false);
        assert_eq!(axis.ticks, [0.0, 200.0, 400.0, 600.0, 800.0, 1000.0]);
        assert!(axis.from == 0.0 && axis.to >= 1000.0);
    }

    #[test]
    fn a_logarithmic_axis_leaves_out_what_has_no_logarithm() {
        let values = [0.0, -1.0, f64::NAN, 1.0, 4.0, 16.0];
        let axis = Axis::over(values.into_iter(), Scale::Logarithmic, true);
        let labels: Vec<String> = axis.ticks.iter().map(|at| axis.label(*at)).collect();
        assert_eq!(labels, ["1", "4", "16"]);
        assert_eq!((axis.place(0.0), axis.place(100.0)), (None, Some(2.0)));
    }

    #[test]
    fn an_axis_over_nothing_is_one_all_the_same() {
        for scale in [Scale::Linear, Scale::Logarithmic] {
            let axis = Axis::over(std::iter::empty(), scale, true);
            assert!(axis.from < axis.to && axis.to.is_finite(), "{axis:?}");
        }
    }

    #[test]
    fn labels_are_short() {
        let labels = [0.25, 1.0, 12.5, 999.6, 1200.0, 16384.0, 1_048_576.0].map(short);
        assert_eq!(
            labels,
            ["0.25", "1", "12.5", "1000", "1200", "16.4k", "1.05M"]
        );
    }
}
