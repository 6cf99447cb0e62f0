//! Invitations that this node has made: node-local rows under the hash of their secret.
//!
//! An invitation is used once. The same machine may use it again, so that an answer that was lost on the way can be had
//! once more.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use ctxnode_model::{NodeKey, SpaceId, Timestamp};
use ctxnode_store::{ControlOp, Draft, LocalTable, Reader, Role, Store, StoreError, WriteError};
use iroh::RelayUrl;
use serde::{Deserialize, Serialize};

use crate::code::{Code, SECRET_LEN};

/// What an invitation grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The role.
    pub role: Role,
    /// The ventures for people to read; empty for all.
    pub ventures: Vec<String>,
    /// Their spaces; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spaces: Option<BTreeSet<SpaceId>>,
    /// Until when.
    pub expires_at: Timestamp,
}

/// A stored invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// The hash of the secret, in hex: its name.
    pub id: String,
    /// What it grants.
    #[serde(flatten)]
    pub offer: Offer,
    /// When it was made.
    pub created_at: Timestamp,
    /// The node that used it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<NodeKey>,
}

/// How an invitation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InviteState {
    /// It can be used.
    Open,
    /// It was used.
    Used,
    /// Its time is over.
    Expired,
}

impl Invite {
    /// Returns how it stands at a time.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> InviteState {
        match self.used_by {
            Some(_) => InviteState::Used,
            None if now >= self.offer.expires_at => InviteState::Expired,
            None => InviteState::Open,
        }
    }

    /// Whether `node` may use it at a time. An answer that was lost can be fetched again until it expires.
    fn serves(&self, node: NodeKey, now: Timestamp) -> bool {
        now < self.offer.expires_at && self.used_by.is_none_or(|user| user == node)
    }

    fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

fn row_key(secret: &[u8]) -> [u8; 32] {
    blake3::derive_key("ctxnode 2026-11 invitation v1", secret)
}

fn id_of(key: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&key[..8])
}

/// Makes an invitation. The secret is in the code and nowhere else; with it is where this node can be reached.
///
/// # Errors
/// When the storage fails, or this node is no admin.
pub async fn create_invite(
    store: &Store,
    offer: Offer,
    addresses: Vec<SocketAddr>,
    relay: Option<RelayUrl>,
) -> Result<(Invite, Code), WriteError<StoreError>> {
    let mut secret = [0; SECRET_LEN];
    store.entropy().fill(&mut secret);
    let key = row_key(&secret);
    let made = store.write(move |draft| {
        if draft.role() < Some(Role::Admin) {
            return Err(StoreError::Forbidden { what: "invitations" });
        }
        let invite = Invite { id: id_of(&key), offer, created_at: draft.now(), used_by: None };
        draft.put_local(LocalTable::Invites, key, invite.encode());
        Ok(invite)
    });
    let invite = made.await?.value;
    Ok((invite, Code { inviter: store.node(), secret, addresses, relay }))
}

/// Returns all invitations, newest first.
///
/// # Errors
/// When the store cannot be read.
pub fn invites(reader: Reader<'_>) -> Result<Vec<Invite>, StoreError> {
    let rows = reader.local_prefix(LocalTable::Invites, &[], usize::MAX)?;
    let mut all: Vec<Invite> = rows.iter().filter_map(|(_, row)| serde_json::from_slice(row).ok()).collect();
    all.sort_by_key(|invite| std::cmp::Reverse(invite.created_at));
    Ok(all)
}

/// Removes an invitation; returns whether there was one of that id.
///
/// # Errors
/// When the storage fails.
pub async fn withdraw_invite(store: &Store, id: String) -> Result<bool, WriteError<StoreError>> {
    let done = store.write(move |draft| {
        let rows = draft.reader().local_prefix(LocalTable::Invites, &[], usize::MAX)?;
        let found = rows.into_iter().find(|(key, _)| id_of(key) == id);
        if let Some((key, _)) = &found {
            draft.remove_local(LocalTable::Invites, key.clone());
        }
        Ok::<bool, StoreError>(found.is_some())
    });
    Ok(done.await?.value)
}

/// Whether anybody could use an invitation now.
pub(crate) fn any_open(reader: Reader<'_>, now: Timestamp) -> bool {
    // One that was just used still answers the same node again.
    invites(reader).is_ok_and(|all| all.iter().any(|invite| now < invite.offer.expires_at))
}

/// Returns what the invitation with a secret grants.
pub(crate) fn offer_of(reader: Reader<'_>, secret: &[u8]) -> Result<Option<Offer>, StoreError> {
    let row = reader.local(LocalTable::Invites, &row_key(secret))?;
    Ok(row.and_then(|row| serde_json::from_slice::<Invite>(&row).ok()).map(|invite| invite.offer))
}

/// Why an invitation was not honoured.
pub(crate) const REFUSED: &str = "the invitation is unknown, used or expired: ask for a new one";

/// Makes the node that shows a secret a member, in the transaction that uses the invitation up.
pub(crate) fn redeem(draft: &mut Draft<'_>, secret: &[u8], node: NodeKey, name: &str) -> Result<bool, StoreError> {
    let key = row_key(secret);
    let row = draft.reader().local(LocalTable::Invites, &key)?;
    let Some(mut invite) = row.and_then(|row| serde_json::from_slice::<Invite>(&row).ok()) else { return Ok(false) };
    if !invite.serves(node, draft.now()) {
        return Ok(false);
    }
    if invite.used_by.is_none() {
        let Offer { role, spaces, .. } = invite.offer.clone();
        if draft.role_of(&node).is_some() {
            // It comes with the key that it had, and without its replica. What it wrote until now it wrote with the rights it had.
            let cuts = draft.cuts_of(node)?;
            draft.control(&ControlOp::Revoke { node, cuts })?;
        }
        draft.control(&ControlOp::Grant { node, role, spaces, name: name.to_owned() })?;
        invite.used_by = Some(node);
        draft.put_local(LocalTable::Invites, key, invite.encode());
    }
    Ok(true)
}
