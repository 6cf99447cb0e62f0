//! A cursor over untrusted bytes that refuses numbers in any but their shortest form. Nothing here knows about changes.

use super::ScreenError;

/// Bytes still to be read, and where they stand in the change.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { rest: bytes, at }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn take(&mut self, count: u64) -> Result<&'a [u8], ScreenError> {
        let taken = usize::try_from(count).ok().and_then(|count| self.rest.split_at_checked(count));
        let (taken, rest) = taken.ok_or(ScreenError::Truncated { at: self.at })?;
        self.rest = rest;
        self.at += taken.len();
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ScreenError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(ScreenError::Truncated { at: self.at })?;
        self.rest = rest;
        self.at += N;
        Ok(*taken)
    }

    /// Reads an unsigned LEB128 number.
    pub(super) fn unsigned(&mut self) -> Result<u64, ScreenError> {
        let bad = ScreenError::Number { at: self.at };
        let mut value = 0u64;
        for shift in (0..).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte holds the one bit that is left of 64.
            if shift > 63 || (shift == 63 && bits > 1) {
                return Err(bad);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                // A last byte of zero adds nothing: the number has a shorter form.
                return if byte == 0 && shift > 0 { Err(bad) } else { Ok(value) };
            }
        }
        Err(bad)
    }

    /// Reads a signed LEB128 number.
    pub(super) fn signed(&mut self) -> Result<i64, ScreenError> {
        let bad = ScreenError::Number { at: self.at };
        let mut value = 0i64;
        let mut previous = 0u8;
        for shift in (0..).step_by(7) {
            let [byte] = self.array()?;
            let bits = byte & 0x7f;
            // The tenth byte may only repeat the sign.
            if shift > 63 || (shift == 63 && bits != 0 && bits != 0x7f) {
                return Err(bad);
            }
            value |= i64::from(bits) << shift;
            if byte & 0x80 == 0 {
                let negative = byte & 0x40 != 0;
                let redundant = (byte == 0 && previous & 0x40 == 0) || (byte == 0x7f && previous & 0x40 != 0);
                if shift > 0 && redundant {
                    return Err(bad);
                }
                return Ok(if negative && shift + 7 < 64 { value | (-1 << (shift + 7)) } else { value });
            }
            previous = byte;
        }
        Err(bad)
    }

    /// Reads a text behind its length.
    pub(super) fn text(&mut self) -> Result<&'a str, ScreenError> {
        let at = self.at;
        let length = self.unsigned()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| ScreenError::Text { at })
    }
}
