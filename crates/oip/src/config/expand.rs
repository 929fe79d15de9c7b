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
    use super::*;

    fn expanded(text: &str) -> String {
        expand(text, |name| match name {
            "HOME" => Some("/root".to_owned()),
            "A" => Some("$HOME".to_owned()),
            "a b" => Some("spaced".to_owned()),
            "E" => Some(String::new()),
            _ => None,
        })
    }

    /// Every row was made with Python 3.11's `os.path.expandvars` under the same variables.
    #[test]
    fn values_expand_as_pythons_expandvars_does() {
        for (text, expected) in [
            ("plain", "plain"),
            ("$HOME/x", "/root/x"),
            ("${HOME}x", "/rootx"),
            ("$HOMEx", "$HOMEx"),
            ("pa$HOME$$x", "pa/root$$x"),
            ("$A", "$HOME"),
            ("${a b}", "spaced"),
            ("$E.", "."),
            ("${", "${"),
            ("${}", "${}"),
            ("$", "$"),
            ("$$HOME", "$/root"),
            ("${NOPE}$NOPE", "${NOPE}$NOPE"),
            ("gr\u{fc}n$HOME\u{fc}", "gr\u{fc}n/root\u{fc}"),
            ("\\$HOME", "\\/root"),
            ("${HOME", "${HOME"),
        ] {
            assert_eq!(expanded(text), expected, "{text}");
        }
    }
}
