use super::*;

#[test]
fn comments_and_strings_are_blanked_and_nothing_moves() {
    let cases = [
        ("let a = \"}\"; // }\nb", "let a =    ;     \nb"),
        ("/* { /* { */ } */ x", "                  x"),
        ("r#\"a\"b\"# + br\"{\" + \"\\\"{\"", "         + b     +      "),
        ("let r#type = bar;", "let r#type = bar;"),
        ("fn a<'x>(y: &'x str) { '{' }", "fn a<'x>(y: &'x str) {     }"),
        ("['\\'', '\\\\', '\\u{7f}', 'ö', b'{']", "[    ,     ,         ,     , b   ]"),
        ("\"ö\" {", "     {"),
        ("\"open", "     "),
    ];
    for (source, expected) in cases {
        let masked = mask(source);
        assert_eq!(masked.trim_end(), expected.trim_end(), "{source}");
        assert_eq!(masked.len(), source.len(), "{source}");
    }
}

#[test]
fn masking_keeps_every_line_of_this_crate() {
    for file in crate::workspace::text_files().unwrap() {
        if file.extension() == "rs" {
            let masked = mask(&file.text);
            assert_eq!(masked.matches('\n').count(), file.text.matches('\n').count(), "{}", file.path);
            let balance = |open, close| masked.matches(open).count() == masked.matches(close).count();
            assert!(
                balance('{', '}') && balance('(', ')') && balance('[', ']'),
                "{} does not balance",
                file.path
            );
        }
    }
}

#[test]
fn functions_are_measured_from_fn_to_brace() {
    let source = "fn short() {}\ntrait T { fn none(&self) -> [u8; 4]; }\npub fn long<T: Fn(u8)>(a: [u8; 2])\nwhere T: X\n{\n  fn inner() {\n }\n \"}\"; }\ntype F = fn(u8);\n";
    let found: Vec<(String, usize, usize)> = functions(&mask(source))
        .into_iter()
        .map(|function| (function.name, function.line, function.lines))
        .collect();
    let expected = [("short", 1, 1), ("long", 3, 6), ("inner", 6, 2)];
    assert_eq!(found, expected.map(|(name, line, lines)| (name.to_owned(), line, lines)));
}

#[test]
fn test_code_is_taken_out() {
    let cases = [
        ("a #[cfg(test)] mod tests { b } c", "a c", vec![]),
        ("a #[cfg(test)]\n#[path = \"x\"]\nmod tests; c", "a c", vec!["tests"]),
        ("a #[cfg(all(test, unix))] fn b() { c } d", "a d", vec![]),
        ("#[cfg(not(test))] fn b() {}", "#[cfg(not(test))] fn b() {}", vec![]),
        ("#[cfg(any(test, unix))] fn b() {}", "#[cfg(any(test, unix))] fn b() {}", vec![]),
        ("#![cfg(test)] fn b() {}", "", vec![]),
        ("#[cfg(test)] use a::{b, c}; d", "; d", vec![]),
    ];
    for (source, expected, modules) in cases {
        let (kept, found) = without_tests(&mask(source));
        let squeezed: Vec<&str> = kept.split_whitespace().collect();
        assert_eq!(squeezed.join(" "), expected, "{source}");
        assert_eq!(found, modules, "{source}");
    }
}

#[test]
fn names_of_the_standard_library_are_found_in_groups() {
    let code = "use std::{collections::{BTreeMap, fs}, fs, io::Read}; std::thread::sleep(x); other::fs";
    let names: Vec<String> = std_modules(code).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["collections", "fs", "io", "thread"]);
}
