//! The walk over the ops of a change: each one must be an op that Automerge itself could have written there.
//!
//! References to ops of other changes are not followed; whether those exist only a document can tell. References within
//! the change are, since a bad one is enough to make Automerge panic.

use std::collections::{BTreeMap, BTreeSet};

use ctxnode_model::Scalar;

use super::columns::{Column, Columns};
use super::error::{OpFault, Part};
use super::reader::Reader;
use super::runs::{Deltas, Flags, Runs};
use super::value::{self, Value};
use super::{Addition, MAX_OPS, MAX_PREDS, ScreenError, Target, within};

/// The id of an op: the counter first, since that is how ids are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Id {
    counter: u64,
    actor: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key<'a> {
    Text(&'a str),
    Head,
    Element(Id),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    MakeMap,
    Set,
    MakeList,
    Delete,
    MakeText,
    Increment,
    Mark,
}

impl Action {
    fn of_code(code: u64) -> Option<Self> {
        Some(match code {
            0 => Self::MakeMap,
            1 => Self::Set,
            2 => Self::MakeList,
            3 => Self::Delete,
            4 => Self::MakeText,
            5 => Self::Increment,
            // 6 makes a table: Automerge 0.12 panics on the first op inside one ("Missing from Index").
            7 => Self::Mark,
            _ => return None,
        })
    }

    /// Whether other ops may name this one as the value that they replace.
    fn is_value(self) -> bool {
        matches!(self, Self::MakeMap | Self::Set | Self::MakeList | Self::MakeText)
    }
}

/// What later ops of the same change may refer to.
#[derive(Clone, Copy)]
struct Op<'a> {
    object: Option<Id>,
    key: Key<'a>,
    action: Action,
    insert: bool,
}

/// What was found.
pub(super) struct Walked {
    /// How many ops there are.
    pub(super) ops: u32,
    /// What they add when they do nothing else.
    pub(super) adds: Option<Vec<Addition>>,
    /// For each of the other actors the greatest counter that an op refers to.
    pub(super) reaches: Vec<u64>,
}

/// Walks all ops. `actors` are the author and the others, in the order of their indices.
pub(super) fn walk(columns: &Columns<'_>, actors: &[[u8; 16]], start_op: u64) -> Result<Walked, ScreenError> {
    let mut walk = Walk::new(columns, actors, start_op);
    while !walk.action.is_done() {
        within(Part::Ops, walk.ops.len() as u64 + 1, 0, MAX_OPS)?;
        walk.step()?;
    }
    walk.finish()
}

struct Walk<'a, 'b> {
    actors: &'b [[u8; 16]],
    /// The greatest counter that is referred to, by actor.
    reaches: Vec<u64>,
    start_op: u64,
    ops: Vec<Op<'a>>,
    adds: Option<Vec<Addition>>,
    /// The keys that were set, and the last element that was put into each list.
    keys: BTreeSet<(Option<Target>, &'a str)>,
    ends: BTreeMap<Target, Id>,
    preds: u64,
    object_actor: Runs<'a, u64>,
    object_counter: Runs<'a, u64>,
    key_actor: Runs<'a, u64>,
    key_counter: Deltas<'a>,
    key_text: Runs<'a, &'a str>,
    insert: Flags<'a>,
    action: Runs<'a, u64>,
    value_meta: Runs<'a, u64>,
    values: Reader<'a>,
    pred_count: Runs<'a, u64>,
    pred_actor: Runs<'a, u64>,
    pred_counter: Deltas<'a>,
    expand: Flags<'a>,
    mark_name: Runs<'a, &'a str>,
}

impl<'a, 'b> Walk<'a, 'b> {
    fn new(columns: &Columns<'a>, actors: &'b [[u8; 16]], start_op: u64) -> Self {
        Self {
            actors,
            reaches: vec![0; actors.len()],
            start_op,
            ops: Vec::new(),
            adds: Some(Vec::new()),
            keys: BTreeSet::new(),
            ends: BTreeMap::new(),
            preds: 0,
            object_actor: Runs::new(columns, Column::ObjectActor),
            object_counter: Runs::new(columns, Column::ObjectCounter),
            key_actor: Runs::new(columns, Column::KeyActor),
            key_counter: Deltas::new(columns, Column::KeyCounter),
            key_text: Runs::new(columns, Column::KeyText),
            insert: Flags::new(columns, Column::Insert),
            action: Runs::new(columns, Column::Action),
            value_meta: Runs::new(columns, Column::ValueMeta),
            values: columns.get(Column::Value),
            pred_count: Runs::new(columns, Column::PredCount),
            pred_actor: Runs::new(columns, Column::PredActor),
            pred_counter: Deltas::new(columns, Column::PredCounter),
            expand: Flags::new(columns, Column::Expand),
            mark_name: Runs::new(columns, Column::MarkName),
        }
    }

    fn step(&mut self) -> Result<(), ScreenError> {
        let code = self.action.value()?;
        let action = Action::of_code(code).ok_or_else(|| self.fault(OpFault::Action(code)))?;
        let object = self.object()?;
        let key = self.key()?;
        let insert = self.insert.next()?;
        let op = Op { object, key, action, insert };
        self.check_place(&op)?;
        let (meta, values) = (self.value_meta.value()?, self.values);
        let value = value::read(meta, &mut self.values)?;
        self.check_value(action, value.ok_or_else(|| self.fault(OpFault::Value))?)?;
        let preds = self.read_preds(&op)?;
        if self.adds.is_some() {
            let addition = if preds == 0 { self.addition(&op, value::plain(meta, values)) } else { None };
            self.adds = self.adds.take().zip(addition).map(|(mut adds, addition)| {
                adds.push(addition);
                adds
            });
        }
        self.ops.push(op);
        Ok(())
    }

    /// Returns what an op without predecessors adds; `None` when it does something else.
    fn addition(&mut self, op: &Op<'a>, value: Option<Scalar>) -> Option<Addition> {
        let value = value.filter(|_| op.action == Action::Set)?;
        let target = op.object.map(|object| Target {
            counter: object.counter,
            actor: self.actors[object.actor],
            as_map: matches!(op.key, Key::Text(_)),
        });
        let is_next = match (op.key, target) {
            (Key::Text(key), _) => !key.is_empty() && self.keys.insert((target, key)),
            (_, None) => false,
            (place, Some(list)) => {
                let id = Id { counter: self.start_op + self.ops.len() as u64, actor: 0 };
                let end = self.ends.insert(list, id).map_or(Key::Head, Key::Element);
                op.insert && place == end
            }
        };
        let key = if let Key::Text(key) = op.key { Some(key.to_owned()) } else { None };
        is_next.then_some(Addition { target, key, value })
    }

    fn object(&mut self) -> Result<Option<Id>, ScreenError> {
        match (self.object_actor.next()?, self.object_counter.next()?) {
            (None, None) => Ok(None),
            (Some(actor), Some(counter)) if counter > 0 => self.id(actor, counter).map(Some),
            _ => Err(self.fault(OpFault::Object)),
        }
    }

    fn key(&mut self) -> Result<Key<'a>, ScreenError> {
        match (self.key_actor.next()?, self.key_counter.next()?, self.key_text.next()?) {
            (None, None, Some(text)) => Ok(Key::Text(text)),
            (None, Some(0), None) => Ok(Key::Head),
            (Some(actor), Some(counter), None) if counter > 0 => self.id(actor, counter).map(Key::Element),
            _ => Err(self.fault(OpFault::Key)),
        }
    }

    /// Builds an id that refers to an earlier op: of this change, or of one that it depends on. Those all have lower
    /// counters than the change's first op.
    fn id(&mut self, index: u64, counter: u64) -> Result<Id, ScreenError> {
        let actor = usize::try_from(index).ok().filter(|actor| *actor < self.actors.len());
        let actor = actor.ok_or_else(|| self.fault(OpFault::ActorIndex(index)))?;
        let own = actor == 0 && counter < self.start_op + self.ops.len() as u64;
        if counter >= self.start_op && !own {
            return Err(self.fault(OpFault::Future));
        }
        self.reaches[actor] = self.reaches[actor].max(counter);
        Ok(Id { counter, actor })
    }

    /// Returns the op of this change that an id refers to.
    fn here(&self, id: Id) -> Option<&Op<'a>> {
        let index = id.counter.checked_sub(self.start_op).filter(|_| id.actor == 0)?;
        self.ops.get(usize::try_from(index).ok()?)
    }

    /// Checks that key and insertion suit each other, the action and the object.
    fn check_place(&self, op: &Op<'a>) -> Result<(), ScreenError> {
        let in_map = matches!(op.key, Key::Text(_));
        let suits_object = match op.object {
            None => in_map,
            Some(object) => self.here(object).is_none_or(|made| match made.action {
                Action::MakeMap => in_map,
                Action::MakeList | Action::MakeText => !in_map,
                _ => false,
            }),
        };
        let suits_element = match op.key {
            Key::Element(element) => self.here(element).is_none_or(|made| made.insert && made.object == op.object),
            _ => true,
        };
        if !suits_object || !suits_element {
            return Err(self.fault(OpFault::Key));
        }
        let suits_insert = match op.action {
            // Both ends of a mark are elements of the list.
            Action::Mark => op.insert && !in_map,
            Action::Delete | Action::Increment => !op.insert && op.key != Key::Head,
            _ => {
                if op.insert {
                    !in_map
                } else {
                    op.key != Key::Head
                }
            }
        };
        if suits_insert { Ok(()) } else { Err(self.fault(OpFault::Insert)) }
    }

    fn check_value(&mut self, action: Action, value: Value) -> Result<(), ScreenError> {
        let name = self.mark_name.next()?;
        let expand = self.expand.next()?;
        let suits = match action {
            Action::Set => true,
            Action::Increment => value == Value::Int,
            // The beginning of a mark has a name and a value, its end neither.
            Action::Mark => name.is_some() || value == Value::Null,
            Action::MakeMap | Action::MakeList | Action::MakeText | Action::Delete => value == Value::Null,
        };
        if !suits {
            return Err(self.fault(OpFault::Value));
        }
        let marks = action == Action::Mark || (name.is_none() && !expand);
        if marks { Ok(()) } else { Err(self.fault(OpFault::Mark)) }
    }

    /// Reads the predecessors of an op: what it replaces, sorted by counter and then by actor.
    fn read_preds(&mut self, op: &Op<'a>) -> Result<u64, ScreenError> {
        let count = self.pred_count.value()?;
        self.preds = within(Part::Preds, self.preds.saturating_add(count), 0, MAX_PREDS)?;
        let needed = matches!(op.action, Action::Delete | Action::Increment);
        // Deletions are not stored as ops but at what they delete, so one without predecessors would get lost.
        if (needed && count == 0) || (op.insert && count > 0) {
            return Err(self.fault(OpFault::Preds));
        }
        let mut last = None;
        for _ in 0..count {
            let (actor, counter) = (self.pred_actor.value()?, self.pred_counter.next()?);
            let counter = counter.filter(|counter| *counter > 0).ok_or_else(|| self.fault(OpFault::Preds))?;
            let id = self.id(actor, counter)?;
            let order = (id.counter, self.actors[id.actor]);
            if last >= Some(order) || !self.suits_pred(op, id) {
                return Err(self.fault(OpFault::Preds));
            }
            last = Some(order);
        }
        Ok(count)
    }

    /// Whether a predecessor within this change is a value at the same place. Others are not looked at.
    fn suits_pred(&self, op: &Op<'a>, id: Id) -> bool {
        self.here(id).is_none_or(|pred| {
            let place = if pred.insert { Key::Element(id) } else { pred.key };
            pred.action.is_value() && pred.object == op.object && place == op.key
        })
    }

    fn finish(self) -> Result<Walked, ScreenError> {
        self.object_actor.finish()?;
        self.object_counter.finish()?;
        self.key_actor.finish()?;
        self.key_counter.finish()?;
        self.key_text.finish()?;
        self.insert.finish()?;
        self.action.finish()?;
        self.value_meta.finish()?;
        self.pred_count.finish()?;
        self.pred_actor.finish()?;
        self.pred_counter.finish()?;
        self.expand.finish()?;
        self.mark_name.finish()?;
        if !self.values.is_empty() {
            return Err(ScreenError::Coverage { column: Column::Value });
        }
        // The insert column is written whenever there are ops, the expand column only when a mark grows.
        if self.insert.is_present() == self.ops.is_empty() {
            return Err(ScreenError::Coverage { column: Column::Insert });
        }
        if self.expand.is_present() && !self.expand.is_any_set() {
            return Err(ScreenError::Runs { column: Column::Expand });
        }
        // The author is listed even when nothing refers to it.
        let reaches = self.reaches.get(1..).unwrap_or_default().to_vec();
        if let Some(index) = reaches.iter().position(|reach| *reach == 0) {
            return Err(ScreenError::UnusedActor { index: index + 1 });
        }
        let ops = u32::try_from(self.ops.len()).expect("at most MAX_OPS ops were walked");
        Ok(Walked { ops, adds: self.adds, reaches })
    }

    fn fault(&self, fault: OpFault) -> ScreenError {
        ScreenError::Op { index: u32::try_from(self.ops.len()).unwrap_or(u32::MAX), fault }
    }
}
