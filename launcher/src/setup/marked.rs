//! Text of ours that carries a hash of itself: a block between markers in somebody's file, and whole files.
//!
//! The hash tells what we wrote from what somebody changed by hand; the latter is never overwritten. It is a hash of the
//! content and of nothing else, so that equal content stays equal across versions.

use sha2::{Digest, Sha256};

const BEGIN: &str = "<!-- ctxnode:begin ";
const END: &str = "<!-- ctxnode:end -->";
const SEAL: &str = "ctxnode: generated, kept when changed by hand; ";

/// How the end of a whole file is commented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comment {
    /// `<!-- ... -->`
    Html,
    /// `# ...`
    Hash,
}

/// What stands in a file where our text belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// What we wrote once.
    Ours,
    /// Somebody's own, or ours changed by hand.
    Foreign,
}

fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the file of ours with this content.
#[must_use]
pub fn sealed(content: &str, comment: Comment) -> String {
    let mark = format!("{SEAL}{}", hash(content));
    match comment {
        Comment::Html => format!("{content}\n<!-- {mark} -->\n"),
        Comment::Hash => format!("{content}\n# {mark}\n"),
    }
}

/// Says whose a whole file is.
#[must_use]
pub fn whose(text: &str) -> Found {
    let Some(at) = text.rfind(SEAL) else { return Found::Foreign };
    let line = text[..at].rfind('\n').map_or(0, |newline| newline);
    let written: String = text[at + SEAL.len()..].chars().take_while(char::is_ascii_hexdigit).collect();
    if hash(&text[..line]) == written { Found::Ours } else { Found::Foreign }
}

/// Where the block stands in a text.
fn span(text: &str) -> Option<(usize, usize)> {
    let from = text.find(BEGIN)?;
    let to = from + text[from..].find(END)? + END.len();
    Some((from, to))
}

fn block(body: &str) -> String {
    format!("{BEGIN}{} -->\n{body}\n{END}", hash(body))
}

/// Says whose the block of a text is.
#[must_use]
pub fn whose_block(text: &str) -> Found {
    let Some((from, to)) = span(text) else { return Found::Nothing };
    let inside = &text[from + BEGIN.len()..to - END.len()];
    let parsed = inside.split_once(" -->\n").and_then(|(mark, body)| Some((mark, body.strip_suffix('\n')?)));
    match parsed {
        Some((mark, body)) if hash(body) == mark => Found::Ours,
        _ => Found::Foreign,
    }
}

/// Returns the text with the block; one that is there is replaced, a new one stands at the end.
#[must_use]
pub fn put_block(text: &str, body: &str) -> String {
    let block = block(body);
    match span(text) {
        Some((from, to)) => format!("{}{block}{}", &text[..from], &text[to..]),
        None if text.is_empty() => format!("{block}\n"),
        None if text.ends_with('\n') => format!("{text}\n{block}\n"),
        None => format!("{text}\n\n{block}\n"),
    }
}

/// Returns the text without the block and the empty line before it.
#[must_use]
pub fn take_block(text: &str) -> String {
    let Some((from, to)) = span(text) else { return text.to_owned() };
    let after = text[to..].strip_prefix('\n').unwrap_or(&text[to..]);
    let before = &text[..from];
    let before = if before.ends_with("\n\n") { &before[..before.len() - 1] } else { before };
    format!("{before}{after}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn c_02_a_block_comes_and_goes(lines in proptest::collection::vec("[ -~]{0,20}", 0..6), body in "[a-z\n]{0,40}") {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            prop_assume!(!text.contains("ctxnode"));
            let with = put_block(&text, &body);
            prop_assert_eq!(whose_block(&with), Found::Ours);
            prop_assert_eq!(put_block(&with, &body), with.clone());
            prop_assert_eq!(take_block(&with), text);
            let changed = with.replace("\n<!-- ctxnode:end", "x\n<!-- ctxnode:end");
            prop_assert_eq!(whose_block(&changed), Found::Foreign);
        }

        #[test]
        fn c_11_a_file_knows_whether_it_was_changed(content in "[ -~\n]{0,80}", at in any::<prop::sample::Index>()) {
            for comment in [Comment::Html, Comment::Hash] {
                let text = sealed(&content, comment);
                prop_assert_eq!(whose(&text), Found::Ours);
                if !content.is_empty() {
                    let mut bytes = text.clone().into_bytes();
                    bytes[at.index(content.len())] ^= 1;
                    if let Ok(changed) = String::from_utf8(bytes) {
                        prop_assert_eq!(whose(&changed), Found::Foreign);
                    }
                }
            }
        }
    }

    #[test]
    fn a_file_of_somebody_else_is_foreign() {
        assert_eq!(whose("# mine\n"), Found::Foreign);
        assert_eq!(whose_block("# mine\n"), Found::Nothing);
    }
}
