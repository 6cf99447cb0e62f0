//! The sessions that documents show, typed on three machines as they stand there: what is shown must come, but for what is of
//! the moment (ids, sizes, ages), and `...` stands for what was left out. Addresses are not of the moment: machines here have
//! those of the documents.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
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
/// What the README's last block leads to, and how that ends; there the command stands in a comment.
const AFTER: &str = r#"
mac$ ctxnode status
...
laptop  in field mode
...
laptop$ ctxnode field off
laptop$ ctxnode status
...
mac     connected  lan
...
server  connected  lan
...
mac$ ctxnode status
...
laptop  connected  lan
...
"#;
/// How often a status is asked for: one caller may ask a hundred times in a minute.
const AGAIN: Duration = Duration::from_secs(1);
/// How long it may take to show what is wanted. A machine that left counts for seventy seconds as reached through others, when
/// one of them has heard it last.
const SHOWN: Duration = Duration::from_secs(120);
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

fn is_address(word: &str) -> bool {
    let bare = word.trim_start_matches('(').trim_end_matches([',', ';', '.', ')']);
    bare.parse::<SocketAddr>().is_ok() || bare.parse::<IpAddr>().is_ok()
}

/// Whether a word is of the moment: a size, an id, a key, a code, who types.
fn is_of_the_moment(word: &str) -> bool {
    if is_count(word) || is_address(word) {
        return false;
    }
    let is_key = word.len() >= 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_user = word.starts_with("user-");
    is_key || is_user || word.bytes().any(|byte| byte.is_ascii_digit()) || (word.len() > 3 && word.ends_with("..."))
}

/// What an id is of: what stands before its `_`.
fn kind(word: &str) -> Option<&str> {
    word.split_once('_').map(|(kind, _)| kind)
}

/// Looks for what is shown in what was printed, part by part. Ids and codes that stand in the document are noted with those that
/// they are this time, and mean the same wherever they stand again.
fn fits(shown: &[&str], printed: &str, known: &mut BTreeMap<String, String>) -> Result<(), String> {
    let printed = words(printed);
    let shown = words(&shown.join("\n"));
    let mut from = 0;
    for part in shown.split(|word| word == "...").filter(|part| !part.is_empty()) {
        let noted = &*known;
        let same = |(shown, printed): (&String, &String)| match noted.get(shown) {
            Some(now) => printed == now,
            None if shown == printed => true,
            None => is_of_the_moment(shown) && is_of_the_moment(printed) && kind(shown) == kind(printed),
        };
        let at = (from..printed.len()).find(|at| {
            let rest = &printed[*at..];
            rest.len() >= part.len() && part.iter().zip(rest).all(same)
        });
        let at = at.ok_or_else(|| format!("{}\n\nis not in\n\n{}", part.join(" "), printed.join(" ")))?;
        for (shown, printed) in part.iter().zip(&printed[at..]) {
            if ["note_", "sess_", "ctxj-"].iter().any(|start| shown.starts_with(start)) {
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
    // Only a status tells news by its exit code.
    let has_news = step.command.contains("ctxnode status");
    assert!(has_news || output.status.success(), "{} on {name}: {printed}", step.command);
    printed.replace(&sandbox.home().display().to_string(), "~")
}

fn uptime(machine: &Sandbox) -> u64 {
    script(machine).do_("node", json!({}))["uptime_seconds"].as_u64().unwrap()
}

/// Who sits before the machines.
struct Typist<'a> {
    machines: &'a [Sandbox; 3],
    known: BTreeMap<String, String>,
    count: usize,
}

impl Typist<'_> {
    /// Types what a block shows, and compares.
    #[expect(clippy::print_stdout, reason = "what was printed is what somebody compares who changes the documents")]
    fn types(&mut self, lines: &[&str]) {
        for step in steps(lines.iter().copied()) {
            let machine = &self.machines[step.machine];
            if step.as_root {
                // A machine is away for longer than it takes its daemon to notice, which looks every five seconds.
                let begun = uptime(machine);
                wait_until(LONG, "a while has passed", || uptime(machine) > begun + 5);
            }
            let known = &mut self.known;
            let mut last = String::new();
            let mut look = || {
                last = typed(machine, &step, known);
                fits(&step.shown, &last, known)
            };
            let mut found = look();
            // What is seen follows by itself; what is done, is done once.
            if step.command.contains("ctxnode status") && found.is_err() {
                let (begun, mut looked) = (Instant::now(), Instant::now());
                wait_until(SHOWN * 2, step.command, || {
                    if looked.elapsed() > AGAIN {
                        (found, looked) = (look(), Instant::now());
                    }
                    found.is_ok() || begun.elapsed() > SHOWN
                });
            }
            println!("{}{} {}\n{last}", MACHINES[step.machine], if step.as_root { '#' } else { '$' }, step.command);
            if let Err(why) = found {
                panic!("{} on {}: {why}", step.command, MACHINES[step.machine]);
            }
            self.count += 1;
        }
    }
}

/// F-01, the laptop that goes away, and field mode: every command in a block of the README's part about more machines, and of
/// LAPTOP.md, on three machines. Not typed are `ctxnode continue --with` and `--on`, which start an agent's CLI, here or over
/// ssh, and neither is in these namespaces (`launcher/tests/it/continuing.rs` has stand-ins for both), and what the README names
/// within a sentence.
#[test]
fn f_01_what_the_documents_show_of_three_machines_is_what_comes() {
    let Some(mut lan) = Lan::new(8) else { return };
    let places = [lan.place(), lan.place(), lan.place()];
    let machines = [0, 1, 2].map(|at| Sandbox::at(&places[at]));
    let _checkouts =
        [0, 1, 2].map(|at| Repo::with_origin(&machines[at], "console", "git@github.com:alpha-org/console.git"));
    // What keeps a machine awake is not to be found everywhere, and the machine of the test may sleep.
    let laptop = &machines[2];
    laptop.fake_program("systemd-inhibit", "exec sleep 600");
    let section = README.split("\n## More machines\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let of_readme = blocks(section);
    let [join, going_on, field] = of_readme.as_slice() else { panic!("the README has other blocks: {of_readme:?}") };
    let untyped = steps(going_on.iter().copied());
    assert!(untyped.iter().all(|step| step.command.starts_with("ctxnode continue --")), "{going_on:?}");

    let mut typist = Typist { machines: &machines, known: BTreeMap::new(), count: 0 };
    typist.types(&BEFORE.lines().collect::<Vec<&str>>());
    typist.types(join);
    for block in blocks(LAPTOP) {
        typist.types(&block);
    }
    assert!(typist.count > 15, "only {} were typed", typist.count);
    typist.types(field);
    let mode = script(laptop).do_("field.get", json!({}));
    let set = (&mode["on"], &mode["every_seconds"], &mode["budget_bytes"]);
    assert_eq!(set, (&json!(true), &json!(900), &json!(20_000_000)), "{mode}");
    assert!(mode["awake"]["pid"].is_u64(), "it stays awake: {mode}");
    typist.types(&AFTER.lines().collect::<Vec<&str>>());
    let mode = script(laptop).do_("field.get", json!({}));
    assert_eq!((&mode["on"], &mode["awake"]), (&json!(false), &json!(null)), "{mode}");
}

#[test]
fn a_line_that_does_not_come_is_noticed() {
    let mut known = BTreeMap::new();
    let printed = "note id:  note_02\nPEER  SEEN\nmac   3 min  4 lacks\nat 10.99.0.3:4748\n\nall is well";
    assert_eq!(fits(&["note id: note_01", "...", "mac just now 4 lacks"], printed, &mut known), Ok(()));
    assert_eq!(known["note_01"], "note_02");
    assert_eq!(fits(&["id: note_01", "...", "at 10.99.0.3:4748"], printed, &mut known), Ok(()));
    for wrong in [
        vec!["at 10.99.0.77:4748"],
        vec!["at 10.99.0.3:4749"],
        vec!["note id: sess_02"],
        vec!["server just now 4 lacks"],
        vec!["mac just now 9 lacks"],
        vec!["all is well", "...", "PEER SEEN"],
        vec!["PEER mac"],
    ] {
        assert!(fits(&wrong, printed, &mut known).is_err(), "{wrong:?}");
    }
    assert!(fits(&["note id: note_01"], "note id: note_03", &mut known).is_err(), "it is another note");
}
