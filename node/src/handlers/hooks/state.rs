//! The last known state of a session, for the handoff that a machine writes when nobody ended it. Node-local.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ctxnode_api::hooks::{HookRequest, Moment};
use ctxnode_model::record::Session;
use ctxnode_model::rules::secrets::redact;
use ctxnode_model::rules::text::{cut, is_commit};
use ctxnode_model::{DocumentId, Rec, Timestamp};
use ctxnode_store::{LocalTable, Reader};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::checkout;
use crate::app::{App, Cx};
use crate::checkout::git;
use crate::failure::Failure;

/// How often git is asked.
const GIT_EVERY_MS: i64 = 60_000;
/// How long git may take, both questions together, while somebody waits for it.
pub(in crate::handlers) const GIT_LIMIT: Duration = Duration::from_millis(400);
/// How long it may take when nobody waits.
const LATER_LIMIT: Duration = Duration::from_secs(10);
/// Commits and files that are kept; the draft shows fewer.
const MOST: usize = 100;
/// Characters of the last message: what the draft shows.
const MESSAGE_CHARS: usize = 1_000;

/// The last known state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::handlers) struct State {
    /// When it was last changed, in milliseconds; old ones are purged by it.
    pub(in crate::handlers) at: i64,
    /// The commit at the start.
    pub(in crate::handlers) base: Option<String>,
    /// The last message or summary, without what looks like a secret.
    pub(in crate::handlers) message: Option<String>,
    pub(in crate::handlers) message_at: i64,
    /// Commits since the start, oldest first.
    pub(in crate::handlers) commits: Vec<String>,
    pub(in crate::handlers) changed_files: Vec<String>,
    pub(in crate::handlers) git_at: i64,
    /// When the CLI said that the conversation ended.
    pub(in crate::handlers) ended_at: Option<i64>,
}

fn key(id: DocumentId) -> Vec<u8> {
    [b"state:".as_slice(), &id.to_bytes()].concat()
}

impl State {
    /// Reads the state of a session; an absent one is empty.
    pub(in crate::handlers) fn of(reader: Reader<'_>, id: DocumentId) -> Result<Self, Failure> {
        let found = reader.local(LocalTable::Captures, &key(id))?;
        Ok(found.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }
}

async fn change(app: &App, id: DocumentId, change: impl Fn(&mut State) + Send + 'static) -> Result<(), Failure> {
    let done = app.store.write(move |draft| {
        let mut state = State::of(draft.reader(), id)?;
        change(&mut state);
        state.at = state.at.max(draft.now().0);
        draft.put_local(LocalTable::Captures, key(id), serde_json::to_vec(&state).unwrap_or_default());
        Ok::<(), Failure>(())
    });
    done.await?;
    Ok(())
}

/// Remembers from which commit the session works.
pub(super) async fn begin(cx: &Cx, session: &Rec<Session>, input: &HookRequest, created: bool) -> Result<(), Failure> {
    if !created && input.source.as_deref() == Some("compact") {
        return Ok(());
    }
    let base = session.commit_sha.clone();
    change(&cx.app, session.id, move |state| {
        state.ended_at = None;
        if state.base.is_none() {
            state.base.clone_from(&base);
        }
    })
    .await
}

/// When git is asked what an event left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// While the hook waits: what follows needs it.
    Now,
    /// Once the hook has its answer.
    Later,
    /// Not at all.
    Never,
}

fn look_for(moment: Moment) -> Look {
    match moment {
        // Its draft is written at once.
        Moment::TurnFailed => Look::Now,
        // A CLI that ends gives all of its hooks one second together.
        Moment::SessionEnd => Look::Never,
        _ => Look::Later,
    }
}

/// Keeps what an event says, and what git shows when that was not looked at just now.
pub(super) async fn capture(
    cx: &Cx,
    session: &Rec<Session>,
    input: &HookRequest,
    now: Timestamp,
) -> Result<(), Failure> {
    let message = input.text.as_deref().map(|text| cut(&redact(text), MESSAGE_CHARS).to_owned());
    let before = State::of(cx.read()?.reader(), session.id)?;
    // An event that waited on disk says nothing about the checkout of now.
    let due = input.at.is_none() && now.0 - before.git_at >= GIT_EVERY_MS;
    let seen = match (due, look_for(input.moment)) {
        (true, Look::Now) => look_at(&cx.app, session, &before, GIT_LIMIT).await,
        (true, Look::Later) => {
            cx.app.hooks.looks.ask(session.id);
            None
        }
        _ => None,
    };
    let ended = (input.moment == Moment::SessionEnd).then_some(now.0);
    change(&cx.app, session.id, move |state| {
        if let Some(message) = message.as_ref().filter(|_| state.message_at <= now.0) {
            state.message = Some(message.clone());
            state.message_at = now.0;
        }
        state.take(seen.as_ref(), now);
        state.ended_at = ended.or(state.ended_at);
    })
    .await
}

/// Looks at the checkout of a session now, whenever that was done last.
pub(in crate::handlers) async fn look_again(app: &App, session: &Rec<Session>, limit: Duration) -> Result<(), Failure> {
    let before = State::of(app.store.read()?.reader(), session.id)?;
    let seen = look_at(app, session, &before, limit).await;
    let now = app.now();
    change(app, session.id, move |state| state.take(seen.as_ref(), now)).await
}

/// Looks at checkouts that hooks asked for and did not wait for, one after the other.
pub(crate) async fn look_later(app: Arc<App>) {
    loop {
        let id = app.hooks.looks.next().await;
        let session = app.store.read().and_then(|snapshot| snapshot.reader().get::<Session>(id));
        let done = match session {
            Ok(Some(session)) => look_again(&app, &session, LATER_LIMIT).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error.into()),
        };
        if let Err(failure) = done {
            tracing::warn!(?failure, "what a checkout shows could not be kept");
        }
    }
}

/// Sessions whose checkout is to be looked at; each stands there once.
#[derive(Debug, Default)]
pub(super) struct Looks {
    asked: Mutex<VecDeque<DocumentId>>,
    more: Notify,
}

impl Looks {
    fn ask(&self, id: DocumentId) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if !asked.contains(&id) {
            asked.push_back(id);
        }
        self.more.notify_one();
    }

    async fn next(&self) -> DocumentId {
        loop {
            let first = self.asked.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match first {
                Some(id) => return id,
                None => self.more.notified().await,
            }
        }
    }
}

/// Commits since the start, and changed files.
type Seen = (Vec<String>, Vec<String>);

impl State {
    fn take(&mut self, seen: Option<&Seen>, now: Timestamp) {
        if let Some(seen) = seen {
            self.commits.clone_from(&seen.0);
            self.changed_files.clone_from(&seen.1);
            self.git_at = now.0;
        }
    }
}

async fn look_at(app: &App, session: &Rec<Session>, before: &State, limit: Duration) -> Option<Seen> {
    let root = checkout(app, session)?;
    look(&root, before.base.as_deref().or(session.commit_sha.as_deref()), limit).await
}

/// Returns the commits since one, and the changed files. `None` when git did not answer in time.
async fn look(root: &Path, base: Option<&str>, limit: Duration) -> Option<Seen> {
    let range = base.filter(|base| is_commit(base)).map(|base| format!("{base}..HEAD"));
    let both = async {
        let commits = match &range {
            Some(range) => git(root, &["log", "--reverse", "--format=%h %s", "-n", "100", range]).await,
            None => Some(String::new()),
        };
        let files =
            git(root, &["-c", "core.quotePath=false", "status", "--porcelain", "--untracked-files=normal"]).await?;
        let lines = |text: &str| text.lines().take(MOST).map(str::to_owned).collect::<Vec<_>>();
        // Two letters of state and a space; the first line lost a leading space to trimming.
        let name =
            |line: String| line.trim_start().split_once(' ').map_or(line.clone(), |(_, name)| name.trim().to_owned());
        Some((lines(&commits.unwrap_or_default()), lines(&files).into_iter().map(name).collect()))
    };
    tokio::time::timeout(limit, both).await.ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 7.3: at the end of a session a hook leaves a record and nothing else; after a turn nobody waits for git.
    #[test]
    fn git_is_in_the_way_of_no_hook_that_need_not_wait() {
        assert_eq!(look_for(Moment::SessionEnd), Look::Never);
        assert_eq!(look_for(Moment::TurnEnd), Look::Later);
        assert_eq!(look_for(Moment::TurnFailed), Look::Now);
    }
}
