//! Field mode as operations. What it does is in `field`, what it decides in `ctxnode-fleet`.

use std::time::Duration;

use ctxnode_api::Iso;
use ctxnode_api::field::{AdviceView, AwakeView, FieldOn, FieldView};
use ctxnode_api::node::Empty;
use ctxnode_api::operations::PlainAction;
use ctxnode_fleet::field::{self as rules, Facts, Meter, Power};
use ctxnode_fleet::network::{Network, local_name};
use ctxnode_model::{Invalid, Timestamp};
use ctxnode_sync::PeerState;

use super::fleet::fleet;
use super::spans;
use crate::app::{Answer, App, Cx, Handled};
use crate::daemon::host;
use crate::failure::Failure;
use crate::field::{self, Setting, Wanted};

pub(crate) async fn get(cx: &Cx, _: Empty) -> Handled {
    Answer::ok(view(&cx.app))
}

pub(crate) async fn on(cx: &Cx, input: FieldOn) -> Handled {
    let setting = setting(&input, cx.now())?;
    fleet(&cx.app)?;
    let saved = field::switch_on(&cx.app, setting).await;
    answer(cx, saved).await
}

pub(crate) async fn off(cx: &Cx, _: PlainAction) -> Handled {
    fleet(&cx.app)?;
    let saved = field::switch_off(&cx.app).await;
    answer(cx, saved).await
}

async fn answer(cx: &Cx, saved: field::Saved) -> Handled {
    let view = view(&cx.app);
    cx.commit(move |draft| {
        saved.stage(draft);
        Ok((200, view))
    })
    .await
}

/// Checks every field at once.
fn setting(input: &FieldOn, now: Timestamp) -> Result<Setting, Failure> {
    let mut invalid = Invalid::new();
    let (every, awake) = (rules::MIN_EVERY..=rules::MAX_EVERY, Duration::from_secs(60)..=rules::MAX_FOR);
    let every = spans::check(&mut invalid, "every", input.every.as_deref(), &every, "15m");
    let limit = spans::check(&mut invalid, "for", input.limit.as_deref(), &awake, "2h");
    let budget =
        input.budget.as_deref().map(|text| rules::parse_bytes(text).filter(|bytes| *bytes >= rules::MIN_BUDGET));
    invalid.require(budget != Some(None), "budget", "expected an amount of at least 3MB, like `20MB`");
    invalid.finish()?;
    let awake = input.keep_awake.unwrap_or(true).then(|| Wanted {
        display_sleep: input.display_sleep.unwrap_or(false),
        until: limit.map(|limit| now.plus(i64::try_from(limit.as_millis()).unwrap_or(i64::MAX))),
    });
    Ok(Setting::new(now, every, budget.flatten(), awake))
}

/// Returns field mode as it stands, and what matters away from the desk.
pub(super) fn view(app: &App) -> FieldView {
    let now = app.now();
    let setting = app.field.now();
    let addresses = host::addresses(&app.config.sync.bind);
    let local = local_name(&app.host.hostname);
    let peers = app.fleet.get().map(ctxnode_sync::Fleet::status).unwrap_or_default();
    let members: Vec<_> = peers.iter().filter(|peer| peer.state != PeerState::Revoked).collect();
    let answering = members.iter().filter(|peer| matches!(peer.state, PeerState::Connected | PeerState::Forwarded));
    let facts = Facts {
        network: Network::of(&addresses),
        local_name: &local,
        servers: answering.map(|peer| peer.name.as_str()).collect(),
        has_servers: !members.is_empty(),
        power: host::power(),
    };
    let process = setting.as_ref().and_then(Setting::living_process);
    let mut view = FieldView {
        network: facts.network.name().to_owned(),
        power: match facts.power {
            Some(Power::Mains) => "mains",
            Some(Power::Battery(_)) => "battery",
            None => "unknown",
        }
        .to_owned(),
        servers: facts.servers.iter().map(|name| (*name).to_owned()).collect(),
        cautions: rules::cautions(&facts, process.is_some()),
        advice: rules::advice(&facts)
            .into_iter()
            .map(|row| AdviceView { scenario: row.scenario.to_owned(), target: row.target, method: row.method })
            .collect(),
        // What nobody else has is lost with this machine; one other that has it is enough.
        unsent: members.iter().filter_map(|peer| peer.unsent).min(),
        local_name: local.clone(),
        ..FieldView::default()
    };
    if let Some(setting) = setting {
        view.on = true;
        view.since = Some(Iso(setting.since));
        view.every_seconds = setting.every_s;
        view.last_sync = setting.last_sync.map(Iso);
        view.budget_bytes = setting.budget;
        let today = setting.meter().plus(0, 0, now.0);
        view.used_bytes = today.used;
        view.used_up = setting.left(now) == Some(0);
        view.others_used_bytes = today.by_others;
        view.others_budget_bytes = setting.budget.map(rules::share_of_others);
        view.others_used_up = setting.left_for_others(now) == Some(0);
        view.renews_at = setting.budget.map(|_| Iso(Timestamp(Meter::renews_at(now.0))));
        view.awake = process.map(|process| AwakeView {
            pid: process.id.pid,
            started: Iso(Timestamp(i64::try_from(process.id.started_at().unwrap_or(0)).unwrap_or(0) * 1_000)),
            command: process.command,
        });
        view.awake_problem = setting.problem;
    }
    view
}
