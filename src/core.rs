//! What to do next. Told what is wanted, what runs and what time it is, says
//! what becomes of every item and every run.
//!
//! Never looks at a clock, never does I/O, starts no thread, imports nothing of
//! this program.

mod item;
mod name;
mod outcome;
mod run;
mod stamp;

pub use item::{Fingerprint, Hold, Item, Standing};
pub use name::{run_name, run_number};
pub use outcome::{End, Outcome, RunId};
pub use run::{Past, Run, State, Stop, StopCause};
pub use stamp::Stamp;
