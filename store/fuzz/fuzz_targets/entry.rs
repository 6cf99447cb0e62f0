//! The decoder of entries takes any bytes without a panic, and what it reads is written back with the same length.

#![no_main]

use ctxnode_store::entry::{VerifiedEntry, decode};
use ctxnode_store::{NodeSecret, SeededEntropy};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok((mut header, ops)) = decode(bytes) else { return };
    let secret = NodeSecret::generate(&SeededEntropy::new(1));
    header.log.author = secret.public();
    let entry = VerifiedEntry::sign(header.clone(), ops.clone(), &secret).expect("what was read can be written");
    assert_eq!(entry.bytes().len(), bytes.len());
    assert_eq!(decode(entry.bytes()).expect("what was written can be read"), (header, ops));
});
