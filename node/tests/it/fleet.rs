//! Several daemons as one fleet on loopback: joining by typing, sessions and handoffs of others, cutting off and coming
//! back, rights across nodes, what a person sees of it.

use ctxnode_api::{Call, ErrorCode};
use ctxnode_testkit::{Daemon, Sandbox, wait_until};
use qrcode::{EcLevel, QrCode};
use serde_json::{Value, json};

use crate::quarantine::note;
use crate::support::{
    SOON, agent, alpha_repo, ctxnode, files_holding, found, person, printed, ready, script, start, text,
};

/// Invites on one machine and joins on a new one, as a person would.
pub(crate) fn join(founder: &Sandbox, name: &str, flags: &[&str]) -> Sandbox {
    let invited = ctxnode(founder, &[&["invite", "--json"], flags].concat());
    assert!(invited.status.success(), "{}", String::from_utf8_lossy(&invited.stderr));
    let invited: Value = serde_json::from_str(&printed(&invited)).unwrap();
    let sandbox = Sandbox::new();
    let joined = ctxnode(&sandbox, &["join", text(&invited, "code"), "--name", name]);
    assert!(joined.status.success(), "{}", String::from_utf8_lossy(&joined.stderr));
    sandbox
}

/// Waits until a call answers what is wanted, and returns the answer.
pub(crate) fn until(sandbox: &Sandbox, what: &str, call: &Call, good: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let who = script(sandbox);
    let deadline = std::time::Instant::now() + SOON * 3;
    wait_until(SOON * 4, what, || {
        last = who.ok(call);
        assert!(std::time::Instant::now() < deadline, "{what}: {last}");
        good(&last)
    });
    last
}

pub(crate) fn node(sandbox: &Sandbox, what: &str, good: impl Fn(&Value) -> bool) -> Value {
    until(sandbox, what, &Call::new("node", json!({})), good)
}

pub(crate) fn connected(reply: &Value, peers: usize) -> bool {
    let list = reply["peers"].as_array().unwrap();
    list.len() == peers
        && list.iter().all(|peer| peer["state"] == "connected" && peer["we_lack"] == 0 && peer["they_lack"] == 0)
}

/// Checks that a machine which was taken out learns why, and that what it writes now is applied nowhere.
pub(crate) fn is_out(machine: &Sandbox, daemon: &mut Daemon<'_>, others: [&Sandbox; 2]) {
    // It is sent nothing more, not even that it is out: its own replica takes the note.
    let late = note(machine, "after it was out");
    person(machine).ok(&late);
    // What others have said to it is forgotten; it brings them the note and is refused by each.
    daemon.restart();
    let told = node(machine, "the others refuse it", |reply| {
        let peers = reply["peers"].as_array().unwrap();
        peers.len() == 2 && peers.iter().all(|peer| peer["reason"] == "revoked")
    });
    assert!(told["attention"].to_string().contains("was taken out of the fleet"), "{told}");
    let status = ctxnode(machine, &["status"]);
    let shown = printed(&status);
    assert!(status.status.code() == Some(1) && shown.contains("was taken out of the fleet"), "{shown}");
    let doctor = ctxnode(machine, &["doctor"]);
    let shown = printed(&doctor);
    assert!(doctor.status.code() == Some(1) && shown.contains("was taken out of the fleet"), "{shown}");
    assert!(shown.contains("new invitation"), "{shown}");

    for (from, to) in [(others[0], others[1]), (others[1], others[0])] {
        let later = note(from, "among those who are in");
        wait_until(SOON, "what the others write later arrives", || script(to).ask(&later).is_ok());
        assert_eq!(person(machine).refused(&later).code, ErrorCode::NotFound, "it hears nothing of them");
    }
    for other in others {
        assert_eq!(person(other).refused(&late).code, ErrorCode::NotFound);
        let held = person(other).do_("quarantine.list", json!({}));
        assert!(!held.to_string().contains("note note_"), "it was not even taken in: {held}");
    }
}

/// W-01, S-11, H-11, P-06: another machine sees the venture, the session and then the handoff, and nothing else is needed.
#[test]
fn h_11_s_11_w_01_a_session_and_its_handoff_are_seen_on_another_machine() {
    let mac = ready();
    let _mac_daemon = start(&mac);
    let server = join(&mac, "server1", &[]);
    let _server_daemon = Daemon::start(&server);
    node(&server, "both are equal", |reply| connected(reply, 1));
    let ventures = person(&server).do_("venture.list", json!({}));
    assert_eq!(ventures["total"], 2, "P-06: {ventures}");

    let (here, there) = (alpha_repo(&mac, "console"), alpha_repo(&server, "console"));
    let claude = agent(&mac, "claude-mac-00000001", here.path());
    claude.do_("sod", json!({ "issue": 87, "branch": "dev/x" }));
    let list = Call::new("session.list", json!({ "venture": "alpha" }));
    let seen = until(&server, "the session is alive there", &list, |reply| reply["total"] == 1);
    assert_eq!((&seen["items"][0]["issue"], text(&seen["items"][0], "branch")), (&json!(87), "dev/x"));
    let codex = agent(&server, "codex-server1-00000002", there.path());
    let started = codex.do_("sod", json!({}));
    assert_eq!(text(&started["active_sessions"]["items"][0], "agent"), "claude-mac-00000001");
    assert_eq!(started["claims"]["items"][0]["key"], "87");

    claude
        .do_("eod", json!({ "status": "in_progress", "in_progress": ["half"], "next_steps": ["1. finish src/a.rs"] }));
    until(&server, "the session is over", &list, |reply| {
        reply["items"].as_array().unwrap().iter().all(|row| text(row, "agent") != "claude-mac-00000001")
    });
    let next = agent(&server, "gemini-server1-00000003", there.path()).do_("sod", json!({}));
    assert_eq!(text(&next["last_handoff"], "from_agent"), "claude-mac-00000001", "{next}");
    assert!(next["last_handoff"].to_string().contains("finish src/a.rs"));
}

/// S-23: a machine that cannot be reached is "last seen", never active and never abandoned; when it is back, so is its
/// session, under its id.
#[test]
fn s_23_a_machine_that_is_cut_off_is_last_seen_and_comes_back() {
    let mac = ready();
    let _mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &[]);
    let mut laptop_daemon = Daemon::start(&laptop);
    node(&mac, "both are equal", |reply| connected(reply, 1));
    let repo = alpha_repo(&laptop, "console");
    let claude = agent(&laptop, "claude-laptop-00000001", repo.path());
    let id = text(&claude.do_("sod", json!({})), "session_id").to_owned();
    let list = Call::new("session.list", json!({ "venture": "alpha" }));
    until(&mac, "it is alive", &list, |reply| reply["total"] == 1 && reply["last_seen"] == json!([]));
    laptop_daemon.stop();
    let away = until(&mac, "it is last seen", &list, |reply| reply["total"] == 0);
    assert_eq!(text(&away["last_seen"][0], "id"), id);
    let one = person(&mac).ok(&Call::new("session.get", json!({})).param("id", &id));
    assert_eq!((text(&one, "status"), &one["live"]), ("active", &json!(false)));
    let peers = person(&mac).do_("peer.list", json!({}));
    assert_eq!(peers["items"][0]["state"], "unreachable");
    let shown = printed(&ctxnode(&mac, &["peers"]));
    assert!(shown.contains("laptop") && shown.contains("unreachable"), "{shown}");
    laptop_daemon.restart();
    let back = until(&mac, "it is alive again", &list, |reply| reply["total"] == 1);
    assert_eq!(text(&back["items"][0], "id"), id);
}

/// W-04, P-03, N-12: both write while they are apart; afterwards both say the same.
#[test]
fn w_04_p_03_n_12_what_was_written_apart_is_merged_alike() {
    let mac = ready();
    let mut mac_daemon = start(&mac);
    let laptop = join(&mac, "laptop", &[]);
    let mut laptop_daemon = Daemon::start(&laptop);
    let body = "first paragraph\n\nsecond paragraph\n\nthird paragraph";
    let note = person(&mac).do_("note.create", json!({ "content": body, "human_requested": true }));
    let id = text(&note, "id").to_owned();
    let read = Call::new("note.get", json!({})).param("id", &id);
    wait_until(SOON, "the note is there", || script(&laptop).ask(&read).is_ok());
    let (home, away) = (alpha_repo(&mac, "console"), alpha_repo(&laptop, "console"));
    let claude = agent(&mac, "claude-mac-00000001", home.path());
    let codex = agent(&laptop, "codex-laptop-00000002", away.path());
    claude.do_("sod", json!({}));
    codex.do_("sod", json!({}));
    node(&mac, "both are equal", |reply| connected(reply, 1));
    // Cut off from each other: only one of them runs at a time.
    laptop_daemon.stop();
    claude.do_("claim.take", json!({ "kind": "issue", "key": "87" }));
    person(&mac).do_("plan.put", json!({ "priority_venture": "alpha" }));
    let update =
        |text: &str| Call::new("note.update", json!({ "content": text, "human_requested": true })).param("id", &id);
    person(&mac).ok(&update(&body.replace("first", "FIRST")));
    mac_daemon.stop();
    laptop_daemon.restart();
    codex.do_("sod", json!({}));
    codex.do_("claim.take", json!({ "kind": "issue", "key": "87" }));
    person(&laptop).do_("plan.put", json!({ "priority_venture": "beta" }));
    person(&laptop).ok(&update(&body.replace("third", "THIRD")));
    mac_daemon.restart();
    node(&mac, "both are equal again", |reply| connected(reply, 1));
    node(&laptop, "here too", |reply| connected(reply, 1));
    let merged = |sandbox: &Sandbox| text(&person(sandbox).ok(&read), "content").to_owned();
    assert_eq!(merged(&mac), body.replace("first", "FIRST").replace("third", "THIRD"));
    assert_eq!(merged(&mac), merged(&laptop));
    let plan = |sandbox: &Sandbox| person(sandbox).do_("plan.get", json!({}));
    assert_eq!(plan(&mac)["priority_venture"], "beta", "{}", plan(&mac));
    assert_eq!(plan(&mac)["priority_venture"], plan(&laptop)["priority_venture"]);
    let claims = |sandbox: &Sandbox| {
        let list = person(sandbox).do_("claim.list", json!({ "venture": "alpha" }));
        let mut rows: Vec<(String, String)> = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|claim| (text(claim, "agent").to_owned(), claim["beaten_by"].as_str().unwrap_or("").to_owned()))
            .collect();
        rows.sort();
        rows
    };
    assert_eq!(claims(&mac), claims(&laptop));
    let beaten: Vec<bool> = claims(&mac).iter().map(|(_, by)| !by.is_empty()).collect();
    assert_eq!(beaten, [false, true], "{:?}", claims(&mac));
}

/// What [`write_each_kind`] writes.
const KINDS: [&str; 8] = ["note", "doc", "generated", "requirement", "session", "claim", "escalation", "handoff"];

/// Writes one record of each kind that belongs to a venture. In each stands its kind with `mark` behind it, as one word.
fn write_each_kind(machine: &Sandbox, venture: &str, mark: &str) {
    let ada = person(machine);
    let [note, doc, generated, requirement, session, claim, escalation, handoff] =
        KINDS.map(|kind| format!("{kind}{mark}"));
    ada.do_("note.create", json!({ "content": note, "venture": venture, "human_requested": true }));
    for (operation, word) in [("doc.put", doc), ("doc.put-generated", generated)] {
        let put = Call::new(operation, json!({ "content": format!("# {word}") }));
        ada.ok(&put.param("scope", venture).param("name", format!("{word}.md")));
    }
    let require = json!({
        "name_pattern": format!("{requirement}.md"), "scope_type": "venture", "scope_venture": venture,
    });
    ada.do_("requirement.put", require);
    let claude = agent(machine, &format!("claude-{venture}-00000001"), &machine.dev_dir());
    let repo = format!("{venture}-org/console");
    claude.do_("sod", json!({ "venture": venture, "repo": repo, "branch": format!("dev/{session}") }));
    claude.do_("claim.take", json!({ "kind": "path", "key": format!("src/{claim}/**") }));
    let escalate = json!({ "trigger": "manual", "need": escalation, "tried": ["all"] });
    claude.do_("escalation.create", json!({ "escalate": escalate }));
    claude.do_("eod", json!({ "status": "in_progress", "in_progress": [handoff], "next_steps": ["go on"] }));
}

/// N-14: a note of another machine is found by search; R-05: a machine of one venture holds no byte of another, of no kind of
/// record, in no file.
#[test]
fn n_14_r_05_search_finds_what_came_and_a_limited_machine_holds_nothing_else() {
    let mac = ready();
    let _mac_daemon = start(&mac);
    let server = join(&mac, "server", &["--ventures", "alpha"]);
    let mut server_daemon = Daemon::start(&server);
    for venture in ["alpha", "beta"] {
        let content = format!("quokka of {venture} zzyzx{venture}");
        person(&mac).do_("note.create", json!({ "content": content, "venture": venture, "human_requested": true }));
    }
    found(&script(&server), &json!({ "q": "quokka" }), |reply| reply["total"] == 1);
    let ventures = person(&server).do_("venture.list", json!({}));
    assert_eq!(ventures["total"], 1, "{ventures}");
    // The plan is everybody's, and what its venture is called is not.
    let secret = json!({ "name": "Zebrafish", "org": "zebrafish-org" });
    person(&mac).ok(&Call::new("venture.put", secret).param("code", "zebrafish"));
    person(&mac).do_("plan.put", json!({ "priority_venture": "zebrafish", "capacity_notes": "two days" }));
    let plan = |sandbox: &Sandbox| person(sandbox).do_("plan.get", json!({}));
    until(&server, "the plan is there", &Call::new("plan.get", json!({})), |plan| plan["capacity_notes"] == "two days");
    assert_eq!(plan(&mac)["priority_venture"], "zebrafish");
    assert_eq!(plan(&server)["priority_venture"], "a venture that this machine does not read");
    // What it may not have is written first: it would be there when the rest is.
    write_each_kind(&mac, "zebrafish", "hidden");
    write_each_kind(&mac, "alpha", "shown");
    let handoffs = Call::new("handoff.list", json!({ "venture": "alpha" }));
    until(&server, "the handoff is there", &handoffs, |list| list["total"] == 1);
    node(&mac, "it has all that it may have", |reply| connected(reply, 1));
    // Whatever was in memory is in files: the store, the search index, the log.
    server_daemon.stop();
    let holds = |wanted: &str| !files_holding(server.root(), wanted.as_bytes()).is_empty();
    assert!(holds("zzyzxalpha"));
    for kind in KINDS {
        assert!(holds(&format!("{kind}shown")), "{kind}: what it may have lies there as it was written");
        assert!(!holds(&format!("{kind}hidden")), "{kind}");
    }
    for hidden in ["zzyzxbeta", "beta-org", "zebrafish", "Zebrafish"] {
        assert_eq!(files_holding(server.root(), hidden.as_bytes()), Vec::<std::path::PathBuf>::new(), "{hidden}");
    }
}

/// what a writer node may not write is refused there, and a demotion holds everywhere.
#[test]
fn r_08_roles_hold_on_every_node() {
    let mac = ready();
    let _mac_daemon = start(&mac);
    let server = join(&mac, "server", &["--role", "writer"]);
    let _server_daemon = Daemon::start(&server);
    node(&server, "both are equal", |reply| connected(reply, 1));
    let put = Call::new("doc.put", json!({ "content": "# Doc" })).param("scope", "alpha").param("name", "a.md");
    assert_eq!(person(&server).refused(&put).code, ErrorCode::Forbidden);
    let promoted = ctxnode(&mac, &["role", "server", "admin"]);
    assert!(promoted.status.success(), "{}", String::from_utf8_lossy(&promoted.stderr));
    wait_until(SOON, "it may now", || script(&server).ask(&put).is_ok());
    let read = Call::new("doc.get", json!({})).param("scope", "alpha").param("name", "a.md");
    wait_until(SOON, "the doc is here", || script(&mac).ask(&read).is_ok());
    let demoted = ctxnode(&mac, &["role", "server", "reader"]);
    assert!(demoted.status.success(), "{}", String::from_utf8_lossy(&demoted.stderr));
    let note = Call::new("note.create", json!({ "content": "x", "human_requested": true }));
    wait_until(SOON, "it may only read", || script(&server).ask(&note).is_err());
    for words in [&["role", "server", "none"][..], &["invite", "--role", "none"]] {
        let refused = ctxnode(&mac, words);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            refused.status.code() == Some(2) && said.contains("[possible values: reader, writer, admin]"),
            "{said}"
        );
    }
    let unknown = ctxnode(&mac, &["role", "servr", "reader"]);
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(unknown.status.code() == Some(1) && said.contains("server ("), "{said}");
}

/// F-03: a revoked machine is out at once: what it writes from then on is applied nowhere, what others write it does not get,
/// and its status and `doctor` say why.
#[test]
fn f_03_a_revoked_machine_is_out_and_is_told() {
    let mac = ready();
    let _mac_daemon = start(&mac);
    let kept = join(&mac, "kept", &[]);
    let _kept_daemon = Daemon::start(&kept);
    let lost = join(&mac, "lost", &[]);
    let mut lost_daemon = Daemon::start(&lost);
    for sandbox in [&mac, &kept, &lost] {
        node(sandbox, "all are equal", |reply| connected(reply, 2));
    }
    let revoked = ctxnode(&mac, &["revoke", "lost", "--yes"]);
    let said = String::from_utf8_lossy(&revoked.stderr).into_owned();
    assert!(revoked.status.success() && said.contains("what it has copied stays on it"), "{said}");
    for sandbox in [&mac, &kept] {
        node(sandbox, "it is out", |reply| {
            reply["peers"].as_array().unwrap().iter().any(|peer| peer["name"] == "lost" && peer["state"] == "revoked")
        });
    }
    is_out(&lost, &mut lost_daemon, [&mac, &kept]);
    let again = ctxnode(&mac, &["revoke", "nobody", "--yes"]);
    assert_eq!(again.status.code(), Some(1));
    let no_role = ctxnode(&mac, &["role", "lost", "writer"]);
    let said = String::from_utf8_lossy(&no_role.stderr).into_owned();
    assert!(no_role.status.code() == Some(1) && said.contains("was taken out"), "{said}");

    // An admin who lets it in again gets what it has; it keeps its replica.
    let invited: Value = serde_json::from_str(&printed(&ctxnode(&mac, &["invite", "--json"]))).unwrap();
    let joined = ctxnode(&lost, &["join", text(&invited, "code"), "--name", "lost"]);
    assert!(joined.status.success(), "{}", String::from_utf8_lossy(&joined.stderr));
    for sandbox in [&mac, &kept, &lost] {
        node(sandbox, "all are equal again", |reply| connected(reply, 2));
    }
    person(&lost).ok(&note(&lost, "in again"));
    let titles = |sandbox: &Sandbox| {
        let list = person(sandbox).do_("note.list", json!({}));
        let titles = list["items"].as_array().unwrap().iter().map(|note| text(note, "title").to_owned());
        titles.collect::<std::collections::BTreeSet<_>>()
    };
    wait_until(SOON, "everybody has the same notes", || titles(&mac) == titles(&lost) && titles(&mac) == titles(&kept));
}

/// F-01: a code works once; a damaged one, one for a machine that is off, and a machine with a replica are told apart.
#[test]
fn f_01_a_person_is_told_why_a_code_does_not_work() {
    let mac = ready();
    let mut daemon = start(&mac);
    let invited: Value = serde_json::from_str(&printed(&ctxnode(&mac, &["invite", "--json"]))).unwrap();
    let code = text(&invited, "code").to_owned();
    let said = |sandbox: &Sandbox, code: &str| {
        let output = ctxnode(sandbox, &["join", code]);
        assert!(!output.status.success());
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (exit, text_) = said(&mac, &code);
    assert!(exit == Some(1) && text_.contains("a replica exists"), "{text_}");
    let fresh = Sandbox::new();
    let (exit, text_) = said(&fresh, &format!("{}x", &code[..code.len() - 1]));
    assert!(exit == Some(2) && text_.contains("copy it again"), "{text_}");
    assert!(ctxnode(&fresh, &["join", &code]).status.success());
    let other = Sandbox::new();
    let (exit, text_) = said(&other, &code);
    assert!(exit == Some(1) && text_.contains("used") && text_.contains("ctxnode invite"), "{text_}");
    assert!(!other.data_dir().join("store.redb").exists());
    let second: Value = serde_json::from_str(&printed(&ctxnode(&mac, &["invite", "--json"]))).unwrap();
    daemon.stop();
    let (exit, text_) = said(&other, text(&second, "code"));
    assert!(exit == Some(1) && text_.contains("cannot be reached"), "{text_}");
    daemon.restart();
    let invites = person(&mac).do_("invite.list", json!({}));
    let states: Vec<&str> = invites["items"].as_array().unwrap().iter().map(|row| text(row, "state")).collect();
    assert_eq!(states, ["open", "used"]);
}

/// Runs a command line in a terminal of its own and returns what stood there; nothing where the program that makes one is missing.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn on_a_terminal(sandbox: &Sandbox, line: &str) -> Option<String> {
    let mut command = sandbox.command("script");
    if cfg!(target_os = "macos") {
        command.args(["-q", "/dev/null"]).args(line.split(' '));
    } else {
        command.args(["--quiet", "--return", "--command", line, "/dev/null"]);
    }
    let Ok(output) = command.output() else {
        eprintln!("SKIP: script, which makes a terminal, is not installed");
        return None;
    };
    let shown = printed(&output).replace('\r', "");
    assert!(output.status.success(), "{line}: {shown}");
    Some(shown)
}

/// F-01: on a terminal the code of an invitation stands there as a picture too, unless it is not wanted; elsewhere it never does.
#[test]
fn f_01_an_invitation_is_a_picture_too_on_a_terminal_and_nowhere_else() {
    let mac = ready();
    let _daemon = start(&mac);
    let code = |shown: &str| {
        let word = shown.split_whitespace().find(|word| word.starts_with("ctxj-"));
        word.unwrap_or_else(|| panic!("no code: {shown}")).to_owned()
    };
    // The widths of the lines that are part of a picture.
    let picture = |shown: &str| -> Vec<usize> {
        let lines = shown.lines().filter(|line| line.contains(['█', '▀', '▄']));
        lines.map(|line| line.chars().count()).collect()
    };
    let piped = printed(&ctxnode(&mac, &["invite"]));
    code(&piped);
    assert!(picture(&piped).is_empty(), "{piped}");
    let Some(shown) = on_a_terminal(&mac, "ctxnode invite") else { return };
    // Four modules stand around it on each side, and two of them above each other are one character.
    let side = QrCode::with_error_correction_level(code(&shown), EcLevel::L).unwrap().width() + 8;
    assert_eq!(picture(&shown), vec![side; side.div_ceil(2)], "{shown}");
    let shown = on_a_terminal(&mac, "ctxnode invite --no-qr").unwrap();
    code(&shown);
    assert!(picture(&shown).is_empty(), "{shown}");
    let shown = on_a_terminal(&mac, "ctxnode invite --json").unwrap();
    assert!(shown.contains("\"ctxj-") && picture(&shown).is_empty(), "{shown}");
}

/// F-01: a machine that joined is registered on all nodes without a further step.
#[test]
fn f_01_a_machine_that_joined_is_registered_everywhere() {
    let mac = ready();
    let _mac_daemon = start(&mac);
    let server = join(&mac, "server", &[]);
    let _server_daemon = Daemon::start(&server);
    let list = Call::new("machine.list", json!({}));
    for sandbox in [&mac, &server] {
        until(sandbox, "both machines are known", &list, |reply| {
            let keys = reply["items"].as_array().unwrap().iter().map(|machine| machine["node_key"].as_str());
            keys.flatten().collect::<std::collections::BTreeSet<_>>().len() == 2
        });
    }
}
