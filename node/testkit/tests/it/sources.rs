//! Rules about Rust files: header, size, and words that must not occur in code.
//!
//! Not here: paths and hosts that must not occur in any file (`leaks`).

use super::lexer::{code_only, lines_with, without_test_items};
use super::tree::{Role, role, sources};
use super::{Finding, assert_none};

/// The most lines of a file, its tests apart. Past this, nobody holds a file in their head.
const MOST_LINES: usize = 600;

/// Files that may be longer, how long, and why. A ratchet: a row may shrink, and a row that is not needed any more
/// must go.
const LONGER: &[(&str, usize, &str)] = &[];

/// Where a word must not occur.
enum Where {
    /// In product code outside tests.
    Product,
    /// In product code outside tests and outside these paths, which are the ones that talk to a terminal.
    ProductExcept(&'static [&'static str]),
    /// In test code.
    Tests,
    /// In any code.
    Anywhere,
}

/// The paths that may print: the command line, the mains, and tools for developers.
const MAY_PRINT: &[&str] = &[
    "node/src/cli",
    // Before its log is open.
    "node/src/daemon/serve.rs",
    // Build scripts talk to cargo by printing.
    "node/api/build.rs",
    "node/bench/",
    "sync/compare/",
    "launcher/src/main.rs",
];

/// Words that must not occur, where, and what to do instead.
const BANNED: &[(&str, Where, &str)] = &[
    ("#[ignore", Where::Anywhere, "a test that does not run proves nothing: make it fast or delete it"),
    (".unwrap()", Where::Product, "return an error, or `expect` with the reason why it cannot fail"),
    ("println!", Where::ProductExcept(MAY_PRINT), "libraries do not print: return the text"),
    ("eprintln!", Where::ProductExcept(MAY_PRINT), "libraries do not print: log or return the text"),
    ("print!", Where::ProductExcept(MAY_PRINT), "libraries do not print: return the text"),
    ("eprint!", Where::ProductExcept(MAY_PRINT), "libraries do not print: log or return the text"),
    ("dbg!", Where::Anywhere, "a leftover of a search for a fault"),
    ("todo!", Where::Anywhere, "unfinished code does not enter the tree"),
    ("unimplemented!", Where::Anywhere, "unfinished code does not enter the tree"),
    ("#[allow(", Where::Anywhere, "use #[expect(lint, reason = \"...\")]"),
    ("#![allow(", Where::Anywhere, "use #![expect(lint, reason = \"...\")]"),
    ("sleep(", Where::Tests, "wait for a condition with a deadline: ctxnode_testkit::wait_until"),
];

/// Returns what is wrong with one Rust file.
fn findings(path: &str, text: &str) -> Vec<Finding> {
    let code = code_only(text);
    let product = without_test_items(&code);
    let mut found = Vec::new();
    found.extend(header(path, text));
    found.extend(size(path, &product, LONGER));
    for (word, place, instead) in BANNED {
        let lines: Vec<usize> = match (place, role(path)) {
            (Where::Anywhere, _) | (Where::Tests, Role::Test) => lines_with(&code, word).collect(),
            (Where::Product, Role::Product) => lines_with(&product, word).collect(),
            (Where::ProductExcept(except), Role::Product) if !except.iter().any(|start| path.starts_with(start)) => {
                lines_with(&product, word).collect()
            }
            (Where::Tests, Role::Product) => {
                let outside: Vec<usize> = lines_with(&product, word).collect();
                lines_with(&code, word).filter(|line| !outside.contains(line)).collect()
            }
            _ => Vec::new(),
        };
        found.extend(lines.into_iter().map(|line| Finding::at_line(path, line, format!("`{word}`: {instead}"))));
    }
    found
}

fn header(path: &str, text: &str) -> Option<Finding> {
    let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!"));
    let has_header = first.is_some_and(|line| line.strip_prefix("//!").is_some_and(|rest| !rest.trim().is_empty()));
    (!has_header).then(|| Finding::in_file(path, "no `//!` header that says what the file is and what it is not"))
}

fn size(path: &str, product: &str, longer: &[(&str, usize, &str)]) -> Option<Finding> {
    if role(path) == Role::Test {
        return None;
    }
    // Lines of tests are blank in `product`; so are comments, which a reader does read.
    let lines = product.lines().count() - trailing_blank_lines(product);
    let exception = longer.iter().find(|(listed, ..)| *listed == path).map(|(_, limit, _)| *limit);
    match exception {
        Some(_) if lines <= MOST_LINES => Some(Finding::in_file(path, "is short enough now: remove it from LONGER")),
        _ if lines > exception.unwrap_or(MOST_LINES) => {
            let limit = exception.unwrap_or(MOST_LINES);
            Some(Finding::in_file(path, format!("{lines} lines, the limit is {limit}: split it by concept")))
        }
        _ => None,
    }
}

fn trailing_blank_lines(code: &str) -> usize {
    code.lines().rev().take_while(|line| line.trim().is_empty()).count()
}

#[test]
fn rust_files_keep_the_rules_of_the_house() {
    let found: Vec<Finding> = sources(&[".rs"]).iter().flat_map(|file| findings(&file.path, &file.text)).collect();
    assert_none(&found);
}

#[test]
fn exceptions_from_the_size_rule_name_files_that_exist() {
    let files = sources(&[".rs"]);
    for (path, _, reason) in LONGER {
        assert!(files.iter().any(|file| file.path == *path), "{path} is listed and does not exist");
        assert!(!reason.is_empty(), "{path} is listed without a reason");
    }
}

#[cfg(test)]
mod firing {
    //! Each rule on bad input, and on its nearest good neighbour.

    use super::*;

    fn hits(path: &str, text: &str) -> Vec<String> {
        let short = |finding: Finding| finding.what.split(':').next().unwrap_or_default().to_owned();
        findings(path, &format!("//! Header.\n{text}")).into_iter().map(short).collect()
    }

    #[test]
    fn each_banned_word_fires_in_its_place_and_not_in_prose() {
        for (word, place, _) in BANNED {
            let line = format!("fn f() {{ {word} }}");
            let in_product = hits("store/src/a.rs", &line).len();
            let in_test = hits("store/tests/it/a.rs", &line).len();
            let in_test_item = hits("store/src/a.rs", &format!("#[cfg(test)]\nmod tests {{ {line} }}")).len();
            let expected = match place {
                Where::Anywhere => (1, 1, 1),
                Where::Tests => (0, 1, 1),
                Where::Product | Where::ProductExcept(_) => (1, 0, 0),
            };
            assert_eq!((in_product, in_test, in_test_item), expected, "{word}");
            let prose = format!("// {word}\nconst X: &str = \"{}\";", word.replace('"', ""));
            assert_eq!(hits("store/src/a.rs", &prose), Vec::<String>::new(), "{word} in prose");
        }
    }

    #[test]
    fn printing_is_for_the_command_line() {
        assert_eq!(hits("node/src/cli/note.rs", "fn f() { println!() }"), Vec::<String>::new());
        assert_eq!(hits("node/src/daemon.rs", "fn f() { println!() }"), ["`println!`"]);
    }

    #[test]
    fn a_missing_or_empty_header_fires() {
        for text in ["use a;\n", "", "//!\nuse a;\n", "/// Not a header.\n"] {
            assert!(header("a.rs", text).is_some(), "{text:?}");
        }
        assert!(header("a.rs", "#![no_std]\n//! What it is.\n").is_none());
    }

    #[test]
    fn a_long_file_fires_and_tests_do_not_count() {
        let lines = |count: usize| "fn f();\n".repeat(count);
        assert!(size("a/src/a.rs", &lines(MOST_LINES + 1), &[]).is_some());
        assert!(size("a/src/a.rs", &lines(MOST_LINES), &[]).is_none());
        assert!(size("a/tests/it/a.rs", &lines(MOST_LINES + 1), &[]).is_none());
        let with_tests = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", lines(10), lines(MOST_LINES));
        assert!(size("a/src/a.rs", &without_test_items(&with_tests), &[]).is_none());
    }

    #[test]
    fn the_list_of_longer_files_only_shrinks() {
        let longer = [("a/src/a.rs", 700, "a table")];
        let lines = |count: usize| "fn f();\n".repeat(count);
        assert!(size("a/src/a.rs", &lines(700), &longer).is_none());
        assert!(size("a/src/a.rs", &lines(701), &longer).is_some());
        assert!(size("a/src/a.rs", &lines(MOST_LINES), &longer).is_some());
    }
}
