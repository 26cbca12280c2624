//! The modules of the orchestrator, so that tests, fuzz targets and benches
//! reach the pure parts. `main.rs` is the program.

pub mod agent;
pub mod clock;
pub mod cmd;
pub mod core;
pub mod flags;
pub mod http;
pub mod logs;
pub mod orchestrator;
pub mod parts;
pub mod redact;
pub mod report;
pub mod runtime;
pub mod source;
pub mod state;
