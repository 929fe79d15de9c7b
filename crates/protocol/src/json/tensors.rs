//! The objects of tensors: their members in any order, and the data straight into its buffer.

use bytes::Bytes;

use super::document::{BINARY_DATA_SIZE, TensorParts};
use super::members::Member;
use super::reader::{OF_OBJECTS, Reader, once, too_many};
use super::scanner::{Scanner, skip_space};
use super::{data, numbers};
use crate::datatype::UnknownDatatype;
use crate::decode_error::{Place, Role, member};
use crate::tensor::Written;
use crate::{Datatype, DecodeError, Parameters, Shape, Tensor};

impl<'a> Reader<'a> {
    /// Reads the list of tensors.
    pub(super) fn tensors(&mut self) -> Result<Vec<Tensor>, DecodeError> {
        let (place, name) = (self.document_name(), self.tensors_name());
        if self.scanner.peek() != Some(b'[') {
            return Err(self.other_kind(place, name, "a list of tensors"));
        }
        // Most requests have one, and few dimensions.
        let mut tensors = Vec::with_capacity(1);
        let mut items = self.scanner.enter()?;
        while self.scanner.next_item(&mut items)? {
            if tensors.len() >= self.limits.tensors {
                return Err(too_many(place, name, self.limits.tensors));
            }
            let parts = self.tensor(tensors.len())?;
            tensors.push((self.whole)(parts)?);
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
        while let Some(next) = self.scanner.next_member(&mut items)? {
            match next {
                Member::Name => {
                    once(members.place(), "name", members.name.is_some())?;
                    members.name = Some(self.text(members.place(), "name")?.into_owned());
                }
                Member::Datatype => {
                    once(members.place(), "datatype", members.datatype.is_some())?;
                    let name = self.text(members.place(), "datatype")?;
                    let datatype = name.parse::<Datatype>();
                    let unknown =
                        |error: UnknownDatatype| member(members.place(), error.to_string());
                    members.datatype = Some(datatype.map_err(unknown)?);
                }
                Member::Shape => {
                    once(members.place(), "shape", members.shape.is_some())?;
                    members.shape = Some(self.shape(members.place())?);
                }
                Member::Parameters => {
                    once(members.place(), "parameters", members.parameters.is_some())?;
                    members.parameters = Some(self.parameters(members.place())?);
                }
                Member::Data => {
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
        members.written = written(self.scanner.rest);
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
        let mut dims = Vec::with_capacity(4);
        let mut items = self.scanner.enter()?;
        while self.scanner.next_item(&mut items)? {
            if dims.len() >= self.limits.rank {
                return Err(too_many(place, "dimensions", self.limits.rank));
            }
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
}

/// The members of a tensor as they come.
pub(super) struct Members<'a> {
    role: Role,
    index: usize,
    pub(super) name: Option<String>,
    datatype: Option<Datatype>,
    shape: Option<Shape>,
    pub(super) parameters: Option<Parameters>,
    data: Option<Bytes>,
    /// How the data is written.
    written: Written,
    /// Where the data begins that came before what it depends on.
    later: Option<Scanner<'a>>,
}

impl Members<'_> {
    pub(super) fn new(role: Role, index: usize) -> Self {
        Self {
            role,
            index,
            name: None,
            datatype: None,
            shape: None,
            parameters: None,
            data: None,
            written: Written::Raw,
            later: None,
        }
    }

    pub(super) fn place(&self) -> Place<'_> {
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
            written: self.written,
            binary_size,
        }
    }
}

/// How the data that comes next is written.
fn written(rest: &[u8]) -> Written {
    let inner = skip_space(rest).strip_prefix(b"[");
    match inner.is_some_and(|inner| skip_space(inner).starts_with(b"[")) {
        true => Written::NestedLists,
        false => Written::List,
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
