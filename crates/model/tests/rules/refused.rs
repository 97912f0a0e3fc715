//! Rules that are refused: the rule with the place marked by « and », the code, and a part of what is said.

use super::refuse;
use model::audience::{MAX_PATTERN_BYTES, MAX_RULE_BYTES};

const TABLE: &[(&str, &str, &str)] = &[
    // Not an expression.
    ("«»", "rule_syntax", "ends too early"),
    ("count('A') > «»", "rule_syntax", "ends too early"),
    ("count('A' > 0«»", "rule_syntax", "`,` or `)`"),
    ("(count('A') > 0«»", "rule_syntax", "`)` should follow"),
    ("true «)»", "rule_syntax", "should end here"),
    ("true «true»", "rule_syntax", "Found `true`"),
    ("consent('A') «and» consent('B')", "rule_syntax", "Write `&&`"),
    ("consent('A') «or» consent('B')", "rule_syntax", "Write `||`"),
    ("«not» consent('A')", "rule_syntax", "value should stand here"),
    ("traits.plan «=» 'gold'", "rule_syntax", "Compare with `==`"),
    ("true «&» true", "rule_syntax", "Write `&&`"),
    ("true «|» true", "rule_syntax", "Write `||`"),
    ("traits.plan == «“»gold”", "rule_syntax", "straight quotes"),
    ("traits.plan == «'gold»", "rule_syntax", "no end"),
    ("traits.plan == «\"go»\nld\"", "rule_syntax", "no end"),
    ("traits.plan == '«\\»d'", "rule_syntax", "escape"),
    ("traits.«»", "rule_syntax", "name should follow"),
    ("traits«.5»", "rule_syntax", ""),
    ("traits[«»", "rule_syntax", "ends too early"),
    ("traits['a'«»", "rule_syntax", "`]` should follow"),
    ("count('A', «7d») > 0", "rule_syntax", "in quotes"),
    ("traits.a > «99999999999999»", "rule_syntax", "10^12"),
    ("true ? true«»", "rule_syntax", "`:`"),
    ("«#» true", "rule_syntax", "no meaning"),
    ("«🙂»", "rule_syntax", "no meaning"),
    // Not a part of rules.
    ("«{»'a': 1}", "rule_unsupported", "no maps"),
    ("traits.a == «b»'x'", "rule_unsupported", "byte strings"),
    ("«traits.a % 2» == 0", "rule_unsupported", "no `%`"),
    ("«count('A')[0]» == 1", "rule_unsupported", "only members"),
    // Unknown names.
    ("«tarits.plan» == 'gold'", "rule_unknown_name", "Did you mean `traits`?"),
    ("«plan» == 'gold'", "rule_unknown_name", "traits.name"),
    ("«category» == 'shoes'", "rule_unknown_name", "in a filter"),
    ("«properties.x» == 1", "rule_unknown_name", "in a filter"),
    ("audience(«'buyer'»)", "rule_unknown_name", "Did you mean `buyers`?"),
    ("audience(«'zzz'»)", "rule_unknown_name", "Define the audience first"),
    ("feature(«'spent'») > 1", "rule_unknown_name", "Did you mean `spend`?"),
    ("count('A', «categroy» == 'x') > 0", "rule_unknown_name", "Did you mean `category`?"),
    ("count('A', «foo» == 'x') > 0", "rule_unknown_name", "properties.foo"),
    ("count('A', «traits.plan» == 'x') > 0", "rule_unknown_name", "not the person"),
    ("count('A', «category.x» == 'x') > 0", "rule_unknown_name", "has no members"),
    ("sum('A', «'prise'») > 0", "rule_unknown_name", "Did you mean `price`?"),
    ("«cuont»('A') > 0", "rule_unknown_function", "Did you mean `count`?"),
    ("«size»(traits.a) > 0", "rule_unknown_function", "distinct"),
    ("«average»('A', 'price') > 0", "rule_unknown_function", "sum(..) / count(..)"),
    ("«zebra»()", "rule_unknown_function", "There are audience"),
    ("traits.a.«starts»('x')", "rule_unknown_function", ""),
    ("count('A', «count»('B') > 0) > 0", "rule_unknown_function", "one event only"),
    ("count('A', «consent»('B')) > 0", "rule_unknown_function", "one event only"),
    // Types.
    ("«count('A')»", "rule_type", "Compare it, e.g. with > 0"),
    ("!«count('A')»", "rule_type", "where true or false is wanted"),
    ("«'gold'»", "rule_type", "text"),
    ("«last_at('A')»", "rule_type", "since(..)"),
    ("«count('A') == '3'»", "rule_type", "without quotes"),
    ("«last_at('A') > 5»", "rule_type", "an instant"),
    ("«consent('A') > true»", "rule_type", "no order"),
    ("«consent('A') == 1»", "rule_type", "condition itself"),
    ("«1 < 2 < 3»", "rule_type", "cannot be compared"),
    ("«traits.a < null»", "rule_type", "no order"),
    ("has(traits.a) && «null»", "rule_type", "null"),
    ("«'a' + 'b'» == 'ab'", "rule_type", "does not go"),
    ("«last_at('A') + 5» > last_at('B')", "rule_type", "does not go"),
    ("traits.a in «traits.b»", "rule_type", "fixed values"),
    ("traits.a in [1, «'x'»]", "rule_type", "one type"),
    ("traits.a in [«traits.b»]", "rule_type", "fixed texts"),
    ("«count('A') in ['x']»", "rule_type", "the list holds"),
    ("«[1, 2]»", "rule_type", "behind `in`"),
    ("(«true ? 1 : 'x'») == 1", "rule_type", "two outcomes"),
    ("«count('A')».contains('x')", "rule_type", "looks at text"),
    ("since(«count('A')») < duration('1d')", "rule_type", "wants an instant"),
    ("since(last_at('A')) < «3»", "rule_type", "fixed length of time"),
    ("«since(last_at('A')) == duration('1d')»", "rule_type", "microsecond"),
    ("has(«consent('A')»)", "rule_type", "has()"),
    ("«event('A')»", "rule_type", "step of a funnel"),
    // Arguments.
    ("«count»() > 0", "rule_arguments", "count(\"Event Name\""),
    ("«count('A', '7d', price > 1, 5») > 0", "rule_arguments", "number of arguments"),
    ("count('A', «price > 1», '7d') > 0", "rule_arguments", "window comes first"),
    ("count(«traits.a») > 0", "rule_arguments", "text in quotes"),
    ("count(«''») > 0", "rule_arguments", "empty"),
    ("count(«' A'») > 0", "rule_arguments", "no blanks"),
    ("«sum('A'») > 0", "rule_arguments", "\"property\""),
    ("«traits» == 1", "rule_arguments", "which trait"),
    ("«consent('A', 'B'»)", "rule_arguments", "number of arguments"),
    ("«has»()", "rule_arguments", "has(traits.name)"),
    ("last_at('A') > timestamp(«'soon'»)", "rule_arguments", "RFC 3339"),
    ("«funnel(['A', 'B']»)", "rule_arguments", "number of arguments"),
    ("funnel(«['A']», '1h')", "rule_arguments", "2 to 8 steps"),
    ("funnel(«'A'», '1h')", "rule_arguments", "a list"),
    ("funnel(['A', «5»], '1h')", "rule_arguments", "a step is"),
    ("funnel(['A', event('B', «'7d'»)], '1h')", "rule_arguments", "no window of its own"),
    ("funnel(['A', 'B'], «5»)", "rule_arguments", "length of time"),
    ("traits.a in «[]»", "rule_arguments", "1 to 256"),
    // Windows and lengths.
    ("count('A', «'7 days'») > 0", "rule_window", "no length of time"),
    ("count('A', «'30s'») > 0", "rule_window", "out of bounds"),
    ("count('A', «'2y'») > 0", "rule_window", "no length of time"),
    ("count('A', «'500d'») > 0", "rule_window", "out of bounds"),
    ("count('A', «'131d'») > 0", "rule_window", "Use 130d or 132d"),
    ("since(last_at('A')) < duration(«'soon'»)", "rule_window", "no length of time"),
    ("funnel(['A', 'B'], «'0s'»)", "rule_window", "more than nothing"),
    // Patterns.
    ("traits.a.matches(«'('»)", "rule_pattern", "unclosed"),
    ("traits.a.matches(«'(?=a)b'»)", "rule_pattern", "RE2"),
    ("traits.a.matches(«'((a{1,99}){1,99}){1,99}'»)", "rule_pattern", "size limit"),
    // Time.
    ("last_at('A') > «now()» - duration('1d')", "rule_now", "since(last_at"),
    ("«now» > timestamp('2026-01-01')", "rule_now", "cannot ask what time it is"),
    ("count('A', properties.at < «now»()) > 0", "rule_now", ""),
    // Circles.
    ("audience(«'tested'»)", "rule_cycle", "depend on itself"),
];

#[test]
fn bad_rules_are_refused_with_code_sentence_and_place() {
    assert!(TABLE.len() > 60);
    let mut wrong = Vec::new();
    for (marked, code, said) in TABLE {
        let start = marked.find('«').unwrap();
        let rule = marked.replace(['«', '»'], "");
        let length = marked.find('»').unwrap() - start - '«'.len_utf8();
        let meant = rule[start..start + length].lines().next().unwrap_or_default().chars().count().max(1);
        let error = refuse(&rule);
        let shown = error.to_string();
        let carets = error.place.excerpt.matches('^').count();
        let right = error.code.code() == *code
            && shown.contains(said)
            && (error.place.offset, carets) == (start, meant)
            && error.advice.ends_with(['.', '?'])
            && !error.message.ends_with('.');
        if !right {
            wrong.push(format!("{marked}\n{}: {shown}\n{}", error.code.code(), error.place.excerpt));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn rules_beyond_the_limits_are_refused() {
    let conditions = |count: usize| vec!["consent('A')"; count].join(" && ");
    let windows = |count: usize, function: &str| {
        (0..count)
            .map(|at| format!("{function}('E{at}', 'price', '7d') > 1"))
            .collect::<Vec<_>>()
            .join(" || ")
    };
    let cases = [
        (format!("true{}", " ".repeat(MAX_RULE_BYTES)), "rule_too_long"),
        (conditions(65), "rule_too_long"),
        (format!("traits.a in [{}]", vec!["1"; 2_000].join(",")), "rule_too_long"),
        (format!("traits.a in [{}]", vec!["1"; 257].join(",")), "rule_arguments"),
        (format!("{}true{}", "(".repeat(2_000), ")".repeat(2_000)), "rule_too_deep"),
        (format!("{}true", "!".repeat(2_000)), "rule_too_deep"),
        (format!("{}1 == 1", "-".repeat(2_000)), "rule_too_deep"),
        (format!("1{} == 1", " + 1".repeat(200)), "rule_too_deep"),
        (format!("traits{} == 1", ".a".repeat(200)), "rule_too_deep"),
        (format!("{}true", "true ? true : ".repeat(100)), "rule_too_deep"),
        (windows(63, "sum"), "rule_too_costly"),
        (windows(9, "distinct"), "rule_too_costly"),
        (format!("count('A', {}) > 0", vec!["properties.a.b == 1"; 25].join(" || ")), "rule_too_costly"),
        (format!("traits.a.matches('{}')", "a".repeat(MAX_PATTERN_BYTES + 1)), "rule_pattern"),
        (format!("count('{}') > 0", "a".repeat(300)), "rule_arguments"),
    ];
    for (rule, code) in cases {
        let error = refuse(&rule);
        let start: String = rule.chars().take(60).collect();
        assert_eq!(error.code.code(), code, "{start}: {error}");
        assert!(error.place.excerpt.len() < 1_000, "{start}");
    }
}
