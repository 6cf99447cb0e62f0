//! A panic of the storage engine as an error. redb trusts the pages that it reads; a damaged one makes it panic, and
//! neither a start nor a reader nor the writer may end by that.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::StoreError;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs work that reads or writes the file; a panic in it becomes [`StoreError::Engine`].
pub(crate) fn guarded<T, E: From<StoreError>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    quiet_inside();
    // What the closures share are handles of redb, which stay usable after a failed call, or are dropped after it.
    let before = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(before);
    result.unwrap_or_else(|payload| Err(StoreError::from(redb::Error::Corrupted(reason(payload.as_ref()))).into()))
}

fn reason(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("a page cannot be read").to_owned()
}

/// Panics inside a guard are reported as errors by whoever called; a second report on stderr would only frighten.
fn quiet_inside() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let outer = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                outer(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_reason_and_the_next_call_works() {
        let failed: Result<(), StoreError> = guarded(|| panic!("page {} is damaged", 7));
        let error = failed.unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        assert!(source.contains("page 7 is damaged"), "{error:?}");
        assert_eq!(guarded::<_, StoreError>(|| Ok(1)).unwrap(), 1);
        assert!(!GUARDED.get());
    }
}
