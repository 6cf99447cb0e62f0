//! One key, one effect: whoever calls, however often, at once or again.

use ctxnode_api::shape::Shape;
use ctxnode_api::{Call, Client, ClientError, Endpoint, ErrorCode, ROUTES, headers};
use serde_json::{Value, json};

use crate::support::{Who, agent, alpha_repo, block_on, ctxnode, person, ready, start, text};

/// Operation, input, path parameters.
type Input<'a> = (&'a str, Value, Vec<(&'a str, &'a str)>);

const KEY: &str = "test-key-0123456789-0123456789";

fn note(content: &str) -> Call {
    Call::new("note.create", json!({ "content": content, "human_requested": true }))
}

fn with_key(who: &Who<'_>, call: &Call, key: &str) -> Result<(Value, bool), ErrorCode> {
    match who.ask_with(call, &[(headers::IDEMPOTENCY_KEY, key)]) {
        Ok(answer) => Ok((answer.body, answer.idempotency_hit)),
        Err(ClientError::Refused(body)) => Err(body.code),
        Err(error) => panic!("{error:?}"),
    }
}

fn notes(who: &Who<'_>) -> Value {
    who.do_("note.list", json!({}))["total"].clone()
}

#[test]
fn a_03_a_04_a_07_keys_belong_to_an_actor_and_an_operation_and_have_a_form() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let (one, two) = (agent(&sandbox, "a-x-1", &sandbox.dev_dir()), agent(&sandbox, "b-x-2", &sandbox.dev_dir()));
    // A request that was refused does not use the key up.
    let bad = Call::new("note.create", json!({ "content": "", "human_requested": true }));
    assert_eq!(with_key(&one, &bad, KEY), Err(ErrorCode::ValidationFailed));
    assert!(!with_key(&one, &note("x"), KEY).unwrap().1);
    assert!(!with_key(&two, &note("x"), KEY).unwrap().1, "another actor");
    let plan = Call::new("plan.put", json!({ "priority_venture": "alpha" }));
    assert!(!with_key(&one, &plan, KEY).unwrap().1, "another operation");
    assert_eq!(notes(&one), 2);
    for length in [9, 12, 19, 201] {
        assert_eq!(with_key(&one, &note("y"), &"k".repeat(length)), Err(ErrorCode::InvalidIdempotencyKey), "{length}");
    }
    let long = "k".repeat(200);
    for key in ["k".repeat(20).as_str(), &long, "01HQXV3NK8J5Z7Y2M4T6W8R0AB", "7f1c9f8e-7c39-4d9f-9f0e-3a2b1c4d5e6f"] {
        assert!(with_key(&one, &note(key), key).is_ok(), "{key}");
    }
}

#[test]
fn a_08_twenty_at_once_have_one_effect_and_equal_answers() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let answers = block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let mut client = Client::new(Endpoint::Socket(sandbox.socket()));
            tasks.spawn(
                async move { client.call_with(&note("x"), &[(headers::IDEMPOTENCY_KEY, KEY)]).await.unwrap().body },
            );
        }
        tasks.join_all().await
    });
    assert!(answers.iter().all(|answer| text(answer, "id") == text(&answers[0], "id")), "{answers:?}");
    assert_eq!(notes(&person(&sandbox)), 1);
}

/// every mutating operation whose input is made here, sent twice with one key: one effect and one answer.
#[test]
fn a_09_every_mutating_operation_happens_once() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    let session = text(&claude.do_("sod", json!({})), "session_id").to_owned();
    let id = |body: &Value| text(body, "id").to_owned();
    let made = claude.ok(&note("x"));
    let (made, rev) = (id(&made), text(&made, "rev").to_owned());
    let retired = json!({ "hostname": "old", "address": "10.0.0.8", "user": "ada", "os": "linux", "arch": "x86_64" });
    let machine = id(&person(&sandbox).do_("machine.register", retired));
    let escalation = json!({ "escalate": { "trigger": "manual", "need": "a key", "tried": ["x"] } });
    let help = id(&claude.do_("escalation.create", escalation.clone()));
    let claim = id(&claude.do_("claim.take", json!({ "kind": "branch", "key": "dev/z" }))["claim"]);
    let token = id(&person(&sandbox).do_("token.create", json!({ "name": "t", "right": "reader" })));
    let requirement = json!({ "name_pattern": "{venture}-x.md", "scope_type": "all_ventures" });
    let required = id(&person(&sandbox).do_("requirement.put", requirement.clone()));
    let handoff =
        text(&claude.do_("eod", json!({ "status": "done", "accomplished": ["x"], "keep_open": true })), "handoff_id")
            .to_owned();
    let invited = person(&sandbox).do_("invite.create", json!({}));
    let second = ctxnode_testkit::Sandbox::new();
    assert!(ctxnode(&second, &["join", text(&invited, "code"), "--name", "second"]).status.success());
    let open = id(&person(&sandbox).do_("invite.create", json!({})));
    let human = json!({ "human_requested": true });
    let inputs: Vec<Input<'_>> = vec![
        ("sod", json!({}), vec![]),
        ("update", json!({ "issue": 3 }), vec![]),
        ("heartbeat", json!({}), vec![]),
        ("alert.acknowledge", json!({}), vec![]),
        (
            "session.expect",
            json!({ "pid": std::process::id(), "venture": "alpha", "repo": "alpha-org/console", "track": 1 }),
            vec![],
        ),
        ("session.draft", json!({}), vec![("id", &session)]),
        ("note.create", json!({ "content": "n", "human_requested": true }), vec![]),
        ("note.update", json!({ "content": "m", "human_requested": true }), vec![("id", &made)]),
        ("note.revert", json!({ "rev": rev, "human_requested": true }), vec![("id", &made)]),
        ("note.archive", human.clone(), vec![("id", &made)]),
        ("note.restore", human, vec![("id", &made)]),
        ("doc.put", json!({ "content": "d" }), vec![("scope", "alpha"), ("name", "d.md")]),
        ("doc.put-generated", json!({ "content": "g" }), vec![("scope", "alpha"), ("name", "g.md")]),
        ("doc.delete", json!({}), vec![("scope", "alpha"), ("name", "d.md")]),
        ("requirement.put", requirement, vec![]),
        ("requirement.delete", json!({}), vec![("id", &required)]),
        ("claim.take", json!({ "kind": "branch", "key": "dev/y" }), vec![]),
        ("claim.release", json!({ "kind": "branch", "key": "dev/y" }), vec![]),
        ("claim.release-id", json!({}), vec![("id", &claim)]),
        (
            "machine.register",
            json!({ "hostname": "other", "address": "10.0.0.9", "user": "ada", "os": "linux", "arch": "x86_64" }),
            vec![],
        ),
        ("machine.retire", json!({}), vec![("id", &machine)]),
        ("machine.restore", json!({}), vec![("id", &machine)]),
        ("venture.put", json!({ "name": "G" }), vec![("code", "gamma")]),
        ("venture.archive", json!({}), vec![("code", "gamma")]),
        ("venture.import", json!({ "text": "{\"ventures\":[]}" }), vec![]),
        ("plan.put", json!({ "priority_venture": "alpha" }), vec![]),
        ("escalation.create", escalation, vec![]),
        ("escalation.resolve", json!({}), vec![("id", &help)]),
        ("handoff.close", json!({ "reason": "x" }), vec![("id", &handoff)]),
        ("token.create", json!({ "name": "u", "right": "reader" }), vec![]),
        ("token.revoke", json!({}), vec![("id", &token)]),
        ("note.delete", json!({}), vec![("id", &made)]),
        ("invite.create", json!({}), vec![]),
        ("invite.withdraw", json!({}), vec![("id", &open)]),
        ("peer.wake", json!({}), vec![]),
        ("field.on", json!({ "every": "15m", "keep_awake": false }), vec![]),
        ("field.off", json!({}), vec![]),
        ("peer.role", json!({ "role": "reader" }), vec![("node", "second")]),
        ("peer.revoke", json!({}), vec![("node", "second")]),
        ("quarantine.accept", json!({}), vec![("node", "second")]),
        ("eod", json!({ "status": "done", "accomplished": ["y"] }), vec![]),
    ];
    // A hook fires with each tool, and writes nothing that a second time would change: its turn names it.
    let slow = ["hook", "node.check", "node.backup", "node.export", "node.stop", "node.handover", "session.abandon"];
    // These need a second machine or the recovery key; the tests of merging and of membership carry them out.
    let elsewhere = ["note.resolve", "record.resolve", "fleet.recover"];
    let is_here = |operation: &str| !slow.contains(&operation) && !elsewhere.contains(&operation);
    for route in ROUTES.iter().filter(|route| route.mutating && is_here(route.operation)) {
        assert!(inputs.iter().any(|(operation, ..)| *operation == route.operation), "no input for {}", route.operation);
        assert!(Shape::of_input(route).field("update_id").is_some());
    }
    let journal = || person(&sandbox).do_("node", json!({}))["records"].clone();
    for (number, (operation, input, params)) in inputs.into_iter().enumerate() {
        let call = params.into_iter().fold(Call::new(operation, input), |call, (name, value)| call.param(name, value));
        let key = format!("generated-key-{number:0>10}");
        let who = if operation.starts_with("token") { person(&sandbox) } else { claude.clone() };
        let first = with_key(&who, &call, &key).unwrap_or_else(|code| panic!("{operation}: {code:?}"));
        let between = journal();
        let second = with_key(&who, &call, &key);
        if ["token.create", "invite.create"].contains(&operation) {
            // Its secret is shown once and kept nowhere, so it cannot be shown again.
            continue;
        }
        let second = second.unwrap_or_else(|code| panic!("{operation} again: {code:?}"));
        assert_eq!((&second.0, second.1), (&first.0, true), "{operation}");
        assert_eq!(journal(), between, "{operation}");
    }
}

/// an answer of 65,535 bytes is kept whole; of one byte more only status, hash and size are.
#[test]
fn a_05_an_answer_is_kept_whole_up_to_its_limit() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    // The answer to a close holds the payload, so its size follows the handoff's to the byte.
    let closable = |filler: usize| {
        claude.do_("sod", json!({}));
        let mut items = vec!["x".repeat(2_000); filler / 2_000];
        items.push("y".repeat(filler % 2_000));
        let made = claude.do_("eod", json!({ "status": "done", "accomplished": items, "thread": filler.to_string() }));
        Call::new("handoff.close", json!({})).param("id", text(&made, "handoff_id"))
    };
    let probe = 64_101;
    let size = claude.ask(&closable(probe)).unwrap().body.to_string().len();
    for (wanted, whole) in [(65_535, true), (65_536, false)] {
        // One item more or less would change the punctuation.
        let filler = probe + wanted - size;
        assert_eq!(filler / 2_000, probe / 2_000, "{size}");
        let call = closable(filler);
        let key = format!("{KEY}-{wanted}");
        let (first, hit) = with_key(&claude, &call, &key).unwrap();
        assert_eq!((first.to_string().len(), hit), (wanted, false));
        match claude.ask_with(&call, &[(headers::IDEMPOTENCY_KEY, &key)]) {
            Ok(again) => assert!(whole && again.body == first && again.idempotency_hit),
            Err(ClientError::Refused(body)) => {
                assert!(!whole);
                assert_eq!(body.code, ErrorCode::IdempotencyResultNotKept);
                let hash = ctxnode_model::rules::canonical::sha256_hex(first.to_string().as_bytes());
                for part in ["200", "65536", &hash] {
                    assert!(body.message.contains(part), "{part}: {}", body.message);
                }
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}
