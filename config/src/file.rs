//! Configuration files: which ones are read, and their text as a layer.
//!
//! Not here: reading them. A file that does not exist is simply not passed in.

use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use crate::env::{self, Environment};
use crate::error::ConfigError;
use crate::key::Key;
use crate::layer::{Layer, Origin};
use crate::paths::{Paths, Platform};
use crate::value::Raw;

/// Whether a file may be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileRole {
    /// Absent means empty.
    Optional,
    /// Somebody named it: when it cannot be read, that is an error.
    Required,
}

/// A configuration file that was read.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// Where it stands, for messages.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// Returns the files to read, weakest first.
///
/// # Errors
/// [`ConfigError::NoHome`] when the user's own file has no place.
pub fn config_files(platform: Platform, environment: &Environment) -> Result<Vec<(PathBuf, FileRole)>, ConfigError> {
    let user = match environment.get(env::CONFIG) {
        Some(path) => (PathBuf::from(path), FileRole::Required),
        None => (Paths::discover(platform, environment)?.config_file, FileRole::Optional),
    };
    Ok(vec![(PathBuf::from("/etc/ctxnode/config.toml"), FileRole::Optional), user])
}

/// Reads a file's text into a layer; faults are added to `errors`, and what is good is kept so that the values of later
/// layers are checked in the same run.
pub(crate) fn from_file(file: &ConfigFile, errors: &mut Vec<ConfigError>) -> Layer {
    let mut layer = Layer::default();
    match DeTable::parse(&file.text) {
        Ok(table) => Walk { file, layer: &mut layer, errors }.table("", table.get_ref()),
        Err(source) => errors.push(ConfigError::Syntax { path: file.path.clone(), source: Box::new(source) }),
    }
    layer
}

/// A walk through the tables of one file.
struct Walk<'a> {
    file: &'a ConfigFile,
    layer: &'a mut Layer,
    errors: &'a mut Vec<ConfigError>,
}

impl Walk<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        // The parser's table has no order of its own that a reader would expect; errors come out by line.
        let mut rows: Vec<_> = table.iter().collect();
        rows.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in rows {
            let dotted =
                if prefix.is_empty() { name.get_ref().to_string() } else { format!("{prefix}.{}", name.get_ref()) };
            let line = self.line_at(name.span().start);
            match (Key::from_name(&dotted), value.get_ref()) {
                (Some(key), value) => {
                    let origin = Origin::File { path: self.file.path.clone(), line };
                    self.layer.set(key, raw(value), origin);
                }
                (None, DeValue::Table(inner)) if is_table_of_settings(&dotted) => self.table(&dotted, inner),
                (None, _) => self.errors.push(ConfigError::UnknownKey {
                    path: self.file.path.clone(),
                    line,
                    near: Key::nearest(&dotted),
                    key: dotted,
                }),
            }
        }
    }

    fn line_at(&self, offset: usize) -> usize {
        self.file.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }
}

/// Returns whether some setting lives below this table.
fn is_table_of_settings(dotted: &str) -> bool {
    Key::ALL.into_iter().any(|key| key.name().strip_prefix(dotted).is_some_and(|rest| rest.starts_with('.')))
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
            .map_or(Raw::Other("a number out of range"), Raw::Integer),
        DeValue::Boolean(value) => Raw::Boolean(*value),
        DeValue::Array(items) => {
            let texts: Option<Vec<String>> =
                items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect();
            texts.map_or(Raw::Other("a list with something else than strings"), Raw::List)
        }
        DeValue::Float(_) => Raw::Other("a fraction"),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Table(_) => Raw::Other("a table"),
    }
}
