//! From what a file holds to what it should hold. Pure.

use std::collections::BTreeSet;

use super::marked::{Comment, Found, put_block, sealed, take_block, whose, whose_block};
use super::{Broken, Content, Wanted, block, json, toml};

/// What happens to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Nothing: it is as it should be.
    Keep,
    /// It gets this text.
    Write(String),
    /// It goes.
    Delete,
}

/// Returns what makes a file as it should be.
///
/// # Errors
/// Why the file is left alone.
pub fn edit(wanted: &Wanted, now: Option<&str>) -> Result<Edit, Broken> {
    let text = now.unwrap_or_default();
    let after = match &wanted.content {
        Content::Json { dialect, entries } => json::put(text, *dialect, entries)?,
        Content::Toml(entries) => toml::put(text, entries)?,
        Content::Block(body) => match whose_block(text) {
            Found::Foreign => return Err(Broken::Changed),
            // The line alone does it, wherever somebody wrote it.
            Found::Nothing if body == block::IMPORT && text.lines().any(|line| line.trim() == body) => text.to_owned(),
            _ => put_block(text, body),
        },
        Content::FirstLine(line) if has_line(text, line) => text.to_owned(),
        Content::FirstLine(line) => format!("{line}\n{text}"),
        Content::Whole(content) => match now.map(whose) {
            Some(Found::Foreign) if text.contains("ctxnode: generated") => return Err(Broken::Changed),
            Some(Found::Foreign) => return Err(Broken::Foreign),
            _ => sealed(content, comment(wanted)),
        },
        Content::Gone => {
            return Ok(if now.map(whose) == Some(Found::Ours) { Edit::Delete } else { Edit::Keep });
        }
    };
    Ok(if now == Some(after.as_str()) || after.is_empty() { Edit::Keep } else { Edit::Write(after) })
}

/// Returns the names of the defaults that a file lacks: those that we are about to set.
pub(super) fn missing_defaults(wanted: &Wanted, now: Option<&str>) -> BTreeSet<String> {
    let text = now.unwrap_or_default();
    match &wanted.content {
        Content::Json { entries, .. } => {
            let missing = entries.iter().filter(|entry| entry.is_default() && json::look(text, &entry.path).is_none());
            missing.map(json::Entry::name).collect()
        }
        Content::Toml(entries) => {
            entries.iter().filter(|entry| entry.is_default() && !entry.is_in(text)).map(toml::Entry::name).collect()
        }
        _ => BTreeSet::new(),
    }
}

/// Returns what takes everything of ours out of a file. `created` says whether the file was made by us, `defaults` which
/// defaults in it we have set: one that somebody else had set to the same value before is theirs.
///
/// # Errors
/// Why the file is left alone.
pub(super) fn removal(
    wanted: &Wanted,
    now: Option<&str>,
    created: bool,
    defaults: &BTreeSet<String>,
) -> Result<Edit, Broken> {
    let Some(text) = now else { return Ok(Edit::Keep) };
    let (after, empty) = match &wanted.content {
        Content::Json { dialect, entries } => {
            let ours = |entry: &&json::Entry| !entry.is_default() || defaults.contains(&entry.name());
            let entries: Vec<json::Entry> = entries.iter().filter(ours).cloned().collect();
            let after = json::take(text, *dialect, &entries)?;
            let empty = json::is_empty(&after);
            (after, empty)
        }
        Content::Toml(entries) => {
            let ours = |entry: &&toml::Entry| !entry.is_default() || defaults.contains(&entry.name());
            let entries: Vec<toml::Entry> = entries.iter().filter(ours).cloned().collect();
            let after = toml::take(text, &entries)?;
            let empty = after.trim().is_empty();
            (after, empty)
        }
        Content::Block(_) => match whose_block(text) {
            Found::Foreign => return Err(Broken::Changed),
            Found::Nothing => return Ok(Edit::Keep),
            Found::Ours => {
                let after = take_block(text);
                let empty = after.trim().is_empty();
                (after, empty)
            }
        },
        Content::FirstLine(line) => {
            let after = without_line(text, line);
            let empty = after.trim().is_empty();
            (after, empty)
        }
        Content::Whole(_) | Content::Gone => {
            return match whose(text) {
                Found::Ours => Ok(Edit::Delete),
                _ if text.contains("ctxnode: generated") => Err(Broken::Changed),
                _ => Ok(Edit::Keep),
            };
        }
    };
    Ok(match () {
        () if after == text => Edit::Keep,
        () if empty && created => Edit::Delete,
        () => Edit::Write(after),
    })
}

fn comment(wanted: &Wanted) -> Comment {
    let hash =
        wanted.path.extension().is_some_and(|ending| ["toml", "conf", "ti"].iter().any(|known| ending == *known));
    if hash { Comment::Hash } else { Comment::Html }
}

/// Wherever somebody put it, and however it is indented: it has its effect.
fn has_line(text: &str, line: &str) -> bool {
    text.lines().any(|found| found.trim() == line)
}

fn without_line(text: &str, line: &str) -> String {
    text.split_inclusive('\n').filter(|found| found.trim() != line).collect()
}
