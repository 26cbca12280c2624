//! Argv and environment in, exit code out.
fn main() {}
