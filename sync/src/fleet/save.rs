//! Saving what is known of peers, and the alerts: one save at a time, and what could not be saved is saved by the next.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use ctxnode_model::NodeKey;
use ctxnode_store::{Finding, LocalTable, StoreError, WriteError};

use super::Shared;

/// What was taken for a save. It is taken by the next one when it was not saved, be it that the storage failed or that
/// nobody waited for it.
struct Taken<'a> {
    shared: &'a Shared,
    nodes: Vec<NodeKey>,
    alerts: bool,
    findings: BTreeSet<Finding>,
    is_saved: bool,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.is_saved {
            self.shared.peers.give_back_unsaved(&self.nodes);
            self.shared.alerts_unsaved.fetch_or(self.alerts, Ordering::SeqCst);
            self.shared.with_told(|told| told.append(&mut self.findings));
        }
    }
}

impl Shared {
    /// Saves what changed since it was last saved; all of that is durable when this returns, whoever began to save it.
    pub(super) async fn save(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.saving.lock().await;
        self.note_unsent();
        let rows = self.peers.take_unsaved();
        // What was told by alerts is taken before these are.
        let findings = self.with_told(std::mem::take);
        let alerts = self.alerts_unsaved.swap(false, Ordering::SeqCst);
        if rows.is_empty() && findings.is_empty() && !alerts {
            return Ok(());
        }
        let nodes = rows.iter().map(|(node, _)| *node).collect();
        let mut taken = Taken { shared: self, nodes, alerts, findings: findings.clone(), is_saved: false };
        let alerts = alerts.then(|| self.with_alerts(|alerts| alerts.clone()));
        let saved = self.store.write(move |draft| {
            if let Some(alerts) = alerts {
                alerts.save(draft);
            }
            findings.iter().for_each(|finding| draft.told(finding));
            for (node, row) in rows {
                draft.put_local(LocalTable::Peers, node.0, serde_json::to_vec(&row).unwrap_or_default());
            }
            Ok::<(), StoreError>(())
        });
        saved.await.map_err(WriteError::flatten)?;
        taken.is_saved = true;
        Ok(())
    }

    pub(super) fn with_told<T>(&self, use_: impl FnOnce(&mut BTreeSet<Finding>) -> T) -> T {
        use_(&mut self.findings_told.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The same where nobody waits for it: the next save tries again.
    pub(super) async fn save_or_warn(&self) {
        if let Err(error) = self.save().await {
            tracing::warn!(%error, "what is known of peers could not be saved");
        }
    }
}
