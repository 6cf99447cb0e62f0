//! What changed on other machines: told once at the next start of a session, and shown by the status after this node was
//! out of touch. Where each reader stands is node-local and never replicates.

use std::collections::{BTreeMap, BTreeSet};

use ctxnode_api::Iso;
use ctxnode_api::node::ArrivedView;
use ctxnode_model::record::{Claim, Doc, Handoff, Note, Record, Session};
use ctxnode_model::{DocumentId, Kind, NodeKey, Rec, Timestamp};
use ctxnode_store::{Draft, LocalTable, Reader};

use super::conflicts;
use super::who::Names;
use crate::app::App;
use crate::failure::Failure;

/// How many journal rows are looked at: a week of a busy fleet. Beyond it the counts say that there is more.
const ROWS: usize = 20_000;
/// How many records are looked into.
const RECORDS: usize = 2_000;
/// How many conflicts are named.
const CONFLICTS: usize = 3;
/// What is counted, with the word for one and for several.
const COUNTED: &[(Kind, &str, &str)] = &[
    (Kind::Handoff, "handoff", "handoffs"),
    (Kind::Note, "note", "notes"),
    (Kind::Claim, "claim", "claims"),
    (Kind::Doc, "doc", "docs"),
];
const VENTURE_KEY: &[u8] = b"told:";

/// What came from other machines after a position of the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrivals {
    counts: BTreeMap<Kind, u64>,
    authors: BTreeSet<NodeKey>,
    conflicts: Vec<String>,
    more: bool,
}

impl Arrivals {
    /// Looks at the journal after `position`; with a venture, only at its records and at global ones.
    pub(crate) fn after(
        reader: Reader<'_>,
        own: NodeKey,
        position: u64,
        venture: Option<&str>,
    ) -> Result<Self, Failure> {
        let (rows, more) = reader.journal_of_others(own, position, ROWS)?;
        let mut found = Self { more, ..Self::default() };
        let mut seen = BTreeSet::new();
        for (author, documents) in rows {
            for id in documents.into_iter().filter(|id| COUNTED.iter().any(|(kind, ..)| *kind == id.kind)) {
                if seen.len() >= RECORDS {
                    found.more = true;
                    return Ok(found);
                }
                if !seen.contains(&id) {
                    let Some(record) = Known::read(reader, id)? else { continue };
                    if venture.is_some_and(|wanted| record.venture.as_deref().is_some_and(|found| found != wanted)) {
                        continue;
                    }
                    *found.counts.entry(id.kind).or_default() += 1;
                    found.conflicts.extend(record.conflict.filter(|_| found.conflicts.len() < CONFLICTS));
                    seen.insert(id);
                }
                found.authors.insert(author);
            }
        }
        Ok(found)
    }

    fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// `2 handoffs, 1 note`.
    fn counted(&self) -> String {
        let word = |(kind, one, several): &(Kind, &str, &str)| {
            let count = *self.counts.get(kind)?;
            Some(format!("{count} {}", if count == 1 { one } else { several }))
        };
        let words: Vec<String> = COUNTED.iter().filter_map(word).collect();
        format!("{}{}", words.join(", "), if self.more { " and more" } else { "" })
    }

    /// What the machines are called that changed something.
    fn machines(&self, reader: Reader<'_>, app: &App) -> Result<Vec<String>, Failure> {
        let names = Names::read(&app.store, reader)?;
        Ok(self.authors.iter().map(|node| names.of(*node)).collect())
    }

    /// The lines for an agent.
    fn lines(&self, reader: Reader<'_>, app: &App) -> Result<Vec<String>, Failure> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        let machines = self.machines(reader, app)?.join(", ");
        let mut lines = vec![format!("since the last start here, {} changed on {machines}", self.counted())];
        lines.extend(self.conflicts.iter().cloned());
        Ok(lines)
    }

    /// What the status shows; `None` when nothing came.
    pub(crate) fn view(
        &self,
        reader: Reader<'_>,
        app: &App,
        since: Option<Timestamp>,
        at: Timestamp,
    ) -> Result<Option<ArrivedView>, Failure> {
        if self.is_empty() {
            return Ok(None);
        }
        let names = COUNTED.iter().filter_map(|(kind, one, _)| Some(((*one).to_owned(), *self.counts.get(kind)?)));
        Ok(Some(ArrivedView {
            since: since.map(Iso),
            at: Iso(at),
            records: names.collect(),
            machines: self.machines(reader, app)?,
            conflicts: self.conflicts.clone(),
            more: self.more,
        }))
    }
}

/// What is needed of a record of any kind.
struct Known {
    venture: Option<String>,
    conflict: Option<String>,
}

impl Known {
    fn read(reader: Reader<'_>, id: DocumentId) -> Result<Option<Self>, Failure> {
        Ok(match id.kind {
            Kind::Handoff => Self::of(reader.get::<Handoff>(id)?, |handoff| Some(handoff.venture.clone())),
            Kind::Note => Self::of(reader.get::<Note>(id)?, |note| note.venture.clone()),
            Kind::Claim => Self::of(reader.get::<Claim>(id)?, |claim| Some(claim.venture.clone())),
            Kind::Doc => {
                Self::of(reader.get::<Doc>(id)?, |doc| Some(doc.scope.clone()).filter(|scope| scope != "global"))
            }
            _ => None,
        })
    }

    fn of<T: Record>(found: Option<Rec<T>>, venture: impl Fn(&T) -> Option<String>) -> Option<Self> {
        let record = found?;
        let fields: Vec<String> = record.meta.conflicts.iter().map(|conflict| conflict.field.clone()).collect();
        let id = record.id.to_string();
        // A start shows the beginning of a line, so the title is left out for the command.
        let said = || format!("{}: {}", conflicts::said(&id, None, &fields), conflicts::choose(&id, &fields));
        let conflict = (!fields.is_empty()).then(said);
        Some(Self { venture: venture(&record.value), conflict })
    }
}

/// Returns what an agent that starts should hear, and notes that it was told. An agent that goes on in its session hears
/// what came since its own last start; a new one, since the last start of anybody in the venture here.
pub(super) fn tell(
    draft: &mut Draft<'_>,
    app: &App,
    session: &Session,
    seen: Option<u64>,
    end: u64,
) -> Result<Vec<String>, Failure> {
    if app.store.authority().members().nth(1).is_none() {
        return Ok(Vec::new());
    }
    let key = [VENTURE_KEY, session.venture.as_bytes()].concat();
    let reader = draft.reader();
    let mark =
        reader.local(LocalTable::Caches, &key)?.and_then(|bytes| Some(u64::from_be_bytes(bytes.try_into().ok()?)));
    let arrivals = match seen.or(mark) {
        Some(position) => Arrivals::after(reader, app.store.node(), position, Some(&session.venture))?,
        // Everything is new to the first one, and the parts of the start show it.
        None => Arrivals::default(),
    };
    draft.put_local(LocalTable::Caches, key, end.to_be_bytes());
    arrivals.lines(draft.reader(), app)
}
