//! The daemon's life: open, listen, serve, finish.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ctxnode_config::Config;
use ctxnode_store::{KeyError, NodeSecret, OpenError, Options, Store, StoreError};
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing_appender::rolling::{RollingFileAppender, Rotation};

use super::lock::{Lock, LockError};
use super::mark::{self, Incarnation};
use super::presence::Presence;
use super::{Files, host, indexer, private_dir, schedule};
use crate::app::{App, Lifecycle};
use crate::gate::idempotency::InFlight;
use crate::gate::rate::Limiter;
use crate::gate::request_log::RequestLog;
use crate::http_server::{Peer, router};
use crate::mcp_server;
use crate::search_index::SearchIndex;

/// How long calls that were begun may take to end after the daemon was asked to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// How long what works on threads may go on once the store is closed. By then it only reads, for a backup, a check or an
/// export that somebody will ask for again; ending in time it leaves no half file and spares the store a repair. With the
/// calls before it this stays below the 20 seconds that `ctxnode daemon stop` waits.
const CLOSE: Duration = Duration::from_secs(3);
/// How many log files are kept, one per day.
const LOG_FILES: usize = 7;

/// The daemon could not start.
#[derive(Debug, Error)]
enum StartError {
    #[error("{path} cannot be used")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("another daemon runs for this data directory{}", holder_text(.0))]
    Running(LockError),
    #[error("the daemon of another data directory listens at {0}")]
    Taken(PathBuf),
    #[error("{address} cannot be listened at")]
    Http {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("ctxnode was taken off this machine while its daemon started")]
    Uninstalled,
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("no replica at {0}")]
    NoReplica(PathBuf),
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(transparent)]
    Read(#[from] StoreError),
}

fn holder_text(error: &LockError) -> String {
    match error {
        LockError::Held { holder: Some(holder), .. } => match holder.process().started_at() {
            Some(seconds) => {
                let started = ctxnode_model::Timestamp(i64::try_from(seconds).unwrap_or(0) * 1_000);
                format!(": pid {}, started {}", holder.pid, started.iso())
            }
            None => format!(": pid {}", holder.pid),
        },
        other => format!(": {other}"),
    }
}

impl StartError {
    fn hint(&self) -> &'static str {
        match self {
            Self::Io { .. } | Self::Store(OpenError::Io { .. }) => {
                "check that the directory exists, belongs to you and has space"
            }
            Self::Running(_) => "use it, or stop it with `ctxnode daemon stop`",
            Self::Taken(_) => "stop that one, or give this one another `socket`",
            Self::Http { .. } => "set another `http.listen`, or `off`",
            Self::Uninstalled => "install it again",
            Self::Key(_) => "restore `node.key` with mode 600 from where it was kept",
            Self::NoReplica(_) => "run `ctxnode init`, or `ctxnode restore BACKUP`",
            Self::Store(OpenError::Newer { .. } | OpenError::Store(StoreError::NewerFleet)) => {
                "install the newer ctxnode; nothing was changed"
            }
            Self::Store(_) | Self::Read(_) => "run `ctxnode doctor`; `ctxnode restore BACKUP` brings back a backup",
        }
    }
}

/// Runs the daemon and says on stderr why it could not.
pub(super) fn run(config: Config) -> ExitCode {
    let executable = std::env::current_exe().ok();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let mut lock = None;
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(serve(config, &mut lock));
            // Dropped, it would wait for the longest backup, and whoever wants the next daemon with it.
            runtime.shutdown_timeout(CLOSE);
            ended
        }
        Err(source) => Err(StartError::Io { path: PathBuf::from("runtime"), source }),
    };
    // Never let go by hand: what still reads the store holds its file, and another daemon would get the lock and not the
    // store. The system takes both away together, when this process ends or becomes the next daemon.
    std::mem::forget(lock);
    match ended {
        Ok(Lifecycle::Handover) => hand_over(executable),
        Ok(Lifecycle::Run | Lifecycle::Stop) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::from(1)
        }
    }
}

#[expect(clippy::print_stderr, reason = "a daemon that cannot start has no log yet; its starter reads stderr")]
fn report(error: &StartError) {
    eprintln!("error: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        eprintln!("  caused by: {cause}");
        source = cause.source();
    }
    eprintln!("hint: {}", error.hint());
}

/// Runs the installed binary in this process, with the same arguments. Every write is on the disk; what still reads ends
/// here, with the hold on the store's file and on the lock.
fn hand_over(executable: Option<PathBuf>) -> ExitCode {
    let Some(path) = executable else { return ExitCode::from(70) };
    // A replaced file leaves its old name with this mark behind on Linux.
    let text = path.to_string_lossy();
    let path = PathBuf::from(text.strip_suffix(" (deleted)").unwrap_or(&text));
    let error = std::process::Command::new(path).args(std::env::args_os().skip(1)).exec();
    tracing::error!(%error, "the installed binary cannot be run");
    ExitCode::from(70)
}

/// Serves until somebody asks for the end. The lock is put into `lock`: it is to be held for longer than this.
async fn serve(config: Config, lock: &mut Option<Lock>) -> Result<Lifecycle, StartError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| StartError::Io { path, source }
    };
    let files = Files::of(&config.paths.data_dir);
    if !files.store.exists() {
        return Err(StartError::NoReplica(config.paths.data_dir.clone()));
    }
    for dir in [&config.paths.data_dir, &config.paths.state_dir, &config.paths.log_dir()] {
        private_dir(dir).map_err(io(dir))?;
    }
    let _log = start_log(&config);
    let lock = lock.insert(Lock::take(&files.lock).map_err(StartError::Running)?);
    // After the lock: an uninstall holds it until the programs are gone, so that nobody comes up behind its back.
    if crate::process::is_deleted() {
        return Err(StartError::Uninstalled);
    }
    let secret = NodeSecret::load(&files.key)?;
    let incarnation = Incarnation::look(&files.store, &files.mark);
    let app = open(config, &files, secret.clone())?;
    tracing::info!(build = ctxnode_api::version::BUILD, "the store is open");
    if let Some(text) = incarnation.since(app.store.previous_incarnations()) {
        // Before the mark is new: after it nobody could find out again.
        ctxnode_sync::remember_alert(&app.store, text).await?;
    }
    mark::renew(&app.store, &files.mark, incarnation).await;

    // First: who connects to a socket counts on a daemon that stays.
    let http = match app.config.http_listen {
        None => None,
        Some(address) => {
            let bound = TcpListener::bind(address).await;
            Some(bound.map_err(|source| StartError::Http { address, source })?)
        }
    };
    let api_socket = listen(&app.config.paths.socket)?;
    let mcp_path = app.config.paths.mcp_socket();
    let mcp_socket = listen(&mcp_path)?;
    lock.listens_at(&app.config.paths.socket).map_err(io(&files.lock))?;
    let fleet = crate::peers::start(&app, secret, ctxnode_api::version::BUILD)?;
    app.fleet.get_or_init(|| fleet);
    let mut tasks: JoinSet<()> = JoinSet::new();
    let mut servers: JoinSet<()> = JoinSet::new();
    let service = router(Arc::clone(&app)).into_make_service_with_connect_info::<Peer>();
    let stop = stopped(app.lifecycle.subscribe());
    servers.spawn(async move {
        if let Err(error) = axum::serve(api_socket, service).with_graceful_shutdown(stop).await {
            tracing::error!(%error, "the API socket failed");
        }
    });
    if let Some(listener) = http {
        let routes = router(Arc::clone(&app)).merge(mcp_server::http_routes(Arc::clone(&app)));
        let service = routes.into_make_service_with_connect_info::<Peer>();
        let stop = stopped(app.lifecycle.subscribe());
        servers.spawn(async move {
            if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(stop).await {
                tracing::error!(%error, "the TCP listener failed");
            }
        });
    }
    tasks.spawn(mcp_server::serve_socket(Arc::clone(&app), mcp_socket));
    tasks.spawn(indexer::run(Arc::clone(&app)));
    tasks.spawn(schedule::run(Arc::clone(&app)));
    tasks.spawn(announce(Arc::clone(&app)));
    tasks.spawn(crate::handlers::look_later(Arc::clone(&app)));
    tasks.spawn(crate::field::run(Arc::clone(&app)));
    tasks.spawn(signals(app.lifecycle.clone()));
    tracing::info!("ready");

    let asked = wait_for_end(app.lifecycle.subscribe()).await;
    finish(&app, servers, tasks).await;
    for socket in [&app.config.paths.socket, &mcp_path] {
        // Gone already is as good as removed.
        let _ = std::fs::remove_file(socket);
    }
    // A copy that is made of the file now is known as older once the daemon has run again, and one of before is already.
    let incarnation = Incarnation::look(&files.store, &files.mark);
    mark::renew(&app.store, &files.mark, incarnation).await;
    app.store.close();
    tracing::info!(?asked, "closed");
    Ok(asked)
}

fn start_log(config: &Config) -> Option<tracing_appender::non_blocking::WorkerGuard> {
    let appender = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .max_log_files(LOG_FILES)
        .filename_prefix("daemon")
        .filename_suffix("log")
        .build(config.paths.log_dir())
        .ok()?;
    let (writer, guard) = tracing_appender::non_blocking(appender);
    let filter = tracing_subscriber::EnvFilter::try_new(config.log_level.as_str()).unwrap_or_default();
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(writer).finish();
    // Only the first daemon of a process sets it; a second one in a test shares it.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Some(guard)
}

fn open(config: Config, files: &Files, secret: NodeSecret) -> Result<Arc<App>, StartError> {
    let incarnation = Some(Incarnation::look(&files.store, &files.mark).encode());
    let store = Store::open(Options { incarnation, ..Options::file(&files.store, secret) })?;
    let search = SearchIndex::open(&files.index, config.search_enabled);
    Ok(app(config, store, search)?)
}

/// Makes what all operations share, around an open store.
pub(super) fn app(config: Config, store: Store, search: SearchIndex) -> Result<Arc<App>, StoreError> {
    let snapshot = store.read()?;
    let presence = Presence::load(snapshot.reader())?;
    let field = crate::field::Field::load(snapshot.reader())?;
    let journal = snapshot.reader().journal_end()?;
    drop(snapshot);
    let started = store.clock().now();
    Ok(Arc::new(App {
        presence,
        fleet: OnceLock::new(),
        returns: crate::returns::Returns::starting(started, journal),
        field,
        search,
        host: host::look(),
        started,
        limiter: Limiter::default(),
        request_log: RequestLog::default(),
        in_flight: InFlight::default(),
        hooks: crate::handlers::HookMemory::default(),
        checkouts: crate::checkouts::Checkouts::default(),
        changes: App::change_channel(),
        claims_changed: AtomicU64::new(1),
        lifecycle: watch::Sender::new(Lifecycle::Run),
        config,
        store,
    }))
}

/// Binds a socket. A file that is there belongs to a daemon that is gone, unless somebody answers: the lock says nothing about
/// the daemons of other data directories.
fn listen(path: &Path) -> Result<UnixListener, StartError> {
    let io = |source| StartError::Io { path: path.to_owned(), source };
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(StartError::Taken(path.to_owned()));
    }
    if let Some(parent) = path.parent()
        && !parent.exists()
    {
        private_dir(parent).map_err(io)?;
    }
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => return Err(io(source)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(io)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(io)?;
    Ok(listener)
}

async fn stopped(mut lifecycle: watch::Receiver<Lifecycle>) {
    // An error means that the daemon is gone, which is a stop too.
    let _ = lifecycle.wait_for(|state| *state != Lifecycle::Run).await;
}

async fn wait_for_end(mut lifecycle: watch::Receiver<Lifecycle>) -> Lifecycle {
    lifecycle.wait_for(|state| *state != Lifecycle::Run).await.map_or(Lifecycle::Stop, |state| *state)
}

/// Tells the peers when sessions begin and end here.
async fn announce(app: Arc<App>) {
    loop {
        app.presence.changed.notified().await;
        if let Some(fleet) = app.fleet.get() {
            fleet.sessions_changed();
        }
    }
}

async fn signals(lifecycle: watch::Sender<Lifecycle>) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    lifecycle.send_replace(Lifecycle::Stop);
}

/// Lets begun calls end, then writes what is still in memory.
async fn finish(app: &App, mut servers: JoinSet<()>, mut tasks: JoinSet<()>) {
    let drained = async { while servers.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("calls were still running when the daemon stopped");
    }
    servers.shutdown().await;
    if let Some(fleet) = app.fleet.get() {
        fleet.stop().await;
    }
    tasks.shutdown().await;
    schedule::save(app).await;
    app.search.close();
}
