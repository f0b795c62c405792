//! What differs between two documents of one entity: for the comparison of two revisions, and for a `412` that says
//! what has changed since.
//!
//! It works on the documents as JSON, so that a revision written by an older version, with members that this one does
//! not have, is compared as well. An absent member, null and an empty list are the same: nothing.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use similar::{ChangeTag, TextDiff};
use utoipa::ToSchema;

/// Two texts without anything in common take time that grows with the square of their length; after so long the rest
/// is given as replaced.
const WORDS_MAX: Duration = Duration::from_millis(50);

/// One difference between two documents: of a member, of an item of a list, or of a field of such an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// The document's member.
    #[schema(example = "definition")]
    pub member: String,
    /// Of a list: what names the item that differs, such as a slug, an alias's name or a source's address; null for
    /// the member itself, or for the order of its items.
    #[schema(required, example = json!(null))]
    pub item: Option<String>,
    /// Of an item that is an object: its field that differs.
    #[schema(required, example = json!(null))]
    pub field: Option<String>,
    /// The value before, as text; null where there was none.
    #[schema(required, example = "A large model.")]
    pub before: Option<String>,
    /// The value after, as text; null where there is none.
    #[schema(required, example = "A large pretrained model.")]
    pub after: Option<String>,
    /// Word for word, where both are running text; else empty. Those kept and removed make `before`, those kept and
    /// added make `after`.
    #[schema(max_items = 200_000)]
    pub words: Vec<Words>,
}

/// A piece of a text that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Words {
    /// `kept`, `removed` or `added`; more may come.
    #[schema(example = "added")]
    pub kind: String,
    #[schema(example = "pretrained ")]
    pub text: String,
}

/// All that differs, member by member in the order of their names: what an editor reads before restoring a revision, or
/// before writing over one that came between.
#[must_use]
pub fn diff(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<Difference> {
    let members = members(before, after);
    members.flat_map(|(member, was, is)| Comparison::of(member, was, is)).collect()
}

/// The names of the members that differ, in their order: enough to say that two edits do not meet.
#[must_use]
pub fn changed_members(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<String> {
    members(before, after).filter(|(_, was, is)| !same(was, is)).map(|(member, ..)| member.to_owned()).collect()
}

/// The members of both, each with its two values.
fn members<'v>(
    before: &'v Map<String, Value>,
    after: &'v Map<String, Value>,
) -> impl Iterator<Item = (&'v str, &'v Value, &'v Value)> {
    let new = after.keys().filter(|name| !before.contains_key(*name));
    let value = |document: &'v Map<String, Value>, name| document.get(name).unwrap_or(&Value::Null);
    before.keys().chain(new).map(move |name| (name.as_str(), value(before, name), value(after, name)))
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

/// Whether there is no difference to show.
fn same(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Array(was), Value::Array(is)) => was.len() == is.len() && was.iter().zip(is).all(|(a, b)| same(a, b)),
        (Value::Object(was), Value::Object(is)) => members(was, is).all(|(_, a, b)| same(a, b)),
        _ => before == after || (is_nothing(before) && is_nothing(after)),
    }
}

/// The differences of one member.
struct Comparison<'m> {
    member: &'m str,
    found: Vec<Difference>,
}

impl<'m> Comparison<'m> {
    fn of(member: &'m str, before: &Value, after: &Value) -> Vec<Difference> {
        let mut comparison = Comparison { member, found: Vec::new() };
        match (named_items(before), named_items(after)) {
            (Some(was), Some(is)) => comparison.lists(&was, &is),
            _ => comparison.values(None, None, before, after),
        }
        comparison.found
    }

    /// Items that went or stayed stand in the order before, then those that are new.
    fn lists(&mut self, before: &[(&str, &Value)], after: &[(&str, &Value)]) {
        let was: HashMap<&str, &Value> = before.iter().copied().collect();
        let is: HashMap<&str, &Value> = after.iter().copied().collect();
        for (name, value) in before {
            self.items(name, value, is.get(name).copied().unwrap_or(&Value::Null));
        }
        for (name, value) in after.iter().filter(|(name, _)| !was.contains_key(name)) {
            self.items(name, &Value::Null, value);
        }
        let stayed = |list: &[(&str, &Value)]| -> Vec<String> {
            let both = |name: &str| was.contains_key(name) && is.contains_key(name);
            list.iter().filter(|(name, _)| both(name)).map(|(name, _)| (*name).to_owned()).collect()
        };
        if stayed(before) != stayed(after) {
            let names = |list: &[(&str, &Value)]| list.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            self.push(None, None, Some(names(before)), Some(names(after)), Vec::new());
        }
    }

    /// One item on both sides; null where it came or went.
    fn items(&mut self, name: &str, before: &Value, after: &Value) {
        let none = Map::new();
        match (before, after) {
            (Value::Object(was), Value::Object(is)) => self.fields(name, was, is),
            (Value::Object(was), Value::Null) => self.fields(name, was, &none),
            (Value::Null, Value::Object(is)) => self.fields(name, &none, is),
            _ => self.values(Some(name), None, before, after),
        }
    }

    fn fields(&mut self, item: &str, before: &Map<String, Value>, after: &Map<String, Value>) {
        for (field, was, is) in members(before, after) {
            self.values(Some(item), Some(field), was, is);
        }
    }

    fn values(&mut self, item: Option<&str>, field: Option<&str>, before: &Value, after: &Value) {
        if same(before, after) {
            return;
        }
        let words = match (before, after) {
            (Value::String(was), Value::String(is)) if is_running_text(was) || is_running_text(is) => words(was, is),
            _ => Vec::new(),
        };
        self.push(item, field, text(before), text(after), words);
    }

    fn push(
        &mut self,
        item: Option<&str>,
        field: Option<&str>,
        before: Option<String>,
        after: Option<String>,
        words: Vec<Words>,
    ) {
        let (member, item, field) = (self.member.to_owned(), item.map(Into::into), field.map(Into::into));
        self.found.push(Difference { member, item, field, before, after, words });
    }
}

/// The items of a list, each with what names it: a string itself, an object its name or else its address. `None` where
/// one has no name, or two have the same: then only the whole can be compared.
fn named_items(value: &Value) -> Option<Vec<(&str, &Value)>> {
    let items: &[Value] = match value {
        Value::Null => &[],
        Value::Array(items) => items,
        _ => return None,
    };
    let items: Vec<(&str, &Value)> = items.iter().map(|item| Some((name_of(item)?, item))).collect::<Option<_>>()?;
    let distinct: HashSet<&str> = items.iter().map(|(name, _)| *name).collect();
    (distinct.len() == items.len()).then_some(items)
}

fn name_of(item: &Value) -> Option<&str> {
    match item {
        Value::String(text) => Some(text),
        Value::Object(fields) => ["name", "url"].iter().find_map(|field| fields.get(*field)?.as_str()),
        _ => None,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        value if is_nothing(value) => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// A slug, an address or a word is replaced as a whole. Beyond ASCII, a text can have many words without a space.
fn is_running_text(text: &str) -> bool {
    text.contains(|c: char| c.is_whitespace() || !c.is_ascii())
}

fn words(before: &str, after: &str) -> Vec<Words> {
    let mut words = Vec::new();
    let (mut removed, mut added, mut kept) = (String::new(), String::new(), String::new());
    let mut flush = |removed: &mut String, added: &mut String, kept: &mut String| {
        for (kind, text) in [("removed", removed), ("added", added), ("kept", kept)] {
            if !text.is_empty() {
                words.push(Words { kind: kind.into(), text: std::mem::take(text) });
            }
        }
    };
    for change in TextDiff::configure().timeout(WORDS_MAX).diff_unicode_words(before, after).iter_all_changes() {
        if change.tag() == ChangeTag::Equal {
            kept.push_str(change.value());
            continue;
        }
        // A sentence that was written anew is one piece, though the spaces between its words are the same.
        if !removed.is_empty() && !added.is_empty() && !kept.contains(char::is_alphanumeric) {
            removed.push_str(&kept);
            added.push_str(&kept);
            kept.clear();
        }
        if !kept.is_empty() {
            flush(&mut removed, &mut added, &mut kept);
        }
        let changed = if change.tag() == ChangeTag::Delete { &mut removed } else { &mut added };
        changed.push_str(change.value());
    }
    flush(&mut removed, &mut added, &mut kept);
    words
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn compare(before: &Value, after: &Value) -> Vec<Difference> {
        diff(before.as_object().unwrap(), after.as_object().unwrap())
    }

    type Row<'d> = (&'d str, Option<&'d str>, Option<&'d str>, Option<&'d str>, Option<&'d str>);

    fn rows(differences: &[Difference]) -> Vec<Row<'_>> {
        fn row(difference: &Difference) -> Row<'_> {
            let Difference { member, item, field, before, after, words: _ } = difference;
            (member, item.as_deref(), field.as_deref(), before.as_deref(), after.as_deref())
        }
        differences.iter().map(row).collect()
    }

    #[test]
    fn each_kind_of_difference_has_its_place() {
        let before = json!({
            "slug": "map", "name": "MAP", "founded_year": 2019, "reviewed_on": null, "gone": true,
            "related": ["a", "b"], "replaced_by": ["x", "y"], "companies": [],
            "aliases": [{"name": "A", "kind": "synonym"}, {"name": "B", "kind": "acronym"}],
            "sources": [{"title": "T", "url": "https://a", "publisher": null}, {"title": "S", "url": "https://b"}],
        });
        let after = json!({
            "slug": "map", "name": "mAP", "founded_year": 2020, "reviewed_on": "2021-08-16",
            "related": ["b", "c"], "replaced_by": ["y", "x"],
            "aliases": [{"name": "A", "kind": "hidden"}, {"name": "C", "kind": "synonym"}],
            "sources": [{"title": "S", "url": "https://b", "publisher": null}, {"title": "T2", "url": "https://a"}],
        });
        let found = compare(&before, &after);
        let expected: Vec<Row<'_>> = vec![
            ("aliases", Some("A"), Some("kind"), Some("synonym"), Some("hidden")),
            ("aliases", Some("B"), Some("kind"), Some("acronym"), None),
            ("aliases", Some("B"), Some("name"), Some("B"), None),
            ("aliases", Some("C"), Some("kind"), None, Some("synonym")),
            ("aliases", Some("C"), Some("name"), None, Some("C")),
            ("founded_year", None, None, Some("2019"), Some("2020")),
            ("gone", None, None, Some("true"), None),
            ("name", None, None, Some("MAP"), Some("mAP")),
            ("related", Some("a"), None, Some("a"), None),
            ("related", Some("c"), None, None, Some("c")),
            ("replaced_by", None, None, Some("x, y"), Some("y, x")),
            ("reviewed_on", None, None, None, Some("2021-08-16")),
            ("sources", Some("https://a"), Some("title"), Some("T"), Some("T2")),
            ("sources", None, None, Some("https://a, https://b"), Some("https://b, https://a")),
        ];
        assert_eq!(rows(&found), expected);
        assert!(found.iter().all(|difference| difference.words.is_empty()), "none of it is running text");
        let changed = changed_members(before.as_object().unwrap(), after.as_object().unwrap());
        let names = ["aliases", "founded_year", "gone", "name", "related", "replaced_by", "reviewed_on", "sources"];
        assert_eq!(changed, names);
    }

    #[test]
    fn a_list_whose_items_can_t_be_told_apart_is_compared_as_a_whole() {
        let found = compare(&json!({"l": ["a", "a"], "m": [{"x": 1}]}), &json!({"l": ["a"], "m": []}));
        let expected: Vec<Row<'_>> = vec![
            ("l", None, None, Some(r#"["a","a"]"#), Some(r#"["a"]"#)),
            ("m", None, None, Some(r#"[{"x":1}]"#), None),
        ];
        assert_eq!(rows(&found), expected);
    }

    #[test]
    fn running_text_is_compared_word_for_word() {
        let words = |before: &str, after: &str| -> Vec<(String, String)> {
            let [difference] = &compare(&json!({"d": before}), &json!({"d": after}))[..] else { panic!() };
            difference.words.iter().map(|words| (words.kind.clone(), words.text.clone())).collect()
        };
        let own = |expected: &[(&str, &str)]| -> Vec<(String, String)> {
            expected.iter().map(|(kind, text)| ((*kind).to_owned(), (*text).to_owned())).collect()
        };
        assert_eq!(
            words("A large model.", "A large pretrained model."),
            own(&[("kept", "A large "), ("added", "pretrained "), ("kept", "model.")])
        );
        assert_eq!(
            words("It is trained once, used often.", "It was made once, used often."),
            own(&[("kept", "It "), ("removed", "is trained"), ("added", "was made"), ("kept", " once, used often.")])
        );
        assert_eq!(
            words("基础模型很大", "基础模型不大"),
            own(&[("kept", "基础模型"), ("removed", "很"), ("added", "不"), ("kept", "大")])
        );
        assert_eq!(words("foundation-model", "foundation-models"), own(&[]));
    }

    /// A generous bound, for a build without optimisation on a busy machine; a release build takes a tenth.
    #[test]
    fn texts_without_anything_in_common_are_compared_in_time() {
        let numbers = |from: u64| {
            let mut text = String::new();
            let mut number = from;
            while text.len() < 65_536 {
                // Knuth's generator: repeatable, and no word twice in a row.
                number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(&(number >> 50).to_string());
                text.push(' ');
            }
            text
        };
        let han = |from: u32| -> String {
            (0..21_000_u32).map(|n| char::from_u32(0x4e00 + (n * 7919 * from) % 20_000).unwrap()).collect()
        };
        for (before, after) in [
            (numbers(1), numbers(2)),
            (han(3), han(17)),
            ("a ".repeat(32_768), "b ".repeat(32_768)),
            ("a b ".repeat(16_384), "b a c ".repeat(11_000)),
            ("é".repeat(32_768), "é!".repeat(21_000)),
        ] {
            let began = Instant::now();
            let words = words(&before, &after);
            let took = began.elapsed();
            eprintln!("{} and {} bytes: {took:?}, {} pieces", before.len(), after.len(), words.len());
            assert!(took < Duration::from_secs(3), "{took:?}");
            rebuilt(&words, &before, &after).unwrap();
        }
    }

    fn rebuilt(words: &[Words], before: &str, after: &str) -> Result<(), TestCaseError> {
        let without = |kind: &str| -> String {
            words.iter().filter(|words| words.kind != kind).map(|words| words.text.as_str()).collect()
        };
        prop_assert_eq!(without("added"), before);
        prop_assert_eq!(without("removed"), after);
        Ok(())
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let text = prop_oneof!["[ab]{0,2}", "[ab ]{0,6}", "[基础ab\n]{0,6}"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..3).prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            let name = prop_oneof![Just("name"), Just("url"), Just("kind"), Just("x")].prop_map(ToOwned::to_owned);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(name, inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn any_document() -> impl Strategy<Value = Map<String, Value>> {
        let list = prop_oneof![
            prop::collection::vec("[a-d]".prop_map(Value::from), 0..4),
            prop::collection::vec(
                ("[a-d]", "[a-c ]{0,4}").prop_map(|(name, kind)| json!({"name": name, "kind": kind})),
                0..4
            ),
        ];
        let value = prop_oneof![any_value(), list.prop_map(Value::from)];
        prop::collection::btree_map("[p-s]", value, 0..4).prop_map(|members| members.into_iter().collect())
    }

    /// Without what counts as nothing.
    fn stripped(value: &Value) -> Value {
        match value {
            Value::Array(items) if items.is_empty() => Value::Null,
            Value::Array(items) => items.iter().map(stripped).collect(),
            Value::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| (name.clone(), stripped(value)));
                Value::Object(fields.filter(|(_, value)| !value.is_null()).collect())
            }
            other => other.clone(),
        }
    }

    proptest! {
        #[test]
        fn words_rebuild_both_sides(before in "[ab \n基础é.]{0,40}", after in "[ab \n基础é.]{0,40}") {
            rebuilt(&words(&before, &after), &before, &after)?;
        }

        #[test]
        fn words_of_any_text_rebuild_both_sides(before: String, after: String) {
            rebuilt(&words(&before, &after), &before, &after)?;
        }

        #[test]
        fn a_document_does_not_differ_from_itself(document in any_document()) {
            prop_assert_eq!(diff(&document, &document), vec![]);
        }

        #[test]
        fn exactly_the_members_that_differ_are_named(before in any_document(), after in any_document()) {
            let expected: Vec<String> = ["p", "q", "r", "s"].into_iter().filter(|name| {
                let value = |document: &Map<String, Value>| document.get(*name).map_or(Value::Null, stripped);
                value(&before) != value(&after)
            }).map(ToOwned::to_owned).collect();
            let found = diff(&before, &after);
            let mut named: Vec<String> = found.iter().map(|difference| difference.member.clone()).collect();
            named.dedup();
            named.sort();
            prop_assert_eq!(&named, &expected);
            let mut changed = changed_members(&before, &after);
            changed.sort();
            prop_assert_eq!(changed, expected);
            for difference in found.iter().filter(|difference| !difference.words.is_empty()) {
                let (before, after) = (difference.before.as_deref().unwrap(), difference.after.as_deref().unwrap());
                rebuilt(&difference.words, before, after)?;
            }
        }
    }
}
