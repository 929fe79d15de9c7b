//! What is in force where one option follows from another.

use super::listen::overruling_port;
use super::reader::Reader;
use super::settings::{access_log, body_limit, connection_idle, model_control};
use super::shown::HIDDEN;
use super::{Config, Entry, access};

/// The value in force of an option that another one decides.
#[derive(Debug, Clone)]
pub struct Follows<'a> {
    /// The value as a user would write it; empty where there is none.
    pub value: String,
    /// The option that decides it.
    pub from: &'a Entry,
}

impl Config {
    /// What is in force of an option where another one decides it: nobody gave it a value, or a
    /// stronger option overrules that. `None` where the entry itself is in force.
    #[must_use]
    pub fn follows(&self, entry: &Entry) -> Option<Follows<'_>> {
        let read = Reader(self);
        let port = read.entry("port");
        let overruling = overruling_port(&read);
        // Of two at one level none is in force: that is refused.
        let weaker = |entry: &Entry| entry.origin.level() < port.origin.level();
        let one_port = port.is_given() && overruling.is_none();
        let (value, from) = match entry.option.key {
            "rest_port" | "grpc_port" if one_port && weaker(entry) => (port.shown(), port),
            "grpc_host" if one_port => (read.entry("rest_host").shown(), port),
            "port" => ("", overruling?),
            _ if entry.is_given() => return None,
            key => return follows_a_name_of_others(&read, key),
        };
        let value = value.to_owned();
        Some(Follows { value, from })
    }
}

/// The value of an option that nobody gave, where what was given in its stead decides it.
fn follows_a_name_of_others<'a>(read: &Reader<'a>, key: &str) -> Option<Follows<'a>> {
    let (value, from) = match key {
        "model_control" => (model_control(read).as_str().to_owned(), "reload"),
        "access_log" => (
            access_log(read).as_str().to_owned(),
            "kserve_access_log_format",
        ),
        "pdp" => (access::pdp(read).ok()?.as_str().to_owned(), "pdp_url"),
        "body_limit" => (
            body_limit(read).to_string(),
            "kserve_grpc_max_receive_message_length",
        ),
        "connection_idle" => (
            format!("{}s", connection_idle(read).as_secs()),
            "kserve_timeout_keep_alive",
        ),
        _ => return None,
    };
    let (entry, from) = (read.entry(key), read.entry(from));
    let another = entry.option.kind.read(&value)? != entry.value;
    // What it says would be seen in what follows from it.
    let value = match from.is_hidden() {
        true => HIDDEN.to_owned(),
        false => value,
    };
    (from.is_given() && another).then_some(Follows { value, from })
}
