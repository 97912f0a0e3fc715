//! Documents and requests that are broken or made to hurt: each gets a clean answer, soon, and nothing is changed.

use crate::fixture::Fixture;
use commerce::storefront::GraphqlRequest;
use serde_json::{Value, json};

/// A name, a document, its variables, and the code of the first error.
type Case = (&'static str, String, Value, &'static str);

fn deep(open: &str, close: &str, times: usize) -> String {
    format!("{}{}", open.repeat(times), close.repeat(times))
}

fn documents() -> Vec<Case> {
    let case = |name, query: &str, code| (name, query.to_owned(), json!({}), code);
    let long = |name, query: String, code| (name, query, json!({}), code);
    let spreads: String = (0..60)
        .map(|n| format!("fragment F{n} on Product {{ a: id ...F{} ...F{} }}\n", n + 1, n + 1))
        .chain(["fragment F60 on Product { id }".to_owned()])
        .collect();
    let aliases: String = (0..1_000).map(|n| format!("a{n}: shop {{ name }}\n")).collect();
    let pages = "products(first: 250) { nodes { variants(first: 250) { nodes { product { variants(first: 250) { nodes { id } } } } } } }";
    let conditions: String = (0..14).map(|n| format!("...G @include(if: $v{n}) ")).collect();
    let flags: String = (0..14).map(|n| format!("$v{n}: Boolean = true ")).collect();
    let texts: String = (0..2_000).map(|n| format!("t{n}: descriptionHtml\n")).collect();
    let introspected = (0..9).fold("name".to_owned(), |inner, _| format!("type {{ fields {{ {inner} }} }}"));
    vec![
        case("nothing", "", "PARSE_FAILED"),
        case("blanks", " \n\t ", "PARSE_FAILED"),
        case("no GraphQL", "select * from products", "PARSE_FAILED"),
        case("an open brace", "{ shop { name", "PARSE_FAILED"),
        case("an open text", "{ product(handle: \"x) { id } }", "PARSE_FAILED"),
        case("a null byte", "{ shop\u{0} { name } }", "PARSE_FAILED"),
        case("a mark of byte order inside", "{ shop { na\u{feff}me } }", "INVALID_DOCUMENT"),
        case("writing from right to left", "{ shop { \u{202e}name } }", "PARSE_FAILED"),
        case("half a pair of code units", "{ product(handle: \"\\ud800\") { id } }", "PARSE_FAILED"),
        case("an unknown escape", "{ product(handle: \"\\x\") { id } }", "PARSE_FAILED"),
        case("an unknown field", "{ shop { password } }", "INVALID_DOCUMENT"),
        case(
            "an unknown argument",
            "{ products(first: 1, drop: true) { nodes { id } } }",
            "INVALID_DOCUMENT",
        ),
        case("an argument that is missing", "{ node { id } }", "INVALID_DOCUMENT"),
        case(
            "an argument of another type",
            "{ products(first: \"1\") { nodes { id } } }",
            "INVALID_DOCUMENT",
        ),
        case("no fields of an object", "{ shop }", "INVALID_DOCUMENT"),
        case("fields of a text", "{ shop { name { first } } }", "INVALID_DOCUMENT"),
        case("a fragment of itself", "{ shop { ...A } } fragment A on Shop { ...A }", "INVALID_DOCUMENT"),
        case(
            "a circle of fragments",
            "{ shop { ...A } } fragment A on Shop { ...B } fragment B on Shop { ...C } fragment C on Shop { name ...A }",
            "INVALID_DOCUMENT",
        ),
        case("an unknown fragment", "{ shop { ...Nothing } }", "INVALID_DOCUMENT"),
        case("a fragment that can never hold", "{ shop { ... on Product { id } } }", "INVALID_DOCUMENT"),
        case(
            "a fragment that nobody uses",
            "{ shop { name } } fragment A on Shop { id }",
            "INVALID_DOCUMENT",
        ),
        case(
            "two meanings of a name",
            "{ a: shop { name } a: localization { __typename } }",
            "INVALID_DOCUMENT",
        ),
        case(
            "two arguments of a name",
            "{ a: product(handle: \"x\") { id } a: product(handle: \"y\") { id } }",
            "INVALID_DOCUMENT",
        ),
        case(
            "two operations of a name",
            "query A { shop { name } } query A { shop { id } }",
            "INVALID_DOCUMENT",
        ),
        case(
            "several operations and no name",
            "query A { shop { name } } query B { shop { id } }",
            "OPERATION_NOT_FOUND",
        ),
        case("a subscription", "subscription { shop { name } }", "INVALID_DOCUMENT"),
        case("a part of a schema", "type Product { id: ID } { shop { name } }", "INVALID_DOCUMENT"),
        case("an unknown directive", "{ shop { name @stream } }", "INVALID_DOCUMENT"),
        case(
            "a directive in the wrong place",
            "{ shop @inContext(country: DE) { name } }",
            "INVALID_DOCUMENT",
        ),
        case("an unknown variable", "{ product(handle: $x) { id } }", "INVALID_DOCUMENT"),
        case("a variable that nobody uses", "query($x: Int) { shop { name } }", "INVALID_DOCUMENT"),
        case("a variable of an output type", "query($x: Shop) { shop { name } }", "INVALID_DOCUMENT"),
        case(
            "a huge number",
            "{ products(first: 99999999999999999999999999) { nodes { id } } }",
            "INVALID_DOCUMENT",
        ),
        case(
            "a country that is none",
            "query A @inContext(country: XX1) { shop { name } }",
            "INVALID_DOCUMENT",
        ),
        long(
            "more than may be sent",
            format!("{{ shop {{ name }} }} #{}", "x".repeat(70_000)),
            "DOCUMENT_TOO_LARGE",
        ),
        long("too many words", format!("{{ {} }}", "a:shop{b:name}".repeat(4_500)), "PARSE_FAILED"),
        long("braces without end", deep("{ shop ", "}", 5_000), "MAX_DEPTH_EXCEEDED"),
        long(
            "lists without end",
            format!("{{ nodes(ids: {}) {{ id }} }}", deep("[", "]", 20_000)),
            "MAX_DEPTH_EXCEEDED",
        ),
        long(
            "objects without end",
            format!("mutation {{ cartCreate(input: {}) {{ cart {{ id }} }} }}", deep("{ a: ", "1}", 5_000)),
            "MAX_DEPTH_EXCEEDED",
        ),
        long("brackets without end that nobody closes", "[".repeat(60_000), "MAX_DEPTH_EXCEEDED"),
        long(
            "types without end",
            format!("query($x: {}Int{}) {{ shop {{ name }} }}", "[".repeat(9_000), "]".repeat(9_000)),
            "MAX_DEPTH_EXCEEDED",
        ),
        long(
            "deeper than answers go",
            format!(
                "{{ products(first: 1) {{ nodes {{ {}id{} }} }} }}",
                "variants(first: 1) { nodes { product { ".repeat(12),
                " } } }".repeat(12)
            ),
            "MAX_DEPTH_EXCEEDED",
        ),
        long(
            "fragments that double sixty times",
            format!("{{ product(handle: \"x\") {{ ...F0 }} }}\n{spreads}"),
            "none",
        ),
        long(
            "conditions that double fourteen times",
            format!(
                "query({flags}) {{ product(handle: \"trail-shoe\") {{ {conditions} }} }} fragment G on Product {{ id title }}"
            ),
            "none",
        ),
        long("many names of one thing", format!("{{ {aliases} }}"), "none"),
        long("pages of pages of pages", format!("{{ {pages} }}"), "MAX_COST_EXCEEDED"),
        long(
            "the same text again and again",
            format!("{{ products(first: 250) {{ nodes {{ {texts} }} }} }}"),
            "MAX_COST_EXCEEDED",
        ),
        long(
            "many pages by name",
            format!(
                "{{ {} }}",
                (0..200)
                    .map(|n| format!("p{n}: products(first: 250) {{ nodes {{ id title }} }} "))
                    .collect::<String>()
            ),
            "MAX_COST_EXCEEDED",
        ),
        long(
            "the schema, again and again",
            format!(
                "{{ __schema {{ types {{ {} }} }} }}",
                (0..500).map(|n| format!("f{n}: fields {{ name }} ")).collect::<String>()
            ),
            "MAX_COST_EXCEEDED",
        ),
        long(
            "the schema of the schema",
            format!("{{ __type(name: \"Product\") {{ fields {{ {introspected} }} }} }}"),
            "INVALID_REQUEST",
        ),
        long(
            "many changes at once",
            format!(
                "mutation {{ {} }}",
                (0..25).map(|n| format!("c{n}: cartCreate {{ cart {{ id }} }} ")).collect::<String>()
            ),
            "MAX_COST_EXCEEDED",
        ),
        long(
            "many carts at once",
            format!(
                "{{ {} }}",
                (0..30)
                    .map(|n| format!("c{n}: cart(id: \"gid://shopify/Cart/{n:032}\") {{ id }} "))
                    .collect::<String>()
            ),
            "MAX_COST_EXCEEDED",
        ),
        long(
            "a list that is too long",
            format!("{{ nodes(ids: [{}]) {{ id }} }}", "\"x\",".repeat(251)),
            "MAX_INPUT_SIZE_EXCEEDED",
        ),
        long(
            "words without end to search for",
            format!("{{ search(query: \"{}\", first: 1) {{ totalCount }} }}", "a ".repeat(2_000)),
            "BAD_REQUEST",
        ),
        case("a page that is below nothing", "{ products(first: -1) { nodes { id } } }", "BAD_REQUEST"),
        case("a page in both directions", "{ products(first: 1, last: 1) { nodes { id } } }", "BAD_REQUEST"),
        case("no page", "{ products { nodes { id } } }", "BAD_REQUEST"),
        case(
            "a cursor that is none",
            "{ products(first: 1, after: \"../../etc\") { nodes { id } } }",
            "BAD_REQUEST",
        ),
        case("a cursor that is empty", "{ products(first: 1, after: \"\") { nodes { id } } }", "BAD_REQUEST"),
        case(
            "a cursor of elsewhere",
            "{ products(first: 1, after: \"/////////////////w\") { nodes { id } } }",
            "BAD_REQUEST",
        ),
        case(
            "a cursor beyond the end",
            "{ products(first: 1, after: \"________________\") { nodes { id } } }",
            "none",
        ),
    ]
}

fn variables() -> Vec<Case> {
    let products = "query($first: Int!) { products(first: $first) { nodes { id } } }";
    let lines = "mutation($lines: [CartLineInput!]) { cartCreate(input: { lines: $lines }) { cart { id } } }";
    let default = "query($h: String! = \"trail-shoe\") { a: menu(handle: $h) { id } }";
    let nullable = "query($h: String = \"x\") { a: menu(handle: $h) { id } }";
    let case = |name, query: &str, variables, code| (name, query.to_owned(), variables, code);
    vec![
        case("a variable that is missing", products, json!({}), "INVALID_VARIABLE"),
        case("null where there has to be a value", products, json!({ "first": null }), "INVALID_VARIABLE"),
        case("a text for a number", products, json!({ "first": "5" }), "INVALID_VARIABLE"),
        case("a part for a whole number", products, json!({ "first": 1.5 }), "INVALID_VARIABLE"),
        case("a number beyond 32 bits", products, json!({ "first": 4_294_967_296_u64 }), "INVALID_VARIABLE"),
        case("a number beyond 64 bits", products, json!({ "first": 1e300 }), "INVALID_VARIABLE"),
        case("a list for a number", products, json!({ "first": [1] }), "INVALID_VARIABLE"),
        case(
            "an unknown field of an object",
            lines,
            json!({ "lines": [{ "merchandiseId": "1", "price": 0 }] }),
            "INVALID_VARIABLE",
        ),
        case(
            "a missing field of an object",
            lines,
            json!({ "lines": [{ "quantity": 1 }] }),
            "INVALID_VARIABLE",
        ),
        case("null in a list", lines, json!({ "lines": [null] }), "INVALID_VARIABLE"),
        case(
            "a list that is too long",
            lines,
            json!({ "lines": vec![json!({ "merchandiseId": "1" }); 251] }),
            "MAX_INPUT_SIZE_EXCEEDED",
        ),
        case("a text that is too long", default, json!({ "h": "x".repeat(70_000) }), "INVALID_VARIABLE"),
        case(
            "an unknown name",
            "query($c: CountryCode) @inContext(country: $c) { shop { name } }",
            json!({ "c": "XX1" }),
            "INVALID_VARIABLE",
        ),
        case("null in place of a default", nullable, json!({ "h": null }), "INVALID_ARGUMENT"),
        case(
            "others than are asked for",
            default,
            json!({ "h": "x", "__proto__": { "a": 1 }, "more": [1, 2] }),
            "none",
        ),
        case(
            "one for a list of one",
            lines,
            json!({ "lines": { "merchandiseId": "gid://shopify/ProductVariant/200" } }),
            "none",
        ),
    ]
}

#[test]
fn each_gets_a_clean_answer() {
    let fixture = Fixture::new("hostile");
    let all: Vec<Case> = documents().into_iter().chain(variables()).collect();
    assert!(all.len() >= 40);
    let mut wrong = Vec::new();
    for (name, query, variables, code) in all {
        let answer = fixture.ask(&query, variables);
        let first = answer["errors"][0]["extensions"]["code"].as_str().unwrap_or("none");
        if first != code {
            wrong.push(format!("{name}: {first}, not {code}: {:.300}", answer.to_string()));
        }
        for error in answer["errors"].as_array().into_iter().flatten() {
            let message = error["message"].as_str().unwrap();
            assert!(!message.is_empty() && message.len() <= 500, "{name}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let left = fixture.read("{ products(first: 9) { nodes { handle } } }");
    assert_eq!(left["products"]["nodes"].as_array().unwrap().len(), 4, "nothing was changed");
}

/// Whatever is in an operation's name, or in names that a request makes up, the answer is JSON.
#[test]
fn names_and_texts_are_escaped() {
    let fixture = Fixture::new("escaped");
    for text in ["\"", "\\", "\u{0}\u{1f}", "\u{2028}</script>", "💥", "'; drop table products; --"] {
        let request = GraphqlRequest {
            query: "query A($h: String!) { menu(handle: $h) { id } product(handle: $h) { id } }".to_owned(),
            operation_name: Some(text.to_owned()),
            variables: json!({ "h": text }).as_object().cloned(),
        };
        let answer: Value = serde_json::from_slice(&fixture.answer(&request)).unwrap();
        assert_eq!(answer["errors"][0]["extensions"]["code"], "OPERATION_NOT_FOUND");
        let note = fixture.data(
            "mutation($note: String) { cartCreate(input: { note: $note }) { cart { note } userErrors { message } } }",
            json!({ "note": text }),
        );
        let (cart, errors) = (&note["cartCreate"]["cart"], &note["cartCreate"]["userErrors"]);
        // Control characters are refused, and everything else is kept as it is.
        match text.chars().any(char::is_control) {
            true => assert_eq!((cart, errors.as_array().unwrap().len()), (&Value::Null, 1)),
            false => assert_eq!(cart["note"], *text, "{errors:#}"),
        }
    }
}
