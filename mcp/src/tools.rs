//! The tools: what each is called, when to use it, what it takes, and which operation of the gate it becomes.
//!
//! A tool checks the names and types of its arguments, because it advertises less than some operations accept; all
//! other checking is done behind the gate, once for every kind of caller.

mod knowledge;
mod session;
mod work;

use std::sync::{Arc, LazyLock};

use ctxnode_api::routes::SchemaOf;
use ctxnode_api::shape::Shape;
use ctxnode_api::{Call, ErrorBody, Route, route};
use rmcp::model::ToolAnnotations;
use serde_json::{Map, Value};

use crate::schema;

/// The arguments of a call.
pub(crate) type Arguments = Map<String, Value>;

/// One tool.
#[derive(Debug)]
pub struct Tool {
    /// Its name, without a prefix.
    pub name: &'static str,
    /// When to use it, then what it does.
    pub description: &'static str,
    /// What clients may assume.
    pub hints: Hints,
    pub(crate) input: SchemaOf,
    pub(crate) nullable: &'static [&'static str],
    pub(crate) output: &'static [(&'static str, &'static str)],
    /// The operation that stands for the tool's right and limits.
    pub(crate) operation: &'static str,
    pub(crate) plan: fn(Arguments) -> Result<Step, ErrorBody>,
}

/// What clients may assume of a tool. None is destructive: what agents can do can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hints {
    /// It changes nothing.
    pub read_only: bool,
    /// Calling it twice is the same as calling it once.
    pub idempotent: bool,
    /// It asks GitHub.
    pub open_world: bool,
}

impl Hints {
    const READ: Self = Self { read_only: true, idempotent: false, open_world: false };
    const IDEMPOTENT: Self = Self { read_only: false, idempotent: true, open_world: false };
    const WRITE: Self = Self { read_only: false, idempotent: false, open_world: false };

    const fn open_world(mut self) -> Self {
        self.open_world = true;
        self
    }
}

/// What a tool call becomes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// One call through the gate.
    Call(Call),
    /// A call that a human confirms first, through the client.
    Confirmed(Call),
    /// A doc without a scope: that of the caller's venture, else the global one.
    NearestDoc(Call),
}

/// Returns every tool, in the order of the list.
pub fn all() -> impl Iterator<Item = &'static Tool> {
    session::TOOLS.iter().chain(knowledge::TOOLS).chain(work::TOOLS)
}

/// Returns a tool.
#[must_use]
pub fn named(name: &str) -> Option<&'static Tool> {
    all().find(|tool| tool.name == name)
}

/// Returns the list as clients get it.
#[must_use]
pub fn listed() -> Vec<rmcp::model::Tool> {
    static LISTED: LazyLock<Vec<rmcp::model::Tool>> = LazyLock::new(|| all().map(Tool::listed).collect());
    LISTED.clone()
}

impl Tool {
    fn listed(&self) -> rmcp::model::Tool {
        let hints = self.hints;
        let annotations = ToolAnnotations::new()
            .read_only(hints.read_only)
            .destructive(false)
            .idempotent(hints.idempotent)
            .open_world(hints.open_world);
        rmcp::model::Tool::new(self.name, self.description, schema::input(self.input, self.nullable))
            .with_raw_output_schema(Arc::new(schema::output(self.output)))
            .with_annotations(annotations)
    }

    /// Turns arguments into what is to be done.
    ///
    /// # Errors
    /// Every argument with an unknown name or a wrong type, or a missing `action`.
    pub(crate) fn plan(&self, arguments: Arguments) -> Result<Step, ErrorBody> {
        let checked = Value::Object(arguments);
        self.shape().check(&checked)?;
        match checked {
            Value::Object(arguments) => (self.plan)(arguments),
            _ => (self.plan)(Arguments::new()),
        }
    }

    fn shape(&self) -> Shape {
        let operation = route(self.operation).expect("every tool names an operation of the table, which a test holds");
        Shape::of_input(&Route { input: self.input, ..*operation })
    }
}

/// Takes the word that says which operation is meant.
fn take_action(arguments: &mut Arguments, known: &[&str]) -> Result<String, ErrorBody> {
    match arguments.remove("action") {
        Some(Value::String(action)) => Ok(action),
        _ => Err(ErrorBody::field("action", format!("is missing; one of {}", known.join(", ")))),
    }
}

/// Takes a text that becomes part of the path.
fn take_text(arguments: &mut Arguments, name: &str) -> Result<String, ErrorBody> {
    match arguments.remove(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        _ => Err(ErrorBody::field(name, "is missing")),
    }
}
