//! What a batch is checked for before the store sees it.

use ctxnode_model::frontier::Run;
use ctxnode_model::{Edit, Kind, Space};
use ctxnode_store::{Location, NodeSecret, Options, OsEntropy, Store, StoreError};
use ctxnode_sync_proto::{Entries, Event};

use crate::transfer::ingest;

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
