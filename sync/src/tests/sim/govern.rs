//! What admins do to members.

use ctxnode_store::{ControlOp, Role, WriteError};

use super::world::World;

impl World {
    /// Promotes, demotes, revokes or accepts somebody, if the node may.
    pub(super) fn govern(&mut self, node: usize) {
        let about = 1 + self.below(self.nodes.len().max(2) - 1);
        let Some(subject) = self.nodes.get(about).map(|subject| subject.key) else { return };
        let revoke = self.chance(30) && self.revoked.len() + 2 < self.nodes.len();
        let accept = !revoke && self.chance(20);
        let role = [Role::Writer, Role::Writer, Role::Admin, Role::Admin, Role::Reader][self.below(5)];
        let Some(store) = self.nodes[node].store.clone() else { return };
        let done = store.write_blocking(move |draft| {
            let cuts = draft.cuts_of(subject)?;
            if accept {
                return cuts
                    .into_iter()
                    .try_for_each(|cut| draft.control(&ControlOp::AcceptUpTo { cut, before: Vec::new() }));
            }
            draft.control(&match revoke {
                true => ControlOp::Revoke { node: subject, cuts },
                false => ControlOp::SetRole { node: subject, role, cuts },
            })
        });
        if let Err(WriteError::Refused(_)) = done {
            return;
        }
        self.note(|| {
            format!("govern {node} about {about} revoke={revoke} accept={accept} {role} done={}", done.is_ok())
        });
        // What is accepted stands whatever role its author has.
        let accepts_lies = accept && self.liar == Some(subject);
        if (!revoke && !accept && role == Role::Admin) || accepts_lies {
            self.perhaps_admins.insert(subject);
        }
        if revoke {
            // A full disk promises nothing, and yet the entry may be there after the next start.
            let known = if done.is_ok() { &mut self.revoked } else { &mut self.perhaps_revoked };
            known.insert(subject);
        }
        self.grown(node);
    }
}
