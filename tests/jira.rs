//! The program against a Jira, seen from outside.

pub mod fake;
