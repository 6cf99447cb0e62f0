//! The columns that a change's ops are spread over: which exist, in which order, and where their bytes are.

use std::fmt;

use super::error::Part;
use super::reader::Reader;
use super::{MAX_COLUMNS, ScreenError, within};

/// One column. The number is Automerge's specification: id in the upper bits, type in the lower three, bit 3 = deflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Column {
    /// Actor index of the object.
    ObjectActor = 1,
    /// Counter of the object.
    ObjectCounter = 2,
    /// Actor index of the list element that the op is about.
    KeyActor = 17,
    /// Counter of that element.
    KeyCounter = 19,
    /// The map key that the op is about.
    KeyText = 21,
    /// Whether the op makes a new list element.
    Insert = 52,
    /// What the op does.
    Action = 66,
    /// Type and length of the value.
    ValueMeta = 86,
    /// The values' bytes.
    Value = 87,
    /// How many predecessors the op has.
    PredCount = 112,
    /// Actor indices of the predecessors.
    PredActor = 113,
    /// Counters of the predecessors.
    PredCounter = 115,
    /// Whether a mark grows with text inserted at its edge.
    Expand = 148,
    /// The name of a mark.
    MarkName = 165,
}

impl Column {
    const ALL: [Self; 14] = [
        Self::ObjectActor,
        Self::ObjectCounter,
        Self::KeyActor,
        Self::KeyCounter,
        Self::KeyText,
        Self::Insert,
        Self::Action,
        Self::ValueMeta,
        Self::Value,
        Self::PredCount,
        Self::PredActor,
        Self::PredCounter,
        Self::Expand,
        Self::MarkName,
    ];

    fn of_spec(spec: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|column| *column as u64 == spec)
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// The bytes of each column; an absent one is empty.
pub(super) struct Columns<'a>(Vec<(Column, Reader<'a>)>);

impl<'a> Columns<'a> {
    /// Reads the column table and then cuts the bytes behind it into columns.
    pub(super) fn parse(input: &mut Reader<'a>) -> Result<Self, ScreenError> {
        let count = within(Part::Columns, input.unsigned()?, 0, MAX_COLUMNS)?;
        let mut table = Vec::new();
        let mut last = None;
        for _ in 0..count {
            let spec = input.unsigned()?;
            let length = input.unsigned()?;
            let known = Column::of_spec(spec).filter(|column| last < Some(*column) && length > 0);
            let column = known.ok_or(ScreenError::ColumnSpec { spec })?;
            last = Some(column);
            table.push((column, length));
        }
        let cut = table.into_iter().map(|(column, length)| {
            let at = input.at();
            Ok((column, Reader::new(input.take(length)?, at)))
        });
        Ok(Self(cut.collect::<Result<_, ScreenError>>()?))
    }

    /// Returns a column's bytes, empty when it is absent.
    pub(super) fn get(&self, column: Column) -> Reader<'a> {
        self.0.iter().find(|(known, _)| *known == column).map_or(Reader::new(&[], 0), |(_, bytes)| *bytes)
    }
}
