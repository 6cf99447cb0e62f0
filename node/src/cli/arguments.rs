//! From what was typed to the call of an operation.

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use clap::ArgMatches;
use clap::parser::ValueSource;
use ctxnode_api::{Call, Route};
use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::operations::{Field, Fields, Kind, Place, VARIANTS, is_clearable, parameters, place};

/// The most bytes of a text that is read from a file or stdin; the daemon says the exact limit of each field.
const MAX_TEXT: u64 = 8 << 20;

/// Makes the call of the operation, or of the variant that a flag chose.
///
/// # Errors
/// When a file cannot be read, or an object is no JSON.
pub(super) fn call(route: &'static Route, matches: &ArgMatches, directory: &Path) -> Result<Call, Failure> {
    let route = variant(route, matches);
    let mut call = Call::new(route.operation, Value::Object(Map::new()));
    for parameter in parameters(route.path) {
        if let Some(value) = matches.get_one::<String>(parameter) {
            call = call.param(parameter, value);
        }
    }
    let mut input = Map::new();
    for field in Fields::of(route).list() {
        if let Some(value) = value(route, field, matches, directory)? {
            insert(&mut input, &field.name, value);
        }
    }
    call.input = Value::Object(input);
    Ok(call)
}

fn variant(route: &'static Route, matches: &ArgMatches) -> &'static Route {
    let chosen = VARIANTS.iter().find(|(_, of, flag)| {
        let typed = || matches.try_contains_id(flag).unwrap_or(false);
        *of == route.operation && typed() && matches.value_source(flag) == Some(ValueSource::CommandLine)
    });
    chosen.and_then(|(operation, ..)| ctxnode_api::route(operation)).unwrap_or(route)
}

/// Returns the value of a field, when one was typed.
fn value(route: &Route, field: &Field, matches: &ArgMatches, directory: &Path) -> Result<Option<Value>, Failure> {
    let name = field.name.as_str();
    if is_clearable(route.operation, name) && matches.get_flag(&format!("no_{name}")) {
        return Ok(Some(if field.kind == Kind::List { json!([]) } else { Value::Null }));
    }
    // A variant's fields are those of the command that it is a flag of.
    if !matches.try_contains_id(name).unwrap_or(false) && place(route.operation, name) != Some(Place::File) {
        return Ok(None);
    }
    let text = || matches.get_one::<String>(name).cloned();
    Ok(match (place(route.operation, name), field.kind) {
        (Some(Place::Words), _) => {
            let words = matches.get_many::<String>(name).into_iter().flatten();
            Some(words.cloned().collect::<Vec<_>>().join(" ").into())
        }
        (Some(Place::File), _) => Some(read(text().as_deref())?.into()),
        (Some(Place::OptionalFile), _) => match text() {
            Some(file) => Some(read(Some(&file))?.into()),
            None => None,
        },
        (Some(Place::Directory | Place::OptionalDirectory), _) => {
            text().map(|path| directory.join(path).display().to_string().into())
        }
        (_, Kind::Flag) => matches.get_one::<bool>(name).map(|flag| Value::from(*flag)),
        (_, Kind::Integer) => matches.get_one::<i64>(name).map(|number| Value::from(*number)),
        (_, Kind::Number) => matches.get_one::<f64>(name).map(|number| Value::from(*number)),
        (_, Kind::List) => {
            let items: Vec<String> = matches.get_many::<String>(name).into_iter().flatten().cloned().collect();
            (!items.is_empty()).then(|| json!(items))
        }
        (_, Kind::Object) => match text() {
            Some(text) => Some(serde_json::from_str(&text).map_err(|_| Failure::Usage {
                message: "an option that takes JSON did not get any",
                hint: "write it like '{\"key\": \"value\"}'",
            })?),
            None => None,
        },
        (_, Kind::Text) => text().map(Value::from),
    })
}

/// Puts a value at `name`, or at `outer.inner`.
fn insert(input: &mut Map<String, Value>, name: &str, value: Value) {
    match name.split_once('.') {
        None => drop(input.insert(name.to_owned(), value)),
        Some((outer, inner)) => {
            let object = input.entry(outer).or_insert_with(|| json!({}));
            object[inner] = value;
        }
    }
}

/// Reads a file, or stdin for `-` and where nothing was named.
fn read(file: Option<&str>) -> Result<String, Failure> {
    let mut text = String::new();
    match file {
        None if std::io::stdin().is_terminal() => {
            return Err(Failure::Usage { message: "the text is missing", hint: "name a file, or - to type it here" });
        }
        None | Some("-") => {
            let read = std::io::stdin().lock().take(MAX_TEXT).read_to_string(&mut text);
            read.map_err(Failure::file("stdin"))?;
        }
        Some(path) => {
            let file = std::fs::File::open(path).map_err(Failure::file(path))?;
            file.take(MAX_TEXT).read_to_string(&mut text).map_err(Failure::file(path))?;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::super::operations::{Extra, add_to};
    use super::*;

    fn typed(line: &[&str]) -> Call {
        let matches = add_to(Command::new("ctxnode"), Extra::new()).try_get_matches_from(line).unwrap();
        let mut path = Vec::new();
        let mut deepest = &matches;
        while let Some((name, inner)) = deepest.subcommand() {
            path.push(name);
            deepest = inner;
        }
        let path = path.join(" ");
        let route = ctxnode_api::ROUTES.iter().find(|route| route.cli == path).unwrap();
        call(route, deepest, Path::new("/home/ada")).unwrap()
    }

    #[test]
    fn flags_words_and_lists_become_an_input() {
        let call = typed(&["ctxnode", "search", "two", "words", "--kinds", "note", "--kinds", "doc", "--limit", "5"]);
        assert_eq!(call.operation, "search");
        assert_eq!(call.input, json!({ "q": "two words", "kinds": ["note", "doc"], "limit": 5 }));
        let call = typed(&["ctxnode", "note", "list", "--include-global", "--tags", "a", "--venture", "alpha"]);
        assert_eq!(call.input, json!({ "include_global": true, "tags": ["a"], "venture": "alpha" }));
    }

    #[test]
    fn a_field_is_kept_set_or_cleared() {
        let update = |flags: &[&str]| typed(&[&["ctxnode", "update"], flags].concat()).input;
        assert_eq!(update(&[]), json!({}));
        assert_eq!(update(&["--issue", "7", "--no-track"]), json!({ "issue": 7, "track": null }));
        let tried = update(&["--escalate-need", "a key", "--escalate-tried", "x", "--escalate-tried", "y"]);
        assert_eq!(tried, json!({ "escalate": { "need": "a key", "tried": ["x", "y"] } }));
    }

    #[test]
    fn a_flag_chooses_the_variant() {
        let call = typed(&["ctxnode", "claim", "release", "--id", "claim_1"]);
        assert_eq!((call.operation.as_str(), &call.params["id"]), ("claim.release-id", &json!("claim_1")));
        assert_eq!(call.input, json!({}));
        let call = typed(&["ctxnode", "claim", "release", "issue", "42"]);
        assert_eq!((call.operation.as_str(), call.input), ("claim.release", json!({ "kind": "issue", "key": "42" })));
    }

    #[test]
    fn parameters_and_directories_come_from_words() {
        let call = typed(&["ctxnode", "doc", "show", "alpha", "alpha-api.md", "--summary-only"]);
        assert_eq!((&call.params["scope"], &call.params["name"]), (&json!("alpha"), &json!("alpha-api.md")));
        assert_eq!(typed(&["ctxnode", "export", "out"]).input, json!({ "directory": "/home/ada/out" }));
    }

    #[test]
    fn an_empty_list_clears_where_a_field_can_be_cleared() {
        let call = typed(&["ctxnode", "note", "update", "note_1", "--no-tags", "--no-title"]);
        assert_eq!(call.input, json!({ "tags": [], "title": null }));
    }
}
