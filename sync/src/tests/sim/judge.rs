//! What must hold once a fleet has healed.

use std::collections::BTreeSet;

use ctxnode_model::frontier::{Head, Heads, LogId};

use super::world::{Node, World};

impl World {
    /// Checks what must hold.
    pub(super) fn judge(&self) {
        // Whoever was revoked is not spoken with any more, and may not even know it.
        let kept: Vec<&Node> = self.nodes.iter().filter(|node| !self.revoked.contains(&node.key)).collect();
        let Some(authority) = kept.first().map(|node| node.store().authority()) else { return };
        let active: Vec<&Node> = kept.into_iter().filter(|node| authority.role(&node.key).is_some()).collect();
        for node in &active {
            assert_eq!(node.store().authority(), authority, "rights differ: {}", self.tail());
            let sound = node.store().read().expect("a snapshot").check(|_| ()).expect("a check");
            assert_eq!(sound.problem_count, 0, "{:?} {}", sound.problems, self.tail());
        }
        for pair in active.windows(2) {
            let spaces =
                authority.spaces(&pair[0].key).expect("active").meet(&authority.spaces(&pair[1].key).expect("active"));
            let shared = |node: &Node| -> Heads {
                Heads(node.heads().0.into_iter().filter(|(log, _)| spaces.contains(&log.space)).collect())
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
        self.silence_is_cheap();
    }

    /// What a member acknowledged is everywhere where it may be read, or held back because of its rights.
    fn nothing_is_lost(&self, active: &[&Node]) {
        for author in active {
            for (id, space) in &author.acked {
                for node in active {
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

    /// After all is said, a new connection says hello and nothing else.
    fn silence_is_cheap(&self) {
        for (pair, wire) in &self.wires {
            assert!(wire.bytes <= 2_048, "{pair:?} still says {} bytes: {:?}", wire.bytes, self.tail());
        }
    }
}

/// Returns the logs that do not end alike, with both ends.
fn differences(one: &Heads, two: &Heads) -> Vec<(LogId, Option<Head>, Option<Head>)> {
    let logs: BTreeSet<LogId> = one.0.keys().chain(two.0.keys()).copied().collect();
    let ends = logs.into_iter().map(|log| (log, one.0.get(&log).copied(), two.0.get(&log).copied()));
    ends.filter(|(_, one, two)| one != two).collect()
}
