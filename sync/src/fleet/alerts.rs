//! Alerts of the running fleet: said to the log at once, saved at once, shown until they were read.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::Shared;
use crate::alerts::{Alert, Alerts};

impl Shared {
    /// Notes what a person should know, once in the life of the daemon.
    pub(crate) fn alert_once(&self, text: &str) {
        let (now, since) = (self.store.clock().now(), self.started);
        self.add_alert(text, |alerts| alerts.happened_again(now, since, text));
    }

    /// Notes something that lasts: it is said once, and not again after it was read.
    pub(crate) fn alert_about(&self, about: &str, text: &str) {
        let now = self.store.clock().now();
        self.add_alert(text, |alerts| alerts.lasts(now, about, text));
    }

    fn add_alert(&self, text: &str, add: impl FnOnce(&mut Alerts) -> bool) {
        if self.with_alerts(add) {
            tracing::warn!(text, "alert");
            self.alerts_changed();
        }
    }

    /// Notes that all alerts were read; returns those that were open.
    pub(super) fn acknowledge(&self) -> Vec<Alert> {
        let now = self.store.clock().now();
        let open = self.with_alerts(|alerts| alerts.acknowledge(now));
        if !open.is_empty() {
            self.alerts_changed();
        }
        open
    }

    /// What was said must not be lost with the next second's power.
    fn alerts_changed(&self) {
        self.alerts_unsaved.store(true, Ordering::SeqCst);
        self.save_soon.notify_one();
    }

    pub(super) fn with_alerts<T>(&self, use_: impl FnOnce(&mut Alerts) -> T) -> T {
        use_(&mut self.alerts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
