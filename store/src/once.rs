//! What this thread has verified already, for simulations: a fleet in one thread takes the same entry in a dozen times and
//! checks it as often.
//!
//! Whether a signature holds, or a saved document can be read, follows from its bytes and nothing else, and what is
//! remembered is the hash of exactly these bytes. So only bytes that did pass are known, and one changed byte makes others
//! of them. Nothing is remembered unless somebody begins; a daemon never does.

use std::cell::RefCell;
use std::collections::HashSet;
use std::marker::PhantomData;

type Known = HashSet<(Check, [u8; 32])>;

thread_local! {
    static KNOWN: RefCell<Option<Known>> = const { RefCell::new(None) };
}

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Check {
    /// That the signature of an entry holds; by the hash of the whole entry.
    Signature,
    /// That a saved document can be read; by the hash of the save.
    Document,
}

/// While it lives, this thread checks the same bytes once.
#[derive(Debug)]
#[must_use]
pub struct VerifyOnce(PhantomData<*const ()>);

impl VerifyOnce {
    /// Begins with nothing remembered.
    pub fn begin() -> Self {
        KNOWN.set(Some(HashSet::new()));
        Self(PhantomData)
    }
}

impl Drop for VerifyOnce {
    fn drop(&mut self) {
        KNOWN.set(None);
    }
}

/// Returns what `passes` says about the bytes with this hash, or that they passed before.
pub(crate) fn checked(check: Check, hash: impl FnOnce() -> [u8; 32], passes: impl FnOnce() -> bool) -> bool {
    if KNOWN.with_borrow(Option::is_none) {
        return passes();
    }
    let key = (check, hash());
    if KNOWN.with_borrow(|known| known.as_ref().is_some_and(|known| known.contains(&key))) {
        return true;
    }
    let passed = passes();
    if passed {
        KNOWN.with_borrow_mut(|known| known.as_mut().map(|known| known.insert(key)));
    }
    passed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks about a hash; returns the answer and whether it took a verification.
    fn ask(byte: u8, answer: bool) -> (bool, bool) {
        let mut asked = false;
        let passed = checked(
            Check::Signature,
            || [byte; 32],
            || {
                asked = true;
                answer
            },
        );
        (passed, asked)
    }

    #[test]
    fn only_what_passed_is_remembered_and_only_as_long_as_somebody_wants_it() {
        assert_eq!(ask(1, true), (true, true));
        assert_eq!(ask(1, true), (true, true));
        let once = VerifyOnce::begin();
        assert_eq!(ask(1, true), (true, true));
        assert_eq!(ask(1, true), (true, false));
        assert!(!checked(Check::Document, || [1; 32], || false), "another check of the same bytes is another question");
        assert_eq!(ask(2, false), (false, true));
        assert_eq!(ask(2, false), (false, true));
        let elsewhere = std::thread::spawn(|| ask(1, true)).join().unwrap();
        assert_eq!(elsewhere, (true, true));
        drop(once);
        assert_eq!(ask(1, true), (true, true));
    }
}
