//! Rescue: the entry with which the holder of the recovery key makes a node an admin of its fleet.
//!
//! The key signs and never enters a store: who holds it makes the entry, and the node's store takes it in like any other.

use ctxnode_model::frontier::LogId;
use ctxnode_model::id::FleetId;
use ctxnode_model::{NodeKey, Space, Stamp, Timestamp};
use thiserror::Error;

use crate::authority::ControlOp;
use crate::entry::{EntryError, Header, Op, VerifiedEntry};
use crate::ingest::Outcome;
use crate::{Entropy, RecoveryKey, Role, Store, StoreError};

/// Why an entry does not rescue a node.
#[derive(Debug, Error)]
pub enum RescueError {
    /// It is not an entry, or its signature does not hold.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// Another key signed it.
    #[error("this is not the recovery key of this fleet")]
    OtherKey,
    /// It says something else than that this node is an admin.
    #[error("the entry does not make this node an admin")]
    OtherOp,
    /// The storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes the entry that makes `node` an admin. Each has a log of its own, so that nothing needs to be known of earlier
/// ones. It revokes nobody.
///
/// # Errors
/// When the name is too long for an entry.
pub fn rescue_entry(
    key: &RecoveryKey,
    fleet: FleetId,
    node: NodeKey,
    name: &str,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, EntryError> {
    let epoch = crate::open::fresh_epoch(entropy);
    let log = LogId { space: Space::Fleet.id(&fleet), author: key.public(), epoch };
    let stamp = Stamp::default().next(now);
    let header = Header { fleet, log, seq: 1, prev: [0; 32], stamp, time: now };
    let grant = ControlOp::Grant { node, role: Role::Admin, spaces: None, name: name.to_owned() };
    let entry = VerifiedEntry::sign(header, vec![Op::Control(grant.encode())], &key.signer())?;
    Ok(entry.bytes().to_vec())
}

impl Store {
    /// Takes in an entry that [`rescue_entry`] made for this node. Nothing else is taken this way.
    ///
    /// # Errors
    /// When it is not such an entry, or the storage fails.
    pub async fn rescue(&self, bytes: Vec<u8>) -> Result<(), RescueError> {
        let entry = VerifiedEntry::verify(bytes)?;
        let header = entry.header();
        if Some(header.log.author) != self.authority().recovery() || header.fleet != self.fleet() {
            return Err(RescueError::OtherKey);
        }
        let rescues = |op: &Op| match op {
            Op::Control(payload) => matches!(
                ControlOp::decode(payload),
                ControlOp::Grant { node, role: Role::Admin, spaces: None, .. } if node == self.node()
            ),
            _ => false,
        };
        if entry.ops().len() != 1 || !entry.ops().iter().all(rescues) {
            return Err(RescueError::OtherOp);
        }
        let report = self.ingest(vec![entry.bytes().to_vec()]).await?;
        match report.outcomes.as_slice() {
            [Outcome::Applied | Outcome::Duplicate] => Ok(()),
            _ => Err(RescueError::OtherOp),
        }
    }
}
