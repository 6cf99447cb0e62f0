//! Tools for tests with real binaries: a home of their own, a guarded daemon, a network of namespaces, waiting for a
//! condition, checkouts, and what the machine provides.
//!
//! A test that uses them touches nothing of the person who runs it: no variable, no file, no daemon. Nothing here
//! sleeps; everything that waits has a deadline and says what it waited for.
//!
//! Never here: assertions about ctxnode's behaviour, and never a dependency outside `[dev-dependencies]`. The rules of
//! the source tree are in this package's own tests.
//!
//! ```no_run
//! use ctxnode_testkit::{Daemon, Sandbox};
//!
//! let sandbox = Sandbox::new();
//! let init = sandbox.command("ctxnode").args(["init", "--name", "left"]).output().expect("the binary starts");
//! assert!(init.status.success());
//! let mut daemon = Daemon::start(&sandbox);
//! daemon.kill();
//! daemon.restart();
//! ```

mod daemon;
mod lan;
mod provided;
mod repo;
mod sandbox;
mod wait;

pub use daemon::Daemon;
pub use lan::{Lan, Packet, Place, RESOLVER, Wire};
pub use provided::{agent_clis, corpus, mcp_inspector, python_with_mcp, soak_time};
pub use repo::Repo;
pub use sandbox::{Sandbox, bin};
pub use wait::wait_until;
