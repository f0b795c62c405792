//! The gate: what clients of the last release rely on stays, or the CHANGELOG says that it goes.
//!
//! `openapi/released.json` is the description of the last release. Each breaking change has one line, and is declared by that
//! line, in backticks, under *Breaking* of the CHANGELOG's *Unreleased*. Named schemas are compared once each way, so a member
//! that goes is one line however many operations show it.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Map, Value, json};
use termbase::{app, tokens::Role};

/// Which way a value goes. A client must be able to read what it gets, and may go on sending what it always sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Answer,
    Request,
}

/// Where something stands: an operation's part or a schema, and a pointer below it.
#[derive(Clone)]
struct Place {
    head: String,
    pointer: String,
}

impl Place {
    fn of(head: String) -> Self {
        Place { head, pointer: String::new() }
    }

    fn below(&self, token: &str) -> Self {
        Place { head: self.head.clone(), pointer: format!("{}/{token}", self.pointer) }
    }
}

struct Gate<'d> {
    old: &'d Value,
    new: &'d Value,
    found: BTreeSet<String>,
    /// Pairs of named schemas that are done, or begun: a schema may lead back to itself.
    compared: BTreeSet<(Way, &'d str, &'d str)>,
}

/// The lines of all that breaks a client of `old` where `new` is served.
fn breaking(old: &Value, new: &Value) -> BTreeSet<String> {
    let mut gate = Gate { old, new, found: BTreeSet::new(), compared: BTreeSet::new() };
    for (path, item) in members(&old["paths"]) {
        for (method, operation) in members(item).filter(|(_, operation)| operation["operationId"].is_string()) {
            gate.operation(operation, &new["paths"][path][method]);
        }
    }
    gate.found
}

impl<'d> Gate<'d> {
    fn say(&mut self, place: &Place, what: &str) {
        let Place { head, pointer } = place;
        let pointer = if pointer.is_empty() { String::new() } else { format!("{pointer} ") };
        self.found.insert(format!("breaking: {head} {pointer}{what}"));
    }

    fn operation(&mut self, old: &'d Value, new: &'d Value) {
        let id = text(&old["operationId"]);
        let place = Place::of(id.to_owned());
        if new.is_null() {
            return self.gone(&place, old);
        }
        if old["operationId"] != new["operationId"] {
            self.say(&place, &format!("is called {}", text(&new["operationId"])));
        }
        // What an operation does not say, the whole description says for it; an empty list says that none is needed.
        let is_open = |description: &Value, operation: &Value| {
            let ways = operation.get("security").unwrap_or(&description["security"]);
            *ways == json!([]) || list(ways).any(|way| *way == json!({}))
        };
        let role = |operation: &Value| serde_json::from_value::<Role>(operation["x-role"].clone()).ok();
        if is_open(self.old, old) && !is_open(self.new, new) {
            self.say(&place, "needs a token");
        } else if let Some(needed) = role(new).filter(|needed| role(old).is_none_or(|had| had < *needed)) {
            self.say(&place, &format!("needs the role {needed}"));
        }
        self.parameters(id, old, new);
        self.body(id, &old["requestBody"], &new["requestBody"]);
        for (status, response) in members(&old["responses"]) {
            let place = Place::of(format!("{id} {status}"));
            match &new["responses"][status] {
                Value::Null => self.say(&place, "removed"),
                now => self.response(&place.head, response, now),
            }
        }
        // A client knows the classes of statuses (RFC 9110, section 15), and what an error or a redirect is; but what is
        // in a success it knows only where it is described.
        for (status, _) in members(&new["responses"]).filter(|(status, _)| status.starts_with('2')) {
            if old["responses"][status].is_null() {
                self.say(&Place::of(format!("{id} {status}")), "added");
            }
        }
    }

    /// What was deprecated in the last release was announced by it, and may go.
    fn gone(&mut self, place: &Place, old: &Value) {
        if old["deprecated"] != json!(true) {
            self.say(place, "removed");
        }
    }

    fn parameters(&mut self, id: &str, old: &'d Value, new: &'d Value) {
        let key = |parameter: &Value| format!("{id} {} {}", text(&parameter["in"]), text(&parameter["name"]));
        let find = |operation: &'d Value, wanted: &str| list(&operation["parameters"]).find(|one| key(one) == wanted);
        for parameter in list(&old["parameters"]) {
            let place = Place::of(key(parameter));
            match find(new, &place.head) {
                Some(now) => self.schema(Way::Request, &place, &parameter["schema"], &now["schema"]),
                None => self.gone(&place, parameter),
            }
        }
        for parameter in list(&new["parameters"]).filter(|parameter| parameter["required"] == json!(true)) {
            let place = Place::of(key(parameter));
            if find(old, &place.head).is_none_or(|before| before["required"] != json!(true)) {
                self.say(&place, "required");
            }
        }
    }

    fn body(&mut self, id: &str, old: &'d Value, new: &'d Value) {
        let place = Place::of(format!("{id} body"));
        if new["required"] == json!(true) && old["required"] != json!(true) {
            self.say(&place, "required");
        }
        self.content(Way::Request, &place.head, old, new);
    }

    fn response(&mut self, head: &str, old: &'d Value, new: &'d Value) {
        self.content(Way::Answer, head, old, new);
        for (name, header) in members(&old["headers"]) {
            let place = Place::of(format!("{head} header {name}"));
            match &new["headers"][name] {
                Value::Null => self.gone(&place, header),
                now => self.schema(Way::Answer, &place, &header["schema"], &now["schema"]),
            }
        }
    }

    fn content(&mut self, way: Way, head: &str, old: &'d Value, new: &'d Value) {
        for (kind, content) in members(&old["content"]) {
            let place = Place::of(format!("{head} {kind}"));
            match &new["content"][kind] {
                Value::Null => self.say(&place, "removed"),
                now => self.schema(way, &place, &content["schema"], &now["schema"]),
            }
        }
    }

    fn schema(&mut self, way: Way, place: &Place, old: &'d Value, new: &'d Value) {
        let mut place = place.clone();
        if let (Some(before), Some(now)) = (old["$ref"].as_str(), new["$ref"].as_str()) {
            if !self.compared.insert((way, before, now)) {
                return;
            }
            if before == now {
                let way = if way == Way::Answer { "answer" } else { "request" };
                place = Place::of(format!("{way} {}", before.rsplit('/').next().unwrap()));
            }
        }
        let (old, new) = (resolve(self.old, old), resolve(self.new, new));
        self.values(way, &place, old, new);
        if way == Way::Request {
            self.limits(&place, old, new);
        }
        for choice in ["oneOf", "anyOf", "allOf"] {
            if list(&old[choice]).count() != list(&new[choice]).count() {
                self.say(&place, &format!("{choice} changed"));
            }
            for (index, (before, now)) in list(&old[choice]).zip(list(&new[choice])).enumerate() {
                self.schema(way, &place.below(&format!("{choice}/{index}")), before, now);
            }
        }
        for (name, member) in members(&old["properties"]) {
            match &new["properties"][name] {
                Value::Null => self.gone(&place.below(name), member),
                now => self.schema(way, &place.below(name), member, now),
            }
        }
        let required = |schema: &'d Value| list(&schema["required"]).map(text).collect::<BTreeSet<_>>();
        let (before, now) = (required(old), required(new));
        match way {
            Way::Answer => before
                .difference(&now)
                .filter(|name| !new["properties"][**name].is_null())
                .for_each(|name| self.say(&place.below(name), "may be absent")),
            Way::Request => now.difference(&before).for_each(|name| self.say(&place.below(name), "required")),
        }
        for below in ["items", "additionalProperties"] {
            match (old[below].is_object(), new[below].is_object()) {
                (true, true) => self.schema(way, &place.below("*"), &old[below], &new[below]),
                // Whatever may stand there is more than before in an answer, and less than before in a request.
                (true, false) if way == Way::Answer => self.say(&place.below("*"), "may be anything"),
                (false, true) if way == Way::Request => self.say(&place.below("*"), "may no more be anything"),
                _ => {}
            }
        }
    }

    /// Types, formats and lists of values: every value of the narrower side must be one of the wider.
    fn values(&mut self, way: Way, place: &Place, old: &Value, new: &Value) {
        let (wide, narrow) = if way == Way::Answer { (old, new) } else { (new, old) };
        let (all, some) = (types(wide), types(narrow));
        let covered = |one: &&str| all.contains(one) || (*one == "integer" && all.contains("number"));
        if !all.is_empty() && (some.is_empty() || !some.iter().all(covered)) {
            self.say(place, &format!("type {} became {}", shown(&types(old)), shown(&types(new))));
        }
        for rule in ["format", "pattern"] {
            if !wide[rule].is_null() && wide[rule] != narrow[rule] {
                self.say(place, &format!("{rule} {} became {}", old[rule], new[rule]));
            }
        }
        let (what, whole) = if way == Way::Answer { ("added", "enum opened") } else { ("removed", "enum closed") };
        match (wide["enum"].as_array(), narrow["enum"].as_array()) {
            (Some(_), None) => self.say(place, whole),
            (Some(known), Some(values)) => {
                for value in values.iter().filter(|value| !known.contains(value)) {
                    self.say(place, &format!("value {value} {what}"));
                }
            }
            (None, _) => {}
        }
    }

    /// What may be sent. In an answer a limit is a promise that nobody's program depends on.
    fn limits(&mut self, place: &Place, old: &Value, new: &Value) {
        const LEAST: [&str; 5] = ["minLength", "minItems", "minimum", "exclusiveMinimum", "minProperties"];
        const MOST: [&str; 5] = ["maxLength", "maxItems", "maximum", "exclusiveMaximum", "maxProperties"];
        for rule in LEAST.into_iter().chain(MOST) {
            let Some(now) = new[rule].as_f64() else { continue };
            let is_wide = |before: f64| if LEAST.contains(&rule) { now <= before } else { now >= before };
            if !old[rule].as_f64().is_some_and(is_wide) {
                self.say(place, &format!("{rule} {} became {}", old[rule], new[rule]));
            }
        }
        for rule in ["const", "multipleOf", "uniqueItems"] {
            if !new[rule].is_null() && new[rule] != json!(false) && new[rule] != old[rule] {
                self.say(place, &format!("{rule} {} became {}", old[rule], new[rule]));
            }
        }
        let closed = |schema: &Value| schema["additionalProperties"] == json!(false);
        if closed(new) && !closed(old) {
            self.say(place, "other members refused");
        }
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn resolve<'d>(description: &'d Value, mut value: &'d Value) -> &'d Value {
    while let Some(reference) = value["$ref"].as_str() {
        value = description.pointer(reference.trim_start_matches('#')).unwrap();
    }
    value
}

/// None where any will do.
fn types(schema: &Value) -> BTreeSet<&str> {
    match &schema["type"] {
        Value::Array(names) => names.iter().map(text).collect(),
        name => name.as_str().into_iter().collect(),
    }
}

fn shown(types: &BTreeSet<&str>) -> String {
    if types.is_empty() { "any".into() } else { types.iter().copied().collect::<Vec<_>>().join("|") }
}

/// The lines in backticks under *Breaking* of the newest version's changes.
fn declared(changelog: &str) -> BTreeSet<String> {
    let unreleased = changelog.split("\n## ").find(|section| section.starts_with("Unreleased")).unwrap_or_default();
    let breaking = unreleased.split("\n### ").find(|section| section.starts_with("Breaking")).unwrap_or_default();
    let quoted = breaking.split('`').skip(1).step_by(2);
    quoted.filter(|quoted| quoted.starts_with("breaking: ")).map(ToOwned::to_owned).collect()
}

#[test]
fn what_breaks_clients_of_the_last_release_is_declared() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let released: Value = serde_json::from_str(&read("openapi/released.json")).unwrap();
    let now = serde_json::to_value(app::describe()).unwrap();
    let (found, declared) = (breaking(&released, &now), declared(&read("CHANGELOG.md")));
    let lines =
        |lines: Vec<&String>| lines.into_iter().map(|line| format!("- `{line}`")).collect::<Vec<_>>().join("\n");
    let missing = lines(found.difference(&declared).collect());
    assert!(
        missing.is_empty(),
        "declare these under Unreleased, Breaking, in CHANGELOG.md, or take them back:\n{missing}"
    );
    let idle = lines(declared.difference(&found).collect());
    assert!(idle.is_empty(), "CHANGELOG.md declares what does not break:\n{idle}");
}

/// Changes a copy of the description.
fn changed(at: &str, change: impl FnOnce(&mut Value)) -> Vec<String> {
    let old = serde_json::to_value(app::describe()).unwrap();
    let mut new = old.clone();
    change(new.pointer_mut(at).unwrap_or_else(|| panic!("nothing at {at}")));
    breaking(&old, &new).into_iter().collect()
}

fn without(name: &str) -> impl FnOnce(&mut Value) {
    move |value| {
        value.as_object_mut().unwrap().remove(name).unwrap();
    }
}

fn with(name: &'static str, value: Value) -> impl FnOnce(&mut Value) {
    move |place| place[name] = value
}

#[test]
fn each_breaking_change_is_found() {
    let schemas = "/components/schemas";
    let push = |value: Value| move |list: &mut Value| list.as_array_mut().unwrap().push(value);
    let read_term = "/paths/~1terms~1{slug}/get";
    for (found, line) in [
        (changed(&format!("{schemas}/TermCard/properties"), without("acronyms")), "answer TermCard /acronyms removed"),
        (
            changed(&format!("{schemas}/TermPage/properties/version"), with("type", json!("string"))),
            "answer TermPage /version type integer became string",
        ),
        (
            changed(&format!("{schemas}/TermStatus/enum"), |values| {
                values.as_array_mut().unwrap().retain(|value| value != "deprecated");
            }),
            "request TermStatus value \"deprecated\" removed",
        ),
        (changed(&format!("{read_term}/responses"), without("410")), "read_term 410 removed"),
        (changed(&format!("{schemas}/TermCreate/required"), push(json!("body"))), "request TermCreate /body required"),
        (changed("/paths/~1terms~1{slug}", without("get")), "read_term removed"),
        (changed(read_term, with("operationId", json!("get_term"))), "read_term is called get_term"),
        (changed(read_term, with("security", json!([{"bearer": []}]))), "read_term needs a token"),
        (changed("/paths/~1terms/post", with("x-role", json!("admin"))), "create_term needs the role admin"),
        (changed(&format!("{read_term}/responses/200/headers"), without("ETag")), "read_term 200 header ETag removed"),
        (
            changed("/paths/~1terms/get/parameters", push(json!({"in": "query", "name": "q", "required": true}))),
            "list_terms query q required",
        ),
        (
            changed("/paths/~1terms/get/parameters", |list| {
                list.as_array_mut().unwrap().retain(|one| one["name"] != "limit");
            }),
            "list_terms query limit removed",
        ),
        (
            changed("/paths/~1terms~1{slug}/patch/requestBody/content", |content| {
                let json = content.as_object_mut().unwrap().remove("application/json").unwrap();
                content["application/merge-patch+json"] = json;
            }),
            "update_term body application/json removed",
        ),
        (
            changed(&format!("{schemas}/TermPage/properties/name"), with("type", json!(["string", "null"]))),
            "answer TermPage /name type string became null|string",
        ),
        (
            changed(&format!("{schemas}/TermStatus/enum"), push(json!("hidden"))),
            "answer TermStatus value \"hidden\" added",
        ),
        (
            changed(&format!("{schemas}/TermCreate/properties/name"), with("maxLength", json!(10))),
            "request TermCreate /name maxLength 200 became 10",
        ),
        (
            changed(&format!("{schemas}/TermList/required"), |list| {
                list.as_array_mut().unwrap().retain(|one| one != "total");
            }),
            "answer TermList /total may be absent",
        ),
    ] {
        assert_eq!(found, [format!("breaking: {line}")]);
    }
}

#[test]
fn what_only_adds_breaks_nothing() {
    let schemas = "/components/schemas";
    let operation = json!({"operationId": "read_weather", "responses": {"200": {"description": "Fine."}}});
    let push = |value: Value| move |list: &mut Value| list.as_array_mut().unwrap().push(value);
    for found in [
        changed("/paths", with("/weather", json!({ "get": operation }))),
        changed(
            "/paths/~1terms/get/parameters",
            push(json!({"in": "query", "name": "q", "schema": {"type": "string"}})),
        ),
        changed(&format!("{schemas}/TermPage/properties"), with("mood", json!({"type": "string"}))),
        changed(&format!("{schemas}/TermCreate/properties"), with("mood", json!({"type": "string"}))),
        changed(&format!("{schemas}/TermCreate/properties/name"), with("maxLength", json!(500))),
        changed("/paths/~1terms/get/responses", with("429", json!({"description": "Too much."}))),
        changed("/info", with("description", json!("Said better."))),
    ] {
        assert_eq!(found, [""; 0]);
    }
}

#[test]
fn what_was_deprecated_in_the_last_release_may_go() {
    let mut old = serde_json::to_value(app::describe()).unwrap();
    let new = {
        let mut new = old.clone();
        without("get")(&mut new["paths"]["/terms"]);
        without("acronyms")(&mut new["components"]["schemas"]["TermCard"]["properties"]);
        new
    };
    assert_eq!(breaking(&old, &new).len(), 2);
    old["paths"]["/terms"]["get"]["deprecated"] = json!(true);
    old["components"]["schemas"]["TermCard"]["properties"]["acronyms"]["deprecated"] = json!(true);
    assert_eq!(breaking(&old, &new), BTreeSet::new());
}

#[test]
fn a_schema_that_leads_to_itself_is_compared_once() {
    let node = |kind: &str| {
        let members =
            json!({"name": {"type": kind}, "children": {"type": "array", "items": {"$ref": "#/schemas/Node"}}});
        let content = json!({"application/json": {"schema": {"$ref": "#/schemas/Node"}}});
        let get = json!({"operationId": "read_tree", "responses": {"200": {"content": content}}});
        json!({"paths": {"/tree": {"get": get}}, "schemas": {"Node": {"type": "object", "properties": members}}})
    };
    let found: Vec<String> = breaking(&node("string"), &node("integer")).into_iter().collect();
    assert_eq!(found, ["breaking: answer Node /name type string became integer"]);
}

#[test]
fn what_breaks_is_declared_by_its_line_under_the_next_version() {
    let line = "breaking: list_terms removed";
    let changelog = format!(
        "# Changelog\n\n## Unreleased\n\n### Breaking\n\n- `{line}`: nobody listed.\n- `x`\n\n### Added\n\n- `breaking: not here`\n\n## 0.1.0\n\n### Breaking\n\n- `breaking: old`\n"
    );
    assert_eq!(declared(&changelog), BTreeSet::from([line.to_owned()]));
}
