//! The index rows of a record, and how many there are of each prefix: moved together, in the record's own transaction.

use ctxnode_model::index::IndexRow;
use ctxnode_model::{DocumentId, Kind};

use crate::kv::{Kv as _, WriteTables};
use crate::tables::Table;
use crate::{StoreError, rows};

/// Moves index rows and their counts from old to new.
pub(crate) fn write_index(
    tables: &WriteTables<'_>,
    id: DocumentId,
    old: &[IndexRow],
    new: &[IndexRow],
) -> Result<(), StoreError> {
    for row in old.iter().filter(|row| !new.contains(row)) {
        if tables.remove(Table::Index, &rows::index_key(row, id))? {
            count(tables, row, id.kind, -1)?;
        }
    }
    for row in new.iter().filter(|row| !old.contains(row)) {
        tables.put(Table::Index, &rows::index_key(row, id), &[])?;
        count(tables, row, id.kind, 1)?;
    }
    Ok(())
}

fn count(tables: &WriteTables<'_>, row: &IndexRow, kind: Kind, by: i64) -> Result<(), StoreError> {
    let key = rows::index_prefix(row.index, kind, &row.prefix);
    let known = tables.get(Table::Counts, &key)?.map_or(0, |payload| rows::be_u64(&payload));
    let next = known.saturating_add_signed(by);
    if next == 0 {
        tables.remove(Table::Counts, &key)?;
        return Ok(());
    }
    tables.put(Table::Counts, &key, &next.to_be_bytes())
}
