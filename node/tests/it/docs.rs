//! Docs: versions, what people upload before what is generated, reading in pieces.

use ctxnode_api::{Call, ErrorBody, ErrorCode};
use serde_json::{Value, json};

use crate::support::{Who, person, ready, start, text};

fn call(operation: &str, name: &str, input: Value) -> Call {
    Call::new(operation, input).param("scope", "alpha").param("name", name)
}

fn put(who: &Who<'_>, name: &str, content: &str) -> Value {
    who.ok(&call("doc.put", name, json!({ "content": content })))
}

#[test]
fn d_01_a_doc_has_versions_and_equal_content_makes_none() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let first = put(&ada, "alpha-api.md", "# API\n\nOne.\n\n## Calls\n\nMore.");
    assert_eq!((&first["created"], &first["version"]), (&json!(true), &json!(1)));
    let same = put(&ada, "alpha-api.md", "# API\n\nOne.\n\n## Calls\n\nMore.");
    assert_eq!((&same["changed"], &same["version"]), (&json!(false), &json!(1)));
    let second = put(&ada, "alpha-api.md", "# API\n\nTwo.");
    assert_eq!((&second["version"], &second["previous_version"]), (&json!(2), &json!(1)));
    let read = |input: Value| ada.ok(&call("doc.get", "alpha-api.md", input));
    assert_eq!((text(&read(json!({})), "content"), text(&read(json!({})), "title")), ("# API\n\nTwo.", "API"));
    assert!(text(&read(json!({ "version": 1 })), "content").contains("One."));
    assert_eq!(text(&read(json!({ "version": 1, "summary_only": true })), "content"), "# API\nOne.\n## Calls");
    assert_eq!(text(&read(json!({ "offset": 2, "max_chars": 3 })), "content"), "API");
    let history = ada.ok(&call("doc.history", "alpha-api.md", json!({})));
    assert_eq!(history["items"].as_array().unwrap().len(), 2);
}

#[test]
fn d_02_bad_names_and_contents_are_refused_and_a_near_name_is_offered() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let refused =
        |name: &str, content: &str| -> ErrorBody { ada.refused(&call("doc.put", name, json!({ "content": content }))) };
    for name in ["no-ending", ".hidden.md", "a b.md", "x.txt"] {
        assert_eq!(refused(name, "x").code, ErrorCode::ValidationFailed, "{name}");
    }
    assert_eq!(refused("a.md", &"x".repeat(1_048_577)).details[0].field, "content");
    let nowhere = Call::new("doc.put", json!({ "content": "x" })).param("scope", "alpa").param("name", "a.md");
    assert_eq!(ada.refused(&nowhere).code, ErrorCode::UnknownVenture);
    assert_eq!(ada.do_("doc.list", json!({ "venture": "alpha" }))["total"], 0);
    put(&ada, "alpha-api.md", "x");
    let missing = ada.refused(&call("doc.get", "alpha-apo.md", json!({})));
    assert_eq!(missing.code, ErrorCode::NotFound);
    assert!(missing.hint.unwrap().contains("alpha-api.md"));
}

#[test]
fn d_12_what_people_upload_stands_before_what_is_generated() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let generate =
        |content: &str| call("doc.put-generated", "alpha-schema.md", json!({ "content": content, "sources": ["db"] }));
    ada.ok(&generate("made"));
    assert_eq!(text(&ada.ok(&call("doc.get", "alpha-schema.md", json!({}))), "origin"), "generated");
    put(&ada, "alpha-schema.md", "written");
    let read = ada.ok(&call("doc.get", "alpha-schema.md", json!({})));
    assert_eq!((text(&read, "content"), text(&read, "origin")), ("written", "uploaded"));
    assert_eq!(ada.refused(&generate("made again")).code, ErrorCode::UploadedDocExists);
    ada.ok(&call("doc.delete", "alpha-schema.md", json!({})));
    let left = ada.ask(&call("doc.get", "alpha-schema.md", json!({})));
    assert!(left.is_err() || left.unwrap().body["origin"] == "generated");
}

#[test]
fn d_03_a_start_names_docs_and_gives_their_text_only_when_asked() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    put(&person(&sandbox), "alpha-api.md", "# API\n\nquokka");
    let repo = crate::support::alpha_repo(&sandbox, "console");
    let claude = crate::support::agent(&sandbox, "claude-mac-1", repo.path());
    let usual = claude.do_("sod", json!({}));
    assert_eq!(text(&usual["docs"]["items"][0], "name"), "alpha-api.md");
    assert!(!usual.to_string().contains("quokka"));
    let full = claude.do_("sod", json!({ "docs": "full" }));
    assert!(text(&full["docs_full"]["docs"][0], "content").contains("quokka"), "{full}");
}

/// D-11: an export tells apart docs of one name, and nobody works because of it.
#[test]
fn d_11_an_export_makes_no_session_and_keeps_docs_of_one_name_apart() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    for (scope, content) in [("global", "for all"), ("alpha", "for alpha")] {
        ada.ok(&Call::new("doc.put", json!({ "content": content })).param("scope", scope).param("name", "same.md"));
    }
    let directory = sandbox.root().join("export");
    ada.do_("node.export", json!({ "directory": directory }));
    for (scope, content) in [("global", "for all"), ("alpha", "for alpha")] {
        let text = std::fs::read_to_string(directory.join("docs").join(scope).join("same.md")).unwrap();
        assert!(text.contains(content), "{scope}: {text}");
    }
    assert_eq!(ada.do_("session.list", json!({}))["total"], 0);
    // A doc that is gone leaves the export.
    ada.ok(&Call::new("doc.delete", json!({})).param("scope", "global").param("name", "same.md"));
    ada.do_("node.export", json!({ "directory": directory }));
    assert!(!directory.join("docs/global/same.md").exists() && directory.join("docs/alpha/same.md").exists());
}
