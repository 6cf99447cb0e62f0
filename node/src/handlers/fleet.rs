//! The fleet: invitations, peers, roles.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use ctxnode_api::fleet::{
    AlertView, InviteCreate, InviteCreated, InviteView, PeerAction, PeerReason, PeerState, PeerView, PeersReply,
    RecoverReply, RecoverRequest, RoleSet, WakeRequest,
};
use ctxnode_api::node::{Done, Empty};
use ctxnode_api::notes::DeleteRequest;
use ctxnode_api::operations::PlainAction;
use ctxnode_api::{ErrorBody, ErrorCode, Granted, Iso, List, Right};
use ctxnode_fleet::field::Meter;
use ctxnode_fleet::network::is_tailnet;
use ctxnode_model::{Invalid, NodeKey, Space, Timestamp};
use ctxnode_store::{ControlOp, Draft, RescueError, Role, StoreError};
use ctxnode_sync::{Alert, Fleet, Invite, InviteState, Offer, PeerStatus, Reason};
use data_encoding::HEXLOWER_PERMISSIVE;

use super::who::Names;
use super::{machines, quarantine, spans, ventures};
use crate::app::{Answer, App, Cx, Handled};
use crate::failure::Failure;

const DEFAULT_TTL: Duration = Duration::from_secs(3_600);
const TTL: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(7 * 24 * 3_600);
/// Clocks that differ less are not worth a word.
const SKEW_MS: u64 = 120_000;

pub(super) fn fleet(app: &App) -> Result<&Fleet, Failure> {
    app.fleet.get().ok_or_else(|| Failure::new(ErrorCode::Starting, "the daemon is starting"))
}

pub(crate) async fn peers(cx: &Cx, _: Empty) -> Handled {
    let items = views(&cx.app, cx.now());
    let fleet = fleet(&cx.app)?;
    Answer::ok(PeersReply {
        shown: items.len(),
        total: items.len() as u64,
        has_more: false,
        items,
        listening: fleet.addresses().iter().map(ToString::to_string).collect(),
        problem: fleet.bind_error(),
        alerts: alerts(&cx.app),
    })
}

/// Returns how every other node stands, by name.
pub(super) fn views(app: &App, now: Timestamp) -> Vec<PeerView> {
    let Some(fleet) = app.fleet.get() else { return Vec::new() };
    // The founder was never granted anything, so only its machine has a name.
    let names = app.store.read().map_err(Failure::from).and_then(|snapshot| Names::read(&app.store, snapshot.reader()));
    let named = |mut status: PeerStatus| {
        if let (true, Ok(names)) = (status.name.is_empty(), &names) {
            status.name = names.of(status.node);
        }
        status
    };
    let mut views: Vec<PeerView> = fleet.status().into_iter().map(|status| view(named(status), now)).collect();
    views.sort_by(|a, b| (&a.name, &a.node).cmp(&(&b.name, &b.node)));
    views
}

/// Returns what happened between replicas that a person should know and nobody has read yet.
pub(super) fn alerts(app: &App) -> Vec<AlertView> {
    app.fleet.get().map(Fleet::alerts).unwrap_or_default().into_iter().map(alert).collect()
}

fn alert(alert: Alert) -> AlertView {
    AlertView { at: Iso(alert.at), text: alert.text }
}

/// Returns the line of a start that says so.
pub(super) fn alert_line(app: &App) -> Option<String> {
    let alerts = alerts(app);
    let newest = alerts.last()?;
    let more = if alerts.len() > 1 { format!(" (and {} more)", alerts.len() - 1) } else { String::new() };
    Some(format!("tell the human: {}{more}; `ctxnode fleet acknowledge` when it is read", newest.text))
}

pub(crate) async fn acknowledge(cx: &Cx, _: PlainAction) -> Handled {
    let items: Vec<AlertView> = fleet(&cx.app)?.acknowledge_alerts().await?.into_iter().map(alert).collect();
    cx.commit(move |_| Ok((200, List::all(items)))).await
}

fn right_of(role: Option<Role>) -> Right {
    match role {
        Some(Role::Admin) => Right::Admin,
        Some(Role::Writer) => Right::Writer,
        Some(Role::Reader) => Right::Reader,
        None => Right::None,
    }
}

fn role_of(granted: Granted) -> Role {
    match granted {
        Granted::Admin => Role::Admin,
        Granted::Writer => Role::Writer,
        Granted::Reader => Role::Reader,
    }
}

fn view(status: PeerStatus, now: Timestamp) -> PeerView {
    let state = match status.state {
        ctxnode_sync::PeerState::Connected => PeerState::Connected,
        ctxnode_sync::PeerState::Forwarded => PeerState::ViaOthers,
        ctxnode_sync::PeerState::Unreachable => PeerState::Unreachable,
        ctxnode_sync::PeerState::Revoked => PeerState::Revoked,
    };
    let path = status.path.as_ref();
    let skew = status.skew_ms.filter(|skew| skew.unsigned_abs() > SKEW_MS).map(|skew| skew / 1_000);
    let reachable = matches!(state, PeerState::Connected | PeerState::ViaOthers);
    let trouble = (!reachable && state != PeerState::Revoked).then_some(status.trouble).flatten();
    let unsent_for = status.unsent_since.and_then(|since| u64::try_from(now.since(since) / 1_000).ok());
    PeerView {
        node: status.node.to_string(),
        name: status.name,
        role: right_of(status.role),
        state,
        path: path.map(|path| path.address.map_or("relay", |address| kind_of_path(address.ip())).to_owned()),
        address: path.and_then(|path| path.address.map(|address| address.to_string()).or_else(|| path.relay.clone())),
        rtt_ms: path.map(|path| (path.rtt.as_secs_f64() * 10_000.0).round() / 10.0),
        we_lack: status.lacks.map(|lacks| lacks.own),
        they_lack: status.lacks.map(|lacks| lacks.peer),
        unacknowledged_seconds: status.behind_for.map(|time| time.as_secs()).or(unsent_for.filter(|_| path.is_none())),
        unsent: status.unsent,
        last_seen: status.last_seen.map(Iso),
        last_seen_age: status.last_seen.map(|at| at.age(now)),
        build: Some(status.software).filter(|build| !build.is_empty()),
        clock_skew_seconds: skew,
        active_sessions: status.sessions.filter(|_| reachable).map(|sessions| sessions.len() as u64),
        reason: trouble.as_ref().map(|trouble| reason_of(trouble.reason)),
        fix: trouble.as_ref().map(|trouble| fix_of(trouble.reason).to_owned()),
        problem: trouble.map(|trouble| trouble.text),
        addresses: status.addresses.iter().map(ToString::to_string).collect(),
    }
}

fn kind_of_path(ip: IpAddr) -> &'static str {
    match ip {
        ip if is_tailnet(ip) => "tailnet",
        IpAddr::V4(ip) if ip.is_private() || ip.is_link_local() => "lan",
        IpAddr::V6(ip) if ip.is_unique_local() || ip.is_unicast_link_local() => "lan",
        _ => "direct",
    }
}

fn reason_of(reason: Reason) -> PeerReason {
    match reason {
        Reason::NoAddress => PeerReason::NoAddress,
        Reason::NoAnswer => PeerReason::NoAnswer,
        Reason::UnknownKey => PeerReason::UnknownKey,
        Reason::Revoked => PeerReason::Revoked,
        Reason::Protocol => PeerReason::Protocol,
        Reason::OtherFleet => PeerReason::OtherFleet,
        Reason::Away => PeerReason::Away,
        Reason::Paused => PeerReason::Paused,
        Reason::Other => PeerReason::Other,
    }
}

/// What a person can do about a peer that is not reached.
fn fix_of(reason: Reason) -> &'static str {
    match reason {
        Reason::NoAddress => {
            "start its daemon; if it is on another network, put both on one tailnet, or add it to `[sync] peers` \
             (`ctxnode status` on that machine shows where it listens)"
        }
        Reason::NoAnswer => {
            "is that machine on, does its daemon run, and is its UDP port open (4748 unless configured)?"
        }
        Reason::UnknownKey => {
            "it does not know this node yet; it will when it has met a node that does. If none is left (it was restored from an \
             older backup): `ctxnode invite` there and `ctxnode join CODE` here"
        }
        Reason::Revoked => {
            "this node was taken out of the fleet; an admin lets it in again with a new invitation: `ctxnode invite` there and \
             `ctxnode join CODE` here, which keeps this replica"
        }
        Reason::Protocol => "update the older of the two: `ctxnode --version` on both",
        Reason::OtherFleet => {
            "its replica is of another fleet (`ctxnode status` there): bring the right one back there with `ctxnode restore`, \
             or take it out here with `ctxnode revoke`"
        }
        Reason::Away => "it is in field mode and comes back by itself",
        Reason::Paused => "`ctxnode fleet sync` looks for it now; `ctxnode field off` keeps in touch",
        Reason::Other => "`ctxnode fleet sync` tries again; the daemon's log has the details",
    }
}

/// Finds a node by its name or the beginning of its key.
fn resolve(cx: &Cx, wanted: &str) -> Result<NodeKey, Failure> {
    let authority = cx.app.store.authority();
    let known: Vec<NodeKey> = authority.members().map(|(node, _)| node).chain(authority.revoked()).collect();
    let names = Names::read(&cx.app.store, cx.read()?.reader())?;
    let named = |node: &NodeKey| names.of(*node) == wanted;
    let begins = |node: &NodeKey| wanted.len() >= 4 && node.to_string().starts_with(&wanted.to_ascii_lowercase());
    let found: Vec<NodeKey> = known.iter().copied().filter(|node| named(node) || begins(node)).collect();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => {
            let names: Vec<String> = known.iter().map(|node| label(&authority, node)).collect();
            let error = ErrorBody::new(ErrorCode::NotFound, format!("no node is called `{wanted}`"));
            Err(error.hint(format!("the nodes are {}", names.join(", "))).into())
        }
        several => {
            let names: Vec<String> = several.iter().map(|node| label(&authority, node)).collect();
            Err(Failure::from(ErrorBody::field("node", format!("is one of several: {}", names.join(", ")))))
        }
    }
}

fn label(authority: &ctxnode_store::Authority, node: &NodeKey) -> String {
    let key = &node.to_string()[..8];
    match authority.name(node) {
        Some(name) if !name.is_empty() => format!("{name} ({key})"),
        _ => key.to_owned(),
    }
}

pub(crate) async fn revoke(cx: &Cx, _: PeerAction) -> Handled {
    let node = resolve(cx, cx.param("node"))?;
    if node == cx.app.store.node() {
        return Err(Failure::from(ErrorBody::field("node", "is this machine: revoke it from another one")));
    }
    let (app, origin) = (Arc::clone(&cx.app), cx.origin());
    change(cx, node, move |draft| {
        machines::give_up_sessions(draft, &app, node, &origin)?;
        let cuts = draft.cuts_of(node)?;
        Ok(draft.control(&ControlOp::Revoke { node, cuts })?)
    })
    .await
}

pub(crate) async fn role(cx: &Cx, input: RoleSet) -> Handled {
    let role = input.role.map(role_of);
    let role = role.ok_or_else(|| Failure::from(ErrorBody::field("role", "is required: reader, writer or admin")))?;
    let node = resolve(cx, cx.param("node"))?;
    if node == cx.app.store.node() {
        // A demotion ends before what it is said with, so it would take itself back.
        return Err(Failure::from(ErrorBody::field("node", "is this machine: change its role from another one")));
    }
    if cx.app.store.authority().role(&node).is_none() {
        let error = ErrorBody::field("node", "was taken out of the fleet, so it has no role");
        return Err(error
            .hint("`ctxnode invite --role ROLE` here and `ctxnode join CODE` there let it in again")
            .into());
    }
    change(cx, node, move |draft| {
        let cuts = draft.cuts_of(node)?;
        Ok(draft.control(&ControlOp::SetRole { node, role, cuts })?)
    })
    .await
}

pub(crate) async fn accept(cx: &Cx, _: PeerAction) -> Handled {
    let node = resolve(cx, cx.param("node"))?;
    if !quarantine::holds_back(cx, node)? {
        return cx.commit(|_| Ok((200, Done { changed: false }))).await;
    }
    let raised = cx.commit(move |draft| {
        let cuts = draft.cuts_of(node)?;
        for cut in &cuts {
            draft.control(&ControlOp::AcceptUpTo { cut: *cut, before: Vec::new() })?;
        }
        Ok((200, Done { changed: !cuts.is_empty() }))
    });
    raised.await
}

/// Takes in what the recovery key signed. The signature is the right: this node may be a reader, or revoked.
pub(crate) async fn recover(cx: &Cx, input: RecoverRequest) -> Handled {
    let entry = input.entry.ok_or_else(|| Failure::from(ErrorBody::field("entry", "is required")))?;
    let bytes = HEXLOWER_PERMISSIVE.decode(entry.as_bytes());
    let bytes = bytes.map_err(|_| Failure::from(ErrorBody::field("entry", "is not hex")))?;
    match cx.app.store.rescue(bytes).await {
        Ok(()) => {}
        Err(RescueError::Store(error)) => return Err(error.into()),
        Err(error @ RescueError::OtherKey) => {
            let body = ErrorBody::new(ErrorCode::Forbidden, error.to_string());
            return Err(body.hint("it was shown by `ctxnode init` on the first machine of this fleet").into());
        }
        Err(error) => return Err(ErrorBody::field("entry", error.to_string()).into()),
    }
    let store = &cx.app.store;
    let authority = store.authority();
    let reply = RecoverReply {
        node: store.node().to_string(),
        role: right_of(authority.role(&store.node())),
        members: authority.members().count(),
    };
    cx.commit(|_| Ok((200, reply))).await
}

/// Stages what changes a node's standing and answers how it stands then.
async fn change(
    cx: &Cx,
    node: NodeKey,
    stage: impl FnOnce(&mut Draft<'_>) -> Result<(), Failure> + Send + 'static,
) -> Handled {
    if cx.app.store.authority().is_pinned(&node) {
        let message = "the recovery key made this node an admin, and what it says nobody else can change";
        return Err(ErrorBody::new(ErrorCode::Forbidden, message).into());
    }
    let done = cx.commit(move |draft| {
        stage(draft)?;
        Ok((200, Done { changed: true }))
    });
    done.await?;
    let now = cx.now();
    let status = fleet(&cx.app)?.status().into_iter().find(|status| status.node == node);
    let answer = match status {
        Some(status) => Answer::ok(view(status, now))?,
        None => Answer::ok(Done { changed: true })?,
    };
    cx.completed(answer).await
}

pub(crate) async fn wake(cx: &Cx, input: WakeRequest) -> Handled {
    let fleet = fleet(&cx.app)?;
    let mut invalid = Invalid::new();
    let says_where = !input.addresses.is_empty() || input.relay.is_some();
    invalid.require(input.node.is_some() || !says_where, "node", "is required: whose addresses are these?");
    invalid.require(input.node.is_none() || says_where, "addresses", "are required with `node`: where is it?");
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for (at, text) in input.addresses.iter().enumerate() {
        match text.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => {
                invalid.add(format!("addresses[{at}]"), "expected an IP address and a port, like `192.168.7.2:4748`")
            }
        }
    }
    invalid.finish()?;
    let node = input.node.as_deref().map(|wanted| resolve(cx, wanted)).transpose()?;
    let now = cx.now();
    if cx.app.field.now().and_then(|setting| setting.left(now)) == Some(0) {
        let until = Timestamp(Meter::renews_at(now.0));
        let message = format!("field mode's bytes are used up until {}", until.iso());
        let mut error = ErrorBody::new(ErrorCode::RateLimited, message);
        error.retry_after_seconds = u64::try_from(until.since(now) / 1_000).ok();
        return Err(error.hint("`ctxnode field on --budget` with more, or `ctxnode field off`").into());
    }
    if let Some(node) = node {
        let own = cx.app.store.node();
        if node == own || cx.app.store.authority().role(&node).is_none() {
            return Err(ErrorBody::field("node", "is no other member of the fleet").into());
        }
        fleet.is_at(node, &addresses, input.relay.as_deref());
    }
    crate::field::sync_now(&cx.app).await;
    cx.commit(|_| Ok((200, Done { changed: true }))).await
}

pub(crate) async fn invite(cx: &Cx, input: InviteCreate) -> Handled {
    let mut invalid = Invalid::new();
    let (text, seconds) = (("ttl", input.ttl.as_deref()), ("ttl_seconds", input.ttl_seconds));
    let ttl = spans::check_seconds(&mut invalid, text, seconds, &TTL, "1h").unwrap_or(DEFAULT_TTL);
    let named = input.ventures.iter().enumerate().map(|(at, code)| (format!("ventures[{at}]"), code.as_str()));
    let is_limited_admin = input.role == Some(Granted::Admin) && !input.ventures.is_empty();
    invalid.require(
        !is_limited_admin,
        "ventures",
        "an admin reads and writes every venture: leave them out, or invite a writer",
    );
    ventures::finish(cx, invalid, named)?;
    let store = &cx.app.store;
    if store.authority().role(&store.node()) != Some(Role::Admin) {
        return Err(Failure::new(ErrorCode::Forbidden, "only an admin node can invite"));
    }
    let fleet = fleet(&cx.app)?;
    let addresses: Vec<SocketAddr> = fleet
        .listen()
        .await
        .map_err(|error| ErrorBody::new(ErrorCode::Internal, error.to_string()).hint("set another `[sync] port`"))?;
    let relay = fleet.relay().await;
    let id = store.fleet();
    let spaces: BTreeSet<_> = input.ventures.iter().map(|code| Space::of(Some(code)).id(&id)).collect();
    let offer = Offer {
        role: input.role.map_or(Role::Writer, role_of),
        spaces: (!input.ventures.is_empty()).then_some(spaces),
        ventures: input.ventures,
        expires_at: cx.now().plus(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)),
    };
    let made = ctxnode_sync::create_invite(store, offer, addresses, relay).await;
    let (invite, code) = made.map_err(|error| Failure::Store(error.flatten()))?;
    // The answer is not kept for a replay: the code is shown once, and stored nowhere.
    Answer::of(201, InviteCreated { code: code.to_string(), invite: invite_view(&invite, cx.now()) })
}

fn invite_view(invite: &Invite, now: Timestamp) -> InviteView {
    let state = match invite.state(now) {
        InviteState::Open => "open",
        InviteState::Used => "used",
        InviteState::Expired => "expired",
    };
    InviteView {
        id: invite.id.clone(),
        role: right_of(Some(invite.offer.role)),
        ventures: invite.offer.ventures.clone(),
        state: state.to_owned(),
        created_at: Iso(invite.created_at),
        expires_at: Iso(invite.offer.expires_at),
        used_by: invite.used_by.map(|node| node.to_string()),
    }
}

pub(crate) async fn invites(cx: &Cx, _: Empty) -> Handled {
    let now = cx.now();
    let all = ctxnode_sync::invites(cx.read()?.reader())?;
    Answer::ok(List::all(all.iter().map(|invite| invite_view(invite, now)).collect()))
}

pub(crate) async fn withdraw(cx: &Cx, _: DeleteRequest) -> Handled {
    let id = cx.param("id").to_owned();
    let done = ctxnode_sync::withdraw_invite(&cx.app.store, id.clone()).await;
    if !done.map_err(|error: ctxnode_store::WriteError<StoreError>| Failure::Store(error.flatten()))? {
        return Err(Failure::not_found("invitation", &id));
    }
    cx.commit(|_| Ok((200, Done { changed: true }))).await
}

#[cfg(test)]
mod tests {
    use ctxnode_sync::{Path, Traffic};

    use super::*;

    fn status(skew_ms: i64) -> PeerStatus {
        PeerStatus {
            node: NodeKey([7; 32]),
            name: "laptop".to_owned(),
            role: Some(Role::Writer),
            state: ctxnode_sync::PeerState::Unreachable,
            path: None,
            traffic: Traffic::default(),
            lacks: None,
            behind_for: None,
            last_seen: None,
            software: "9.9.9 (other)".to_owned(),
            skew_ms: Some(skew_ms),
            sessions: None,
            unsent: Some(2),
            unsent_since: Some(Timestamp(1_000)),
            trouble: None,
            addresses: Vec::new(),
        }
    }

    #[test]
    fn a_clock_that_is_off_by_more_than_two_minutes_keeps_its_sign() {
        let skew = |ms: i64| view(status(ms), Timestamp(0)).clock_skew_seconds;
        assert_eq!([120_000, 121_000, -120_000, -121_000].map(skew), [None, Some(121), None, Some(-121)]);
    }

    #[test]
    fn what_an_unreachable_peer_lacks_has_its_age_and_its_sessions_are_unknown() {
        let seen = view(status(0), Timestamp(91_000));
        assert_eq!((seen.unsent, seen.unacknowledged_seconds, seen.active_sessions), (Some(2), Some(90), None));
        assert_eq!(seen.build.as_deref(), Some("9.9.9 (other)"));
    }

    #[test]
    fn a_path_is_named_after_the_network_that_it_goes_through() {
        let named = |over: &str| {
            let address = over.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, 4_748));
            let relay = address.is_none().then(|| over.to_owned());
            let path = Path { address, relay, rtt: Duration::from_millis(1) };
            let connected = ctxnode_sync::PeerState::Connected;
            view(PeerStatus { state: connected, path: Some(path), ..status(0) }, Timestamp(0)).path
        };
        let wanted: [(&str, &[&str]); 4] = [
            ("tailnet", &["100.64.0.0", "100.127.255.255", "fd7a:115c:a1e0::", "fd7a:115c:a1e0:ffff::1"]),
            ("lan", &["10.0.0.5", "172.16.0.1", "192.168.1.20", "169.254.1.1", "fd7a:115c:a1e1::5", "fe80::1"]),
            // The first two are beside the addresses of tailnets.
            ("direct", &["100.63.255.255", "100.128.0.0", "203.0.113.7", "2001:db8::7"]),
            ("relay", &["https://relay.example/"]),
        ];
        for (name, all) in wanted {
            for over in all {
                assert_eq!(named(over).as_deref(), Some(name), "{over}");
            }
        }
    }

    #[test]
    fn a_replica_of_another_fleet_has_two_ways_out() {
        let fix = fix_of(Reason::OtherFleet);
        assert!(fix.contains("`ctxnode restore`") && fix.contains("`ctxnode revoke`"), "{fix}");
    }
}
