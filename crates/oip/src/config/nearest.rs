//! The known name that a misspelt one most likely means.

/// The nearest of the known names, unless none is near.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A name is near when at most a third of it is wrong.
    nearest_within((name.chars().count() / 3).clamp(1, 4), name, known)
}

/// The nearest of the known names of which at most so many characters differ, in any case.
pub(super) fn nearest_within<'a>(
    most: usize,
    name: &str,
    known: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let wanted = name.to_ascii_lowercase();
    let length = wanted.chars().count();
    let distance = |known: &str| strsim::damerau_levenshtein(&wanted, &known.to_ascii_lowercase());
    known
        // Names differ by no less than their lengths do, which costs nothing to know.
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= most)
        .map(|candidate| (distance(candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_its_neighbour_and_a_foreign_one_none() {
        let known = ["rest_port", "grpc_port", "auth_enabled"];
        let find = |name| nearest(name, known.into_iter());
        assert_eq!(find("rest_prot"), Some("rest_port"));
        assert_eq!(find("auth_enable"), Some("auth_enabled"));
        assert_eq!(find("AUTH_ENABLED"), Some("auth_enabled"));
        assert_eq!(find("spring.datasource.url"), None);
    }
}
