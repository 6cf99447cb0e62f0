//! What came of a tool use: an error is counted and told of when it repeats, a success ends its counting, and a pull request
//! that was opened stands on the session.
//!
//! A tool that worked and opened nothing costs one read.

use ctxnode_api::hooks::{HookReply, HookRequest};
use ctxnode_model::record::Session;
use ctxnode_model::rules::repo::pull_request_in;
use ctxnode_model::rules::secrets::redact;
use ctxnode_model::rules::session::{check_meta, merge_meta, meta_edits};
use ctxnode_model::{Invalid, Rec, Space};
use serde_json::{Map, Value, json};

use super::super::errors;
use super::news::{self, Line};
use crate::app::Cx;
use crate::failure::Failure;

/// The key in a session's meta.
const PULL_REQUESTS: &str = "pull_requests";
/// How many a session keeps; the newest are of use.
const MOST: usize = 10;

/// Returns the pull requests that were opened in a session.
pub(in crate::handlers) fn pull_requests(session: &Session) -> Vec<String> {
    let list = session.meta.get(PULL_REQUESTS).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Takes in how a tool use ended.
pub(super) async fn take(
    cx: &Cx,
    session: &Rec<Session>,
    input: &HookRequest,
    reply: &mut HookReply,
) -> Result<(), Failure> {
    if let Some(address) = &input.pull_request {
        record(cx, session, address).await?;
    }
    match (&input.error, &input.command) {
        (Some(error), command) => count(cx, session, input, error, command.clone(), reply).await,
        (None, Some(command)) => {
            if !errors::is_counted(cx.read()?.reader(), session.id, command)? {
                return Ok(());
            }
            let (id, command) = (session.id, command.clone());
            let done = cx.app.store.write(move |draft| errors::succeeded(draft, id, &command));
            done.await?;
            Ok(())
        }
        (None, None) => Ok(()),
    }
}

async fn count(
    cx: &Cx,
    session: &Rec<Session>,
    input: &HookRequest,
    error: &str,
    command: Option<String>,
    reply: &mut HookReply,
) -> Result<(), Failure> {
    let (id, error) = (session.id, redact(error));
    let done = cx.app.store.write(move |draft| errors::count(draft, id, &error, command.as_deref()));
    let counted = done.await?.value;
    for (number, text) in counted.notices.into_iter().enumerate() {
        // The same words may be due once more, after a success between.
        let key = format!("error {} {number} {text}", cx.now().0);
        if input.listens {
            let before = reply.context.take().map(|before| format!("{before}\n")).unwrap_or_default();
            reply.context = Some(format!("{before}{text}"));
            news::said(cx, session, input, Line { key, text }).await?;
        } else {
            news::leave(cx, session.id, Line { key, text }).await?;
        }
    }
    Ok(())
}

/// Puts a pull request on the session, once.
async fn record(cx: &Cx, session: &Rec<Session>, address: &str) -> Result<(), Failure> {
    let mut all = pull_requests(session);
    if pull_request_in(address) != Some(address) || all.iter().any(|known| known == address) {
        return Ok(());
    }
    all.push(address.to_owned());
    let first = all.len().saturating_sub(MOST);
    let change = Map::from_iter([(PULL_REQUESTS.to_owned(), json!(all[first..]))]);
    let mut invalid = Invalid::new();
    let own: &Session = session;
    check_meta(&mut invalid, &merge_meta(&own.meta, &change));
    if invalid.finish().is_err() {
        // The agent has filled it with values of its own; those are worth more.
        tracing::debug!(session = %session.id, "no room in meta for a pull request");
        return Ok(());
    }
    let (id, space) = (session.id, Space::of(Some(&session.venture)));
    let done = cx.app.store.write(move |draft| {
        draft.edit(id, &space, meta_edits(change.clone()))?;
        Ok::<(), Failure>(())
    });
    done.await?;
    Ok(())
}
