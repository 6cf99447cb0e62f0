//! The documents: short notes, the same text for every engine, and the change that is made to one.

use automerge::transaction::Transactable as _;
use automerge::{ActorId, Automerge, AutomergeError, ObjType, ROOT};

/// How long the text of a note is, in bytes.
const BODY: usize = 850;
/// How many words there are. Text of fewer compresses better than any that people write.
const WORDS: u64 = 1_500;
/// When the first note was written, in milliseconds since 1970; each later one a minute after it.
const FIRST: i64 = 1_795_435_200_000;

/// The venture of all notes.
pub(crate) const VENTURE: &str = "alpha";

/// A note of about 1 KB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) title: String,
    pub(crate) content: String,
    pub(crate) tags: [&'static str; 2],
    pub(crate) at: i64,
}

/// Numbers that look random and are the same in each run.
#[derive(Debug)]
struct Numbers(u64);

impl Numbers {
    /// Steps of splitmix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A word of two to four syllables; few words are frequent and many are rare, as in language.
fn word(numbers: &mut Numbers) -> String {
    const SYLLABLES: [&str; 16] =
        ["ba", "con", "de", "fi", "gra", "in", "lo", "mer", "na", "or", "pe", "ro", "sta", "ti", "un", "vel"];
    let rank = (numbers.next() % WORDS).min(numbers.next() % WORDS);
    let mut letters = Numbers(rank);
    let count = 2 + letters.next() % 3;
    (0..count).map(|_| SYLLABLES[(letters.next() % 16) as usize]).collect()
}

/// Returns the note of a number.
pub(crate) fn note(number: usize) -> Note {
    let mut numbers = Numbers(number as u64);
    let mut content = String::new();
    while content.len() < BODY {
        content.push_str(&word(&mut numbers));
        content.push_str(if numbers.next().is_multiple_of(12) { ".\n" } else { " " });
    }
    let title = format!("{} {} {number}", word(&mut numbers), word(&mut numbers));
    let tags = if number.is_multiple_of(2) { ["design", "open"] } else { ["meeting", "done"] };
    Note { title, content, tags, at: FIRST + 60_000 * i64::try_from(number).unwrap_or(0) }
}

/// Returns the title that a changed note gets, and when.
pub(crate) fn change(number: usize) -> (String, i64) {
    (format!("changed {number}"), FIRST + 1_000_000_000 + i64::try_from(number).unwrap_or(0))
}

/// Returns bytes that identify the note of a number, the same on both sides.
pub(crate) fn id(number: usize) -> [u8; 16] {
    let mut numbers = Numbers(!(number as u64));
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&numbers.next().to_be_bytes());
    bytes[8..].copy_from_slice(&numbers.next().to_be_bytes());
    bytes
}

/// Makes the document of a note, in one change.
pub(crate) fn document(number: usize) -> Automerge {
    let note = note(number);
    let mut document = Automerge::new().with_actor(ActorId::from(id(number)));
    let made = document.transact::<_, _, AutomergeError>(|edit| {
        edit.put(ROOT, "title", note.title.as_str())?;
        let content = edit.put_object(ROOT, "content", ObjType::Text)?;
        edit.splice_text(&content, 0, 0, &note.content)?;
        let tags = edit.put_object(ROOT, "tags", ObjType::Map)?;
        for tag in note.tags {
            edit.put(&tags, tag, true)?;
        }
        edit.put(ROOT, "venture", VENTURE)?;
        edit.put(ROOT, "created_at", note.at)?;
        edit.put(ROOT, "updated_at", note.at)
    });
    made.expect("edits of a new document");
    document
}

/// Changes the document of a note.
pub(crate) fn change_document(document: &mut Automerge, number: usize) {
    let (title, at) = change(number);
    let made = document.transact::<_, _, AutomergeError>(|edit| {
        edit.put(ROOT, "title", title)?;
        edit.put(ROOT, "updated_at", at)
    });
    made.expect("edits of a document");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_the_same_each_time_differ_from_each_other_and_have_the_size_that_is_claimed() {
        assert_eq!((note(7), id(7)), (note(7), id(7)));
        assert_ne!(note(7).content, note(8).content);
        assert_ne!(id(7), id(8));
        assert!((BODY..BODY + 20).contains(&note(7).content.len()));
    }

    #[test]
    fn a_document_of_a_number_has_the_same_change_on_both_sides() {
        let (mut a, b) = (document(3), document(3));
        assert_eq!(a.get_heads(), b.get_heads());
        change_document(&mut a, 3);
        assert_ne!(a.get_heads(), b.get_heads());
    }
}
