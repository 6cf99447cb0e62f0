//! Whole setups in a home of their own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;

fn places(home: &Path) -> Places {
    Places { project: Some(home.join("repo")), ..Places::of(home.join("home")) }
}

fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap().flatten() {
            match entry.path() {
                path if path.is_dir() => open.push(path),
                path => {
                    drop(found.insert(path.clone(), String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()))
                }
            }
        }
    }
    found
}

fn go(home: &TempDir, scope: Scope, mode: Mode) -> Report {
    run(&Agent::ALL, Some(scope), &places(home.path()), &home.path().join("state"), mode).unwrap()
}

/// Files of somebody else, with comments and formats of their own.
fn foreign(root: &Path) -> BTreeMap<PathBuf, String> {
    let files = [
        ("home/.claude.json", "{\"numStartups\": 3,\n \"mcpServers\": {\"o\": {\"command\": \"o\"}}}"),
        (
            "home/.claude/settings.json",
            "{\n    \"model\": \"opus\",\n    \"hooks\": {\"Stop\": [{\"hooks\": [{\"type\": \"command\", \"command\": \"mine\"}]}]}\n}\n",
        ),
        ("home/.codex/config.toml", "# mine\nmodel = 'x'\n\n[tui]\ntheme = \"dark\"\n"),
        ("home/.gemini/settings.json", "{\n  // mine\n  \"theme\": \"x\",\n}\n"),
        ("home/.gemini/config/mcp_config.json", "{\"mcpServers\":{}}"),
        ("home/.claude/skills/status/SKILL.md", "my own status\n"),
        ("repo/AGENTS.md", "# Agents\n\nBe kind."),
        ("repo/.mcp.json", "{}\n"),
    ];
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    tree(root)
}

/// C-02: on an empty home and on one with foreign entries: right entries, nothing changes the second time, and removing
/// brings back every byte.
#[test]
fn c_02_setup_comes_twice_and_goes_without_a_trace() {
    for scope in [Scope::User, Scope::Project] {
        for with_foreign in [false, true] {
            let home = TempDir::new().unwrap();
            let before = if with_foreign { foreign(home.path()) } else { BTreeMap::new() };
            let first = go(&home, scope, Mode::Apply);
            assert!(first.differs() && !first.is_broken(), "{first:#?}");
            assert!(!go(&home, scope, Mode::Check).differs());
            let set_up = tree(home.path());
            let again = go(&home, scope, Mode::Apply);
            assert!(!again.differs(), "{again:#?}");
            assert_eq!(tree(home.path()), set_up);
            let kept = again.files.iter().filter(|done| done.action == Action::Kept).count();
            assert_eq!(kept, usize::from(with_foreign && scope == Scope::User), "the skill of somebody else is kept");
            go(&home, scope, Mode::Remove);
            let mut after = tree(home.path());
            after.remove(&home.path().join("state/setup.json"));
            assert_eq!(after, before, "{scope:?}");
        }
    }
}

/// C-02: what somebody wrote between setup and removal stays; only what is ours goes.
#[test]
fn c_02_removal_keeps_what_was_written_since() {
    let home = TempDir::new().unwrap();
    foreign(home.path());
    go(&home, Scope::User, Mode::Apply);
    let config = home.path().join("home/.codex/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("model = 'x'", "model = 'y'")).unwrap();
    let state = home.path().join("home/.claude.json");
    let text = fs::read_to_string(&state).unwrap();
    fs::write(&state, text.replace("\"numStartups\": 3", "\"numStartups\": 4")).unwrap();
    go(&home, Scope::User, Mode::Apply);
    go(&home, Scope::User, Mode::Remove);
    assert_eq!(fs::read_to_string(&config).unwrap(), "# mine\nmodel = 'y'\n\n[tui]\ntheme = \"dark\"\n");
    let text = fs::read_to_string(&state).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value, serde_json::json!({ "numStartups": 4, "mcpServers": { "o": { "command": "o" } } }));
}

/// C-03
#[test]
fn c_03_a_file_that_does_not_parse_is_left_alone_and_named() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("home/.codex/config.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "a = 1\nb = \n").unwrap();
    let report = go(&home, Scope::User, Mode::Apply);
    assert!(report.is_broken());
    let broken = report.files.iter().find(|done| done.action == Action::Broken).unwrap();
    assert_eq!(broken.path, file);
    assert!(broken.reason.as_deref().unwrap().contains("line 2"), "{broken:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "a = 1\nb = \n");
}

/// C-06: nothing that is written depends on the version or the place of this build.
#[test]
fn c_06_what_is_written_names_no_version_and_no_place() {
    let home = TempDir::new().unwrap();
    go(&home, Scope::User, Mode::Apply);
    go(&home, Scope::Project, Mode::Apply);
    for (path, text) in tree(home.path()).into_iter().filter(|(path, _)| !path.ends_with("setup.json")) {
        assert!(!text.contains(ctxnode_api::version::BUILD), "{path:?}");
        assert!(!text.contains(env!("CARGO_PKG_VERSION")), "{path:?}");
        assert!(!text.contains(&*home.path().to_string_lossy()), "{path:?}");
    }
    let hooks = fs::read_to_string(home.path().join("home/.codex/hooks.json")).unwrap();
    // The bytes that a CLI hashes for its trust. A change here makes every user confirm again.
    assert_eq!(ledger::hash(&hooks), "111a37905de8e96a3a05be71368479bab1b63621c0e6e3c83caddd5026a8bb4a");
}

/// C-11: a skill that was changed by hand stays and is reported, one of an earlier version is replaced, one that ceased to
/// exist goes.
#[test]
fn c_11_skills_follow_the_version_unless_somebody_changed_them() {
    let home = TempDir::new().unwrap();
    go(&home, Scope::User, Mode::Apply);
    let skill = |name: &str| home.path().join(format!("home/.agents/skills/{name}/SKILL.md"));
    let changed = fs::read_to_string(skill("sod")).unwrap().replace("Call the tool", "Call");
    fs::write(skill("sod"), &changed).unwrap();
    fs::write(skill("eod"), marked::sealed("an older text", marked::Comment::Html)).unwrap();
    fs::create_dir_all(skill("sos").parent().unwrap()).unwrap();
    fs::write(skill("sos"), marked::sealed("gone", marked::Comment::Html)).unwrap();
    let report = go(&home, Scope::User, Mode::Apply);
    let of = |name: &str| report.files.iter().find(|done| done.path == skill(name)).map(|done| done.action);
    assert_eq!((of("sod"), of("eod"), of("sos")), (Some(Action::Kept), Some(Action::Changed), Some(Action::Deleted)));
    assert_eq!(fs::read_to_string(skill("sod")).unwrap(), changed);
    assert!(!skill("sos").exists() && fs::read_to_string(skill("eod")).unwrap().contains("confirmed_by"));
}

/// C-12: what a human must confirm is said, and nothing that records trust is written.
#[test]
fn c_12_trust_is_asked_for_and_never_written() {
    let home = TempDir::new().unwrap();
    let report = go(&home, Scope::User, Mode::Apply);
    for agent in Agent::ALL {
        assert!(report.confirm.iter().any(|line| line.starts_with(agent.name())), "{agent:?}");
    }
    for (path, text) in tree(home.path()) {
        for word in ["hooks.state", "trusted", "enabledMcpjsonServers", "trust_level", "\"trust\""] {
            assert!(!text.contains(word), "{path:?} holds {word}");
        }
    }
    let settings = home.path().join("home/.claude/settings.json");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, text.replacen('{', "{\n  \"disableAllHooks\": true,", 1)).unwrap();
    assert!(go(&home, Scope::User, Mode::Check).blockers.iter().any(|line| line.contains("disableAllHooks")));
}

#[test]
fn a_link_stays_a_link_and_the_mode_stays() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let home = TempDir::new().unwrap();
    let real = home.path().join("dotfiles.json");
    fs::write(&real, "{\"a\": 1}\n").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
    fs::create_dir_all(home.path().join("home")).unwrap();
    symlink(&real, home.path().join("home/.claude.json")).unwrap();
    go(&home, Scope::User, Mode::Apply);
    assert!(home.path().join("home/.claude.json").is_symlink());
    assert!(fs::read_to_string(&real).unwrap().contains("ctxnode"));
    assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o600);
    go(&home, Scope::User, Mode::Remove);
    assert_eq!(fs::read_to_string(&real).unwrap(), "{\"a\": 1}\n");
}

/// C-02: a default that somebody had set to the very value is theirs, and stays when ctxnode goes; one that we set goes.
#[test]
fn c_02_a_default_that_somebody_chose_stays() {
    for had_it in [true, false] {
        let home = TempDir::new().unwrap();
        let config = home.path().join("home/.codex/config.toml");
        let settings = home.path().join("home/.gemini/settings.json");
        for (path, with, without) in [
            (&config, "[tui]\nalternate_screen = \"never\"\n", "[tui]\ntheme = \"dark\"\n"),
            (
                &settings,
                "{\n  \"ui\": { \"useAlternateBuffer\": false }\n}\n",
                "{\n  \"ui\": { \"theme\": \"x\" }\n}\n",
            ),
        ] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, if had_it { with } else { without }).unwrap();
        }
        go(&home, Scope::User, Mode::Apply);
        // Somebody else writes too, so that the way back is by entries and not by the bytes that were there.
        let add = |path: &Path, old: &str, new: &str| {
            let text = fs::read_to_string(path).unwrap();
            assert!(text.contains(old), "{text}");
            fs::write(path, text.replacen(old, new, 1)).unwrap();
        };
        add(&config, "[tui]\n", "[tui]\nmine = true\n");
        add(&settings, "{\n", "{\n  \"mine\": true,\n");
        go(&home, Scope::User, Mode::Remove);
        let (config, settings) = (fs::read_to_string(config).unwrap(), fs::read_to_string(settings).unwrap());
        assert_eq!(config.contains("alternate_screen"), had_it, "{config}");
        assert_eq!(settings.contains("useAlternateBuffer"), had_it, "{settings}");
        assert!(config.contains("mine") && settings.contains("mine"));
        assert!(!config.contains("ctxnode") && !settings.contains("ctxnode"), "{config}{settings}");
    }
}

/// Section 7.2: a status line of somebody's own is left alone; when they ask for it ours is added to it, once, and removing
/// gives theirs back, also when others have written meanwhile.
#[test]
fn c_02_a_status_line_is_wrapped_on_request_and_given_back() {
    let theirs = r#"jq -r '.model.display_name' | sed "s/^/it's /""#;
    for others_write in [false, true] {
        let home = TempDir::new().unwrap();
        let settings = home.path().join("home/.claude/settings.json");
        fs::create_dir_all(settings.parent().unwrap()).unwrap();
        let line = serde_json::json!({ "type": "command", "command": theirs, "padding": 2 });
        let before = format!("{{\n  \"statusLine\": {line},\n  \"model\": \"opus\"\n}}\n");
        fs::write(&settings, &before).unwrap();
        let go = |wrap_status_line, mode| {
            let places = Places { wrap_status_line, ..places(home.path()) };
            run(&[Agent::Claude], Some(Scope::User), &places, &home.path().join("state"), mode).unwrap()
        };
        let command = || {
            let text = fs::read_to_string(&settings).unwrap();
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["statusLine"]["padding"], 2);
            value["statusLine"]["command"].as_str().unwrap().to_owned()
        };
        assert_eq!(go(false, Mode::Apply).offers.len(), 1, "it is offered");
        assert_eq!(command(), theirs, "nobody asked");
        assert!(go(true, Mode::Apply).offers.is_empty());
        assert_eq!(status_line::unwrapped(&command()).as_deref(), Some(theirs));
        let wrapped = command();
        assert!(!go(true, Mode::Apply).differs() && !go(false, Mode::Apply).differs());
        assert_eq!(command(), wrapped);
        if others_write {
            let text = fs::read_to_string(&settings).unwrap();
            fs::write(&settings, text.replace("\"opus\"", "\"sonnet\"")).unwrap();
        }
        go(false, Mode::Remove);
        assert_eq!(command(), theirs);
        let after = fs::read_to_string(&settings).unwrap();
        assert_eq!(after, if others_write { before.replace("opus", "sonnet") } else { before });
    }
}

/// Claude Code names five ways in which a conversation begins; one that is forked is a start too.
#[test]
fn a_forked_conversation_of_claude_is_a_start() {
    let home = TempDir::new().unwrap();
    go(&home, Scope::User, Mode::Apply);
    let text = fs::read_to_string(home.path().join("home/.claude/settings.json")).unwrap();
    let settings: serde_json::Value = serde_json::from_str(&text).unwrap();
    let matcher = settings.pointer("/hooks/SessionStart/0/matcher").and_then(serde_json::Value::as_str);
    let sources: Vec<&str> = matcher.unwrap().split('|').collect();
    assert_eq!(sources, ["startup", "resume", "clear", "compact", "fork"]);
}

fn git(home: &TempDir) {
    fs::create_dir_all(home.path().join("repo/.git")).unwrap();
}

/// B-06: what a colleague's commit brought is not ours to take out; what this machine wrote is.
#[test]
fn b_06_an_undo_leaves_what_others_committed() {
    let team = TempDir::new().unwrap();
    git(&team);
    go(&team, Scope::Project, Mode::Apply);
    let committed = tree(&team.path().join("repo"));
    for set_up_here in [false, true] {
        let home = TempDir::new().unwrap();
        git(&home);
        for (path, text) in &committed {
            let path = home.path().join(path.strip_prefix(team.path()).unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let before = tree(&home.path().join("repo"));
        if set_up_here {
            // All of it is there: nothing is written.
            assert!(!go(&home, Scope::Project, Mode::Apply).differs());
        }
        let plan = go(&home, Scope::Project, Mode::UndoPlan);
        let done = go(&home, Scope::Project, Mode::Undo);
        assert!(!plan.differs() && !done.differs(), "{done:#?}");
        assert!(done.files.iter().any(|file| file.action == Action::Kept));
        assert_eq!(tree(&home.path().join("repo")), before);
    }
    // A removal that somebody asks for by name still takes everything.
    go(&team, Scope::Project, Mode::Remove);
    assert_eq!(tree(&team.path().join("repo")), BTreeMap::new());
}

/// B-06: without a row of ours nothing is touched, and nothing is written by a plan.
#[test]
fn b_06_an_undo_goes_by_what_was_written_here() {
    let home = TempDir::new().unwrap();
    let before = foreign(home.path());
    go(&home, Scope::User, Mode::Apply);
    let set_up = tree(home.path());
    let plan = go(&home, Scope::User, Mode::UndoPlan);
    assert!(plan.differs());
    assert_eq!(tree(home.path()), set_up, "a plan writes nothing");
    let ledger = home.path().join("state/setup.json");
    let kept = fs::read(&ledger).unwrap();
    fs::remove_file(&ledger).unwrap();
    assert!(!go(&home, Scope::User, Mode::Undo).differs(), "nothing says who wrote it");
    fs::write(&ledger, kept).unwrap();
    go(&home, Scope::User, Mode::Undo);
    let mut after = tree(home.path());
    after.remove(&ledger);
    assert_eq!(after, before);
}

/// B-06: one file that cannot be read keeps nobody else's from going.
#[test]
fn b_06_an_undo_goes_on_after_a_file_that_cannot_be_used() {
    let home = TempDir::new().unwrap();
    go(&home, Scope::User, Mode::Apply);
    let broken = home.path().join("home/.codex/config.toml");
    fs::write(&broken, b"\xff").unwrap();
    let done = go(&home, Scope::User, Mode::Undo);
    let left: Vec<&Done> = done.files.iter().filter(|file| file.action == Action::Broken).collect();
    assert!(left.len() == 1 && left[0].path == broken && left[0].reason.is_some(), "{left:?}");
    let gone = tree(&home.path().join("home"));
    assert_eq!(gone.keys().collect::<Vec<_>>(), [&broken]);
}

/// In a checkout a backup beside the file is somebody's next commit; it lies below the state directory and still brings
/// every byte back.
#[test]
fn c_02_a_checkout_stays_free_of_backups() {
    let home = TempDir::new().unwrap();
    git(&home);
    let before = foreign(home.path());
    go(&home, Scope::Project, Mode::Apply);
    let repo = |tree: BTreeMap<PathBuf, String>| {
        tree.into_keys().filter(|path| path.starts_with(home.path().join("repo"))).collect::<Vec<_>>()
    };
    let extra = repo(tree(home.path())).into_iter().filter(|path| path.extension().is_some_and(|end| end == "bak"));
    assert_eq!(extra.collect::<Vec<_>>(), Vec::<PathBuf>::new());
    assert_eq!(fs::read_dir(home.path().join("state/setup-backups")).unwrap().count(), 2);
    go(&home, Scope::Project, Mode::Remove);
    let mut after = tree(home.path());
    after.remove(&home.path().join("state/setup.json"));
    assert_eq!(after, before);
    assert!(!home.path().join("state/setup-backups").exists());
}

/// Two launches at once: each row of the ledger is there, so that each file finds its way back.
#[test]
fn c_02_set_ups_at_once_lose_no_row() {
    let home = TempDir::new().unwrap();
    let (state, many) = (home.path().join("state"), 24);
    std::thread::scope(|scope| {
        for nth in 0..many {
            let (state, path) = (&state, home.path().join(format!("home/{nth}.md")));
            scope.spawn(move || {
                let file = Wanted { path, what: "text", content: Content::Block("ours".to_owned()) };
                run_files("claude", "claude", vec![file], state, Mode::Apply).unwrap();
            });
        }
    });
    assert_eq!(ledger::Ledger::load(&state.join("setup.json")).files.len(), many);
}

/// A file that is as it should be has its user too: it is not taken away from one who never wrote.
#[test]
fn c_02_a_file_that_needed_no_change_knows_its_user() {
    let home = TempDir::new().unwrap();
    let (state, path) = (home.path().join("state"), home.path().join("AGENTS.md"));
    let file = || vec![Wanted { path: path.clone(), what: "text", content: Content::Block("ours".to_owned()) }];
    run_files("claude", "claude", file(), &state, Mode::Apply).unwrap();
    fs::remove_file(state.join("setup.json")).unwrap();
    for user in ["codex", "gemini"] {
        assert_eq!(run_files("codex", user, file(), &state, Mode::Apply).unwrap()[0].action, Action::Unchanged);
    }
    run_files("codex", "codex", file(), &state, Mode::Remove).unwrap();
    assert!(fs::read_to_string(&path).unwrap().contains("ours"), "the other one uses it");
    run_files("codex", "gemini", file(), &state, Mode::Remove).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), "");
}

/// T-05: a Codex that refuses a value is asked after the writing: the older form is tried, then none, then the bytes that
/// were there come back; foreign keys and comments stay.
#[test]
fn t_05_a_codex_that_refuses_its_file_gets_one_that_it_takes() {
    use std::os::unix::fs::PermissionsExt as _;
    let own = "# mine\nmodel = 'x'\n\n[tui]\ntheme = \"dark\"\n";
    // What the stand-in refuses, what then stands in the file, and how it is told.
    let cases = [
        ("nothing at all", Some("alternate_screen = \"never\""), Action::Changed, None),
        ("never", Some("alternate_screen = false"), Action::Changed, Some("the older one")),
        ("alternate_screen", None, Action::Changed, Some("left out")),
        ("ctxnode", None, Action::Broken, Some("its bytes are as they were")),
    ];
    for (refuses, line, action, told) in cases {
        let home = TempDir::new().unwrap();
        let (config, program) = (home.path().join("home/.codex/config.toml"), home.path().join("codex"));
        fs::create_dir_all(config.parent().unwrap()).unwrap();
        fs::write(&config, own).unwrap();
        let asked = "[ \"$1 $2\" = \"features list\" ] || exit 0";
        fs::write(&program, format!("#!/bin/sh\n{asked}\n! grep -q '{refuses}' \"$CODEX_HOME/config.toml\"\n"))
            .unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let places = Places { codex_program: Some(program), ..places(home.path()) };
        let go = |mode| run(&[Agent::Codex], Some(Scope::User), &places, &home.path().join("state"), mode).unwrap();
        let report = go(Mode::Apply);
        let done = report.files.iter().find(|file| file.path == config).unwrap();
        assert_eq!(done.action, action, "{refuses}: {done:?}");
        let reason = done.reason.clone().unwrap_or_default();
        assert!(told.map_or(reason.is_empty(), |told| reason.contains(told)), "{refuses}: {reason}");
        let text = fs::read_to_string(&config).unwrap();
        match line {
            Some(line) => assert!(text.contains(line), "{refuses}: {text}"),
            None => assert!(!text.contains("alternate_screen"), "{refuses}: {text}"),
        }
        assert!(text.starts_with("# mine\nmodel = 'x'\n"), "{text}");
        if action == Action::Broken {
            assert_eq!(text, own);
            continue;
        }
        assert!(text.contains("[mcp_servers.ctxnode]"), "{text}");
        let again = go(Mode::Apply);
        assert!(!again.differs() && !go(Mode::Check).differs(), "{refuses}: {again:#?}");
        assert_eq!(fs::read_to_string(&config).unwrap(), text);
        // Somebody else writes, so that the way back is by entries.
        fs::write(&config, text.replace("'x'", "'y'")).unwrap();
        go(Mode::Remove);
        assert_eq!(fs::read_to_string(&config).unwrap(), own.replace("'x'", "'y'"), "{refuses}");
    }
}
