//! Lines over numbers.

use plotters::prelude::*;

use super::axis::Axis;
use super::{FONT, PlotError, SIZE, Scale, colour};

/// A plot of lines.
#[derive(Debug)]
pub(in crate::bench) struct Chart {
    pub(in crate::bench) title: String,
    /// What the axis counts, and how.
    pub(in crate::bench) x: (&'static str, Scale),
    pub(in crate::bench) y: (&'static str, Scale),
    pub(in crate::bench) lines: Vec<Line>,
}

/// One line.
#[derive(Debug)]
pub(in crate::bench) struct Line {
    pub(in crate::bench) name: String,
    pub(in crate::bench) points: Vec<(f64, f64)>,
}

impl Chart {
    /// The plot as SVG.
    pub(in crate::bench) fn svg(&self) -> Result<String, PlotError> {
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            self.draw(&area).map_err(PlotError::new)?;
            area.present().map_err(PlotError::new)?;
        }
        Ok(svg)
    }

    fn draw<'a>(
        &self,
        area: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
    ) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x = Axis::over(points().map(|point| point.0), self.x.1, true);
        let y = Axis::over(points().map(|point| point.1), self.y.1, false);
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, (FONT, 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(66)
            .build_cartesian_2d(x.clone(), y.clone())?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .x_desc(self.x.0)
            .y_desc(self.y.0)
            .x_label_formatter(&|at| x.label(*at))
            .y_label_formatter(&|at| y.label(*at))
            .label_style((FONT, 13))
            .axis_desc_style((FONT, 14))
            .draw()?;
        for (index, line) in self.lines.iter().enumerate() {
            let colour = colour(index);
            let placed = line.points.iter();
            let placed = placed.filter_map(|point| Some((x.place(point.0)?, y.place(point.1)?)));
            let placed: Vec<(f64, f64)> = placed.collect();
            let dots = placed
                .iter()
                .map(|point| Circle::new(*point, 3, colour.filled()));
            chart.draw_series(dots)?;
            chart
                .draw_series(LineSeries::new(placed.clone(), colour.stroke_width(2)))?
                .label(&line.name)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2))
                });
        }
        if self.lines.len() > 1 {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .background_style(WHITE.mix(0.85))
                .border_style(BLACK.mix(0.3))
                .label_font((FONT, 13))
                .draw()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>, scale: Scale) -> Chart {
        let line = |name: &str| Line {
            name: name.to_owned(),
            points: points.clone(),
        };
        Chart {
            title: "a < b".to_owned(),
            x: ("connections", scale),
            y: ("requests/s", scale),
            lines: vec![line("floor"), line("oip")],
        }
    }

    #[test]
    fn a_chart_is_svg_with_its_words_and_a_dot_for_each_point() {
        let svg = chart(
            vec![(1.0, 10.0), (4.0, 40.0), (16.0, 90.0)],
            Scale::Logarithmic,
        )
        .svg();
        let svg = svg.unwrap();
        assert!(
            svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"),
            "{svg}"
        );
        for words in ["connections", "requests/s", "floor", "oip", "a &lt; b"] {
            assert!(svg.contains(words), "{words}");
        }
        assert_eq!(svg.matches("<circle").count(), 6);
    }

    #[test]
    fn what_cannot_be_shown_is_left_out_and_nothing_is_a_plot_too() {
        let odd = vec![(1.0, f64::NAN), (2.0, 0.0), (3.0, 5.0)];
        let svg = chart(odd, Scale::Logarithmic).svg().unwrap();
        assert_eq!(svg.matches("<circle").count(), 2);
        for scale in [Scale::Linear, Scale::Logarithmic] {
            assert!(chart(Vec::new(), scale).svg().is_ok());
            assert!(chart(vec![(0.0, 0.0)], scale).svg().is_ok());
        }
    }
}
