//! Daemons without sockets: what happens by the clock, on several nodes whose clocks the test sets.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ctxnode_api::{Call, ErrorCode, Right};
use ctxnode_config::{Environment, Inputs, Overrides, Platform};
use ctxnode_model::frontier::Run;
use ctxnode_model::{DocumentId, Edit, Kind, Space, Timestamp};
use ctxnode_store::{
    Clock, ControlOp, LocalTable, Location, ManualClock, NodeSecret, Options, Outcome, Role, SeededEntropy, Store,
    StoreError,
};
use ctxnode_sync::PeerState;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, interval};

use super::{schedule, serve};
use crate::app::App;
use crate::caller::{Bucket, Caller, Via};
use crate::failure::Failure;
use crate::gate::{self, Incoming};
use crate::handlers;
use crate::process::{AgentProcess, ProcessId, parent_of};
use crate::search_index::SearchIndex;

/// 2026-11-23T12:00:00Z.
const NOON: Timestamp = Timestamp(1_795_435_200_000);
const MINUTE: i64 = 60_000;
/// How long two daemons on loopback may take to meet on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Node {
    app: Arc<App>,
    secret: NodeSecret,
    clock: Arc<ManualClock>,
    agent: String,
}

impl Node {
    /// A node whose clock is off by so much; the first of a fleet, or another one of the fleet of `first`.
    fn new(number: u64, off: i64, first: Option<&Self>) -> Self {
        let clock = Arc::new(ManualClock::new(NOON.plus(off)));
        let secret = NodeSecret::generate(&SeededEntropy::new(number));
        let options = Options {
            location: Location::Memory,
            secret: secret.clone(),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            entropy: Arc::new(SeededEntropy::new(number + 1_000)),
            incarnation: None,
        };
        let store = match first {
            None => Store::create(options, "test").unwrap().store,
            Some(first) => Store::create_member(options, first.app.store.genesis().unwrap()).unwrap(),
        };
        if let Some(first) = first {
            let grant = ControlOp::Grant { node: store.node(), role: Role::Writer, spaces: None, name: String::new() };
            let granted = first.app.store.write_blocking(move |draft| draft.control(&grant));
            assert!(granted.is_ok());
        }
        let env = Environment::from_pairs([
            ("HOME", "/nowhere"),
            ("CTXNODE_SYNC_BIND", "127.0.0.1"),
            ("CTXNODE_SYNC_PORT", "0"),
            ("CTXNODE_SYNC_MDNS", "false"),
        ]);
        let inputs = Inputs { platform: Platform::Linux, env: &env, files: &[], overrides: &Overrides::default() };
        let config = ctxnode_config::load(&inputs).unwrap();
        let search = SearchIndex::open(std::path::Path::new("/nowhere"), false);
        Self {
            app: serve::app(config, store, search).unwrap(),
            secret,
            clock,
            agent: format!("claude-host{number}-0000000{number}"),
        }
    }

    /// Calls as an agent of this node, which shows that its session lives.
    async fn ask(&self, call: Call) -> Value {
        self.ask_as(&self.agent, true, call).await
    }

    async fn ask_as(&self, agent: &str, explicit_agent: bool, call: Call) -> Value {
        let caller = Caller {
            actor_key_id: agent.to_owned(),
            agent: agent.to_owned(),
            explicit_agent,
            right: Right::Admin,
            via: Via::Socket,
            bucket: Bucket::Usual,
            ..Caller::nobody()
        };
        let operation = call.operation.clone();
        let incoming = Incoming { call, caller: Ok(caller), correlation: None, idempotency_key: None, broken: None };
        gate::pass(&self.app, incoming).await.result.unwrap_or_else(|error| panic!("{operation}: {error:?}"))
    }

    /// Starts as the agent that this very process would be.
    async fn start_as_own_process(&self) -> Value {
        let process = ProcessId::of(std::process::id()).unwrap();
        let caller = Caller {
            actor_key_id: self.agent.clone(),
            agent: self.agent.clone(),
            right: Right::Admin,
            via: Via::Socket,
            agent_process: AgentProcess::of("claude", process),
            ..Caller::nobody()
        };
        let call = Call::new("sod", json!({ "venture": "alpha", "repo": "alpha-org/console" }));
        let incoming = Incoming { call, caller: Ok(caller), correlation: None, idempotency_key: None, broken: None };
        gate::pass(&self.app, incoming).await.result.unwrap()
    }

    async fn do_(&self, operation: &str, input: Value) -> Value {
        self.ask(Call::new(operation, input)).await
    }

    /// Looks for the others, as what runs `build`.
    fn go_online(&self, build: &str) {
        let fleet = crate::peers::start(&self.app, self.secret.clone(), build).unwrap();
        assert!(self.app.fleet.set(fleet).is_ok());
    }

    /// Waits until its status says of the only peer what is wanted, and returns the whole.
    async fn until(&self, good: impl Fn(&Value) -> bool) -> Value {
        let (deadline, mut tick) = (Instant::now() + PATIENCE, interval(Duration::from_millis(20)));
        loop {
            tick.tick().await;
            let reply = self.do_("node", json!({})).await;
            if good(&reply["peers"][0]) {
                return reply;
            }
            assert!(Instant::now() < deadline, "{reply:#}");
        }
    }

    /// Makes the venture that sessions are of.
    async fn make_venture(&self) {
        let venture = json!({ "name": "Alpha", "org": "alpha-org", "repos": ["alpha-org/console"] });
        self.ask(Call::new("venture.put", venture).param("code", "alpha")).await;
    }

    /// The active sessions and those that are last seen, as a person sees them, who looks without working.
    async fn sessions(&self) -> Value {
        self.ask_as("user-ada", false, Call::new("session.list", json!({ "venture": "alpha" }))).await
    }

    /// What another agent of this node sees of the sessions of others when it starts.
    async fn others(&self) -> Vec<Value> {
        let call = Call::new("sod", json!({ "venture": "alpha", "repo": "alpha-org/console" }));
        let started = self.ask_as(&format!("other-{}", self.agent), true, call).await;
        started["active_sessions"]["items"].as_array().unwrap_or_else(|| panic!("{started:#}")).clone()
    }

    /// Begins a session.
    async fn begin(&self) -> String {
        let started = self.do_("sod", json!({ "venture": "alpha", "repo": "alpha-org/console" })).await;
        started["session_id"].as_str().unwrap_or_else(|| panic!("{started}")).to_owned()
    }

    /// What every daemon does every minute and every hour.
    async fn clean_up(&self) {
        handlers::sweep(&self.app).await.unwrap();
        schedule::save(&self.app).await;
        schedule::purge(&self.app).await.unwrap();
    }

    fn entries(&self) -> Vec<Vec<u8>> {
        let snapshot = self.app.store.read().unwrap();
        let frontier = snapshot.reader().frontier().unwrap();
        let runs = frontier.0.iter().map(|(log, length)| Run { log: *log, from: 1, to: *length });
        runs.flat_map(|run| snapshot.reader().entries(&run, usize::MAX).unwrap()).collect()
    }

    /// How many entries this node itself has written.
    fn written(&self) -> u64 {
        let heads = self.app.store.read().unwrap().reader().heads().unwrap();
        let own = heads.0.iter().filter(|(log, _)| log.author == self.app.store.node());
        own.map(|(_, head)| head.length).sum()
    }

    /// Everything that replicates: how far each log is known, and the view of each record.
    fn replicated(&self) -> Replicated {
        let snapshot = self.app.store.read().unwrap();
        let reader = snapshot.reader();
        let journal = reader.journal_after(0, usize::MAX).unwrap();
        let ids: BTreeSet<DocumentId> = journal.into_iter().flat_map(|(_, row)| row.documents).collect();
        let view = |id: DocumentId| (id, reader.view_bytes(id).unwrap());
        (reader.heads().unwrap().digest(), ids.into_iter().map(view).collect())
    }
}

type Replicated = ([u8; 32], Vec<(DocumentId, (Option<Vec<u8>>, Option<Vec<u8>>))>);

/// Exchanges until all nodes have the same; returns how many entries were new to somebody.
async fn meet(nodes: &[&Node]) -> usize {
    let mut new = 0;
    loop {
        let mut moved = 0;
        for from in nodes {
            for to in nodes {
                let report = to.app.store.ingest(from.entries()).await.unwrap();
                moved += report.outcomes.iter().filter(|outcome| **outcome == Outcome::Applied).count();
            }
        }
        new += moved;
        if moved == 0 {
            return new;
        }
    }
}

async fn fleet(offsets: [i64; 3]) -> [Node; 3] {
    let first = Node::new(1, offsets[0], None);
    let (second, third) = (Node::new(2, offsets[1], Some(&first)), Node::new(3, offsets[2], Some(&first)));
    first.make_venture().await;
    meet(&[&first, &second, &third]).await;
    [first, second, third]
}

async fn statuses(node: &Node, sessions: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for session in sessions {
        // A person, who looks without working.
        let get = Call::new("session.get", json!({})).param("id", *session);
        let one = node.ask_as("user-ada", false, get).await;
        found.push(one["status"].as_str().unwrap().to_owned());
    }
    found
}

/// Lets two nodes meet over the network: the second finds in the record of the first where that listens.
async fn connect(first: &Node, second: &Node) {
    first.go_online(ctxnode_api::version::BUILD);
    assert!(handlers::register_this_machine(&first.app).await.unwrap(), "its record says where it listens");
    meet(&[first, second]).await;
    second.go_online(ctxnode_api::version::BUILD);
}

/// S-05: the clock was set back, so that a session began and was alive in the future. It is not stale, no list fails, and none
/// shows a negative age.
#[tokio::test]
async fn s_05_a_heartbeat_in_the_future_is_alive_and_its_age_is_not_negative() {
    let node = Node::new(1, 0, None);
    node.make_venture().await;
    let session = node.begin().await;
    node.clock.advance(-50 * MINUTE);
    let (id, age) = (json!(session), json!("just now (clock ahead)"));
    let list = node.sessions().await;
    assert_eq!((&list["total"], &list["last_seen"]), (&json!(1), &json!([])), "{list:#}");
    assert_eq!((&list["items"][0]["id"], &list["items"][0]["age"]), (&id, &age), "{list:#}");
    let others = node.others().await;
    assert_eq!(others.len(), 1, "{others:#?}");
    assert_eq!((&others[0]["id"], &others[0]["age"]), (&id, &age), "{others:#?}");
    node.clean_up().await;
    assert_eq!(statuses(&node, &[&session]).await, ["active"]);
}

/// S-06: a stale session that nobody began anew is in no active list although nothing was swept yet; the next sweep abandons it.
#[tokio::test]
async fn s_06_a_stale_session_is_in_no_active_list_and_the_next_sweep_abandons_it() {
    let node = Node::new(1, 0, None);
    node.make_venture().await;
    let session = node.begin().await;
    node.clock.advance(45 * MINUTE);
    assert_eq!(node.sessions().await["total"], 1, "S-04: it is 45:00 old");
    node.clock.advance(1);
    let list = node.sessions().await;
    assert_eq!((&list["items"], &list["total"], &list["last_seen"]), (&json!([]), &json!(0), &json!([])), "{list:#}");
    assert_eq!(node.others().await, Vec::<Value>::new());
    assert_eq!(statuses(&node, &[&session]).await, ["active"], "nothing was swept");
    handlers::sweep(&node.app).await.unwrap();
    assert_eq!(statuses(&node, &[&session]).await, ["abandoned"]);
}

/// S-23: a machine is cut off for two hours, in which its agent works on and both machines sweep. The other one shows its
/// session as last seen, with its age, neither active nor abandoned; when the machine is back, it is active under its id.
#[tokio::test]
async fn s_23_after_two_hours_apart_a_session_is_last_seen_and_then_active_again() {
    let here = Node::new(1, 0, None);
    let away = Node::new(2, 0, Some(&here));
    here.make_venture().await;
    meet(&[&here, &away]).await;
    let session = away.begin().await;
    meet(&[&here, &away]).await;
    for _ in 0..4 {
        for node in [&here, &away] {
            node.clock.advance(30 * MINUTE);
        }
        away.do_("update", json!({})).await;
        here.clean_up().await;
        away.clean_up().await;
    }
    let list = here.sessions().await;
    assert_eq!((&list["items"], &list["total"]), (&json!([]), &json!(0)), "{list:#}");
    let seen = list["last_seen"].as_array().unwrap();
    assert_eq!(seen.len(), 1, "{list:#}");
    assert_eq!((&seen[0]["id"], &seen[0]["age"]), (&json!(session), &json!("2 h")));
    assert_eq!(statuses(&here, &[&session]).await, ["active"], "nobody abandoned it");

    connect(&here, &away).await;
    here.until(|peer| peer["active_sessions"] == 1).await;
    let list = here.sessions().await;
    assert_eq!((&list["total"], &list["last_seen"]), (&json!(1), &json!([])), "{list:#}");
    assert_eq!(list["items"][0]["id"], json!(session));
}

/// S-24: the clock of one machine is 50 minutes ahead of the other's. Ages are what machines tell each other, so a session that
/// lives on either is active on both, and no older or younger than it is.
#[tokio::test]
async fn s_24_a_session_is_active_on_a_machine_whose_clock_is_fifty_minutes_ahead() {
    let ahead = Node::new(1, 50 * MINUTE, None);
    let right = Node::new(2, 0, Some(&ahead));
    ahead.make_venture().await;
    meet(&[&ahead, &right]).await;
    let (there, here) = (ahead.begin().await, right.begin().await);
    connect(&ahead, &right).await;
    for (node, other) in [(&ahead, &here), (&right, &there)] {
        node.until(|peer| peer["active_sessions"].as_u64() >= Some(1)).await;
        let list = node.sessions().await;
        assert_eq!(list["last_seen"], json!([]), "{list:#}");
        let active: Vec<&str> = list["items"].as_array().unwrap().iter().filter_map(|row| row["id"].as_str()).collect();
        assert!(active.contains(&there.as_str()) && active.contains(&here.as_str()), "{list:#}");
        let others = node.others().await;
        let seen = others.iter().find(|row| row["id"] == other.as_str());
        assert_eq!(seen.unwrap_or_else(|| panic!("{others:#?}"))["age"], "just now", "{others:#?}");
    }
}

/// cleanup runs on three nodes at once whose clocks are four minutes apart. A session is judged by its own node and
/// by that node's clock alone, nobody writes about another's, and all stay equal.
#[tokio::test]
async fn q_09_cleanup_on_three_nodes_with_clocks_four_minutes_apart_touches_own_sessions_only() {
    let nodes = fleet([-4 * MINUTE, 0, 4 * MINUTE]).await;
    let [slow, right, fast] = &nodes;
    let all = [slow, right, fast];
    let sessions = [slow.begin().await, right.begin().await, fast.begin().await];
    let ids: Vec<&str> = sessions.iter().map(String::as_str).collect();
    meet(&all).await;
    let pass = |minutes: i64| all.iter().for_each(|node| node.clock.advance(minutes * MINUTE));
    let written = || all.map(Node::written);
    let clean_up = || async { tokio::join!(slow.clean_up(), right.clean_up(), fast.clean_up()) };

    // By the fast clock the session of the slow one began 50 minutes ago.
    pass(42);
    let before = written();
    clean_up().await;
    assert_eq!(written(), before, "nothing was written");
    assert_eq!(meet(&all).await, 0);
    for node in all {
        assert_eq!(statuses(node, &ids).await, ["active"; 3]);
    }

    // Two show life, the third is silent for too long by its own clock.
    for node in [slow, fast] {
        node.do_("update", json!({})).await;
    }
    pass(4);
    let before = written();
    clean_up().await;
    let after = written();
    assert_eq!((after[0], after[2]), (before[0], before[2]), "whose sessions live writes nothing");
    assert!(after[1] > before[1], "the silent session is given up by its own node");
    meet(&all).await;
    for node in all {
        assert_eq!(statuses(node, &ids).await, ["active", "abandoned", "active"]);
        assert_eq!(node.replicated(), slow.replicated());
    }
    // Again, now that all know of it: nothing is left to do.
    let before = written();
    clean_up().await;
    assert_eq!(written(), before);
}

/// a week of heartbeats, tool calls and what counts them on one node adds nothing to what replicates, and a peer gets
/// nothing of it.
#[tokio::test]
async fn q_03_a_week_of_heartbeats_and_calls_adds_nothing_to_what_replicates() {
    let nodes = fleet([0, 0, 0]).await;
    let [busy, peer, other] = &nodes;
    let session = busy.begin().await;
    meet(&[busy, peer, other]).await;
    let (mine, theirs) = (busy.replicated(), peer.replicated());
    let journals = || [busy, peer].map(|node| node.app.store.read().unwrap().reader().journal_end().unwrap());
    let before = journals();
    let calls = ["session.list", "note.list", "claim.list", "context", "plan.get", "preflight"];
    for (turn, operation) in (0..7 * 24 * 6).zip(calls.iter().cycle()) {
        busy.clock.advance(10 * MINUTE);
        busy.do_("update", json!({})).await;
        busy.do_(operation, json!({})).await;
        if turn % 6 == 0 {
            busy.clean_up().await;
        }
    }
    assert_eq!(statuses(busy, &[&session]).await, ["active"], "it was kept alive all the time");
    let log = busy.do_("request-log", json!({ "limit": 1 })).await;
    assert!(log["total"].as_u64().unwrap() > 1_000, "the calls were counted: {log}");
    assert_eq!(busy.replicated(), mine);
    assert_eq!(meet(&[busy, peer, other]).await, 0, "no peer got anything");
    assert_eq!((peer.replicated(), journals()), (theirs, before));
}

/// L-12: what was said of an agent counts for ten minutes, and goes then. A handoff that is not to be had keeps nobody from
/// starting, and is told.
#[tokio::test]
async fn l_12_what_was_said_of_an_agent_ends_after_ten_minutes() {
    let node = Node::new(1, 0, None);
    node.make_venture().await;
    let starter = parent_of(std::process::id()).and_then(ProcessId::of).unwrap();
    let key = format!("\0expected\0{}\0{}", starter.pid, starter.started).into_bytes();
    let say = || {
        let said = json!({
            "venture": "alpha", "repo": "alpha-org/console", "track": 3, "at": node.app.now().0,
            "continues": "ho_01M8511TMBMHGNHEXKNZYZ446C",
        });
        let (key, said) = (key.clone(), said.to_string().into_bytes());
        let written = node.app.store.write_blocking(move |draft| {
            draft.put_local(LocalTable::Bindings, key, said);
            Ok::<(), StoreError>(())
        });
        assert!(written.is_ok());
    };
    let waits = || node.app.store.read().unwrap().reader().local(LocalTable::Bindings, &key).unwrap().is_some();

    say();
    node.clock.advance(11 * MINUTE);
    let late = node.start_as_own_process().await;
    assert!(late["session"]["track"].is_null() && late["warnings"] == json!([]), "{late:#}");
    assert!(waits());
    node.clean_up().await;
    assert!(!waits());

    say();
    node.clock.advance(9 * MINUTE);
    node.clean_up().await;
    let in_time = node.start_as_own_process().await;
    assert_eq!(in_time["session"]["track"], 3, "{in_time:#}");
    let told = in_time["warnings"][0].as_str().unwrap();
    assert!(told.contains("does not go on from ho_01M8511TMBMHGNHEXKNZYZ446C") && told.contains("not exist"), "{told}");
    assert!(!waits());
}

/// A disk that is full while the daemon starts leaves no machine out for good, also when nothing else is written.
#[tokio::test]
async fn a_machine_that_could_not_be_registered_is_tried_again_until_it_is() {
    let node = Node::new(1, 0, None);
    let attempts = AtomicUsize::new(0);
    let attempt = |app: Arc<App>| {
        let is_full = attempts.fetch_add(1, Ordering::SeqCst) < 2;
        async move {
            if is_full {
                return Err(Failure::new(ErrorCode::StorageFailed, "the disk is full"));
            }
            handlers::register_this_machine(&app).await
        }
    };
    let registered = schedule::register(&node.app, attempt, Duration::from_millis(1));
    tokio::time::timeout(PATIENCE, registered).await.unwrap();
    assert_eq!(attempts.load(Ordering::SeqCst), 3);
    let machines = node.do_("machine.list", json!({})).await;
    assert_eq!((&machines["total"], &machines["items"][0]["this_machine"]), (&json!(1), &json!(true)), "{machines:#}");
}

/// Two daemons whose clocks and builds differ: each says which machine is ahead, what the other runs and how many sessions
/// live there, and counts as its own only what lives here.
#[tokio::test]
async fn a_status_says_whose_clock_is_ahead_which_build_runs_there_and_where_sessions_live() {
    let fast = Node::new(1, 10 * MINUTE, None);
    let right = Node::new(2, 0, Some(&fast));
    fast.make_venture().await;
    meet(&[&fast, &right]).await;
    right.begin().await;
    fast.go_online("9.9.9 (other)");
    assert!(handlers::register_this_machine(&fast.app).await.unwrap(), "its record says where it listens");
    meet(&[&fast, &right]).await;
    right.go_online(ctxnode_api::version::BUILD);
    let seen = |peer: &Value| peer["state"] == "connected" && peer["clock_skew_seconds"].is_i64();

    let of_right = right.until(seen).await;
    let peer = &of_right["peers"][0];
    let skew = peer["clock_skew_seconds"].as_i64().unwrap();
    assert!((590..=600).contains(&skew), "it is ahead by what a message takes less: {skew}");
    assert_eq!((&peer["build"], &peer["active_sessions"]), (&json!("9.9.9 (other)"), &json!(0)));
    assert_eq!(of_right["active_sessions"], 1);
    let said = of_right["attention"].to_string();
    assert!(said.contains("ahead of this machine's"), "{said}");

    let of_fast = fast.until(|peer| seen(peer) && peer["active_sessions"] == 1).await;
    let skew = of_fast["peers"][0]["clock_skew_seconds"].as_i64().unwrap();
    assert!((-610..=-600).contains(&skew), "{skew}");
    assert_eq!(of_fast["active_sessions"], 0, "what lives elsewhere is not counted here");
    let said = of_fast["attention"].to_string();
    assert!(said.contains("its clock is 10 min behind this machine's"), "{said}");
}

/// A member of another venture has heard of a session, and writes a handoff and a claim that name it. They lie in its own venture,
/// and do nothing to the session: its end of day goes through, and so do the ends of those that went stale.
#[tokio::test]
async fn what_another_venture_says_of_a_session_does_nothing_to_it() {
    let node = Node::new(1, 0, None);
    for code in ["alpha", "beta"] {
        let venture = json!({ "name": code, "org": "alpha-org", "repos": [format!("alpha-org/{code}")] });
        node.ask(Call::new("venture.put", venture).param("code", code)).await;
    }
    let session = node.begin().await;
    let drafted = |session: &str| Call::new("session.draft", json!({})).param("id", session);
    let own = node.ask(drafted(&session)).await["handoff_id"].clone();
    let named = session.clone();
    let forged = node.app.store.write_blocking(move |draft| {
        let (beta, now) = (Space::Venture("beta".to_owned()), draft.now());
        let common = [Edit::set("venture", "beta"), Edit::set("session_id", named.as_str())];
        let handoff = [Edit::set("drafted", true), Edit::set("payload", "{}"), Edit::set("created_at", now)];
        // More than are looked at of one session.
        for _ in 0..60 {
            let fields = common.clone().into_iter().chain(handoff.clone());
            draft.edit(draft.fresh_id(Kind::Handoff, &beta)?, &beta, fields)?;
        }
        let claim = [
            Edit::set("claim_kind", "path"),
            Edit::set("key", "src/**"),
            Edit::set("repo", "alpha-org/console"),
            Edit::set("taken_at", now.plus(MINUTE)),
            Edit::set("expires_at", now.plus(60 * MINUTE)),
        ];
        draft.edit(draft.fresh_id(Kind::Claim, &beta)?, &beta, common.into_iter().chain(claim))
    });
    assert!(forged.is_ok());
    let taken = node.do_("claim.take", json!({ "session_id": session, "kind": "path", "key": "src/**" })).await;
    let released = node.do_("claim.release", json!({ "session_id": session, "kind": "path", "key": "src/**" })).await;
    assert_eq!(released["id"], taken["claim"]["id"], "{taken:#}");

    node.clock.advance(2 * MINUTE);
    let again = node.ask(drafted(&session)).await;
    assert_eq!(again["handoff_id"], own, "it says the same: {again:#}");
    let latest = node.ask(Call::new("handoff.latest", json!({ "session_id": session })));
    let done = node.do_("eod", json!({ "session_id": session, "accomplished": ["it"], "status": "done" })).await;
    let handoff = done["handoff_id"].as_str().unwrap().to_owned();
    assert_eq!(latest.await["id"], handoff);

    // Another one goes stale instead.
    let stale = node.begin().await;
    node.clock.advance(24 * 60 * MINUTE);
    assert!(handlers::sweep(&node.app).await.is_ok());
    let shown = node.ask(Call::new("session.get", json!({})).param("id", stale)).await;
    assert_eq!(shown["status"], "abandoned", "{shown:#}");
}

/// Waits for what follows by itself.
async fn soon(what: &str, good: impl Fn() -> bool) {
    let (deadline, mut tick) = (Instant::now() + PATIENCE, interval(Duration::from_millis(20)));
    while !good() {
        assert!(Instant::now() < deadline, "{what}");
        tick.tick().await;
    }
}

/// Field mode by interval: the machine looks for the others by itself when it is time.
#[tokio::test]
async fn a_machine_in_field_mode_syncs_by_itself_when_its_interval_is_over() {
    let first = Node::new(1, 0, None);
    let second = Node::new(2, 0, Some(&first));
    connect(&first, &second).await;
    let state = || second.app.fleet.get().unwrap().status()[0].state;
    soon("they are connected", || state() == PeerState::Connected).await;
    let mut rounds = tokio::task::JoinSet::new();
    rounds.spawn(crate::field::run(Arc::clone(&second.app)));
    second.do_("field.on", json!({ "every": "15m", "keep_awake": false })).await;
    soon("it has left", || state() == PeerState::Unreachable).await;
    let note = first.do_("note.create", json!({ "content": "meanwhile", "human_requested": true })).await;
    let id: DocumentId = note["id"].as_str().unwrap().parse().unwrap();
    let has = || second.app.store.read().unwrap().reader().view(id).unwrap().is_some();
    assert!(!has() && state() == PeerState::Unreachable);
    second.clock.advance(15 * MINUTE);
    soon("a round of its own brings it", has).await;
}
