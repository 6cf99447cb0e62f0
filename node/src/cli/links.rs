//! The programs of ctxnode where a shell and the agent CLIs look for them: links that lead nowhere, another ctxnode that
//! comes first on the PATH, none at all.

use std::path::{Path, PathBuf};

use ctxnode_api::node::{CheckRow, CheckState};
use ctxnode_launcher::program::find;

use super::doctor::check;
use super::world::World;

/// The programs of one installation.
pub(super) const PROGRAMS: [&str; 3] = ["ctxnode", "launcher", "dev-session"];

/// Where they are installed for a user.
pub(super) fn folder(world: &World) -> PathBuf {
    world.config.paths.home.join(".local/bin")
}

/// Looks at them; a link that leads nowhere is led to this installation when that is asked for.
pub(super) fn checks(world: &World, fix: bool) -> Vec<CheckRow> {
    let folder = folder(world);
    let stale: Vec<PathBuf> = PROGRAMS.iter().map(|name| folder.join(name)).filter(|link| is_stale(link)).collect();
    let own = world.program.parent().unwrap_or(Path::new("/"));
    let mut rows: Vec<CheckRow> = stale
        .iter()
        .map(|link| {
            let target = own.join(link.file_name().unwrap_or_default());
            if fix && target.is_file() && target != *link {
                // Whether it helped is seen by looking again.
                let _ = std::fs::remove_file(link).and_then(|()| std::os::unix::fs::symlink(&target, link));
            }
            let good = !is_stale(link);
            let message = if good { "leads to this installation" } else { "leads to a file that does not exist" };
            let repair = format!("ln -sf '{}' '{}', or `ctxnode doctor --fix`", target.display(), link.display());
            let state = if good { CheckState::Pass } else { CheckState::Fail };
            check("link", state, format!("{} {message}", link.display()), Some(&repair))
        })
        .collect();
    rows.push(on_path(world));
    rows
}

fn is_stale(link: &Path) -> bool {
    link.is_symlink() && !link.exists()
}

/// Agent CLIs call `ctxnode` by its name: what they start is the first one on the PATH.
fn on_path(world: &World) -> CheckRow {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    match find("ctxnode", &world.env) {
        Some(found) if whole(&found) == whole(&world.program) => {
            check("path", CheckState::Pass, found.display().to_string(), None)
        }
        Some(found) => {
            let message = format!("agents start {}, this is {}", found.display(), world.program.display());
            check(
                "path",
                CheckState::Warn,
                message,
                Some("remove the one that is not meant, or change the order of PATH"),
            )
        }
        None => {
            let fix = format!("add {} to the PATH in your shell's file", folder(world).display());
            check("path", CheckState::Warn, "ctxnode is not on it, and hooks call it by name", Some(&fix))
        }
    }
}
