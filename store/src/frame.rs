//! The frame around every stored value: a hash, then the payload.
//!
//! redb does not verify pages on read, and in measurements 298 of 300 random bit flips in a file went unnoticed. Eight
//! bytes of hash per value turn silent rot into [`StoreError::Corrupt`].

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::StoreError;
use crate::tables::Table;

/// Bytes of hash in front of a payload. Eight leave a one in 2^64 chance that rot goes unnoticed: rot is not an attacker.
const HASH_LEN: usize = 8;

/// Wraps a payload. The key is part of the hash, so that a value at another's place is noticed too.
pub(crate) fn wrap(table: Table, key: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(HASH_LEN + payload.len());
    framed.extend_from_slice(&digest(table, key, payload));
    framed.extend_from_slice(payload);
    framed
}

/// Returns the payload of a framed value.
pub(crate) fn unwrap(table: Table, key: &[u8], framed: &[u8]) -> Result<Vec<u8>, StoreError> {
    checked(table, key, framed, |payload| digest(table, key, payload))
}

/// The same for a file of format 1.
pub(crate) fn unwrap_format_1(table: Table, key: &[u8], framed: &[u8]) -> Result<Vec<u8>, StoreError> {
    checked(table, key, framed, |payload| blake3_digest(key, payload))
}

fn checked(
    table: Table,
    key: &[u8],
    framed: &[u8],
    digest: impl FnOnce(&[u8]) -> [u8; HASH_LEN],
) -> Result<Vec<u8>, StoreError> {
    match framed.split_at_checked(HASH_LEN) {
        Some((hash, payload)) if hash == digest(payload) => Ok(payload.to_vec()),
        _ => Err(StoreError::Corrupt { table: table.name(), key: key.to_vec() }),
    }
}

fn digest(table: Table, key: &[u8], payload: &[u8]) -> [u8; HASH_LEN] {
    match table {
        // The same in every format: any version can read what format a file has.
        Table::Meta => blake3_digest(key, payload),
        // XXH3 takes a tenth of the time of BLAKE3, which was a seventh of a write.
        _ => xxh3_64_with_seed(payload, xxh3_64(key)).to_be_bytes(),
    }
}

fn blake3_digest(key: &[u8], payload: &[u8]) -> [u8; HASH_LEN] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.len() as u64).to_le_bytes()).update(key).update(payload);
    let mut out = [0; HASH_LEN];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..HASH_LEN]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_is_corruption() {
        for table in [Table::Meta, Table::Records] {
            let mut framed = wrap(table, b"k", b"payload");
            assert_eq!(unwrap(table, b"k", &framed).unwrap(), b"payload");
            assert!(unwrap(table, b"other", &framed).is_err());
            framed[9] ^= 1;
            assert!(unwrap(table, b"k", &framed).is_err());
            assert!(unwrap(table, b"k", b"short").is_err());
        }
    }
}
