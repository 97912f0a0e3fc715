//! What is served is a true subset of the published interface, and all of it is answered.

use crate::fixture::Fixture;
use apollo_compiler::Schema;
use apollo_compiler::ast::{FieldDefinition, InputValueDefinition, Type};
use apollo_compiler::schema::{ExtendedType, InputObjectType};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const SERVED: &str = include_str!("../../src/storefront/schema.graphql");

fn served() -> Schema {
    Schema::parse(SERVED, "schema.graphql").unwrap()
}

/// A file of the published data sets, or a loud word that it is not there.
fn shared(path: &str) -> Option<String> {
    let folder = std::env::var("THROUGHLINE_SHARED_DATA").ok();
    let text = folder.and_then(|folder| std::fs::read_to_string(format!("{folder}/{path}")).ok());
    if text.is_none() {
        eprintln!(
            "SKIPPED: THROUGHLINE_SHARED_DATA has no {path}, so nothing is compared with the published schema"
        );
    }
    text
}

fn type_text(of: &Value) -> String {
    match of["kind"].as_str().unwrap() {
        "NON_NULL" => format!("{}!", type_text(&of["ofType"])),
        "LIST" => format!("[{}]", type_text(&of["ofType"])),
        _ => of["name"].as_str().unwrap().to_owned(),
    }
}

fn named<'v>(list: &'v Value, name: &str) -> Option<&'v Value> {
    list.as_array()?.iter().find(|one| one["name"] == *name)
}

fn names(list: &Value) -> BTreeSet<&str> {
    list.as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect()
}

/// Compares arguments or fields of an input: each has to be there with the same type, and none that is needed may be
/// missing.
fn compare_inputs<'s>(
    at: &str,
    own: impl Iterator<Item = &'s InputValueDefinition>,
    published: &Value,
    wrong: &mut Vec<String>,
) {
    let mut seen = BTreeSet::new();
    for input in own {
        seen.insert(input.name.as_str());
        match named(published, &input.name) {
            None => wrong.push(format!("{at}.{} is not published", input.name)),
            Some(other) if type_text(&other["type"]) != input.ty.to_string() => wrong.push(format!(
                "{at}.{} is {} and published as {}",
                input.name,
                input.ty,
                type_text(&other["type"])
            )),
            Some(other) => {
                let default = input.default_value.as_ref().map(|value| value.to_string());
                if other["defaultValue"].as_str() != default.as_deref() {
                    wrong.push(format!("{at}.{} has another default", input.name));
                }
            }
        }
    }
    for other in published.as_array().into_iter().flatten() {
        let name = other["name"].as_str().unwrap();
        let needed = type_text(&other["type"]).ends_with('!') && other["defaultValue"].is_null();
        if needed && !seen.contains(name) {
            wrong.push(format!("{at}.{name} is needed and not served"));
        }
    }
}

fn compare_field(at: &str, own: &FieldDefinition, published: &Value, wrong: &mut Vec<String>) {
    let Some(other) = named(published, &own.name) else {
        wrong.push(format!("{at}.{} is not published", own.name));
        return;
    };
    if type_text(&other["type"]) != own.ty.to_string() {
        wrong.push(format!("{at}.{} is {} and published as {}", own.name, own.ty, type_text(&other["type"])));
    }
    let arguments = own.arguments.iter().map(|argument| &**argument);
    compare_inputs(&format!("{at}.{}", own.name), arguments, &other["args"], wrong);
}

fn compare_input(name: &str, own: &InputObjectType, other: &Value, wrong: &mut Vec<String>) {
    compare_inputs(
        name,
        own.fields.values().map(|field| &**field as &InputValueDefinition),
        &other["inputFields"],
        wrong,
    );
}

/// All that is served and not published like that.
fn differences(own: &Schema, published: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, of) in &own.types {
        if of.is_built_in() {
            continue;
        }
        let Some(other) = named(&published["types"], name) else {
            wrong.push(format!("{name} is not published"));
            continue;
        };
        let (kind, members, interfaces) = match of {
            ExtendedType::Scalar(_) => ("SCALAR", Vec::new(), Vec::new()),
            ExtendedType::Object(object) => {
                for field in object.fields.values() {
                    compare_field(name, field, &other["fields"], &mut wrong);
                }
                ("OBJECT", Vec::new(), object.implements_interfaces.iter().map(|one| one.as_str()).collect())
            }
            ExtendedType::Interface(interface) => {
                for field in interface.fields.values() {
                    compare_field(name, field, &other["fields"], &mut wrong);
                }
                (
                    "INTERFACE",
                    Vec::new(),
                    interface.implements_interfaces.iter().map(|one| one.as_str()).collect(),
                )
            }
            ExtendedType::Union(union) => {
                ("UNION", union.members.iter().map(|one| one.as_str()).collect(), Vec::new())
            }
            ExtendedType::Enum(values) => {
                ("ENUM", values.values.keys().map(|one| one.as_str()).collect(), Vec::new())
            }
            ExtendedType::InputObject(object) => {
                compare_input(name, object, other, &mut wrong);
                ("INPUT_OBJECT", Vec::new(), Vec::new())
            }
        };
        if other["kind"] != *kind {
            wrong.push(format!("{name} is published as {}", other["kind"]));
        }
        let known: BTreeSet<&str> =
            names(&other["enumValues"]).union(&names(&other["possibleTypes"])).copied().collect();
        wrong.extend(
            members
                .iter()
                .filter(|one| !known.contains(*one))
                .map(|one| format!("{name}: {one} is not published")),
        );
        let known = names(&other["interfaces"]);
        wrong.extend(
            interfaces.iter().filter(|one| !known.contains(*one)).map(|one| format!("{name} is no {one}")),
        );
    }
    wrong
}

fn published() -> Option<Value> {
    let text = shared("shopify/storefront-2026-04.schema.json")?;
    let mut whole: Value = serde_json::from_str(&text).unwrap();
    let inside =
        if whole["data"].is_object() { &mut whole["data"]["__schema"] } else { &mut whole["__schema"] };
    Some(inside.take())
}

#[test]
fn each_type_and_field_is_published_with_the_same_type_and_arguments() {
    let Some(published) = published() else { return };
    assert_eq!(differences(&served(), &published), [""; 0]);
    // The comparison finds what differs.
    for (from, to) in [
        ("  sku: String\n", "  sku: String!\n"),
        ("  sku: String\n", "  skus: String\n"),
        ("cart(id: ID!): Cart", "cart(id: ID): Cart"),
        ("cart(id: ID!): Cart", "cart: Cart"),
        ("  quantity: Int = 1\n", "  quantity: Int = 2\n"),
        ("type Brand {", "type Brand implements Node {\n  id: ID!"),
        ("union Merchandise = ProductVariant", "union Merchandise = ProductVariant | Product"),
    ] {
        assert!(SERVED.contains(from), "{from}");
        let changed = Schema::parse(SERVED.replacen(from, to, 1), "changed.graphql").unwrap();
        assert!(!differences(&changed, &published).is_empty(), "{to}");
    }
}

#[test]
fn the_fields_of_the_official_starter_are_served() {
    let Some(list) = shared("shopify/hydrogen_used_fields.txt") else { return };
    let served = served();
    let missing: Vec<&str> = list
        .lines()
        .filter(|line| !line.is_empty() && !line.ends_with(".__typename"))
        .filter(|line| line.split_once('.').is_none_or(|(of, field)| served.type_field(of, field).is_err()))
        .collect();
    assert_eq!(missing, [""; 0]);
}

/// Values for arguments that have to be there, by field; `FIELD:` of any type.
fn argument(at: &str, name: &str, cart: &str, token: &str) -> Option<String> {
    let text = |value: &str| Some(format!("{name}: {value:?}"));
    match (at, name) {
        ("QueryRoot.cart", "id") => text(cart),
        ("QueryRoot.node", "id") => text("gid://shopify/Product/1"),
        ("QueryRoot.nodes", "ids") => Some(format!("ids: [{cart:?}, \"gid://shopify/ProductVariant/200\"]")),
        ("QueryRoot.customer", "customerAccessToken") => text(token),
        ("QueryRoot.product" | "QueryRoot.productByHandle", "handle") => text("trail-shoe"),
        ("QueryRoot.productRecommendations", "productHandle") => text("olive-oil"),
        ("QueryRoot.collection" | "QueryRoot.collectionByHandle", "handle") => text("shoes"),
        ("QueryRoot.menu", "handle") => text("main-menu"),
        (_, "handle") if at.ends_with("ByHandle") => text("none"),
        ("QueryRoot.search" | "QueryRoot.predictiveSearch", "query") => text("shoe"),
        ("Cart.attribute" | "CartLine.attribute", "key") => text("for"),
        (_, "key") => text("guide"),
        (_, "identifiers") => Some("identifiers: [{ key: \"guide\" }]".to_owned()),
        (_, "first") => Some("first: 3".to_owned()),
        ("Product.variantBySelectedOptions", "selectedOptions") => {
            Some("selectedOptions: [{ name: \"Size\", value: \"M\" }]".to_owned())
        }
        ("QueryRoot.article", "id") => text("gid://shopify/Article/1"),
        _ => None,
    }
}

/// Fields that there is never anything in yet.
const NOTHING: &[&str] = &[
    "QueryRoot.article",
    "QueryRoot.blog",
    "QueryRoot.blogByHandle",
    "QueryRoot.page",
    "QueryRoot.pageByHandle",
    "Cart.appliedGiftCards",
    "Cart.discountAllocations",
    "Shop.brand",
];

struct Asking<'s> {
    schema: &'s Schema,
    cart: String,
    token: String,
}

impl Asking<'_> {
    fn call(&self, of: &str, field: &FieldDefinition) -> String {
        let at = format!("{of}.{}", field.name);
        let given: Vec<String> = field
            .arguments
            .iter()
            .filter_map(|one| argument(&at, &one.name, &self.cart, &self.token))
            .collect();
        if given.is_empty() {
            field.name.to_string()
        } else {
            format!("{}({})", field.name, given.join(", "))
        }
    }

    fn fields(&self, of: &str) -> Vec<&FieldDefinition> {
        match self.schema.types.get(of) {
            Some(ExtendedType::Object(object)) => object.fields.values().map(|field| &***field).collect(),
            Some(ExtendedType::Interface(one)) => one.fields.values().map(|field| &***field).collect(),
            _ => Vec::new(),
        }
    }

    /// All fields of a type; of objects among them, only the type's name.
    fn all(&self, of: &str) -> String {
        let mut text = "__typename".to_owned();
        for field in self.fields(of) {
            let is_leaf = self.schema.types.get(field.ty.inner_named_type()).is_some_and(|of| of.is_leaf());
            text.push(' ');
            text.push_str(&self.call(of, field));
            if !is_leaf {
                text.push_str(" { __typename }");
            }
        }
        text
    }

    /// A short way from the top to each type of things, as the text before and behind its fields: past what there is
    /// nothing of, where there is another way.
    fn ways(&self) -> BTreeMap<String, (String, String)> {
        let mut ways = BTreeMap::from([("QueryRoot".to_owned(), (String::new(), String::new()))]);
        for past_nothing in [true, false] {
            let mut next: VecDeque<String> = ways.keys().cloned().collect();
            while let Some(of) = next.pop_front() {
                self.steps(&of, past_nothing, &mut ways, &mut next);
            }
        }
        ways
    }

    fn steps(
        &self,
        of: &str,
        past_nothing: bool,
        ways: &mut BTreeMap<String, (String, String)>,
        next: &mut VecDeque<String>,
    ) {
        let (before, behind) = ways[of].clone();
        for field in self.fields(of) {
            let at = format!("{of}.{}", field.name);
            if past_nothing && NOTHING.contains(&at.as_str()) || at.starts_with("QueryRoot.node") {
                continue;
            }
            let inner = field.ty.inner_named_type();
            let concrete: Vec<String> = match self.schema.types.get(inner) {
                Some(ExtendedType::Object(_)) => vec![inner.to_string()],
                Some(ExtendedType::Union(union)) => union.members.iter().map(|one| one.to_string()).collect(),
                Some(ExtendedType::Interface(_)) => {
                    self.schema.implementers_map()[inner].objects.iter().map(|one| one.to_string()).collect()
                }
                _ => continue,
            };
            for one in concrete {
                if ways.contains_key(&one) {
                    continue;
                }
                let call = self.call(of, field);
                let way =
                    (format!("{before}{call} {{ __typename ... on {one} {{ "), format!(" }} }}{behind}"));
                ways.insert(one.clone(), way);
                next.push_back(one);
            }
        }
    }

    /// Whether an answer is what the schema says it is.
    fn check(&self, at: &str, of: &Type, value: &Value) {
        if value.is_null() {
            assert!(!of.is_non_null(), "{at} is null");
            return;
        }
        if of.is_list() {
            for one in value.as_array().unwrap_or_else(|| panic!("{at} is no list")) {
                self.check(at, of.item_type(), one);
            }
            return;
        }
        let name = of.inner_named_type();
        let fits = match self.schema.types.get(name) {
            Some(ExtendedType::Enum(values)) => {
                value.as_str().is_some_and(|text| values.values.contains_key(text))
            }
            Some(ExtendedType::Scalar(_)) => match name.as_str() {
                "Int" => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
                "Float" => value.is_number(),
                "Boolean" => value.is_boolean(),
                _ => value.is_string(),
            },
            _ => {
                let own =
                    value["__typename"].as_str().unwrap_or_else(|| panic!("{at} has no name of a type"));
                assert!(
                    own == name.as_str() || self.schema.is_subtype(name, own),
                    "{at} is {own}, not {name}"
                );
                for (key, inner) in value.as_object().unwrap().iter().filter(|(key, _)| *key != "__typename")
                {
                    let definition = self.schema.type_field(own, key).unwrap();
                    self.check(&format!("{own}.{key}"), &definition.ty, inner);
                }
                true
            }
        };
        assert!(fits, "{at} is {value}, and no {name}");
    }
}

/// Each field of each type is answered, with what the schema says: asked for on the shortest way from the top.
#[test]
fn each_field_is_answered_as_the_schema_says() {
    let fixture = Fixture::new("served");
    let cart = fixture.cart(json!([
        { "merchandiseId": "gid://shopify/ProductVariant/200", "attributes": [{ "key": "for", "value": "Ada" }] },
    ]));
    let token = crate::carts::prepare(&fixture, &cart);
    let schema = served();
    let asking = Asking { schema: &schema, cart, token };
    let root = Type::parse("QueryRoot!", "type").unwrap();
    let ways = asking.ways();
    let mut nothing = Vec::new();
    for (of, (before, behind)) in &ways {
        let query = format!("{{ __typename {before}{}{behind} }}", asking.all(of));
        let answer = fixture.ask(&query, json!({}));
        assert!(answer.get("errors").is_none(), "{of}: {query}\n{answer:#}");
        asking.check(of, &root, &answer["data"]);
        if !answer.to_string().contains(&format!("\"__typename\":\"{of}\"")) {
            nothing.push(of.as_str());
        }
    }
    // What there are no things of yet, so that nothing of it was seen.
    assert_eq!(
        nothing,
        [
            "AppliedGiftCard",
            "Article",
            "ArticleAuthor",
            "ArticleEdge",
            "Blog",
            "BlogEdge",
            "Brand",
            "BrandColorGroup",
            "BrandColors",
            "CartLineParentRelationship",
            "ComponentizableCartLine",
            "Page",
            "PageEdge",
            "ShopPolicyWithDefault",
        ]
    );
    let objects = schema.types.iter().filter(|(_, of)| of.is_object() && !of.is_built_in());
    let of_changes = |name: &str| {
        name.ends_with("Payload")
            || name.ends_with("UserError")
            || ["Mutation", "UserError", "CartWarning", "CustomerAccessToken"].contains(&name)
    };
    let unseen = objects.map(|(name, _)| name.as_str()).filter(|name| !ways.contains_key(*name));
    let unseen: Vec<&str> = unseen.filter(|name| !of_changes(name)).collect();
    assert_eq!(unseen, [""; 0], "there is no way to these");
}

#[test]
fn tools_can_ask_for_the_schema() {
    let fixture = Fixture::new("introspection");
    let data = fixture.read(
        "{ __schema { queryType { name } directives { name } types { name kind fields(includeDeprecated: true) { name
             args { name } type { name ofType { name ofType { name } } } } } }
           __type(name: \"Cart\") { name fields { name } } shop { name } }",
    );
    assert_eq!(data["__schema"]["queryType"]["name"], "QueryRoot");
    assert!(data["__schema"]["types"].as_array().unwrap().len() > 150);
    assert_eq!(data["__type"]["name"], "Cart");
    assert_eq!(data["shop"]["name"], "Corner Shop");
}
