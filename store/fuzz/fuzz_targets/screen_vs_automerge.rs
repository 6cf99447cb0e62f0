//! What the screener accepts, Automerge decodes: a refusal, a panic or a hang of the decoder is a finding.
//!
//! The input is the data of a change; a correct header is put around it, since no fuzzer guesses a hash. Applying may
//! panic, for references into other changes, and is run for its time and memory only.

#![no_main]

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::sync::OnceLock;

use automerge::{Automerge, Change};
use ctxnode_model::Kind;
use ctxnode_model::rules::canonical::sha256_hex;
use ctxnode_store::genesis::{Genesis, base_document, genesis};
use ctxnode_store::screen::{Expected, check, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: {
        // The fuzzer's own hook ends the process at any panic, even at one that is caught. Uncaught ones still end it.
        set_hook(Box::new(|_| {}));
    },
    |data: &[u8]| run(&chunk(data))
);

fn run(bytes: &[u8]) {
    static BASE: OnceLock<Automerge> = OnceLock::new();
    let base = BASE.get_or_init(|| base_document(Kind::Note));
    let first: &Genesis = genesis(Kind::Note).expect("a note has containers");
    let Ok(facts) = parse(bytes) else { return };
    let expected = Expected {
        actor: &facts.actor,
        next_seq: 1,
        deps_max_op: &|dep| (*dep == first.hash).then_some(first.max_op),
        is_previous: &|_| false,
        past: &|actor| if *actor == first.actor { first.max_op } else { 0 },
    };
    if check(&facts, &expected).is_err() {
        return;
    }
    let change = Change::from_bytes(bytes.to_vec()).expect("an accepted change decodes");
    assert_eq!(change.hash().0, facts.hash);
    assert_eq!(change.max_op(), facts.max_op);
    let _ = catch_unwind(AssertUnwindSafe(|| base.clone().apply_changes([change])));
}

fn chunk(data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x85, 0x6f, 0x4a, 0x83, 0, 0, 0, 0, 1];
    let mut length = data.len();
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(data);
    let hex = sha256_hex(&bytes[8..]);
    for (at, byte) in bytes[4..8].iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("a hash in hex");
    }
    bytes
}
