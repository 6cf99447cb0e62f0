//! What a batch is checked for before the store sees it, and what is read out of one that is damaged.

use std::collections::BTreeSet;

use ctxnode_model::frontier::{LogId, Run};
use ctxnode_model::{Edit, Kind, Space};
use ctxnode_store::{Location, NodeSecret, Options, OsEntropy, Store, StoreError};
use ctxnode_sync_proto::{Entries, Event};

use crate::transfer::{ingest, read_runs};

fn options(secret: &NodeSecret) -> Options {
    Options { location: Location::Memory, ..Options::file("", secret.clone()) }
}

/// A member must not pass on the entries of a space under the name of another one, which more may read.
#[tokio::test]
async fn an_entry_under_the_name_of_another_space_is_taken_by_nobody() {
    let secret = NodeSecret::generate(&OsEntropy);
    let store = Store::create(options(&secret), "test").unwrap().store;
    let alpha = Space::Venture("alpha".to_owned());
    let note = store.write(move |draft| {
        let id = draft.fresh_id(Kind::Note, &alpha)?;
        draft.edit(id, &alpha, [Edit::set("title", "of alpha")])?;
        Ok::<_, StoreError>(id)
    });
    let note = note.await.unwrap().value;
    let snapshot = store.read().unwrap();
    let heads = snapshot.reader().heads().unwrap();
    let alpha = Space::Venture("alpha".to_owned()).id(&store.fleet());
    let log = *heads.0.keys().find(|log| log.space == alpha).unwrap();
    let entries = snapshot.reader().entries(&Run { log, from: 1, to: 1 }, 1).unwrap();
    let other = NodeSecret::generate(&OsEntropy);
    let peer = Store::create_member(options(&other), store.genesis().unwrap()).unwrap();

    let mut named_wrong = log;
    named_wrong.space = Space::Fleet.id(&store.fleet());
    let runs = vec![Entries { log: named_wrong, from: 1, entries: entries.clone() }];
    let taken = ingest(&peer, runs).await.unwrap();
    assert!(matches!(taken.event, Event::Ingested { bad: Some(_), .. }), "{:?}", taken.event);
    assert!(peer.read().unwrap().reader().view(note).unwrap().is_none());

    let taken = ingest(&peer, vec![Entries { log, from: 1, entries }]).await.unwrap();
    assert!(matches!(taken.event, Event::Ingested { bad: None, .. }), "{:?}", taken.event);
    assert!(peer.read().unwrap().reader().view(note).unwrap().is_some(), "under its own name it is taken");
}

/// One row of a log has rotted. What lies before it is found, and what lies in other logs.
#[test]
fn what_a_damaged_row_does_not_touch_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("store.redb");
    let secret = NodeSecret::generate(&OsEntropy);
    let options = || Options { location: Location::File(file.clone()), ..options(&secret) };
    let store = Store::create(options(), "test").unwrap().store;
    let venture = |code: &str| Space::Venture(code.to_owned());
    for (code, count) in [("alpha", 3), ("beta", 2)] {
        for _ in 0..count {
            let space = venture(code);
            let noted = store.write_blocking(move |draft| {
                let id = draft.fresh_id(Kind::Note, &space)?;
                draft.edit(id, &space, [Edit::set("title", "of it")])
            });
            noted.map_err(|error: ctxnode_store::WriteError<StoreError>| error.flatten()).unwrap();
        }
    }
    let heads = store.read().unwrap().reader().heads().unwrap();
    let run = |code: &str| -> Run {
        let space = venture(code).id(&store.fleet());
        let (log, head) = heads.0.iter().find(|(log, _)| log.space == space).unwrap();
        Run { log: *log, from: 1, to: head.length }
    };
    let (alpha, beta) = (run("alpha"), run("beta"));
    let second = store.read().unwrap().reader().entries(&Run { from: 2, to: 2, ..alpha }, 1).unwrap().remove(0);
    store.close();
    drop(store);

    let table = redb::TableDefinition::<&[u8], &[u8]>::new("entries_v1");
    let database = redb::Database::open(&file).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(table).unwrap();
        let is_it = |row: &[u8]| row.ends_with(&second);
        let rows = redb::ReadableTable::iter(&table)
            .unwrap()
            .map(|row| row.map(|(key, row)| (key.value().to_vec(), row.value().to_vec())));
        let (key, mut row) = rows.map(Result::unwrap).find(|(_, row)| is_it(row)).unwrap();
        *row.last_mut().unwrap() ^= 1;
        table.insert(key.as_slice(), row.as_slice()).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);

    let store = Store::open(options()).unwrap();
    let found = read_runs(&store, &[alpha, beta]).unwrap();
    let read: Vec<(LogId, usize)> = found.runs.iter().map(|run| (run.log, run.entries.len())).collect();
    assert_eq!(read, [(alpha.log, 1), (beta.log, 2)]);
    assert_eq!(found.damaged, BTreeSet::from([alpha.log]));
    let beyond = read_runs(&store, &[Run { from: 3, ..alpha }]).unwrap();
    assert_eq!((beyond.runs.len(), beyond.damaged.len()), (1, 0));
}
