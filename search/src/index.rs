//! The index on disk: opening or making it again, changes with a watermark, searching.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tantivy::collector::{Count, TopDocs};
use tantivy::query::{
    AllQuery, BooleanQuery, BoostQuery, ConstScoreQuery, FuzzyTermQuery, Occur, PhraseQuery, Query as TantivyQuery,
    RangeQuery, TermQuery, TermSetQuery,
};
use tantivy::schema::{IndexRecordOption, Value as _};
use tantivy::{DocId, IndexReader, IndexWriter, ReloadPolicy, Score, SegmentReader, TantivyDocument, Term};

use crate::query::{Clause, parse};
use crate::schema::{Fields, VERSION, build};
use crate::snippet::Snippets;
use crate::tokens::{EXACT, STEMMED, exact, stemmed, tokens};
use crate::{Batch, Change, Query, SearchDoc, SearchError, SearchKind, rank};

/// Memory of the index writer: the least that tantivy takes for one thread. It exists only while there is work.
const WRITER_MEMORY: usize = 15_000_000;
/// Characters of a snippet.
const SNIPPET_CHARS: usize = 200;
/// Up to this many terms of a filter are looked up one by one.
const FEW_TERMS: usize = 8;
/// How far paging reaches. Whoever reads on past a thousand hits should ask a narrower question.
const MAX_OFFSET: usize = 1_000;

/// A full-text index in a directory of its own.
pub struct Index {
    directory: PathBuf,
    index: tantivy::Index,
    fields: Fields,
    reader: IndexReader,
    writer: Mutex<Option<IndexWriter>>,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// Whether a directory may be emptied: somebody may have chosen a data directory in which another `index` lies.
fn is_ours(directory: &Path) -> std::io::Result<bool> {
    // What tantivy writes first; an index of another version of ours has them too.
    let known = ["meta.json", ".managed.json", VERSION].iter().any(|name| directory.join(name).exists());
    Ok(known || std::fs::read_dir(directory)?.next().is_none())
}

/// An opened index.
#[derive(Debug)]
pub struct Opened {
    /// The index.
    pub index: Index,
    /// The journal position that it holds; 0 for a new one.
    pub watermark: u64,
    /// Whether it had to be made again.
    pub rebuilt: bool,
}

/// A search result.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// What it is.
    pub kind: SearchKind,
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Text around the match.
    pub snippet: String,
    /// The matches in the snippet: begin and end in characters.
    pub highlights: Vec<(usize, usize)>,
    /// The venture code.
    pub venture: Option<String>,
    /// When it last changed.
    pub time_ms: i64,
    /// How well it matches.
    pub score: f32,
    /// Whether a later handoff superseded it.
    pub superseded: bool,
}

/// A page of results.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// The hits, best first.
    pub hits: Vec<Hit>,
    /// How many there are.
    pub total: usize,
    /// The offset of the next page.
    pub next: Option<usize>,
}

impl Index {
    /// Opens the index of a directory, or makes it again when it is missing, damaged or of another version. Nothing
    /// outside the directory is touched.
    ///
    /// # Errors
    /// When the directory cannot be used at all, or holds files that no index wrote.
    pub fn open(directory: &Path) -> Result<Opened, SearchError> {
        if directory.join(VERSION).exists()
            && let Ok(index) = Self::existing(directory)
        {
            let watermark = index.read_watermark();
            return Ok(Opened { index, watermark, rebuilt: false });
        }
        if directory.exists() {
            if !is_ours(directory)? {
                return Err(std::io::Error::other("it holds files that no index wrote").into());
            }
            std::fs::remove_dir_all(directory)?;
        }
        std::fs::create_dir_all(directory)?;
        let (schema, _) = build();
        tantivy::Index::create_in_dir(directory, schema)?;
        std::fs::write(directory.join(VERSION), b"")?;
        Ok(Opened { index: Self::existing(directory)?, watermark: 0, rebuilt: true })
    }

    fn existing(directory: &Path) -> Result<Self, SearchError> {
        let (schema, fields) = build();
        let index = tantivy::Index::open_in_dir(directory)?;
        if index.schema() != schema {
            return Err(tantivy::TantivyError::SchemaError("another schema".to_owned()).into());
        }
        index.tokenizers().register(STEMMED, stemmed());
        index.tokenizers().register(EXACT, exact());
        // Damaged segments show here, not in the middle of a search.
        if !index.validate_checksum()?.is_empty() {
            return Err(tantivy::TantivyError::SchemaError("damaged files".to_owned()).into());
        }
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(Self { directory: directory.to_owned(), index, fields, reader, writer: Mutex::new(None) })
    }

    pub(crate) fn read_watermark(&self) -> u64 {
        let payload = self.index.load_metas().ok().and_then(|metas| metas.payload);
        payload.and_then(|payload| payload.parse().ok()).unwrap_or(0)
    }

    fn writer(&self) -> Result<MutexGuard<'_, Option<IndexWriter>>, SearchError> {
        let mut guard = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if guard.is_none() {
            *guard = Some(self.index.writer_with_num_threads(1, WRITER_MEMORY)?);
        }
        Ok(guard)
    }

    /// Takes changes in and makes them findable, with the journal position that they reach.
    ///
    /// # Errors
    /// When the disk fails; then the index is as it was.
    pub fn apply(&self, changes: &[Change], watermark: u64) -> Result<(), SearchError> {
        let mut batch = self.begin()?;
        changes.iter().try_for_each(|change| batch.take(change))?;
        batch.commit(watermark)
    }

    /// Begins to take changes in, one after the other. Others who write wait until the batch is gone.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn begin(&self) -> Result<Batch<'_>, SearchError> {
        Ok(Batch { index: self, writer: self.writer()?, text: 0, pending: false })
    }

    /// Removes every document.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn clear(&self) -> Result<(), SearchError> {
        let mut guard = self.writer()?;
        let Some(writer) = guard.as_mut() else { return Ok(()) };
        writer.delete_all_documents()?;
        let mut prepared = writer.prepare_commit()?;
        prepared.set_payload("0");
        prepared.commit()?;
        drop(guard);
        Ok(self.reader.reload()?)
    }

    /// Gives the writer's memory and threads back, after its merges.
    pub fn rest(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A merge that failed is tried again by the next writer.
        let _ = writer.map(IndexWriter::wait_merging_threads);
    }

    /// Returns how many documents are findable.
    #[must_use]
    pub fn documents(&self) -> u64 {
        self.reader.searcher().num_docs()
    }

    /// Shows searches what was committed.
    pub(crate) fn reload(&self) -> Result<(), SearchError> {
        Ok(self.reader.reload()?)
    }

    pub(crate) fn key(&self, kind: SearchKind, id: &str) -> Term {
        Term::from_field_text(self.fields.key, &format!("{}:{id}", kind.name()))
    }

    pub(crate) fn document(&self, doc: &SearchDoc) -> TantivyDocument {
        let fields = self.fields;
        let mut out = TantivyDocument::default();
        out.add_text(fields.key, format!("{}:{}", doc.kind.name(), doc.id));
        out.add_text(fields.kind, doc.kind.name());
        out.add_text(fields.id, &doc.id);
        out.add_text(fields.title, &doc.title);
        out.add_text(fields.body, &doc.body);
        out.add_text(fields.exact, &doc.title);
        out.add_text(fields.exact, &doc.body);
        out.add_text(fields.venture, doc.venture.as_deref().unwrap_or("-"));
        doc.repo.iter().for_each(|repo| out.add_text(fields.repo, repo));
        doc.tags.iter().for_each(|tag| out.add_text(fields.tag, tag));
        doc.status.iter().for_each(|status| out.add_text(fields.status, status));
        out.add_u64(fields.superseded, u64::from(doc.superseded));
        out.add_u64(fields.archived, u64::from(doc.archived));
        out.add_i64(fields.time, doc.time_ms);
        out
    }

    /// Searches. `now_ms` is what ages are counted from.
    ///
    /// # Errors
    /// When the query holds no word, or the index fails.
    pub fn search(&self, query: &Query, now_ms: i64) -> Result<Results, SearchError> {
        let clauses = parse(&query.text)?;
        let matching = self.matching(&clauses);
        let full = self.filtered(query, matching.box_clone());
        let searcher = self.reader.searcher();
        let offset = query.offset.min(MAX_OFFSET);
        let limit = query.limit.clamp(1, 100);
        // Equal scores are ordered by time and then by address, which is stable between commits.
        let ranked = TopDocs::with_limit(limit).and_offset(offset).tweak_score(move |segment: &SegmentReader| {
            let times = segment.fast_fields().i64("time").ok().map(|column| column.first_or_default_col(0));
            let old = segment.fast_fields().u64("superseded").ok().map(|column| column.first_or_default_col(0));
            move |doc: DocId, matched: Score| {
                let time = times.as_ref().map_or(0, |column| column.get_val(doc));
                let superseded = old.as_ref().is_some_and(|column| column.get_val(doc) == 1);
                (rank::score(matched, now_ms, time, superseded), time)
            }
        });
        let (found, total) = searcher.search(&*full, &(ranked, Count))?;
        let mut snippets = Snippets::new(&searcher, &*matching, self.fields.body, SNIPPET_CHARS)?;
        let mut hits = Vec::new();
        for ((score, _), address) in &found {
            hits.push(self.hit(&searcher.doc(*address)?, *score, &mut snippets));
        }
        let end = offset + hits.len();
        Ok(Results { next: (end < total && end < MAX_OFFSET && !hits.is_empty()).then_some(end), hits, total })
    }

    fn hit(&self, doc: &TantivyDocument, score: f32, snippets: &mut Snippets) -> Hit {
        let text = |field| doc.get_first(field).and_then(|value| value.as_str()).unwrap_or_default();
        let body = text(self.fields.body);
        let (fragment, highlights) = match snippets.best(body) {
            None => (body.chars().take(SNIPPET_CHARS).collect(), Vec::new()),
            Some(found) => {
                let chars = |to: usize| body.get(found.range.start..to).map_or(0, |head| head.chars().count());
                let marks = found.marks.iter().map(|mark| (chars(mark.start), chars(mark.end))).collect();
                (body.get(found.range.clone()).unwrap_or_default().to_owned(), marks)
            }
        };
        let number = |field| doc.get_first(field).and_then(|value| value.as_u64());
        Hit {
            kind: SearchKind::from_name(text(self.fields.kind)).unwrap_or(SearchKind::Note),
            id: text(self.fields.id).to_owned(),
            title: text(self.fields.title).to_owned(),
            snippet: fragment,
            highlights,
            venture: Some(text(self.fields.venture).to_owned()).filter(|venture| venture != "-"),
            time_ms: doc.get_first(self.fields.time).and_then(|value| value.as_i64()).unwrap_or(0),
            score,
            superseded: number(self.fields.superseded) == Some(1),
        }
    }

    /// All clauses must match, in the title or in the body.
    fn matching(&self, clauses: &[Clause]) -> Box<dyn TantivyQuery> {
        let all = clauses.iter().map(|clause| (Occur::Must, self.clause(clause))).collect();
        Box::new(BooleanQuery::new(all))
    }

    fn clause(&self, clause: &Clause) -> Box<dyn TantivyQuery> {
        match clause {
            Clause::Word(text) | Clause::Phrase(text) => {
                let words = tokens(&mut stemmed(), text);
                let title = Box::new(BoostQuery::new(self.words(self.fields.title, &words), rank::TITLE_BOOST));
                let body = self.words(self.fields.body, &words);
                Box::new(BooleanQuery::new(vec![(Occur::Should, title), (Occur::Should, body)]))
            }
            Clause::Prefix(text) => self.near(text, |term| FuzzyTermQuery::new_prefix(term, 0, true)),
            Clause::Fuzzy(text) => self.near(text, |term| FuzzyTermQuery::new(term, 1, true)),
        }
    }

    fn words(&self, field: tantivy::schema::Field, words: &[String]) -> Box<dyn TantivyQuery> {
        let terms: Vec<Term> = words.iter().map(|word| Term::from_field_text(field, word)).collect();
        match terms.as_slice() {
            // Tokens can vanish: a text of nothing but a very long word has none, and then nothing can match.
            [] => Box::new(TermSetQuery::new(Vec::new())),
            [term] => Box::new(TermQuery::new(term.clone(), IndexRecordOption::WithFreqs)),
            _ => Box::new(PhraseQuery::new(terms)),
        }
    }

    fn near(&self, text: &str, make: impl Fn(Term) -> FuzzyTermQuery) -> Box<dyn TantivyQuery> {
        let parts = tokens(&mut exact(), text).into_iter().map(|word| {
            let query: Box<dyn TantivyQuery> = Box::new(make(Term::from_field_text(self.fields.exact, &word)));
            (Occur::Must, query)
        });
        Box::new(BooleanQuery::new(parts.collect()))
    }

    fn filtered(&self, query: &Query, matching: Box<dyn TantivyQuery>) -> Box<dyn TantivyQuery> {
        let fields = self.fields;
        let mut all: Vec<(Occur, Box<dyn TantivyQuery>)> = vec![(Occur::Must, matching)];
        let mut any_of = |field, texts: Vec<&str>| {
            let mut terms: Vec<Term> = texts.into_iter().map(|text| Term::from_field_text(field, text)).collect();
            // A set is an automaton, which takes longer to build than to look up a few terms one by one.
            let few: Box<dyn TantivyQuery> = match terms.len() {
                1 => Box::new(TermQuery::new(terms.remove(0), IndexRecordOption::Basic)),
                2..=FEW_TERMS => Box::new(BooleanQuery::new_multiterms_query(terms)),
                _ => Box::new(TermSetQuery::new(terms)),
            };
            all.push((Occur::Must, Box::new(ConstScoreQuery::new(few, 0.0))));
        };
        if !query.kinds.is_empty() {
            any_of(fields.kind, query.kinds.iter().map(|kind| kind.name()).collect());
        }
        if let Some(venture) = &query.venture {
            let global = query.include_global.then_some("-");
            any_of(fields.venture, std::iter::once(venture.as_str()).chain(global).collect());
        }
        if let Some(visible) = &query.visible {
            any_of(fields.venture, visible.iter().map(String::as_str).chain(["-"]).collect());
        }
        query.repo.iter().for_each(|repo| any_of(fields.repo, vec![repo]));
        query.status.iter().for_each(|status| any_of(fields.status, vec![status]));
        if !query.tags.is_empty() {
            any_of(fields.tag, query.tags.iter().map(String::as_str).collect());
        }
        if query.since.is_some() || query.until.is_some() {
            let term = |ms: i64| Term::from_field_i64(fields.time, ms);
            let from = query.since.map_or(Bound::Unbounded, |ms| Bound::Included(term(ms)));
            let to = query.until.map_or(Bound::Unbounded, |ms| Bound::Excluded(term(ms)));
            all.push((Occur::Must, Box::new(ConstScoreQuery::new(Box::new(RangeQuery::new(from, to)), 0.0))));
        }
        if !query.include_archived {
            let archived = TermQuery::new(Term::from_field_u64(fields.archived, 1), IndexRecordOption::Basic);
            all.push((Occur::MustNot, Box::new(archived)));
        }
        if all.len() == 1 {
            all.push((Occur::Must, Box::new(ConstScoreQuery::new(Box::new(AllQuery), 0.0))));
        }
        Box::new(BooleanQuery::new(all))
    }
}
