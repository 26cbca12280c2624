//! The modules of the orchestrator, so that tests, fuzz targets and benches
//! reach the pure parts. `main.rs` is the program.

pub mod cmd;
pub mod core;
pub mod state;
