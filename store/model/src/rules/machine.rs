//! Machines: which records are about one host.
//!
//! A machine without a daemon is registered by its host name. Two nodes that do so while they are apart make two records;
//! every node then shows the older one and finds it under either id. Machines with daemons are told apart by their keys:
//! two users of one host have a node each.

use std::collections::BTreeMap;

use crate::DocumentId;
use crate::record::{Machine, Rec};

/// Returns the record that stands for each machine: the oldest of those that are about it, with what the newest of them
/// say. Sorted by host name.
#[must_use]
pub fn one_each(records: &[Rec<Machine>]) -> Vec<Rec<Machine>> {
    let mut machines: Vec<Rec<Machine>> = groups(records).iter().filter_map(|group| merged(group)).collect();
    machines.sort_by(|a, b| (&a.hostname, a.id).cmp(&(&b.hostname, b.id)));
    machines
}

/// Returns every id under which a machine is known, the one that is shown first; `None` when the id names no record.
#[must_use]
pub fn known_as(records: &[Rec<Machine>], id: DocumentId) -> Option<Vec<DocumentId>> {
    let found = groups(records).into_iter().find(|group| group.iter().any(|record| record.id == id))?;
    Some(found.iter().map(|record| record.id).collect())
}

/// Records of one machine each, the oldest first.
fn groups(records: &[Rec<Machine>]) -> Vec<Vec<&Rec<Machine>>> {
    let mut by_host: BTreeMap<String, Vec<&Rec<Machine>>> = BTreeMap::new();
    for record in records {
        by_host.entry(record.hostname.to_lowercase()).or_default().push(record);
    }
    let mut groups = Vec::new();
    for mut host in by_host.into_values() {
        host.sort_by_key(|record| record.id);
        let (keyed, plain): (Vec<_>, Vec<_>) = host.into_iter().partition(|record| record.node_key.is_some());
        let mut by_key: BTreeMap<Option<&str>, Vec<&Rec<Machine>>> = BTreeMap::new();
        for record in keyed {
            by_key.entry(record.node_key.as_deref()).or_default().push(record);
        }
        let mut found: Vec<Vec<&Rec<Machine>>> = by_key.into_values().collect();
        match found.as_mut_slice() {
            // Whoever registered the host by name meant its only daemon.
            [only] => {
                only.extend(plain);
                only.sort_by_key(|record| record.id);
            }
            _ if plain.is_empty() => {}
            _ => found.push(plain),
        }
        groups.extend(found);
    }
    groups
}

fn merged(group: &[&Rec<Machine>]) -> Option<Rec<Machine>> {
    let newest = group.iter().max_by_key(|record| record.meta.updated);
    let keyed = group.iter().filter(|record| record.node_key.is_some()).max_by_key(|record| record.meta.updated);
    let (oldest, source) = (group.first()?, keyed.or(newest)?);
    let status = newest.map_or(source.status, |record| record.status);
    let value = Machine { status, registered_at: oldest.registered_at, ..source.value.clone() };
    Some(Rec { id: oldest.id, meta: source.meta.clone(), value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{MachineStatus, RecordMeta};
    use crate::{Kind, NodeKey, Order, SpaceId, Stamp};

    fn record(id: u8, hostname: &str, key: Option<&str>, updated: u64) -> Rec<Machine> {
        let order = Order { stamp: Stamp(updated), author: NodeKey([0; 32]), epoch: 0, seq: 0 };
        Rec {
            id: DocumentId { kind: Kind::Machine, raw: [id; 16] },
            meta: RecordMeta {
                space: SpaceId([0; 16]),
                created: order,
                updated: order,
                rev: String::new(),
                deleted: false,
                conflicts: Vec::new(),
            },
            value: Machine {
                hostname: hostname.to_owned(),
                node_key: key.map(str::to_owned),
                role: format!("role {id}"),
                ..Machine::default()
            },
        }
    }

    fn ids(records: &[Rec<Machine>]) -> Vec<u8> {
        one_each(records).iter().map(|machine| machine.id.raw[0]).collect()
    }

    /// F-06: of two records of one host the older stands for both, and either id finds it.
    #[test]
    fn f_06_two_records_of_one_host_are_one_machine_under_the_older_id() {
        let records = [record(9, "db", None, 5), record(3, "DB", None, 7), record(4, "web", None, 1)];
        assert_eq!(ids(&records), [3, 4]);
        assert_eq!(one_each(&records)[0].role, "role 3", "what was said last holds");
        let of = |id: u8| known_as(&records, DocumentId { kind: Kind::Machine, raw: [id; 16] });
        let raw = |found: Option<Vec<DocumentId>>| found.map(|ids| ids.iter().map(|id| id.raw[0]).collect::<Vec<_>>());
        assert_eq!((raw(of(9)), raw(of(3)), raw(of(1))), (Some(vec![3, 9]), Some(vec![3, 9]), None));
    }

    #[test]
    fn two_daemons_of_one_host_are_two_machines_and_a_name_alone_means_the_only_daemon() {
        let one = [record(2, "db", None, 9), record(5, "db", Some("k1"), 1)];
        assert_eq!(ids(&one), [2]);
        assert_eq!(one_each(&one)[0].node_key.as_deref(), Some("k1"));
        assert_eq!(ids(&[record(5, "db", Some("k1"), 1), record(6, "db", Some("k2"), 2)]), [5, 6]);
        assert_eq!(
            ids(&[record(5, "db", Some("k1"), 1), record(6, "db", Some("k2"), 2), record(2, "db", None, 1)]),
            [2, 5, 6]
        );
    }

    #[test]
    fn a_retirement_that_was_written_last_holds_for_all_records() {
        let mut retired = record(9, "db", None, 8);
        retired.value.status = MachineStatus::Retired;
        let found = one_each(&[record(3, "db", Some("k"), 5), retired]);
        assert_eq!(
            (found.len(), found[0].status, found[0].node_key.as_deref()),
            (1, MachineStatus::Retired, Some("k"))
        );
    }
}
