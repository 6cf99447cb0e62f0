//! Alerts on a disk that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ctxnode_store::{Location, Options, Store};
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
