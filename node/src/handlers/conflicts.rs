//! Records with two values of a field, until somebody chooses: found where entries of others arrive, remembered on this
//! node alone, asked anew each time, so that one that was resolved anywhere is gone.

use std::collections::BTreeSet;

use ctxnode_api::node::Unresolved;
use ctxnode_model::{DocumentId, Kind};
use ctxnode_store::{LocalTable, Reader, StoreError};
use serde::{Deserialize, Serialize};

use crate::app::{App, Cx};
use crate::caller::venture_of;
use crate::failure::Failure;

const KEY: &[u8] = b"conflicts";
/// How many journal rows one look goes through: a new replica works through a large fleet in steps of some ten milliseconds.
const ROWS: usize = 2_000;
/// How many records are remembered. Nobody resolves more than that by hand.
const MOST: usize = 1_000;
/// How many are named.
const NAMED: usize = 10;
/// What a person can decide about. All others end by themselves, or are made anew.
const DECIDED: [Kind; 6] = [Kind::Note, Kind::Doc, Kind::Claim, Kind::Venture, Kind::Requirement, Kind::Plan];

/// Up to where the journal was gone through, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    position: u64,
    records: BTreeSet<String>,
}

impl Known {
    fn read(reader: Reader<'_>) -> Result<Self, StoreError> {
        let found = reader.local(LocalTable::Caches, KEY)?;
        let known: Self = found.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        // A journal that is shorter than what was seen of it is another one.
        Ok(if known.position > reader.journal_end()? { Self::default() } else { known })
    }

    /// Goes through the next rows of the journal; what has been resolved is forgotten.
    fn look(mut self, reader: Reader<'_>) -> Result<Self, StoreError> {
        for (position, row) in reader.journal_after(self.position, ROWS)? {
            if self.records.len() >= MOST {
                // The rest is looked at when some of these are resolved.
                break;
            }
            self.position = position;
            for id in row.documents.into_iter().filter(|id| DECIDED.contains(&id.kind)) {
                if !fields(reader, id)?.is_empty() {
                    self.records.insert(id.to_string());
                }
            }
        }
        let mut open = BTreeSet::new();
        for text in self.records {
            if let Ok(id) = text.parse()
                && !fields(reader, id)?.is_empty()
            {
                open.insert(text);
            }
        }
        Ok(Self { records: open, ..self })
    }
}

/// The fields of a record that have two values.
fn fields(reader: Reader<'_>, id: DocumentId) -> Result<Vec<String>, StoreError> {
    let meta = reader.meta(id)?.filter(|meta| !meta.deleted);
    Ok(meta.into_iter().flat_map(|meta| meta.conflicts).map(|conflict| conflict.field).collect())
}

/// Looks for new ones; called every few seconds. A node without others has none.
pub(crate) async fn look(app: &App) -> Result<(), Failure> {
    if app.store.authority().members().nth(1).is_none() {
        return Ok(());
    }
    let (before, after) = {
        let snapshot = app.store.read()?;
        let before = Known::read(snapshot.reader())?;
        (before.clone(), before.look(snapshot.reader())?)
    };
    if after != before {
        let bytes = serde_json::to_vec(&after).unwrap_or_default();
        let noted = app.store.write(move |draft| {
            draft.put_local(LocalTable::Caches, KEY, bytes);
            Ok::<(), StoreError>(())
        });
        noted.await.map_err(|error| Failure::Store(error.flatten()))?;
    }
    Ok(())
}

/// Returns the first of those that are open and that the caller may see, and how many there are.
pub(super) fn unresolved(reader: Reader<'_>, cx: &Cx) -> Result<(Vec<Unresolved>, u64), Failure> {
    let mut found = Vec::new();
    let mut count = 0;
    // What has come since the last look counts as well.
    for id in Known::read(reader)?.look(reader)?.records.iter().filter_map(|text| text.parse::<DocumentId>().ok()) {
        let fields = fields(reader, id)?;
        let Some(view) = reader.view(id)?.filter(|_| !fields.is_empty()) else { continue };
        if !cx.caller.sees(venture_of(id.kind, &view).as_deref()) {
            continue;
        }
        count += 1;
        if found.len() < NAMED {
            let name = ["title", "name", "code"].iter().find_map(|field| view.get(field)?.as_str());
            found.push(Unresolved { id: id.to_string(), name: name.map(str::to_owned), fields });
        }
    }
    Ok((found, count))
}

/// Says what is the matter with a record.
pub(super) fn said(id: &str, name: Option<&str>, fields: &[String]) -> String {
    let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
    format!("{id}{name} has two values of {}", fields.join(", "))
}

/// Says what ends it.
pub(super) fn choose(id: &str, fields: &[String]) -> String {
    let field = fields.first().map_or("FIELD", String::as_str);
    let noun = if id.starts_with(Kind::Note.prefix()) { "note " } else { "" };
    format!("`ctxnode {noun}resolve {id} --field {field} --pick N` chooses")
}

/// Says what shows both values, and what ends it.
pub(super) fn fix(id: &str, fields: &[String]) -> String {
    let look = if id.starts_with(Kind::Note.prefix()) { "note show" } else { "history" };
    format!("`ctxnode {look} {id}` shows both, {}", choose(id, fields))
}
