//! Compares the exchange of ctxnode with other engines that keep documents equal:
//! `compare [DOCUMENTS [CHANGED [ENGINE...]]]`.
//!
//! Each engine meets in a process of its own, so that one's memory is not another's. What is measured and what is not
//! is in `README.md`.

mod exchange;
mod figures;
mod frames;
mod note;
mod table;
mod wire;
mod with_ctxnode;
mod with_samod;
mod with_subduction;

use std::process::{Command, ExitCode, Stdio};

use figures::Figures;

/// How often each meeting is measured; the one with the middle time is shown.
const RUNS: usize = 3;

/// What meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    Ctxnode,
    CtxnodeOnDisk,
    Samod,
    Subduction,
}

impl Engine {
    const ALL: [Self; 4] = [Self::Ctxnode, Self::Samod, Self::Subduction, Self::CtxnodeOnDisk];

    fn name(self) -> &'static str {
        match self {
            Self::Ctxnode => "ctxnode",
            Self::CtxnodeOnDisk => "ctxnode-on-disk",
            Self::Samod => "samod",
            Self::Subduction => "subduction",
        }
    }
}

/// How many documents there are, and how many of them each side changes before they meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Case {
    documents: usize,
    changed: usize,
}

impl Case {
    /// The documents that A has changed.
    fn by_a(self) -> std::ops::Range<usize> {
        0..self.changed
    }

    /// The documents that B has changed: others.
    fn by_b(self) -> std::ops::Range<usize> {
        self.changed..2 * self.changed
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["meet", engine, documents, changed] => match (parse_engine(engine), parse_case(documents, changed)) {
            (Ok(engine), Ok(case)) => meet(engine, case),
            (engine, case) => refuse(&[engine.err(), case.err()]),
        },
        [] => parse("10000", "1000", &[]),
        [documents] => parse(documents, "1000", &[]),
        [documents, changed, ref engines @ ..] => parse(documents, changed, engines),
    }
}

fn parse(documents: &str, changed: &str, engines: &[&str]) -> ExitCode {
    let case = parse_case(documents, changed);
    let (known, unknown): (Vec<_>, Vec<_>) = engines.iter().map(|name| parse_engine(name)).partition(Result::is_ok);
    let mut errors: Vec<Option<String>> = unknown.into_iter().map(Result::err).collect();
    let engines: Vec<Engine> =
        if engines.is_empty() { Engine::ALL.into() } else { known.into_iter().flatten().collect() };
    match case {
        Ok(case) if errors.is_empty() => compare(case, &engines),
        case => {
            errors.push(case.err());
            refuse(&errors)
        }
    }
}

fn refuse(errors: &[Option<String>]) -> ExitCode {
    for error in errors.iter().flatten() {
        eprintln!("compare: {error}");
    }
    eprintln!("usage: compare [DOCUMENTS [CHANGED [ENGINE...]]]");
    ExitCode::from(2)
}

fn parse_engine(name: &str) -> Result<Engine, String> {
    let found = Engine::ALL.into_iter().find(|engine| engine.name() == name);
    let names = Engine::ALL.map(Engine::name).join(", ");
    found.ok_or_else(|| format!("no engine is called `{name}`; there are {names}"))
}

fn parse_case(documents: &str, changed: &str) -> Result<Case, String> {
    let number = |what: &str, text: &str| text.parse::<usize>().map_err(|_| format!("{what} `{text}` is no number"));
    let (documents, changed) = match (number("DOCUMENTS", documents), number("CHANGED", changed)) {
        (Ok(documents), Ok(changed)) => (documents, changed),
        (Err(one), Err(other)) => return Err(format!("{one}; {other}")),
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    if documents == 0 || 2 * changed > documents {
        return Err(format!("CHANGED is {changed}: both sides change others, so it is at most half of {documents}"));
    }
    Ok(Case { documents, changed })
}

/// Lets an engine meet in this process and prints its figures for the process that asked.
fn meet(engine: Engine, case: Case) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let figures = runtime.block_on(async {
        match engine {
            Engine::Ctxnode => with_ctxnode::meet(case, with_ctxnode::Place::Memory).await,
            Engine::CtxnodeOnDisk => with_ctxnode::meet(case, with_ctxnode::Place::Disk).await,
            Engine::Samod => with_samod::meet(case).await,
            Engine::Subduction => with_subduction::meet(case).await,
        }
    });
    println!("{}", serde_json::to_string(&figures).expect("figures as JSON"));
    // What an engine leaves running is not waited for.
    runtime.shutdown_background();
    ExitCode::SUCCESS
}

/// Lets each of the engines meet in processes of its own.
fn compare(case: Case, engines: &[Engine]) -> ExitCode {
    println!("{} documents; the middle of {RUNS} runs by time", case.documents);
    for changed in [0, case.changed] {
        let case = Case { changed, ..case };
        let rows: Vec<(&str, Option<Figures>)> =
            engines.iter().map(|engine| (engine.name(), middle(*engine, case))).collect();
        println!("\n{}", table::render(&rows, changed));
    }
    ExitCode::SUCCESS
}

/// Returns the figures of the run with the middle time; `None` when one of them failed.
fn middle(engine: Engine, case: Case) -> Option<Figures> {
    let mut runs = (0..RUNS).map(|_| in_a_process(engine, case)).collect::<Option<Vec<Figures>>>()?;
    runs.sort_by_key(|figures| figures.micros);
    runs.get(RUNS / 2).copied()
}

fn in_a_process(engine: Engine, case: Case) -> Option<Figures> {
    let own = std::env::current_exe().expect("the path of this program");
    let [documents, changed] = [case.documents, case.changed].map(|number| number.to_string());
    let output = Command::new(own)
        .args(["meet", engine.name(), &documents, &changed])
        .stderr(Stdio::inherit())
        .output()
        .expect("a process of this program");
    if !output.status.success() {
        eprintln!("compare: {} ended with {}", engine.name(), output.status);
        return None;
    }
    Some(serde_json::from_slice(&output.stdout).expect("the figures that a meeting prints"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_compared_is_refused_with_all_reasons() {
        assert_eq!(parse_case("100", "50"), Ok(Case { documents: 100, changed: 50 }));
        assert!(parse_case("100", "51").is_err_and(|error| error.contains("at most half of 100")));
        assert!(parse_case("many", "few").is_err_and(|error| error.contains("`many`") && error.contains("`few`")));
        assert!(parse_engine("other").is_err_and(|error| error.contains("`other`") && error.contains("samod")));
    }
}
