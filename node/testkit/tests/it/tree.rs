//! The files of the repository, as git sees them, and the roles that their paths give them.
//!
//! Not here: what the files must contain.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A text file of the repository.
pub(crate) struct Source {
    /// Its path from the root, with `/`.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

/// What a Rust file is for, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Goes into a library or a binary.
    Product,
    /// Tests, benchmarks, fuzz targets and their support.
    Test,
}

/// Returns the root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("this package lies two folders deep").to_owned()
}

/// Returns every path that git tracks or would track; without git (a source archive), every file outside `target`.
pub(crate) fn paths() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root())
        .output()
        .ok()
        .filter(|output| output.status.success());
    let mut paths: Vec<String> = match listed {
        Some(output) => String::from_utf8_lossy(&output.stdout).split('\0').map(str::to_owned).collect(),
        None => walk(&root(), ""),
    };
    paths.retain(|path| root().join(path).is_file());
    paths.sort();
    paths.dedup();
    paths
}

fn walk(folder: &Path, prefix: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if entry.path().is_file() {
            found.push(path);
        } else if name != "target" && name != ".git" {
            found.extend(walk(&entry.path(), &format!("{path}/")));
        }
    }
    found
}

/// Returns the text files of the repository whose path ends with one of `endings`.
pub(crate) fn sources(endings: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for path in paths().into_iter().filter(|path| endings.iter().any(|ending| path.ends_with(ending))) {
        // A file that another process removed since the listing is not a finding of this test.
        if let Ok(text) = fs::read_to_string(root().join(&path)) {
            found.push(Source { path, text });
        }
    }
    assert!(!found.is_empty(), "no file ends with {endings:?}: the rules would hold for nothing");
    found
}

/// Returns what a Rust file is for.
pub(crate) fn role(path: &str) -> Role {
    let test_folder = ["tests", "benches", "examples", "fuzz", "testkit"];
    let in_test_folder = path.split('/').any(|part| test_folder.contains(&part));
    let file = path.rsplit('/').next().unwrap_or(path);
    if in_test_folder || file == "tests.rs" || file.ends_with("_tests.rs") { Role::Test } else { Role::Product }
}

#[test]
fn roles_come_from_paths() {
    for path in [
        "store/tests/it/main.rs",
        "config/src/tests.rs",
        "store/fuzz/a.rs",
        "node/testkit/src/lib.rs",
        "a/src/x/tests/y.rs",
    ] {
        assert_eq!(role(path), Role::Test, "{path}");
    }
    for path in ["store/src/lib.rs", "node/src/latest.rs"] {
        assert_eq!(role(path), Role::Product, "{path}");
    }
}

#[test]
fn the_tree_has_the_files_that_the_rules_are_about() {
    let paths = paths();
    for expected in ["Cargo.toml", "store/model/src/lib.rs", "node/testkit/tests/it/tree.rs"] {
        assert!(paths.iter().any(|path| path == expected), "{expected} is not listed");
    }
}
