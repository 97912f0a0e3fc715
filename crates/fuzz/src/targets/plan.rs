//! A tracking plan, and an event that it judges.

use super::JSON_WORDS;
use crate::Target;
use collect::plan::Plan;

pub(crate) const TARGET: Target = Target {
    name: "plan",
    promise: "a plan is refused in a sentence or judges any properties, the same way each time",
    check,
    seeds,
    words: JSON_WORDS,
};

/// Plan and properties stand on both sides of the first zero byte.
fn check(data: &[u8]) -> bool {
    let (plan, properties) = match data.iter().position(|byte| *byte == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &b"{}"[..]),
    };
    let (Ok(plan), Ok(properties)) = (std::str::from_utf8(plan), std::str::from_utf8(properties)) else {
        return false;
    };
    match Plan::read(plan) {
        Ok(read) => {
            for event in ["Order Completed", "Product Viewed", ""] {
                let judged = format!("{:?}", read.judge(event, properties));
                let again = Plan::read(plan).expect("it was read before");
                assert_eq!(judged, format!("{:?}", again.judge(event, properties)));
            }
            true
        }
        Err(error) => {
            assert!(error.to_string().contains(' '));
            false
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let plan = r#"{"unplanned":"allow","otherwise":"block","fates":{"Order Completed":"quarantine"},"events":{
        "Order Completed":{"type":"object","required":["order_id"],"additionalProperties":false,"properties":{
        "order_id":{"type":"string","minLength":1,"maxLength":40,"pattern":"^o-[0-9]+$"},"revenue":{"type":["number","null"],
        "minimum":0,"exclusiveMaximum":100000,"multipleOf":0.01},"products":{"type":"array","minItems":1,"uniqueItems":true,
        "items":{"type":"object","properties":{"sku":{"enum":["a","b",1,null]}}}},"kind":{"const":"web"},
        "when":{"anyOf":[{"type":"string","format":"date-time"},{"type":"integer"}]}}},"Product Viewed":true}}"#;
    let properties =
        r#"{"order_id":"o-1","revenue":12.5,"products":[{"sku":"a"},{"sku":1}],"kind":"web","when":7}"#;
    vec![[plan.as_bytes(), b"\0", properties.as_bytes()].concat(), b"{}".to_vec()]
}
