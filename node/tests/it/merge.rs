//! What several daemons wrote while they were apart: conflicts that name everybody, a past that is alike everywhere, one
//! winner of a claim and of an agent's sessions, one doc of one name.

use std::collections::BTreeSet;

use ctxnode_api::Call;
use ctxnode_testkit::{Daemon, Sandbox};
use serde_json::{Value, json};

use crate::fleet::{connected, join, node, until};
use crate::mcp::{Lines, call, shim};
use crate::support::{SOON, agent, alpha_repo, ctxnode, person, printed, ready, script, start, text};

/// Two machines that are equal.
fn equal(machines: &[&Sandbox]) {
    for machine in machines {
        node(machine, "all are equal", |reply| connected(reply, machines.len() - 1));
    }
}

fn note_call(operation: &str, input: Value, id: &str) -> Call {
    Call::new(operation, input).param("id", id)
}

/// N-12 and 0.3: a title written apart is a conflict with both values, who and when, on every surface and every machine,
/// until somebody chooses; the past tells it all.
#[test]
fn n_12_a_conflict_names_everybody_on_every_surface_and_ends_everywhere() {
    let mac = ready();
    let mut mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &[]);
    let mut laptop_daemon = Daemon::start(&laptop);
    equal(&[&mac, &laptop]);
    let made =
        json!({ "title": "t", "content": "One.\nTwo.\n", "tags": ["executive-summary"], "human_requested": true });
    let id = text(&person(&mac).do_("note.create", made), "id").to_owned();
    equal(&[&mac, &laptop]);
    let home = alpha_repo(&mac, "console");
    let (claude, codex) =
        (agent(&mac, "claude-mac-00000001", home.path()), agent(&laptop, "codex-laptop-00000002", home.path()));
    let title = |title: &str| note_call("note.update", json!({ "title": title, "human_requested": true }), &id);
    laptop_daemon.stop();
    claude.ok(&title("from mac"));
    mac_daemon.stop();
    laptop_daemon.restart();
    codex.ok(&title("from laptop"));
    mac_daemon.restart();
    equal(&[&mac, &laptop]);

    let read = note_call("note.get", json!({}), &id);
    let of = |sandbox: &Sandbox| {
        let note = person(sandbox).ok(&read);
        (note["title"].clone(), note["conflicts"].clone())
    };
    // Ages are of the moment.
    let (shown, conflicts) = of(&mac);
    let (there, _) = of(&laptop);
    assert_eq!((&shown, &there), (&json!("from laptop"), &json!("from laptop")));
    assert_eq!(conflicts.as_array().unwrap().len(), 1, "times and actors are none: {conflicts}");
    let values = conflicts[0]["values"].as_array().unwrap();
    let who = |value: &Value| {
        (text(value, "value").to_owned(), text(value, "agent").to_owned(), value["shown"].as_bool().unwrap())
    };
    assert_eq!(who(&values[0]), ("from laptop".into(), "codex-laptop-00000002".into(), true));
    assert_eq!(who(&values[1]), ("from mac".into(), "claude-mac-00000001".into(), false));
    assert_eq!(text(&values[0], "machine"), "laptop");
    assert!(values.iter().all(|value| value["at"].is_string() && value["node"].is_string()));

    let output = ctxnode(&laptop, &["note", "show", &id]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(printed(&output), "One.\nTwo.\n", "the text alone is on stdout");
    assert!(said.contains("2. from mac, claude-mac-00000001 on ") && said.contains("--field title --pick N"), "{said}");
    let mut client = shim(&laptop, home.path());
    let told = call(&mut client, "notes", &json!({ "id": id }));
    assert_eq!(told["structuredContent"]["conflicts"][0]["field"], "title");
    let twin = text(&told["content"][0], "text").to_owned();
    assert!(twin.contains("[conflict in title: 1: from laptop (codex-laptop-00000002 on laptop"), "{twin}");
    let started = call(&mut client, "sod", &json!({ "venture": "alpha" }));
    let started = text(&started["content"][0], "text");
    assert!(started.contains("CONFLICT in title"), "{started}");
    drop(client);

    let wrong = ctxnode(&laptop, &["note", "resolve", &id, "--field", "title", "--pick", "3", "--human-requested"]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("expected 1 to 2"));
    let unasked = note_call("note.resolve", json!({ "field": "title", "pick": 2 }), &id);
    assert_eq!(agent(&laptop, "codex-x-1", home.path()).refused(&unasked).code.status(), 422);
    let flags = ["note", "resolve", &id, "--field", "title", "--pick", "2", "--human-requested"];
    let resolved = ctxnode(&laptop, &flags);
    assert!(resolved.status.success(), "{}", String::from_utf8_lossy(&resolved.stderr));
    let settled = |reply: &Value| reply["title"] == "from mac" && reply.get("conflicts").is_none();
    until(&mac, "it is settled there too", &read, settled);
    until(&laptop, "and here", &read, settled);
    let again = ctxnode(&mac, &["note", "resolve", &id, "--field", "title", "--pick", "1", "--human-requested"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("no other field of this record is"));

    let past = |sandbox: &Sandbox| {
        let rows = person(sandbox).ok(&note_call("note.history", json!({}), &id));
        let row = |row: &Value| {
            let fields: Vec<String> =
                row["changed"].as_array().unwrap().iter().map(|change| text(change, "field").to_owned()).collect();
            (text(row, "rev").to_owned(), row["agent"].clone(), fields.join(" "))
        };
        rows["items"].as_array().unwrap().iter().map(row).collect::<Vec<_>>()
    };
    equal(&[&mac, &laptop]);
    assert_eq!(past(&mac), past(&laptop));
    assert_eq!(past(&mac).len(), 4);
    assert_eq!((&past(&mac)[2].1, past(&mac)[2].2.as_str()), (&json!("claude-mac-00000001"), "title"));
}

/// Any record has a past, in pages; an earlier text of a note comes back as a new edit.
#[test]
fn n_12_the_past_of_any_record_is_paged_and_a_text_comes_back() {
    let mac = ready();
    let _daemon = start(&mac);
    let ada = person(&mac);
    let note = ada.do_("note.create", json!({ "content": "One.\nTwo.\n", "human_requested": true }));
    let id = text(&note, "id").to_owned();
    let first = text(&note, "rev").to_owned();
    for text in ["One.\nTwo was changed.\n", "Nothing is left.\n"] {
        ada.ok(&note_call("note.update", json!({ "content": text, "human_requested": true }), &id));
    }
    let page = ada.ok(&note_call("note.history", json!({ "limit": 2 }), &id));
    assert_eq!(
        (page["shown"].clone(), page["total"].clone(), page["has_more"].clone()),
        (json!(2), json!(3), json!(true))
    );
    assert!(text(&page["items"][1], "diff").contains("-Two.\n+Two was changed.\n"), "{page}");
    // A new step does not move the next page.
    ada.ok(&note_call("note.update", json!({ "title": "t", "human_requested": true }), &id));
    let rest = ada.ok(&note_call("note.history", json!({ "cursor": page["next_cursor"] }), &id));
    assert_eq!(
        (text(&rest["items"][0], "rev"), rest["total"].clone(), rest["shown"].clone()),
        (first.as_str(), json!(4), json!(1))
    );
    let bad = note_call("note.history", json!({ "cursor": "9" }), &id);
    assert_eq!(ada.refused(&bad).code.status(), 400);

    let reverted = ctxnode(&mac, &["note", "revert", &id, "--rev", &first, "--human-requested"]);
    assert!(reverted.status.success(), "{}", String::from_utf8_lossy(&reverted.stderr));
    let now = ada.ok(&note_call("note.get", json!({}), &id));
    assert_eq!((text(&now, "content"), text(&now, "title")), ("One.\nTwo.\n", "t"));
    let shown = printed(&ctxnode(&mac, &["note", "history", &id]));
    assert!(
        shown.contains("-Nothing is left.") && shown.contains("user-") && shown.contains("5 of 5 shown"),
        "{shown}"
    );

    let put = Call::new("doc.put", json!({ "content": "# One" })).param("scope", "alpha").param("name", "a.md");
    ada.ok(&put);
    let delete = Call::new("doc.delete", json!({})).param("scope", "alpha").param("name", "a.md");
    ada.ok(&delete);
    for (named, happened) in [("alpha/a.md", "deleted"), ("alpha", "changed"), ("plan", "changed")] {
        if named == "plan" {
            ada.do_("plan.put", json!({ "priority_venture": "alpha" }));
        }
        let found: Value = serde_json::from_str(&printed(&ctxnode(&mac, &["history", named, "--json"]))).unwrap();
        assert_eq!(found["items"][0]["happened"], happened, "{named}: {found}");
    }
    let unknown = ctxnode(&mac, &["history", "nothing"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("is no id"));
}

/// W-03, W-04: forced against each other, the first holds on both machines, and each agent is told once by its next tool
/// reply and at each start.
#[test]
fn w_03_w_04_both_holders_of_an_issue_are_told_once_and_at_each_start() {
    let mac = ready();
    let _mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &[]);
    let _laptop_daemon = Daemon::start(&laptop);
    equal(&[&mac, &laptop]);
    let (home, away) = (alpha_repo(&mac, "console"), alpha_repo(&laptop, "console"));
    let (mut first, mut second) = (shim(&mac, home.path()), shim(&laptop, away.path()));
    call(&mut first, "sod", &json!({}));
    call(&mut second, "sod", &json!({}));
    let take = json!({ "action": "take", "kind": "issue", "key": "87" });
    call(&mut first, "claim", &take);
    let claims = Call::new("claim.list", json!({ "venture": "alpha" }));
    until(&laptop, "the claim is known there", &claims, |reply| reply["total"] == 1);
    let held = call(&mut second, "claim", &take);
    assert_eq!(held["isError"], true);
    let said = text(&held["content"][0], "text").to_owned();
    assert!(said.contains("held by mcp-") && said.contains("since"), "{said}");
    let forced = json!({ "action": "take", "kind": "issue", "key": "87", "force": true });
    let forced = call(&mut second, "claim", &forced);
    for machine in [&mac, &laptop] {
        let list = until(machine, "both claims are there", &claims, |reply| reply["total"] == 2);
        let beaten = list["items"].as_array().unwrap().iter().filter(|claim| claim["beaten_by"].is_string()).count();
        assert_eq!(beaten, 1, "{list}");
    }
    told_once(&mut first, 0, YOURS);
    // The reply to the forced claim itself may have said it.
    told_once(&mut second, says(&forced, THEIRS), THEIRS);
}

/// What the two holders of issue 87 are told.
const YOURS: &str = "claims issue `87` too: yours was first and holds";
const THEIRS: &str = "claims issue `87` too: theirs was first and holds";

/// How often a reply says something: once or not at all.
fn says(reply: &Value, wanted: &str) -> usize {
    usize::from(reply["content"].to_string().contains(wanted))
}

/// Checks that an agent is told something by one reply and by no other, and again at a start. It was told `times` before.
fn told_once(client: &mut Lines, mut times: usize, wanted: &str) {
    ctxnode_testkit::wait_until(SOON, "the agent is told", || {
        times += if times == 0 { says(&call(client, "plan", &json!({})), wanted) } else { 0 };
        times > 0
    });
    for _ in 0..3 {
        times += says(&call(client, "plan", &json!({})), "claims issue");
    }
    assert_eq!(times, 1, "{wanted}");
    let start = call(client, "sod", &json!({}));
    assert!(text(&start["content"][0], "text").contains(wanted), "{start}");
}

/// W-04: two agents that claimed one issue while their machines were cut off. Both machines name the same winner, and each agent
/// is told once by its next tool reply, although its daemon was restarted in between.
#[test]
fn w_04_two_who_claimed_an_issue_apart_are_both_told_once_who_holds_it() {
    let mac = ready();
    let mut mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &[]);
    let mut laptop_daemon = Daemon::start(&laptop);
    equal(&[&mac, &laptop]);
    let (home, away) = (alpha_repo(&mac, "console"), alpha_repo(&laptop, "console"));
    // Nobody has to be forced: neither knows of the other.
    let claim = |client: &mut Lines| {
        let started = call(client, "sod", &json!({}));
        let taken = call(client, "claim", &json!({ "action": "take", "kind": "issue", "key": "87" }));
        assert_eq!(taken["isError"], false, "{taken}");
        text(&started["structuredContent"], "session_id").to_owned()
    };
    laptop_daemon.stop();
    let mut first = shim(&mac, home.path());
    let winner = claim(&mut first);
    mac_daemon.stop();
    laptop_daemon.restart();
    let mut second = shim(&laptop, away.path());
    let loser = claim(&mut second);
    mac_daemon.restart();
    equal(&[&mac, &laptop]);
    let claims = Call::new("claim.list", json!({ "venture": "alpha" }));
    let expected = BTreeSet::from([(winner.clone(), None), (loser, Some(true))]);
    for machine in [&mac, &laptop] {
        let list = until(machine, "both claims are there", &claims, |reply| reply["total"] == 2);
        let row = |claim: &Value| {
            let by_winner = claim["beaten_by"].as_str().map(|by| by.contains(&winner));
            (text(claim, "session_id").to_owned(), by_winner)
        };
        assert_eq!(list["items"].as_array().unwrap().iter().map(row).collect::<BTreeSet<_>>(), expected, "{list}");
    }
    told_once(&mut first, 0, YOURS);
    told_once(&mut second, 0, THEIRS);
    // That it was told is remembered by more than a process.
    laptop_daemon.restart();
    until(&laptop, "both claims are there again", &claims, |reply| reply["total"] == 2);
    for _ in 0..3 {
        assert_eq!(says(&call(&mut second, "plan", &json!({})), "claims issue"), 0);
    }
}

/// S-07: one agent id that two machines used while they were apart has one session afterwards, alike everywhere.
#[test]
fn s_07_of_two_sessions_made_apart_both_machines_keep_the_same_one() {
    let mac = ready();
    let mut mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &[]);
    let mut laptop_daemon = Daemon::start(&laptop);
    equal(&[&mac, &laptop]);
    let (home, away) = (alpha_repo(&mac, "console"), alpha_repo(&laptop, "console"));
    laptop_daemon.stop();
    let older = text(&agent(&mac, "ci", home.path()).do_("sod", json!({})), "session_id").to_owned();
    mac_daemon.stop();
    laptop_daemon.restart();
    let newer = text(&agent(&laptop, "ci", away.path()).do_("sod", json!({})), "session_id").to_owned();
    mac_daemon.restart();
    equal(&[&mac, &laptop]);
    let get = |id: &str| Call::new("session.get", json!({})).param("id", id);
    for machine in [&mac, &laptop] {
        let list = Call::new("session.list", json!({ "venture": "alpha" }));
        let list = until(machine, "the newer one is alive", &list, |reply| reply["total"] == 1);
        assert_eq!((text(&list["items"][0], "id"), &list["last_seen"]), (newer.as_str(), &json!([])));
        let loser = person(machine).ok(&get(&older));
        assert_eq!((text(&loser, "status"), text(&loser, "end_reason")), ("ended", "superseded"));
        assert_eq!(text(&person(machine).ok(&get(&newer)), "status"), "active");
    }
    let refused = agent(&mac, "ci", home.path()).refused_("update", json!({ "session_id": older, "issue": 5 }));
    assert_eq!(refused.code.status(), 409);
}

/// D-14, Q-04: a doc made apart is one doc with both contents in its past; one deleted stays deleted although the other
/// side confirmed it meanwhile, and goes on counting when it is uploaded again.
#[test]
fn d_14_q_04_a_doc_made_apart_is_one_and_a_deleted_one_stays_deleted() {
    let mac = ready();
    let mut mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &["--role", "admin"]);
    let mut laptop_daemon = Daemon::start(&laptop);
    equal(&[&mac, &laptop]);
    let doc = |operation: &str, input: Value, name: &str| {
        Call::new(operation, input).param("scope", "alpha").param("name", name)
    };
    person(&mac).ok(&doc("doc.put", json!({ "content": "# Kept" }), "gone.md"));
    equal(&[&mac, &laptop]);
    laptop_daemon.stop();
    person(&mac).ok(&doc("doc.put", json!({ "content": "# From mac" }), "new.md"));
    person(&mac).ok(&doc("doc.delete", json!({}), "gone.md"));
    mac_daemon.stop();
    laptop_daemon.restart();
    person(&laptop).ok(&doc("doc.put", json!({ "content": "# From laptop" }), "new.md"));
    person(&laptop).ok(&doc("doc.put", json!({ "content": "# Kept" }), "gone.md"));
    mac_daemon.restart();
    equal(&[&mac, &laptop]);
    for machine in [&mac, &laptop] {
        let list = person(machine).do_("doc.list", json!({ "venture": "alpha" }));
        let names: Vec<&str> = list["items"].as_array().unwrap().iter().map(|row| text(row, "name")).collect();
        assert_eq!(names, ["new.md"], "{list}");
        let read = person(machine).ok(&doc("doc.get", json!({}), "new.md"));
        assert_eq!((text(&read, "content"), &read["version"]), ("# From laptop", &json!(2)));
        let first = person(machine).ok(&doc("doc.get", json!({ "version": 1 }), "new.md"));
        assert_eq!(text(&first, "content"), "# From mac");
    }
    let again = person(&laptop).ok(&doc("doc.put", json!({ "content": "# Again" }), "gone.md"));
    assert_eq!(again["version"], 2, "{again}");
    let read = doc("doc.get", json!({}), "gone.md");
    ctxnode_testkit::wait_until(SOON, "it is there again", || person(&mac).ask(&read).is_ok());
}

/// Q-01, P-03: three machines write every kind while all are cut off, and are equal afterwards, in whatever order they come back:
/// two of them first, then the third.
#[test]
fn q_01_p_03_three_machines_that_wrote_every_kind_apart_are_equal() {
    let mac = ready();
    let mac_daemon = start(&mac);
    let one = join(&mac, "one", &["--role", "admin"]);
    let one_daemon = Daemon::start(&one);
    let two = join(&mac, "two", &["--role", "admin"]);
    let two_daemon = Daemon::start(&two);
    let machines = [&mac, &one, &two];
    let mut daemons = [mac_daemon, one_daemon, two_daemon];
    equal(&machines);
    for machine in machines {
        let list = Call::new("machine.list", json!({}));
        until(machine, "each has its record", &list, |reply| reply["total"] == 3);
    }
    for (round, order) in [[2, 0, 1], [1, 2, 0]].into_iter().enumerate() {
        for daemon in &mut daemons {
            daemon.stop();
        }
        for (at, machine) in machines.into_iter().enumerate() {
            write_alone(machine, &mut daemons[at], round, at);
        }
        let [first, second, third] = order;
        daemons[first].restart();
        daemons[second].restart();
        node(machines[second], "two have met", |reply| {
            let has_met = |peer: &Value| peer["state"] == "connected" && peer["we_lack"] == 0 && peer["they_lack"] == 0;
            reply["peers"].as_array().unwrap().iter().any(has_met)
        });
        daemons[third].restart();
        equal(&machines);
        same_everywhere(machines, round);
    }
}

/// Checks that machines show equal records, counts, versions, winners and "latest" answers after a round.
fn same_everywhere(machines: [&Sandbox; 3], round: usize) {
    let lists = [
        ("note.list", json!({})),
        ("doc.list", json!({ "venture": "alpha" })),
        ("requirement.list", json!({})),
        ("session.list", json!({ "status": "any" })),
        ("handoff.list", json!({})),
        ("claim.list", json!({ "venture": "alpha" })),
        ("venture.list", json!({})),
        ("escalation.list", json!({})),
        ("event.list", json!({})),
        ("machine.list", json!({})),
        ("plan.get", json!({})),
        ("handoff.latest", json!({ "venture": "alpha", "repo": "alpha-org/console" })),
    ];
    for (operation, input) in lists {
        let mut said = Vec::new();
        let deadline = std::time::Instant::now() + SOON;
        // Whose sessions live is heard a moment after the records are equal.
        ctxnode_testkit::wait_until(SOON * 2, operation, || {
            said = machines.iter().map(|machine| timeless(script(machine).do_(operation, input.clone()))).collect();
            assert!(std::time::Instant::now() < deadline, "{operation}: {said:#?}");
            said[0] == said[1] && said[0] == said[2] && said[0]["total"] != 0
        });
    }
    let newest = name_of_venture(round, machines.len() - 1);
    assert_eq!(person(machines[0]).do_("plan.get", json!({}))["priority_venture"], newest.as_str());
    let past: Vec<Value> = machines
        .iter()
        .map(|machine| timeless(person(machine).ok(&Call::new("record.history", json!({})).param("id", "plan"))))
        .collect();
    assert_eq!(past[0]["total"], 3 * (round + 1));
    assert_eq!([&past[1], &past[2]], [&past[0]; 2]);
    let records = |machine: &Sandbox| node(machine, "it answers", |_| true)["records"].clone();
    assert_eq!([records(machines[1]), records(machines[2])], [records(machines[0]), records(machines[0])]);
}

fn name_of_venture(round: usize, at: usize) -> String {
    format!("extra{round}{at}")
}

/// Writes every kind on a machine while the others are off.
fn write_alone(machine: &Sandbox, daemon: &mut Daemon<'_>, round: usize, at: usize) {
    daemon.restart();
    let ada = person(machine);
    let repo = alpha_repo(machine, &format!("console-{round}"));
    let venture = name_of_venture(round, at);
    ada.ok(&Call::new("venture.put", json!({ "name": venture })).param("code", &venture));
    ada.do_("plan.put", json!({ "priority_venture": venture }));
    ada.do_("note.create", json!({ "title": format!("of {venture}"), "content": "x", "human_requested": true }));
    let put = Call::new("doc.put", json!({ "content": format!("# Of {venture}") }));
    ada.ok(&put.param("scope", "alpha").param("name", "same.md"));
    let require = json!({
        "name_pattern": "{venture}-same.md", "scope_type": "all_ventures", "description": format!("of {venture}"),
    });
    ada.do_("requirement.put", require);
    let working = agent(machine, &format!("claude-m{at}-{round}1"), repo.path());
    working.do_("sod", json!({}));
    working.do_("claim.take", json!({ "kind": "issue", "key": format!("8{round}") }));
    working.do_(
        "escalation.create",
        json!({ "escalate": { "trigger": "manual", "need": "a decision", "tried": ["all"] } }),
    );
    let leaving = agent(machine, &format!("codex-m{at}-{round}2"), repo.path());
    leaving.do_("sod", json!({}));
    leaving.do_("eod", json!({ "status": "done", "accomplished": [format!("work of {venture}")] }));
    daemon.stop();
}

/// Takes out what is of the moment or of the machine that is asked.
fn timeless(value: Value) -> Value {
    const OF_THE_MOMENT: [&str; 13] = [
        "age",
        "live",
        "last_seen",
        "last_heartbeat_at",
        "checkout",
        "this_machine",
        "pid",
        "failed",
        "local_path",
        "display",
        "score",
        "state",
        "uptime_seconds",
    ];
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(name, _)| !OF_THE_MOMENT.contains(&name.as_str()));
            Value::Object(kept.map(|(name, value)| (name, timeless(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(timeless).collect()),
        other => other,
    }
}

/// a sweep on one machine leaves the sessions of others alone.
#[test]
fn q_09_a_sweep_touches_no_session_of_another_machine() {
    let mac = ready();
    let _mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &[]);
    let mut laptop_daemon = Daemon::start(&laptop);
    equal(&[&mac, &laptop]);
    let away = alpha_repo(&laptop, "console");
    let id = text(&agent(&laptop, "codex-laptop-2", away.path()).do_("sod", json!({})), "session_id").to_owned();
    let get = Call::new("session.get", json!({})).param("id", &id);
    ctxnode_testkit::wait_until(SOON, "the session is known", || person(&mac).ask(&get).is_ok());
    laptop_daemon.stop();
    // The sweep and the purge run at every start.
    let mut again = Daemon::start_with(&laptop, &[]);
    equal(&[&mac, &laptop]);
    for machine in [&mac, &laptop] {
        assert_eq!(text(&person(machine).ok(&get), "status"), "active");
    }
    again.stop();
}

/// pages of one machine while the others write: nothing twice, nothing of what was there is missed.
#[test]
fn a_21_pages_stay_whole_while_other_machines_write() {
    let mac = ready();
    let _mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &[]);
    let hub = join(&mac, "hub", &[]);
    let _daemons = [Daemon::start(&laptop), Daemon::start(&hub)];
    let machines = [&mac, &laptop, &hub];
    equal(&machines);
    let add = |machine: &Sandbox, title: String| {
        let note = json!({ "title": title, "content": "x", "human_requested": true });
        text(&person(machine).do_("note.create", note), "id").to_owned()
    };
    let old: BTreeSet<String> = (0..23).map(|number| add(machines[number % 3], format!("old {number}"))).collect();
    equal(&machines);
    let (mut seen, mut cursor, mut number) = (Vec::new(), Value::Null, 0);
    loop {
        let mut query = json!({ "limit": 4 });
        if !cursor.is_null() {
            query["cursor"] = cursor;
        }
        let page = person(&mac).do_("note.list", query);
        seen.extend(page["items"].as_array().unwrap().iter().map(|note| text(note, "id").to_owned()));
        cursor = page["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
        for machine in machines {
            number += 1;
            add(machine, format!("new {number}"));
        }
        equal(&machines);
    }
    let unique: BTreeSet<String> = seen.iter().cloned().collect();
    assert_eq!(unique.len(), seen.len(), "a note came twice: {seen:?}");
    assert!(old.is_subset(&unique), "missed: {:?}", old.difference(&unique));
}
