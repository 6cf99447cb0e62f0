//! The node itself: health, status, checks, backups, export, its end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ctxnode_api::node::{
    BackupReply, BackupRequest, Done, Empty, ExportReply, ExportRequest, Health, IntegrityReply, IntegrityRequest,
    NodeReply,
};
use ctxnode_api::operations::PlainAction;
use ctxnode_api::{ErrorBody, ErrorCode, Iso, Right, openapi as document, version};
use ctxnode_model::index::Index;
use ctxnode_model::record::Session;
use ctxnode_model::{Kind, Rec, Spaces, Timestamp};
use ctxnode_store::{BackupReport, LocalTable, OpenError, backup_to};
use ctxnode_sync::Fleet;

use super::{attention, claims, conflicts, export, field, fleet, machines, sessions};
use crate::app::{Answer, App, Cx, Handled, Lifecycle};
use crate::caller::effective;
use crate::failure::Failure;

/// Where the last verified backup is noted.
const LAST_BACKUP: &[u8] = b"last_backup";

pub(crate) async fn health(_: &Cx, _: Empty) -> Handled {
    Answer::ok(Health { status: "ok".to_owned(), service: "ctxnode".to_owned(), version: version::BUILD.to_owned() })
}

pub(crate) async fn node(cx: &Cx, _: Empty) -> Handled {
    let app = &cx.app;
    let now = cx.now();
    let snapshot = cx.read()?;
    let reader = snapshot.reader();
    let mut records = BTreeMap::new();
    for kind in Kind::ALL {
        records.insert(kind.name().to_owned(), reader.count(Index::All, kind, &[])?);
    }
    let open = reader.newest::<Session>(Index::SessionOpenAll, Kind::Session, &[], usize::MAX)?;
    // What lives elsewhere stands in the lines of its own machine.
    let lives_here = |session: &&Rec<Session>| sessions::is_own(app, session) && sessions::is_live(app, session, now);
    let live = open.iter().filter(lives_here).count();
    let role = app.store.authority().role(&app.store.node());
    let store_bytes = app.store.path().and_then(|path| std::fs::metadata(path).ok()).map_or(0, |file| file.len());
    let (unresolved, unresolved_count) = conflicts::unresolved(reader, cx)?;
    let mut reply = NodeReply {
        build: version::BUILD.to_owned(),
        fleet: app.store.fleet().to_string(),
        node: app.store.node().to_string(),
        role: effective(Right::Admin, role),
        spaces: match app.store.authority().spaces(&app.store.node()) {
            Some(Spaces::Only(spaces)) => Some(spaces.iter().map(ToString::to_string).collect()),
            Some(Spaces::All) | None => None,
        },
        name: app.store.authority().name(&app.store.node()).unwrap_or_default().to_owned(),
        machine: app.host.hostname.clone(),
        pid: std::process::id(),
        started_at: Iso(app.started),
        uptime_seconds: u64::try_from(now.since(app.started) / 1_000).unwrap_or(0),
        data_dir: app.config.paths.data_dir.display().to_string(),
        store_bytes,
        memory_bytes: crate::process::memory(std::process::id()),
        records,
        active_sessions: live as u64,
        journal: reader.journal_end()?,
        search: app.search.state(),
        quarantined: reader.quarantine(0)?.1,
        waiting: reader.waiting_count()?,
        last_backup: last_backup(app).map(Iso),
        peers: fleet::views(app, now),
        alerts: fleet::alerts(app),
        listening: app.fleet.get().map(Fleet::addresses).unwrap_or_default().iter().map(ToString::to_string).collect(),
        listening_problem: app.fleet.get().and_then(Fleet::bind_error),
        clashes: claims::clashes(reader, cx, now)?,
        arrived: crate::returns::last(app),
        unresolved,
        unresolved_count,
        waiting_nodes: machines::waiting(reader, app)?,
        field: app.field.is_on().then(|| field::view(app)),
        attention: Vec::new(),
    };
    reply.attention = attention::of(&reply, now);
    Answer::ok(reply)
}

pub(crate) async fn check(cx: &Cx, input: IntegrityRequest) -> Handled {
    if input.rebuild {
        cx.app.store.rederive().await?;
        cx.app.search.rebuild();
    }
    let snapshot = cx.read()?;
    let report = tokio::task::spawn_blocking(move || snapshot.check(|_| ()));
    let report = report.await.map_err(|_| Failure::new(ErrorCode::Internal, "the check failed inside ctxnode"))??;
    let searchable = crate::search_index::searchable(cx.read()?.reader())?;
    let state = cx.app.search.state();
    let caught_up = state.watermark >= cx.read()?.reader().journal_end()?;
    Answer::ok(IntegrityReply {
        ok: report.problem_count == 0,
        entries: report.entries,
        documents: report.documents,
        rows: report.rows,
        problems: report
            .problems
            .into_iter()
            .map(|problem| [problem.table.to_owned(), problem.what, problem.why.to_owned()])
            .collect(),
        problem_count: report.problem_count,
        search_agrees: (state.enabled && caught_up).then_some(state.documents == searchable),
    })
}

pub(crate) async fn backup(cx: &Cx, input: BackupRequest) -> Handled {
    let directory = input.directory.map(PathBuf::from);
    if directory.as_ref().is_some_and(|directory| !directory.is_absolute()) {
        return Err(ErrorBody::field("directory", "must be an absolute path").into());
    }
    Answer::ok(run_backup(&cx.app, directory).await?)
}

/// Takes a backup, notes it, and removes those beyond the number that is kept.
pub(crate) async fn run_backup(app: &Arc<App>, directory: Option<PathBuf>) -> Result<BackupReply, Failure> {
    let usual = directory.is_none();
    let directory = directory.unwrap_or_else(|| app.config.backup.dir.clone());
    let (store, place) = (app.store.clone(), directory.clone());
    let report = tokio::task::spawn_blocking(move || backup_to(&store, &place)).await;
    let report = report.map_err(|_| Failure::new(ErrorCode::Internal, "the backup failed inside ctxnode"))?;
    let report = report.map_err(backup_failed)?;
    let bytes = serde_json::to_vec(&report).unwrap_or_default();
    let noted = app.store.write(move |draft| {
        draft.put_local(LocalTable::Caches, LAST_BACKUP, bytes);
        Ok::<(), Failure>(())
    });
    noted.await?;
    let removed = if usual { prune(&directory, app.config.backup.keep as usize) } else { 0 };
    Ok(BackupReply {
        path: report.path.display().to_string(),
        at: Iso(report.at),
        rows: report.rows,
        records: report.records,
        entries: report.entries,
        bytes: report.bytes,
        removed,
    })
}

fn backup_failed(error: OpenError) -> Failure {
    match error {
        OpenError::Store(error) => Failure::Store(error),
        other => {
            let message = format!("the backup failed: {other}");
            ErrorBody::new(ErrorCode::StorageFailed, message).hint("check the directory and its free space").into()
        }
    }
}

/// Removes the oldest backups beyond `keep`. Their names are their times.
fn prune(directory: &std::path::Path, keep: usize) -> u64 {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut backups: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|found| found == "redb")).collect();
    backups.sort();
    let gone = backups.len().saturating_sub(keep.max(1));
    let removed = backups.iter().take(gone).filter(|path| {
        // A manifest without its backup says nothing.
        let _ = std::fs::remove_file(path.with_extension("json"));
        std::fs::remove_file(path).is_ok()
    });
    removed.count() as u64
}

/// Returns when the last verified backup was taken.
pub(crate) fn last_backup(app: &App) -> Option<Timestamp> {
    let snapshot = app.store.read().ok()?;
    let bytes = snapshot.reader().local(LocalTable::Caches, LAST_BACKUP).ok()??;
    serde_json::from_slice::<BackupReport>(&bytes).ok().map(|report| report.at)
}

pub(crate) async fn export(cx: &Cx, input: ExportRequest) -> Handled {
    let directory = input.directory.map(PathBuf::from).filter(|directory| directory.is_absolute());
    let directory =
        directory.ok_or_else(|| Failure::from(ErrorBody::field("directory", "must be an absolute path")))?;
    let snapshot = cx.read()?;
    let place = directory.clone();
    let written = tokio::task::spawn_blocking(move || export::write(&snapshot, &place)).await;
    let files = written.map_err(|_| Failure::new(ErrorCode::Internal, "the export failed inside ctxnode"))??;
    Answer::ok(ExportReply { directory: directory.display().to_string(), files })
}

pub(crate) async fn stop(cx: &Cx, _: PlainAction) -> Handled {
    cx.app.lifecycle.send_replace(Lifecycle::Stop);
    Answer::ok(Done { changed: true })
}

pub(crate) async fn handover(cx: &Cx, _: PlainAction) -> Handled {
    cx.app.lifecycle.send_replace(Lifecycle::Handover);
    Answer::ok(Done { changed: true })
}

pub(crate) async fn openapi(_: &Cx, _: Empty) -> Handled {
    Answer::ok(document::document())
}
