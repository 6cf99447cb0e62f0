//! Benches that are run by hand: `cargo run --release -p ctxnode-bench -- <bench>`.
//!
//! Each prints its distribution beside a reference measured in the same run, because absolute times say as much about
//! the machine as about the code.

mod agents;
mod exchange;
mod fill;
mod newcomer;
mod search;
mod stats;
mod whole;
mod writes;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures ctxnode.")]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Durable note writes against raw redb commits of the same bytes, alone and 64 at once.
    Writes {
        /// Writes per series.
        #[arg(long, default_value_t = 500)]
        count: usize,
    },
    /// Fills a data directory: 45 % sessions, 45 % handoffs, 8 % notes, 2 % docs of real text.
    Fill {
        /// The data directory, made by `ctxnode init`.
        #[arg(long)]
        data_dir: PathBuf,
        /// Records.
        #[arg(long, default_value_t = 100_000)]
        records: usize,
        /// A directory of Markdown files.
        #[arg(long)]
        corpus: Option<PathBuf>,
    },
    /// Search against SQLite FTS5 over the same texts and queries.
    Search {
        /// Notes.
        #[arg(long, default_value_t = 100_000)]
        notes: usize,
        /// Queries.
        #[arg(long, default_value_t = 500)]
        queries: usize,
        /// A directory of Markdown files.
        #[arg(long)]
        corpus: Option<PathBuf>,
    },
    /// Two replicas on loopback: nothing changed, changes on both sides, live writes, a new replica.
    Exchange {
        /// Records that both have.
        #[arg(long, default_value_t = 100_000)]
        records: usize,
        /// Changes on each side while apart.
        #[arg(long, default_value_t = 1_000)]
        changed: usize,
        /// Writes while connected.
        #[arg(long, default_value_t = 300)]
        live: usize,
        /// A directory of Markdown files.
        #[arg(long)]
        corpus: Option<PathBuf>,
    },
    /// Two daemons: a new node takes in a filled data directory, until it is readable and indexed.
    Newcomer {
        /// The filled data directory.
        #[arg(long)]
        data_dir: PathBuf,
        /// The `ctxnode` binary.
        #[arg(long)]
        binary: PathBuf,
    },
    /// Hooks of agent CLIs, twenty sessions in turn, against the start of a process at all.
    Hooks {
        /// The folder with `ctxnode`, `launcher` and `dev-session`.
        #[arg(long)]
        binaries: PathBuf,
        /// Events of each kind.
        #[arg(long, default_value_t = 250)]
        count: usize,
    },
    /// The launcher's plan, and a launch of an agent that ends at once, against that agent alone.
    Launcher {
        /// The folder with `ctxnode`, `launcher` and `dev-session`.
        #[arg(long)]
        binaries: PathBuf,
        /// Launches. Each calls the daemon a few times, and more of them in a minute meet the limit of one caller.
        #[arg(long, default_value_t = 20)]
        count: usize,
    },
    /// Start of day, daemon start, MCP handshake and memory over a filled data directory.
    Whole {
        /// The data directory.
        #[arg(long)]
        data_dir: PathBuf,
        /// The `ctxnode` binary.
        #[arg(long)]
        binary: PathBuf,
        /// Starts of day to measure.
        #[arg(long, default_value_t = 300)]
        count: usize,
        /// A smaller filled data directory to compare starts of day with.
        #[arg(long)]
        reference: Option<PathBuf>,
    },
}

fn main() {
    match Arguments::parse().bench {
        Bench::Writes { count } => writes::run(count),
        Bench::Fill { data_dir, records, corpus } => fill::run(&data_dir, records, corpus.as_deref()),
        Bench::Search { notes, queries, corpus } => search::run(corpus.as_deref(), notes, queries),
        Bench::Exchange { records, changed, live, corpus } => {
            exchange::run(corpus.as_deref(), records, changed, live);
        }
        Bench::Newcomer { data_dir, binary } => newcomer::run(&data_dir, &binary),
        Bench::Hooks { binaries, count } => agents::hooks(&binaries, count),
        Bench::Launcher { binaries, count } => agents::launcher(&binaries, count),
        Bench::Whole { data_dir, binary, count, reference } => {
            whole::run(&data_dir, &binary, count, reference.as_deref());
        }
    }
}
