//! What a launch has at hand: settings, the terminals, the daemon, and what the machine says about secrets.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ctxnode_api::autostart::{Starter, ensure};
use ctxnode_api::caller::CallerKind;
use ctxnode_api::client::Answer;
use ctxnode_api::operations::VentureView;
use ctxnode_api::{Call, Caller, Client, Endpoint, List};
use ctxnode_config::{
    Config, ConfigErrors, ConfigFile, FileRole, Inputs, Key, Origin, Overrides, Platform, config_files,
};
use serde_json::json;
use tokio::time::Instant;

use crate::agents::Agent;
use crate::options::Surroundings;
use crate::program;
use crate::refusal::{Refusal, Step};
use crate::screen::Screen;
use crate::secrets::MachineFile;

/// How long a daemon may leave a caller in its queue. One that is stopped, or stuck in a disk, takes nobody out of it.
const ANSWER: Duration = Duration::from_secs(2);
/// How long after a look at a full queue the next one is worth it.
const AGAIN: Duration = Duration::from_millis(50);
/// How long a daemon may take to listen after it was started; the same as for the command line.
const START: Duration = Duration::from_secs(10);
/// What a shell over SSH is known by.
const REMOTE: [&str; 3] = ["SSH_CLIENT", "SSH_TTY", "SSH_CONNECTION"];

/// The process as a launch sees it.
#[derive(Debug)]
pub struct World {
    /// The environment, directory and program.
    pub around: Surroundings,
    /// The settings.
    pub config: Config,
    /// The terminals.
    pub screen: Screen,
}

impl World {
    /// Reads the settings. What is wrong with them is said, and defaults stand in: an agent can start without them.
    ///
    /// # Errors
    /// When they have no place.
    pub fn look(around: Surroundings, screen: Screen) -> Result<Self, Refusal> {
        let platform = Platform::current();
        let mut files = Vec::new();
        for (path, role) in config_files(platform, &around.env)? {
            match std::fs::read_to_string(&path) {
                Ok(text) => files.push(ConfigFile { path, text }),
                Err(error) if role == FileRole::Optional && error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    screen.say(&format!("note: {} cannot be read ({error}); going on without it", path.display()));
                }
            }
        }
        let inputs = Inputs { platform, env: &around.env, files: &files, overrides: &Overrides::default() };
        let (mut config, faults) = ctxnode_config::load_what_is_good(&inputs)?;
        if !faults.is_empty() {
            let refusal = Refusal::Settings(ConfigErrors(faults));
            let (why, fix) = (refusal.why(), refusal.fix());
            screen.say(&format!("note: {why} ({fix}); going on with the defaults in their place"));
        }
        if *config.origin(Key::Socket) == Origin::Default
            && let Some(socket) = told_socket(&config.paths.data_dir)
        {
            config.paths.socket = socket;
        }
        Ok(Self { around, config, screen })
    }

    /// Whether the person sits elsewhere.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        REMOTE.iter().any(|name| self.around.env.get(name).is_some())
    }

    /// Finds the programs of the agent CLIs.
    #[must_use]
    pub fn programs(&self) -> BTreeMap<Agent, PathBuf> {
        let found =
            Agent::ALL.into_iter().filter_map(|agent| Some((agent, program::find(agent.name(), &self.around.env)?)));
        found.collect()
    }

    /// Finds `ctxnode`.
    ///
    /// # Errors
    /// When it is neither beside this program nor on the PATH.
    pub fn ctxnode(&self) -> Result<PathBuf, Refusal> {
        program::ctxnode(&self.around.program, &self.around.env).ok_or_else(|| Refusal::Run {
            step: Step::Daemon,
            program: "ctxnode".into(),
            source: std::io::ErrorKind::NotFound.into(),
        })
    }

    /// Reads what this machine says about secrets.
    ///
    /// # Errors
    /// When the file is there and cannot be used.
    pub fn machine(&self) -> Result<MachineFile, Refusal> {
        let folder = self.config.paths.config_file.parent().unwrap_or(Path::new("/"));
        Ok(MachineFile::read(&folder.join("secrets.toml"))?)
    }

    /// Connects to the daemon, which is started when `start` says so and none runs.
    ///
    /// # Errors
    /// When there is no replica, or the daemon does not start.
    pub async fn client(&self, start: Autostart) -> Result<Client, Refusal> {
        self.client_within(start, START).await
    }

    /// The same, with less patience for a daemon that starts.
    ///
    /// # Errors
    /// As [`World::client`].
    pub async fn client_within(&self, start: Autostart, patience: Duration) -> Result<Client, Refusal> {
        let paths = &self.config.paths;
        let until = Instant::now() + ANSWER;
        let mut queue = queue(&paths.socket);
        while queue == Queue::Full {
            if Instant::now() >= until {
                // Another daemon could not take its place: it holds the replica.
                return Err(ctxnode_api::ClientError::TooSlow(ANSWER).into());
            }
            tokio::time::sleep(AGAIN).await;
            queue = self::queue(&paths.socket);
        }
        if queue == Queue::None {
            if !paths.data_dir.join("store.redb").exists() {
                return Err(Refusal::NoReplica(paths.data_dir.clone()));
            }
            if start == Autostart::Never || !self.config.autostart {
                return Err(Refusal::DaemonDown);
            }
            self.screen.debug("starting the daemon");
            ensure(&paths.socket, &self.starter()?, Instant::now() + patience).await?;
        }
        let caller = Caller {
            kind: CallerKind::Program,
            directory: Some(self.around.directory.display().to_string()),
            ..Caller::default()
        };
        Ok(Client::new(Endpoint::Socket(paths.socket.clone())).with_caller(&caller)?)
    }

    fn starter(&self) -> Result<Starter, Refusal> {
        let paths = &self.config.paths;
        let log_dir = paths.log_dir();
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&log_dir);
        made.map_err(|source| Refusal::Run { step: Step::Daemon, program: log_dir.clone(), source })?;
        let arguments = ["--data-dir".into(), (&paths.data_dir).into(), "--socket".into(), (&paths.socket).into()];
        let arguments = arguments.into_iter().chain(["daemon".into(), "run".into()]).collect();
        Ok(Starter { program: self.ctxnode()?, arguments, log: log_dir.join("start.log") })
    }

    /// Returns all ventures of the replica, and the daemon's build.
    ///
    /// # Errors
    /// When the daemon cannot be asked.
    pub async fn ventures(&self, client: &mut Client) -> Result<(List<VentureView>, Option<String>), Refusal> {
        let Answer { body, build, .. } = client.call(&Call::new("venture.list", json!({}))).await?;
        let list = serde_json::from_value(body).map_err(ctxnode_api::ClientError::Unreadable)?;
        Ok((list, build))
    }
}

/// Whether this call may start the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Autostart {
    /// When the settings allow it.
    Allowed,
    /// Never: it changes nothing.
    Never,
}

/// The queue in which a daemon finds its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    /// Nobody listens.
    None,
    /// It has room.
    Open,
    /// It has none now.
    Full,
}

/// Looks whether somebody listens, without waiting: at a full queue a connect would wait for as long as it is full.
fn queue(socket: &Path) -> Queue {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
    let connect = || {
        let caller = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
        rustix::io::ioctl_fionbio(&caller, true)?;
        rustix::net::connect(&caller, &SocketAddrUnix::new(socket)?)
    };
    match connect() {
        Ok(()) => Queue::Open,
        Err(rustix::io::Errno::AGAIN) => Queue::Full,
        Err(_) => Queue::None,
    }
}

/// Returns the socket that a running daemon has written into its lock: the launcher may have been started with another
/// runtime directory than the daemon.
fn told_socket(data_dir: &Path) -> Option<PathBuf> {
    let file = std::fs::File::open(data_dir.join("daemon.lock")).ok()?;
    // What a daemon wrote that is gone may be where another one listens now.
    let is_held = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared).is_err();
    let lock = is_held.then(|| std::io::read_to_string(&file).ok()).flatten()?;
    lock.lines().nth(1).map(PathBuf::from).filter(|socket| queue(socket) != Queue::None)
}
