//! Several requests as one, along dimension 0. Pure.

use oip_protocol::{Shape, Tensor};

/// Joins the inputs of several requests: the rows of the first, then those of the second, and so
/// on. All have the same tensors in the same order, alike in datatype and in every dimension but
/// the first.
///
/// # Errors
/// A sentence that says what is not alike.
pub(crate) fn merge(members: &[&[Tensor]]) -> Result<Vec<Tensor>, String> {
    let Some(first) = members.first() else {
        return Ok(Vec::new());
    };
    if members.iter().any(|member| member.len() != first.len()) {
        return Err("the requests have different inputs".to_owned());
    }
    let column = |index: usize| members.iter().filter_map(move |member| member.get(index));
    (0..first.len()).map(|index| join(column(index))).collect()
}

/// Joins tensors along dimension 0. Row-major buffers are joined as they are, `BYTES` with their
/// framing too.
fn join<'a>(tensors: impl Iterator<Item = &'a Tensor> + Clone) -> Result<Tensor, String> {
    let mut all = tensors.clone();
    let Some(first) = all.next() else {
        return Err("there is nothing to join".to_owned());
    };
    let unlike = || format!("'{}' is not alike in all requests", first.name());
    let (Some(rows), trailing) = (rows_of(first), trailing(first)) else {
        return Err(format!("'{}' has no first dimension", first.name()));
    };
    let (mut rows, mut bytes) = (rows, first.data().len());
    for other in all {
        let alike = other.name() == first.name()
            && other.datatype() == first.datatype()
            && self::trailing(other) == trailing;
        let more = rows_of(other).filter(|_| alike).ok_or_else(unlike)?;
        rows = rows.checked_add(more).ok_or_else(unlike)?;
        bytes += other.data().len();
    }
    let mut data = Vec::with_capacity(bytes);
    for tensor in tensors {
        data.extend_from_slice(tensor.data());
    }
    let mut dims = vec![rows];
    dims.extend_from_slice(trailing);
    let joined = Tensor::new(first.name(), first.datatype(), Shape::new(dims), data);
    let joined = joined.map_err(|error| error.to_string())?;
    Ok(joined.with_parameters(first.parameters().clone()))
}

/// The size of a tensor's first dimension.
pub(crate) fn rows_of(tensor: &Tensor) -> Option<u64> {
    tensor.shape().dims().first().copied()
}

/// Every dimension but the first.
pub(crate) fn trailing(tensor: &Tensor) -> &[u64] {
    tensor.shape().dims().get(1..).unwrap_or(&[])
}
