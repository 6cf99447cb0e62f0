//! From an older format to the present one, when a file is opened: in one transaction, so that a file is of one format
//! as a whole, whenever the process ends. What was there before is kept beside it.

use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use redb::{Database, ReadableTable as _, WriteTransaction};

use crate::frame;
use crate::kv::Pair;
use crate::open::FORMAT;
use crate::tables::Table;
use crate::{OpenError, StoreError};

/// How many values are held in memory at a time.
const STEP: usize = 1_000;

/// Brings a file to [`FORMAT`]; a copy of what it was is made first when its path is given.
///
/// # Errors
/// When a newer version wrote it, a value is damaged, or there is no room for the copy; then nothing was changed.
pub(crate) fn to_present(database: &Database, path: Option<&Path>) -> Result<(), OpenError> {
    let found = format_of(database)?;
    if found > FORMAT {
        return Err(OpenError::Newer { found, supported: FORMAT });
    }
    if found < FORMAT {
        if let Some(path) = path {
            let kept = kept_as(path, found);
            keep(path, &kept).map_err(|source| OpenError::Io { path: kept.clone(), source })?;
            tracing::info!(found, FORMAT, kept = %kept.display(), "the store is brought to the present format");
        }
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

/// Where a store of an older format is kept: `store.redb.format-N` beside it.
fn kept_as(path: &Path, format: u32) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    path.with_file_name(format!("{name}.format-{format}"))
}

/// Copies a store that is open here, so that nobody else writes to it, and that has no transaction yet. The copy has its name
/// only when it is whole and durable. One of an earlier attempt knows no more than this one and is replaced.
fn keep(path: &Path, kept: &Path) -> io::Result<()> {
    let mut partial = kept.as_os_str().to_owned();
    partial.push(".partial");
    let copied = std::fs::copy(path, &partial)
        .and_then(|_| std::fs::File::open(&partial)?.sync_all())
        .and_then(|()| std::fs::rename(&partial, kept));
    if copied.is_err() {
        // The failure is what the caller needs to hear; what is left is replaced by the next attempt.
        let _ = std::fs::remove_file(&partial);
        return copied;
    }
    kept.parent().map_or(Ok(()), |directory| std::fs::File::open(directory)?.sync_all())
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
