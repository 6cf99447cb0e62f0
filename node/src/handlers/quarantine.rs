//! What is kept and not applied: held back because of its author, or waiting for what it builds on.

use ctxnode_api::node::{Empty, QuarantineView, WaitingView};
use ctxnode_api::{ErrorBody, Iso, List};
use ctxnode_model::NodeKey;
use ctxnode_store::{Missing, QuarantineRow};
use serde_json::Value;

use super::who::Names;
use crate::app::{Answer, Cx, Handled};
use crate::failure::Failure;

/// How many are listed.
const ROWS: usize = 100;
/// How many are looked at for one that can be accepted.
const LOOKED_AT: usize = 10_000;

pub(crate) async fn list(cx: &Cx, _: Empty) -> Handled {
    let snapshot = cx.read()?;
    let (rows, total) = snapshot.reader().quarantine(ROWS)?;
    let names = Names::read(&cx.app.store, snapshot.reader())?;
    let now = cx.now();
    let items: Vec<QuarantineView> = rows
        .into_iter()
        .map(|row| {
            let machine = names.of(row.log.author);
            QuarantineView {
                author: row.log.author.to_string(),
                epoch: row.log.epoch,
                seq: row.seq,
                op: row.op,
                fix: fix_of(&row, &machine),
                machine,
                at: Iso(row.at),
                age: row.at.age(now),
                what: row.what.join(", "),
                why: row.why,
                reason: row.reason,
            }
        })
        .collect();
    let shown = items.len();
    Answer::ok(List { items, shown, total, has_more: (shown as u64) < total, next_cursor: None })
}

/// What applies something that is held back; what is better comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Remedy {
    /// It is applied by itself when its author is known.
    Itself,
    /// An admin accepts it.
    Accept,
    /// Nothing does.
    None { no_right: bool },
}

impl Remedy {
    fn of(reason: &Value) -> Self {
        match reason.pointer("/reason").and_then(Value::as_str) {
            Some("revoked" | "role") => Self::Accept,
            Some("unknown-author") => Self::Itself,
            other => Self::None { no_right: other == Some("space") },
        }
    }
}

/// Whether anything is held back of a node that an admin can accept.
///
/// # Errors
/// When all that is held back of it can be accepted by nobody; the message says why.
pub(super) fn holds_back(cx: &Cx, node: NodeKey) -> Result<bool, Failure> {
    let snapshot = cx.read()?;
    let (rows, total) = snapshot.reader().quarantine(LOOKED_AT)?;
    let looked_at_all = rows.len() as u64 == total;
    let rows: Vec<QuarantineRow> = rows.into_iter().filter(|row| row.log.author == node).collect();
    // Among more than were looked at there may be one.
    if !looked_at_all || rows.iter().any(|row| Remedy::of(&row.reason) == Remedy::Accept) {
        return Ok(true);
    }
    let Some(first) = rows.first() else { return Ok(false) };
    let names = Names::read(&cx.app.store, snapshot.reader())?;
    let why = fix_of(first, &names.of(node));
    Err(ErrorBody::field("node", format!("has nothing that could be accepted: {why}")).into())
}

/// What can be done about an entry that is held back.
fn fix_of(row: &QuarantineRow, machine: &str) -> String {
    match Remedy::of(&row.reason) {
        Remedy::Accept => {
            format!("look at it with that machine's user; an admin applies it with `ctxnode fleet accept {machine}`")
        }
        Remedy::Itself => "it is applied by itself when this machine learns who the author is".to_owned(),
        Remedy::None { no_right: true } => "its author has no right to that venture; nothing applies it".to_owned(),
        Remedy::None { .. } => "nothing applies it; its author's other entries are not affected".to_owned(),
    }
}

pub(crate) async fn waiting(cx: &Cx, _: Empty) -> Handled {
    let snapshot = cx.read()?;
    let rows = snapshot.reader().waiting(ROWS)?;
    let total = snapshot.reader().waiting_count()?;
    let names = Names::read(&cx.app.store, snapshot.reader())?;
    let now = cx.now();
    let items: Vec<WaitingView> = rows
        .into_iter()
        .map(|row| WaitingView {
            record: row.document.to_string(),
            kind: row.document.kind.name().to_owned(),
            author: row.log.author.to_string(),
            epoch: row.log.epoch,
            seq: row.seq,
            op: row.op,
            machine: names.of(row.log.author),
            at: Iso(row.at),
            age: row.at.age(now),
            waits_for: row.missing.iter().map(|missing| in_words(missing, &names)).collect(),
            fix: fix_of_waiting(&row.missing, &names),
        })
        .collect();
    let shown = items.len();
    Answer::ok(List { items, shown, total, has_more: (shown as u64) < total, next_cursor: None })
}

fn in_words(missing: &Missing, names: &Names) -> String {
    let short = |hash: &[u8; 32]| hash[..4].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match missing {
        Missing::Change(hash) => format!("change {} of it, which has not arrived", short(hash)),
        Missing::Waiting(hash) => format!("change {} of it, which waits too", short(hash)),
        Missing::Quarantined { hash, log, .. } => {
            format!("change {} of it by {}, which is held back", short(hash), names.of(log.author))
        }
        Missing::Earlier => "earlier changes of that machine to it".to_owned(),
    }
}

/// What can be done about a change that waits: it is helped when all is that it waits for.
fn fix_of_waiting(missing: &[Missing], names: &Names) -> String {
    let held = missing.iter().filter_map(|missing| match missing {
        Missing::Quarantined { log, reason, .. } => Some((Remedy::of(reason), log.author)),
        _ => None,
    });
    match held.max_by_key(|(remedy, _)| *remedy) {
        Some((Remedy::Accept, author)) => {
            format!("look at `ctxnode quarantine`; `ctxnode fleet accept {}` applies both", names.of(author))
        }
        Some((Remedy::Itself, _)) => {
            "both are applied by themselves when this machine learns who the author of the other is".to_owned()
        }
        Some((Remedy::None { .. }, _)) => {
            "nothing applies what it builds on (`ctxnode quarantine` says why), so it stays out too: write what it said anew"
                .to_owned()
        }
        None => "it is applied by itself when the other arrives: let the machines meet that wrote to it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use ctxnode_model::frontier::LogId;
    use ctxnode_model::{NodeKey, SpaceId};
    use serde_json::json;

    use super::*;

    /// `fleet accept` is named where it helps: not for what nothing applies, whatever else is missing.
    #[test]
    fn what_a_waiting_change_needs_depends_on_why_the_other_is_held_back() {
        let author = NodeKey([1; 32]);
        let held = |reason: &str| Missing::Quarantined {
            hash: [0; 32],
            log: LogId { author, space: SpaceId([0; 16]), epoch: 0 },
            seq: 1,
            reason: json!({ "reason": reason }),
        };
        let names = Names::default();
        let accept = format!("ctxnode fleet accept {}", names.of(author));
        let fix =
            |reasons: &[&str]| fix_of_waiting(&reasons.iter().map(|reason| held(reason)).collect::<Vec<_>>(), &names);
        for reason in ["revoked", "role"] {
            assert!(fix(&[reason]).contains(&accept) && fix(&[reason, "unknown-author"]).contains(&accept));
        }
        assert!(fix(&["unknown-author"]).contains("by themselves"));
        for hopeless in ["space", "malformed"] {
            assert!(fix(&[hopeless]).contains("write what it said anew"));
            assert!(!fix(&["revoked", hopeless]).contains("accept"));
        }
        assert!(fix_of_waiting(&[Missing::Earlier], &names).contains("when the other arrives"));
    }
}
