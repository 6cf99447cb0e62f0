//! `ctxnode mcp`: the shim between an agent and the daemon. The memory and threads of the command line are not for it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Command;
use ctxnode_api::version;
use ctxnode_config::{Config, Paths};
use ctxnode_mcp::{ShimOptions, shim};

use super::failure::Failure;
use super::world::{World, socket_of};

pub(super) fn command() -> Command {
    Command::new("mcp").about("Speaks MCP on stdin and stdout, for agent CLIs")
}

pub(super) fn run(world: &World) -> Result<ExitCode, Failure> {
    let options = ShimOptions {
        socket: socket(world.config.clone()),
        directory: world.directory.clone(),
        build: version::BUILD.to_owned(),
        start: if world.config.autostart { Some(world.starter()?) } else { None },
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Runtime)?;
    runtime.block_on(shim::run(options));
    // A read of stdin cannot be cancelled; the process ends with it.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

/// Finds the socket anew for each attempt: the next daemon may have been started from another environment.
fn socket(config: Config) -> Box<dyn Fn() -> PathBuf + Send> {
    Box::new(move || Paths { socket: socket_of(&config), ..config.paths.clone() }.mcp_socket())
}
