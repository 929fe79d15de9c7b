use std::collections::BTreeSet;

use super::*;

/// Every `$ref` below a value.
fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match (name.as_str(), value.as_str()) {
                    ("$ref", Some(target)) => drop(found.insert(target)),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn the_document_and_the_table_hold_the_same_routes() {
    let document = document();
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            described.insert((path.clone(), method.to_ascii_uppercase()));
        }
    }
    // What the page loads is part of the page.
    let asset = |route: &&Route| route.path.starts_with("/docs/");
    let table = ROUTES.iter().filter(|route| !asset(route));
    let table = table.map(|route| (route.path.to_owned(), route.method.to_string()));
    assert_eq!(described, table.collect());
}

#[test]
fn every_reference_finds_its_target_and_every_component_is_used() {
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for target in &found {
        let pointer = target.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{target}");
    }
    for name in document["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys()
    {
        let target = format!("#/components/schemas/{name}");
        assert!(found.contains(target.as_str()), "{name} is used nowhere");
    }
}

#[test]
fn every_operation_has_an_id_of_its_own_its_parameters_and_an_answer() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for operation in methods.as_object().unwrap().values() {
            assert!(
                ids.insert(operation["operationId"].as_str().unwrap()),
                "{path}"
            );
            assert!(operation["responses"]["200"].is_object(), "{path}");
            let parameters = operation["parameters"].as_array().unwrap();
            let in_path = parameters
                .iter()
                .filter(|parameter| parameter["in"] == "path");
            assert_eq!(in_path.count(), path.matches('{').count(), "{path}");
        }
    }
}

#[test]
fn the_example_request_is_one_that_is_read() {
    let text = examples::request().to_string();
    let request = oip_protocol::json::decode_request(text.as_bytes(), &Default::default());
    assert_eq!(request.unwrap().inputs[0].element_count(), 12);
    let text = examples::response().to_string();
    let response = oip_protocol::json::decode_response(text.as_bytes(), &Default::default());
    assert_eq!(response.unwrap().outputs.len(), 2);
}

#[test]
fn every_status_of_the_one_table_is_described() {
    for kind in ErrorKind::ALL {
        let status = kind.http_status().to_string();
        assert!(
            document()["components"]["responses"][&status].is_object(),
            "{status}"
        );
    }
}
