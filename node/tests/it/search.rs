//! Search: what is found, how soon, by whom, and what a bad query is told. The language itself is tested in `notes`.

use ctxnode_api::{Call, ErrorCode};
use serde_json::{Value, json};

use crate::support::{Who, agent, alpha_repo, found, person, ready, start, start_with_http, text};

fn note(who: &Who<'_>, content: &str, more: Value) -> String {
    let mut input = json!({ "content": content, "human_requested": true });
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    text(&who.do_("note.create", input), "id").to_owned()
}

fn ids(reply: &Value) -> Vec<String> {
    reply["items"].as_array().unwrap().iter().map(|hit| text(hit, "id").to_owned()).collect()
}

#[test]
fn n_14_what_was_written_is_found_and_what_was_changed_is_found_no_more() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let id = note(&ada, "The wombat digs", json!({ "title": "Marsupials" }));
    for word in ["wombat", "marsupials"] {
        assert_eq!(ids(&found(&ada, &json!({ "q": word }), |reply| reply["total"] == 1)), [id.clone()], "{word}");
    }
    let changed = json!({ "content": "The numbat digs", "human_requested": true });
    ada.ok(&Call::new("note.update", changed).param("id", &id));
    found(&ada, &json!({ "q": "numbat" }), |reply| reply["total"] == 1);
    assert_eq!(ada.do_("search", json!({ "q": "wombat" }))["total"], 0);
    ada.ok(&Call::new("note.delete", json!({})).param("id", &id));
    found(&ada, &json!({ "q": "numbat" }), |reply| reply["total"] == 0);
}

#[test]
fn n_15_every_other_character_is_literal() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let both = note(&ada, "Here foo comes before bar", json!({}));
    let phrase = note(&ada, "Here is foo bar", json!({}));
    note(&ada, "Only foo", json!({}));
    found(&ada, &json!({ "q": "foo" }), |reply| reply["total"] == 3);
    let mut words = ids(&ada.do_("search", json!({ "q": "foo bar" })));
    words.sort();
    let mut wanted = vec![both, phrase.clone()];
    wanted.sort();
    assert_eq!(words, wanted);
    assert_eq!(ids(&ada.do_("search", json!({ "q": "\"foo bar\"" }))), [phrase]);
    for literal in ["foo) OR (1", "foo AND NOT title:x", "foo^2 [a TO b]", "\"foo", "foo\\"] {
        assert!(ada.ask(&Call::new("search", json!({ "q": literal }))).is_ok(), "{literal}");
    }
    assert_eq!(ada.do_("search", json!({ "q": "foo) OR (1" }))["total"], 0);
}

#[test]
fn n_15_a_bad_query_names_every_field() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let refused = ada.refused_("search", json!({ "q": "x".repeat(501), "limit": 101, "cursor": "broken" }));
    let fields: Vec<&str> = refused.details.iter().map(|detail| detail.field.as_str()).collect();
    assert_eq!((refused.code, fields), (ErrorCode::ValidationFailed, vec!["q", "limit", "cursor"]));
    assert!(refused.details[0].message.contains("501"), "{refused:?}");
    assert_eq!(ada.refused_("search", json!({})).details[0].field, "q");
    assert_eq!(ada.refused_("search", json!({ "q": "x", "venture": "alpa" })).code, ErrorCode::UnknownVenture);
    assert!(ada.ask(&Call::new("search", json!({ "q": "x".repeat(500) }))).is_ok());
}

#[test]
fn n_16_pages_hold_every_hit_once_and_each_leads_to_a_read() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let mut wanted: Vec<String> = (0..7).map(|n| note(&ada, &format!("wombat number {n}"), json!({}))).collect();
    found(&ada, &json!({ "q": "wombat" }), |reply| reply["total"] == 7);
    let (mut seen, mut cursor) = (Vec::new(), Value::Null);
    for page in 0..3 {
        let mut query = json!({ "q": "wombat", "limit": 3 });
        if !cursor.is_null() {
            query["cursor"] = cursor.clone();
        }
        let reply = ada.do_("search", query);
        assert_eq!((&reply["total"], &reply["has_more"]), (&json!(7), &json!(page < 2)), "{reply}");
        seen.extend(ids(&reply));
        cursor = reply["next_cursor"].clone();
    }
    seen.sort();
    wanted.sort();
    assert_eq!(seen, wanted);
    for id in &seen {
        let read = ada.ok(&Call::new("note.get", json!({})).param("id", id));
        assert!(text(&read, "content").contains("wombat"));
    }
}

#[test]
fn n_17_filters_by_kind_venture_tag_status_and_time() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let in_alpha = note(&ada, "wombat", json!({ "venture": "alpha", "tags": ["prd"] }));
    let in_beta = note(&ada, "wombat", json!({ "venture": "beta", "tags": ["prd-draft"] }));
    let global = note(&ada, "wombat", json!({}));
    let put = Call::new("doc.put", json!({ "content": "# Wombat" })).param("scope", "global").param("name", "w.md");
    ada.ok(&put);
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    claude.do_("sod", json!({}));
    let handed = claude.do_("eod", json!({ "status": "blocked", "blocked": ["the wombat sleeps"] }));
    let handoff = text(&handed, "handoff_id").to_owned();
    found(&ada, &json!({ "q": "wombat" }), |reply| reply["total"] == 5);
    let hits = |more: Value| {
        let mut query = json!({ "q": "wombat" });
        query.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut hits = ids(&ada.do_("search", query));
        hits.sort();
        hits
    };
    let sorted = |list: &[&str]| {
        let mut list: Vec<String> = list.iter().map(|id| (*id).to_owned()).collect();
        list.sort();
        list
    };
    assert_eq!(hits(json!({ "kinds": ["handoff"] })), sorted(&[&handoff]));
    assert_eq!(hits(json!({ "kinds": ["doc", "handoff"] })), sorted(&[&handoff, "global/w.md"]));
    assert_eq!(hits(json!({ "venture": "beta", "include_global": false })), sorted(&[&in_beta]));
    assert_eq!(hits(json!({ "venture": "beta" })), sorted(&[&in_beta, &global, "global/w.md"]));
    assert_eq!(hits(json!({ "tags": ["prd"] })), sorted(&[&in_alpha]), "a tag matches whole");
    assert_eq!(hits(json!({ "status": "blocked", "kinds": ["handoff"] })), sorted(&[&handoff]));
    assert_eq!(hits(json!({ "status": "done", "kinds": ["handoff"] })), sorted(&[]));
    assert_eq!(hits(json!({ "repo": "alpha-org/console", "kinds": ["handoff"] })), sorted(&[&handoff]));
    assert_eq!(hits(json!({ "since": "2000-01-01T00:00:00Z" })).len(), 5);
    assert_eq!(hits(json!({ "until": "2000-01-01T00:00:00Z" })), sorted(&[]));
}

#[test]
fn n_15_a_title_ranks_above_a_body_and_a_superseded_handoff_is_marked() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let titled = note(&ada, "An animal of the forest", json!({ "title": "wombat" }));
    note(&ada, "A wombat of the forest", json!({ "title": "animal" }));
    let reply = found(&ada, &json!({ "q": "wombat" }), |reply| reply["total"] == 2);
    assert_eq!(ids(&reply)[0], titled);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    let hand_off = |what: &str| {
        claude.do_("sod", json!({ "issue": 4 }));
        let stored = claude.do_("eod", json!({ "status": "done", "accomplished": [format!("quoll {what}")] }));
        text(&stored, "handoff_id").to_owned()
    };
    let (older, newer) = (hand_off("first"), hand_off("second"));
    let marked = |reply: &Value, id: &str| {
        let hit = reply["items"].as_array().unwrap().iter().find(|hit| text(hit, "id") == id).cloned();
        hit.map(|hit| hit["superseded"].clone())
    };
    let both =
        |reply: &Value| marked(reply, &older) == Some(json!(true)) && marked(reply, &newer) == Some(json!(false));
    found(&ada, &json!({ "q": "quoll" }), both);
}

#[test]
fn n_14_a_snippet_is_short_and_its_highlights_are_whole_characters() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    note(&ada, &format!("{} wombat {}", "ä😀 ".repeat(300), "漢字 ".repeat(300)), json!({}));
    let reply = found(&ada, &json!({ "q": "wombat" }), |reply| reply["total"] == 1);
    let hit = &reply["items"][0];
    let snippet: Vec<char> = text(hit, "snippet").chars().collect();
    assert!(snippet.len() <= 200, "{}", snippet.len());
    let mark = |at: usize| usize::try_from(hit["highlights"][0][at].as_u64().unwrap()).unwrap();
    assert_eq!(snippet[mark(0)..mark(1)].iter().collect::<String>(), "wombat");
}

#[test]
fn n_14_a_limited_token_finds_only_what_it_may_read() {
    use ctxnode_api::{Client, ClientError, Endpoint};
    let sandbox = ready();
    let (_daemon, address) = start_with_http(&sandbox);
    let ada = person(&sandbox);
    let seen = note(&ada, "wombat", json!({ "venture": "alpha" }));
    note(&ada, "wombat", json!({ "venture": "beta" }));
    found(&ada, &json!({ "q": "wombat" }), |reply| reply["total"] == 2);
    let made = ada.do_("token.create", json!({ "name": "t", "right": "reader", "ventures": ["alpha"] }));
    let ask = |input: Value| {
        let endpoint = Endpoint::Tcp { address: address.parse().unwrap(), token: text(&made, "secret").to_owned() };
        crate::support::block_on(async { Client::new(endpoint).call(&Call::new("search", input)).await })
    };
    let reply = ask(json!({ "q": "wombat" })).unwrap().body;
    assert_eq!((&reply["total"], ids(&reply)), (&json!(1), vec![seen]));
    match ask(json!({ "q": "wombat", "venture": "beta" })) {
        Err(ClientError::Refused(body)) => assert_eq!(body.code, ErrorCode::Forbidden),
        other => panic!("{other:?}"),
    }
}
