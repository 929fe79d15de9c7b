use serde_json::json;

use super::*;

const NOW: u64 = 1_700_000_000;

fn rules() -> ClaimRules {
    ClaimRules {
        issuer: None,
        audience: Vec::new(),
        subject: ClaimPath::new("sub"),
        roles: ClaimPath::new("roles"),
        require_exp: true,
        leeway: 30,
    }
}

/// The claims of a good token, changed.
fn claims(changes: Value) -> Map<String, Value> {
    let Value::Object(mut claims) = json!({"sub": "alice", "exp": NOW + 60}) else {
        unreachable!()
    };
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::String(word) if word == "REMOVE" => claims.remove(name),
            _ => claims.insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn accept(rules: &ClaimRules, changes: Value) -> Result<Subject, Rejection> {
    rules
        .accept(claims(changes), NOW)
        .map(|accepted| accepted.subject)
}

fn refused(rules: &ClaimRules, changes: Value, fault: &str) {
    let text = accept(rules, changes.clone())
        .expect_err(&changes.to_string())
        .to_string();
    assert!(text.contains(fault), "{changes}: {text}");
}

#[test]
fn an_expired_token_is_refused_after_the_leeway() {
    assert!(accept(&rules(), json!({"exp": NOW - 29})).is_ok());
    refused(&rules(), json!({"exp": NOW - 30}), "is over");
    refused(&rules(), json!({"exp": 0}), "is over");
}

#[test]
fn a_token_that_is_not_yet_valid_is_refused_before_the_leeway() {
    assert!(accept(&rules(), json!({"nbf": NOW + 30})).is_ok());
    refused(&rules(), json!({"nbf": NOW + 31}), "is not yet");
    refused(&rules(), json!({"nbf": NOW as f64 + 30.5}), "is not yet");
}

#[test]
fn a_token_without_exp_is_refused_unless_configured() {
    refused(&rules(), json!({"exp": "REMOVE"}), "is missing");
    let lax = ClaimRules {
        require_exp: false,
        ..rules()
    };
    let accepted = lax.accept(claims(json!({"exp": "REMOVE"})), NOW).unwrap();
    assert_eq!(accepted.until, None);
}

#[test]
fn dates_of_a_wrong_type_are_refused_even_where_they_are_optional() {
    let lax = ClaimRules {
        require_exp: false,
        ..rules()
    };
    for name in ["exp", "nbf", "iat"] {
        for value in [
            json!("1900000000"),
            json!(true),
            json!(null),
            json!([NOW]),
            json!({}),
            json!(-1),
            json!(1e300),
        ] {
            refused(&lax, json!({name: value}), "is no date");
        }
    }
}

#[test]
fn the_issuer_must_be_the_configured_one() {
    let rules = ClaimRules {
        issuer: Some("https://id.example".into()),
        ..rules()
    };
    assert!(accept(&rules, json!({"iss": "https://id.example"})).is_ok());
    for iss in [
        json!("https://id.example/"),
        json!("https://evil.example"),
        json!(["https://id.example"]),
        json!("REMOVE"),
    ] {
        refused(&rules, json!({"iss": iss}), "auth_issuer");
    }
}

#[test]
fn the_audience_must_hold_a_configured_one() {
    let rules = ClaimRules {
        audience: vec!["oip".into(), "other".into()],
        ..rules()
    };
    for aud in [json!("oip"), json!(["x", "oip"]), json!(["other"])] {
        assert!(accept(&rules, json!({"aud": aud})).is_ok(), "{aud}");
    }
    for aud in [
        json!("x"),
        json!([]),
        json!(["x"]),
        json!({"a": "oip"}),
        json!(["oip", 1]),
        json!(null),
        json!("REMOVE"),
    ] {
        refused(&rules, json!({"aud": aud}), "aud");
    }
}

#[test]
fn a_token_for_some_audience_is_refused_where_none_is_configured() {
    refused(&rules(), json!({"aud": "oip"}), "auth_audience is not set");
    refused(&rules(), json!({"aud": []}), "auth_audience is not set");
}

#[test]
fn the_subject_must_be_a_text_that_is_neither_empty_nor_anonymous() {
    for sub in [
        json!(""),
        json!("  "),
        json!("Anonymous"),
        json!("anonymous"),
        json!(" ANONYMOUS "),
        json!(7),
        json!(null),
        json!(["alice"]),
        json!("REMOVE"),
    ] {
        refused(&rules(), json!({"sub": sub}), "\"sub\"");
    }
}

#[test]
fn roles_are_a_text_or_a_list_of_texts() {
    let roles = |value| accept(&rules(), json!({"roles": value})).map(|subject| subject.roles);
    assert_eq!(roles(json!("admin")).unwrap(), ["admin"]);
    assert_eq!(roles(json!(["b", "a"])).unwrap(), ["b", "a"]);
    assert!(roles(json!(null)).unwrap().is_empty());
    assert!(roles(json!("REMOVE")).unwrap().is_empty());
    for wrong in [
        json!(1),
        json!({"admin": true}),
        json!(["a", 1]),
        json!([["a"]]),
    ] {
        refused(&rules(), json!({"roles": wrong}), "neither a text");
    }
}

#[test]
fn claims_are_found_by_paths_whose_names_may_hold_dots() {
    let claims = claims(json!({
        "realm_access": {"roles": ["admin"]},
        "kubernetes.io": {"serviceaccount": {"name": "batch"}},
        "https://example.com/roles": "x",
    }));
    let find = |path: &str| ClaimPath::new(path).find(&claims).cloned();
    assert_eq!(find("realm_access.roles"), Some(json!(["admin"])));
    assert_eq!(
        find("kubernetes.io.serviceaccount.name"),
        Some(json!("batch"))
    );
    assert_eq!(find("https://example.com/roles"), Some(json!("x")));
    assert_eq!(find("realm_access.role"), None);
    assert_eq!(find("sub.x"), None);
}
