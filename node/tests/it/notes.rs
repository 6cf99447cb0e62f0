//! Notes and search.

use ctxnode_api::{Call, Client, ClientError, Endpoint, ErrorCode};
use ctxnode_testkit::Daemon;
use serde_json::{Value, json};

use crate::fleet::{connected, join, node};
use crate::support::{Who, agent, block_on, found, person, ready, start, start_with_http, text};

/// Asks over TCP with the secret of a token.
pub(crate) fn by_token(address: &str, secret: &str, call: &Call) -> Result<Value, ErrorCode> {
    let endpoint = Endpoint::Tcp { address: address.parse().unwrap(), token: secret.to_owned() };
    match block_on(async { Client::new(endpoint).call(call).await }) {
        Ok(answer) => Ok(answer.body),
        Err(ClientError::Refused(body)) => Err(body.code),
        Err(error) => panic!("{}: {error:?}", call.operation),
    }
}

/// Makes a token that may write in alpha alone; returns its secret.
pub(crate) fn token_of_alpha(ada: &Who<'_>) -> String {
    let made = ada.do_("token.create", json!({ "name": "t", "right": "writer", "ventures": ["alpha"] }));
    text(&made, "secret").to_owned()
}

fn note(who: &Who<'_>, content: &str, more: Value) -> String {
    let mut input = json!({ "content": content, "human_requested": true });
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    text(&who.do_("note.create", input), "id").to_owned()
}

fn get(who: &Who<'_>, id: &str) -> Value {
    who.ok(&Call::new("note.get", json!({})).param("id", id))
}

fn change(who: &Who<'_>, operation: &str, id: &str, mut input: Value) -> Value {
    input["human_requested"] = json!(true);
    who.ok(&Call::new(operation, input).param("id", id))
}

#[test]
fn n_01_n_04_n_07_n_18_a_note_is_created_read_changed_archived_and_restored() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let id = note(&ada, "one\ntwo\n", json!({ "title": "T", "tags": ["a"], "venture": "alpha" }));
    let read = get(&ada, &id);
    assert_eq!((text(&read, "content"), text(&read, "title"), &read["tags"]), ("one\ntwo\n", "T", &json!(["a"])));
    change(&ada, "note.update", &id, json!({ "title": null, "tags": [] }));
    let read = get(&ada, &id);
    assert!(read["title"].is_null() && read["tags"] == json!([]) && text(&read, "content") == "one\ntwo\n", "{read}");
    change(&ada, "note.archive", &id, json!({}));
    assert_eq!(ada.do_("note.list", json!({ "venture": "alpha" }))["total"], 0);
    assert_eq!(get(&ada, &id)["archived"], true);
    change(&ada, "note.restore", &id, json!({}));
    assert_eq!(ada.do_("note.list", json!({ "venture": "alpha" }))["total"], 1);
    let history = ada.ok(&Call::new("note.history", json!({})).param("id", &id));
    assert!(history["items"].as_array().unwrap().len() >= 2, "{history}");
    ada.ok(&Call::new("note.delete", json!({})).param("id", &id));
    assert_eq!(ada.refused(&Call::new("note.get", json!({})).param("id", &id)).code, ErrorCode::NotFound);
}

#[test]
fn n_02_bad_fields_are_named_together() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let input = json!({
        "content": "", "title": "x".repeat(201), "tags": vec!["t"; 21], "human_requested": true,
    });
    let refused = person(&sandbox).refused_("note.create", input);
    let fields: Vec<&str> = refused.details.iter().map(|detail| detail.field.as_str()).collect();
    for field in ["content", "title", "tags"] {
        assert!(fields.iter().any(|named| named.starts_with(field)), "{field}: {fields:?}");
    }
    let unknown = json!({ "content": "x", "venture": "alpa", "human_requested": true });
    assert_eq!(person(&sandbox).refused_("note.create", unknown).code, ErrorCode::UnknownVenture);
}

#[test]
fn n_12_two_edits_of_one_revision_both_stay() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let id = note(&ada, "First sentence. Second sentence. Third sentence.", json!({}));
    let rev = text(&get(&ada, &id), "rev").to_owned();
    let edit = |content: &str| change(&ada, "note.update", &id, json!({ "content": content, "rev": rev }));
    edit("First changed. Second sentence. Third sentence.");
    edit("First sentence. Second sentence. Third changed.");
    assert_eq!(text(&get(&ada, &id), "content"), "First changed. Second sentence. Third changed.");
}

#[test]
fn n_11_an_agent_writes_only_what_a_human_asked_for() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let claude = agent(&sandbox, "claude-mac-1", &sandbox.dev_dir());
    let refused = claude.refused_("note.create", json!({ "content": "x" }));
    assert_eq!(refused.code, ErrorCode::HumanRequestRequired);
    assert!(format!("{} {:?}", refused.message, refused.hint).contains("ask the human"), "{refused:?}");
    let id = note(&claude, "x", json!({}));
    let update = Call::new("note.update", json!({ "content": "y" })).param("id", &id);
    assert_eq!(claude.refused(&update).code, ErrorCode::HumanRequestRequired);
    assert_eq!(text(&get(&claude, &id), "content"), "x");
}

#[test]
fn n_13_a_secret_in_a_note_is_refused_until_it_is_allowed() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let content = format!("key ghp_{}", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8");
    let input = json!({ "content": content, "human_requested": true });
    assert_eq!(ada.refused_("note.create", input).code, ErrorCode::SecretSuspected);
    note(&ada, &content, json!({ "allow_secret_like": true }));
    let log = ada.do_("request-log", json!({ "operation": "note.create" }));
    assert_eq!(log["items"][0]["secret_override"], true, "{log}");
}

#[test]
fn n_03_n_05_n_16_lists_filter_by_everything_at_once_and_a_long_body_comes_in_pieces() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let wanted = note(&ada, "A quokka lives here", json!({ "tags": ["x", "y"], "venture": "alpha" }));
    note(&ada, "A quokka lives there", json!({ "tags": ["x"], "venture": "beta" }));
    note(&ada, "global quokka", json!({ "tags": ["xy"] }));
    let ids = |query: Value| -> Vec<String> {
        let list = ada.do_("note.list", query);
        list["items"].as_array().unwrap().iter().map(|row| text(row, "id").to_owned()).collect()
    };
    assert_eq!(ids(json!({ "venture": "alpha", "tags": ["x"], "q": "QUOKKA" })), [wanted.clone()]);
    assert_eq!(ids(json!({ "venture": "alpha", "include_global": true })).len(), 2);
    assert_eq!(ids(json!({ "tags": ["x", "y"], "tag_mode": "all" })), [wanted]);
    assert_eq!(ids(json!({ "tags": ["x"] })).len(), 2);
    let long = "ä".repeat(20_000);
    let id = note(&ada, &long, json!({}));
    let piece = |offset: u64| ada.ok(&Call::new("note.get", json!({ "offset": offset })).param("id", &id));
    let (first, rest) = (piece(0), piece(16_000));
    assert_eq!((first["next_offset"].as_u64(), first["total_chars"].as_u64()), (Some(16_000), Some(20_000)));
    assert_eq!(format!("{}{}", text(&first, "content"), text(&rest, "content")), long);
}

#[test]
fn n_15_search_finds_words_phrases_prefixes_near_spellings_and_filters() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let id = note(
        &ada,
        "The borrow checker rejects running programs",
        json!({ "title": "NLL", "tags": ["t"], "venture": "alpha" }),
    );
    note(&ada, "Something about checkers and borrowing", json!({ "venture": "beta" }));
    let put = Call::new("doc.put", json!({ "content": "# Lifetimes\n\nA borrow lives long." }));
    ada.ok(&put.param("scope", "alpha").param("name", "lifetimes.md"));
    found(&ada, &json!({ "q": "borrow" }), |reply| reply["total"] == 3);
    let hits = |query: Value| -> Vec<String> {
        let reply = ada.do_("search", query);
        reply["items"].as_array().unwrap().iter().map(|hit| text(hit, "id").to_owned()).collect()
    };
    assert_eq!(hits(json!({ "q": "\"borrow checker\"" })), [id.clone()]);
    assert_eq!(hits(json!({ "q": "run program" })), [id.clone()], "stems");
    assert_eq!(hits(json!({ "q": "reje*" })), [id.clone()]);
    assert_eq!(hits(json!({ "q": "cheker~", "venture": "alpha", "include_global": false })), [id.clone()]);
    assert_eq!(hits(json!({ "q": "borrow", "kinds": ["doc"] })), ["alpha/lifetimes.md"]);
    assert_eq!(hits(json!({ "q": "borrow", "tags": ["t"] })), [id.clone()]);
    assert_eq!(hits(json!({ "q": "borrow", "until": "2020-01-01T00:00:00Z" })), Vec::<String>::new());
    let hit = ada.do_("search", json!({ "q": "rejects" }))["items"][0].clone();
    let (from, to) = (hit["highlights"][0][0].as_u64().unwrap(), hit["highlights"][0][1].as_u64().unwrap());
    let marked: String = text(&hit, "snippet").chars().skip(from as usize).take((to - from) as usize).collect();
    assert_eq!(marked, "rejects");
    let refused = ada.refused_("search", json!({ "q": " !! ", "limit": 0, "status": "open" }));
    let fields: Vec<&str> = refused.details.iter().map(|detail| detail.field.as_str()).collect();
    assert_eq!(fields, ["q", "limit", "status"]);
    assert!(refused.details[0].message.contains("position 1"), "{refused:?}");
    change(&ada, "note.archive", &id, json!({}));
    found(&ada, &json!({ "q": "rejects" }), |reply| reply["total"] == 0);
    assert_eq!(hits(json!({ "q": "rejects", "include_archived": true })), [id]);
}

/// what every start injects is written by those who may write for every venture.
#[test]
fn r_05_a_token_of_one_venture_makes_no_note_everybodys() {
    let sandbox = ready();
    let (_daemon, address) = start_with_http(&sandbox);
    let ada = person(&sandbox);
    let secret = token_of_alpha(&ada);
    let asked = |call: &Call| by_token(&address, &secret, call);
    let input = json!({
        "content": "x", "tags": ["executive-summary"], "venture": "alpha", "human_requested": true,
    });
    let id = text(&asked(&Call::new("note.create", input)).unwrap(), "id").to_owned();
    let update = |mut input: Value| {
        input["human_requested"] = json!(true);
        asked(&Call::new("note.update", input).param("id", &id))
    };
    for venture in [Value::Null, json!("beta")] {
        assert_eq!(update(json!({ "venture": venture })), Err(ErrorCode::Forbidden), "{venture}");
    }
    assert_eq!(get(&ada, &id)["venture"], "alpha");
    assert!(update(json!({ "title": "t", "venture": "alpha" })).is_ok());
    change(&ada, "note.update", &id, json!({ "venture": null }));
    assert!(get(&ada, &id)["venture"].is_null());
}

/// nor does it move one by ending a conflict, whichever of the values it takes.
#[test]
fn r_05_a_token_of_one_venture_moves_no_note_by_ending_a_conflict() {
    let mac = ready();
    let (mut mac_daemon, address) = start_with_http(&mac);
    let laptop = join(&mac, "laptop", &[]);
    let mut laptop_daemon = Daemon::start(&laptop);
    let equal = || {
        for machine in [&mac, &laptop] {
            node(machine, "both are equal", |reply| connected(reply, 1));
        }
    };
    equal();
    let ada = person(&mac);
    let (id, secret) = (note(&ada, "x", json!({})), token_of_alpha(&ada));
    equal();
    laptop_daemon.stop();
    change(&ada, "note.update", &id, json!({ "venture": "beta" }));
    mac_daemon.stop();
    laptop_daemon.restart();
    change(&person(&laptop), "note.update", &id, json!({ "venture": "alpha" }));
    mac_daemon.restart();
    equal();
    let shown = get(&ada, &id);
    assert_eq!((&shown["venture"], &shown["conflicts"][0]["field"]), (&json!("alpha"), &json!("venture")), "{shown}");
    assert_eq!(shown["conflicts"][0]["values"][1]["value"], "beta", "{shown}");

    let resolve = |operation: &str, mut input: Value| {
        input["field"] = json!("venture");
        input["human_requested"] = json!(true);
        by_token(&address, &secret, &Call::new(operation, input).param("id", &id))
    };
    for operation in ["note.resolve", "record.resolve"] {
        for input in [json!({ "pick": 2 }), json!({ "value": "beta" }), json!({ "value": "no-venture" })] {
            assert_eq!(resolve(operation, input.clone()), Err(ErrorCode::Forbidden), "{operation} {input}");
        }
    }
    let values = get(&ada, &id)["conflicts"][0]["values"].as_array().map(Vec::len);
    assert_eq!(values, Some(2), "nobody has chosen");
    assert_eq!(resolve("note.resolve", json!({ "pick": 1 })).unwrap()["value"], "alpha");
}
