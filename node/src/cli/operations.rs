//! The commands of all operations, made from the API's table: what can be asked of the daemon can be typed.
//!
//! A field of an operation is a flag of its name; [`PLACES`] lists the few that are typed without one. Pure: nothing
//! here reads files or asks the daemon.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command, value_parser};
use ctxnode_api::shape::Shape;
use ctxnode_api::{ROUTES, Route};
use serde_json::Value;

/// Where a field stands, when it is not a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A word of its own.
    Word,
    /// A word of its own that may be left out.
    OptionalWord,
    /// All remaining words, joined.
    Words,
    /// The text of a file, or of stdin (`-`, or no file where stdin is no terminal).
    File,
    /// The same, only when a file or `-` is given.
    OptionalFile,
    /// A directory, made absolute.
    Directory,
    /// A directory that may be left out.
    OptionalDirectory,
}

/// The fields that are typed without a flag.
const PLACES: &[(&str, &str, Place)] = &[
    ("search", "q", Place::Words),
    ("note.create", "content", Place::File),
    ("note.update", "content", Place::OptionalFile),
    ("doc.put", "content", Place::File),
    ("doc.put-generated", "content", Place::File),
    ("venture.import", "text", Place::File),
    ("claim.take", "kind", Place::Word),
    ("claim.take", "key", Place::Word),
    ("claim.release", "kind", Place::OptionalWord),
    ("claim.release", "key", Place::OptionalWord),
    ("node.export", "directory", Place::Directory),
    ("node.backup", "directory", Place::OptionalDirectory),
    ("peer.role", "role", Place::Word),
];

/// Fields that have no flag: the key is a flag of every command, asking through a client is for clients, and people say
/// `--ttl 1h`.
const WITHOUT_FLAG: &[(&str, &str)] =
    &[("*", "update_id"), ("eod", "ask"), ("fleet.recover", "entry"), ("*", "ttl_seconds")];

/// Fields that can be emptied, by `--no-<name>`.
const CLEARABLE: &[(&str, &[&str])] =
    &[("update", &["issue", "track", "blocked_on"]), ("note.update", &["title", "tags", "venture"])];

/// Operations whose command is a flag on the command of another: which, and the flag.
pub(super) const VARIANTS: &[(&str, &str, &str)] = &[
    ("doc.put-generated", "doc.put", "generated"),
    ("claim.release-id", "claim.release", "id"),
    ("waiting.list", "quarantine.list", "waiting"),
];

/// Other names of a command.
const ALIASES: &[(&str, &str)] = &[("sod", "sos"), ("eod", "eos")];

const NOUNS: &[(&str, &str)] = &[
    ("session", "Sessions of agents"),
    ("handoff", "Handoffs between sessions"),
    ("note", "Notes"),
    ("doc", "Docs, what is required of them, and how complete they are"),
    ("claim", "Claims on issues, branches and paths"),
    ("machine", "Machines"),
    ("venture", "Ventures"),
    ("plan", "The weekly plan"),
    ("escalation", "Calls for help"),
    ("event", "What happened"),
    ("token", "Tokens for callers over TCP"),
    ("fleet", "The fleet: invitations, and what is rarely needed"),
    ("gh", "Issues and pull requests on GitHub, with the session and its handoff"),
    ("secret", "Secrets of ventures; values stay with their provider"),
    ("worktree", "Worktrees of sessions"),
    ("tmux", "Settings of tmux"),
    ("field", "Field mode: less traffic, and a machine that stays awake"),
    ("daemon", "The daemon of this machine"),
];

/// Commands that the operations' commands are joined with, by noun; the empty noun is the top.
pub(super) type Extra = Vec<(&'static str, Command)>;

/// Adds the commands of all operations, and `extra` ones, to the top command.
pub(super) fn add_to(mut top: Command, extra: Extra) -> Command {
    let mut nouns: Vec<Command> = NOUNS
        .iter()
        .map(|(name, about)| Command::new(*name).about(*about).subcommand_required(true).arg_required_else_help(true))
        .collect();
    let own = ROUTES.iter().filter(|route| !VARIANTS.iter().any(|(variant, ..)| *variant == route.operation));
    let commands = own.map(|route| {
        let (noun, verb) = route.cli.split_once(' ').unwrap_or(("", route.cli));
        (noun, command(route, verb))
    });
    for (noun, command) in commands.chain(extra) {
        match nouns.iter_mut().find(|known| known.get_name() == noun) {
            Some(parent) => *parent = std::mem::take(parent).subcommand(command),
            None => top = top.subcommand(command),
        }
    }
    top.subcommands(nouns)
}

/// Makes the command of one operation.
fn command(route: &'static Route, name: &'static str) -> Command {
    let mut command = Command::new(name).about(route.summary);
    if let Some((_, alias)) = ALIASES.iter().find(|(of, _)| *of == name) {
        command = command.visible_alias(*alias);
    }
    for parameter in parameters(route.path) {
        command = command.arg(Arg::new(parameter).required(true).value_name(parameter.to_uppercase()));
    }
    let fields = Fields::of(route);
    let mut clear = Vec::new();
    for field in fields.list() {
        if is_clearable(route.operation, &field.name) {
            let id = format!("no_{}", field.name);
            let empty = Arg::new(id.clone())
                .long(kebab(&id))
                .action(ArgAction::SetTrue)
                .conflicts_with(field.name.clone())
                .help(format!("Clears {}", kebab(&field.name)));
            clear.push(empty);
        }
        command = command.arg(argument(route.operation, field));
    }
    if let Some((_, _, flag)) = VARIANTS.iter().find(|(_, of, _)| *of == route.operation) {
        // `--id` is a field of its own operation already.
        if fields.list().iter().all(|field| field.name != *flag) {
            command = command.arg(Arg::new(*flag).long(*flag).action(ArgAction::SetTrue).help(variant_help(flag)));
        }
    }
    if route.operation == "invite.create" {
        let help = "Prints no picture of the code on a terminal";
        command = command.arg(Arg::new("no_qr").long("no-qr").action(ArgAction::SetTrue).help(help));
    }
    if route.operation == "fleet.recover" {
        command = command.long_about(
            "Makes this machine an admin of its fleet, with the recovery key that `ctxnode init` showed once. The key is \
             typed without being shown, or comes from stdin; it is never an argument and does not leave this command. It \
             revokes nobody; what it says about this machine stands against everything that others say.",
        );
    }
    command.args(clear)
}

fn variant_help(flag: &str) -> String {
    let variant = VARIANTS.iter().find(|(_, _, known)| *known == flag);
    let route = variant.and_then(|(operation, ..)| ctxnode_api::route(operation));
    route.map_or_else(String::new, |route| route.summary.to_owned())
}

fn argument(operation: &str, field: &Field) -> Arg {
    let help = field.help.split_once(". ").map_or(field.help.trim_end_matches('.'), |(first, _)| first).to_owned();
    let arg = Arg::new(field.name.clone()).help(help.clone()).long_help(field.help.clone());
    let value_name = kebab(&field.name).to_uppercase();
    let value_name = value_name.rsplit('-').next().unwrap_or("VALUE").to_owned();
    if let Some(place) = place(operation, &field.name) {
        return match place {
            Place::Word => typed(arg, field).required(true),
            Place::OptionalWord => typed(arg, field),
            Place::Words => arg.required(true).num_args(1..).value_name("WORDS"),
            Place::File | Place::OptionalFile => {
                arg.value_name("FILE").help("The file that holds the text; - is stdin").long_help(None)
            }
            Place::Directory => arg.required(true).value_name("DIR"),
            Place::OptionalDirectory => arg.value_name("DIR"),
        };
    }
    let arg = arg.long(kebab(&field.name)).value_name(value_name);
    match field.kind {
        Kind::Flag => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_parser(value_parser!(bool))
            .value_name("true|false"),
        Kind::List => {
            let text = format!("{help}; once for each, as often as needed");
            typed(arg, field).help(text).action(ArgAction::Append)
        }
        Kind::Object => arg.value_name("JSON"),
        _ => typed(arg, field),
    }
}

fn typed(arg: Arg, field: &Field) -> Arg {
    match field.kind {
        Kind::Integer => arg.value_parser(value_parser!(i64)).allow_negative_numbers(true),
        Kind::Number => arg.value_parser(value_parser!(f64)).allow_negative_numbers(true),
        _ if !field.words.is_empty() => arg.value_parser(PossibleValuesParser::new(field.words.clone())),
        _ => arg,
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Flag,
    Integer,
    Number,
    List,
    /// Any JSON object.
    Object,
}

/// One field, as it is typed.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// `name`, or `outer.inner`.
    pub(super) name: String,
    pub(super) kind: Kind,
    words: Vec<String>,
    help: String,
}

/// The fields of an operation that can be typed; those of an inner object stand beside the others.
pub(super) struct Fields(Vec<Field>);

impl Fields {
    pub(super) fn of(route: &Route) -> Self {
        let shape = Shape::of_input(route);
        let mut fields = Vec::new();
        for (name, inner) in shape.names().map(|name| (name, shape.inner(name))) {
            let hidden = |(operation, field): &(&str, &str)| {
                *field == name && (*operation == "*" || *operation == route.operation)
            };
            if WITHOUT_FLAG.iter().any(hidden) {
                continue;
            }
            match inner {
                Some(inner) => fields.extend(inner.names().map(|part| field(&inner, part, &format!("{name}.{part}")))),
                None => fields.push(field(&shape, name, name)),
            }
        }
        Self(fields)
    }

    pub(super) fn list(&self) -> &[Field] {
        &self.0
    }
}

fn field(shape: &Shape, name: &str, full: &str) -> Field {
    let allowed = shape.allows(name);
    let has = |wanted: &str| allowed.types.iter().any(|found| found == wanted);
    let kind = if has("array") {
        Kind::List
    } else if has("object") {
        Kind::Object
    } else if has("boolean") {
        Kind::Flag
    } else if has("integer") {
        Kind::Integer
    } else if has("number") {
        Kind::Number
    } else {
        Kind::Text
    };
    let described = shape.field(name).and_then(|schema| schema.get("description")).and_then(Value::as_str);
    Field { name: full.to_owned(), kind, words: allowed.words, help: described.unwrap_or_default().to_owned() }
}

/// Returns where a field is typed, when it is not a flag.
pub(super) fn place(operation: &str, field: &str) -> Option<Place> {
    PLACES.iter().find(|(of, name, _)| *of == operation && *name == field).map(|(_, _, place)| *place)
}

/// Whether a field can be emptied.
pub(super) fn is_clearable(operation: &str, field: &str) -> bool {
    CLEARABLE.iter().any(|(of, fields)| *of == operation && fields.contains(&field))
}

/// Returns the names in braces of a path.
pub(super) fn parameters(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn kebab(name: &str) -> String {
    name.replace(['_', '.'], "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Q-parity: each operation is reached by exactly the command that the table names.
    #[test]
    fn every_operation_has_the_command_of_the_table() {
        let top = add_to(Command::new("ctxnode"), Extra::new());
        for route in ROUTES {
            let words: Vec<&str> = route.cli.split(' ').collect();
            let (flags, path): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.starts_with("--"));
            let found = path.iter().try_fold(&top, |command, word| command.find_subcommand(word));
            let found = found.unwrap_or_else(|| panic!("no command {}", route.cli));
            for flag in flags {
                let has = found.get_arguments().any(|arg| arg.get_long() == Some(flag.trim_start_matches('-')));
                assert!(has, "{} has no {flag}", route.cli);
            }
        }
        top.debug_assert();
    }

    #[test]
    fn every_place_and_clearable_field_exists() {
        let named = PLACES.iter().map(|(operation, field, _)| (*operation, *field));
        let clearable = CLEARABLE.iter().flat_map(|(of, fields)| fields.iter().map(move |field| (*of, *field)));
        for (operation, field) in named.chain(clearable) {
            let fields = Fields::of(ctxnode_api::route(operation).unwrap());
            assert!(fields.list().iter().any(|known| known.name == field), "{operation}.{field}");
        }
    }
}
