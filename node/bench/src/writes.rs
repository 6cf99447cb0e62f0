//! A durable note write against one raw redb commit of the same bytes; 64 writers against one.

use ctxnode_model::{Edit, Kind, Space};
use ctxnode_store::{NodeSecret, Options, OsEntropy, Store, StoreError};

use crate::stats::{Times, line, ratio, say};

/// A note of usual length: about 1 KB.
const SENTENCE: &str =
    "The exchange starts only after admission, and nothing is named to a peer that has no right to it. ";

fn body() -> String {
    SENTENCE.repeat(10)
}

async fn write_note(store: &Store, body: String) -> Result<(), ctxnode_store::WriteError<StoreError>> {
    let done = store.write(move |draft| {
        let now = draft.now();
        let edits = [
            Edit::set("title", "A note of usual length"),
            Edit::Body { field: "content", text: body, base: None },
            Edit::set("venture", "alpha"),
            Edit::set("created_at", now),
            Edit::set("updated_at", now),
            Edit::set("actor_key_id", "0123456789abcdef"),
            Edit::member("tags", "design"),
        ];
        let space = Space::Venture("alpha".to_owned());
        draft.edit(draft.fresh_id(Kind::Note, &space)?, &space, edits)
    });
    done.await.map(|_| ())
}

async fn write_notes(store: &Store, count: usize) {
    for _ in 0..count {
        write_note(store, body()).await.expect("a written note");
    }
}

pub(crate) fn run(count: usize) {
    // Writers are tasks of a runtime, as they are in the daemon.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let dir = tempfile::tempdir_in(".").expect("a directory on the disk that is measured");
    let secret = NodeSecret::generate(&OsEntropy);
    let created = Store::create(Options::file(dir.path().join("store.redb"), secret), "bench").expect("a new store");
    let store = created.store;
    let table: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("raw");
    let raw = redb::Database::create(dir.path().join("raw.redb")).expect("a new database");

    // Entry, view and body are what a note takes on disk; the raw commit writes as many bytes at once.
    let bytes = vec![7_u8; body().len() * 2 + 1_800];
    let (mut ours, mut reference) = (Times::default(), Times::default());
    for number in 0..count as u64 {
        reference.measure(|| {
            let transaction = raw.begin_write().expect("a transaction");
            let key = number.to_be_bytes();
            transaction.open_table(table).expect("the table").insert(key.as_slice(), bytes.as_slice()).expect("room");
            transaction.commit().expect("a commit");
        });
        ours.measure(|| runtime.block_on(write_note(&store, body())).expect("a written note"));
    }
    line("raw redb commit of the same bytes", &reference);
    line("durable note write", &ours);
    say(&format!("ratio p50 {:.2}x (goal <= 2x)", ratio(ours.percentile(50), reference.percentile(50))));

    let (mut one, mut many) = (Times::default(), Times::default());
    one.measure(|| runtime.block_on(write_notes(&store, count)));
    many.measure(|| {
        runtime.block_on(async {
            let writers = (0..64).map(|_| {
                let store = store.clone();
                async move { write_notes(&store, count.div_ceil(8)).await }
            });
            tokio::task::JoinSet::from_iter(writers).join_all().await;
        });
    });
    let per_second = |writes: usize, time: std::time::Duration| writes as f64 / time.as_secs_f64();
    let alone = per_second(count, one.percentile(50));
    let together = per_second(count.div_ceil(8) * 64, many.percentile(50));
    say(&format!("one writer {alone:.0}/s, 64 writers {together:.0}/s: {:.1}x (goal >= 8x)", together / alone));
}
