//! The answer to a batch as the answers to its requests, along dimension 0. Pure.

use oip_protocol::error::excerpt;
use oip_protocol::{Bytes, Datatype, Shape, Tensor};

use super::merge::{rows_of, trailing};

/// Gives each request its rows: the first gets as many as `rows` begins with, and so on. Each
/// gets a buffer of its own: an answer counts as memory by its length until its caller has read
/// it, and a slice would keep the rows of all others for as long.
///
/// # Errors
/// A sentence, when an output does not have a row for each row that went in.
pub(crate) fn split(outputs: &[Tensor], rows: &[u64]) -> Result<Vec<Vec<Tensor>>, String> {
    let mut members: Vec<Vec<Tensor>> = rows
        .iter()
        .map(|_| Vec::with_capacity(outputs.len()))
        .collect();
    let total = rows
        .iter()
        .try_fold(0_u64, |total, rows| total.checked_add(*rows));
    for output in outputs {
        if total.is_none() || rows_of(output) != total {
            return Err(format!(
                "output '{}' is {} for a batch of {} rows",
                excerpt(output.name()),
                output.shape(),
                total.unwrap_or(u64::MAX)
            ));
        }
        let mut cutter = Cutter::new(output, total.unwrap_or(0));
        for (member, rows) in members.iter_mut().zip(rows) {
            member.push(cutter.cut(*rows)?);
        }
    }
    Ok(members)
}

/// Cuts rows off a tensor, one piece after the other.
struct Cutter<'a> {
    tensor: &'a Tensor,
    /// Elements in a row.
    row: usize,
    /// What is left of the buffer.
    left: Bytes,
    /// Bytes in a row; `None` where it varies.
    row_bytes: Option<usize>,
}

impl<'a> Cutter<'a> {
    fn new(tensor: &'a Tensor, rows: u64) -> Self {
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        let row = tensor.element_count().checked_div(rows).unwrap_or(0);
        let size = tensor.datatype().size();
        Self {
            tensor,
            row,
            left: tensor.data().clone(),
            row_bytes: size.map(|size| row * size),
        }
    }

    fn cut(&mut self, rows: u64) -> Result<Tensor, String> {
        let count = usize::try_from(rows).unwrap_or(usize::MAX);
        let bytes = match self.row_bytes {
            Some(row_bytes) => count.checked_mul(row_bytes),
            None => self.strings(count.saturating_mul(self.row)),
        };
        let bytes = bytes.filter(|bytes| *bytes <= self.left.len());
        let bytes = bytes.ok_or("an output is shorter than its shape says")?;
        let data = Bytes::copy_from_slice(&self.left.split_to(bytes));
        let mut dims = vec![rows];
        dims.extend_from_slice(trailing(self.tensor));
        let (name, datatype) = (self.tensor.name(), self.tensor.datatype());
        let piece = Tensor::new(name, datatype, Shape::new(dims), data);
        let piece = piece.map_err(|error| error.to_string())?;
        Ok(piece.with_parameters(self.tensor.parameters().clone()))
    }

    /// How many bytes the next byte strings take, their lengths included.
    fn strings(&self, count: usize) -> Option<usize> {
        debug_assert_eq!(self.tensor.datatype(), Datatype::Bytes);
        let mut offset = 0_usize;
        for _ in 0..count {
            let length = self.left.get(offset..)?.first_chunk::<4>()?;
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            offset = offset.checked_add(4)?.checked_add(length)?;
        }
        Some(offset)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::merge::merge;
    use super::*;

    /// A tensor of these rows and trailing dimensions with made-up elements.
    fn tensor(name: &str, datatype: Datatype, rows: u64, trailing: &[u64], seed: u8) -> Tensor {
        let mut dims = vec![rows];
        dims.extend(trailing);
        let shape = Shape::new(dims);
        let count = shape.element_count().unwrap();
        match datatype.size() {
            Some(size) => {
                let byte = |i: usize| match datatype {
                    Datatype::Bool => (i as u8 ^ seed) & 1,
                    _ => (i as u8).wrapping_mul(31) ^ seed,
                };
                let data: Vec<u8> = (0..count * size).map(byte).collect();
                Tensor::new(name, datatype, shape, data).unwrap()
            }
            None => {
                let string = |i: usize| vec![seed ^ i as u8; (i * 7 + usize::from(seed)) % 5];
                Tensor::from_strings(name, shape, (0..count).map(string)).unwrap()
            }
        }
    }

    fn datatypes() -> impl Strategy<Value = Datatype> {
        (0..Datatype::ALL.len()).prop_map(|index| Datatype::ALL[index])
    }

    proptest! {
        /// Every datatype, every count of rows (none included), every rank.
        #[test]
        fn what_is_merged_and_split_again_is_what_it_was(
            columns in prop::collection::vec((datatypes(), prop::collection::vec(0_u64..4, 0..3)), 1..4),
            rows in prop::collection::vec(0_u64..5, 1..6),
        ) {
            let member = |(seed, rows): (usize, &u64)| -> Vec<Tensor> {
                let of = |(index, (datatype, trailing)): (usize, &(Datatype, Vec<u64>))| {
                    tensor(&format!("t{index}"), *datatype, *rows, trailing, seed as u8)
                };
                columns.iter().enumerate().map(of).collect()
            };
            let members: Vec<Vec<Tensor>> = rows.iter().enumerate().map(member).collect();
            let lent: Vec<&[Tensor]> = members.iter().map(Vec::as_slice).collect();
            let merged = merge(&lent).unwrap();
            prop_assert_eq!(merged[0].shape().dims()[0], rows.iter().sum::<u64>());
            prop_assert_eq!(split(&merged, &rows).unwrap(), members);
        }

        /// Whatever a model answers, no request gets another's rows.
        #[test]
        fn an_answer_with_another_number_of_rows_is_refused(rows in prop::collection::vec(1_u64..5, 1..5), more in 1_u64..3) {
            let total: u64 = rows.iter().sum();
            for found in [total + more, total.saturating_sub(more)] {
                let output = tensor("y", Datatype::Int16, found, &[2], 1);
                let refused = split(&[output], &rows).unwrap_err();
                prop_assert!(refused.contains("output 'y' is ["));
            }
        }
    }

    #[test]
    fn a_scalar_output_has_no_rows_to_give() {
        let scalar = Tensor::from_vec("y", [], vec![1_i32]).unwrap();
        assert!(split(&[scalar], &[1]).is_err());
    }

    #[test]
    fn requests_that_are_not_alike_are_not_merged() {
        let one = vec![tensor("x", Datatype::Fp32, 1, &[3], 1)];
        for other in [
            tensor("x", Datatype::Fp32, 1, &[4], 1),
            tensor("x", Datatype::Int32, 1, &[3], 1),
            tensor("z", Datatype::Fp32, 1, &[3], 1),
            tensor("x", Datatype::Fp32, 1, &[3, 1], 1),
        ] {
            assert!(merge(&[&one, &[other]]).is_err());
        }
        assert!(merge(&[&one, &[]]).is_err());
    }

    #[test]
    fn an_answer_keeps_the_rows_of_no_other() {
        for datatype in [Datatype::Fp32, Datatype::Bytes] {
            let batch = tensor("y", datatype, 4, &[2], 1);
            let buffer = batch.data().clone();
            let answers = split(&[batch], &[1, 3]).unwrap();
            assert!(buffer.is_unique(), "a slice of the batch is kept");
            let lengths = answers.iter().map(|answer| answer[0].data().len());
            assert_eq!(lengths.sum::<usize>(), buffer.len());
        }
    }
}
