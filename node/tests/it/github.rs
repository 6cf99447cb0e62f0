//! The commands for issues against a stand-in for `gh` that keeps one issue and one pull request in files.

use std::fs;
use std::path::Path;

use ctxnode_testkit::{Repo, Sandbox};
use serde_json::{Value, json};

use crate::hooks::Cli;
use crate::support::{person, ready, start};

/// Keeps labels one a line, comments, and a log of what was changed.
const GH: &str = r##"cd "$HOME/github" || exit 2
names() { while read -r l; do [ -n "$l" ] && printf '%s{"name":"%s"}' "$s" "$l" && s=,; done <labels; }
case "$1 $2" in
    "issue view") printf '{"number":%s,"title":"Fix the login","labels":[' "$3"; s=; names; echo ']}' ;;
    "issue comment") cat >>comments; echo "comment $3" >>log; echo "https://github.com/alpha-org/console/issues/$3#issuecomment-1" ;;
    "issue close") echo "close $3" >>log ;;
    "issue edit") echo "edit $*" >>log; shift 3
        while [ $# -gt 0 ]; do
            for l in $(echo "$2" | tr ',' ' '); do
                grep -vxF "$l" labels >labels.new; mv labels.new labels
                [ "$1" = --add-label ] && echo "$l" >>labels
            done
            shift 2
        done ;;
    "pr list") printf '[{"number":90,"title":"Login","body":"Fixes #87","headRefName":"dev/mac/87-login","headRefOid":"%s","url":"u","statusCheckRollup":%s}]' "$(cat head)" "$(cat checks)"
        [ -e moves ] && cat moves >head ;;
    "pr merge") [ "$5 $6" = "--match-head-commit $(cat head)" ] || { echo "Head branch was modified" >&2; exit 1; }
        echo "merge $3" >>log ;;
    *) exit 3 ;;
esac
exit 0"##;

struct Place<'a> {
    sandbox: &'a Sandbox,
    repo: Repo<'a>,
}

impl<'a> Place<'a> {
    fn make(sandbox: &'a Sandbox, labels: &str) -> Self {
        let folder = sandbox.home().join("github");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("labels"), labels).unwrap();
        fs::write(folder.join("checks"), "[{\"name\":\"test\",\"conclusion\":\"SUCCESS\"}]").unwrap();
        fs::write(folder.join("head"), "a1".repeat(20)).unwrap();
        sandbox.fake_program("gh", GH);
        let remotes = sandbox.root().join("remotes");
        let config = format!(
            "[user]\nname = Ada\nemail = ada@example.com\n[url \"{}/\"]\ninsteadOf = git@github.com:\n",
            remotes.display()
        );
        fs::write(sandbox.home().join(".gitconfig"), config).unwrap();
        let repo = crate::support::alpha_repo(sandbox, "console");
        let bare = remotes.join("alpha-org/console.git");
        repo.git(&["init", "--quiet", "--bare", bare.to_str().unwrap()]);
        repo.git(&["push", "--quiet", "origin", "main"]);
        repo.git(&["checkout", "--quiet", "-b", "dev/mac/87-login"]);
        Self { sandbox, repo }
    }

    fn agent(&self) -> Cli<'a> {
        let mut cli = Cli::start(self.sandbox, "claude", self.repo.path());
        cli.hook("session-start", &json!({ "session_id": "c1", "cwd": self.repo.path(), "source": "startup" }));
        cli
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.sandbox.home().join("github").join(name)).unwrap_or_default()
    }

    fn labels(&self) -> Vec<String> {
        let mut labels: Vec<String> = self.file("labels").lines().map(str::to_owned).collect();
        labels.sort();
        labels
    }
}

/// Runs a command of ours as the agent; returns its exit code and the object that it printed.
fn run(cli: &mut Cli<'_>, directory: &Path, line: &str) -> (String, Value) {
    let file = directory.join("../out.json");
    let code = cli.run(&format!("ctxnode gh {line} --json >{} 2>/dev/null; echo $?", file.display()));
    (code.trim().to_owned(), serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap_or_default())
}

/// C-08: commit, push, a handoff with the issue and the session still active, a comment, one status and who is next; without
/// a grade it is asked for, and nothing was done.
#[test]
fn c_08_a_handoff_of_an_issue() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let place = Place::make(&sandbox, "status:in-progress\nprio:P1\n");
    let mut cli = place.agent();
    fs::write(place.repo.path().join("login.rs"), "fn login() {}\n").unwrap();
    let words = "handoff 87 --accomplished 'the login works' --next-steps 'review src/login.rs'";
    let (code, _) = run(&mut cli, place.repo.path(), words);
    assert_eq!((code.as_str(), place.file("log").as_str()), ("2", ""), "no grade: nothing was done");
    let (code, dry) = run(&mut cli, place.repo.path(), &format!("{words} --grade 2 --dry-run"));
    assert_eq!((code.as_str(), place.file("log").as_str()), ("0", ""), "{dry}");
    let (code, answer) = run(&mut cli, place.repo.path(), &format!("{words} --grade 2"));
    assert_eq!(code, "0", "{answer}");
    assert_eq!(place.labels(), ["needs:qa", "prio:P1", "qa:2", "status:qa"]);
    let head = place.repo.git(&["rev-parse", "HEAD"]);
    assert_eq!(place.repo.git(&["rev-parse", "origin/dev/mac/87-login"]), head, "all of it is pushed");
    assert!(place.repo.git(&["log", "--stat", "-3"]).contains("login.rs"));
    let asked = json!({ "venture": "alpha", "repo": "alpha-org/console", "issue": 87 });
    let handoff = person(&sandbox).do_("handoff.latest", asked);
    assert_eq!(handoff["id"], answer["handoff_id"]);
    assert_eq!(handoff["accomplished"], json!(["the login works"]));
    assert_eq!(person(&sandbox).do_("session.list", json!({}))["total"], 1, "the session goes on");
    let comment = place.file("comments");
    assert!(
        comment.contains("the login works") && comment.contains(answer["handoff_id"].as_str().unwrap()),
        "{comment}"
    );
    place.repo.git(&["checkout", "--quiet", "main"]);
    let (code, refused) = run(&mut cli, place.repo.path(), words);
    assert!(code == "1" && refused["message"].as_str().unwrap().contains("default branch"), "{refused}");
}

/// C-08: what must not be pushed is named, and then nothing was staged, committed or pushed.
#[test]
fn c_08_a_handoff_pushes_no_secret_and_no_half_merge() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let place = Place::make(&sandbox, "status:in-progress\nqa:2\n");
    let root = place.repo.path();
    let mut cli = place.agent();
    place.repo.commit("config.rs", "fn main() {}\n");
    let head = place.repo.git(&["rev-parse", "HEAD"]);
    let secret = format!("ghp_{}", "a1B2".repeat(9));
    let words = "handoff 87 --accomplished x --next-steps y";
    for (name, content, part) in [
        ("deploy/.env.local", "A=b\n".to_owned(), "deploy/.env.local (by its name)"),
        ("new file.txt", format!("it is {secret}\n"), "new file.txt (GitHub token)"),
        ("config.rs", format!("fn main() {{}}\n// {secret}\n"), "config.rs (GitHub token)"),
    ] {
        let path = root.join(name);
        let before = fs::read(&path).ok();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let (code, refused) = run(&mut cli, root, words);
        let message = refused["message"].as_str().unwrap();
        assert!(code == "1" && message.contains(part) && !message.contains(&secret), "{refused}");
        assert_eq!(place.repo.git(&["diff", "--cached", "--name-only"]), "", "nothing is staged");
        match before {
            Some(before) => fs::write(&path, before).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
    }
    // A merge that stopped in the middle.
    place.repo.git(&["checkout", "--quiet", "-b", "other"]);
    place.repo.commit("config.rs", "fn other() {}\n");
    place.repo.git(&["checkout", "--quiet", "dev/mac/87-login"]);
    place.repo.commit("config.rs", "fn own() {}\n");
    let merged = sandbox.command("git").args(["merge", "--quiet", "other"]).current_dir(root).output().unwrap();
    assert!(!merged.status.success(), "the two are at odds");
    let (code, refused) = run(&mut cli, root, words);
    assert!(code == "1" && refused["message"].as_str().unwrap().contains("a merge is in progress"), "{refused}");
    // Its file says that it is over, and the paths are as they were.
    fs::remove_file(root.join(".git/MERGE_HEAD")).unwrap();
    let (code, refused) = run(&mut cli, root, words);
    assert!(code == "1" && refused["message"].as_str().unwrap().contains("unmerged: config.rs"), "{refused}");
    place.repo.git(&["reset", "--quiet", "--hard"]);
    assert_eq!((place.file("log").as_str(), place.repo.git(&["rev-parse", "HEAD~1"])), ("", head), "nothing was done");

    // What is ours alone stays, and the rest goes.
    fs::write(root.join(".infisical.json"), "{\"workspaceId\":\"w\"}").unwrap();
    fs::write(root.join("AGENTS.md.ctxnode.bak"), "before").unwrap();
    fs::write(root.join("login.rs"), "fn login() {}\n").unwrap();
    let (code, answer) = run(&mut cli, root, words);
    assert_eq!(code, "0", "{answer}");
    let left = place.repo.git(&["status", "--porcelain", "--untracked-files=all"]);
    assert_eq!(left, "?? .infisical.json\n?? AGENTS.md.ctxnode.bak");
    assert!(place.repo.git(&["ls-tree", "-r", "--name-only", "origin/dev/mac/87-login"]).contains("login.rs"));
}

/// C-09: a comment, one label more, and the session waits.
#[test]
fn c_09_a_question_on_an_issue() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let place = Place::make(&sandbox, "status:in-progress\nneeds:qa\n");
    let mut cli = place.agent();
    let (code, answer) =
        run(&mut cli, place.repo.path(), "question 87 'Which provider; a $(date) or b?' --tried 'both'");
    assert_eq!(code, "0", "{answer}");
    assert_eq!(place.labels(), ["needs:pm", "needs:qa", "status:in-progress"]);
    let comments = place.file("comments");
    assert!(comments.contains("Which provider; a $(date) or b?\n\nTried:\n\n- both"), "{comments}");
    let session = &person(&sandbox).do_("session.list", json!({}))["items"][0];
    assert_eq!(session["blocked_on"], "#87: Which provider; a $(date) or b?");
    let secret = format!("ghp_{}", "a1B2".repeat(9));
    let (code, _) = run(&mut cli, place.repo.path(), &format!("question 87 'is {secret} right?'"));
    assert!(code == "1" && !place.file("comments").contains("ghp_"));
}

/// C-10: not verified, red or unchecked: refused and nothing changed; verified and green: merged, closed, done, and the open
/// handoff is superseded.
#[test]
fn c_10_a_merge_needs_verification_and_green_checks() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let place = Place::make(&sandbox, "status:qa\nneeds:qa\nqa:2\n");
    let mut cli = place.agent();
    let (code, _) = run(&mut cli, place.repo.path(), "handoff 87 --accomplished x --next-steps y");
    assert_eq!(code, "0");
    let open =
        || person(&sandbox).do_("handoff.list", json!({ "venture": "alpha", "open": true, "status": "in_progress" }));
    assert_eq!(open()["total"], 1);
    let folder = sandbox.home().join("github");
    let before = place.file("log");
    let red = "[{\"name\":\"test\",\"conclusion\":\"SUCCESS\"},{\"context\":\"e2e\",\"state\":\"FAILURE\"}]";
    let green = place.file("checks");
    for (labels, checks, why) in [
        ("status:qa\nneeds:qa\n", green.as_str(), "status:verified"),
        ("status:verified\nneeds:qa\n", red, "e2e"),
        ("status:verified\nneeds:qa\n", "[]", "no checks"),
    ] {
        fs::write(folder.join("labels"), labels).unwrap();
        fs::write(folder.join("checks"), checks).unwrap();
        let (code, refused) = run(&mut cli, place.repo.path(), "merge 87");
        assert!(code == "1" && refused["message"].as_str().unwrap().contains(why), "{refused}");
        assert_eq!((place.file("log"), place.file("labels").as_str()), (before.clone(), labels), "nothing changed");
    }
    fs::write(folder.join("labels"), "status:verified\nneeds:qa\nneeds:pm\nqa:2\n").unwrap();
    fs::write(folder.join("checks"), &green).unwrap();
    // Somebody pushes between the look at the checks and the merge.
    fs::write(folder.join("moves"), "b2".repeat(20)).unwrap();
    let (code, refused) = run(&mut cli, place.repo.path(), "merge 90");
    assert!(code == "1" && refused["message"].as_str().unwrap().contains("Head branch was modified"), "{refused}");
    assert_eq!(place.file("log"), before, "nothing changed");
    fs::remove_file(folder.join("moves")).unwrap();
    let (code, answer) = run(&mut cli, place.repo.path(), "merge 90");
    assert_eq!(code, "0", "{answer}");
    assert_eq!(place.labels(), ["qa:2", "status:done"]);
    let log = place.file("log");
    assert!(log.contains("merge 90\nclose 87\n"), "{log}");
    assert_eq!(open()["total"], 0, "the open one is superseded: {}", open());
}
