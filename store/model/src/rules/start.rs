//! Create or resume: which of an agent's sessions a start continues, and what becomes of the others.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::identity::Identity;
use super::presence::is_stale;
use super::repo::same_repo;
use crate::record::{Session, SessionStatus};
use crate::{DocumentId, Timestamp};

/// What a start looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartQuery {
    /// Who starts.
    pub identity: Identity,
    /// The venture code.
    pub venture: String,
    /// The repo.
    pub repo: String,
    /// When given, only sessions of this track match.
    pub track: Option<u32>,
}

/// A session that may match, with the heartbeat that only its node knows.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its id.
    pub id: DocumentId,
    /// Its record.
    pub session: &'a Session,
    /// Its last heartbeat, before this start counts as one.
    pub last_heartbeat: Timestamp,
}

/// What a start does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartPlan {
    /// Matching sessions beside the newest: they end with reason `superseded`.
    pub supersede: Vec<DocumentId>,
    /// What becomes of the newest.
    pub outcome: StartOutcome,
}

/// What becomes of the newest matching session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartOutcome {
    /// It goes on: heartbeat, branch, commit, issue and meta are taken over.
    Resume(DocumentId),
    /// There is none: a new one is created.
    Create,
    /// It is stale: it is abandoned as of its last heartbeat, its handoff is drafted, and a new one is created.
    Replace {
        /// The stale session.
        stale: DocumentId,
        /// When it ended.
        ended_at: Timestamp,
    },
}

/// Decides a start over the sessions that this node owns.
#[must_use]
pub fn decide_start<'a>(
    query: &StartQuery,
    sessions: impl IntoIterator<Item = Candidate<'a>>,
    now: Timestamp,
) -> StartPlan {
    let mut matching: Vec<Candidate<'a>> =
        sessions.into_iter().filter(|candidate| query.matches(candidate.session)).collect();
    matching.sort_by_key(|found| Reverse((found.last_heartbeat, found.session.created_at, found.id)));
    let mut matching = matching.into_iter();
    let outcome = match matching.next() {
        None => StartOutcome::Create,
        Some(newest) if is_stale(now.since(newest.last_heartbeat)) => {
            StartOutcome::Replace { stale: newest.id, ended_at: newest.last_heartbeat }
        }
        Some(newest) => StartOutcome::Resume(newest.id),
    };
    StartPlan { supersede: matching.map(|older| older.id).collect(), outcome }
}

impl StartQuery {
    /// Whether a session is active and of the same agent, venture and repo, and of the asked track.
    #[must_use]
    pub fn matches(&self, session: &Session) -> bool {
        session.status() == SessionStatus::Active
            && session.venture == self.venture
            && same_repo(&session.repo, &self.repo)
            && self.track.is_none_or(|track| session.track == Some(track))
            && Identity::of(session) == self.identity
    }
}

/// Returns the active sessions that every node shows as ended, `superseded`, each with the one that is kept.
///
/// They arise when one explicit agent id was used on two nodes before they synced: of one agent, venture, repo and
/// track the greatest (`created_at`, id) stays. Two of one node are left alone; the next start there decides.
#[must_use]
pub fn superseded_twins<'a>(
    sessions: impl IntoIterator<Item = (DocumentId, &'a Session)>,
) -> BTreeMap<DocumentId, DocumentId> {
    type Tuple<'a> = (&'a str, &'a str, &'a str, Option<u32>);
    let mut groups: BTreeMap<Tuple<'a>, Vec<(Timestamp, DocumentId, &'a str)>> = BTreeMap::new();
    for (id, session) in sessions {
        if session.explicit_agent && session.status() == SessionStatus::Active {
            let tuple = (session.agent.as_str(), session.venture.as_str(), session.repo.as_str(), session.track);
            groups.entry(tuple).or_default().push((session.created_at, id, &session.node));
        }
    }
    let mut losers = BTreeMap::new();
    for group in groups.values() {
        let Some((_, kept, node)) = group.iter().max() else { continue };
        losers.extend(group.iter().filter(|(_, _, other)| other != node).map(|(_, id, _)| (*id, *kept)));
    }
    losers
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Kind;
    use crate::record::{EndReason, Ending};
    use crate::rules::limits::{MINUTE_MS, STALE_AFTER_MS};

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn id(n: u8) -> DocumentId {
        DocumentId { kind: Kind::Session, raw: [n; 16] }
    }

    fn session(track: Option<u32>) -> Session {
        Session {
            agent: "ci".into(),
            explicit_agent: true,
            venture: "alpha".into(),
            repo: "org/x".into(),
            node: "n1".into(),
            track,
            ..Session::default()
        }
    }

    fn query(track: Option<u32>) -> StartQuery {
        StartQuery { identity: Identity::Named("ci".into()), venture: "alpha".into(), repo: "org/x".into(), track }
    }

    fn decide(query: &StartQuery, sessions: &[(u8, &Session, i64)]) -> StartPlan {
        let candidates =
            sessions.iter().map(|(n, session, age)| Candidate { id: id(*n), session, last_heartbeat: NOW.plus(-age) });
        decide_start(query, candidates, NOW)
    }

    #[test]
    fn s_01_s_02_without_a_match_one_is_created_and_with_one_it_is_resumed() {
        assert_eq!(decide(&query(None), &[]), StartPlan { supersede: vec![], outcome: StartOutcome::Create });
        let plan = decide(&query(None), &[(1, &session(None), MINUTE_MS)]);
        assert_eq!(plan, StartPlan { supersede: vec![], outcome: StartOutcome::Resume(id(1)) });
    }

    #[test]
    fn s_03_a_stale_session_is_replaced_as_of_its_last_heartbeat() {
        let plan = decide(&query(None), &[(1, &session(None), 46 * MINUTE_MS)]);
        assert_eq!(plan.outcome, StartOutcome::Replace { stale: id(1), ended_at: NOW.plus(-46 * MINUTE_MS) });
    }

    #[test]
    fn s_04_s_05_the_limit_itself_and_the_future_are_resumed() {
        for age in [STALE_AFTER_MS, -5_000_000] {
            assert_eq!(decide(&query(None), &[(1, &session(None), age)]).outcome, StartOutcome::Resume(id(1)));
        }
        let plan = decide(&query(None), &[(1, &session(None), STALE_AFTER_MS + 1)]);
        assert!(matches!(plan.outcome, StartOutcome::Replace { .. }));
    }

    #[test]
    fn s_07_the_newest_heartbeat_is_resumed_and_the_others_superseded() {
        let plan = decide(
            &query(None),
            &[(1, &session(None), 9), (2, &session(None), 3), (3, &session(None), 60 * MINUTE_MS)],
        );
        assert_eq!(plan, StartPlan { supersede: vec![id(1), id(3)], outcome: StartOutcome::Resume(id(2)) });
    }

    #[test]
    fn s_08_s_09_a_given_track_must_match_and_zero_is_a_track() {
        let sessions = [(1, &session(Some(1)), 5), (2, &session(Some(0)), 9), (3, &session(None), 1)];
        assert_eq!(decide(&query(Some(1)), &sessions).outcome, StartOutcome::Resume(id(1)));
        assert_eq!(
            decide(&query(Some(0)), &sessions),
            StartPlan { supersede: vec![], outcome: StartOutcome::Resume(id(2)) }
        );
        assert_eq!(decide(&query(Some(7)), &sessions).outcome, StartOutcome::Create);
        assert_eq!(decide(&query(None), &sessions).outcome, StartOutcome::Resume(id(3)));
    }

    #[test]
    fn s_10_ended_and_foreign_sessions_never_match() {
        let over = Some(Ending { at: NOW, reason: EndReason::Manual, handoff: None });
        let others = [
            Session { ended: over.clone(), ..session(None) },
            Session { abandoned: over, ..session(None) },
            Session { agent: "other".into(), ..session(None) },
            Session { venture: "beta".into(), ..session(None) },
            Session { repo: "org/y".into(), ..session(None) },
            Session { explicit_agent: false, cli: Some("c".into()), instance: Some("i".into()), ..session(None) },
        ];
        for other in &others {
            assert_eq!(decide(&query(None), &[(1, other, 0)]).outcome, StartOutcome::Create);
        }
    }

    fn twins(sessions: &[(u8, Session)]) -> Vec<(DocumentId, DocumentId)> {
        superseded_twins(sessions.iter().map(|(n, session)| (id(*n), session))).into_iter().collect()
    }

    #[test]
    fn s_07_of_two_nodes_with_one_agent_id_the_greatest_creation_stays() {
        let older = Session { created_at: Timestamp(1), ..session(None) };
        let newer = Session { created_at: Timestamp(2), node: "n2".into(), ..session(None) };
        assert_eq!(twins(&[(9, older.clone()), (1, newer.clone())]), [(id(9), id(1))]);
        let same_time = Session { created_at: Timestamp(2), ..session(None) };
        assert_eq!(twins(&[(9, same_time), (1, newer.clone())]), [(id(1), id(9))]);
        let one_node = Session { node: "n1".into(), ..newer.clone() };
        assert_eq!(twins(&[(9, older.clone()), (1, one_node)]), []);
        let other_track = Session { track: Some(3), ..newer.clone() };
        assert_eq!(twins(&[(9, older.clone()), (1, other_track)]), []);
        let process = Session { explicit_agent: false, ..newer };
        assert_eq!(twins(&[(9, older), (1, process)]), []);
    }

    proptest! {
        #[test]
        fn a_start_leaves_exactly_one_of_the_matching_sessions(ages in proptest::collection::vec(0_i64..6_000_000, 0..6)) {
            let sessions: Vec<Session> = ages.iter().map(|_| session(None)).collect();
            let candidates: Vec<Candidate<'_>> = (0_u8..).zip(&sessions).zip(&ages)
                .map(|((n, session), age)| Candidate { id: id(n), session, last_heartbeat: NOW.plus(-age) })
                .collect();
            let plan = decide_start(&query(None), candidates.iter().copied(), NOW);
            let mut reversed = candidates.clone();
            reversed.reverse();
            prop_assert_eq!(&plan, &decide_start(&query(None), reversed, NOW));
            let kept = usize::from(!ages.is_empty());
            prop_assert_eq!(plan.supersede.len() + kept, ages.len());
        }
    }
}
