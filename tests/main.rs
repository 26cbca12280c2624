//! Everything that drives more than one module: one binary, one folder.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "tests may fail loudly, and look at the world around them"
)]

mod cli;
mod docker;
mod file;
mod jira;
mod kube;
mod layers;
mod process;
mod random;
mod readme;
mod seeded;
mod simulation;
mod world;
