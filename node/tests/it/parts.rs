//! A start in which parts of the context cannot be read.

use std::collections::BTreeSet;

use ctxnode_api::Call;
use ctxnode_model::Kind;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde_json::{Value, json};

use crate::support::{agent, alpha_repo, person, ready, start, text};

/// Record views by document id, whose first byte is the kind.
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records_v1");

/// Makes every view of a kind unreadable.
fn damage(store: &std::path::Path, kind: Kind) {
    let database = Database::open(store).unwrap();
    let keys: Vec<Vec<u8>> = {
        let table = database.begin_read().unwrap().open_table(RECORDS).unwrap();
        let keys = table.iter().unwrap().map(|row| row.unwrap().0.value().to_vec());
        keys.filter(|key| key.first() == Some(&(kind as u8))).collect()
    };
    assert!(!keys.is_empty(), "there is no {kind:?} to damage");
    let transaction = database.begin_write().unwrap();
    {
        let mut table = transaction.open_table(RECORDS).unwrap();
        for key in keys {
            table.insert(key.as_slice(), b"damaged".as_slice()).unwrap();
        }
    }
    transaction.commit().unwrap();
}

/// S-21: each part in turn and all together; the session is made and each part that failed is named.
#[test]
fn s_21_a_part_that_cannot_be_read_is_named_and_costs_no_start() {
    let sandbox = ready();
    let mut daemon = start(&sandbox);
    let (one, two) = (alpha_repo(&sandbox, "console"), alpha_repo(&sandbox, "console-2"));
    let claude = agent(&sandbox, "claude-mac-1", one.path());
    let codex = agent(&sandbox, "codex-mac-2", two.path());
    let ada = person(&sandbox);
    let note = json!({ "content": "x", "tags": ["executive-summary"], "venture": "alpha", "human_requested": true });
    ada.do_("note.create", note);
    ada.do_("plan.put", json!({ "priority_venture": "alpha" }));
    let put = Call::new("doc.put", json!({ "content": "# Doc" }));
    ada.ok(&put.param("scope", "alpha").param("name", "a.md"));
    codex.do_("sod", json!({}));
    codex.do_("claim.take", json!({ "kind": "issue", "key": "87" }));
    claude.do_("sod", json!({}));
    claude.do_("eod", json!({ "status": "done", "accomplished": ["x"] }));
    daemon.stop();

    let store = sandbox.data_dir().join("store.redb");
    let whole = std::fs::read(&store).unwrap();
    let parts = [
        (Kind::Handoff, "handoffs"),
        (Kind::Claim, "claims"),
        (Kind::Note, "notes"),
        (Kind::Plan, "plan"),
        (Kind::Doc, "docs"),
    ];
    let mut turns: Vec<&[(Kind, &str)]> = parts.chunks(1).collect();
    turns.push(&parts);
    for turn in turns {
        std::fs::write(&store, &whole).unwrap();
        turn.iter().for_each(|(kind, _)| damage(&store, *kind));
        daemon.restart();
        let reply = claude.do_("sod", json!({}));
        assert_eq!((text(&reply, "state"), text(&reply, "status")), ("valid", "created"), "{turn:?}");
        let failed: BTreeSet<&str> =
            reply["failed_parts"].as_array().unwrap().iter().map(|part| text(part, "part")).collect();
        assert_eq!(failed, turn.iter().map(|(_, part)| *part).collect(), "{reply}");
        let typed = serde_json::from_value(reply).unwrap();
        let shown = ctxnode_mcp::render::tool(&typed);
        for (_, part) in turn {
            assert!(shown.lines().any(|line| line.starts_with("Not loaded:") && line.contains(part)), "{shown}");
        }
        daemon.stop();
    }
}

/// N-10: a whole day with every tool but `note` leaves the notes as they were.
#[test]
fn n_10_nothing_but_the_note_tool_writes_notes() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    let ada = person(&sandbox);
    ada.do_("note.create", json!({ "content": "one", "human_requested": true }));
    let every: [(&str, Value); 9] = [
        ("sod", json!({})),
        ("context", json!({})),
        ("update", json!({ "issue": 5, "blocked_on": "a key", "error": "boom" })),
        ("claim.take", json!({ "kind": "branch", "key": "dev/x" })),
        ("plan.put", json!({ "priority_venture": "alpha", "capacity_notes": "a note on capacity" })),
        ("search", json!({ "q": "one" })),
        ("venture.list", json!({})),
        ("preflight", json!({})),
        ("escalation.create", json!({ "escalate": { "trigger": "manual", "need": "help" } })),
    ];
    for (operation, input) in every {
        claude.do_(operation, input);
    }
    claude.do_("eod", json!({ "status": "blocked", "blocked": ["a key"], "summary": "note this" }));
    assert_eq!(ada.do_("note.list", json!({ "include_archived": true, "include_global": true }))["total"], 1);
}
