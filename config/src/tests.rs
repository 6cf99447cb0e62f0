//! The layers at work: precedence, origins, faults with their places, paths per platform.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;

fn file(path: &str, text: &str) -> ConfigFile {
    ConfigFile { path: path.into(), text: text.into() }
}

fn home() -> Environment {
    Environment::from_pairs([("HOME", "/home/ada")])
}

fn load_linux(env: &Environment, files: &[ConfigFile], overrides: &Overrides) -> Result<Config, ConfigErrors> {
    load(&Inputs { platform: Platform::Linux, env, files, overrides })
}

fn explained(config: &Config) -> String {
    let line = |row: Explained| format!("{} = {} ({})", row.key.name(), row.value, row.origin);
    config.explain().into_iter().map(line).collect::<Vec<_>>().join("\n")
}

fn faults(text: &str) -> String {
    load_linux(&home(), &[file("/etc/ctxnode/config.toml", text)], &Overrides::default()).unwrap_err().to_string()
}

#[test]
fn defaults_stand_when_nobody_sets_anything() {
    let config = load_linux(&home(), &[], &Overrides::default()).unwrap();
    assert_snapshot!(explained(&config), @r"
    data_dir = /home/ada/.local/share/ctxnode (default)
    socket = /home/ada/.local/state/ctxnode/ctxnode.sock (default)
    http.listen = off (default)
    dev_dirs = /home/ada/dev (default)
    log.level = info (default)
    autostart = true (default)
    backup.dir = /home/ada/.local/share/ctxnode/backups (default)
    backup.keep = 14 (default)
    search.enabled = true (default)
    sync.port = 4748 (default)
    sync.bind =  (default)
    sync.relay = off (default)
    sync.mdns = true (default)
    sync.peers =  (default)
    ");
}

#[test]
fn a_stronger_layer_wins_and_is_named() {
    let env = Environment::from_pairs([
        ("HOME", "/home/ada"),
        ("CTXNODE_HTTP", "on"),
        ("CTXNODE_LOG", "DEBUG"),
        ("CTXNODE_NO_AUTOSTART", "1"),
        ("CTXNODE_DEV_DIRS", "~/dev:/srv/src"),
    ]);
    let files = [
        file("/etc/ctxnode/config.toml", "[log]\nlevel = \"warn\"\n[backup]\nkeep = 3\ndir = \"/srv/backups\""),
        file("/home/ada/.config/ctxnode/config.toml", "backup.keep = 30\nsearch.enabled = false"),
    ];
    let overrides = Overrides::default().with(Key::DataDir, "--data-dir", "~/replica");
    let config = load_linux(&env, &files, &overrides).unwrap();
    assert_snapshot!(explained(&config), @r"
    data_dir = /home/ada/replica (command line --data-dir)
    socket = /home/ada/replica/ctxnode.sock (default)
    http.listen = 127.0.0.1:4747 (environment variable CTXNODE_HTTP)
    dev_dirs = /home/ada/dev:/srv/src (environment variable CTXNODE_DEV_DIRS)
    log.level = debug (environment variable CTXNODE_LOG)
    autostart = false (environment variable CTXNODE_NO_AUTOSTART)
    backup.dir = /srv/backups (/etc/ctxnode/config.toml:5)
    backup.keep = 30 (/home/ada/.config/ctxnode/config.toml:1)
    search.enabled = false (/home/ada/.config/ctxnode/config.toml:2)
    sync.port = 4748 (default)
    sync.bind =  (default)
    sync.relay = off (default)
    sync.mdns = true (default)
    sync.peers =  (default)
    ");
}

/// Q-08, for the configuration: an unknown field is named, never dropped.
#[test]
fn q_08_unknown_keys_are_named_with_file_line_and_near_match() {
    assert_snapshot!(faults("dat_dir = \"/srv\"\n[http]\nlistn = \"on\"\n[colour]\nred = 1\n"), @r"
    /etc/ctxnode/config.toml:1: unknown key `dat_dir`, nearest known key is `data_dir`
    /etc/ctxnode/config.toml:3: unknown key `http.listn`, nearest known key is `http.listen`
    /etc/ctxnode/config.toml:4: unknown key `colour`
    ");
    assert_snapshot!(faults("listen = \"on\"\n"), @r"/etc/ctxnode/config.toml:1: unknown key `listen`, nearest known key is `http.listen`");
}

#[test]
fn all_bad_values_are_reported_at_once() {
    let text = "data_dir = \"relative\"\nautostart = \"perhaps\"\ndev_dirs = [1]\n[backup]\nkeep = 1.5\n[log]\nlevel = \"loud\"\n\
                [http]\nlisten = \"localhost\"\n";
    assert_snapshot!(faults(text), @r#"
    /etc/ctxnode/config.toml:1: `data_dir` is "relative", expected an absolute path or one that starts with ~/
    /etc/ctxnode/config.toml:9: `http.listen` is "localhost", expected `off`, `on` (127.0.0.1:4747) or an address such as 127.0.0.1:4800
    /etc/ctxnode/config.toml:3: `dev_dirs` is a list with something else than strings, expected a list of paths, absolute or starting with ~/ (separated by `:` in the environment)
    /etc/ctxnode/config.toml:7: `log.level` is "loud", expected one of error, warn, info, debug, trace
    /etc/ctxnode/config.toml:2: `autostart` is "perhaps", expected true or false
    /etc/ctxnode/config.toml:5: `backup.keep` is a fraction, expected a whole number from 1 to 365
    "#);
}

#[test]
fn a_table_where_a_value_belongs_is_a_bad_value() {
    assert_snapshot!(faults("[socket]\npath = \"/run/x\"\n"), @r"/etc/ctxnode/config.toml:1: `socket` is a table, expected an absolute path or one that starts with ~/");
}

#[test]
fn broken_toml_names_the_file_and_the_place() {
    assert_snapshot!(faults("data_dir = \n"), @r"
    /etc/ctxnode/config.toml: not valid TOML: TOML parse error at line 1, column 12
      |
    1 | data_dir = 
      |            ^
    string values must be quoted, expected literal string
    ");
}

#[test]
fn a_fault_in_one_layer_does_not_hide_one_in_another() {
    let env = Environment::from_pairs([("HOME", "/home/ada"), ("CTXNODE_BACKUP_KEEP", "many")]);
    let files = [file("/a.toml", "x = 1"), file("/b.toml", "= 2")];
    let errors = load_linux(&env, &files, &Overrides::default()).unwrap_err();
    assert_eq!(errors.0.len(), 3, "{errors}");
}

#[test]
fn a_missing_home_is_said_plainly() {
    for env in [Environment::default(), Environment::from_pairs([("HOME", "relative")])] {
        let errors = load_linux(&env, &[], &Overrides::default()).unwrap_err();
        assert_eq!(errors.to_string(), "HOME is unset or not an absolute path");
    }
}

#[test]
fn xdg_variables_move_each_place_and_relative_ones_are_ignored() {
    let env = Environment::from_pairs([
        ("HOME", "/home/ada"),
        ("XDG_CONFIG_HOME", "/c"),
        ("XDG_DATA_HOME", "/d"),
        ("XDG_STATE_HOME", "not/absolute"),
        ("XDG_RUNTIME_DIR", "/run/user/7"),
    ]);
    let paths = Paths::discover(Platform::Linux, &env).unwrap();
    assert_eq!(paths.config_file.to_str(), Some("/c/ctxnode/config.toml"));
    assert_eq!(paths.data_dir.to_str(), Some("/d/ctxnode"));
    assert_eq!(paths.state_dir.to_str(), Some("/home/ada/.local/state/ctxnode"));
    assert_eq!(paths.socket.to_str(), Some("/run/user/7/ctxnode.sock"));
    assert_eq!(paths.mcp_socket().to_str(), Some("/run/user/7/ctxnode-mcp.sock"));
    assert_eq!(paths.log_dir().to_str(), Some("/home/ada/.local/state/ctxnode/log"));
}

#[test]
fn macos_uses_its_own_folders() {
    let env = Environment::from_pairs([("HOME", "/Users/ada")]);
    let paths = Paths::discover(Platform::MacOs, &env).unwrap();
    assert_eq!(paths.config_file.to_str(), Some("/Users/ada/Library/Application Support/ctxnode/config.toml"));
    assert_eq!(paths.data_dir.to_str(), Some("/Users/ada/Library/Application Support/ctxnode"));
    assert_eq!(paths.socket.to_str(), Some("/Users/ada/Library/Application Support/ctxnode/ctxnode.sock"));
}

#[test]
fn the_file_named_by_the_environment_replaces_the_users_own_and_must_exist() {
    let user = config_files(Platform::Linux, &home()).unwrap();
    assert_eq!(user[1], ("/home/ada/.config/ctxnode/config.toml".into(), FileRole::Optional));
    let env = Environment::from_pairs([("CTXNODE_CONFIG", "/srv/other.toml")]);
    assert_eq!(config_files(Platform::Linux, &env).unwrap()[1], ("/srv/other.toml".into(), FileRole::Required));
}

#[test]
fn a_socket_path_past_the_kernels_limit_is_refused_and_one_at_the_limit_is_taken() {
    // The longest path that is bound is the one of MCP: four bytes more than the API's.
    let with_length = |platform: Platform, extra: usize| {
        let name = "s".repeat(platform.longest_socket_path() - "/-mcp.sock".len() + extra);
        let env =
            Environment::from_pairs([("HOME", "/home/ada".to_owned()), ("CTXNODE_SOCKET", format!("/{name}.sock"))]);
        load(&Inputs { platform, env: &env, files: &[], overrides: &Overrides::default() })
    };
    for platform in [Platform::Linux, Platform::MacOs] {
        with_length(platform, 0).unwrap();
        let errors = with_length(platform, 1).unwrap_err();
        let limit = platform.longest_socket_path();
        let [ConfigError::SocketTooLong { bytes, limit: named, .. }] = errors.0.as_slice() else { panic!("{errors}") };
        assert_eq!((*bytes, *named), (limit + 1, limit));
        assert!(errors.to_string().starts_with("environment variable CTXNODE_SOCKET: socket path "), "{errors}");
    }
}

#[test]
fn variables_that_nothing_reads_are_listed_and_do_not_stop_the_start() {
    let env = Environment::from_pairs([
        ("HOME", "/home/ada"),
        ("CTXNODE_SOKET", "/x"),
        ("CTXNODE_CORPUS", "/y"),
        ("CTXNODE_TEST_PYTHON", "/z"),
        ("CTXNODE_LOG", ""),
    ]);
    let config = load_linux(&env, &[], &Overrides::default()).unwrap();
    assert_eq!(config.unknown_variables, ["CTXNODE_SOKET"]);
    assert_eq!(config.origin(Key::LogLevel), &Origin::Default, "an empty variable is an unset one");
}

#[test]
fn names_and_variables_of_settings_are_unique() {
    let names: std::collections::BTreeSet<_> = Key::ALL.into_iter().map(Key::name).collect();
    let variables: std::collections::BTreeSet<_> = Key::ALL.into_iter().map(|key| key.variable().name()).collect();
    assert_eq!((names.len(), variables.len()), (Key::ALL.len(), Key::ALL.len()));
    assert!(variables.iter().all(|name| name.starts_with(env::PREFIX)));
}

#[test]
fn peers_are_keys_with_addresses_and_relays_are_words_or_urls() {
    let key = "ab".repeat(32);
    let text =
        format!("[sync]\npeers = [\"{key}@100.64.0.7:4748\"]\nrelay = \"https://relay.example\"\nbind = [\"::1\"]");
    let config = load_linux(&home(), &[file("/f.toml", &text)], &Overrides::default()).unwrap();
    assert_eq!(config.sync.peers, [(key, "100.64.0.7:4748".parse().unwrap())]);
    assert_eq!(config.sync.relay, crate::Relay::Url("https://relay.example".to_owned()));
    let bad = "[sync]\npeers = [\"abc@1.2.3.4:5\"]\nrelay = \"maybe\"\nport = 70000\nbind = [\"here\"]";
    let errors = load_linux(&home(), &[file("/f.toml", bad)], &Overrides::default()).unwrap_err();
    assert_eq!(errors.0.len(), 4, "{errors:?}");
    for relay in ["https://", "https://my relay", "https://:443", "ftp://relay.example", "https://relay.example/a b"] {
        let text = format!("[sync]\nrelay = \"{relay}\"");
        let errors = load_linux(&home(), &[file("/f.toml", &text)], &Overrides::default()).unwrap_err();
        assert_eq!(errors.0.len(), 1, "{relay}: {errors:?}");
    }
}

/// P-07: what the template shows is what the import reads.
#[test]
fn p_07_the_ventures_template_has_the_fields_that_the_import_reads() {
    let template: serde_json::Value = serde_json::from_str(VENTURES_TEMPLATE).unwrap();
    let venture = template["ventures"][0].as_object().unwrap();
    let fields: Vec<_> = venture.keys().map(String::as_str).collect();
    assert_eq!(fields, ["code", "name", "org", "capabilities", "repos"]);
}

proptest! {
    /// Whatever a file says, the answer is a configuration or a list of faults, and a fault is never without text.
    #[test]
    fn any_text_gives_a_configuration_or_named_faults(text in "[a-z_.=\\[\\]\"'0-9 \n~/{},#-]{0,80}") {
        match load_linux(&home(), &[file("/f.toml", &text)], &Overrides::default()) {
            Ok(config) => prop_assert_eq!(config.explain().len(), Key::ALL.len()),
            Err(errors) => {
                prop_assert!(!errors.0.is_empty());
                prop_assert!(errors.0.iter().all(|error| !error.to_string().is_empty()));
            }
        }
    }

    /// The strongest layer that sets a value decides, whatever the weaker ones say.
    #[test]
    fn the_strongest_layer_decides(layers in prop::array::uniform4(prop::option::of(1_u32..365))) {
        let text = |keep: Option<u32>| keep.map(|keep| format!("backup.keep = {keep}")).unwrap_or_default();
        let files = [file("/system.toml", &text(layers[0])), file("/user.toml", &text(layers[1]))];
        let mut pairs = vec![("HOME", "/home/ada".to_owned())];
        pairs.extend(layers[2].map(|keep| ("CTXNODE_BACKUP_KEEP", keep.to_string())));
        let overrides = layers[3].into_iter().fold(Overrides::default(), |overrides, keep| {
            overrides.with(Key::BackupKeep, "--backup-keep", keep.to_string())
        });
        let config = load_linux(&Environment::from_pairs(pairs), &files, &overrides).unwrap();
        prop_assert_eq!(config.backup.keep, layers.into_iter().rev().flatten().next().unwrap_or(14));
    }
}
