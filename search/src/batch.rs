//! Changes on their way into the index, of any number and size, in bounded memory.

use std::sync::MutexGuard;

use tantivy::IndexWriter;

use crate::{Change, Index, SearchError};

/// How much text may wait to be indexed. The writer's queue is bounded by a number of documents, which may be large
/// ones: without this limit a replica of 100,000 records held 300 MB of them.
const MOST_WAITING: usize = 8 << 20;

/// Changes being taken in. Dropped before [`Self::commit`], it leaves the watermark where it was.
pub struct Batch<'a> {
    pub(crate) index: &'a Index,
    pub(crate) writer: MutexGuard<'a, Option<IndexWriter>>,
    pub(crate) text: usize,
    pub(crate) pending: bool,
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("text", &self.text).finish_non_exhaustive()
    }
}

impl Batch<'_> {
    /// Takes one change in.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn take(&mut self, change: &Change) -> Result<(), SearchError> {
        let Some(writer) = self.writer.as_mut() else { return Ok(()) };
        self.pending = true;
        match change {
            Change::Put(doc) => {
                writer.delete_term(self.index.key(doc.kind, &doc.id));
                writer.add_document(self.index.document(doc))?;
                self.text += doc.title.len() + doc.body.len();
            }
            Change::Remove { kind, id } => drop(writer.delete_term(self.index.key(*kind, id))),
        }
        if self.text > MOST_WAITING {
            // What is committed before its time is taken in again after a crash, and is the same then.
            self.write(self.index.read_watermark())?;
        }
        Ok(())
    }

    /// Makes all of them findable, with the journal position that they reach.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn commit(mut self, watermark: u64) -> Result<(), SearchError> {
        self.write(watermark)?;
        self.index.reload()
    }

    fn write(&mut self, watermark: u64) -> Result<(), SearchError> {
        let Some(writer) = self.writer.as_mut() else { return Ok(()) };
        let mut prepared = writer.prepare_commit()?;
        prepared.set_payload(&watermark.to_string());
        prepared.commit()?;
        (self.text, self.pending) = (0, false);
        Ok(())
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if self.pending
            && let Some(writer) = self.writer.as_mut()
            && writer.rollback().is_err()
        {
            // The next one opens the index anew.
            *self.writer = None;
        }
    }
}
