//! What each platform takes: every member of a payload is known, every one that is needed is there, every value has the
//! documented form. Anything else is a complaint and an error as the platform writes it.

use crate::standin::{Call, Held};
use delivery::env::Env;
use model::id::Timestamp;
use outbound::render::format_instant;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// `(name, needed)` of an object's members; anything else is wrong.
fn members(value: &Value, known: &[(&str, bool)]) -> Result<(), String> {
    let map = value.as_object().ok_or_else(|| format!("no object: {value}"))?;
    let unknown = map.keys().find(|name| !known.iter().any(|(own, _)| own == *name));
    if let Some(name) = unknown {
        return Err(format!("unknown member {name}"));
    }
    let missing = known.iter().find(|(name, needed)| *needed && !map.contains_key(*name));
    missing.map_or(Ok(()), |(name, _)| Err(format!("no member {name}")))
}

fn hash(value: &Value) -> Result<&str, String> {
    let text = value.as_str().unwrap_or_default();
    let plain = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if plain { Ok(text) } else { Err(format!("no hash: {value}")) }
}

fn array(value: &Value, longest: usize) -> Result<&Vec<Value>, String> {
    let all = value.as_array().ok_or_else(|| format!("no list: {value}"))?;
    if all.is_empty() || all.len() > longest { Err(format!("{} items", all.len())) } else { Ok(all) }
}

fn is(condition: bool, what: &str) -> Result<(), String> {
    if condition { Ok(()) } else { Err(what.to_owned()) }
}

fn complain(held: &mut Held, call: &Call<'_>, why: String, answer: Value) -> (u16, Value) {
    held.complaints.push(format!("{} {}: {why}", call.method, call.path));
    (400, answer)
}

fn meta_error(code: u64, subcode: u64) -> Value {
    json!({ "error": { "message": "Invalid parameter ann@shop.test", "type": "OAuthException", "code": code,
                       "error_subcode": subcode, "fbtrace_id": "x" } })
}

pub(crate) fn meta_audience(held: &mut Held, call: &Call<'_>) -> (u16, Value) {
    match meta_rows(call) {
        Ok((list, edge, rows)) => {
            let list = list.to_owned();
            let session = call.body["session"].clone();
            let sent = rows.len();
            let members = held.lists.entry(list.clone()).or_default();
            match (call.method, edge) {
                ("POST", "users") => members.extend(rows),
                ("DELETE", "users") => members.retain(|row| !rows.contains(row)),
                _ => {
                    let key = (list.clone(), session["session_id"].as_u64().unwrap());
                    let parts = held.parts.entry(key).or_default();
                    parts.extend(rows);
                    if session["last_batch_flag"] == true {
                        *members = parts.clone();
                    }
                }
            }
            let answer = json!({ "audience_id": list, "session_id": session["session_id"].to_string(),
                                 "num_received": sent, "num_invalid_entries": 0, "invalid_entry_samples": {} });
            (200, answer)
        }
        Err(why) => complain(held, call, why, meta_error(100, 1_487_060)),
    }
}

fn meta_rows<'a>(call: &Call<'a>) -> Result<(&'a str, &'a str, Vec<String>), String> {
    let (list, edge) = call.path.trim_start_matches('/').split_once('/').ok_or("path")?;
    let known = matches!((call.method, edge), ("POST" | "DELETE", "users") | ("POST", "usersreplace"));
    is(known && list.bytes().all(|byte| byte.is_ascii_digit()), "path or method")?;
    members(call.body, &[("session", true), ("payload", true), ("appsecret_proof", false)])?;
    let session = &call.body["session"];
    let names = ["session_id", "batch_seq", "last_batch_flag", "estimated_num_total"];
    members(session, &names.map(|name| (name, true)))?;
    is(session["session_id"].is_u64() && session["batch_seq"].as_u64() >= Some(1), "session")?;
    is(session["last_batch_flag"].is_boolean() && session["estimated_num_total"].is_u64(), "session")?;
    let payload = &call.body["payload"];
    members(payload, &[("schema", true), ("is_raw", true), ("data", true)])?;
    let schema = json!(["EMAIL", "PHONE", "FN", "LN", "CT", "ST", "ZIP", "COUNTRY"]);
    is(payload["schema"] == schema && payload["is_raw"] == true, "schema")?;
    let mut rows = Vec::new();
    for row in array(&payload["data"], 10_000)? {
        let cells = array(row, 8)?;
        is(cells.len() == 8 && (cells[0] != "" || cells[1] != ""), "row")?;
        for cell in cells.iter().filter(|cell| **cell != "") {
            hash(cell)?;
        }
        rows.push(row.to_string());
    }
    Ok((list, edge, rows))
}

pub(crate) fn meta_events(held: &mut Held, call: &Call<'_>) -> (u16, Value) {
    if let Err(why) = meta_events_form(call) {
        return complain(held, call, why, meta_error(100, 2_804_050));
    }
    let events = call.body["data"].as_array().unwrap();
    // One bad event rejects all. That is the platform's word about a value, not a complaint about the form.
    if events.iter().any(|event| event["event_id"].as_str().unwrap().starts_with("bad")) {
        return (400, meta_error(100, 2_804_003));
    }
    for event in events {
        let key = (event["event_name"].as_str().unwrap(), event["event_id"].as_str().unwrap());
        let entry = held.events.entry((key.0.to_owned(), key.1.to_owned()));
        entry.or_insert_with(|| (event.clone(), 0)).1 += 1;
    }
    (200, json!({ "events_received": events.len(), "messages": [], "fbtrace_id": "x" }))
}

fn meta_events_form(call: &Call<'_>) -> Result<(), String> {
    is(call.method == "POST" && call.path == "/12345/events", "path or method")?;
    members(call.body, &[("data", true), ("test_event_code", false), ("appsecret_proof", false)])?;
    for event in array(&call.body["data"], 1_000)? {
        let needed = ["event_name", "event_time", "event_id", "action_source", "user_data"];
        let mut known: Vec<(&str, bool)> = needed.iter().map(|name| (*name, true)).collect();
        known.extend([("event_source_url", false), ("custom_data", false)]);
        members(event, &known)?;
        let now_s = Env::real().clock.now_us() / 1_000_000;
        let age_s = now_s - event["event_time"].as_i64().ok_or("event_time")?;
        let source = event["action_source"].as_str().unwrap_or_default();
        let longest_s = if source == "physical_store" { 62 } else { 7 } * 86_400;
        is(age_s <= longest_s + 5, "too old")?;
        let sources = ["website", "app", "physical_store", "phone_call", "system_generated"];
        is(sources.contains(&source), "action_source")?;
        let person = &event["user_data"];
        let lists = ["em", "ph", "fn", "ln", "ct", "st", "zp", "country", "external_id"];
        let plain = ["client_ip_address", "client_user_agent", "fbc", "fbp"];
        members(person, &lists.iter().chain(&plain).map(|name| (*name, false)).collect::<Vec<_>>())?;
        is(!person.as_object().unwrap().is_empty(), "nobody")?;
        for (name, value) in person.as_object().unwrap() {
            if lists.contains(&name.as_str()) {
                array(value, 20)?.iter().try_for_each(|value| hash(value).map(|_| ()))?;
            } else {
                is(value.is_string(), name)?;
            }
        }
        is(source != "website" || !person["client_user_agent"].is_null(), "website without agent")?;
        if let Some(data) = event.get("custom_data") {
            let names =
                ["currency", "value", "order_id", "contents", "content_ids", "content_type", "num_items"];
            members(data, &names.map(|name| (name, false)))?;
            is(data.get("value").is_none_or(Value::is_number), "value")?;
        }
    }
    Ok(())
}

fn google_error(status: &str) -> Value {
    json!({ "error": { "code": 400, "message": "ann@shop.test is wrong", "status": status, "details": [] } })
}

fn google_destination(body: &Value) -> Result<&str, String> {
    let one = &array(&body["destinations"], 10)?[0];
    members(one, &[("operatingAccount", true), ("loginAccount", false), ("productDestinationId", true)])?;
    members(&one["operatingAccount"], &[("accountType", true), ("accountId", true)])?;
    one["productDestinationId"].as_str().ok_or_else(|| "productDestinationId".to_owned())
}

fn google_identifiers(data: &Value) -> Result<Vec<String>, String> {
    members(data, &[("userIdentifiers", true)])?;
    let all = array(&data["userIdentifiers"], 10)?;
    for one in all {
        let map = one.as_object().ok_or("identifier")?;
        is(map.len() == 1, "one of each")?;
        match map.iter().next().unwrap() {
            (name, value) if name == "emailAddress" || name == "phoneNumber" => hash(value).map(|_| ())?,
            (name, value) if name == "address" => {
                let names = ["givenName", "familyName", "regionCode", "postalCode"];
                members(value, &names.map(|name| (name, true)))?;
                hash(&value["givenName"])?;
                hash(&value["familyName"])?;
            }
            _ => return Err("identifier".to_owned()),
        }
    }
    Ok(all.iter().map(Value::to_string).collect())
}

fn google_accept(held: &mut Held) -> (u16, Value) {
    let id = format!("request-{}", held.requests.len());
    held.requests.insert(id.clone(), 0);
    (200, json!({ "requestId": id }))
}

fn google_status(held: &mut Held, call: &Call<'_>) -> Option<(u16, Value)> {
    let id = call.path.strip_prefix("/requestStatus:retrieve?requestId=")?;
    let asked = held.requests.get_mut(id)?;
    *asked += 1;
    // The first question comes too early; every third request failed in part.
    let status = match (*asked, id.strip_prefix("request-")?.parse::<u64>().ok()? % 3) {
        (1, _) => "PROCESSING",
        _ if held.failed.contains(id) => "FAILED",
        (_, 2) => "PARTIAL_SUCCESS",
        _ => "SUCCESS",
    };
    let info =
        json!({ "errorCounts": [{ "recordCount": "1", "reason": "PROCESSING_ERROR_REASON_INVALID" }] });
    Some((200, json!({ "requestStatusPerDestination": [{ "requestStatus": status, "errorInfo": info }] })))
}

pub(crate) fn google_audience(held: &mut Held, call: &Call<'_>) -> (u16, Value) {
    if let Some(answer) = google_status(held, call) {
        return answer;
    }
    if held.fail_next > 0 {
        held.fail_next -= 1;
        let id = format!("request-{}", held.requests.len());
        held.failed.insert(id);
        return google_accept(held);
    }
    match google_members(held, call) {
        Ok(()) => google_accept(held),
        Err(why) => complain(held, call, why, google_error("INVALID_ARGUMENT")),
    }
}

fn google_members(held: &mut Held, call: &Call<'_>) -> Result<(), String> {
    is(call.method == "POST", "method")?;
    let list = google_destination(call.body)?.to_owned();
    if call.path == "/audienceMembers:removeAll" {
        members(call.body, &[("destinations", true), ("removeAsOfTime", true)])?;
        is(call.body["removeAsOfTime"].as_str().is_some_and(|text| text.ends_with('Z')), "removeAsOfTime")?;
        // Whoever was last added before goes. Instants of this form are in order as text.
        let before = call.body["removeAsOfTime"].as_str().unwrap_or_default();
        let since = held.added.iter().filter(|((own, _), added)| *own == list && added.as_str() >= before);
        let kept: BTreeSet<String> = since.map(|((_, row), _)| row.clone()).collect();
        held.lists.entry(list).or_default().retain(|row| kept.contains(row));
        return Ok(());
    }
    let add = call.path == "/audienceMembers:ingest";
    is(add || call.path == "/audienceMembers:remove", "path")?;
    let mut known = vec![("destinations", true), ("audienceMembers", true), ("encoding", true)];
    known.extend(add.then_some(("termsOfService", true)));
    members(call.body, &known)?;
    is(call.body["encoding"] == "HEX", "encoding")?;
    let now = format_instant(Timestamp(Env::real().clock.now_us()));
    for member in array(&call.body["audienceMembers"], 10_000)? {
        members(member, &[("userData", true)])?;
        let rows = google_identifiers(&member["userData"])?;
        let members = held.lists.entry(list.clone()).or_default();
        for row in rows {
            if add {
                held.added.insert((list.clone(), row.clone()), now.clone());
                members.insert(row);
            } else {
                members.remove(&row);
            }
        }
    }
    Ok(())
}

pub(crate) fn google_events(held: &mut Held, call: &Call<'_>) -> (u16, Value) {
    if let Some(answer) = google_status(held, call) {
        return answer;
    }
    if let Err(why) = google_events_form(call) {
        return complain(held, call, why, google_error("INVALID_ARGUMENT"));
    }
    let events = call.body["events"].as_array().unwrap();
    if events.iter().any(|event| event["transactionId"].as_str().unwrap().starts_with("bad")) {
        return (400, google_error("INVALID_ARGUMENT"));
    }
    for event in events {
        let key = (event["eventName"].as_str().unwrap(), event["transactionId"].as_str().unwrap());
        let entry = held.events.entry((key.0.to_owned(), key.1.to_owned()));
        entry.or_insert_with(|| (event.clone(), 0)).1 += 1;
    }
    google_accept(held)
}

fn google_events_form(call: &Call<'_>) -> Result<(), String> {
    is(call.method == "POST" && call.path == "/events:ingest", "path or method")?;
    let known = [("destinations", true), ("events", true), ("encoding", true), ("validateOnly", false)];
    members(call.body, &known)?;
    google_destination(call.body)?;
    for event in array(&call.body["events"], 2_000)? {
        let needed = ["eventName", "transactionId", "eventTimestamp", "eventSource"];
        let more = [
            "userData",
            "adIdentifiers",
            "consent",
            "conversionValue",
            "currency",
            "eventDeviceInfo",
            "cartData",
        ];
        let needed = needed.iter().map(|name| (*name, true));
        members(event, &needed.chain(more.iter().map(|name| (*name, false))).collect::<Vec<_>>())?;
        if let Some(person) = event.get("userData") {
            google_identifiers(person)?;
        }
        is(event.get("userData").is_some() || event.get("adIdentifiers").is_some(), "nobody")?;
    }
    Ok(())
}

pub(crate) fn tiktok(held: &mut Held, call: &Call<'_>) -> (u16, Value) {
    if let Err(why) = tiktok_form(call) {
        let (_, answer) =
            complain(held, call, why, json!({ "code": 40002, "message": "ann@shop.test", "data": {} }));
        return (200, answer);
    }
    let events = call.body["data"].as_array().unwrap();
    if events.iter().any(|event| event["event_id"].as_str().unwrap().starts_with("bad")) {
        return (200, json!({ "code": 40002, "message": "ann@shop.test", "request_id": "x", "data": {} }));
    }
    for event in events {
        let key = (event["event"].as_str().unwrap(), event["event_id"].as_str().unwrap());
        let entry = held.events.entry((key.0.to_owned(), key.1.to_owned()));
        entry.or_insert_with(|| (event.clone(), 0)).1 += 1;
    }
    (200, json!({ "code": 0, "message": "OK", "request_id": "x", "data": {} }))
}

fn tiktok_form(call: &Call<'_>) -> Result<(), String> {
    is(call.method == "POST" && call.path == "/event/track/", "path or method")?;
    let known =
        [("event_source", true), ("event_source_id", true), ("data", true), ("test_event_code", false)];
    members(call.body, &known)?;
    for event in array(&call.body["data"], 1_000)? {
        let needed = ["event", "event_id", "event_time", "user"].map(|name| (name, true));
        members(event, &[&needed[..], &[("properties", false), ("page", false)]].concat())?;
        is(event["event_time"].is_i64(), "event_time")?;
        let names = ["email", "phone", "external_id", "ttclid", "ttp", "ip", "user_agent"];
        members(&event["user"], &names.map(|name| (name, false)))?;
        for name in &names[..3] {
            event["user"].get(name).map_or(Ok(()), |value| hash(value).map(|_| ()))?;
        }
    }
    Ok(())
}

pub(crate) fn criteo(held: &mut Held, call: &Call<'_>) -> (u16, Value) {
    match criteo_form(call) {
        Ok((list, add, rows)) => {
            let members = held.lists.entry(list.to_owned()).or_default();
            let sent = rows.len();
            if add {
                members.extend(rows)
            } else {
                members.retain(|row| !rows.contains(row))
            }
            let attributes = json!({ "contactListId": 12, "operation": "add", "identifierType": "email",
                "requestDate": "2026-11-22T00:00:00Z", "nbValidIdentifiers": sent, "nbInvalidIdentifiers": 0 });
            let data = json!({ "type": "ContactlistAmendment", "attributes": attributes });
            (200, json!({ "data": data, "errors": [], "warnings": [] }))
        }
        Err(why) => {
            let error = json!({ "traceId": "x", "type": "validation", "code": "bad-request" });
            complain(held, call, why, json!({ "errors": [error], "warnings": [] }))
        }
    }
}

fn criteo_form<'a>(call: &Call<'a>) -> Result<(&'a str, bool, Vec<String>), String> {
    let path = call.path.strip_prefix("/2026-01/marketing-solutions/audience-segments/").ok_or("path")?;
    let list = path.strip_suffix("/contact-list").ok_or("path")?;
    is(call.method == "PATCH", "method")?;
    members(call.body, &[("data", true)])?;
    members(&call.body["data"], &[("type", true), ("attributes", true)])?;
    let attributes = &call.body["data"]["attributes"];
    members(attributes, &["operation", "identifierType", "identifiers"].map(|name| (name, true)))?;
    is(attributes["identifierType"] == "email", "identifierType")?;
    let add = attributes["operation"] == "add";
    is(add || attributes["operation"] == "remove", "operation")?;
    let rows = array(&attributes["identifiers"], 10_000)?.iter();
    let rows: Result<Vec<String>, String> = rows.map(|row| hash(row).map(str::to_owned)).collect();
    Ok((list, add, rows?))
}

/// Keeps whatever comes, for the payloads that the platforms' own libraries read.
pub(crate) fn recorder(held: &mut Held, call: &Call<'_>) -> (u16, Value) {
    held.bodies.push(json!({ "method": call.method, "path": call.path, "body": call.body }));
    let count = |name: &str| call.body.get(name).and_then(Value::as_array).map(Vec::len);
    let rows = call.body["payload"]["data"].as_array().map(Vec::len);
    let answer = json!({ "events_received": count("data"), "num_received": rows, "requestId": "r", "code": 0,
        "data": { "attributes": { "nbInvalidIdentifiers": 0 } } });
    (200, answer)
}
