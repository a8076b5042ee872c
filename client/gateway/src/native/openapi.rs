//! What this API is, for programs: an OpenAPI 3.1 document.
//!
//! It is written by hand and kept beside the code, so that it can be read as it is served; tests hold it against the router, in
//! both directions, and a foreign tool makes requests of it (`tests/clients`). A derived document would need types for what is
//! only bytes and headers here.
//!
//! An operation that a parameter turns into another one (`?where`) is not known to OpenAPI: `x-operations` says which parameter
//! makes which operation. `x-needs` says what a key must allow.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, header};

const DOCUMENT: &str = include_str!("openapi.json");

/// The document.
pub(crate) fn answer() -> Response {
    let mut response = Response::new(Body::from(DOCUMENT));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::super::routes::{Operation, resolve};
    use super::super::target;
    use super::*;
    use http::{Method, Uri};
    use serde_json::Value;
    use std::collections::{BTreeMap, BTreeSet};

    const METHODS: [&str; 7] = ["get", "head", "put", "post", "patch", "delete", "options"];
    /// Parameters that are taken before an operation is found: of links, and the name of an upload.
    const EARLY: [&str; 5] = ["x-key", "x-expires", "x-max-bytes", "x-signature", "upload"];

    /// Path, method, and the operation of the document.
    fn documented() -> Vec<(String, String, Value)> {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let mut all = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
                all.push((path.clone(), method.clone(), operation.clone()));
            }
        }
        all
    }

    /// Names of the query's parameters; those that must be there with a value.
    fn parameters(operation: &Value) -> (BTreeSet<&str>, Vec<&str>) {
        let query = operation["parameters"].as_array().into_iter().flatten().filter(|one| one["in"] == "query");
        let query: Vec<&Value> = query.collect();
        let needed = query.iter().filter(|one| one["required"] == true).map(|one| one["name"].as_str().unwrap());
        (query.iter().map(|one| one["name"].as_str().unwrap()).collect(), needed.collect())
    }

    fn found(method: &str, path: &str, query: &str) -> Option<Operation> {
        let path = path.replace("{bucket}", "one").replace("{key}", "a");
        let uri: Uri = format!("{path}?{query}").parse().unwrap();
        let (target, query) = target::read(&uri).ok()?;
        resolve(&method.to_uppercase().parse::<Method>().unwrap(), &target, &query).ok()
    }

    #[test]
    fn every_documented_operation_is_the_one_that_the_router_finds() {
        let mut seen = BTreeSet::new();
        for (path, method, operation) in documented() {
            let (names, needed) = parameters(&operation);
            let needs = operation["x-needs"].as_str().unwrap();
            let mut taken = BTreeSet::new();
            for (parameter, name) in operation["x-operations"].as_object().unwrap() {
                let needed = needed.iter().map(|name| match *name {
                    "upload" => "upload=0000000000000001".to_owned(),
                    name => name.to_owned(),
                });
                let query: Vec<String> = needed
                    .chain(Some(parameter.clone()).filter(|name| !names.is_empty() && !name.is_empty()))
                    .collect();
                let query: BTreeSet<String> = query.into_iter().collect();
                let query = query.into_iter().collect::<Vec<_>>().join("&");
                let operation = found(&method, &path, &query).unwrap_or_else(|| panic!("{method} {path}?{query}"));
                assert_eq!(operation.name(), name.as_str().unwrap(), "{method} {path}?{query}");
                assert_eq!(format!("{:?}", operation.needs()), needs, "{method} {path}?{query}");
                taken.extend(operation.parameters().iter().copied());
                seen.insert(operation.name());
            }
            let documented: BTreeSet<&str> = names.into_iter().filter(|name| !EARLY.contains(name)).collect();
            assert_eq!(documented, taken, "parameters of {method} {path}");
        }
        let all: BTreeSet<&str> = Operation::ALL.iter().map(|operation| operation.name()).collect();
        assert_eq!(seen, all, "operations without documentation");
    }

    #[test]
    fn what_is_not_documented_is_not_served() {
        let mut methods: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (path, method, _) in documented() {
            methods.entry(path).or_default().insert(method);
        }
        for (path, known) in methods {
            for method in METHODS.into_iter().filter(|method| !known.contains(*method)) {
                for query in ["", "list", "where", "copy", "upload=0000000000000001"] {
                    assert_eq!(found(method, &path, query), None, "{method} {path}?{query}");
                }
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        for piece in DOCUMENT.split("\"$ref\": \"#").skip(1) {
            let pointer = piece.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
