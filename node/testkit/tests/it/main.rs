//! The rules of the source tree, held by tests: who may depend on whom, what a file must and must not contain; and the
//! bootstrap script.
//!
//! Each rule is a pure function over text or over a graph, and each has a test that shows it firing. Not here: rules
//! that clippy or the compiler can hold.

mod bootstrap;
mod documents;
mod edges;
mod leaks;
mod lexer;
mod sources;
mod tree;

/// What a rule found: where, and what is wrong there.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// The file, from the root of the repository, and the line if there is one.
    place: String,
    /// What is wrong, and what to do instead.
    what: String,
}

impl Finding {
    fn at_line(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { place: format!("{path}:{line}"), what: what.into() }
    }

    fn in_file(path: &str, what: impl Into<String>) -> Self {
        Self { place: path.to_owned(), what: what.into() }
    }
}

/// Fails with all findings, one per line.
#[track_caller]
fn assert_none(findings: &[Finding]) {
    let lines: Vec<String> = findings.iter().map(|finding| format!("{}: {}", finding.place, finding.what)).collect();
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), lines.join("\n"));
}
