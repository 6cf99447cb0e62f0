//! The texts of the commands. Every word in backticks is a tool, a command that exists, or a value.

/// A command of agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skill {
    /// Its name.
    pub name: &'static str,
    /// When to use it; what a CLI lists.
    pub description: &'static str,
    /// What a human may write after the name.
    pub arguments: Option<&'static str>,
    /// What to do.
    pub body: &'static str,
}

/// Every command.
pub const SKILLS: &[Skill] = &[
    Skill {
        name: "sod",
        description: "Start of day: start or resume the ctxnode session of this repository and show its context.",
        arguments: Some("optionally a venture, a track or an issue"),
        body: "
1. Call the tool `preflight`. Show only checks that failed or warn, each with its fix.
2. Call the tool `sod` with what the human named. When it answers that a venture must be selected, that another
   directory is meant or that a clone is missing, say so and stop.
3. Show the box and the parts that it returned, unchanged.
4. Ask: \"What would you like to focus on?\" Then stop and wait. Call no further tool before the human answered.
",
    },
    Skill {
        name: "eod",
        description: "End of day: draft a handoff, have the human confirm it once, store it and end the session.",
        arguments: None,
        body: "
1. Gather what happened in this session: `git log --oneline` since its start, `git status --short`, pull requests and
   issues that were touched, and what `context` says about claims and warnings.
2. Draft four lists: accomplished, in progress, blocked, next steps. Each item names a fact: an issue, a commit, a file.
   List in `closes` the open handoffs shown at the start that are finished now.
3. Show the draft and ask one question: \"Store this handoff and end the session? (yes/no)\" The human does not write it.
4. On yes call the tool `handoff` with the lists, the status and `confirmed_by` as `human`. On no change nothing.
5. Report the id of the handoff, and uncommitted or unpushed work that the reply names.
",
    },
    Skill {
        name: "handoff",
        description: "Hand an issue over for review while the session goes on: commit, push, handoff, label.",
        arguments: Some("the issue number"),
        body: "
1. Without an issue number ask for it. Look at the issue with `gh issue view`; when it has no label from `qa:0` to `qa:4` and
   the human named no grade, ask for one.
2. Write the lists: accomplished, in progress, blocked, next steps. Each item names a fact: a commit, a file, a test.
3. Run `ctxnode gh handoff` with the issue, `--accomplished`, `--in-progress`, `--blocked` and `--next-steps` once per item, and
   `--grade` when it was asked for. It commits, pushes the branch, stores the handoff, comments on the issue and sets its
   labels; the session goes on.
4. Show what it printed. When a step failed, say which, and what was done before it.
",
    },
    Skill {
        name: "question",
        description: "Ask the product owner a question on an issue and mark the session as waiting for the answer.",
        arguments: Some("the issue number and the question"),
        body: "
1. Write the question, what was tried, and which answer would unblock the work.
2. Run `ctxnode gh question` with the issue, the question, and `--tried` once per attempt. It comments, adds `needs:pm` beside
   the other labels, and marks the session as waiting.
3. Show what it printed, and go on with other work.
",
    },
    Skill {
        name: "merge",
        description: "Merge a verified and green pull request, close its issue and record it as done.",
        arguments: Some("the issue or pull request number"),
        body: "
1. Run `ctxnode gh merge` with the number. It merges only what has the label `status:verified` and green checks, closes the
   issue, sets `status:done`, takes every label off that begins with `needs:`, and records a handoff with status done.
2. When it refuses, say what is missing. It has changed nothing then; do not merge by hand.
3. Show what it printed.
",
    },
    Skill {
        name: "status",
        description: "Show where work stands: open issues by queue, live sessions, claims and open handoffs.",
        arguments: Some("optionally a venture"),
        body: "
1. Show the issues that matter with `gh issue list`: those labelled `prio:P0`, `status:ready`, `status:in-progress` and
   `status:blocked`, each with number, title and age, and how many there are. When `gh` fails, say so; it is not empty.
2. Show who works: `ctxnode session list`, and what they hold: the tool `claim` with action `list`.
3. Show open handoffs: `ctxnode handoff list --open`.
",
    },
    Skill {
        name: "update",
        description: "Bring the ctxnode session up to date with branch, commit, issue or free values.",
        arguments: Some("what changed, in words"),
        body: "
1. Read the branch and the commit from git when they changed.
2. Call the tool `update` with the fields that changed, and with nothing else. `issue` as null clears the issue.
3. Show its warnings.
",
    },
    Skill {
        name: "heartbeat",
        description: "Show the ctxnode session and its next heartbeat. Never needed: every call is a heartbeat.",
        arguments: None,
        body: "
Call the tool `update` without any field. Show the session's id, its age, and when the next heartbeat is due.
",
    },
    Skill {
        name: "escalate",
        description: "Call for human help in the form BLOCKED / TRIED / NEED when work cannot go on.",
        arguments: Some("what blocks"),
        body: "
1. Write three parts. BLOCKED: what does not work, with the exact error. TRIED: each attempt in one line. NEED: the one
   thing that a human must decide or provide.
2. Call the tool `update` with `escalate`: `trigger`, `error`, `tried` as a list, `need`, and the issue when there is one.
3. Show the three parts and the id of the escalation. Stop the blocked work; other work may go on.
",
    },
    Skill {
        name: "claim",
        description: "Say what this session works on, so that other agents see it: an issue, a branch or paths.",
        arguments: Some("an issue number, a branch or a path glob; or nothing, to list"),
        body: "
Call the tool `claim`: action `take` with kind and key for what the human named, `release` to give it back, `list`
without arguments. When somebody else holds it, show who, since when and why, and ask the human before `force`.
",
    },
    Skill {
        name: "plan",
        description: "Show the weekly plan, and write a new one when it is missing or stale.",
        arguments: None,
        body: "
1. Call the tool `plan` and show it with its age.
2. When it is missing or stale, ask the human for the priority venture, the target issues and the capacity, in one
   question. Then write it with `ctxnode plan set`; `ctxnode plan set --help` names the fields.
",
    },
    Skill {
        name: "note",
        description: "Store a note for the whole team when the human asked for it in this conversation.",
        arguments: Some("what to keep"),
        body: "
1. The human who calls this command asks for the note. Keep what makes agents smarter; code, secrets, personal notes and
   logs of sessions do not belong into notes.
2. Look with the tool `search` for a note on the subject; change that one instead of making a second one.
3. Call the tool `note` with action `create` or `update`, a title, the content, fitting tags, and `human_requested` as
   `true`. Without a venture the note is global: ask when it is not clear.
4. Show the id and the title.
",
    },
    Skill {
        name: "search",
        description: "Search what the team knows: notes, docs and handoffs.",
        arguments: Some("what to look for"),
        body: "
1. Call the tool `search` with the words that the human named.
2. Show the rows with kind, title, age and id, and how many there are in all.
3. Read what answers the question with `notes` (an id) or `doc` (a name), and answer from it. Say how old it is.
",
    },
];
