//! The client against a scripted server.

use std::path::PathBuf;
use std::time::Duration;

use ctxnode_api::node::{Empty, Health};
use ctxnode_api::notes::{NoteCreate, NoteQuery};
use ctxnode_api::operations::EventQuery;
use ctxnode_api::{Call, Caller, Client, ClientError, Endpoint, ErrorBody, ErrorCode, headers};
use serde_json::json;

use crate::server::{Reply, Server};

const HEALTH: &str = r#"{"status":"ok","service":"ctxnode","version":"1"}"#;

fn client(server: &Server) -> Client {
    Client::new(Endpoint::Socket(server.socket.clone()))
}

fn health(_: usize, _: &crate::server::Seen) -> Reply {
    Reply::Send(200, HEALTH.to_owned())
}

#[tokio::test]
async fn calls_share_one_connection() {
    let server = Server::start(health);
    let mut client = client(&server);
    for _ in 0..3 {
        let answer: Health = client.typed("health", &Empty {}).await.unwrap();
        assert_eq!(answer.service, "ctxnode");
    }
    assert_eq!(server.seen().iter().map(|seen| seen.connection).collect::<Vec<_>>(), [0, 0, 0]);
}

/// M-04: a daemon that was replaced between two calls, or in the middle of one, is not noticed; the repeated call has the
/// same key.
#[tokio::test]
async fn m_04_a_call_that_was_cut_is_sent_again_under_the_same_key() {
    let server = Server::start(|count, _| if count == 1 { Reply::Hang } else { Reply::Send(200, "{}".to_owned()) });
    let mut client = client(&server);
    let create = serde_json::to_value(NoteCreate::default()).unwrap();
    client.call(&Call::new("note.create", create.clone())).await.unwrap();
    client.call(&Call::new("note.create", create)).await.unwrap();
    let seen = server.seen();
    let keys: Vec<&str> = seen.iter().map(|seen| seen.headers[headers::IDEMPOTENCY_KEY].to_str().unwrap()).collect();
    assert_eq!(seen.iter().map(|seen| seen.connection).collect::<Vec<_>>(), [0, 0, 1]);
    assert_ne!(keys[0], keys[1], "another call has another key");
    assert_eq!(keys[1], keys[2], "the same call has the same key");
    assert_eq!(keys[0].len(), 36);
}

#[tokio::test]
async fn a_key_of_the_caller_is_left_alone() {
    let server = Server::start(health);
    let mut client = client(&server);
    let mine = "caller-key-0123456789";
    client.call(&Call::new("heartbeat", json!({"update_id": mine}))).await.unwrap();
    client.call_with(&Call::new("heartbeat", json!({})), &[(headers::IDEMPOTENCY_KEY, mine)]).await.unwrap();
    let seen = server.seen();
    assert!(!seen[0].headers.contains_key(headers::IDEMPOTENCY_KEY));
    let keys: Vec<_> = seen[1].headers.get_all(headers::IDEMPOTENCY_KEY).iter().collect();
    assert_eq!(keys, [mine]);
}

#[tokio::test]
async fn a_read_goes_into_the_address_and_a_write_into_the_body() {
    let server = Server::start(health);
    let mut client = client(&server);
    let query = NoteQuery { tags: vec!["a,b".to_owned(), "c d".to_owned()], limit: Some(5), ..NoteQuery::default() };
    client.call(&Call::new("note.list", serde_json::to_value(&query).unwrap())).await.unwrap();
    client.call(&Call::new("note.archive", json!({"human_requested": true})).param("id", "note_1")).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen[0].uri, "/v1/notes?tags=a%2Cb&tags=c%20d&limit=5");
    assert!(!seen[0].headers.contains_key(headers::IDEMPOTENCY_KEY));
    assert_eq!((seen[1].uri.as_str(), &seen[1].body), ("/v1/notes/note_1/archive", &json!({"human_requested": true})));
}

#[tokio::test]
async fn the_server_learns_who_calls() {
    let server = Server::start(health);
    let caller =
        Caller { agent: Some("claude-m16-1".to_owned()), directory: Some("/é x".to_owned()), ..Caller::default() };
    let mut client = client(&server).with_caller(&caller).unwrap();
    client.call(&Call::new("health", json!({}))).await.unwrap();
    assert_eq!(Caller::from_headers(&server.seen()[0].headers), caller);
}

/// A-12
#[tokio::test]
async fn a_12_a_refusal_arrives_as_the_error_it_is() {
    let server = Server::start(|_, _| {
        let error = ErrorBody::field("title", "is too long").hint("shorten it");
        Reply::Send(error.code.status(), serde_json::to_string(&error).unwrap())
    });
    let error = client(&server).call(&Call::new("health", json!({}))).await.unwrap_err();
    let ClientError::Refused(error) = error else { panic!("{error}") };
    assert_eq!((error.code, error.details[0].field.as_str()), (ErrorCode::ValidationFailed, "title"));
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_named_by_its_socket() {
    let mut client = Client::new(Endpoint::Socket(PathBuf::from("/nowhere/ctxnode.sock")));
    let error = client.call(&Call::new("health", json!({}))).await.unwrap_err();
    assert!(
        matches!(&error, ClientError::Unreachable { endpoint, .. } if endpoint == "/nowhere/ctxnode.sock"),
        "{error}"
    );
}

#[tokio::test]
async fn a_daemon_that_never_answers_is_given_up() {
    let server = Server::start(|_, _| Reply::Wait);
    let limit = Duration::from_millis(50);
    let error = client(&server).with_limit(limit).call(&Call::new("health", json!({}))).await.unwrap_err();
    assert!(matches!(error, ClientError::TooSlow(passed) if passed == limit), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_not_json_is_no_panic() {
    let server = Server::start(|count, _| Reply::Send(if count == 0 { 200 } else { 500 }, "<html>".to_owned()));
    let mut client = client(&server);
    for _ in 0..2 {
        let error = client.call(&Call::new("health", json!({}))).await.unwrap_err();
        assert!(matches!(error, ClientError::Unreadable(_)), "{error}");
    }
}

#[tokio::test]
async fn events_come_one_by_one_and_go_on_after_the_last_seen() {
    let server = Server::start(|_, _| {
        Reply::Send(200, "id: 7\nevent: event\ndata: {}\n\n: quiet\n\nid: 8\ndata: {}\n\n".into())
    });
    let mut stream = client(&server).events(&EventQuery::default(), Some("6")).await.unwrap();
    let mut ids = Vec::new();
    while let Some(event) = stream.next().await.unwrap() {
        ids.extend(event.id);
    }
    assert_eq!(ids, ["7", "8"]);
    let seen = server.seen();
    assert_eq!(
        (seen[0].uri.as_str(), &seen[0].headers[headers::LAST_EVENT_ID]),
        ("/v1/events/stream", &"6".parse().unwrap())
    );
}

/// R-02: a token is in no `Debug` text.
#[test]
fn r_02_no_debug_text_has_the_token() {
    let token = "f".repeat(64);
    let client = Client::new(Endpoint::Tcp { address: "127.0.0.1:4747".parse().unwrap(), token: token.clone() });
    assert!(!format!("{client:?}").contains(&token));
    let created = json!({
        "secret": token, "id": "1", "name": "ci", "right": "admin", "ventures": [], "rate_limit": 100,
        "created_at": "2026-11-23T12:00:00Z",
    });
    let created: ctxnode_api::node::TokenCreated = serde_json::from_value(created).unwrap();
    assert!(!format!("{created:?}").contains(&token));
}
