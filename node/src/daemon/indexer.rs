//! From the journal to readers: the search index and the stream of changes pull from their watermark when woken.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ctxnode_model::{DocumentId, Kind};
use ctxnode_store::StoreError;
use tokio::sync::watch;

use crate::app::{App, Changed};
use crate::caller::venture_of;

/// How many journal rows are taken at once: a bulk import is indexed in a few commits, a single write at once.
const BATCH: usize = 2_000;
/// How long a batch may gather more rows after the first, so that a burst costs one index commit. A write must be
/// findable within 200 ms.
const GATHER: Duration = Duration::from_millis(40);
/// How long after the last write the index writer's memory is kept.
const REST_AFTER: Duration = Duration::from_secs(20);

/// Follows the journal until the daemon ends.
pub(super) async fn run(app: Arc<App>) {
    let mut journal = app.store.watch();
    let mut told = *journal.borrow();
    loop {
        match step(&app, &mut told).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the journal cannot be followed"),
        }
        if !wait(&app, &mut journal).await {
            return;
        }
    }
}

/// Waits for a write. Without one for a while, the index writer rests.
async fn wait(app: &App, journal: &mut watch::Receiver<u64>) -> bool {
    match tokio::time::timeout(REST_AFTER, journal.changed()).await {
        Ok(Ok(())) => tokio::time::sleep(GATHER).await,
        Ok(Err(_)) => return false,
        Err(_) => {
            app.search.rest();
            return journal.changed().await.is_ok();
        }
    }
    true
}

/// Takes one batch; returns whether there may be more.
async fn step(app: &Arc<App>, told: &mut u64) -> Result<bool, StoreError> {
    let for_index = Arc::clone(app);
    let indexed = tokio::task::spawn_blocking(move || index_batch(&for_index)).await.unwrap_or(Ok(false))?;
    let snapshot = app.store.read()?;
    let rows = snapshot.reader().journal_after(*told, BATCH)?;
    let full = rows.len() == BATCH;
    for (position, row) in rows {
        for id in row.documents {
            if matches!(id.kind, Kind::Claim | Kind::Session) {
                app.claims_changed.fetch_add(1, Ordering::SeqCst);
            }
            let venture = snapshot.reader().view(id)?.and_then(|view| venture_of(id.kind, &view));
            // Without listeners there is nobody to tell.
            let _ = app.changes.send(Changed { kind: id.kind, id: id.to_string(), venture, journal: position });
        }
        *told = position;
    }
    Ok(indexed || full)
}

fn index_batch(app: &App) -> Result<bool, StoreError> {
    if !app.search.is_enabled() {
        return Ok(false);
    }
    let snapshot = app.store.read()?;
    let rows = snapshot.reader().journal_after(app.search.watermark(), BATCH)?;
    let Some((last, _)) = rows.last() else { return Ok(false) };
    let last = *last;
    let full = rows.len() == BATCH;
    let documents: std::collections::BTreeSet<DocumentId> =
        rows.into_iter().flat_map(|(_, row)| row.documents).collect();
    app.search.index(snapshot.reader(), &documents, last)?;
    Ok(full)
}
