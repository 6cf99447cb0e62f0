//! Which build this is, and which of two is newer.

use std::cmp::Ordering;

/// `0.1.0+abcdef123456`.
pub const BUILD: &str = concat!(env!("CARGO_PKG_VERSION"), "+", env!("CTXNODE_COMMIT"));
/// The version alone.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit alone; `unknown` outside a checkout.
pub const COMMIT: &str = env!("CTXNODE_COMMIT");

/// Compares the version numbers of two builds; commits have no order.
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    let numbers = |build: &str| -> Vec<u64> {
        let version = build.split('+').next().unwrap_or_default();
        version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
    };
    numbers(a).cmp(&numbers(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(compare("0.10.0+a", "0.9.0+b"), Ordering::Greater);
        assert_eq!(compare("1.0.0+a", "1.0.0+b"), Ordering::Equal);
    }
}
