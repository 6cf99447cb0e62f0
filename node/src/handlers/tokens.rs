//! Tokens and the request log: who may come in over TCP, and who called.

use std::ops::RangeInclusive;
use std::time::Duration;

use ctxnode_api::node::{Empty, RequestLogQuery, RequestLogRow, TokenCreate, TokenCreated};
use ctxnode_api::notes::DeleteRequest;
use ctxnode_api::{List, Right};
use ctxnode_model::rules::canonical::sha256_hex;
use ctxnode_model::rules::text::require_line;
use ctxnode_model::{Invalid, Timestamp};
use ctxnode_store::LocalTable;

use super::{paging, spans, ventures};
use crate::app::{Answer, Cx, Handled};
use crate::failure::Failure;
use crate::gate::rate::CALLS_PER_MINUTE;
use crate::gate::request_log::{KEPT_MS, time_key};
use crate::gate::tokens::{Token, all};

/// The most calls per minute that a token may have.
const RATE_MOST: i64 = 100_000;
/// How long a token lives that does not live for ever: up to ten years.
const TTL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(10 * 365 * 24 * 3_600);
/// How many rows of the log are read at a time while filters look for matches.
const LOG_STEP: usize = 1_000;

pub(crate) async fn list(cx: &Cx, _: Empty) -> Handled {
    let mut found = all(cx.read()?.reader())?;
    found.sort_by_key(|token| std::cmp::Reverse(token.created_at));
    Answer::ok(List::all(found.iter().map(Token::view).collect()))
}

pub(crate) async fn create(cx: &Cx, input: TokenCreate) -> Handled {
    let mut invalid = Invalid::new();
    let name = input.name.unwrap_or_default();
    require_line(&mut invalid, "name", &name, 100);
    let right = input.right.map_or(Right::None, Right::from);
    invalid.require(right != Right::None, "right", "is required: reader, writer or admin");
    let rate = input.rate_limit.unwrap_or_else(|| i64::from(CALLS_PER_MINUTE));
    invalid.require((1..=RATE_MOST).contains(&rate), "rate_limit", format!("expected 1 to {RATE_MOST}"));
    let (text, seconds) = (("ttl", input.ttl.as_deref()), ("ttl_seconds", input.ttl_seconds));
    let ttl = spans::check_seconds(&mut invalid, text, seconds, &TTL, "30d");
    if let Some(agent) = &input.agent {
        require_line(&mut invalid, "agent", agent, 63);
    }
    let named = input.ventures.iter().enumerate().map(|(at, code)| (format!("ventures[{at}]"), code.as_str()));
    ventures::finish(cx, invalid, named)?;
    let mut bytes = [0; 32];
    cx.app.store.entropy().fill(&mut bytes);
    let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let now = cx.now();
    let token = Token {
        hash: sha256_hex(secret.as_bytes()),
        name,
        right,
        ventures: input.ventures,
        agent: input.agent,
        rate_limit: u32::try_from(rate).unwrap_or(CALLS_PER_MINUTE),
        created_at: now,
        expires_at: ttl.map(|ttl| now.plus(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX))),
        last_used_at: None,
        revoked_at: None,
    };
    let view = token.view();
    let stored = cx.app.store.write(move |draft| {
        draft.put_local(LocalTable::Tokens, token.hash.as_bytes(), token.encode());
        Ok::<(), Failure>(())
    });
    stored.await?;
    // The answer is not kept for a replay: the secret is shown once, and stored nowhere.
    Answer::of(201, TokenCreated { secret, token: view })
}

pub(crate) async fn revoke(cx: &Cx, _: DeleteRequest) -> Handled {
    let id = cx.param("id").to_owned();
    cx.commit(move |draft| {
        let found = all(draft.reader())?.into_iter().find(|token| token.actor_key_id() == id);
        let mut token = found.ok_or_else(|| Failure::not_found("token", &id))?;
        token.revoked_at = token.revoked_at.or(Some(draft.now()));
        let view = token.view();
        draft.put_local(LocalTable::Tokens, token.hash.as_bytes(), token.encode());
        Ok((200, view))
    })
    .await
}

pub(crate) async fn request_log(cx: &Cx, input: RequestLogQuery) -> Handled {
    let limit = paging::window(input.limit, None, ctxnode_model::Kind::Event)?.limit;
    cx.app.request_log.flush(&cx.app.store).await?;
    let now = cx.now();
    let oldest = Timestamp(now.0 - KEPT_MS).max(input.since.map_or(Timestamp(0), |since| since.0));
    let same =
        |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|wanted| found == Some(wanted));
    let fits = |row: &RequestLogRow| {
        same(&input.operation, Some(&row.operation))
            && same(&input.actor_key_id, Some(&row.actor_key_id))
            && same(&input.agent, row.agent.as_deref())
            && same(&input.venture, row.venture.as_deref())
            && same(&input.correlation_id, Some(&row.correlation_id))
            && input.status.is_none_or(|status| status == i64::from(row.status))
    };
    let snapshot = cx.read()?;
    let (from, mut to) = (time_key(oldest).to_vec(), vec![u8::MAX; 9]);
    let (mut items, mut total) = (Vec::new(), 0_u64);
    loop {
        let rows = snapshot.reader().local_range(LocalTable::RequestLog, &from, &to, true, LOG_STEP)?;
        let Some((last, _)) = rows.last() else { break };
        to = last.clone();
        for row in rows
            .iter()
            .filter_map(|(_, value)| serde_json::from_slice::<RequestLogRow>(value).ok())
            .filter(|row| fits(row))
        {
            total += 1;
            if items.len() < limit {
                items.push(row);
            }
        }
    }
    let shown = items.len();
    Answer::ok(List { items, shown, total, has_more: total > shown as u64, next_cursor: None })
}
