//! Local commands: what they write, what they refuse, what they leave alone.

use ctxnode_model::index::Index;
use ctxnode_model::record::Note;
use ctxnode_model::{DocumentId, Edit, Kind, Space};
use ctxnode_store::{Listing, LocalTable, StoreError, WriteError};

use crate::support::*;

/// Two tags that index alike are one row, however they come and go.
#[test]
fn tags_that_index_alike_count_once() {
    let node = founder(1);
    let count = || {
        let snapshot = node.store.read().unwrap();
        assert_eq!(snapshot.check(|_| ()).unwrap().problem_count, 0);
        snapshot.reader().count(Index::NoteTag, Kind::Note, &["alpha", "a"]).unwrap()
    };
    let id = add_note(&node.store, "Plan", "x", &["a", "a\0"]);
    assert_eq!(count(), 1);
    for (tag, left) in [("a", 1), ("a\0", 0)] {
        let remove = Edit::Remove { field: "tags", key: tag.to_owned() };
        write(&node.store, move |draft| draft.edit(id, &alpha(), [remove]));
        assert_eq!(count(), left);
    }
}

#[test]
fn a_committed_note_reads_back_with_index_and_body() {
    let node = founder(1);
    let id = add_note(&node.store, "Plan", "First. Second.\nThird", &["prd", "design"]);
    let found = note(&node.store, id);
    assert_eq!(found.title.as_deref(), Some("Plan"));
    assert_eq!(found.tags.iter().map(String::as_str).collect::<Vec<_>>(), ["design", "prd"]);
    assert_eq!(body(&node.store, id), "First. Second.\nThird");
    let snapshot = node.store.read().unwrap();
    assert_eq!(snapshot.reader().count(Index::NoteTag, Kind::Note, &["alpha", "prd"]).unwrap(), 1);
    assert_eq!(snapshot.reader().count(Index::All, Kind::Note, &[]).unwrap(), 1);
    assert_eq!(snapshot.check(|_| ()).unwrap().problem_count, 0);
}

#[test]
fn a_refused_command_leaves_no_trace() {
    let node = founder(2);
    let before = node.store.read().unwrap().reader().journal_end().unwrap();
    let result = node.store.write_blocking(|draft| {
        let id = draft.fresh_id(Kind::Note, &Space::Fleet).unwrap();
        draft.edit(id, &Space::Fleet, note_edits(draft.now(), "x", "y", &[])).unwrap();
        draft.put_local(LocalTable::Caches, "k", "v");
        Err::<(), _>("no")
    });
    assert!(matches!(result, Err(WriteError::Refused("no"))));
    let snapshot = node.store.read().unwrap();
    assert_eq!(snapshot.reader().journal_end().unwrap(), before);
    assert_eq!(snapshot.reader().local(LocalTable::Caches, b"k").unwrap(), None);
}

#[test]
fn an_edit_outside_the_schema_fails_alone() {
    let node = founder(3);
    let result = node.store.write_blocking(|draft| {
        let id = draft.fresh_id(Kind::Note, &Space::Fleet)?;
        draft.edit(id, &Space::Fleet, [Edit::set("no_such_field", "x")])
    });
    assert!(matches!(result, Err(WriteError::Store(StoreError::Schema { .. }))));
    add_note(&node.store, "after", "still works", &[]);
}

#[test]
fn writing_the_same_values_again_makes_no_entry() {
    let node = founder(4);
    let id = add_note(&node.store, "t", "body", &["a"]);
    let rev = note(&node.store, id).meta.rev.clone();
    let before = node.store.read().unwrap().reader().frontier().unwrap();
    write(&node.store, move |draft| draft.edit(id, &alpha(), [Edit::set("title", "t"), Edit::member("tags", "a")]));
    assert_eq!(note(&node.store, id).meta.rev, rev);
    assert_eq!(node.store.read().unwrap().reader().frontier().unwrap(), before);
}

#[test]
fn a_page_never_repeats_or_skips_while_others_write() {
    let node = founder(5);
    for number in 0..25 {
        node.clock.advance(1);
        add_note(&node.store, &format!("n{number}"), "x", &[]);
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let snapshot = node.store.read().unwrap();
        let listing = Listing { index: Index::NoteLive, kind: Kind::Note, prefix: &["alpha"], after, limit: 10 };
        let page = snapshot.reader().list::<Note>(&listing).unwrap();
        assert!(page.total >= 25);
        seen.extend(page.items.iter().map(|note| note.id));
        after = page.next;
        node.clock.advance(1);
        add_note(&node.store, "meanwhile", "x", &[]);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 25);
    let filtered = node.store.read().unwrap();
    let listing = Listing { index: Index::NoteLive, kind: Kind::Note, prefix: &["alpha"], after: None, limit: 2 };
    let page =
        filtered.reader().list_where::<Note>(&listing, |note| note.title.as_deref() == Some("meanwhile")).unwrap();
    assert_eq!((page.items.len(), page.total, page.next.is_some()), (2, 3, true));
}

#[test]
fn a_tombstone_hides_and_a_revival_brings_back() {
    let node = founder(6);
    let id = add_note(&node.store, "gone", "x", &["prd"]);
    write(&node.store, move |draft| draft.tombstone(id));
    let snapshot = node.store.read().unwrap();
    assert!(snapshot.reader().get::<Note>(id).unwrap().is_none());
    assert_eq!(snapshot.reader().count(Index::NoteTag, Kind::Note, &["alpha", "prd"]).unwrap(), 0);
    set_body(&node.store, id, "late change", None);
    assert!(node.store.read().unwrap().reader().get::<Note>(id).unwrap().is_none());
    write(&node.store, move |draft| draft.revive(id));
    assert_eq!(body(&node.store, id), "late change");
}

#[test]
fn a_later_handoff_of_a_thread_supersedes_the_earlier_but_a_draft_does_not() {
    let node = founder(7);
    let first = add_handoff(&node.store, "issue:1", false);
    let other = add_handoff(&node.store, "issue:2", false);
    assert_eq!(open_handoffs(&node.store).len(), 2);
    let second = add_handoff(&node.store, "issue:1", false);
    assert!(!open_handoffs(&node.store).contains(&first));
    let draft = add_handoff(&node.store, "issue:1", true);
    let open = open_handoffs(&node.store);
    assert!(open.contains(&second) && open.contains(&draft) && open.contains(&other));
    let third = add_handoff(&node.store, "issue:1", false);
    let mark = r#"{"at":1,"by":"x"}"#;
    write(&node.store, move |edit| edit.edit(third, &alpha(), [Edit::entry("closed", "user", mark)]));
    assert_eq!(open_handoffs(&node.store), [other]);
}

#[test]
fn a_write_with_an_old_revision_keeps_what_others_wrote_since() {
    let node = founder(8);
    let id = add_note(&node.store, "t", "One is here. Two is here. Three is here.", &[]);
    let read_at = note(&node.store, id).meta.rev.clone();
    set_body(&node.store, id, "One is here. Two was changed. Three is here.", None);
    set_body(&node.store, id, "One was changed. Two is here. Three is here.", Some(read_at));
    assert_eq!(body(&node.store, id), "One was changed. Two was changed. Three is here.");
    let history = node.store.read().unwrap().history(id, 0, 10).unwrap();
    assert_eq!(history.1, 3);
    let first = history.0.last().unwrap();
    let text = node.store.read().unwrap().body_at(id, &first.rev).unwrap();
    assert_eq!(text.as_deref(), Some("One is here. Two is here. Three is here."));
}

#[test]
fn a_document_with_many_changes_is_saved_and_reads_the_same() {
    let node = founder(9);
    let id = add_note(&node.store, "t", "start", &[]);
    for number in 0..100 {
        set_body(&node.store, id, &format!("line {number}\nend"), None);
    }
    assert_eq!(body(&node.store, id), "line 99\nend");
    assert_eq!(node.store.read().unwrap().check(|_| ()).unwrap().problem_count, 0);
}

#[test]
fn many_writers_share_commits_and_each_sees_its_own_result() {
    let node = founder(10);
    let threads: Vec<_> = (0..16)
        .map(|thread| {
            let store = node.store.clone();
            std::thread::spawn(move || {
                (0..10).map(|number| add_note(&store, &format!("{thread}-{number}"), "x", &[])).collect::<Vec<_>>()
            })
        })
        .collect();
    let ids: Vec<DocumentId> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    assert_eq!(ids.len(), 160);
    for id in ids {
        note(&node.store, id);
    }
    assert_eq!(node.store.read().unwrap().check(|_| ()).unwrap().problem_count, 0);
}

#[test]
fn what_is_derived_can_be_deleted_and_comes_back_equal() {
    let node = founder(11);
    let ids: Vec<DocumentId> =
        (0..40).map(|n| add_note(&node.store, &format!("n{n}"), "text. more.", &["a"])).collect();
    for _ in 0..40 {
        set_body(&node.store, ids[0], "text. changed.", None);
        set_body(&node.store, ids[0], "text. more.", None);
    }
    let handoffs = [add_handoff(&node.store, "t", false), add_handoff(&node.store, "t", true)];
    let look = || {
        let snapshot = node.store.read().unwrap();
        let views: Vec<_> = ids.iter().map(|id| snapshot.reader().view_bytes(*id).unwrap()).collect();
        let count = snapshot.reader().count(Index::NoteTag, Kind::Note, &["alpha", "a"]).unwrap();
        (views, count, open_handoffs(&node.store))
    };
    let before = look();
    assert_eq!(before.2.len(), handoffs.len());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(node.store.rederive()).unwrap(), 42);
    assert_eq!(look(), before);
}
