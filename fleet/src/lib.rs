//! What ctxnode knows about running on a machine: the daemon as a user service of systemd or launchd, where the machine
//! is on the network, and field mode.
//!
//! Everything is rendered and planned as data, from paths that the caller passes in. The caller writes the files and
//! runs the commands, so that `--dry-run` shows exactly what a run would do.
//!
//! Never here: owning state, reading the environment, writing files, starting processes, printing.
//!
//! ```
//! use ctxnode_fleet::service::{Manager, Service, Step};
//!
//! let service = Service::new("/usr/local/bin/ctxnode", "/home/ada/.local/state/ctxnode/log");
//! let plan = Manager::Systemd.install("/home/ada".as_ref(), &service);
//! assert!(matches!(&plan[0], Step::Write { path, .. } if path.ends_with("systemd/user/ctxnode.service")));
//! ```

pub mod field;
pub mod network;
pub mod service;
