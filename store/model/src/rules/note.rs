//! Notes: what a create and an update may hold, and which notes a start injects.

use super::change::Change;
use super::limits::{
    INJECTION_CUT_MIN_CHARS, INJECTION_HEADING_CHARS, INJECTION_NOTES, INJECTION_SECTION_CHARS, NOTE_BYTES, TAG_CHARS,
    TAGS, TITLE_CHARS,
};
use super::text::{ellipsis, require_line};
use crate::{DocumentId, Invalid, Timestamp};

/// Tags that are recommended and not enforced; any other tag works as well.
pub const RECOMMENDED_TAGS: [&str; 9] =
    [SUMMARY_TAG, "prd", "design", "strategy", "methodology", "market-research", "bio", "marketing", "governance"];

/// The tag of notes that a start injects.
pub const SUMMARY_TAG: &str = "executive-summary";

/// The fields of a new note.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoteFields {
    /// Required.
    pub content: Option<String>,
    /// At most 200 characters.
    pub title: Option<String>,
    /// At most 20.
    pub tags: Vec<String>,
}

impl NoteFields {
    /// Checks all fields at once. Whether the venture is known is the caller's to ask.
    ///
    /// # Errors
    /// Every bad field.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut invalid = Invalid::new();
        match &self.content {
            Some(content) => check_content(&mut invalid, content),
            None => invalid.add("content", "is required"),
        }
        if let Some(title) = &self.title {
            require_line(&mut invalid, "title", title, TITLE_CHARS);
        }
        check_tags(&mut invalid, &self.tags);
        invalid.finish()
    }
}

/// The fields of an update of a note; an empty one only moves `updated_at`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoteChanges {
    /// Cannot be cleared.
    pub content: Change<String>,
    /// Null clears.
    pub title: Change<String>,
    /// The whole new set; null clears.
    pub tags: Change<Vec<String>>,
}

impl NoteChanges {
    /// Checks all fields at once.
    ///
    /// # Errors
    /// Every bad field.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut invalid = Invalid::new();
        match &self.content {
            Change::Keep => {}
            Change::Clear => invalid.add("content", "cannot be null; archive the note instead"),
            Change::Set(content) => check_content(&mut invalid, content),
        }
        if let Some(title) = self.title.value() {
            require_line(&mut invalid, "title", title, TITLE_CHARS);
        }
        if let Some(tags) = self.tags.value() {
            check_tags(&mut invalid, tags);
        }
        invalid.finish()
    }
}

fn check_content(invalid: &mut Invalid, content: &str) {
    invalid.require(!content.trim().is_empty(), "content", "must not be empty");
    let message = format!("has {} bytes; at most {NOTE_BYTES} are allowed", content.len());
    invalid.require(content.len() <= NOTE_BYTES, "content", message);
}

fn check_tags(invalid: &mut Invalid, tags: &[String]) {
    invalid.require(tags.len() <= TAGS, "tags", format!("has {} tags; at most {TAGS} are allowed", tags.len()));
    for (index, tag) in tags.iter().enumerate().take(TAGS) {
        let field = format!("tags[{index}]");
        require_line(invalid, &field, tag, TAG_CHARS);
        invalid.require(!tags[..index].contains(tag), &field, "is there twice");
    }
}

/// A note that a start may inject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injectable {
    /// Its id.
    pub id: DocumentId,
    /// Whether it is global and not of the venture.
    pub global: bool,
    /// Last changed.
    pub updated_at: Timestamp,
}

/// Sorts notes into the order of injection: those of the venture first, inside each the newest first.
pub fn order_for_injection(notes: &mut [Injectable]) {
    notes.sort_by_key(|note| (note.global, std::cmp::Reverse((note.updated_at, note.id))));
}

/// The length of what is injected of one note, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// Of the heading line.
    pub heading: usize,
    /// Of the content.
    pub content: usize,
}

/// How a note goes into the section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Heading and whole content.
    Whole,
    /// Heading, so many characters of the content, and the notice of [`cut_notice`].
    Cut {
        /// Characters of the content.
        keep: usize,
    },
}

/// What of the notes goes into the section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Injection {
    /// The pieces of the first notes.
    pub pieces: Vec<Piece>,
    /// How many further notes are only counted.
    pub counted: usize,
}

/// Line ends around a note: one after its heading, two after its content.
const NOTE_BREAKS: usize = 3;
/// What the section heading and the line `N more …` may take, with their line ends.
const FRAME_CHARS: usize = INJECTION_SECTION_CHARS + 2;
/// The longest [`more_line`] with its line end.
const MORE_CHARS: usize = 40;

/// Chooses what of the notes, given in order, fits into a section of `budget` characters, headings included.
///
/// A note that fits goes in whole. The first that does not is cut, when at least 500 characters remain after its
/// heading; all further ones are counted. At most ten go in.
#[must_use]
pub fn plan_injection(notes: &[Length], budget: usize) -> Injection {
    let mut left = budget.saturating_sub(FRAME_CHARS);
    let mut pieces = Vec::new();
    for (index, note) in notes.iter().enumerate().take(INJECTION_NOTES) {
        let frame = note.heading.min(INJECTION_HEADING_CHARS) + NOTE_BREAKS;
        let whole = frame + note.content;
        // The line that counts the rest is needed only when there will be a rest.
        let more = if index + 1 < notes.len() { MORE_CHARS } else { 0 };
        if whole + more <= left {
            pieces.push(Piece::Whole);
            left -= whole;
            continue;
        }
        let room = left.saturating_sub(frame + more);
        if room >= INJECTION_CUT_MIN_CHARS {
            pieces.push(Piece::Cut { keep: room - CUT_NOTICE_CHARS });
        }
        break;
    }
    let counted = notes.len() - pieces.len();
    Injection { pieces, counted }
}

/// A [`cut_notice`] with the line end before it. A note's id has 31 characters.
const CUT_NOTICE_CHARS: usize = "\n[cut; read note ]".len() + 31;

/// Returns the line after a cut note.
#[must_use]
pub fn cut_notice(id: DocumentId) -> String {
    format!("[cut; read note {id}]")
}

/// Returns the line that counts the notes which were left out.
#[must_use]
pub fn more_line(counted: usize) -> String {
    format!("{counted} more (tool `notes`)")
}

/// Returns the heading line of an injected note: title, id and age, the title cut so that the line keeps its limit.
#[must_use]
pub fn injection_heading(title: &str, id: DocumentId, age: &str) -> String {
    /// A note is marked when it was not updated for this long; the mark is part of the age that the caller passes.
    const MARKS: usize = "#### ".len() + " (, )".len();
    let fixed = MARKS + id.to_string().len() + super::text::chars(age);
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("#### {} ({id}, {age})", ellipsis(&title, INJECTION_HEADING_CHARS.saturating_sub(fixed)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Kind;
    use crate::rules::limits::INJECTION_CHARS;
    use crate::rules::text::{chars, cut};

    fn note(content: &str) -> NoteFields {
        NoteFields { content: Some(content.into()), ..NoteFields::default() }
    }

    fn names(result: Result<(), Invalid>) -> Vec<String> {
        result.err().map(|invalid| invalid.fields.into_iter().map(|field| field.field).collect()).unwrap_or_default()
    }

    #[test]
    fn n_01_content_is_all_a_note_needs_and_empty_content_is_refused() {
        assert!(note("x").validate().is_ok());
        for empty in [note(""), note(" \n"), NoteFields::default()] {
            assert_eq!(names(empty.validate()), ["content"]);
        }
    }

    #[test]
    fn n_02_note_limits_are_inclusive() {
        assert!(note(&"x".repeat(512_000)).validate().is_ok());
        assert_eq!(names(note(&"x".repeat(512_001)).validate()), ["content"]);
        assert_eq!(names(note(&"ü".repeat(256_001)).validate()), ["content"]);
        let tagged = |tags: Vec<String>| NoteFields { tags, ..note("x") };
        let numbered = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        assert!(tagged(numbered(20)).validate().is_ok());
        assert_eq!(names(tagged(numbered(21)).validate()), ["tags"]);
        assert!(tagged(vec!["ü".repeat(50)]).validate().is_ok());
        assert_eq!(
            names(tagged(vec!["t".repeat(51), String::new(), "a".into(), "a".into()]).validate()),
            ["tags[0]", "tags[1]", "tags[3]"]
        );
        assert!(NoteFields { title: Some("t".repeat(200)), ..note("x") }.validate().is_ok());
        assert_eq!(names(NoteFields { title: Some("t".repeat(201)), ..note("x") }.validate()), ["title"]);
    }

    #[test]
    fn n_06_nine_tags_are_recommended_and_any_other_is_accepted() {
        assert_eq!(RECOMMENDED_TAGS.len(), 9);
        assert!(NoteFields { tags: vec!["another %_\"* tag".into()], ..note("x") }.validate().is_ok());
    }

    #[test]
    fn n_07_null_clears_all_but_the_content() {
        let cleared = NoteChanges { title: Change::Clear, tags: Change::Clear, ..NoteChanges::default() };
        assert!(cleared.validate().is_ok() && NoteChanges::default().validate().is_ok());
        let nothing =
            NoteChanges { content: Change::Clear, title: Change::Set(String::new()), ..NoteChanges::default() };
        assert_eq!(names(nothing.validate()), ["content", "title"]);
    }

    fn id(n: u8) -> DocumentId {
        DocumentId { kind: Kind::Note, raw: [n; 16] }
    }

    #[test]
    fn n_08_notes_of_the_venture_come_first_and_the_newest_of_each() {
        let row = |n: u8, global: bool, at: i64| Injectable { id: id(n), global, updated_at: Timestamp(at) };
        let mut rows = [row(1, true, 9), row(2, false, 3), row(3, false, 5), row(4, true, 7)];
        order_for_injection(&mut rows);
        assert_eq!(rows.map(|row| row.id), [id(3), id(2), id(1), id(4)]);
    }

    fn lengths(contents: &[usize], heading: usize) -> Vec<Length> {
        contents.iter().map(|content| Length { heading, content: *content }).collect()
    }

    #[test]
    fn n_09_two_go_in_whole_the_third_is_cut_and_without_room_it_is_counted() {
        let plan = plan_injection(&lengths(&[8_000, 3_000, 5_000], 120), INJECTION_CHARS);
        assert!(matches!(plan.pieces[..], [Piece::Whole, Piece::Whole, Piece::Cut { .. }]), "{plan:?}");
        assert_eq!(plan.counted, 0);
        let plan = plan_injection(&lengths(&[8_000, 3_200, 5_000], 120), INJECTION_CHARS);
        assert_eq!(plan, Injection { pieces: vec![Piece::Whole, Piece::Whole], counted: 1 });
        let plan = plan_injection(&lengths(&[20_000, 10], 120), INJECTION_CHARS);
        assert!(matches!(plan.pieces[..], [Piece::Cut { .. }]) && plan.counted == 1);
        let plan = plan_injection(&lengths(&[1; 12], 120), INJECTION_CHARS);
        assert_eq!((plan.pieces.len(), plan.counted), (10, 2));
    }

    /// Renders as the start output does, to hold the plan to its budget in real characters.
    fn section(notes: &[(String, String)], plan: &Injection) -> String {
        let mut out = format!("{}\n", "h".repeat(INJECTION_SECTION_CHARS));
        for ((heading, content), piece) in notes.iter().zip(&plan.pieces) {
            let body = match piece {
                Piece::Whole => content.clone(),
                Piece::Cut { keep } => format!("{}\n{}", cut(content, *keep), cut_notice(id(1))),
            };
            out.push_str(&format!("{heading}\n{body}\n\n"));
        }
        if plan.counted > 0 {
            out.push_str(&format!("{}\n", more_line(plan.counted)));
        }
        out
    }

    proptest! {
        #[test]
        fn n_09_the_section_never_passes_its_budget(
            contents in proptest::collection::vec(0_usize..6_000, 0..14),
            title in ".{0,150}",
            budget in 2_000_usize..13_000,
        ) {
            let heading = injection_heading(&title, id(7), "just now (clock ahead), old");
            prop_assert!(chars(&heading) <= INJECTION_HEADING_CHARS);
            let notes: Vec<_> = contents.iter().map(|len| (heading.clone(), "界".repeat(*len))).collect();
            let plan = plan_injection(&lengths(&contents, chars(&heading)), budget);
            prop_assert_eq!(plan.pieces.len() + plan.counted, contents.len());
            prop_assert!(chars(&section(&notes, &plan)) <= budget);
        }
    }
}
