//! Claims: what one may name, what a take and a release do, who wins, and when a claim is over.

use super::glob::Glob;
use super::handoff::is_default_branch;
use super::limits::{BRANCH_CHARS, CLAIM_DEFAULT_MS, CLAIM_MAX_MS, CLAIM_MIN_MS, GLOB_CHARS, LINE_CHARS};
use super::presence::Liveness;
use super::repo::same_repo;
use super::text::require_line;
use crate::record::{Claim, ClaimKind, Rec, Session};
use crate::{DocumentId, Invalid, Timestamp};

/// What a caller wants to claim, as given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClaimFields {
    /// Issue, branch or path.
    pub kind: Option<ClaimKind>,
    /// An issue number, a branch name or a path glob.
    pub key: Option<String>,
    /// Why.
    pub note: Option<String>,
    /// How long; 24 hours when absent.
    pub ttl_hours: Option<f64>,
}

/// What a caller wants to claim, after validation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What kind of thing.
    pub kind: ClaimKind,
    /// Its key in the one form in which it is stored.
    pub key: String,
    /// How long.
    pub lifetime_ms: i64,
}

impl ClaimFields {
    /// Checks all fields at once.
    ///
    /// # Errors
    /// Every bad field.
    pub fn validate(&self) -> Result<Wanted, Invalid> {
        let mut invalid = Invalid::new();
        invalid.require(self.kind.is_some(), "kind", "is required: issue, branch or path");
        let key = self.key.as_deref().unwrap_or_default().trim();
        invalid.require(!key.is_empty(), "key", "is required");
        let kind = self.kind.unwrap_or_default();
        let key =
            if key.is_empty() || self.kind.is_none() { key.to_owned() } else { check_key(&mut invalid, kind, key) };
        if let Some(note) = &self.note {
            require_line(&mut invalid, "note", note, LINE_CHARS);
        }
        let lifetime_ms = self.ttl_hours.map_or(Some(CLAIM_DEFAULT_MS), lifetime);
        invalid.require(lifetime_ms.is_some(), "ttl_hours", "must be from 5 minutes (0.0834) to 7 days (168)");
        invalid.finish()?;
        Ok(Wanted { kind, key, lifetime_ms: lifetime_ms.unwrap_or(CLAIM_DEFAULT_MS) })
    }
}

fn lifetime(hours: f64) -> Option<i64> {
    // Out of range and not a number both fail the comparison; inside it the cast is exact enough for milliseconds.
    let ms = (hours * 3_600_000.0).round();
    let valid = ms >= CLAIM_MIN_MS as f64 && ms <= CLAIM_MAX_MS as f64;
    valid.then_some(ms as i64)
}

/// Returns the key as it is stored.
fn check_key(invalid: &mut Invalid, kind: ClaimKind, key: &str) -> String {
    match kind {
        ClaimKind::Issue => {
            let number = key.strip_prefix('#').unwrap_or(key).parse::<u32>().ok().filter(|number| *number > 0);
            invalid.require(number.is_some(), "key", "an issue is a positive integer");
            number.map_or_else(String::new, |number| number.to_string())
        }
        ClaimKind::Branch => {
            require_line(invalid, "key", key, BRANCH_CHARS);
            key.to_owned()
        }
        ClaimKind::Path => {
            let key = key.strip_prefix("./").unwrap_or(key);
            require_line(invalid, "key", key, GLOB_CHARS);
            invalid.require(!key.starts_with(['/', '\\', '~']), "key", "a path is relative to the repo root");
            let odd = key.trim_start_matches('/').split('/').any(|part| matches!(part, "" | "." | ".."));
            invalid.require(!odd, "key", "a path has no `..`, `.` or empty part; write `src/**` for a folder");
            key.to_owned()
        }
    }
}

/// Whether two claims are about one thing of one repo: equal issues or branches, or globs with a common path.
#[must_use]
pub fn overlap(a: &Claim, b: &Claim) -> bool {
    let same_place = a.venture == b.venture && same_repo(&a.repo, &b.repo) && a.claim_kind == b.claim_kind;
    same_place && (a.key == b.key || a.claim_kind == ClaimKind::Path && Glob::new(&a.key).overlaps(&Glob::new(&b.key)))
}

/// How a claim stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimState {
    /// It holds.
    Live,
    /// It holds, and its machine cannot be asked.
    LastSeen,
    /// It was released, has lapsed, or its session is over.
    Over,
}

/// Returns how a claim stands. `holder` is absent when its session is ended, abandoned or not known.
#[must_use]
pub fn claim_state(claim: &Claim, holder: Option<Liveness>, now: Timestamp) -> ClaimState {
    if claim.released_at.is_some() || now >= claim.expires_at {
        return ClaimState::Over;
    }
    match holder {
        Some(Liveness::Active) => ClaimState::Live,
        Some(Liveness::LastSeen) => ClaimState::LastSeen,
        Some(Liveness::Stale) | None => ClaimState::Over,
    }
}

/// What a take does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Take {
    /// It is stored; `forced` when others hold the thing.
    Store {
        /// Whether it stands against another holder.
        forced: bool,
    },
    /// The session holds the same thing already: that claim's expiry moves.
    Extend(DocumentId),
    /// Refused: these hold it, the winner first.
    Held(Vec<DocumentId>),
}

/// Whether a caller insists on a claim that others hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insist {
    /// It gives way.
    No,
    /// It takes the claim as a conflict.
    Force,
}

/// Decides a take. `standing` are the claims of the repo that are not over, with the [`implied`] ones of other sessions.
#[must_use]
pub fn decide_take(wanted: &Claim, standing: &[Rec<Claim>], insist: Insist) -> Take {
    let own = |claim: &&Rec<Claim>| claim.session_id == wanted.session_id && same_thing(claim, wanted);
    if let Some(claim) = standing.iter().find(own) {
        return Take::Extend(claim.id);
    }
    let holders = rivals(wanted, standing);
    match insist {
        Insist::No if !holders.is_empty() => Take::Held(holders.iter().map(|claim| claim.id).collect()),
        Insist::No | Insist::Force => Take::Store { forced: !holders.is_empty() },
    }
}

/// Returns the claims of other sessions on the same thing, first in causal order first.
#[must_use]
pub fn rivals<'a>(claim: &Claim, standing: &'a [Rec<Claim>]) -> Vec<&'a Rec<Claim>> {
    let foreign = |other: &&Rec<Claim>| other.session_id != claim.session_id && overlap(other, claim);
    let mut found: Vec<&Rec<Claim>> = standing.iter().filter(foreign).collect();
    found.sort_by_key(|other| (other.meta.created, other.id));
    found
}

/// Returns the claim that wins against `claim`, or `None` when it wins itself: the first in causal order does.
#[must_use]
pub fn beaten_by<'a>(claim: &Rec<Claim>, standing: &'a [Rec<Claim>]) -> Option<&'a Rec<Claim>> {
    let first = rivals(claim, standing).into_iter().next()?;
    ((first.meta.created, first.id) < (claim.meta.created, claim.id)).then_some(first)
}

/// Returns the claims that a session makes without a record: its issue, and its branch unless that is the default one.
///
/// They carry the session's id and its place in the causal order, and last as long as the session does.
#[must_use]
pub fn implied(session: &Rec<Session>, default_branch: Option<&str>) -> Vec<Rec<Claim>> {
    let branch = session.branch.as_ref().filter(|branch| !is_default_branch(branch, default_branch));
    let issue = session.issue.map(|issue| (ClaimKind::Issue, issue.to_string()));
    let branch = branch.map(|branch| (ClaimKind::Branch, branch.clone()));
    let claim = |(claim_kind, key)| Claim {
        claim_kind,
        key,
        venture: session.venture.clone(),
        repo: session.repo.clone(),
        session_id: session.id.to_string(),
        agent: session.agent.clone(),
        machine: session.machine.clone(),
        taken_at: session.created_at,
        expires_at: Timestamp(i64::MAX),
        actor_key_id: session.actor_key_id.clone(),
        ..Claim::default()
    };
    let rec = |value| Rec { id: session.id, meta: session.meta.clone(), value };
    issue.into_iter().chain(branch).map(claim).map(rec).collect()
}

fn same_thing(a: &Claim, b: &Claim) -> bool {
    a.venture == b.venture && same_repo(&a.repo, &b.repo) && a.claim_kind == b.claim_kind && a.key == b.key
}

/// What a release does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The claim is released now.
    Now,
    /// It was released before: success, and nothing changes.
    Already,
    /// It is another's and the caller is no admin.
    Forbidden,
}

/// Who asks for a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Releaser<'a> {
    /// An agent in a session.
    Session(&'a str),
    /// An admin.
    Admin,
}

/// Decides the release of a claim.
#[must_use]
pub fn decide_release(claim: &Claim, releaser: Releaser<'_>) -> Release {
    match releaser {
        Releaser::Session(session) if session != claim.session_id => Release::Forbidden,
        Releaser::Session(_) | Releaser::Admin if claim.released_at.is_some() => Release::Already,
        Releaser::Session(_) | Releaser::Admin => Release::Now,
    }
}

#[cfg(test)]
mod tests;
