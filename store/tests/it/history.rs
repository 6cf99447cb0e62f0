//! Conflicts name who wrote what; the past of a record tells who changed what, on every node alike.

use ctxnode_model::record::{Note, Venture};
use ctxnode_model::{DocumentId, Edit, Space};
use ctxnode_store::{Happened, HistoryEntry, Role, Store};
use serde_json::json;

use crate::support::*;

fn set(node: &Node, agent: &'static str, id: DocumentId, edits: Vec<Edit>) {
    node.clock.advance(1_000);
    write(&node.store, move |draft| {
        draft.act_for(agent);
        draft.edit(id, &alpha(), edits)
    });
}

fn history(store: &Store, id: DocumentId) -> Vec<HistoryEntry> {
    let (entries, total) = store.read().unwrap().history(id, 0, 100).unwrap();
    assert_eq!(entries.len(), total);
    entries
}

/// A pair of nodes that know one note.
fn two(seed: u64) -> (Node, Node, DocumentId) {
    let (a, b) = (founder(seed), member(&founder(seed), seed + 1));
    grant(&a, &b, Role::Writer);
    let id = add_note(&a.store, "t", "One is here. Two is here.\nThree is here.\n", &["x"]);
    sync(&a.store, &b.store);
    (a, b, id)
}

#[test]
fn a_conflict_names_node_agent_and_time_of_every_value_and_ends_with_the_next_write() {
    let (a, b, id) = two(60);
    set(&a, "claude-a", id, vec![Edit::set("title", "from a"), Edit::set("updated_at", NOON.plus(1))]);
    b.clock.advance(60_000);
    set(&b, "codex-b", id, vec![Edit::set("title", "from b"), Edit::set("updated_at", NOON.plus(2))]);
    sync(&a.store, &b.store);
    for node in [&a, &b] {
        let found = note(&node.store, id);
        assert_eq!(found.title.as_deref(), Some("from b"));
        let [conflict] = found.meta.conflicts.as_slice() else { panic!("{:?}", found.meta.conflicts) };
        let shown = conflict.shown.as_ref().unwrap();
        assert_eq!(
            (conflict.field.as_str(), shown.agent.as_deref(), shown.node),
            ("title", Some("codex-b"), b.store.node())
        );
        let lost = &conflict.others[0];
        assert_eq!(
            (&lost.value, lost.agent.as_deref(), lost.node),
            (&json!("from a"), Some("claude-a"), a.store.node())
        );
        assert!(lost.at < shown.at);
    }
    set(&a, "user-ada", id, vec![Edit::set("title", "from b")]);
    sync(&a.store, &b.store);
    assert!([&a, &b].iter().all(|node| note(&node.store, id).meta.conflicts.is_empty()));
}

#[test]
fn entries_of_a_map_conflict_one_by_one() {
    let (a, b, id) = two(62);
    set(&a, "a", id, vec![Edit::entry("meta", "k", "1"), Edit::entry("meta", "only", "1")]);
    set(&b, "b", id, vec![Edit::entry("meta", "k", "2")]);
    sync(&a.store, &b.store);
    let found = note(&a.store, id);
    assert_eq!(found.meta.conflicts.iter().map(|conflict| conflict.field.as_str()).collect::<Vec<_>>(), ["meta.k"]);
    assert_eq!(found.meta.conflicts, note(&b.store, id).meta.conflicts);
}

#[test]
fn the_past_tells_what_each_author_changed_and_is_alike_everywhere() {
    let (a, b, id) = two(64);
    set(&a, "claude-a", id, vec![Edit::set("title", "new"), Edit::member("tags", "y")]);
    let body = "One is here. Two is here.\nThree was changed.\n".to_owned();
    set(
        &b,
        "codex-b",
        id,
        vec![Edit::Body { field: "content", text: body, base: None }, Edit::set("updated_at", NOON)],
    );
    sync(&a.store, &b.store);
    let (entries, other) = (history(&a.store, id), history(&b.store, id));
    assert_eq!(entries, other);
    assert_eq!(entries.len(), 3);
    let of = |agent: &str| entries.iter().find(|entry| entry.agent.as_deref() == Some(agent)).unwrap();
    // Neither shows what the other did at the same time.
    let (title, text) = (of("claude-a"), of("codex-b"));
    let fields: Vec<&str> = title.fields.iter().map(|change| change.field.as_str()).collect();
    assert_eq!((fields, &title.diff), (vec!["title", "tags"], &None));
    assert_eq!((&title.fields[0].before, &title.fields[0].after), (&json!("t"), &json!("new")));
    assert!(text.fields.is_empty());
    let diff = text.diff.as_deref().unwrap();
    assert!(diff.contains("-Three is here.") && diff.contains("+Three was changed."), "{diff}");
    assert_eq!(entries[2].agent, None);
    assert!(entries[2].diff.as_deref().unwrap().contains("+One is here."));
    let (page, total) = a.store.read().unwrap().history(id, 1, 1).unwrap();
    assert_eq!((page.as_slice(), total), (&entries[1..2], 3));
}

#[test]
fn a_deletion_and_a_return_stand_in_the_past() {
    let (a, _, id) = two(66);
    write(&a.store, move |draft| draft.tombstone(id));
    write(&a.store, move |draft| draft.revive(id));
    let happened: Vec<Happened> = history(&a.store, id).iter().map(|entry| entry.happened).collect();
    assert_eq!(happened, [Happened::Revived, Happened::Deleted, Happened::Changed]);
    assert!(a.store.read().unwrap().reader().get::<Note>(id).unwrap().is_some());
}

/// The same mechanism for a kind with a natural key: what two nodes made apart has one past.
#[test]
fn a_venture_made_apart_has_one_past_and_shows_its_conflict() {
    let (a, b) = (founder(68), member(&founder(68), 69));
    grant(&a, &b, Role::Admin);
    let id = a.store.ids().venture("beta");
    for (node, name) in [(&a, "Beta"), (&b, "Beta 2")] {
        node.clock.advance(10);
        write(&node.store, move |draft| {
            draft.act_for(name);
            draft.edit(id, &Space::of(Some("beta")), [Edit::set("code", "beta"), Edit::set("name", name)])
        });
    }
    sync(&a.store, &b.store);
    assert_eq!(history(&a.store, id), history(&b.store, id));
    let venture = a.store.read().unwrap().reader().get::<Venture>(id).unwrap().unwrap();
    assert_eq!(venture.meta.conflicts.iter().map(|conflict| conflict.field.as_str()).collect::<Vec<_>>(), ["name"]);
}
