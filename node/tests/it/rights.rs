//! Rights over TCP: tokens, what each may do, what each sees, and who may not even ask.

use std::io::{Read as _, Write as _};

use ctxnode_api::client::Answer;
use ctxnode_api::operations::EventQuery;
use ctxnode_api::{Call, Client, ClientError, Domain, Endpoint, ErrorBody, ErrorCode, Method, ROUTES, Right, Route};
use ctxnode_testkit::{Daemon, Sandbox, wait_until};
use serde_json::{Value, json};

use crate::fleet::{join, node};
use crate::support::{
    agent, alpha_repo, block_on, ctxnode, found, person, printed, ready, script, start, start_with_http, text,
};

fn endpoint(address: &str, secret: &str) -> Endpoint {
    Endpoint::Tcp { address: address.parse().unwrap(), token: secret.to_owned() }
}

/// Asks over TCP with a secret; returns the whole answer, or the refusal as it came.
fn send(address: &str, secret: &str, call: &Call) -> Result<Answer, Box<ErrorBody>> {
    match block_on(async { Client::new(endpoint(address, secret)).call(call).await }) {
        Ok(answer) => Ok(answer),
        Err(ClientError::Refused(body)) => Err(body),
        Err(error) => panic!("{}: {error:?}", call.operation),
    }
}

/// The same, when the body or the code says all.
fn ask(address: &str, secret: &str, call: &Call) -> Result<Value, ErrorCode> {
    send(address, secret, call).map(|answer| answer.body).map_err(|refused| refused.code)
}

/// Sends a request without a body as it stands, `headers` with a line end after each; returns the status of the answer.
fn status(address: &str, request: &str, headers: &str) -> u16 {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let head = format!("{request} HTTP/1.1\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer[9..12].parse().unwrap()
}

/// the secret is shown once; of all files, logs and peers only the issuing node's store holds its hash.
#[test]
fn r_02_a_secret_is_shown_once_and_only_its_hash_is_kept_where_it_was_issued() {
    let mac = ready();
    let (mut mac_daemon, address) = start_with_http(&mac);
    let laptop = join(&mac, "laptop", &["--role", "admin"]);
    let mut laptop_daemon = Daemon::start(&laptop);
    let ada = person(&mac);
    let made = ada.do_("token.create", json!({ "name": "t", "right": "admin" }));
    let secret = text(&made, "secret");
    let hash = ctxnode_model::rules::canonical::sha256_hex(secret.as_bytes());
    assert_eq!(text(&made, "id"), &hash[..16]);
    let note = json!({ "content": "by token", "human_requested": true });
    let note = ask(&address, secret, &Call::new("note.create", note)).unwrap();
    assert!(ask(&address, secret, &Call::new("note.get", json!({})).param("id", "no id")).is_err());
    let listed = [ada.do_("token.list", json!({})), ada.do_("request-log", json!({ "limit": 100 }))];
    assert!(listed[0]["total"] == 1 && listed.iter().all(|list| !list.to_string().contains(secret)), "{listed:?}");
    assert!(ctxnode(&mac, &["backup"]).status.success());
    let there = Call::new("note.get", json!({})).param("id", text(&note, "id"));
    wait_until(crate::support::SOON, "what it wrote is with the peer", || script(&laptop).ask(&there).is_ok());
    assert_eq!(person(&laptop).do_("token.list", json!({}))["total"], 0);
    // Whatever was in memory is in files.
    mac_daemon.stop();
    laptop_daemon.stop();
    let holding = |sandbox: &Sandbox, wanted: &str| -> Vec<String> {
        let found = std::process::Command::new("grep").args(["-rlaF", wanted]).arg(sandbox.root()).output().unwrap();
        let ending = |path: &str| path.rsplit(['/', '.']).next().unwrap_or_default().to_owned();
        let mut endings: Vec<String> = printed(&found).lines().map(ending).collect();
        endings.dedup();
        endings
    };
    assert_eq!([holding(&mac, secret), holding(&laptop, secret)], [Vec::<String>::new(), Vec::new()]);
    assert_eq!(holding(&mac, &hash), ["redb"], "the store and its backup");
    assert_eq!(holding(&laptop, &hash), Vec::<String>::new());
}

/// a token that is unknown, revoked or expired is refused from the next call on, with the reason; others go on.
#[test]
fn r_03_a_token_that_is_unknown_revoked_or_expired_opens_nothing_and_is_told_why() {
    let sandbox = ready();
    let (_daemon, address) = start_with_http(&sandbox);
    let ada = person(&sandbox);
    let plan = Call::new("plan.get", json!({}));
    let refusal = |secret: &str| {
        let refused = send(&address, secret, &plan).err()?;
        Some((refused.code.status(), refused.message))
    };
    let why = |reason: &str| Some((401, format!("the token is {reason}")));
    assert_eq!(ask(&address, "", &plan), Err(ErrorCode::Unauthorized));
    assert_eq!(refusal(&"0".repeat(64)), why("unknown"));
    let token = |name: &str| ada.do_("token.create", json!({ "name": name, "right": "reader" }));
    let (gone, stays) = (token("gone"), token("stays"));
    let brief =
        ada.do_("token.create", json!({ "name": "brief", "right": "reader", "ttl_seconds": 1, "rate_limit": 1_000 }));
    assert_eq!([refusal(text(&gone, "secret")), refusal(text(&stays, "secret"))], [None, None]);
    ada.ok(&Call::new("token.revoke", json!({})).param("id", text(&gone, "id")));
    assert_eq!(refusal(text(&gone, "secret")), why("revoked"));
    wait_until(crate::support::SOON, "it has expired", || refusal(text(&brief, "secret")) == why("expired"));
    assert_eq!(refusal(text(&stays, "secret")), None);
    // Health needs no credential.
    assert!(ask(&address, "", &Call::new("health", json!({}))).is_ok());
}

/// A call that is refused after its right was checked, and before anything happens: it has an unknown field.
fn refusable(route: &Route) -> Call {
    let mut call = Call::new(route.operation, json!({ "no_such_field": 1 }));
    for part in route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
        call = call.param(part, "x");
    }
    call
}

/// whoever owns a machine runs it, whatever its role in the fleet is; what is the fleet's needs the role.
#[test]
fn r_01_what_is_the_machines_own_affair_needs_no_right_in_the_fleet() {
    let mac = ready();
    let _mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &["--role", "writer"]);
    let _laptop_daemon = Daemon::start(&laptop);
    for role in [Right::Writer, Right::Reader] {
        if role == Right::Reader {
            let done = ctxnode(&mac, &["role", "laptop", "reader"]);
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
        node(&laptop, "the role is known", |reply| reply["role"] == role.name());
        for route in ROUTES.iter().filter(|route| route.form == ctxnode_api::Form::Json) {
            let needed = if route.domain == Domain::Machine { Right::None } else { route.right };
            let code = script(&laptop).refused(&refusable(route)).code;
            let expected = if role >= needed { ErrorCode::ValidationFailed } else { ErrorCode::Forbidden };
            assert_eq!(code, expected, "{} on a {}", route.operation, role.name());
        }
        // By typing, as its owner does.
        let started = |sandbox| text(&person(sandbox).do_("node", json!({})), "started_at").to_owned();
        let before = started(&laptop);
        for words in
            [&["daemon", "handover"][..], &["backup"], &["check"], &["log"], &["token", "list"], &["fleet", "sync"]]
        {
            let done = ctxnode(&laptop, words);
            assert!(done.status.success(), "{words:?}: {}{}", printed(&done), String::from_utf8_lossy(&done.stderr));
        }
        assert_ne!(started(&laptop), before, "another daemon runs");
    }
    let local: Vec<&str> =
        ROUTES.iter().filter(|route| route.domain == Domain::Machine).map(|route| route.operation).collect();
    let named = [
        "node.check",
        "node.backup",
        "node.export",
        "node.stop",
        "node.handover",
        "peer.wake",
        "alert.acknowledge",
        "field.on",
        "field.off",
        "invite.list",
        "invite.withdraw",
        "token.list",
        "token.create",
        "token.revoke",
        "request-log",
    ];
    assert_eq!(local, named);
}

/// R-01 without a credential: 401 for every operation over TCP, but for the one that says that the daemon is there.
#[test]
fn r_01_without_a_credential_nothing_but_health_is_answered() {
    let sandbox = ready();
    let (_daemon, address) = start_with_http(&sandbox);
    let host = format!("Host: {address}\r\n");
    for route in ROUTES {
        let request = format!("{} {}", route.method.name(), route.fill(&refusable(route).params));
        let expected = if route.operation == "health" { 200 } else { 401 };
        assert_eq!(status(&address, &request, &host), expected, "{request}");
    }
}

/// R-01 with one: for every operation and right, 403 exactly where the right is too low.
#[test]
fn r_01_the_matrix_of_rights() {
    let sandbox = ready();
    let (_daemon, address) = start_with_http(&sandbox);
    let ada = person(&sandbox);
    for right in [Right::Reader, Right::Writer, Right::Admin] {
        let input = json!({ "name": right.name(), "right": right.name(), "rate_limit": 1_000 });
        let made = ada.do_("token.create", input);
        for route in ROUTES {
            if route.form == ctxnode_api::Form::EventStream {
                // It never ends: that it opens is the answer.
                let client = Client::new(endpoint(&address, text(&made, "secret")));
                let opened = block_on(async { client.events(&EventQuery::default(), None).await.is_ok() });
                assert_eq!(opened, right >= route.right, "{} as {}", route.operation, right.name());
                continue;
            }
            let code = ask(&address, text(&made, "secret"), &refusable(route)).err();
            let expected =
                if right >= route.right { Some(ErrorCode::ValidationFailed) } else { Some(ErrorCode::Forbidden) };
            let expected = if route.right == Right::None { Some(ErrorCode::ValidationFailed) } else { expected };
            assert_eq!(code, expected, "{} as {}", route.operation, right.name());
        }
    }
    assert!(ROUTES.iter().any(|route| route.method == Method::Delete));
}

fn doc(operation: &str, scope: &str, input: Value) -> Call {
    Call::new(operation, input).param("scope", scope).param("name", "quokka.md")
}

/// a token of one venture sees nothing of another, in no list, search or count, and writes nothing there; what is global
/// it reads and does not write.
#[test]
fn r_04_a_limited_token_sees_and_writes_only_its_venture() {
    let sandbox = ready();
    let (_daemon, address) = start_with_http(&sandbox);
    let ada = person(&sandbox);
    let note = |about: &str, venture: Option<&str>| {
        let content = format!("quokka of {about}");
        let input = json!({ "content": content, "venture": venture, "tags": ["quokka"], "human_requested": true });
        text(&ada.do_("note.create", input), "id").to_owned()
    };
    let [of_alpha, of_beta] = ["alpha", "beta"].map(|venture| {
        ada.ok(&doc("doc.put", venture, json!({ "content": format!("# Quokka of {venture}") })));
        let start = json!({
            "agent": format!("claude-x-{venture}"), "venture": venture, "repo": format!("{venture}-org/console"),
        });
        let session = text(&ada.do_("sod", start), "session_id").to_owned();
        (note(venture, Some(venture)), session)
    });
    let of_all = note("all", None);
    ada.ok(&doc("doc.put", "global", json!({ "content": "# Quokka of all" })));
    let made = ada.do_("token.create", json!({ "name": "t", "right": "admin", "ventures": ["alpha"] }));
    let secret = text(&made, "secret").to_owned();
    let asked = |operation: &str, input: Value| ask(&address, &secret, &Call::new(operation, input));
    let with_id = |operation: &str, id: &str| ask(&address, &secret, &Call::new(operation, json!({})).param("id", id));

    // What it sees, and how much there is of it.
    found(&script(&sandbox), &json!({ "q": "quokka" }), |reply| reply["total"] == 6);
    for (operation, input, total) in [
        ("note.list", json!({}), 2),
        ("doc.list", json!({ "venture": "alpha" }), 2),
        ("doc.list", json!({}), 1),
        ("session.list", json!({}), 1),
        ("search", json!({ "q": "quokka" }), 4),
    ] {
        let list = asked(operation, input).unwrap();
        assert!(list["total"] == total && !list.to_string().contains("beta"), "{operation}: {list}");
    }
    let tags = asked("note.tags", json!({})).unwrap();
    let tag = tags["items"].as_array().unwrap().iter().find(|row| row["tag"] == "quokka").unwrap();
    assert_eq!(tag["notes"], 2, "{tags}");
    for (operation, id) in [("note.get", &of_alpha.0), ("note.get", &of_all), ("session.get", &of_alpha.1)] {
        assert!(with_id(operation, id).is_ok(), "{operation}");
    }
    for (operation, id) in [("note.get", &of_beta.0), ("session.get", &of_beta.1)] {
        assert_eq!(with_id(operation, id), Err(ErrorCode::NotFound), "{operation}");
    }
    let read = |scope: &str| ask(&address, &secret, &doc("doc.get", scope, json!({})));
    assert!(read("alpha").is_ok() && read("global").is_ok());
    assert_eq!(read("beta"), Err(ErrorCode::NotFound));
    for (operation, input) in [
        ("note.list", json!({ "venture": "beta" })),
        ("doc.list", json!({ "venture": "beta" })),
        ("search", json!({ "q": "quokka", "venture": "beta" })),
    ] {
        assert_eq!(asked(operation, input), Err(ErrorCode::Forbidden), "{operation}");
    }

    // What it writes.
    let write =
        |venture: Value| asked("note.create", json!({ "content": "x", "venture": venture, "human_requested": true }));
    let put = |scope: &str| ask(&address, &secret, &doc("doc.put", scope, json!({ "content": "# Other" })));
    let start =
        |venture: &str| asked("sod", json!({ "agent": "a-x-1", "venture": venture, "repo": "alpha-org/console" }));
    let change = Call::new("note.update", json!({ "content": "x", "human_requested": true })).param("id", &of_all);
    for (what, done) in [
        ("a note of beta", write(json!("beta"))),
        ("a doc of beta", put("beta")),
        ("a session of beta", start("beta")),
        ("a global note", write(Value::Null)),
        ("a change of a global note", ask(&address, &secret, &change)),
        ("a global doc", put("global")),
        ("the plan", asked("plan.put", json!({ "priority_venture": "alpha" }))),
        ("a token without its limit", asked("token.create", json!({ "name": "u", "right": "admin" }))),
        ("an invitation", asked("invite.create", json!({ "role": "admin" }))),
        ("an export of everything", asked("node.export", json!({ "path": "/tmp/x" }))),
    ] {
        assert_eq!(done, Err(ErrorCode::Forbidden), "{what}");
    }
    assert!(write(json!("alpha")).is_ok() && put("alpha").is_ok() && start("alpha").is_ok());

    // What the caller does not see is not offered to it either.
    for (operation, input) in [
        ("sod", json!({ "venture": "alhpa", "repo": "alpha-org/console" })),
        ("sod", json!({ "venture": "bteta", "repo": "alpha-org/console" })),
        ("claim.list", json!({ "venture": "bteta" })),
        ("doc.audit", json!({ "venture": "bteta" })),
    ] {
        let body = send(&address, &secret, &Call::new(operation, input)).unwrap_err();
        assert_eq!(body.code, ErrorCode::UnknownVenture, "{operation}: {body:?}");
        assert!(body.message.contains("known are: alpha") && !format!("{body:?}").contains("beta"), "{body:?}");
    }
    assert!(ada.refused_("sod", json!({ "venture": "bteta" })).message.contains("did you mean `beta`"));
}

#[test]
fn a_17_a_page_under_a_foreign_name_is_refused() {
    let sandbox = ready();
    let (_daemon, address) = start_with_http(&sandbox);
    let made = person(&sandbox).do_("token.create", json!({ "name": "t", "right": "reader" }));
    let asked = |host: &str, origin: &str| {
        let headers = format!("Host: {host}\r\n{origin}Authorization: Bearer {}\r\n", text(&made, "secret"));
        status(&address, "GET /v1/plan", &headers)
    };
    assert_eq!(asked(&address, ""), 200);
    assert_eq!(asked("evil.example", ""), 403);
    assert_eq!(asked(&address, "Origin: http://evil.example\r\n"), 403);
}

/// a token that is bound to an agent serves no other; of its ten calls in a minute the eleventh is refused, and others go
/// on.
#[test]
fn r_06_a_token_serves_its_agent_and_its_own_limit() {
    let sandbox = ready();
    let (_daemon, address) = start_with_http(&sandbox);
    let ada = person(&sandbox);
    let input = json!({ "name": "t", "right": "writer", "agent": "claude-x-1", "rate_limit": 10 });
    let made = ada.do_("token.create", input);
    let other = ada.do_("token.create", json!({ "name": "u", "right": "reader" }));
    let plan = Call::new("plan.get", json!({}));
    let named = |agent: &str| {
        let client = Client::new(endpoint(&address, text(&made, "secret")));
        let client = client.with_header(ctxnode_api::headers::AGENT, agent).unwrap();
        block_on(async { { client }.call(&plan).await })
    };
    let Err(ClientError::Refused(refused)) = named("codex-x-2") else { panic!("another agent used the token") };
    assert_eq!(refused.code, ErrorCode::Forbidden);
    // The minute may turn in between, and then counting begins again: those of the last one's minute are looked at.
    let mut minutes = Vec::new();
    let refused = loop {
        match named("claude-x-1") {
            Ok(answer) => {
                minutes.push(answer.headers[ctxnode_api::headers::RATE_RESET].to_str().unwrap().to_owned());
            }
            Err(ClientError::Refused(body)) => break body,
            Err(error) => panic!("{error:?}"),
        }
        assert!(minutes.len() < 100, "none is refused: {minutes:?}");
    };
    let passed = minutes.iter().filter(|minute| Some(*minute) == minutes.last()).count();
    assert_eq!((refused.code, passed), (ErrorCode::RateLimited, 10), "{minutes:?}");
    assert!(ask(&address, text(&other, "secret"), &plan).is_ok());
    ada.ok(&plan);
}

/// a reader is told which right a start needs; what only reads answers it.
#[test]
fn r_09_a_reader_may_read_and_not_start() {
    let sandbox = ready();
    let (_daemon, address) = start_with_http(&sandbox);
    let made = person(&sandbox).do_("token.create", json!({ "name": "t", "right": "reader" }));
    let secret = text(&made, "secret");
    let start = Call::new("sod", json!({ "agent": "a-x-1", "venture": "alpha", "repo": "alpha-org/console" }));
    let refused = send(&address, secret, &start).unwrap_err();
    assert_eq!(refused.code, ErrorCode::Forbidden);
    assert_eq!(refused.message, "`sod` needs the writer right, this caller has reader");
    for operation in ["note.list", "doc.list", "session.list", "handoff.list", "claim.list", "plan.get"] {
        assert!(ask(&address, secret, &Call::new(operation, json!({}))).is_ok(), "{operation}");
    }
    assert!(ask(&address, secret, &Call::new("search", json!({ "q": "x" }))).is_ok());
}

/// A token that may write does not end the sessions of others from afar; an admin's does.
#[test]
fn r_09_a_writer_ends_nobody_elses_session() {
    let sandbox = ready();
    let (_daemon, address) = start_with_http(&sandbox);
    let token = |right: &str| {
        text(&person(&sandbox).do_("token.create", json!({ "name": right, "right": right })), "secret").to_owned()
    };
    let start = json!({ "agent": "a-x-1", "venture": "alpha", "repo": "alpha-org/console" });
    let id = text(&person(&sandbox).do_("sod", start), "session_id").to_owned();
    let draft = |end: bool| Call::new("session.draft", json!({ "end": end })).param("id", &id);
    let writer = token("writer");
    assert!(ask(&address, &writer, &draft(false)).is_ok());
    assert_eq!(ask(&address, &writer, &draft(true)), Err(ErrorCode::Forbidden));
    assert!(ask(&address, &token("admin"), &draft(true)).is_ok());
}

#[test]
fn r_07_a_new_credential_is_a_new_actor_and_old_rows_keep_theirs() {
    let sandbox = ready();
    let (_daemon, address) = start_with_http(&sandbox);
    let ada = person(&sandbox);
    let written = |number: u32| {
        let made = ada.do_("token.create", json!({ "name": "ci", "right": "writer" }));
        let note = json!({ "content": number.to_string(), "human_requested": true });
        let note = ask(&address, text(&made, "secret"), &Call::new("note.create", note)).unwrap();
        ada.ok(&Call::new("token.revoke", json!({})).param("id", text(&made, "id")));
        (text(&note, "id").to_owned(), text(&note, "actor_key_id").to_owned(), text(&made, "id").to_owned())
    };
    let (first, second) = (written(1), written(2));
    assert_eq!((&first.1, &second.1), (&first.2, &second.2), "a token's id is its actor id");
    assert_ne!(first.1, second.1);
    for (note, actor, _) in [&first, &second] {
        let read = ada.ok(&Call::new("note.get", json!({})).param("id", note));
        assert_eq!(text(&read, "actor_key_id"), actor);
    }
}

/// two agents over one socket are two actors, and the person beside them is a third. Whatever one of them writes carries its
/// own id, which follows from the machine's key and from who it is.
#[test]
fn r_10_two_agents_over_one_socket_have_different_actor_ids() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    let ada = person(&sandbox);
    let key = text(&ada.do_("node", json!({})), "node").to_owned();
    let of =
        |who: &str| ctxnode_model::rules::canonical::sha256_hex(format!("{key}:{who}").as_bytes())[..16].to_owned();
    let note = || json!({ "content": "x", "human_requested": true });
    let actor = |record: &Value| text(record, "actor_key_id").to_owned();
    for name in ["claude-mac-00000001", "codex-mac-00000002"] {
        let who = agent(&sandbox, name, repo.path());
        let written = [actor(&who.do_("sod", json!({}))["session"]), actor(&who.do_("note.create", note()))];
        assert_eq!(written, [of(name), of(name)], "{name}");
    }
    let plan = ada.do_("plan.put", json!({ "priority_venture": "alpha" }));
    let name = text(&plan, "updated_by");
    assert!(name.starts_with("user-"), "{plan}");
    assert_eq!(actor(&ada.do_("note.create", note())), of(name));
}
