//! `ctxnode hook <cli> <event>` and `budget`: what agent CLIs run by themselves, and what of their context it takes.
//!
//! A hook never stands in the way: it ends with 0 within a second, prints what its CLI accepts and nothing else, asks
//! nobody, and starts nothing. What the daemon could not be told waits on disk.

use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use clap::{Arg, ArgMatches, Command};
use ctxnode_api::hooks::{HookReply, HookRequest, Moment};
use ctxnode_api::{Call, Iso};
use ctxnode_config::Environment;
use ctxnode_launcher::agents::Agent;
use ctxnode_launcher::hooks::{Event, answer, offer, request};
use ctxnode_launcher::program::find;
use ctxnode_mcp::render;
use ctxnode_model::Timestamp;
use ctxnode_model::rules::secrets::redact;
use serde_json::{Value, json};

use super::failure::{Exit, Failure};
use super::screen::{Form, Screen};
use super::stdin;
use super::world::World;
use crate::daemon::spool;
use crate::handlers::Spooled;
use crate::process::agents_above;

/// When a hook gives up, whatever it waits for.
const HARD_LIMIT: Duration = Duration::from_millis(950);
/// How long the daemon may take; the rest is for keeping the event on disk.
pub(super) const ASK_LIMIT: Duration = Duration::from_millis(700);

pub(super) fn commands() -> Vec<Command> {
    // Free words: a hook that is called in a way it does not know must not end with 2, which would block the agent.
    let words =
        Arg::new("words").num_args(0..).allow_hyphen_values(true).trailing_var_arg(true).value_name("CLI EVENT");
    vec![
        Command::new("hook")
            .about("Reports an event of an agent CLI, whose input it reads from stdin")
            .hide(true)
            .arg(words),
        super::status_line::command(),
        Command::new("budget").about("Shows how much of each agent CLI's context a start here takes"),
    ]
}

/// Reports an event. Always ends with 0.
pub(super) fn hook(matches: &ArgMatches, env: &Environment, screen: Screen) -> ExitCode {
    let words: Vec<String> = matches.get_many::<String>("words").into_iter().flatten().cloned().collect();
    let known = match words.as_slice() {
        [cli, event, ..] => Agent::of_name(cli).zip(Event::of_name(event)),
        _ => None,
    };
    let Some((agent, event)) = known else { return ExitCode::SUCCESS };
    let reply = limited(matches, env, screen, move |world| report(world, agent, event));
    // Without a place to print to there is nobody to tell.
    let reply = reply.flatten();
    let offered = offer_of(agent, reply.as_ref(), env);
    let _ = screen.print_exactly(&answer(agent, event, reply.as_ref(), offered.as_deref()));
    ExitCode::SUCCESS
}

/// What the human should hear of a turn that failed.
pub(super) fn offer_of(agent: Agent, reply: Option<&HookReply>, env: &Environment) -> Option<String> {
    let why = reply?.failed.as_deref()?;
    let installed = Agent::ALL.into_iter().filter(|other| find(other.name(), env).is_some()).collect::<Vec<_>>();
    Some(offer(agent, why, &installed))
}

/// Does something in a thread of its own and waits for it no longer than a hook may take.
pub(super) fn limited<T: Send + 'static>(
    matches: &ArgMatches,
    env: &Environment,
    screen: Screen,
    work: impl FnOnce(&World) -> T + Send + 'static,
) -> Option<T> {
    let (send, receive) = sync_channel(1);
    let (matches, env) = (matches.clone(), env.clone());
    let spawned = std::thread::Builder::new().spawn(move || {
        let Ok(world) = World::look(&matches, env, screen) else { return };
        // The one who waits may have given up.
        let _ = send.send(work(&world));
    });
    spawned.ok()?;
    receive.recv_timeout(HARD_LIMIT).ok()
}

fn report(world: &World, agent: Agent, event: Event) -> Option<HookReply> {
    let began = Instant::now();
    // Anything but an object is no event's details, and still an event.
    let mut asked = request(agent, event, &stdin::input().value);
    if asked.directory.is_none() {
        asked.directory = Some(world.directory.display().to_string());
    }
    // What the details took, the daemon has less: the event must still come to the disk.
    let left = ASK_LIMIT.saturating_sub(began.elapsed());
    match ask(world, &asked, left) {
        Ok(reply) => Some(reply),
        // It has heard the event and will not have it.
        Err(Failure::Refused(body)) if body.code.status() < 500 => None,
        Err(_) => {
            keep(world, asked);
            None
        }
    }
}

pub(super) fn ask(world: &World, asked: &HookRequest, limit: Duration) -> Result<HookReply, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Runtime)?;
    let input = serde_json::to_value(asked).unwrap_or_default();
    let answer = runtime.block_on(async {
        let mut client = world.client_of_running()?.with_limit(limit);
        client.call(&Call::new("hook", input)).await.map_err(Failure::from)
    })?;
    Ok(serde_json::from_value(answer.body).unwrap_or_default())
}

/// Keeps an event for the next daemon, with the agent above, whom nobody can ask for later.
fn keep(world: &World, mut asked: HookRequest) {
    let now = jiff::Timestamp::now().as_millisecond();
    asked.at = Some(Iso(Timestamp(now)));
    // What the daemon would not store does not lie on disk until it runs either.
    asked.text = asked.text.map(|text| redact(&text));
    asked.failure = asked.failure.map(|text| redact(&text));
    asked.error = asked.error.map(|text| redact(&text));
    let above = agents_above(std::process::id()).into_iter().next();
    let event = Spooled { request: asked, agent: above.map(|agent| (agent.cli.to_owned(), agent.process)) };
    // A full disk, or a lock that others hold for too long: the agent goes on, and this event is lost, and counted.
    let _ = spool::append(&world.config.paths.state_dir, &event);
}

/// Shows the size of what a start here would inject.
pub(super) async fn budget(world: &World) -> Result<Exit, Failure> {
    let mut rows = Vec::new();
    for agent in Agent::ALL {
        for source in ["startup", "compact"] {
            let asked = HookRequest {
                cli: agent.name().to_owned(),
                moment: Moment::Preview,
                source: Some(source.to_owned()),
                directory: Some(world.directory.display().to_string()),
                ..HookRequest::default()
            };
            let call = Call::new("hook", serde_json::to_value(&asked).unwrap_or_default());
            let body = world.ask(world.client().await?, &call).await?.body;
            let text = body["context"].as_str().unwrap_or_default().to_owned();
            let printed = answer(agent, Event::SessionStart, serde_json::from_value(body).ok().as_ref(), None);
            rows.push(json!({
                "cli": agent.name(), "source": source,
                "characters": text.chars().count(), "tokens": render::tokens(&text), "bytes_printed": printed.len(),
                "most_characters": if source == "compact" { render::AGAIN_CHARS } else { render::HOOK_CHARS },
                "most_tokens": render::HOOK_TOKENS,
            }));
        }
    }
    match world.screen.form {
        Form::Json => world.screen.print_json(&json!({ "items": rows }))?,
        Form::People => world.screen.print(&table(&rows))?,
    }
    Ok(Exit::Done)
}

fn table(rows: &[Value]) -> String {
    if rows.iter().all(|row| row["characters"] == 0) {
        return "this directory is no checkout of a venture: a start here injects nothing".to_owned();
    }
    let line = |row: &Value| {
        let number = |name: &str| row[name].as_u64().unwrap_or_default();
        format!(
            "{:<7} {:<8} {:>5} of {:>5} characters  {:>5} of {:>5} tokens",
            row["cli"].as_str().unwrap_or_default(),
            row["source"].as_str().unwrap_or_default(),
            number("characters"),
            number("most_characters"),
            number("tokens"),
            number("most_tokens")
        )
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
