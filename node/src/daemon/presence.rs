//! What is alive on this node: heartbeats, the processes behind sessions, and the calls made in them.
//!
//! Heartbeats come with every tool call and must cost nothing, so they live in memory and reach the node-local table
//! every few seconds. A crash loses at most that much of them, which is little against the 45 minutes that matter.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use ctxnode_model::{DocumentId, Timestamp};
use ctxnode_store::{Draft, LocalTable, Reader, StoreError};
use serde::{Deserialize, Serialize};

use tokio::sync::Notify;

use crate::process::ProcessId;

/// One session of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pulse {
    /// The last sign of life.
    pub(crate) at: Timestamp,
    /// The directory in which it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) checkout: Option<String>,
    /// The agent's process, while it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) process: Option<ProcessId>,
    /// Calls made in the session.
    #[serde(default)]
    pub(crate) calls: u64,
    /// Why its last turn failed, while none has ended well since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<String>,
}

/// All sessions of this node that are not over.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    state: Mutex<State>,
    /// Rings when a session begins or is over.
    pub(crate) changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    pulses: BTreeMap<DocumentId, Pulse>,
    unsaved: BTreeMap<DocumentId, bool>,
}

impl Presence {
    /// Reads the saved heartbeats.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn load(reader: Reader<'_>) -> Result<Self, StoreError> {
        let mut pulses = BTreeMap::new();
        for (key, value) in reader.local_prefix(LocalTable::Heartbeats, &[], usize::MAX)? {
            let found = (DocumentId::from_bytes(&key), serde_json::from_slice::<Pulse>(&value));
            if let (Some(id), Ok(mut pulse)) = found {
                // By the start of its process an agent has its name. One that an earlier build knew has another name from
                // now on, and would keep a session alive that it cannot reach any more.
                pulse.process = pulse.process.filter(|process| !process.is_by_clock());
                pulses.insert(id, pulse);
            }
        }
        Ok(Self { state: Mutex::new(State { pulses, unsaved: BTreeMap::new() }), changed: Notify::new() })
    }

    /// Moves the heartbeat of a session. It never moves back.
    pub(crate) fn beat(&self, id: DocumentId, now: Timestamp) {
        self.change(id, now, |pulse| {
            pulse.at = pulse.at.max(now);
            pulse.calls += 1;
        });
    }

    /// Moves the heartbeat of every session whose process still runs: a process that is idle, or that slept with its
    /// machine, has not gone away.
    pub(crate) fn revive(&self, now: Timestamp) {
        for (id, pulse) in self.all() {
            if pulse.process.is_some_and(ProcessId::is_alive) {
                self.change(id, now, |pulse| pulse.at = pulse.at.max(now));
            }
        }
    }

    /// Notes where and by which process a session runs.
    pub(crate) fn bind(&self, id: DocumentId, now: Timestamp, checkout: Option<String>, process: Option<ProcessId>) {
        self.change(id, now, |pulse| {
            pulse.at = pulse.at.max(now);
            if checkout.is_some() {
                pulse.checkout = checkout;
            }
            if process.is_some() {
                pulse.process = process;
            }
        });
        self.changed.notify_one();
    }

    /// Notes how a turn of a session ended: well, or why not.
    pub(crate) fn turn_ended(&self, id: DocumentId, now: Timestamp, failed: Option<String>) {
        self.change(id, now, |pulse| pulse.failed = failed);
    }

    /// Takes a process away from the sessions that it works in no longer, so that it does not keep them alive.
    pub(crate) fn leave(&self, process: ProcessId) {
        let left = self.all().into_iter().filter(|(_, pulse)| pulse.process == Some(process));
        for (id, pulse) in left {
            self.change(id, pulse.at, |pulse| pulse.process = None);
        }
    }

    fn change(&self, id: DocumentId, now: Timestamp, change: impl FnOnce(&mut Pulse)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Pulse { at: now, checkout: None, process: None, calls: 0, failed: None };
        change(state.pulses.entry(id).or_insert_with(fresh));
        state.unsaved.insert(id, true);
    }

    /// Forgets a session that is over.
    pub(crate) fn forget(&self, id: DocumentId) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.pulses.remove(&id).is_some() {
            state.unsaved.insert(id, false);
            self.changed.notify_one();
        }
    }

    /// Returns what is known of a session; `None` for one that is over or of another node.
    #[must_use]
    pub(crate) fn get(&self, id: DocumentId) -> Option<Pulse> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).pulses.get(&id).cloned()
    }

    /// Returns the last heartbeat, or `otherwise` when none is known.
    #[must_use]
    pub(crate) fn last(&self, id: DocumentId, otherwise: Timestamp) -> Timestamp {
        self.get(id).map_or(otherwise, |pulse| pulse.at)
    }

    /// Returns every session with its pulse.
    #[must_use]
    pub(crate) fn all(&self) -> Vec<(DocumentId, Pulse)> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.pulses.iter().map(|(id, pulse)| (*id, pulse.clone())).collect()
    }

    /// Takes what changed since the last call, to be saved.
    #[must_use]
    pub(crate) fn take_unsaved(&self) -> Vec<(DocumentId, Option<Pulse>)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let unsaved = std::mem::take(&mut state.unsaved);
        unsaved.into_keys().map(|id| (id, state.pulses.get(&id).cloned())).collect()
    }

    /// Stages changed pulses in a draft.
    pub(crate) fn save(draft: &mut Draft<'_>, changed: Vec<(DocumentId, Option<Pulse>)>) {
        for (id, pulse) in changed {
            match pulse.and_then(|pulse| serde_json::to_vec(&pulse).ok()) {
                Some(bytes) => draft.put_local(LocalTable::Heartbeats, id.to_bytes(), bytes),
                None => draft.remove_local(LocalTable::Heartbeats, id.to_bytes()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ctxnode_model::Kind;
    use ctxnode_store::{Location, NodeSecret, Options, SeededEntropy, Store};

    /// S-27: after three hours of sleep the session of a process that runs is alive, that of one that ended is not.
    #[test]
    fn s_27_sleep_ends_no_session_whose_process_still_runs() {
        let (asleep, woken) = (Timestamp(1_000), Timestamp(3 * 3_600_000));
        let presence = Presence::default();
        let running = ProcessId::of(std::process::id());
        let ended = running.map(|process| ProcessId { started: process.started + 1, ..process });
        let [there, gone] = [1_u8, 2].map(|n| DocumentId { kind: Kind::Session, raw: [n; 16] });
        presence.bind(there, asleep, None, running);
        presence.bind(gone, asleep, None, ended);
        presence.revive(woken);
        assert_eq!((presence.last(there, asleep), presence.last(gone, asleep)), (woken, asleep));
    }

    /// What an earlier build noted on Linux is read, and goes stale unless somebody works in it.
    #[test]
    fn a_session_of_an_earlier_build_is_kept_alive_by_no_process() {
        let (process, at) = (ProcessId::of(std::process::id()).unwrap(), Timestamp(1_000));
        let before = ProcessId { started: process.started_at().unwrap(), ..process };
        assert!(before.is_alive(), "it is known all the same");
        let secret = NodeSecret::generate(&SeededEntropy::new(7));
        let options = Options { location: Location::Memory, ..Options::file("", secret) };
        let store = Store::create(options, "test").unwrap().store;
        let [old, new] = [1_u8, 2].map(|n| DocumentId { kind: Kind::Session, raw: [n; 16] });
        let written = store.write_blocking(move |draft| {
            let pulse = |process| Pulse { at, checkout: None, process: Some(process), calls: 3, failed: None };
            Presence::save(draft, vec![(old, Some(pulse(before))), (new, Some(pulse(process)))]);
            Ok::<(), StoreError>(())
        });
        assert!(written.is_ok());
        let presence = Presence::load(store.read().unwrap().reader()).unwrap();
        let of = |id| presence.get(id).map(|pulse| (pulse.at, pulse.calls, pulse.process));
        let kept = if cfg!(target_os = "linux") { None } else { Some(before) };
        assert_eq!((of(old), of(new)), (Some((at, 3, kept)), Some((at, 3, Some(process)))));
    }
}
