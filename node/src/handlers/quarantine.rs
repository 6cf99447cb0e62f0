//! What is kept and not applied: held back because of its author, or waiting for what it builds on.

use ctxnode_api::node::{Empty, QuarantineView, WaitingView};
use ctxnode_api::{Iso, List};
use ctxnode_store::{Missing, QuarantineRow};

use super::who::Names;
use crate::app::{Answer, Cx, Handled};

/// How many are listed.
const ROWS: usize = 100;

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

/// What can be done about an entry that is held back.
fn fix_of(row: &QuarantineRow, machine: &str) -> String {
    match row.reason.pointer("/reason").and_then(serde_json::Value::as_str) {
        Some("revoked" | "role") => {
            format!("look at it with that machine's user; an admin applies it with `ctxnode fleet accept {machine}`")
        }
        Some("unknown-author") => "it is applied by itself when this machine learns who the author is".to_owned(),
        Some("space") => "its author has no right to that venture; nothing applies it".to_owned(),
        _ => "nothing applies it; its author's other entries are not affected".to_owned(),
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

fn fix_of_waiting(missing: &[Missing], names: &Names) -> String {
    let held = missing.iter().find_map(|missing| match missing {
        Missing::Quarantined { log, .. } => Some(names.of(log.author)),
        _ => None,
    });
    match held {
        Some(machine) => format!("look at `ctxnode quarantine`; `ctxnode fleet accept {machine}` applies both"),
        None => "it is applied by itself when the other arrives: let the machines meet that wrote to it".to_owned(),
    }
}
