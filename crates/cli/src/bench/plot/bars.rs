//! Bars over names, each with its number beside it.

use std::fmt::Write as _;

use super::axis::{Axis, short};
use super::{FONT, Scale, colour};

/// A plot of bars: groups of bars, one a series.
#[derive(Debug)]
pub(in crate::bench) struct Bars {
    pub(in crate::bench) title: String,
    /// What the length of a bar says.
    pub(in crate::bench) x: &'static str,
    /// The series, in the order of the values.
    pub(in crate::bench) names: Vec<String>,
    /// A group's name, and its values; `None` where there is nothing.
    pub(in crate::bench) groups: Vec<(String, Vec<Option<f64>>)>,
}

const WIDTH: f64 = 760.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 70.0;
const TOP: f64 = 64.0;
const BAR: f64 = 15.0;
const GAP: f64 = 14.0;

impl Bars {
    /// The plot as SVG. Lengths are logarithmic, as servers differ by factors of hundreds.
    pub(in crate::bench) fn svg(&self) -> String {
        let values = self
            .groups
            .iter()
            .flat_map(|(_, values)| values.iter().flatten());
        let mut axis = Axis::over(values.copied(), Scale::Logarithmic, false);
        // The shortest bar is one that can be seen.
        axis.from = (axis.from - 0.3).min(axis.to - 1.0);
        let group = BAR * self.names.len() as f64 + GAP;
        let height = TOP + group * self.groups.len() as f64 + 46.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" font-family=\"{FONT}\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        );
        text(&mut svg, WIDTH / 2.0, 22.0, "middle", 17, &self.title);
        self.legend(&mut svg);
        for (index, (name, values)) in self.groups.iter().enumerate() {
            let top = TOP + group * index as f64;
            let middle = top + (group - GAP) / 2.0 + 4.0;
            text(&mut svg, LEFT - 8.0, middle, "end", 13, name);
            for (series, value) in values.iter().enumerate() {
                bar(&mut svg, &axis, top + BAR * series as f64, series, *value);
            }
        }
        text(
            &mut svg,
            LEFT + (WIDTH - LEFT - RIGHT) / 2.0,
            height - 14.0,
            "middle",
            13,
            self.x,
        );
        svg.push_str("</svg>\n");
        svg
    }

    fn legend(&self, svg: &mut String) {
        let mut x = LEFT;
        for (series, name) in self.names.iter().enumerate() {
            let fill = fill(series);
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"36\" width=\"12\" height=\"12\" fill=\"{fill}\"/>"
            );
            text(svg, x + 17.0, 46.0, "start", 13, name);
            x += 32.0 + 7.5 * name.chars().count() as f64;
        }
    }
}

fn bar(svg: &mut String, axis: &Axis, top: f64, series: usize, value: Option<f64>) {
    let place = value.and_then(|value| axis.place(value));
    let width = place.map_or(0.0, |place| {
        (WIDTH - LEFT - RIGHT) * (place - axis.from) / (axis.to - axis.from)
    });
    let (height, fill) = (BAR - 2.0, fill(series));
    let _ = writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{fill}\"/>"
    );
    let label = value.map_or_else(|| "not taken".to_owned(), short);
    text(svg, LEFT + width + 5.0, top + 11.0, "start", 12, &label);
}

fn fill(series: usize) -> String {
    let colour = colour(series);
    format!("#{:02x}{:02x}{:02x}", colour.0, colour.1, colour.2)
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, size: u32, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{words}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_grow_with_their_values_and_what_is_missing_is_said() {
        let bars = Bars {
            title: "a & b".to_owned(),
            x: "part",
            names: vec!["ours".to_owned(), "theirs".to_owned()],
            groups: vec![
                ("small".to_owned(), vec![Some(0.8), Some(0.01)]),
                ("large".to_owned(), vec![Some(0.2), None]),
            ],
        };
        let svg = bars.svg();
        assert!(
            svg.contains("a &amp; b") && svg.contains("not taken"),
            "{svg}"
        );
        let widths: Vec<f64> = svg
            .lines()
            .filter(|line| line.contains("x=\"150\""))
            .filter_map(|line| {
                line.split("width=\"")
                    .nth(1)?
                    .split('"')
                    .next()?
                    .parse()
                    .ok()
            })
            .filter(|width| *width != 12.0)
            .collect();
        assert_eq!(widths.len(), 4, "{svg}");
        assert!(widths[0] > widths[2] && widths[2] > widths[1] && widths[1] > 0.0);
        assert_eq!(widths[3], 0.0);
    }
}
