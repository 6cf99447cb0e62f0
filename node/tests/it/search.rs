//! Search: what is found, soon, by whom, and what a bad query is told.
