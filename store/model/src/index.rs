//! The secondary indexes, as a pure function of a record's view.
//!
//! An index row is `(index, prefix, sort, id)`. Rows of one prefix are read newest first, and the number of rows of each
//! prefix is counted as they change, so that a list can say its total without walking it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::{DocumentId, Kind, RecordMeta};

/// Which question an index answers. The number is part of the stored key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Index {
    /// All living records of a kind by creation (notes: by update). Prefix: nothing; the kind is in the key.
    All = 1,
    /// The same by venture. Prefix: venture or `-`.
    Venture = 2,
    /// Sessions neither ended nor abandoned. Prefix: venture.
    SessionOpen = 3,
    /// Sessions and handoffs by repo. Prefix: venture, repo. Handoffs sort by causal stamp.
    Repo = 4,
    /// Handoffs of a thread by causal stamp. Prefix: venture, thread.
    Thread = 5,
    /// Handoffs that nothing has superseded or closed. Prefix: venture. Maintained by the store per thread.
    HandoffOpen = 6,
    /// Handoffs and claims of a session. Prefix: session id.
    Session = 7,
    /// Notes by tag, not archived. Prefix: venture or `-`, tag.
    NoteTag = 8,
    /// Notes that are not archived. Prefix: venture or `-`.
    NoteLive = 9,
    /// Docs by scope. Prefix: scope.
    Scope = 10,
    /// Claims that were not released. Prefix: venture.
    ClaimLive = 11,
    /// Machines by host name. Prefix: host name.
    Host = 12,
    /// Escalations that nobody resolved. Prefix: venture.
    EscalationOpen = 13,
    /// Archived notes. Prefix: venture or `-`.
    NoteArchived = 14,
    /// Open sessions of every venture. Prefix: nothing.
    SessionOpenAll = 15,
    /// The open handoffs of a thread. Prefix: venture, thread. Maintained by the store beside [`Self::HandoffOpen`].
    ThreadOpen = 16,
}

/// One row of an index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexRow {
    /// Which index.
    pub index: Index,
    /// The prefix that the index is asked by. No part holds a NUL byte (validation refuses them).
    pub prefix: Vec<String>,
    /// What rows of one prefix are sorted by: milliseconds, or a stamp where the index says so.
    pub sort: u64,
}

/// Returns the rows of a record. A deleted record has none.
#[must_use]
pub fn rows(id: DocumentId, meta: &RecordMeta, view: &Map<String, Value>) -> Vec<IndexRow> {
    if meta.deleted {
        return Vec::new();
    }
    let text = |name: &str| view.get(name).and_then(Value::as_str).unwrap_or("-").replace('\0', "");
    let ms = |name: &str| view.get(name).and_then(Value::as_i64).and_then(|v| u64::try_from(v).ok()).unwrap_or(0);
    let absent = |name: &str| view.get(name).is_none_or(Value::is_null);
    let row = |index, prefix: &[String], sort| IndexRow { index, prefix: prefix.to_vec(), sort };
    let venture = text("venture");
    let stamp = meta.created.stamp.0;

    let mut out = Vec::new();
    match id.kind {
        Kind::Session => {
            let at = ms("created_at");
            out.push(row(Index::All, &[], at));
            out.push(row(Index::Venture, std::slice::from_ref(&venture), at));
            out.push(row(Index::Repo, &[venture.clone(), text("repo")], at));
            if absent("ended") && absent("abandoned") {
                out.push(row(Index::SessionOpen, &[venture], at));
                out.push(row(Index::SessionOpenAll, &[], at));
            }
        }
        Kind::Handoff => {
            out.push(row(Index::All, &[], ms("created_at")));
            out.push(row(Index::Venture, std::slice::from_ref(&venture), ms("created_at")));
            out.push(row(Index::Repo, &[venture.clone(), text("repo")], stamp));
            out.push(row(Index::Thread, &[venture, text("thread")], stamp));
            out.push(row(Index::Session, &[text("session_id")], stamp));
        }
        Kind::Note => {
            let at = ms("updated_at");
            out.push(row(Index::All, &[], at));
            out.push(row(Index::Venture, std::slice::from_ref(&venture), at));
            if view.get("archived").and_then(Value::as_bool).unwrap_or(false) {
                out.push(row(Index::NoteArchived, &[venture], at));
            } else {
                out.push(row(Index::NoteLive, std::slice::from_ref(&venture), at));
                let tags = view.get("tags").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
                // Tags that were written past validation may become one.
                let tags: BTreeSet<String> = tags.map(|tag| tag.replace('\0', "")).collect();
                out.extend(tags.into_iter().map(|tag| row(Index::NoteTag, &[venture.clone(), tag], at)));
            }
        }
        Kind::Doc | Kind::GeneratedDoc => {
            out.push(row(Index::All, &[], ms("created_at")));
            out.push(row(Index::Scope, &[text("scope")], ms("created_at")));
        }
        Kind::Claim => {
            out.push(row(Index::All, &[], ms("taken_at")));
            if absent("released_at") {
                out.push(row(Index::ClaimLive, &[venture], stamp));
                out.push(row(Index::Session, &[text("session_id")], stamp));
            }
        }
        Kind::Machine => {
            out.push(row(Index::All, &[], ms("registered_at")));
            out.push(row(Index::Host, &[text("hostname")], ms("registered_at")));
        }
        Kind::Escalation => {
            out.push(row(Index::All, &[], ms("created_at")));
            if absent("resolved") {
                out.push(row(Index::EscalationOpen, &[venture], ms("created_at")));
            }
        }
        Kind::Event => {
            out.push(row(Index::All, &[], ms("at")));
            out.push(row(Index::Venture, &[venture], ms("at")));
        }
        Kind::Requirement | Kind::Venture | Kind::Plan => out.push(row(Index::All, &[], ms("created_at"))),
    }
    out
}
