//! Documents: loading them from their changes, editing them, taking in foreign changes behind a panic boundary.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::transaction::{CommitOptions, Transactable, Transaction};
use automerge::{ActorId, Automerge, AutomergeError, Change, ChangeHash, ROOT, ReadDoc as _, ScalarValue};
use ctxnode_model::frontier::LogId;
use ctxnode_model::schema::{self, Shape};
use ctxnode_model::{DocumentId, Edit, Kind, Scalar, Timestamp};
use lru::LruCache;

use crate::once::{self, Check};
use crate::project::container;
use crate::{StoreError, body, genesis};

/// How many documents stay loaded. One takes about 40 KB; the writer touches few again within a short time.
const CACHED_DOCUMENTS: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not zero");
/// The longest body whose document stays loaded; a list element costs about 100 bytes of memory for 60 of text.
const CACHED_BODY: usize = 64 << 10;

/// The Automerge actor of a log: one log is one linear stream of changes.
pub(crate) fn actor(log: &LogId) -> ActorId {
    let mut hasher = blake3::Hasher::new_derive_key("ctxnode 2026-11 automerge actor v1");
    hasher.update(&log.author.0).update(&log.epoch.to_be_bytes()).update(&log.space.0);
    ActorId::from(&hasher.finalize().as_bytes()[..16])
}

/// Recently used documents, each valid for the heads that it is stored with.
pub(crate) struct DocumentCache(LruCache<DocumentId, Automerge>);

impl DocumentCache {
    pub(crate) fn new() -> Self {
        Self(LruCache::new(CACHED_DOCUMENTS))
    }

    /// Takes a document out when it is at exactly these heads.
    pub(crate) fn take(&mut self, id: &DocumentId, heads: &[ChangeHash]) -> Option<Automerge> {
        self.0.pop(id).filter(|doc| same_heads(&doc.get_heads(), heads))
    }

    pub(crate) fn keep(&mut self, id: DocumentId, doc: Automerge, body: Option<&str>) {
        if body.is_none_or(|body| body.len() <= CACHED_BODY) {
            self.0.put(id, doc);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

fn same_heads(a: &[ChangeHash], b: &[ChangeHash]) -> bool {
    a.len() == b.len() && a.iter().all(|hash| b.contains(hash))
}

/// Makes the change that carries out edits, and applies it to the document. `None` when nothing would change.
pub(crate) fn edit(
    doc: &mut Automerge,
    id: DocumentId,
    log: &LogId,
    now: Timestamp,
    agent: Option<&str>,
    edits: &[Edit],
) -> Result<Option<Change>, StoreError> {
    let fault = |source| StoreError::Document { id: id.to_string(), source: Box::new(source) };
    let steps = edits.iter().map(|edit| step(doc, id.kind, edit)).collect::<Result<Vec<_>, _>>()?;
    doc.set_actor(actor(log));
    let done = doc.transact_with::<_, _, AutomergeError, _>(
        |()| {
            let options = CommitOptions::default().with_time(now.0 / 1_000);
            // Who changed what is asked of any record, later and on other nodes.
            match agent {
                Some(agent) => options.with_message(agent),
                None => options,
            }
        },
        |tx| steps.into_iter().try_for_each(|step| step(tx)),
    );
    match done {
        Ok(success) => Ok(success.hash.and_then(|hash| doc.get_change_by_hash(&hash))),
        Err(failure) => Err(fault(failure.error)),
    }
}

type Step<'a> = Box<dyn FnOnce(&mut Transaction<'_>) -> Result<(), AutomergeError> + 'a>;

/// Checks one edit against the schema and prepares it. A write of the value that is there already is left out, so that
/// it neither grows the history nor wins over somebody else's concurrent change.
fn step<'a>(doc: &Automerge, kind: Kind, edit: &'a Edit) -> Result<Step<'a>, StoreError> {
    let shape_of = |name: &str| schema::field(kind, name).map(|field| field.shape);
    let wrong = |name: &str| StoreError::Schema { kind: kind.name(), field: name.to_owned() };
    match edit {
        Edit::Set { field, value } => {
            let shape = shape_of(field).filter(|shape| register_holds(*shape, value)).ok_or_else(|| wrong(field))?;
            debug_assert!(!shape.is_container());
            let value = scalar(value);
            let same = doc.get_all(ROOT, *field).is_ok_and(
                |found| matches!(found.as_slice(), [(automerge::Value::Scalar(there), _)] if **there == value),
            );
            Ok(Box::new(move |tx| if same { Ok(()) } else { tx.put(ROOT, *field, value) }))
        }
        Edit::Unset { field } => {
            shape_of(field).filter(|shape| !shape.is_container()).ok_or_else(|| wrong(field))?;
            let there = doc.get(ROOT, *field).is_ok_and(|found| found.is_some());
            Ok(Box::new(move |tx| if there { tx.delete(ROOT, *field) } else { Ok(()) }))
        }
        Edit::Insert { field, key, value } => {
            let shape = shape_of(field).filter(|shape| map_holds(*shape, value)).ok_or_else(|| wrong(field))?;
            debug_assert!(shape.is_container());
            let object = container(kind, doc, field).ok_or_else(|| wrong(field))?;
            let value = scalar(value);
            let same = doc.get_all(&object, key.as_str()).is_ok_and(
                |found| matches!(found.as_slice(), [(automerge::Value::Scalar(there), _)] if **there == value),
            );
            Ok(Box::new(move |tx| if same { Ok(()) } else { tx.put(&object, key.as_str(), value) }))
        }
        Edit::Remove { field, key } => {
            let mapped = |shape: &Shape| shape.is_container() && *shape != Shape::BodyText;
            shape_of(field).filter(mapped).ok_or_else(|| wrong(field))?;
            let object = container(kind, doc, field).ok_or_else(|| wrong(field))?;
            let there = doc.get(&object, key.as_str()).is_ok_and(|found| found.is_some());
            Ok(Box::new(move |tx| if there { tx.delete(&object, key.as_str()) } else { Ok(()) }))
        }
        Edit::Body { field, text, base } => {
            shape_of(field).filter(|shape| *shape == Shape::BodyText).ok_or_else(|| wrong(field))?;
            let list = container(kind, doc, field).ok_or_else(|| wrong(field))?;
            let base = base.as_deref().and_then(heads_of_rev).filter(|heads| knows(doc, heads));
            let plan = body::plan(doc, &list, base.as_deref(), text);
            Ok(Box::new(move |tx| plan.apply(tx, &list)))
        }
    }
}

pub(crate) fn register_holds(shape: Shape, value: &Scalar) -> bool {
    matches!(
        (shape, value),
        (Shape::Str | Shape::Json | Shape::BodyStr, Scalar::Str(_))
            | (Shape::Int, Scalar::Int(_))
            | (Shape::Bool, Scalar::Bool(_))
    )
}

pub(crate) fn map_holds(shape: Shape, value: &Scalar) -> bool {
    matches!(
        (shape, value),
        (Shape::Set, Scalar::Bool(true)) | (Shape::Map, _) | (Shape::JsonMap | Shape::BodyMap, Scalar::Str(_))
    )
}

pub(crate) fn scalar(value: &Scalar) -> ScalarValue {
    match value {
        Scalar::Bool(truth) => ScalarValue::Boolean(*truth),
        Scalar::Int(number) => ScalarValue::Int(*number),
        Scalar::Str(text) => ScalarValue::Str(text.as_str().into()),
    }
}

/// Returns the revision text of some heads.
pub(crate) fn rev(heads: &[ChangeHash]) -> String {
    let mut hashes: Vec<String> = heads.iter().map(ToString::to_string).collect();
    hashes.sort_unstable();
    hashes.join(".")
}

/// Reads what [`rev`] wrote.
pub(crate) fn heads_of_rev(rev: &str) -> Option<Vec<ChangeHash>> {
    rev.split('.').map(|part| part.parse().ok()).collect()
}

fn knows(doc: &Automerge, heads: &[ChangeHash]) -> bool {
    heads.iter().all(|hash| doc.get_change_meta_by_hash(hash).is_some())
}

/// Why the document library could not take in a change that passed screening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It panicked.
    Panicked,
    /// It refused.
    Refused(String),
    /// It took the change and did not apply it.
    NotApplied,
}

/// Applies a foreign change on a copy behind a panic boundary. The given document is never left half changed.
pub(crate) fn apply_foreign(doc: &Automerge, change: Change) -> Result<Automerge, Fault> {
    applied(doc, change, |copy| {
        // A dangling reference may only show when the document is read.
        let bytes = copy.save_nocompress();
        once::checked(Check::Document, || *blake3::hash(&bytes).as_bytes(), || Automerge::load(&bytes).is_ok())
    })
}

/// The same for a change that only adds, so that nothing in it can dangle: the copy need not be read back, which is most
/// of the time of taking it in.
pub(crate) fn apply_additions(doc: &Automerge, change: Change) -> Result<Automerge, Fault> {
    applied(doc, change, |_| true)
}

fn applied(doc: &Automerge, change: Change, is_readable: fn(&Automerge) -> bool) -> Result<Automerge, Fault> {
    let attempt = catch_unwind(AssertUnwindSafe(|| {
        let mut copy = doc.clone();
        let hash = change.hash();
        copy.apply_changes([change]).map_err(|error| Fault::Refused(error.to_string()))?;
        // A change that is no head after it was taken waits for something.
        if copy.get_heads().contains(&hash) && is_readable(&copy) { Ok(copy) } else { Err(Fault::NotApplied) }
    }));
    attempt.unwrap_or(Err(Fault::Panicked))
}

/// Builds a document from its changes, which are known to apply.
pub(crate) fn rebuild(kind: Kind, save: Option<&[u8]>, changes: Vec<Change>) -> Result<Automerge, Fault> {
    let attempt = catch_unwind(AssertUnwindSafe(|| {
        let mut doc = match save {
            Some(bytes) => Automerge::load(bytes).map_err(|error| Fault::Refused(error.to_string()))?,
            None => genesis::base_document(kind),
        };
        doc.apply_changes(changes).map_err(|error| Fault::Refused(error.to_string()))?;
        Ok(doc)
    }));
    attempt.unwrap_or(Err(Fault::Panicked))
}
