//! The recovery key: who holds it makes a node an admin, whatever others said, and nobody else can.

use ctxnode_model::frontier::{LogId, Run};
use ctxnode_model::{Edit, NodeKey, Space};
use ctxnode_store::entry::{Header, Op, VerifiedEntry, decode};
use ctxnode_store::{
    ControlOp, Location, NodeSecret, RecoveryKey, RescueError, Role, SeededEntropy, Store, rescue_entry,
};

use crate::support::*;

fn fleet(seed: u64) -> (Node, RecoveryKey) {
    let (options, clock) = options(Location::Memory, seed);
    let created = Store::create(options, "test").unwrap();
    (Node { store: created.store, clock }, created.recovery)
}

fn entry(key: &RecoveryKey, store: &Store, node: NodeKey, seed: u64) -> Vec<u8> {
    rescue_entry(key, store.fleet(), node, "laptop", NOON, &SeededEntropy::new(seed)).unwrap()
}

/// All other machines are lost, and the last thing heard of them was that this one is revoked.
#[test]
fn the_recovery_key_makes_a_revoked_node_an_admin_and_revokes_nobody() {
    let (a, key) = fleet(70);
    let b = member(&a, 71);
    grant(&a, &b, Role::Writer);
    let id = add_note(&b.store, "mine", "x", &[]);
    let node = b.store.node();
    write(&a.store, move |draft| draft.control(&ControlOp::Revoke { node, cuts: vec![] }));
    sync(&a.store, &b.store);
    assert_eq!(b.store.authority().role(&node), None);
    let rescue = entry(&key, &b.store, node, 72);
    runtime().block_on(b.store.rescue(rescue.clone())).unwrap();
    runtime().block_on(b.store.rescue(rescue)).unwrap();
    assert_eq!(b.store.authority().role(&node), Some(Role::Admin));
    assert_eq!(b.store.authority().role(&a.store.node()), Some(Role::Admin));
    // What was held back of it is back, and it may write and decide again.
    assert_eq!(note(&b.store, id).title.as_deref(), Some("mine"));
    write(&b.store, move |draft| draft.edit(id, &alpha(), [Edit::set("title", "again")]));
    let other = a.store.node();
    write(&b.store, move |draft| draft.control(&ControlOp::Revoke { node: other, cuts: draft.cuts_of(other)? }));
    sync(&a.store, &b.store);
    for store in [&a.store, &b.store] {
        assert_eq!((store.authority().role(&node), store.authority().role(&other)), (Some(Role::Admin), None));
        assert_eq!(note(store, id).title.as_deref(), Some("again"));
    }
}

#[test]
fn another_key_another_node_and_another_op_rescue_nobody() {
    let (a, key) = fleet(73);
    let b = member(&a, 74);
    let refuse = |bytes: Vec<u8>| runtime().block_on(b.store.rescue(bytes)).unwrap_err();
    let (_, foreign) = fleet(75);
    assert!(matches!(refuse(entry(&foreign, &b.store, b.store.node(), 1)), RescueError::OtherKey));
    assert!(matches!(refuse(entry(&key, &b.store, a.store.node(), 1)), RescueError::OtherOp));
    let mut forged = entry(&key, &b.store, b.store.node(), 1);
    forged[100] ^= 1;
    assert!(matches!(refuse(forged), RescueError::Entry(_)));
    assert!(matches!(refuse(all_entries(&a.store).pop().unwrap()), RescueError::OtherKey));
    assert_eq!(b.store.read().unwrap().reader().quarantine(10).unwrap().1, 0, "nothing of it was kept");
    assert_eq!(b.store.authority().role(&b.store.node()), None);
}

/// The place of its entry orders a control op, so one command that stages several writes an entry for each; peers take all.
#[test]
fn each_control_op_of_one_command_counts_here_and_at_peers() {
    let a = founder(80);
    let b = member(&a, 81);
    let (node, other) = (b.store.node(), NodeKey([7; 32]));
    write(&a.store, move |draft| {
        for node in [other, node] {
            draft.control(&ControlOp::Grant { node, role: Role::Reader, spaces: None, name: String::new() })?;
        }
        draft.control(&ControlOp::SetRole { node, role: Role::Writer, cuts: vec![] })
    });
    let id = add_note(&a.store, "after", "x", &[]);
    sync(&a.store, &b.store);
    for store in [&a.store, &b.store] {
        assert_eq!(store.authority().role(&other), Some(Role::Reader));
        assert_eq!(store.authority().role(&node), Some(Role::Writer));
    }
    assert_eq!(note(&b.store, id).title.as_deref(), Some("after"));
}

/// Whoever has the founder's key can sign a control op in the place of the genesis. The fleet stays founded, and the recovery
/// key stands above it.
#[test]
fn nothing_takes_the_place_of_the_genesis() {
    let first = founder(90);
    let second = member(&first, 91);
    grant(&first, &second, Role::Writer);
    let secret = NodeSecret::generate(&SeededEntropy::new(90 ^ 0x5eed));
    let (genesis, _) = decode(&first.store.genesis().unwrap()).unwrap();
    let log = LogId { space: Space::Fleet.id(&first.store.fleet()), ..genesis.log };
    let run = Run { log, from: 1, to: 1 };
    let taken = second.store.read().unwrap().reader().entries(&run, 1).unwrap().remove(0);
    let forged = (0_u32..).map(|number| {
        let node = second.store.node();
        let op = ControlOp::Grant { node, role: Role::Writer, spaces: None, name: number.to_string() };
        let header = Header { fleet: first.store.fleet(), log, ..genesis.clone() };
        VerifiedEntry::sign(header, vec![Op::Control(op.encode())], &secret).unwrap()
    });
    // A smaller hash goes first at its position.
    let forged = forged.into_iter().find(|entry| entry.hash() < blake3::hash(&taken).as_bytes()).unwrap();
    ingest(&second.store, vec![forged.bytes().to_vec()]);
    let authority = second.store.authority();
    assert_eq!(authority.role(&first.store.node()), Some(Role::Admin));
    assert_eq!(authority.role(&second.store.node()), Some(Role::Writer));
    assert!(authority.recovery().is_some());
}
