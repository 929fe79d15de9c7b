//! Plots as SVG: lines over numbers, and bars over names.

mod axis;
mod bars;
mod lines;
mod report;

use std::path::Path;

use plotters::style::RGBColor;

use super::BenchError;

pub(super) use axis::Scale;
pub(super) use bars::Bars;
pub(super) use lines::{Chart, Line};
pub(super) use report::of_report;

/// Why there is no plot.
#[derive(Debug, thiserror::Error)]
#[error("a plot cannot be drawn: {0}")]
pub(super) struct PlotError(String);

impl PlotError {
    fn new(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// A plot and the name of its file.
#[derive(Debug)]
pub(super) struct Plot {
    pub(super) file: String,
    pub(super) svg: String,
}

/// Writes plots into a folder, which is made where it is missing.
pub(super) fn write(folder: &Path, plots: &[Plot]) -> Result<(), BenchError> {
    let fail = |file: &Path, source| BenchError::Write {
        file: file.display().to_string(),
        source,
    };
    std::fs::create_dir_all(folder).map_err(|error| fail(folder, error))?;
    for plot in plots {
        let file = folder.join(&plot.file);
        std::fs::write(&file, &plot.svg).map_err(|error| fail(&file, error))?;
        eprintln!("plot: {}", file.display());
    }
    Ok(())
}

/// Okabe and Ito's colours, which people of any sight tell apart.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];

const FONT: &str = "sans-serif";
const SIZE: (u32, u32) = (760, 420);

/// The colour of the series at this place.
fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}
