//! The tests of escalation.

use proptest::prelude::*;

use super::*;
use crate::rules::limits::MINUTE_MS;

#[test]
fn g_10_errors_that_differ_only_in_values_have_one_signature() {
    let alike = [
        "Error: cannot open '/home/a/x.rs' at 2026-11-23T10:00:00Z, line 12 (id 4f2a9c1)",
        "error: cannot open '/srv/b.rs' at 2026-11-24T11:30:59.123Z, line 7   (id 99ab01f)",
        "ERROR: cannot open \"C:\\x\" at 2026-01-01T00:00:00Z,\nline 1234 (id 0xdeadbeef01)",
    ];
    let normal = normalise(alike[0]);
    assert!(alike.iter().all(|text| normalise(text) == normal), "{:#?}", alike.map(normalise));
    assert_ne!(Signature::of(alike[0]), Signature::of("error: cannot read '/home/a/x.rs' at line 12"));
    assert_eq!(normalise("file src/a.rs:10:5 don't match"), normalise("file lib/b/c.rs:7:99 don't match"));
    assert_eq!(normalise("took 10 ms on port 4747"), normalise("took 1234 ms on port 80"));
    assert_ne!(normalise("can't open the file, it won't do"), normalise("can't close the file, it won't do"));
}

fn told(notices: &[Notice]) -> Vec<u32> {
    let count = |notice: &Notice| match notice {
        Notice::RepeatedError { count, .. } => *count,
        Notice::Credential | Notice::Blocked => 0,
    };
    notices.iter().map(count).collect()
}

#[test]
fn g_10_the_notice_comes_at_three_six_and_twelve_and_a_success_resets() {
    let mut counters = Counters::default();
    let mut all = Vec::new();
    for n in 1..=20 {
        all.extend(counters.error(&format!("build failed at line {n}"), Some("cargo build"), Timestamp(n)));
    }
    assert_eq!(told(&all), [3, 6, 12]);
    assert_eq!((counters.count("build failed at line 9"), counters.most()), (20, 20));

    let mut counters = Counters::default();
    let fail = |counters: &mut Counters| counters.error("build failed", Some("cargo build"), Timestamp(0));
    assert_eq!((fail(&mut counters), fail(&mut counters)), (vec![], vec![]));
    counters.success("ls");
    assert_eq!(counters.count("build failed"), 2);
    counters.success("cargo build");
    assert_eq!(fail(&mut counters), []);
    assert_eq!(counters.count("build failed"), 1);
}

#[test]
fn g_11_a_credential_error_is_pressing_after_two_minutes_without_success() {
    let mut counters = Counters::default();
    let at =
        |counters: &mut Counters, ms| counters.error("gh: HTTP 401 Bad credentials", Some("gh pr list"), Timestamp(ms));
    assert_eq!(at(&mut counters, 0), []);
    assert_eq!(at(&mut counters, 2 * MINUTE_MS), []);
    assert!(at(&mut counters, 2 * MINUTE_MS + 1_000).contains(&Notice::Credential));
    assert!(!at(&mut counters, 9 * MINUTE_MS).contains(&Notice::Credential));
    counters.success("gh pr list");
    assert_eq!(at(&mut counters, 20 * MINUTE_MS), []);
}

#[test]
fn g_11_blocked_for_thirty_minutes_is_fine_and_a_second_more_is_told_once() {
    let mut counters = Counters::default();
    let since = Some(Timestamp(5));
    assert_eq!(counters.blocked(since, Timestamp(5 + 30 * MINUTE_MS)), None);
    assert_eq!(counters.blocked(since, Timestamp(5 + 30 * MINUTE_MS + 1_000)), Some(Notice::Blocked));
    assert_eq!(counters.blocked(since, Timestamp(5 + 60 * MINUTE_MS)), None);
    assert_eq!(counters.blocked(None, Timestamp(i64::MAX)), None);
    assert_eq!(counters.blocked(Some(Timestamp(6)), Timestamp(i64::MAX)), Some(Notice::Blocked));
}

#[test]
fn credential_errors_are_told_from_other_numbers() {
    for text in [
        "HTTP/1.1 403 no",
        "status code: 403",
        "error 401",
        "HTTP 403: Forbidden",
        "You are not logged in",
        "Permission denied (publickey).",
    ] {
        assert!(is_credential_error(text), "{text}");
    }
    for text in ["403 tests passed", "error on line 401", "file not found", "HTTP 404"] {
        assert!(!is_credential_error(text), "{text}");
    }
}

#[test]
fn g_12_a_call_for_help_says_what_is_needed() {
    let good = EscalateFields { trigger: "blocked".into(), need: "a deploy key".into(), ..EscalateFields::default() };
    assert_eq!(good.validate(), Ok(Trigger::Blocked));
    let bad =
        EscalateFields { tried: vec!["x".into(), String::new()], error: Some(String::new()), ..Default::default() };
    let fields: Vec<String> = bad.validate().unwrap_err().fields.into_iter().map(|field| field.field).collect();
    assert_eq!(fields, ["escalate.trigger", "escalate.error", "escalate.tried[1]", "escalate.need"]);
}

#[test]
fn counters_stay_bounded_and_keep_the_newest() {
    let mut counters = Counters::default();
    for n in 0..200_u32 {
        let name: String = n.to_string().bytes().map(|b| char::from(b - b'0' + b'a')).collect();
        counters.error(&format!("no symbol {name}"), None, Timestamp(i64::from(n)));
    }
    assert_eq!(counters.errors.len(), ERRORS_KEPT);
    assert_eq!(counters.count("no symbol bjj"), 1);
    let text = serde_json::to_string(&counters).unwrap();
    assert_eq!(serde_json::from_str::<Counters>(&text).unwrap(), counters);
}

proptest! {
    #[test]
    fn g_10_numbers_and_paths_never_matter(a in 0_u64.., b in 0_u64.., path in "(/[a-z]{1,8}){1,4}") {
        let error = |n: u64, path: &str| format!("thread {n} panicked at {path}:{n}:{n}: index {n} out of range");
        prop_assert_eq!(Signature::of(&error(a, &path)), Signature::of(&error(b, "/x")));
    }

    #[test]
    fn normalising_never_panics_and_ignores_case(text in ".{0,200}") {
        prop_assert_eq!(normalise(&text.to_ascii_uppercase()), normalise(&text.to_ascii_lowercase()));
    }
}
