//! Tokens: 64 hex characters, shown once, known only by their hash, and only where they were issued.

use ctxnode_api::node::TokenView;
use ctxnode_api::{ErrorBody, ErrorCode, Iso, Right};
use ctxnode_model::Timestamp;
use ctxnode_model::rules::canonical::sha256_hex;
use ctxnode_store::{LocalTable, Reader, StoreError};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

/// A token as it is stored, under its hash.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Token {
    /// SHA-256 of the secret, in hex.
    pub(crate) hash: String,
    pub(crate) name: String,
    pub(crate) right: Right,
    pub(crate) ventures: Vec<String>,
    pub(crate) agent: Option<String>,
    pub(crate) rate_limit: u32,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    #[serde(default)]
    pub(crate) last_used_at: Option<Timestamp>,
    pub(crate) revoked_at: Option<Timestamp>,
}

impl Token {
    /// The public name of the credential.
    pub(crate) fn actor_key_id(&self) -> &str {
        self.hash.get(..16).unwrap_or_default()
    }

    pub(crate) fn view(&self) -> TokenView {
        TokenView {
            id: self.actor_key_id().to_owned(),
            name: self.name.clone(),
            right: self.right,
            ventures: self.ventures.clone(),
            agent: self.agent.clone(),
            rate_limit: self.rate_limit,
            created_at: Iso(self.created_at),
            expires_at: self.expires_at.map(Iso),
            last_used_at: self.last_used_at.map(Iso),
            revoked_at: self.revoked_at.map(Iso),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether an agent id fits what the token is bound to; `*` stands for anything.
    pub(crate) fn allows_agent(&self, agent: &str) -> bool {
        self.agent.as_deref().is_none_or(|pattern| ctxnode_model::rules::glob::Glob::new(pattern).matches(agent))
    }
}

/// Returns every token.
pub(crate) fn all(reader: Reader<'_>) -> Result<Vec<Token>, StoreError> {
    let rows = reader.local_prefix(LocalTable::Tokens, &[], usize::MAX)?;
    Ok(rows.into_iter().filter_map(|(_, value)| serde_json::from_slice(&value).ok()).collect())
}

/// Finds the token of a secret.
///
/// # Errors
/// When it is unknown, revoked or expired; the message says which, for whoever holds the secret may know.
pub(crate) fn authenticate(reader: Reader<'_>, secret: &str, now: Timestamp) -> Result<Token, Box<ErrorBody>> {
    let refuse = |why: &str| Box::new(ErrorBody::new(ErrorCode::Unauthorized, format!("the token is {why}")));
    let hash = sha256_hex(secret.as_bytes());
    let tokens =
        all(reader).map_err(|_| Box::new(ErrorBody::new(ErrorCode::StorageFailed, "tokens cannot be read")))?;
    let found = tokens.into_iter().find(|token| bool::from(token.hash.as_bytes().ct_eq(hash.as_bytes())));
    let token = found.ok_or_else(|| refuse("unknown"))?;
    if token.revoked_at.is_some() {
        return Err(refuse("revoked"));
    }
    if token.expires_at.is_some_and(|expires| expires <= now) {
        return Err(refuse("expired"));
    }
    Ok(token)
}
