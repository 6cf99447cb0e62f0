//! The search index as a view of the store: what of a record is searchable, and how far the index has read the journal.
//!
//! The index is opened by whoever needs it first, never while the daemon starts. Whenever it fails it is dropped, and
//! the next use makes it again from the journal; searching never writes and so never fails for a full disk.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ctxnode_api::node::SearchState;
use ctxnode_model::index::Index as StoreIndex;
use ctxnode_model::record::{Doc, Handoff, Note};
use ctxnode_model::rules::doc::{GLOBAL, Pair, Stored};
use ctxnode_model::rules::handoff::{Lists, status_name};
use ctxnode_model::{DocumentId, Kind, Timestamp};
use ctxnode_search::{Change, Index, Query, Results, SearchDoc, SearchError, SearchKind};
use ctxnode_store::{Reader, StoreError};

/// How many handoffs of a thread are looked at again when one of it changes; all but one of them are superseded, and
/// the others have been marked before.
const THREAD_LOOK: usize = 16;

/// The index of this daemon.
pub(crate) struct SearchIndex {
    directory: PathBuf,
    enabled: bool,
    // How far the index has read; what `open` found counts once it is open.
    watermark: AtomicU64,
    opened: Mutex<Option<Arc<Index>>>,
}

impl SearchIndex {
    /// Names the directory; opens nothing yet.
    pub(crate) fn open(directory: &Path, enabled: bool) -> Self {
        Self { directory: directory.to_owned(), enabled, watermark: AtomicU64::new(0), opened: Mutex::new(None) }
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Returns the index, opened or made again. Reads files: call it where blocking is allowed.
    fn index_now(&self) -> Result<Arc<Index>, SearchError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = &*opened {
            return Ok(Arc::clone(index));
        }
        let found = Index::open(&self.directory)?;
        if found.rebuilt {
            tracing::info!("the search index is made again");
        }
        self.watermark.store(found.watermark, Ordering::SeqCst);
        let index = Arc::new(found.index);
        *opened = Some(Arc::clone(&index));
        Ok(index)
    }

    /// Lets the index go after it failed; the next use opens it or makes it again.
    fn drop_failed(&self, error: &SearchError) {
        tracing::warn!(%error, "the search index failed and will be opened again");
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.watermark.store(0, Ordering::SeqCst);
    }

    /// Returns the journal position up to which everything is findable. Opens the index.
    pub(crate) fn watermark(&self) -> u64 {
        match self.index_now() {
            Ok(_) => self.watermark.load(Ordering::SeqCst),
            Err(error) => {
                tracing::warn!(%error, "the search index cannot be opened");
                0
            }
        }
    }

    /// Takes in the present state of some records; afterwards the index has read the journal up to `last`.
    pub(crate) fn index(
        &self,
        reader: Reader<'_>,
        documents: &BTreeSet<DocumentId>,
        last: u64,
    ) -> Result<(), StoreError> {
        let targets = targets(reader, documents)?;
        match self.index_now().map_err(Failed::Index).and_then(|index| take(&index, reader, targets, last)) {
            Ok(()) => self.watermark.store(last, Ordering::SeqCst),
            Err(Failed::Store(error)) => return Err(error),
            Err(Failed::Index(error)) => self.drop_failed(&error),
        }
        Ok(())
    }

    /// Gives back the memory that only writing needs.
    pub(crate) fn rest(&self) {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(index) = opened {
            index.rest();
        }
    }

    /// Finishes what is running.
    pub(crate) fn close(&self) {
        self.rest();
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Empties the index, so that the journal is read again from its beginning.
    pub(crate) fn rebuild(&self) {
        match self.index_now().and_then(|index| index.clear()) {
            Ok(()) => self.watermark.store(0, Ordering::SeqCst),
            Err(error) => self.drop_failed(&error),
        }
    }

    /// Returns how far it is, without opening it.
    pub(crate) fn state(&self) -> SearchState {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner).clone();
        SearchState {
            enabled: self.enabled,
            watermark: self.watermark.load(Ordering::SeqCst),
            documents: opened.map_or(0, |index| index.documents()),
        }
    }

    /// Searches. Reads files: call it where blocking is allowed.
    pub(crate) fn search(&self, query: &Query, now: Timestamp) -> Result<Results, SearchError> {
        let found = self.index_now().and_then(|index| index.search(query, now.0));
        if let Err(error @ (SearchError::Engine(_) | SearchError::Io(_))) = &found {
            self.drop_failed(error);
        }
        found
    }
}

/// Returns how many records of the store are searchable: docs count once, whoever wrote them.
pub(crate) fn searchable(reader: Reader<'_>) -> Result<u64, StoreError> {
    let mut total = 0;
    for kind in [Kind::Note, Kind::Handoff, Kind::Doc] {
        total += reader.count(StoreIndex::All, kind, &[])?;
    }
    let ids = reader.ids()?;
    for generated in reader.all::<Doc>(Kind::GeneratedDoc)? {
        let uploaded = reader.get::<Doc>(ids.doc(&generated.scope, &generated.name))?;
        total += u64::from(uploaded.is_none());
    }
    Ok(total)
}

/// What is searchable under one key.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Note(DocumentId),
    Handoff(DocumentId),
    Doc { scope: String, name: String },
}

/// Why a batch was not taken in.
enum Failed {
    Store(StoreError),
    Index(SearchError),
}

/// Returns what some records make searchable, or differently so.
fn targets(reader: Reader<'_>, documents: &BTreeSet<DocumentId>) -> Result<BTreeSet<Target>, StoreError> {
    let mut out = BTreeSet::new();
    for id in documents {
        match id.kind {
            Kind::Note => drop(out.insert(Target::Note(*id))),
            Kind::Handoff => {
                out.insert(Target::Handoff(*id));
                // A new one supersedes others, which now rank lower.
                if let Some(handoff) = reader.get::<Handoff>(*id)? {
                    let thread = [handoff.venture.as_str(), handoff.thread.as_str()];
                    let others = reader.newest::<Handoff>(StoreIndex::Thread, Kind::Handoff, &thread, THREAD_LOOK)?;
                    out.extend(others.into_iter().map(|other| Target::Handoff(other.id)));
                }
            }
            Kind::Doc | Kind::GeneratedDoc => {
                if let Some(doc) = reader.get_even_deleted::<Doc>(*id)? {
                    out.insert(Target::Doc { scope: doc.value.scope, name: doc.value.name });
                }
            }
            _ => {}
        }
    }
    Ok(out)
}

/// Takes their present state in, one after the other: all texts of a batch at once would fill the memory.
fn take(index: &Index, reader: Reader<'_>, targets: BTreeSet<Target>, last: u64) -> Result<(), Failed> {
    let mut batch = index.begin().map_err(Failed::Index)?;
    for target in targets {
        let change = match &target {
            Target::Note(id) => note(reader, *id),
            Target::Handoff(id) => handoff(reader, *id),
            Target::Doc { scope, name } => doc(reader, scope, name),
        };
        batch.take(&change.map_err(Failed::Store)?).map_err(Failed::Index)?;
    }
    batch.commit(last).map_err(Failed::Index)
}

fn note(reader: Reader<'_>, id: DocumentId) -> Result<Change, StoreError> {
    let Some(note) = reader.get::<Note>(id)? else {
        return Ok(Change::Remove { kind: SearchKind::Note, id: id.to_string() });
    };
    let body = reader.body(id)?.unwrap_or_default();
    Ok(Change::Put(Box::new(SearchDoc {
        kind: SearchKind::Note,
        id: id.to_string(),
        title: note.title.clone().unwrap_or_default(),
        body,
        venture: note.venture.clone(),
        repo: None,
        tags: note.tags.iter().cloned().collect(),
        status: None,
        superseded: false,
        archived: note.archived,
        time_ms: note.updated_at.0,
    })))
}

fn handoff(reader: Reader<'_>, id: DocumentId) -> Result<Change, StoreError> {
    let Some(handoff) = reader.get::<Handoff>(id)? else {
        return Ok(Change::Remove { kind: SearchKind::Handoff, id: id.to_string() });
    };
    let lists = Lists::from_payload(&reader.body(id)?.unwrap_or_default());
    let lines: Vec<&str> = lists.named().into_iter().flat_map(|(_, items)| items.iter().map(String::as_str)).collect();
    Ok(Change::Put(Box::new(SearchDoc {
        kind: SearchKind::Handoff,
        id: id.to_string(),
        title: handoff.summary.clone(),
        body: lines.join("\n"),
        venture: Some(handoff.venture.clone()),
        repo: Some(handoff.repo.clone()),
        tags: Vec::new(),
        status: Some(status_name(handoff.status_label).to_owned()),
        superseded: !reader.is_open_handoff(&handoff)?,
        archived: false,
        time_ms: handoff.created_at.0,
    })))
}

/// What people uploaded hides what was generated under the same name.
fn doc(reader: Reader<'_>, scope: &str, name: &str) -> Result<Change, StoreError> {
    let id = format!("{scope}/{name}");
    let ids = reader.ids()?;
    let (uploaded_id, generated_id) = (ids.doc(scope, name), ids.generated_doc(scope, name));
    let uploaded = reader.get::<Doc>(uploaded_id)?;
    let generated = reader.get::<Doc>(generated_id)?;
    let pair = Pair {
        uploaded: uploaded.as_ref().map(|rec| Stored { doc: &rec.value, deleted: false }),
        generated: generated.as_ref().map(|rec| Stored { doc: &rec.value, deleted: false }),
    };
    let Some(living) = pair.view().and_then(|view| view.living) else {
        return Ok(Change::Remove { kind: SearchKind::Doc, id });
    };
    let shown = if uploaded.is_some() { uploaded_id } else { generated_id };
    Ok(Change::Put(Box::new(SearchDoc {
        kind: SearchKind::Doc,
        id,
        title: living.revision.title.clone(),
        body: reader.body(shown)?.unwrap_or_default(),
        venture: (scope != GLOBAL).then(|| scope.to_owned()),
        repo: None,
        tags: Vec::new(),
        status: None,
        superseded: false,
        archived: false,
        time_ms: living.revision.at.0,
    })))
}
