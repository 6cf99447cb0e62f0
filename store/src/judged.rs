//! By which rights everything in a store was judged: once for each version that knows more of them than the one before.

use std::collections::BTreeSet;
use std::sync::Arc;

use ctxnode_model::NodeKey;

use crate::authority::Authority;
use crate::kv::{Kv, WriteTables};
use crate::rows::{self, Held};
use crate::tables::Table;
use crate::writer::Group;
use crate::{Store, StoreError, query, recover};

/// What rights this version knows. Raised with every control op or rule that versions before did not know: they held back what
/// this one allows, or applied what it does not.
const RIGHTS: u32 = 2;
/// The row that says by which rights everything was judged.
const JUDGED: &[u8] = b"judged";
/// Rows that are read at a time.
const STEP: usize = 1_024;

/// Whether everything was judged by the rights that this version knows.
pub(crate) fn is_judged(kv: &dyn Kv) -> Result<bool, StoreError> {
    Ok(kv.get(Table::Meta, JUDGED)?.is_some_and(|row| row == RIGHTS.to_be_bytes()))
}

/// Notes that it was.
pub(crate) fn note(tables: &WriteTables<'_>) -> Result<(), StoreError> {
    tables.put(Table::Meta, JUDGED, &RIGHTS.to_be_bytes())
}

impl Store {
    /// Judges what an earlier version may have judged otherwise: this one may know control ops or rules that the other did not.
    /// Everything else that changes rights is noticed when it comes.
    pub(crate) fn judge_anew(&self) -> Result<(), StoreError> {
        let (snapshot, authority) = (self.read()?, self.authority());
        let mut authors = held_and_allowed(&snapshot, &authority)?;
        let all: BTreeSet<NodeKey> = snapshot.reader().heads()?.0.into_keys().map(|log| log.author).collect();
        // Where nobody was ever revoked or given another role, there is one way only to judge those who are members.
        if all.iter().any(|author| authority.role(author).is_none() || authority.has_cuts(author)) {
            authors = all;
        }
        drop(snapshot);
        // Noted first: what cannot be judged, because something is damaged, is not tried again at every start.
        self.submit(Box::new(|group: &mut Group<'_, '_>| {
            note(&group.batch.tables)?;
            Ok(Box::new(|_| ()))
        }))?;
        if authors.is_empty() {
            return Ok(());
        }
        tracing::info!(authors = authors.len(), "what an earlier version judged is judged again");
        self.submit(Box::new(move |group: &mut Group<'_, '_>| {
            authors.into_iter().for_each(|author| group.batch.unsettle(author));
            recover::judge_again(&mut group.batch)?;
            Ok(Box::new(|committed: Result<u64, Arc<str>>| {
                if let Err(error) = committed {
                    tracing::error!(%error, "what an earlier version judged could not be judged again");
                }
            }))
        }))
    }
}

/// The authors of entries that are held back whole although they are allowed. What is damaged is left to the check.
fn held_and_allowed(kv: &dyn Kv, authority: &Authority) -> Result<BTreeSet<NodeKey>, StoreError> {
    let mut authors = BTreeSet::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let (step, damaged) = kv.step(Table::Quarantine, after.as_deref(), STEP)?;
        let Some(last) = damaged.or_else(|| step.last().map(|(key, _)| key.clone())) else { return Ok(authors) };
        after = Some(last);
        for (key, _) in &step {
            match author_if_allowed(kv, authority, key, &authors) {
                Ok(author) => authors.extend(author),
                Err(StoreError::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn author_if_allowed(
    kv: &dyn Kv,
    authority: &Authority,
    key: &[u8],
    known: &BTreeSet<NodeKey>,
) -> Result<Option<NodeKey>, StoreError> {
    let Held { log_no, seq, op } = Held::decode(key)?;
    let log = query::log_by_number(kv, log_no)?.filter(|log| op == rows::WHOLE_ENTRY && !known.contains(&log.author));
    let Some(log) = log else { return Ok(None) };
    let entry = query::entry(kv, log_no, seq)?;
    Ok(authority.judge(entry.header(), entry.ops(), &log, seq).is_ok().then_some(log.author))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ctxnode_model::{Edit, Kind, Space};

    use super::JUDGED;
    use crate::kv::{Direction, Kv as _};
    use crate::tables::Table;
    use crate::writer::Group;
    use crate::{Location, ManualClock, NodeSecret, Options, SeededEntropy, Store, StoreError, recover};

    /// A version that did not know who may write has held everything back. The next one knows, and nothing new comes.
    #[test]
    fn what_was_held_back_and_is_allowed_is_applied_when_the_store_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let options = || Options {
            location: Location::File(dir.path().join("store.redb")),
            secret: NodeSecret::generate(&SeededEntropy::new(1)),
            clock: Arc::new(ManualClock::new(ctxnode_model::Timestamp(1_795_435_200_000))),
            entropy: Arc::new(SeededEntropy::new(2)),
            incarnation: None,
        };
        let store = Store::create(options(), "test").unwrap().store;
        let id = store.write_blocking(|draft| {
            let id = draft.fresh_id(Kind::Note, &Space::Fleet)?;
            draft.edit(id, &Space::Fleet, [Edit::set("title", "kept")])?;
            Ok::<_, StoreError>(id)
        });
        let id = id.unwrap().value;
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let forgets = Box::new(move |group: &mut Group<'_, '_>| {
            let control = group.batch.tables.scan_prefix(Table::Control, &[], Direction::Forward, usize::MAX)?;
            let genesis = group.batch.tables.get(Table::Meta, b"genesis")?.unwrap();
            control.iter().try_for_each(|(key, _)| group.batch.tables.remove(Table::Control, key).map(drop))?;
            group.batch.tables.remove(Table::Meta, b"genesis")?;
            group.batch.renew_authority()?;
            recover::judge_again(&mut group.batch)?;
            control.iter().try_for_each(|(key, op)| group.batch.tables.put(Table::Control, key, op))?;
            group.batch.tables.put(Table::Meta, b"genesis", &genesis)?;
            let done: crate::writer::Tell = Box::new(move |committed| sender.send(committed.is_ok()).unwrap());
            Ok(done)
        });
        store.submit(forgets).unwrap();
        assert!(receiver.recv().unwrap());
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let is_older = Box::new(move |group: &mut Group<'_, '_>| {
            group.batch.tables.remove(Table::Meta, JUDGED)?;
            let done: crate::writer::Tell = Box::new(move |committed| sender.send(committed.is_ok()).unwrap());
            Ok(done)
        });
        store.submit(is_older).unwrap();
        assert!(receiver.recv().unwrap());
        let shows = |store: &Store| store.read().unwrap().reader().meta(id).unwrap().is_some();
        assert!(!shows(&store));
        store.close();
        drop(store);
        // A row that was damaged on the disk, behind the others, is for the check to name: it keeps nothing from opening and
        // hides none of them.
        let database = redb::Database::open(dir.path().join("store.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        let table = transaction.open_table(Table::Quarantine.definition());
        table.unwrap().insert([0xff_u8; 14].as_slice(), b"rot".as_slice()).unwrap();
        transaction.commit().unwrap();
        drop(database);

        let store = Store::open(options()).unwrap();
        // What is queued at the start goes before any other command.
        store.write_blocking(|_| Ok::<_, StoreError>(())).unwrap();
        assert!(shows(&store));
        let problems = store.read().unwrap().check(|_| ()).unwrap().problems;
        assert_eq!(problems.iter().map(|problem| problem.table).collect::<Vec<_>>(), [Table::Quarantine.name()]);
    }
}
