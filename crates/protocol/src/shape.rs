//! Shapes: of a tensor that is there ([`Shape`]), and of one a model declares ([`DeclaredShape`]).

use std::fmt;

/// The dimensions of a tensor that is there: non-negative, row-major, outermost first.
///
/// `[]` is the shape of a scalar and holds one element.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(Vec<u64>);

impl Shape {
    /// A shape of these dimensions.
    #[must_use]
    pub fn new(dims: impl Into<Vec<u64>>) -> Self {
        Self(dims.into())
    }

    /// The dimensions, outermost first.
    #[must_use]
    pub fn dims(&self) -> &[u64] {
        &self.0
    }

    /// How many dimensions there are.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The number of elements: the product of the dimensions, 1 for `[]`.
    ///
    /// `None` when it does not fit a `usize`, whatever zeros stand among the dimensions.
    #[must_use]
    pub fn element_count(&self) -> Option<usize> {
        // A zero must not hide dimensions whose product nothing could index.
        let nonzero = self.0.iter().filter(|dim| **dim != 0);
        let count = nonzero.copied().try_fold(1_usize, |count, dim| {
            count.checked_mul(usize::try_from(dim).ok()?)
        })?;
        Some(if self.0.contains(&0) { 0 } else { count })
    }
}

impl<const N: usize> From<[u64; N]> for Shape {
    fn from(dims: [u64; N]) -> Self {
        Self(dims.to_vec())
    }
}

impl From<Vec<u64>> for Shape {
    fn from(dims: Vec<u64>) -> Self {
        Self(dims)
    }
}

impl From<&[usize]> for Shape {
    fn from(dims: &[usize]) -> Self {
        Self(dims.iter().map(|dim| *dim as u64).collect())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_dims(f, &self.0)
    }
}

/// The dimensions of a tensor as a model's metadata declares them; `-1` is open (any size).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct DeclaredShape(Vec<i64>);

impl DeclaredShape {
    /// A declared shape of these dimensions; anything below zero counts as open.
    #[must_use]
    pub fn new(dims: impl Into<Vec<i64>>) -> Self {
        Self(dims.into())
    }

    /// The dimensions, outermost first, `-1` where open.
    #[must_use]
    pub fn dims(&self) -> &[i64] {
        &self.0
    }

    /// How many dimensions are declared.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Whether a tensor of this shape may stand where this one is declared.
    #[must_use]
    pub fn matches(&self, shape: &Shape) -> bool {
        self.rank() == shape.rank()
            && self
                .0
                .iter()
                .zip(shape.dims())
                .all(|(declared, found)| *declared < 0 || u64::try_from(*declared) == Ok(*found))
    }
}

impl<const N: usize> From<[i64; N]> for DeclaredShape {
    fn from(dims: [i64; N]) -> Self {
        Self(dims.to_vec())
    }
}

impl From<Vec<i64>> for DeclaredShape {
    fn from(dims: Vec<i64>) -> Self {
        Self(dims)
    }
}

impl fmt::Display for DeclaredShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_dims(f, &self.0)
    }
}

/// Most dimensions that a message spells out; a hostile shape must not make a hostile message.
const SHOWN_DIMS: usize = 16;

fn write_dims(f: &mut fmt::Formatter<'_>, dims: &[impl fmt::Display]) -> fmt::Result {
    f.write_str("[")?;
    for (index, dim) in dims.iter().take(SHOWN_DIMS).enumerate() {
        if index > 0 {
            f.write_str(",")?;
        }
        write!(f, "{dim}")?;
    }
    if dims.len() > SHOWN_DIMS {
        write!(f, ",… {} dimensions", dims.len())?;
    }
    f.write_str("]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scalar_shape_holds_one_element() {
        assert_eq!(Shape::new([]).element_count(), Some(1));
    }

    #[test]
    fn a_zero_dimension_makes_an_empty_tensor() {
        assert_eq!(Shape::from([0, 2]).element_count(), Some(0));
    }

    #[test]
    fn a_product_beyond_the_address_space_is_no_count_even_beside_a_zero() {
        assert_eq!(Shape::from([1 << 32, 1 << 32]).element_count(), None);
        assert_eq!(Shape::from([1 << 32, 0, 1 << 32]).element_count(), None);
    }

    #[test]
    fn an_open_dimension_matches_any_size_and_a_fixed_one_only_its_own() {
        let declared = DeclaredShape::from([-1, 4]);
        assert!(declared.matches(&Shape::from([0, 4])));
        assert!(!declared.matches(&Shape::from([1, 5])));
        assert!(!declared.matches(&Shape::from([4])));
    }

    #[test]
    fn a_long_shape_is_cut_short_when_shown() {
        let shown = Shape::new(vec![1; 1000]).to_string();
        assert!(shown.ends_with(",… 1000 dimensions]") && shown.len() < 80);
    }
}
