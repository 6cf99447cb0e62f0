//! The first change of every document of a kind: it creates the containers, and it is equal on all nodes.
//!
//! Two nodes that create the same record while apart must write into the same map or list, or their edits would be
//! rivals instead of merging. The bytes are constants: a later Automerge might encode the same ops differently, and two
//! different changes with one actor and seq split a fleet for good. A genesis change never travels and has no author.

use std::sync::OnceLock;

use automerge::{ActorId, Automerge, Change};
use ctxnode_model::Kind;
use ctxnode_model::schema::{self, Shape};

/// The number of the schema that the genesis changes stand for. A second schema is a second change, not another first.
pub const GENESIS_SCHEMA: u8 = 1;

/// The genesis change of one kind.
#[derive(Debug)]
pub struct Genesis {
    /// The raw change.
    pub bytes: &'static [u8],
    /// Its hash, the only head of an untouched document.
    pub hash: [u8; 32],
    /// Its actor, which nobody else may use.
    pub actor: [u8; 16],
    /// The counter of its last op.
    pub max_op: u64,
}

/// Returns the genesis change of a kind, or `None` when the kind has no containers.
#[must_use]
pub fn genesis(kind: Kind) -> Option<&'static Genesis> {
    match kind {
        Kind::Session => Some(&SESSION),
        Kind::Handoff => Some(&HANDOFF),
        Kind::Note => Some(&NOTE),
        Kind::Doc => Some(&DOC),
        Kind::GeneratedDoc => Some(&GENERATED_DOC),
        Kind::Machine => Some(&MACHINE),
        Kind::Venture => Some(&VENTURE),
        Kind::Plan => Some(&PLAN),
        Kind::Requirement | Kind::Claim | Kind::Escalation | Kind::Event => None,
    }
}

/// Whether the genesis change of a kind made a map (true) or a list (false) in its op with that counter; `None` when there
/// is no such op. Its ops make the containers of the schema in their order, from counter 1 on.
#[must_use]
pub fn makes_map(kind: Kind, counter: u64) -> Option<bool> {
    genesis(kind)?;
    let at = usize::try_from(counter.checked_sub(1)?).ok()?;
    let container = schema::fields(kind).iter().filter(|field| field.shape.is_container()).nth(at)?;
    Some(container.shape != Shape::BodyText)
}

/// Returns the counter of the genesis op that makes the container of a field.
#[must_use]
pub fn container_counter(kind: Kind, field: &str) -> Option<u64> {
    genesis(kind)?;
    let at =
        schema::fields(kind).iter().filter(|field| field.shape.is_container()).position(|known| known.name == field)?;
    Some(at as u64 + 1)
}

/// Whether an actor belongs to a genesis change. A foreign change of such an actor is refused.
#[must_use]
pub fn is_reserved(actor: &[u8]) -> bool {
    Kind::ALL.into_iter().filter_map(genesis).any(|genesis| genesis.actor == actor)
}

/// Returns a new document of a kind, with a random actor and the genesis change applied.
///
/// Each kind's document is built once and then cloned: 3 us for a note, where building it takes 12 us.
#[must_use]
pub fn base_document(kind: Kind) -> Automerge {
    static BUILT: [OnceLock<Automerge>; Kind::ALL.len()] = [const { OnceLock::new() }; Kind::ALL.len()];
    let slot = Kind::ALL.iter().position(|known| *known == kind).expect("every kind is listed");
    let built = BUILT[slot].get_or_init(|| build(kind));
    // A clone keeps its actor, and two documents that write as one actor can never merge.
    built.clone().with_actor(ActorId::random())
}

fn build(kind: Kind) -> Automerge {
    let mut doc = Automerge::new();
    if let Some(genesis) = genesis(kind) {
        let change = Change::try_from(genesis.bytes).expect("the golden test reads these bytes");
        doc.apply_changes([change]).expect("the golden test applies this change");
    }
    doc
}

/// Reads hex at compile time.
const fn unhex<const N: usize>(text: &str) -> [u8; N] {
    let digits = text.as_bytes();
    assert!(digits.len() == 2 * N, "two digits for each byte");
    let mut bytes = [0; N];
    let mut at = 0;
    while at < N {
        bytes[at] = nibble(digits[2 * at]) << 4 | nibble(digits[2 * at + 1]);
        at += 1;
    }
    bytes
}

const fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => panic!("a lower-case hex digit"),
    }
}

static SESSION: Genesis = Genesis {
    bytes: &unhex::<57>(
        "856f4a831ffac87d012f0010d771a607cd7f5efd6d2027ed9560df30010100000005150634014202560270027f046d65\
         7461017f007f007f00",
    ),
    hash: unhex("1ffac87dce7e73d41c4564ecdf6975b60b9244c01963ec829f68437eaa48521d"),
    actor: unhex("d771a607cd7f5efd6d2027ed9560df30"),
    max_op: 1,
};

static HANDOFF: Genesis = Genesis {
    bytes: &unhex::<59>(
        "856f4a833c83457301310010ca230c30c9ba49a7206fe3f629f09d91010100000005150834014202560270027f06636c\
         6f736564017f007f007f00",
    ),
    hash: unhex("3c83457305860ca5b676c4b6fca4dc230cda16e16192539a0c8f63daf907f59e"),
    actor: unhex("ca230c30c9ba49a7206fe3f629f09d91"),
    max_op: 1,
};

static NOTE: Genesis = Genesis {
    bytes: &unhex::<72>(
        "856f4a83f56b7ac3013e00104a66143fe80131949eb6718eab277d27010100000005151334014204560270027d07636f\
         6e74656e740474616773046d657461037f02020003000300",
    ),
    hash: unhex("f56b7ac3799f1355264f7c3a53485e143507dee98500bccdd8a27d2186f62933"),
    actor: unhex("4a66143fe80131949eb6718eab277d27"),
    max_op: 3,
};

static DOC: Genesis = Genesis {
    bytes: &unhex::<71>(
        "856f4a83ad443173013d001040674e437f289b43dd971dcfbb10aca1010100000005151434014202560270027e097265\
         766973696f6e7308636f6e74656e747302020002000200",
    ),
    hash: unhex("ad443173a54b3d08da284e54394393d976e0bd33107b05d4bed5f47366db4387"),
    actor: unhex("40674e437f289b43dd971dcfbb10aca1"),
    max_op: 2,
};

static GENERATED_DOC: Genesis = Genesis {
    bytes: &unhex::<71>(
        "856f4a8362b78cfc013d001013c508094349394ab2eb37deb65468f3010100000005151434014202560270027e097265\
         766973696f6e7308636f6e74656e747302020002000200",
    ),
    hash: unhex("62b78cfcbfe7ec5a9bfb8de75938ee9fde36b14f94f2ac93fe3f34a1451f959c"),
    actor: unhex("13c508094349394ab2eb37deb65468f3"),
    max_op: 2,
};

static MACHINE: Genesis = Genesis {
    bytes: &unhex::<57>(
        "856f4a832fadbd2c012f001035bf29738e6c67afcd75612d7045ac3e010100000005150634014202560270027f046d65\
         7461017f007f007f00",
    ),
    hash: unhex("2fadbd2c58c8a77cf8da3d05062c67257681825acf5f725362c1deb590664aab"),
    actor: unhex("35bf29738e6c67afcd75612d7045ac3e"),
    max_op: 1,
};

static VENTURE: Genesis = Genesis {
    bytes: &unhex::<76>(
        "856f4a834461cc9d0142001044c0a7b7eee56e45d0b1e75b2f35f30c010100000005151934014202560270027d057265\
         706f730c6361706162696c6974696573046d65746103030003000300",
    ),
    hash: unhex("4461cc9d9622f1deec82dc91e931db4fc731db675412e0eba1aa3219d27606d6"),
    actor: unhex("44c0a7b7eee56e45d0b1e75b2f35f30c"),
    max_op: 3,
};

static PLAN: Genesis = Genesis {
    bytes: &unhex::<59>(
        "856f4a83fec2dcf60131001004d8c3b228dd1653430698036ba785db010100000005150834014202560270027f067374\
         61746573017f007f007f00",
    ),
    hash: unhex("fec2dcf6525729f972776fee32f34b4594b388192661d62137d9776cf7c35fd6"),
    actor: unhex("04d8c3b228dd1653430698036ba785db"),
    max_op: 1,
};

#[cfg(test)]
mod tests {
    use automerge::transaction::{CommitOptions, Transactable as _};
    use automerge::{AutomergeError, ObjId, ObjType, ROOT, ReadDoc as _, Value};
    use ctxnode_model::schema::Field;

    use super::*;

    fn containers(kind: Kind) -> Vec<&'static Field> {
        schema::fields(kind).iter().filter(|field| field.shape.is_container()).collect()
    }

    fn actor(kind: Kind) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"ctxnode/genesis/v1").update(&[kind as u8, GENESIS_SCHEMA]);
        hasher.finalize().as_bytes()[..16].try_into().unwrap()
    }

    fn built_by_automerge(kind: Kind) -> Change {
        let mut doc = Automerge::new().with_actor(ActorId::from(&actor(kind)[..]));
        let done = doc.transact_with::<_, _, AutomergeError, _>(
            |()| CommitOptions::default().with_time(0),
            |tx| {
                for field in containers(kind) {
                    let list = field.shape == Shape::BodyText;
                    tx.put_object(ROOT, field.name, if list { ObjType::List } else { ObjType::Map })?;
                }
                Ok(())
            },
        );
        doc.get_change_by_hash(&done.unwrap().hash.unwrap()).unwrap()
    }

    #[test]
    fn constants_equal_what_automerge_writes() {
        for kind in Kind::ALL {
            let Some(genesis) = genesis(kind) else {
                assert!(containers(kind).is_empty(), "{kind:?} has containers and no genesis");
                continue;
            };
            let change = built_by_automerge(kind);
            assert_eq!(genesis.bytes, change.raw_bytes(), "{kind:?}");
            assert_eq!(genesis.hash, change.hash().0, "{kind:?}");
            assert_eq!(genesis.actor, actor(kind), "{kind:?}");
            assert_eq!(genesis.max_op, change.max_op(), "{kind:?}");
            assert_eq!((change.seq(), change.timestamp(), change.message()), (1, 0, None), "{kind:?}");
        }
    }

    #[test]
    fn actors_are_reserved_and_distinct() {
        let actors: std::collections::BTreeSet<_> =
            Kind::ALL.into_iter().filter_map(genesis).map(|g| g.actor).collect();
        assert_eq!(actors.len(), Kind::ALL.into_iter().filter_map(genesis).count());
        assert!(actors.iter().all(|actor| is_reserved(actor)));
        assert!(!is_reserved(&[0; 16]) && !is_reserved(&[]));
    }

    #[test]
    fn base_documents_have_the_genesis_as_their_only_head_and_own_actors() {
        for kind in Kind::ALL {
            let (one, two) = (base_document(kind), base_document(kind));
            let heads: Vec<_> = one.get_heads().iter().map(|head| head.0).collect();
            assert_eq!(heads, genesis(kind).map(|genesis| genesis.hash).into_iter().collect::<Vec<_>>());
            assert_ne!(one.get_actor(), two.get_actor());
        }
    }

    #[test]
    fn the_ops_of_a_genesis_make_maps_and_lists_as_is_told() {
        for kind in Kind::ALL {
            let doc = base_document(kind);
            let made: Vec<_> = doc.keys(ROOT).filter_map(|key| doc.get(ROOT, key).unwrap()).collect();
            for (value, id) in &made {
                let (Value::Object(kind_of), ObjId::Id(counter, ..)) = (value, id) else { panic!("no container") };
                assert_eq!(makes_map(kind, *counter), Some(*kind_of == ObjType::Map));
            }
            assert_eq!(genesis(kind).map_or(0, |genesis| genesis.max_op), made.len() as u64);
            assert_eq!((makes_map(kind, 0), makes_map(kind, made.len() as u64 + 1)), (None, None));
        }
    }

    #[test]
    fn edits_of_separate_base_documents_merge_in_one_container() {
        let object = |doc: &Automerge, name: &str| -> ObjId {
            let found = doc.get_all(ROOT, name).unwrap();
            assert!(matches!(found.as_slice(), [(Value::Object(_), _)]), "rival objects at {name}");
            found[0].1.clone()
        };
        let (mut one, mut two) = (base_document(Kind::Note), base_document(Kind::Note));
        for (doc, word) in [(&mut one, "a"), (&mut two, "b")] {
            let (tags, content) = (object(doc, "tags"), object(doc, "content"));
            doc.transact::<_, _, AutomergeError>(|tx| {
                tx.put(&tags, word, true)?;
                tx.insert(&content, 0, word)
            })
            .unwrap();
        }
        one.merge(&mut two).unwrap();
        assert_eq!(one.keys(object(&one, "tags")).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(one.length(object(&one, "content")), 2);
    }
}
