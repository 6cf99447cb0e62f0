//! How a fleet makes the ids of its records, so that an id says which space its record lies in.
//!
//! Rights are given by space, so a record must not be written in another space than its own: whoever may write in one
//! venture could otherwise change the records of another one, for those who read both, and for them alone. The last bytes of
//! an id are therefore a tag: a hash of the space and of the bytes before. Whether an op is where it belongs follows from its
//! id and the space of its log, whatever came first.

use serde_json::{Map, Value};

use crate::id::FleetId;
use crate::{DocumentId, Kind, Space, SpaceId, Timestamp};

/// How many bytes of an id are the tag. A member may name its logs after any space, so it must take longer than anybody
/// tries to find a space whose tag fits a given record. 10 bytes are left: for a ULID the time and 32 bits of randomness.
const TAG: usize = 6;
const STEM: usize = 16 - TAG;

/// The scope of docs that belong to no venture.
const GLOBAL: &str = "global";

/// Makes the ids of one fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    fleet: FleetId,
    version: u32,
}

impl Ids {
    /// The version of ids that new fleets have; it stands in their genesis.
    pub const NEWEST: u32 = 2;
    /// Ids without a tag, as in fleets whose genesis names none.
    pub const UNTAGGED: u32 = 1;

    /// The ids of a fleet with a version of ids.
    #[must_use]
    pub fn new(fleet: FleetId, version: u32) -> Self {
        Self { fleet, version }
    }

    /// Returns the version.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Makes a time-ordered id from a time and randomness, for a record that will lie in a space. Of the randomness 32 bits
    /// count: whoever makes many at a time looks whether there is such a record already.
    #[must_use]
    pub fn fresh(&self, kind: Kind, space: &Space, now: Timestamp, random: u128) -> DocumentId {
        self.tagged(DocumentId::from_time(kind, now, random), space)
    }

    /// The id of the one plan record.
    #[must_use]
    pub fn plan(&self) -> DocumentId {
        self.tagged(DocumentId::natural(Kind::Plan, &["weekly"]), &Space::Fleet)
    }

    /// The id of a venture.
    #[must_use]
    pub fn venture(&self, code: &str) -> DocumentId {
        self.tagged(DocumentId::natural(Kind::Venture, &[code]), &Space::Venture(code.to_owned()))
    }

    /// The id of an uploaded doc. `scope` is `global` or a venture code.
    #[must_use]
    pub fn doc(&self, scope: &str, name: &str) -> DocumentId {
        self.tagged(DocumentId::natural(Kind::Doc, &[scope, name]), &space_of(scope))
    }

    /// The id of a generated doc. `scope` is `global` or a venture code.
    #[must_use]
    pub fn generated_doc(&self, scope: &str, name: &str) -> DocumentId {
        self.tagged(DocumentId::natural(Kind::GeneratedDoc, &[scope, name]), &space_of(scope))
    }

    /// The id of a doc requirement; it has a venture when the scope type is `venture`.
    #[must_use]
    pub fn requirement(&self, pattern: &str, scope_type: &str, scope_venture: Option<&str>) -> DocumentId {
        let parts = [pattern, scope_type, scope_venture.unwrap_or("-")];
        self.tagged(DocumentId::natural(Kind::Requirement, &parts), &Space::of(scope_venture))
    }

    /// Returns the id of a space of the fleet.
    #[must_use]
    pub fn space(&self, space: &Space) -> SpaceId {
        space.id(&self.fleet)
    }

    /// Whether a record may be written in a space: every one may in a fleet whose ids have no tags.
    #[must_use]
    pub fn may_lie_in(&self, id: DocumentId, space: SpaceId) -> bool {
        self.version == Self::UNTAGGED || id.raw[STEM..] == tag(id, space)
    }

    /// Returns the field by which a record says that it belongs to another space than the one in which it lies. It would
    /// count there for those who read both. A note may be moved to another venture and stays where it is.
    #[must_use]
    pub fn misplaced(&self, kind: Kind, view: &Map<String, Value>, space: SpaceId) -> Option<&'static str> {
        let field = match kind {
            Kind::Session | Kind::Handoff | Kind::Claim | Kind::Escalation | Kind::Event => "venture",
            Kind::Doc | Kind::GeneratedDoc => "scope",
            Kind::Requirement => "scope_venture",
            Kind::Venture => "code",
            Kind::Note | Kind::Machine | Kind::Plan => return None,
        };
        let named = view.get(field).and_then(Value::as_str).filter(|text| !text.is_empty())?;
        (self.version > Self::UNTAGGED && self.space(&space_of(named)) != space).then_some(field)
    }

    fn tagged(&self, mut id: DocumentId, space: &Space) -> DocumentId {
        if self.version > Self::UNTAGGED {
            let tag = tag(id, self.space(space));
            id.raw[STEM..].copy_from_slice(&tag);
        }
        id
    }
}

/// What the ids of a record with a natural key have in common in every fleet: all but the tag. For those who know the key
/// and not the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stem(Kind, [u8; STEM]);

impl Stem {
    /// The stem of an id.
    #[must_use]
    pub fn of(id: DocumentId) -> Self {
        let mut stem = [0; STEM];
        stem.copy_from_slice(&id.raw[..STEM]);
        Self(id.kind, stem)
    }

    /// The stems of an uploaded and of a generated doc.
    #[must_use]
    pub fn of_docs(scope: &str, name: &str) -> [Self; 2] {
        [Kind::Doc, Kind::GeneratedDoc].map(|kind| Self::of(DocumentId::natural(kind, &[scope, name])))
    }
}

/// The space in which the docs of a scope lie.
fn space_of(scope: &str) -> Space {
    Space::of(Some(scope).filter(|scope| *scope != GLOBAL))
}

fn tag(id: DocumentId, space: SpaceId) -> [u8; TAG] {
    let mut hasher = blake3::Hasher::new_derive_key("ctxnode 2026-11 space tag of an id v1");
    hasher.update(&space.0).update(&[id.kind as u8]).update(&id.raw[..STEM]);
    let mut tag = [0; TAG];
    tag.copy_from_slice(&hasher.finalize().as_bytes()[..TAG]);
    tag
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FLEET: FleetId = FleetId([7; 16]);

    fn spaces() -> impl Strategy<Value = Space> {
        prop_oneof![1 => Just(Space::Fleet), 3 => "[a-d]{1,2}".prop_map(Space::Venture)]
    }

    proptest! {
        #[test]
        fn a_record_may_lie_in_its_own_space_alone(
            kind in 0..Kind::ALL.len(), own in spaces(), other in spaces(), ms in 0_i64..1 << 47, random: u128,
        ) {
            let ids = Ids::new(FLEET, Ids::NEWEST);
            let id = ids.fresh(Kind::ALL[kind], &own, Timestamp(ms), random);
            prop_assert!(ids.may_lie_in(id, own.id(&FLEET)));
            prop_assert_eq!(ids.may_lie_in(id, other.id(&FLEET)), own == other);
            let elsewhere = Ids::new(FleetId([8; 16]), Ids::NEWEST);
            prop_assert!(!elsewhere.may_lie_in(id, own.id(&FleetId([8; 16]))));
        }

        #[test]
        fn ids_of_one_time_and_space_differ_by_their_randomness(one: u32, two: u32) {
            let ids = Ids::new(FLEET, Ids::NEWEST);
            // Of the 80 bits that a ULID takes the upper ones.
            let fresh = |random: u32| ids.fresh(Kind::Note, &Space::Fleet, Timestamp(1), u128::from(random) << 48);
            prop_assert_eq!(fresh(one) == fresh(two), one == two);
        }
    }

    #[test]
    fn natural_keys_name_their_space() {
        let ids = Ids::new(FLEET, Ids::NEWEST);
        let in_fleet = [ids.plan(), ids.doc("global", "x.md"), ids.generated_doc("global", "x.md")];
        let in_alpha = [
            ids.venture("alpha"),
            ids.doc("alpha", "x.md"),
            ids.generated_doc("alpha", "x.md"),
            ids.requirement("x.md", "venture", Some("alpha")),
        ];
        let alpha = Space::Venture("alpha".to_owned());
        for (all, space) in [(&in_fleet[..], Space::Fleet), (&in_alpha[..], alpha)] {
            assert!(all.iter().all(|id| ids.may_lie_in(*id, space.id(&FLEET))), "{space}");
        }
        assert!(ids.may_lie_in(ids.requirement("x.md", "global", None), Space::Fleet.id(&FLEET)));
        assert_ne!(ids.doc("alpha", "x.md"), ids.generated_doc("alpha", "x.md"));
    }

    #[test]
    fn a_record_says_which_space_is_its_own() {
        let (new, old) = (Ids::new(FLEET, Ids::NEWEST), Ids::new(FLEET, Ids::UNTAGGED));
        let [alpha, fleet] = [Some("alpha"), None].map(|venture| Space::of(venture).id(&FLEET));
        let view = |field: &str, text: &str| Map::from_iter([(field.to_owned(), Value::from(text))]);
        let cases = [
            (Kind::Handoff, view("venture", "alpha"), alpha),
            (Kind::Doc, view("scope", "global"), fleet),
            (Kind::Requirement, view("scope_venture", "alpha"), alpha),
            (Kind::Requirement, Map::new(), fleet),
            (Kind::Venture, view("code", "alpha"), alpha),
        ];
        for (kind, view, space) in &cases {
            assert_eq!(new.misplaced(*kind, view, *space), None, "{kind}");
            let other = if *space == alpha { fleet } else { alpha };
            let field = view.keys().next().map(String::as_str);
            assert_eq!(new.misplaced(*kind, view, other), field, "{kind}");
            assert_eq!(old.misplaced(*kind, view, other), None, "{kind}");
        }
        assert_eq!(new.misplaced(Kind::Note, &view("venture", "alpha"), fleet), None);
    }

    #[test]
    fn fleets_without_tags_have_the_ids_that_they_had() {
        let old = Ids::new(FLEET, Ids::UNTAGGED);
        assert_eq!(old.doc("alpha", "x.md"), DocumentId::natural(Kind::Doc, &["alpha", "x.md"]));
        assert!(old.may_lie_in(old.doc("alpha", "x.md"), Space::Fleet.id(&FLEET)));
        let new = Ids::new(FLEET, Ids::NEWEST);
        assert_eq!(Stem::of(new.doc("alpha", "x.md")), Stem::of_docs("alpha", "x.md")[0]);
        assert_eq!(Stem::of(old.generated_doc("alpha", "x.md")), Stem::of_docs("alpha", "x.md")[1]);
    }
}
