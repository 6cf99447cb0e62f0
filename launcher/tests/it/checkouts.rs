//! Checkouts and worktrees: real git, and never a lost change.

use std::fs;

use ctxnode_testkit::Sandbox;
use rustix::process::Signal;

use super::support::{
    ALPHA, Running, STAYING, all, checkout, ctxnode, errors, home_file, launcher, push_elsewhere, ready, start,
};

/// Launches an agent that ends at once; returns what the launcher said.
fn launched(sandbox: &Sandbox) -> String {
    sandbox.fake_program("claude", "exit 0");
    let done = launcher(sandbox, &["alpha"]);
    assert!(done.status.success(), "{}", all(&done));
    errors(&done)
}

#[test]
fn l_08_only_a_clean_checkout_that_is_just_behind_moves() {
    let sandbox = ready();
    let _daemon = start(&sandbox, ALPHA);
    let repo = checkout(&sandbox);
    push_elsewhere(&sandbox, 2);
    let before = repo.git(&["rev-parse", "HEAD"]);
    fs::write(repo.path().join("README.md"), "mine\n").unwrap();
    let text = launched(&sandbox);
    assert!(text.contains("behind by 2, dirty (1 files)"), "{text}");
    assert_eq!(
        (repo.git(&["rev-parse", "HEAD"]), fs::read_to_string(repo.path().join("README.md")).unwrap().as_str()),
        (before, "mine\n")
    );
    repo.git(&["checkout", "--quiet", "--", "README.md"]);
    let text = launched(&sandbox);
    assert!(text.contains("moved forward by 2"), "{text}");
    assert_eq!(repo.git(&["rev-parse", "HEAD"]), repo.git(&["rev-parse", "origin/main"]));
    let mine = repo.commit("a.txt", "a\n");
    let text = launched(&sandbox);
    assert!(text.contains("ahead by 1"), "{text}");
    assert_eq!(repo.git(&["rev-parse", "HEAD"]), mine);
    assert_eq!(repo.git(&["stash", "list"]), "");
}

#[test]
fn a_venture_without_a_checkout_is_refused_with_the_command_when_nobody_can_be_asked() {
    let sandbox = ready();
    let _daemon = start(&sandbox, ALPHA);
    sandbox.fake_program("claude", "exit 0");
    let done = launcher(&sandbox, &["alpha"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(errors(&done).contains("git clone git@github.com:alpha-org/console.git"), "{}", errors(&done));
}

#[test]
fn w_11_a_session_has_its_own_worktree_which_is_removed_only_when_clean_and_pushed() {
    let sandbox = ready();
    let _daemon = start(&sandbox, ALPHA);
    let repo = checkout(&sandbox);
    sandbox.fake_program("claude", STAYING);
    let start_one = |words: &[&str]| {
        let mut command = sandbox.command("launcher");
        command.arg("alpha").args(words);
        Running::start(&sandbox, command)
    };
    let running = start_one(&["--worktree"]);
    let path = home_file(&sandbox, "cwd").trim().to_owned();
    let git = |words: &[&str]| repo.git(&[&["-C", path.as_str()], words].concat());
    let branch = git(&["rev-parse", "--abbrev-ref", "HEAD"]);
    assert!(branch.starts_with("dev/") && branch.ends_with("/work"), "{branch}");
    assert_eq!(repo.git(&["rev-parse", "--abbrev-ref", "HEAD"]), "main", "the checkout stays");
    let remove = || {
        let done =
            sandbox.command("ctxnode").args(["worktree", "remove", &path]).current_dir(repo.path()).output().unwrap();
        (done.status.code(), errors(&done))
    };
    let (code, text) = remove();
    assert!(code == Some(1) && text.contains("is in use by process"), "{text}");
    // Another session on the same branch is refused while that one lives.
    let second = launcher(&sandbox, &["alpha", "--branch", &branch]);
    assert!(second.status.code() == Some(1) && errors(&second).contains("is in use by process"), "{}", all(&second));
    let agent = running.agent();
    running.end(agent, Signal::TERM);
    fs::write(format!("{path}/new.txt"), "x").unwrap();
    let (code, text) = remove();
    assert!(code == Some(1) && text.contains("1 changed files"), "{text}");
    git(&["add", "new.txt"]);
    git(&["commit", "--quiet", "-m", "new"]);
    let (code, text) = remove();
    assert!(code == Some(1) && text.contains("1 commits that are not pushed"), "{text}");
    git(&["push", "--quiet", "origin", "HEAD"]);
    // A worktree that is free is taken over by name.
    let again = start_one(&["--branch", &branch]);
    assert_eq!(home_file(&sandbox, "cwd").trim(), path);
    let agent = again.agent();
    again.end(agent, Signal::TERM);
    let (code, text) = remove();
    assert_eq!(code, Some(0), "{text}");
    assert!(!fs::exists(&path).unwrap());
    let (code, _) = remove();
    assert_eq!(code, Some(1), "it is gone");
    let list =
        sandbox.command("ctxnode").args(["worktree", "list", "--json"]).current_dir(repo.path()).output().unwrap();
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(ctxnode(&sandbox, &["worktree", "list"]).status.code(), Some(1), "outside a repository");
}
