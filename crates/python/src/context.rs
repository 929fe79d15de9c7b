//! `Context`: what a handler may know of a request besides its tensors.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use oip::access::{Arrival, Subject};
use oip::{Call, Caller};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use tokio::time::Instant;

/// Who asks, and the circumstances of the request.
///
/// For tests of your own it can be made by hand; ``remaining`` is in seconds.
#[pyclass(module = "oip", frozen)]
pub(crate) struct Context {
    who: Who,
    deadline: Option<Instant>,
}

enum Who {
    /// As the door has found out.
    Caller(Caller),
    /// As somebody has said.
    Told(Box<Told>),
}

struct Told {
    subject: Option<Arc<Subject>>,
    peer: Option<IpAddr>,
    path: String,
    request_id: Option<String>,
    headers: Vec<(String, String)>,
}

impl Context {
    /// That of a call.
    pub(crate) fn of(call: &Call) -> Self {
        Self {
            who: Who::Caller(call.caller().clone()),
            deadline: call.deadline(),
        }
    }

    /// As if a request had arrived so.
    pub(crate) fn arrival(&self) -> Arrival {
        Arrival {
            peer: self.address(),
            path: self.path().to_owned(),
            request_id: self.request_id().map(str::to_owned),
            headers: self.entries(),
            ..Arrival::default()
        }
    }

    pub(crate) fn shared_subject(&self) -> Option<&Arc<Subject>> {
        match &self.who {
            Who::Caller(caller) => caller.shared_subject(),
            Who::Told(told) => told.subject.as_ref(),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn address(&self) -> Option<IpAddr> {
        match &self.who {
            Who::Caller(caller) => caller.peer(),
            Who::Told(told) => told.peer,
        }
    }

    fn entries(&self) -> Vec<(String, String)> {
        match &self.who {
            Who::Caller(caller) => caller.headers().to_vec(),
            Who::Told(told) => told.headers.clone(),
        }
    }
}

#[pymethods]
impl Context {
    #[new]
    #[pyo3(signature = (*, subject=None, roles=Vec::new(), claims=None, headers=None, request_id=None, peer=None, path=String::new(), remaining=None))]
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a keyword of its own in Python"
    )]
    fn new(
        py: Python<'_>,
        subject: Option<String>,
        roles: Vec<String>,
        claims: Option<Bound<'_, PyAny>>,
        headers: Option<Bound<'_, PyDict>>,
        request_id: Option<String>,
        peer: Option<String>,
        path: String,
        remaining: Option<f64>,
    ) -> PyResult<Self> {
        let claims = match claims {
            Some(claims) => {
                let text = py.import("json")?.call_method1("dumps", (claims,))?;
                serde_json::from_str(text.extract::<&str>()?).map_err(crate::errors::value)?
            }
            None => serde_json::Map::new(),
        };
        if subject.is_none() && !(roles.is_empty() && claims.is_empty()) {
            return Err(PyValueError::new_err("roles and claims need a subject"));
        }
        let mut entries = Vec::new();
        for (name, value) in headers.iter().flatten() {
            let name: String = name.extract()?;
            entries.push((name.to_ascii_lowercase(), value.extract()?));
        }
        let peer = peer.map(|peer| peer.parse().map_err(crate::errors::value));
        let subject = subject.map(|id| Arc::new(Subject { id, roles, claims }));
        let remaining = remaining.map(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)));
        Ok(Self {
            who: Who::Told(Box::new(Told {
                subject,
                peer: peer.transpose()?,
                path,
                request_id,
                headers: entries,
            })),
            deadline: match remaining.transpose().map_err(crate::errors::value)? {
                Some(remaining) => Instant::now().checked_add(remaining),
                None => None,
            },
        })
    }

    /// Who asks; ``None`` for a caller who showed no credential.
    #[getter]
    fn subject(&self) -> Option<&str> {
        self.shared_subject().map(|subject| subject.id.as_str())
    }

    /// The subject's roles, in the order of its credential.
    #[getter]
    fn roles<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let subject = self.shared_subject();
        PyTuple::new(py, subject.map_or(&[][..], |subject| &subject.roles))
    }

    /// The further claims of the subject's credential.
    #[getter]
    fn claims<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let Some(subject) = self.shared_subject() else {
            return Ok(PyDict::new(py).into_any());
        };
        let text = serde_json::to_string(&subject.claims).map_err(crate::errors::value)?;
        py.import(intern!(py, "json"))?
            .call_method1(intern!(py, "loads"), (text,))
    }

    /// The headers (gRPC: metadata) that the setting ``forward_headers`` lets through, names in
    /// lower case.
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let headers = PyDict::new(py);
        // Of a header that came several times the first counts, as in the policy.
        for (name, value) in self.entries().iter().rev() {
            headers.set_item(name, value)?;
        }
        Ok(headers)
    }

    /// The request's name in log and audit (``X-Request-Id``).
    #[getter]
    fn request_id(&self) -> Option<&str> {
        match &self.who {
            Who::Caller(caller) => caller.request_id(),
            Who::Told(told) => told.request_id.as_deref(),
        }
    }

    /// The caller's address.
    #[getter]
    fn peer(&self) -> Option<String> {
        self.address().map(|address| address.to_string())
    }

    /// The path that was asked for: of the URL, or of the gRPC method.
    #[getter]
    fn path(&self) -> &str {
        match &self.who {
            Who::Caller(caller) => caller.path(),
            Who::Told(told) => &told.path,
        }
    }

    /// Seconds until the answer is no longer wanted, not below 0; ``None`` where there is no such
    /// moment.
    #[getter]
    fn remaining(&self) -> Option<f64> {
        let deadline = self.deadline?;
        Some(
            deadline
                .saturating_duration_since(Instant::now())
                .as_secs_f64(),
        )
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        // Values of headers and claims may be secrets.
        let headers = self.headers(py)?.keys().repr()?;
        Ok(match self.subject() {
            Some(subject) => format!(
                "Context(subject={subject:?}, roles={}, headers of {headers})",
                self.roles(py)?.repr()?
            ),
            None => format!("Context(anonymous, headers of {headers})"),
        })
    }

    /// On its way to another process.
    fn __getnewargs_ex__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        let given = PyDict::new(py);
        if let Some(subject) = self.subject() {
            given.set_item("subject", subject)?;
            given.set_item("roles", self.roles(py)?)?;
            given.set_item("claims", self.claims(py)?)?;
        }
        given.set_item("headers", self.headers(py)?)?;
        given.set_item("request_id", self.request_id())?;
        given.set_item("peer", self.peer())?;
        given.set_item("path", self.path())?;
        given.set_item("remaining", self.remaining())?;
        Ok((PyTuple::empty(py), given))
    }
}
