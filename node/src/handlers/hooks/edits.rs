//! Edits: who else claims a file or has just edited it. One line for the editor and one for the other side, once each.

use std::path::{Component, Path, PathBuf};

use ctxnode_api::hooks::{HookReply, HookRequest, Moment};
use ctxnode_model::record::{Claim, ClaimKind, Session, SessionStatus};
use ctxnode_model::rules::glob::Glob;
use ctxnode_model::rules::repo::same_repo;
use ctxnode_model::{DocumentId, Kind, Rec, Timestamp};

use super::super::{claims, sessions, ventures};
use super::news::{self, Line};
use super::{checkout, own_id};
use crate::app::Cx;
use crate::failure::Failure;

/// How long an edit counts as just now.
const RECENT_MS: i64 = 2 * 3_600_000;
/// The most files of one edit that are looked at.
const MOST: usize = 50;

/// A file of a repo.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct File {
    repo: String,
    path: String,
}

/// Who edited a file last.
#[derive(Clone, Debug)]
pub(super) struct Touch {
    session: DocumentId,
    at: Timestamp,
}

/// Someone else who has to do with a file.
struct Other {
    session: DocumentId,
    for_me: Line,
    for_them: Line,
    /// Whether it holds the file against the editor.
    holds: bool,
}

/// Looks an edit up.
pub(super) async fn look(
    cx: &Cx,
    session: &Rec<Session>,
    input: &HookRequest,
    reply: &mut HookReply,
) -> Result<(), Failure> {
    let root = checkout(&cx.app, session);
    let directory = cx.caller.directory.as_deref();
    let files: Vec<String> =
        input.paths.iter().take(MOST).filter_map(|path| relative(path, directory, root.as_deref())).collect();
    if files.is_empty() {
        return Ok(());
    }
    // One that waited on disk happened then.
    let at = input.at.map_or(cx.now(), |at| at.0.min(cx.now()));
    let (others, denies) = {
        let snapshot = cx.read()?;
        let reader = snapshot.reader();
        let now = cx.now();
        let own = own_id(session);
        let standing = claims::standing(reader, &cx.app, &session.venture, now)?;
        let of_paths =
            |claim: &&Rec<Claim>| claim.claim_kind == ClaimKind::Path && same_repo(&claim.repo, &session.repo);
        let globs: Vec<_> = standing.iter().filter(of_paths).map(|claim| (Glob::new(&claim.key), claim)).collect();
        let mut others = Vec::new();
        for file in &files {
            let matching = globs.iter().filter(|(glob, _)| glob.matches(file)).map(|(_, claim)| *claim);
            let (mine, foreign): (Vec<_>, Vec<_>) = matching.partition(|claim| claim.session_id == own);
            for claim in foreign {
                let Ok(holder) = DocumentId::parse(Kind::Session, &claim.session_id) else { continue };
                let note = claim.note.as_deref().map(|note| format!(": {note}")).unwrap_or_default();
                let holds = holds_against(claim, &mine);
                let first = if holds { "" } else { "; your claim was first and holds" };
                let text = format!(
                    "{file} is claimed by {} on {} as {} ({}){note}{first}",
                    claim.agent,
                    claim.machine,
                    claim.key,
                    claim.taken_at.age(now)
                );
                let theirs =
                    format!("{} on {} edits {file}, which you claim as {}", session.agent, session.machine, claim.key);
                others.push(Other {
                    session: holder,
                    for_me: Line { key: format!("claimed {} {}", claim.key, claim.session_id), text },
                    for_them: Line { key: format!("edits {} {own}", claim.key), text: theirs },
                    holds,
                });
            }
            let key = File { repo: session.repo.to_lowercase(), path: file.clone() };
            let touch = Touch { session: session.id, at };
            // Before the edit it has not happened.
            let last = cx.app.hooks.with(|memory| match input.moment {
                Moment::BeforeTool => memory.touched.get(&key).cloned(),
                _ => memory.touched.put(key, touch),
            });
            if let Some(last) = last.filter(|last| last.session != session.id && now.since(last.at) < RECENT_MS)
                && let Some(other) = reader.get::<Session>(last.session)?
                && other.status() == SessionStatus::Active
                && sessions::is_live(&cx.app, &other, now)
            {
                let text = format!("{file} was edited by {} on {} ({})", other.agent, other.machine, last.at.age(now));
                let theirs = format!(
                    "{} on {} edits {file}, which you edited too ({})",
                    session.agent,
                    session.machine,
                    last.at.age(now)
                );
                others.push(Other {
                    session: other.id,
                    for_me: Line { key: format!("edited {file} {}", other.id), text },
                    for_them: Line { key: format!("edited {file} {own}"), text: theirs },
                    holds: false,
                });
            }
        }
        let denies = input.moment == Moment::BeforeTool && others.iter().any(|other| other.holds) && {
            let venture = ventures::require(reader, &cx.caller, &session.venture)?;
            venture.settings.as_ref().and_then(|settings| settings.claims.as_deref()) == Some("deny")
        };
        (others, denies)
    };
    if denies {
        reply.deny = others.iter().find(|other| other.holds).map(|other| other.for_me.text.clone());
    }
    // Before the edit nobody else has to know; after it the agent hears of it with its next prompt.
    let waits = input.moment == Moment::AfterTool && cx.now().since(at) < RECENT_MS;
    if !input.listens && !waits {
        return Ok(());
    }
    for other in &others {
        if cx.read()?.reader().get::<Session>(other.session)?.is_some_and(|found| sessions::is_own(&cx.app, &found)) {
            news::leave(cx, other.session, other.for_them.clone()).await?;
        }
    }
    let own: Vec<Line> = others.into_iter().map(|other| other.for_me).collect();
    if !input.listens {
        for line in own {
            news::leave(cx, session.id, line).await?;
        }
        return Ok(());
    }
    let lines = news::once(cx, session, input, own).await?;
    if let Some(first) = lines.first() {
        let rest = lines.len() - 1;
        let more = if rest > 0 { format!("; {rest} more") } else { String::new() };
        reply.context = Some(format!("{}{more}", first.text));
    }
    Ok(())
}

/// Whether a claim on a file holds against those that the editor has on it: of two, the first in the causal order does.
fn holds_against(claim: &Rec<Claim>, mine: &[&Rec<Claim>]) -> bool {
    mine.iter().all(|own| (claim.meta.created, claim.id) < (own.meta.created, own.id))
}

/// Returns a path as claims name it: below the checkout, without dots. `None` for one that lies elsewhere.
fn relative(path: &str, directory: Option<&Path>, root: Option<&Path>) -> Option<String> {
    let root = root?;
    let path = Path::new(path);
    let whole = if path.is_absolute() { path.to_owned() } else { directory.unwrap_or(root).join(path) };
    let mut plain = PathBuf::new();
    for part in whole.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    let inside = plain.strip_prefix(root).ok().map(Path::to_owned).or_else(|| {
        // The directory may be named through a link; the checkout's is resolved.
        let parent = plain.parent()?.canonicalize().ok()?;
        Some(parent.join(plain.file_name()?).strip_prefix(root).ok()?.to_owned())
    })?;
    let text = inside.to_str()?.to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use ctxnode_model::{Order, RecordMeta, SpaceId, Stamp};

    use super::*;

    /// 3.3: the first in the causal order wins, so of two that claim a file never both are kept from it.
    #[test]
    fn w_10_a_claim_holds_against_those_that_came_later() {
        let at = |stamp: u64| {
            let created = Order { stamp: Stamp(stamp), ..Order::FIRST };
            let (space, rev) = (SpaceId([0; 16]), String::new());
            let meta = RecordMeta { space, created, updated: created, rev, deleted: false, conflicts: Vec::new() };
            Rec { id: DocumentId { kind: Kind::Claim, raw: [0; 16] }, meta, value: Claim::default() }
        };
        let (first, second, third) = (at(1), at(2), at(3));
        assert!(holds_against(&second, &[]), "who claims nothing gives way");
        assert!(holds_against(&first, &[&second]) && !holds_against(&second, &[&first]));
        assert!(!holds_against(&second, &[&third, &first]), "the earliest of one's own counts");
    }

    #[test]
    fn paths_are_told_below_the_checkout() {
        let of = |path: &str| relative(path, Some(Path::new("/r/sub")), Some(Path::new("/r")));
        assert_eq!(of("/r/src/a.rs").as_deref(), Some("src/a.rs"));
        assert_eq!(of("a.rs").as_deref(), Some("sub/a.rs"));
        assert_eq!(of("../b/./c.rs").as_deref(), Some("b/c.rs"));
        assert_eq!((of("/etc/passwd"), of("../../x"), of("..")), (None, None, None));
    }
}
