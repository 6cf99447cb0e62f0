//! `ctxnode import`: a folder of Markdown becomes notes or docs. Run again, it changes only what changed in the folder.

mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};
use ctxnode_api::docs::DocPutReply;
use ctxnode_api::notes::NoteRow;
use ctxnode_api::{Call, Client, ErrorCode, List, headers};
use ignore::WalkBuilder;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::failure::{Exit, Failure};
use super::screen::Form;
use super::world::World;
use source::Source;

/// How many files are sent at once: enough for the store to write many in one go.
const IN_FLIGHT: usize = 16;

pub(super) fn command() -> Command {
    let dir = || Arg::new("dir").required(true).value_name("DIR").help("The folder");
    let dry = || Arg::new("dry_run").long("dry-run").action(ArgAction::SetTrue).help("Says what would be done");
    let venture = Arg::new("venture").long("venture").value_name("CODE").help("The venture; global when left out");
    let tag = Arg::new("tag").long("tag").value_name("TAG").action(ArgAction::Append).help("A tag for every note");
    let scope =
        Arg::new("scope").long("scope").value_name("SCOPE").default_value("global").help("global or a venture code");
    let notes = Command::new("notes").about("Makes a note of every Markdown file").args([dir(), venture, tag, dry()]);
    let docs = Command::new("docs").about("Makes a doc of every Markdown and JSON file").args([dir(), scope, dry()]);
    Command::new("import")
        .about("Takes in a folder of files; run again, it takes in what changed")
        .subcommand_required(true)
        .subcommands([notes, docs])
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Created,
    Changed,
    Unchanged,
}

/// What became of all files.
#[derive(Debug, Default)]
struct Tally {
    counts: BTreeMap<Outcome, usize>,
    refused: Vec<(String, String)>,
}

pub(super) async fn notes(world: &World, matches: &ArgMatches) -> Result<Exit, Failure> {
    let root = root(world, matches)?;
    let files = walk(&root, &["md"])?;
    let venture = matches.get_one::<String>("venture").cloned();
    let tags: Vec<String> = matches.get_many::<String>("tag").into_iter().flatten().cloned().collect();
    let known = known_notes(&mut client(world).await?).await?;
    let jobs = files.into_iter().map(|path| {
        let name = named(&root, &path);
        let before = known.get(&name).cloned();
        let (venture, tags) = (venture.clone(), tags.clone());
        (name.clone(), move || note(&path, &name, before, venture, tags))
    });
    carry_out(world, matches, jobs.collect()).await
}

pub(super) async fn docs(world: &World, matches: &ArgMatches) -> Result<Exit, Failure> {
    let root = root(world, matches)?;
    let files = walk(&root, &["md", "json"])?;
    let scope = matches.get_one::<String>("scope").cloned().unwrap_or_else(|| "global".to_owned());
    let jobs = files.into_iter().map(|path| {
        let name = named(&root, &path);
        let (scope, short) = (scope.clone(), doc_name(&root, &path));
        (name, move || doc(&path, &scope, &short))
    });
    carry_out(world, matches, jobs.collect()).await
}

/// What a file asks for, made when its turn comes, so that not all files are in memory at once.
enum Job {
    Nothing,
    Send(Call),
}

fn note(
    path: &Path,
    name: &str,
    before: Option<(String, String)>,
    venture: Option<String>,
    tags: Vec<String>,
) -> Result<Job, String> {
    let source = Source::read(path)?;
    if before.as_ref().is_some_and(|(_, hash)| *hash == source.hash) {
        return Ok(Job::Nothing);
    }
    let mut all = source.tags;
    all.extend(tags);
    all.sort_unstable();
    all.dedup();
    let mut input = json!({
        "title": source.title, "content": source.text, "tags": all, "human_requested": true,
        "meta": { "source": name, "source_hash": source.hash },
    });
    if let Some(venture) = source.venture.or(venture) {
        input["venture"] = venture.into();
    }
    Ok(Job::Send(match before {
        Some((id, _)) => Call::new("note.update", input).param("id", id),
        None => Call::new("note.create", input),
    }))
}

fn doc(path: &Path, scope: &str, name: &str) -> Result<Job, String> {
    let source = Source::read(path)?;
    let mut input = json!({ "content": source.whole, "source_path": path.display().to_string() });
    if source.titled {
        input["title"] = source.title.into();
    }
    Ok(Job::Send(Call::new("doc.put", input).param("scope", scope).param("name", name)))
}

/// A client whose calls count as an import and not as an agent that runs wild.
async fn client(world: &World) -> Result<Client, Failure> {
    Ok(world.client().await?.with_header(headers::CALLER, "import")?)
}

/// Returns the notes that came from files: by their source, the id and the hash.
async fn known_notes(client: &mut Client) -> Result<BTreeMap<String, (String, String)>, Failure> {
    let mut known = BTreeMap::new();
    let mut cursor: Option<String> = None;
    loop {
        let query = json!({ "limit": 100, "include_archived": true, "cursor": cursor });
        let page: List<NoteRow> = client.typed("note.list", &query).await?;
        for row in page.items {
            if let (Some(source), Some(hash)) = (row.source, row.source_hash) {
                known.insert(source, (row.id, hash));
            }
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(known);
        }
    }
}

async fn carry_out<F>(world: &World, matches: &ArgMatches, jobs: Vec<(String, F)>) -> Result<Exit, Failure>
where
    F: FnOnce() -> Result<Job, String> + Send + 'static,
{
    let dry = matches.get_flag("dry_run");
    let bar = world.screen.bar(jobs.len() as u64);
    let mut tally = Tally::default();
    let mut running: JoinSet<(Client, String, Result<Outcome, String>)> = JoinSet::new();
    let mut idle: Vec<Client> = Vec::new();
    let mut waiting = jobs.into_iter();
    loop {
        while running.len() < IN_FLIGHT
            && let Some((name, make)) = waiting.next()
        {
            let client = match idle.pop() {
                Some(client) => client,
                None => client_for(world, dry).await?,
            };
            running.spawn(async move {
                let mut client = client;
                let done = match make() {
                    Ok(Job::Send(call)) if !dry => send(&mut client, &call).await,
                    Ok(Job::Send(_)) => Ok(Outcome::Changed),
                    Ok(Job::Nothing) => Ok(Outcome::Unchanged),
                    Err(why) => Err(why),
                };
                (client, name, done)
            });
        }
        match running.join_next().await {
            None => break,
            Some(Ok((client, name, done))) => {
                idle.push(client);
                match done {
                    Ok(outcome) => *tally.counts.entry(outcome).or_default() += 1,
                    Err(why) => tally.refused.push((name, why)),
                }
            }
            Some(Err(error)) => tally.refused.push(("?".to_owned(), error.to_string())),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    report(world, tally, dry)
}

async fn client_for(world: &World, dry: bool) -> Result<Client, Failure> {
    // A dry run asks nothing more, so it needs no daemon either.
    if dry { Ok(world.client_of_running()?) } else { client(world).await }
}

async fn send(client: &mut Client, call: &Call) -> Result<Outcome, String> {
    let answer = client.call(call).await.map_err(|error| match error {
        ctxnode_api::ClientError::Refused(body) => {
            let fields: Vec<String> =
                body.details.iter().map(|field| format!("{}: {}", field.field, field.message)).collect();
            let fields = if fields.is_empty() { String::new() } else { format!(" ({})", fields.join("; ")) };
            let hint = if body.code == ErrorCode::SecretSuspected { "; look at it by hand" } else { "" };
            format!("{}{fields}{hint}", body.message)
        }
        other => other.to_string(),
    })?;
    Ok(match call.operation.as_str() {
        "note.create" => Outcome::Created,
        "note.update" => Outcome::Changed,
        _ => match serde_json::from_value::<DocPutReply>(answer.body) {
            Ok(reply) if reply.created => Outcome::Created,
            Ok(reply) if reply.changed => Outcome::Changed,
            _ => Outcome::Unchanged,
        },
    })
}

fn report(world: &World, mut tally: Tally, dry: bool) -> Result<Exit, Failure> {
    tally.refused.sort();
    let count = |outcome| tally.counts.get(&outcome).copied().unwrap_or(0);
    let (created, changed, unchanged) = (count(Outcome::Created), count(Outcome::Changed), count(Outcome::Unchanged));
    match world.screen.form {
        Form::Json => {
            let refused: Vec<Value> =
                tally.refused.iter().map(|(file, why)| json!({ "file": file, "reason": why })).collect();
            let mut value = json!({ "unchanged": unchanged, "refused": refused });
            if dry {
                value["to_send"] = changed.into();
            } else {
                value["created"] = created.into();
                value["changed"] = changed.into();
            }
            world.screen.print_json(&value)?;
        }
        Form::People => {
            let refused = tally.refused.len();
            for (file, why) in &tally.refused {
                world.screen.notice(&format!("refused {file}: {why}"));
            }
            world.screen.print(&if dry {
                format!("{changed} to send, {unchanged} unchanged, {refused} unreadable")
            } else {
                format!("{created} created, {changed} changed, {unchanged} unchanged, {refused} refused")
            })?;
        }
    }
    Ok(if tally.refused.is_empty() { Exit::Done } else { Exit::Failed })
}

fn root(world: &World, matches: &ArgMatches) -> Result<PathBuf, Failure> {
    let typed = matches.get_one::<String>("dir").map(String::as_str).unwrap_or(".");
    let path = world.directory.join(typed);
    // Its name becomes part of what is stored, so that `.` and a link are resolved.
    path.canonicalize().map_err(Failure::file(path))
}

/// Returns the files below a folder with one of the endings, in order. What git ignores is left out.
fn walk(root: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, Failure> {
    if !root.is_dir() {
        return Err(Failure::file(root)(std::io::ErrorKind::NotADirectory.into()));
    }
    let mut files = Vec::new();
    for entry in WalkBuilder::new(root).build() {
        let entry = entry.map_err(|error| Failure::file(root)(std::io::Error::other(error)))?;
        let ending = entry.path().extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if entry.file_type().is_some_and(|kind| kind.is_file()) && endings.contains(&ending) {
            files.push(entry.into_path());
        }
    }
    files.sort();
    Ok(files)
}

/// The name under which a file is remembered: the folder's name and the path in it.
fn named(root: &Path, path: &Path) -> String {
    let folder = root.file_name().unwrap_or_default();
    let inner = path.strip_prefix(root).unwrap_or(path);
    Path::new(folder).join(inner).display().to_string()
}

/// A doc's name has no folders: their separators become dashes, and other characters that a name cannot hold too.
fn doc_name(root: &Path, path: &Path) -> String {
    let inner = path.strip_prefix(root).unwrap_or(path).display().to_string();
    let keeps = |found: char| found.is_ascii_alphanumeric() || matches!(found, '.' | '_' | '-');
    inner.chars().map(|found| if keeps(found) { found } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_where_a_file_was() {
        let (root, path) = (Path::new("/a/rfcs"), Path::new("/a/rfcs/text/0001 x.md"));
        assert_eq!(named(root, path), "rfcs/text/0001 x.md");
        assert_eq!(doc_name(root, path), "text-0001-x.md");
    }

    #[test]
    fn a_walk_takes_the_endings_in_order_and_leaves_ignored_files() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.md", "a.md", "c.txt", "d.json"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        let names = |endings: &[&str]| -> Vec<String> {
            let files = walk(dir.path(), endings).unwrap();
            files.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names(&["md"]), ["a.md", "b.md"]);
        assert_eq!(names(&["md", "json"]), ["a.md", "b.md", "d.json"]);
    }
}
