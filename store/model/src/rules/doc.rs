//! Docs: names and titles, the one view of an uploaded and a generated doc of one key, and what a put does.
//!
//! The view is computed over the revisions of both records, so that version and history are equal on every node
//! whatever arrived first. An uploaded doc hides a generated one; a generated one never replaces it.

use thiserror::Error;

use super::canonical::sha256_hex;
use super::limits::{DOC_BYTES, DOC_NAME_CHARS, TITLE_CHARS};
use super::text::{cut, require_line};
use super::venture::is_code;
use crate::record::{Doc, DocOrigin, DocRevision};
use crate::{Invalid, Timestamp};

/// The scope of docs that belong to no venture.
pub const GLOBAL: &str = "global";

/// What a doc's content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocType {
    /// `.md`.
    Markdown,
    /// `.json`.
    Json,
}

/// Returns the type of a valid doc name, or `None` for a name that is not valid.
#[must_use]
pub fn doc_type(name: &str) -> Option<DocType> {
    let (stem, extension) = name.rsplit_once('.')?;
    let good = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if !good || stem.is_empty() || name.starts_with('.') || name.len() > DOC_NAME_CHARS {
        return None;
    }
    match extension {
        "md" => Some(DocType::Markdown),
        "json" => Some(DocType::Json),
        _ => None,
    }
}

/// The fields of a put.
#[derive(Clone, Copy, Debug)]
pub struct PutFields<'a> {
    /// `global` or a venture code; whether it is known is the caller's to ask.
    pub scope: &'a str,
    /// The doc's name.
    pub name: &'a str,
    /// Derived when absent.
    pub title: Option<&'a str>,
    /// The content.
    pub content: &'a str,
}

impl PutFields<'_> {
    /// Checks all fields at once.
    ///
    /// # Errors
    /// Every bad field.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut invalid = Invalid::new();
        invalid.require(self.scope == GLOBAL || is_code(self.scope), "scope", "must be global or a venture code");
        let form = "must be letters, digits, `.`, `_` and `-`, end in .md or .json, not begin with `.`, \
                    and have at most 200 characters";
        invalid.require(doc_type(self.name).is_some(), "name", form);
        if let Some(title) = self.title {
            require_line(&mut invalid, "title", title, TITLE_CHARS);
        }
        let size = self.content.len();
        invalid.require(size <= DOC_BYTES, "content", format!("has {size} bytes; at most {DOC_BYTES} are allowed"));
        invalid.finish()
    }

    /// Returns the title: as given, else the first `# ` line, else the name.
    #[must_use]
    pub fn title(&self) -> String {
        let heading = || self.content.lines().find_map(|line| line.strip_prefix("# ")).map(str::trim);
        let title = self.title.or_else(|| heading().filter(|heading| !heading.is_empty())).unwrap_or(self.name);
        cut(title, TITLE_CHARS).to_owned()
    }
}

/// A doc record with its tombstone.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// The record.
    pub doc: &'a Doc,
    /// Whether a tombstone hides it.
    pub deleted: bool,
}

/// The two records that one (scope, name) may have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pair<'a> {
    /// What people uploaded.
    pub uploaded: Option<Stored<'a>>,
    /// What ctxnode generated.
    pub generated: Option<Stored<'a>>,
}

/// One version of a doc: a run of revisions with equal content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version<'a> {
    /// Counted from 1.
    pub number: u32,
    /// Where its content is kept in its record.
    pub key: &'a str,
    /// Whose record that is.
    pub origin: DocOrigin,
    /// Hash, size, author and sources of the first revision of the run.
    pub revision: &'a DocRevision,
}

/// The one view of a (scope, name).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocView<'a> {
    /// Every version, oldest first, also those from before a deletion.
    pub history: Vec<Version<'a>>,
    /// What is shown now; absent when both records are deleted.
    pub living: Option<Living<'a>>,
}

/// The shown state of a doc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Living<'a> {
    /// Whose content it is.
    pub origin: DocOrigin,
    /// The key of the current revision in its record.
    pub key: &'a str,
    /// The current revision.
    pub revision: &'a DocRevision,
    /// When its content was last confirmed.
    pub refreshed_at: Timestamp,
}

impl<'a> Pair<'a> {
    /// Returns the view, or `None` when there is neither record.
    #[must_use]
    pub fn view(&self) -> Option<DocView<'a>> {
        if self.uploaded.is_none() && self.generated.is_none() {
            return None;
        }
        let living = self.sides().into_iter().flatten().find_map(|(origin, stored)| {
            let (key, revision) = stored.doc.revisions.last_key_value().filter(|_| !stored.deleted)?;
            Some(Living { origin, key, revision, refreshed_at: stored.doc.refreshed_at })
        });
        Some(DocView { history: self.history(), living })
    }

    fn sides(&self) -> [Option<(DocOrigin, Stored<'a>)>; 2] {
        [
            self.uploaded.map(|stored| (DocOrigin::Uploaded, stored)),
            self.generated.map(|stored| (DocOrigin::Generated, stored)),
        ]
    }

    fn history(&self) -> Vec<Version<'a>> {
        let revisions = |(origin, stored): (DocOrigin, Stored<'a>)| {
            stored.doc.revisions.iter().map(move |(key, revision)| (key.as_str(), origin, revision))
        };
        let mut all: Vec<_> = self.sides().into_iter().flatten().flat_map(revisions).collect();
        // Keys are places in the causal order; the two records never share one.
        all.sort_by_key(|(key, _, _)| *key);
        let mut history: Vec<Version<'a>> = Vec::new();
        for (key, origin, revision) in all {
            if history.last().is_none_or(|last| last.revision.hash != revision.hash) {
                let number = u32::try_from(history.len() + 1).unwrap_or(u32::MAX);
                history.push(Version { number, key, origin, revision });
            }
        }
        history
    }
}

impl DocView<'_> {
    /// Returns the present version number. It never falls, also over a deletion.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.history.last().map_or(0, |version| version.number)
    }
}

/// What a put does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The content is the current one: only `refreshed_at` moves.
    Refresh,
    /// A revision is added, and the doc comes back when it was deleted.
    Write {
        /// Whether there was no living doc before.
        created: bool,
        /// The version after it.
        version: u32,
    },
}

/// A generated put over an uploaded doc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an uploaded doc of this name exists")]
pub struct UploadedDocExists;

/// Decides a put of content with that hash.
///
/// # Errors
/// When a generated doc would replace an uploaded one.
pub fn decide_put(view: Option<&DocView<'_>>, origin: DocOrigin, hash: &str) -> Result<Put, UploadedDocExists> {
    let living = view.and_then(|view| view.living.as_ref());
    match living {
        Some(living) if living.origin == DocOrigin::Uploaded && origin == DocOrigin::Generated => {
            Err(UploadedDocExists)
        }
        Some(living) if living.origin == origin && living.revision.hash == hash => Ok(Put::Refresh),
        _ => {
            let last = view.and_then(|view| view.history.last());
            let repeats = last.is_some_and(|last| last.revision.hash == hash);
            let version = view.map_or(0, DocView::version) + u32::from(!repeats);
            Ok(Put::Write { created: living.is_none(), version })
        }
    }
}

/// Returns the hash of a set of docs: SHA-256 of their hashes in list order, joined by `|`.
#[must_use]
pub fn set_hash<'a>(hashes: impl IntoIterator<Item = &'a str>) -> String {
    sha256_hex(hashes.into_iter().collect::<Vec<_>>().join("|").as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn put<'a>(name: &'a str, content: &'a str) -> PutFields<'a> {
        PutFields { scope: GLOBAL, name, title: None, content }
    }

    #[test]
    fn d_02_bad_names_scopes_and_sizes_are_refused_together() {
        let long = format!("{}.md", "a".repeat(198));
        for name in ["a/b.md", "x.txt", "../x.md", ".md", ".x.md", "x", "", "ü.md", "x.MD", long.as_str()] {
            assert!(put(name, "").validate().is_err(), "{name}");
        }
        let exact = format!("{}.md", "a".repeat(197));
        for name in ["x.md", "a.b.json", "adr-0001_x.md", exact.as_str()] {
            assert!(put(name, "").validate().is_ok(), "{name}");
        }
        let content = "x".repeat(1_048_577);
        assert!(put("x.md", &content[1..]).validate().is_ok());
        let all = PutFields { scope: "A", title: Some(""), ..put("x", &content) };
        assert_eq!(all.validate().unwrap_err().fields.len(), 4);
    }

    #[test]
    fn d_02_a_title_falls_back_to_the_first_heading_then_to_the_name() {
        let content = "intro\n## second\n# First one \n# other";
        assert_eq!(PutFields { title: Some("Given"), ..put("x.md", content) }.title(), "Given");
        assert_eq!(put("x.md", content).title(), "First one");
        assert_eq!(put("x.md", "#no heading\n# ").title(), "x.md");
    }

    fn doc(revisions: &[(&str, &str)]) -> Doc {
        let revision = |hash: &str| DocRevision { hash: hash.into(), ..DocRevision::default() };
        Doc {
            revisions: revisions.iter().map(|(key, hash)| ((*key).to_owned(), revision(hash))).collect(),
            ..Doc::default()
        }
    }

    fn living(doc: &Doc) -> Option<Stored<'_>> {
        Some(Stored { doc, deleted: false })
    }

    fn gone(doc: &Doc) -> Option<Stored<'_>> {
        Some(Stored { doc, deleted: true })
    }

    #[test]
    fn d_01_equal_content_refreshes_and_other_content_counts_on() {
        let stored = doc(&[("1", "a"), ("2", "b")]);
        let view = Pair { uploaded: living(&stored), generated: None }.view();
        let decide = |hash| decide_put(view.as_ref(), DocOrigin::Uploaded, hash);
        assert_eq!(decide("b"), Ok(Put::Refresh));
        assert_eq!(decide("a"), Ok(Put::Write { created: false, version: 3 }));
        assert_eq!(decide_put(None, DocOrigin::Uploaded, "a"), Ok(Put::Write { created: true, version: 1 }));
    }

    #[test]
    fn d_12_a_generated_doc_never_replaces_an_uploaded_one_and_an_upload_takes_over() {
        let (up, made) = (doc(&[("1", "a")]), doc(&[("2", "b")]));
        let both = Pair { uploaded: living(&up), generated: living(&made) }.view().unwrap();
        assert_eq!(both.living.map(|living| living.origin), Some(DocOrigin::Uploaded));
        assert_eq!(decide_put(Some(&both), DocOrigin::Generated, "c"), Err(UploadedDocExists));
        let only = Pair { uploaded: None, generated: living(&made) }.view().unwrap();
        assert_eq!(decide_put(Some(&only), DocOrigin::Uploaded, "c"), Ok(Put::Write { created: false, version: 2 }));
        assert_eq!(decide_put(Some(&only), DocOrigin::Uploaded, "b"), Ok(Put::Write { created: false, version: 1 }));
        assert_eq!(decide_put(Some(&only), DocOrigin::Generated, "b"), Ok(Put::Refresh));
    }

    #[test]
    fn q_04_a_deleted_doc_stays_deleted_and_its_version_counts_on() {
        let stored = doc(&[("1", "a"), ("2", "b")]);
        let view = Pair { uploaded: gone(&stored), generated: None }.view().unwrap();
        assert_eq!((view.living, view.version()), (None, 2));
        assert_eq!(decide_put(Some(&view), DocOrigin::Generated, "c"), Ok(Put::Write { created: true, version: 3 }));
        assert_eq!(decide_put(Some(&view), DocOrigin::Uploaded, "b"), Ok(Put::Write { created: true, version: 2 }));
    }

    #[test]
    fn d_14_versions_count_over_both_records_with_equal_neighbours_as_one() {
        let (up, made) = (doc(&[("1", "a"), ("4", "b"), ("5", "b")]), doc(&[("2", "a"), ("3", "c")]));
        let view = Pair { uploaded: living(&up), generated: living(&made) }.view().unwrap();
        let history: Vec<_> = view.history.iter().map(|version| (version.number, version.key)).collect();
        assert_eq!(history, [(1, "1"), (2, "3"), (3, "4")]);
        assert_eq!(view.living.map(|living| living.key), Some("5"));
    }

    #[test]
    fn a_set_of_docs_has_the_hash_of_its_hashes() {
        assert_eq!(set_hash(["a", "b"]), sha256_hex(b"a|b"));
    }

    proptest! {
        #[test]
        fn d_01_the_promised_version_is_the_one_that_the_view_then_shows(
            hashes in proptest::collection::vec("[ab]", 0..6), next in "[ab]", upload: bool,
        ) {
            let mut stored = Doc::default();
            for (n, hash) in hashes.iter().enumerate() {
                stored.revisions.insert(format!("{n:02}"), DocRevision { hash: hash.clone(), ..DocRevision::default() });
            }
            let before = Pair { uploaded: None, generated: living(&stored) };
            let origin = if upload { DocOrigin::Uploaded } else { DocOrigin::Generated };
            let put = decide_put(before.view().as_ref(), origin, &next).unwrap();
            let added = doc(&[("99", &next)]);
            let after = Pair { uploaded: living(&added), generated: living(&stored) }.view().unwrap();
            match put {
                Put::Refresh => prop_assert_eq!(hashes.last(), Some(&next)),
                Put::Write { version, .. } => prop_assert_eq!(version, after.version()),
            }
        }
    }
}
