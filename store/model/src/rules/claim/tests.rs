//! The tests of claims.

use proptest::prelude::*;

use super::*;
use crate::record::RecordMeta;
use crate::rules::limits::{DAY_MS, HOUR_MS};
use crate::{Kind, NodeKey, Order, SpaceId, Stamp};

fn fields(kind: ClaimKind, key: &str) -> ClaimFields {
    ClaimFields { kind: Some(kind), key: Some(key.into()), ..ClaimFields::default() }
}

fn names(result: Result<Wanted, Invalid>) -> Vec<String> {
    let invalid = result.expect_err("should have been refused");
    invalid.fields.into_iter().map(|field| field.field).collect()
}

#[test]
fn w_12_paths_and_issues_out_of_form_are_refused() {
    let long = "a".repeat(201);
    for key in ["..", "a/../b", "/etc/passwd", "\\a", "~/x", "a//b", "src/", "./..", long.as_str(), "a\nb"] {
        assert!(names(fields(ClaimKind::Path, key).validate()).contains(&"key".to_owned()), "{key}");
    }
    for key in ["0", "-1", "x", "#0", "1.5"] {
        assert_eq!(names(fields(ClaimKind::Issue, key).validate()), ["key"], "{key}");
    }
    assert_eq!(names(ClaimFields::default().validate()), ["kind", "key"]);
    assert!(fields(ClaimKind::Path, &"a".repeat(200)).validate().is_ok());
}

#[test]
fn keys_are_stored_in_one_form() {
    let key = |kind, key| fields(kind, key).validate().unwrap().key;
    assert_eq!(key(ClaimKind::Issue, "#087"), "87");
    assert_eq!(key(ClaimKind::Path, "./src/**"), "src/**");
    assert_eq!(key(ClaimKind::Branch, "dev/m/x"), "dev/m/x");
}

#[test]
fn lifetimes_are_from_five_minutes_to_seven_days() {
    let of = |hours| ClaimFields { ttl_hours: hours, ..fields(ClaimKind::Issue, "1") }.validate();
    assert_eq!(of(None).unwrap().lifetime_ms, DAY_MS);
    assert_eq!(of(Some(1.0)).unwrap().lifetime_ms, HOUR_MS);
    assert_eq!(of(Some(5.0 / 60.0)).unwrap().lifetime_ms, CLAIM_MIN_MS);
    assert_eq!(of(Some(168.0)).unwrap().lifetime_ms, CLAIM_MAX_MS);
    for hours in [0.0, 0.08, 168.1, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(names(of(Some(hours))), ["ttl_hours"], "{hours}");
    }
}

fn claim(session: &str, kind: ClaimKind, key: &str) -> Claim {
    Claim {
        claim_kind: kind,
        key: key.into(),
        venture: "alpha".into(),
        repo: "org/x".into(),
        session_id: session.into(),
        expires_at: Timestamp(1_000),
        ..Claim::default()
    }
}

fn rec(n: u8, stamp: u64, value: Claim) -> Rec<Claim> {
    let order = Order { stamp: Stamp(stamp), author: NodeKey([n; 32]), epoch: 0, seq: 1 };
    let meta = RecordMeta {
        space: SpaceId([0; 16]),
        created: order,
        updated: order,
        rev: String::new(),
        deleted: false,
        conflicts: Vec::new(),
    };
    Rec { id: DocumentId { kind: Kind::Claim, raw: [n; 16] }, meta, value }
}

#[test]
fn w_05_only_claims_of_one_kind_and_repo_overlap() {
    let auth = claim("a", ClaimKind::Path, "src/auth/**");
    assert!(overlap(&auth, &claim("b", ClaimKind::Path, "src/*/login.ts")));
    assert!(!overlap(&auth, &claim("b", ClaimKind::Path, "docs/**")));
    assert!(!overlap(&auth, &Claim { repo: "org/y".into(), ..auth.clone() }));
    assert!(overlap(&auth, &Claim { repo: "Org/x".into(), ..auth.clone() }));
    assert!(!overlap(&claim("a", ClaimKind::Issue, "12"), &claim("b", ClaimKind::Branch, "12")));
}

#[test]
fn w_06_a_claim_is_over_by_release_expiry_or_the_end_of_its_session() {
    let held = claim("a", ClaimKind::Issue, "87");
    assert_eq!(claim_state(&held, Some(Liveness::Active), Timestamp(999)), ClaimState::Live);
    assert_eq!(claim_state(&held, Some(Liveness::LastSeen), Timestamp(999)), ClaimState::LastSeen);
    for holder in [Some(Liveness::Active), Some(Liveness::LastSeen)] {
        assert_eq!(claim_state(&held, holder, Timestamp(1_000)), ClaimState::Over);
    }
    assert_eq!(claim_state(&held, None, Timestamp(0)), ClaimState::Over);
    assert_eq!(claim_state(&held, Some(Liveness::Stale), Timestamp(0)), ClaimState::Over);
    let released = Claim { released_at: Some(Timestamp(5)), ..held };
    assert_eq!(claim_state(&released, Some(Liveness::Active), Timestamp(6)), ClaimState::Over);
}

#[test]
fn w_03_a_held_claim_is_refused_forced_or_extended() {
    let standing = [rec(1, 5, claim("a", ClaimKind::Issue, "87"))];
    let wanted = claim("b", ClaimKind::Issue, "87");
    assert_eq!(decide_take(&wanted, &standing, Insist::No), Take::Held(vec![standing[0].id]));
    assert_eq!(decide_take(&wanted, &standing, Insist::Force), Take::Store { forced: true });
    assert_eq!(decide_take(&wanted, &[], Insist::Force), Take::Store { forced: false });
    assert_eq!(decide_take(&claim("a", ClaimKind::Issue, "87"), &standing, Insist::No), Take::Extend(standing[0].id));
    let other = claim("b", ClaimKind::Issue, "88");
    assert_eq!(decide_take(&other, &standing, Insist::No), Take::Store { forced: false });
}

#[test]
fn w_04_the_first_in_causal_order_wins() {
    let late = rec(1, 9, claim("a", ClaimKind::Issue, "87"));
    let early = rec(2, 5, claim("b", ClaimKind::Issue, "87"));
    let standing = [late.clone(), early.clone()];
    assert_eq!(beaten_by(&late, &standing).map(|winner| winner.id), Some(early.id));
    assert_eq!(beaten_by(&early, &standing), None);
}

#[test]
fn a_sessions_issue_and_branch_hold_like_claims() {
    let Rec { meta, .. } = rec(1, 5, Claim::default());
    let value = Session {
        venture: "alpha".into(),
        repo: "org/x".into(),
        issue: Some(87),
        branch: Some("dev/m/x".into()),
        ..Session::default()
    };
    let session = Rec { id: DocumentId { kind: Kind::Session, raw: [1; 16] }, meta, value };
    let standing = implied(&session, None);
    assert_eq!(standing.len(), 2);
    for (kind, key) in [(ClaimKind::Issue, "87"), (ClaimKind::Branch, "dev/m/x")] {
        assert_eq!(decide_take(&claim("b", kind, key), &standing, Insist::No), Take::Held(vec![session.id]));
    }
    let on_main =
        Rec { value: Session { branch: Some("main".into()), issue: None, ..session.value.clone() }, ..session };
    assert_eq!(implied(&on_main, None), []);
}

#[test]
fn a_release_is_for_its_session_and_for_admins() {
    let held = claim("a", ClaimKind::Issue, "87");
    let released = Claim { released_at: Some(Timestamp(5)), ..held.clone() };
    assert_eq!(decide_release(&held, Releaser::Session("a")), Release::Now);
    assert_eq!(decide_release(&held, Releaser::Admin), Release::Now);
    assert_eq!(decide_release(&released, Releaser::Session("a")), Release::Already);
    assert_eq!(decide_release(&held, Releaser::Session("b")), Release::Forbidden);
    assert_eq!(decide_release(&released, Releaser::Session("b")), Release::Forbidden);
}

proptest! {
    #[test]
    fn w_04_all_nodes_name_one_winner_whatever_the_order_of_arrival(
        stamps in proptest::collection::vec(0_u64..4, 1..6), rotate in 0_usize..6,
    ) {
        let claims: Vec<_> = (1_u8..).zip(&stamps)
            .map(|(n, stamp)| rec(n, *stamp, claim(&n.to_string(), ClaimKind::Issue, "87"))).collect();
        let mut other_node = claims.clone();
        other_node.rotate_left(rotate % claims.len());
        let winners = |standing: &[Rec<Claim>]| {
            let mut ids: Vec<_> =
                standing.iter().filter(|claim| beaten_by(claim, standing).is_none()).map(|claim| claim.id).collect();
            ids.sort();
            ids
        };
        prop_assert_eq!(winners(&claims).len(), 1);
        prop_assert_eq!(winners(&claims), winners(&other_node));
    }
}
