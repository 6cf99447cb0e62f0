//! The run-length encodings of columns, read in lockstep with the ops and accepted in canonical form only.
//!
//! Automerge does not keep the bytes of a change: it encodes them again from its op set whenever it saves or sends. Two
//! encodings of equal values would therefore change the hash of an applied change, and the saved document could never be
//! loaded again. So anything but the one encoding that Automerge writes is refused.

use super::columns::{Column, Columns};
use super::reader::Reader;
use super::{MAX_OPS, ScreenError};

/// A value that runs are made of.
pub(super) trait RunValue<'a>: Copy + PartialEq {
    fn read(input: &mut Reader<'a>) -> Result<Self, ScreenError>;
}

impl RunValue<'_> for u64 {
    fn read(input: &mut Reader<'_>) -> Result<Self, ScreenError> {
        input.unsigned()
    }
}

impl RunValue<'_> for i64 {
    fn read(input: &mut Reader<'_>) -> Result<Self, ScreenError> {
        input.signed()
    }
}

impl<'a> RunValue<'a> for &'a str {
    fn read(input: &mut Reader<'a>) -> Result<Self, ScreenError> {
        input.text()
    }
}

/// What is being repeated at the moment.
#[derive(Clone, Copy)]
enum Run<T> {
    Start,
    Nulls,
    Literal(Option<T>),
    Repeat(T),
}

/// A run-length encoded column with possible nulls. An absent column is all null.
pub(super) struct Runs<'a, T> {
    column: Column,
    input: Reader<'a>,
    present: bool,
    values_seen: bool,
    run: Run<T>,
    left: u64,
}

impl<'a, T: RunValue<'a>> Runs<'a, T> {
    pub(super) fn new(columns: &Columns<'a>, column: Column) -> Self {
        let input = columns.get(column);
        Self { column, input, present: !input.is_empty(), values_seen: false, run: Run::Start, left: 0 }
    }

    /// Whether nothing is left; true from the start for an absent column.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0 && self.input.is_empty()
    }

    /// Reads the next value, which a present column must have.
    pub(super) fn next(&mut self) -> Result<Option<T>, ScreenError> {
        if !self.present {
            return Ok(None);
        }
        if self.left == 0 {
            if self.input.is_empty() {
                return Err(ScreenError::Coverage { column: self.column });
            }
            self.begin_run()?;
        }
        self.left -= 1;
        match self.run {
            Run::Repeat(value) => Ok(Some(value)),
            Run::Literal(previous) => {
                let value = T::read(&mut self.input)?;
                if previous == Some(value) {
                    return Err(self.not_canonical());
                }
                self.run = Run::Literal(Some(value));
                Ok(Some(value))
            }
            Run::Nulls | Run::Start => Ok(None),
        }
    }

    /// Reads the next value of a column without nulls.
    pub(super) fn value(&mut self) -> Result<T, ScreenError> {
        self.next()?.ok_or(ScreenError::Coverage { column: self.column })
    }

    /// Checks that the column ends with the last op, and that it was worth writing.
    pub(super) fn finish(&self) -> Result<(), ScreenError> {
        if !self.is_done() {
            Err(ScreenError::Coverage { column: self.column })
        } else if self.present && !self.values_seen {
            Err(self.not_canonical())
        } else {
            Ok(())
        }
    }

    /// Reads a run's head. Equal neighbours are always one run, and nulls are never split.
    fn begin_run(&mut self) -> Result<(), ScreenError> {
        let last = match self.run {
            Run::Repeat(value) | Run::Literal(Some(value)) => Some(value),
            _ => None,
        };
        let head = self.input.signed()?;
        self.left = if head == 0 { self.input.unsigned()? } else { head.unsigned_abs() };
        let run = match head {
            0 if matches!(self.run, Run::Nulls) => None,
            0 => Some(Run::Nulls),
            ..0 if matches!(self.run, Run::Literal(_)) => None,
            ..0 => Some(Run::Literal(last)),
            1 => None,
            2.. => Some(T::read(&mut self.input)?).filter(|value| last != Some(*value)).map(Run::Repeat),
        };
        // The upper bound keeps a hostile run from being walked at all, here and later by Automerge.
        let run = run.filter(|_| (1..=MAX_OPS).contains(&self.left)).ok_or_else(|| self.not_canonical())?;
        self.values_seen |= !matches!(run, Run::Nulls);
        self.run = run;
        Ok(())
    }

    fn not_canonical(&self) -> ScreenError {
        ScreenError::Runs { column: self.column }
    }
}

/// A column of counters, each stored as the difference to the one before.
pub(super) struct Deltas<'a> {
    runs: Runs<'a, i64>,
    absolute: i64,
}

impl<'a> Deltas<'a> {
    pub(super) fn new(columns: &Columns<'a>, column: Column) -> Self {
        Self { runs: Runs::new(columns, column), absolute: 0 }
    }

    /// Reads the next counter.
    pub(super) fn next(&mut self) -> Result<Option<u64>, ScreenError> {
        let Some(delta) = self.runs.next()? else { return Ok(None) };
        let sum = self.absolute.checked_add(delta).ok_or_else(|| self.runs.not_canonical())?;
        self.absolute = sum;
        u64::try_from(sum).map(Some).map_err(|_| self.runs.not_canonical())
    }

    pub(super) fn finish(&self) -> Result<(), ScreenError> {
        self.runs.finish()
    }
}

/// A column of truth values: lengths of runs, in turns false and true, beginning with false.
pub(super) struct Flags<'a> {
    column: Column,
    input: Reader<'a>,
    present: bool,
    value: bool,
    runs: u64,
    left: u64,
}

impl<'a> Flags<'a> {
    pub(super) fn new(columns: &Columns<'a>, column: Column) -> Self {
        let input = columns.get(column);
        Self { column, input, present: !input.is_empty(), value: true, runs: 0, left: 0 }
    }

    /// Reads the next flag; an absent column is all false.
    pub(super) fn next(&mut self) -> Result<bool, ScreenError> {
        if !self.present {
            return Ok(false);
        }
        while self.left == 0 {
            if self.input.is_empty() {
                return Err(ScreenError::Coverage { column: self.column });
            }
            self.left = self.input.unsigned()?;
            self.value = !self.value;
            // Only the first run may be empty: it says that the column begins with true.
            let least = u64::from(self.runs > 0);
            if !(least..=MAX_OPS).contains(&self.left) {
                return Err(ScreenError::Runs { column: self.column });
            }
            self.runs += 1;
        }
        self.left -= 1;
        Ok(self.value)
    }

    pub(super) fn is_present(&self) -> bool {
        self.present
    }

    /// Whether a true flag was read; the first run is the one of false flags.
    pub(super) fn is_any_set(&self) -> bool {
        self.runs > 1
    }

    pub(super) fn finish(&self) -> Result<(), ScreenError> {
        let done = self.left == 0 && self.input.is_empty();
        if done { Ok(()) } else { Err(ScreenError::Coverage { column: self.column }) }
    }
}
