//! The outputs that were asked for, in the order they were asked for, and classification.

mod classification;

use oip_protocol::{Error, InferResponse, RequestedOutput, Result, Tensor};

use crate::ResolvedModel;

/// Outputs of more elements than this, together, are classified off the async threads.
const LARGE: usize = 64 << 10;

/// Whether [`select`] takes long enough for others to notice.
pub fn takes_long(asked: &[RequestedOutput], response: &InferResponse) -> bool {
    let classified = |name: &str| {
        let mut asked = asked.iter().filter(|asked| asked.name == name);
        asked.any(|asked| matches!(classification::classes(asked), Ok(Some(_))))
    };
    if asked.is_empty() {
        return false;
    }
    let outputs = response.outputs.iter();
    let classified = outputs.filter(|output| classified(output.name()));
    classified.map(Tensor::element_count).sum::<usize>() > LARGE
}

/// Keeps the outputs that were asked for, in that order; all of them when none was.
///
/// # Errors
/// An output that was asked for and is not there, or a classification that cannot be made (400).
pub fn select(
    model: &dyn ResolvedModel,
    asked: &[RequestedOutput],
    response: &mut InferResponse,
) -> Result<()> {
    if asked.is_empty() {
        return Ok(());
    }
    let mut found = std::mem::take(&mut response.outputs);
    response.outputs.reserve(asked.len().min(found.len()));
    let mut left = classification::MOST;
    for wanted in asked {
        let Some(index) = found.iter().position(|output| output.name() == wanted.name) else {
            let name = oip_protocol::error::excerpt(&wanted.name);
            return Err(Error::does_not_fit(format!(
                "the model has no output '{name}'"
            )));
        };
        let output = found.swap_remove(index);
        let output = match classification::classes(wanted)? {
            None => output,
            Some(classes) => classification::classify(model, &output, classes, &mut left)?,
        };
        response.outputs.push(output);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
