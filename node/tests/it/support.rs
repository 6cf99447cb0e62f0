//! A ready home for a test, and callers that ask its daemon.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use ctxnode_api::caller::CallerKind;
use ctxnode_api::client::Answer;
use ctxnode_api::{Call, Caller, Client, ClientError, Endpoint, ErrorBody};
use ctxnode_testkit::{Daemon, Repo, Sandbox, wait_until};
use serde_json::{Value, json};

/// How long something that follows a write by itself may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Makes a home with a replica that knows two ventures, `alpha` (`alpha-org/console`) and `beta` (`beta-org/shop`).
pub(crate) fn ready() -> Sandbox {
    let sandbox = Sandbox::new();
    let made = ctxnode(&sandbox, &["init", "--name", "test"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    sandbox
}

/// Starts the daemon and makes the ventures.
pub(crate) fn start(sandbox: &Sandbox) -> Daemon<'_> {
    let daemon = Daemon::start(sandbox);
    for (code, org, repo) in [("alpha", "alpha-org", "console"), ("beta", "beta-org", "shop")] {
        let input = json!({ "name": code, "org": org, "repos": [format!("{org}/{repo}")] });
        person(sandbox).ok(&Call::new("venture.put", input).param("code", code));
    }
    daemon
}

/// The same, with a listener on TCP; returns its address too.
pub(crate) fn start_with_http(sandbox: &Sandbox) -> (Daemon<'_>, String) {
    // Nobody else on this machine is given this port again so soon.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let config = sandbox.home().join(".config/ctxnode");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("config.toml"), format!("[http]\nlisten = \"{address}\"\n")).unwrap();
    (start(sandbox), address)
}

/// Makes `~/dev/<name>` as a checkout of alpha's repo.
pub(crate) fn alpha_repo<'a>(sandbox: &'a Sandbox, name: &str) -> Repo<'a> {
    Repo::with_origin(sandbox, name, "git@github.com:alpha-org/console.git")
}

/// Runs the command line in the home.
pub(crate) fn ctxnode(sandbox: &Sandbox, arguments: &[&str]) -> Output {
    sandbox.command("ctxnode").args(arguments).current_dir(sandbox.dev_dir()).output().unwrap()
}

/// Returns what a command printed.
pub(crate) fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Somebody who calls over the socket.
#[derive(Clone, Debug)]
pub(crate) struct Who<'a> {
    sandbox: &'a Sandbox,
    caller: Caller,
    headers: &'static [(&'static str, &'static str)],
}

/// A person on a terminal.
pub(crate) fn person(sandbox: &Sandbox) -> Who<'_> {
    Who { sandbox, caller: Caller { kind: CallerKind::Person, ..Caller::default() }, headers: &[] }
}

/// A script that asks as often as it likes.
pub(crate) fn script(sandbox: &Sandbox) -> Who<'_> {
    Who { sandbox, caller: Caller::default(), headers: &[(ctxnode_api::headers::CALLER, "import")] }
}

/// An agent that names itself, working in a directory.
pub(crate) fn agent<'a>(sandbox: &'a Sandbox, name: &str, directory: &Path) -> Who<'a> {
    let caller =
        Caller { agent: Some(name.to_owned()), directory: Some(directory.display().to_string()), ..Caller::default() };
    Who { sandbox, caller, headers: &[] }
}

impl Who<'_> {
    /// Asks and returns the whole answer or the client's error.
    pub(crate) fn ask(&self, call: &Call) -> Result<Answer, ClientError> {
        self.ask_with(call, self.headers)
    }

    /// Asks with more headers.
    pub(crate) fn ask_with(&self, call: &Call, headers: &[(&'static str, &str)]) -> Result<Answer, ClientError> {
        let client = Client::new(Endpoint::Socket(self.sandbox.socket())).with_caller(&self.caller).unwrap();
        block_on(async { { client }.call_with(call, headers).await })
    }

    /// Asks for something that must work; returns the body without the id of the call, so that two answers can be compared.
    pub(crate) fn ok(&self, call: &Call) -> Value {
        match self.ask(call) {
            Ok(mut answer) => {
                if let Some(fields) = answer.body.as_object_mut() {
                    assert!(
                        fields.remove("correlation_id").is_some() || call.operation == "openapi",
                        "{}",
                        call.operation
                    );
                }
                answer.body
            }
            Err(error) => panic!("{}: {error:?}", call.operation),
        }
    }

    /// Asks for something that must be refused; returns why.
    pub(crate) fn refused(&self, call: &Call) -> ErrorBody {
        match self.ask(call) {
            Err(ClientError::Refused(body)) => *body,
            other => panic!("{}: {other:?}", call.operation),
        }
    }

    /// The same, for an operation without path parameters.
    pub(crate) fn do_(&self, operation: &str, input: Value) -> Value {
        self.ok(&Call::new(operation, input))
    }

    /// The same, for an operation that must be refused.
    pub(crate) fn refused_(&self, operation: &str, input: Value) -> ErrorBody {
        self.refused(&Call::new(operation, input))
    }
}

/// Runs a future to its end.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Waits until a search by `who` finds what `good` looks for, and returns the answer.
pub(crate) fn found(who: &Who<'_>, input: &Value, good: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    wait_until(SOON, "the search finds it", || {
        last = who.do_("search", input.clone());
        good(&last)
    });
    last
}

/// Returns the files below a folder, hidden ones too, that hold some bytes.
pub(crate) fn files_holding(folder: &Path, wanted: &[u8]) -> Vec<PathBuf> {
    let entries = ignore::WalkBuilder::new(folder).standard_filters(false).build().flatten();
    let files = entries.filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()));
    // One that went away meanwhile holds nothing.
    let is_held = |path: &PathBuf| holds(&std::fs::read(path).unwrap_or_default(), wanted);
    files.map(|entry| entry.into_path()).filter(is_held).collect()
}

/// Whether some bytes stand in others. What cannot be the end of them is jumped over (Horspool): stores are large, and a look at
/// every position takes seconds in a test.
fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    let last = wanted.len() - 1;
    let mut jumps = [wanted.len(); 256];
    for (at, byte) in wanted[..last].iter().enumerate() {
        jumps[usize::from(*byte)] = last - at;
    }
    let mut at = 0;
    while let Some(part) = bytes.get(at..at + wanted.len()) {
        if part == wanted {
            return true;
        }
        at += jumps[usize::from(part[last])];
    }
    false
}

/// The text of a field.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no text {name} in {value}"))
}
