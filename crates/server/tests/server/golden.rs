//! Documents that are written by the program: the files in `docs/` are what it writes today.

use super::support::repository;

/// Compares, or writes the file where `UPDATE_GOLDEN` is set.
fn check(path: &str, written: &str) {
    let file = repository(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, written).unwrap();
    }
    let known = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        known == written,
        "{path} is not what the program writes: run the tests with UPDATE_GOLDEN=1 and read the difference"
    );
}

#[test]
fn the_configuration_is_documented() {
    check("docs/config.md", &server::config::markdown());
}

#[test]
fn the_interface_is_documented() {
    check("docs/openapi.json", &server::api::openapi());
}

/// Every reference of the document leads somewhere, and every operation has a name of its own.
#[test]
fn the_interface_document_is_whole() {
    let document: serde_json::Value = serde_json::from_str(&server::api::openapi()).unwrap();
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let path = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(path).is_some_and(|part| !part.is_null()), "{reference} leads nowhere");
    }
    let mut names = Vec::new();
    for (_, entry) in document["paths"].as_object().unwrap() {
        for (_, operation) in entry.as_object().unwrap() {
            names.extend(operation.get("operationId").and_then(|name| name.as_str()));
        }
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert_eq!(count, server::api::operations().len());
}

fn collect(value: &serde_json::Value, references: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                if key == "$ref" {
                    references.push(value.as_str().unwrap().to_owned());
                }
                collect(value, references);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}
