//! Times that people type, checked the same way for every operation that takes one.

use std::ops::RangeInclusive;
use std::time::Duration;

use ctxnode_api::span;
use ctxnode_model::Invalid;

/// Reads the time of a field; notes it as bad, with the accepted forms and range, when it is none or out of range.
pub(super) fn check(
    invalid: &mut Invalid,
    field: &str,
    text: Option<&str>,
    range: &RangeInclusive<Duration>,
    like: &str,
) -> Option<Duration> {
    let read = span::parse(text?).filter(|time| range.contains(time));
    let (least, most) = (span::text(*range.start()), span::text(*range.end()));
    invalid.require(read.is_some(), field, format!("expected {least} to {most}, like `{like}`: {}", span::FORM));
    read
}

/// Reads the time of a field that may also be given as a number of seconds under its older name.
pub(super) fn check_seconds(
    invalid: &mut Invalid,
    (field, text): (&str, Option<&str>),
    (older, seconds): (&str, Option<i64>),
    range: &RangeInclusive<Duration>,
    like: &str,
) -> Option<Duration> {
    let of_seconds = seconds.map(|seconds| u64::try_from(seconds).ok().map(Duration::from_secs));
    let of_seconds = of_seconds.map(|time| time.filter(|time| range.contains(time)));
    let expected = || format!("expected {} to {}", range.start().as_secs(), range.end().as_secs());
    invalid.require(of_seconds != Some(None), older, expected());
    invalid.require(text.is_none() || seconds.is_none(), older, format!("is `{field}` in seconds: give one of them"));
    check(invalid, field, text, range, like).or(of_seconds.flatten())
}
