//! From an older format to the present one, when a file is opened: in one transaction, so that a file is of one format
//! as a whole, whenever the process ends.

use std::ops::Bound;

use redb::{Database, ReadableTable as _, WriteTransaction};

use crate::frame;
use crate::kv::Pair;
use crate::open::FORMAT;
use crate::tables::Table;
use crate::{OpenError, StoreError};

/// How many values are held in memory at a time.
const STEP: usize = 1_000;

/// Brings a file to [`FORMAT`].
///
/// # Errors
/// When a newer version wrote it, or a value is damaged; then nothing was changed.
pub(crate) fn to_present(database: &Database) -> Result<(), OpenError> {
    let found = format_of(database)?;
    if found > FORMAT {
        return Err(OpenError::Newer { found, supported: FORMAT });
    }
    if found < FORMAT {
        tracing::info!(found, FORMAT, "the store is brought to the present format");
        let transaction = database.begin_write().map_err(StoreError::from)?;
        if found == 1 {
            reframe(&transaction)?;
        }
        let (key, payload) = (b"format".as_slice(), FORMAT.to_be_bytes());
        let mut meta = transaction.open_table(Table::Meta.definition()).map_err(StoreError::from)?;
        meta.insert(key, frame::wrap(Table::Meta, key, &payload).as_slice()).map_err(StoreError::from)?;
        drop(meta);
        transaction.commit().map_err(StoreError::from)?;
    }
    Ok(())
}

/// Returns the format that a file says it has.
pub(crate) fn format_of(database: &impl redb::ReadableDatabase) -> Result<u32, StoreError> {
    let key = b"format".as_slice();
    let corrupt = || StoreError::Corrupt { table: Table::Meta.name(), key: key.to_vec() };
    let table = database.begin_read()?.open_table(Table::Meta.definition())?;
    let value = table.get(key)?.ok_or_else(corrupt)?;
    let payload = frame::unwrap(Table::Meta, key, value.value())?;
    payload.try_into().map(u32::from_be_bytes).map_err(|_| corrupt())
}

/// Format 1 framed the values of all tables as `meta` still does.
fn reframe(transaction: &WriteTransaction) -> Result<(), StoreError> {
    for table in Table::ALL.iter().copied().filter(|table| *table != Table::Meta) {
        let mut handle = transaction.open_table(table.definition())?;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut step: Vec<Pair> = Vec::new();
            for item in handle.range::<&[u8]>((from, Bound::Unbounded))?.take(STEP) {
                let (key, value) = item?;
                step.push((key.value().to_vec(), frame::unwrap_format_1(table, key.value(), value.value())?));
            }
            for (key, payload) in &step {
                handle.insert(key.as_slice(), frame::wrap(table, key, payload).as_slice())?;
            }
            match step.pop() {
                Some((last, _)) => after = Some(last),
                None => break,
            }
        }
    }
    Ok(())
}
