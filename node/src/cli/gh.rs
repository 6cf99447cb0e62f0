//! `ctxnode gh handoff`, `question` and `merge`: what agents' commands do with an issue, in one piece and alike in every CLI.
//!
//! Git and GitHub are asked without a shell, texts go in by stdin. What could be refused is asked first; a step that fails after
//! that says what was done before it.

mod outgoing;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use ctxnode_api::Call;
use ctxnode_launcher::program::{Program, find};
use ctxnode_model::rules::github::{LabelEdit, grade, linked_issue, not_green};
use ctxnode_model::rules::secrets::scan;
use ctxnode_model::rules::text::is_commit;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::failure::{Exit, Failure};
use super::screen::Form;
use super::world::World;
use crate::checkout::Checkout;

/// How long one call to git or GitHub may take; a push of a large branch is the slowest.
const LIMIT: Duration = Duration::from_secs(120);
/// Pull requests that are looked through for the one of an issue.
const PULL_REQUESTS: &str = "100";

pub(super) fn commands() -> Vec<(&'static str, Command)> {
    let number = |name: &'static str, help: &'static str| {
        Arg::new(name).required(true).value_parser(value_parser!(u32).range(1..)).value_name("NUMBER").help(help)
    };
    let list = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name.replace('_', "-")).action(ArgAction::Append).value_name("TEXT").help(help)
    };
    let dry = || Arg::new("dry_run").long("dry-run").action(ArgAction::SetTrue).help("Prints the steps only");
    let grades = value_parser!(u8).range(0..=4);
    let handoff = Command::new("handoff")
        .about("Hands an issue over for review: commit, push, handoff, comment, labels; the session goes on")
        .arg(number("issue", "The issue"))
        .arg(
            Arg::new("grade")
                .long("grade")
                .value_parser(grades)
                .value_name("0-4")
                .help("The grade of QA, when the issue has none"),
        )
        .arg(
            Arg::new("status")
                .long("status")
                .value_name("STATUS")
                .default_value("in_progress")
                .help("in_progress, blocked or done"),
        )
        .arg(Arg::new("message").long("message").value_name("TEXT").help("The message of the commit"))
        .arg(list("accomplished", "What was finished; repeat it for more"))
        .arg(list("in_progress", "What is begun"))
        .arg(list("blocked", "What cannot go on, and why"))
        .arg(list("next_steps", "What to do next"))
        .arg(dry());
    let question = Command::new("question")
        .about("Asks the product owner on an issue, and marks the session as waiting for the answer")
        .arg(number("issue", "The issue"))
        .arg(Arg::new("text").required(true).num_args(1..).value_name("QUESTION").help("The question"))
        .arg(list("tried", "What was tried; repeat it for more"))
        .arg(dry());
    let merge = Command::new("merge")
        .about("Merges what is verified and green, closes its issue, and records it as done")
        .arg(number("number", "The issue, or its pull request"))
        .arg(dry());
    vec![("gh", handoff), ("gh", question), ("gh", merge)]
}

/// A piece of work, and how far it has come.
struct Work<'a> {
    world: &'a World,
    checkout: Checkout,
    gh: PathBuf,
    dry: bool,
    done: Vec<String>,
}

/// An issue as GitHub shows it.
struct Issue {
    number: u32,
    title: String,
    labels: Vec<String>,
}

impl<'a> Work<'a> {
    async fn begin(world: &'a World, matches: &ArgMatches) -> Result<Self, Failure> {
        let checkout = Checkout::at(&world.directory).await.ok_or(Failure::Usage {
            message: "this directory is in no git checkout",
            hint: "go into the checkout of the issue's repository",
        })?;
        let gh = find("gh", &world.env).ok_or(Failure::Usage {
            message: "gh is not installed",
            hint: "install it (https://cli.github.com), then run gh auth login",
        })?;
        Ok(Self { world, checkout, gh, dry: matches.get_flag("dry_run"), done: Vec::new() })
    }

    fn failed(&self, step: &'static str, reason: impl Into<String>) -> Failure {
        Failure::Work { step, reason: reason.into(), done: self.done.clone() }
    }

    async fn run(&self, step: &'static str, program: Program) -> Result<String, Failure> {
        let program =
            program.within(&self.checkout.root).with("GH_PROMPT_DISABLED", "1").with("GIT_TERMINAL_PROMPT", "0");
        let done = program.run(LIMIT).await.map_err(|error| self.failed(step, error.to_string()))?;
        if done.status.success() {
            return Ok(String::from_utf8_lossy(&done.output).trim().to_owned());
        }
        let errors = String::from_utf8_lossy(&done.errors).into_owned();
        let line = errors.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it failed without a word");
        Err(self.failed(step, line.trim()))
    }

    /// Asks; this changes nothing, and is done in a dry run too.
    async fn ask(&self, step: &'static str, words: &[&str]) -> Result<Value, Failure> {
        let text = self.run(step, Program::new(&self.gh, words.iter().copied())).await?;
        serde_json::from_str(&text).map_err(|_| self.failed(step, "gh printed no JSON"))
    }

    /// Changes something on GitHub or in git, unless it is a dry run; `what` says it to people.
    async fn change(&mut self, step: &'static str, what: String, program: Program) -> Result<String, Failure> {
        let printed = if self.dry { String::new() } else { self.run(step, program).await? };
        self.done.push(what);
        Ok(printed)
    }

    async fn issue(&self, number: u32) -> Result<Issue, Failure> {
        let found = self.ask("issue", &["issue", "view", &number.to_string(), "--json", "number,title,labels"]).await?;
        let labels = found["labels"].as_array().into_iter().flatten();
        Ok(Issue {
            number,
            title: found["title"].as_str().unwrap_or_default().to_owned(),
            labels: labels.filter_map(|label| label["name"].as_str()).map(str::to_owned).collect(),
        })
    }

    async fn git(&mut self, step: &'static str, what: String, words: &[&str]) -> Result<(), Failure> {
        self.change(step, what, Program::new("git", words.iter().copied())).await.map(drop)
    }

    async fn comment(&mut self, issue: u32, text: String) -> Result<String, Failure> {
        let mut program = Program::new(&self.gh, ["issue", "comment", &issue.to_string(), "--body-file", "-"]);
        program.input = Some(Zeroizing::new(text.into_bytes()));
        self.change("comment", format!("comment on #{issue}"), program).await
    }

    async fn relabel(&mut self, issue: u32, edit: &LabelEdit) -> Result<(), Failure> {
        let (add, remove) = (edit.add.join(","), edit.remove.join(","));
        let number = issue.to_string();
        let mut words = vec!["issue", "edit", &number];
        words.extend(
            [("--add-label", &add), ("--remove-label", &remove)]
                .iter()
                .filter(|(_, list)| !list.is_empty())
                .flat_map(|(flag, list)| [*flag, list.as_str()]),
        );
        if words.len() == 3 {
            return Ok(());
        }
        let what = format!("labels of #{issue}: +[{add}] -[{remove}]");
        self.change("labels", what, Program::new(&self.gh, words)).await.map(drop)
    }

    /// Asks the daemon to change something.
    async fn tell(&mut self, what: String, call: &Call) -> Result<Value, Failure> {
        let body = if self.dry { Value::Null } else { self.world.ask(self.world.client().await?, call).await?.body };
        self.done.push(what);
        Ok(body)
    }

    fn end(self, mut answer: Value) -> Result<Exit, Failure> {
        match self.world.screen.form {
            Form::Json => {
                answer["dry_run"] = self.dry.into();
                answer["done"] = json!(self.done);
                self.world.screen.print_json(&answer)?;
            }
            Form::People => {
                let lead = if self.dry { "would do: " } else { "done: " };
                self.world
                    .screen
                    .print(&self.done.iter().map(|line| format!("{lead}{line}")).collect::<Vec<_>>().join("\n"))?;
            }
        }
        Ok(Exit::Done)
    }
}

fn texts(matches: &ArgMatches, name: &str) -> Vec<String> {
    matches.get_many::<String>(name).into_iter().flatten().cloned().collect()
}

pub(super) async fn handoff(world: &World, matches: &ArgMatches) -> Result<Exit, Failure> {
    let number = *matches.get_one::<u32>("issue").unwrap_or(&0);
    let mut work = Work::begin(world, matches).await?;
    let Some(branch) = work.checkout.branch.clone() else {
        return Err(work.failed("branch", "the head is detached; check the issue's branch out"));
    };
    let is_default = work
        .checkout
        .default_branch
        .as_ref()
        .map_or(["main", "master"].contains(&branch.as_str()), |name| *name == branch);
    if is_default {
        return Err(work.failed(
            "branch",
            format!("{branch} is the default branch; the work of an issue has a branch of its own"),
        ));
    }
    let issue = work.issue(number).await?;
    let asked = matches.get_one::<u8>("grade").copied();
    let Some(grade) = asked.or_else(|| grade(&issue.labels)) else {
        return Err(Failure::Usage {
            message: "the issue has no grade of QA",
            hint: "ask the human for one, 0 to 4, and give it with --grade",
        });
    };
    let lists = ["accomplished", "in_progress", "blocked", "next_steps"].map(|name| (name, texts(matches, name)));
    let status = matches.get_one::<String>("status").map_or("in_progress", String::as_str);
    let mut input = json!({ "issue": number, "keep_open": true, "status": status });
    for (name, items) in &lists {
        input[*name] = json!(items);
        // Before anything is pushed: what a comment shows cannot be taken back.
        if items.iter().any(|item| scan(item).is_some()) {
            return Err(work.failed("handoff", format!("{name} looks like it holds a secret")));
        }
    }
    if world.screen.person {
        input["confirmed_by"] = "human".into();
    }
    let outgoing = outgoing::look(&work.checkout.root).await.map_err(|reason| work.failed("commit", reason))?;
    if outgoing.changes {
        let message =
            matches.get_one::<String>("message").cloned().unwrap_or_else(|| format!("{} (#{number})", issue.title));
        let words = outgoing.words();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        work.git("commit", "stage the changes".to_owned(), &words).await?;
        work.git("commit", format!("commit on {branch}"), &["commit", "--quiet", "--message", &message]).await?;
    } else {
        work.done.push("nothing to commit".to_owned());
    }
    let push = ["push", "--quiet", "--set-upstream", "origin", &branch];
    work.git("push", format!("push {branch}"), &push).await?;
    let stored = work.tell(format!("handoff with issue {number}"), &Call::new("eod", input)).await?;
    if stored["git_view"].as_str().is_some_and(|view| view.contains("committed")) {
        work.git("push", "push the view of handoffs".to_owned(), &push).await?;
    }
    let comment = rendered(&stored, status, &lists);
    let link = work.comment(number, comment).await?;
    let edit = LabelEdit::status(&issue.labels, "qa").and(&issue.labels, "needs:qa").and_grade(&issue.labels, grade);
    work.relabel(number, &edit).await?;
    let id = stored["handoff_id"].clone();
    work.done.push(format!("handoff id {}", id.as_str().unwrap_or("(dry run)")));
    work.end(json!({ "handoff_id": id, "comment": link, "grade": grade }))
}

/// The handoff as a comment.
fn rendered(stored: &Value, status: &str, lists: &[(&str, Vec<String>); 4]) -> String {
    let titles = ["Accomplished", "In progress", "Blocked", "Next steps"];
    let id = stored["handoff_id"].as_str().unwrap_or_default();
    let mut out = format!("Handoff `{id}` ({})\n", status.replace('_', " "));
    for (title, (_, items)) in titles.iter().zip(lists).filter(|(_, (_, items))| !items.is_empty()) {
        out.push_str(&format!("\n### {title}\n\n"));
        out.extend(items.iter().map(|item| format!("- {}\n", item.replace('\n', "\n  "))));
    }
    out
}

pub(super) async fn question(world: &World, matches: &ArgMatches) -> Result<Exit, Failure> {
    let number = *matches.get_one::<u32>("issue").unwrap_or(&0);
    let question = texts(matches, "text").join(" ");
    let tried = texts(matches, "tried");
    let mut work = Work::begin(world, matches).await?;
    if std::iter::once(&question).chain(&tried).any(|text| scan(text).is_some()) {
        return Err(work.failed("question", "the text looks like it holds a secret"));
    }
    let issue = work.issue(number).await?;
    let mut text = format!("{question}\n");
    if !tried.is_empty() {
        text.push_str("\nTried:\n\n");
        text.extend(tried.iter().map(|item| format!("- {item}\n")));
    }
    let link = work.comment(number, text).await?;
    work.relabel(issue.number, &LabelEdit::default().and(&issue.labels, "needs:pm")).await?;
    let line = question.split_whitespace().collect::<Vec<_>>().join(" ");
    let blocked = format!("#{number}: {}", ctxnode_model::rules::text::ellipsis(&line, 200));
    work.tell("the session waits for the answer".to_owned(), &Call::new("update", json!({ "blocked_on": blocked })))
        .await?;
    work.end(json!({ "comment": link, "blocked_on": blocked }))
}

pub(super) async fn merge(world: &World, matches: &ArgMatches) -> Result<Exit, Failure> {
    let number = *matches.get_one::<u32>("number").unwrap_or(&0);
    let mut work = Work::begin(world, matches).await?;
    let fields = "number,title,body,headRefName,headRefOid,statusCheckRollup,url";
    let open = work
        .ask("pull request", &["pr", "list", "--state", "open", "--limit", PULL_REQUESTS, "--json", fields])
        .await?;
    let text = |request: &Value, name: &str| request[name].as_str().unwrap_or_default().to_owned();
    let linked = |request: &Value| linked_issue(&text(request, "body"), &text(request, "headRefName"));
    let all = open.as_array().cloned().unwrap_or_default();
    let found = all
        .iter()
        .find(|request| request["number"] == number)
        .or_else(|| all.iter().find(|request| linked(request) == Some(number)));
    let Some(request) = found else {
        return Err(work.failed("pull request", format!("no open pull request is #{number} or belongs to it")));
    };
    let pull = u32::try_from(request["number"].as_u64().unwrap_or_default()).unwrap_or_default();
    let Some(of) = linked(request) else {
        return Err(work.failed("issue", format!("pull request #{pull} names no issue in its text or its branch")));
    };
    let issue = work.issue(of).await?;
    if !issue.labels.iter().any(|label| label == "status:verified") {
        let status = issue.labels.iter().find(|label| label.starts_with("status:")).map_or("no status", String::as_str);
        return Err(work.failed("verified", format!("#{of} has {status}, not status:verified; nothing was changed")));
    }
    let rollup = request["statusCheckRollup"].as_array().cloned().unwrap_or_default();
    let checks: Vec<(String, String)> = rollup
        .iter()
        .map(|check| {
            let either = |names: [&str; 2]| {
                names
                    .iter()
                    .find_map(|name| check[*name].as_str().filter(|text| !text.is_empty()))
                    .unwrap_or_default()
                    .to_owned()
            };
            (either(["name", "context"]), either(["conclusion", "state"]))
        })
        .collect();
    let pairs: Vec<(&str, &str)> = checks.iter().map(|(name, outcome)| (name.as_str(), outcome.as_str())).collect();
    match not_green(&pairs) {
        Some(red) if red.is_empty() => {}
        Some(red) => return Err(work.failed("checks", format!("not green: {}; nothing was changed", red.join(", ")))),
        None => return Err(work.failed("checks", format!("pull request #{pull} has no checks; nothing was changed"))),
    }
    let head = text(request, "headRefOid");
    if !is_commit(&head) {
        return Err(work.failed("checks", format!("gh names no head of pull request #{pull}; nothing was changed")));
    }
    let (pull_word, issue_word) = (pull.to_string(), of.to_string());
    // What was pushed since has not been looked at.
    let program = Program::new(&work.gh, ["pr", "merge", &pull_word, "--merge", "--match-head-commit", &head]);
    work.change("merge", format!("merge pull request #{pull}"), program).await?;
    let program = Program::new(&work.gh, ["issue", "close", &issue_word]);
    work.change("close", format!("close #{of}"), program).await?;
    let edit = LabelEdit::status(&issue.labels, "done").without_needs(&issue.labels);
    work.relabel(of, &edit).await?;
    let merged = format!("Merged pull request #{pull}: {}", text(request, "title"));
    let mut input = json!({ "issue": of, "status": "done", "keep_open": true, "accomplished": [merged] });
    if world.screen.person {
        input["confirmed_by"] = "human".into();
    }
    let stored = work.tell(format!("done handoff with issue {of}"), &Call::new("eod", input)).await?;
    work.end(json!({ "handoff_id": stored["handoff_id"], "pull_request": pull, "issue": of }))
}
