//! Any text as what docker says of a container: it is read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use recac_orchestrator::{core::Stamp, runtime::docker::state};

fuzz_target!(|text: &str| {
    let _ = state::parse(text, Stamp(1_795_489_507_123));
});
