//! Branches: what becomes of a log that has two histories.
//!
//! A log is written by one disk. When a machine goes back to an earlier moment without noticing (a snapshot of a running
//! virtual machine, two running copies of one), its log gets two entries at one position, both well signed. Neither is
//! wrong, so both are kept: the entries of a log form a tree, and the tree is laid out in strands. Where an entry has several
//! successors, the one with the smallest hash goes on in the strand of its predecessor; every other one begins a strand of
//! its own, a *branch*: a log whose epoch is derived from the hash of its first entry, with positions from 1. The layout is a
//! function of the set of entries, so that replicas with equal sets have equal logs, whoever heard of which history first.
//! What rights say of a position they say of the position in the strand: a branch that a revocation does not name stands
//! nowhere, whatever position its entries claim for themselves.

use std::collections::{BTreeMap, BTreeSet};

use ctxnode_model::frontier::LogId;
use ctxnode_model::{DocumentId, Order, SpaceId};

use crate::StoreError;
use crate::apply::Batch;
use crate::authority::{ControlOp, Cut, holds_control, is_where_it_belongs};
use crate::entry::{Op, VerifiedEntry};
use crate::kv::{Direction, Kv};
use crate::query;
use crate::recover;
use crate::rows::{self, Held, LogRow};
use crate::tables::Table;
use crate::writer::log_row;

/// The most branches of one log. A machine that goes back to a snapshot every day for two months stays below it; an author
/// that forks without end fills nothing.
const MAX_BRANCHES: usize = 64;

/// The strand in which a log begins, or a branch of it.
#[derive(Clone, Debug)]
pub(crate) struct Strand {
    pub(crate) log: LogId,
    pub(crate) row: LogRow,
    /// Which position its first entry claims: 1 where the log begins.
    pub(crate) start: u64,
}

impl Strand {
    /// Where an entry that claims `seq` would stand in this strand.
    fn position(&self, seq: u64) -> Option<u64> {
        seq.checked_sub(self.start).map(|before| before + 1)
    }

    /// Where an entry that claims `seq` does stand.
    fn held_at(&self, seq: u64) -> Option<u64> {
        self.position(seq).filter(|position| *position <= self.row.length)
    }
}

/// Where an entry belongs.
pub(crate) enum Attached {
    /// It is here.
    Known(LogId),
    /// It continues this strand.
    Next(Strand),
    /// It begins a branch.
    Branch(Strand),
    /// It takes the place of what follows this position of the strand, which becomes a branch.
    Displaces(Strand, u64),
    /// An entry before it is missing: the log is known up to there.
    Gap(u64),
    /// What it follows is not here, although the position is.
    Elsewhere,
    /// It does not come after the entry before it in the causal order.
    Broken,
    /// There are too many branches already.
    TooMany,
}

/// The epoch of the branch that begins with an entry.
pub(crate) fn branch_epoch(first: &[u8; 32]) -> u64 {
    let hash = blake3::derive_key("ctxnode 2026-11 branch of a log v1", first);
    rows::be_u64(&hash[..8])
}

/// The log in which a strand begins and what position its first entry claims; `None` for what is no branch.
pub(crate) fn origin(kv: &dyn Kv, number: u32) -> Result<Option<(u32, u64)>, StoreError> {
    let found = kv.get(Table::Branches, &number.to_be_bytes())?;
    found.map(|payload| rows::branch_decode(&payload)).transpose()
}

/// Whether a log has branches.
pub(crate) fn has_any(kv: &dyn Kv, log: &LogId) -> Result<bool, StoreError> {
    let Some(payload) = kv.get(Table::Logs, &rows::log_key(log))? else { return Ok(false) };
    let number = LogRow::decode(&payload)?.number;
    Ok(!kv.scan_prefix(Table::Branches, &number.to_be_bytes(), Direction::Forward, 1)?.is_empty())
}

/// The strands of a log: the one in which it begins, then its branches.
pub(crate) fn strands(kv: &dyn Kv, log: &LogId) -> Result<Vec<Strand>, StoreError> {
    let Some(payload) = kv.get(Table::Logs, &rows::log_key(log))? else { return Ok(Vec::new()) };
    let row = LogRow::decode(&payload)?;
    let number = row.number;
    let mut out = vec![Strand { log: *log, row, start: 1 }];
    for (key, payload) in kv.scan_prefix(Table::Branches, &number.to_be_bytes(), Direction::Forward, usize::MAX)? {
        let Some(branch) = key.last_chunk().filter(|_| key.len() == 8) else { continue };
        let branch = u32::from_be_bytes(*branch);
        let Some(log) = query::log_by_number(kv, branch)? else { continue };
        let Some(row) = kv.get(Table::Logs, &rows::log_key(&log))? else { continue };
        out.push(Strand { log, row: LogRow::decode(&row)?, start: rows::be_u64(&payload) });
    }
    Ok(out)
}

/// The strand among others that holds an entry, and where.
fn holder<'s>(
    kv: &dyn Kv,
    strands: &'s [Strand],
    seq: u64,
    hash: &[u8; 32],
) -> Result<Option<(&'s Strand, u64)>, StoreError> {
    for strand in strands {
        if let Some(position) = strand.held_at(seq)
            && query::entry(kv, strand.row.number, position)?.hash() == hash
        {
            return Ok(Some((strand, position)));
        }
    }
    Ok(None)
}

/// Whether an entry comes after one that stands in a strand of a log, or at its beginning.
pub(crate) fn follows_a_strand(kv: &dyn Kv, origin: u32, entry: &VerifiedEntry) -> Result<bool, StoreError> {
    let header = entry.header();
    if header.seq == 1 {
        return Ok(header.prev == [0; 32]);
    }
    let Some(log) = query::log_by_number(kv, origin)? else { return Ok(false) };
    Ok(holder(kv, &strands(kv, &log)?, header.seq - 1, &header.prev)?.is_some())
}

/// Finds where an entry belongs. `row` is the one of the log that it names; where nothing has branches, only what stands at
/// a known position is looked up.
pub(crate) fn attach(
    kv: &dyn Kv,
    entry: &VerifiedEntry,
    row: LogRow,
    has_branches: bool,
) -> Result<Attached, StoreError> {
    let header = entry.header();
    if row.length == 0 || (!has_branches && header.seq > row.length) {
        return Ok(attach_plain(entry, row));
    }
    let strands = strands(kv, &header.log)?;
    let Some(first) = strands.first() else { return Ok(Attached::Gap(0)) };
    if origin(kv, first.row.number)?.is_some() {
        // An author that names a branch as its log would mix the two.
        return Ok(Attached::TooMany);
    }
    if let Some((strand, _)) = holder(kv, &strands, header.seq, entry.hash())? {
        return Ok(Attached::Known(strand.log));
    }
    let before = header.seq - 1;
    let (strand, position) = if before == 0 {
        if header.prev != [0; 32] {
            return Ok(Attached::Broken);
        }
        (first, 0)
    } else {
        match holder(kv, &strands, before, &header.prev)? {
            Some(found) => found,
            None if strands.iter().any(|strand| strand.held_at(before).is_some()) => return Ok(Attached::Elsewhere),
            None => return Ok(Attached::Gap(first.row.length)),
        }
    };
    if position > 0 && header.stamp <= query::entry(kv, strand.row.number, position)?.header().stamp {
        return Ok(Attached::Broken);
    }
    if position == strand.row.length {
        return Ok(Attached::Next(strand.clone()));
    }
    let sibling = query::entry(kv, strand.row.number, position + 1)?;
    let displaces = entry.hash() < sibling.hash();
    let log = LogId { epoch: branch_epoch(if displaces { sibling.hash() } else { entry.hash() }), ..header.log };
    // A history that goes first is let in beyond the bound: to make ever smaller hashes takes ever more work.
    let bound = if displaces { 2 * MAX_BRANCHES } else { MAX_BRANCHES };
    if strands.len() > bound || kv.get(Table::Logs, &rows::log_key(&log))?.is_some() {
        return Ok(Attached::TooMany);
    }
    Ok(if displaces { Attached::Displaces(strand.clone(), position) } else { Attached::Branch(strand.clone()) })
}

/// The same in a log without branches, for a position that is not known yet.
fn attach_plain(entry: &VerifiedEntry, row: LogRow) -> Attached {
    let header = entry.header();
    if header.seq > row.length + 1 {
        Attached::Gap(row.length)
    } else if header.prev != row.tip {
        if row.length == 0 { Attached::Broken } else { Attached::Elsewhere }
    } else if row.length > 0 && header.stamp <= row.stamp {
        Attached::Broken
    } else {
        Attached::Next(Strand { log: header.log, row, start: 1 })
    }
}

impl Batch<'_> {
    /// Begins the branch of an entry, without the entry.
    pub(crate) fn begin_branch(&mut self, of: &Strand, first: &VerifiedEntry) -> Result<Strand, StoreError> {
        let log = LogId { epoch: branch_epoch(first.hash()), ..of.log };
        let row = log_row(self, &log)?;
        let root = origin(&self.tables, of.row.number)?.map_or(of.row.number, |(root, _)| root);
        let start = first.header().seq;
        self.tables.put(Table::Branches, &row.number.to_be_bytes(), &rows::branch_encode(root, start))?;
        let key = [root.to_be_bytes(), row.number.to_be_bytes()].concat();
        self.tables.put(Table::Branches, &key, &start.to_be_bytes())?;
        self.has_branches = true;
        Ok(Strand { log, row, start })
    }

    /// Makes a branch of what follows a position of a strand, and returns the strand as it is then.
    pub(crate) fn displace(&mut self, strand: Strand, keep: u64) -> Result<Strand, StoreError> {
        self.flush()?;
        let old = strand.row.number;
        let first = query::entry(&self.tables, old, keep + 1)?;
        let Strand { log, mut row, .. } = self.begin_branch(&strand, &first)?;
        let mut documents: BTreeMap<DocumentId, SpaceId> = BTreeMap::new();
        for seq in keep + 1..=strand.row.length {
            let entry = query::entry(&self.tables, old, seq)?;
            self.move_entry(&entry, (&strand.log, old, seq), (&log, row.number, seq - keep))?;
            let touched = entry.ops().iter().filter_map(|op| self.document_of(op, strand.log.space));
            documents.extend(touched.map(|id| (id, strand.log.space)));
        }
        row.length = strand.row.length - keep;
        (row.tip, row.stamp) = (strand.row.tip, strand.row.stamp);
        self.tables.put(Table::LogNumbers, &row.number.to_be_bytes(), &rows::log_key(&log))?;
        row.save(&self.tables, &log)?;
        let mut strand = strand;
        strand.row.length = keep;
        (strand.row.tip, strand.row.stamp) = if keep == 0 {
            Default::default()
        } else {
            let last = query::entry(&self.tables, old, keep)?;
            (*last.hash(), last.header().stamp)
        };
        strand.row.save(&self.tables, &strand.log)?;
        for (id, space) in &documents {
            let moved = |held: Held| match held {
                Held { log_no, seq, op } if log_no == old && seq > keep => {
                    Held { log_no: row.number, seq: seq - keep, op }
                }
                held => held,
            };
            let all: Vec<Held> = recover::ops_of(&self.tables, *id)?.into_iter().map(moved).collect();
            let standing = recover::standing_of(&self.tables, all)?;
            self.rebuild(*id, *space, &standing)?;
        }
        self.journal_documents(documents.into_keys().collect());
        Ok(strand)
    }

    fn move_entry(
        &self,
        entry: &VerifiedEntry,
        (from, old, seq): (&LogId, u32, u64),
        (to, new, position): (&LogId, u32, u64),
    ) -> Result<(), StoreError> {
        let tables = &self.tables;
        tables.put(Table::Entries, &rows::entry_key(new, position), entry.bytes())?;
        tables.remove(Table::Entries, &rows::entry_key(old, seq))?;
        for (key, reason) in
            tables.scan_prefix(Table::Quarantine, &rows::entry_key(old, seq), Direction::Forward, usize::MAX)?
        {
            let held = Held::decode(&key)?;
            tables.put(Table::Quarantine, &rows::held_key(new, position, held.op), &reason)?;
            tables.remove(Table::Quarantine, &key)?;
        }
        if holds_control(entry.header(), self.fleet_space) {
            for payload in entry.ops().iter().filter_map(Op::control) {
                if !is_where_it_belongs(entry.header(), payload) {
                    continue;
                }
                let stamp = entry.header().stamp;
                let order = |log: &LogId, seq| Order { stamp, author: log.author, epoch: log.epoch, seq };
                tables.remove(Table::Control, &rows::order_key(&order(from, seq)))?;
                tables.put(Table::Control, &rows::order_key(&order(to, position)), payload)?;
            }
        }
        Ok(())
    }
}

/// Returns every control op with its place, and with the logs that it cuts as they lie now.
pub(crate) fn control_ops(kv: &dyn Kv) -> Result<BTreeMap<Order, ControlOp>, StoreError> {
    let genesis = kv.get(Table::Meta, b"genesis")?.and_then(|bytes| VerifiedEntry::from_store(bytes).ok());
    let mut ops = BTreeMap::new();
    for (key, payload) in kv.scan_prefix(Table::Control, &[], Direction::Forward, usize::MAX)? {
        let mut op = ControlOp::decode(&payload);
        lay_out(kv, &mut op)?;
        // Whoever else says that he founds the fleet is not believed, whatever time he claims.
        if !matches!(op, ControlOp::Genesis { .. }) {
            ops.insert(rows::order_from_key(&key)?, op);
        }
    }
    // Last, so that nothing takes its place.
    if let Some(entry) = genesis {
        let founding = entry.ops().iter().find_map(Op::control).map(ControlOp::decode);
        ops.extend(founding.map(|op| (entry.header().order(), op)));
    }
    Ok(ops)
}

/// A cut names the entry that it ends in. What stands is that entry and all before it, in whatever strands they lie by now.
fn lay_out(kv: &dyn Kv, op: &mut ControlOp) -> Result<(), StoreError> {
    match op {
        ControlOp::SetRole { cuts, .. } | ControlOp::Revoke { cuts, .. } => {
            let mut all: BTreeMap<LogId, Cut> = BTreeMap::new();
            for cut in cuts.iter() {
                for part in known_parts(kv, *cut)? {
                    let known = all.entry(part.log).or_insert(part);
                    if known.last < part.last {
                        *known = part;
                    }
                }
            }
            *cuts = all.into_values().collect();
        }
        ControlOp::AcceptUpTo { cut, before } => {
            let mut parts = known_parts(kv, *cut)?.into_iter();
            *cut = parts.next().unwrap_or(*cut);
            *before = parts.collect();
        }
        ControlOp::Genesis { .. } | ControlOp::Grant { .. } | ControlOp::Unknown => {}
    }
    Ok(())
}

/// The same, and the cut itself where something is damaged on the way: that is for the check to name, and keeps nobody from opening the
/// store.
fn known_parts(kv: &dyn Kv, cut: Cut) -> Result<Vec<Cut>, StoreError> {
    match parts(kv, cut) {
        Err(StoreError::Corrupt { .. }) => Ok(vec![cut]),
        parts => parts,
    }
}

/// The strands that lead to the entry that a cut names, from the last one back, each with where it is left. While that entry
/// is not here: the cut itself, as far as what is here can be the same history.
fn parts(kv: &dyn Kv, cut: Cut) -> Result<Vec<Cut>, StoreError> {
    let Some(tip) = cut.tip.filter(|_| cut.last > 0) else { return Ok(vec![cut]) };
    let Some(payload) = kv.get(Table::Logs, &rows::log_key(&cut.log))? else { return Ok(vec![cut]) };
    let row = LogRow::decode(&payload)?;
    let (root, start) = origin(kv, row.number)?.unwrap_or((row.number, 1));
    let Some(root) = query::log_by_number(kv, root)? else { return Ok(vec![cut]) };
    let strands = strands(kv, &root)?;
    let mut parts = Vec::new();
    let mut seen = BTreeSet::new();
    let Some(claimed) = start.checked_add(cut.last - 1) else { return Ok(vec![cut]) };
    let (mut seq, mut hash) = (claimed, tip.0);
    while let Some((strand, position)) = holder(kv, &strands, seq, &hash)? {
        if !seen.insert(strand.log) {
            break;
        }
        parts.push(Cut { log: strand.log, last: position, tip: None });
        if strand.start == 1 {
            break;
        }
        hash = query::entry(kv, strand.row.number, 1)?.header().prev;
        seq = strand.start - 1;
    }
    if !parts.is_empty() {
        return Ok(parts);
    }
    // Which history it ends is not known here: what all of them have in common stands. Where there is only one, it may be the
    // one that is meant until something else stands at its end.
    let fork = strands.iter().map(|strand| strand.start).filter(|start| *start > 1).min();
    let last = match fork {
        Some(fork) => fork.saturating_sub(start).min(cut.last),
        None if row.length >= cut.last => 0,
        None => cut.last,
    };
    Ok(vec![Cut { last, ..cut }])
}
