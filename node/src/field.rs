//! Field mode in the daemon: carries out what `ctxnode-fleet` decides. The setting is a node-local row, so that it and the
//! process that keeps the machine awake are known again after a restart.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ctxnode_fleet::field::{ANSWERS_EVERY, Awake, Meter, System, is_due};
use ctxnode_model::Timestamp;
use ctxnode_store::{Draft, LocalTable, Reader, StoreError};
use ctxnode_sync::{Pace, Rounds, Spent};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::app::App;
use crate::failure::Failure;
use crate::process::ProcessId;

const KEY: &[u8] = b"field";
/// How often bytes are counted and the interval is looked at.
const TICK: Duration = Duration::from_secs(5);
/// A process that keeps the machine awake and ends sooner than this does not work here.
const SETTLED: Duration = Duration::from_millis(300);
/// How long it may take to end.
const ENDING: Duration = Duration::from_secs(5);
/// How often a process of an earlier daemon is looked at while it ends.
const LOOK: Duration = Duration::from_millis(20);

/// What was asked for, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setting {
    pub(crate) since: Timestamp,
    pub(crate) every_s: Option<u64>,
    pub(crate) budget: Option<u64>,
    pub(crate) awake: Option<Wanted>,
    pub(crate) process: Option<Keeper>,
    /// Why the machine is not kept awake although it should be.
    pub(crate) problem: Option<String>,
    pub(crate) last_sync: Option<Timestamp>,
    day: i64,
    used: u64,
    #[serde(default)]
    by_others: u64,
}

/// How the machine is to be kept awake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) display_sleep: bool,
    pub(crate) until: Option<Timestamp>,
}

/// The process that keeps the machine awake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Keeper {
    pub(crate) id: ProcessId,
    pub(crate) command: String,
}

impl Setting {
    pub(crate) fn new(since: Timestamp, every: Option<Duration>, budget: Option<u64>, awake: Option<Wanted>) -> Self {
        let every_s = every.map(|every| every.as_secs());
        Self {
            since,
            every_s,
            budget,
            awake,
            process: None,
            problem: None,
            last_sync: None,
            day: 0,
            used: 0,
            by_others: 0,
        }
    }

    pub(crate) fn meter(&self) -> Meter {
        Meter { day: self.day, used: self.used, by_others: self.by_others }
    }

    /// Returns what is left of the day's bytes, when there is a budget.
    pub(crate) fn left(&self, now: Timestamp) -> Option<u64> {
        self.budget.map(|budget| self.meter().left(budget, now.0))
    }

    /// Returns what is left of what others may use of the day's bytes, when there is a budget.
    pub(crate) fn left_for_others(&self, now: Timestamp) -> Option<u64> {
        self.budget.map(|budget| self.meter().left_for_others(budget, now.0))
    }

    /// Returns the process that keeps the machine awake, when it runs.
    pub(crate) fn living_process(&self) -> Option<Keeper> {
        self.process.clone().filter(|process| process.id.is_alive())
    }

    fn spend(&mut self, spent: Spent, now: Timestamp) {
        let meter = self.meter().plus(spent.all, spent.by_others, now.0);
        (self.day, self.used, self.by_others) = (meter.day, meter.used, meter.by_others);
    }

    fn rounds(&self, now: Timestamp) -> Rounds {
        Rounds {
            left: self.left(now),
            for_others: self.left_for_others(now),
            every: self.every_s.map_or(ANSWERS_EVERY, Duration::from_secs),
        }
    }
}

/// The setting as it is to be saved.
#[must_use]
pub(crate) struct Saved(Option<Setting>);

impl Saved {
    pub(crate) fn stage(self, draft: &mut Draft<'_>) {
        match self.0.and_then(|setting| serde_json::to_vec(&setting).ok()) {
            Some(bytes) => draft.put_local(LocalTable::Caches, KEY, bytes),
            None => draft.remove_local(LocalTable::Caches, KEY),
        }
    }
}

/// Field mode of a running daemon.
#[derive(Debug, Default)]
pub(crate) struct Field {
    setting: Mutex<Option<Setting>>,
    /// The process, when this very daemon started it: then it also has to wait for its end.
    child: tokio::sync::Mutex<Option<Child>>,
    changed: Notify,
}

impl Field {
    /// Reads the saved setting.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn load(reader: Reader<'_>) -> Result<Self, StoreError> {
        let bytes = reader.local(LocalTable::Caches, KEY)?;
        let setting = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(Self { setting: Mutex::new(setting), ..Self::default() })
    }

    pub(crate) fn now(&self) -> Option<Setting> {
        self.setting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn is_on(&self) -> bool {
        self.now().is_some()
    }

    fn set(&self, setting: Option<Setting>) {
        *self.setting.lock().unwrap_or_else(PoisonError::into_inner) = setting;
        self.changed.notify_one();
    }

    fn change(&self, change: impl FnOnce(&mut Setting)) {
        if let Some(setting) = self.setting.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            change(setting);
        }
    }
}

/// Switches field mode on, or over to another setting. What was not sent yet is sent first.
pub(crate) async fn switch_on(app: &App, mut setting: Setting) -> Saved {
    let mut child = app.field.child.lock().await;
    let before = app.field.now();
    end(&mut child, before.as_ref()).await;
    if let Some(before) = &before {
        let Meter { day, used, by_others } = before.meter();
        (setting.since, setting.day, setting.used, setting.by_others) = (before.since, day, used, by_others);
    } else if let Some(fleet) = app.fleet.get() {
        // Bytes from before do not count.
        let _ = fleet.take_spent();
    }
    keep_awake(app, &mut child, &mut setting).await;
    setting.last_sync = Some(app.now());
    app.field.set(Some(setting));
    drop(child);
    set_pace(app);
    if let Some(fleet) = app.fleet.get() {
        fleet.wake().await;
    }
    Saved(app.field.now())
}

/// Switches field mode off, and ends the process that kept the machine awake, and no other.
pub(crate) async fn switch_off(app: &App) -> Saved {
    let mut child = app.field.child.lock().await;
    end(&mut child, app.field.now().as_ref()).await;
    let was_on = app.field.is_on();
    app.field.set(None);
    drop(child);
    set_pace(app);
    if let Some(fleet) = app.fleet.get().filter(|_| was_on) {
        fleet.wake().await;
    }
    Saved(None)
}

/// Looks for the others now, also in field mode.
pub(crate) async fn sync_now(app: &App) {
    let now = app.now();
    app.field.change(|setting| setting.last_sync = Some(now));
    if let Some(fleet) = app.fleet.get() {
        fleet.wake().await;
    }
}

/// Returns how eagerly to keep in touch now.
pub(crate) fn pace(app: &App) -> Pace {
    let now = app.now();
    app.field.now().map_or(Pace::Live, |setting| Pace::Rounds(setting.rounds(now)))
}

fn set_pace(app: &App) {
    if let Some(fleet) = app.fleet.get() {
        fleet.set_pace(pace(app));
    }
}

/// Runs until the daemon ends.
pub(crate) async fn run(app: Arc<App>) {
    resume(&app).await;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if !app.field.is_on() {
            app.field.changed.notified().await;
            continue;
        }
        tick.tick().await;
        if let Err(failure) = step(&app).await {
            tracing::warn!(?failure, "field mode could not be saved");
        }
    }
}

/// Goes on after a restart: the process may still run, or has to be started again.
async fn resume(app: &App) {
    let Some(mut setting) = app.field.now() else { return };
    if setting.living_process().is_none() {
        let mut child = app.field.child.lock().await;
        keep_awake(app, &mut child, &mut setting).await;
        app.field.change(|known| (known.process, known.problem) = (setting.process, setting.problem));
        drop(child);
        if let Err(failure) = save(app).await {
            tracing::warn!(?failure, "field mode could not be saved");
        }
    }
}

async fn step(app: &App) -> Result<(), Failure> {
    let Some(fleet) = app.fleet.get() else { return Ok(()) };
    let (now, spent) = (app.now(), fleet.take_spent());
    let before = app.field.now();
    app.field.change(|setting| setting.spend(spent, now));
    set_pace(app);
    let Some(setting) = app.field.now() else { return Ok(()) };
    let every = setting.every_s.map(Duration::from_secs);
    if is_due(every, setting.last_sync.map(|at| at.0), setting.left(now), now.0) {
        sync_now(app).await;
    }
    if before != app.field.now() { save(app).await } else { Ok(()) }
}

async fn save(app: &App) -> Result<(), Failure> {
    let saved = Saved(app.field.now());
    let done = app.store.write(move |draft| {
        saved.stage(draft);
        Ok::<(), Failure>(())
    });
    done.await?;
    Ok(())
}

/// Starts the process that keeps the machine awake. It outlives this daemon; `off` of a later one ends it.
async fn keep_awake(app: &App, child: &mut Option<Child>, setting: &mut Setting) {
    (setting.process, setting.problem) = (None, None);
    let Some(wanted) = setting.awake else { return };
    let rest = wanted.until.map(|until| until.since(app.now()));
    if rest.is_some_and(|rest| rest < 1_000) {
        return;
    }
    // Rounded up: rather a second too long than one too short.
    let limit = rest.and_then(|rest| u64::try_from(rest).ok()).map(|rest| Duration::from_secs(rest.div_ceil(1_000)));
    let system = if app.host.os == "macos" { System::MacOs } else { System::Linux };
    let words = Awake { display_sleep: wanted.display_sleep, limit }.command(system);
    match start(&words).await {
        Ok((started, process)) => {
            *child = Some(started);
            setting.process = Some(Keeper { id: process, command: words.join(" ") });
        }
        Err(problem) => {
            tracing::warn!(problem, "the machine is not kept awake");
            setting.problem = Some(problem);
        }
    }
}

async fn start(words: &[String]) -> Result<(Child, ProcessId), String> {
    let program = words.first().map(String::as_str).unwrap_or_default();
    let mut command = Command::new(program);
    // A group of its own: Ctrl-C in the terminal of a daemon is not meant for it.
    command.args(&words[1..]).process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| format!("`{program}` cannot be started: {error}"))?;
    let ended = timeout(SETTLED, child.wait()).await;
    let gone = || format!("`{program}` ended at once: it does not work on this machine");
    match (ended, child.id().and_then(ProcessId::of)) {
        (Err(_), Some(process)) => Ok((child, process)),
        _ => Err(gone()),
    }
}

/// Ends exactly the process that was recorded.
async fn end(child: &mut Option<Child>, setting: Option<&Setting>) {
    let Some(process) = setting.and_then(Setting::living_process) else { return };
    let pid = i32::try_from(process.id.pid).ok().and_then(Pid::from_raw);
    if let Some(Err(error)) = pid.map(|pid| kill_process(pid, Signal::TERM)) {
        tracing::warn!(%error, "the process that keeps the machine awake cannot be ended");
    }
    let own = child.take().filter(|child| child.id() == Some(process.id.pid));
    let gone = async {
        if let Some(mut child) = own {
            // An own child that cannot be waited for is gone.
            let _ = child.wait().await;
        }
        while process.id.is_alive() {
            sleep(LOOK).await;
        }
    };
    if timeout(ENDING, gone).await.is_err() {
        tracing::warn!(pid = process.id.pid, "the process that keeps the machine awake does not end");
    }
}
