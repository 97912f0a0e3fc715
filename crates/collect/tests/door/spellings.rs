//! What single SDKs spell in their own way, beside the forms that all of them share.

use crate::meaning::check;
use serde_json::{Value, json};

/// RudderStack's SDKs say consent as lists of what was allowed and what was denied. Of two words about one category the
/// denial counts, in one form or across both.
#[test]
fn consent_of_rudderstack() {
    let managed =
        |managed: Value| json!({"type":"page","userId":"u","context":{"consentManagement":managed}});
    check(
        managed(
            json!({"provider":"custom","allowedConsentIds":["C1","C2",7],"deniedConsentIds":["C3",null,"C1"]}),
        ),
        "page user=u +C2 +7 -C3 -C1",
    );
    check(managed(json!({"allowedConsentIds":{"C1":"x"},"deniedConsentIds":"C3"})), "page user=u");
    let many: Vec<String> = (0..65).map(|number| format!("C{number}")).collect();
    check(
        managed(json!({"deniedConsentIds":many})),
        "! too_many batch[0].context.consentManagement has more than 64 elements; split it",
    );
    check(
        json!({"type":"page","userId":"u","context":{
            "consent":{"categoryPreferences":{"A":true,"B":true}},"consentManagement":{"deniedConsentIds":["A"]}}}),
        "page user=u +B -A",
    );
}

/// RudderStack's `context.externalId` is Segment's `context.externalIds`.
#[test]
fn external_ids_of_rudderstack() {
    check(
        json!({"type":"page","userId":"u","context":{"externalId":[{"type":"loyalty","id":"L9"}]}}),
        "page user=u kind32=L9",
    );
}

/// Segment's SDK for Swift sends an alias without a previous id where nobody was known before.
#[test]
fn alias_of_somebody_unknown() {
    check(json!({"type":"alias","userId":"u2","anonymousId":"a"}), "alias user=u2 anonymous=a");
    check(
        json!({"type":"alias","userId":"u2"}),
        "! missing_field batch[0].previousId is missing or blank; name the id that userId replaces",
    );
}
