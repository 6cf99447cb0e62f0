//! Notes at their limits: sizes, literal tags, filters, what an update leaves alone, pages while others write.

use ctxnode_api::{Call, ErrorBody, ErrorCode};
use serde_json::{Value, json};

use crate::support::{Who, agent, alpha_repo, found, person, ready, start, text};

fn create(content: &str, more: Value) -> Call {
    let mut input = json!({ "content": content, "human_requested": true });
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Call::new("note.create", input)
}

fn note(who: &Who<'_>, content: &str, more: Value) -> String {
    text(&who.ok(&create(content, more)), "id").to_owned()
}

fn on(operation: &str, id: &str, mut input: Value) -> Call {
    input["human_requested"] = json!(true);
    Call::new(operation, input).param("id", id)
}

fn get(who: &Who<'_>, id: &str) -> Value {
    who.ok(&Call::new("note.get", json!({})).param("id", id))
}

fn listed(who: &Who<'_>, query: Value) -> Vec<String> {
    let list = who.do_("note.list", query);
    list["items"].as_array().unwrap().iter().map(|row| text(row, "id").to_owned()).collect()
}

fn fields(refused: &ErrorBody) -> Vec<&str> {
    refused.details.iter().map(|detail| detail.field.as_str()).collect()
}

#[test]
fn n_01_a_note_of_content_only_reads_null_where_nothing_was_given() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let answer = ada.ask(&create("only this", json!({}))).unwrap();
    assert_eq!(answer.status, 201);
    let read = get(&ada, text(&answer.body, "id"));
    assert!(read["title"].is_null() && read["venture"].is_null() && read["tags"] == json!([]), "{read}");
    for input in [json!({ "human_requested": true }), json!({ "content": "", "human_requested": true })] {
        assert_eq!(fields(&ada.refused_("note.create", input)), ["content"]);
    }
    assert_eq!(ada.do_("note.list", json!({}))["total"], 1);
}

#[test]
fn n_02_the_limits_are_inclusive() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let tags = |count: usize| (0..count).map(|n| format!("t{n}")).collect::<Vec<_>>();
    let good = |call: Call| assert!(ada.ask(&call).is_ok());
    let bad = |call: Call, field: &str| {
        let refused = ada.refused(&call);
        assert_eq!(refused.code, ErrorCode::ValidationFailed);
        let named = fields(&refused);
        assert!(!named.is_empty() && named.iter().all(|named| named.starts_with(field)), "{field}: {refused:?}");
    };
    // Bytes, not characters.
    good(create(&"é".repeat(256_000), json!({})));
    bad(create(&("é".repeat(256_000) + "a"), json!({})), "content");
    good(create("x", json!({ "tags": tags(20) })));
    bad(create("x", json!({ "tags": tags(21) })), "tags");
    good(create("x", json!({ "tags": ["é".repeat(50)] })));
    bad(create("x", json!({ "tags": ["é".repeat(51)] })), "tags[0]");
    bad(create("x", json!({ "tags": ["fine", ""] })), "tags[1]");
    bad(create("x", json!({ "tags": ["a", "a"] })), "tags");
    good(create("x", json!({ "title": "é".repeat(200) })));
    bad(create("x", json!({ "title": "é".repeat(201) })), "title");
}

#[test]
fn n_03_tags_and_queries_match_literally() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let prd = note(&ada, "100% sure_thing", json!({ "tags": ["prd"] }));
    let draft = note(&ada, "100 surething \"quoted\" a*b", json!({ "tags": ["prd-draft", "50%_'\"*"] }));
    assert_eq!(listed(&ada, json!({ "tags": ["prd"] })), [prd.clone()]);
    assert_eq!(listed(&ada, json!({ "tags": ["50%_'\"*"] })), [draft.clone()]);
    for literal in ["%", "pr_", "prd*", "*"] {
        assert!(listed(&ada, json!({ "tags": [literal] })).is_empty(), "{literal}");
    }
    assert_eq!(listed(&ada, json!({ "q": "100%" })), [prd.clone()]);
    assert_eq!(listed(&ada, json!({ "q": "E_T" })), [prd]);
    assert_eq!(listed(&ada, json!({ "q": "\"Quoted\" a*b" })), [draft]);
}

#[test]
fn n_04_an_archived_note_is_left_out_everywhere_but_where_it_is_asked_for() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let id = note(&ada, "the wombat", json!({ "title": "W", "tags": ["executive-summary"], "venture": "alpha" }));
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    let injected = || claude.do_("sod", json!({}))["notes"]["total"].clone();
    assert_eq!(injected(), 1);
    found(&ada, &json!({ "q": "wombat" }), |reply| reply["total"] == 1);
    ada.ok(&on("note.archive", &id, json!({})));
    assert_eq!((listed(&ada, json!({})).len(), injected()), (0, json!(0)));
    found(&ada, &json!({ "q": "wombat" }), |reply| reply["total"] == 0);
    assert_eq!(listed(&ada, json!({ "include_archived": true })), [id.clone()]);
    assert_eq!(text(&get(&ada, &id), "content"), "the wombat");
    ada.ok(&on("note.restore", &id, json!({})));
    assert_eq!((listed(&ada, json!({})), injected()), (vec![id], json!(1)));
    found(&ada, &json!({ "q": "wombat" }), |reply| reply["total"] == 1);
    for operation in ["note.archive", "note.restore", "note.update"] {
        let unknown = on(operation, "note_00000000000000000000000000", json!({}));
        assert_eq!(ada.refused(&unknown).code, ErrorCode::NotFound, "{operation}");
    }
}

#[test]
fn n_05_a_list_filters_by_venture_exactly_and_by_time() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let alpha = note(&ada, "x", json!({ "venture": "alpha" }));
    let global = note(&ada, "x", json!({}));
    note(&ada, "x", json!({ "venture": "beta" }));
    assert_eq!(listed(&ada, json!({ "venture": "alpha" })), [alpha.clone()]);
    assert_eq!(listed(&ada, json!({ "venture": "alpha", "include_global": true })), [global.clone(), alpha.clone()]);
    assert_eq!(listed(&ada, json!({ "include_global": true })), [global]);
    let at = text(&get(&ada, &alpha), "created_at").to_owned();
    assert_eq!(listed(&ada, json!({ "venture": "alpha", "created_since": at })), [alpha]);
    assert!(listed(&ada, json!({ "venture": "alpha", "created_until": at })).is_empty(), "until is exclusive");
}

#[test]
fn n_06_any_tag_works_and_nine_are_recommended() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    note(&ada, "x", json!({ "tags": ["never-seen", "prd"] }));
    let rows = ada.do_("note.tags", json!({}))["items"].as_array().unwrap().clone();
    assert_eq!(rows.iter().filter(|row| row["recommended"] == true).count(), 9);
    let notes = |tag: &str| rows.iter().find(|row| row["tag"] == tag).map(|row| row["notes"].clone());
    assert_eq!((notes("never-seen"), notes("prd"), notes("bio")), (Some(json!(1)), Some(json!(1)), Some(json!(0))));
}

#[test]
fn n_07_an_update_changes_what_it_names_and_nothing_else() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let id = note(&ada, "body", json!({ "title": "T", "tags": ["a"], "venture": "alpha", "meta": { "k": 1 } }));
    let before = get(&ada, &id);
    let claude = agent(&sandbox, "claude-mac-1", &sandbox.dev_dir());
    let updated = claude.ok(&on("note.update", &id, json!({ "tags": ["b"] })));
    assert!(text(&updated, "updated_at") >= text(&before, "updated_at"));
    assert_eq!((text(&updated, "title"), text(&updated, "venture"), &updated["tags"]), ("T", "alpha", &json!(["b"])));
    assert_ne!(updated["updated_by"], before["updated_by"]);
    let after = get(&ada, &id);
    assert_eq!((text(&after, "content"), &after["meta"]), ("body", &before["meta"]));
    assert_eq!((&after["created_at"], &after["actor_key_id"]), (&before["created_at"], &before["actor_key_id"]));
    let cleared = ada.ok(&on("note.update", &id, json!({ "title": null, "venture": null, "tags": null })));
    assert!(cleared["title"].is_null() && cleared["venture"].is_null() && cleared["tags"] == json!([]), "{cleared}");
    assert_eq!(listed(&ada, json!({ "include_global": true })), [id.clone()]);
    assert_eq!(fields(&ada.refused(&on("note.update", &id, json!({ "content": null })))), ["content"]);
    // An empty update moves the time.
    let moved = ada.ok(&on("note.update", &id, json!({})));
    assert!(text(&moved, "updated_at") > text(&before, "updated_at"), "{moved}");
    assert_eq!(text(&get(&ada, &id), "content"), "body");
}

#[test]
fn n_12_a_rev_that_is_none_is_refused() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let (id, other) = (note(&ada, "one", json!({})), note(&ada, "two", json!({})));
    for rev in ["nonsense", text(&get(&ada, &other), "rev")] {
        let refused = ada.refused(&on("note.update", &id, json!({ "content": "three", "rev": rev })));
        assert_eq!(fields(&refused), ["rev"], "{rev}");
    }
    assert_eq!(text(&get(&ada, &id), "content"), "one");
}

#[test]
fn n_13_a_secret_is_refused_with_its_place_and_a_bare_hash_is_none() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let secret = format!("ghp_{}", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8");
    let refused = ada.refused(&create(&format!("line one\nthe key {secret}"), json!({})));
    let said = serde_json::to_string(&refused).unwrap();
    assert_eq!((refused.code, fields(&refused)), (ErrorCode::SecretSuspected, vec!["content"]));
    assert!(said.contains("line 2") && !said.contains(&secret), "{said}");
    for more in [json!({ "title": secret }), json!({ "tags": [secret] }), json!({ "meta": { "k": [secret] } })] {
        assert_eq!(ada.refused(&create("x", more.clone())).code, ErrorCode::SecretSuspected, "{more}");
    }
    let id = note(&ada, &format!("of {}", "0123456789abcdef".repeat(4)), json!({}));
    assert_eq!(ada.refused(&on("note.update", &id, json!({ "title": secret }))).code, ErrorCode::SecretSuspected);
    assert_eq!(ada.do_("note.list", json!({}))["total"], 1);
}

#[test]
fn n_16_pages_of_notes_neither_repeat_nor_lose_rows() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let made: Vec<String> = (0..7).map(|n| note(&ada, &format!("n {n}"), json!({}))).collect();
    let (mut seen, mut cursor) = (Vec::new(), Value::Null);
    for _ in 0..3 {
        let mut query = json!({ "limit": 3 });
        if !cursor.is_null() {
            query["cursor"] = cursor.clone();
        }
        let page = ada.do_("note.list", query);
        seen.extend(page["items"].as_array().unwrap().iter().map(|row| text(row, "id").to_owned()));
        cursor = page["next_cursor"].clone();
        note(&ada, "meanwhile", json!({}));
    }
    assert_eq!(seen, made.into_iter().rev().collect::<Vec<_>>());
    assert_eq!(fields(&ada.refused_("note.list", json!({ "limit": 0 }))), ["limit"]);
    assert_eq!(ada.refused_("note.list", json!({ "cursor": "broken" })).code, ErrorCode::InvalidCursor);
}

#[test]
fn n_18_an_earlier_state_is_read_and_brought_back() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let id = note(&ada, "first", json!({}));
    ada.ok(&on("note.update", &id, json!({ "content": "second text" })));
    let history = ada.ok(&Call::new("note.history", json!({})).param("id", &id));
    let rows = history["items"].as_array().unwrap();
    assert_eq!((rows.len(), &rows[0]["size"], &rows[1]["size"]), (2, &json!(11), &json!(5)), "{history}");
    assert!(rows.iter().all(|row| !text(row, "node").is_empty() && text(row, "at").ends_with('Z')), "{history}");
    let old = Call::new("note.get", json!({ "rev": text(&rows[1], "rev") })).param("id", &id);
    assert_eq!(text(&ada.ok(&old), "content"), "first");
    ada.ok(&on("note.update", &id, json!({ "content": "first" })));
    assert_eq!(text(&get(&ada, &id), "content"), "first");
    assert_eq!(ada.ok(&Call::new("note.history", json!({})).param("id", &id))["total"], 3);
}
