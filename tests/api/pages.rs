//! `termbase export --static`: the public pages as files. (What nginx makes of them is `tests/site/static`'s to say.)

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::json;
use termbase::{
    site::SiteSettings,
    state::HttpSettings,
    tokens::Role,
    transfer::pages::{self, PagesError, Written},
};
use tokio::{runtime::Handle, task::block_in_place};

use crate::{
    cluster::Folder,
    desk::{self, Desk, draft, published},
    support::{Content, TestApp, http_settings, term},
};

async fn export(app: &TestApp, folder: &Path) -> Result<Written, PagesError> {
    pages::write(&app.state, folder, &mut |_, _| {}).await
}

/// The files of the folder `public`, by their names in it; those that are compressed are left out.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.join("public")];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(inner).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder.join("public")).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|ending| ending != "gz") && name != ".moved" {
                files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    files
}

/// The entries of a map of nginx's.
fn map(folder: &Path, name: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(folder.join(name)).unwrap();
    let entry = |line: &str| {
        let (from, to) = line.strip_prefix('\'').unwrap().strip_suffix("';").unwrap().split_once("' '").unwrap();
        (from.to_owned(), to.to_owned())
    };
    text.lines().map(entry).collect()
}

#[tokio::test]
async fn each_file_has_the_bytes_that_the_service_answers() {
    let app = TestApp::start(Content::Samples, http_settings()).await;
    let folder = Folder::new("pages");
    let copy = folder.root.join("copy");
    let written = export(&app, &copy).await.unwrap();
    let files = files(&copy);
    assert_eq!(files.len(), written.pages);
    for (name, bytes) in &files {
        let (stem, ending) = name.rsplit_once('.').unwrap();
        let address = match (stem, ending) {
            ("index", _) => "/".to_owned(),
            (stem, "json" | "html") if !stem.starts_with("openapi") => format!("/{stem}"),
            _ => format!("/{name}"),
        };
        let answer = app.get(&address).await;
        assert_eq!((answer.status.as_u16(), &answer.bytes), (200, bytes), "{address}");
        if let Some(position) = answer.headers.get("termbase-position") {
            assert_eq!(position.to_str().unwrap(), written.position.to_string(), "{address}");
        }
    }
    for address in ["/terms", "/categories", "/companies"] {
        for item in app.get(address).await.json()["items"].as_array().unwrap() {
            let (path, slug) = (address.trim_start_matches('/'), item["slug"].as_str().unwrap());
            assert!(files.contains_key(&format!("{path}/{slug}.json")), "{slug}");
            assert!(path != "terms" || files.contains_key(&format!("terms/{slug}.jsonld")), "{slug}");
        }
    }
}

#[tokio::test]
async fn a_compressed_file_is_what_the_service_compresses() {
    let app = TestApp::start(Content::Samples, http_settings()).await;
    let folder = Folder::new("zipped");
    export(&app, &folder.root.join("copy")).await.unwrap();
    let zipped = fs::read(folder.root.join("copy/public/terms.json.gz")).unwrap();
    let answer = app.request(reqwest::Method::GET, "/terms", &[("accept-encoding", "gzip")]).await;
    assert_eq!((answer.header("content-encoding"), &answer.bytes), ("gzip", &zipped));
}

#[tokio::test]
async fn the_pages_of_a_list_follow_one_another() {
    let app = desk::glossary().await;
    let terms: Vec<_> = (0..45).map(|number| term(&published(&format!("w{number}")))).collect();
    app.write(terms).await.unwrap();
    let folder = Folder::new("lists");
    let copy = folder.root.join("copy");
    export(&app, &copy).await.unwrap();
    let (files, queries) = (files(&copy), map(&copy, "queries.map"));
    let links = map(&copy, "links.map");
    let (mut address, mut shown) = ("/terms".to_owned(), 0);
    loop {
        let name = queries.get(&address).map_or("terms.json".to_owned(), |name| format!("{name}.json"));
        let answer = app.get(&address).await;
        assert_eq!(answer.bytes, files[&name], "{address}");
        shown += answer.json()["items"].as_array().unwrap().len();
        let Some(link) = links.get(&address) else { break };
        assert_eq!(answer.header("link"), link);
        address = link.strip_prefix('<').unwrap().split_once('>').unwrap().0.to_owned();
    }
    // And those of `a`, `b` and `d`.
    assert_eq!(shown, 48);
    // The rest of a category's terms is a list of its own.
    let rest = app.get("/categories/c").await.json()["terms"]["rest"].as_str().unwrap().to_owned();
    assert_eq!(app.get(&rest).await.bytes, files[&format!("{}.json", queries[&rest])]);
}

#[tokio::test]
async fn what_was_renamed_leads_on_and_what_was_deleted_is_gone() {
    let app = desk::glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.post("/terms", &draft("hidden")).await.ok();
    editor.patch("/terms/hidden", &json!({"slug": "hidden-still"})).await.ok();
    editor.patch("/terms/a", &json!({"slug": "z"})).await.ok();
    editor.patch("/terms/b", &json!({"slug": "y"})).await.ok();
    let ids = ["/terms/z", "/terms/y"].map(async |path| app.get(path).await.json()["id"].as_str().unwrap().to_owned());
    let [z, y] = ids;
    let (z, y) = (z.await, y.await);
    editor.delete("/terms/y").await;
    let folder = Folder::new("moved");
    let copy = folder.root.join("copy");
    let written = export(&app, &copy).await.unwrap();
    let (moved, gone) = (map(&copy, "moved.map"), map(&copy, "gone.map"));
    assert_eq!((written.moved, written.gone), (moved.len(), gone.len()));
    assert_eq!((moved["/terms/a"].as_str(), moved[&format!("/terms/{z}")].as_str()), ("/terms/z", "/terms/z"));
    assert_eq!(gone.into_keys().collect::<Vec<_>>(), [format!("/terms/{y}"), "/terms/b".into(), "/terms/y".into()]);
    let files = files(&copy);
    assert!(files.contains_key("terms/z.json") && !files.contains_key("terms/a.json"));
    let text = fs::read_to_string(copy.join("moved.map")).unwrap();
    assert!(!text.contains("hidden") && files.keys().all(|name| !name.contains("hidden")), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_meanwhile_is_in_no_file() {
    let app = desk::glossary().await;
    let before = app.get("/terms").await;
    let folder = Folder::new("meanwhile");
    let copy = folder.root.join("copy");
    let mut writes = 0;
    let mut tell = |_, _| {
        writes += 1;
        let new = vec![term(&published(&format!("new-{writes}")))];
        block_in_place(|| Handle::current().block_on(app.write(new))).unwrap();
    };
    let written = pages::write(&app.state, &copy, &mut tell).await.unwrap();
    assert_eq!(written.position.to_string(), before.header("termbase-position"));
    let files = files(&copy);
    assert_eq!((files["terms.json"].as_slice(), written.pages), (before.bytes.as_slice(), files.len()));
    assert!(writes > 10 && files.keys().all(|name| !name.contains("new-")));
}

#[tokio::test]
async fn without_a_site_there_is_neither_sitemap_nor_feed_in_it() {
    let app = TestApp::start(Content::Samples, HttpSettings { site: SiteSettings::default(), ..http_settings() }).await;
    let folder = Folder::new("no-site");
    let copy = folder.root.join("copy");
    export(&app, &copy).await.unwrap();
    let files = files(&copy);
    assert!(!files.contains_key("sitemap.xml") && !files.contains_key("feed.atom") && files.contains_key("terms.json"));
}

#[tokio::test]
async fn only_an_export_is_replaced() {
    let app = desk::glossary().await;
    let folder = Folder::new("replaced");
    let copy = folder.root.join("copy");
    export(&app, &copy).await.unwrap();
    fs::write(copy.join("run/nginx.pid"), "1").unwrap();
    Desk::of(&app, Role::Editor).await.patch("/terms/a", &json!({"slug": "z"})).await.ok();
    export(&app, &copy).await.unwrap();
    let files = files(&copy);
    assert!(files.contains_key("terms/z.json") && !files.contains_key("terms/a.json"));
    assert!(copy.join("run/nginx.pid").exists());

    let own = folder.root.join("own");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("thesis.txt"), "All there is of it.").unwrap();
    let error = export(&app, &own).await.err().unwrap();
    assert!(matches!(error, PagesError::Foreign(_)) && error.to_string().contains("termbase.json"), "{error}");
    assert!(own.join("thesis.txt").exists());
    // Nothing is left beside them.
    let mut left: Vec<_> = fs::read_dir(&folder.root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["copy", "own"]);
}

#[tokio::test]
async fn an_export_that_fails_leaves_the_one_before() {
    let app = desk::glossary().await;
    let folder = Folder::new("failed");
    let copy = folder.root.join("copy");
    export(&app, &copy).await.unwrap();
    let http = HttpSettings { cache_control: "max-age=$age".parse().unwrap(), ..http_settings() };
    let app = TestApp::start(Content::Samples, http).await;
    let error = export(&app, &copy).await.err().unwrap();
    assert!(error.to_string().contains("TERMBASE_CACHE_CONTROL"), "{error}");
    assert!(files(&copy).contains_key("terms/a.json"));
    assert_eq!(fs::read_dir(&folder.root).unwrap().count(), 1);
}
