//! The program `launcher`: today, the list of ventures and where they are on this machine.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program says what it found")]

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;

/// Lists the ventures of this machine.
#[derive(Parser)]
#[command(name = "launcher", version = ctxnode_api::version::BUILD, arg_required_else_help = true)]
struct Arguments {
    /// Lists every venture and where it is checked out.
    #[arg(long, required = true)]
    list: bool,
}

fn main() -> ExitCode {
    let Arguments { list: _ } = Arguments::parse();
    // Found beside this program, so that both are of one build.
    let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.join("ctxnode")));
    let program = beside.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from("ctxnode"));
    let asked = Command::new(&program).args(["venture", "list", "--json"]).stderr(Stdio::inherit()).output();
    match asked {
        Err(error) => {
            eprintln!("error: {} cannot be run: {error}\nhint: run ./bootstrap.sh again", program.display());
            ExitCode::from(1)
        }
        // It has said why on stderr.
        Ok(output) if !output.status.success() => {
            ExitCode::from(output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
        }
        Ok(output) => match serde_json::from_slice(&output.stdout) {
            Ok(ventures) => {
                println!("{}", ctxnode_launcher::listing(&ventures));
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: the answer of {} cannot be read: {error}", program.display());
                ExitCode::from(70)
            }
        },
    }
}
