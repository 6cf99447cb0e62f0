//! The table of everything that can be asked of the daemon.
//!
//! HTTP routes, the OpenAPI document, the rights matrix and the idempotency tests are made from this table; the MCP
//! tools and CLI commands name operations of it. An operation that is not here does not exist.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{claims, docs, edge::List, field, fleet, handoffs, hooks, node, notes, operations, records, sessions};

/// What a caller must be allowed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Nothing: no credential is needed.
    None,
    /// Read.
    Reader,
    /// Write what agents write.
    Writer,
    /// Everything.
    Admin,
}

impl Right {
    /// Returns the word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::Admin => "admin",
        }
    }
}

/// What can be given to a node or a token: every right but none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Granted {
    /// Read.
    Reader,
    /// Write what agents write.
    Writer,
    /// Everything.
    Admin,
}

impl From<Granted> for Right {
    fn from(granted: Granted) -> Self {
        match granted {
            Granted::Reader => Self::Reader,
            Granted::Writer => Self::Writer,
            Granted::Admin => Self::Admin,
        }
    }
}

/// Whose affair an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// The fleet's: it changes or shows what all machines share, and no caller may do more than its machine may.
    Fleet,
    /// This machine's alone: its daemon, its copy, its log, its callers. Whoever owns the machine may do it, whatever role the
    /// machine has in the fleet.
    Machine,
}

/// An HTTP method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Reads.
    Get,
    /// Acts.
    Post,
    /// Writes a named thing.
    Put,
    /// Removes a named thing.
    Delete,
}

impl Method {
    /// Returns the word on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// How an answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As one JSON object.
    Json,
    /// As server-sent events, one JSON object each, without an end.
    EventStream,
}

/// Makes a schema.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// One operation.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Its stable name.
    pub operation: &'static str,
    /// The method.
    pub method: Method,
    /// The path, with `{name}` for parameters.
    pub path: &'static str,
    /// What the caller must be allowed to.
    pub right: Right,
    /// Whose affair it is: whether the role of this machine limits the right.
    pub domain: Domain,
    /// Whether it looks at the venture that it is about, so that a caller that is limited to some ventures may have it. What is about
    /// the whole machine does not, and of what only an admin may do hardly anything: whoever could make a token or an invitation
    /// would be limited no more.
    pub looks_at_ventures: bool,
    /// Whether it changes something: then it takes an idempotency key.
    pub mutating: bool,
    /// The most bytes of a body.
    pub body_limit: usize,
    /// The command that does the same.
    pub cli: &'static str,
    /// The MCP tool that reaches it.
    pub tool: Option<&'static str>,
    /// What the body holds, or the query of a `GET`.
    pub input: SchemaOf,
    /// What comes back.
    pub output: SchemaOf,
    /// How it comes back.
    pub form: Form,
    /// What it does, in one sentence.
    pub summary: &'static str,
}

/// The usual limit of a body: no field of these operations is near it.
pub const SMALL_BODY: usize = 1 << 20;
/// The limit where notes, docs and handoffs travel: 1 MiB of text can take six times that in JSON escapes.
pub const LARGE_BODY: usize = 8 << 20;

macro_rules! optional {
    () => {
        None
    };
    ($value:literal) => {
        Some($value)
    };
}

macro_rules! domain {
    () => {
        Domain::Fleet
    };
    ($domain:ident) => {
        Domain::$domain
    };
}

macro_rules! looks_at_ventures {
    (Admin) => {
        false
    };
    ($right:ident of Machine) => {
        false
    };
    ($right:ident $(at $at:ident)?) => {
        true
    };
}

macro_rules! form {
    () => {
        Form::Json
    };
    ($form:ident) => {
        Form::$form
    };
}

macro_rules! routes {
    ($($operation:literal $method:ident $path:literal $right:ident $kind:ident $input:ty => $output:ty, $cli:literal, $summary:literal $(tool $tool:literal)? $(as $form:ident)? $(of $domain:ident)? $(at $at:ident)?;)*) => {
        /// Every operation.
        pub const ROUTES: &[Route] = &[$(Route {
            operation: $operation,
            method: Method::$method,
            path: $path,
            right: Right::$right,
            domain: domain!($($domain)?),
            looks_at_ventures: looks_at_ventures!($right $(of $domain)? $(at $at)?),
            mutating: !matches!(Method::$method, Method::Get),
            body_limit: $kind,
            cli: $cli,
            tool: optional!($($tool)?),
            input: |generator| generator.subschema_for::<$input>(),
            output: |generator| generator.subschema_for::<$output>(),
            form: form!($($form)?),
            summary: $summary,
        }),*];
    };
}

routes! {
    "health" Get "/health" None SMALL_BODY node::Empty => node::Health, "daemon status", "Says that the daemon answers.";
    "sod" Post "/v1/sod" Writer SMALL_BODY sessions::SodRequest => sessions::SodReply, "sod", "Starts or resumes a session and returns the context to work from." tool "sod";
    "eod" Post "/v1/eod" Writer LARGE_BODY handoffs::HandoffRequest => handoffs::HandoffReply, "eod", "Stores a handoff and ends the session." tool "handoff";
    "update" Post "/v1/update" Writer SMALL_BODY sessions::UpdateRequest => sessions::UpdateReply, "update", "Changes the caller's session." tool "update";
    "heartbeat" Post "/v1/heartbeat" Writer SMALL_BODY sessions::HeartbeatRequest => sessions::HeartbeatReply, "session heartbeat", "Moves a heartbeat.";
    "hook" Post "/v1/hook" Writer SMALL_BODY hooks::HookRequest => hooks::HookReply, "session hook", "Reports an event of an agent CLI and returns what the agent should be told.";
    "session.expect" Post "/v1/sessions/expect" Writer SMALL_BODY sessions::ExpectRequest => node::Done, "session expect", "Says what the session of an agent will be about, before a process starts that agent.";
    "session.list" Get "/v1/sessions" Reader SMALL_BODY sessions::SessionQuery => sessions::SessionList, "session list", "Lists sessions.";
    "session.get" Get "/v1/sessions/{id}" Reader SMALL_BODY node::Empty => sessions::SessionView, "session show", "Returns a session.";
    "session.abandon" Post "/v1/sessions/{id}/abandon" Admin SMALL_BODY sessions::AbandonRequest => sessions::SessionView, "session abandon", "Gives up a session of a machine that will not come back." at Venture;
    "session.draft" Post "/v1/sessions/{id}/draft" Writer SMALL_BODY sessions::DraftRequest => sessions::DraftReply, "session draft", "Writes the handoff of a session that stopped without one, and ends it when asked to.";
    "context" Get "/v1/context" Reader SMALL_BODY node::Empty => sessions::ContextReply, "context", "Says where the caller stands." tool "context";
    "handoff.list" Get "/v1/handoffs" Reader SMALL_BODY handoffs::HandoffQuery => List<handoffs::HandoffRow>, "handoff list", "Lists handoffs.";
    "handoff.latest" Get "/v1/handoffs/latest" Reader SMALL_BODY handoffs::LatestQuery => handoffs::HandoffView, "handoff latest", "Returns the newest handoff of a session, or of a venture and repo.";
    "handoff.get" Get "/v1/handoffs/{id}" Reader SMALL_BODY node::Empty => handoffs::HandoffView, "handoff show", "Returns a handoff.";
    "handoff.close" Post "/v1/handoffs/{id}/close" Writer SMALL_BODY handoffs::CloseRequest => handoffs::HandoffView, "handoff close", "Closes a handoff.";
    "note.list" Get "/v1/notes" Reader SMALL_BODY notes::NoteQuery => List<notes::NoteRow>, "note list", "Lists notes." tool "notes";
    "note.tags" Get "/v1/notes/tags" Reader SMALL_BODY node::Empty => List<notes::TagRow>, "note tags", "Lists the recommended tags and those in use.";
    "note.get" Get "/v1/notes/{id}" Reader SMALL_BODY notes::PieceQuery => notes::NoteRead, "note show", "Returns a note with a piece of its body." tool "notes";
    "note.history" Get "/v1/notes/{id}/history" Reader SMALL_BODY records::HistoryQuery => List<records::HistoryRow>, "note history", "Lists who changed what in a note, newest first.";
    "note.resolve" Post "/v1/notes/{id}/resolve" Writer SMALL_BODY records::ConflictResolve => records::ConflictResolved, "note resolve", "Ends the conflict of a note's field, by choosing or by writing a value.";
    "note.revert" Post "/v1/notes/{id}/revert" Writer SMALL_BODY notes::NoteRevert => notes::NoteView, "note revert", "Brings back the text of an earlier revision.";
    "note.create" Post "/v1/notes" Writer LARGE_BODY notes::NoteCreate => notes::NoteView, "note create", "Makes a note." tool "note";
    "note.update" Post "/v1/notes/{id}/update" Writer LARGE_BODY notes::NoteUpdate => notes::NoteView, "note update", "Changes a note." tool "note";
    "note.archive" Post "/v1/notes/{id}/archive" Writer SMALL_BODY notes::NoteAction => notes::NoteView, "note archive", "Hides a note from lists, start and search." tool "note";
    "note.restore" Post "/v1/notes/{id}/restore" Writer SMALL_BODY notes::NoteAction => notes::NoteView, "note restore", "Brings an archived note back." tool "note";
    "note.delete" Delete "/v1/notes/{id}" Admin SMALL_BODY notes::DeleteRequest => node::Done, "note delete", "Deletes a note." at Venture;
    "record.history" Get "/v1/records/{id}/history" Reader SMALL_BODY records::HistoryQuery => List<records::HistoryRow>, "history", "Lists who changed what in any record: an id, a doc's scope/name, a venture's code, or plan.";
    "record.resolve" Post "/v1/records/{id}/resolve" Writer SMALL_BODY records::ConflictResolve => records::ConflictResolved, "resolve", "Ends the conflict of a field of any record, by choosing one of its values.";
    "search" Get "/v1/search" Reader SMALL_BODY notes::SearchQuery => notes::SearchReply, "search", "Searches notes, docs and handoffs." tool "search";
    "doc.list" Get "/v1/docs" Reader SMALL_BODY docs::DocQuery => List<docs::DocView>, "doc list", "Lists docs.";
    "doc.audit" Get "/v1/docs/audit" Reader SMALL_BODY docs::AuditQuery => List<docs::AuditReply>, "doc audit", "Compares docs with requirements.";
    "doc.get" Get "/v1/docs/{scope}/{name}" Reader SMALL_BODY docs::DocReadQuery => docs::DocRead, "doc show", "Returns a doc with a piece of its text." tool "doc";
    "doc.history" Get "/v1/docs/{scope}/{name}/history" Reader SMALL_BODY node::Empty => List<docs::DocHistoryRow>, "doc history", "Lists a doc's contents.";
    "doc.put" Put "/v1/docs/{scope}/{name}" Admin LARGE_BODY docs::DocPut => docs::DocPutReply, "doc put", "Uploads a doc." at Venture;
    "doc.put-generated" Put "/v1/docs/{scope}/{name}/generated" Writer LARGE_BODY docs::DocPut => docs::DocPutReply, "doc put --generated", "Stores a generated doc.";
    "doc.delete" Delete "/v1/docs/{scope}/{name}" Admin SMALL_BODY notes::DeleteRequest => node::Done, "doc delete", "Deletes a doc." at Venture;
    "requirement.list" Get "/v1/doc-requirements" Reader SMALL_BODY node::Empty => List<docs::RequirementView>, "doc requirements", "Lists doc requirements.";
    "requirement.put" Put "/v1/doc-requirements" Admin SMALL_BODY docs::RequirementPut => docs::RequirementView, "doc require", "Makes or changes a doc requirement." at Venture;
    "requirement.delete" Delete "/v1/doc-requirements/{id}" Admin SMALL_BODY notes::DeleteRequest => node::Done, "doc unrequire", "Deletes a doc requirement." at Venture;
    "claim.list" Get "/v1/claims" Reader SMALL_BODY claims::ClaimQuery => List<claims::ClaimView>, "claim list", "Lists claims." tool "claim";
    "claim.take" Post "/v1/claims" Writer SMALL_BODY claims::ClaimTake => claims::ClaimReply, "claim take", "Takes a claim." tool "claim";
    "claim.release" Post "/v1/claims/release" Writer SMALL_BODY claims::ClaimRelease => claims::ReleaseReply, "claim release", "Gives a claim back." tool "claim";
    "claim.release-id" Delete "/v1/claims/{id}" Writer SMALL_BODY notes::DeleteRequest => claims::ReleaseReply, "claim release --id", "Gives back the claim with this id." tool "claim";
    "machine.list" Get "/v1/machines" Reader SMALL_BODY operations::MachineQuery => List<operations::MachineView>, "machine list", "Lists machines.";
    "machine.register" Post "/v1/machines" Writer SMALL_BODY operations::MachinePut => operations::MachineView, "machine register", "Registers a machine without a daemon.";
    "machine.retire" Post "/v1/machines/{id}/retire" Admin SMALL_BODY operations::PlainAction => operations::MachineView, "machine retire", "Takes a machine out of use.";
    "machine.restore" Post "/v1/machines/{id}/restore" Admin SMALL_BODY operations::PlainAction => operations::MachineView, "machine restore", "Takes a machine into use again.";
    "venture.list" Get "/v1/ventures" Reader SMALL_BODY operations::VentureQuery => List<operations::VentureView>, "venture list", "Lists ventures." tool "ventures";
    "venture.put" Put "/v1/ventures/{code}" Admin SMALL_BODY operations::VenturePut => operations::VentureView, "venture set", "Makes or changes a venture." at Venture;
    "venture.archive" Post "/v1/ventures/{code}/archive" Admin SMALL_BODY operations::VentureArchive => operations::VentureView, "venture archive", "Archives a venture." at Venture;
    "venture.import" Post "/v1/ventures/import" Admin SMALL_BODY operations::VentureImport => operations::VentureImportReply, "venture import", "Imports a ventures file.";
    "plan.get" Get "/v1/plan" Reader SMALL_BODY node::Empty => operations::PlanReply, "plan show", "Returns the weekly plan." tool "plan";
    "plan.put" Put "/v1/plan" Writer SMALL_BODY operations::PlanPut => operations::PlanReply, "plan set", "Writes or confirms the weekly plan.";
    "escalation.list" Get "/v1/escalations" Reader SMALL_BODY operations::EscalationQuery => List<operations::EscalationView>, "escalation list", "Lists escalations.";
    "escalation.create" Post "/v1/escalations" Writer SMALL_BODY operations::EscalationCreate => operations::EscalationView, "escalation create", "Asks for help.";
    "escalation.resolve" Post "/v1/escalations/{id}/resolve" Writer SMALL_BODY operations::ResolveRequest => operations::EscalationView, "escalation resolve", "Resolves an escalation.";
    "event.list" Get "/v1/events" Reader SMALL_BODY operations::EventQuery => List<operations::EventView>, "event list", "Lists events.";
    "event.stream" Get "/v1/events/stream" Reader SMALL_BODY operations::EventQuery => operations::ChangeView, "event watch", "Sends events as they happen." as EventStream;
    "preflight" Get "/v1/preflight" Reader SMALL_BODY node::Empty => node::PreflightReply, "preflight", "Checks what work needs." tool "preflight";
    "node" Get "/v1/node" Reader SMALL_BODY node::Empty => node::NodeReply, "status", "Describes the node.";
    "node.check" Post "/v1/node/check" Admin SMALL_BODY node::IntegrityRequest => node::IntegrityReply, "check", "Verifies every entry and derives every view again." of Machine;
    "node.backup" Post "/v1/node/backup" Admin SMALL_BODY node::BackupRequest => node::BackupReply, "backup", "Takes a backup and verifies it." of Machine;
    "node.export" Post "/v1/node/export" Admin SMALL_BODY node::ExportRequest => node::ExportReply, "export", "Exports everything to a folder of Markdown and JSON." of Machine;
    "node.stop" Post "/v1/node/stop" Admin SMALL_BODY operations::PlainAction => node::Done, "daemon stop", "Finishes writes and stops the daemon." of Machine;
    "node.handover" Post "/v1/node/handover" Admin SMALL_BODY operations::PlainAction => node::Done, "daemon handover", "Finishes writes and runs the installed binary in place of this one." of Machine;
    "quarantine.list" Get "/v1/quarantine" Reader SMALL_BODY node::Empty => List<node::QuarantineView>, "quarantine", "Lists what is kept and not applied.";
    "waiting.list" Get "/v1/waiting" Reader SMALL_BODY node::Empty => List<node::WaitingView>, "quarantine --waiting", "Lists changes of others that wait for changes which have not arrived.";
    "quarantine.accept" Post "/v1/quarantine/{node}/accept" Admin SMALL_BODY fleet::PeerAction => node::Done, "fleet accept", "Accepts what is held back because its node was revoked before it.";
    "peer.list" Get "/v1/peers" Reader SMALL_BODY node::Empty => fleet::PeersReply, "peers", "Lists the other nodes of the fleet and how each stands.";
    "peer.wake" Post "/v1/peers/wake" Writer SMALL_BODY fleet::WakeRequest => node::Done, "fleet sync", "Tries every peer now; says where one can be reached." of Machine;
    "alert.acknowledge" Post "/v1/alerts/acknowledge" Writer SMALL_BODY operations::PlainAction => List<fleet::AlertView>, "fleet acknowledge", "Says that you have read what happened between replicas, and shows it once more." of Machine;
    "field.get" Get "/v1/field" Reader SMALL_BODY node::Empty => field::FieldView, "field status", "Shows field mode, the network, what is unsent, and where to work.";
    "field.on" Post "/v1/field/on" Writer SMALL_BODY field::FieldOn => field::FieldView, "field on", "Trades freshness for battery and data, and keeps this machine awake." of Machine;
    "field.off" Post "/v1/field/off" Writer SMALL_BODY operations::PlainAction => field::FieldView, "field off", "Keeps in touch again, and ends the process that kept this machine awake." of Machine;
    "peer.revoke" Post "/v1/peers/{node}/revoke" Admin SMALL_BODY fleet::PeerAction => fleet::PeerView, "revoke", "Takes a node out of the fleet: its machine then reads retired, its sessions and claims end; what it wrote so far stays.";
    "peer.role" Post "/v1/peers/{node}/role" Admin SMALL_BODY fleet::RoleSet => fleet::PeerView, "role", "Changes what a node may do from now on.";
    "fleet.recover" Post "/v1/fleet/recover" Reader SMALL_BODY fleet::RecoverRequest => fleet::RecoverReply, "fleet recover", "Makes this machine an admin of its fleet, with the recovery key.";
    "invite.create" Post "/v1/invites" Admin SMALL_BODY fleet::InviteCreate => fleet::InviteCreated, "invite", "Makes a code with which one more machine joins the fleet.";
    "invite.list" Get "/v1/invites" Admin SMALL_BODY node::Empty => List<fleet::InviteView>, "fleet invites", "Lists the invitations of this machine." of Machine;
    "invite.withdraw" Delete "/v1/invites/{id}" Admin SMALL_BODY notes::DeleteRequest => node::Done, "fleet uninvite", "Withdraws an invitation." of Machine;
    "token.list" Get "/v1/tokens" Admin SMALL_BODY node::Empty => List<node::TokenView>, "token list", "Lists tokens." of Machine;
    "token.create" Post "/v1/tokens" Admin SMALL_BODY node::TokenCreate => node::TokenCreated, "token create", "Makes a token." of Machine;
    "token.revoke" Delete "/v1/tokens/{id}" Admin SMALL_BODY notes::DeleteRequest => node::TokenView, "token revoke", "Revokes a token." of Machine;
    "request-log" Get "/v1/request-log" Admin SMALL_BODY node::RequestLogQuery => List<node::RequestLogRow>, "log", "Lists the calls of the last seven days." of Machine;
    "openapi" Get "/v1/openapi.json" Reader SMALL_BODY node::Empty => Value, "openapi", "Returns the OpenAPI document.";
}

/// Returns an operation.
#[must_use]
pub fn route(operation: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|route| route.operation == operation)
}

/// One call of an operation, the same for HTTP, MCP and the command line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Call {
    /// The operation's name.
    pub operation: String,
    /// The values of the path's parameters.
    pub params: Map<String, Value>,
    /// The body, or the query of a `GET`.
    pub input: Value,
}

impl Call {
    /// Makes a call without path parameters.
    #[must_use]
    pub fn new(operation: &str, input: Value) -> Self {
        Self { operation: operation.to_owned(), params: Map::new(), input }
    }

    /// Adds a path parameter.
    #[must_use]
    pub fn param(mut self, name: &str, value: impl Into<String>) -> Self {
        self.params.insert(name.to_owned(), Value::String(value.into()));
        self
    }
}

impl Route {
    /// Returns the path of a call, with its parameters percent-encoded.
    #[must_use]
    pub fn fill(&self, params: &Map<String, Value>) -> String {
        let parts = self.path.split('/').map(|part| {
            let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
            match name {
                Some(name) => percent_encode(params.get(name).and_then(Value::as_str).unwrap_or_default()),
                None => part.to_owned(),
            }
        });
        parts.collect::<Vec<_>>().join("/")
    }
}

/// Encodes everything but letters, digits, `-`, `.`, `_` and `~` (RFC 3986, section 2.3).
#[must_use]
pub fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::shape::Shape;

    #[test]
    fn operations_and_paths_are_unique() {
        let operations: BTreeSet<_> = ROUTES.iter().map(|route| route.operation).collect();
        let places: BTreeSet<_> = ROUTES.iter().map(|route| (route.method, route.path)).collect();
        let commands: BTreeSet<_> = ROUTES.iter().map(|route| route.cli).collect();
        assert_eq!((operations.len(), places.len(), commands.len()), (ROUTES.len(), ROUTES.len(), ROUTES.len()));
    }

    #[test]
    fn every_mutation_takes_an_idempotency_key() {
        for route in ROUTES.iter().filter(|route| route.mutating) {
            assert!(Shape::of_input(route).field("update_id").is_some(), "{}", route.operation);
        }
    }

    #[test]
    fn a_path_is_filled_with_encoded_values() {
        let call = Call::default().param("scope", "alpha").param("name", "a b/c.md");
        assert_eq!(route("doc.get").unwrap().fill(&call.params), "/v1/docs/alpha/a%20b%2Fc.md");
    }
}
