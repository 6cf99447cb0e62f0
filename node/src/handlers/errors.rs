//! Errors that a session saw: counted by their normal form, with the notice that is due at the third, sixth and twelfth, and
//! for a credential that stays missing. Node-local, and a success of the same command ends the counting.
//!
//! Not here: what an error is (`ctxnode_model::rules::escalation`), calls for help.

use ctxnode_model::DocumentId;
use ctxnode_model::rules::escalation::{Counters, Notice};
use ctxnode_model::rules::secrets::redact;
use ctxnode_model::rules::text::ellipsis;
use ctxnode_store::{Draft, LocalTable, Reader};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// How much of an error stands in a notice; the agent has seen all of it.
const SHOWN_CHARS: usize = 60;

/// The counters of a session as they are stored.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Row {
    /// When they were last changed, in milliseconds; old ones are purged by it.
    at: i64,
    #[serde(flatten)]
    counters: Counters,
}

/// What came of counting an error.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    /// How often it was seen since its command last succeeded.
    pub(super) count: u32,
    /// What the agent is to be told now; mostly nothing.
    pub(super) notices: Vec<String>,
}

fn key(id: DocumentId) -> Vec<u8> {
    [b"errors:".as_slice(), &id.to_bytes()].concat()
}

fn row(reader: Reader<'_>, id: DocumentId) -> Result<Row, Failure> {
    let found = reader.local(LocalTable::Captures, &key(id))?;
    Ok(found.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
}

fn keep(draft: &mut Draft<'_>, id: DocumentId, mut row: Row) {
    row.at = draft.now().0;
    draft.put_local(LocalTable::Captures, key(id), serde_json::to_vec(&row).unwrap_or_default());
}

/// Counts an error of a session; `command` names what failed, when that is known.
pub(super) fn count(
    draft: &mut Draft<'_>,
    id: DocumentId,
    error: &str,
    command: Option<&str>,
) -> Result<Counted, Failure> {
    let mut row = row(draft.reader(), id)?;
    let due = row.counters.error(error, command, draft.now());
    let count = row.counters.count(error);
    keep(draft, id, row);
    Ok(Counted { count, notices: due.iter().map(|notice| text(notice, error)).collect() })
}

/// Whether a success of this command changes anything: mostly it does not, and then nothing is written.
pub(super) fn is_counted(reader: Reader<'_>, id: DocumentId, command: &str) -> Result<bool, Failure> {
    let mut after = row(reader, id)?.counters;
    let before = after.clone();
    after.success(command);
    Ok(after != before)
}

/// Ends the counting of what a command did wrong before.
pub(super) fn succeeded(draft: &mut Draft<'_>, id: DocumentId, command: &str) -> Result<(), Failure> {
    let mut row = row(draft.reader(), id)?;
    row.counters.success(command);
    keep(draft, id, row);
    Ok(())
}

/// Returns how often the session's most frequent error was seen.
pub(super) fn most(reader: Reader<'_>, id: DocumentId) -> Result<u32, Failure> {
    Ok(row(reader, id)?.counters.most())
}

/// States what was seen and what the rule is: whoever reads it is an agent, and what reads like an order from a tool looks
/// like an attack.
fn text(notice: &Notice, error: &str) -> String {
    let error = redact(error);
    let shown = error.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let shown = ellipsis(shown, SHOWN_CHARS);
    match notice {
        Notice::RepeatedError { count, .. } => format!(
            "The same error was seen {count} times in this session: {shown}. The team's rule: stop at the third, and `escalate` with what was tried."
        ),
        Notice::Credential => format!(
            "A credential has been missing for more than 2 minutes: {shown}. The team's rule: stop, file an issue, ask the human."
        ),
        Notice::Blocked => {
            "The time-box of 30 minutes is over. The team's rule: escalate, or work on something else.".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use ctxnode_model::rules::escalation::Signature;

    use super::*;

    #[test]
    fn a_notice_shows_the_first_line_without_secrets() {
        let secret = format!("ghp_{}", "a1B2".repeat(9));
        let notice = Notice::RepeatedError { signature: Signature::of("x"), count: 3 };
        let said = text(&notice, &format!("\n  push of {secret} failed\nmore"));
        assert!(said.contains("seen 3 times") && said.contains("[redacted: GitHub token] failed"), "{said}");
        assert!(!said.contains("ghp_") && !said.contains("more"), "{said}");
        assert!(text(&notice, &"x".repeat(5_000)).chars().count() <= 200, "one line of the news");
    }

    #[test]
    fn counters_keep_their_form_beside_their_time() {
        let mut row = Row { at: 5, ..Row::default() };
        row.counters.error("broken", Some("make"), ctxnode_model::Timestamp(1));
        let text = serde_json::to_vec(&row).unwrap();
        let read: Row = serde_json::from_slice(&text).unwrap();
        assert_eq!((read.at, read.counters.count("broken")), (5, 1));
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&text).unwrap()["at"], 5, "the purge looks there");
    }
}
