//! `docs/editing.md`, run as it stands: each command of the page, in its order, by bash against the real service; what
//! comes out is compared with what the page shows, line by line.

use std::{fs, os::unix::fs::symlink, path::Path, process::Stdio};

use tokio::process::Command;

use crate::{
    cluster::Folder,
    support::{PROGRAM, TestApp},
};

const PAGE: &str = include_str!("../../docs/editing.md");
/// Where the page's service is.
const ADDRESS: &str = "http://127.0.0.1:8080";
/// All that a reader needs to have.
const PROGRAMS: [&str; 4] = ["bash", "curl", "grep", "sed"];
/// Stands in the output before each command's.
const MARK: char = '\u{1e}';

/// A command of the page, and what it shows.
struct Step {
    command: String,
    shown: Vec<&'static str>,
    line: usize,
}

/// `$ ` begins a command, `> ` goes on with it; all else is what comes out.
fn steps(page: &'static str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_console = false;
    for (number, line) in page.lines().enumerate() {
        match (is_console, line) {
            (false, _) => is_console = line == "```console",
            (true, "```") => is_console = false,
            (true, _) => match (line.strip_prefix("$ "), line.strip_prefix("> "), steps.last_mut()) {
                (Some(command), _, _) => {
                    steps.push(Step { command: command.to_owned(), shown: Vec::new(), line: number + 1 });
                }
                (_, Some(more), Some(step)) if step.shown.is_empty() => step.command.extend(["\n", more]),
                (_, _, Some(step)) => step.shown.push(line),
                (_, _, None) => panic!("line {}: a console that begins with no command", number + 1),
            },
        }
    }
    steps
}

/// Whether a line is what is shown: `…` is anything within it.
fn fits(shown: &str, line: &str) -> bool {
    let mut pieces = shown.split('…');
    let Some(mut rest) = line.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, between)) = pieces.split_last() else { return rest.is_empty() };
    for piece in between {
        let Some((_, after)) = rest.split_once(piece) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// Whether lines are what is shown: a line of `…` alone is any number of them.
fn all_fit(shown: &[&str], lines: &[&str]) -> bool {
    match (shown, lines) {
        ([], _) => lines.is_empty(),
        (["…", shown @ ..], _) => (0..=lines.len()).any(|skipped| all_fit(shown, &lines[skipped..])),
        ([_, ..], []) => false,
        ([first, shown @ ..], [line, lines @ ..]) => fits(first, line) && all_fit(shown, lines),
    }
}

/// A folder with nothing in it but the programs that the page may use.
fn programs(folder: &Path) -> String {
    let path = std::env::var_os("PATH").unwrap();
    for name in PROGRAMS {
        let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file());
        symlink(found.unwrap_or_else(|| panic!("{name} is not installed")), folder.join(name)).unwrap();
    }
    symlink(PROGRAM, folder.join("termbase")).unwrap();
    folder.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_page_for_editors_shows_what_really_happens() {
    let app = TestApp::with_samples().await;
    let folder = Folder::new("editing");
    let bin = folder.root.join("bin");
    fs::create_dir(&bin).unwrap();
    let steps = steps(PAGE);
    let marked = |step: &Step| format!("printf '\\n{MARK}\\n'\n{}\n", step.command.replace(ADDRESS, &app.address));
    let script: String = steps.iter().map(marked).collect();
    let output = Command::new("bash")
        .args(["-c", &format!("exec 2>&1\n{script}")])
        .env_clear()
        .env("PATH", programs(&bin))
        .env("DATABASE_URL", app.database.url())
        .current_dir(&folder.root)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let output = String::from_utf8(output.stdout).unwrap().replace('\r', "").replace(&app.address, ADDRESS);
    let outputs: Vec<&str> = output.split(MARK).skip(1).collect();
    assert_eq!(outputs.len(), steps.len(), "{output}");
    for (step, output) in steps.iter().zip(outputs) {
        let lines: Vec<&str> = output.trim_matches('\n').lines().collect();
        let Step { command, shown, line } = step;
        assert!(
            all_fit(shown, &lines),
            "docs/editing.md, line {line}:\n{command}\nshows\n{shown:#?}\nand it is\n{lines:#?}"
        );
    }
}

#[test]
fn what_is_left_out_of_a_page_is_anything_and_what_is_shown_is_not() {
    for (shown, line, expected) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a…", "ab", true),
        ("…b", "ab", true),
        ("a…c…e", "abcde", true),
        ("a…c…e", "abde", false),
        ("…", "", true),
        ("a…a", "a", false),
    ] {
        assert_eq!(fits(shown, line), expected, "{shown} {line}");
    }
    assert!(all_fit(&["a", "…", "d"], &["a", "b", "c", "d"]) && all_fit(&["a", "…"], &["a"]));
    assert!(!all_fit(&["a", "…", "d"], &["a", "b"]) && !all_fit(&["a"], &["a", "b"]) && !all_fit(&[], &["a"]));
}
