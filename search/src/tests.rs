//! The index as a whole.

use proptest::prelude::*;

use super::*;

const DAY: i64 = 86_400_000;
const NOW: i64 = 1_795_435_200_000;

fn doc(id: &str, title: &str, body: &str) -> SearchDoc {
    SearchDoc {
        kind: SearchKind::Note,
        id: id.to_owned(),
        title: title.to_owned(),
        body: body.to_owned(),
        venture: Some("alpha".to_owned()),
        repo: None,
        tags: Vec::new(),
        status: None,
        superseded: false,
        archived: false,
        time_ms: NOW,
    }
}

fn put(doc: SearchDoc) -> Change {
    Change::Put(Box::new(doc))
}

fn query(text: &str) -> Query {
    Query { text: text.to_owned(), include_global: true, limit: 10, ..Query::default() }
}

fn ids(index: &Index, query: &Query) -> Vec<String> {
    index.search(query, NOW).unwrap().hits.into_iter().map(|hit| hit.id).collect()
}

fn with(docs: Vec<SearchDoc>) -> (tempfile::TempDir, Index) {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(&dir.path().join("index")).unwrap().index;
    index.apply(&docs.into_iter().map(put).collect::<Vec<_>>(), 7).unwrap();
    (dir, index)
}

/// N-15 against an index: words, phrase, prefix, near spelling, literal punctuation.
#[test]
fn n_15_words_phrases_prefixes_and_literals() {
    let (_dir, index) = with(vec![
        doc("a", "one", "foo then bar"),
        doc("b", "two", "foo bar together"),
        doc("c", "three", "only fortune here"),
    ]);
    let sorted = |text: &str| {
        let mut found = ids(&index, &query(text));
        found.sort();
        found
    };
    assert_eq!(sorted("foo bar"), ["a", "b"]);
    assert_eq!(sorted("\"foo bar\""), ["b"]);
    assert_eq!(sorted("fo*"), ["a", "b", "c"]);
    assert_eq!(sorted("fortuna~"), ["c"]);
    assert_eq!(sorted("foo) OR (1"), Vec::<String>::new());
    assert_eq!(sorted("(foo)"), ["a", "b"]);
}

#[test]
fn title_beats_body_and_newer_beats_older() {
    let mut old = doc("old", "x", "replica");
    old.time_ms = NOW - 400 * DAY;
    let (_dir, index) = with(vec![old, doc("new", "x", "replica"), doc("title", "replica", "x")]);
    assert_eq!(ids(&index, &query("replica")), ["title", "new", "old"]);
}

/// N-17: without any tag, a date and a venture find a note.
#[test]
fn n_17_filters_work_without_tags() {
    let mut old = doc("old", "x", "word");
    old.time_ms = NOW - 10 * DAY;
    let mut global = doc("global", "x", "word");
    global.venture = None;
    let mut archived = doc("archived", "x", "word");
    archived.archived = true;
    let mut tagged = doc("tagged", "x", "word");
    tagged.tags = vec!["prd".to_owned()];
    let (_dir, index) = with(vec![old, global, archived, tagged, doc("new", "x", "word")]);
    let mut recent = Query { since: Some(NOW - DAY), venture: Some("alpha".to_owned()), ..query("word") };
    recent.include_global = false;
    let mut found = ids(&index, &recent);
    found.sort();
    assert_eq!(found, ["new", "tagged"]);
    assert_eq!(ids(&index, &Query { tags: vec!["prd".to_owned()], ..query("word") }), ["tagged"]);
    assert_eq!(ids(&index, &Query { include_archived: true, ..query("word") }).len(), 5);
    assert_eq!(ids(&index, &Query { visible: Some(vec!["beta".to_owned()]), ..query("word") }), ["global"]);
    assert_eq!(ids(&index, &Query { kinds: vec![SearchKind::Doc], ..query("word") }), Vec::<String>::new());
}

/// N-14: an index that was deleted and made again finds the same, and the watermark survives a reopening.
#[test]
fn n_14_a_rebuilt_index_equals_an_incremental_one() {
    let docs: Vec<SearchDoc> = (0..40).map(|n| doc(&format!("n{n:02}"), "title", &format!("common word{n}"))).collect();
    let (dir, index) = with(docs.clone());
    index
        .apply(
            &[put(doc("n00", "title", "changed")), Change::Remove { kind: SearchKind::Note, id: "n01".to_owned() }],
            9,
        )
        .unwrap();
    let before = index.search(&Query { limit: 100, ..query("common") }, NOW).unwrap();
    assert_eq!(before.total, 38);
    drop(index);
    let path = dir.path().join("index");
    let reopened = Index::open(&path).unwrap();
    assert_eq!((reopened.watermark, reopened.rebuilt), (9, false));
    drop(reopened);
    std::fs::remove_dir_all(&path).unwrap();
    let again = Index::open(&path).unwrap();
    assert_eq!((again.watermark, again.rebuilt), (0, true));
    let mut rest: Vec<Change> = docs.into_iter().skip(2).map(put).collect();
    rest.push(put(doc("n00", "title", "changed")));
    again.index.apply(&rest, 9).unwrap();
    let after = again.index.search(&Query { limit: 100, ..query("common") }, NOW).unwrap();
    let set = |results: &Results| {
        let mut ids: Vec<String> = results.hits.iter().map(|hit| hit.id.clone()).collect();
        ids.sort();
        ids
    };
    assert_eq!((after.total, set(&after)), (before.total, set(&before)));
}

/// What is written before its time keeps the old watermark, and a batch that was given up leaves no part of its rest.
#[test]
fn a_large_batch_that_is_given_up_leaves_the_watermark_and_can_be_repeated() {
    let (dir, index) = with(vec![doc("old", "old", "known")]);
    let large: Vec<Change> =
        (0..5).map(|number| put(doc(&format!("d{number}"), "large", &"many words ".repeat(200_000)))).collect();
    let mut batch = index.begin().unwrap();
    large.iter().try_for_each(|change| batch.take(change)).unwrap();
    batch.take(&put(doc("late", "late", "forgotten"))).unwrap();
    drop(batch);
    let reopen = |index: Index| {
        index.rest();
        drop(index);
        Index::open(&dir.path().join("index")).unwrap()
    };
    let found = reopen(index);
    assert_eq!((found.watermark, found.rebuilt), (7, false));
    assert_eq!(ids(&found.index, &query("known")), ["old"]);
    assert!(ids(&found.index, &query("forgotten")).is_empty());
    found.index.apply(&large, 8).unwrap();
    assert_eq!(found.index.documents(), 6);
    assert_eq!(reopen(found.index).watermark, 8);
}

#[test]
fn a_directory_with_files_of_somebody_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let index = dir.path().join("index");
    std::fs::create_dir(&index).unwrap();
    std::fs::write(index.join("index.html"), "mine").unwrap();
    let error = Index::open(&index).unwrap_err();
    assert!(matches!(error, SearchError::Io(_)), "{error:?}");
    assert_eq!(std::fs::read_to_string(index.join("index.html")).unwrap(), "mine");
}

#[test]
fn damaged_files_lead_to_a_new_index() {
    for victim in ["meta.json", "store", "term"] {
        let (dir, index) = with((0..30).map(|n| doc(&format!("n{n}"), "t", "text")).collect());
        index.rest();
        drop(index);
        let path = dir.path().join("index");
        let files = std::fs::read_dir(&path).unwrap().flatten().map(|entry| entry.path());
        let file =
            files.into_iter().find(|file| file.to_string_lossy().ends_with(victim)).expect("a file of that kind");
        let mut bytes = std::fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        std::fs::write(&file, bytes).unwrap();
        let opened = Index::open(&path).unwrap();
        assert!(opened.rebuilt, "{victim}");
        assert_eq!(opened.index.documents(), 0);
    }
}

#[test]
fn pages_have_no_repeats_and_snippets_mark_the_match() {
    let (_dir, index) = with((0..25).map(|n| doc(&format!("n{n}"), "t", "some needle here")).collect());
    let mut seen = std::collections::BTreeSet::new();
    let mut offset = 0;
    loop {
        let page = index.search(&Query { offset, ..query("needle") }, NOW).unwrap();
        assert_eq!(page.total, 25);
        for hit in &page.hits {
            assert!(seen.insert(hit.id.clone()));
            let (begin, end) = hit.highlights[0];
            assert_eq!(hit.snippet.chars().skip(begin).take(end - begin).collect::<String>(), "needle");
        }
        match page.next {
            Some(next) => offset = next,
            None => break,
        }
    }
    assert_eq!(seen.len(), 25);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_query_panics(text in "\\PC{1,40}") {
        let (_dir, index) = with(vec![doc("a", "title", "body with words 搜索")]);
        let _ = index.search(&query(&text), NOW);
    }
}
