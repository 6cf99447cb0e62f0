//! kill -9 under write load: what was acknowledged is there, nothing is half there, and no start needs a human.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use ctxnode_model::record::{Handoff, Note};
use ctxnode_model::{DocumentId, Edit, Kind};
use ctxnode_store::{Entropy as _, Location, SeededEntropy, Store};

use crate::support::*;

/// Names the data directory for the child; without it the child's test has nothing to do.
const DIRECTORY: &str = "CTXNODE_TEST_CRASH_DIR";
/// How often the writer is killed. The figure to reach is 200.
const KILLS: usize = 200;
const SEED: u64 = 60;

/// The process that is killed: two threads write until they are stopped, and say what was acknowledged.
#[test]
fn crash_child() {
    #[expect(clippy::disallowed_methods, reason = "the parent test names the directory")]
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let store = open(Path::new(&directory));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                let id = add_note(&store, "kept", &"A sentence. ".repeat(50), &["a"]);
                println!("\nacked {id}");
            }
        });
        scope.spawn(|| {
            loop {
                // One command, two records: both or neither.
                let pair = write(&store, |draft| {
                    let (note, handoff) =
                        (draft.fresh_id(Kind::Note, &alpha())?, draft.fresh_id(Kind::Handoff, &alpha())?);
                    draft.edit(note, &alpha(), note_edits(draft.now(), "pair", "text", &["pair"]))?;
                    let twin = [
                        Edit::set("venture", "alpha"),
                        Edit::set("thread", note.to_string()),
                        Edit::set("summary", "pair"),
                    ];
                    draft.edit(handoff, &alpha(), twin)?;
                    Ok((note, handoff))
                });
                println!("\nacked {}\nacked {}", pair.0, pair.1);
            }
        });
    });
}

fn open(directory: &Path) -> Store {
    let path = directory.join("store.redb");
    let (mut options, _) = options(Location::File(path.clone()), SEED);
    // Ids must differ from those of the life before.
    options.entropy = std::sync::Arc::new(ctxnode_store::OsEntropy);
    if path.exists() {
        Store::open(options).expect("the store opens by itself")
    } else {
        Store::create(options, "t").unwrap().store
    }
}

/// H-27 and Q-06 on the level of the store.
#[test]
fn two_hundred_kills_lose_no_acknowledged_write() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).close();
    println!("seed {SEED}");
    let random = SeededEntropy::new(SEED);
    let mut acked: Vec<DocumentId> = Vec::new();
    for _ in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::crash_child", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Killed after a random number of acknowledgements, which is a random moment of the writes after them.
        let mut left = 1 + usize::try_from(random.number() % 12).unwrap();
        for line in lines.map_while(Result::ok) {
            if let Some(id) = line.strip_prefix("acked ") {
                acked.push(id.parse().unwrap());
                left = left.saturating_sub(1);
                if left == 0 {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
    }
    let store = open(directory.path());
    let snapshot = store.read().unwrap();
    let reader = snapshot.reader();
    for id in &acked {
        let found = match id.kind {
            Kind::Note => reader.get::<Note>(*id).unwrap().is_some(),
            _ => reader.get::<Handoff>(*id).unwrap().is_some(),
        };
        assert!(found, "{id} was acknowledged and is gone");
    }
    let pairs = reader.count(ctxnode_model::index::Index::NoteTag, Kind::Note, &["alpha", "pair"]).unwrap();
    let twins = reader.count(ctxnode_model::index::Index::All, Kind::Handoff, &[]).unwrap();
    assert_eq!(pairs, twins, "a command was half applied");
    assert_eq!(snapshot.check(|_| ()).unwrap().problem_count, 0);
    println!("{} acknowledged writes over {KILLS} kills", acked.len());
}
