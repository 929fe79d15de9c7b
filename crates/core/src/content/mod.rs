//! Content types: what the elements of a tensor mean beyond their datatype.
//!
//! A caller, or a handler, names a content type in `parameters.content_type`. On the way in a
//! codec turns what the caller sent into what the handler works with, on the way out the
//! reverse. A codec never changes a tensor's datatype or shape. A name that no codec knows is
//! passed on untouched: it may mean something to the handler.
//!
//! For an output the handler's own choice comes first, then the requested output's, then the
//! request's; without one nothing is done.

mod codecs;

use std::sync::Arc;

use oip_protocol::{Error, InferRequest, InferResponse, Parameters, Result, Tensor};

pub use codecs::{Base64, Numpy, Text};

/// Tensors of more bytes than this, together, are decoded and encoded off the async threads.
const LARGE: usize = 256 << 10;

/// The parameter that names a content type.
pub const CONTENT_TYPE: &str = "content_type";

/// Turns tensors of one content type into what handlers work with, and back.
pub trait ContentCodec: Send + Sync + 'static {
    /// The names of the content type, such as `np` and `numpy`.
    fn names(&self) -> &'static [&'static str];

    /// What the handler works with, of what the caller sent.
    ///
    /// # Errors
    /// Why it is not of this content type; the tensor is named by the caller of this method.
    fn decode(&self, tensor: Tensor) -> Result<Tensor, ContentError>;

    /// What the caller reads, of what the handler made.
    ///
    /// # Errors
    /// Why it cannot be of this content type.
    fn encode(&self, tensor: Tensor) -> Result<Tensor, ContentError>;
}

/// Why a tensor is not of a content type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ContentError(pub String);

/// The content types that a server knows.
#[derive(Clone)]
pub struct ContentCodecs(Vec<Arc<dyn ContentCodec>>);

impl Default for ContentCodecs {
    /// `np`/`numpy`, `str`, `base64`.
    fn default() -> Self {
        Self(vec![Arc::new(Numpy), Arc::new(Text), Arc::new(Base64)])
    }
}

impl ContentCodecs {
    /// Adds a codec; it is found before those already there.
    pub fn add(&mut self, codec: impl ContentCodec) {
        self.0.insert(0, Arc::new(codec));
    }

    fn find(&self, name: &str) -> Option<&dyn ContentCodec> {
        self.0
            .iter()
            .find(|codec| codec.names().contains(&name))
            .map(AsRef::as_ref)
    }

    /// Whether [`decode_request`](Self::decode_request) takes long enough for others to notice.
    pub(crate) fn decoding_takes_long(&self, request: &InferRequest) -> bool {
        if length(&request.inputs) <= LARGE {
            return false;
        }
        let all = self.is_known(&request.parameters);
        let named = |input: &&Tensor| all || self.is_known(input.parameters());
        length(request.inputs.iter().filter(named)) > LARGE
    }

    /// The same of [`encode_response`](Self::encode_response).
    pub(crate) fn encoding_takes_long(&self, response: &InferResponse, asked: &Asked) -> bool {
        if length(&response.outputs) <= LARGE {
            return false;
        }
        let named = |output: &&Tensor| {
            let asked = asked.of(output.name());
            asked.is_some_and(|name| self.find(name).is_some())
                || self.is_known(output.parameters())
        };
        length(response.outputs.iter().filter(named)) > LARGE
    }

    fn is_known(&self, parameters: &Parameters) -> bool {
        let name = parameters.get(CONTENT_TYPE).and_then(|name| name.as_str());
        name.is_some_and(|name| self.find(name).is_some())
    }

    /// Decodes the inputs that have a content type, their own or the request's.
    ///
    /// # Errors
    /// An input that is not of its content type (400).
    pub fn decode_request(&self, mut request: InferRequest) -> Result<InferRequest> {
        let named = |parameters: &Parameters| parameters.get(CONTENT_TYPE).is_some();
        let inputs = &request.inputs;
        if !named(&request.parameters) && !inputs.iter().any(|input| named(input.parameters())) {
            return Ok(request);
        }
        let whole = content_type(&request.parameters, "the request")?;
        let decode = |input: Tensor| {
            let place = format!("input '{}'", oip_protocol::error::excerpt(input.name()));
            let own = content_type(input.parameters(), &place)?;
            let Some(codec) = own.or(whole).and_then(|name| self.find(name)) else {
                return Ok(input);
            };
            codec
                .decode(input)
                .map_err(|error| Error::malformed(format!("{place}: {error}")))
        };
        let inputs = std::mem::take(&mut request.inputs);
        let decoded: Result<Vec<_>> = inputs.into_iter().map(decode).collect();
        request.inputs = decoded?;
        Ok(request)
    }

    /// The content type that each output is asked to have; `None` when nothing asks for any.
    ///
    /// # Errors
    /// A content type that is not a string (400).
    pub fn asked(&self, request: &InferRequest) -> Result<Asked> {
        let owned = |name: Option<&str>| name.map(str::to_owned);
        let mut outputs = Vec::new();
        for output in &request.outputs {
            let place = format!("output '{}'", oip_protocol::error::excerpt(&output.name));
            if let Some(name) = content_type(&output.parameters, &place)? {
                outputs.push((output.name.clone(), name.to_owned()));
            }
        }
        Ok(Asked {
            whole: owned(content_type(&request.parameters, "the request")?),
            outputs,
        })
    }

    /// Encodes the outputs that have a content type.
    ///
    /// # Errors
    /// An output that cannot be of the content type the caller asked for (400), or that the
    /// handler chose (500).
    pub fn encode_response(
        &self,
        mut response: InferResponse,
        asked: &Asked,
    ) -> Result<InferResponse> {
        let named = |output: &Tensor| output.parameters().get(CONTENT_TYPE).is_some();
        if *asked == Asked::default() && !response.outputs.iter().any(named) {
            return Ok(response);
        }
        let encode = |output: Tensor| {
            let own = output.parameters().get(CONTENT_TYPE);
            let own = own.and_then(|value| value.as_str()).map(str::to_owned);
            let chosen_by_handler = own.is_some();
            let name = own.or_else(|| asked.of(output.name()).map(str::to_owned));
            let Some((name, codec)) = name
                .and_then(|name| Some((self.find(&name)?, name)))
                .map(|(codec, name)| (name, codec))
            else {
                return Ok(output);
            };
            let place = format!("output '{}'", oip_protocol::error::excerpt(output.name()));
            let mut encoded = codec.encode(output).map_err(|error| {
                let message = format!("{place} cannot be of content type '{name}': {error}");
                match chosen_by_handler {
                    true => Error::handler_failed(message),
                    false => Error::does_not_fit(message),
                }
            })?;
            encoded.parameters_mut().insert(CONTENT_TYPE, name);
            Ok(encoded)
        };
        let outputs = std::mem::take(&mut response.outputs);
        let encoded: Result<Vec<_>> = outputs.into_iter().map(encode).collect();
        response.outputs = encoded?;
        Ok(response)
    }
}

fn length<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> usize {
    tensors.into_iter().map(|tensor| tensor.data().len()).sum()
}

/// The content types that a request asks its outputs to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    whole: Option<String>,
    outputs: Vec<(String, String)>,
}

impl Asked {
    fn of(&self, output: &str) -> Option<&str> {
        let own = self.outputs.iter().find(|(name, _)| name == output);
        own.map(|(_, content_type)| content_type.as_str())
            .or(self.whole.as_deref())
    }
}

fn content_type<'a>(parameters: &'a Parameters, place: &str) -> Result<Option<&'a str>> {
    match parameters.get(CONTENT_TYPE) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or_else(|| {
            Error::malformed(format!(
                "{place}: parameter 'content_type' is {value}, but it is a string"
            ))
        }),
    }
}

#[cfg(test)]
mod tests;
