//! The fields of the index. A change here is a new version, which makes every node build its index again.

use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions,
};

use crate::tokens::{EXACT, STEMMED};

/// The version that stands in the name of the schema's marker file.
pub(crate) const VERSION: &str = "ctxnode-search-1";

/// The fields by name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields {
    /// `kind:id`, to replace and remove by.
    pub(crate) key: Field,
    pub(crate) kind: Field,
    pub(crate) id: Field,
    pub(crate) title: Field,
    pub(crate) body: Field,
    /// Title and body without stems and positions.
    pub(crate) exact: Field,
    /// The code, or `-`.
    pub(crate) venture: Field,
    pub(crate) repo: Field,
    pub(crate) tag: Field,
    pub(crate) status: Field,
    pub(crate) superseded: Field,
    pub(crate) archived: Field,
    pub(crate) time: Field,
}

/// Returns the schema with its fields.
pub(crate) fn build() -> (Schema, Fields) {
    let text = |tokenizer: &str, option: IndexRecordOption| {
        let indexing = TextFieldIndexing::default().set_tokenizer(tokenizer).set_index_option(option);
        TextOptions::default().set_indexing_options(indexing)
    };
    let mut builder = Schema::builder();
    let fields = Fields {
        key: builder.add_text_field("key", STRING),
        kind: builder.add_text_field("kind", STRING | STORED),
        id: builder.add_text_field("id", STRING | STORED),
        title: builder.add_text_field("title", text(STEMMED, IndexRecordOption::WithFreqsAndPositions).set_stored()),
        // The text is stored, compressed, because a snippet needs it and the index may not ask the store.
        body: builder.add_text_field("body", text(STEMMED, IndexRecordOption::WithFreqsAndPositions).set_stored()),
        exact: builder.add_text_field("exact", text(EXACT, IndexRecordOption::Basic)),
        venture: builder.add_text_field("venture", STRING | STORED),
        repo: builder.add_text_field("repo", STRING),
        tag: builder.add_text_field("tag", STRING),
        status: builder.add_text_field("status", STRING | STORED),
        superseded: builder.add_u64_field("superseded", INDEXED | STORED | FAST),
        archived: builder.add_u64_field("archived", INDEXED),
        time: builder.add_i64_field("time", INDEXED | STORED | FAST),
    };
    (builder.build(), fields)
}
