//! Reading tables as bytes, the same from a snapshot and from the transaction being written.

use std::cell::{Cell, OnceCell, RefCell};
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use ctxnode_model::Ids;
use redb::{Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, WriteTransaction};

use crate::guard::guarded;
use crate::query::read_ids;
use crate::tables::Table;
use crate::{StoreError, frame};

/// A key and its payload.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// Which end a scan starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Backward,
}

/// Byte-level reads. Results are owned, because the writer must be able to go on writing while it holds them.
pub(crate) trait Kv {
    /// Returns the payload at a key.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Returns up to `limit` pairs whose key lies between the bounds.
    fn scan(
        &self,
        table: Table,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError>;

    /// Returns up to `limit` pairs behind a key, and the key of a damaged row that they end before.
    fn step(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<(Vec<Pair>, Option<Vec<u8>>), StoreError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        match self.scan(table, (from, Bound::Unbounded), Direction::Forward, limit) {
            Ok(pairs) => Ok((pairs, None)),
            Err(StoreError::Corrupt { key, .. }) => {
                let before = self.scan(table, (from, Bound::Excluded(&key)), Direction::Forward, limit)?;
                Ok((before, Some(key)))
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the number of keys in a table.
    fn len(&self, table: Table) -> Result<u64, StoreError>;

    /// Returns what makes the ids of the fleet's records.
    fn ids(&self) -> Result<Ids, StoreError>;

    /// Returns up to `limit` pairs whose key begins with `prefix`.
    fn scan_prefix(
        &self,
        table: Table,
        prefix: &[u8],
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let end = successor(prefix);
        let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.scan(table, (Bound::Included(prefix), upper), direction, limit)
    }
}

/// Returns the least key greater than every key with that prefix, or `None` when there is none.
pub(crate) fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next)
}

/// A consistent view of the store at one commit. Cheap to take, and it never waits for the writer.
///
/// Held for long, it keeps the pages of its moment from being reused: take one per call and let it go.
pub struct Snapshot {
    // Declared before the database, so that it is dropped first.
    transaction: ReadTransaction,
    _database: Arc<Database>,
    ids: OnceLock<Ids>,
}

impl Snapshot {
    pub(crate) fn take(database: &Arc<Database>) -> Result<Self, StoreError> {
        let transaction = database.begin_read()?;
        Ok(Self { transaction, _database: Arc::clone(database), ids: OnceLock::new() })
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

macro_rules! read_table {
    ($table:expr, $handle:expr, $key:expr) => {
        match $handle.get($key)? {
            Some(guard) => frame::unwrap($table, $key, guard.value()).map(Some),
            None => Ok(None),
        }
    };
}

macro_rules! scan_table {
    ($table:expr, $handle:expr, $bounds:expr, $direction:expr, $limit:expr) => {{
        let range = $handle.range::<&[u8]>($bounds)?;
        let mut pairs = Vec::new();
        let mut push = |item: Result<(redb::AccessGuard<'_, &[u8]>, redb::AccessGuard<'_, &[u8]>), _>| {
            let (key, value) = item?;
            let key = key.value().to_vec();
            let payload = frame::unwrap($table, &key, value.value())?;
            pairs.push((key, payload));
            Ok::<(), StoreError>(())
        };
        match $direction {
            Direction::Forward => range.take($limit).try_for_each(&mut push)?,
            Direction::Backward => range.rev().take($limit).try_for_each(&mut push)?,
        }
        Ok(pairs)
    }};
}

impl Kv for Snapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        guarded(|| {
            let handle = self.transaction.open_table(table.definition())?;
            read_table!(table, handle, key)
        })
    }

    fn scan(
        &self,
        table: Table,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        guarded(|| {
            let handle = self.transaction.open_table(table.definition())?;
            scan_table!(table, handle, bounds, direction, limit)
        })
    }

    fn len(&self, table: Table) -> Result<u64, StoreError> {
        use redb::ReadableTableMetadata as _;
        guarded(|| Ok(self.transaction.open_table(table.definition())?.len()?))
    }

    fn ids(&self) -> Result<Ids, StoreError> {
        known_or_read(&self.ids, self)
    }
}

/// The genesis never changes: it is read once.
fn known_or_read(known: &OnceLock<Ids>, kv: &dyn Kv) -> Result<Ids, StoreError> {
    match known.get() {
        Some(ids) => Ok(*ids),
        None => read_ids(kv).map(|ids| *known.get_or_init(|| ids)),
    }
}

type Handle<'t> = redb::Table<'t, &'static [u8], &'static [u8]>;

/// The transaction that the writer is filling. Tables are opened once, on first use.
pub(crate) struct WriteTables<'t> {
    transaction: &'t WriteTransaction,
    changed: Cell<bool>,
    ids: OnceLock<Ids>,
    handles: [OnceCell<RefCell<Handle<'t>>>; Table::ALL.len()],
}

impl<'t> WriteTables<'t> {
    pub(crate) fn new(transaction: &'t WriteTransaction) -> Self {
        let handles = std::array::from_fn(|_| OnceCell::new());
        Self { transaction, changed: Cell::new(false), ids: OnceLock::new(), handles }
    }

    /// The same where it is known how ids are made.
    pub(crate) fn of_fleet(transaction: &'t WriteTransaction, ids: Ids) -> Self {
        Self { ids: OnceLock::from(ids), ..Self::new(transaction) }
    }

    fn handle(&self, table: Table) -> Result<&RefCell<Handle<'t>>, StoreError> {
        let cell = &self.handles[table as usize];
        if cell.get().is_none() {
            let opened = self.transaction.open_table(table.definition())?;
            // A second opening cannot race with this one: the writer is one thread.
            let _ = cell.set(RefCell::new(opened));
        }
        cell.get().ok_or(StoreError::Closed)
    }

    /// Whether anything was put or removed since the transaction began.
    pub(crate) fn changed(&self) -> bool {
        self.changed.get()
    }

    pub(crate) fn put(&self, table: Table, key: &[u8], payload: &[u8]) -> Result<(), StoreError> {
        self.changed.set(true);
        self.handle(table)?.borrow_mut().insert(key, frame::wrap(table, key, payload).as_slice())?;
        Ok(())
    }

    pub(crate) fn remove(&self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        self.changed.set(true);
        Ok(self.handle(table)?.borrow_mut().remove(key)?.is_some())
    }

    /// Removes every row of a derived table.
    pub(crate) fn clear(&self, table: Table) -> Result<(), StoreError> {
        debug_assert!(table.is_derived());
        self.changed.set(true);
        self.handle(table)?.borrow_mut().retain(|_, _| false)?;
        Ok(())
    }
}

impl Kv for WriteTables<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let handle = self.handle(table)?.borrow();
        read_table!(table, handle, key)
    }

    fn scan(
        &self,
        table: Table,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let handle = self.handle(table)?.borrow();
        scan_table!(table, handle, bounds, direction, limit)
    }

    fn len(&self, table: Table) -> Result<u64, StoreError> {
        use redb::ReadableTableMetadata as _;
        Ok(self.handle(table)?.borrow().len()?)
    }

    fn ids(&self) -> Result<Ids, StoreError> {
        known_or_read(&self.ids, self)
    }
}

#[cfg(test)]
mod tests {
    use super::successor;

    #[test]
    fn the_successor_of_a_prefix_ends_its_range() {
        assert_eq!(successor(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(successor(&[1, 255, 255]), Some(vec![2]));
        assert_eq!(successor(&[255, 255]), None);
    }
}
