//! Notes and docs as resources: their addresses, lists, full texts, and which changes concern a client.

use ctxnode_api::docs::DocView;
use ctxnode_api::notes::NoteRow;
use ctxnode_api::routes::percent_encode;
use ctxnode_api::{Call, ErrorBody, ErrorCode, List};
use ctxnode_model::ids::Stem;
use ctxnode_model::{DocumentId, Kind};
use rmcp::model::{Resource, ResourceTemplate};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::backend::{Answered, Backend, CallMeta};

/// Rows of one page of the resource list.
const PAGE: u32 = 50;
/// The most characters of a resource that are read. Larger bodies are read in pieces with the tools.
pub(crate) const READ_CHARS: usize = 200_000;
const NOTE: &str = "ctxnode://note/";
const DOC: &str = "ctxnode://doc/";

/// What an address names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Note(String),
    Doc { scope: String, name: String },
}

impl Address {
    pub(crate) fn parse(uri: &str) -> Option<Self> {
        if let Some(id) = uri.strip_prefix(NOTE) {
            return DocumentId::parse(Kind::Note, id).ok().map(|id| Self::Note(id.to_string()));
        }
        let (scope, name) = uri.strip_prefix(DOC)?.split_once('/')?;
        let decoded = |text: &str| percent_decode(text).filter(|text| !text.is_empty());
        Some(Self::Doc { scope: decoded(scope)?, name: decoded(name)? })
    }

    pub(crate) fn uri(&self) -> String {
        match self {
            Self::Note(id) => format!("{NOTE}{id}"),
            Self::Doc { scope, name } => format!("{DOC}{}/{}", percent_encode(scope), percent_encode(name)),
        }
    }

    /// Returns what the records behind it are known by: an uploaded doc and a generated one share their address.
    pub(crate) fn stems(&self) -> Vec<Stem> {
        match self {
            Self::Note(id) => stem(id).into_iter().collect(),
            Self::Doc { scope, name } => Stem::of_docs(scope, name).to_vec(),
        }
    }

    fn call(&self, offset: usize) -> Call {
        let input = json!({ "offset": offset });
        match self {
            Self::Note(id) => Call::new("note.get", input).param("id", id.clone()),
            Self::Doc { scope, name } => {
                Call::new("doc.get", input).param("scope", scope.clone()).param("name", name.clone())
            }
        }
    }
}

/// Returns what a record with a textual id is known by here.
pub(crate) fn stem(id: &str) -> Option<Stem> {
    id.parse().ok().map(Stem::of)
}

/// Whether a change of such a record changes the list of resources.
///
/// Titles and sizes stand in the list, and a change does not tell making and archiving from editing: any counts.
pub(crate) fn is_listed(kind: Kind) -> bool {
    matches!(kind, Kind::Note | Kind::Doc | Kind::GeneratedDoc)
}

pub(crate) fn templates() -> Vec<ResourceTemplate> {
    let template = |uri: &str, name: &str| ResourceTemplate::new(uri, name).with_mime_type("text/markdown");
    vec![template("ctxnode://note/{id}", "note"), template("ctxnode://doc/{scope}/{name}", "doc")]
}

/// Returns a page of resources and the cursor of the next one: first all notes, then the docs.
pub(crate) async fn page<B: Backend>(
    backend: &B,
    cursor: Option<&str>,
    meta: CallMeta,
) -> Result<(Vec<Resource>, Option<String>), ErrorBody> {
    let (phase, inner) = match cursor {
        None => ("notes", None),
        Some(cursor) => match cursor.split_once(':') {
            Some((phase @ ("notes" | "docs"), inner)) => (phase, Some(inner).filter(|inner| !inner.is_empty())),
            _ => return Err(ErrorBody::new(ErrorCode::InvalidCursor, "the cursor is not one that this list gave out")),
        },
    };
    let mut input = json!({ "limit": PAGE });
    if let Some(inner) = inner {
        input["cursor"] = inner.into();
    }
    if phase == "notes" {
        let list: List<NoteRow> = decoded(backend.call(Call::new("note.list", input), meta).await?)?;
        let next = list.next_cursor.map_or_else(|| "docs:".to_owned(), |cursor| format!("notes:{cursor}"));
        return Ok((list.items.into_iter().map(note).collect(), Some(next)));
    }
    if let Some(venture) = venture(backend).await {
        input["venture"] = venture.into();
    }
    let list: List<DocView> = decoded(backend.call(Call::new("doc.list", input), meta).await?)?;
    Ok((list.items.into_iter().map(doc).collect(), list.next_cursor.map(|cursor| format!("docs:{cursor}"))))
}

/// Returns the venture in which the caller works.
pub(crate) async fn venture<B: Backend>(backend: &B) -> Option<String> {
    let context = backend.call(Call::new("context", json!({})), CallMeta::default()).await.ok()?.body;
    let session = context.pointer("/session/venture").or_else(|| context.get("venture"));
    session.and_then(Value::as_str).map(str::to_owned)
}

/// Returns the text of a resource, up to [`READ_CHARS`] with a line that says how to read on.
pub(crate) async fn read<B: Backend>(backend: &B, address: &Address) -> Result<String, ErrorBody> {
    let mut text = String::new();
    let mut offset = 0;
    loop {
        let body = backend.call(address.call(offset), CallMeta::default()).await?.body;
        text.push_str(body.get("content").and_then(Value::as_str).unwrap_or_default());
        let next = body.get("next_offset").and_then(Value::as_u64).and_then(|next| usize::try_from(next).ok());
        let Some(next) = next.filter(|next| *next > offset) else { return Ok(text) };
        if next >= READ_CHARS {
            let tool = if matches!(address, Address::Note(_)) { "notes" } else { "doc" };
            text.push_str(&format!("\n[cut; read on with tool `{tool}`, offset {next}]"));
            return Ok(text);
        }
        offset = next;
    }
}

fn note(row: NoteRow) -> Resource {
    let title = row.title.filter(|title| !title.is_empty()).unwrap_or_else(|| row.excerpt.clone());
    Resource::new(Address::Note(row.id.clone()).uri(), row.id)
        .with_title(title)
        .with_description(format!("note, {} old", row.age))
        .with_mime_type("text/markdown")
        .with_size(row.size as u64)
}

fn doc(row: DocView) -> Resource {
    let mime = if row.doc_type == "json" { "application/json" } else { "text/markdown" };
    let description = format!("doc of {}, {} old", row.scope, row.age);
    Resource::new(Address::Doc { scope: row.scope, name: row.name.clone() }.uri(), row.name)
        .with_title(row.title)
        .with_description(description)
        .with_mime_type(mime)
        .with_size(row.size)
}

fn decoded<T: DeserializeOwned>(answered: Answered) -> Result<T, ErrorBody> {
    serde_json::from_value(answered.body)
        .map_err(|error| ErrorBody::new(ErrorCode::Internal, format!("the answer cannot be read: {error}")))
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_address_survives_its_uri(scope in "[a-z]{1,8}", name in "\\PC{1,20}") {
            let address = Address::Doc { scope, name };
            prop_assert_eq!(Address::parse(&address.uri()), Some(address));
        }

        #[test]
        fn no_uri_makes_the_parser_panic(uri in "(ctxnode://(note|doc)/)?[%a-f0-9/é]{0,20}") {
            let _ = Address::parse(&uri);
        }
    }
}
