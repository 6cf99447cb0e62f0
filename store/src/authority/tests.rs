//! Tests of the evaluation: cuts, acceptance, mutual revocation, the recovery key.

use ctxnode_model::{DocumentId, Stamp, Timestamp, id::FleetId};
use proptest::prelude::*;

use super::*;

const SPACE: SpaceId = SpaceId([0; 16]);

fn node(number: u8) -> NodeKey {
    NodeKey([number; 32])
}

fn log(number: u8) -> LogId {
    LogId { space: SPACE, author: node(number), epoch: 1 }
}

fn order(stamp: u64, author: u8) -> Order {
    Order { stamp: Stamp(stamp), author: node(author), epoch: 1, seq: stamp }
}

fn genesis() -> (Order, ControlOp) {
    let op = ControlOp::Genesis { name: "team".to_owned(), founder: node(1), recovery: node(9), ids: 2 };
    (order(1, 1), op)
}

fn grant(number: u8, role: Role) -> ControlOp {
    ControlOp::Grant { node: node(number), role, spaces: None, name: String::new() }
}

fn judge(authority: &Authority, author: u8, seq: u64, kind: Kind) -> Result<(), Refusal> {
    let header =
        Header { fleet: FleetId([0; 16]), log: log(author), seq, prev: [0; 32], stamp: Stamp(0), time: Timestamp(0) };
    let document = DocumentId { kind, raw: [0; 16] };
    authority.judge(&header, &[Op::Change { document, change: Vec::new() }], &header.log, header.seq)
}

fn evaluate(ops: Vec<(Order, ControlOp)>) -> Authority {
    Authority::evaluate(&ops.into_iter().collect(), SPACE)
}

#[test]
fn a_demotion_ends_the_role_at_a_position() {
    let cuts = vec![Cut { log: log(2), last: 5, tip: None }];
    let demote = ControlOp::SetRole { node: node(2), role: Role::Writer, cuts };
    let authority = evaluate(vec![genesis(), (order(2, 1), grant(2, Role::Admin)), (order(3, 1), demote)]);
    assert_eq!(judge(&authority, 2, 5, Kind::Doc), Ok(()));
    assert_eq!(judge(&authority, 2, 6, Kind::Doc), Err(Refusal::Role));
    assert_eq!(judge(&authority, 2, 6, Kind::Note), Ok(()));
}

/// An admin that could not read a space would leave what others wrote there out of a revocation, and could let others in to
/// what it may not read itself.
#[test]
fn an_admin_has_all_spaces_as_long_as_it_is_one() {
    let alpha = SpaceId([7; 16]);
    let limited = |role| ControlOp::Grant { node: node(2), role, spaces: Some([alpha].into()), name: String::new() };
    let set = |role, last| ControlOp::SetRole { node: node(2), role, cuts: vec![Cut { log: log(2), last, tip: None }] };
    let granted = evaluate(vec![genesis(), (order(2, 1), limited(Role::Admin))]);
    assert_eq!(granted.spaces(&node(2)), Some(Spaces::All));
    let writer = evaluate(vec![genesis(), (order(2, 1), limited(Role::Writer))]);
    assert_eq!(writer.spaces(&node(2)), Some(Spaces::Only([alpha, SPACE].into())));
    let ops = vec![genesis(), (order(2, 1), limited(Role::Writer)), (order(3, 1), set(Role::Admin, 1))];
    assert_eq!(evaluate(ops.clone()).spaces(&node(2)), Some(Spaces::All));
    let ops = ops.into_iter().chain([(order(4, 1), set(Role::Writer, 2))]).collect();
    assert_eq!(evaluate(ops).spaces(&node(2)), Some(Spaces::Only([alpha, SPACE].into())), "and the limit comes back");
}

/// Whoever is no admin any more could otherwise claim an earlier time, in the same log or in a new one, and let others in.
#[test]
fn a_control_op_beyond_a_demotion_does_not_count_whatever_time_it_claims() {
    let cuts = vec![Cut { log: log(2), last: 5, tip: None }];
    let taken = [
        ControlOp::SetRole { node: node(2), role: Role::Writer, cuts: cuts.clone() },
        ControlOp::Revoke { node: node(2), cuts },
    ];
    for taken in taken {
        let base = || vec![genesis(), (order(2, 1), grant(2, Role::Admin)), (order(9, 1), taken.clone())];
        let accomplice = grant(4, Role::Admin);
        for (epoch, seq) in [(1, 6), (77, 1)] {
            let mut ops = base();
            ops.push((Order { epoch, seq, ..order(7, 2) }, accomplice.clone()));
            // Nor does it when the machine is let in again with less.
            for again in [false, true] {
                if again {
                    ops.push((order(20, 1), grant(2, Role::Writer)));
                }
                assert_eq!(evaluate(ops.clone()).role(&node(4)), None, "{epoch} {seq} {again}");
            }
        }
        let mut ops = base();
        ops.push((order(5, 2), grant(3, Role::Writer)));
        assert_eq!(evaluate(ops).role(&node(3)), Some(Role::Writer), "what it did as an admin stands");
    }
}

/// A cut names the logs of the fleet's space; a control op elsewhere would be measured by another log's length.
#[test]
fn a_control_op_outside_the_fleet_space_is_refused() {
    let authority = evaluate(vec![genesis()]);
    let by = |space: SpaceId, author: u8| {
        let log = LogId { space, ..log(author) };
        let fleet = FleetId([7; 16]);
        let header = Header { fleet, log, seq: 1, prev: [0; 32], stamp: Stamp(0), time: Timestamp(0) };
        authority.judge(&header, &[Op::Control(Vec::new())], &header.log, header.seq)
    };
    assert_eq!(by(SPACE, 1), Ok(()));
    assert_eq!(by(SpaceId([5; 16]), 1), Err(Refusal::Space));
    assert_eq!(by(SpaceId([5; 16]), 9), Err(Refusal::Space), "the recovery key neither");
}

#[test]
fn what_an_admin_wrote_stands_when_it_comes_back_with_less() {
    let revoke = ControlOp::Revoke { node: node(2), cuts: vec![Cut { log: log(2), last: 5, tip: None }] };
    let ops = vec![
        genesis(),
        (order(2, 1), grant(2, Role::Admin)),
        (order(9, 1), revoke),
        (order(20, 1), grant(2, Role::Writer)),
    ];
    let authority = evaluate(ops);
    assert_eq!(judge(&authority, 2, 5, Kind::Doc), Ok(()));
    assert_eq!(judge(&authority, 2, 6, Kind::Doc), Err(Refusal::Role));
}

#[test]
fn a_revocation_cuts_the_log_and_can_be_raised() {
    let revoke = ControlOp::Revoke { node: node(2), cuts: vec![Cut { log: log(2), last: 5, tip: None }] };
    let raise = ControlOp::AcceptUpTo { cut: Cut { log: log(2), last: 7, tip: None }, before: Vec::new() };
    let mut ops = vec![genesis(), (order(2, 1), grant(2, Role::Writer)), (order(3, 1), revoke)];
    assert_eq!(judge(&evaluate(ops.clone()), 2, 6, Kind::Note), Err(Refusal::Revoked));
    ops.push((order(4, 1), raise));
    assert_eq!(judge(&evaluate(ops.clone()), 2, 7, Kind::Note), Ok(()));
    assert_eq!(judge(&evaluate(ops), 2, 8, Kind::Note), Err(Refusal::Revoked));
}

#[test]
fn the_recovery_key_beats_an_admin_who_revoked_the_founder() {
    let revoke_founder = ControlOp::Revoke { node: node(1), cuts: vec![] };
    let ops = vec![
        genesis(),
        (order(2, 1), grant(2, Role::Admin)),
        (order(3, 2), revoke_founder),
        (order(4, 9), grant(1, Role::Admin)),
        (order(5, 2), ControlOp::Revoke { node: node(1), cuts: vec![] }),
    ];
    assert_eq!(evaluate(ops).role(&node(1)), Some(Role::Admin));
}

/// A founder whose machine was copied revoked itself, and everything went that it had ever said.
#[test]
fn what_a_node_says_of_itself_changes_nothing() {
    for said in [
        ControlOp::Revoke { node: node(1), cuts: vec![] },
        ControlOp::SetRole { node: node(1), role: Role::Reader, cuts: vec![] },
    ] {
        let base = || vec![genesis(), (order(2, 1), grant(2, Role::Writer))];
        let with = |more: Vec<(Order, ControlOp)>| evaluate(base().into_iter().chain(more).collect());
        let twice = vec![(order(5, 1), said.clone()), (Order { epoch: 9, seq: 1, ..order(6, 1) }, said)];
        let authority = with(twice);
        assert_eq!([1, 2].map(|n| authority.role(&node(n))), [Some(Role::Admin), Some(Role::Writer)]);
    }
}

/// Whoever is let in by ordinary rules can be put out by them; the key that beats all is not let in.
#[test]
fn nobody_takes_the_word_from_the_recovery_key() {
    let ops = vec![
        genesis(),
        (order(2, 1), grant(2, Role::Admin)),
        (order(3, 1), grant(3, Role::Writer)),
        (order(4, 2), grant(9, Role::Reader)),
        (order(5, 2), ControlOp::Revoke { node: node(9), cuts: vec![] }),
        (order(20, 9), grant(3, Role::Admin)),
        (order(21, 9), ControlOp::Revoke { node: node(2), cuts: vec![] }),
    ];
    let authority = evaluate(ops);
    assert_eq!((authority.role(&node(3)), authority.role(&node(2))), (Some(Role::Admin), None));
    assert_eq!(authority.role(&node(9)), None);
}

/// An admin was revoked, and whom it had revoked before that, but beyond the point where its own log was cut, was not.
#[test]
fn what_a_revocation_took_out_comes_back_when_that_does_not_count() {
    let base = || {
        vec![
            genesis(),
            (order(2, 1), grant(2, Role::Admin)),
            (order(3, 1), grant(3, Role::Admin)),
            (order(10, 3), grant(4, Role::Writer)),
            (order(20, 2), ControlOp::Revoke { node: node(3), cuts: vec![Cut { log: log(3), last: 2, tip: None }] }),
        ]
    };
    assert_eq!(evaluate(base()).role(&node(4)), None, "it lies beyond the cut");
    let cuts = vec![Cut { log: log(2), last: 1, tip: None }];
    let ops = base().into_iter().chain([(order(21, 1), ControlOp::Revoke { node: node(2), cuts })]);
    let authority = evaluate(ops.collect());
    let roles = [2, 3, 4].map(|number| authority.role(&node(number)));
    assert_eq!(roles, [None, Some(Role::Admin), Some(Role::Writer)]);
}

/// An admin that was revoked claims an earlier time and revokes the founder. If it takes away what it is an admin by, it has said
/// nothing; otherwise it is the first in the claimed order, and the recovery key sets that right.
#[test]
fn a_back_dated_revocation_of_the_founder_stands_on_something_or_not_at_all() {
    let cuts = |number: u8, last: u64| vec![Cut { log: log(number), last, tip: None }];
    let ops = |left: Vec<Cut>| {
        vec![
            genesis(),
            (order(2, 1), grant(2, Role::Admin)),
            (order(3, 1), grant(3, Role::Writer)),
            (order(20, 1), ControlOp::Revoke { node: node(2), cuts: cuts(2, 1) }),
            (order(15, 2), ControlOp::Revoke { node: node(1), cuts: left }),
        ]
    };
    let roles = |authority: &Authority| [1, 2, 3].map(|number| authority.role(&node(number)));
    let sound = [Some(Role::Admin), None, Some(Role::Writer)];
    assert_eq!(roles(&evaluate(ops(vec![]))), sound);
    assert_eq!(roles(&evaluate(ops(cuts(1, 2)))), [None, Some(Role::Admin), None]);
    let rescued = ops(cuts(1, 2)).into_iter().chain([(order(30, 9), grant(1, Role::Admin))]).collect();
    assert_eq!(roles(&evaluate(rescued)), sound);
}

/// Whoever was revoked lets somebody else in, in a new log with an earlier time, who then speaks of the one that revoked it.
#[test]
fn whoever_was_revoked_comes_back_by_nobody_else() {
    let speak = [
        (11, ControlOp::SetRole { node: node(1), role: Role::Admin, cuts: vec![] }),
        (11, ControlOp::SetRole { node: node(1), role: Role::Reader, cuts: vec![] }),
        (30, ControlOp::Revoke { node: node(1), cuts: vec![Cut { log: log(1), last: 19, tip: None }] }),
        (30, ControlOp::Revoke { node: node(1), cuts: vec![] }),
    ];
    for taken in [
        ControlOp::Revoke { node: node(2), cuts: vec![Cut { log: log(2), last: 1, tip: None }] },
        ControlOp::SetRole { node: node(2), role: Role::Reader, cuts: vec![Cut { log: log(2), last: 1, tip: None }] },
    ] {
        for (at, said) in &speak {
            let ops = vec![
                genesis(),
                (order(2, 1), grant(2, Role::Admin)),
                (Order { epoch: 77, seq: 1, ..order(10, 2) }, grant(3, Role::Admin)),
                (order(*at, 3), said.clone()),
                (order(20, 1), taken.clone()),
            ];
            let authority = evaluate(ops);
            assert_eq!(authority.role(&node(1)), Some(Role::Admin), "{taken:?} {said:?}");
            assert_ne!(authority.role(&node(2)), Some(Role::Admin), "{taken:?} {said:?}");
            assert_eq!(authority.role(&node(3)), None, "{taken:?} {said:?}");
        }
    }
}

/// Whoever was revoked let somebody in, in a new log with an earlier time. What is said of it later lifts nothing: that it is let in
/// again, by that one or by an honest admin, or revoked again by somebody who knows of the new log.
#[test]
fn what_lies_beyond_a_revocation_counts_whatever_is_said_later() {
    let new_log = LogId { epoch: 77, ..log(2) };
    let all = vec![Cut { log: log(2), last: 1, tip: None }, Cut { log: new_log, last: 100, tip: None }];
    let revoke = |cuts: &[Cut]| ControlOp::Revoke { node: node(2), cuts: cuts.to_vec() };
    let later = [
        vec![(order(30, 3), grant(2, Role::Admin))],
        vec![(order(30, 3), revoke(&all))],
        vec![(order(30, 1), revoke(&all))],
        vec![(order(30, 1), grant(2, Role::Writer))],
        vec![
            (order(30, 3), grant(2, Role::Admin)),
            (order(31, 3), ControlOp::Revoke { node: node(1), cuts: vec![Cut { log: log(1), last: 19, tip: None }] }),
        ],
    ];
    for more in later {
        let mut ops = vec![
            genesis(),
            (order(2, 1), grant(2, Role::Admin)),
            (Order { epoch: 77, seq: 1, ..order(10, 2) }, grant(3, Role::Admin)),
            (order(20, 1), revoke(&all[..1])),
        ];
        ops.extend(more.clone());
        let authority = evaluate(ops);
        assert_eq!((authority.role(&node(1)), authority.role(&node(3))), (Some(Role::Admin), None), "{more:?}");
        assert_ne!(authority.role(&node(2)), Some(Role::Admin), "{more:?}");
    }
}

/// Two revocations of one node: what lies beyond either does not count.
#[test]
fn whoever_is_revoked_twice_has_what_both_let_stand() {
    let revoke = |last: u64| ControlOp::Revoke { node: node(2), cuts: vec![Cut { log: log(2), last, tip: None }] };
    for (first, second) in [(5, 10), (10, 5)] {
        let ops = vec![
            genesis(),
            (order(2, 1), grant(2, Role::Admin)),
            (order(3, 1), grant(3, Role::Admin)),
            (order(6, 2), grant(6, Role::Writer)),
            (order(20, 1), revoke(first)),
            (order(25, 3), revoke(second)),
        ];
        let authority = evaluate(ops);
        assert_eq!(authority.role(&node(6)), None);
        assert_eq!(judge(&authority, 2, 5, Kind::Note), Ok(()));
        assert_eq!(judge(&authority, 2, 6, Kind::Note), Err(Refusal::Revoked));
    }
}

/// Races in which nobody claims a time that is not his. Found by a search that compared the evaluation with its own rules.
#[test]
fn which_of_many_revocations_count_depends_on_no_path() {
    let revoke = |number: u8, last: Option<u64>| {
        let cuts = last.map(|last| Cut { log: log(number), last, tip: None }).into_iter().collect();
        ControlOp::Revoke { node: node(number), cuts }
    };
    let roles = |more: Vec<(Order, ControlOp)>| {
        let mut ops = vec![genesis()];
        ops.extend((2..5).map(|number| (order(u64::from(number), 1), grant(number, Role::Admin))));
        ops.extend(more);
        let authority = evaluate(ops);
        [1, 2, 3, 4, 5].map(|number| authority.role(&node(number)))
    };
    let admin = Some(Role::Admin);
    let race = vec![
        (order(34, 4), revoke(3, None)),
        (order(40, 3), revoke(4, Some(33))),
        (order(41, 2), revoke(4, Some(33))),
        (order(46, 1), revoke(2, Some(1))),
    ];
    assert_eq!(roles(race)[2..4], [None, admin]);
    let chain = vec![
        (order(5, 1), revoke(3, None)),
        (order(6, 3), revoke(4, None)),
        (order(7, 4), revoke(1, Some(4))),
        (order(9, 2), revoke(3, None)),
    ];
    assert_eq!(roles(chain)[..4], [None, admin, None, admin]);
    let circle = vec![
        (order(11, 3), grant(5, Role::Writer)),
        (order(20, 2), revoke(3, None)),
        (order(21, 3), revoke(4, None)),
        (order(22, 4), revoke(2, None)),
    ];
    // The first of the circle would be cut by the last, which would count only because of it.
    assert_eq!(roles(circle)[1..], [admin, admin, None, Some(Role::Writer)]);
}

/// Accomplices who revoke each other wear nothing out: what they took away comes back with the last of them.
#[test]
fn a_long_chain_of_accomplices_takes_nobody_out() {
    let mut ops = vec![
        genesis(),
        (order(2, 1), grant(2, Role::Admin)),
        (order(3, 1), grant(10, Role::Admin)),
        (order(6, 10), grant(11, Role::Writer)),
        (order(20, 1), ControlOp::Revoke { node: node(2), cuts: vec![Cut { log: log(2), last: 1, tip: None }] }),
    ];
    for number in 0..7_u8 {
        let at = |seq: u64, stamp: u64, author: u8| Order { epoch: 77, seq, ..order(stamp, author) };
        ops.push((at(1 + u64::from(number), 5, 2), grant(21 + number, Role::Admin)));
        let subject = if number == 0 { 10 } else { 20 + number };
        ops.push((at(1, 7 + u64::from(number), 21 + number), ControlOp::Revoke { node: node(subject), cuts: vec![] }));
    }
    let authority = evaluate(ops);
    assert_eq!((authority.role(&node(10)), authority.role(&node(11))), (Some(Role::Admin), Some(Role::Writer)));
    assert_eq!(authority.members().count(), 3);
}

/// What a node did as an admin stands when the recovery key makes it one again.
#[test]
fn whom_a_rescued_admin_had_let_in_stays() {
    let ops = vec![
        genesis(),
        (order(2, 1), grant(2, Role::Admin)),
        (order(5, 2), grant(3, Role::Writer)),
        (order(40, 9), grant(2, Role::Admin)),
    ];
    assert_eq!(evaluate(ops).role(&node(3)), Some(Role::Writer));
}

/// It lost its replica and joins again with the key that it has kept, with less than before.
#[test]
fn what_a_member_wrote_stands_with_the_rights_that_it_had_then() {
    let (alpha, beta) = (SpaceId([7; 16]), SpaceId([8; 16]));
    let in_beta = LogId { space: beta, ..log(2) };
    let cuts = vec![Cut { log: in_beta, last: 5, tip: None }];
    let again =
        ControlOp::Grant { node: node(2), role: Role::Writer, spaces: Some([alpha].into()), name: String::new() };
    let ops = vec![
        genesis(),
        (order(2, 1), grant(2, Role::Admin)),
        (order(9, 1), ControlOp::Revoke { node: node(2), cuts }),
        (order(10, 1), again),
    ];
    let authority = evaluate(ops);
    let judge = |seq: u64, kind: Kind| {
        let header =
            Header { fleet: FleetId([7; 16]), log: in_beta, seq, prev: [0; 32], stamp: Stamp(0), time: Timestamp(0) };
        let document = DocumentId { kind, raw: [0; 16] };
        authority.judge(&header, &[Op::Change { document, change: Vec::new() }], &in_beta, seq)
    };
    assert_eq!((judge(5, Kind::Doc), judge(5, Kind::Note)), (Ok(()), Ok(())));
    assert_eq!(judge(6, Kind::Note), Err(Refusal::Space));
    assert_eq!(authority.spaces(&node(2)), Some(Spaces::Only([alpha, SPACE].into())));
}

/// What somebody says who was never made an admin is not looked at, until it is.
#[test]
fn whoever_may_have_been_an_admin_may_rule() {
    let ops = vec![
        genesis(),
        (order(2, 1), grant(2, Role::Writer)),
        (order(3, 2), grant(2, Role::Admin)),
        (order(4, 1), grant(3, Role::Admin)),
        (order(5, 3), ControlOp::SetRole { node: node(4), role: Role::Admin, cuts: vec![] }),
        (order(6, 1), ControlOp::Revoke { node: node(3), cuts: vec![] }),
    ];
    let authority = evaluate(ops);
    assert_eq!(
        [1, 2, 3, 4, 5, 9].map(|number| authority.may_rule(&node(number))),
        [true, false, true, true, false, true]
    );
}

#[test]
fn a_stranger_and_a_writer_change_no_rights() {
    let ops = vec![
        genesis(),
        (order(2, 1), grant(2, Role::Writer)),
        (order(3, 2), grant(3, Role::Admin)),
        (order(4, 4), grant(4, Role::Admin)),
    ];
    let authority = evaluate(ops);
    assert_eq!(authority.members().count(), 2);
    assert_eq!(judge(&authority, 3, 1, Kind::Note), Err(Refusal::UnknownAuthor));
}

#[test]
fn a_second_genesis_by_another_key_has_no_effect() {
    let forged = ControlOp::Genesis { name: String::new(), founder: node(5), recovery: node(5), ids: 2 };
    let authority = evaluate(vec![genesis(), (order(2, 4), forged)]);
    assert_eq!(authority.role(&node(5)), None);
}

fn any_op() -> impl Strategy<Value = ControlOp> {
    let role = prop_oneof![Just(Role::Reader), Just(Role::Writer), Just(Role::Admin)];
    let cuts = proptest::collection::vec((1_u8..5, 0_u64..4), 0..3)
        .prop_map(|cuts| cuts.into_iter().map(|(n, last)| Cut { log: log(n), last, tip: None }).collect::<Vec<_>>());
    // Of the recovery key as well.
    let whom = || prop_oneof![4 => 1_u8..5, 1 => Just(9_u8)];
    prop_oneof![
        (whom(), role.clone()).prop_map(|(n, role)| grant(n, role)),
        (whom(), role, cuts.clone()).prop_map(|(n, role, cuts)| ControlOp::SetRole { node: node(n), role, cuts }),
        (whom(), cuts).prop_map(|(n, cuts)| ControlOp::Revoke { node: node(n), cuts }),
        (whom(), 0_u64..9).prop_map(|(n, last)| ControlOp::AcceptUpTo {
            cut: Cut { log: log(n), last, tip: None },
            before: Vec::new()
        }),
    ]
}

#[test]
fn of_two_admins_who_revoke_each_other_the_first_in_order_stays() {
    let revoke = |of: u8| ControlOp::Revoke { node: node(of), cuts: vec![] };
    let base = || vec![genesis(), (order(2, 1), grant(2, Role::Admin)), (order(3, 1), grant(3, Role::Admin))];
    for (first, second) in [(2, 3), (3, 2)] {
        let mut ops = base();
        ops.push((order(10, first), revoke(second)));
        ops.push((order(11, second), revoke(first)));
        let authority = evaluate(ops);
        assert_eq!((authority.role(&node(first)), authority.role(&node(second))), (Some(Role::Admin), None));
    }
    // At one time the key decides.
    let mut ops = base();
    ops.extend([(order(10, 3), revoke(2)), (order(10, 2), revoke(3))]);
    let authority = evaluate(ops);
    assert_eq!((authority.role(&node(2)), authority.role(&node(3))), (Some(Role::Admin), None));
}

#[test]
fn what_an_admin_accepted_stands_until_the_author_is_demoted_or_revoked_again() {
    let accept = ControlOp::AcceptUpTo { cut: Cut { log: log(2), last: 6, tip: None }, before: Vec::new() };
    let mut ops = vec![genesis(), (order(2, 1), grant(2, Role::Reader)), (order(3, 1), accept)];
    assert_eq!(judge(&evaluate(ops.clone()), 2, 6, Kind::Note), Ok(()));
    assert_eq!(judge(&evaluate(ops.clone()), 2, 7, Kind::Note), Err(Refusal::Role));
    let control = |authority: &Authority| {
        let header =
            Header { fleet: FleetId([0; 16]), log: log(2), seq: 6, prev: [0; 32], stamp: Stamp(0), time: Timestamp(0) };
        authority.judge(&header, &[Op::Control(Vec::new())], &header.log, header.seq)
    };
    assert_eq!(control(&evaluate(ops.clone())), Err(Refusal::Role));
    ops.push((order(4, 1), ControlOp::Revoke { node: node(2), cuts: vec![] }));
    assert_eq!(judge(&evaluate(ops), 2, 6, Kind::Note), Err(Refusal::Revoked));
}

proptest! {
    /// The recovery key beats all: whatever others say before or after, the node that it made an admin is one, and
    /// the one that it revoked is none.
    #[test]
    fn nothing_stands_against_the_recovery_key(
        ops in proptest::collection::vec((2_u64..40, 1_u8..6, any_op()), 0..14),
        at in 2_u64..40,
        rescued in 1_u8..6,
    ) {
        let mut set: Vec<_> = ops.into_iter().map(|(stamp, by, op)| (order(stamp, by), op)).collect();
        set.push(genesis());
        let mut rescue = set.clone();
        rescue.push((order(at, 9), grant(rescued, Role::Admin)));
        let authority = evaluate(rescue);
        prop_assert_eq!(authority.role(&node(rescued)), Some(Role::Admin));
        prop_assert_eq!(judge(&authority, rescued, 1_000, Kind::Doc), Ok(()));
        set.push((order(at, 9), ControlOp::Revoke { node: node(rescued), cuts: vec![] }));
        prop_assert_eq!(evaluate(set).role(&node(rescued)), None);
    }

    /// Whoever says what counts is an admin at that place, of what counts alone; and nothing that counts lies beyond a cut that counts.
    #[test]
    fn what_counts_agrees_with_itself(
        ops in proptest::collection::vec((2_u64..40, 1_u8..6, 1_u64..3, any_op()), 0..24),
        key in proptest::collection::vec((2_u64..40, any_op()), 0..2),
    ) {
        let said = ops.into_iter().map(|(stamp, by, epoch, op)| (Order { epoch, ..order(stamp, by) }, op));
        let set: BTreeMap<Order, ControlOp> =
            said.chain(key.into_iter().map(|(stamp, op)| (order(stamp, 9), op))).chain([genesis()]).collect();
        let counting = count::counting(&set, SPACE, (node(1), node(9)));
        let mut replayed = Authority::default();
        let founder = Standing { role: Role::Admin, spaces: None };
        replayed.members.insert(node(1), Member::new("", founder));
        for place in &counting {
            let is_admin = replayed.role(&place.author) == Some(Role::Admin);
            prop_assert!(is_admin || place.author == node(9), "{:?} {:?}", place, set);
            replayed.take(&set[place]);
        }
        for by in &counting {
            let (cut, cuts) = match &set[by] {
                ControlOp::Revoke { node, cuts } => (*node, cuts),
                ControlOp::SetRole { node, role, cuts } if *role < Role::Admin => (*node, cuts),
                _ => continue,
            };
            for op in counting.iter().filter(|op| op.author == cut && *op < by && set[op] != genesis().1) {
                let log = LogId { author: op.author, epoch: op.epoch, ..log(1) };
                prop_assert!(!lies_beyond(&by_log(cuts), &log, op.seq), "{:?} {:?} {:?}", op, by, set);
            }
        }
    }

    /// Of admins who all revoke each other, exactly the first in order stays.
    #[test]
    fn of_admins_who_revoke_each_other_exactly_one_stays(stamps in proptest::array::uniform3(10_u64..14)) {
        let mut ops = vec![genesis()];
        ops.extend((2..5).map(|n| (order(u64::from(n), 1), grant(n, Role::Admin))));
        for (by, stamp) in (2_u8..5).zip(stamps) {
            for (extra, other) in (0_u64..).zip((2..5).filter(|other| *other != by)) {
                let place = Order { seq: stamp * 10 + extra, ..order(stamp, by) };
                ops.push((place, ControlOp::Revoke { node: node(other), cuts: vec![] }));
            }
        }
        let authority = evaluate(ops);
        let left: Vec<u8> = (2..5).filter(|n| authority.role(&node(*n)).is_some()).collect();
        let first = (2_u8..5).zip(stamps).min_by_key(|(by, stamp)| (*stamp, *by)).map(|(by, _)| by);
        prop_assert_eq!(left, Vec::from_iter(first));
    }

    /// Ops by someone who was never made an admin change nothing, whatever they say.
    #[test]
    fn ops_without_right_have_no_effect(ops in proptest::collection::vec((2_u64..40, any_op()), 0..10), forged in any_op()) {
        let mut set: Vec<_> = ops.into_iter().map(|(stamp, op)| (order(stamp, 1), op)).collect();
        set.push(genesis());
        let before = evaluate(set.clone());
        set.push((order(20, 77), forged));
        prop_assert_eq!(evaluate(set), before);
    }

    /// Encoding is for the wire, and what a newer version writes is kept without effect.
    #[test]
    fn control_ops_round_trip(op in any_op(), noise in proptest::collection::vec(any::<u8>(), 0..40)) {
        prop_assert_eq!(ControlOp::decode(&op.encode()), op);
        let _ = ControlOp::decode(&noise);
    }
}
