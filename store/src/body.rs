//! Bodies that merge: a text as a list of sentences and lines.
//!
//! Automerge's own text type costs one op per character, which at 500 KB is a quarter of a second to load. A list with
//! one element per sentence or line loads in milliseconds and still merges edits of different sentences. Two concurrent
//! edits of one sentence leave both versions of it side by side: doubled, and so to be seen, but never lost.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use automerge::transaction::{Transactable, Transaction};
use automerge::{Automerge, AutomergeError, ChangeHash, ObjId as ExId, ReadDoc, ScalarValue, ScalarValueRef, ValueRef};
use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

/// The longest element in bytes. A line without sentences (a table, minified JSON) is cut at spaces near this length, so
/// that an edit does not rewrite all of it.
const MAX_CHUNK: usize = 400;
/// How long the search for a small difference may take before the rest counts as replaced. The writer waits for it.
const DIFF_DEADLINE: Duration = Duration::from_millis(50);

/// Cuts a text into elements; joined again they are the text.
pub(crate) fn chunks(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut start = 0;
    let mut last_space = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let end = at + c.len_utf8();
        let next = chars.peek().map(|(_, next)| *next);
        let sentence = matches!(c, '.' | '!' | '?' | ';') && next == Some(' ') || matches!(c, '。' | '！' | '？');
        if c == ' ' {
            last_space = Some(end);
        }
        let cut = if c == '\n' || sentence {
            Some(end)
        } else if end - start >= MAX_CHUNK {
            Some(last_space.filter(|space| *space > start).unwrap_or(end))
        } else {
            None
        };
        if let Some(cut) = cut {
            out.push(&text[start..cut]);
            start = cut;
            last_space = None;
        }
    }
    if start < text.len() {
        out.push(&text[start..]);
    }
    out
}

/// Returns the text of a body list.
pub(crate) fn text(doc: &Automerge, list: &ExId) -> String {
    doc.list_range(list, ..).filter_map(|item| chunk(&item.value)).collect()
}

/// Returns the text of a body list as of some heads.
pub(crate) fn text_at(doc: &Automerge, list: &ExId, heads: &[ChangeHash]) -> String {
    doc.list_range_at(list, .., heads).filter_map(|item| chunk(&item.value)).collect()
}

fn chunk(value: &ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Scalar(ScalarValueRef::Str(text)) => Some(text.to_string()),
        _ => None,
    }
}

type Elements = Vec<(ExId, String)>;

/// The edit that turns the text that a caller read into the one that the caller wants, on top of what is there now.
pub(crate) struct BodyEdit {
    present: Vec<ExId>,
    delete: HashSet<ExId>,
    /// New elements by the position in `present` that they follow; `None` is the beginning.
    insert: BTreeMap<Option<usize>, Vec<String>>,
}

/// Works out the edit. `base` are the heads that the caller read; the present state when absent.
pub(crate) fn plan(doc: &Automerge, list: &ExId, base: Option<&[ChangeHash]>, wanted: &str) -> BodyEdit {
    let present: Elements =
        doc.list_range(list, ..).map(|item| (item.id(), chunk(&item.value).unwrap_or_default())).collect();
    let read: Elements = match base {
        Some(heads) => {
            doc.list_range_at(list, .., heads).map(|item| (item.id(), chunk(&item.value).unwrap_or_default())).collect()
        }
        None => present.clone(),
    };
    let old: Vec<&str> = read.iter().map(|(_, text)| text.as_str()).collect();
    let new = chunks(wanted);
    let deadline = Instant::now() + DIFF_DEADLINE;
    let difference = capture_diff_slices_deadline(Algorithm::Myers, &old, &new, Some(deadline));

    let positions: HashMap<&ExId, usize> = present.iter().enumerate().map(|(at, (id, _))| (id, at)).collect();
    // An anchor that somebody else deleted meanwhile gives way to the nearest earlier element that is still there.
    let anchor = |before: usize| read[..before].iter().rev().find_map(|(id, _)| positions.get(id).copied());
    let mut delete = HashSet::new();
    let mut insert: BTreeMap<Option<usize>, Vec<String>> = BTreeMap::new();
    for op in difference {
        if let DiffOp::Delete { old_index, old_len, .. } | DiffOp::Replace { old_index, old_len, .. } = op {
            delete.extend(read[old_index..old_index + old_len].iter().map(|(id, _)| id.clone()));
        }
        if let DiffOp::Insert { old_index, new_index, new_len }
        | DiffOp::Replace { old_index, new_index, new_len, .. } = op
        {
            let texts = new[new_index..new_index + new_len].iter().map(|text| (*text).to_owned());
            insert.entry(anchor(old_index)).or_default().extend(texts);
        }
    }
    BodyEdit { present: present.into_iter().map(|(id, _)| id).collect(), delete, insert }
}

impl BodyEdit {
    /// Carries the edit out, from the end to the beginning, so that positions stay right.
    pub(crate) fn apply(mut self, tx: &mut Transaction<'_>, list: &ExId) -> Result<(), AutomergeError> {
        for at in (0..self.present.len()).rev() {
            if let Some(texts) = self.insert.remove(&Some(at)) {
                tx.splice(list, at + 1, 0, texts.into_iter().map(ScalarValue::from))?;
            }
            if self.delete.contains(&self.present[at]) {
                tx.delete(list, at)?;
            }
        }
        if let Some(texts) = self.insert.remove(&None) {
            tx.splice(list, 0, 0, texts.into_iter().map(ScalarValue::from))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn chunks_join_to_the_text(text in "[a-z .\n。é]{0,600}") {
            prop_assert_eq!(chunks(&text).concat(), text);
        }

        #[test]
        fn no_chunk_is_empty_or_long(text in "[a-z ]{0,2000}") {
            for chunk in chunks(&text) {
                prop_assert!(!chunk.is_empty() && chunk.len() <= MAX_CHUNK + 4);
            }
        }
    }

    #[test]
    fn sentences_and_lines_are_elements() {
        assert_eq!(chunks("One. Two!\nThree"), ["One.", " Two!\n", "Three"]);
        assert_eq!(chunks("v1.2 stays"), ["v1.2 stays"]);
        assert_eq!(chunks(""), Vec::<&str>::new());
    }
}
