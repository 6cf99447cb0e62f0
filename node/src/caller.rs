//! Who calls: the transport finds out, the gate checks, handlers use. And which venture a record belongs to, by which a
//! caller may see it or not.

use std::collections::BTreeSet;
use std::path::PathBuf;

use ctxnode_api::{ErrorBody, ErrorCode, Right};
use ctxnode_model::Kind;
use ctxnode_store::{Reader, Role, StoreError};
use serde_json::Value;

use crate::gate::tokens;

/// The scope of docs that belong to no venture.
const GLOBAL: &str = "global";

/// How a call came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// The Unix socket.
    Socket,
    /// TCP with a token.
    Http,
    /// An MCP connection.
    Mcp,
}

impl Via {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Http => "http",
            Self::Mcp => "mcp",
        }
    }
}

/// What kind of caller it is, for the rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bucket {
    /// An agent, a script, a person.
    Usual,
    /// A person's import on this machine, which is bounded by the files it reads.
    Import,
    /// The hooks of an agent's CLI, which fire with each of its tools.
    Hook,
}

/// A caller whose credential was checked.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Stands on every record that the call makes.
    pub(crate) actor_key_id: String,
    /// The agent id; people are `user-<name>`.
    pub(crate) agent: String,
    /// Whether the agent id was given by the caller instead of found by process lineage.
    pub(crate) explicit_agent: bool,
    /// What the credential allows.
    pub(crate) right: Right,
    /// The ventures that it is limited to.
    pub(crate) ventures: Option<BTreeSet<String>>,
    /// Calls per minute, when the token says so.
    pub(crate) rate_limit: Option<u32>,
    /// How the call came in.
    pub(crate) via: Via,
    /// Which rate limit counts.
    pub(crate) bucket: Bucket,
    /// Where the caller works.
    pub(crate) directory: Option<PathBuf>,
    /// The agent process found above it.
    pub(crate) agent_process: Option<crate::process::AgentProcess>,
    /// The agent above that one, when an agent was started in another's shell.
    pub(crate) parent_process: Option<crate::process::AgentProcess>,
}

impl Caller {
    /// A caller without a credential, for operations that need none.
    pub(crate) fn nobody() -> Self {
        Self {
            actor_key_id: "none".to_owned(),
            agent: "none".to_owned(),
            explicit_agent: false,
            right: Right::None,
            ventures: None,
            rate_limit: None,
            via: Via::Http,
            bucket: Bucket::Usual,
            directory: None,
            agent_process: None,
            parent_process: None,
        }
    }

    /// Whether an agent calls: its calls show that its session lives. People look without working.
    pub(crate) fn is_agent(&self) -> bool {
        self.agent_process.is_some() || self.explicit_agent
    }

    /// Whether the caller may see records of a venture (`None`: global ones, which everybody sees).
    pub(crate) fn sees(&self, venture: Option<&str>) -> bool {
        match (&self.ventures, venture) {
            (None, _) | (_, None) => true,
            (Some(allowed), Some(code)) => allowed.contains(code),
        }
    }

    /// Refuses to write where the caller may not.
    pub(crate) fn require_venture(&self, venture: Option<&str>) -> Result<(), ErrorBody> {
        let allowed = match (&self.ventures, venture) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(allowed), Some(code)) => allowed.contains(code),
        };
        if allowed {
            return Ok(());
        }
        let place = venture.unwrap_or("global");
        Err(ErrorBody::new(ErrorCode::Forbidden, format!("this credential may not write to `{place}`")))
    }
}

/// Returns the ventures that the holder of a credential is limited to, `None` when to none: for what knows a call only by
/// the public name of its credential.
pub(crate) fn limits(reader: Reader<'_>, actor_key_id: &str) -> Result<Option<BTreeSet<String>>, StoreError> {
    let token = tokens::all(reader)?.into_iter().find(|token| token.actor_key_id() == actor_key_id);
    Ok(token.filter(|token| !token.ventures.is_empty()).map(|token| token.ventures.into_iter().collect()))
}

/// Returns the field by which a record says which venture it belongs to; `None` for kinds that are everybody's.
pub(crate) fn venture_field(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Session | Kind::Handoff | Kind::Note | Kind::Claim | Kind::Escalation | Kind::Event => Some("venture"),
        Kind::Doc | Kind::GeneratedDoc => Some("scope"),
        Kind::Requirement => Some("scope_venture"),
        Kind::Venture => Some("code"),
        Kind::Machine | Kind::Plan => None,
    }
}

/// Returns the venture that a value of that field names; `None` when it is global.
pub(crate) fn venture_named(kind: Kind, value: &Value) -> Option<&str> {
    let has_scope = matches!(kind, Kind::Doc | Kind::GeneratedDoc);
    value.as_str().filter(|text| !has_scope || *text != GLOBAL)
}

/// Returns the venture that a record belongs to; `None` when it is global.
pub(crate) fn venture_of(kind: Kind, view: &Value) -> Option<String> {
    venture_named(kind, view.get(venture_field(kind)?)?).map(str::to_owned)
}

/// The lower of what a credential and the node's own role allow.
pub(crate) fn effective(right: Right, role: Option<Role>) -> Right {
    let node = match role {
        Some(Role::Admin) => Right::Admin,
        Some(Role::Writer) => Right::Writer,
        Some(Role::Reader) => Right::Reader,
        None => Right::None,
    };
    // A node whose membership ended still reads what it holds.
    right.min(node.max(Right::Reader))
}

#[cfg(test)]
mod tests {
    use ctxnode_model::id::FleetId;
    use ctxnode_model::{Ids, Space};
    use serde_json::json;

    use super::*;

    /// What says in which space a record must lie says who may see it, too.
    #[test]
    fn every_kind_of_a_venture_is_shown_to_those_who_see_that_venture_alone() {
        let ids = Ids::new(FleetId([7; 16]), Ids::NEWEST);
        let view = json!({ "venture": "alpha", "scope": "alpha", "scope_venture": "alpha", "code": "alpha" });
        for kind in Kind::ALL {
            let misplaced = ids.misplaced(kind, view.as_object().unwrap(), ids.space(&Space::Fleet));
            // A note may be moved to another venture, and stays where it lies.
            let field = if kind == Kind::Note { Some("venture") } else { misplaced };
            assert_eq!(venture_field(kind), field, "{kind}");
            assert_eq!(venture_of(kind, &view), field.map(|_| "alpha".to_owned()), "{kind}");
            assert_eq!(venture_of(kind, &json!({})), None, "{kind}");
        }
        assert_eq!(venture_of(Kind::Doc, &json!({ "scope": "global" })), None);
        assert_eq!(venture_of(Kind::Session, &json!({ "venture": "global" })).as_deref(), Some("global"));
    }
}
