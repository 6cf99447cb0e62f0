//! Claims: who holds what, advisory.

use std::sync::Arc;

use ctxnode_api::claims::{ClaimQuery, ClaimRelease, ClaimReply, ClaimTake, ClaimView, ReleaseReply};
use ctxnode_api::node::ClashView;
use ctxnode_api::{ErrorBody, ErrorCode, Iso, List, Right};
use ctxnode_model::index::Index;
use ctxnode_model::record::{Claim, ClaimKind, Session, SessionStatus};
use ctxnode_model::rules::claim::{
    ClaimFields, ClaimState, Insist, Release, Releaser, Take, beaten_by, claim_state, decide_release, decide_take,
    implied, rivals,
};
use ctxnode_model::rules::presence::Liveness;
use ctxnode_model::rules::repo::same_repo;
use ctxnode_model::rules::secrets;
use ctxnode_model::rules::start::superseded_twins;
use ctxnode_model::{DocumentId, Edit, Kind, Rec, RecordMeta, Space, Timestamp};
use ctxnode_store::{Draft, Listing, LocalTable, Reader};

use super::sessions::{self, refuse_secrets, session_of};
use super::{events, paging, ventures};
use serde::{Deserialize, Serialize};

use crate::app::{Answer, App, Cx, Handled};
use crate::failure::Failure;

/// The claims of a venture that are not over, with those that sessions imply by their issue and branch.
pub(super) fn standing(
    reader: Reader<'_>,
    app: &App,
    venture: &str,
    now: Timestamp,
) -> Result<Vec<Rec<Claim>>, Failure> {
    let mut open = reader.newest::<Session>(Index::SessionOpen, Kind::Session, &[venture], usize::MAX)?;
    let losers = superseded_twins(open.iter().map(|session| (session.id, &session.value)));
    open.retain(|session| !losers.contains_key(&session.id));
    let liveness = |session: &Rec<Session>| {
        if sessions::is_live(app, session, now) {
            Liveness::Active
        } else if sessions::is_away(app, session, now) {
            Liveness::LastSeen
        } else {
            Liveness::Stale
        }
    };
    let holder = |id: &str| open.iter().find(|session| session.id.to_string() == id).map(liveness);
    let mut claims = reader.newest::<Claim>(Index::ClaimLive, Kind::Claim, &[venture], usize::MAX)?;
    claims.retain(|claim| claim_state(claim, holder(&claim.session_id), now) != ClaimState::Over);
    for session in open.iter().filter(|session| liveness(session) != Liveness::Stale) {
        claims.extend(implied(session, None));
    }
    Ok(claims)
}

fn view(app: &App, reader: Reader<'_>, claim: &Rec<Claim>, all: &[Rec<Claim>], now: Timestamp) -> ClaimView {
    let session = DocumentId::parse(Kind::Session, &claim.session_id).ok();
    let session = session.and_then(|id| reader.get::<Session>(id).ok().flatten());
    ClaimView {
        id: (claim.id.kind == Kind::Claim).then(|| claim.id.to_string()),
        kind: claim.claim_kind,
        key: claim.key.clone(),
        venture: claim.venture.clone(),
        repo: claim.repo.clone(),
        session_id: claim.session_id.clone(),
        agent: claim.agent.clone(),
        machine: claim.machine.clone(),
        note: claim.note.clone(),
        taken_at: Iso(claim.taken_at),
        expires_at: Iso(claim.expires_at),
        age: claim.taken_at.age(now),
        last_seen: session.is_some_and(|session| sessions::is_away(app, &session, now)),
        beaten_by: beaten_by(claim, all).map(|other| format!("{} ({})", other.agent, other.session_id)),
    }
}

/// What others of the venture hold, at the start of a session.
pub(super) fn of_others(
    reader: Reader<'_>,
    app: &App,
    session: &Rec<Session>,
    now: Timestamp,
) -> Result<Vec<ClaimView>, Failure> {
    let all = standing(reader, app, &session.venture, now)?;
    let own = session.id.to_string();
    Ok(all.iter().filter(|claim| claim.session_id != own).map(|claim| view(app, reader, claim, &all, now)).collect())
}

/// What a session holds.
pub(super) fn of_session(
    reader: Reader<'_>,
    app: &App,
    session: &Rec<Session>,
    now: Timestamp,
) -> Result<Vec<ClaimView>, Failure> {
    let all = standing(reader, app, &session.venture, now)?;
    let own = session.id.to_string();
    Ok(all.iter().filter(|claim| claim.session_id == own).map(|claim| view(app, reader, claim, &all, now)).collect())
}

/// A claim of a session on what another session claims too.
struct Clash {
    /// The same for the same news: a clash whose winner changed is told again.
    key: String,
    text: String,
}

fn clashes_of(reader: Reader<'_>, app: &App, session: &Rec<Session>, now: Timestamp) -> Result<Vec<Clash>, Failure> {
    let all = standing(reader, app, &session.venture, now)?;
    let own = session.id.to_string();
    let mut found: Vec<Clash> = Vec::new();
    for claim in all.iter().filter(|claim| claim.session_id == own) {
        let winner = beaten_by(claim, &all);
        for rival in rivals(claim, &all) {
            let (kind, thing) = (kind_name(claim.claim_kind), &claim.key);
            let wins = match winner {
                Some(winner) if winner.session_id == rival.session_id => "theirs was first and holds",
                Some(_) => "neither of you was first",
                None => "yours was first and holds",
            };
            let key = format!("{kind} {thing} {} {wins}", rival.session_id);
            let text = format!("{} on {} claims {kind} `{thing}` too: {wins}", rival.agent, rival.machine);
            if found.iter().all(|clash| clash.key != key) {
                found.push(Clash { key, text });
            }
        }
    }
    Ok(found)
}

/// What a session should know about its claims, each time that it starts or asks.
pub(super) fn warnings(
    reader: Reader<'_>,
    app: &App,
    session: &Rec<Session>,
    now: Timestamp,
) -> Result<Vec<String>, Failure> {
    Ok(clashes_of(reader, app, session, now)?.into_iter().map(|clash| clash.text).collect())
}

/// The most clashes that a session is remembered to have been told of.
const TOLD: usize = 256;
/// Why a note about the session's own issue or branch is not taken.
const NO_NOTE: &str =
    "leave it out: what is the session's own issue or branch is held without a claim that could keep a note";

/// Returns what an agent has not been told yet about the claims of its session, and notes that it is told now.
pub(crate) async fn news(app: &Arc<App>, agent: &str) -> Result<Vec<String>, Failure> {
    let (key, clashes) = {
        let snapshot = app.store.read()?;
        let reader = snapshot.reader();
        let Some(bound) = sessions::bound(reader, agent)?.into_iter().next() else { return Ok(Vec::new()) };
        let session = reader.get::<Session>(bound.session)?;
        let Some(session) = session.filter(|session| session.status() == SessionStatus::Active) else {
            return Ok(Vec::new());
        };
        let key = [b"clashes:".as_slice(), &session.id.to_bytes()].concat();
        let told = told(reader, &key)?;
        let mut clashes = clashes_of(reader, app, &session, app.now())?;
        clashes.retain(|clash| !told.contains(&clash.key));
        (key, clashes)
    };
    if clashes.is_empty() {
        return Ok(Vec::new());
    }
    let done = app.store.write(move |draft| {
        let mut told = told(draft.reader(), &key)?;
        let mut texts = Vec::new();
        for clash in clashes {
            // Two replies at once: one of them tells it.
            if !told.contains(&clash.key) {
                told.push(clash.key);
                texts.push(clash.text);
            }
        }
        let surplus = told.len().saturating_sub(TOLD);
        told.drain(..surplus);
        let row = Told { at: draft.now().0, told };
        draft.put_local(LocalTable::Captures, key, serde_json::to_vec(&row).unwrap_or_default());
        Ok::<Vec<String>, Failure>(texts)
    });
    Ok(done.await?.value)
}

fn told(reader: Reader<'_>, key: &[u8]) -> Result<Vec<String>, Failure> {
    let found = reader.local(LocalTable::Captures, key)?;
    let row: Option<Told> = found.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(row.map(|row| row.told).unwrap_or_default())
}

/// What a session was told, and when last: rows that are old are purged.
#[derive(Serialize, Deserialize)]
struct Told {
    at: i64,
    told: Vec<String>,
}

pub(crate) async fn list(cx: &Cx, input: ClaimQuery) -> Handled {
    let snapshot = cx.read()?;
    let reader = snapshot.reader();
    let now = cx.now();
    let codes = match input.venture {
        Some(code) => vec![ventures::require(reader, &cx.caller, &code)?.code.clone()],
        None => ventures::all_living(reader)?.into_iter().map(|venture| venture.code.clone()).collect(),
    };
    let mut items = Vec::new();
    for code in codes.iter().filter(|code| cx.caller.sees(Some(code))) {
        let all = standing(reader, &cx.app, code, now)?;
        items.extend(all.iter().map(|claim| view(&cx.app, reader, claim, &all, now)));
    }
    Answer::ok(List::all(items))
}

/// The claims of all ventures that have to give way to another.
pub(super) fn clashes(reader: Reader<'_>, cx: &Cx, now: Timestamp) -> Result<Vec<ClashView>, Failure> {
    let mut found = Vec::new();
    let codes = ventures::all_living(reader)?.into_iter().map(|venture| venture.code.clone());
    for venture in codes.filter(|code| cx.caller.sees(Some(code))) {
        let all = standing(reader, &cx.app, &venture, now)?;
        let name = |claim: &Rec<Claim>| format!("{} on {}", claim.agent, claim.machine);
        found.extend(all.iter().filter_map(|claim| {
            let winner = beaten_by(claim, &all)?;
            let kind = kind_name(claim.claim_kind).to_owned();
            let (loser, winner) = (name(claim), name(winner));
            Some(ClashView { venture: venture.clone(), kind, key: claim.key.clone(), loser, winner })
        }));
    }
    Ok(found)
}

pub(crate) async fn take(cx: &Cx, input: ClaimTake) -> Handled {
    let fields =
        ClaimFields { kind: input.kind, key: input.key.clone(), note: input.note.clone(), ttl_hours: input.ttl_hours };
    let wanted = fields.validate()?;
    if let Some(note) = &input.note {
        refuse_secrets(secrets::scan_fields([("note".to_owned(), note.as_str())]))?;
    }
    let session = session_of(cx, input.session_id.as_deref()).await?;
    cx.caller.require_venture(Some(&session.venture))?;
    let (app, origin) = (Arc::clone(&cx.app), cx.origin());
    cx.commit(move |draft| {
        let now = draft.now();
        let reader = draft.reader();
        sessions::require_active(&session, now)?;
        let all = standing(reader, &app, &session.venture, now)?;
        let claim = Claim {
            claim_kind: wanted.kind,
            key: wanted.key,
            venture: session.venture.clone(),
            repo: session.repo.clone(),
            session_id: session.id.to_string(),
            agent: session.agent.clone(),
            machine: session.machine.clone(),
            note: input.note.clone(),
            taken_at: now,
            expires_at: now.plus(wanted.lifetime_ms),
            actor_key_id: origin.actor_key_id.clone(),
            creation_correlation_id: origin.correlation.clone(),
            ..Claim::default()
        };
        let insist = if input.force { Insist::Force } else { Insist::No };
        let space = Space::of(Some(&session.venture));
        let (rec, extended) = match decide_take(&claim, &all, insist) {
            Take::Held(holders) => return Err(held(&all, &holders, now)),
            Take::Extend(id) => {
                // The issue and the branch of a session have one id.
                let is_it =
                    |own: &&Rec<Claim>| own.id == id && own.claim_kind == claim.claim_kind && own.key == claim.key;
                let own = all.iter().find(is_it).cloned();
                let own = own.ok_or_else(|| Failure::not_found("claim", &id.to_string()))?;
                (extend(draft, &space, own, &claim)?, true)
            }
            Take::Store { forced } => (store(draft, &space, Claim { forced, ..claim })?, false),
        };
        let conflicts: Vec<ClaimView> =
            rivals(&rec, &all).into_iter().map(|other| view(&app, reader, other, &all, now)).collect();
        if !extended && rec.forced {
            let text = format!("{} took {} `{}` although it is held", rec.agent, kind_name(rec.claim_kind), rec.key);
            events::stage(draft, "claim_conflict", &session, session.issue, &text, &origin)?;
        }
        Ok((
            if extended { 200 } else { 201 },
            ClaimReply { claim: view(&app, reader, &rec, &all, now), extended, conflicts },
        ))
    })
    .await
}

/// Stores a claim; returns it as it will be read.
fn store(draft: &mut Draft<'_>, space: &Space, claim: Claim) -> Result<Rec<Claim>, Failure> {
    let id = draft.fresh_id(Kind::Claim, space)?;
    draft.edit(id, space, edits(&claim))?;
    let order = draft.order(space)?;
    let meta = RecordMeta {
        space: draft.space_id(space),
        created: order,
        updated: order,
        rev: String::new(),
        deleted: false,
        conflicts: Vec::new(),
    };
    Ok(Rec { id, meta, value: claim })
}

/// Lets a claim of the session last longer; returns it as it stands then, in its old place in the causal order. What the
/// session's own issue or branch implies has no record: it lasts as long as the session has them, and cannot keep a note.
fn extend(draft: &mut Draft<'_>, space: &Space, mut own: Rec<Claim>, asked: &Claim) -> Result<Rec<Claim>, Failure> {
    if own.id.kind != Kind::Claim {
        return match asked.note {
            None => Ok(own),
            Some(_) => Err(ErrorBody::field("note", NO_NOTE).into()),
        };
    }
    let mut edits = vec![Edit::set("expires_at", asked.expires_at)];
    edits.extend(Edit::set_some("note", asked.note.clone()));
    draft.edit(own.id, space, edits)?;
    own.value.expires_at = asked.expires_at;
    if asked.note.is_some() {
        own.value.note.clone_from(&asked.note);
    }
    Ok(own)
}

fn edits(claim: &Claim) -> Vec<Edit> {
    let mut edits = vec![
        Edit::set("claim_kind", kind_name(claim.claim_kind)),
        Edit::set("key", claim.key.as_str()),
        Edit::set("venture", claim.venture.as_str()),
        Edit::set("repo", claim.repo.as_str()),
        Edit::set("session_id", claim.session_id.as_str()),
        Edit::set("agent", claim.agent.as_str()),
        Edit::set("machine", claim.machine.as_str()),
        Edit::set("taken_at", claim.taken_at),
        Edit::set("expires_at", claim.expires_at),
        Edit::set("forced", claim.forced),
        Edit::set("actor_key_id", claim.actor_key_id.as_str()),
        Edit::set("creation_correlation_id", claim.creation_correlation_id.as_str()),
    ];
    edits.extend(Edit::set_some("note", claim.note.clone()));
    edits
}

pub(super) fn kind_name(kind: ClaimKind) -> &'static str {
    match kind {
        ClaimKind::Issue => "issue",
        ClaimKind::Branch => "branch",
        ClaimKind::Path => "path",
    }
}

fn held(all: &[Rec<Claim>], holders: &[DocumentId], now: Timestamp) -> Failure {
    let who = holders.iter().filter_map(|id| all.iter().find(|claim| claim.id == *id)).map(|claim| {
        let note = claim.note.as_deref().map(|note| format!(": {note}")).unwrap_or_default();
        format!("{} on {}, since {}{note}", claim.agent, claim.machine, claim.taken_at.age(now))
    });
    let message = format!("held by {}", who.collect::<Vec<_>>().join("; "));
    ErrorBody::new(ErrorCode::ClaimHeld, message)
        .hint("talk to the holder, or pass `force: true`; both are told")
        .into()
}

pub(crate) async fn release(cx: &Cx, input: ClaimRelease) -> Handled {
    let given = input.id.clone();
    release_given(cx, given.as_deref(), &input).await
}

pub(crate) async fn release_id(cx: &Cx, input: ClaimRelease) -> Handled {
    let id = cx.param("id").to_owned();
    release_given(cx, Some(&id), &input).await
}

async fn release_given(cx: &Cx, id: Option<&str>, input: &ClaimRelease) -> Handled {
    let id = match id {
        Some(text) => paging::id(Kind::Claim, "id", text)?,
        None => by_key(cx, input).await?,
    };
    let claim = cx.read()?.reader().get::<Claim>(id)?.filter(|claim| cx.caller.sees(Some(&claim.venture)));
    let claim = claim.ok_or_else(|| Failure::not_found("claim", &id.to_string()))?;
    cx.caller.require_venture(Some(&claim.venture))?;
    let own = session_of(cx, input.session_id.as_deref()).await.ok().map(|session| session.id.to_string());
    let person = cx.caller.agent.starts_with("user-") && cx.caller.right == Right::Admin;
    let releaser = match &own {
        Some(session) if !person => Releaser::Session(session),
        None if !person => Releaser::Session(""),
        _ => Releaser::Admin,
    };
    match decide_release(&claim, releaser) {
        Release::Forbidden => {
            let message = format!("the claim is {}'s; only its session or an admin releases it", claim.agent);
            Err(Failure::new(ErrorCode::Forbidden, message))
        }
        Release::Already => Answer::ok(ReleaseReply { id: id.to_string(), released: false }),
        Release::Now => {
            cx.commit(move |draft| {
                let now = draft.now();
                draft.edit(id, &Space::of(Some(&claim.venture)), [Edit::set("released_at", now)])?;
                Ok((200, ReleaseReply { id: id.to_string(), released: true }))
            })
            .await
        }
    }
}

/// Finds the session's own claim by kind and key.
async fn by_key(cx: &Cx, input: &ClaimRelease) -> Result<DocumentId, Failure> {
    let fields = ClaimFields { kind: input.kind, key: input.key.clone(), note: None, ttl_hours: None };
    let wanted = fields.validate()?;
    let session = session_of(cx, input.session_id.as_deref()).await?;
    if session.status() != ctxnode_model::record::SessionStatus::Active {
        sessions::require_active(&session, cx.now())?;
    }
    let own = session.id.to_string();
    let snapshot = cx.read()?;
    let listing = Listing { index: Index::All, kind: Kind::Claim, prefix: &[], after: None, limit: 1 };
    let found = snapshot.reader().list_where::<Claim>(&listing, |claim| {
        claim.session_id == own
            && claim.venture == session.venture
            && claim.claim_kind == wanted.kind
            && claim.key == wanted.key
            && same_repo(&claim.repo, &session.repo)
    })?;
    found
        .items
        .first()
        .map(|claim| claim.id)
        .ok_or_else(|| Failure::new(ErrorCode::NotFound, "this session holds no such claim"))
}
