//! What happened between replicas that a person should know: kept until somebody says that it was read, restarts
//! included. Pure but for reading and writing the one row.

use ctxnode_model::Timestamp;
use ctxnode_store::{Draft, LocalTable, Reader, Store, StoreError, WriteError};
use serde::{Deserialize, Serialize};

/// How many alerts are kept. When there are more, the oldest that was read goes first.
const MOST: usize = 20;
const KEY: &[u8] = b"sync_alerts";

/// What happened between replicas that a person should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// When.
    pub at: Timestamp,
    /// What, in a sentence.
    pub text: String,
    /// When somebody said that it was read.
    #[serde(default)]
    pub acknowledged: Option<Timestamp>,
    /// What it is about, for something that lasts; empty for something that happened at one time.
    #[serde(default)]
    about: String,
}

/// All that are kept, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Alerts(Vec<Alert>);

impl Alerts {
    pub(crate) fn read(reader: Reader<'_>) -> Result<Self, StoreError> {
        let bytes = reader.local(LocalTable::Caches, KEY)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    pub(crate) fn save(&self, draft: &mut Draft<'_>) {
        draft.put_local(LocalTable::Caches, KEY, serde_json::to_vec(self).unwrap_or_default());
    }

    /// Those that nobody has read yet.
    pub(crate) fn open(&self) -> Vec<Alert> {
        self.0.iter().filter(|alert| alert.acknowledged.is_none()).cloned().collect()
    }

    /// Adds something that happened; returns whether it is news. What is open already is not said twice.
    pub(crate) fn happened(&mut self, now: Timestamp, text: &str) -> bool {
        let is_open = self.0.iter().any(|alert| alert.acknowledged.is_none() && alert.text == text);
        if !is_open {
            self.add(now, "", text);
        }
        !is_open
    }

    /// The same, unless it was said since `since`, read or not.
    pub(crate) fn happened_again(&mut self, now: Timestamp, since: Timestamp, text: &str) -> bool {
        let is_known = self.0.iter().any(|alert| alert.text == text && alert.at >= since);
        !is_known && self.happened(now, text)
    }

    /// Adds something that lasts; returns whether it is news. It is said once, and not again after it was read.
    pub(crate) fn lasts(&mut self, now: Timestamp, about: &str, text: &str) -> bool {
        let is_known = self.0.iter().any(|alert| alert.about == about);
        if !is_known {
            self.add(now, about, text);
        }
        !is_known
    }

    /// Notes that all of them were read; returns those that were open.
    pub(crate) fn acknowledge(&mut self, now: Timestamp) -> Vec<Alert> {
        let open = self.open();
        self.0.iter_mut().filter(|alert| alert.acknowledged.is_none()).for_each(|alert| alert.acknowledged = Some(now));
        open
    }

    fn add(&mut self, at: Timestamp, about: &str, text: &str) {
        self.0.push(Alert { at, text: text.to_owned(), acknowledged: None, about: about.to_owned() });
        if self.0.len() > MOST {
            let read = self.0.iter().position(|alert| alert.acknowledged.is_some());
            self.0.remove(read.unwrap_or(0));
        }
    }
}

/// Notes what a person should know before there is a fleet to tell it to; it is durable when this returns.
///
/// # Errors
/// When the storage fails.
pub async fn remember_alert(store: &Store, text: &str) -> Result<(), StoreError> {
    let text = text.to_owned();
    let saved = store.write(move |draft| {
        let mut alerts = Alerts::read(draft.reader())?;
        if alerts.happened(draft.now(), &text) {
            alerts.save(draft);
        }
        Ok::<(), StoreError>(())
    });
    saved.await.map(drop).map_err(WriteError::flatten)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(alerts: &[Alert]) -> Vec<&str> {
        alerts.iter().map(|alert| alert.text.as_str()).collect()
    }

    #[test]
    fn what_happened_is_said_until_it_was_read_and_again_when_it_happens_again() {
        let mut alerts = Alerts::default();
        assert!(alerts.happened(Timestamp(1), "copy"));
        assert!(!alerts.happened(Timestamp(2), "copy"), "it is open");
        assert_eq!(texts(&alerts.acknowledge(Timestamp(3))), ["copy"]);
        assert!(alerts.open().is_empty() && alerts.acknowledge(Timestamp(4)).is_empty());
        assert!(!alerts.happened_again(Timestamp(5), Timestamp(1), "copy"), "said in this life of the daemon");
        assert!(alerts.happened_again(Timestamp(6), Timestamp(5), "copy"), "said in an earlier one");
        assert_eq!(texts(&alerts.open()), ["copy"]);
    }

    #[test]
    fn what_lasts_is_said_once_and_not_again_after_it_was_read() {
        let mut alerts = Alerts::default();
        assert!(alerts.lasts(Timestamp(1), "log 1", "fork, seen at a"));
        assert!(!alerts.lasts(Timestamp(2), "log 1", "fork, seen at b"));
        assert!(alerts.lasts(Timestamp(2), "log 2", "fork, seen at b"));
        alerts.acknowledge(Timestamp(3));
        assert!(!alerts.lasts(Timestamp(4), "log 1", "fork, seen at c") && alerts.open().is_empty());
    }

    #[test]
    fn the_oldest_that_was_read_makes_room() {
        let mut alerts = Alerts::default();
        alerts.happened(Timestamp(0), "first");
        alerts.lasts(Timestamp(0), "x", "second");
        alerts.acknowledge(Timestamp(0));
        let names: Vec<String> = (0..MOST + 1).map(|number| format!("event {number}")).collect();
        for name in &names {
            alerts.happened(Timestamp(1), name);
        }
        assert_eq!(alerts.0.len(), MOST);
        assert_eq!(texts(&alerts.open()), names[1..].iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// Rows of earlier builds have neither of the later fields.
    #[test]
    fn rows_of_an_earlier_build_are_read() {
        let alerts: Alerts = serde_json::from_str(r#"[{"at":5,"text":"old"}]"#).unwrap();
        assert_eq!(texts(&alerts.open()), ["old"]);
    }
}
