//! The loop: look, ask the core, do what it says, tell it how that went, and
//! wait until it is time to look again.
//!
//! Never decides what becomes of an item or a run; that is the core's.

mod act;
mod lead;
mod look;
mod notices;
mod pool;
mod tally;
mod tell;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use log::warn;

use crate::{
    agent::Agent,
    clock,
    core::{Core, Item, Limits, Plan, Stamp, Standing, Subject, Verdict},
    redact::Redactor,
    runtime::Runtime,
    source::Source,
    state::StateDir,
};
pub use act::Done;
use look::Picture;
use notices::{Change, Notices};
use pool::Pool;
use tally::Tally;
use tell::Starts;

/// Spawns that go on side by side, and other slow actions likewise.
const SIDE_BY_SIDE: usize = 8;
/// Several things that happen at once are looked at once.
const GATHER: Duration = Duration::from_millis(100);
/// While spawns go on, their successes alone are looked at this often.
const GATHER_SPAWNS: Duration = Duration::from_secs(1);

/// What the program is to do, put together by `main`.
pub struct Setup {
    /// The bounds of the core.
    pub limits: Limits,
    /// What every agent gets.
    pub agent: Agent,
    /// Where items come from.
    pub source: Source,
    /// Where runs live.
    pub runtime: Arc<Runtime>,
    /// Where logs are saved.
    pub state: StateDir,
    /// `--keep-logs`
    pub keep_logs: Duration,
    /// What is taken out of all that is written.
    pub redactor: Arc<RwLock<Redactor>>,
    /// `--once`, `--once --wait`, `--dry-run`, or none of them.
    pub how: How,
    /// Set when nothing more is to be started.
    pub leaving: Arc<AtomicBool>,
}

/// How long the program goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Until it is told to stop.
    Forever,
    /// One pass.
    Once,
    /// Until nothing can move any more without a change from outside.
    UntilDone,
    /// One pass that prints and does nothing.
    DryRun,
}

/// How it went, for the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything that had to be done was.
    Well,
    /// Something could not be done, or with [`How::UntilDone`] an item failed.
    Badly,
}

/// What wakes the loop.
pub enum Event {
    /// Something may have changed in the runtime.
    Changed,
    /// An action is through.
    Done(Done),
    /// [`Setup::leaving`] was set: finish what is in hand.
    Leave,
}

/// The loop with all it holds.
pub struct Orchestrator {
    limits: Limits,
    agent: Agent,
    source: Arc<Source>,
    runtime: Arc<Runtime>,
    state: StateDir,
    keep_logs: Duration,
    redactor: Arc<RwLock<Redactor>>,
    how: How,
    leaving: Arc<AtomicBool>,
    events: mpsc::Receiver<Event>,
    sender: mpsc::Sender<Event>,
    spawns: Pool,
    actions: Pool,
    /// For what is told to the source: one that is slow holds up no stop.
    tells: Pool,

    core: Core,
    /// What the source wanted when it was last polled; `None` while it cannot
    /// be read.
    items: Option<Arc<Vec<Item>>>,
    /// What it said, since then, of items it does not list.
    standings: BTreeMap<String, Standing>,
    next_poll: Stamp,
    next_prune: Stamp,
    /// When the next sign of life is due at the latest.
    due: Stamp,
    /// Until then nothing runs, as far as nothing is begun.
    quiet_until: Stamp,
    /// Spawns in hand: source id of the item, name of the run.
    starting: BTreeMap<String, String>,
    /// Uids of the runs on which another action is in hand.
    in_hand: BTreeSet<String>,
    /// Names of runs whose secrets are known, because they are ours of now.
    started_here: BTreeSet<String>,
    /// Runs whose begin the source has still to hear of.
    starts: Starts,

    notices: Notices,
    /// Why items could not be read so far, by source id.
    unread: BTreeMap<String, String>,
    /// Why ends could not be reported so far.
    untold: BTreeMap<Subject, String>,
    source_trouble: Change,
    runtime_trouble: Change,
    spawn_trouble: Change,
    tally: Tally,
}

impl Orchestrator {
    /// The loop, which will listen on `events`; `sender` is the other end.
    #[must_use]
    pub fn new(
        setup: Setup,
        events: mpsc::Receiver<Event>,
        sender: mpsc::Sender<Event>,
    ) -> Orchestrator {
        Orchestrator {
            core: Core::new(setup.limits.clone()),
            limits: setup.limits,
            agent: setup.agent,
            source: Arc::new(setup.source),
            runtime: setup.runtime,
            state: setup.state,
            keep_logs: setup.keep_logs,
            redactor: setup.redactor,
            how: setup.how,
            leaving: setup.leaving,
            events,
            sender,
            spawns: Pool::new(SIDE_BY_SIDE),
            actions: Pool::new(SIDE_BY_SIDE),
            tells: Pool::new(SIDE_BY_SIDE),
            items: None,
            standings: BTreeMap::new(),
            next_poll: Stamp::default(),
            next_prune: Stamp::default(),
            due: Stamp::default(),
            quiet_until: Stamp::default(),
            starting: BTreeMap::new(),
            in_hand: BTreeSet::new(),
            started_here: BTreeSet::new(),
            starts: Starts::default(),
            notices: Notices::default(),
            unread: BTreeMap::new(),
            untold: BTreeMap::new(),
            source_trouble: Change::default(),
            runtime_trouble: Change::default(),
            spawn_trouble: Change::default(),
            tally: Tally::default(),
        }
    }

    /// Goes on until there is nothing more to do, or it is told to leave.
    pub fn run(mut self) -> Ended {
        match self.how {
            How::DryRun => return self.dry_run(),
            How::Once => {
                self.pass();
                self.finish();
                return self.ended(self.tally.trouble);
            }
            How::Forever | How::UntilDone => self.watch(),
        }
        self.stand();
        loop {
            if !self.waits_to_lead() {
                self.leave();
                return Ended::Well;
            }
            self.beat(clock::now());
            let plan = self.pass();
            if self.how == How::UntilDone && self.is_done(&plan) {
                let bad_entries = self.source.bad_entries() > 0;
                return self.ended(bad_entries || self.tally.ended_badly(&plan));
            }
            let soonest = self.next_poll.min(self.next_prune);
            let until = plan.wake.map_or(soonest, |wake| wake.min(soonest));
            self.beat(until);
            self.wait(until);
            if self.told_to_leave() {
                self.leave();
                return Ended::Well;
            }
        }
    }

    /// Looks, decides and acts, once.
    fn pass(&mut self) -> Plan {
        let picture = self.look();
        self.act(&picture);
        picture.plan
    }

    /// Waits until then, until something happens, or until told to leave.
    fn wait(&mut self, until: Stamp) {
        let mut until = until;
        loop {
            let pause = until.since(clock::now());
            match self.events.recv_timeout(pause) {
                Err(_) | Ok(Event::Leave) => return,
                Ok(Event::Changed) => until = until.min(clock::now().plus(GATHER)),
                Ok(Event::Done(done)) => {
                    let soon = self.done(done);
                    let gather = match (soon, self.starting.is_empty(), self.in_hand.is_empty()) {
                        (_, true, true) => Duration::ZERO,
                        (true, ..) => GATHER,
                        (false, ..) => GATHER_SPAWNS,
                    };
                    until = until.min(clock::now().plus(gather));
                }
            }
        }
    }

    /// Takes in what has happened meanwhile. Whether to leave.
    fn told_to_leave(&mut self) -> bool {
        while let Ok(event) = self.events.try_recv() {
            if let Event::Done(done) = event {
                self.done(done);
            }
        }
        self.is_leaving()
    }

    /// Whether to leave. Takes in no event: one that comes while a plan is
    /// carried out has to wake the next wait.
    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }

    /// Whether anything may still be begun.
    fn may_begin(&self) -> bool {
        !self.is_leaving() && self.runtime.leads()
    }

    /// Waits for the actions in hand, each of which has a deadline.
    fn finish(&mut self) {
        while self.is_busy() {
            match self.events.recv() {
                Ok(Event::Done(done)) => {
                    self.done(done);
                }
                Ok(Event::Changed | Event::Leave) => {}
                Err(_) => return,
            }
        }
    }

    /// Whether an action is in hand.
    fn is_busy(&self) -> bool {
        !self.starting.is_empty() || !self.in_hand.is_empty() || self.starts.are_in_hand()
    }

    fn gives_up_spawning(&self) -> bool {
        self.how == How::UntilDone && self.tally.spawn.are_enough()
    }

    /// Whether only a change from outside could move anything.
    fn is_done(&self, plan: &Plan) -> bool {
        !self.is_busy()
            && (self.items.is_some() || self.tally.source.are_enough())
            && (!self.tally.fresh.is_on() || self.tally.fresh.are_enough())
            && (!self.runtime_trouble.is_on() || self.tally.list.are_enough())
            && self.tally.is_at_rest(plan)
            // What was reported just now may let something else begin.
            && clock::now() < self.next_poll
    }

    fn ended(&self, badly: bool) -> Ended {
        if badly { Ended::Badly } else { Ended::Well }
    }

    /// One pass that only says what it would do.
    fn dry_run(mut self) -> Ended {
        let Picture { plan, items, .. } = self.look();
        let mut out = String::new();
        for (verdict, item) in plan.items.iter().zip(items.iter()) {
            let Verdict::Spawn(new) = verdict else {
                continue;
            };
            match self.spec(new, item) {
                Ok(spec) => {
                    let clean = |text: &str| self.clean(text);
                    out += &self.runtime.command_line(&spec, &clean);
                    out.push('\n');
                }
                Err(why) => warn!(ticket_id = item.id; "cannot run: {why}"),
            }
        }
        // Whoever reads it may have seen enough.
        let _ = std::io::stdout().write_all(out.as_bytes());
        self.ended(self.tally.trouble)
    }
}
