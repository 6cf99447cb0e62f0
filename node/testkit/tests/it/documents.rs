//! Paths that documents name in backticks must exist: a document that points nowhere is worse than none.
//!
//! Not here: links to other sites.

use std::collections::BTreeSet;

use super::tree::{paths, sources};
use super::{Finding, assert_none};

/// Endings by which a name without a folder is still a file of this repository.
const OWN_ENDINGS: &[&str] = &[".sh", ".rs"];

/// Returns the paths of the repository that a document names and that do not exist.
fn findings(document: &str, text: &str, files: &BTreeSet<String>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for name in code_spans(line).filter(|name| is_repository_path(name, files)) {
            if !exists(document, name, files) {
                found.push(Finding::at_line(document, index + 1, format!("`{name}` does not exist")));
            }
        }
    }
    found
}

/// Returns what stands between single backticks.
fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').enumerate().filter(|(index, _)| index % 2 == 1).map(|(_, span)| span)
}

/// Returns whether a span means a file or a folder of this repository: it consists of path characters, and either
/// begins with a folder of the root or has an ending that only our own files have.
fn is_repository_path(span: &str, files: &BTreeSet<String>) -> bool {
    let path_characters = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    if !span.chars().all(path_characters) {
        return false;
    }
    let span = span.strip_prefix("./").unwrap_or(span);
    match span.split_once('/') {
        Some((first, _)) => files.iter().any(|file| file.strip_prefix(first).is_some_and(|rest| rest.starts_with('/'))),
        None => OWN_ENDINGS.iter().any(|ending| span.len() > ending.len() && span.ends_with(ending)),
    }
}

/// Returns whether a path names a file or a folder, seen from the root or from the document's own folder.
fn exists(document: &str, span: &str, files: &BTreeSet<String>) -> bool {
    let span = span.strip_prefix("./").unwrap_or(span).trim_end_matches('/');
    let folder = document.rsplit_once('/').map(|(folder, _)| format!("{folder}/")).unwrap_or_default();
    let is_there = |path: &str| {
        files.contains(path)
            || files.iter().any(|file| file.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')))
    };
    is_there(span) || is_there(&format!("{folder}{span}"))
}

#[test]
fn documents_name_paths_that_exist() {
    let files: BTreeSet<String> = paths().into_iter().collect();
    let found: Vec<Finding> =
        sources(&[".md"]).iter().flat_map(|document| findings(&document.path, &document.text, &files)).collect();
    assert_none(&found);
}

#[test]
fn a_path_that_does_not_exist_fires() {
    let files: BTreeSet<String> =
        ["test.sh", "store/src/lib.rs", "store/FORMAT.md", "node/api/src/routes.rs"].map(String::from).into();
    for bad in ["`store/src/gone.rs`", "`gone.sh`", "`./gone.sh`", "`store/lib.rs`", "`node/gone/`"] {
        assert_eq!(findings("A.md", bad, &files).len(), 1, "{bad}");
    }
    for good in [
        "`store/src/lib.rs`",
        "`store/`",
        "`node/api`",
        "`./test.sh`",
        "`test.sh`",
        "`tools/list`",
        "`ctxnode note list`",
        "`docs/planning/WEEKLY_PLAN.md`",
        "`node/<name>`",
        "store/gone.rs outside backticks",
    ] {
        assert_eq!(findings("A.md", good, &files), [], "{good}");
    }
    assert_eq!(findings("store/FORMAT.md", "`src/lib.rs`", &files), [], "relative to the document");
}
