//! The program `ctxnode`: command line and daemon in one binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    ctxnode_node::cli::main()
}
