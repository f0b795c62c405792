use std::fs;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use uuid::Uuid;

use super::*;
use crate::{
    categories::CategoryDocument,
    companies::{CompanyDocument, CompanyStatus},
    editorial::{Entity, Names},
    names::Name,
    terms::{Alias, AliasKind, Source, TermDocument, TermStatus},
};

fn only(text: &str) -> Map<String, Value> {
    let mut file = File::read(text);
    assert_eq!(file.flaws, []);
    assert_eq!(file.documents.len(), 1);
    file.documents.remove(0).document
}

fn flaws(text: &str) -> Vec<(i64, i64, &'static str, String)> {
    let flaws = File::read(text).flaws.into_iter();
    flaws.map(|flaw| (flaw.at.line, flaw.at.column, flaw.code, flaw.pointer)).collect()
}

#[test]
fn values_are_those_of_yaml_1_2() {
    let read = only(
        "companies:\n  - {country: NO, on: 2026-10-19, year: 2015, x: yes, y: ~, z: TRUE, hex: 0x1F, half: .5, \
         old: 1_000, quoted: '007', time: 12:30, none: }\n",
    );
    let expected = json!({
        "country": "NO", "on": "2026-10-19", "year": 2015, "x": "yes", "y": null, "z": true, "hex": 31, "half": 0.5,
        "old": "1_000", "quoted": "007", "time": "12:30", "none": null
    });
    assert_eq!(Value::Object(read), expected);
}

#[test]
fn what_json_does_not_have_is_refused_where_it_stands() {
    for (text, line, column, code, pointer) in [
        ("terms:\n  - name: a\n    name: b\n", 3, 5, "duplicate_member", "/terms/0/name"),
        ("terms:\n  - name: &a b\n", 2, 11, "anchor", "/terms/0"),
        ("terms:\n  - name: *a\n", 2, 11, "alias", "/terms/0/name"),
        ("terms:\n  - <<: {name: b}\n", 2, 5, "merge_key", "/terms/0"),
        ("terms:\n  - 1: b\n", 2, 5, "not_a_name", "/terms/0"),
        ("terms:\n  - [a]: b\n", 2, 5, "not_a_name", "/terms/0"),
        ("terms:\n  - name: !!str b\n", 2, 11, "tag", "/terms/0/name"),
        ("terms:\n  - name: \"a\\0b\"\n", 2, 11, "null_byte", "/terms/0/name"),
        ("terms:\n  - rank: .inf\n", 2, 11, "not_a_number", "/terms/0/rank"),
        ("terms: []\n---\nterms: []\n", 2, 1, "several_documents", ""),
        ("terms: 3\n", 1, 8, "wrong_type", "/terms"),
        ("terms:\n  - a\n", 2, 5, "wrong_type", "/terms/0"),
        ("- a\n", 1, 1, "wrong_type", ""),
        ("term:\n  - a\n", 1, 1, "unknown_member", "/term"),
        ("category: {name: A}\nterms: []\n", 1, 11, "required", "/category/slug"),
        ("category: {slug: a}\nterms: [{name: x, category: b}]\n", 2, 29, "other_category", "/terms/0/category"),
    ] {
        assert_eq!(flaws(text), [(line, column, code, pointer.to_owned())], "{text}");
    }
    assert_eq!(flaws("terms:\n  - name: \"a\n")[0].2, "syntax");
    assert_eq!(flaws(&format!("terms: {}{}", "[".repeat(40), "]".repeat(40)))[0].2, "too_deep");
    assert_eq!(flaws("# nothing\n"), []);
    assert_eq!(flaws(""), []);
}

#[test]
fn a_fault_is_located_at_its_value_its_key_or_its_document() {
    let text = "\u{feff}category:\n  slug: a\nterms:\n  - name: x\n    sttus: y\n    aliases:\n      - { name: é, kind: z }\n      - kind: acronym\n";
    let at = |pointer: &str, code: &str| {
        let Mark { line, column } = locate(text, 4, &Fault::body(pointer, code, ""));
        (line, column)
    };
    assert_eq!(at("/name", "too_long"), (4, 11));
    assert_eq!(at("/sttus", "unknown_member"), (5, 5));
    assert_eq!(at("/definition", "required"), (4, 5));
    assert_eq!(at("/category", "unknown_reference"), (4, 5));
    assert_eq!(at("/aliases/0/kind", "unknown_value"), (7, 26));
    assert_eq!(at("/aliases/1/name", "required"), (8, 9));
    assert_eq!(at("/aliases", "too_many"), (7, 7));
    assert_eq!(at("", "exists"), (4, 5));
}

#[test]
fn a_word_of_a_text_is_located_where_it_stands_in_the_file() {
    let text = "terms:\n  - body: |\n      A [b](/terms/b).\n\n      é [c](/terms/b).\n  - body: \"[d](/terms/d)\"\n";
    let file = File::read(text);
    let body = file.documents[0].document["body"].as_str().unwrap();
    let second = body.rfind("/terms/b").unwrap();
    assert_eq!(file.place_in_text(&file.documents[0], "body", "/terms/b", second), Mark::new(5, 13));
    assert_eq!(file.place_in_text(&file.documents[1], "body", "/terms/d", 4), Mark::new(6, 16));
    assert_eq!(file.place_in_text(&file.documents[1], "body", "elsewhere", 4), Mark::new(6, 11));
}

#[test]
fn every_category_has_a_file_of_its_own() {
    let names = ["companies", "companies-category", "companies-category-category", "a", "companies-b"].map(file_name);
    let expected = [
        "companies-category.yaml",
        "companies-category-category.yaml",
        "companies-category-category-category.yaml",
        "a.yaml",
        "companies-b.yaml",
    ];
    assert_eq!(names, expected);
}

/// A document as it is read from JSON, with slugs as its references; what it is written from.
fn shown(kind: Kind, document: &Map<String, Value>) -> Value {
    let mut document = document.clone();
    // What is left out is what is empty.
    document.retain(|_, value| !value.is_null() && *value != json!("") && *value != json!([]) && *value != json!(0));
    if kind != Kind::Category && document.get("status") == Some(&json!("draft")) {
        document.remove("status");
    }
    if let Some(sources) = document.get_mut("sources").and_then(Value::as_array_mut) {
        sources
            .iter_mut()
            .filter_map(Value::as_object_mut)
            .for_each(|source| source.retain(|_, value| !value.is_null()));
    }
    Value::Object(document)
}

fn assert_read_back(text: &str, written: &[(Kind, Value)]) {
    let file = File::read(text);
    assert_eq!(file.flaws, [], "{text}");
    let read: Vec<Value> = file.documents.iter().map(|found| shown(found.kind, &found.document)).collect();
    let written: Vec<Value> =
        written.iter().map(|(kind, document)| shown(*kind, document.as_object().unwrap())).collect();
    assert_eq!(read, written, "{text}");
}

/// What a YAML writer may stumble over.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z]{1,8}",
        2 => prop::sample::select(vec![
            " ", "  ", "\n", "\n\n", "\t", "\r\n", ": ", ":", " #", "#", "- ", "---", "...", "? ", "\"", "'", "\\", "{", "}",
            "[", "]", ",", "&a", "*a", "!", "|", ">", "%", "@", "`", "<<", "null", "~", "true", "no", "NO", "1", "-1", "1.5",
            "0x1f", "1e5", ".inf", "2026-10-19", "12:30", "=", "é", "😀", "e\u{301}", "\u{feff}", "\u{2028}", "\u{85}", "\0",
            "\u{7f}", "\u{a0}", "\u{3000}", "\u{fffe}",
        ])
        .prop_map(String::from),
        1 => any::<char>().prop_map(String::from),
        1 => "[a-z]{100,200}",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn no_null(text: &str) -> String {
    text.replace('\0', "")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(texts in prop::collection::vec(hostile(), 12)) {
        let texts: Vec<String> = texts.iter().map(|text| no_null(text)).collect();
        let name = |text: &str| Name::parse(text).unwrap_or_else(|_| Name::parse("name").unwrap());
        let term = |texts: &[String], rest: &str| TermDocument::<String> {
            slug: Slug::parse("null").ok(),
            name: name(&texts[0]),
            definition: texts[1].clone(),
            body: crate::markdown::Body::stored(texts[2].clone()),
            category: "true".into(),
            status: TermStatus::Published,
            reviewed_on: crate::clock::Day::parse("2026-10-19"),
            aliases: vec![Alias { name: name(rest), kind: AliasKind::Hidden }],
            related: vec!["123".into(), "no".into(), "a-b".into()],
            broader: vec![],
            replaced_by: (0..20).map(|number| format!("a-long-slug-{number}")).collect(),
            companies: vec!["1e5".into()],
            sources: vec![
                Source { title: texts[0].clone(), url: texts[1].clone(), publisher: Some(rest.into()), published_on: None },
                Source { title: rest.into(), url: texts[2].clone(), publisher: None, published_on: None },
            ],
        };
        let category = CategoryDocument::<String> {
            slug: Slug::parse("true").ok(), name: name(&texts[3]), description: texts[4].clone(), parent: None, rank: 0,
        };
        let terms = [term(&texts[5..8], &texts[8]), term(&texts[8..11], &texts[11])];
        let mut written = vec![(Kind::Category, serde_json::to_value(&category).unwrap())];
        written.extend(terms.iter().map(|term| (Kind::Term, serde_json::to_value(term).unwrap())));
        for (_, document) in &mut written {
            for list in ["aliases", "sources"] {
                let empty = |item: &Value| item.as_object().is_some_and(|item| item.values().all(Value::is_null));
                if let Some(items) = document.get_mut(list).and_then(Value::as_array_mut) { items.retain(|item| !empty(item)); }
            }
        }
        assert_read_back(&super::category(&category, &terms), &written);
        let company = CompanyDocument::<String> {
            slug: Slug::parse("no").ok(), name: name(&texts[0]), description: texts[1].clone(), website: Some(texts[2].clone()),
            country: Some("NO".into()), founded_year: Some(1999), status: CompanyStatus::Draft, categories: vec![],
        };
        let written = [(Kind::Company, shown(Kind::Company, serde_json::to_value(&company).unwrap().as_object().unwrap()))];
        assert_read_back(&companies(&[company]), &written);
    }
}

#[test]
fn a_sample_that_is_written_is_read_back() {
    for path in fs::read_dir("samples").unwrap().map(|entry| entry.unwrap().path()) {
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let file = File::read(&text);
        let names = Names::default();
        let (mut category, mut terms, mut companies) = (None, Vec::new(), Vec::new());
        for found in &file.documents {
            let document = Value::Object(found.document.clone());
            match found.kind {
                Kind::Category => {
                    category = Some(<CategoryDocument<Uuid> as Entity>::respelled(
                        CategoryDocument::parse(&document).unwrap(),
                        &names,
                    ));
                }
                Kind::Term => terms
                    .push(<TermDocument<Uuid> as Entity>::respelled(TermDocument::parse(&document).unwrap(), &names)),
                Kind::Company => companies.push(<CompanyDocument<Uuid> as Entity>::respelled(
                    CompanyDocument::parse(&document).unwrap(),
                    &names,
                )),
            }
        }
        let written = match &category {
            Some(category) => super::category(category, &terms),
            None => super::companies(&companies),
        };
        let of_file: Vec<(Kind, Value)> =
            file.documents.into_iter().map(|found| (found.kind, Value::Object(found.document))).collect();
        assert_read_back(&written, &of_file);
    }
}
