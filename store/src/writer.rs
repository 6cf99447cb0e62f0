//! The one writer: a thread that turns commands into entries, many commands to one fsync.
//!
//! A command is a closure over a [`Draft`]: it reads the state as of the command before it and stages edits. When it
//! returns `Ok`, its edits become one signed entry per space, applied at once, so that the next command of the same
//! group sees them; when it returns `Err`, nothing of it remains. All commands of a group are made durable by one
//! commit, and only then does anybody hear of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use ctxnode_model::frontier::{Head, LogId};
use ctxnode_model::{DocumentId, Edit, EntryHash, Ids, Kind, NodeKey, Order, Space, SpaceId, Stamp, Timestamp};

use crate::apply::{Batch, Prepared};
use crate::authority::{Authority, ControlOp, Cut, required_for};
use crate::entry::{EntryError, Header, Op, VerifiedEntry};
use crate::kv::Kv as _;
use crate::open::Shared;
use crate::query::{self, Reader};
use crate::rows::{self, LogRow};
use crate::tables::Table;
use crate::{LocalTable, Role, StoreError, WriteError};

/// How many commands may wait. A client that finds the queue full waits; memory does not grow.
pub(crate) const QUEUE: usize = 1_024;
/// The most commands in one commit. More would make the first of them wait longer than the fsync that it saves.
const GROUP: usize = 256;
/// The most logs that one op names; they take half of the largest entry. A machine begins new ones when it is restored or copied.
const MAX_CUTS: usize = 8_192;

/// A command as the writer sees it: run it, then tell its caller how the commit went.
pub(crate) type Job = Box<dyn FnOnce(&mut Group<'_, '_>) -> Result<Tell, StoreError> + Send>;
/// Tells the caller of a command. It is called exactly once, after the commit.
pub(crate) type Tell = Box<dyn FnOnce(Result<u64, Arc<str>>) + Send>;

/// The result of a command, durable.
#[derive(Debug)]
pub struct Committed<T> {
    /// What the command returned.
    pub value: T,
    /// The journal position after the group that it was part of.
    pub journal: u64,
}

/// The commands that will be committed together.
pub(crate) struct Group<'s, 't> {
    pub(crate) shared: &'s Shared,
    pub(crate) batch: Batch<'t>,
    pub(crate) clock: &'s mut Stamp,
}

/// What a command sees and stages.
pub struct Draft<'a> {
    reader: Reader<'a>,
    shared: &'a Shared,
    authority: &'a Authority,
    role: Option<Role>,
    now: Timestamp,
    stamp: Stamp,
    agent: Option<String>,
    staged: BTreeMap<SpaceId, BTreeMap<DocumentId, Vec<Edit>>>,
    ops: BTreeMap<SpaceId, Vec<Op>>,
    local: Vec<(LocalTable, Vec<u8>, Option<Vec<u8>>)>,
}

impl std::fmt::Debug for Draft<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft").field("now", &self.now).finish_non_exhaustive()
    }
}

impl<'a> Draft<'a> {
    /// Returns the reads: the state that the commands before this one left. What this command staged is not in it.
    #[must_use]
    pub fn reader(&self) -> Reader<'a> {
        self.reader
    }

    /// Returns the time of the command.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Names the agent for whom this is done; it stands in every change. Longer names than peers take are left out.
    pub fn act_for(&mut self, agent: &str) {
        let fits = !agent.is_empty() && agent.len() as u64 <= crate::screen::MAX_MESSAGE;
        self.agent = fits.then(|| agent.to_owned());
    }

    /// Makes a new id of a kind that has no natural key, for a record that will lie in a space. No other record that this
    /// node has, or that the command has staged, has it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn fresh_id(&self, kind: Kind, space: &Space) -> Result<DocumentId, StoreError> {
        let place = self.space_id(space);
        loop {
            let id = self.shared.ids.fresh(kind, space, self.now, self.shared.entropy.number());
            let is_staged = self.staged.get(&place).is_some_and(|staged| staged.contains_key(&id));
            if !is_staged && query::document_row(self.reader.raw(), id)?.is_none() {
                return Ok(id);
            }
        }
    }

    /// Returns what makes the ids of records with natural keys.
    #[must_use]
    pub fn ids(&self) -> Ids {
        self.shared.ids
    }

    /// Returns the place in the causal order that the command's entry in a space will have.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn order(&self, space: &Space) -> Result<Order, StoreError> {
        let log = self.shared.log(space.id(&self.shared.fleet));
        let length = match self.reader.log_row(&log)? {
            Some(row) => row.length,
            None => 0,
        };
        Ok(Order { stamp: self.stamp, author: log.author, epoch: log.epoch, seq: length + 1 })
    }

    /// Returns the id of a space in this fleet.
    #[must_use]
    pub fn space_id(&self, space: &Space) -> SpaceId {
        space.id(&self.shared.fleet)
    }

    /// Stages edits of a record, which is created when it does not exist. An existing record stays in its space.
    ///
    /// # Errors
    /// When the store cannot be read, the node may not write the kind, or the id was made for another space.
    pub fn edit(
        &mut self,
        id: DocumentId,
        space: &Space,
        edits: impl IntoIterator<Item = Edit>,
    ) -> Result<(), StoreError> {
        self.check_role(required_for(id.kind), id.kind.name())?;
        let space = self.space_of(id, space)?;
        self.staged.entry(space).or_default().entry(id).or_default().extend(edits);
        Ok(())
    }

    /// Hides a record.
    ///
    /// # Errors
    /// When the store cannot be read, there is no such record, or the node is not an admin.
    pub fn tombstone(&mut self, id: DocumentId) -> Result<(), StoreError> {
        self.check_role(Role::Admin, "deletions")?;
        let space = self.known_space(id)?;
        self.ops.entry(space).or_default().push(Op::Tombstone(id));
        Ok(())
    }

    /// Brings a hidden record back.
    ///
    /// # Errors
    /// When the store cannot be read, there is no such record, or the node is not an admin.
    pub fn revive(&mut self, id: DocumentId) -> Result<(), StoreError> {
        self.check_role(Role::Admin, "deletions")?;
        let space = self.known_space(id)?;
        self.ops.entry(space).or_default().push(Op::Revive(id));
        Ok(())
    }

    /// Returns where the logs of a node stand: what a revocation or a demotion leaves standing. Of very many those that came first:
    /// nobody begins so many that what names them all is too large to be said.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn cuts_of(&self, node: NodeKey) -> Result<Vec<Cut>, StoreError> {
        let mut heads: Vec<_> = self.reader.heads()?.0.into_iter().filter(|(log, _)| log.author == node).collect();
        if heads.len() > MAX_CUTS {
            let mut by_age = Vec::new();
            for head in heads {
                by_age.push((self.reader.log_row(&head.0)?.map_or(u32::MAX, |row| row.number), head));
            }
            by_age.sort_by_key(|(number, _)| *number);
            heads = by_age.into_iter().map(|(_, head)| head).take(MAX_CUTS).collect();
        }
        let cut = |(log, head): (LogId, Head)| Cut { log, last: head.length, tip: Some(EntryHash(head.tip)) };
        Ok(heads.into_iter().map(cut).collect())
    }

    /// Stages a control op.
    ///
    /// # Errors
    /// When the node is not an admin.
    pub fn control(&mut self, op: &ControlOp) -> Result<(), StoreError> {
        self.check_role(Role::Admin, "membership")?;
        let space = Space::Fleet.id(&self.shared.fleet);
        self.ops.entry(space).or_default().push(Op::Control(op.encode()));
        Ok(())
    }

    /// Stages a node-local row, in the same transaction as everything else.
    pub fn put_local(&mut self, table: LocalTable, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.local.push((table, key.into(), Some(value.into())));
    }

    /// Stages the removal of a node-local row.
    pub fn remove_local(&mut self, table: LocalTable, key: impl Into<Vec<u8>>) {
        self.local.push((table, key.into(), None));
    }

    /// Returns the node's own role.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        self.role
    }

    /// Returns the role of an active member, as the commands before this one left it.
    #[must_use]
    pub fn role_of(&self, node: &NodeKey) -> Option<Role> {
        self.authority.role(node)
    }

    fn check_role(&self, needed: Role, what: &'static str) -> Result<(), StoreError> {
        if self.role >= Some(needed) { Ok(()) } else { Err(StoreError::Forbidden { what }) }
    }

    fn known_space(&self, id: DocumentId) -> Result<SpaceId, StoreError> {
        self.reader.document_space(id)?.ok_or_else(|| StoreError::NoRecord { id: id.to_string() })
    }

    fn space_of(&self, id: DocumentId, wanted: &Space) -> Result<SpaceId, StoreError> {
        let known = self.reader.document_space(id)?;
        let space = known.unwrap_or_else(|| wanted.id(&self.shared.fleet));
        // Whoever made the id for another space has a defect: others would refuse the entry, and so does this one.
        if self.shared.ids.may_lie_in(id, space) {
            Ok(space)
        } else {
            Err(StoreError::OtherSpace { id: id.to_string() })
        }
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn log_row(&self, log: &LogId) -> Result<Option<LogRow>, StoreError> {
        self.raw().get(Table::Logs, &rows::log_key(log))?.map(|payload| LogRow::decode(&payload)).transpose()
    }

    /// The space of a record that is here. One of which only something waits may be of any.
    fn document_space(&self, id: DocumentId) -> Result<Option<SpaceId>, StoreError> {
        let row = query::document_row(self.raw(), id)?.filter(|row| row.changes > 0);
        Ok(row.map(|row| row.space))
    }
}

/// Wraps a command for the writer.
pub(crate) fn job<T, E, F, D>(command: F, deliver: D) -> Job
where
    T: Send + 'static,
    E: Send + 'static,
    F: FnOnce(&mut Draft<'_>) -> Result<T, E> + Send + 'static,
    D: FnOnce(Result<Committed<T>, WriteError<E>>) + Send + 'static,
{
    Box::new(move |group| {
        // The caller's refusal and its answer wait for the commit alike: an answer that was never durable is a lie.
        let outcome = group.run(command)?;
        Ok(Box::new(move |committed| {
            deliver(match (committed, outcome) {
                (Err(reason), _) => Err(WriteError::Store(StoreError::Group(reason))),
                (Ok(journal), Ok(value)) => Ok(Committed { value, journal }),
                (Ok(_), Err(refusal)) => Err(refusal),
            });
        }))
    })
}

impl Group<'_, '_> {
    /// Runs one command. The outer error is the storage's and ends the group; the inner one is the command's own.
    fn run<T, E>(
        &mut self,
        command: impl FnOnce(&mut Draft<'_>) -> Result<T, E>,
    ) -> Result<Result<T, WriteError<E>>, StoreError> {
        let now = self.shared.clock.now();
        let stamp = self.clock.next(now);
        let role = self.batch.authority.role(&self.shared.secret.public());
        let mut draft = Draft {
            reader: Reader::new(&self.batch.tables),
            shared: self.shared,
            authority: &self.batch.authority,
            role,
            now,
            stamp,
            agent: None,
            staged: BTreeMap::new(),
            ops: BTreeMap::new(),
            local: Vec::new(),
        };
        let value = match command(&mut draft) {
            Ok(value) => value,
            Err(refusal) => return Ok(Err(WriteError::Refused(refusal))),
        };
        let Draft { staged, ops, local, agent, .. } = draft;
        let entries = match self.make_entries(now, stamp, agent.as_deref(), staged, ops) {
            Ok(entries) => entries,
            // Nothing was written yet: this command fails alone.
            Err(error) => return Ok(Err(WriteError::Store(error))),
        };
        for (entry, mut prepared) in entries {
            *self.clock = Stamp::max(*self.clock, entry.header().stamp);
            let log = entry.header().log;
            let mut row = self.log_row(&log)?;
            self.batch.take(&entry, &log, &mut row, &mut prepared)?;
        }
        for (table, key, value) in local {
            match value {
                Some(value) => self.batch.tables.put(table.table(), &key, &value)?,
                None => drop(self.batch.tables.remove(table.table(), &key)?),
            }
        }
        if self.batch.is_outdated {
            self.batch.renew_authority()?;
        }
        self.batch.flush()?;
        crate::recover::judge_again(&mut self.batch)?;
        Ok(Ok(value))
    }

    /// Makes one entry per space, with the documents as they are after it, and before it one per control op: the place
    /// of its entry is the place of an op among all others.
    fn make_entries(
        &mut self,
        now: Timestamp,
        stamp: Stamp,
        agent: Option<&str>,
        staged: BTreeMap<SpaceId, BTreeMap<DocumentId, Vec<Edit>>>,
        mut ops: BTreeMap<SpaceId, Vec<Op>>,
    ) -> Result<Vec<(VerifiedEntry, Prepared)>, StoreError> {
        let mut documents: BTreeMap<SpaceId, Prepared> = BTreeMap::new();
        for (space, edits) in staged {
            let log = self.shared.log(space);
            for (id, edits) in edits {
                if let Some(mut made) = self.batch.make(id, &log, now, agent, &edits)? {
                    let op = Op::Change { document: id, change: std::mem::take(&mut made.change) };
                    ops.entry(space).or_default().push(op);
                    documents.entry(space).or_default().insert(id, made);
                }
            }
        }
        let mut entries = Vec::new();
        for (space, ops) in ops {
            let log = self.shared.log(space);
            let row = self.log_row(&log)?;
            let mut prev = if row.length == 0 { [0; 32] } else { row.tip };
            let (control, rest): (Vec<Op>, Vec<Op>) = ops.into_iter().partition(|op| matches!(op, Op::Control(_)));
            let apart = control.into_iter().map(|op| (vec![op], Prepared::new()));
            let together = (!rest.is_empty()).then(|| (rest, documents.remove(&space).unwrap_or_default()));
            let mut stamp = stamp;
            for (seq, (ops, prepared)) in (row.length + 1..).zip(apart.chain(together)) {
                let header = Header { fleet: self.shared.fleet, log, seq, prev, stamp, time: now };
                let entry = VerifiedEntry::sign(header, ops, &self.shared.secret).map_err(too_large)?;
                (prev, stamp) = (*entry.hash(), stamp.next(now));
                entries.push((entry, prepared));
            }
        }
        Ok(entries)
    }

    pub(crate) fn log_row(&self, log: &LogId) -> Result<LogRow, StoreError> {
        log_row(&self.batch, log)
    }
}

/// Returns a log's row, with a new number when the log is new.
pub(crate) fn log_row(batch: &Batch<'_>, log: &LogId) -> Result<LogRow, StoreError> {
    if let Some(payload) = batch.tables.get(Table::Logs, &rows::log_key(log))? {
        return LogRow::decode(&payload);
    }
    // Logs are never removed, so their count is the next number.
    let number = u32::try_from(batch.tables.len(Table::LogNumbers)?).unwrap_or(u32::MAX);
    Ok(LogRow { number, length: 0, tip: [0; 32], stamp: Stamp(0) })
}

fn too_large(error: EntryError) -> StoreError {
    let size = match error {
        EntryError::TooLarge { size } => size,
        _ => crate::entry::MAX_ENTRY_LEN + 1,
    };
    StoreError::TooLarge { size, limit: crate::entry::MAX_ENTRY_LEN }
}

/// Takes waiting commands into one group.
pub(crate) fn collect(first: Job, queue: &Receiver<Job>) -> Vec<Job> {
    let mut jobs = vec![first];
    while jobs.len() < GROUP
        && let Ok(job) = queue.try_recv()
    {
        jobs.push(job);
    }
    jobs
}

/// The sending half that clients of the store hold.
pub(crate) type Queue = SyncSender<Job>;
