//! What every command has at hand: the settings, the screen, the working directory, and the way to the daemon.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use ctxnode_api::autostart::{Starter, ensure};
use ctxnode_api::caller::CallerKind;
use ctxnode_api::client::Answer;
use ctxnode_api::{Call, Caller, Client, Endpoint, headers, version};
use ctxnode_config::{
    Config, ConfigFile, Environment, FileRole, Inputs, Key, Origin, Overrides, Platform, config_files, env,
};
use tokio::time::Instant;

use super::failure::Failure;
use super::screen::{Chatter, Form, Screen};
use crate::daemon::lock::Lock;
use crate::daemon::{Files, private_dir};

/// How long a daemon may take to listen after it was started. A store of a million records needs a second.
const START: Duration = Duration::from_secs(10);
/// How long a call may take that works through the whole store.
pub(super) const LONG: Duration = Duration::from_secs(3_600);

/// The process as a command sees it.
pub(super) struct World {
    pub(super) env: Environment,
    pub(super) config: Config,
    pub(super) screen: Screen,
    /// Where the command was typed.
    pub(super) directory: PathBuf,
    /// This binary.
    pub(super) program: PathBuf,
    remote: Option<Endpoint>,
    autostart: bool,
    correlation: Option<String>,
    key: Option<String>,
    yes: bool,
}

/// The flags of every command.
pub(super) fn flags() -> Vec<Arg> {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name.replace('_', "-")).action(ArgAction::SetTrue).help(help)
    };
    let value = |name: &'static str, shown: &'static str, help: &'static str| {
        Arg::new(name).long(name.replace('_', "-")).value_name(shown).help(help)
    };
    let flags = [
        flag("json", "Prints the object of the API"),
        flag("quiet", "Prints only the answer and errors"),
        flag("no_color", "Never colours"),
        flag("yes", "Answers every question with yes"),
        flag("no_autostart", "Never starts the daemon"),
        value("data_dir", "DIR", "The directory of the replica"),
        value("socket", "PATH", "The daemon's socket"),
        value("http", "ADDRESS", "Asks the daemon at this address, with the token in CTXNODE_TOKEN")
            .value_parser(value_parser!(SocketAddr)),
        value("correlation_id", "ID", "Names the call in logs"),
        value("idempotency_key", "KEY", "20 to 200 characters: the same key does the same thing once"),
    ];
    flags.into_iter().map(|flag| flag.global(true).help_heading("Every command")).collect()
}

/// Reads the screen's flags alone: a command line that is wrong otherwise still says so in the wanted form.
pub(super) fn screen(matches: &ArgMatches, env: &Environment) -> Screen {
    let form = if matches.get_flag("json") { Form::Json } else { Form::People };
    let chatter = if matches.get_flag("quiet") { Chatter::Quiet } else { Chatter::Usual };
    Screen::detect(form, chatter, !matches.get_flag("no_color") && env.get("NO_COLOR").is_none())
}

/// Returns the socket of the running daemon when the lock names it, else where one would listen: an agent CLI may start
/// its MCP servers without the variable that names the runtime directory. A socket that somebody set stays.
pub(super) fn socket_of(config: &Config) -> PathBuf {
    let holder = || Lock::holder(&Files::of(&config.paths.data_dir).lock);
    let found =
        if *config.origin(Key::Socket) == Origin::Default { holder().and_then(|holder| holder.socket) } else { None };
    found.unwrap_or_else(|| config.paths.socket.clone())
}

impl World {
    /// Reads the settings.
    pub(super) fn look(matches: &ArgMatches, env: Environment, screen: Screen) -> Result<Self, Failure> {
        let mut overrides = Overrides::default();
        let text = |name: &str| matches.get_one::<String>(name).cloned();
        let directory = std::env::current_dir().map_err(Failure::file("."))?;
        // A path on the command line is relative to where it was typed; settings are absolute.
        let absolute = |path: String| directory.join(path).display().to_string();
        if let Some(path) = text("data_dir") {
            overrides = overrides.with(Key::DataDir, "--data-dir", absolute(path));
        }
        if let Some(path) = text("socket") {
            overrides = overrides.with(Key::Socket, "--socket", absolute(path));
        }
        let platform = Platform::current();
        let mut files = Vec::new();
        for (path, role) in config_files(platform, &env)? {
            match std::fs::read_to_string(&path) {
                Ok(text) => files.push(ConfigFile { path, text }),
                Err(error) if role == FileRole::Optional && error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Failure::file(path)(error)),
            }
        }
        let mut config = ctxnode_config::load(&Inputs { platform, env: &env, files: &files, overrides: &overrides })?;
        config.paths.socket = socket_of(&config);
        let remote = matches.get_one::<SocketAddr>("http").map(|address| Endpoint::Tcp {
            address: *address,
            token: env.get(env::TOKEN).unwrap_or_default().to_owned(),
        });
        Ok(Self {
            autostart: config.autostart && !matches.get_flag("no_autostart"),
            program: std::env::current_exe().map_err(Failure::file("ctxnode"))?,
            correlation: text("correlation_id"),
            key: text("idempotency_key"),
            yes: matches.get_flag("yes"),
            env,
            config,
            screen,
            directory,
            remote,
        })
    }

    /// The files of the replica.
    pub(super) fn files(&self) -> Files {
        Files::of(&self.config.paths.data_dir)
    }

    /// Asks before something that cannot be taken back.
    pub(super) fn confirm(&self, question: &str) -> Result<(), Failure> {
        if self.yes { Ok(()) } else { self.screen.confirm(question) }
    }

    /// Whether every question is answered with yes.
    pub(super) fn says_yes(&self) -> bool {
        self.yes
    }

    /// How to start this node's daemon.
    pub(super) fn starter(&self) -> Result<Starter, Failure> {
        let log_dir = self.config.paths.log_dir();
        private_dir(&log_dir).map_err(Failure::file(&log_dir))?;
        let paths = &self.config.paths;
        let arguments = ["--data-dir".into(), (&paths.data_dir).into(), "--socket".into(), (&paths.socket).into()];
        let arguments = arguments.into_iter().chain(["daemon".into(), "run".into()]).collect();
        Ok(Starter { program: self.program.clone(), arguments, log: log_dir.join("start.log") })
    }

    /// Starts the daemon when none runs; says so when there is no replica.
    pub(super) async fn start(&self) -> Result<(), Failure> {
        let store = self.files().store;
        if !store.exists() {
            return Err(Failure::NoReplica(self.config.paths.data_dir.clone()));
        }
        ensure(&self.config.paths.socket, &self.starter()?, Instant::now() + START).await?;
        Ok(())
    }

    /// Returns a client for the daemon, which is started when that is allowed and none runs.
    pub(super) async fn client(&self) -> Result<Client, Failure> {
        if self.remote.is_none() && self.autostart {
            self.start().await?;
        }
        self.client_of_running()
    }

    /// Returns a client for a daemon that must run already.
    pub(super) fn client_of_running(&self) -> Result<Client, Failure> {
        let socket = || Endpoint::Socket(self.config.paths.socket.clone());
        let mut client = Client::new(self.remote.clone().unwrap_or_else(socket));
        for (name, value) in [(headers::CORRELATION_ID, &self.correlation), (headers::IDEMPOTENCY_KEY, &self.key)] {
            if let Some(value) = value {
                client = client.with_header(name, value)?;
            }
        }
        let kind = if self.screen.person { CallerKind::Person } else { CallerKind::Program };
        let directory = Some(self.directory.display().to_string());
        Ok(client.with_caller(&Caller { kind, directory, ..Caller::default() })?)
    }

    /// Asks the daemon.
    pub(super) async fn ask(&self, mut client: Client, call: &Call) -> Result<Answer, Failure> {
        let answer = self.screen.waiting("working", client.call(call)).await?;
        if answer.build.as_deref().is_some_and(|build| build != version::BUILD) {
            let build = answer.build.as_deref().unwrap_or_default();
            self.screen.notice(&format!(
                "note: the daemon runs ctxnode {build}, this is {}; `ctxnode daemon handover` runs the installed one",
                version::BUILD
            ));
        }
        Ok(answer)
    }
}
