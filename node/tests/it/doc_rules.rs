//! Docs at their limits: versions, names, deletion and return, pieces, and the requirements with their audit.

use ctxnode_api::{Call, ErrorBody, ErrorCode};
use ctxnode_model::rules::canonical::sha256_hex;
use serde_json::{Value, json};

use crate::support::{Who, agent, alpha_repo, person, ready, start, text};

fn call(operation: &str, name: &str, input: Value) -> Call {
    Call::new(operation, input).param("scope", "alpha").param("name", name)
}

fn put(who: &Who<'_>, name: &str, content: &str) -> Value {
    who.ok(&call("doc.put", name, json!({ "content": content })))
}

fn get(who: &Who<'_>, name: &str, input: Value) -> Value {
    who.ok(&call("doc.get", name, input))
}

fn fields(refused: &ErrorBody) -> Vec<&str> {
    refused.details.iter().map(|detail| detail.field.as_str()).collect()
}

/// The audit of alpha: its status, and the names in a state.
fn audit(who: &Who<'_>, state: &str) -> (String, Vec<String>) {
    let reply = who.do_("doc.audit", json!({ "venture": "alpha" }))["items"][0].clone();
    let rows = reply["rows"].as_array().unwrap().iter().filter(|row| row["state"] == state);
    (text(&reply, "status").to_owned(), rows.map(|row| text(row, "name").to_owned()).collect())
}

#[test]
fn d_01_equal_content_only_refreshes_and_the_hash_is_of_the_bytes() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let content = "# Größe\n\n漢字";
    let made = ada.ask(&call("doc.put", "a.md", json!({ "content": content }))).unwrap();
    assert_eq!((made.status, text(&made.body, "content_hash")), (201, sha256_hex(content.as_bytes()).as_str()));
    assert_eq!(made.body["content_size_bytes"], content.len());
    let first = get(&ada, "a.md", json!({}));
    let same = ada.ask(&call("doc.put", "a.md", json!({ "content": content }))).unwrap();
    assert_eq!((same.status, &same.body["changed"], &same.body["created"]), (200, &json!(false), &json!(false)));
    let second = get(&ada, "a.md", json!({}));
    for field in ["version", "content_hash", "updated_at"] {
        assert_eq!(second[field], first[field], "{field}");
    }
    assert!(text(&second, "refreshed_at") > text(&first, "refreshed_at"), "{second}");
    assert_eq!(ada.ok(&call("doc.history", "a.md", json!({})))["total"], 1);
    // Back to earlier content is a new version: only neighbours collapse.
    assert_eq!(put(&ada, "a.md", "other")["version"], 2);
    assert_eq!(put(&ada, "a.md", content)["version"], 3);
}

#[test]
fn d_02_names_sizes_and_titles() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let long = format!("{}.md", "x".repeat(198));
    for name in ["a/b.md", "x.txt", "../x.md", ".md", "ä.md", "x.MD", long.as_str()] {
        let refused = ada.refused(&call("doc.put", name, json!({ "content": "x" })));
        assert_eq!((refused.code, fields(&refused)), (ErrorCode::ValidationFailed, vec!["name"]), "{name}");
    }
    assert_eq!(put(&ada, &long[1..], &"é".repeat(524_288))["content_size_bytes"], 1_048_576);
    let over = call("doc.put", "big.md", json!({ "content": "é".repeat(524_288) + "a" }));
    assert_eq!(fields(&ada.refused(&over)), ["content"]);
    assert_eq!(fields(&ada.refused(&call("doc.put", "none.md", json!({})))), ["content"]);
    for (name, input, title) in [
        ("given.md", json!({ "content": "# Heading", "title": "Given" }), "Given"),
        ("heading.md", json!({ "content": "text\n\n# Heading\n" }), "Heading"),
        ("plain.md", json!({ "content": "text" }), "plain.md"),
        ("data.json", json!({ "content": "{}" }), "data.json"),
    ] {
        ada.ok(&call("doc.put", name, input));
        assert_eq!(text(&get(&ada, name, json!({})), "title"), title);
    }
    assert_eq!(text(&get(&ada, "data.json", json!({})), "doc_type"), "json");
}

#[test]
fn d_03_a_start_gives_metadata_and_a_read_gives_pieces() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let content = format!("# Long\n\n{}", "漢".repeat(20_000));
    put(&ada, "long.md", &content);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    let seen = claude.do_("sod", json!({}));
    assert_eq!((text(&seen["docs"]["items"][0], "name"), seen["docs"]["total"].as_u64()), ("long.md", Some(1)));
    assert!(!seen.to_string().contains("漢漢"), "full text at a start");
    let full = claude.do_("sod", json!({ "docs": "full" }));
    assert_eq!(text(&full["docs_full"]["docs"][0], "content"), content);
    let hash = sha256_hex(content.as_bytes());
    assert_eq!(text(&full["docs_full"], "content_hash"), sha256_hex(hash.as_bytes()));
    let (mut read, mut offset) = (String::new(), Some(0));
    while let Some(at) = offset {
        let piece = get(&claude, "long.md", json!({ "offset": at }));
        assert!(text(&piece, "content").chars().count() <= 16_000);
        read.push_str(text(&piece, "content"));
        offset = piece["next_offset"].as_u64();
    }
    assert_eq!(read, content);
    let bad = claude.refused(&call("doc.get", "long.md", json!({ "offset": -1, "max_chars": 16_001 })));
    assert_eq!(fields(&bad), ["offset", "max_chars"]);
    assert_eq!(fields(&claude.refused(&call("doc.get", "long.md", json!({ "version": 2 })))), ["version"]);
    let missing = claude.refused(&call("doc.get", "lnog.md", json!({})));
    assert_eq!(missing.code, ErrorCode::NotFound);
    assert!(missing.hint.unwrap().contains("long.md"));
}

#[test]
fn d_04_d_06_a_requirement_asks_those_with_the_capability() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let instructions = "alpha-project-instructions.md".to_owned();
    assert_eq!(audit(&ada, "missing"), ("incomplete".to_owned(), vec![instructions]));
    put(&ada, "alpha-project-instructions.md", "x");
    assert_eq!(audit(&ada, "missing"), ("complete".to_owned(), vec![]));
    ada.ok(&Call::new("venture.put", json!({ "capabilities": ["has_api", "has_magic"] })).param("code", "alpha"));
    assert_eq!(audit(&ada, "missing"), ("incomplete".to_owned(), vec!["alpha-api.md".to_owned()]));
    // A global doc of that name is enough.
    let global = Call::new("doc.put", json!({ "content": "x" })).param("scope", "global");
    ada.ok(&global.param("name", "alpha-api.md"));
    assert_eq!(audit(&ada, "missing").0, "complete");
    // Only a recommended one missing leaves the venture complete, and is listed.
    let wish = json!({ "name_pattern": "{venture}-faq.md", "scope_type": "all_ventures", "required": false });
    ada.do_("requirement.put", wish);
    assert_eq!(audit(&ada, "missing"), ("complete".to_owned(), vec!["alpha-faq.md".to_owned()]));
    assert_eq!(ada.refused_("doc.audit", json!({ "venture": "alpa" })).code, ErrorCode::UnknownVenture);
}

#[test]
fn d_09_a_requirement_is_one_record_of_its_key() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let rows = || ada.do_("requirement.list", json!({}));
    let seeded: Vec<String> =
        rows()["items"].as_array().unwrap().iter().map(|row| text(row, "name_pattern").to_owned()).collect();
    assert_eq!(seeded, ["{venture}-api.md", "{venture}-project-instructions.md", "{venture}-schema.md"]);
    for days in 1..=30 {
        for more in
            [json!({ "scope_type": "all_ventures" }), json!({ "scope_type": "venture", "scope_venture": "beta" })]
        {
            let mut input = json!({ "name_pattern": "{venture}-x.md", "staleness_days": days });
            input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            ada.do_("requirement.put", input);
        }
    }
    let all = rows();
    let mine: Vec<&Value> =
        all["items"].as_array().unwrap().iter().filter(|row| row["name_pattern"] == "{venture}-x.md").collect();
    assert_eq!((mine.len(), &mine[0]["staleness_days"], &mine[0]["required"]), (2, &json!(30), &json!(true)));
    let delete = Call::new("requirement.delete", json!({})).param("id", text(mine[0], "id"));
    ada.ok(&delete);
    assert_eq!(ada.refused(&delete).code, ErrorCode::NotFound);
    assert_eq!(rows()["total"], 4);
}

#[test]
fn d_09_a_bad_requirement_names_its_fields() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    for (input, field) in [
        (json!({ "name_pattern": "x.md", "scope_type": "venture" }), "scope_venture"),
        (json!({ "name_pattern": "x.md", "scope_type": "global", "scope_venture": "alpha" }), "scope_venture"),
        (json!({ "name_pattern": "x.txt", "scope_type": "global" }), "name_pattern"),
        (json!({ "name_pattern": "x.md", "scope_type": "global", "staleness_days": 0 }), "staleness_days"),
        (json!({ "name_pattern": "x.md", "scope_type": "global", "staleness_days": -1 }), "staleness_days"),
    ] {
        assert_eq!(fields(&ada.refused_("requirement.put", input.clone())), [field], "{input}");
    }
    let unknown = json!({ "name_pattern": "x.md", "scope_type": "venture", "scope_venture": "alpa" });
    assert_eq!(ada.refused_("requirement.put", unknown).code, ErrorCode::UnknownVenture);
    assert_eq!(ada.do_("requirement.list", json!({}))["total"], 3);
}

#[test]
fn d_12_an_upload_over_a_generated_doc_makes_it_uploaded() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let generate = |content: &str| call("doc.put-generated", "a.md", json!({ "content": content }));
    assert_eq!(ada.ok(&generate("made"))["version"], 1);
    assert_eq!(ada.ok(&generate("made anew"))["version"], 2);
    assert_eq!(put(&ada, "a.md", "written")["version"], 3);
    let before = get(&ada, "a.md", json!({}));
    assert_eq!(text(&before, "origin"), "uploaded");
    assert_eq!(ada.refused(&generate("once more")).code, ErrorCode::UploadedDocExists);
    assert_eq!(get(&ada, "a.md", json!({})), before);
    let history = ada.ok(&call("doc.history", "a.md", json!({})));
    let origins: Vec<&str> = history["items"].as_array().unwrap().iter().map(|row| text(row, "origin")).collect();
    assert_eq!(origins, ["uploaded", "generated", "generated"]);
    assert_eq!(text(&get(&ada, "a.md", json!({ "version": 1 })), "content"), "made");
}

#[test]
fn d_15_twenty_five_revisions_are_counted_and_the_last_twenty_are_readable() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    (1..=25).for_each(|n| assert_eq!(put(&ada, "a.md", &format!("text {n}"))["version"], n));
    let history = ada.ok(&call("doc.history", "a.md", json!({})));
    let numbers: Vec<u64> =
        history["items"].as_array().unwrap().iter().map(|row| row["version"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=25).rev().collect::<Vec<_>>());
    for n in 6..=25 {
        assert_eq!(text(&get(&ada, "a.md", json!({ "version": n })), "content"), format!("text {n}"));
    }
}

#[test]
fn q_04_a_deleted_doc_is_gone_and_a_new_put_goes_on_counting() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    put(&ada, "a.md", "one");
    put(&ada, "a.md", "two");
    ada.ok(&call("doc.delete", "a.md", json!({})));
    for operation in ["doc.get", "doc.history", "doc.delete"] {
        assert_eq!(ada.refused(&call(operation, "a.md", json!({}))).code, ErrorCode::NotFound, "{operation}");
    }
    assert_eq!(ada.do_("doc.list", json!({ "venture": "alpha" }))["total"], 0);
    let again = ada.ask(&call("doc.put", "a.md", json!({ "content": "three" }))).unwrap();
    assert_eq!((again.status, &again.body["created"], &again.body["version"]), (201, &json!(true), &json!(3)));
    assert_eq!(ada.ok(&call("doc.history", "a.md", json!({})))["total"], 3);
}

#[test]
fn a_list_of_docs_goes_on_after_its_last_row_was_deleted() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    for name in ["c.md", "a.md", "b.md"] {
        put(&ada, name, "x");
        ada.ok(&Call::new("doc.put", json!({ "content": "x" })).param("scope", "global").param("name", name));
    }
    let page = |input: Value| {
        let reply = ada.do_("doc.list", input);
        let rows = reply["items"].as_array().unwrap();
        let names: Vec<String> =
            rows.iter().map(|row| format!("{}/{}", text(row, "scope"), text(row, "name"))).collect();
        (names, reply["next_cursor"].clone())
    };
    let (first, cursor) = page(json!({ "venture": "alpha", "limit": 2 }));
    assert_eq!(first, ["alpha/a.md", "alpha/b.md"]);
    ada.ok(&call("doc.delete", "b.md", json!({})));
    let (second, cursor) = page(json!({ "venture": "alpha", "limit": 2, "cursor": cursor }));
    assert_eq!(second, ["alpha/c.md", "global/a.md"]);
    assert_eq!(page(json!({ "venture": "alpha", "limit": 2, "cursor": cursor })).0, ["global/b.md", "global/c.md"]);
    for bad in ["nonsense", "nowhere/a.md", "alpha/", "/"] {
        let refused = ada.refused_("doc.list", json!({ "venture": "alpha", "cursor": bad }));
        assert_eq!(refused.code, ErrorCode::InvalidCursor, "{bad}");
    }
}

#[test]
fn n_13_a_secret_in_a_doc_or_a_requirement_is_refused() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let secret = format!("ghp_{}", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8");
    for operation in ["doc.put", "doc.put-generated"] {
        let refused = ada.refused(&call(operation, "a.md", json!({ "content": format!("x\n{secret}") })));
        let said = serde_json::to_string(&refused).unwrap();
        assert_eq!(refused.code, ErrorCode::SecretSuspected, "{operation}");
        assert!(said.contains("line 2") && !said.contains(&secret), "{said}");
    }
    let input = json!({ "name_pattern": "x.md", "scope_type": "global", "description": secret });
    assert_eq!(ada.refused_("requirement.put", input).code, ErrorCode::SecretSuspected);
    for field in ["source_repo", "source_path"] {
        let refused = ada.refused(&call("doc.put", "a.md", json!({ "content": "x", field: secret })));
        assert_eq!(refused.code, ErrorCode::SecretSuspected, "{field}");
    }
    let refused = ada.refused(&call("doc.put", "a.md", json!({ "content": "x", "sources": [secret] })));
    assert_eq!(refused.code, ErrorCode::SecretSuspected, "sources");
}
