//! Alerts of the running fleet: said to the log at once, saved at once, shown until they were read.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use ctxnode_model::Timestamp;
use ctxnode_model::frontier::LogId;
use ctxnode_store::Finding;

use super::Shared;
use crate::alerts::{Alert, Alerts, Whose};

const CAME_BACK: &str = "entries that this machine wrote came back from others: this replica was restored from an older copy \
                         and has them again, or a copy of it runs on another machine, which then needs an invitation of its own";

const DAMAGED: &str = "a part of what this replica holds is damaged and cannot be sent to others: `ctxnode check` names it; \
                       a backup has it (`ctxnode restore`), and so do the machines that had it before";

impl Shared {
    /// Tells that something cannot be read.
    pub(crate) fn is_damaged(&self) {
        self.alert_once(DAMAGED);
    }

    /// Tells what the store found. The store has it until that is saved.
    pub(crate) fn found(&self, finding: Finding) {
        match finding {
            Finding::OwnCameBack => self.alert_once(CAME_BACK),
            Finding::Forked(log) => self.forked(log),
        }
        self.with_told(|told| told.insert(finding));
    }

    /// Notes what a person should know of this machine, once in the life of the daemon.
    fn alert_once(&self, text: &str) {
        let (now, since) = (self.store.clock().now(), self.started);
        self.add_alert(text, |alerts| alerts.happened_again(now, since, text));
    }

    /// A log has two histories. A node has a log for each space, and all of them went back together; who wants to can
    /// begin new ones without end. So there is one alert of a node at a time.
    fn forked(&self, log: LogId) {
        let is_own = log.author == self.store.node();
        let text = if is_own {
            "this machine wrote two different histories (it went back to a snapshot, or a copy of it runs elsewhere): both are \
             kept, and it goes on in new logs"
                .to_owned()
        } else {
            format!(
                "two different histories of node {} are in the fleet (it went back to a snapshot, or was cloned): both are kept",
                log.author
            )
        };
        let (now, about) = (self.store.clock().now(), format!("fork {}", log.author));
        let whose = if is_own { Whose::Own } else { Whose::Others };
        self.add_alert(&text, |alerts| alerts.lasts(now, whose, &about, &log.epoch.to_string(), &text));
    }

    fn add_alert(&self, text: &str, add: impl FnOnce(&mut Alerts) -> bool) {
        let (is_news, is_changed) = self.with_alerts(|alerts| {
            let before = alerts.clone();
            (add(alerts), *alerts != before)
        });
        self.alerts_unsaved.fetch_or(is_changed, Ordering::SeqCst);
        if is_news {
            tracing::warn!(text, "alert");
            // What was said must not be lost with the next second's power.
            self.save_soon.notify_one();
        }
    }

    /// Notes that all alerts were read; returns when, and those that were open.
    pub(super) fn acknowledge(&self) -> (Timestamp, Vec<Alert>) {
        let now = self.store.clock().now();
        let (at, open) = self.with_alerts(|alerts| {
            let at = alerts.unlike_earlier(now);
            (at, alerts.acknowledge(at))
        });
        if !open.is_empty() {
            // Whoever calls saves it.
            self.alerts_unsaved.store(true, Ordering::SeqCst);
        }
        (at, open)
    }

    /// Takes that back.
    pub(super) fn unacknowledge(&self, at: Timestamp) {
        self.with_alerts(|alerts| alerts.unacknowledge(at));
        self.alerts_unsaved.store(true, Ordering::SeqCst);
    }

    pub(super) fn with_alerts<T>(&self, use_: impl FnOnce(&mut Alerts) -> T) -> T {
        use_(&mut self.alerts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
