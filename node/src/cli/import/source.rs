//! One file of an import: its text, title, tags and venture. Front matter is YAML between two lines of `---`.

use std::path::Path;

use ctxnode_model::rules::canonical::sha256_hex;
use serde::Deserialize;

/// The longest title that a note or doc may have.
const TITLE_CHARS: usize = 200;

/// A file as it will be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// From the front matter, the first heading, or the file's name.
    pub(super) title: String,
    /// Whether the title stands in the front matter.
    pub(super) titled: bool,
    /// From the front matter.
    pub(super) tags: Vec<String>,
    /// From the front matter.
    pub(super) venture: Option<String>,
    /// The text without front matter.
    pub(super) text: String,
    /// The text with it.
    pub(super) whole: String,
    /// SHA-256 of the file, in hex.
    pub(super) hash: String,
}

#[derive(Debug, Default, Deserialize)]
struct FrontMatter {
    title: Option<String>,
    #[serde(default)]
    tags: Tags,
    venture: Option<String>,
}

/// A list, or words separated by commas.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Tags {
    List(Vec<String>),
    Text(String),
}

impl Default for Tags {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, is not UTF-8, or its front matter is not valid.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        let hash = sha256_hex(&bytes);
        let whole = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::parse(&name, whole, hash)
    }

    fn parse(name: &str, whole: String, hash: String) -> Result<Self, String> {
        let (front, text) = match split(&whole) {
            Some((front, text)) => {
                (serde_norway::from_str(front).map_err(|error| format!("front matter: {error}"))?, text)
            }
            None => (FrontMatter::default(), whole.as_str()),
        };
        let heading = || text.lines().find_map(|line| line.strip_prefix("# ")).map(|line| line.trim().to_owned());
        let titled = front.title.is_some();
        let title = front.title.or_else(heading).filter(|title| !title.is_empty()).unwrap_or_else(|| name.to_owned());
        let tags = match front.tags {
            Tags::List(tags) => tags,
            Tags::Text(text) => {
                text.split(',').map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()).collect()
            }
        };
        Ok(Self {
            title: title.chars().take(TITLE_CHARS).collect(),
            titled,
            tags,
            venture: front.venture,
            text: text.to_owned(),
            hash,
            whole,
        })
    }
}

/// Splits a text that begins with front matter.
fn split(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("---\n").or_else(|| text.strip_prefix("---\r\n"))?;
    let mut at = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == "---" {
            return Some((&rest[..at], rest[at + line.len()..].trim_start_matches(['\r', '\n'])));
        }
        at += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Source {
        Source::parse("file-name", text.to_owned(), "h".to_owned()).unwrap()
    }

    #[test]
    fn front_matter_gives_title_tags_and_venture() {
        let source = parse("---\ntitle: A title\ntags: [x, y]\nventure: alpha\n---\n\n# Other\ntext\n");
        assert_eq!((source.title.as_str(), source.titled), ("A title", true));
        assert_eq!((source.tags, source.venture.as_deref()), (vec!["x".into(), "y".into()], Some("alpha")));
        assert_eq!(source.text, "# Other\ntext\n");
        assert_eq!(parse("---\ntags: a, b\n---\nx").tags, ["a", "b"]);
    }

    #[test]
    fn without_it_the_heading_or_the_name_is_the_title() {
        assert_eq!(parse("intro\n# Heading \ntext").title, "Heading");
        assert_eq!(parse("- Start Date: 2014\n\n## Summary\n").title, "file-name");
        assert_eq!(parse("---\nno end").text, "---\nno end");
        assert_eq!(parse("").text, "");
    }

    #[test]
    fn bad_front_matter_is_an_error_and_not_a_note_without_tags() {
        let error = Source::parse("n", "---\ntags: {a: b\n---\nx".to_owned(), String::new()).unwrap_err();
        assert!(error.starts_with("front matter: "), "{error}");
    }
}
