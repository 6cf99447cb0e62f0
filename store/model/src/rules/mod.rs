//! The rules of ctxnode as pure functions: what is valid, what follows from a request, what a reader is shown.
//!
//! Time and randomness are arguments, records come in as values, and a refusal names every bad field. Nothing here
//! reads a store or decides who may do something; rights are the store's and the gate's.

pub mod audit;
pub mod branch;
pub mod canonical;
pub mod change;
pub mod claim;
pub mod doc;
pub mod draft;
pub mod escalation;
pub mod git_view;
pub mod github;
pub mod glob;
pub mod handoff;
pub mod identity;
pub mod limits;
pub mod machine;
pub mod note;
pub mod plan;
pub mod presence;
pub mod repo;
pub mod requirement;
pub mod secrets;
pub mod session;
pub mod start;
pub mod text;
pub mod venture;
