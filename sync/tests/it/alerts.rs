//! Alerts on a disk that fails, and of a daemon that ends before it could give them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ctxnode_model::frontier::{LogId, Run};
use ctxnode_model::{Space, Stamp};
use ctxnode_store::entry::{Header, Op, VerifiedEntry};
use ctxnode_store::{Finding, Location, Options, Store};
use ctxnode_sync::remember_alert;

use crate::support::{block_on, options, run, secret};

/// A disk in memory that can be told to write nothing any more.
#[derive(Debug, Default)]
struct Failing {
    disk: redb::backends::InMemoryBackend,
    fails: Arc<AtomicBool>,
}

impl Failing {
    fn judge(&self) -> std::io::Result<()> {
        if self.fails.load(Ordering::SeqCst) { Err(std::io::Error::other("the disk is gone")) } else { Ok(()) }
    }
}

impl redb::StorageBackend for Failing {
    fn len(&self) -> std::io::Result<u64> {
        self.disk.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.disk.read(offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.judge().and_then(|()| self.disk.set_len(len))
    }
    fn sync_data(&self) -> std::io::Result<()> {
        self.judge().and_then(|()| self.disk.sync_data())
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.judge().and_then(|()| self.disk.write(offset, data))
    }
}

/// Who says that an alert was read is told when that could not be kept, and the alert is open as before.
#[test]
fn an_alert_is_not_read_when_that_could_not_be_saved() {
    block_on(async {
        let (backend, secret) = (Failing::default(), secret());
        let fails = Arc::clone(&backend.fails);
        let location = Location::Backend(Box::new(backend));
        let store = Store::create(Options { location, ..options(&secret) }, "test").unwrap().store;
        remember_alert(&store, "a copy").await.unwrap();
        let node = run(store, secret);
        let texts = || node.fleet.alerts().into_iter().map(|alert| alert.text).collect::<Vec<_>>();
        assert_eq!(texts(), ["a copy"]);
        assert_eq!(node.fleet.acknowledge_alerts().await.unwrap().len(), 1);
        assert!(texts().is_empty());
        remember_alert(&node.store, "another copy").await.unwrap();
        node.fleet.stop().await;
        let node = run(node.store, node.secret);
        let texts = || node.fleet.alerts().into_iter().map(|alert| alert.text).collect::<Vec<_>>();
        assert_eq!(texts(), ["another copy"], "what was read is read after a restart");
        fails.store(true, Ordering::SeqCst);
        assert!(node.fleet.acknowledge_alerts().await.is_err());
        assert_eq!(texts(), ["another copy"]);
        assert!(node.fleet.acknowledge_alerts().await.is_err(), "and again, not only the first time");
    });
}

/// Entries that come a first time never do again: what they show is told even if the daemon ends between taking them in
/// and telling.
#[test]
fn what_entries_show_is_told_by_the_next_daemon() {
    block_on(async {
        let secret = secret();
        let store = Store::create(options(&secret), "test").unwrap().store;
        let copy = Store::create_member(options(&secret), store.genesis().unwrap()).unwrap();
        let original = run(store, secret.clone());
        original.note(None, "of the original").await;
        let mut entries = Vec::new();
        let snapshot = original.store.read().unwrap();
        for (log, head) in snapshot.reader().heads().unwrap().0 {
            entries.extend(snapshot.reader().entries(&Run { log, from: 1, to: head.length }, usize::MAX).unwrap());
        }
        // No daemon is there, as when it was killed after the commit.
        copy.ingest(entries).await.unwrap();
        let findings = || copy.read().unwrap().reader().findings().unwrap();
        assert_eq!(findings(), [Finding::OwnCameBack]);

        for life in ["the next", "one more"] {
            let node = run(copy.clone(), secret.clone());
            let alerts = node.fleet.alerts();
            assert_eq!(alerts.len(), 1, "{life}");
            assert!(alerts[0].text.contains("came back from others"), "{alerts:?}");
            node.fleet.stop().await;
            assert_eq!(findings(), [], "it is told and saved");
        }
        let node = run(copy.clone(), secret);
        node.fleet.acknowledge_alerts().await.unwrap();
        node.fleet.stop().await;
        let node = run(copy.clone(), node.secret);
        assert!(node.fleet.alerts().is_empty(), "somebody has read it");
    });
}

/// A machine that begins new logs and cannot keep that goes on as what is kept says: otherwise its next start would write
/// positions that it had written in between.
#[test]
fn an_epoch_that_could_not_be_kept_was_not_begun() {
    block_on(async {
        let (backend, secret) = (Failing::default(), secret());
        let fails = Arc::clone(&backend.fails);
        let location = Location::Backend(Box::new(backend));
        let store = Store::create(Options { location, ..options(&secret) }, "test").unwrap().store;
        let epoch = store.epoch();
        let log = LogId { space: Space::Fleet.id(&store.fleet()), author: store.node(), epoch };
        let time = store.clock().now();
        let header =
            Header { fleet: store.fleet(), log, seq: 1, prev: [0; 32], stamp: Stamp::default().next(time), time };
        let of_a_copy =
            VerifiedEntry::sign(header, vec![Op::Unknown { kind: 200, payload: vec![1] }], &secret).unwrap();
        fails.store(true, Ordering::SeqCst);
        assert!(store.ingest(vec![of_a_copy.bytes().to_vec()]).await.is_err());
        assert_eq!(store.epoch(), epoch);
        assert_eq!(store.read().unwrap().reader().findings().unwrap(), []);
    });
}
