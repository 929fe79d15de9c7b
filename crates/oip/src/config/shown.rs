//! Values as they are shown: in `oip config`, in messages and in the log.

use super::value::Kind;

/// What stands for what must not be shown.
pub(super) const HIDDEN: &str = "***";

/// A value without what could be a secret in it: of addresses the user, the password, what the
/// query holds and the fragment.
pub(super) fn shown(kind: Kind, text: &str) -> String {
    match kind {
        Kind::HttpUrl => address(text),
        Kind::List => {
            let items: Vec<String> = text.split(',').map(text_or_address).collect();
            items.join(",")
        }
        _ => text_or_address(text),
    }
}

fn text_or_address(text: &str) -> String {
    match text.contains("://") {
        true => address(text),
        false => text.to_owned(),
    }
}

fn address(text: &str) -> String {
    let (scheme, rest) = match text.find("://") {
        Some(at) => text.split_at(at + 3),
        None => ("", text),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let host = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{HIDDEN}@{host}"),
        // A password that holds a slash, say: where it ends nobody can tell.
        None if rest.contains('@') && !ends_in_a_port(authority) => {
            return format!("{scheme}{HIDDEN}");
        }
        None => authority.to_owned(),
    };
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (path, rest) = rest.split_at(end);
    let (query, fragment) = match rest.split_once('#') {
        Some((query, _)) => (query, format!("#{HIDDEN}")),
        None => (rest, String::new()),
    };
    let query = match query.strip_prefix('?') {
        Some(query) => format!("?{}", names(query)),
        None => String::new(),
    };
    format!("{scheme}{host}{path}{query}{fragment}")
}

/// Whether what follows the host is a port, or nothing: no password.
fn ends_in_a_port(authority: &str) -> bool {
    match authority.rsplit_once(':') {
        Some((_, port)) => port
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b']'),
        None => true,
    }
}

/// The names of a query, without their values.
fn names(query: &str) -> String {
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) => format!("{name}={HIDDEN}"),
        None => HIDDEN.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_address_the_host_and_the_path_are_shown_and_nothing_that_opens_anything() {
        for (given, expected) in [
            (
                "https://pdp.example:8443/pdp",
                "https://pdp.example:8443/pdp",
            ),
            ("https://user:hunter2@h/x?y=a@b", "https://***@h/x?y=***"),
            ("https://h/x?code=hunter2&v=1", "https://h/x?code=***&v=***"),
            ("https://h/x?hunter2", "https://h/x?***"),
            ("https://h/x#hunter2", "https://h/x#***"),
            ("https://user:hunt/er2@h/x", "https://***"),
            ("https://user:hunt?er2@h/x", "https://***"),
            ("user:hunter2@h/x", "***@h/x"),
            ("http://[::1]:80/a@b", "http://[::1]:80/a@b"),
        ] {
            assert_eq!(shown(Kind::HttpUrl, given), expected, "{given}");
        }
        let list = "https://u:hunter2@h,x,https://h?k=hunter2";
        assert_eq!(shown(Kind::List, list), "https://***@h,x,https://h?k=***");
        assert_eq!(shown(Kind::Text, "a?b=c@d"), "a?b=c@d");
    }
}
