//! What a continuation needs to know, and what it does to the session that it goes on from.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ctxnode_api::handoffs::HandoffView;
use ctxnode_api::sessions::{ContextReply, DraftReply, SessionList, SessionView};
use ctxnode_api::{Call, ClientError, ErrorCode};
use ctxnode_model::record::SessionStatus;
use ctxnode_model::rules::repo::same_repo;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::choose::{Choice, choose, line};
use super::{Asked, Work, ask};
use crate::checkout::{self, Git};
use crate::plan::place::repo_of;
use crate::plan::venture;
use crate::refusal::Refusal;
use crate::worktree;
use crate::world::{Autostart, World};

/// How long a record may take to come from the machine that has just written it.
const ARRIVAL: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How many sessions are looked at.
const SESSIONS: u32 = 100;

/// Finds what is continued.
pub(super) async fn work(world: &World, asked: &Asked) -> Result<Work, Refusal> {
    match asked.what.as_deref() {
        Some(id) if id.starts_with("ho_") => {
            let handoff: HandoffView = arrived(world, &Call::new("handoff.get", json!({})).param("id", id)).await?;
            let session = session_of(world, &handoff).await?;
            Ok(Work { session, handoff: Some(handoff), named: true })
        }
        Some(id) if id.starts_with("sess_") => {
            let session = arrived(world, &Call::new("session.get", json!({})).param("id", id)).await?;
            with_handoff(world, session).await
        }
        Some(code) => {
            let mut client = world.client(Autostart::Allowed).await?;
            let (ventures, _) = world.ventures(&mut client).await?;
            let code = venture::find(code, &ventures.items)?.code.clone();
            let sessions = sessions(world, json!({ "venture": code })).await?;
            let found = chosen(world, asked, &sessions, Path::new(""), None, &format!("of {code}"))?;
            with_handoff(world, found).await
        }
        None => here(world, asked).await,
    }
}

async fn here(world: &World, asked: &Asked) -> Result<Work, Refusal> {
    let context: ContextReply = ask(world, &Call::new("context", json!({}))).await?;
    let (Some(repo), Some(root)) = (&context.repo, &context.checkout) else {
        return Err(nothing(world, "here: this directory is no git checkout").await);
    };
    let Some(venture) = &context.venture else {
        return Err(nothing(world, &format!("in {repo}: it belongs to no venture")).await);
    };
    let sessions = sessions(world, json!({ "venture": venture, "repo": repo })).await?;
    if sessions.is_empty() {
        return Err(nothing(world, &format!("in {repo}")).await);
    }
    let branch = context.branch.as_deref().filter(|branch| !branch.starts_with("(detached"));
    let found = chosen(world, asked, &sessions, Path::new(root), branch, &format!("in {repo}"))?;
    with_handoff(world, found).await
}

/// Why nothing can be continued, with what could have been meant.
async fn nothing(world: &World, place: &str) -> Refusal {
    let all = match sessions(world, json!({})).await {
        Ok(all) => all,
        Err(refusal) => return refusal,
    };
    let candidates = match choose(&all, Path::new(""), None) {
        Choice::None => Vec::new(),
        Choice::One(one) => vec![line(one)],
        Choice::Several(several) => several.into_iter().map(line).collect(),
    };
    Refusal::NothingToContinue { place: place.to_owned(), candidates }
}

fn chosen(
    world: &World,
    asked: &Asked,
    sessions: &[SessionView],
    root: &Path,
    branch: Option<&str>,
    place: &str,
) -> Result<SessionView, Refusal> {
    let several = match choose(sessions, root, branch) {
        Choice::None => {
            return Err(Refusal::NothingToContinue { place: place.to_owned(), candidates: Vec::new() });
        }
        Choice::One(one) => return Ok(one.clone()),
        Choice::Several(several) => several,
    };
    if !world.screen.can_ask || asked.yes {
        return Ok(several[0].clone());
    }
    for (index, session) in several.iter().enumerate() {
        world.screen.say(&format!("  {}  {}", index + 1, line(session)));
    }
    let typed = world.screen.ask("Which one? [1]").unwrap_or_default();
    let at = if typed.is_empty() { Some(1) } else { typed.parse::<usize>().ok() };
    let found = at.and_then(|at| several.get(at.checked_sub(1)?));
    found.map(|session| (*session).clone()).ok_or(Refusal::Declined(crate::refusal::Step::Session))
}

async fn sessions(world: &World, mut filter: Value) -> Result<Vec<SessionView>, Refusal> {
    filter["status"] = "any".into();
    filter["limit"] = SESSIONS.into();
    Ok(ask::<SessionList>(world, &Call::new("session.list", filter)).await?.items)
}

async fn with_handoff(world: &World, session: SessionView) -> Result<Work, Refusal> {
    let handoff = newest(world, &session).await?;
    Ok(Work { session, handoff, named: false })
}

/// The newest handoff of a session, else of its repo.
async fn newest(world: &World, session: &SessionView) -> Result<Option<HandoffView>, Refusal> {
    let of_session = json!({ "session_id": session.id });
    let of_repo = json!({ "venture": session.venture, "repo": session.repo });
    for query in [of_session, of_repo] {
        match ask(world, &Call::new("handoff.latest", query)).await {
            Ok(found) => return Ok(Some(found)),
            Err(Refusal::Ask(ClientError::Refused(body))) if body.code == ErrorCode::NotFound => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(None)
}

async fn session_of(world: &World, handoff: &HandoffView) -> Result<SessionView, Refusal> {
    arrived(world, &Call::new("session.get", json!({})).param("id", handoff.session_id.as_str())).await
}

/// Asks for a record that another machine may have written a moment ago.
async fn arrived<T: serde::de::DeserializeOwned>(world: &World, call: &Call) -> Result<T, Refusal> {
    let deadline = Instant::now() + ARRIVAL;
    loop {
        match ask(world, call).await {
            Err(Refusal::Ask(ClientError::Refused(body)))
                if body.code == ErrorCode::NotFound && Instant::now() < deadline =>
            {
                sleep(LOOK_AGAIN).await;
            }
            other => return other,
        }
    }
}

/// Ends the session that is continued, when it is not over, with a handoff of what was seen of it.
pub(super) async fn settle(world: &World, asked: &Asked, work: &mut Work) -> Result<(), Refusal> {
    let session = &work.session;
    if work.named || session.status != SessionStatus::Active {
        return Ok(());
    }
    if let (Some(pid), None) = (session.pid, &session.failed)
        && !asked.yes
    {
        let question = format!("{} is still at work there (process {pid}). End its session and go on?", session.agent);
        if !world.screen.confirm(&question) {
            return Err(Refusal::AtWork { agent: session.agent.clone(), pid, session: session.id.clone() });
        }
    }
    let call = Call::new("session.draft", json!({ "end": true })).param("id", session.id.as_str());
    let id = match ask::<DraftReply>(world, &call).await {
        Ok(reply) => reply.handoff_id,
        Err(Refusal::Ask(ClientError::Refused(body))) if body.code == ErrorCode::Forbidden => {
            let machine = &session.machine;
            world.screen.say(&format!(
                "note: {} is a session of {machine}, which has not told its last state; what is not pushed there is not here",
                session.id
            ));
            return Ok(());
        }
        Err(refusal) => return Err(refusal),
    };
    work.handoff = Some(ask(world, &Call::new("handoff.get", json!({})).param("id", id)).await?);
    Ok(())
}

/// Returns the checkout of the session's repo on this machine.
pub(super) fn checkout(world: &World, session: &SessionView) -> Result<PathBuf, Refusal> {
    let directory = main_of(&world.around.directory).unwrap_or_else(|| world.around.directory.clone());
    let all = checkout::find(&world.config.dev_dirs, &directory);
    let mut own: Vec<PathBuf> = all
        .iter()
        .filter(|checkout| repo_of(checkout).is_some_and(|repo| same_repo(&repo, &session.repo)))
        .map(|checkout| checkout.path.clone())
        .collect();
    own.sort_by_key(|path| !directory.starts_with(path));
    own.into_iter().next().ok_or_else(|| Refusal::NoCheckout {
        code: session.venture.clone(),
        repo: Some(session.repo.clone()),
        dev_dirs: world.config.dev_dirs.clone(),
    })
}

/// The checkout to which a linked worktree belongs: its `.git` is a file that names a folder inside of it.
fn main_of(directory: &Path) -> Option<PathBuf> {
    let file = directory.ancestors().map(|path| path.join(".git")).find(|path| path.exists())?;
    let text = std::fs::read_to_string(file).ok()?;
    let folder = PathBuf::from(text.strip_prefix("gitdir: ")?.trim());
    let git = folder.ancestors().find(|path| path.ends_with(".git"))?;
    git.parent().map(Path::to_owned)
}

/// Makes sure that the branch is here, or on the remote.
pub(super) async fn find_branch(checkout: &Path, branch: &str, machine: &str) -> Result<(), Refusal> {
    let git = Git::at(checkout);
    if worktree::exists(&git, branch).await {
        return Ok(());
    }
    // Offline, what is known of the remote must do.
    let _ = git.fetch().await;
    if worktree::is_on_remote(&git, branch).await {
        return Ok(());
    }
    let (branch, machine) = (branch.to_owned(), machine.to_owned());
    Err(Refusal::NoBranch { branch, checkout: checkout.to_owned(), machine })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linked_worktree_leads_to_its_checkout() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("console.worktrees/w/src");
        std::fs::create_dir_all(&tree).unwrap();
        let link = dir.path().join("console/.git/worktrees/w");
        std::fs::write(dir.path().join("console.worktrees/w/.git"), format!("gitdir: {}\n", link.display())).unwrap();
        assert_eq!(main_of(&tree), Some(dir.path().join("console")));
        std::fs::create_dir_all(dir.path().join("plain/.git")).unwrap();
        assert_eq!(main_of(&dir.path().join("plain")), None, "its own");
    }
}
