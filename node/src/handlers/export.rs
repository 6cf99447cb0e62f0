//! The export: everything as files that people can read, Markdown for texts and JSON for the rest.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use ctxnode_api::{ErrorBody, ErrorCode};
use ctxnode_model::index::Index;
use ctxnode_model::record::{Doc, Handoff, Note};
use ctxnode_model::rules::handoff::{Lists, status_name};
use ctxnode_model::{DocumentId, Kind};
use ctxnode_store::{Reader, Snapshot};
use serde_json::{Value, json};

use crate::failure::Failure;

/// Marks a directory as one that an export wrote, and may write again.
const MARKER: &str = ".ctxnode-export";

/// Writes everything below a directory. Files of records that are gone are removed, others' files never.
pub(super) fn write(snapshot: &Snapshot, directory: &Path) -> Result<BTreeMap<String, u64>, Failure> {
    let failed = |error: std::io::Error| {
        let message = format!("the export to {} failed: {error}", directory.display());
        Failure::from(ErrorBody::new(ErrorCode::StorageFailed, message))
    };
    prepare(directory).map_err(failed)?.map_err(|()| {
        let message = "the directory holds files that no export wrote";
        Failure::from(ErrorBody::field("directory", message))
    })?;
    let reader = snapshot.reader();
    let mut files = BTreeMap::new();
    for kind in Kind::ALL {
        let ids: Vec<DocumentId> = reader.ids_in(Index::All, kind)?;
        let mut views = Vec::new();
        for id in &ids {
            let mut view = reader.view(*id)?.unwrap_or(Value::Null);
            view["id"] = json!(id);
            views.push(view);
            if let Some((path, text)) = markdown(reader, *id)? {
                let path = directory.join(path);
                put(&path, text.as_bytes()).map_err(failed)?;
            }
        }
        let text = serde_json::to_vec_pretty(&views).unwrap_or_default();
        put(&directory.join(format!("{}.json", kind.name())), &text).map_err(failed)?;
        files.insert(kind.name().to_owned(), ids.len() as u64);
    }
    put(&directory.join("index.json"), &serde_json::to_vec_pretty(&files).unwrap_or_default()).map_err(failed)?;
    Ok(files)
}

/// Makes an empty export directory. The inner error says that the directory is somebody else's.
fn prepare(directory: &Path) -> std::io::Result<Result<(), ()>> {
    crate::daemon::private_dir(directory)?;
    let marker = directory.join(MARKER);
    let foreign = std::fs::read_dir(directory)?.next().is_some() && !marker.exists();
    if foreign {
        return Ok(Err(()));
    }
    for name in ["notes", "docs", "handoffs"] {
        match std::fs::remove_dir_all(directory.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::write(marker, "written by `ctxnode export`; may be written again\n")?;
    Ok(Ok(()))
}

fn put(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let partial = path.with_extension("partial");
    std::fs::write(&partial, bytes)?;
    std::fs::rename(&partial, path)
}

fn markdown(reader: Reader<'_>, id: DocumentId) -> Result<Option<(String, String)>, Failure> {
    let body = reader.body(id)?.unwrap_or_default();
    Ok(match id.kind {
        Kind::Note => reader.get::<Note>(id)?.map(|note| {
            let facts = json!({ "id": id, "title": note.title, "tags": note.tags, "venture": note.venture,
                "archived": note.archived, "updated_at": note.updated_at.iso() });
            (format!("notes/{id}.md"), front(&facts) + &body)
        }),
        Kind::Doc | Kind::GeneratedDoc => reader.get::<Doc>(id)?.map(|doc| {
            let origin = if id.kind == Kind::Doc { "" } else { "generated/" };
            let path = format!("{}/{origin}{}", doc.scope, doc.name);
            (format!("docs/{}", if stays_below(&path) { path } else { format!("unnamed/{id}.md") }), body)
        }),
        Kind::Handoff => reader.get::<Handoff>(id)?.map(|handoff| {
            let facts = json!({ "id": id, "session": handoff.session_id, "from": handoff.from_agent, "venture": handoff.venture,
                "repo": handoff.repo, "status": status_name(handoff.status_label), "at": handoff.created_at.iso() });
            let mut text = front(&facts) + &handoff.summary + "\n";
            for (name, items) in Lists::from_payload(&body).named() {
                // Writing to a text cannot fail.
                let _ = write!(text, "\n## {name}\n\n");
                for item in items {
                    let _ = writeln!(text, "- {item}");
                }
            }
            (format!("handoffs/{id}.md"), text)
        }),
        _ => None,
    })
}

/// Whether a path leads nowhere but below the directory that it is put in. Scope and name of a doc are what some member of the
/// fleet wrote, whose own build may have checked nothing.
fn stays_below(path: &str) -> bool {
    let is_plain = |part: std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
    Path::new(path).components().all(is_plain) && !path.contains(['\0', '\\', '\n']) && !path.contains("//")
}

/// Front matter: one `key: JSON value` per line, which is valid YAML.
fn front(facts: &Value) -> String {
    let mut text = "---\n".to_owned();
    for (key, value) in facts.as_object().into_iter().flatten() {
        let _ = writeln!(text, "{key}: {value}");
    }
    text + "---\n\n"
}

#[cfg(test)]
mod tests {
    use super::stays_below;

    #[test]
    fn a_doc_is_exported_below_its_directory_whatever_it_is_called() {
        assert!(stays_below("alpha/generated/notes on x.md") && stays_below("global/..x.md"));
        for path in [
            "../x",
            "alpha/../../x",
            "alpha/generated/../../../.ssh/config",
            "/etc/x",
            "alpha//etc/x",
            "a\\..\\b",
            "./x",
        ] {
            assert!(!stays_below(path), "{path}");
        }
    }
}
