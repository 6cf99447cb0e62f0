//! Opening, creating and closing a store; what its clients hold.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use ctxnode_model::frontier::LogId;
use ctxnode_model::id::FleetId;
use ctxnode_model::{Ids, NodeKey, Space, SpaceId, Stamp};
use redb::{Database, ReadOnlyDatabase, ReadableDatabase as _};
use tokio::sync::{oneshot, watch};

use crate::apply::{Batch, Prepared};
use crate::authority::{Authority, ControlOp};
use crate::backup::create_private;
use crate::document::DocumentCache;
use crate::engine::{Commands, Writer};
use crate::entry::{Header, Op, VerifiedEntry};
use crate::guard::guarded;
use crate::keys::{NodeSecret, RecoveryKey};
use crate::kv::{Direction, Kv as _, Snapshot, WriteTables};
use crate::location::{Location, Place, open_database};
use crate::rows::{self, LogRow};
use crate::tables::Table;
use crate::writer::{Committed, Draft, Group, Job, job, log_row};
use crate::{
    Clock, Entropy, OpenError, OsEntropy, StoreError, SystemClock, WriteError, branches, judged, migrate, query,
};

/// The format that this version writes. A store with a greater number is refused.
pub const FORMAT: u32 = 3;

/// What the store was last opened as.
const INCARNATION: &[u8] = b"incarnation";
/// What it may be opened as next, besides.
const NEXT_INCARNATION: &[u8] = b"incarnation-next";

/// How to open a store.
pub struct Options {
    /// Where it is.
    pub location: Location,
    /// The node's key.
    pub secret: NodeSecret,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The randomness.
    pub entropy: Arc<dyn Entropy>,
    /// What tells this copy of the store, on this boot of its machine, from any other: a changed one begins a new epoch,
    /// so that a disk that was cloned, restored or copied never writes the positions of another copy. `None` for tests.
    pub incarnation: Option<Vec<u8>>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("location", &self.location).finish_non_exhaustive()
    }
}

impl Options {
    /// Options for a file with the system's clock and randomness.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>, secret: NodeSecret) -> Self {
        Self {
            location: Location::File(path.into()),
            secret,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(OsEntropy),
            incarnation: None,
        }
    }
}

/// What [`Store::create`] made.
#[derive(Debug)]
pub struct Created {
    /// The store.
    pub store: Store,
    /// To be shown once and then forgotten.
    pub recovery: RecoveryKey,
}

/// What every part of a store knows.
pub(crate) struct Shared {
    pub(crate) fleet: FleetId,
    pub(crate) ids: Ids,
    pub(crate) epoch: AtomicU64,
    pub(crate) secret: NodeSecret,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) path: Option<PathBuf>,
    pub(crate) database: RwLock<Option<Arc<Database>>>,
    pub(crate) authority: RwLock<Arc<Authority>>,
    pub(crate) journal: watch::Sender<u64>,
}

impl Shared {
    /// The log that this node writes in a space.
    pub(crate) fn log(&self, space: SpaceId) -> LogId {
        LogId { space, author: self.secret.public(), epoch: self.epoch() }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    pub(crate) fn database(&self) -> Result<Arc<Database>, StoreError> {
        let guard = self.database.read().unwrap_or_else(PoisonError::into_inner);
        guard.clone().ok_or_else(|| StoreError::Io(std::io::Error::other("the store is being reopened")))
    }
}

struct Inner {
    shared: Arc<Shared>,
    commands: Mutex<Commands>,
    previous: Vec<Vec<u8>>,
}

/// An open replica. Clones share it; the last one to go closes it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("fleet", &self.0.shared.fleet).finish_non_exhaustive()
    }
}

impl Store {
    /// Makes a new fleet with this node as its first admin.
    ///
    /// # Errors
    /// When a store exists there already, or the place cannot be written.
    pub fn create(options: Options, name: &str) -> Result<Created, OpenError> {
        let recovery = RecoveryKey::generate(options.entropy.as_ref());
        let founder = options.secret.public();
        let (name, recovery_key) = (name.to_owned(), recovery.public());
        let genesis = ControlOp::Genesis { name, founder, recovery: recovery_key, ids: Ids::NEWEST };
        let epoch = new_epoch(options.entropy.as_ref());
        let now = options.clock.now();
        let log = LogId { space: SpaceId([0; 16]), author: founder, epoch };
        let stamp = Stamp::default().next(now);
        let header = Header { fleet: FleetId([0; 16]), log, seq: 1, prev: [0; 32], stamp, time: now };
        let entry = VerifiedEntry::sign(header, vec![Op::Control(genesis.encode())], &options.secret)
            .expect("a genesis entry is far below the limits");
        let store = Self::found(options, &entry, epoch)?;
        Ok(Created { store, recovery })
    }

    /// Makes an empty replica of an existing fleet, from its genesis entry.
    ///
    /// # Errors
    /// When a store exists there already, the place cannot be written, or the entry is not a genesis.
    pub fn create_member(options: Options, genesis: Vec<u8>) -> Result<Self, OpenError> {
        let entry = VerifiedEntry::verify(genesis).map_err(|_| OpenError::WrongKey)?;
        let epoch = new_epoch(options.entropy.as_ref());
        Self::found(options, &entry, epoch)
    }

    fn found(options: Options, genesis: &VerifiedEntry, epoch: u64) -> Result<Self, OpenError> {
        let ids = query::ids_of(genesis)?;
        let mut fleet = FleetId([0; 16]);
        fleet.0.copy_from_slice(&genesis.hash()[..16]);
        let place = Place::of(&options.location);
        if let Some(path) = &place.path
            && path.exists()
        {
            return Err(OpenError::Exists(path.clone()));
        }
        if let Some(path) = &place.path {
            create_private(path).map_err(|source| OpenError::Io { path: path.clone(), source })?;
        }
        let database = open_database(options.location)?;
        let transaction = database.begin_write().map_err(StoreError::from)?;
        {
            let tables = WriteTables::of_fleet(&transaction, ids);
            // Every table exists from the first commit on, so that readers need not care.
            for table in Table::ALL {
                tables.len(*table)?;
            }
            tables.put(Table::Meta, b"format", &FORMAT.to_be_bytes())?;
            tables.put(Table::Meta, b"fleet", &fleet.0)?;
            tables.put(Table::Meta, b"node", &options.secret.public().0)?;
            tables.put(Table::Meta, b"epoch", &epoch.to_be_bytes())?;
            tables.put(Table::Meta, b"genesis", genesis.bytes())?;
            judged::note(&tables)?;
            let mut cache = DocumentCache::new();
            let mut batch = Batch::new(tables, Authority::default(), &mut cache)?;
            let mut row = log_row(&batch, &genesis.header().log)?;
            batch.take(genesis, &genesis.header().log, &mut row, &mut Prepared::new())?;
            batch.flush()?;
        }
        transaction.commit().map_err(StoreError::from)?;
        Self::start(database, place, options.secret, options.clock, options.entropy, options.incarnation.as_deref())
    }

    /// Opens an existing store.
    ///
    /// # Errors
    /// When there is none, another process has it, a newer version wrote it, it is another node's, or it is damaged.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let place = Place::of(&options.location);
        if let Some(path) = place.path.as_ref().filter(|path| !path.exists()) {
            return Err(OpenError::Missing(path.clone()));
        }
        let file = place.path.clone();
        let opened = guarded(move || {
            if let Some(path) = &place.path {
                refuse_newer(path)?;
            }
            let database = open_database(options.location)?;
            Self::start(database, place, options.secret, options.clock, options.entropy, options.incarnation.as_deref())
        });
        opened.map_err(|error| match (error, file) {
            (OpenError::Store(StoreError::Engine(source)), Some(path)) => OpenError::Damaged { path, source },
            (error, _) => error,
        })
    }

    fn start(
        database: Database,
        place: Place,
        secret: NodeSecret,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        incarnation: Option<&[u8]>,
    ) -> Result<Self, OpenError> {
        migrate::to_present(&database, place.path.as_deref())?;
        add_missing_tables(&database)?;
        let database = Arc::new(database);
        let previous = check_incarnation(&database, incarnation, entropy.as_ref())?;
        let start = read_start(&database)?;
        if start.node != secret.public() {
            return Err(OpenError::WrongKey);
        }
        let shared = Arc::new(Shared {
            fleet: start.fleet,
            ids: start.ids,
            epoch: AtomicU64::new(start.epoch),
            secret,
            clock,
            entropy,
            path: place.path,
            database: RwLock::new(Some(database)),
            authority: RwLock::new(Arc::new(start.authority)),
            journal: watch::Sender::new(start.journal),
        });
        let writer = Writer::new(start.clock);
        let commands = if place.is_simulated {
            Commands::Lent(writer)
        } else {
            Commands::queue(&shared, writer)
                .map_err(|source| OpenError::Io { path: PathBuf::from("thread"), source })?
        };
        let store = Self(Arc::new(Inner { shared, commands: Mutex::new(commands), previous }));
        if !start.is_judged {
            store.judge_anew()?;
        }
        Ok(store)
    }

    /// Runs a command and returns when its effect is durable, together with others that came at the same time.
    ///
    /// # Errors
    /// What the command refused with, or what the storage failed with; in both cases nothing was written.
    pub async fn write<T, E, F>(&self, command: F) -> Result<Committed<T>, WriteError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnOnce(&mut Draft<'_>) -> Result<T, E> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        // A caller that went away no longer wants to hear.
        self.submit(job(command, move |result| drop(sender.send(result))))?;
        receiver.await.map_err(|_| StoreError::Closed)?
    }

    /// The same for callers without an async runtime; blocks the thread.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_blocking<T, E, F>(&self, command: F) -> Result<Committed<T>, WriteError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnOnce(&mut Draft<'_>) -> Result<T, E> + Send + 'static,
    {
        let (sender, receiver) = sync_channel(1);
        self.submit(job(command, move |result| drop(sender.send(result))))?;
        receiver.recv().map_err(|_| StoreError::Closed)?
    }

    pub(crate) fn submit(&self, job: Job) -> Result<(), StoreError> {
        let mut commands = self.0.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = match &mut *commands {
            Commands::Queue(queue, _) => queue.clone(),
            Commands::Lent(writer) => {
                writer.run(&self.0.shared, vec![job]);
                return Ok(());
            }
            Commands::Closed => return Err(StoreError::Closed),
        };
        // Whoever waits for room in the queue keeps nobody else from closing the store.
        drop(commands);
        queue.send(job).map_err(|_| StoreError::Closed)
    }

    /// Takes a snapshot.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn read(&self) -> Result<Snapshot, StoreError> {
        Snapshot::take(&self.0.shared.database()?)
    }

    /// Returns a receiver of the last durable journal position. It only wakes; readers pull from their watermark.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.shared.journal.subscribe()
    }

    /// Returns the fleet.
    #[must_use]
    pub fn fleet(&self) -> FleetId {
        self.0.shared.fleet
    }

    /// Returns what makes the ids of its records.
    #[must_use]
    pub fn ids(&self) -> Ids {
        self.0.shared.ids
    }

    /// Returns this node.
    #[must_use]
    pub fn node(&self) -> NodeKey {
        self.0.shared.secret.public()
    }

    /// Returns this data directory's epoch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.0.shared.epoch()
    }

    /// Returns the evaluated control ops.
    #[must_use]
    pub fn authority(&self) -> Arc<Authority> {
        Arc::clone(&self.0.shared.authority.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the signed genesis entry, from which another node can make a member replica.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn genesis(&self) -> Result<Vec<u8>, StoreError> {
        let found = self.read()?.get(Table::Meta, b"genesis")?;
        found.ok_or(StoreError::Corrupt { table: Table::Meta.name(), key: b"genesis".to_vec() })
    }

    /// Signs bytes with the node's key, for one purpose.
    #[must_use]
    pub fn sign(&self, domain: &[u8], bytes: &[u8]) -> [u8; 64] {
        self.0.shared.secret.sign(domain, bytes)
    }

    /// Returns what the store knew itself by before it was opened; nothing at the first time.
    #[must_use]
    pub fn previous_incarnations(&self) -> &[Vec<u8>] {
        &self.0.previous
    }

    /// Changes what tells this copy of the store from any other. Whoever opens it next has to say `now` or `next`: two,
    /// because what is said is kept in another place, and a crash may come before that is changed too.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn set_incarnation(&self, now: Vec<u8>, next: Vec<u8>) -> Result<(), StoreError> {
        let (sender, receiver) = oneshot::channel();
        self.submit(Box::new(move |group: &mut Group<'_, '_>| {
            group.batch.tables.put(Table::Meta, INCARNATION, &now)?;
            group.batch.tables.put(Table::Meta, NEXT_INCARNATION, &next)?;
            Ok(Box::new(move |committed: Result<u64, Arc<str>>| {
                // A caller that went away no longer wants to hear.
                let _ = sender.send(committed.map(|_| ()).map_err(StoreError::Group));
            }))
        }))?;
        receiver.await.map_err(|_| StoreError::Closed)?
    }

    /// Returns the clock that the store uses.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.0.shared.clock)
    }

    /// Returns the randomness that the store uses.
    #[must_use]
    pub fn entropy(&self) -> Arc<dyn Entropy> {
        Arc::clone(&self.0.shared.entropy)
    }

    /// Returns the file, when there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.shared.path.as_deref()
    }

    /// Deletes everything that is derived and makes it again from entries; returns how many documents that were.
    ///
    /// # Errors
    /// When the storage fails or a document is damaged; then everything stays as it was.
    pub async fn rederive(&self) -> Result<u64, StoreError> {
        let (sender, receiver) = oneshot::channel();
        self.submit(Box::new(move |group: &mut Group<'_, '_>| {
            let documents = crate::recover::rederive(&group.batch.tables)?;
            Ok(Box::new(move |committed: Result<u64, Arc<str>>| {
                // A caller that went away no longer wants to hear.
                let _ = sender.send(committed.map(|_| documents).map_err(StoreError::Group));
            }))
        }))?;
        receiver.await.map_err(|_| StoreError::Closed)?
    }

    /// Finishes the commands that wait, then closes the file. Later commands are refused.
    pub fn close(&self) {
        self.0.finish();
        *self.0.shared.database.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Inner {
    /// Finishes the commands that wait.
    fn finish(&self) {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let last = std::mem::replace(&mut *commands, Commands::Closed);
        drop(commands);
        if let Commands::Queue(queue, thread) = last {
            drop(queue);
            // The writer itself never holds a `Store`, so this does not wait for itself. One that panicked has nothing
            // left to finish.
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Group<'_, '_> {
    /// Goes on in new logs.
    pub(crate) fn renew_epoch(&self) -> Result<u64, StoreError> {
        let epoch = new_epoch(self.shared.entropy.as_ref());
        self.batch.tables.put(Table::Meta, b"epoch", &epoch.to_be_bytes())?;
        // Should the commit fail, the new epoch is merely not remembered: nothing was written under it yet.
        self.shared.epoch.store(epoch, Ordering::SeqCst);
        Ok(epoch)
    }
}

fn new_epoch(entropy: &dyn Entropy) -> u64 {
    u64::try_from(entropy.number() & u128::from(u64::MAX)).unwrap_or(1)
}

/// Makes a fresh random epoch; for restored data directories.
pub(crate) fn fresh_epoch(entropy: &dyn Entropy) -> u64 {
    new_epoch(entropy)
}

/// Begins a new epoch when this is not the copy, or not the boot, in which the store was last open. Returns what the
/// store knew of the last time.
fn check_incarnation(
    database: &Arc<Database>,
    now: Option<&[u8]>,
    entropy: &dyn Entropy,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let snapshot = Snapshot::take(database)?;
    let mut known = Vec::new();
    for key in [INCARNATION, NEXT_INCARNATION] {
        known.extend(snapshot.get(Table::Meta, key)?);
    }
    let Some(now) = now.filter(|now| known.iter().all(|known| known != now)) else { return Ok(known) };
    let transaction = database.begin_write()?;
    {
        let tables = WriteTables::new(&transaction);
        tables.put(Table::Meta, INCARNATION, now)?;
        tables.remove(Table::Meta, NEXT_INCARNATION)?;
        if !known.is_empty() {
            tables.put(Table::Meta, b"epoch", &new_epoch(entropy).to_be_bytes())?;
        }
    }
    transaction.commit()?;
    Ok(known)
}

/// Makes the tables that an earlier build of this format did not have.
pub(crate) fn add_missing_tables(database: &Database) -> Result<(), StoreError> {
    let known: BTreeSet<String> =
        database.begin_read()?.list_tables()?.map(|table| redb::TableHandle::name(&table).to_owned()).collect();
    if Table::ALL.iter().all(|table| known.contains(table.name())) {
        return Ok(());
    }
    let transaction = database.begin_write()?;
    {
        let tables = WriteTables::new(&transaction);
        for table in Table::ALL {
            tables.len(*table)?;
        }
    }
    Ok(transaction.commit()?)
}

/// Looks at the format without changing a byte. A file that needs repair cannot be read this way; then the format is
/// checked after the repair, which changes no value.
fn refuse_newer(path: &Path) -> Result<(), OpenError> {
    let Ok(database) = ReadOnlyDatabase::open(path) else { return Ok(()) };
    match migrate::format_of(&database) {
        Ok(found) if found > FORMAT => Err(OpenError::Newer { found, supported: FORMAT }),
        _ => Ok(()),
    }
}

impl Shared {
    /// Takes over what is durable after a group that failed: it may have begun an epoch, or been durable after all.
    pub(crate) fn reload(&self) {
        let started = self.database().map_err(OpenError::from).and_then(|database| read_start(&database));
        match started {
            Ok(start) => {
                self.epoch.store(start.epoch, Ordering::SeqCst);
                *self.authority.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(start.authority);
            }
            Err(error) => tracing::error!(%error, "the store cannot be read after a failed write"),
        }
    }
}

/// What a store says about itself when it is opened.
struct Start {
    fleet: FleetId,
    ids: Ids,
    node: NodeKey,
    epoch: u64,
    authority: Authority,
    journal: u64,
    clock: Stamp,
    /// Whether everything that is here was judged by the rights that this version knows.
    is_judged: bool,
}

fn read_start(database: &Arc<Database>) -> Result<Start, OpenError> {
    let snapshot = Snapshot::take(database)?;
    let corrupt = |key: &str| StoreError::Corrupt { table: Table::Meta.name(), key: key.as_bytes().to_vec() };
    let meta = |key: &'static str| -> Result<Vec<u8>, OpenError> {
        let found = snapshot.get(Table::Meta, key.as_bytes())?;
        Ok(found.ok_or_else(|| corrupt(key))?)
    };
    let fleet = FleetId(meta("fleet")?.try_into().map_err(|_| corrupt("fleet"))?);
    let node = NodeKey(meta("node")?.try_into().map_err(|_| corrupt("node"))?);
    let epoch = rows::be_u64(&meta("epoch")?);
    let ids = snapshot.ids()?;

    let authority = Authority::evaluate(&branches::control_ops(&snapshot)?, Space::Fleet.id(&fleet));
    let mut clock = Stamp::default();
    for (key, payload) in snapshot.scan_prefix(Table::Logs, &[], Direction::Forward, usize::MAX)? {
        let last = LogRow::decode(&payload)?.stamp;
        // What this node has written it never goes back behind: others would take nothing more of that log.
        let log = rows::log_from_key(&key)?;
        let is_own = log.author == node && log.epoch == epoch;
        clock = if is_own || last <= Stamp::MAX_FOLLOWED { clock.max(last) } else { clock };
    }
    let journal = snapshot.reader().journal_end()?;
    let is_judged = judged::is_judged(&snapshot)?;
    Ok(Start { fleet, ids, node, epoch, authority, journal, clock, is_judged })
}
