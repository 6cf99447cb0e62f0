//! The keychain of the operating system, through its own program: `secret-tool` for the Secret Service of Linux, `security` on
//! macOS. Values go in by stdin and come out by stdout, never by an argument list.
//!
//! Without a keychain nothing is kept: a file with its key beside it would seal nothing.

use std::path::PathBuf;
use std::time::Duration;

use ctxnode_config::{Environment, Platform};
use data_encoding::{BASE64, HEXLOWER};
use zeroize::Zeroizing;

use super::{Secret, SecretError};
use crate::program::{Done, Program, RunError, find};

/// The service under which every item of ours lies.
const SERVICE: &str = "ctxnode";
/// How long the keychain may take. One that wants to ask a person is stopped: no terminal, no prompt, on any path.
const LIMIT: Duration = Duration::from_secs(5);
/// What `security` answers when there is no such item.
const MACOS_ABSENT: i32 = 44;
/// The longest line that `security -i` takes, with room for the command around the value.
const MACOS_LINE: usize = 3_800;

/// A keychain that this machine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keychain {
    program: PathBuf,
    platform: Platform,
}

impl Keychain {
    /// Finds the keychain.
    ///
    /// # Errors
    /// When the program that reaches it is not installed.
    pub fn find(platform: Platform, env: &Environment) -> Result<Self, SecretError> {
        let (name, reason) = match platform {
            Platform::Linux => ("secret-tool", "secret-tool is not installed (package libsecret-tools)"),
            Platform::MacOs => ("security", "/usr/bin/security is not on the PATH"),
        };
        let program = find(name, env).ok_or(SecretError::NoKeychain(reason))?;
        Ok(Self { program, platform })
    }

    /// Returns an item; `None` when there is none.
    ///
    /// # Errors
    /// When the keychain does not answer, or is locked.
    pub async fn get(&self, item: &str) -> Result<Option<Secret>, SecretError> {
        let done = match self.platform {
            Platform::Linux => self.run(&["lookup", "service", SERVICE, "item", item], None).await?,
            Platform::MacOs => self.run(&["find-generic-password", "-s", SERVICE, "-a", item, "-w"], None).await?,
        };
        if self.is_absent(&done) {
            return Ok(None);
        }
        accepted(&done)?;
        let text = done.output.trim_ascii();
        let bytes = BASE64.decode(text).map(Zeroizing::new).map_err(|_| SecretError::NoKeychain(NOT_OURS))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| SecretError::NoKeychain(NOT_OURS))?;
        Ok(Some(Secret::new(text.to_owned())))
    }

    /// Keeps an item in place of what was there.
    ///
    /// # Errors
    /// When the keychain does not answer, is locked, or the value is too large for it.
    pub async fn put(&self, item: &str, value: &Secret) -> Result<(), SecretError> {
        let text = Zeroizing::new(BASE64.encode(value.expose().as_bytes()));
        let done = match self.platform {
            Platform::Linux => {
                let words = ["store", "--label", "ctxnode", "service", SERVICE, "item", item];
                self.run(&words, Some(Zeroizing::new(text.as_bytes().to_vec()))).await?
            }
            Platform::MacOs => {
                let hex = Zeroizing::new(HEXLOWER.encode(text.as_bytes()));
                if hex.len() > MACOS_LINE {
                    return Err(SecretError::NoKeychain("the value is too large for it"));
                }
                // As an argument every user of the machine could read it.
                let line = format!("add-generic-password -U -s {SERVICE} -a {item} -X {}\n", *hex);
                self.run(&["-i"], Some(Zeroizing::new(line.into_bytes()))).await?
            }
        };
        accepted(&done)
    }

    /// Deletes an item; absent is as good.
    ///
    /// # Errors
    /// When the keychain does not answer, or is locked.
    pub async fn remove(&self, item: &str) -> Result<(), SecretError> {
        let done = match self.platform {
            Platform::Linux => self.run(&["clear", "service", SERVICE, "item", item], None).await?,
            Platform::MacOs => self.run(&["delete-generic-password", "-s", SERVICE, "-a", item], None).await?,
        };
        if self.is_absent(&done) { Ok(()) } else { accepted(&done) }
    }

    /// Deletes every item of ours; returns whether there was one.
    ///
    /// # Errors
    /// When the keychain does not answer, or is locked.
    pub async fn clear(&self) -> Result<bool, SecretError> {
        let mut any = false;
        loop {
            let done = match self.platform {
                // This takes all of them at once.
                Platform::Linux => self.run(&["clear", "service", SERVICE], None).await?,
                Platform::MacOs => self.run(&["delete-generic-password", "-s", SERVICE], None).await?,
            };
            if self.is_absent(&done) {
                return Ok(any);
            }
            accepted(&done)?;
            any = true;
            if self.platform == Platform::Linux {
                return Ok(true);
            }
        }
    }

    fn is_absent(&self, done: &Done) -> bool {
        match self.platform {
            // It says nothing at all; what it cannot do it explains.
            Platform::Linux => done.status.code() == Some(1) && done.errors.trim_ascii().is_empty(),
            Platform::MacOs => done.status.code() == Some(MACOS_ABSENT),
        }
    }

    async fn run(&self, words: &[&str], input: Option<Zeroizing<Vec<u8>>>) -> Result<Done, SecretError> {
        let mut program = Program::new(&self.program, words.iter().copied());
        program.input = input;
        program.run(LIMIT).await.map_err(|error| match error {
            RunError::TooSlow { .. } => {
                SecretError::NoKeychain("it did not answer: it may wait for somebody to unlock it")
            }
            RunError::Spawn { .. } | RunError::Output { .. } => SecretError::NoKeychain("its program cannot be run"),
        })
    }
}

const NOT_OURS: &str = "the item in it was not written by ctxnode";

/// What it says of a failure may quote what it was given; its code alone decides.
fn accepted(done: &Done) -> Result<(), SecretError> {
    if done.status.success() { Ok(()) } else { Err(SecretError::NoKeychain("it is locked, or this session has none")) }
}

/// Takes everything of ours out of the keychain; returns whether there was something. A machine without one has nothing.
///
/// # Errors
/// When the keychain does not answer, or is locked.
pub async fn purge(env: &Environment) -> Result<bool, SecretError> {
    match Keychain::find(Platform::current(), env) {
        Ok(keychain) => keychain.clear().await,
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::*;

    /// Stand-ins that keep one file per item, as the real programs keep theirs, and note what they were called with.
    const SECRET_TOOL: &str = r#"echo "$@" >>"$0.seen"
case $1 in
    store) cat >"$0.$7" ;;
    lookup) cat "$0.$5" 2>/dev/null || exit 1 ;;
    clear) [ $# = 3 ] && set -- 1 2 3 4 "item-*"; rm "$0".$5 2>/dev/null || exit 1 ;;
esac"#;
    const SECURITY: &str = r#"echo "$@" >>"$0.seen"
case $1 in
    -i) read -r _ _ _ _ _ item _ hex; printf "$(printf %s "$hex" | sed 's/../\\x&/g')" >"$0.$item" ;;
    find-generic-password) cat "$0.$5" 2>/dev/null || exit 44; echo ;;
    delete-generic-password) [ $# = 3 ] && set -- 1 2 3 4 "$(ls "$0".item-* 2>/dev/null | head -n 1 | sed 's/.*[.]//')"
        rm "$0.$5" 2>/dev/null || exit 44 ;;
esac"#;

    fn stand_in(dir: &Path, name: &str, script: &str) -> Environment {
        let path = dir.join(name);
        std::fs::write(&path, format!("#!/bin/bash\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Environment::from_pairs([("PATH", dir.to_str().unwrap())])
    }

    /// Section 9.1: what is kept comes back, and its value is in no argument list.
    #[tokio::test]
    async fn l_04_an_item_comes_and_goes_and_no_argument_list_holds_it() {
        for (platform, name, script) in
            [(Platform::Linux, "secret-tool", SECRET_TOOL), (Platform::MacOs, "security", SECURITY)]
        {
            let dir = tempfile::tempdir().unwrap();
            let keychain = Keychain::find(platform, &stand_in(dir.path(), name, script)).unwrap();
            assert!(keychain.get("a").await.unwrap().is_none(), "{name}");
            let value = "client_id=x\nclient_secret=s3cr3t é\n";
            keychain.put("a", &Secret::new(value.to_owned())).await.unwrap();
            assert_eq!(keychain.get("a").await.unwrap().unwrap().expose(), value, "{name}");
            assert!(keychain.get("b").await.unwrap().is_none());
            keychain.remove("a").await.unwrap();
            keychain.remove("a").await.unwrap();
            assert!(keychain.get("a").await.unwrap().is_none());
            let seen = std::fs::read_to_string(dir.path().join(format!("{name}.seen"))).unwrap();
            let encoded = BASE64.encode(value.as_bytes());
            assert!(
                !seen.contains("s3cr3t")
                    && !seen.contains(&encoded)
                    && !seen.contains(&HEXLOWER.encode(encoded.as_bytes()))
            );
        }
    }

    /// Section 9.1: without a keychain it is refused with the reason, and a failure shows nothing of what was said.
    /// Section 9.1: a purge leaves nothing behind, and nothing to do is no failure.
    #[tokio::test]
    async fn k_04_a_purge_takes_every_item_out() {
        for (platform, name, script) in
            [(Platform::Linux, "secret-tool", SECRET_TOOL), (Platform::MacOs, "security", SECURITY)]
        {
            let dir = tempfile::tempdir().unwrap();
            let keychain = Keychain::find(platform, &stand_in(dir.path(), name, script)).unwrap();
            assert!(!keychain.clear().await.unwrap(), "{name}");
            for item in ["item-a", "item-b"] {
                keychain.put(item, &Secret::new("x".to_owned())).await.unwrap();
            }
            assert!(keychain.clear().await.unwrap(), "{name}");
            for item in ["item-a", "item-b"] {
                assert!(keychain.get(item).await.unwrap().is_none(), "{name} {item}");
            }
        }
    }

    #[tokio::test]
    async fn k_01_no_keychain_is_a_reason_and_shows_no_value() {
        let dir = tempfile::tempdir().unwrap();
        let env = Environment::from_pairs([("PATH", dir.path().to_str().unwrap())]);
        let error = Keychain::find(Platform::Linux, &env).unwrap_err().to_string();
        assert!(error.contains("libsecret-tools"), "{error}");
        let env = stand_in(dir.path(), "secret-tool", "echo \"no bus; was given $(cat)\" >&2; exit 1");
        let keychain = Keychain::find(Platform::Linux, &env).unwrap();
        let error = keychain.put("a", &Secret::new("s3cr3t".to_owned())).await.unwrap_err();
        assert!(matches!(error, SecretError::NoKeychain(_)) && !error.to_string().contains("given"), "{error}");
        assert!(keychain.get("a").await.is_err(), "unknown is not absent");
    }
}
