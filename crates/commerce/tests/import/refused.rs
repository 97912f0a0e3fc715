//! Every reason why something is refused, and where the report says that it is.

use super::{TERMS, csv, lines};
use commerce::import::{Imported, read_csv};

fn refusals(imported: &Imported) -> Vec<(u64, String, &'static str)> {
    let refused = imported.report.refused.iter();
    refused.map(|one| (one.line, one.column.clone(), one.fault.code())).collect()
}

/// A header, rows, and what is refused. Each text also has a product that stays.
type Case<'a> = (&'a str, &'a [&'a str], &'a [(u64, &'a str, &'static str)]);

#[test]
fn rows_of_a_csv_are_refused_with_line_column_and_reason() {
    let table: &[Case<'_>] = &[
        ("", &["a,A,1"], &[]),
        ("", &["a,A,1,too much"], &[(2, "", "cells")]),
        ("", &["a,,1"], &[(2, "Title", "missing")]),
        ("", &["a,A,"], &[(2, "Variant Price", "missing")]),
        ("", &["a,A,\"1,5\""], &[(2, "Variant Price", "price")]),
        ("", &["a,A,-1"], &[(2, "Variant Price", "price")]),
        ("", &[",!?,1"], &[(2, "Handle", "missing")]),
        // The row in the middle spoils its product, wherever the others are.
        ("", &["a,A,1", "b,B,1", "a,,x"], &[(4, "Variant Price", "price")]),
        // Both have the values of a product without options.
        ("", &["a,A,1", "a,,2"], &[(2, "variants[1].selected", "same_variant")]),
        (",Variant Grams", &["a,A,1,-2"], &[(2, "Variant Grams", "weight")]),
        (",Variant Weight Unit", &["a,A,1,stone"], &[(2, "Variant Weight Unit", "weight")]),
        (",Variant Inventory Qty", &["a,A,1,some"], &[(2, "Variant Inventory Qty", "number")]),
        (",Variant Inventory Qty", &["a,A,1,9999999999999"], &[(2, "stock[0]", "number")]),
        (",Variant Inventory Policy", &["a,A,1,perhaps"], &[(2, "Variant Inventory Policy", "word")]),
        (",Variant Taxable", &["a,A,1,maybe"], &[(2, "Variant Taxable", "truth")]),
        (",Gift Card", &["a,A,1,true"], &[(2, "Gift Card", "gift_card")]),
        (",Status", &["a,A,1,gone"], &[(2, "Status", "word")]),
        (",Image Src,Image Position", &["a,A,1,u,first"], &[(2, "Image Position", "number")]),
        (",Option1 Name,Option1 Value", &["a,A,1,Size,"], &[(2, "Option1 Value", "options")]),
        (
            ",Option1 Name,Option1 Value",
            &["a,A,1,Size,S", "a,,2,Colour,M"],
            &[(3, "Option1 Name", "options")],
        ),
        (
            ",Option1 Name,Option1 Value",
            &["a,A,1,Size,S", "a,,2,,S"],
            &[(2, "variants[1].selected", "same_variant")],
        ),
        (
            ",Option2 Name,Option2 Value",
            &["a,A,1,Size,S"],
            &[(2, "Option2 Name", "options"), (2, "Option2 Value", "options")],
        ),
        (
            ",Unit Price Total Measure",
            &["a,A,1,750"],
            &[
                (2, "Unit Price Total Measure Unit", "missing"),
                (2, "Unit Price Base Measure Unit", "missing"),
            ],
        ),
        // Everything that is wrong with a product is said at once.
        (
            ",Variant Taxable",
            &["a,A,x,maybe"],
            &[(2, "Variant Price", "price"), (2, "Variant Taxable", "truth")],
        ),
    ];
    for (columns, rows, expected) in table {
        let text = format!("Handle,Title,Variant Price{columns}\n{}\nstays,Stays,1\n", rows.join("\n"));
        let imported = csv(&text);
        let expected: Vec<_> =
            expected.iter().map(|(line, column, code)| (*line, (*column).to_owned(), *code)).collect();
        assert_eq!(refusals(&imported), expected, "{text}");
        assert!(imported.items.iter().any(|item| item.product.handle == "stays"), "{text}");
        let refused = rows.iter().filter(|row| row.starts_with("a,") || row.starts_with(',')).count() as u64;
        assert_eq!(imported.report.rows_refused, if expected.is_empty() { 0 } else { refused }, "{text}");
    }
}

#[test]
fn bytes_that_are_no_text_refuse_their_row() {
    let text = b"Handle,Title,Variant Price\na,\xff,1\nb,B,1\n";
    let imported = read_csv(&text[..], &TERMS).unwrap();
    assert_eq!(refusals(&imported), [(2, "Title".to_owned(), "encoding")]);
    assert_eq!(imported.items.len(), 1);
}

#[test]
fn a_header_that_is_none_refuses_everything() {
    for (text, code) in [
        ("", "import_no_column"),
        ("Handle,Title\n", "import_no_column"),
        ("Title,Price,Variant Price\n", "import_column_twice"),
        (&format!("Title,Price{}\n", ",x".repeat(999)), "import_too_many_columns"),
    ] {
        assert_eq!(read_csv(text.as_bytes(), &TERMS).unwrap_err().code(), code, "{text}");
    }
    assert!(
        read_csv("\u{feff}title , PRICE\nA,1\n".as_bytes(), &TERMS)
            .is_ok_and(|imported| imported.items.len() == 1)
    );
}

#[test]
fn lines_of_json_are_refused_with_line_field_and_reason() {
    let product = |handle: &str, rest: &str| {
        format!(
            r#"{{"handle":"{handle}","title":"T","options":[{{"name":"Size","values":[{{"name":"S"}},{{"name":"M"}}]}}],"variants":[{{"selected":[0],"price_minor":100}}]{rest}}}"#
        )
    };
    let variants = |variants: &str| {
        let one = r#""variants":[{"selected":[0],"price_minor":100}]"#;
        product("a", "").replace(one, &format!(r#""variants":[{variants}]"#))
    };
    type Refusal<'a> = (u64, &'a str, &'a str);
    let cases: Vec<(String, &[Refusal<'_>])> = vec![
        (product("a", ""), &[]),
        ("{".to_owned(), &[(1, "", "json")]),
        ("[]".to_owned(), &[(1, "", "json")]),
        ("{}".to_owned(), &[(1, "", "json")]),
        (product("a", r#","colour":"red""#), &[(1, "", "json")]),
        (product("a", r#","created_at":"yesterday""#), &[(1, "", "json")]),
        (product("A b", ""), &[(1, "handle", "handle")]),
        (product("a", r#","tags":["x","y"],"title":"twice""#), &[(1, "", "json")]),
        (variants(""), &[(1, "variants", "too_many")]),
        (variants(r#"{"selected":[2],"price_minor":1}"#), &[(1, "variants[0].selected", "options")]),
        (variants(r#"{"selected":[],"price_minor":1}"#), &[(1, "variants[0].selected", "options")]),
        (variants(r#"{"selected":[0],"price_minor":-1}"#), &[(1, "variants[0].price_minor", "price")]),
        (variants(r#"{"selected":[0],"price_minor":1.5}"#), &[(1, "", "json")]),
        (variants(r#"{"selected":[0],"price_minor":1,"image":0}"#), &[(1, "variants[0].image", "image")]),
        (
            variants(r#"{"selected":[0],"price_minor":1},{"selected":[0],"price_minor":1}"#),
            &[(1, "variants[1].selected", "same_variant")],
        ),
        (
            variants(r#"{"number":5,"selected":[0],"price_minor":1},{"number":5,"selected":[1],"price_minor":1}"#),
            &[(1, "variants.number", "repeated")],
        ),
        (product("a", r#","stock":[{"variant":1,"tracked":true}]"#), &[(1, "stock[0]", "number")]),
        (format!("{}\n\n{}", product("a", ""), product("a", "")), &[(3, "handle", "repeated")]),
        (
            format!("{}\n{}", product("a", r#","number":4"#), product("b", r#","number":4"#)),
            &[(2, "number", "repeated")],
        ),
        (format!("\u{feff}{}", product("a", "")), &[]),
        (
            format!(
                "{}\n{}",
                variants(r#"{"number":5,"selected":[0],"price_minor":1}"#),
                variants(r#"{"number":5,"selected":[0],"price_minor":1}"#).replace(r#""a""#, r#""b""#),
            ),
            &[(2, "variants.number", "repeated")],
        ),
        (product("a", &format!(r#","vendor":"{}""#, "x".repeat(65_537))), &[(1, "vendor", "too_long")]),
        (format!("{}\n{}", "x".repeat(9 << 20), product("a", "")), &[(1, "", "too_long")]),
        (
            r#"{"id":"gid://shopify/Product/1","title":"T","status":"ODD","publishedAt":"soon","isGiftCard":true}"#.to_owned(),
            &[(1, "isGiftCard", "gift_card"), (1, "status", "word"), (1, "publishedAt", "time"), (1, "variants", "missing")],
        ),
        (r#"{"id":"gid://shopify/Product/1","title":5}"#.to_owned(), &[(1, "", "json")]),
    ];
    for (text, expected) in cases {
        let shown = text.get(..200).unwrap_or(&text);
        let imported = lines(&format!("{text}\n{}\n", product("stays", "")));
        let expected: Vec<_> =
            expected.iter().map(|(line, column, code)| (*line, (*column).to_owned(), *code)).collect();
        assert_eq!(refusals(&imported), expected, "{shown}");
        assert!(imported.items.iter().any(|item| item.product.handle == "stays"), "{shown}");
    }
}
