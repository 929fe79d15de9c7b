//! What a token says, once its signature has been checked, and whether it may be believed.

use oip_core::access::Subject;
use serde_json::{Map, Value};

use crate::rejection::Rejection;

/// The way to a claim: its name, or names joined by dots.
///
/// Names may hold dots themselves (`kubernetes.io`, `https://example.com/roles`): every way to
/// read the dots is tried, the fewest names last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClaimPath {
    whole: String,
}

impl ClaimPath {
    pub(crate) fn new(path: &str) -> Self {
        Self {
            whole: path.to_owned(),
        }
    }

    pub(crate) fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        find(claims, &self.whole)
    }
}

fn find<'a>(object: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    for (dot, _) in path.match_indices('.') {
        let (name, rest) = (&path[..dot], &path[dot + 1..]);
        if let Some(Value::Object(inner)) = object.get(name)
            && let Some(found) = find(inner, rest)
        {
            return Some(found);
        }
    }
    object.get(path)
}

/// What is asked of a token's claims.
#[derive(Debug, Clone)]
pub(crate) struct ClaimRules {
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Vec<String>,
    pub(crate) subject: ClaimPath,
    pub(crate) roles: ClaimPath,
    pub(crate) require_exp: bool,
    /// Clock skew that is forgiven, in seconds.
    pub(crate) leeway: u64,
}

/// Who a token speaks for, and until when.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) subject: Subject,
    /// The second from which on it no longer holds; `None` for a token that never expires.
    pub(crate) until: Option<u64>,
}

impl ClaimRules {
    /// Checks the claims of a token whose signature holds.
    pub(crate) fn accept(
        &self,
        claims: Map<String, Value>,
        now: u64,
    ) -> Result<Accepted, Rejection> {
        let until = self.check_times(&claims, now)?;
        self.check_issuer(&claims)?;
        self.check_audience(&claims)?;
        let id = self.subject(&claims)?;
        let roles = self.roles(&claims)?;
        Ok(Accepted {
            subject: Subject { id, roles, claims },
            until,
        })
    }

    fn check_times(&self, claims: &Map<String, Value>, now: u64) -> Result<Option<u64>, Rejection> {
        let until = match date(claims, "exp")? {
            // A fraction of a second is rounded to the stricter side, here and for `nbf`.
            Some(exp) => Some((exp.floor() as u64).saturating_add(self.leeway)),
            None if self.require_exp => return Err(Rejection::claim("exp", "is missing")),
            None => None,
        };
        if until.is_some_and(|until| now >= until) {
            return Err(Rejection::claim("exp", "is over"));
        }
        if let Some(nbf) = date(claims, "nbf")?
            && (nbf.ceil() as u64) > now.saturating_add(self.leeway)
        {
            return Err(Rejection::claim("nbf", "is not yet"));
        }
        date(claims, "iat")?;
        Ok(until)
    }

    fn check_issuer(&self, claims: &Map<String, Value>) -> Result<(), Rejection> {
        let Some(issuer) = &self.issuer else {
            return Ok(());
        };
        match claims.get("iss") {
            Some(Value::String(found)) if found == issuer => Ok(()),
            _ => Err(Rejection::claim("iss", "is not auth_issuer")),
        }
    }

    /// A token that names whom it is for must name us: where `auth_audience` is not set, we have
    /// no name, and it is for somebody else (RFC 7519, section 4.1.3).
    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), Rejection> {
        let ours = |name: &Value| {
            let name = name.as_str();
            name.is_some_and(|name| self.audience.iter().any(|own| own == name))
        };
        let (for_us, fault) = match (claims.get("aud"), self.audience.is_empty()) {
            (None, true) => return Ok(()),
            (None, false) => (false, "is missing"),
            (Some(_), true) => (false, "names an audience, and auth_audience is not set"),
            (Some(Value::Array(names)), false) => {
                let all_text = names.iter().all(Value::is_string);
                (
                    all_text && names.iter().any(ours),
                    "does not hold auth_audience",
                )
            }
            (Some(name), false) => (ours(name), "is not auth_audience"),
        };
        for_us
            .then_some(())
            .ok_or_else(|| Rejection::claim("aud", fault))
    }

    fn subject(&self, claims: &Map<String, Value>) -> Result<String, Rejection> {
        let wrong = |fault| Rejection::claim(&self.subject.whole, fault);
        match self.subject.find(claims) {
            None => Err(wrong("is missing")),
            Some(Value::String(id)) => subject_id(id).map_err(wrong),
            Some(_) => Err(wrong("is no text")),
        }
    }

    fn roles(&self, claims: &Map<String, Value>) -> Result<Vec<String>, Rejection> {
        let wrong = || Rejection::claim(&self.roles.whole, NO_ROLES);
        roles_at(&self.roles, claims).ok_or_else(wrong)
    }
}

const NO_ROLES: &str = "is neither a text nor a list of texts";

/// The roles that claims give under a path (`auth_roles_claim`), as those of a token are read.
///
/// # Errors
/// A sentence, when what is there is neither a text nor a list of texts.
pub fn claimed_roles(claims: &Map<String, Value>, path: &str) -> Result<Vec<String>, String> {
    roles_at(&ClaimPath::new(path), claims).ok_or_else(|| format!("claim '{path}' {NO_ROLES}"))
}

fn roles_at(path: &ClaimPath, claims: &Map<String, Value>) -> Option<Vec<String>> {
    match path.find(claims) {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::String(role)) if role.is_empty() => Some(Vec::new()),
        Some(Value::String(role)) => Some(vec![role.clone()]),
        Some(Value::Array(roles)) => roles
            .iter()
            .map(|role| role.as_str().map(str::to_owned))
            .collect(),
        Some(_) => None,
    }
}

/// A subject's id, if it can be one: not blank, and not the name of those who are not known.
pub(crate) fn subject_id(id: &str) -> Result<String, &'static str> {
    match id.trim() {
        "" => Err("is empty"),
        name if name.eq_ignore_ascii_case("anonymous") => Err("is Anonymous"),
        _ => Ok(id.to_owned()),
    }
}

/// A `NumericDate`: seconds since 1970, a fraction allowed. Present and anything else is refused.
fn date(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, Rejection> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    match value.as_f64() {
        Some(date) if (0.0..=9.0e15).contains(&date) => Ok(Some(date)),
        _ => Err(Rejection::claim(name, "is no date in seconds since 1970")),
    }
}

#[cfg(test)]
mod tests;
