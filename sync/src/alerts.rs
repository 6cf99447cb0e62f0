//! What happened between replicas that a person should know: kept until somebody says that it was read, restarts
//! included. Pure but for reading and writing the one row.

use ctxnode_model::Timestamp;
use ctxnode_store::{Draft, LocalTable, Reader, Store, StoreError, WriteError};
use serde::{Deserialize, Serialize};

/// How many alerts are kept. When there are more, the oldest that was read goes first, then the oldest of another machine:
/// nobody makes this one forget what happened to itself.
const MOST: usize = 20;
/// How many cases of one matter are remembered once they were said.
const CASES: usize = 64;
const KEY: &[u8] = b"sync_alerts";

/// What happened between replicas that a person should know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The cases of it that were said with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    cases: Vec<String>,
    /// Whose matter it is.
    #[serde(default)]
    whose: Whose,
}

/// Whom an alert is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Whose {
    /// This machine.
    #[default]
    Own,
    /// Another one.
    Others,
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

    /// Adds something that happened to this machine; returns whether it is news. What is open already is not said twice.
    pub(crate) fn happened(&mut self, now: Timestamp, text: &str) -> bool {
        let is_open = self.0.iter().any(|alert| alert.acknowledged.is_none() && alert.text == text);
        if !is_open {
            self.add(Alert { at: now, text: text.to_owned(), ..Alert::default() });
        }
        !is_open
    }

    /// The same, unless it was said since `since`, read or not.
    pub(crate) fn happened_again(&mut self, now: Timestamp, since: Timestamp, text: &str) -> bool {
        let is_known = self.0.iter().any(|alert| alert.text == text && alert.at >= since);
        !is_known && self.happened(now, text)
    }

    /// Adds a case of something that lasts; returns whether it is news. It is said once, and not again after it was read;
    /// other cases of it are said with the first as long as that is open, and make it open again later.
    pub(crate) fn lasts(&mut self, now: Timestamp, whose: Whose, about: &str, case: &str, text: &str) -> bool {
        // Earlier builds had an alert for each case.
        let of_old = format!("{about} {case}");
        if self.0.iter().any(|alert| alert.about == of_old) {
            return false;
        }
        let known = self.0.iter().position(|alert| alert.about == about);
        let mut alert = known.map_or_else(Alert::default, |place| self.0[place].clone());
        if alert.cases.iter().any(|known| known == case) {
            return false;
        }
        alert.cases.push(case.to_owned());
        if alert.cases.len() > CASES {
            alert.cases.remove(0);
        }
        let is_news = known.is_none() || alert.acknowledged.is_some();
        if let Some(place) = known.filter(|_| !is_news) {
            self.0[place] = alert;
            return false;
        }
        known.map(|place| self.0.remove(place));
        self.add(Alert { at: now, text: text.to_owned(), acknowledged: None, about: about.to_owned(), whose, ..alert });
        true
    }

    /// Returns the time, or a moment after the last reading: by its time a reading that could not be saved is taken back.
    pub(crate) fn unlike_earlier(&self, now: Timestamp) -> Timestamp {
        let last = self.0.iter().filter_map(|alert| alert.acknowledged).max();
        last.map_or(now, |last| now.max(last.plus(1)))
    }

    /// Notes that all of them were read; returns those that were open.
    pub(crate) fn acknowledge(&mut self, now: Timestamp) -> Vec<Alert> {
        let open = self.open();
        self.0.iter_mut().filter(|alert| alert.acknowledged.is_none()).for_each(|alert| alert.acknowledged = Some(now));
        open
    }

    /// Takes back that those were read which were read at this moment.
    pub(crate) fn unacknowledge(&mut self, at: Timestamp) {
        self.0.iter_mut().filter(|alert| alert.acknowledged == Some(at)).for_each(|alert| alert.acknowledged = None);
    }

    fn add(&mut self, alert: Alert) {
        self.0.push(alert);
        if self.0.len() > MOST {
            let rank = |alert: &Alert| match (alert.acknowledged, alert.whose) {
                (Some(_), _) => 0,
                (None, Whose::Others) => 1,
                (None, Whose::Own) => 2,
            };
            // The first of those with the lowest rank, the oldest.
            let leaves = self.0.iter().enumerate().min_by_key(|(place, alert)| (rank(alert), *place));
            let leaves = leaves.map_or(0, |(place, _)| place);
            self.0.remove(leaves);
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
        let lasts = |alerts: &mut Alerts, about: &str, case: &str| {
            alerts.lasts(Timestamp(1), Whose::Others, about, case, about)
        };
        assert!(lasts(&mut alerts, "fork a", "1"));
        assert!(!lasts(&mut alerts, "fork a", "1"));
        assert!(!lasts(&mut alerts, "fork a", "2"), "another case of it while it is open");
        assert!(lasts(&mut alerts, "fork b", "1"));
        assert_eq!(texts(&alerts.acknowledge(Timestamp(3))), ["fork a", "fork b"]);
        assert!(!lasts(&mut alerts, "fork a", "1") && !lasts(&mut alerts, "fork a", "2") && alerts.open().is_empty());
        assert!(lasts(&mut alerts, "fork a", "3"), "a new case");
        assert_eq!(texts(&alerts.open()), ["fork a"]);
        assert_eq!(alerts.0.len(), 2);
    }

    #[test]
    fn what_could_not_be_saved_was_not_read() {
        let mut alerts = Alerts::default();
        alerts.happened(Timestamp(1), "earlier");
        alerts.acknowledge(Timestamp(2));
        alerts.happened(Timestamp(3), "now");
        alerts.acknowledge(Timestamp(4));
        alerts.unacknowledge(Timestamp(4));
        assert_eq!(texts(&alerts.open()), ["now"]);
        // Both in one millisecond, or after the clock was set back.
        for now in [2, 1] {
            let at = alerts.unlike_earlier(Timestamp(now));
            alerts.acknowledge(at);
            alerts.unacknowledge(at);
            assert_eq!(texts(&alerts.open()), ["now"]);
        }
    }

    #[test]
    fn the_oldest_that_was_read_makes_room() {
        let mut alerts = Alerts::default();
        alerts.happened(Timestamp(0), "first");
        alerts.lasts(Timestamp(0), Whose::Own, "x", "1", "second");
        alerts.acknowledge(Timestamp(0));
        let names: Vec<String> = (0..MOST + 1).map(|number| format!("event {number}")).collect();
        for name in &names {
            alerts.happened(Timestamp(1), name);
        }
        assert_eq!(alerts.0.len(), MOST);
        assert_eq!(texts(&alerts.open()), names[1..].iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn others_do_not_make_a_machine_forget_what_happened_to_itself() {
        let mut alerts = Alerts::default();
        alerts.happened(Timestamp(0), "copied");
        alerts.lasts(Timestamp(0), Whose::Own, "fork me", "1", "forked");
        for number in 0..3 * MOST {
            let name = format!("fork {number}");
            assert!(alerts.lasts(Timestamp(1), Whose::Others, &name, "1", &name));
        }
        let open = alerts.open();
        assert_eq!(texts(&open)[..3], ["copied", "forked", &format!("fork {}", 2 * MOST + 2)]);
        assert_eq!(open.len(), MOST);
    }

    /// Rows of earlier builds lack the later fields.
    #[test]
    fn rows_of_an_earlier_build_are_read() {
        let alerts: Alerts = serde_json::from_str(r#"[{"at":5,"text":"old"}]"#).unwrap();
        assert_eq!(texts(&alerts.open()), ["old"]);
        let row = r#"[{"at":5,"text":"old","acknowledged":6,"about":"fork a 1"}]"#;
        let mut alerts: Alerts = serde_json::from_str(row).unwrap();
        assert!(!alerts.lasts(Timestamp(7), Whose::Others, "fork a", "1", "again"), "it was read");
        assert!(alerts.lasts(Timestamp(7), Whose::Others, "fork a", "2", "new"));
    }
}
