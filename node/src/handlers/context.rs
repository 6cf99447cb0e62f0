//! Where the caller stands. Works before a start, and then says that there is no session.

use ctxnode_api::node::Empty;
use ctxnode_api::sessions::ContextReply;
use ctxnode_model::record::Session;
use ctxnode_model::rules::repo::{VentureMatch, match_venture};

use super::{claims, sessions, start, ventures};
use crate::app::{Answer, Cx, Handled};

pub(crate) async fn context(cx: &Cx, _: Empty) -> Handled {
    let now = cx.now();
    let checkout = start::checkout_of(cx, None).await;
    let mut reply = ContextReply::default();
    if let Some(checkout) = &checkout {
        let all = ventures::all_living(cx.read()?.reader())?;
        let remotes: Vec<&str> = checkout.remotes.iter().map(String::as_str).collect();
        if let VentureMatch::Found { code, .. } = match_venture(&remotes, all.iter().map(|venture| &venture.value)) {
            reply.venture = Some(code).filter(|code| cx.caller.sees(Some(code)));
        }
        let short = |commit: &String| commit.chars().take(12).collect::<String>();
        let detached = || checkout.commit.as_ref().map(|commit| format!("(detached at {})", short(commit)));
        reply.repo = Some(checkout.repo.clone());
        reply.branch = checkout.branch.clone().or_else(detached);
        reply.checkout = Some(checkout.root.display().to_string());
        reply.dirty_files = Some(checkout.observe().await.dirty_files);
    }
    match sessions::session_of(cx, None).await {
        Ok(session) => {
            let snapshot = cx.read()?;
            if let Err(failure) = sessions::require_active(&session, now) {
                reply.no_session = Some(failure.into_body().message);
            } else {
                reply.claims = claims::of_session(snapshot.reader(), &cx.app, &session, now)?;
                reply.warnings = start::warnings(&cx.app, snapshot.reader(), &session, now)?;
                reply.venture = reply.venture.or_else(|| Some(venture_of(&session)));
                reply.session = Some(sessions::view(&cx.app, &session, now));
            }
        }
        Err(failure) => reply.no_session = Some(failure.into_body().message),
    }
    Answer::ok(reply)
}

fn venture_of(session: &Session) -> String {
    session.venture.clone()
}
