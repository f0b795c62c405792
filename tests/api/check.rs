//! `termbase check`, and the files that it is for: what is wrong with them is told with its place, and nothing else is.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;
use termbase::{
    editorial::Mode,
    tokens::Author,
    transfer::{
        export_yaml::export_yaml,
        import::{self, Format, Plan, Source},
        schema, yaml,
    },
};

use crate::support::{PROGRAM, TestApp};

/// What the program prints, what it says at the end, and whether it succeeds.
fn check(folder: &Path, paths: &[&str]) -> (Vec<String>, String, bool) {
    let output = Command::new(PROGRAM).arg("check").args(paths).current_dir(folder).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout).lines().map(ToOwned::to_owned).collect(), text(output.stderr), output.status.success())
}

/// What the lines begin with, up to the text for people.
fn places(lines: &[String]) -> Vec<String> {
    let place = |line: &String| {
        let parts: Vec<&str> = line.splitn(6, ": ").collect();
        let told = if parts[1] == "hint" { 3 } else { 2 };
        parts[..told].join(": ")
    };
    lines.iter().map(place).collect()
}

const FAULTY: &str = r#"category:
  slug: basics
  name: Basics
  parent: basics
terms:
  - slug: model
    name: Model
    definition: A thing.
    body: |
      See [a](/terms/modell), [b](/terms/model).

      And [c](/companies/nobody), [d][ref].

      [ref]: /categories/basicz
    status: published
    related: [draft, part]
    broader: [part]
    sources: [{ title: S, url: "https://example.org" }]
  - slug: part
    name: Part
    definition: A part.
    status: published
    related: [model]
    broader:
      - whole
    sources: [{ title: S, url: "https://example.org" }]
  - slug: whole
    name: Whole
    definition: " Spaces "
    broader: [other]
  - slug: other
    name: Other
    definition: Other.
    broader: [third]
  - slug: third
    name: Third
    definition: Third.
    broader: [other]
  - slug: draft
    name: MODEL
    definition: Draft.
  - slug: draft
    name: Twice
    definition: Twice.
    status: published
    replaced_by: [twise, model]
  - name: Loose
    definition: &x Loose.
    category: basics
    status: deprecated
    sources: [{ title: S, url: "https://example.org", year: 3 }]
  - definition: Nameless.
    name:
    sttus: draft
    aliases:
      - { name: é, kind: nickname }
"#;

#[test]
fn every_planted_fault_is_told_at_its_place_and_nothing_else() {
    let folder = own_folder();
    fs::write(folder.join("a.yaml"), FAULTY).unwrap();
    let line = r#"{"kind":"company","document":{"name":"C","country":"XX"}}"#;
    fs::write(folder.join("b.ndjson"), format!("\n{line}\n")).unwrap();
    fs::write(folder.join("c.txt"), "not read").unwrap();
    let (lines, summary, succeeded) = check(&folder, &["."]);
    assert!(!succeeded);
    let expected = [
        "./a.yaml:4:11: itself",
        "./a.yaml:10:15: dead_link",
        "./a.yaml:12:15: dead_link",
        "./a.yaml:14:14: dead_link",
        "./a.yaml:29:17: surrounding_space",
        "./a.yaml:34:14: cycle",
        "./a.yaml:38:14: cycle",
        "./a.yaml:40:11: name_taken",
        "./a.yaml:42:5: missing_source",
        "./a.yaml:42:11: slug_taken",
        "./a.yaml:46:19: unknown_reference",
        "./a.yaml:47:5: replacement_required",
        "./a.yaml:48:17: anchor",
        "./a.yaml:51:55: unknown_member",
        "./a.yaml:53:5: required",
        "./a.yaml:54:5: unknown_member",
        "./a.yaml:56:26: unknown_value",
        "./b.ndjson:2:1: unknown_country",
        "./a.yaml:16:15: hint: related_unpublished",
        "./a.yaml:16:22: hint: related_broader",
        "./a.yaml:23:15: hint: related_broader",
        "./a.yaml:23:15: hint: related_twice",
    ];
    assert_eq!(places(&lines), expected);
    assert_eq!(summary.lines().count(), 1, "{summary}");
    let again = check(&folder, &["a.yaml", "b.ndjson"]).0;
    assert_eq!(again.len(), lines.len());
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_a_file_says_of_another_is_looked_for_in_all_of_them() {
    let folder = own_folder();
    let term = |slug: &str, more: &str| {
        format!("terms:\n  - {{ slug: {slug}, name: {slug}, definition: x, category: c{more} }}\n")
    };
    fs::write(folder.join("a.yaml"), term("a", ", related: [b]")).unwrap();
    fs::write(folder.join("b.yml"), term("b", "")).unwrap();
    fs::write(folder.join("c.yaml"), "category: { slug: c, name: C }\n").unwrap();
    let (lines, summary, succeeded) = check(&folder, &["."]);
    assert!(succeeded, "{lines:?}");
    assert_eq!(lines, [""; 0]);
    assert!(summary.contains("files: 3"), "{summary}");
    let (lines, _, succeeded) = check(&folder, &["a.yaml"]);
    assert!(!succeeded);
    assert_eq!(places(&lines), ["a.yaml:2:50: unknown_reference", "a.yaml:2:63: unknown_reference"]);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_file_that_ends_early_does_not_make_others_wrong() {
    let folder = own_folder();
    fs::write(folder.join("a.yaml"), "terms:\n  - { slug: a, name: A, definition: x, category: b }\n").unwrap();
    fs::write(folder.join("b.yaml"), "category:\n  slug: \"b\n").unwrap();
    let (lines, summary, succeeded) = check(&folder, &["."]);
    assert!(!succeeded);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("./b.yaml:"), "{lines:?}");
    assert!(summary.contains("can't be read to its end"), "{summary}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_samples_have_no_mistakes() {
    let (lines, summary, succeeded) = check(Path::new(env!("CARGO_MANIFEST_DIR")), &["samples"]);
    assert!(succeeded, "{lines:?} {summary}");
}

#[test]
fn the_schema_beside_the_samples_is_the_one_of_the_code_and_the_samples_are_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let now = schema::schema();
    crate::contract::assert_committed(&folder.join(schema::FILE_NAME), &now);
    let parsed: Value = serde_json::from_str(&now).unwrap();
    let validator = jsonschema::validator_for(&parsed).unwrap();
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let file = yaml::File::read(&fs::read_to_string(&path).unwrap());
            assert_eq!(file.flaws, []);
            let errors: Vec<String> = validator.iter_errors(&file.value()).map(|error| error.to_string()).collect();
            assert_eq!(errors, [""; 0], "{}", path.display());
            names.insert(path);
        }
    }
    assert!(!names.is_empty());
    for wrong in [
        r#"{"terms":[{"name":"A","definition":"b","sttus":"draft"}]}"#,
        r#"{"terms":[{"name":"A"}]}"#,
        r#"{"category":{"slug":"A b","name":"A"}}"#,
        r#"{"term":[]}"#,
    ] {
        assert!(!validator.is_valid(&serde_json::from_str(wrong).unwrap()), "{wrong}");
    }
}

#[actix_web::test]
async fn what_an_export_writes_has_no_mistakes_and_changes_nothing_when_it_comes_back() {
    let app = TestApp::with_samples().await;
    let folder = own_folder();
    let exported = export_yaml(&app.state, &folder).await.unwrap();
    assert!(exported.terms > 0);
    let (lines, summary, succeeded) = check(&folder, &["."]);
    assert!(succeeded, "{lines:?} {summary}");
    let yaml = exported.files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let sources: Vec<Source> = yaml
        .map(|path| {
            let file = fs::File::open(path).unwrap();
            Source { name: path.display().to_string(), file, format: Format::Yaml }
        })
        .collect();
    for mode in [Mode::Upsert, Mode::Replace] {
        let plan = Plan { mode, dry_run: false };
        let author = Author::program("test");
        let report = import::import(&app.state, &author, None, plan, &sources, &mut |_| {}).await.unwrap();
        assert!(report.mistakes.is_empty());
        assert!(report.counts.keys().all(|(_, what)| what.is_none()), "{mode:?}");
    }
    fs::remove_dir_all(folder).unwrap();
}

/// An empty folder of this test's own.
fn own_folder() -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("termbase-check-{}", uuid::Uuid::now_v7()));
    fs::create_dir(&folder).unwrap();
    folder
}
