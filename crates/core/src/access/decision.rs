//! The two traits behind the gates: who is it, and may they.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use oip_protocol::{Error, ModelRef, Result};
use serde_json::{Map, Value};

use super::{Action, Caller};
use crate::BoxFuture;
use crate::telemetry::AuditFigures;

/// What a caller shows to say who it is. Never logged: `Debug` says what is there, not what it is.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The values of every `Authorization` header.
    pub authorization: Vec<String>,
    /// The values of every `X-API-Key` header.
    pub api_key: Vec<String>,
    /// The subject of a client certificate that the TLS layer has verified.
    pub client_certificate: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("authorization", &self.authorization.len())
            .field("api_key", &self.api_key.len())
            .field("client_certificate", &self.client_certificate.is_some())
            .finish()
    }
}

/// Somebody who is known.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Subject {
    /// The subject's id; never empty, never `Anonymous`.
    pub id: String,
    /// The subject's roles, in the order the credential lists them.
    pub roles: Vec<String>,
    /// The credential's further claims.
    pub claims: Map<String, Value>,
}

/// Finds out who is asking.
pub trait Authenticator: Send + Sync + 'static {
    /// Who shows these credentials. Called once per request, before its body is read. Hand out the
    /// same subject for the same credential where you remember it: it is shared, not copied.
    ///
    /// `Ok(None)` is a caller who shows none.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`](oip_protocol::ErrorKind::Unauthenticated) when one is shown
    /// and does not hold, with the same message whatever the reason.
    fn authenticate<'a>(
        &'a self,
        credentials: &'a Credentials,
    ) -> BoxFuture<'a, Result<Option<Arc<Subject>>>>;
}

/// What a policy decision point is asked.
#[derive(Debug)]
pub struct Question<'a> {
    /// Who asks, and from where.
    pub caller: &'a Caller,
    /// For what.
    pub action: Action,
    /// Of which model; `None` for what concerns no model.
    pub model: Option<&'a ModelRef>,
}

/// What a policy decision point answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Permit {
        /// Why, for the audit.
        reason: String,
    },
    /// It may not.
    Deny {
        /// Why, for the audit; the caller does not read it.
        reason: String,
    },
    /// No decision could be had. It may not, and the fault is on this side.
    Fault {
        /// What went wrong, for the log.
        cause: String,
        /// Whether the decision point could not be reached at all (no connection, no answer in
        /// time, a gateway's 5xx), as against an answer that is none. A circuit breaker counts
        /// the first kind only: a caller must not be able to open it with an odd question.
        unreachable: bool,
    },
}

impl Decision {
    /// Whether the caller may.
    #[must_use]
    pub fn is_permit(&self) -> bool {
        matches!(self, Self::Permit { .. })
    }

    /// The reason or the cause.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Permit { reason } | Self::Deny { reason } => reason,
            Self::Fault { cause, .. } => cause,
        }
    }
}

/// A caller who was refused before anything was asked about it: a credential that does not hold,
/// or none where nobody could come in without.
#[derive(Debug)]
pub struct TurnedAway<'a> {
    /// What it was about to ask for, where that is known.
    pub action: Option<Action>,
    /// Of which model, where that is known: the path of a REST call names it, a gRPC call names it
    /// in its message, which is not read.
    pub model: Option<&'a ModelRef>,
    /// Its address, where there is one.
    pub peer: Option<IpAddr>,
    /// The path that was asked for.
    pub path: &'a str,
    /// The id of the request, where it has one.
    pub request_id: Option<&'a str>,
    /// What it is told, and why. Holds no part of a credential.
    pub error: &'a Error,
}

/// Decides who may do what.
pub trait PolicyDecisionPoint: Send + Sync + 'static {
    /// May they? Called once per request as soon as the model's name is known.
    fn decide<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Decision>;

    /// The same where nothing has to be waited for. `None`, which a decision point answers that
    /// does not say otherwise, has [`decide`](Self::decide) called. It must not block.
    fn decide_at_once(&self, question: &Question<'_>) -> Option<Decision> {
        let _ = question;
        None
    }

    /// Is told of a caller who was refused before it came to a question, so that this can be
    /// written down. Does nothing by itself.
    fn turned_away<'a>(&'a self, who: &'a TurnedAway<'a>) -> BoxFuture<'a, ()> {
        let _ = who;
        Box::pin(std::future::ready(()))
    }

    /// The name in the audit and in messages, such as `"xacml"`.
    fn name(&self) -> &'static str {
        "custom"
    }

    /// What became of the lines of the audit; `None` where none is kept.
    fn audited(&self) -> Option<AuditFigures> {
        None
    }

    /// Whether an anonymous caller could be permitted an action at all. `true` is always safe.
    fn may_permit_anonymous(&self, action: Action) -> bool {
        let _ = action;
        true
    }

    /// Told of an anonymous caller that is refused before its message, which names the model, is
    /// read, because nothing [may permit](Self::may_permit_anonymous) it: a decision that may
    /// have to be written down. The question names no model. Whatever comes of it, the caller is
    /// refused.
    fn refused_unread<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, ()> {
        let _ = question;
        Box::pin(async {})
    }
}
