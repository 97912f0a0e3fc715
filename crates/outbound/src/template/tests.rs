//! What templates make of messages, what is wrong with those that cannot be, and that nothing gets out of its place.

use super::*;
use proptest::prelude::*;
use serde_json::json;

const BYTES_MAX: usize = 1024 * 1024;

fn facts() -> Value {
    json!({
        "type": "audience.entered", "id": "eff_12_0", "timestamp": "2026-11-22T04:51:09.000000Z",
        "name": "Zoë \"Z\" O'Hara <z@shop.test> & Sons\n", "count": 3, "price": "49.9", "zero": 0, "void": "",
        "on": true, "off": false, "list": ["b", "a", "c"], "none": [],
        "items": [{ "id": "1", "price": "10.50", "big": true }, { "id": "2", "price": "2.25" }, { "id": "3", "price": 4, "big": false }],
        "data": { "audience": "carts", "first name": "Ann", "size": "XL" },
    })
}

fn plain(text: &str) -> Result<String, RenderFailure> {
    Template::read(Kind::Plain, text)
        .unwrap_or_else(|error| panic!("{text}: {error}"))
        .render(&facts(), BYTES_MAX)
}

/// Every difference of a table is shown at once.
fn all_as_expected(table: &[(&str, &str)]) {
    let found = table.iter().map(|(text, expected)| (*text, plain(text), *expected));
    let wrong: Vec<_> = found.filter(|(_, found, expected)| found.as_deref() != Ok(*expected)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn values_and_filters() {
    let table = [
        ("a {{ type }} b", "a audience.entered b"),
        ("{{missing}}{{ data.missing.deeper }}{{ list[9] }}.", "."),
        ("{{ data.audience }} {{ data['first name'] }} {{ data[key] }}", "carts Ann "),
        ("{% assign key = 'audience' %}{{ data[key] }}", "carts"),
        ("{{ list[0] }}{{ list[-1] }}{{ list.first }}{{ list.last }}{{ list.size }}", "bcbc3"),
        ("{{ data.size }} {{ items.size }} {{ type.size }}", "XL 3 16"),
        ("{{ \"it's\" }}|{{ '\"' }}", "it's|\""),
        (
            "{{ count }} {{ 1.50 }} {{ -2 }} {{ true }} {{ nil }} {{ list }}",
            "3 1.5 -2 true  [\"b\",\"a\",\"c\"]",
        ),
        ("{{ count | plus: 1 | times: 2 | minus: 3 }}", "5"),
        ("{{ 7 | divided_by: 2 }} {{ 7 | divided_by: 2.0 }} {{ 7 | modulo: 4 }}", "3 3.5 3"),
        ("{{ price | times: 100 | round }} {{ price | fixed: 2 }} {{ missing | plus: 1 }}", "4990 49.90 1"),
        ("{{ 4.6 | floor }} {{ 4.2 | ceil }} {{ 4.55 | round: 1 }} {{ -3 | abs }}", "4 5 4.6 3"),
        ("{{ 3 | at_least: 5 }} {{ 3 | at_most: 2 }}", "5 2"),
        ("{{ 1 | plus: 0.1 | plus: 0.2 }}", "1.3"),
        ("{{ name | strip | upcase | truncate: 8 }}", "ZOË \"..."),
        ("{{ 'abcdef' | truncate: 4, '' }} {{ 'ab' | truncate: 4 }}", "abcd ab"),
        ("{{ 'hELLO wORLD' | capitalize }} {{ 'X' | downcase }}", "Hello world x"),
        ("{{ 'a-b-c' | split: '-' | join: '+' }} {{ 'abc' | split: '' | reverse | join: '' }}", "a+b+c cba"),
        (
            "{{ 'aXbXc' | replace: 'X', '--' }} {{ 'aXbX' | replace_first: 'X', '1' }} {{ 'aXb' | remove: 'X' }}",
            "a--b--c a1bX ab",
        ),
        ("{{ 'b' | append: 'c' | prepend: 'a' }}", "abc"),
        ("{{ '  x ' | lstrip }}|{{ '  x ' | rstrip }}|", "x |  x|"),
        (
            "{{ 'abcdef' | slice: 1, 3 }} {{ 'abcdef' | slice: -2, 9 }} {{ list | slice: 1, 2 | join }}",
            "bcd ef a c",
        ),
        ("{{ list | sort | join: ',' }} {{ items | map: 'id' | join: ',' }}", "a,b,c 1,2,3"),
        ("{{ items | sort: 'price' | map: 'id' | join: ',' }}", "3,1,2"),
        ("{{ items | where: 'id', '2' | map: 'price' }} {{ items | where: 'big' | size }}", "[\"2.25\"] 1"),
        ("{{ items | sum: 'price' }} {{ list | concat: list | uniq | size }}", "16.75 3"),
        ("{{ 'a b&c/ü' | url_encode }} {{ '<a>' | escape }}", "a%20b%26c%2F%C3%BC &lt;a&gt;"),
        ("{{ 'abc' | base64_encode }} {{ 'ann@shop.test' | sha256 | slice: 0, 8 }}", "YWJj a25a44bc"),
        (
            "{{ timestamp | date: '%Y-%m-%d %H:%M' }} {{ timestamp | date: '%s' }} {{ missing | date: '%Y' }}.",
            "2026-11-22 04:51 1795323069 .",
        ),
        (
            "{{ missing | default: 'x' }}{{ void | default: 'y' }}{{ zero | default: 'z' }}{{ none | default: 1 }}",
            "xy01",
        ),
        (
            "{{ data | json }} {{ 'a\"b' | json }}",
            "{\"audience\":\"carts\",\"first name\":\"Ann\",\"size\":\"XL\"} \"a\\\"b\"",
        ),
        ("{% capture x %}{{ type }}!{% endcapture %}{{ x | upcase }}", "AUDIENCE.ENTERED!"),
    ];
    all_as_expected(&table);
}

#[test]
fn tags() {
    let table = [
        (
            "{% if on %}1{% endif %}{% if off %}2{% else %}3{% endif %}{% if zero %}4{% endif %}{% if void %}5{% endif %}",
            "1345",
        ),
        ("{% if count == 4 %}a{% elsif count == 3 %}b{% elsif true %}c{% else %}d{% endif %}", "b"),
        ("{% unless off %}a{% endunless %}{% unless on %}b{% else %}c{% endunless %}", "ac"),
        ("{% if count > 2 and count <= 3 %}a{% endif %}{% if count < 1 or count != 3 %}b{% endif %}", "a"),
        // From the right: true or (true and false).
        ("{% if true or true and false %}a{% endif %}{% if false and false or true %}b{% endif %}", "a"),
        (
            "{% if 1 == 1.0 %}a{% endif %}{% if 1.0 < 1 %}b{% endif %}{% if '1' == 1 %}c{% endif %}{% if 'b' > 'a' %}d{% endif %}",
            "ad",
        ),
        (
            "{% if type contains 'enter' %}a{% endif %}{% if list contains 'a' %}b{% endif %}{% if data contains 'size' %}c{% endif %}{% if list contains 'x' %}d{% endif %}",
            "abc",
        ),
        (
            "{% if none == empty %}a{% endif %}{% if blank == missing %}b{% endif %}{% if missing == empty %}c{% endif %}{% if missing == nil %}d{% endif %}{% if list != empty %}e{% endif %}",
            "abde",
        ),
        ("{% if 'a' < 1 %}a{% endif %}{% if missing > 1 %}b{% endif %}.", "."),
        ("{% case type %} {% when 'x' %}1{% when 'y', 'audience.entered' %}2{% else %}3{% endcase %}", "2"),
        ("{% case count %}{% when 1 or 2 %}1{% else %}3{% endcase %}", "3"),
        ("{% for x in list %}{{ x }}{% unless forloop.last %},{% endunless %}{% endfor %}", "b,a,c"),
        ("{% for x in list reversed %}{{ forloop.index }}{{ x }}{% endfor %}", "1c2a3b"),
        ("{% for x in list limit: 1 offset: 1 %}{{ x }}{{ forloop.length }}{% endfor %}", "a1"),
        ("{% for x in none %}a{% else %}b{% endfor %}{% for x in missing %}c{% else %}d{% endfor %}", "bd"),
        ("{% for x in list %}{% if x == 'a' %}{% continue %}{% endif %}{{ x }}{% endfor %}", "bc"),
        (
            "{% for x in list %}{% for y in list %}{% break %}{% endfor %}{{ x }}{% if x == 'a' %}{% break %}{% endif %}{% endfor %}!",
            "ba!",
        ),
        ("{% assign x = 1 %}{% for x in list %}{{ x }}{% endfor %}{{ x }}", "bac1"),
        ("{% for i in items %}{{ i.id }}{{ forloop.first }} {% endfor %}", "1true 2false 3false "),
        ("{% comment %} {{ broken {% endcomment %}a{% raw %}{{ x }}{% y %}{% endraw %}b", "a{{ x }}{% y %}b"),
        ("a  {%- if on -%}  b  {%- endif -%}  c", "abc"),
        ("a {{- 1 -}} b {{ 2 -}}\n c", "a1b 2c"),
        ("x {%- raw -%} y {%- endraw -%} z", "xyz"),
        ("{ {{ 1 }} } { % }", "{ 1 } { % }"),
    ];
    all_as_expected(&table);
}

/// Code, place and a word of the sentence.
#[test]
fn bad_templates_are_refused_with_their_place() {
    let deep = "{% if a %}".repeat(40);
    let brackets = format!("{{{{ a{} }}}}", "[a".repeat(20_000));
    let many = "{{ a }}".repeat(5_000);
    let long = "x".repeat(TEMPLATE_BYTES_MAX + 1);
    let wide = format!("{{{{ a | append: {}'' }}}}", "'x', ".repeat(600));
    let conditions = format!("{{% if a {}%}}{{% endif %}}", "and a ".repeat(40));
    let table = [
        ("{{ a", "unclosed", (1, 1), "`}}`"),
        ("ab\ncd {{ a", "unclosed", (2, 4), "`}}`"),
        ("{% if a", "unclosed", (1, 1), "`%}`"),
        ("{{ 'abc }}", "unclosed", (1, 4), "no end"),
        ("{{ \"abc }}", "unclosed", (1, 4), "no end"),
        ("é{{ a ? }}", "bad_character", (1, 7), "'?'"),
        ("{{ naïve }}", "bad_character", (1, 6), "ASCII"),
        ("{{ a & b }}", "bad_character", (1, 6), "'&'"),
        ("{{ }}", "bad_expression", (1, 1), "missing"),
        ("{{ | upcase }}", "bad_expression", (1, 4), "`|`"),
        ("{{ a b }}", "bad_expression", (1, 6), "one word too many"),
        ("{{ a | }}", "bad_expression", (1, 6), "name of a filter"),
        ("{{ a | 'x' }}", "bad_expression", (1, 8), "name of a filter"),
        ("{{ a. }}", "bad_expression", (1, 5), "behind the point"),
        ("{{ a[1 }}", "bad_expression", (1, 6), "`]`"),
        ("{{ a[] }}", "bad_expression", (1, 6), "`]`"),
        ("{{ a | shout }}", "unknown_filter", (1, 8), "upcase"),
        ("{{ a | date_to_string }}", "unknown_filter", (1, 8), "date"),
        ("{{ a | append }}", "bad_arguments", (1, 8), "takes 1 "),
        ("{{ a | append: 'x', 'y' }}", "bad_arguments", (1, 8), "there are 2"),
        ("{{ a | upcase: 1 }}", "bad_arguments", (1, 8), "takes 0 "),
        ("{{ a | slice: 1, 2, 3 }}", "bad_arguments", (1, 8), "1 to 2"),
        ("{{ a | default: x: 1 }}", "bad_arguments", (1, 17), "named"),
        ("{{ a | raw | upcase }}", "misplaced", (1, 12), "last"),
        ("{% assign x = a | raw %}", "misplaced", (1, 19), "outputs"),
        ("{{ (1..5) }}", "range", (1, 4), "lists"),
        ("{% for x in (1..1000000000) %}{% endfor %}", "range", (1, 13), "ranges"),
        ("{{ 1..5 }}", "bad_expression", (1, 5), "`..`"),
        ("{{ 99999999999999999999999 }}", "bad_number", (1, 4), "too large"),
        ("{% %}", "unknown_tag", (1, 1), "begins with its name"),
        ("{% 'if' %}", "unknown_tag", (1, 4), "begins with its name"),
        ("{% iff a %}", "unknown_tag", (1, 4), "there are if"),
        ("{% include 'x' %}", "unknown_tag", (1, 4), "other templates"),
        ("{% render 'x' %}", "unknown_tag", (1, 4), "other templates"),
        ("{% cycle 'a', 'b' %}", "unknown_tag", (1, 4), "modulo"),
        ("{% increment x %}", "unknown_tag", (1, 4), "plus: 1"),
        ("{% tablerow x in y %}", "unknown_tag", (1, 4), "`for`"),
        ("{% if a %}b", "unclosed", (1, 4), "endif"),
        ("{% unless a %}b", "unclosed", (1, 4), "endunless"),
        ("{% for x in y %}", "unclosed", (1, 4), "endfor"),
        ("{% case a %}{% when 1 %}", "unclosed", (1, 4), "endcase"),
        ("{% capture a %}", "unclosed", (1, 4), "endcapture"),
        ("{% raw %}{{ a }}", "unclosed", (1, 1), "endraw"),
        ("{% comment %}a", "unclosed", (1, 1), "endcomment"),
        ("{% endif %}", "misplaced", (1, 4), "`endif`"),
        ("{% if a %}{% endfor %}{% endif %}", "misplaced", (1, 14), "`if` of line 1"),
        ("{% for x in y %}{% if a %}{% endfor %}{% endif %}", "misplaced", (1, 30), "`if`"),
        ("{% if a %}{% else %}{% else %}{% endif %}", "misplaced", (1, 24), "`else`"),
        ("{% if a %}{% when 1 %}{% endif %}", "misplaced", (1, 14), "`when`"),
        ("{% case a %}text{% when 1 %}{% endcase %}", "misplaced", (1, 13), "nothing"),
        ("{% break %}", "misplaced", (1, 4), "`for`"),
        ("{% if a %}{% continue %}{% endif %}", "misplaced", (1, 14), "`for`"),
        ("{% if %}{% endif %}", "bad_expression", (1, 4), "missing"),
        ("{% if a = 1 %}{% endif %}", "bad_expression", (1, 9), "`==`"),
        ("{% if a == %}{% endif %}", "bad_expression", (1, 9), "missing"),
        ("{% if a | upcase == 'A' %}{% endif %}", "bad_expression", (1, 9), "assign"),
        ("{% if a not b %}{% endif %}", "bad_expression", (1, 9), "`and`, `or`"),
        ("{% if a and %}{% endif %}", "bad_expression", (1, 9), "missing"),
        ("{% if a %}{% endif b %}", "bad_expression", (1, 20), "one word too many"),
        ("{% else %}", "misplaced", (1, 4), "`else`"),
        ("{% for x of y %}{% endfor %}", "bad_expression", (1, 10), "`in`"),
        ("{% for 1 in y %}{% endfor %}", "bad_expression", (1, 8), "name for each"),
        ("{% for x in y cols: 2 %}{% endfor %}", "bad_loop", (1, 15), "limit"),
        ("{% for x in y limit 2 %}{% endfor %}", "bad_expression", (1, 21), "`:`"),
        ("{% assign x 1 %}", "bad_expression", (1, 13), "`=`"),
        ("{% assign 1 = x %}", "bad_expression", (1, 11), "name to assign"),
        ("{% capture 'x' %}{% endcapture %}", "bad_expression", (1, 12), "name for what"),
        ("{% case %}{% endcase %}", "bad_expression", (1, 4), "missing"),
        (&deep, "too_deep", (1, 324), "32 deep"),
        (&brackets, "too_long", (1, 1), "512 words"),
        (&many, "too_many_parts", (1, 1), "5000 parts"),
        (&long, "too_long", (1, 1), "65536"),
        (&wide, "too_long", (1, 1), "512 words"),
        (&conditions, "too_deep", (1, 195), "32 parts"),
    ];
    let mut wrong = Vec::new();
    for (text, code, (line, column), word) in table {
        let shown = text.get(..80).unwrap_or(text);
        let error = Template::read(Kind::Plain, text).expect_err(shown);
        let is_right =
            (error.code, error.place) == (code, Place { line, column }) && error.message.contains(word);
        wrong.extend(
            (!is_right)
                .then(|| format!("{shown}: {} {error}, not {code} {line}:{column} {word}", error.code)),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn renders_that_cannot_be_say_where_and_hold_nothing_of_the_message() {
    let doubling = format!("{{% assign x = 'xxxxxxxxxx' %}}{}", "{% assign x = x | append: x %}".repeat(60));
    let replacing = "{{ list | json | replace: '', list | replace: '', list | replace: '', list | replace: '', list | \
                     replace: '', list | replace: '', list | replace: '', list }}";
    let looping = format!("{}{}", "{% for x in wide %}".repeat(8), "{% endfor %}".repeat(8));
    let capturing = format!(
        "{{% capture x %}}{}{{% endcapture %}}{}",
        "y".repeat(1_000),
        "{% capture x %}{{ x }}{{ x }}{% endcapture %}".repeat(40)
    );
    let table: [(Kind, &str, &str, (u32, u32)); 14] = [
        (Kind::Plain, "a\n{{ name | plus: 1 }}", "template_not_a_number", (2, 11)),
        (Kind::Plain, "{{ count | divided_by: 0 }}", "template_number_too_large", (1, 12)),
        (
            Kind::Plain,
            "{{ count | times: 999999999999999999 | times: 99 }}",
            "template_number_too_large",
            (1, 12),
        ),
        (Kind::Plain, "{{ name | date: '%Y' }}", "template_not_a_time", (1, 11)),
        (Kind::Plain, "{% for x in list limit: name %}{% endfor %}", "template_not_a_number", (1, 1)),
        (Kind::Plain, &doubling, "template_too_much_work", (1, 0)),
        (Kind::Plain, replacing, "template_too_much_work", (1, 0)),
        (Kind::Plain, &looping, "template_too_much_work", (1, 0)),
        (Kind::Plain, &capturing, "template_too_", (1, 0)),
        (Kind::Json, "{\"a\": {{ name }},}", "template_not_json", (1, 1)),
        (Kind::Json, "", "template_not_json", (1, 1)),
        (Kind::Json, "\"\\{{ name }}\"", "template_backslash", (1, 3)),
        (Kind::Json, "{{ name | raw }}", "template_not_json", (1, 1)),
        (Kind::Line, "a {{ name }}", "template_line_break", (1, 3)),
    ];
    let mut facts = facts();
    facts["wide"] = Value::from(vec![1; 100]);
    for (kind, text, code, (line, column)) in table {
        let shown = text.get(..80).unwrap_or(text);
        let failure = Template::read(kind, text).unwrap().render(&facts, BYTES_MAX).expect_err(shown);
        assert!(failure.code.starts_with(code), "{shown}: {failure}");
        assert_eq!(failure.place.line, line, "{shown}: {failure}");
        // Where the budget ends is nobody's promise.
        assert!(column == 0 || failure.place.column == column, "{shown}: {failure}");
        assert!(
            !failure.to_string().contains("shop.test") && failure.reason().starts_with("template_"),
            "{failure}"
        );
    }
    let short = Template::read(Kind::Plain, "{{ name }}{{ name }}").unwrap();
    assert_eq!(short.render(&facts, 50).unwrap_err().code, "template_too_long");
}

#[test]
fn values_are_escaped_for_their_place() {
    let name = facts()["name"].clone();
    let render = |kind, text: &str| Template::read(kind, text).unwrap().render(&facts(), BYTES_MAX).unwrap();
    let read = |text: &str| serde_json::from_str::<Value>(&render(Kind::Json, text)).unwrap();
    assert_eq!(read(r#"{"a": "{{ name }}", "b": {{ name }}, "c": {{ count }}, "d": {{ data }}}"#)["a"], name);
    assert_eq!(read(r#"{"b": {{ name }}, "c": {{ missing }}}"#), json!({ "b": name, "c": null }));
    assert_eq!(
        read(r#"{"a": {{ items | map: 'id' }}, "b": "{{ items | map: 'id' }}"}"#),
        json!({ "a": ["1", "2", "3"], "b": "[\"1\",\"2\",\"3\"]" })
    );
    // Whole JSON as the content of a text, and as itself.
    assert_eq!(
        read(r#"["{{ name | json }}", {{ name | json }}, {{ name | json | raw }}]"#),
        json!([name.to_string(), name, name])
    );
    assert_eq!(
        read(r#"["a\"{{ name }}", "\\{{ count }}"]"#),
        json!([format!("a\"{}", name.as_str().unwrap()), "\\3"])
    );
    assert_eq!(
        read(r#"{% capture x %}"{{ name }}"{% endcapture %}["{{ x }}", {{ x }}]"#)[0],
        json!(format!("\"{}\"", name.as_str().unwrap()))
    );
    assert_eq!(
        render(Kind::Markup, "<b a=\"{{ name }}\">{{ '<i>' | raw }}"),
        "<b a=\"Zoë &#34;Z&#34; O&#39;Hara &lt;z@shop.test&gt; &amp; Sons\n\"><i>"
    );
    assert_eq!(
        render(Kind::Form, "n={{ name | strip }}&p={{ price }}"),
        "n=Zo%C3%AB%20%22Z%22%20O%27Hara%20%3Cz%40shop.test%3E%20%26%20Sons&p=49.9"
    );
    assert_eq!(
        render(Kind::Line, "Bearer {{ name | strip }}"),
        "Bearer Zoë \"Z\" O'Hara <z@shop.test> & Sons"
    );
}

/// Texts that are made to get out of where they stand.
fn nasty() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[\"\\\\{}\\[\\],:<>&'%=+ \n\r\t\u{0}\u{1f}\u{2028}a]{0,24}",
        prop::sample::select(vec![
            "\", \"admin\": true, \"x\": \"",
            "\\",
            "\\\"",
            "]]>",
            "</script><script>",
            "%0d%0aX: y",
            "a=b&c=d",
            "{{ id }}",
            "{% raw %}",
            "\u{feff}",
            "\u{d7ff}",
            "\u{fffe}",
            "null",
            "1e999",
            "-",
        ])
        .prop_map(str::to_owned),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|number| json!(f64::from(number) / 8.0)),
        nasty().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(nasty(), inner, 0..4).prop_map(|all| json!(all)),
        ]
    })
}

proptest! {
    /// Whatever the values are, what comes out is JSON of the shape that was written, and its texts are the values.
    #[test]
    fn no_value_gets_out_of_its_text(one in nasty(), two in nasty(), whole in any_json()) {
        let text = r#"{"{{ one }}!": ["{{ two }}", "<{{ one }}|{{ two }}>", {{ whole }}, {{ whole | json }}, {{ one }}], "end": 1}"#;
        let facts = json!({ "one": one, "two": two, "whole": whole });
        let rendered = Template::read(Kind::Json, text).unwrap().render(&facts, BYTES_MAX).unwrap();
        let read: Value = serde_json::from_str(&rendered).unwrap();
        let expected = json!({ format!("{one}!"): [two, format!("<{one}|{two}>"), whole, whole, one], "end": 1 });
        prop_assert_eq!(read, expected);
    }

    /// What is between the outer parts has none of their signs, and reads back.
    #[test]
    fn no_value_gets_out_of_its_field_or_element(one in nasty()) {
        let facts = json!({ "one": one });
        let render = |kind| Template::read(kind, "[{{ one }}]").unwrap().render(&facts, BYTES_MAX).unwrap();
        let form = render(Kind::Form);
        let inside = &form[1..form.len() - 1];
        prop_assert!(inside.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)), "{}", inside);
        let mut bytes = Vec::new();
        let mut rest = inside.bytes();
        while let Some(byte) = rest.next() {
            let mut digit = || char::from(rest.next().unwrap()).to_digit(16).unwrap() as u8;
            bytes.push(if byte == b'%' { digit() * 16 + digit() } else { byte });
        }
        prop_assert_eq!(String::from_utf8(bytes).unwrap(), one.clone());
        let markup = render(Kind::Markup);
        let inside = &markup[1..markup.len() - 1];
        prop_assert!(!inside.contains(['<', '>', '"', '\'', '\u{0}', '\r']), "{}", inside);
        prop_assert_eq!(inside.matches('&').count(), one.matches(['&', '<', '>', '"', '\'', '\r']).count());
    }

    /// A header is one line, or there is none.
    #[test]
    fn a_header_is_one_line(one in nasty()) {
        let template = Template::read(Kind::Line, "Bearer {{ one }}").unwrap();
        match template.render(&json!({ "one": one }), BYTES_MAX) {
            Ok(line) => prop_assert!(!line.contains(char::is_control)),
            Err(failure) => {
                prop_assert_eq!(failure.code, "template_line_break");
                prop_assert!(one.contains(char::is_control));
            }
        }
    }

    /// Whatever is written, it is read or refused with a place in it, and every render ends.
    #[test]
    fn whatever_is_written_is_read_or_refused(
        words in prop::collection::vec(prop::sample::select(vec![
            "{{", "}}", "{%", "%}", "-%}", "{%-", "if", "endif", "else", "elsif", "for", "endfor", "in", "case", "when", "endcase",
            "assign", "capture", "endcapture", "raw", "endraw", "comment", "endcomment", "break", "x", "list", "items", "forloop",
            "|", ":", ",", ".", "[", "]", "==", "contains", "and", "or", "1", "'a'", "\"", "'", " ", "\n", "join", "append", "split",
            "json", "=", "(", "-", "é",
        ]), 0..40),
        kind in prop::sample::select(Kind::ALL.map(|(kind, _)| kind).to_vec()),
    ) {
        let text = words.join(" ");
        let lines = text.split('\n').count() as u32;
        match Template::read(kind, &text) {
            Ok(template) => {
                let _ = template.render(&facts(), BYTES_MAX);
            }
            Err(error) => {
                prop_assert!((1..=lines).contains(&error.place.line), "{} {}", text, error);
                let line = text.split('\n').nth(error.place.line as usize - 1).unwrap();
                prop_assert!((1..=line.chars().count() as u32 + 1).contains(&error.place.column), "{:?} {}", text, error);
            }
        }
    }
}
