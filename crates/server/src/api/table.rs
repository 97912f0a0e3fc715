//! The one table of routes.

use super::problem::Code;
use super::route::{Access, Answer, Listener, Route, Verb};
use super::shape::Shape;
use super::types::{
    AudienceGiven, AudienceList, AudienceShown, Changed, DeadLetterIds, DeadLetterList, DeadLettersDone,
    DecideAnswer, DecideRequest, Defined, DestinationGiven, DestinationList, DestinationShown, Erased,
    ExplainAudience, ExplainedAudience, FeatureGiven, FeatureList, Health, IdentityShown, LookupRequest,
    Outbox, PreviewGiven, PreviewShown, ProfileShown, Readiness, StatusShown, SuppressionRules, TokenList,
    TokenMade, TokenNew, UnmergeRequest, Unmerged, WriteKeyList, WriteKeyNew, WriteKeyShown,
};
use super::write_keys::{self, SetAsideList, WriteKeyRules};
use super::{ADMIN, DECIDE, PROFILE_READ, admin, definitions, health, people};
use crate::deliver;
use crate::deliver::list_types::{ListGiven, ListsShown};
use crate::feed::{self, FEED_ALL, FEED_FAMILY};
use crate::line::{
    self,
    types::{LineChanged, LineRules, LineShown},
};
use crate::page;
use crate::quarantine::{
    self,
    types::{HeldDiscarded, HeldEvent, HeldList, HeldResent, HeldSelection},
};
use serde_json::Value;

/// Every route of both listeners, in the order of the documentation.
pub(crate) fn routes() -> Vec<Route> {
    let mut all = people_routes();
    all.extend(feed_routes());
    all.extend(settings_routes());
    all.extend(write_key_rules_routes());
    all.extend(quarantine_routes());
    all.extend(rules_routes());
    all.extend(definition_routes());
    all.extend(feature_routes());
    all.extend(destination_routes());
    all.extend(dead_letter_routes());
    all.extend(operation_routes());
    all.extend(open_routes());
    all.extend(page_routes());
    all
}

const BASE: Route = Route {
    listener: Listener::Admin,
    verb: Verb::Get,
    path: "",
    access: Access::Scope(ADMIN),
    operation: "",
    about: "",
    query: &[],
    body: None,
    command: false,
    answer: Answer::Json(200, Changed::shape),
    problems: &[],
    handle: health::healthz,
};

const POST: Route = Route { verb: Verb::Post, command: true, ..BASE };

fn people_routes() -> Vec<Route> {
    vec![
        Route {
            listener: Listener::Profiles,
            path: "/v1/decide",
            access: Access::Scope(DECIDE),
            operation: "decide",
            about: "Whether to hold an advertisement back, from memory.",
            command: false,
            body: Some(DecideRequest::shape),
            answer: Answer::Json(200, DecideAnswer::shape),
            problems: &[Code::BadIdentifier],
            handle: people::decide,
            ..POST
        },
        Route {
            listener: Listener::Profiles,
            path: "/v1/profiles/{id}",
            access: Access::Scope(PROFILE_READ),
            operation: "getProfile",
            about: "One person, by profile id. Every read is written to the audit log.",
            answer: Answer::Json(200, ProfileShown::shape),
            problems: &[Code::BadId, Code::NoSuchProfile, Code::Internal],
            handle: people::get_profile,
            ..BASE
        },
        Route {
            listener: Listener::Profiles,
            path: "/v1/profiles/lookup",
            access: Access::Scope(PROFILE_READ),
            operation: "lookupProfile",
            about: "One person, by an identifier in the body: it never stands in a URL. Every read is written to the \
                    audit log.",
            command: false,
            body: Some(LookupRequest::shape),
            answer: Answer::Json(200, ProfileShown::shape),
            problems: &[Code::BadIdentifier, Code::NoSuchProfile, Code::Internal],
            handle: people::lookup,
            ..POST
        },
        Route {
            path: "/admin/v1/profiles/{id}/unmerge",
            operation: "unmergeProfile",
            about: "Undoes a join, as if it had never been. What was already sent stays sent.",
            body: Some(UnmergeRequest::shape),
            answer: Answer::Json(200, Unmerged::shape),
            problems: &[
                Code::BadId,
                Code::BadValue,
                Code::BadIdentifier,
                Code::NoSuchProfile,
                Code::Conflict,
            ],
            handle: admin::unmerge,
            ..POST
        },
        Route {
            path: "/admin/v1/profiles/{id}/erase",
            operation: "eraseProfile",
            about: "Erases a person: state at once, checkpoints and log in the background.",
            answer: Answer::Json(200, Erased::shape),
            problems: &[Code::BadId, Code::NoSuchProfile],
            handle: admin::erase,
            ..POST
        },
    ]
}

const PUT_DEFINITION: Route = Route {
    verb: Verb::Put,
    query: &[("dry_run", "`true` checks the definition and changes nothing.")],
    answer: Answer::Json(200, Defined::shape),
    problems: &[Code::BadId, Code::BadValue, Code::BadDefinition, Code::Conflict],
    ..POST
};
const DELETE_DEFINITION: Route = Route {
    verb: Verb::Delete,
    answer: Answer::Json(200, Defined::shape),
    problems: &[Code::BadId, Code::BadDefinition, Code::NoSuchDefinition, Code::BadValue],
    handle: definitions::remove,
    ..POST
};

fn definition_routes() -> Vec<Route> {
    vec![
        Route {
            path: "/admin/v1/audiences",
            operation: "listAudiences",
            about: "The audiences, with how many people are in each.",
            answer: Answer::Json(200, AudienceList::shape),
            handle: definitions::list_audiences,
            ..BASE
        },
        Route {
            path: "/admin/v1/audiences/{name}",
            operation: "getAudience",
            about: "One audience.",
            answer: Answer::Json(200, AudienceShown::shape),
            problems: &[Code::BadId, Code::NoSuchDefinition],
            handle: definitions::get_audience,
            ..BASE
        },
        Route {
            path: "/admin/v1/audiences/{name}",
            operation: "putAudience",
            about: "Defines an audience or changes it. People who are there already are gone through in the background.",
            body: Some(AudienceGiven::shape),
            handle: definitions::put_audience,
            ..PUT_DEFINITION
        },
        Route {
            path: "/admin/v1/audiences/{name}",
            operation: "removeAudience",
            about: "Removes an audience: everybody leaves it.",
            ..DELETE_DEFINITION
        },
        Route {
            path: "/admin/v1/audiences/{name}/explain",
            operation: "explainAudience",
            about: "Why a person is in an audience, or is not, part by part.",
            command: false,
            body: Some(ExplainAudience::shape),
            answer: Answer::Json(200, ExplainedAudience::shape),
            problems: &[
                Code::BadId,
                Code::BadIdentifier,
                Code::BadValue,
                Code::NoSuchProfile,
                Code::NoSuchDefinition,
            ],
            handle: definitions::explain,
            ..POST
        },
    ]
}

fn feature_routes() -> Vec<Route> {
    vec![
        Route {
            path: "/admin/v1/features",
            operation: "listFeatures",
            about: "The features that have names.",
            answer: Answer::Json(200, FeatureList::shape),
            handle: definitions::list_features,
            ..BASE
        },
        Route {
            path: "/admin/v1/features/{name}",
            operation: "putFeature",
            about: "Defines a feature with a name or changes it, with every audience that uses it.",
            body: Some(FeatureGiven::shape),
            handle: definitions::put_feature,
            ..PUT_DEFINITION
        },
        Route {
            path: "/admin/v1/features/{name}",
            operation: "removeFeature",
            about: "Removes a feature that no audience uses.",
            ..DELETE_DEFINITION
        },
    ]
}

fn feed_routes() -> Vec<Route> {
    const FEED: Route =
        Route { listener: Listener::Profiles, access: Access::Family(FEED_FAMILY, FEED_ALL), ..BASE };
    const KINDS: (&str, &str) =
        ("kinds", "Kinds, separated by commas; all that the token shows if left out.");
    vec![
        Route {
            path: "/feed/v1",
            operation: "readFeed",
            about: "What was applied, in order, from a cursor on: a JSON object a line, or server-sent events where \
                    Accept says text/event-stream. See docs/feed.md.",
            query: &[
                ("after", "A cursor, or `end`; the oldest item if left out. Last-Event-ID stands over it."),
                KINDS,
                ("limit", "Items after which the answer ends; no limit if left out."),
                (
                    "wait_ms",
                    "How long the answer may wait for more, 0 to 86,400,000. If left out 0 for lines, the most for \
                     events.",
                ),
            ],
            answer: Answer::Stream(&["application/x-ndjson", "text/event-stream"]),
            problems: &[Code::BadRequest, Code::BadValue, Code::BadCursor, Code::CursorGone],
            handle: feed::read,
            ..FEED
        },
        Route {
            path: "/feed/v1/snapshot",
            operation: "readFeedSnapshot",
            about: "The state to begin from, a JSON object a line; the last line has the cursor to go on from. Without \
                    that line it is not whole.",
            query: &[KINDS],
            answer: Answer::Stream(&["application/x-ndjson"]),
            problems: &[Code::BadValue],
            handle: feed::snapshot,
            ..FEED
        },
    ]
}

fn destination_routes() -> Vec<Route> {
    const BY_NAME: &[Code] = &[Code::NoSuchDefinition, Code::BadValue];
    vec![
        Route {
            path: "/admin/v1/destinations",
            operation: "listDestinations",
            about: "Where effects go, and how each destination is.",
            answer: Answer::Json(200, DestinationList::shape),
            handle: deliver::list,
            ..BASE
        },
        Route {
            path: "/admin/v1/destinations/{name}",
            operation: "getDestination",
            about: "One destination.",
            answer: Answer::Json(200, DestinationShown::shape),
            problems: BY_NAME,
            handle: deliver::get,
            ..BASE
        },
        Route {
            verb: Verb::Put,
            path: "/admin/v1/destinations/{name}",
            operation: "putDestination",
            about: "Defines a destination or changes it. It gets what happens from then on.",
            body: Some(DestinationGiven::shape),
            answer: Answer::Json(200, DestinationShown::shape),
            problems: &[Code::BadValue, Code::Conflict],
            handle: deliver::define,
            ..POST
        },
        Route {
            verb: Verb::Delete,
            path: "/admin/v1/destinations/{name}",
            operation: "removeDestination",
            about: "Removes a destination. What was not sent yet is not sent.",
            answer: Answer::Json(200, DestinationShown::shape),
            problems: BY_NAME,
            handle: deliver::remove,
            ..POST
        },
        Route {
            path: "/admin/v1/destinations/{name}/rotate-secret",
            operation: "rotateSecret",
            about: "Gives a webhook a new secret. The former one signs as well until the next change.",
            answer: Answer::Json(200, DestinationShown::shape),
            problems: BY_NAME,
            handle: deliver::rotate_secret,
            ..POST
        },
        Route {
            path: "/admin/v1/destinations/{name}/preview",
            operation: "previewDestination",
            about: "Renders the templates of a request for a message that is made up, or that is given. Nothing is sent.",
            command: false,
            body: Some(PreviewGiven::shape),
            answer: Answer::Json(200, PreviewShown::shape),
            problems: &[Code::NoSuchDefinition, Code::BadValue, Code::Conflict],
            handle: deliver::preview,
            ..POST
        },
    ]
}

fn dead_letter_routes() -> Vec<Route> {
    vec![
        Route {
            path: "/admin/v1/destinations/{name}/lists",
            operation: "showLists",
            about: "The lists of an ad platform as it was told, and the last work on one of them.",
            answer: Answer::Json(200, ListsShown::shape),
            problems: &[Code::NoSuchDefinition, Code::Conflict, Code::Internal],
            handle: deliver::show_lists,
            ..BASE
        },
        Route {
            path: "/admin/v1/destinations/{name}/lists",
            operation: "workOnList",
            about: "Re-syncs, replaces or verifies a list of an ad platform. It goes on when the request is answered.",
            command: false,
            body: Some(ListGiven::shape),
            answer: Answer::Json(200, ListsShown::shape),
            problems: &[Code::NoSuchDefinition, Code::BadValue, Code::Conflict, Code::Internal],
            handle: deliver::begin_list_work,
            ..POST
        },
        Route {
            path: "/admin/v1/destinations/{name}/dead-letters",
            operation: "listDeadLetters",
            about: "Messages that could not be delivered, oldest first.",
            query: &[
                ("after", "The id of the last letter seen."),
                ("limit", "How many, at most 1000; 100 if left out."),
            ],
            answer: Answer::Json(200, DeadLetterList::shape),
            problems: &[Code::NoSuchDefinition, Code::BadRequest, Code::Conflict],
            handle: deliver::dead_letters,
            ..BASE
        },
        Route {
            path: "/admin/v1/destinations/{name}/dead-letters/resend",
            operation: "resendDeadLetters",
            about: "Sends them again, under the same idempotency key.",
            command: false,
            body: Some(DeadLetterIds::shape),
            answer: Answer::Json(200, DeadLettersDone::shape),
            problems: &[Code::NoSuchDefinition, Code::BadRequest, Code::BadValue, Code::Conflict],
            handle: deliver::resend,
            ..POST
        },
        Route {
            path: "/admin/v1/destinations/{name}/dead-letters/discard",
            operation: "discardDeadLetters",
            about: "Drops them for good.",
            command: false,
            body: Some(DeadLetterIds::shape),
            answer: Answer::Json(200, DeadLettersDone::shape),
            problems: &[Code::NoSuchDefinition, Code::BadRequest, Code::BadValue, Code::Conflict],
            handle: deliver::discard,
            ..POST
        },
    ]
}

fn settings_routes() -> Vec<Route> {
    vec![
        Route {
            path: "/admin/v1/write-keys",
            operation: "listWriteKeys",
            about: "The keys that let events in.",
            answer: Answer::Json(200, WriteKeyList::shape),
            handle: admin::list_write_keys,
            ..BASE
        },
        Route {
            path: "/admin/v1/write-keys",
            operation: "createWriteKey",
            about: "Makes a write key.",
            body: Some(WriteKeyNew::shape),
            answer: Answer::Json(201, WriteKeyShown::shape),
            problems: &[Code::BadValue, Code::Conflict],
            handle: admin::create_write_key,
            ..POST
        },
        Route {
            verb: Verb::Delete,
            path: "/admin/v1/write-keys/{number}",
            operation: "disableWriteKey",
            about: "Lets nothing in with a write key any more. Its number stays taken: events carry it.",
            problems: &[Code::BadId, Code::NoSuchWriteKey],
            handle: admin::disable_write_key,
            ..POST
        },
        Route {
            path: "/admin/v1/tokens",
            operation: "listTokens",
            about: "The tokens, without their secrets.",
            answer: Answer::Json(200, TokenList::shape),
            handle: admin::list_tokens,
            ..BASE
        },
        Route {
            path: "/admin/v1/tokens",
            operation: "createToken",
            about: "Makes a token. Its secret is in this answer and nowhere else; the same request with the same \
                    Idempotency-Key gives the same secret.",
            body: Some(TokenNew::shape),
            answer: Answer::Json(201, TokenMade::shape),
            problems: &[Code::BadValue, Code::Conflict],
            handle: admin::create_token,
            ..POST
        },
        Route {
            verb: Verb::Delete,
            path: "/admin/v1/tokens/{number}",
            operation: "revokeToken",
            about: "Revokes a token, at once.",
            problems: &[Code::BadId, Code::NoSuchToken],
            handle: admin::revoke_token,
            ..POST
        },
    ]
}

fn write_key_rules_routes() -> Vec<Route> {
    vec![
        Route {
            path: "/admin/v1/write-keys/{number}/rules",
            operation: "getWriteKeyRules",
            about: "What a write key may send.",
            answer: Answer::Json(200, WriteKeyRules::shape),
            problems: &[Code::BadId, Code::NoSuchWriteKey],
            handle: write_keys::get_rules,
            ..BASE
        },
        Route {
            verb: Verb::Put,
            path: "/admin/v1/write-keys/{number}/rules",
            operation: "setWriteKeyRules",
            about: "Replaces what a write key may send; {} allows everything. It holds for requests from then on.",
            body: Some(WriteKeyRules::shape),
            problems: &[Code::BadId, Code::BadValue, Code::NoSuchWriteKey],
            handle: write_keys::set_rules,
            ..POST
        },
        Route {
            path: "/admin/v1/set-aside",
            operation: "listSetAside",
            about: "Events that the rules of write keys kept out lately without their content, and why.",
            answer: Answer::Json(200, SetAsideList::shape),
            handle: write_keys::set_aside,
            ..BASE
        },
    ]
}

fn quarantine_routes() -> Vec<Route> {
    const PATH: &str = "/admin/v1/quarantine";
    vec![
        Route {
            path: PATH,
            operation: "listQuarantine",
            about: "Events that tracking plans keep in quarantine, the newest first, and for which reasons. No content.",
            query: &[
                ("write_key", "Only events of the write key with this number."),
                ("event", "Only events of this name."),
                ("code", "Only events with this code."),
                ("before", "Only events with a lower number: `next` of the answer before."),
                ("limit", "How many, 1 to 1,000; 100 if left out."),
            ],
            answer: Answer::Json(200, HeldList::shape),
            handle: quarantine::list,
            ..BASE
        },
        Route {
            path: "/admin/v1/quarantine/{id}",
            operation: "getQuarantined",
            about: "One event in quarantine with what it says. Every read is written to the audit log.",
            answer: Answer::Json(200, HeldEvent::shape),
            problems: &[Code::BadId, Code::NoSuchEvent, Code::Internal],
            handle: quarantine::get,
            ..BASE
        },
        Route {
            path: "/admin/v1/quarantine/resend",
            operation: "resendQuarantined",
            about: "Mends events and sends them, judged by the rules that their key has now; what does not fit stays. A call \
                    may be repeated: nothing is sent twice.",
            command: false,
            body: Some(HeldSelection::shape),
            answer: Answer::Json(200, HeldResent::shape),
            problems: &[Code::BadValue, Code::Internal],
            handle: quarantine::resend,
            ..POST
        },
        Route {
            path: "/admin/v1/quarantine/discard",
            operation: "discardQuarantined",
            about: "Takes events out of quarantine without sending them. A call may be repeated.",
            command: false,
            body: Some(HeldSelection::shape),
            answer: Answer::Json(200, HeldDiscarded::shape),
            problems: &[Code::BadValue],
            handle: quarantine::discard,
            ..POST
        },
    ]
}

fn rules_routes() -> Vec<Route> {
    vec![
        Route {
            path: "/admin/v1/settings/identity",
            operation: "getIdentitySettings",
            about: "The rules by which identifiers become people.",
            answer: Answer::Json(200, IdentityShown::shape),
            handle: admin::get_identity,
            ..BASE
        },
        Route {
            verb: Verb::Put,
            path: "/admin/v1/settings/identity",
            operation: "setIdentitySettings",
            about: "Replaces the rules of identity. They hold for events from then on.",
            body: Some(IdentityShown::shape),
            problems: &[Code::BadValue],
            handle: admin::set_identity,
            ..POST
        },
        Route {
            path: "/admin/v1/settings/suppression",
            operation: "getSuppressionSettings",
            about: "The rules of suppression.",
            answer: Answer::Json(200, SuppressionRules::shape),
            handle: admin::get_suppression,
            ..BASE
        },
        Route {
            verb: Verb::Put,
            path: "/admin/v1/settings/suppression",
            operation: "setSuppressionSettings",
            about: "Replaces the rules of suppression. They hold for purchases from then on.",
            body: Some(SuppressionRules::shape),
            problems: &[Code::BadValue],
            handle: admin::set_suppression,
            ..POST
        },
        Route {
            path: "/admin/v1/settings/line",
            operation: "getLineSettings",
            about: "What throughput, cycle time and scrap rate are measured by.",
            answer: Answer::Json(200, LineRules::shape),
            handle: line::get_settings,
            ..BASE
        },
        Route {
            verb: Verb::Put,
            path: "/admin/v1/settings/line",
            operation: "setLineSettings",
            about: "Replaces what the line is measured by. It holds for what happens from then on; what happened before counts as the former settings say.",
            body: Some(LineRules::shape),
            answer: Answer::Json(200, LineChanged::shape),
            problems: &[Code::BadValue],
            handle: line::set_settings,
            ..POST
        },
    ]
}

fn operation_routes() -> Vec<Route> {
    vec![
        Route {
            path: "/admin/v1/metrics/line",
            operation: "getLine",
            about: "Throughput, cycle time and scrap rate, with their history.",
            query: &[
                ("from", "The first hour, e.g. 2026-11-22T14:00:00Z; 24 hours before `to` if left out."),
                ("to", "The end, not counted; the end of this hour if left out."),
                ("by", "`hour`, `day` or `campaign`: the figures of each as well."),
                ("campaign", "Only this campaign."),
            ],
            answer: Answer::Json(200, LineShown::shape),
            problems: &[Code::BadValue],
            handle: line::read,
            ..BASE
        },
        Route {
            path: "/admin/v1/status",
            operation: "getStatus",
            about: "How the shard is, in figures.",
            answer: Answer::Json(200, StatusShown::shape),
            handle: health::status,
            ..BASE
        },
        Route {
            path: "/admin/v1/outbox",
            operation: "listOutbox",
            about: "What waits to be done outside, oldest first.",
            query: &[
                ("after", "An effect id: the answer begins behind it."),
                ("limit", "1 to 1,000; 100 if left out."),
            ],
            answer: Answer::Json(200, Outbox::shape),
            problems: &[Code::BadRequest],
            handle: admin::outbox,
            ..BASE
        },
    ]
}

/// What needs no token: it tells nothing but how the server is.
fn open_routes() -> Vec<Route> {
    vec![
        Route {
            path: "/admin/v1/openapi.json",
            access: Access::Open,
            operation: "getOpenApi",
            about: "This document.",
            answer: Answer::Json(200, Value::shape),
            handle: health::openapi,
            ..BASE
        },
        Route {
            path: "/healthz",
            access: Access::Probe,
            operation: "isAlive",
            about: "Whether the process answers.",
            answer: Answer::Json(200, Health::shape),
            handle: health::healthz,
            ..BASE
        },
        Route {
            path: "/readyz",
            access: Access::Probe,
            operation: "isReady",
            about: "Whether requests can be taken; 503 with the reasons where not.",
            answer: Answer::Json(200, Readiness::shape),
            problems: &[Code::Unavailable],
            handle: health::readyz,
            ..BASE
        },
        Route {
            path: "/metrics",
            access: Access::Open,
            operation: "getMetrics",
            about: "Metrics in Prometheus' text format. They hold nothing personal and need no token.",
            answer: Answer::Text(health::METRICS_TYPE),
            handle: health::metrics,
            ..BASE
        },
    ]
}

fn page_routes() -> Vec<Route> {
    const PAGE: Route = Route { access: Access::Open, ..BASE };
    const REFUSED: (u16, &str) = (403, "The form came from another site.");
    vec![
        Route {
            path: "/",
            operation: "getPage",
            about: "The status page, for people: the form to log in with, and the page to who is logged in. See \
                    docs/status-page.md.",
            query: &[("over", "`24h`, `7d`, `30d` or `90d`; what fits the data if left out.")],
            answer: Answer::Page(&[(200, "The page, or the form.")]),
            problems: &[Code::Internal],
            handle: page::page,
            ..PAGE
        },
        Route {
            verb: Verb::Post,
            path: "/login",
            operation: "logIn",
            about: "Exchanges an admin token, in the field `token` of a form, for the cookie of a session that shows the \
                    status page and opens nothing else.",
            answer: Answer::Page(&[
                (303, "Logged in."),
                (401, "The token is not valid, or not admin's."),
                REFUSED,
            ]),
            problems: &[Code::BodyTooLarge],
            handle: page::log_in,
            ..PAGE
        },
        Route {
            verb: Verb::Post,
            path: "/logout",
            operation: "logOut",
            about: "Forgets the session in this browser.",
            answer: Answer::Page(&[(303, "Logged out."), REFUSED]),
            problems: &[Code::BodyTooLarge],
            handle: page::log_out,
            ..PAGE
        },
        Route {
            path: "/page.css",
            operation: "getPageStyle",
            about: "The status page's style sheet.",
            answer: Answer::Text(page::CSS),
            handle: page::style,
            ..PAGE
        },
        Route {
            path: "/page.js",
            operation: "getPageScript",
            about: "The status page's script: it renews the page.",
            answer: Answer::Text(page::JAVASCRIPT),
            handle: page::script,
            ..PAGE
        },
        Route {
            path: "/icon.svg",
            operation: "getPageIcon",
            about: "The status page's icon.",
            answer: Answer::Text(page::SVG),
            handle: page::icon,
            ..PAGE
        },
    ]
}
