//! What must hold once a fleet has healed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use ctxnode_model::frontier::{Head, Heads, LogId, Run};
use ctxnode_model::{NodeKey, SpaceId, Spaces};
use ctxnode_store::{Authority, Role, ViewBytes};
use serde_json::{Value, json};

use super::world::{Node, World};

/// How often something was held back, by why: what no fleet ever comes to proves nothing.
pub(super) static HELD_BACK: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

/// A member, with what it shows of every record.
struct Seen<'a> {
    node: &'a Node,
    spaces: Spaces,
    heads: Heads,
    records: Vec<ViewBytes>,
}

impl World {
    /// Checks what must hold once all connections are new.
    pub(super) fn judge(&self) {
        self.agree();
        let reads_all = |node: &&Node| {
            let authority = node.store().authority();
            authority.role(&node.key).is_some() && authority.spaces(&node.key) == Some(Spaces::All)
        };
        self.nodes.iter().find(reads_all).into_iter().for_each(|node| self.rights_hold(node));
        self.silence_is_cheap();
    }

    /// Checks what must hold whatever was said before.
    pub(super) fn agree(&self) {
        self.look_alike();
        for node in &self.nodes {
            let sound = node.store().read().and_then(|snapshot| snapshot.check(|_| ())).expect("a check");
            assert_eq!(sound.problem_count, 0, "{:?} {}", sound.problems, self.tail());
        }
    }

    /// Checks that all show the same and hold the same rights, and not what each has stored to show it.
    pub(super) fn look_alike(&self) {
        for node in &self.nodes {
            self.nothing_acknowledged_is_lost(node);
        }
        // Whoever was revoked is not spoken with any more, and may not even know it.
        let is_revoked = |node: &NodeKey| {
            let somebody_knows =
                || self.nodes.iter().any(|other| other.store().authority().revoked().any(|key| key == *node));
            self.revoked.contains(node) || (self.perhaps_revoked.contains(node) && somebody_knows())
        };
        let kept: Vec<&Node> = self.nodes.iter().filter(|node| !is_revoked(&node.key)).collect();
        let Some(authority) = kept.first().map(|node| node.store().authority()) else { return };
        let mut active = Vec::new();
        for node in kept {
            let Some(spaces) = authority.spaces(&node.key).filter(|_| authority.role(&node.key).is_some()) else {
                continue;
            };
            // Of logs that a node may not read it does not know how they are laid out, so cuts of these may differ.
            let rights = |authority: &Authority| {
                let members = authority.members().map(|(node, role)| (node, role, authority.spaces(&node)));
                (members.collect::<Vec<_>>(), authority.revoked().collect::<Vec<_>>())
            };
            assert_eq!(rights(&node.store().authority()), rights(&authority), "rights differ: {}", self.tail());
            self.nobody_takes_rights(node);
            let snapshot = node.store().read().expect("a snapshot");
            let records = self.records.iter().map(|id| snapshot.reader().view_bytes(*id).expect("a view")).collect();
            active.push(Seen { node, spaces, heads: node.heads(), records });
        }
        // The founder reads everything, so each of the others has all that it may read in common with it.
        if let Some((first, others)) = active.split_first() {
            others.iter().for_each(|other| self.alike(first, other));
        }
        self.nothing_is_lost(&active);
    }

    fn alike(&self, one: &Seen<'_>, two: &Seen<'_>) {
        let spaces = one.spaces.meet(&two.spaces);
        let shared = |seen: &Seen<'_>| -> Heads {
            Heads(
                seen.heads
                    .0
                    .iter()
                    .filter(|(log, _)| spaces.contains(&log.space))
                    .map(|(log, head)| (*log, *head))
                    .collect(),
            )
        };
        let differ = differences(&shared(one), &shared(two));
        assert!(differ.is_empty(), "entries differ: {differ:?}: {}", self.tail());
        if one.node.ventures.is_none() && two.node.ventures.is_none() {
            let held = |seen: &Seen<'_>| {
                let (rows, _) =
                    seen.node.store().read().expect("a snapshot").reader().quarantine(10_000).expect("rows");
                for row in &rows {
                    // What an honest machine wrote is held back because of rights, or of a second history.
                    let is_lie = row.reason["why"] == "other-space" || row.reason["why"] == "screened";
                    let honest = is_lie && self.liar != Some(row.log.author);
                    assert!(!honest, "{row:?} is of an honest machine: {}", self.tail());
                }
                rows.into_iter().map(|row| (row.log, row.seq, row.op, row.why)).collect::<BTreeSet<_>>()
            };
            for (.., why) in held(one) {
                *HELD_BACK.lock().unwrap_or_else(PoisonError::into_inner).entry(why).or_default() += 1;
            }
            assert_eq!(held(one), held(two), "they hold back different things: {}", self.tail());
        }
        for (id, (one_view, two_view)) in self.records.iter().zip(one.records.iter().zip(&two.records)) {
            // A node without a right to the space has nothing, or what it had when it was an admin.
            let reads = |view: &ViewBytes| space_of(view).is_some_and(|space| spaces.contains(&space));
            let both_have = reads(one_view) && reads(two_view);
            let both_may = one.node.ventures.is_none() && two.node.ventures.is_none();
            if (both_have || both_may) && one_view != two_view {
                let text = |view: &ViewBytes| view.0.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
                assert_eq!(text(one_view), text(two_view), "{id} differs: {}", self.tail());
                assert_eq!(one_view.1, two_view.1, "the body of {id} differs: {}", self.tail());
            }
        }
    }

    /// Every entry that a node has acknowledged to its agents is in a log of its own, as it was; where its machine has written
    /// two histories, the entry may lie in a branch by now.
    fn nothing_acknowledged_is_lost(&self, node: &Node) {
        let snapshot = node.store().read().expect("a snapshot");
        let read = |run: &Run| snapshot.reader().entries(run, usize::MAX).expect("entries");
        let all = || -> Vec<Run> {
            let own = node.heads().0.into_iter().filter(|(log, _)| log.author == node.key);
            own.map(|(log, head)| Run { log, from: 1, to: head.length }).collect()
        };
        for ((log, position), hash) in &node.promised {
            let is_it = |entry: &Vec<u8>| blake3::hash(entry) == *hash;
            let at_its_place = read(&Run { log: *log, from: *position, to: *position }).iter().any(is_it);
            let found = at_its_place || all().iter().any(|run| read(run).iter().any(is_it));
            assert!(found, "entry {position} of {log:?} was acknowledged and is gone: {}", self.tail());
        }
    }

    /// A note of a member is everywhere where it may be read, or held back because of its author's rights.
    fn nothing_is_lost(&self, active: &[Seen<'_>]) {
        for author in active {
            for (at, id) in self.records.iter().enumerate().filter(|(at, _)| author.records[*at].0.is_some()) {
                let Some(space) = author.node.acked.get(id) else { continue };
                for node in active.iter().filter(|node| node.spaces.contains(space)) {
                    assert!(node.records[at].0.is_some(), "{id} is lost: {}", self.tail());
                }
            }
        }
    }

    /// Whatever a liar signs, nobody is an admin whom no admin made one, and nothing is deleted that no admin deleted. A liar
    /// that was made an admin may do both.
    fn nobody_takes_rights(&self, node: &Node) {
        if self.liar.is_some_and(|liar| self.perhaps_admins.contains(&liar)) {
            return;
        }
        let authority = node.store().authority();
        for (member, role) in authority.members() {
            let is_made = role < Role::Admin || self.perhaps_admins.contains(&member);
            assert!(is_made, "{member} made itself an admin: {}", self.tail());
        }
        let snapshot = node.store().read().expect("a snapshot");
        for id in self.records.iter().filter(|id| !self.perhaps_deleted.contains(id)) {
            let (view, _) = snapshot.reader().view_bytes(*id).expect("a view");
            let view: Option<Value> = view.map(|bytes| serde_json::from_slice(&bytes).expect("JSON"));
            let is_deleted = view.is_some_and(|view| view["meta"]["deleted"] != json!(false));
            assert!(!is_deleted, "{id} was deleted without a right: {}", self.tail());
        }
    }

    /// After all is said, a new connection says hello and nothing else.
    fn silence_is_cheap(&self) {
        for (pair, wire) in &self.wires {
            assert!(wire.bytes <= 2_048, "{pair:?} still says {} bytes: {:?}", wire.bytes, self.tail());
        }
    }
}

/// Returns the space of a record that is there.
fn space_of((view, _): &ViewBytes) -> Option<SpaceId> {
    let view: Value = serde_json::from_slice(view.as_ref()?).expect("JSON");
    Some(serde_json::from_value(view["meta"]["space"].clone()).expect("a space"))
}

/// Returns the logs that do not end alike, with both ends.
fn differences(one: &Heads, two: &Heads) -> Vec<(LogId, Option<Head>, Option<Head>)> {
    let logs: BTreeSet<LogId> = one.0.keys().chain(two.0.keys()).copied().collect();
    let ends = logs.into_iter().map(|log| (log, one.0.get(&log).copied(), two.0.get(&log).copied()));
    ends.filter(|(_, one, two)| one != two).collect()
}
