//! What must hold once a fleet has healed.

use std::collections::BTreeSet;

use ctxnode_model::DocumentId;
use ctxnode_model::frontier::{Head, Heads, LogId};

use super::world::{Node, World};

impl World {
    /// Checks what must hold.
    pub(super) fn judge(&self) {
        // Whoever was revoked is not spoken with any more, and may not even know it.
        let kept: Vec<&Node> = self.nodes.iter().filter(|node| !self.revoked.contains(&node.key)).collect();
        let Some(authority) = kept.first().map(|node| node.store().authority()) else { return };
        let active: Vec<&Node> = kept.into_iter().filter(|node| authority.role(&node.key).is_some()).collect();
        if active.iter().all(|node| node.key == active[0].key) {
            // Nobody is between copies of one machine.
            return;
        }
        for node in &active {
            assert_eq!(node.store().authority(), authority, "rights differ: {}", self.tail());
            let sound = node.store().read().expect("a snapshot").check(|_| ()).expect("a check");
            assert_eq!(sound.problem_count, 0, "{:?} {}", sound.problems, self.tail());
        }
        let pairs =
            active.iter().enumerate().flat_map(|(at, one)| active[at + 1..].iter().map(move |two| [*one, *two]));
        for pair in pairs.filter(|[one, two]| meet(&active, one, two)) {
            let spaces =
                authority.spaces(&pair[0].key).expect("active").meet(&authority.spaces(&pair[1].key).expect("active"));
            let shared = |node: &Node| -> Heads {
                // Each keeps the history of a forked log that reached it first.
                let is_whole = |log: &LogId| spaces.contains(&log.space) && !self.imaged.contains(&log.author);
                Heads(node.heads().0.into_iter().filter(|(log, _)| is_whole(log)).collect())
            };
            let differ = differences(&shared(pair[0]), &shared(pair[1]));
            assert!(differ.is_empty(), "entries differ: {differ:?}: {}", self.tail());
            for id in &self.notes {
                let view =
                    |node: &Node| node.store().read().expect("a snapshot").reader().view_bytes(*id).expect("a view");
                let (one, two) = (view(pair[0]), view(pair[1]));
                // A node without a right to the space has nothing.
                if (one.0.is_some() && two.0.is_some()) || (pair[0].ventures.is_none() && pair[1].ventures.is_none()) {
                    let text = |view: &ctxnode_store::ViewBytes| {
                        view.0.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
                    };
                    assert_eq!(text(&one), text(&two), "{id} differs: {}", self.tail());
                    assert_eq!(one.1, two.1, "the body of {id} differs: {}", self.tail());
                }
            }
        }
        self.nothing_is_lost(&active);
        self.every_line_is_there(&active);
        self.silence_is_cheap();
    }

    /// What a member acknowledged is everywhere where it may be read, or held back because of its rights.
    fn nothing_is_lost(&self, active: &[&Node]) {
        for author in active {
            for (id, space) in &author.acked {
                for node in active.iter().filter(|node| meet(active, author, node)) {
                    let allowed =
                        node.store().authority().spaces(&node.key).is_some_and(|spaces| spaces.contains(space));
                    let known =
                        |node: &Node| node.store().read().expect("a snapshot").reader().view(*id).expect("a view");
                    if allowed && known(author).is_some() {
                        assert!(known(node).is_some(), "{id} is lost: {}", self.tail());
                    }
                }
            }
        }
    }

    /// Every line that a member has acknowledged is in everybody's note. Where rights were taken, what somebody wrote on top
    /// of what does not count any more is not there, and is nowhere.
    fn every_line_is_there(&self, active: &[&Node]) {
        let has = |node: &Node, id: DocumentId, line: &str| {
            let snapshot = node.store().read().expect("a snapshot");
            snapshot.reader().body(id).expect("a body").is_some_and(|body| body.contains(line))
        };
        for author in active {
            for (id, line) in &author.lines {
                if !self.governed.is_empty() && !has(author, *id, line) {
                    continue;
                }
                for node in active.iter().filter(|node| meet(active, author, node)) {
                    let spaces = node.store().authority().spaces(&node.key);
                    let is_allowed = spaces.is_some_and(|spaces| spaces.contains(&self.homes[id]));
                    assert!(!is_allowed || has(node, *id, line), "{line:?} of {id} is lost: {}", self.tail());
                }
            }
        }
    }

    /// After all is said, a new connection says hello and nothing else.
    fn silence_is_cheap(&self) {
        // Where two histories of a log are, ends of logs differ for ever, and are said.
        for (pair, wire) in self.wires.iter().filter(|_| self.imaged.is_empty()) {
            assert!(wire.bytes <= 2_048, "{pair:?} still says {} bytes: {:?}", wire.bytes, self.tail());
        }
    }
}

/// Whether all that one node has can reach the other: copies of one machine need somebody between them who may read all.
fn meet(active: &[&Node], one: &Node, two: &Node) -> bool {
    one.key != two.key || active.iter().any(|node| node.key != one.key && node.ventures.is_none())
}

/// Returns the logs that do not end alike, with both ends.
fn differences(one: &Heads, two: &Heads) -> Vec<(LogId, Option<Head>, Option<Head>)> {
    let logs: BTreeSet<LogId> = one.0.keys().chain(two.0.keys()).copied().collect();
    let ends = logs.into_iter().map(|log| (log, one.0.get(&log).copied(), two.0.get(&log).copied()));
    ends.filter(|(_, one, two)| one != two).collect()
}
