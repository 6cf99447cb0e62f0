//! Limits, cursors and pieces: the same checks for every list and every body.

use ctxnode_api::{ErrorBody, ErrorCode};
use ctxnode_model::page::{Cursor, DEFAULT_LIMIT, MAX_LIMIT};
use ctxnode_model::{DocumentId, Invalid, Kind};

use crate::failure::Failure;

/// The most characters of a body piece.
pub(crate) const PIECE_CHARS: usize = 16_000;

/// Where and how much to read of a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) limit: usize,
    pub(crate) after: Option<Cursor>,
}

/// Checks limit and cursor.
///
/// # Errors
/// When the limit is not 1 to 100, or the cursor is not one that a list of this kind gave out.
pub(crate) fn window(limit: Option<i64>, cursor: Option<&str>, kind: Kind) -> Result<Window, Failure> {
    let mut invalid = Invalid::new();
    let limit = check_limit(&mut invalid, limit);
    invalid.finish()?;
    let after = match cursor {
        None => None,
        Some(text) => {
            let decoded = Cursor::decode(text).filter(|cursor| cursor.id.kind == kind);
            Some(decoded.ok_or_else(|| {
                ErrorBody::new(ErrorCode::InvalidCursor, "the cursor is not one that this list gave out")
                    .hint("begin again without a cursor")
            })?)
        }
    };
    Ok(Window { limit, after })
}

/// Checks a limit beside other fields; one that is bad reads as 1.
pub(crate) fn check_limit(invalid: &mut Invalid, limit: Option<i64>) -> usize {
    let limit = limit.unwrap_or_else(|| i64::from(DEFAULT_LIMIT));
    invalid.require((1..=i64::from(MAX_LIMIT)).contains(&limit), "limit", format!("expected 1 to {MAX_LIMIT}"));
    usize::try_from(limit).unwrap_or(1)
}

/// Parses an id of a path or a field.
///
/// # Errors
/// When its form is wrong.
pub(crate) fn id(kind: Kind, field: &str, text: &str) -> Result<DocumentId, Failure> {
    DocumentId::parse(kind, text).map_err(|error| ErrorBody::field(field, error.to_string()).into())
}

/// A piece of a text, counted in characters.
pub(crate) struct Piece {
    pub(crate) content: String,
    pub(crate) offset: usize,
    pub(crate) total_chars: usize,
    pub(crate) next_offset: Option<usize>,
}

/// Cuts a piece out of a text.
///
/// # Errors
/// When offset or length is out of range.
pub(crate) fn piece(text: &str, offset: Option<i64>, max_chars: Option<i64>) -> Result<Piece, Failure> {
    let mut invalid = Invalid::new();
    let offset = usize::try_from(offset.unwrap_or(0)).ok();
    invalid.require(offset.is_some(), "offset", "expected 0 or more");
    let most =
        usize::try_from(max_chars.unwrap_or(PIECE_CHARS as i64)).ok().filter(|most| (1..=PIECE_CHARS).contains(most));
    invalid.require(most.is_some(), "max_chars", format!("expected 1 to {PIECE_CHARS}"));
    invalid.finish()?;
    let (offset, most) = (offset.unwrap_or(0), most.unwrap_or(PIECE_CHARS));
    let total_chars = text.chars().count();
    let content: String = text.chars().skip(offset).take(most).collect();
    let end = offset.saturating_add(most);
    Ok(Piece { content, offset, total_chars, next_offset: (end < total_chars).then_some(end) })
}
