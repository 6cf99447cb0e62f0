//! Scalar values: their type and length stand in one column, their bytes in another. Not what an op may do with them.

use ctxnode_model::Scalar;

use super::ScreenError;
use super::reader::Reader;

/// What kind of value an op carries, as far as the rules ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing.
    Null,
    /// A signed integer.
    Int,
    /// Anything else that Automerge writes.
    Other,
}

/// Reads the value that `meta` announces and checks its bytes. `None` when they are not such a value.
pub(super) fn read(meta: u64, values: &mut Reader<'_>) -> Result<Option<Value>, ScreenError> {
    let length = meta >> 4;
    let at = values.at();
    let mut bytes = Reader::new(values.take(length)?, at);
    let value = match meta & 0xf {
        0 => Value::Null,
        1 | 2 => Value::Other,
        3 => bytes.unsigned().map(|_| Value::Other)?,
        4 => bytes.signed().map(|_| Value::Int)?,
        5 => bytes.array::<8>().map(|_| Value::Other)?,
        6 => {
            let text = bytes.take(length)?;
            std::str::from_utf8(text).map_err(|_| ScreenError::Text { at })?;
            Value::Other
        }
        7 => bytes.take(length).map(|_| Value::Other)?,
        // A counter and a timestamp.
        8 | 9 => bytes.signed().map(|_| Value::Other)?,
        // Types that a future Automerge may know. Nobody in a fleet writes them, and what they would do is not known.
        _ => return Ok(None),
    };
    Ok(bytes.is_empty().then_some(value))
}

/// Returns the value that `meta` announces when it is of a type that records hold. It has been read before.
pub(super) fn plain(meta: u64, mut values: Reader<'_>) -> Option<Scalar> {
    let length = meta >> 4;
    match meta & 0xf {
        1 => Some(Scalar::Bool(false)),
        2 => Some(Scalar::Bool(true)),
        4 => values.signed().ok().map(Scalar::Int),
        6 => Some(Scalar::from(std::str::from_utf8(values.take(length).ok()?).ok()?)),
        _ => None,
    }
}
