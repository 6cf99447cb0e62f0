//! The view of a repo's handoffs in its own tree: rendered from the store, committed alone, never read back.

use std::path::Path;

use ctxnode_model::index::Index;
use ctxnode_model::record::{Handoff, Session, Venture};
use ctxnode_model::rules::git_view::{PATH, ViewRow, render};
use ctxnode_model::rules::handoff::Lists;
use ctxnode_model::rules::limits::VIEW_HANDOFFS;
use ctxnode_model::{Kind, Rec};
use ctxnode_store::Reader;

use crate::checkout::{Checkout, git};
use crate::failure::Failure;

/// Renders the view of a session's repo; `None` where the venture wants none.
pub(super) fn text(reader: Reader<'_>, session: &Rec<Session>) -> Result<Option<String>, Failure> {
    let venture = reader.get::<Venture>(reader.ids()?.venture(&session.venture))?;
    let wanted = venture.and_then(|venture| venture.settings.clone()).and_then(|settings| settings.git_view);
    if wanted == Some(false) {
        return Ok(None);
    }
    let prefix = [session.venture.as_str(), session.repo.as_str()];
    let newest = reader.newest::<Handoff>(Index::Repo, Kind::Handoff, &prefix, VIEW_HANDOFFS)?;
    let mut rows = Vec::new();
    for handoff in newest {
        rows.push(ViewRow {
            id: handoff.id,
            created_at: handoff.created_at,
            agent: handoff.from_agent.clone(),
            status: handoff.status_label,
            drafted: handoff.drafted,
            summary: handoff.summary.clone(),
            lists: Lists::from_payload(&reader.body(handoff.id)?.unwrap_or_default()),
        });
    }
    Ok(Some(render(&session.repo, &rows)))
}

/// Writes and commits the view; returns what became of it. A failure is told and never undoes the handoff.
pub(super) async fn commit(checkout: &Checkout, text: &str) -> String {
    if checkout.branch.is_none() {
        return format!("{PATH} was not written: the head is detached");
    }
    if in_the_middle(&checkout.root).await {
        return format!("{PATH} was not written: a merge or rebase is under way");
    }
    let path = checkout.root.join(PATH);
    if std::fs::read_to_string(&path).is_ok_and(|found| found == text) {
        return format!("{PATH} is unchanged");
    }
    let parent = path.parent().unwrap_or(&checkout.root);
    if let Err(error) = std::fs::create_dir_all(parent).and_then(|()| write_whole(&path, text)) {
        return format!("{PATH} could not be written: {error}");
    }
    // `add` makes a new file known; `--only` leaves everything else that is staged where it is.
    let added = git(&checkout.root, &["add", "--intent-to-add", "--", PATH]).await;
    let message = format!("docs: handoffs of {}", checkout.repo);
    let committed = git(&checkout.root, &["commit", "--quiet", "--only", "-m", &message, "--", PATH]).await;
    match (added, committed) {
        (Some(_), Some(_)) => format!("{PATH} was committed"),
        _ => format!("{PATH} was written and could not be committed; `git commit -- {PATH}` does it"),
    }
}

/// Writes beside and renames, so that a crash leaves the old file or the new one.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let partial = path.with_extension("md.partial");
    std::fs::write(&partial, text)?;
    std::fs::rename(&partial, path)
}

async fn in_the_middle(root: &Path) -> bool {
    for name in ["MERGE_HEAD", "rebase-merge", "rebase-apply", "CHERRY_PICK_HEAD"] {
        let path = git(root, &["rev-parse", "--git-path", name]).await;
        if path.is_some_and(|path| root.join(path).exists()) {
            return true;
        }
    }
    false
}
