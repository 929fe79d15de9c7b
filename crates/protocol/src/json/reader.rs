//! The objects of a request and of a response, read member by member.

use std::borrow::Cow;
use std::fmt::Display;

use super::document::{BINARY_DATA, BINARY_DATA_OUTPUT, Document, Whole};
use super::members::Member;
use super::scanner::Scanner;
use super::tensors::Members;
use crate::decode_error::{Role, member};
use crate::{DecodeError, DecodeLimits, ParameterValue, Parameters, RequestedOutput};

/// Reads a request's JSON. `whole` makes its tensors, in their order.
pub(crate) fn read_request<'a>(
    body: &'a [u8],
    limits: &'a DecodeLimits,
    whole: &'a mut Whole<'a>,
) -> Result<Document, DecodeError> {
    Reader::new(body, limits, Role::Input, whole).read()
}

/// Reads a response's JSON. `whole` makes its tensors, in their order.
pub(crate) fn read_response<'a>(
    body: &'a [u8],
    limits: &'a DecodeLimits,
    whole: &'a mut Whole<'a>,
) -> Result<Document, DecodeError> {
    Reader::new(body, limits, Role::Output, whole).read()
}

/// A document that is being read.
pub(super) struct Reader<'a> {
    pub(super) scanner: Scanner<'a>,
    pub(super) limits: &'a DecodeLimits,
    /// What the document's tensors are.
    pub(super) role: Role,
    pub(super) whole: &'a mut Whole<'a>,
    /// How many parameters the document has had so far.
    pub(super) parameters: usize,
}

impl<'a> Reader<'a> {
    fn new(body: &'a [u8], limits: &'a DecodeLimits, role: Role, whole: &'a mut Whole<'a>) -> Self {
        Self {
            scanner: Scanner::new(body, limits.json_depth),
            limits,
            role,
            whole,
            parameters: 0,
        }
    }

    pub(super) fn document_name(&self) -> &'static str {
        match self.role {
            Role::Input => "request",
            _ => "response",
        }
    }

    pub(super) fn tensors_name(&self) -> &'static str {
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
        while let Some(next) = self.scanner.next_member(&mut items)? {
            match (next, self.role) {
                (Member::Id, _) => {
                    let id = self.optional_text(place, "id", document.id.is_some())?;
                    document.id = id;
                }
                (Member::Parameters, _) => {
                    once(place, "parameters", parameters.is_some())?;
                    parameters = Some(self.parameters(place)?);
                }
                (Member::Inputs, Role::Input) | (Member::Outputs, Role::Output) => {
                    once(place, self.tensors_name(), tensors.is_some())?;
                    tensors = Some(self.tensors()?);
                }
                (Member::Outputs, _) => {
                    once(place, "outputs", requested.is_some())?;
                    requested = Some(self.requested_outputs()?);
                }
                (Member::ModelName, Role::Output) => {
                    let seen = document.model_name.is_some();
                    document.model_name = self.optional_text(place, "model_name", seen)?;
                }
                (Member::ModelVersion, Role::Output) => {
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
    pub(super) fn text(
        &mut self,
        place: impl Display,
        name: &str,
    ) -> Result<Cow<'a, str>, DecodeError> {
        if self.scanner.peek() == Some(b'"') {
            return self.scanner.string();
        }
        Err(self.other_kind(place, name, "a string"))
    }

    #[cold]
    pub(super) fn other_kind(
        &mut self,
        place: impl Display,
        name: &str,
        kind: &str,
    ) -> DecodeError {
        if matches!(self.scanner.peek(), None | Some(b',' | b':' | b']' | b'}')) {
            return self.scanner.unexpected("a value");
        }
        let found = self.scanner.found();
        member(place, format!("'{name}' must be {kind}, but is {found}"))
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
        while let Some(next) = self.scanner.next_member(&mut items)? {
            match next {
                Member::Name => {
                    once(members.place(), "name", members.name.is_some())?;
                    members.name = Some(self.text(members.place(), "name")?.into_owned());
                }
                Member::Parameters => {
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
}

pub(super) const OF_OBJECTS: &str = "a list of objects";

/// A member must not stand twice: which of the two is meant, nobody knows.
pub(super) fn once(place: impl Display, name: &str, seen: bool) -> Result<(), DecodeError> {
    if seen {
        return Err(member(place, format!("'{name}' is given twice")));
    }
    Ok(())
}

#[cold]
pub(super) fn too_many(place: impl Display, what: &'static str, limit: usize) -> DecodeError {
    DecodeError::TooMany {
        place: place.to_string(),
        what,
        limit,
    }
}

/// A parameter that steers the binary extension must be a boolean.
fn check_flag(place: impl Display, parameters: &Parameters, name: &str) -> Result<(), DecodeError> {
    match parameters.get(name) {
        None | Some(ParameterValue::Bool(_)) => Ok(()),
        Some(other) => Err(member(
            place,
            format!("parameter '{name}' must be true or false, but is {other}"),
        )),
    }
}
