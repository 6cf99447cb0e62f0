//! The service files byte by byte, and the plans around them.

use insta::{assert_debug_snapshot, assert_snapshot};
use proptest::prelude::*;

use super::*;

fn plain() -> Service {
    Service::new("/home/ada/.local/bin/ctxnode", "/home/ada/.local/state/ctxnode/log")
}

fn awkward() -> Service {
    let mut service = Service::new("/opt/my tools/100%/$HOME/\"ctxnode\"", "/tmp/<log> & more");
    service.environment.insert("CTXNODE_DATA_DIR".into(), "/srv/a b/50%/$x/<&>".into());
    service
}

#[test]
fn systemd_unit_of_a_plain_service() {
    assert_snapshot!(Manager::Systemd.render(&plain()));
}

#[test]
fn systemd_unit_escapes_quotes_specifiers_and_variables() {
    assert_snapshot!(Manager::Systemd.render(&awkward()));
}

#[test]
fn launchd_plist_of_a_plain_service() {
    assert_snapshot!(Manager::Launchd.render(&plain()));
}

#[test]
fn launchd_plist_escapes_markup() {
    assert_snapshot!(Manager::Launchd.render(&awkward()));
}

#[test]
fn plans_name_each_file_and_command_in_order() {
    let home = Path::new("/home/ada");
    let without_contents = |steps: Vec<Step>| -> Vec<Step> {
        let emptied = |step| match step {
            Step::Write { path, .. } => Step::Write { path, contents: "...".into() },
            other => other,
        };
        steps.into_iter().map(emptied).collect()
    };
    assert_debug_snapshot!("systemd_install", without_contents(Manager::Systemd.install(home, &plain())));
    assert_debug_snapshot!("systemd_uninstall", Manager::Systemd.uninstall(home));
    assert_debug_snapshot!("launchd_install", without_contents(Manager::Launchd.install(home, &plain())));
    assert_debug_snapshot!("launchd_uninstall", Manager::Launchd.uninstall(home));
}

/// B-06: what was installed is removed, and nothing else.
#[test]
fn b_06_uninstall_removes_exactly_the_files_that_install_writes() {
    let home = Path::new("/home/ada");
    for manager in [Manager::Systemd, Manager::Launchd] {
        let written = manager.install(home, &plain()).into_iter().filter_map(|step| match step {
            Step::Write { path, .. } => Some(path),
            _ => None,
        });
        let removed = manager.uninstall(home).into_iter().filter_map(|step| match step {
            Step::Remove { path } => Some(path),
            _ => None,
        });
        assert_eq!(written.collect::<Vec<_>>(), removed.collect::<Vec<_>>());
    }
}

proptest! {
    /// No value can end its line or its element and so smuggle a setting into the file.
    #[test]
    fn no_value_escapes_its_place(value in any::<String>()) {
        let mut service = plain();
        let lines = |service: &Service, manager: Manager| manager.render(service).matches('\n').count();
        let tags = |service: &Service| Manager::Launchd.render(service).matches(['<', '>']).count();
        service.environment.insert("NAME".into(), String::new());
        let (unit_lines, plist_tags) = (lines(&service, Manager::Systemd), tags(&service));
        service.environment.insert("NAME".into(), value);
        prop_assert_eq!(lines(&service, Manager::Systemd), unit_lines);
        prop_assert_eq!(tags(&service), plist_tags);
    }
}
