//! The screener: decides from the bytes of a foreign change, and from what is known of its document, whether Automerge
//! may see it at all.
//!
//! Automerge 0.12 panics, hangs or grows without bound on some changes that are well signed but hostile. This is a pure
//! parser of its own with bounded work: [`parse`] decides all that the bytes alone can tell, [`check`] the rest. It is
//! stricter than Automerge and accepts only what Automerge's own encoder writes, because a change that it would encode
//! differently gets another hash when it is saved.
//!
//! What a change is checked against is its own past, the changes that it depends on and all before them, never what else
//! happens to be in the document: so every replica decides alike, whatever came first.
//!
//! Not here: whether the objects, elements and predecessors in other changes are of the right kind. For those a panic
//! boundary stays around the application of a change.

mod columns;
mod error;
mod ops;
mod reader;
mod runs;
mod value;

#[cfg(test)]
mod tests;

use ctxnode_model::Scalar;
use ctxnode_model::rules::canonical::sha256;

pub use columns::Column;
pub use error::{OpFault, Part, ScreenError};

use columns::Columns;
use ops::Walked;
use reader::Reader;

use crate::genesis;

/// The number of this set of rules. All replicas of a fleet must run the same rules, or one of them applies a change
/// that another one quarantines, and they diverge. It rises with every change of what is accepted.
pub const SCREEN_RULES: u32 = 3;

/// Length of an actor id. Every log has one of 16 bytes, and so has each genesis change and each of Automerge's own.
pub const ACTOR_BYTES: usize = 16;
/// Most dependencies of a change. They are the heads its author saw: one per log that was written at the same time. A
/// record with more cannot be edited; whoever makes that many on purpose is revoked, and they are gone.
pub const MAX_DEPS: u64 = 1_024;
/// Most actors that the ops of a change refer to, for the same reason as [`MAX_DEPS`].
pub const MAX_OTHER_ACTORS: u64 = 1_024;
/// Longest message in bytes. Ours name an agent, in at most 63 bytes; Automerge keeps them in memory with each
/// change.
pub const MAX_MESSAGE: u64 = 256;
/// Most columns of a change: as many as there are kinds of columns.
pub const MAX_COLUMNS: u64 = 14;
/// Most ops of a change, and so the longest run. A body of 4 MiB in elements of 4 bytes is that many; without a bound a
/// run of 2^40 in 150 bytes keeps Automerge busy for hours.
pub const MAX_OPS: u64 = 1 << 20;
/// Most predecessors of all ops of a change together. Each op of ours has as many as its place has concurrent values.
pub const MAX_PREDS: u64 = 1 << 20;
/// First counter that no op may have. Automerge keeps counters in 32 bits and panics beyond; half of that leaves room
/// for whoever writes next.
pub const OP_COUNTER_END: u64 = 1 << 31;
/// Greatest number of a change within its actor, which Automerge keeps in 32 bits.
pub const MAX_SEQ: u64 = (1 << 31) - 1;
/// Latest time in seconds, 34,000 years from now. Automerge stores differences of times, which saturate at the ends of
/// 64 bits, and then a saved document has other hashes than before.
pub const MAX_TIME: u64 = 1 << 40;

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const PLAIN_CHANGE: u8 = 1;
/// Where the hashed part begins: behind the magic bytes and the checksum.
const HASHED_FROM: usize = 8;

/// What a change says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeFacts {
    /// SHA-256 over chunk type, length and data: the id of the change.
    pub hash: [u8; 32],
    /// The author's actor.
    pub actor: [u8; ACTOR_BYTES],
    /// Its number within its actor, from 1.
    pub seq: u64,
    /// The counter of its first op.
    pub start_op: u64,
    /// The counter of its last op; one less than `start_op` when it has none.
    pub max_op: u64,
    /// The changes that it depends on, sorted.
    pub deps: Vec<[u8; 32]>,
    /// The actors that its ops refer to beside the author, sorted.
    pub other_actors: Vec<[u8; ACTOR_BYTES]>,
    /// For each of them the greatest counter that is referred to.
    pub reaches: Vec<u64>,
    /// How many ops it has.
    pub ops: u32,
    /// The author's clock in seconds. Advisory.
    pub time: i64,
    /// The message, if there is one.
    pub message: Option<String>,
    /// What it adds, op by op, when that is all it does: each op sets a truth value, an integer or a text, replaces nothing,
    /// and stands at a key that no other op of the change sets, or in a list that the change fills from its beginning on.
    /// `None` when it does more. Nothing in such a change can dangle but the objects that it writes into.
    pub adds: Option<Vec<Addition>>,
}

/// One op of a change that only adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    /// The object; the root when absent.
    pub target: Option<Target>,
    /// The key; the next element of a list when absent.
    pub key: Option<String>,
    /// The value.
    pub value: Scalar,
}

/// An object that another change made, or this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The counter of the op that made it.
    pub counter: u64,
    /// The actor of that op.
    pub actor: [u8; ACTOR_BYTES],
    /// Whether it is written into as a map; otherwise as a list.
    pub as_map: bool,
}

/// What is known of the document and the signer.
pub struct Expected<'a> {
    /// The actor of the log that the change came in.
    pub actor: &'a [u8],
    /// The number of the next change of that actor.
    pub next_seq: u64,
    /// Returns the greatest op counter of a change; `None` when the change is not here.
    pub deps_max_op: &'a dyn Fn(&[u8; 32]) -> Option<u64>,
    /// Whether a change is the one before this one of its actor.
    pub is_previous: &'a dyn Fn(&[u8; 32]) -> bool,
    /// Returns the greatest counter of an actor's ops in the past of the change; 0 when it has none there.
    pub past: &'a dyn Fn(&[u8; ACTOR_BYTES]) -> u64,
}

/// Decides whether a change may be applied: [`parse`] and then [`check`].
///
/// # Errors
///
/// Says which rule the change breaks.
pub fn screen(bytes: &[u8], expected: &Expected<'_>) -> Result<ChangeFacts, ScreenError> {
    let facts = parse(bytes)?;
    check(&facts, expected)?;
    Ok(facts)
}

/// Reads a raw change and applies every rule that needs nothing but its bytes.
///
/// # Errors
///
/// Says which rule the change breaks.
pub fn parse(bytes: &[u8]) -> Result<ChangeFacts, ScreenError> {
    let (hash, mut input) = open_chunk(bytes)?;
    let deps = sorted(Part::Deps, &mut input, MAX_DEPS, Reader::array::<32>)?;
    let actor = read_actor(&mut input)?;
    if genesis::is_reserved(&actor) {
        return Err(ScreenError::ReservedActor);
    }
    let seq = within(Part::Seq, input.unsigned()?, 1, MAX_SEQ)?;
    let start_op = within(Part::StartOp, input.unsigned()?, 1, OP_COUNTER_END - 1)?;
    let time = input.signed()?;
    within(Part::Time, u64::try_from(time).unwrap_or(u64::MAX), 0, MAX_TIME)?;
    let message = read_message(&mut input)?;
    let other_actors = sorted(Part::OtherActors, &mut input, MAX_OTHER_ACTORS, read_actor)?;
    if other_actors.contains(&actor) {
        return Err(ScreenError::Order { part: Part::OtherActors });
    }
    let columns = Columns::parse(&mut input)?;
    if !input.is_empty() {
        return Err(ScreenError::Extra { count: input.remaining() });
    }
    let actors: Vec<_> = [actor].into_iter().chain(other_actors.iter().copied()).collect();
    let Walked { ops, adds, reaches } = ops::walk(&columns, &actors, start_op)?;
    let max_op = within(Part::EndOp, start_op + u64::from(ops), 1, OP_COUNTER_END - 1)? - 1;
    Ok(ChangeFacts { hash, actor, seq, start_op, max_op, deps, other_actors, reaches, ops, time, message, adds })
}

/// Applies the rules that need to know the signer and the document.
///
/// # Errors
///
/// Says which rule the change breaks. [`ScreenError::UnknownDep`] may pass later, when the dependency has come.
pub fn check(facts: &ChangeFacts, expected: &Expected<'_>) -> Result<(), ScreenError> {
    if facts.actor != expected.actor {
        return Err(ScreenError::WrongActor);
    }
    if facts.seq != expected.next_seq {
        return Err(ScreenError::WrongSeq { found: facts.seq, next: expected.next_seq });
    }
    let mut start = 1;
    for hash in &facts.deps {
        let max_op = (expected.deps_max_op)(hash).ok_or(ScreenError::UnknownDep { hash: *hash })?;
        start = start.max(max_op.saturating_add(1));
    }
    // Automerge goes on with the next counter. A greater one would use them up for everybody.
    if facts.start_op != start {
        return Err(ScreenError::StartOp { found: facts.start_op, next: start });
    }
    // Automerge always names it, even where something later names it already.
    if facts.seq > 1 && !facts.deps.iter().any(|hash| (expected.is_previous)(hash)) {
        return Err(ScreenError::NotAfterOwn);
    }
    let mut reaches = facts.other_actors.iter().zip(&facts.reaches);
    match reaches.position(|(actor, reach)| *reach > (expected.past)(actor)) {
        Some(index) => Err(ScreenError::NotInPast { index: index + 1 }),
        None => Ok(()),
    }
}

/// Checks the chunk around the change. Returns the hash and the data.
fn open_chunk(bytes: &[u8]) -> Result<([u8; 32], Reader<'_>), ScreenError> {
    let mut input = Reader::new(bytes, 0);
    if input.array()? != MAGIC {
        return Err(ScreenError::Magic);
    }
    let checksum: [u8; 4] = input.array()?;
    let [found] = input.array()?;
    if found != PLAIN_CHANGE {
        return Err(ScreenError::ChunkType { found });
    }
    let length = input.unsigned()?;
    let present = input.remaining() as u64;
    within(Part::Data, present, length, length)?;
    let hash = sha256(&bytes[HASHED_FROM..]);
    if hash[..checksum.len()] != checksum {
        return Err(ScreenError::Checksum);
    }
    Ok((hash, input))
}

fn read_actor(input: &mut Reader<'_>) -> Result<[u8; ACTOR_BYTES], ScreenError> {
    within(Part::Actor, input.unsigned()?, ACTOR_BYTES as u64, ACTOR_BYTES as u64)?;
    input.array()
}

fn read_message(input: &mut Reader<'_>) -> Result<Option<String>, ScreenError> {
    let mut ahead = *input;
    within(Part::Message, ahead.unsigned()?, 0, MAX_MESSAGE)?;
    let text = input.text()?;
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// Reads a counted list that is strictly ascending.
fn sorted<'a, T: Ord>(
    part: Part,
    input: &mut Reader<'a>,
    max: u64,
    read: impl Fn(&mut Reader<'a>) -> Result<T, ScreenError>,
) -> Result<Vec<T>, ScreenError> {
    let count = within(part, input.unsigned()?, 0, max)?;
    let items = (0..count).map(|_| read(input)).collect::<Result<Vec<_>, _>>()?;
    if items.is_sorted_by(|a, b| a < b) { Ok(items) } else { Err(ScreenError::Order { part }) }
}

/// Returns a number that lies within bounds, both included.
fn within(part: Part, found: u64, min: u64, max: u64) -> Result<u64, ScreenError> {
    if (min..=max).contains(&found) { Ok(found) } else { Err(ScreenError::Limit { part, found, min, max }) }
}
