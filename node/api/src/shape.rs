//! Checking an input against its schema, so that every bad field is named at once.
//!
//! Typed decoding stops at the first fault. This looks at all top-level fields first: unknown ones, wrong types, words
//! outside an enum. It also turns query strings into typed values, since a URL only has text.

use ctxnode_model::Invalid;
use ctxnode_model::rules::text::near;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{ErrorBody, ErrorCode, Route};

/// The fields of an input.
#[derive(Clone, Debug)]
pub struct Shape {
    properties: Map<String, Value>,
    definitions: Map<String, Value>,
}

/// What a field may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// The JSON types, also of the alternatives.
    pub types: Vec<String>,
    /// The words of an enum; any text when empty. Those of its items, when it is a list.
    pub words: Vec<String>,
}

impl Shape {
    /// Reads the shape of a route's input.
    #[must_use]
    pub fn of_input(route: &Route) -> Self {
        let mut generator = SchemaGenerator::new(SchemaSettings::draft2020_12());
        let schema = (route.input)(&mut generator);
        let definitions = generator.take_definitions(true);
        let root = resolve(&definitions, schema.as_value());
        let properties = root.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        Self { properties, definitions }
    }

    /// Returns the schema of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.properties.get(name)
    }

    /// Returns the names of all fields.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.properties.keys().map(String::as_str)
    }

    /// Returns what a field may be.
    #[must_use]
    pub fn allows(&self, name: &str) -> Allowed {
        let Some(schema) = self.field(name) else { return Allowed::default() };
        let mut allowed = self.allowed(schema);
        if let Some(items) = self.items(schema) {
            allowed.words = self.allowed(&items).words;
        }
        allowed
    }

    /// Returns the fields of a field that is an object with named fields.
    #[must_use]
    pub fn inner(&self, name: &str) -> Option<Self> {
        let schema = self.field(name)?;
        let properties = self.alternatives(schema).into_iter().find_map(|option| {
            let resolved = resolve(&self.definitions, option);
            resolved.get("properties").and_then(Value::as_object).cloned()
        })?;
        Some(Self { properties, definitions: self.definitions.clone() })
    }

    /// Names every bad top-level field of an input.
    ///
    /// # Errors
    /// The bad fields.
    pub fn check(&self, input: &Value) -> Result<(), Invalid> {
        let mut invalid = Invalid::new();
        let Some(object) = input.as_object() else {
            invalid.add("body", "expected a JSON object");
            return Err(invalid);
        };
        for (name, value) in object {
            match self.field(name) {
                None => invalid.add(name.as_str(), self.unknown(name)),
                Some(schema) => self.check_field(&mut invalid, name, schema, value),
            }
        }
        invalid.finish()
    }

    fn unknown(&self, name: &str) -> String {
        let known: Vec<&str> = self.properties.keys().map(String::as_str).collect();
        let close = near(name, &known);
        let list = if close.is_empty() { known.join(", ") } else { close.join(", ") };
        let lead = if close.is_empty() { "known are" } else { "did you mean" };
        format!("unknown field; {lead}: {list}")
    }

    fn check_field(&self, invalid: &mut Invalid, name: &str, schema: &Value, value: &Value) {
        let allowed = self.allowed(schema);
        let kind = type_of(value);
        let fits = allowed.types.iter().any(|allowed| allowed == kind || (allowed == "number" && kind == "integer"));
        if !allowed.types.is_empty() && !fits {
            let types: Vec<&str> = allowed.types.iter().map(String::as_str).collect();
            invalid.add(name, format!("expected {}, found {kind}", types.join(" or ")));
        } else if let (Value::String(word), false) = (value, allowed.words.is_empty()) {
            invalid.require(
                allowed.words.contains(word),
                name,
                format!("expected one of {}", allowed.words.join(", ")),
            );
        } else if let (Value::Array(items), Some(schema)) = (value, self.items(schema)) {
            for (at, item) in items.iter().enumerate() {
                self.check_field(invalid, &format!("{name}[{at}]"), &schema, item);
            }
        }
    }

    fn items(&self, schema: &Value) -> Option<Value> {
        let found = self.alternatives(schema).into_iter().find_map(|schema| schema.get("items").cloned());
        found.filter(Value::is_object)
    }

    fn alternatives<'a>(&'a self, schema: &'a Value) -> Vec<&'a Value> {
        let schema = resolve(&self.definitions, schema);
        let options = ["anyOf", "oneOf"].iter().find_map(|key| schema.get(key)).and_then(Value::as_array);
        match options {
            Some(options) => options.iter().map(|option| resolve(&self.definitions, option)).collect(),
            None => vec![schema],
        }
    }

    fn allowed(&self, schema: &Value) -> Allowed {
        let mut out = Allowed::default();
        for option in self.alternatives(schema) {
            let inner = self.alternatives(option);
            for schema in if inner.len() > 1 { inner } else { vec![option] } {
                match schema.get("type") {
                    Some(Value::String(name)) => out.types.push(name.clone()),
                    Some(Value::Array(names)) => {
                        out.types.extend(names.iter().filter_map(Value::as_str).map(str::to_owned))
                    }
                    _ => {}
                }
                let words = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
                out.words.extend(words.chain(schema.get("const")).filter_map(Value::as_str).map(str::to_owned));
            }
        }
        out.types.dedup();
        out
    }

    /// Turns the pairs of a query string into typed values. A list is given as repeated names; a list of words from an
    /// enum also with commas, which free text such as a tag may hold itself.
    #[must_use]
    pub fn from_query(&self, pairs: &[(String, String)]) -> Value {
        let mut object: Map<String, Value> = Map::new();
        for (name, text) in pairs {
            let types = self.field(name).map(|schema| self.allowed(schema).types).unwrap_or_default();
            let is = |wanted: &str| types.iter().any(|found| found == wanted);
            if is("array") {
                let list = object.entry(name.clone()).or_insert_with(|| Value::Array(Vec::new()));
                let words =
                    self.field(name).and_then(|schema| self.items(schema)).map(|items| self.allowed(&items).words);
                if let Value::Array(list) = list {
                    match words.is_some_and(|words| !words.is_empty()) {
                        true => list.extend(text.split(',').filter(|part| !part.is_empty()).map(Value::from)),
                        false => list.push(Value::from(text.as_str())),
                    }
                }
                continue;
            }
            let typed = if is("integer") || is("number") {
                text.parse::<i64>().map(Value::from).ok()
            } else if is("boolean") {
                text.parse::<bool>().map(Value::from).ok()
            } else {
                None
            };
            object.insert(name.clone(), typed.unwrap_or_else(|| Value::from(text.as_str())));
        }
        Value::Object(object)
    }
}

/// Decodes an input after every bad field had its chance to be named.
///
/// # Errors
/// The bad fields.
pub fn decode<T: DeserializeOwned>(route: &Route, input: Value) -> Result<T, ErrorBody> {
    let input = if input.is_null() { Value::Object(Map::new()) } else { input };
    Shape::of_input(route).check(&input)?;
    serde_json::from_value(input).map_err(|error| {
        let mut invalid = Invalid::new();
        invalid.add("body", error.to_string());
        ErrorBody { code: ErrorCode::ValidationFailed, ..ErrorBody::from(invalid) }
    })
}

fn resolve<'a>(definitions: &'a Map<String, Value>, schema: &'a Value) -> &'a Value {
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
    name.and_then(|name| definitions.get(name)).unwrap_or(schema)
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{ROUTES, route};

    #[test]
    fn every_bad_field_is_named_at_once() {
        let bad = json!({"titel": "x", "content": 5, "tags": ["a", 7], "human_requested": "yes"});
        let error = decode::<crate::notes::NoteCreate>(route("note.create").unwrap(), bad).unwrap_err();
        let fields: Vec<&str> = error.details.iter().map(|field| field.field.as_str()).collect();
        assert_eq!(fields, ["titel", "content", "tags[1]", "human_requested"]);
        assert!(error.details[0].message.contains("title"));
    }

    #[test]
    fn null_is_told_from_absent() {
        use crate::edge::Patch;
        let update = route("note.update").unwrap();
        let read = |value| decode::<crate::notes::NoteUpdate>(update, value).unwrap().title;
        assert_eq!(read(json!({})), Patch::Keep);
        assert_eq!(read(json!({"title": null})), Patch::Clear);
        assert_eq!(read(json!({"title": "x"})), Patch::Set("x".to_owned()));
    }

    #[test]
    fn a_query_string_becomes_typed() {
        let shape = Shape::of_input(route("search").unwrap());
        let pairs = [("q", "x"), ("kinds", "note,doc"), ("limit", "5"), ("include_global", "true"), ("limit2", "x")];
        let pairs: Vec<(String, String)> = pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let value = shape.from_query(&pairs);
        assert_eq!(value["kinds"], json!(["note", "doc"]));
        assert_eq!(value["limit"], json!(5));
        assert_eq!(value["include_global"], json!(true));
        let error = shape.check(&value).unwrap_err();
        assert_eq!(error.fields.len(), 1);
    }

    #[test]
    fn a_comma_in_a_tag_is_part_of_the_tag() {
        let pairs = [("tags", "a,b"), ("tags", "c")].map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(Shape::of_input(route("note.list").unwrap()).from_query(&pairs)["tags"], json!(["a,b", "c"]));
    }

    #[test]
    fn an_unknown_word_is_answered_with_the_known_ones() {
        let error = Shape::of_input(route("claim.take").unwrap()).check(&json!({"kind": "file"})).unwrap_err();
        assert!(error.fields[0].message.contains("issue, branch, path"), "{error}");
    }

    /// an unknown field in any request is a validation error that names it.
    #[test]
    fn q_08_no_input_takes_an_unknown_field() {
        for route in ROUTES {
            let error = Shape::of_input(route).check(&json!({"no_such_field": 1})).unwrap_err();
            assert_eq!(error.fields[0].field, "no_such_field", "{}", route.operation);
        }
    }
}
