//! What must not occur in any file: absolute paths of somebody's machine, and hosts of registries.
//!
//! A path that exists on one machine only breaks everywhere else, and a registry's host in a script overrules the
//! mirror that a user has set up. Comments and strings count.

use super::tree::sources;
use super::{Finding, assert_none};

/// Beginnings of paths that belong to one machine. The example people of tests and documents
/// are `ada` and `a`.
const PATHS: &[(&str, &[&str])] =
    &[("/work/", &[]), ("/root/", &[]), ("/home/", &["/home/ada", "/home/a"]), ("/Users/", &["/Users/ada"])];

/// Hosts of registries, in parts so that this file keeps its own rule.
const HOSTS: &[&str] = &[
    concat!("pypi", ".org"),
    concat!("files.pythonhosted", ".org"),
    concat!("registry.npmjs", ".org"),
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
];

/// The kinds of files that people write.
const WRITTEN: &[&str] =
    &[".rs", ".md", ".toml", ".sh", ".json", ".yml", ".yaml", ".txt", ".snap", ".ci/run", ".py", ".js"];

/// Returns what is wrong with one file.
fn findings(path: &str, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for (start, examples) in PATHS {
            if line.match_indices(start).any(|(at, _)| is_absolute(line, at) && !is_example(&line[at..], examples)) {
                found.push(Finding::at_line(path, index + 1, format!("`{start}...` is a path of one machine")));
            }
        }
        for host in HOSTS.iter().filter(|host| line.contains(**host)) {
            found.push(Finding::at_line(
                path,
                index + 1,
                format!("`{host}`: registries are reached through their own clients"),
            ));
        }
    }
    found
}

/// Returns whether a path begins here, rather than goes on: `~/work/`, `$HOME/work/` and `dev/work/` are not absolute.
fn is_absolute(line: &str, at: usize) -> bool {
    !line[..at].ends_with(|c: char| c.is_alphanumeric() || "_-.~})>/*".contains(c))
}

fn is_example(path: &str, examples: &[&str]) -> bool {
    examples.iter().any(|example| {
        path.strip_prefix(example).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    })
}

#[test]
fn no_file_names_a_place_of_one_machine() {
    // This file holds the patterns themselves.
    let files = sources(WRITTEN).into_iter().filter(|file| !file.path.ends_with("tests/it/leaks.rs"));
    let found: Vec<Finding> = files.flat_map(|file| findings(&file.path, &file.text)).collect();
    assert_none(&found);
}

#[test]
fn absolute_paths_and_registry_hosts_fire() {
    for bad in ["see /work/main/x", "\"/root/.cargo\"", "(/home/bob/dev)", "/home/adam/dev", "/Users/eve/x"] {
        assert_eq!(findings("a.md", bad).len(), 1, "{bad}");
    }
    for host in HOSTS {
        assert_eq!(findings("a.sh", &format!("curl https://{host}/x")).len(), 1, "{host}");
    }
    for good in
        ["~/work/x", "dev/work/x", "$HOME/work/", "${X}/root/y", "/home/ada/dev", "/Users/ada/Library", "/v1/notes"]
    {
        assert_eq!(findings("a.md", good), [], "{good}");
    }
}
