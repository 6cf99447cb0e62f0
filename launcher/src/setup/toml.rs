//! Values in a TOML file that belongs to somebody else: comments, order and spacing stay.

use toml_edit::{Array, DocumentMut, Item, Table, Value, value};

use super::Broken;

/// One thing that should be in the file.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// `[outer.name]` with these fields; fields that somebody added to it stay.
    Table {
        /// The outer table.
        outer: &'static str,
        /// Its name.
        name: &'static str,
        /// Texts and lists of texts.
        fields: Vec<(&'static str, Field)>,
    },
    /// `[table] key = value`, when there is none; what somebody chose stays.
    Default {
        /// The table.
        table: &'static str,
        /// The key.
        key: &'static str,
        /// The values, by preference: a version that refuses one may take another.
        values: Vec<Field>,
    },
}

impl Entry {
    fn place(&self) -> (&'static str, &'static str) {
        match self {
            Self::Table { outer, name, .. } => (*outer, *name),
            Self::Default { table, key, .. } => (*table, *key),
        }
    }

    /// Returns its name in a ledger.
    #[must_use]
    pub fn name(&self) -> String {
        let (outer, inner) = self.place();
        format!("{outer}.{inner}")
    }

    /// Whether it is set only when there is no value.
    #[must_use]
    pub fn is_default(&self) -> bool {
        matches!(self, Self::Default { .. })
    }

    /// Returns how many values there are to choose from; none for what has no choice.
    #[must_use]
    pub fn values(&self) -> usize {
        if let Self::Default { values, .. } = self { values.len() } else { 0 }
    }

    /// Returns the same with another of its values as the preferred one.
    #[must_use]
    pub fn preferring(&self, nth: usize) -> Self {
        let mut entry = self.clone();
        if let Self::Default { values, .. } = &mut entry
            && nth < values.len()
        {
            values.rotate_left(nth);
        }
        entry
    }

    /// Whether a file has a value at its place.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        let (outer, inner) = self.place();
        text.parse::<DocumentMut>().is_ok_and(|file| file.get(outer).and_then(|table| table.get(inner)).is_some())
    }
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    /// A text.
    Text(&'static str),
    /// A list of texts.
    List(Vec<&'static str>),
    /// Yes or no.
    Flag(bool),
}

impl Field {
    fn item(&self) -> Item {
        match self {
            Self::Text(text) => value(*text),
            Self::List(items) => value(items.iter().copied().collect::<Array>()),
            Self::Flag(flag) => value(*flag),
        }
    }

    fn is(&self, item: &Item) -> bool {
        match self {
            Self::Text(text) => item.as_str() == Some(text),
            Self::Flag(flag) => item.as_bool() == Some(*flag),
            Self::List(items) => item
                .as_array()
                .is_some_and(|found| found.iter().map(Value::as_str).eq(items.iter().map(|item| Some(*item)))),
        }
    }
}

/// Returns the text with every entry in it. Text that is as it should be comes back as it is.
///
/// # Errors
/// When the text is no TOML, or something else stands where a table is needed.
pub fn put(text: &str, entries: &[Entry]) -> Result<String, Broken> {
    let mut document = parse(text)?;
    let mut changed = false;
    for entry in entries {
        changed |= put_one(&mut document, entry)?;
    }
    Ok(if changed { document.to_string() } else { text.to_owned() })
}

/// Returns the text without our entries, and without tables that are empty then.
///
/// # Errors
/// When the text is no TOML.
pub fn take(text: &str, entries: &[Entry]) -> Result<String, Broken> {
    let mut document = parse(text)?;
    let mut changed = false;
    for entry in entries {
        let (outer, inner) = entry.place();
        let Some(table) = document.get_mut(outer).and_then(Item::as_table_like_mut) else { continue };
        let goes = match entry {
            Entry::Table { .. } => table.contains_key(inner),
            Entry::Default { values, .. } => {
                table.get(inner).is_some_and(|found| values.iter().any(|value| value.is(found)))
            }
        };
        if goes {
            table.remove(inner);
            changed = true;
            if table.is_empty() {
                document.remove(outer);
            }
        }
    }
    Ok(if changed { document.to_string() } else { text.to_owned() })
}

fn parse(text: &str) -> Result<DocumentMut, Broken> {
    text.parse().map_err(|error: toml_edit::TomlError| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        // The message can quote the line, which may hold a secret.
        let what = error.message().lines().next().unwrap_or("not TOML").to_owned();
        Broken::Syntax { line: before.matches('\n').count() + 1, what }
    })
}

fn put_one(document: &mut DocumentMut, entry: &Entry) -> Result<bool, Broken> {
    let outer = match entry {
        Entry::Table { outer, .. } => *outer,
        Entry::Default { table, .. } => *table,
    };
    let mut made = false;
    if !document.contains_key(outer) {
        let mut table = Table::new();
        // Without values of its own it needs no header.
        table.set_implicit(matches!(entry, Entry::Table { .. }));
        document.insert(outer, Item::Table(table));
        made = true;
    }
    let table = document.get_mut(outer).and_then(Item::as_table_like_mut).ok_or_else(|| Broken::shape(outer))?;
    match entry {
        Entry::Default { key, values, .. } => {
            let Some(wanted) = values.first().filter(|_| !table.contains_key(key)) else { return Ok(false) };
            table.insert(key, wanted.item());
            Ok(true)
        }
        Entry::Table { name, fields, .. } => {
            if !table.contains_key(name) {
                table.insert(name, Item::Table(Table::new()));
                made = true;
            }
            let inner = table.get_mut(name).and_then(Item::as_table_like_mut).ok_or_else(|| Broken::shape(name))?;
            let mut changed = made;
            for (key, field) in fields {
                if !inner.get(key).is_some_and(|found| field.is(found)) {
                    inner.insert(key, field.item());
                    changed = true;
                }
            }
            Ok(changed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        let fields = vec![("command", Field::Text("ctxnode")), ("args", Field::List(vec!["mcp"]))];
        vec![
            Entry::Table { outer: "mcp_servers", name: "ctxnode", fields },
            Entry::Default { table: "tui", key: "alternate_screen", values: vec![Field::Text("never")] },
        ]
    }

    #[test]
    fn c_02_foreign_toml_stays_and_comes_back() {
        let before = "# mine\nmodel  = \"x\" # fast\n\n[mcp_servers.other]\ncommand = 'o'\n\n[tui]\nalternate_screen = \"always\"\n";
        let after = put(before, &entries()).unwrap();
        assert!(after.contains("# mine\nmodel  = \"x\" # fast\n"), "{after}");
        assert!(after.contains("[mcp_servers.ctxnode]\ncommand = \"ctxnode\"\nargs = [\"mcp\"]\n"), "{after}");
        assert!(after.contains("alternate_screen = \"always\""), "{after}");
        assert_eq!(put(&after, &entries()).unwrap(), after);
        assert_eq!(take(&after, &entries()).unwrap(), before);
    }

    #[test]
    fn c_02_empty_and_stale_files_are_repaired() {
        let fresh = put("", &entries()).unwrap();
        assert_eq!(put(&fresh, &entries()).unwrap(), fresh);
        assert_eq!(take(&fresh, &entries()).unwrap().trim(), "");
        let stale = "[mcp_servers.ctxnode]\ncommand = \"/old/ctxnode\"\ntool_timeout_sec = 9\n";
        let now = put(stale, &entries()).unwrap();
        assert!(now.contains("command = \"ctxnode\"\ntool_timeout_sec = 9\n"), "{now}");
    }

    #[test]
    fn c_03_broken_toml_is_refused_with_its_line_and_without_its_text() {
        let refused = put("a = 1\nb = = \"s3cret\"\n", &entries()).unwrap_err();
        assert!(matches!(refused, Broken::Syntax { line: 2, .. }), "{refused}");
        assert!(!refused.to_string().contains("s3cret"), "{refused}");
        assert!(matches!(put("mcp_servers = 1\n", &entries()), Err(Broken::Shape { .. })));
    }
}
