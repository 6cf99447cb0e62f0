//! The gate: correlation, idempotency, rate limit, request log, limits of size, the event stream, the description.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use ctxnode_api::operations::{ChangeView, EventQuery};
use ctxnode_api::{Call, Client, ClientError, Endpoint, ErrorCode, ROUTES, headers};
use serde_json::{Value, json};

use crate::support::{
    SOON, agent, alpha_repo, block_on, ctxnode, person, printed, ready, start, start_with_http, text,
};

const KEY: &str = "test-key-0123456789-0123456789";

fn note(content: &str) -> Call {
    Call::new("note.create", json!({ "content": content, "human_requested": true }))
}

#[test]
fn a_10_every_answer_names_its_call() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let ada = person(&sandbox);
    let own = "corr_00000000-0000-4000-8000-000000000001";
    let said = |headers: &[(&'static str, &str)]| {
        let answer = ada.ask_with(&Call::new("plan.get", json!({})), headers).unwrap();
        answer.headers[headers::CORRELATION_ID].to_str().unwrap().to_owned()
    };
    assert_eq!(said(&[(headers::CORRELATION_ID, own)]), own);
    for operation in ["plan.get", "note.list", "node", "peer.wake", "sod"] {
        let input =
            if operation == "sod" { json!({ "venture": "alpha", "repo": "alpha-org/console" }) } else { json!({}) };
        let answer = ada.ask_with(&Call::new(operation, input), &[(headers::CORRELATION_ID, own)]).unwrap();
        assert_eq!(answer.body["correlation_id"], own, "{operation}");
    }
    assert!(said(&[(headers::CORRELATION_ID, "nonsense")]).starts_with("corr_"));
    let refused = ada.ask_with(&Call::new("search", json!({})), &[(headers::CORRELATION_ID, own)]);
    let Err(ClientError::Refused(refused)) = refused else { panic!("{refused:?}") };
    assert_eq!(refused.correlation_id.as_str(), own);
    // The log has the refusal too, and no content.
    ada.ok(&note("the secret life of quokkas"));
    let log = ada.do_("request-log", json!({}));
    assert!(
        log["items"].as_array().unwrap().iter().any(|row| row["correlation_id"] == own && row["status"] == 400),
        "{log}"
    );
    assert!(!log.to_string().contains("quokkas"));
}

#[test]
fn a_01_a_02_a_key_makes_a_call_happen_once_even_across_a_crash() {
    let sandbox = ready();
    let mut daemon = start(&sandbox);
    let ada = person(&sandbox);
    let send = |call: &Call| ada.ask_with(call, &[(headers::IDEMPOTENCY_KEY, KEY)]);
    let first = send(&note("once")).unwrap();
    daemon.kill();
    daemon.restart();
    let second = send(&note("once")).unwrap();
    // The body is told again as it was; the header names the call that asked.
    assert_eq!(second.body["correlation_id"], first.headers[headers::CORRELATION_ID].to_str().unwrap());
    assert_ne!(second.headers[headers::CORRELATION_ID], first.headers[headers::CORRELATION_ID]);
    assert_eq!((&second.body, second.idempotency_hit, second.status), (&first.body, true, first.status));
    assert_eq!(ada.do_("note.list", json!({}))["total"], 1);
    let refused = |call: &Call, key: &str| match ada.ask_with(call, &[(headers::IDEMPOTENCY_KEY, key)]) {
        Err(ClientError::Refused(body)) => body.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&note("other"), KEY), ErrorCode::IdempotencyMismatch);
    assert_eq!(refused(&note("x"), "short"), ErrorCode::InvalidIdempotencyKey);
    assert_eq!(ada.do_("note.list", json!({}))["total"], 1);
}

#[test]
fn a_key_in_the_body_does_the_same() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let claude = agent(&sandbox, "claude-mac-1", repo.path());
    claude.do_("sod", json!({}));
    let input = json!({ "status": "done", "accomplished": ["x"], "keep_open": true, "update_id": KEY });
    let (first, second) = (claude.do_("eod", input.clone()), claude.do_("eod", input));
    assert_eq!(first, second);
    assert_eq!(claude.do_("handoff.list", json!({}))["total"], 1);
}

/// Sends a request as it stands and returns the head of the answer, whether or not that has an end.
fn head_of(mut stream: impl std::io::Read + std::io::Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let (mut head, mut byte) = (Vec::new(), [0_u8]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// The status of an answer.
fn status_of(head: &str) -> u16 {
    head[9..12].parse().unwrap()
}

/// Who has no token is told so before its body is read, and what it sends stands in no log.
#[test]
fn of_a_stranger_neither_a_body_nor_a_word_is_taken() {
    let sandbox = ready();
    let (_daemon, address) = start_with_http(&sandbox);
    let send = |request: &str, rest: &str| {
        let stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        status_of(&head_of(stream, &format!("{request} HTTP/1.1\r\nHost: {address}\r\n{rest}\r\n")))
    };
    // It announces a body, and does not send it.
    assert_eq!(send("POST /v1/notes", "Content-Length: 100000\r\n"), 401);
    let word = "quokka".repeat(100);
    assert_eq!(send(&format!("GET /v1/notes?venture={word}&repo={word}"), ""), 401);
    let log = person(&sandbox).do_("request-log", json!({ "status": 401 }));
    assert_eq!((&log["total"], log.to_string().contains("quokka")), (&json!(2), false), "{log}");
}

#[test]
fn a_14_the_hundred_and_first_call_of_a_minute_is_refused() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let claude = agent(&sandbox, "claude-mac-1", &sandbox.dev_dir());
    let call = Call::new("plan.get", json!({}));
    let mut refused = None;
    // The minute may turn in between, and then counting begins again.
    for _ in 0..202 {
        match claude.ask(&call) {
            Ok(answer) => assert_eq!(answer.headers[headers::RATE_LIMIT], "100"),
            Err(ClientError::Refused(body)) => {
                refused = Some(body);
                break;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    let refused = refused.unwrap();
    assert_eq!(refused.code, ErrorCode::RateLimited);
    assert!((1..=60).contains(&refused.retry_after_seconds.unwrap()));
    // Another caller is not affected, and neither is whoever needs no credential.
    person(&sandbox).do_("plan.get", json!({}));
    claude.do_("health", json!({}));
}

#[test]
fn a_12_a_18_too_large_bad_json_and_unknown_routes_are_told_apart() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let send = |request: &str, body: &[u8]| -> (u16, Value) {
        use std::io::{Read as _, Write as _};
        let mut stream = std::os::unix::net::UnixStream::connect(sandbox.socket()).unwrap();
        let head =
            format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).unwrap();
        // The answer may come before all was sent.
        let _ = stream.write_all(body);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
    };
    let (status, body) = send("POST /v1/update", &vec![b' '; 2 << 20]);
    assert_eq!((status, text(&body, "code")), (413, "too_large"));
    let (status, body) = send("POST /v1/update", b"{\"a\":1,\"a\":2}");
    assert_eq!((status, text(&body, "code")), (400, "bad_json"));
    let (status, body) = send("GET /v1/nothing", b"");
    assert_eq!((status, text(&body, "code")), (404, "unknown_route"));
    assert_eq!(person(&sandbox).do_("health", json!({}))["status"], "ok");
}

#[test]
fn the_description_lists_every_operation() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let described = person(&sandbox).do_("openapi", json!({}));
    for route in ROUTES {
        let method = route.method.name().to_lowercase();
        assert!(described["paths"][route.path][&method].is_object(), "{} {}", route.method.name(), route.path);
    }
}

#[test]
fn a_change_is_announced_to_those_who_listen() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let client = Client::new(Endpoint::Socket(sandbox.socket()));
    let data = block_on(async {
        let mut events = client.events(&EventQuery::default(), None).await.unwrap();
        let mut writer = Client::new(Endpoint::Socket(sandbox.socket()));
        let made = writer.call(&note("x")).await.unwrap();
        let id = text(&made.body, "id").to_owned();
        loop {
            let event = events.next().await.unwrap().unwrap();
            if event.data.contains(&id) {
                return event.data;
            }
        }
    });
    assert!(!data.contains("content"), "{data}");
}

/// A listener learns of the daemon's end by the end of the stream, and holds up no stop until calls are cut off.
#[test]
fn a_stream_of_events_ends_with_the_daemon() {
    let sandbox = ready();
    let mut daemon = start(&sandbox);
    let client = || Client::new(Endpoint::Socket(sandbox.socket()));
    block_on(async {
        let mut events = client().events(&EventQuery::default(), None).await.unwrap();
        client().call(&Call::new("node.stop", json!({}))).await.unwrap();
        // One that is cut off is an error.
        while events.next().await.unwrap().is_some() {}
    });
    assert!(daemon.wait_for_exit().success());
}

#[test]
fn a_listener_hears_of_the_venture_that_it_asked_for_alone() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let client = || Client::new(Endpoint::Socket(sandbox.socket()));
    let told = block_on(async {
        let query = EventQuery { venture: Some("alpha".to_owned()), ..EventQuery::default() };
        let mut events = client().events(&query, None).await.unwrap();
        let (mut writer, mut last) = (client(), String::new());
        for venture in [json!("beta"), Value::Null, json!("alpha")] {
            let input = json!({ "content": "x", "venture": venture, "human_requested": true });
            let made = writer.call(&Call::new("note.create", input)).await.unwrap();
            text(&made.body, "id").clone_into(&mut last);
        }
        let mut told: Vec<ChangeView> = Vec::new();
        while told.last().is_none_or(|change| change.id != last) {
            let event = events.next().await.unwrap().unwrap();
            told.push(serde_json::from_str(&event.data).unwrap());
        }
        told
    });
    assert!(told.iter().all(|change| change.venture.as_deref() == Some("alpha")), "{told:?}");
}

/// The stream passes the gate as every call does: what it asks for is checked, it is counted, and it stands in the log.
#[test]
fn a_stream_is_let_in_like_any_call() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let open = |query: &str| {
        let stream = UnixStream::connect(sandbox.socket()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        head_of(stream, &format!("GET /v1/events/stream{query} HTTP/1.1\r\nHost: x\r\n\r\n"))
    };
    for (query, status) in [("?color=red", 400), ("?limit=5", 400), ("?venture=alhpa", 404), ("?venture=alpha", 200)] {
        let head = open(query);
        assert_eq!(status_of(&head), status, "{query}: {head}");
        assert!(head.contains(headers::CORRELATION_ID) && head.contains(headers::RATE_REMAINING), "{query}: {head}");
    }
    let log = person(&sandbox).do_("request-log", json!({ "operation": "event.stream" }));
    let mut rows: Vec<(u64, Option<&str>)> = log["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["status"].as_u64().unwrap(), row["venture"].as_str()))
        .collect();
    rows.sort_unstable();
    assert_eq!(rows, [(200, Some("alpha")), (400, None), (400, None), (404, Some("alhpa"))], "{log}");
}

/// Whoever opened a stream with a token that is revoked since is told nothing more, and the stream ends.
#[test]
fn a_stream_of_events_ends_with_the_token_that_opened_it() {
    let sandbox = ready();
    let (_daemon, address) = start_with_http(&sandbox);
    let made = person(&sandbox).do_("token.create", json!({ "name": "t", "right": "reader" }));
    let token = text(&made, "secret").to_owned();
    let listener = Client::new(Endpoint::Tcp { address: address.parse().unwrap(), token });
    block_on(async {
        let mut events = listener.events(&EventQuery::default(), None).await.unwrap();
        let mut admin = Client::new(Endpoint::Socket(sandbox.socket()));
        admin.call(&Call::new("token.revoke", json!({})).param("id", text(&made, "id"))).await.unwrap();
        let secret = admin.call(&note("x")).await.unwrap();
        while let Some(event) = events.next().await.unwrap() {
            assert!(!event.data.contains(text(&secret.body, "id")), "{event:?}");
        }
    });
}

#[test]
fn who_comes_back_to_a_stream_is_told_that_it_may_have_missed_changes() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let client = Client::new(Endpoint::Socket(sandbox.socket()));
    let first = block_on(async {
        let mut events = client.events(&EventQuery::default(), Some("1")).await.unwrap();
        events.next().await.unwrap().unwrap()
    });
    assert_eq!(first.kind, "lagged");
}

/// What is described of the stream is what it sends.
#[test]
fn the_description_says_what_a_stream_sends() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let described = person(&sandbox).do_("openapi", json!({}));
    let answer = &described["paths"]["/v1/events/stream"]["get"]["responses"]["200"];
    let name = text(&answer["content"]["text/event-stream"]["schema"], "$ref").rsplit('/').next().unwrap();
    let fields = described["components"]["schemas"][name]["properties"].as_object().unwrap();
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["kind", "id", "venture"]);
}

#[test]
fn the_command_line_prints_the_object_and_ends_with_its_codes() {
    let sandbox = ready();
    let run = |arguments: &[&str]| {
        let output = ctxnode(&sandbox, arguments);
        (output.status.code().unwrap(), printed(&output))
    };
    assert_eq!(run(&["--no-autostart", "plan", "show"]).0, 3);
    assert_eq!(run(&["no-such-command"]).0, 2);
    let _daemon = start(&sandbox);
    let (code, shown) = run(&["plan", "show", "--json"]);
    let mut plan: Value = serde_json::from_str(&shown).unwrap();
    assert!(plan.as_object_mut().unwrap().remove("correlation_id").is_some(), "{plan}");
    assert_eq!((code, &plan), (0, &person(&sandbox).do_("plan.get", json!({}))));
    let (code, shown) = run(&["note", "show", "note_00000000000000000000000000", "--json"]);
    let error: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((code, text(&error, "code")), (1, "not_found"));
    assert_eq!(run(&["init"]).0, 1);
    let (code, shown) = run(&["doctor", "--json"]);
    let report: Value = serde_json::from_str(&shown).unwrap();
    assert!(code != 1 && report["checks"].as_array().unwrap().iter().all(|check| check["state"] != "fail"), "{report}");
}

#[test]
fn a_13_the_log_has_a_row_for_every_call_that_came() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let claude = agent(&sandbox, "claude-mac-1", &sandbox.dev_dir());
    (0..20).for_each(|n| drop(claude.ok(&note(&format!("n {n}")))));
    (0..5).for_each(|_| drop(claude.refused(&note(""))));
    let log = person(&sandbox).do_("request-log", json!({ "agent": "claude-mac-1", "limit": 100 }));
    let rows = log["items"].as_array().unwrap();
    let with = |status: u16| rows.iter().filter(|row| row["status"] == status).count();
    assert_eq!((log["total"].as_u64(), with(201), with(400)), (Some(25), 20, 5), "{log}");
    for row in rows {
        assert_eq!(text(row, "operation"), "note.create");
        assert!(text(row, "correlation_id").starts_with("corr_") && row["duration_ms"].is_u64(), "{row}");
    }
}
