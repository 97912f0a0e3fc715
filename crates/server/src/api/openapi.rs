//! The OpenAPI 3.1 document, from the table that routes.

use super::problem::Code;
use super::route::{Access, Answer, Listener, Route};
use super::shape::Parts;
use serde_json::{Map, Value, json};

/// Codes that every route can answer with.
const COMMON: &[Code] = &[Code::BadHost, Code::RequestTimeout];

/// The document, with a line per line of JSON so that a change can be read.
pub(crate) fn document(routes: &[Route]) -> Value {
    let mut parts = Parts::new();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let operation = operation(route, &mut parts);
        let entry = paths
            .entry(route.path.to_owned())
            .or_insert_with(|| json!({ "servers": servers(route.listener) }));
        if let Some(entry) = entry.as_object_mut() {
            entry.insert(route.verb.word().to_ascii_lowercase(), operation);
        }
    }
    let mut schemas: Map<String, Value> =
        parts.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
    schemas.insert("Problem".to_owned(), problem_schema());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Throughline: admin and profiles",
            "version": "1",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": "The private listeners: operators at `listen.admin`, profile reads and decisions at \
                `listen.profiles`. Events come in through the Segment and RudderStack HTTP APIs at `listen.ingest`.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token with scopes, made with POST /admin/v1/tokens.",
                },
            },
        },
    })
}

fn servers(listener: Listener) -> Value {
    let (url, description) = match listener {
        Listener::Admin => ("http://127.0.0.1:7310", "listen.admin"),
        Listener::Profiles => ("http://127.0.0.1:7311", "listen.profiles"),
    };
    json!([{ "url": url, "description": description }])
}

fn operation(route: &Route, parts: &mut Parts) -> Value {
    let mut operation = json!({
        "operationId": route.operation,
        "summary": route.about,
        "parameters": parameters(route),
        "responses": responses(route, parts),
        "security": [],
    });
    let Some(map) = operation.as_object_mut() else { return operation };
    if let Access::Scope(scope) | Access::Family(_, scope) = route.access {
        map.insert("security".to_owned(), json!([{ "token": [scope] }]));
    }
    if let Some(body) = route.body {
        let content = json!({ "application/json": { "schema": body(parts) } });
        map.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
    }
    operation
}

fn parameters(route: &Route) -> Vec<Value> {
    let string = json!({ "type": "string" });
    let mut all = Vec::new();
    for part in route.path.split('/') {
        if let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            all.push(json!({ "name": name, "in": "path", "required": true, "schema": string }));
        }
    }
    for (name, about) in route.query {
        all.push(json!({ "name": name, "in": "query", "description": about, "schema": string }));
    }
    if route.command {
        all.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "description": "A fresh random text of up to 128 characters. The same request sent again with the same key \
                is done once and answered alike; another request with the same key is refused with 409.",
            "schema": string,
        }));
    }
    all
}

fn responses(route: &Route, parts: &mut Parts) -> Value {
    let mut responses: Map<String, Value> = Map::new();
    match route.answer {
        Answer::Json(status, shape) => {
            let content = json!({ "application/json": { "schema": shape(parts) } });
            responses.insert(status.to_string(), json!({ "description": "Done.", "content": content }));
        }
        Answer::Stream(types) => {
            let schema = json!({ "schema": { "type": "string" } });
            let content: Map<String, Value> =
                types.iter().map(|one| ((*one).to_owned(), schema.clone())).collect();
            responses.insert("200".to_owned(), json!({ "description": "Lines.", "content": content }));
        }
        Answer::Page(statuses) => {
            let content = json!({ "text/html": { "schema": { "type": "string" } } });
            for (status, about) in statuses {
                responses.insert(status.to_string(), json!({ "description": about, "content": content }));
            }
        }
        Answer::Text(content_type) => {
            let content = json!({ content_type: { "schema": { "type": "string" } } });
            responses.insert("200".to_owned(), json!({ "description": "Done.", "content": content }));
        }
    }
    let mut codes: Vec<Code> = codes(route);
    codes.sort_by_key(|code| code.status());
    for code in codes {
        let status = code.status().to_string();
        let line = format!("`{}`: {}", code.word(), code.about());
        let known = responses.get_mut(&status).and_then(|response| response.get_mut("description"));
        if let Some(Value::String(description)) = known {
            description.push('\n');
            description.push_str(&line);
            continue;
        }
        let content = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
        responses.insert(status, json!({ "description": line, "content": content }));
    }
    Value::Object(responses)
}

/// Every code that a route can answer with.
pub(crate) fn codes(route: &Route) -> Vec<Code> {
    let mut codes = COMMON.to_vec();
    if route.access == Access::Probe {
        codes.retain(|code| *code != Code::BadHost);
    }
    if let Access::Scope(_) | Access::Family(..) = route.access {
        codes.extend([Code::Unauthorized, Code::Forbidden, Code::Busy, Code::Unavailable]);
    }
    if route.body.is_some() {
        codes.extend([Code::BadBody, Code::BodyTooLarge, Code::UnsupportedMediaType]);
    }
    if route.command {
        codes.extend([Code::BadRequest, Code::IdempotencyConflict]);
    }
    codes.extend_from_slice(route.problems);
    codes
}

fn problem_schema() -> Value {
    let words: Vec<&str> = Code::ALL.iter().map(|code| code.word()).collect();
    json!({
        "type": "object",
        "description": "Why a request was not done. Nothing was changed.",
        "properties": {
            "code": { "type": "string", "enum": words, "description": "Stable: for programs." },
            "message": { "type": "string", "description": "What is wrong and what to do: for people." },
            "field": { "type": "string", "description": "The field that is meant, if it is one." },
        },
        "required": ["code", "message"],
    })
}
