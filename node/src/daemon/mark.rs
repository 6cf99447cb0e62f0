//! Which copy of the replica this is: a mark beside the store, new with each run, that the store has to know.
//!
//! A store that does not know the mark is not the one that this machine last used: an older copy was put back, or files
//! were copied. It then begins a new epoch, so that it never writes positions that others know already, and a person is
//! told. After a boot it does so too, because a disk that was cloned or brought back is used after another boot.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use ctxnode_store::Store;

/// An older copy of the store was put in the place of the newer one.
const OLDER: &str = "the replica is an older copy than the one that this machine used last (a backup or a copy of the file \
                     was put back): it goes on in new logs, and what it lacks comes from the other machines";
/// The files were copied or moved to another place.
const COPIED: &str = "the replica was copied or moved here: it goes on in new logs. If the one that it was copied from is \
                      still used, this one needs an invitation of its own: `ctxnode invite` there, then `ctxnode join` here \
                      with an empty data directory";

/// What tells one copy on one boot from any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Incarnation {
    boot: String,
    device: u64,
    inode: u64,
    mark: String,
}

impl Incarnation {
    /// Looks at the store's file and at the mark beside it; a missing mark is an empty one.
    pub(super) fn look(store: &Path, mark: &Path) -> Self {
        let (device, inode) = std::fs::metadata(store).map(|file| (file.dev(), file.ino())).unwrap_or_default();
        let mark = std::fs::read_to_string(mark).unwrap_or_default().trim().to_owned();
        Self { boot: crate::process::boot_id(), device, inode, mark }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        format!("{} {} {} {}", self.boot, self.device, self.inode, self.mark).into_bytes()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut parts = text.split(' ');
        let (boot, device, inode) = (parts.next()?.to_owned(), parts.next()?, parts.next()?);
        // A version before this one kept no mark: then nothing can be said about it.
        let mark = parts.next()?.to_owned();
        Some(Self { boot, device: device.parse().ok()?, inode: inode.parse().ok()?, mark })
    }

    /// Says what a person should know when the store knew itself by `before`.
    pub(super) fn since(&self, before: &[Vec<u8>]) -> Option<&'static str> {
        let before: Vec<Self> = before.iter().filter_map(|bytes| Self::decode(bytes)).collect();
        let first = before.first()?;
        let Some(known) = before.iter().find(|known| known.mark == self.mark) else {
            return Some(if self.mark.is_empty() { COPIED } else { OLDER });
        };
        let same_place = (known.device, known.inode) == (self.device, self.inode);
        // On another boot a device may have another number, and a file system may be another one.
        (first.boot == self.boot && !same_place).then_some(COPIED)
    }
}

/// Makes a new mark: the store knows it first, beside the one that stands, and until the next time it knows both. So a
/// crash before the mark is beside the store, or a full disk, is no older copy.
pub(super) async fn renew(store: &Store, path: &Path, now: Incarnation) {
    let next = Incarnation { mark: format!("{:032x}", store.entropy().number()), ..now.clone() };
    if let Err(error) = store.set_incarnation(now.encode(), next.encode()).await {
        tracing::warn!(%error, "the mark of the replica could not be renewed");
        return;
    }
    if let Err(error) = write(path, &next.mark) {
        // Without a new mark beside it, an older copy is found out by the peers only.
        tracing::warn!(%error, path = %path.display(), "the mark of the replica could not be written");
    }
}

fn write(path: &Path, mark: &str) -> std::io::Result<()> {
    let partial = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(mark.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(partial, path)
}

#[cfg(test)]
mod tests {
    use ctxnode_store::{NodeSecret, Options};

    use super::*;

    fn incarnation(boot: &str, inode: u64, mark: &str) -> Incarnation {
        Incarnation { boot: boot.to_owned(), device: 1, inode, mark: mark.to_owned() }
    }

    #[test]
    fn an_older_copy_a_moved_one_and_a_boot_are_told_apart() {
        let now = incarnation("b1", 7, "m2");
        let since = |before: &Incarnation| now.since(&[before.encode()]);
        assert_eq!(since(&now), None);
        assert_eq!(since(&incarnation("b1", 7, "m1")), Some(OLDER));
        assert_eq!(since(&incarnation("b1", 8, "m2")), Some(COPIED));
        assert_eq!(since(&incarnation("b0", 8, "m2")), None);
        assert_eq!(incarnation("b1", 9, "").since(&[now.encode()]), Some(COPIED));
        assert_eq!((now.since(&[]), now.since(&[b"b1 1 7".to_vec()])), (None, None));
        let both = [incarnation("b0", 7, "m1").encode(), incarnation("b0", 7, "m2").encode()];
        assert_eq!((now.since(&both), incarnation("b1", 7, "m3").since(&both)), (None, Some(OLDER)));
    }

    /// One run of a daemon up to a crash, which comes before or after the mark stands beside the store.
    async fn run(dir: &Path, secret: &NodeSecret, written: bool) -> (Option<&'static str>, u64) {
        let (file, mark) = (dir.join("store.redb"), dir.join("store.mark"));
        let now = Incarnation::look(&file, &mark);
        let options = Options { incarnation: Some(now.encode()), ..Options::file(&file, secret.clone()) };
        let store = Store::open(options).unwrap();
        let told = now.since(store.previous_incarnations());
        let epoch = store.epoch();
        // A place where nothing can be written is a crash before it.
        renew(&store, if written { &mark } else { Path::new("/nowhere/mark") }, now).await;
        store.close();
        (told, epoch)
    }

    #[tokio::test]
    async fn a_crash_while_the_mark_is_renewed_is_no_older_copy() {
        let dir = tempfile::tempdir().unwrap();
        let (file, copy) = (dir.path().join("store.redb"), dir.path().join("copy.redb"));
        let secret = NodeSecret::generate(&ctxnode_store::SeededEntropy::new(7));
        Store::create(Options::file(&file, secret.clone()), "team").unwrap().store.close();
        let (_, epoch) = run(dir.path(), &secret, true).await;
        for written in [false, true, false, false, true] {
            assert_eq!(run(dir.path(), &secret, written).await, (None, epoch));
        }
        std::fs::copy(&file, &copy).unwrap();
        assert_eq!(run(dir.path(), &secret, true).await, (None, epoch));
        std::fs::copy(&copy, &file).unwrap();
        // The copy knows the mark of the run after it, no later one.
        assert_eq!(run(dir.path(), &secret, true).await.0, Some(OLDER));
    }
}
