//! The `nginx.conf` of an export, and the maps that it includes.

use std::collections::BTreeMap;

use super::{Copy, PagesError, folder::Folder};
use crate::{
    changes::{Keys, Position, Seen},
    error::{Error, Problem},
    state::HttpSettings,
};

const TEMPLATE: &str = include_str!("nginx.conf");

/// The variable of nginx that has the path of a request.
const INSTANCE: &str = "$termbase_instance";

/// What nginx adds to each entry of a map: two pointers, and the length.
const ENTRY_BYTES: usize = 24;
/// A larger bucket costs nothing, and lets nginx find a size for the whole at once.
const BUCKET_BYTES_MIN: usize = 512;
const MAP_SIZE_MIN: usize = 2048;

/// Writes all that nginx needs.
///
/// # Errors
/// [`PagesError::Unquotable`]; a file system that refuses.
pub(super) fn write(folder: &Folder, http: &HttpSettings, position: Position, copy: &Copy) -> Result<(), PagesError> {
    let gone: BTreeMap<String, String> = copy.gone.iter().map(|address| (address.clone(), "1".to_owned())).collect();
    let maps =
        [("queries.map", &copy.queries), ("links.map", &copy.links), ("moved.map", &copy.moved), ("gone.map", &gone)];
    for (name, map) in maps {
        let lines: Vec<String> =
            map.iter().map(|(from, to)| format!("'{}' '{}';\n", quoted(from), quoted(to))).collect();
        folder.write(name, &lines.concat())?;
    }
    folder.write("public/.moved", "")?;
    let entries = maps.iter().map(|(_, map)| map.len()).max().unwrap_or_default();
    let longest = maps.iter().flat_map(|(_, map)| map.keys()).map(String::len).max().unwrap_or_default();
    let cache_control = http.cache_control.to_str().ok().filter(|value| !value.contains('$'));
    let seen = Seen { position, keys: Keys::default() };
    let no_query = Problem {
        detail: "This is a copy of the glossary as files, which answers no queries; leave the parameters out.".into(),
        ..Error::NoAddress.problem(INSTANCE)
    };
    let values = [
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        // It stands in a comment, which ends with its line.
        ("folder", folder.target().display().to_string().replace(char::is_control, "?")),
        ("position", position.to_string()),
        ("map_hash_max_size", (2 * entries).max(MAP_SIZE_MIN).to_string()),
        ("map_hash_bucket_size", (longest + ENTRY_BYTES).max(BUCKET_BYTES_MIN).next_power_of_two().to_string()),
        ("cache_control", quoted(cache_control.ok_or(PagesError::Unquotable)?)),
        ("method_not_allowed", problem(&Error::MethodNotAllowed { allow: "GET, HEAD, OPTIONS".into() })?),
        ("no_query", body(&no_query)?),
        ("no_entity", problem(&Error::NoEntity { suggestions: vec![], is_searched: true, seen: seen.clone() })?),
        ("gone", problem(&Error::Gone { seen })?),
        ("no_address", problem(&Error::NoAddress)?),
    ];
    let conf =
        values.iter().fold(TEMPLATE.to_owned(), |conf, (name, value)| conf.replace(&format!("{{{{{name}}}}}"), value));
    folder.write("nginx.conf", &conf)
}

/// What the service would answer, for whichever path.
fn problem(error: &Error) -> Result<String, PagesError> {
    body(&error.problem(INSTANCE))
}

fn body(problem: &Problem) -> Result<String, PagesError> {
    Ok(quoted(&serde_json::to_string(problem).map_err(Error::internal)?))
}

/// As it stands between single quotes. (A `$` would begin a variable; there is no way to write one.)
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}
