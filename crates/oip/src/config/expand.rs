//! `$NAME` and `${NAME}` in values of properties files, as Python's `os.path.expandvars` reads
//! them, since Krausening does.

/// Replaces `$NAME` and `${NAME}`. Names that are not set stay as they are, and there is no way
/// to escape a dollar sign.
pub(super) fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        expanded.push_str(before);
        let length = reference(from);
        let (whole, after) = from.split_at(length.max(1));
        let name = whole.trim_start_matches('$');
        let name = name
            .strip_prefix('{')
            .and_then(|inner| inner.strip_suffix('}'))
            .unwrap_or(name);
        match (length, lookup(name)) {
            (2.., Some(value)) => expanded.push_str(&value),
            _ => expanded.push_str(whole),
        }
        rest = after;
    }
    expanded.push_str(rest);
    expanded
}

/// Whether a value that was expanded is nothing but the name of a variable: `$NAME` or `${NAME}`.
pub(super) fn is_one_reference(text: &str) -> bool {
    let text = text.trim();
    text.starts_with('$') && text.len() > 1 && reference(text) == text.len()
}

/// Whether a value that was expanded still holds a `${NAME}`.
pub(super) fn holds_a_reference(text: &str) -> bool {
    let from = |(at, _)| text.get(at..).unwrap_or("");
    let mut dollars = text.match_indices("${").map(from);
    dollars.any(|from| reference(from) > 1)
}

/// How long the reference is that begins at this dollar sign, in bytes; 1 when there is none.
fn reference(from: &str) -> usize {
    let after = from.get(1..).unwrap_or("");
    if after.starts_with('{') {
        return after.find('}').map_or(1, |end| end + 2);
    }
    let name = after
        .bytes()
        .take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    1 + name.count()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// What Python's own `os.path.expandvars` makes of each text under the same variables.
    #[derive(serde::Deserialize)]
    struct Golden {
        variables: BTreeMap<String, String>,
        rows: Vec<[String; 2]>,
    }

    #[test]
    fn values_expand_as_pythons_expandvars_does() {
        let text = include_str!("../../../../testdata/config/python-expandvars.json");
        let golden: Golden = serde_json::from_str(text).unwrap();
        assert!(golden.rows.len() > 50);
        for [text, expected] in &golden.rows {
            let expanded = expand(text, |name| golden.variables.get(name).cloned());
            assert_eq!(expanded, *expected, "{text}");
        }
    }
}
