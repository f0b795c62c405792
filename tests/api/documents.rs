//! The three document types: every rule, with the place and the code of what breaks it.

use serde_json::{Value, json};
use termbase::{categories::CategoryDocument, companies::CompanyDocument, error::Fault, terms::TermDocument};

fn merged(base: &Value, change: &Value) -> Value {
    let mut document = base.clone();
    for (member, value) in change.as_object().unwrap() {
        document[member] = value.clone();
    }
    document
}

fn codes(faults: Vec<Fault>) -> Vec<(String, String)> {
    faults.into_iter().map(|fault| (fault.pointer.unwrap(), fault.code)).collect()
}

fn check(parse: impl Fn(&Value) -> Result<(), Vec<Fault>>, base: &Value, cases: Vec<(Value, &[(&str, &str)])>) {
    parse(base).unwrap();
    for (change, expected) in cases {
        let found = codes(parse(&merged(base, &change)).err().unwrap_or_default());
        let expected: Vec<(String, String)> =
            expected.iter().map(|(pointer, code)| ((*pointer).into(), (*code).into())).collect();
        let shown: String = change.to_string().chars().take(200).collect();
        assert_eq!(found, expected, "{shown}");
    }
}

#[test]
fn a_term_is_checked_member_by_member() {
    let base = json!({"name": "T", "definition": "D.", "category": "c"});
    let cases: Vec<(Value, &[(&str, &str)])> = vec![
        (json!({"name": null}), &[("/name", "required")]),
        (json!({"name": ""}), &[("/name", "empty")]),
        (json!({"name": " T"}), &[("/name", "not_trimmed")]),
        (json!({"name": "T\u{0}"}), &[("/name", "null_byte")]),
        (json!({"name": "T\nU"}), &[("/name", "line_break")]),
        (json!({"name": "\u{202e}T"}), &[("/name", "bidi_control")]),
        (json!({"name": "\u{200b}"}), &[("/name", "nothing_visible")]),
        (json!({"name": "x".repeat(201)}), &[("/name", "too_long")]),
        (json!({"name": 7}), &[("/name", "wrong_type")]),
        (json!({"slug": "A"}), &[("/slug", "bad_character")]),
        (json!({"slug": "a--b"}), &[("/slug", "bad_hyphen")]),
        (json!({"slug": "01a20c78-4513-7096-a7ca-781f7eec597d"}), &[("/slug", "like_uuid")]),
        (json!({"slug": null}), &[]),
        (json!({"definition": ""}), &[("/definition", "too_short")]),
        (json!({"definition": "a\u{0}b"}), &[("/definition", "control_character")]),
        (json!({"definition": "two\nlines"}), &[("/definition", "control_character")]),
        (json!({"definition": "x".repeat(1001)}), &[("/definition", "too_long")]),
        (json!({"body": "x".repeat(65_537)}), &[("/body", "too_long")]),
        (json!({"body": "> ".repeat(40) + "deep"}), &[("/body", "too_deep")]),
        (json!({"body": "a\u{0}"}), &[("/body", "control_character")]),
        (json!({"body": null}), &[]),
        (json!({"category": null}), &[("/category", "required")]),
        (json!({"category": ["c"]}), &[("/category", "wrong_type")]),
        (json!({"status": "public"}), &[("/status", "unknown_value")]),
        (json!({"status": "deprecated"}), &[("/replaced_by", "replacement_required")]),
        (json!({"status": "deprecated", "replaced_by": []}), &[("/replaced_by", "replacement_required")]),
        (json!({"status": "deprecated", "replaced_by": ["X"]}), &[("/replaced_by/0", "bad_character")]),
        (json!({"reviewed_on": "2026-02-30"}), &[("/reviewed_on", "not_a_day")]),
        (json!({"reviewed_on": "0000-01-01"}), &[("/reviewed_on", "not_a_day")]),
        (json!({"reviewed_on": "0001-01-01"}), &[]),
        (json!({"reviewed_on": "2026-2-3"}), &[("/reviewed_on", "not_a_day")]),
        (json!({"aliases": [{"name": "t"}]}), &[("/aliases/0/name", "own_name")]),
        (json!({"aliases": [{"name": "A"}, {"name": "a"}]}), &[("/aliases/1", "duplicate")]),
        (
            json!({"aliases": [{"kind": "nick"}]}),
            &[("/aliases/0/name", "required"), ("/aliases/0/kind", "unknown_value")],
        ),
        (json!({"aliases": "A"}), &[("/aliases", "wrong_type")]),
        (json!({"aliases": vec![json!({"name": "A"}); 51]}), &[("/aliases", "too_many")]),
        (json!({"related": ["a", "a"]}), &[("/related/1", "duplicate")]),
        (json!({"related": [null]}), &[("/related/0", "wrong_type")]),
        (json!({"broader": vec!["a"; 21]}), &[("/broader", "too_many")]),
        (
            json!({"sources": [{"title": "S", "url": "javascript:alert(1)"}]}),
            &[("/sources/0/url", "not_a_web_address")],
        ),
        (
            json!({"sources": [{"title": "S", "url": "https://u:p@x.example/"}]}),
            &[("/sources/0/url", "not_a_web_address")],
        ),
        (
            json!({"sources": [{"title": "S", "url": "https://x.example", "page": 3}]}),
            &[("/sources/0/page", "unknown_member")],
        ),
        (
            json!({"sources": [{"title": "S", "url": "https://x.example"}, {"title": "T", "url": "https://x.example"}]}),
            &[("/sources/1", "duplicate")],
        ),
        (
            json!({"sources": [{"title": "S", "url": format!("https://x.example/{}", "深".repeat(700))}]}),
            &[("/sources/0/url", "too_long")],
        ),
        (json!({"definiton": "x"}), &[("/definiton", "unknown_member")]),
        (json!({"a/b~c": 1}), &[("/a~1b~0c", "unknown_member")]),
        (
            json!({"name": null, "definition": 3, "category": "C!", "aliases": [{}], "colour": 1}),
            &[
                ("/name", "required"),
                ("/definition", "wrong_type"),
                ("/category", "bad_character"),
                ("/aliases/0/name", "required"),
                ("/colour", "unknown_member"),
            ],
        ),
    ];
    check(|value| TermDocument::parse(value).map(|_| ()), &base, cases);
    for value in [json!(null), json!([]), json!("x"), json!(3)] {
        assert_eq!(codes(TermDocument::parse(&value).unwrap_err()), [(String::new(), "wrong_type".into())]);
    }
}

#[test]
fn a_category_is_checked_member_by_member() {
    let cases: Vec<(Value, &[(&str, &str)])> = vec![
        (json!({"rank": 3.0}), &[]),
        (json!({"rank": -1}), &[("/rank", "out_of_range")]),
        (json!({"rank": 1.5}), &[("/rank", "out_of_range")]),
        (json!({"rank": 1_000_001}), &[("/rank", "out_of_range")]),
        (json!({"rank": "1"}), &[("/rank", "wrong_type")]),
        (json!({"parent": ""}), &[("/parent", "empty")]),
        (json!({"parent": null}), &[]),
        (json!({"description": "x".repeat(1001)}), &[("/description", "too_long")]),
        (json!({"terms": []}), &[("/terms", "unknown_member")]),
    ];
    check(|value| CategoryDocument::parse(value).map(|_| ()), &json!({"name": "C"}), cases);
}

#[test]
fn a_company_is_checked_member_by_member() {
    let cases: Vec<(Value, &[(&str, &str)])> = vec![
        (json!({"country": "us"}), &[("/country", "unknown_country")]),
        (json!({"country": "XX"}), &[("/country", "unknown_country")]),
        (json!({"country": "USA"}), &[("/country", "too_long")]),
        (json!({"country": "DE"}), &[]),
        (json!({"founded_year": 999}), &[("/founded_year", "out_of_range")]),
        (json!({"founded_year": 1e300}), &[("/founded_year", "out_of_range")]),
        (json!({"website": "example.org"}), &[("/website", "not_a_web_address")]),
        (json!({"website": "//example.org"}), &[("/website", "not_a_web_address")]),
        (json!({"website": "ftp://example.org"}), &[("/website", "not_a_web_address")]),
        (json!({"status": "deprecated"}), &[("/status", "unknown_value")]),
        (json!({"categories": ["a", "b", "a"]}), &[("/categories/2", "duplicate")]),
    ];
    check(|value| CompanyDocument::parse(value).map(|_| ()), &json!({"name": "K"}), cases);
}

#[test]
fn a_fault_says_what_would_pass() {
    let faults =
        TermDocument::parse(&json!({"name": "T", "definiton": "D.", "category": "c", "status": "public"})).unwrap_err();
    let said: Vec<&str> = faults.iter().map(|fault| fault.detail.as_str()).collect();
    assert!(said.iter().any(|detail| detail.contains("draft, published, deprecated")), "{said:?}");
    assert!(said.iter().any(|detail| detail.contains("\"definition\"")), "{said:?}");
}
