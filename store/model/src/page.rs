//! Keyset paging: newest first by (time, id), never by offset.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::{DocumentId, Timestamp};

/// The page length when the caller names none.
pub const DEFAULT_LIMIT: u32 = 20;
/// The longest page. Longer ones would let one call hold a read snapshot and a response buffer for long.
pub const MAX_LIMIT: u32 = 100;

/// Where a page ended: the next one begins strictly after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// The sort time of the last row.
    pub t: Timestamp,
    /// The id of the last row.
    pub id: DocumentId,
}

impl Cursor {
    /// Returns base64url of JSON `{t, id}`.
    #[must_use]
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads what [`Self::encode`] wrote; `None` for anything else.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }
}

/// One page of a list. A page length is never shown as a total.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows, newest first.
    pub items: Vec<T>,
    /// How many rows match in all.
    pub total: u64,
    /// Where to go on, when there is more.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// Returns the same page over other rows.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(f).collect(), total: self.total, next: self.next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn a_cursor_round_trips_and_a_broken_one_is_refused() {
        let cursor = Cursor { t: Timestamp(5), id: DocumentId { kind: Kind::Note, raw: [7; 16] } };
        assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        for json in [r#"{"t":5}"#, r#"{"id":"note_00000000000000000000000000"}"#, "{}", "5"] {
            assert_eq!(Cursor::decode(&URL_SAFE_NO_PAD.encode(json)), None, "{json}");
        }
        assert_eq!(Cursor::decode("***"), None);
    }
}
