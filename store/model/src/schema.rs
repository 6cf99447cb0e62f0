//! How each field of each kind is stored in its document and how it merges.
//!
//! The container objects (sets, maps, body lists) are created by the kind's genesis change, which is equal everywhere;
//! see `ctxnode-store`'s `genesis`. Adding a register needs no new genesis. Adding a container does.

use crate::Kind;

/// How one field is stored and merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A text register: the newest write wins, a concurrent one is shown as a conflict.
    Str,
    /// An integer register.
    Int,
    /// A truth register.
    Bool,
    /// A register holding canonical JSON text; read back as the value.
    Json,
    /// A set of texts: concurrent additions are all kept, an addition beats a concurrent removal.
    Set,
    /// A map of texts to scalars, merged per key.
    Map,
    /// A map of texts to canonical JSON texts, merged per key and read back as values.
    JsonMap,
    /// A text that merges: a list of sentences and lines. It is the record's body.
    BodyText,
    /// A text register that is the record's body and not part of its view.
    BodyStr,
    /// A map of texts to texts; the entry with the greatest key is the record's body. Not part of the view.
    BodyMap,
}

impl Shape {
    /// Whether the genesis change creates an object for the field.
    #[must_use]
    pub fn is_container(self) -> bool {
        matches!(self, Self::Set | Self::Map | Self::JsonMap | Self::BodyText | Self::BodyMap)
    }

    /// Whether the field is kept beside the view instead of inside it.
    #[must_use]
    pub fn is_body(self) -> bool {
        matches!(self, Self::BodyText | Self::BodyStr | Self::BodyMap)
    }
}

/// One field of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in the document, in the view and in edits.
    pub name: &'static str,
    /// How it is stored and merged.
    pub shape: Shape,
}

macro_rules! fields {
    ($($name:literal: $shape:ident),* $(,)?) => { &[$(Field { name: $name, shape: Shape::$shape }),*] };
}

/// Returns the fields of a kind. The order of containers is the order of their creation in the genesis change.
#[must_use]
pub fn fields(kind: Kind) -> &'static [Field] {
    match kind {
        Kind::Session => fields! {
            "agent": Str, "machine": Str, "cli": Str, "cli_version": Str, "instance": Str, "user": Str,
            "venture": Str, "repo": Str, "track": Int, "issue": Int, "branch": Str, "commit_sha": Str,
            "created_at": Int, "ended": Json, "abandoned": Json, "blocked_on": Str, "blocked_at": Int,
            "node": Str, "explicit_agent": Bool, "actor_key_id": Str, "creation_correlation_id": Str,
            "parent_session_id": Str, "thread": Str, "meta": JsonMap,
        },
        Kind::Handoff => fields! {
            "session_id": Str, "venture": Str, "repo": Str, "track": Int, "issue": Int, "thread": Str,
            "branch": Str, "commit_sha": Str, "from_agent": Str, "to_agent": Str, "status_label": Str,
            "summary": Str, "payload": BodyStr, "payload_hash": Str, "payload_size_bytes": Int,
            "schema_version": Str, "supersedes": Json, "drafted": Bool, "confirmed_by": Str, "observed": Json,
            "activity": Bool, "actor_key_id": Str, "creation_correlation_id": Str, "created_at": Int,
            "closed": JsonMap,
        },
        Kind::Note => fields! {
            "title": Str, "content": BodyText, "tags": Set, "venture": Str, "archived": Bool, "created_at": Int,
            "updated_at": Int, "actor_key_id": Str, "creation_correlation_id": Str, "updated_by": Str,
            "meta": JsonMap,
        },
        Kind::Doc | Kind::GeneratedDoc => fields! {
            "scope": Str, "name": Str, "created_at": Int, "refreshed_at": Int, "actor_key_id": Str,
            "creation_correlation_id": Str, "revisions": JsonMap, "contents": BodyMap,
        },
        Kind::Requirement => fields! {
            "name_pattern": Str, "scope_type": Str, "scope_venture": Str, "required": Bool, "condition": Str,
            "staleness_days": Int, "auto_generate": Bool, "generation_sources": Json, "description": Str,
            "actor_key_id": Str, "updated_at": Int,
        },
        Kind::Claim => fields! {
            "claim_kind": Str, "key": Str, "venture": Str, "repo": Str, "session_id": Str, "agent": Str,
            "machine": Str, "note": Str, "taken_at": Int, "expires_at": Int, "released_at": Int, "forced": Bool,
            "actor_key_id": Str, "creation_correlation_id": Str,
        },
        Kind::Machine => fields! {
            "hostname": Str, "os": Str, "arch": Str, "user": Str, "addresses": Json, "ssh_public_keys": Json,
            "node_key": Str, "role": Str, "version": Str, "commit": Str, "ctxnode_path": Str, "status": Str,
            "registered_at": Int, "actor_key_id": Str, "creation_correlation_id": Str, "meta": JsonMap,
        },
        Kind::Venture => fields! {
            "code": Str, "name": Str, "org": Str, "repos": Set, "capabilities": Set, "secrets": Json,
            "settings": Json, "archived": Bool, "created_at": Int, "updated_at": Int, "actor_key_id": Str,
            "creation_correlation_id": Str, "meta": JsonMap,
        },
        Kind::Plan => fields! { "states": JsonMap },
        Kind::Escalation => fields! {
            "trigger": Str, "error": Str, "tried": Json, "need": Str, "session_id": Str, "agent": Str,
            "venture": Str, "repo": Str, "issue": Int, "thread": Str, "error_signature": Str, "error_count": Int,
            "created_at": Int, "resolved": Json, "actor_key_id": Str, "creation_correlation_id": Str,
        },
        Kind::Event => fields! {
            "event_kind": Str, "session_id": Str, "agent": Str, "machine": Str, "venture": Str, "repo": Str,
            "issue": Int, "url": Str, "text": Str, "at": Int, "actor_key_id": Str,
        },
    }
}

/// Whether a field is written along with others by ctxnode itself. Of concurrent values the newest is right, and nobody
/// needs to decide or to read about it.
#[must_use]
pub fn is_bookkeeping(name: &str) -> bool {
    matches!(
        name,
        "created_at"
            | "updated_at"
            | "refreshed_at"
            | "registered_at"
            | "blocked_at"
            | "expires_at"
            | "updated_by"
            | "actor_key_id"
            | "creation_correlation_id"
    )
}

/// Returns the field of that name.
#[must_use]
pub fn field(kind: Kind, name: &str) -> Option<Field> {
    fields(kind).iter().copied().find(|field| field.name == name)
}
