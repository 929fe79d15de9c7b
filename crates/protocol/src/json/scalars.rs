//! Parameters: objects of scalars.

use std::fmt::Display;

use super::numbers::{self, Refusal, Scalar};
use super::reader::{Reader, too_many};
use crate::decode_error::member;
use crate::error::excerpt;
use crate::{DecodeError, ParameterValue, Parameters};

/// What there are too many of where no one object has too many.
const IN_ALL: &str = "parameters in the request, all its objects together";

impl Reader<'_> {
    /// Reads an object of parameters, which are scalars.
    pub(super) fn parameters(
        &mut self,
        place: impl Display + Copy,
    ) -> Result<Parameters, DecodeError> {
        if self.scanner.take_null()? {
            return Ok(Parameters::new());
        }
        if self.scanner.peek() != Some(b'{') {
            return Err(self.other_kind(place, "parameters", "an object"));
        }
        let mut parameters = Vec::new();
        let mut items = self.scanner.enter()?;
        while let Some(name) = self.scanner.next_name(&mut items)? {
            if parameters.len() >= self.limits.parameters {
                return Err(too_many(place, "parameters", self.limits.parameters));
            }
            if self.parameters >= self.limits.parameters_in_all() {
                let all = self.limits.parameters_in_all();
                return Err(too_many(place, IN_ALL, all));
            }
            self.parameters += 1;
            let value = self.parameter(place, &name)?;
            parameters.push((name.into_owned(), value));
        }
        Parameters::from_distinct(parameters).map_err(|name| {
            let name = excerpt(&name);
            member(place, format!("parameter '{name}' is given twice"))
        })
    }

    /// Reads one parameter's value.
    fn parameter(
        &mut self,
        place: impl Display + Copy,
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
    fn no_parameter(&mut self, place: impl Display, name: &str, kind: &str) -> DecodeError {
        if matches!(self.scanner.peek(), None | Some(b',' | b':' | b']' | b'}')) {
            return self.scanner.unexpected("a value");
        }
        let found = self.scanner.found();
        let name = excerpt(name);
        member(
            place,
            format!("parameter '{name}' must be {kind}, but is {found}"),
        )
    }
}
