//! A store of realistic records: sessions that end in handoffs, threads that supersede, notes and docs of real text.

use std::path::Path;

use ctxnode_model::rules::canonical::sha256_hex;
use ctxnode_model::{Edit, Kind, Scalar, Space};
use ctxnode_store::{Draft, NodeSecret, Options, Store, StoreError};
use serde_json::json;

use crate::stats::say;

/// Records per command; an entry holds at most 256 ops.
const BATCH: usize = 200;
/// Callers at a time when each record is an entry of its own.
const CALLERS: usize = 64;
/// Sessions are spread over this many ventures and repos.
const VENTURES: [&str; 5] = ["alpha", "beta", "gamma", "delta", "omega"];

pub(crate) fn run(data_dir: &Path, records: usize, corpus: Option<&Path>) {
    let secret = NodeSecret::load(&data_dir.join("node.key")).expect("a data directory made by `ctxnode init`");
    let store =
        Store::open(Options::file(data_dir.join("store.redb"), secret)).expect("the store, with the daemon stopped");
    let texts = texts(corpus);
    let ventures: Result<_, ctxnode_store::WriteError<StoreError>> = store.write_blocking(|draft| {
        for code in VENTURES {
            let edits =
                [Edit::set("code", code), Edit::set("name", code), Edit::member("repos", format!("org/{code}"))];
            draft.edit(draft.ids().venture(code), &Space::of(Some(code)), edits)?;
        }
        Ok(())
    });
    ventures.expect("ventures");
    let began = std::time::Instant::now();
    let mut made = 0;
    while made < records {
        let (from, to) = (made, (made + BATCH).min(records));
        let texts: Vec<String> = (from..to).map(|number| texts[number % texts.len()].clone()).collect();
        let done: Result<_, ctxnode_store::WriteError<StoreError>> = store.write_blocking(move |draft| {
            (from..to).zip(texts).try_for_each(|(number, text)| add(draft, number, &text))
        });
        done.expect("a written batch");
        made = to;
        if made % 10_000 == 0 {
            say(&format!("{made} records, {:.0}/s", made as f64 / began.elapsed().as_secs_f64()));
        }
    }
    store.close();
}

/// Writes records one to an entry, as agents do, with as many callers at a time as a busy daemon has.
pub(crate) async fn write_records(store: &Store, numbers: std::ops::Range<usize>, texts: &[String]) {
    let mut running = tokio::task::JoinSet::new();
    for number in numbers {
        if running.len() == CALLERS {
            running.join_next().await.expect("a caller").expect("a caller that did not panic");
        }
        let (store, text) = (store.clone(), texts[number % texts.len()].clone());
        running.spawn(async move {
            let done = store.write(move |draft| add(draft, number, &text)).await;
            done.map_err(ctxnode_store::WriteError::<StoreError>::flatten).expect("a written record");
        });
    }
    running.join_all().await;
}

pub(crate) fn texts(corpus: Option<&Path>) -> Vec<String> {
    let files = corpus.and_then(|dir| std::fs::read_dir(dir).ok()).into_iter().flatten().flatten();
    let mut texts: Vec<String> = files.filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect();
    texts.sort();
    if texts.is_empty() {
        texts = (0..100).map(|n| format!("Synthetic text number {n}. It has sentences. ").repeat(40)).collect();
    }
    texts
}

fn add(draft: &mut Draft<'_>, number: usize, text: &str) -> Result<(), StoreError> {
    let code = VENTURES[number % VENTURES.len()];
    let space = Space::Venture(code.to_owned());
    // A record a minute into the past, so that lists and ages look like a year of work.
    let at = draft.now().plus(-60_000 * i64::try_from(number).unwrap_or(0));
    let by = [Edit::set("actor_key_id", "0123456789abcdef"), Edit::set("creation_correlation_id", "corr_bench")];
    match number % 100 {
        0..45 => {
            let ending = json!({ "at": at.0 + 3_600_000, "reason": "manual" });
            let edits = [
                Edit::set("agent", format!("claude-host-{:08}", number % 50)),
                Edit::set("machine", "host"),
                Edit::set("cli", "claude"),
                Edit::set("venture", code),
                Edit::set("repo", format!("org/{code}")),
                Edit::set("issue", i64::try_from(number % 500 + 1).unwrap_or(1)),
                Edit::set("branch", format!("dev/host/issue-{}", number % 500)),
                Edit::set("created_at", at),
                Edit::set("ended", Scalar::json(&ending)),
            ];
            draft.edit(draft.fresh_id(Kind::Session, &space)?, &space, edits.into_iter().chain(by))
        }
        45..90 => {
            let payload = json!({
                "accomplished": [text.chars().take(200).collect::<String>()],
                "blocked": [], "in_progress": [], "next_steps": ["1. run `cargo test`"],
            })
            .to_string();
            let edits = [
                Edit::set("session_id", "sess_01HQXV3NK8J5Z7Y2M4T6W8R0AB"),
                Edit::set("venture", code),
                Edit::set("repo", format!("org/{code}")),
                Edit::set("issue", i64::try_from(number % 500 + 1).unwrap_or(1)),
                Edit::set("thread", format!("issue:org/{code}#{}", number % 500 + 1)),
                Edit::set("from_agent", "claude-host-00000001"),
                Edit::set("status_label", if number.is_multiple_of(3) { "in_progress" } else { "done" }),
                Edit::set("summary", text.chars().take(150).collect::<String>()),
                Edit::set("payload_hash", sha256_hex(payload.as_bytes())),
                Edit::set("payload_size_bytes", i64::try_from(payload.len()).unwrap_or(0)),
                Edit::set("payload", payload),
                Edit::set("drafted", false),
                Edit::set("created_at", at),
            ];
            draft.edit(draft.fresh_id(Kind::Handoff, &space)?, &space, edits.into_iter().chain(by))
        }
        90..98 => {
            let start = number * 37 % text.len().max(1);
            let piece: String = text.chars().skip(start % 1_000).take(1_500).collect();
            let tag = if number % 400 == 90 { "executive-summary" } else { "design" };
            let edits = [
                Edit::set("title", format!("Note {number}")),
                Edit::Body { field: "content", text: piece, base: None },
                Edit::member("tags", tag),
                Edit::set("venture", code),
                Edit::set("created_at", at),
                Edit::set("updated_at", at),
            ];
            draft.edit(draft.fresh_id(Kind::Note, &space)?, &space, edits.into_iter().chain(by))
        }
        _ => {
            let name = format!("doc-{number}.md");
            let key = draft.order(&space)?.sort_key();
            let revision = json!({ "hash": sha256_hex(text.as_bytes()), "size": text.len(), "at": at.0, "by": "bench", "title": name });
            let edits = [
                Edit::set("scope", code),
                Edit::set("name", name.as_str()),
                Edit::set("created_at", at),
                Edit::set("refreshed_at", at),
                Edit::entry("revisions", key.clone(), Scalar::json(&revision)),
                Edit::entry("contents", key, text.chars().take(20_000).collect::<String>()),
            ];
            draft.edit(draft.ids().doc(code, &name), &space, edits.into_iter().chain(by))
        }
    }
}
