//! The sessions that documents show, typed on three machines as they stand there: what is shown must come, but for what is of
//! the moment (ids, numbers, ages), and `...` stands for what was left out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ctxnode_testkit::{Lan, Repo, Sandbox, wait_until};
use serde_json::json;

use super::{LONG, script};

const README: &str = include_str!("../../../../README.md");
const LAPTOP: &str = include_str!("../../../LAPTOP.md");
/// What the README's part about one machine has made before.
const BEFORE: &str = r#"
mac$ ctxnode init
mac$ ctxnode venture set alpha --name "Project Alpha" --org alpha-org --repos alpha-org/console
"#;
/// How often a status is asked for: one caller may ask a hundred times in a minute.
const AGAIN: Duration = Duration::from_secs(1);
const MACHINES: [&str; 3] = ["mac", "server", "laptop"];

/// A line that is typed, and what is shown of its output.
struct Step<'a> {
    machine: usize,
    as_root: bool,
    command: &'a str,
    shown: Vec<&'a str>,
}

/// Reads the lines of a session: `mac$ command` or, as root, `mac# command`, each with its output below.
fn steps<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Step<'a>> {
    let mut steps: Vec<Step<'a>> = Vec::new();
    for line in lines {
        let typed = MACHINES.iter().enumerate().find_map(|(machine, name)| {
            let rest = line.strip_prefix(name)?;
            let (command, as_root) =
                rest.strip_prefix("$ ").map(|rest| (rest, false)).or_else(|| Some((rest.strip_prefix("# ")?, true)))?;
            Some(Step { machine, as_root, command, shown: Vec::new() })
        });
        match (typed, steps.last_mut()) {
            (Some(step), _) => steps.push(step),
            (None, Some(step)) => step.shown.push(line),
            (None, None) => {}
        }
    }
    steps
}

/// Returns the lines of the blocks of a document.
fn blocks(text: &str) -> Vec<Vec<&str>> {
    let fenced = text.split("```").skip(1).step_by(2);
    fenced.map(|block| block.trim_matches('\n').lines().collect()).collect()
}

/// Splits text into words; an age is one word, whatever it is.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let is_age = match words.last().map(|last| last.trim_start_matches('(')) {
            Some("just") => bare == "now",
            Some(last) => ["s", "min", "h", "day", "days"].contains(&bare) && last.bytes().all(|b| b.is_ascii_digit()),
            None => false,
        };
        if is_age {
            words.pop();
            words.push("AGE".to_owned());
        } else if ["ms", "records"].contains(&bare) && words.last().is_some_and(|last| is_count(last)) {
            words.pop();
            words.push("MEASURED".to_owned());
        } else if !(bare == "ago" && words.last().is_some_and(|last| last == "AGE")) {
            words.push(word.to_owned());
        }
    }
    words
}

/// A number that says how many there are: what is shown has to be what is printed.
fn is_count(word: &str) -> bool {
    word.len() <= 2 && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a word is of the moment: a size, an id, a key, a code, who types.
fn is_of_the_moment(word: &str) -> bool {
    if is_count(word) {
        return false;
    }
    let is_key = word.len() >= 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_user = word.starts_with("user-");
    is_key || is_user || word.bytes().any(|byte| byte.is_ascii_digit()) || (word.len() > 3 && word.ends_with("..."))
}

/// Looks for what is shown in what was printed, part by part. Ids and codes that stand in the document are noted with those that
/// they are this time.
fn fits(shown: &[&str], printed: &str, known: &mut BTreeMap<String, String>) -> Result<(), String> {
    let printed = words(printed);
    let shown = words(&shown.join("\n"));
    let mut from = 0;
    for part in shown.split(|word| word == "...").filter(|part| !part.is_empty()) {
        let same = |(shown, printed): (&String, &String)| {
            shown == printed || (is_of_the_moment(shown) && is_of_the_moment(printed))
        };
        let at = (from..printed.len()).find(|at| {
            let rest = &printed[*at..];
            rest.len() >= part.len() && part.iter().zip(rest).all(same)
        });
        let at = at.ok_or_else(|| format!("{}\n\nis not in\n\n{}", part.join(" "), printed.join(" ")))?;
        for (shown, printed) in part.iter().zip(&printed[at..]) {
            if shown.starts_with("note_") || shown.starts_with("ctxj-") {
                known.entry(shown.clone()).or_insert_with(|| printed.clone());
            }
        }
        from = at + part.len();
    }
    Ok(())
}

/// Types a command in the namespaces of a machine: it has a network and a name of its own.
fn typed(sandbox: &Sandbox, step: &Step<'_>, known: &BTreeMap<String, String>) -> String {
    let mut line = step.command.to_owned();
    for (shown, now) in known {
        line = line.replace(shown, now);
    }
    // On a terminal these say by themselves that a human asked.
    for verb in ["create", "update", "resolve"] {
        line = line.replace(&format!("ctxnode note {verb}"), &format!("ctxnode note {verb} --human-requested"));
    }
    if step.as_root {
        line = format!("PATH=/usr/sbin:/sbin:$PATH; {line}");
    }
    let mut command = sandbox.command("unshare");
    let name = MACHINES[step.machine];
    let script = format!("echo {name} > /proc/sys/kernel/hostname && exec sh -c \"$0\"");
    // Here clients start the daemon, as they do for a person.
    command.env_remove("CTXNODE_NO_AUTOSTART").args(["--uts", "sh", "-c", &script, &line]);
    let output = command.output().unwrap();
    let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    printed.replace(&sandbox.home().display().to_string(), "~")
}

fn uptime(machine: &Sandbox) -> u64 {
    script(machine).do_("node", json!({}))["uptime_seconds"].as_u64().unwrap()
}

/// F-01, and the laptop that goes away: every command of both documents, on three machines.
#[test]
fn f_01_what_the_documents_show_of_three_machines_is_what_comes() {
    let Some(mut lan) = Lan::new(8) else { return };
    let places = [lan.place(), lan.place(), lan.place()];
    let machines = [0, 1, 2].map(|at| Sandbox::at(&places[at]));
    let _checkouts =
        [0, 1, 2].map(|at| Repo::with_origin(&machines[at], "console", "git@github.com:alpha-org/console.git"));
    let section = README.split("\n## More machines\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let sessions =
        std::iter::once(BEFORE.lines().collect()).chain(blocks(section).into_iter().take(1)).chain(blocks(LAPTOP));
    let mut known = BTreeMap::new();
    let mut count = 0;
    for step in sessions.flat_map(|lines| steps(lines.into_iter())) {
        let machine = &machines[step.machine];
        if step.as_root {
            // A machine is away for longer than it takes its daemon to notice, which looks every five seconds.
            let begun = uptime(machine);
            wait_until(LONG, "a while has passed", || uptime(machine) > begun + 5);
        }
        let mut last = String::new();
        let mut look = || {
            last = typed(machine, &step, &known);
            fits(&step.shown, &last, &mut known)
        };
        let mut found = look();
        // What is seen follows by itself; what is done, is done once.
        if step.command.contains("ctxnode status") && found.is_err() {
            let (begun, mut looked) = (Instant::now(), Instant::now());
            wait_until(LONG * 2, step.command, || {
                if looked.elapsed() > AGAIN {
                    (found, looked) = (look(), Instant::now());
                }
                found.is_ok() || begun.elapsed() > LONG
            });
        }
        println!("{}{} {}\n{last}", MACHINES[step.machine], if step.as_root { '#' } else { '$' }, step.command);
        if let Err(why) = found {
            panic!("{} on {}: {why}", step.command, MACHINES[step.machine]);
        }
        count += 1;
    }
    assert!(count > 15, "only {count} were typed");
}

#[test]
fn a_line_that_does_not_come_is_noticed() {
    let mut known = BTreeMap::new();
    let printed = "note id:  note_02\nPEER  SEEN\nmac   3 min  4 lacks\n\nall is well";
    assert_eq!(fits(&["note id: note_01", "...", "mac just now 4 lacks"], printed, &mut known), Ok(()));
    assert_eq!(known["note_01"], "note_02");
    for wrong in [
        vec!["server just now 4 lacks"],
        vec!["mac just now 9 lacks"],
        vec!["all is well", "...", "PEER SEEN"],
        vec!["PEER mac"],
    ] {
        assert!(fits(&wrong, printed, &mut known).is_err(), "{wrong:?}");
    }
}
