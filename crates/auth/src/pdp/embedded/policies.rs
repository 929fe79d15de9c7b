//! A set of policies, read and held against the schema, and its decisions.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use cedar_policy::{
    ActionConstraint, Authorizer, Decision as CedarDecision, Effect, Policy, PolicyId, PolicySet,
    PrincipalConstraint, Schema, ValidationMode, Validator,
};
use miette::Diagnostic;
use oip_core::access::{Action, Decision, Question};

use super::{PolicyError, SCHEMA, question};
use crate::pdp::cache::Cache;

/// How many decisions are remembered, and how long. Neither bounds how right they are: policies
/// that do not read the clock answer the same question the same way until they are replaced.
const TAKEN: usize = 10_000;
const TAKEN_FOR: Duration = Duration::from_secs(3600);

/// Policies that fit the schema.
#[derive(Debug)]
pub(super) struct Policies {
    set: PolicySet,
    /// Whether any policy reads tags; where none does, the caller's claims need not be turned
    /// into tags.
    reads_tags: bool,
    /// Decisions taken, where they hang on nothing but what the cache compares: for policies that
    /// do not read the clock. It goes with the policies, so a reload forgets it.
    taken: Option<Cache>,
    /// For which actions a policy may permit an anonymous caller, in the order of `Action::ALL`.
    anonymous: [bool; Action::ALL.len()],
}

static VALIDATOR: LazyLock<Result<Validator, String>> = LazyLock::new(|| {
    Schema::from_cedarschema_str(SCHEMA)
        .map(|(schema, _)| Validator::new(schema))
        .map_err(|error| format!("the schema of this server is broken: {error}"))
});

impl Policies {
    pub(super) fn read(origin: &str, text: &str) -> Result<Self, PolicyError> {
        let invalid = |faults: Vec<String>| PolicyError::Invalid {
            origin: origin.to_owned(),
            faults: faults.join("; "),
        };
        let set: PolicySet = text.parse().map_err(|errors: cedar_policy::ParseErrors| {
            invalid(errors.iter().map(|error| located(text, error)).collect())
        })?;
        if set.templates().next().is_some() {
            return Err(invalid(vec![
                "templates (?principal, ?resource) are refused: nothing would ever apply them"
                    .to_owned(),
            ]));
        }
        let validator = VALIDATOR.as_ref().map_err(|e| invalid(vec![e.clone()]))?;
        let checked = validator.validate(&set, ValidationMode::Strict);
        if !checked.validation_passed() {
            let faults = checked.validation_errors();
            return Err(invalid(faults.map(|error| located(text, error)).collect()));
        }
        for warning in checked.validation_warnings() {
            tracing::warn!(origin, warning = %located(text, warning), "a policy looks wrong");
        }
        Ok(Self {
            reads_tags: text.contains("Tag"), // hasTag and getTag are the only ways
            taken: (!reads_clock(text)).then(|| Cache::new(TAKEN_FOR, TAKEN)),
            anonymous: Action::ALL.map(|action| set.policies().any(|p| could_permit(p, action))),
            set,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.set.policies().next().is_none()
    }

    pub(super) fn may_permit_anonymous(&self, action: Action) -> bool {
        let found = Action::ALL.iter().position(|known| *known == action);
        found
            .and_then(|at| self.anonymous.get(at))
            .is_none_or(|may| *may)
    }

    #[cfg(test)]
    pub(super) fn remembers(&self) -> bool {
        self.taken.is_some()
    }

    /// Decides, or remembers having decided the very same question.
    pub(super) fn decide(&self, asked: &Question<'_>) -> Decision {
        let Some(taken) = &self.taken else {
            return self.evaluate(asked);
        };
        let now = Instant::now();
        taken.get(asked, now).unwrap_or_else(|| {
            let decision = self.evaluate(asked);
            taken.put(asked, &decision, now);
            decision
        })
    }

    fn evaluate(&self, asked: &Question<'_>) -> Decision {
        let (request, entities) = match question::cedar(asked, self.reads_tags) {
            Ok(parts) => parts,
            Err(cause) => return fault(cause),
        };
        let response = Authorizer::new().is_authorized(&request, &self.set, &entities);
        let diagnostics = response.diagnostics();
        let names: Vec<&str> = diagnostics.reason().map(|id| self.name(id)).collect();
        match response.decision() {
            CedarDecision::Allow => {
                // A policy that fails is passed over by Cedar. Had it been a forbid, it might
                // have refused.
                if let Some(error) = diagnostics.errors().next() {
                    return fault(format!("a policy could not be evaluated: {error}"));
                }
                Decision::Permit {
                    reason: format!("permitted by {}", names.join(", ")),
                }
            }
            CedarDecision::Deny if names.is_empty() => Decision::Deny {
                reason: "no policy permits it".to_owned(),
            },
            CedarDecision::Deny => Decision::Deny {
                reason: format!("forbidden by {}", names.join(", ")),
            },
        }
    }

    /// The name that its `@id("…")` gives a policy, else the number that Cedar gives it.
    fn name<'a>(&'a self, id: &'a PolicyId) -> &'a str {
        self.set.annotation(id, "id").unwrap_or_else(|| id.as_ref())
    }
}

/// Whether policies could read the clock: the words of the schema that stand for it, or a
/// backslash, with which a word could be written another way.
fn reads_clock(text: &str) -> bool {
    ["time", "hour", "weekday", "\\"]
        .iter()
        .any(|word| text.contains(word))
}

fn fault(cause: String) -> Decision {
    Decision::Fault {
        cause,
        unreachable: false,
    }
}

/// Whether a policy could permit an anonymous caller an action, by its head alone: a condition
/// that never holds is not seen, so `true` may be wrong and `false` is not.
fn could_permit(policy: &Policy, action: Action) -> bool {
    let is_anonymous = |name: &str| name == question::ANONYMOUS_TYPE;
    let principal = match policy.principal_constraint() {
        PrincipalConstraint::Any => true,
        PrincipalConstraint::In(entity)
        | PrincipalConstraint::Eq(entity)
        | PrincipalConstraint::IsIn(_, entity) => is_anonymous(entity.type_name().basename()),
        PrincipalConstraint::Is(kind) => is_anonymous(kind.basename()),
    };
    let named = |id: &str| id == action.name();
    let action = match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(entity) => named(entity.id().unescaped()),
        ActionConstraint::In(entities) => entities.iter().any(|e| named(e.id().unescaped())),
    };
    policy.effect() == Effect::Permit && principal && action
}

/// A fault with the line and column where it is.
fn located(text: &str, fault: &(impl Diagnostic + ?Sized)) -> String {
    let label = fault.labels().and_then(|mut labels| labels.next());
    let before = label.and_then(|label| text.get(..label.offset()));
    match before {
        None => fault.to_string(),
        Some(before) => {
            let line = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            format!("line {line}, column {column}: {fault}")
        }
    }
}
