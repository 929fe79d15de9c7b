//! The objects of a request and of a response, as JSON holds them: tensors may still lack their
//! data, which the binary extension keeps behind the JSON.

use std::borrow::Cow;

use bytes::Bytes;

use super::data;
use super::numbers::{self, Refusal, Scalar};
use super::scanner::Scanner;
use crate::decode_error::{Place, Role, member};
use crate::{
    Datatype, DecodeError, DecodeLimits, ParameterValue, Parameters, RequestedOutput, Shape,
    Tensor, TensorError,
};

/// The parameter that says how many bytes of a tensor stand behind the JSON.
pub(crate) const BINARY_DATA_SIZE: &str = "binary_data_size";
/// The parameter of a requested output that asks for it as binary data.
pub(crate) const BINARY_DATA: &str = "binary_data";
/// The parameter of a request that asks for all outputs as binary data.
pub(crate) const BINARY_DATA_OUTPUT: &str = "binary_data_output";

/// A request or a response as its JSON holds it.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) model_name: Option<String>,
    pub(crate) model_version: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) parameters: Parameters,
    /// A request's inputs, a response's outputs.
    pub(crate) tensors: Vec<TensorParts>,
    /// What a request asks for.
    pub(crate) requested: Vec<RequestedOutput>,
}

/// A tensor whose members are all read but for data that is behind the JSON.
#[derive(Debug)]
pub(crate) struct TensorParts {
    role: Role,
    name: String,
    datatype: Datatype,
    shape: Shape,
    parameters: Parameters,
    pub(crate) data: Option<Bytes>,
    /// How many bytes behind the JSON are its data.
    pub(crate) binary_size: Option<u64>,
}

impl TensorParts {
    pub(crate) fn place(&self) -> Place<'_> {
        Place {
            role: self.role,
            index: 0,
            name: Some(&self.name),
        }
    }

    /// The tensor with this buffer.
    pub(crate) fn with_data(self, data: Bytes) -> Result<Tensor, DecodeError> {
        let Self {
            role,
            name,
            datatype,
            shape,
            parameters,
            ..
        } = self;
        match Tensor::new(name, datatype, shape, data) {
            Ok(tensor) => Ok(tensor.with_parameters(parameters)),
            Err(TensorError::Data { tensor, fault }) => {
                let place = Place {
                    role,
                    index: 0,
                    name: Some(&tensor),
                };
                Err(DecodeError::Data {
                    place: place.to_string(),
                    fault,
                })
            }
            Err(other) => Err(member("tensor", other.to_string())),
        }
    }
}

/// Reads a request's JSON.
pub(crate) fn read_request(body: &[u8], limits: &DecodeLimits) -> Result<Document, DecodeError> {
    Reader::new(body, limits, Role::Input).read()
}

/// Reads a response's JSON.
pub(crate) fn read_response(body: &[u8], limits: &DecodeLimits) -> Result<Document, DecodeError> {
    Reader::new(body, limits, Role::Output).read()
}

struct Reader<'a> {
    scanner: Scanner<'a>,
    limits: &'a DecodeLimits,
    /// What the document's tensors are.
    role: Role,
}

impl<'a> Reader<'a> {
    fn new(body: &'a [u8], limits: &'a DecodeLimits, role: Role) -> Self {
        Self {
            scanner: Scanner::new(body, limits.json_depth),
            limits,
            role,
        }
    }

    fn document_name(&self) -> &'static str {
        match self.role {
            Role::Input => "request",
            _ => "response",
        }
    }

    fn tensors_name(&self) -> &'static str {
        match self.role {
            Role::Input => "inputs",
            _ => "outputs",
        }
    }

    fn read(mut self) -> Result<Document, DecodeError> {
        if self.scanner.rest.starts_with(b"\xef\xbb\xbf") {
            let message = "a byte order mark stands before the JSON; send plain UTF-8 without one";
            return Err(self.scanner.syntax(self.scanner.rest, message.to_owned()));
        }
        let place = self.document_name();
        if self.scanner.peek() != Some(b'{') {
            return Err(self.scanner.unexpected("a JSON object ('{')"));
        }
        let mut document = Document::default();
        let mut tensors = None;
        let mut requested = None;
        let mut parameters = None;
        let mut items = self.scanner.enter()?;
        while let Some(name) = self.scanner.next_member(&mut items)? {
            match (name.as_ref(), self.role) {
                ("id", _) => {
                    let id = self.optional_text(place, "id", document.id.is_some())?;
                    document.id = id;
                }
                ("parameters", _) => {
                    once(place, "parameters", parameters.is_some())?;
                    parameters = Some(self.parameters(place)?);
                }
                ("inputs", Role::Input) | ("outputs", Role::Output) => {
                    once(place, self.tensors_name(), tensors.is_some())?;
                    tensors = Some(self.tensors()?);
                }
                ("outputs", _) => {
                    once(place, "outputs", requested.is_some())?;
                    requested = Some(self.requested_outputs()?);
                }
                ("model_name", Role::Output) => {
                    let seen = document.model_name.is_some();
                    document.model_name = self.optional_text(place, "model_name", seen)?;
                }
                ("model_version", Role::Output) => {
                    let seen = document.model_version.is_some();
                    document.model_version = self.optional_text(place, "model_version", seen)?;
                }
                _ => self.scanner.skip_value()?,
            }
        }
        self.scanner.end()?;
        document.tensors = tensors
            .ok_or_else(|| member(place, format!("'{}' is missing", self.tensors_name())))?;
        document.requested = requested.unwrap_or_default();
        document.parameters = parameters.unwrap_or_default();
        if self.role == Role::Input {
            check_flag(place, &document.parameters, BINARY_DATA_OUTPUT)?;
        }
        Ok(document)
    }

    /// A string, or `null` for none.
    fn optional_text(
        &mut self,
        place: &str,
        name: &str,
        seen: bool,
    ) -> Result<Option<String>, DecodeError> {
        once(place, name, seen)?;
        if self.scanner.take_null()? {
            return Ok(None);
        }
        Ok(Some(self.text(place, name)?.into_owned()))
    }

    /// A string that must be there.
    fn text(
        &mut self,
        place: impl std::fmt::Display,
        name: &str,
    ) -> Result<Cow<'a, str>, DecodeError> {
        if self.scanner.peek() == Some(b'"') {
            return self.scanner.string();
        }
        Err(self.other_kind(place, name, "a string"))
    }

    #[cold]
    fn other_kind(&mut self, place: impl std::fmt::Display, name: &str, kind: &str) -> DecodeError {
        if matches!(self.scanner.peek(), None | Some(b',' | b':' | b']' | b'}')) {
            return self.scanner.unexpected("a value");
        }
        let found = self.scanner.found();
        member(place, format!("'{name}' must be {kind}, but is {found}"))
    }

    /// Reads the list of tensors.
    fn tensors(&mut self) -> Result<Vec<TensorParts>, DecodeError> {
        let (place, name) = (self.document_name(), self.tensors_name());
        if self.scanner.peek() != Some(b'[') {
            return Err(self.other_kind(place, name, "a list of tensors"));
        }
        let mut tensors = Vec::new();
        let mut items = self.scanner.enter()?;
        while self.scanner.next_item(&mut items)? {
            if tensors.len() >= self.limits.tensors {
                return Err(too_many(place, name, self.limits.tensors));
            }
            let tensor = self.tensor(tensors.len())?;
            tensors.push(tensor);
        }
        Ok(tensors)
    }

    /// Reads one tensor.
    fn tensor(&mut self, index: usize) -> Result<TensorParts, DecodeError> {
        let mut members = Members::new(self.role, index);
        if self.scanner.peek() != Some(b'{') {
            return Err(self.other_kind(self.document_name(), self.tensors_name(), OF_OBJECTS));
        }
        let mut items = self.scanner.enter()?;
        while let Some(name) = self.scanner.next_member(&mut items)? {
            match name.as_ref() {
                "name" => {
                    once(members.place(), "name", members.name.is_some())?;
                    members.name = Some(self.text(members.place(), "name")?.into_owned());
                }
                "datatype" => {
                    once(members.place(), "datatype", members.datatype.is_some())?;
                    let name = self.text(members.place(), "datatype")?;
                    let datatype = name.parse::<Datatype>();
                    let unknown = |error: crate::datatype::UnknownDatatype| {
                        member(members.place(), error.to_string())
                    };
                    members.datatype = Some(datatype.map_err(unknown)?);
                }
                "shape" => {
                    once(members.place(), "shape", members.shape.is_some())?;
                    members.shape = Some(self.shape(members.place())?);
                }
                "parameters" => {
                    once(members.place(), "parameters", members.parameters.is_some())?;
                    members.parameters = Some(self.parameters(members.place())?);
                }
                "data" => {
                    once(members.place(), "data", members.has_data())?;
                    self.data_or_later(&mut members)?;
                }
                _ => self.scanner.skip_value()?,
            }
        }
        self.finish(members)
    }

    /// Reads the data if what it depends on is known; else steps over it and keeps its place.
    fn data_or_later(&mut self, members: &mut Members<'a>) -> Result<(), DecodeError> {
        match (&members.name, members.datatype, &members.shape) {
            (Some(_), Some(datatype), Some(shape)) => {
                let lenient = self.role == Role::Output;
                let place = members.place();
                let data = data::read(&mut self.scanner, place, datatype, shape, lenient)?;
                members.data = Some(data);
            }
            _ => {
                self.scanner.peek();
                members.later = Some(self.scanner.clone());
                self.scanner.skip_unchecked()?;
            }
        }
        Ok(())
    }

    /// All members of a tensor have been read: is it whole?
    fn finish(&mut self, mut members: Members<'a>) -> Result<TensorParts, DecodeError> {
        let (mut data, later) = (members.data.take(), members.later.take());
        let place = members.place();
        let missing = |name: &str| member(place, format!("'{name}' is missing"));
        if members.name.is_none() {
            return Err(missing("name"));
        }
        let datatype = members.datatype.ok_or_else(|| missing("datatype"))?;
        let shape = members.shape.as_ref().ok_or_else(|| missing("shape"))?;
        let binary_size = match &members.parameters {
            Some(parameters) => binary_size(place, parameters)?,
            None => None,
        };
        if let Some(mut scanner) = later {
            let lenient = self.role == Role::Output;
            data = Some(data::read(&mut scanner, place, datatype, shape, lenient)?);
        }
        match (&data, binary_size) {
            (Some(_), Some(_)) => Err(member(
                place,
                "'data' and the parameter 'binary_data_size' are both there; a tensor's elements \
                 are either in the JSON or behind it",
            )),
            (None, None) => Err(missing("data")),
            _ => Ok(members.into_parts(datatype, data, binary_size)),
        }
    }

    /// Reads a shape.
    fn shape(&mut self, place: Place<'_>) -> Result<Shape, DecodeError> {
        const KIND: &str = "a list of non-negative integers";
        if self.scanner.peek() != Some(b'[') {
            return Err(self.other_kind(place, "shape", KIND));
        }
        let mut dims = Vec::new();
        let mut items = self.scanner.enter()?;
        while self.scanner.next_item(&mut items)? {
            self.scanner.peek();
            let Some((dim, rest)) = numbers::read_dimension(self.scanner.rest) else {
                return Err(self.no_dimension(place, dims.len()));
            };
            self.scanner.rest = rest;
            dims.push(dim);
        }
        Ok(Shape::from(dims))
    }

    #[cold]
    fn no_dimension(&mut self, place: Place<'_>, index: usize) -> DecodeError {
        if matches!(self.scanner.peek(), None | Some(b',' | b':' | b']' | b'}')) {
            return self.scanner.unexpected("a dimension");
        }
        let found = self.scanner.found();
        let advice = match found.as_str() {
            "-1" => "; -1 belongs in a model's metadata, here the size that is really sent is due",
            _ => "",
        };
        member(
            place,
            format!(
                "'shape' must be a list of non-negative integers, but at index {index} it has \
                 {found}{advice}"
            ),
        )
    }

    /// Reads the list of outputs that a request asks for.
    fn requested_outputs(&mut self) -> Result<Vec<RequestedOutput>, DecodeError> {
        let place = self.document_name();
        if self.scanner.take_null()? {
            return Ok(Vec::new());
        }
        if self.scanner.peek() != Some(b'[') {
            return Err(self.other_kind(place, "outputs", "a list of requested outputs"));
        }
        let mut requested = Vec::new();
        let mut items = self.scanner.enter()?;
        while self.scanner.next_item(&mut items)? {
            if requested.len() >= self.limits.tensors {
                return Err(too_many(place, "outputs", self.limits.tensors));
            }
            let output = self.requested_output(requested.len())?;
            requested.push(output);
        }
        Ok(requested)
    }

    /// Reads one output that a request asks for.
    fn requested_output(&mut self, index: usize) -> Result<RequestedOutput, DecodeError> {
        let mut members = Members::new(Role::RequestedOutput, index);
        if self.scanner.peek() != Some(b'{') {
            return Err(self.other_kind(self.document_name(), "outputs", OF_OBJECTS));
        }
        let mut items = self.scanner.enter()?;
        while let Some(name) = self.scanner.next_member(&mut items)? {
            match name.as_ref() {
                "name" => {
                    once(members.place(), "name", members.name.is_some())?;
                    members.name = Some(self.text(members.place(), "name")?.into_owned());
                }
                "parameters" => {
                    once(members.place(), "parameters", members.parameters.is_some())?;
                    members.parameters = Some(self.parameters(members.place())?);
                }
                _ => self.scanner.skip_value()?,
            }
        }
        let parameters = members.parameters.take().unwrap_or_default();
        check_flag(members.place(), &parameters, BINARY_DATA)?;
        match members.name {
            Some(name) => Ok(RequestedOutput { name, parameters }),
            None => Err(member(members.place(), "'name' is missing")),
        }
    }

    /// Reads an object of parameters, which are scalars.
    fn parameters(
        &mut self,
        place: impl std::fmt::Display + Copy,
    ) -> Result<Parameters, DecodeError> {
        if self.scanner.take_null()? {
            return Ok(Parameters::new());
        }
        if self.scanner.peek() != Some(b'{') {
            return Err(self.other_kind(place, "parameters", "an object"));
        }
        let mut parameters = Vec::new();
        let mut items = self.scanner.enter()?;
        while let Some(name) = self.scanner.next_member(&mut items)? {
            if parameters.len() >= self.limits.parameters {
                return Err(too_many(place, "parameters", self.limits.parameters));
            }
            let value = self.parameter(place, &name)?;
            parameters.push((name.into_owned(), value));
        }
        Parameters::from_distinct(parameters).map_err(|name| {
            let name = crate::error::excerpt(&name);
            member(place, format!("parameter '{name}' is given twice"))
        })
    }

    /// Reads one parameter's value.
    fn parameter(
        &mut self,
        place: impl std::fmt::Display + Copy,
        name: &str,
    ) -> Result<ParameterValue, DecodeError> {
        match self.scanner.peek() {
            Some(b'"') => Ok(self.scanner.string()?.into_owned().into()),
            Some(b't' | b'f') => Ok(self.scanner.boolean()?.into()),
            Some(b'-' | b'0'..=b'9') => match numbers::read_scalar(self.scanner.rest) {
                Ok((value, rest)) => {
                    self.scanner.rest = rest;
                    Ok(match value {
                        Scalar::Signed(value) => value.into(),
                        Scalar::Unsigned(value) => value.into(),
                        Scalar::Double(value) => value.into(),
                    })
                }
                Err(Refusal::Syntax(fault)) => Err(self.scanner.fault(fault)),
                Err(_) => Err(self.no_parameter(place, name, "a number that a double holds")),
            },
            _ => Err(self.no_parameter(place, name, "a string, a boolean or a number")),
        }
    }

    #[cold]
    fn no_parameter(
        &mut self,
        place: impl std::fmt::Display,
        name: &str,
        kind: &str,
    ) -> DecodeError {
        if matches!(self.scanner.peek(), None | Some(b',' | b':' | b']' | b'}')) {
            return self.scanner.unexpected("a value");
        }
        let found = self.scanner.found();
        let name = crate::error::excerpt(name);
        member(
            place,
            format!("parameter '{name}' must be {kind}, but is {found}"),
        )
    }
}

const OF_OBJECTS: &str = "a list of objects";

/// The members of a tensor as they come.
struct Members<'a> {
    role: Role,
    index: usize,
    name: Option<String>,
    datatype: Option<Datatype>,
    shape: Option<Shape>,
    parameters: Option<Parameters>,
    data: Option<Bytes>,
    /// Where the data begins that came before what it depends on.
    later: Option<Scanner<'a>>,
}

impl Members<'_> {
    fn new(role: Role, index: usize) -> Self {
        Self {
            role,
            index,
            name: None,
            datatype: None,
            shape: None,
            parameters: None,
            data: None,
            later: None,
        }
    }

    fn place(&self) -> Place<'_> {
        Place {
            role: self.role,
            index: self.index,
            name: self.name.as_deref(),
        }
    }

    fn has_data(&self) -> bool {
        self.data.is_some() || self.later.is_some()
    }

    fn into_parts(
        self,
        datatype: Datatype,
        data: Option<Bytes>,
        binary_size: Option<u64>,
    ) -> TensorParts {
        let mut parameters = self.parameters.unwrap_or_default();
        parameters.remove(BINARY_DATA_SIZE);
        TensorParts {
            role: self.role,
            name: self.name.unwrap_or_default(),
            datatype,
            shape: self.shape.unwrap_or_default(),
            parameters,
            data,
            binary_size,
        }
    }
}

/// A member must not stand twice: which of the two is meant, nobody knows.
fn once(place: impl std::fmt::Display, name: &str, seen: bool) -> Result<(), DecodeError> {
    if seen {
        return Err(member(place, format!("'{name}' is given twice")));
    }
    Ok(())
}

#[cold]
fn too_many(place: impl std::fmt::Display, what: &'static str, limit: usize) -> DecodeError {
    DecodeError::TooMany {
        place: place.to_string(),
        what,
        limit,
    }
}

/// A parameter that steers the binary extension must be a boolean.
fn check_flag(
    place: impl std::fmt::Display,
    parameters: &Parameters,
    name: &str,
) -> Result<(), DecodeError> {
    match parameters.get(name) {
        None | Some(ParameterValue::Bool(_)) => Ok(()),
        Some(other) => Err(member(
            place,
            format!("parameter '{name}' must be true or false, but is {other}"),
        )),
    }
}

fn binary_size(place: Place<'_>, parameters: &Parameters) -> Result<Option<u64>, DecodeError> {
    let Some(value) = parameters.get(BINARY_DATA_SIZE) else {
        return Ok(None);
    };
    match value.as_u64() {
        Some(size) => Ok(Some(size)),
        None => Err(member(
            place,
            format!(
                "parameter '{BINARY_DATA_SIZE}' must be a non-negative integer, but is {value}"
            ),
        )),
    }
}
