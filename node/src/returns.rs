//! Coming back: notices that this node was out of touch (asleep, on a train, switched off), and what came when it had
//! caught up again.

use std::sync::{Mutex, PoisonError};

use ctxnode_api::node::ArrivedView;
use ctxnode_model::Timestamp;
use ctxnode_store::{LocalTable, StoreError};
use ctxnode_sync::PeerState;

use crate::app::App;
use crate::failure::Failure;
use crate::handlers::Arrivals;

const KEY: &[u8] = b"arrived";
/// A wall clock that jumps this far between two looks means that the machine slept.
const SLEPT_MS: i64 = 30_000;

/// Whether this node is in touch, and since when and where in the journal it was not.
#[derive(Debug)]
pub(crate) struct Returns(Mutex<State>);

#[derive(Clone, Copy, Debug)]
struct State {
    looked: Timestamp,
    journal: u64,
    away: Option<Away>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Away {
    since: Option<Timestamp>,
    journal: u64,
}

/// What is seen at one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    now: Timestamp,
    journal: u64,
    is_connected: bool,
    is_equal: bool,
    /// When another node was last heard before this daemon began.
    last_contact: Option<Timestamp>,
}

impl Returns {
    /// Begins at a position of the journal: what came before this daemon ran was not seen by it.
    pub(crate) fn starting(now: Timestamp, journal: u64) -> Self {
        Self(Mutex::new(State { looked: now, journal, away: Some(Away { since: None, journal }) }))
    }
}

impl State {
    /// Takes a look; returns the time away that is over with it.
    fn look(self, look: Look) -> (Self, Option<Away>) {
        let away = match self.away {
            Some(away) => Some(Away { since: away.since.or(look.last_contact), ..away }),
            None if look.now.since(self.looked) > SLEPT_MS || !look.is_connected => {
                Some(Away { since: Some(self.looked), journal: self.journal })
            }
            None => None,
        };
        let is_back = look.is_connected && look.is_equal;
        let after = Self { looked: look.now, journal: look.journal, away: away.filter(|_| !is_back) };
        (after, away.filter(|_| is_back))
    }
}

/// Looks whether this node is in touch; called every few seconds.
pub(crate) async fn look(app: &App) -> Result<(), Failure> {
    let Some(fleet) = app.fleet.get() else { return Ok(()) };
    let peers = fleet.status();
    let linked: Vec<_> = peers.iter().filter(|peer| peer.state == PeerState::Connected).collect();
    let look = Look {
        now: app.now(),
        journal: app.store.read()?.reader().journal_end()?,
        is_connected: !linked.is_empty(),
        is_equal: linked.iter().all(|peer| peer.lacks.is_some_and(|lacks| lacks.own == 0)),
        last_contact: fleet.last_contact_before(),
    };
    let over = {
        let mut state = app.returns.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (after, over) = state.look(look);
        *state = after;
        over
    };
    let Some(away) = over else { return Ok(()) };
    let snapshot = app.store.read()?;
    let arrivals = Arrivals::after(snapshot.reader(), app.store.node(), away.journal, None)?;
    let view = arrivals.view(snapshot.reader(), app, away.since, look.now)?;
    let Some(view) = view else { return Ok(()) };
    tracing::info!(records = ?view.records, "caught up after having been out of touch");
    let bytes = serde_json::to_vec(&view).unwrap_or_default();
    let noted = app.store.write(move |draft| {
        draft.put_local(LocalTable::Caches, KEY, bytes);
        Ok::<(), StoreError>(())
    });
    noted.await.map_err(|error| Failure::Store(error.flatten()))?;
    Ok(())
}

/// Returns what came when this node was last back.
pub(crate) fn last(app: &App) -> Option<ArrivedView> {
    let snapshot = app.store.read().ok()?;
    let bytes = snapshot.reader().local(LocalTable::Caches, KEY).ok()??;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, journal: u64, is_connected: bool, is_equal: bool) -> Look {
        let now = Timestamp(seconds * 1_000);
        Look { now, journal, is_connected, is_equal, last_contact: Some(Timestamp(7)) }
    }

    fn run(looks: &[Look]) -> Vec<Option<Away>> {
        let mut state = State { looked: Timestamp(0), journal: 10, away: Some(Away { since: None, journal: 10 }) };
        let step = |look: &Look| {
            let (after, over) = state.look(*look);
            state = after;
            over
        };
        looks.iter().map(step).collect()
    }

    #[test]
    fn away_is_over_when_somebody_is_connected_and_nothing_is_lacked() {
        let looks = [
            at(0, 10, false, true),
            at(5, 12, true, false),
            at(10, 30, true, true),
            at(15, 31, true, true),
            at(20, 32, false, true),
            at(25, 33, false, true),
            at(30, 40, true, true),
        ];
        let first = Away { since: Some(Timestamp(7)), journal: 10 };
        let second = Away { since: Some(Timestamp(15_000)), journal: 31 };
        assert_eq!(run(&looks), [None, None, Some(first), None, None, None, Some(second)]);
    }

    #[test]
    fn a_jump_of_the_clock_is_sleep_even_when_the_connection_lived() {
        let looks = [at(0, 1, true, true), at(5, 2, true, true), at(600, 9, true, true), at(605, 9, true, true)];
        let slept = Away { since: Some(Timestamp(5_000)), journal: 2 };
        assert_eq!(run(&looks)[1..], [None, Some(slept), None]);
    }
}
