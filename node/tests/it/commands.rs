//! The command line against the API: each operation has its command, and both say the same.

use std::collections::BTreeMap;

use ctxnode_api::{Call, Method, ROUTES};
use serde_json::{Value, json};

use crate::support::{agent, alpha_repo, ctxnode, person, printed, ready, start, text};

/// Fields that differ between two calls whatever is asked: times of the call itself and what moves by itself.
const MOVING: &[&str] = &[
    "age",
    "uptime_seconds",
    "requests",
    "memory",
    "started",
    "as_of",
    // How far the search index is.
    "watermark",
    "documents",
    "journal",
    "correlation_id",
];

/// Takes out of an answer what differs between two calls.
pub(crate) fn settled(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            map.retain(|name, _| !MOVING.contains(&name.as_str()) && !name.ends_with("_bytes"));
            map.values_mut().for_each(|inner| *inner = settled(inner.take()));
        }
        Value::Array(list) => list.iter_mut().for_each(|inner| *inner = settled(inner.take())),
        _ => {}
    }
    value
}

/// every operation has a command that exists; every reading one prints with `--json` what the API answers.
#[test]
fn a_20_each_operation_has_its_command_and_both_say_the_same() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    let ada = person(&sandbox);
    let session = claude.do_("sod", json!({}));
    let note = ada.do_("note.create", json!({ "content": "x", "human_requested": true }));
    let put = Call::new("doc.put", json!({ "content": "# Doc" }));
    ada.ok(&put.param("scope", "alpha").param("name", "a.md"));
    claude.do_("claim.take", json!({ "kind": "issue", "key": "87" }));
    let handoff = claude.do_("eod", json!({ "status": "done", "accomplished": ["x"], "keep_open": true }));
    let ids: BTreeMap<&str, &str> = [
        ("session", text(&session, "session_id")),
        ("handoff", text(&handoff, "handoff_id")),
        ("note", text(&note, "id")),
        ("record", text(&note, "id")),
    ]
    .into();
    let mut compared = 0;
    for route in ROUTES {
        let words: Vec<&str> = route.cli.split(' ').filter(|word| !word.starts_with("--")).collect();
        let help = ctxnode(&sandbox, &[words.as_slice(), &["--help"]].concat());
        assert!(help.status.success(), "{}: {}", route.cli, String::from_utf8_lossy(&help.stderr));
        // What acts is compared where it is tested; a stream has no end; a search needs its index first.
        let differs = ["health", "event.stream", "search", "request-log", "preflight", "context"];
        if route.method != Method::Get || differs.contains(&route.operation) {
            continue;
        }
        let noun = route.operation.split('.').next().unwrap();
        let mut call = Call::new(route.operation, json!({}));
        let mut line = words.clone();
        for parameter in route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            let value = match parameter {
                "scope" => "alpha",
                "name" => "a.md",
                _ => ids[noun],
            };
            call = call.param(parameter, value);
            line.push(value);
        }
        if route.operation == "handoff.latest" {
            call.input = json!({ "venture": "alpha", "repo": "alpha-org/console" });
            line.extend(["--venture", "alpha", "--repo", "alpha-org/console"]);
        }
        line.push("--json");
        let shown = ctxnode(&sandbox, &line);
        let said: Value = serde_json::from_str(&printed(&shown)).unwrap_or_else(|error| {
            panic!("{line:?}: {error}: {}{}", printed(&shown), String::from_utf8_lossy(&shown.stderr))
        });
        assert_eq!(settled(said), settled(ada.ok(&call)), "{line:?}");
        compared += 1;
    }
    assert!(compared >= 20, "{compared}");
}

/// B-05: without an invitation the machine is one of its own, and all of it works.
#[test]
fn b_05_a_single_machine_needs_no_other() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    claude.do_("sod", json!({}));
    claude.do_("eod", json!({ "status": "done", "accomplished": ["x"] }));
    let next = agent(&sandbox, "codex-mac-2", repo.path()).do_("sod", json!({}));
    assert_eq!(next["last_handoff"]["from_agent"], "claude-mac-1");
    let preflight = person(&sandbox).do_("preflight", json!({}));
    assert!(preflight.to_string().contains("single machine"), "{preflight}");
    assert!(ctxnode(&sandbox, &["status"]).status.success());
}
