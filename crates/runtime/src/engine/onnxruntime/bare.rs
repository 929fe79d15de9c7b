//! ONNX Runtime with nothing of ours around it: what a server of the same model can be held
//! against. For benchmarks.

use oip_protocol::{Result, Tensor};
use ort::session::builder::PrepackedWeights;
use ort::session::{Session, SessionInputValue};

use super::{convert, count, declared, find, refused, run_failed};
use crate::engine::Share;
use crate::engine::made::{make, open_as};
use crate::library::OnnxRuntime;
use crate::model::{LoadError, ModelFile};
use crate::settings::Fill;

/// A session and the inputs that it is run on.
pub struct BareSession {
    session: Session,
    inputs: Vec<Tensor>,
}

impl BareSession {
    /// As many sessions of a model as a repository makes with this share of the machine, each
    /// with made-up inputs of one row.
    ///
    /// # Errors
    /// [`LoadError`]: the library is not here, or does not take the model.
    pub fn open(
        wanted: &OnnxRuntime,
        file: &ModelFile,
        share: Share,
    ) -> std::result::Result<Vec<Self>, LoadError> {
        let engine = find(wanted).map_err(|error| LoadError::Missing(error.to_string()))?;
        let engine =
            engine.ok_or_else(|| LoadError::Missing("ONNX Runtime is not found".to_owned()))?;
        let weights = PrepackedWeights::new();
        let open = |_| {
            let session = engine.session(file, share.threads, &weights);
            let session = session.map_err(|error| refused(&error))?;
            let declared = declared("input", session.inputs())?;
            let inputs = declared
                .iter()
                .map(|input| make(input, open_as(input, 1), Fill::Random, 1));
            let inputs = inputs.collect::<Result<_>>();
            let inputs = inputs.map_err(|error| LoadError::Invalid(error.to_string()))?;
            Ok(Self { session, inputs })
        };
        (0..count(share)).map(open).collect()
    }

    /// Runs once and drops the outputs; how many they were.
    ///
    /// # Errors
    /// The model's own.
    pub fn run(&mut self) -> Result<usize> {
        let inputs = self.inputs.iter().map(convert::take_in);
        let inputs = inputs.collect::<Result<Vec<SessionInputValue<'_>>>>()?;
        let outputs = self.session.run(&inputs[..]);
        Ok(outputs.map_err(|error| run_failed(&error))?.len())
    }
}
