//! Backups: a copy of one snapshot in a fresh file, opened and counted before it is called good; and the way back.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use ctxnode_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::kv::{Direction, Kv as _, Snapshot, WriteTables};
use crate::location::builder;
use crate::open::fresh_epoch;
use crate::tables::Table;
use crate::{Entropy, OpenError, Store, StoreError};

/// How many rows go into one transaction of the copy. They are in memory at once, and a row may hold a whole doc.
const STEP: usize = 256;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupReport {
    /// The file.
    pub path: PathBuf,
    /// When it was taken.
    pub at: Timestamp,
    /// Rows in all tables, counted by reading the copy.
    pub rows: u64,
    /// Records.
    pub records: u64,
    /// Entries.
    pub entries: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// BLAKE3 of the file, in hex; empty in what versions before it wrote, and for a restored store.
    #[serde(default)]
    pub hash: String,
}

/// How the newest backup of a directory is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewestBackup {
    /// There is none.
    None,
    /// It holds the bytes that were verified when it was taken.
    Good(BackupReport),
    /// It does not; restore an older one when it is needed.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Compares the newest backup of a directory with its manifest. Reads the whole file.
#[must_use]
pub fn newest_backup(directory: &Path) -> NewestBackup {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    // Names are times.
    let newest = files.filter(|path| path.extension().is_some_and(|found| found == "redb" || found == "json")).max();
    let Some(path) = newest.map(|path| path.with_extension("redb")) else { return NewestBackup::None };
    match compare(&path) {
        Ok(report) => NewestBackup::Good(report),
        Err(why) => NewestBackup::Damaged { path, why },
    }
}

fn compare(path: &Path) -> Result<BackupReport, String> {
    let manifest = std::fs::read(path.with_extension("json")).map_err(|error| format!("its manifest: {error}"))?;
    let mut report: BackupReport =
        serde_json::from_slice(&manifest).map_err(|error| format!("its manifest cannot be read: {error}"))?;
    let bytes = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if bytes != report.bytes {
        return Err(format!("it has {bytes} bytes, {} were written", report.bytes));
    }
    if !report.hash.is_empty() && hash_file(path).map_err(|error| error.to_string())? != report.hash {
        return Err("its bytes are not those that were written".to_owned());
    }
    // The directory may have been moved since.
    path.clone_into(&mut report.path);
    Ok(report)
}

fn hash_file(path: &Path) -> std::io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(path)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Copies a snapshot into a new file in `directory`, verifies it by reading it, and returns what it holds.
///
/// # Errors
/// When the disk fails; then no half file stays behind.
pub fn backup_to(store: &Store, directory: &Path) -> Result<BackupReport, OpenError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    std::fs::create_dir_all(directory).map_err(io(directory))?;
    let at = store.clock().now();
    let name = at.iso().replace([':', '.'], "-");
    let path = directory.join(format!("{name}.redb"));
    let partial = directory.join(format!("{name}.partial"));
    let copied = copy(store, &partial).and_then(|rows| verify(&partial, rows));
    let counts = match copied {
        Ok(counts) => counts,
        Err(error) => {
            // The failure is what the caller needs to hear; a file that cannot be removed either is named by it.
            let _ = std::fs::remove_file(&partial);
            return Err(error);
        }
    };
    std::fs::rename(&partial, &path).map_err(io(&path))?;
    let bytes = std::fs::metadata(&path).map_err(io(&path))?.len();
    let hash = hash_file(&path).map_err(io(&path))?;
    let report = BackupReport { path, at, rows: counts.0, records: counts.1, entries: counts.2, bytes, hash };
    write_manifest(&report).map_err(io(&report.path))?;
    Ok(report)
}

fn write_manifest(report: &BackupReport) -> std::io::Result<()> {
    let path = report.path.with_extension("json");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&serde_json::to_vec_pretty(report)?)?;
    file.sync_all()
}

fn copy(store: &Store, target: &Path) -> Result<u64, OpenError> {
    let snapshot = store.read()?;
    // A partial file of an attempt that was killed is of no use to anybody.
    let _ = std::fs::remove_file(target);
    create_private(target).map_err(|source| OpenError::Io { path: target.to_owned(), source })?;
    let database = builder().create(target).map_err(StoreError::from)?;
    let mut copied = 0;
    for table in Table::ALL {
        let mut after: Vec<u8> = Vec::new();
        loop {
            let from = std::ops::Bound::Excluded(after.as_slice());
            let step = snapshot.scan(*table, (from, std::ops::Bound::Unbounded), Direction::Forward, STEP)?;
            let transaction = database.begin_write().map_err(StoreError::from)?;
            {
                let tables = WriteTables::new(&transaction);
                tables.len(*table)?;
                for (key, payload) in &step {
                    tables.put(*table, key, payload)?;
                }
            }
            transaction.commit().map_err(StoreError::from)?;
            copied += step.len() as u64;
            match step.into_iter().next_back() {
                Some((last, _)) => after = last,
                None => break,
            }
        }
    }
    Ok(copied)
}

/// Makes an empty file that only its owner can read; redb fills it.
pub(crate) fn create_private(path: &Path) -> std::io::Result<()> {
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop)
}

/// Opens a copy and reads every row, which checks every hash.
fn verify(path: &Path, expected: u64) -> Result<(u64, u64, u64), OpenError> {
    let database = std::sync::Arc::new(builder().open(path).map_err(StoreError::from)?);
    let snapshot = Snapshot::take(&database)?;
    let mut rows = 0;
    for table in Table::ALL {
        rows += count_rows(&snapshot, *table)?;
    }
    if rows != expected {
        return Err(StoreError::Corrupt { table: "backup", key: Vec::new() }.into());
    }
    Ok((rows, snapshot.len(Table::Records)?, snapshot.len(Table::Entries)?))
}

fn count_rows(snapshot: &Snapshot, table: Table) -> Result<u64, StoreError> {
    let mut rows = 0;
    let mut after: Vec<u8> = Vec::new();
    loop {
        let from = std::ops::Bound::Excluded(after.as_slice());
        let step = snapshot.scan(table, (from, std::ops::Bound::Unbounded), Direction::Forward, STEP)?;
        rows += step.len() as u64;
        match step.into_iter().next_back() {
            Some((last, _)) => after = last,
            None => return Ok(rows),
        }
    }
}

impl Store {
    /// Puts a backup where a store belongs, under a new epoch. The store that was there is kept beside it.
    ///
    /// The epoch is new because entries that this node wrote after the backup may be known to others: written again at
    /// the same positions they would be a fork.
    ///
    /// # Errors
    /// When the backup cannot be read completely; then nothing was changed.
    pub fn restore(backup: &Path, target: &Path, entropy: &dyn Entropy) -> Result<BackupReport, OpenError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io { path, source }
        };
        if !backup.exists() {
            return Err(OpenError::Missing(backup.to_owned()));
        }
        let partial = target.with_extension("restoring");
        std::fs::copy(backup, &partial).map_err(io(&partial))?;
        let prepared = renew_epoch(&partial, entropy);
        let counts = match prepared {
            Ok(counts) => counts,
            Err(error) => {
                let _ = std::fs::remove_file(&partial);
                return Err(error);
            }
        };
        if target.exists() {
            let aside = aside(target);
            std::fs::rename(target, &aside).map_err(io(&aside))?;
        }
        std::fs::rename(&partial, target).map_err(io(target))?;
        let bytes = std::fs::metadata(target).map_err(io(target))?.len();
        let at = Timestamp(0);
        let (rows, records, entries) = counts;
        Ok(BackupReport { path: target.to_owned(), at, rows, records, entries, bytes, hash: String::new() })
    }
}

/// The name under which a replaced store is kept: the first free `store.redb.replaced-N`.
fn aside(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    (1..).map(|n| target.with_file_name(format!("{name}.replaced-{n}"))).find(|path| !path.exists()).unwrap_or_default()
}

fn renew_epoch(path: &Path, entropy: &dyn Entropy) -> Result<(u64, u64, u64), OpenError> {
    let rows = {
        let database = std::sync::Arc::new(builder().open(path).map_err(StoreError::from)?);
        // The backup itself is the copy.
        crate::migrate::to_present(&database, None)?;
        crate::open::add_missing_tables(&database)?;
        let transaction = database.begin_write().map_err(StoreError::from)?;
        {
            let tables = WriteTables::new(&transaction);
            let epoch = fresh_epoch(entropy);
            tables.put(Table::Meta, b"epoch", &epoch.to_be_bytes())?;
        }
        transaction.commit().map_err(StoreError::from)?;
        let snapshot = Snapshot::take(&database)?;
        let mut rows = 0;
        for table in Table::ALL {
            rows += count_rows(&snapshot, *table)?;
        }
        rows
    };
    verify(path, rows)
}
