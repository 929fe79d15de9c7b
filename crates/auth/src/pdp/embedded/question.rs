//! A question in Cedar's words: a request and the entities that it speaks of.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::str::FromStr as _;
use std::sync::LazyLock;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request,
    RestrictedExpression as Value,
};
use oip_core::access::{Action, Question, Subject};
use serde_json::Value as Json;

use crate::moment::Moment;
use crate::pdp::remote::plain;

pub(super) const ANONYMOUS_TYPE: &str = "Anonymous";

/// The names of the schema, parsed once.
struct Names {
    subject: EntityTypeName,
    role: EntityTypeName,
    model: EntityTypeName,
    server: EntityUid,
    anonymous: EntityUid,
    actions: Vec<(Action, EntityUid)>,
}

static NAMES: LazyLock<Result<Names, String>> = LazyLock::new(Names::parse);

impl Names {
    fn parse() -> Result<Self, String> {
        let kind = |name| EntityTypeName::from_str(name).map_err(|error| error.to_string());
        let action = kind("Action")?;
        let actions = Action::ALL.map(|known| (known, uid(&action, known.name())));
        Ok(Self {
            subject: kind("Subject")?,
            role: kind("Role")?,
            model: kind("Model")?,
            server: uid(&kind("Server")?, "oip"),
            anonymous: uid(&kind(ANONYMOUS_TYPE)?, "Anonymous"),
            actions: actions.into(),
        })
    }
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn text(value: &str) -> Value {
    Value::new_string(value.to_owned())
}

/// The request and its entities.
///
/// # Errors
/// What Cedar finds wrong with them; nothing that a client sends should.
pub(super) fn cedar(
    question: &Question<'_>,
    with_tags: bool,
) -> Result<(Request, Entities), String> {
    let names = NAMES.as_ref().map_err(Clone::clone)?;
    let action = names
        .actions
        .iter()
        .find(|(known, _)| *known == question.action)
        .ok_or("an action that the schema does not know")?;
    let mut entities = Vec::with_capacity(2);
    let principal = match question.caller.subject() {
        None => names.anonymous.clone(),
        Some(subject) => {
            let entity = principal(names, subject, with_tags)?;
            let principal = entity.uid();
            entities.push(entity);
            principal
        }
    };
    let resource = match question.model {
        None => names.server.clone(),
        Some(model) => {
            let resource = uid(&names.model, &model.name);
            let mut attributes = vec![("name".to_owned(), text(&model.name))];
            if let Some(version) = &model.version {
                attributes.push(("version".to_owned(), text(version)));
            }
            let parents = [names.server.clone()].into_iter().collect();
            let entity = Entity::new(resource.clone(), attributes.into_iter().collect(), parents);
            entities.push(entity.map_err(|error| error.to_string())?);
            resource
        }
    };
    let context = context(question)?;
    let request = Request::new(principal, action.1.clone(), resource, context, None);
    let entities = Entities::from_entities(entities, None);
    Ok((
        request.map_err(|error| error.to_string())?,
        entities.map_err(|error| error.to_string())?,
    ))
}

fn principal(names: &Names, subject: &Subject, with_tags: bool) -> Result<Entity, String> {
    let roles = subject.roles.iter().map(|role| uid(&names.role, role));
    let tags = if with_tags {
        tags(subject)
    } else {
        BTreeMap::new()
    };
    let tags = tags.iter().map(|(name, values)| {
        let values = values.iter().map(|value| text(value));
        (name.clone(), Value::new_set(values))
    });
    let id = [("id".to_owned(), text(&subject.id))];
    Entity::new_with_tags(uid(&names.subject, &subject.id), id, roles, tags)
        .map_err(|error| error.to_string())
}

fn context(question: &Question<'_>) -> Result<Context, String> {
    let now = Moment::now();
    let mut pairs = vec![
        ("path".to_owned(), text(question.caller.path())),
        ("time".to_owned(), Value::new_long(now.seconds())),
        ("hour".to_owned(), Value::new_long(now.hour())),
        ("weekday".to_owned(), Value::new_long(now.weekday())),
    ];
    if let Some(ip) = question.caller.peer() {
        pairs.push(("ip".to_owned(), Value::new_ip(plain(ip).to_string())));
    }
    Context::from_pairs(pairs).map_err(|error| error.to_string())
}

/// A subject's claims as tags: each name with its values as text, nested names by their path.
pub(super) fn tags(subject: &Subject) -> BTreeMap<String, BTreeSet<String>> {
    let mut tags = BTreeMap::new();
    for (name, value) in &subject.claims {
        gather(&mut tags, name.clone(), value);
    }
    tags
}

fn gather(tags: &mut BTreeMap<String, BTreeSet<String>>, name: String, value: &Json) {
    let plain = match value {
        Json::Null => return,
        Json::Bool(value) => value.to_string(),
        Json::Number(value) => value.to_string(),
        Json::String(value) => value.clone(),
        Json::Array(values) => {
            for value in values {
                gather(tags, name.clone(), value);
            }
            return;
        }
        Json::Object(members) => {
            for (inner, value) in members {
                gather(tags, format!("{name}.{inner}"), value);
            }
            return;
        }
    };
    tags.entry(name).or_default().insert(plain);
}

/// The question for people to read.
pub(super) fn shown(question: &Question<'_>) -> String {
    let mut out = String::new();
    let resource = match question.model {
        None => "Server::\"oip\"".to_owned(),
        Some(model) => match &model.version {
            None => format!("Model::{:?}", model.name),
            Some(version) => format!("Model::{:?} with version {version:?}", model.name),
        },
    };
    match question.caller.subject() {
        None => out.push_str("principal  Anonymous::\"Anonymous\"\n"),
        Some(subject) => {
            let _ = writeln!(out, "principal  Subject::{:?}", subject.id);
            for role in &subject.roles {
                let _ = writeln!(out, "           in Role::{role:?}");
            }
            for (name, values) in tags(subject) {
                let _ = writeln!(out, "           tag {name:?} = {values:?}");
            }
        }
    }
    let now = Moment::now();
    let _ = writeln!(out, "action     Action::{:?}", question.action.name());
    let _ = writeln!(out, "resource   {resource}");
    if let Some(ip) = question.caller.peer() {
        let _ = writeln!(out, "context    ip {}", plain(ip));
    }
    let _ = writeln!(out, "           path {:?}", question.caller.path());
    let (time, hour, weekday) = (now.seconds(), now.hour(), now.weekday());
    let _ = write!(
        out,
        "           time {time}, hour {hour}, weekday {weekday}"
    );
    out
}
