//! Search against SQLite FTS5: the same texts, the same queries, the same filter, in the same run.

use std::path::Path;

use ctxnode_search::{Change, Index, Query, SearchDoc, SearchKind};
use rusqlite::Connection;

use crate::fill::texts;
use crate::stats::{Times, line, ratio, say};

/// Characters of a note: what agents write is a page, not a book.
const NOTE_CHARS: usize = 1_500;
/// How many notes are indexed between two commits.
const STEP: usize = 5_000;
const VENTURES: [&str; 5] = ["alpha", "beta", "gamma", "delta", "epsilon"];

fn notes(corpus: Option<&Path>, count: usize) -> Vec<String> {
    let texts: Vec<Vec<char>> = texts(corpus).iter().map(|text| text.chars().collect()).collect();
    let piece = |number: usize| {
        let text = &texts[number % texts.len()];
        let from = (number / texts.len() * 997) % text.len().max(1);
        let body: String = text.iter().skip(from).take(NOTE_CHARS).collect();
        // A word that only this note has, so that no two are equal.
        format!("{body} note{number}")
    };
    (0..count).map(piece).collect()
}

/// Two neighbouring words of some text: what a person remembers of it.
fn queries(notes: &[String], count: usize) -> Vec<String> {
    let words = |note: &String| -> Vec<String> {
        let long = note.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| word.len() > 4);
        long.map(str::to_lowercase).collect()
    };
    let pairs = (0..).map(|number: usize| {
        let words = words(&notes[number * 7_919 % notes.len()]);
        words.get(number % words.len().max(2)..).and_then(|rest| rest.get(..2)).map(|pair| pair.join(" "))
    });
    pairs.flatten().take(count).collect()
}

pub(crate) fn run(corpus: Option<&Path>, count: usize, asked: usize) {
    let notes = notes(corpus, count);
    let queries = queries(&notes, asked);
    let dir = tempfile::tempdir().expect("a directory");
    let opened = Index::open(&dir.path().join("index")).expect("an index");
    let mut sqlite = Connection::open(dir.path().join("fts.db")).expect("a database");
    sqlite
        .execute_batch("CREATE VIRTUAL TABLE notes USING fts5(body, venture UNINDEXED, tokenize = 'porter unicode61')")
        .expect("a table");
    for (step, chunk) in notes.chunks(STEP).enumerate() {
        let number = |at: usize| step * STEP + at;
        let changes: Vec<Change> = chunk
            .iter()
            .enumerate()
            .map(|(at, body)| {
                Change::Put(Box::new(SearchDoc {
                    kind: SearchKind::Note,
                    id: format!("note_{}", number(at)),
                    title: String::new(),
                    body: body.clone(),
                    venture: Some(VENTURES[number(at) % VENTURES.len()].to_owned()),
                    repo: None,
                    tags: Vec::new(),
                    status: None,
                    superseded: false,
                    archived: false,
                    time_ms: 1_700_000_000_000 + number(at) as i64 * 1_000,
                }))
            })
            .collect();
        opened.index.apply(&changes, number(chunk.len()) as u64).expect("an indexed step");
        let write = sqlite.transaction().expect("a transaction");
        {
            let mut insert = write.prepare("INSERT INTO notes VALUES (?1, ?2)").expect("a statement");
            for (at, body) in chunk.iter().enumerate() {
                insert.execute((body, VENTURES[number(at) % VENTURES.len()])).expect("a row");
            }
        }
        write.commit().expect("a commit");
    }
    opened.index.rest();
    sqlite.execute("INSERT INTO notes(notes) VALUES ('optimize')", []).expect("an optimised table");

    let (mut ours, mut theirs) = (Times::default(), Times::default());
    let (mut found, mut found_there) = (0, 0);
    let mut select = sqlite
        .prepare("SELECT rowid, snippet(notes, 0, '[', ']', '', 32) FROM notes WHERE notes MATCH ?1 AND venture = ?2 ORDER BY rank LIMIT 10")
        .expect("a statement");
    for (number, text) in queries.iter().enumerate() {
        let venture = VENTURES[number % VENTURES.len()];
        let query = Query { text: text.clone(), venture: Some(venture.to_owned()), limit: 10, ..Query::default() };
        ours.measure(|| {
            found += opened.index.search(&query, 1_800_000_000_000).expect("an answer").hits.len();
        });
        theirs.measure(|| {
            let rows = select.query_map((text, venture), |row| row.get::<_, String>(1)).expect("an answer");
            found_there += rows.count();
        });
    }
    say(&format!("{count} notes, {asked} queries of two words, one venture, top 10: {found} and {found_there} hits"));
    line("tantivy", &ours);
    line("SQLite FTS5", &theirs);
    let of = |percent| ratio(theirs.percentile(percent), ours.percentile(percent));
    let all = ratio(theirs.total(), ours.total());
    say(&format!(
        "all queries: {all:.2}x faster; medians: {:.2}x, 99th percentiles: {:.2}x (goal >= 2x)",
        of(50),
        of(99)
    ));
}
