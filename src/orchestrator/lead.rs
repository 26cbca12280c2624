//! Standing by while another replica leads, and the sign of life that is asked
//! for from outside.

use std::{sync::Arc, thread, time::Duration};

use log::{debug, info};

use super::{Event, How, Orchestrator};
use crate::{clock, core::Stamp};

/// How long a pass may take until it counts as hung.
const HUNG: Duration = Duration::from_secs(300);
/// A sign of life is given anew when it has moved by this much, so that a short
/// interval costs no write each time.
const STEP: Duration = Duration::from_secs(30);
/// How long a replica that stands by waits at most for something to happen.
const STANDING: Duration = Duration::from_secs(60);

impl Orchestrator {
    /// Has the runtime stand for election, where there is one.
    pub(super) fn stand(&self) {
        let (runtime, sender) = (Arc::clone(&self.runtime), self.sender.clone());
        thread::spawn(move || {
            runtime.stand(|| {
                // The loop may have left.
                let _ = sender.send(Event::Changed);
            });
        });
    }

    /// Waits until we lead. False if we are to leave instead.
    pub(super) fn waits_to_lead(&mut self) -> bool {
        if self.runtime.leads() {
            return true;
        }
        while !self.runtime.leads() {
            if self.told_to_leave() {
                return false;
            }
            self.beat(clock::now().plus(STANDING));
            match self.events.recv_timeout(STANDING) {
                Ok(Event::Done(done)) => {
                    self.done(done);
                }
                Ok(Event::Changed | Event::Leave) | Err(_) => {}
            }
        }
        // Another has acted meanwhile.
        self.items = None;
        self.standings.clear();
        self.next_poll = Stamp::default();
        self.quiet_until = Stamp::default();
        !self.is_leaving()
    }

    /// Says that the loop is well, and will say so again once `until` has come.
    pub(super) fn beat(&mut self, until: Stamp) {
        let due = until.plus(HUNG);
        if self.how != How::Forever || due < self.due.plus(STEP) && self.due < due.plus(STEP) {
            return;
        }
        self.due = due;
        if let Err(e) = self.state.beat(&self.limits.owner, due) {
            debug!("no sign of life is given: {e}");
        }
    }

    /// The last words of a loop that was told to leave.
    pub(super) fn leave(&mut self) {
        info!("leaving; agents go on and are found again");
        self.finish();
    }
}
