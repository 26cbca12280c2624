//! The loop: look, ask the core, do what it says, tell it how that went, and
//! wait until it is time to look again.
//!
//! Never decides what becomes of an item or a run; that is the core's.

mod notices;
mod pool;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, mpsc},
    thread,
    time::Duration,
};

use log::{debug, error, info, warn};

use crate::{
    agent::{Agent, Spec, Try, is_secret},
    clock,
    core::{
        Core, End, Hold, Item, Keeping, Limits, NewRun, Note, Outcome, Plan, Removal, Run, Sight,
        Stamp, Standing, State, Stop, Subject, Verdict, Waiting,
    },
    redact::{Redactor, last_lines},
    runtime::{Refused, Runtime},
    source::{Source, Trouble},
    state::StateDir,
};
use notices::{Change, Notices};
use pool::Pool;

/// Spawns that go on side by side, and other slow actions likewise.
const SIDE_BY_SIDE: usize = 8;
/// Several things that happen at once are looked at once.
const GATHER: Duration = Duration::from_millis(100);
/// While spawns go on, their successes alone are looked at this often.
const GATHER_SPAWNS: Duration = Duration::from_secs(1);
/// How often old logs are looked for.
const PRUNE: Duration = Duration::from_secs(3600);
/// With `--wait`, tries of what does not answer before it is given up.
const TRIES: u32 = 3;
/// What an outcome holds of an agent's output.
const TAIL_LINES: usize = 50;
const TAIL_BYTES: usize = 64 * 1024;

/// What the program is to do, put together by `main`.
pub struct Setup {
    /// The bounds of the core.
    pub limits: Limits,
    /// What every agent gets.
    pub agent: Agent,
    /// Where items come from.
    pub source: Source,
    /// Where runs live.
    pub runtime: Runtime,
    /// Where logs are saved.
    pub state: StateDir,
    /// `--keep-logs`
    pub keep_logs: Duration,
    /// What is replaced in all that is written.
    pub redactor: Arc<RwLock<Redactor>>,
    /// `--once`, `--once --wait`, `--dry-run`, or none of them.
    pub how: How,
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
    /// Start nothing more; finish what is in hand and leave.
    Leave,
}

/// How an action that took its time went.
pub enum Done {
    /// A spawn.
    Spawned {
        /// Of the item.
        source_id: String,
        /// Which run it was to be.
        new: NewRun,
        /// The id people use.
        item_id: String,
        /// When it was begun.
        begun: Stamp,
        /// What came of it.
        result: Result<(), Refused>,
    },
    /// A stop or a removal.
    Acted {
        /// The run as it was.
        run: Box<Run>,
        /// What was done, for the message.
        what: &'static str,
        /// What came of it.
        result: Result<(), String>,
    },
}

/// The loop with all it holds.
pub struct Orchestrator {
    core: Core,
    limits: Limits,
    agent: Arc<Agent>,
    source: Source,
    runtime: Arc<Runtime>,
    state: StateDir,
    keep_logs: Duration,
    redactor: Arc<RwLock<Redactor>>,
    how: How,
    events: mpsc::Receiver<Event>,
    sender: mpsc::Sender<Event>,
    spawns: Pool,
    actions: Pool,
    notices: Notices,

    items: Option<Vec<Item>>,
    standings: BTreeMap<String, Standing>,
    next_poll: Stamp,
    next_prune: Stamp,
    starting: BTreeMap<String, String>,
    in_hand: BTreeSet<String>,
    leaving: bool,

    source_trouble: Change,
    runtime_trouble: Change,
    spawn_trouble: Change,
    tally: Tally,
}

/// What decides the exit code, and with `--wait` the end.
#[derive(Default)]
struct Tally {
    /// Something in this pass could not be done.
    trouble: bool,
    /// An item failed for good.
    failed: bool,
    /// Whether the source could ever be read.
    read: bool,
    /// Polls that failed.
    source: Tries,
    /// Times the runtime could not be listed.
    list: Tries,
    /// Times the runtime refused everything.
    spawn: Tries,
    /// How often the same action on a subject has failed in a row.
    failures: BTreeMap<Subject, u32>,
}

/// Failures in a row, one at most for each poll.
#[derive(Default)]
struct Tries {
    count: u32,
    counted: Stamp,
}

impl Tries {
    fn failed(&mut self, poll: Stamp) {
        if self.counted != poll {
            self.counted = poll;
            self.count += 1;
        }
    }

    fn over(&mut self) {
        self.count = 0;
    }

    fn are_enough(&self) -> bool {
        self.count >= TRIES
    }
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
            agent: Arc::new(setup.agent),
            source: setup.source,
            runtime: Arc::new(setup.runtime),
            state: setup.state,
            keep_logs: setup.keep_logs,
            redactor: setup.redactor,
            how: setup.how,
            events,
            sender,
            spawns: Pool::new(SIDE_BY_SIDE),
            actions: Pool::new(SIDE_BY_SIDE),
            notices: Notices::default(),
            items: None,
            standings: BTreeMap::new(),
            next_poll: Stamp::default(),
            next_prune: Stamp::default(),
            starting: BTreeMap::new(),
            in_hand: BTreeSet::new(),
            leaving: false,
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
                let _ = self.pass();
                self.finish();
                return self.once_ended();
            }
            How::Forever | How::UntilDone => self.watch(),
        }
        loop {
            let plan = self.pass();
            if self.how == How::UntilDone && self.is_done(&plan) {
                return self.wait_ended(&plan);
            }
            let soonest = self.next_poll.min(self.next_prune);
            self.wait(plan.wake.map_or(soonest, |wake| wake.min(soonest)));
            if self.leaving {
                info!("leaving; agents go on and are found again");
                self.finish();
                return Ended::Well;
            }
        }
    }

    /// Has the runtime wake the loop.
    fn watch(&self) {
        let (runtime, sender) = (Arc::clone(&self.runtime), self.sender.clone());
        thread::spawn(move || runtime.watch(|| sender.send(Event::Changed).is_ok()));
    }

    // --- one pass

    /// Looks, decides and acts, once.
    fn pass(&mut self) -> Plan {
        let (plan, items, runs) = self.look();
        self.act(&plan, &items, &runs);
        // Only taken out to be looked at beside everything else.
        if self.items.is_some() {
            self.items = Some(items);
        }
        plan
    }

    /// Everything there is to see, and what the core makes of it.
    fn look(&mut self) -> (Plan, Vec<Item>, Vec<Run>) {
        let now = clock::now();
        if now >= self.next_prune && self.how != How::DryRun {
            self.next_prune = now.plus(PRUNE);
            self.state.prune(now, self.keep_logs);
            self.runtime.sweep();
        }
        if now >= self.next_poll {
            self.poll(now);
        }
        let runs = self.list(now);
        self.look_up_missing(now, runs.as_deref().unwrap_or_default());
        let mut plan = self.decide(now, runs.as_deref());
        if self.fresh_look(now, &plan) {
            plan = self.decide(now, runs.as_deref());
        }
        let runs = runs.unwrap_or_default();
        let items = match &mut self.items {
            Some(items) => std::mem::take(items),
            None => vec![],
        };
        self.notices.tell(&plan, &items, &runs);
        (plan, items, runs)
    }

    fn poll(&mut self, now: Stamp) {
        self.next_poll = now.plus(self.limits.interval);
        match self.source.wanted(now) {
            Ok(mut items) => {
                self.tally.source.over();
                self.tally.read = true;
                if self.source_trouble.over() {
                    info!("the items can be read again");
                }
                items.iter_mut().for_each(|item| self.admit(item));
                debug!("{} items are wanted", items.len());
                self.core.note(now, Note::Polled(&items));
                self.items = Some(items);
                self.standings.clear();
            }
            Err(trouble) => {
                self.source_failed(now, &trouble);
                self.tally.source.failed(self.next_poll);
                if matches!(trouble, Trouble::Everything(_)) && !self.tally.read {
                    // It was never there: another try would change nothing.
                    self.tally.source.count = TRIES;
                }
                self.items = None;
            }
        }
    }

    fn source_failed(&mut self, now: Stamp, trouble: &Trouble) {
        self.tally.trouble = true;
        if let Trouble::Later(_, Some(pause)) = trouble {
            self.next_poll = self.next_poll.max(now.plus(*pause));
        }
        let why = trouble.to_string();
        if self.source_trouble.is(&why) {
            match (self.how, trouble) {
                (How::Forever, Trouble::Later(..) | Trouble::Item(_)) => warn!("{why}"),
                (How::Forever, Trouble::Everything(_)) => {
                    warn!("{why}; nothing is started until that is mended");
                }
                _ => error!("{why}"),
            }
        }
    }

    /// What is not the source's to say: whether an agent can be given it.
    fn admit(&self, item: &mut Item) {
        if item.hold.is_none() {
            item.hold = self.agent.unfit(item).map(Hold::Unfit);
        }
        let secrets: Vec<_> = item
            .env
            .iter()
            .filter(|(name, _)| is_secret(name))
            .collect();
        if !secrets.is_empty() {
            let mut redactor = self
                .redactor
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            for (name, value) in secrets {
                redactor.add(name, value);
            }
        }
    }

    fn list(&mut self, now: Stamp) -> Option<Vec<Run>> {
        match self.runtime.list(now) {
            Ok(runs) => {
                if self.runtime_trouble.over() {
                    info!("the runs can be seen again");
                }
                self.tally.list.over();
                self.core.note(now, Note::Listed(&runs));
                Some(runs)
            }
            Err(why) => {
                self.tally.trouble = true;
                self.tally.list.failed(self.next_poll);
                if self.runtime_trouble.is(&why) {
                    error!("what runs is not known, so nothing is done: {why}");
                }
                None
            }
        }
    }

    /// Asks the source for the items of runs that it does not list: a poll
    /// proves nothing about what is not in it.
    fn look_up_missing(&mut self, now: Stamp, runs: &[Run]) {
        let Some(items) = &self.items else { return };
        let mut missing: BTreeSet<&str> = runs
            .iter()
            .filter(|run| !matches!(run.state, State::Told | State::Unborn))
            .map(|run| run.source_id.as_str())
            .filter(|id| !self.standings.contains_key(*id))
            .collect();
        if missing.is_empty() {
            return;
        }
        for item in items {
            missing.remove(item.source_id.as_str());
        }
        let missing: Vec<&str> = missing.into_iter().collect();
        if missing.is_empty() {
            return;
        }
        match self.source.look_up(now, &missing) {
            Ok(standings) => {
                for (id, mut standing) in standings {
                    if let Standing::Wanted(item) = &mut standing {
                        self.admit(item);
                    }
                    self.core.note(now, Note::LookedUp(&id, &standing));
                    self.standings.insert(id, standing);
                }
            }
            Err(trouble) => self.source_failed(now, &trouble),
        }
    }

    /// Looks at the items once more that are about to be started, for the
    /// last poll may be old. True if the plan has to be made anew.
    fn fresh_look(&mut self, now: Stamp, plan: &Plan) -> bool {
        let Some(items) = &self.items else {
            return false;
        };
        let spawns = plan.items.iter().zip(items);
        let spawns = spawns.filter(|(verdict, _)| matches!(verdict, Verdict::Spawn(_)));
        let ids: Vec<String> = spawns.map(|(_, item)| item.source_id.clone()).collect();
        if ids.is_empty() {
            return false;
        }
        let asked: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut standings = match self.source.look_up(now, &asked) {
            Ok(standings) => standings,
            Err(trouble) => {
                self.source_failed(now, &trouble);
                self.items = None;
                return true;
            }
        };
        let mut items = self.items.take().unwrap_or_default();
        let ids: BTreeSet<String> = ids.into_iter().collect();
        let before = items.len();
        let mut changed = false;
        items.retain_mut(|item| {
            if !ids.contains(&item.source_id) {
                return true;
            }
            let Some(Standing::Wanted(fresh)) = standings.remove(&item.source_id) else {
                return false;
            };
            let mut fresh = *fresh;
            self.admit(&mut fresh);
            changed |= fresh != *item;
            *item = fresh;
            true
        });
        changed |= items.len() != before;
        self.items = Some(items);
        changed
    }

    fn decide(&self, now: Stamp, runs: Option<&[Run]>) -> Plan {
        self.core.decide(
            now,
            &Sight {
                items: self.items.as_deref(),
                standings: &self.standings,
                runs,
                starting: &self.starting,
                in_hand: &self.in_hand,
            },
        )
    }

    // --- actions

    fn act(&mut self, plan: &Plan, items: &[Item], runs: &[Run]) {
        for (verdict, run) in plan.runs.iter().zip(runs) {
            if self.told_to_leave() {
                return;
            }
            match verdict {
                Verdict::Stop(stop) => self.stop(run, stop),
                Verdict::Remove(removal) => self.remove(run, *removal),
                Verdict::Report(outcome) => {
                    let tail = self.tail(run);
                    if self.report(outcome, &tail, Subject::Run(run.uid.clone())) {
                        self.remove(run, Removal::Told);
                    }
                }
                Verdict::Keep(_) | Verdict::Wait(_) | Verdict::Spawn(_) | Verdict::Skip(_) => {}
            }
        }
        for (verdict, item) in plan.items.iter().zip(items) {
            if self.told_to_leave() {
                return;
            }
            match verdict {
                Verdict::Spawn(new) if !self.spawns_given_up() => self.spawn(new, item),
                Verdict::Report(outcome) => {
                    self.report(outcome, "", Subject::Item(item.source_id.clone()));
                }
                Verdict::Spawn(_)
                | Verdict::Keep(_)
                | Verdict::Wait(_)
                | Verdict::Stop(_)
                | Verdict::Remove(_)
                | Verdict::Skip(_) => {}
            }
        }
    }

    fn spec(&self, new: &NewRun, item: &Item) -> Result<Spec, String> {
        let workspace = self.runtime.workspace(&new.name);
        let attempt = Try {
            number: new.number,
            attempt: new.attempt,
            history: &new.history,
        };
        self.agent
            .spec(item, &attempt, &workspace.to_string_lossy())
    }

    fn spawn(&mut self, new: &NewRun, item: &Item) {
        let spec = self.spec(new, item);
        if let Ok(spec) = &spec {
            for warning in &spec.warnings {
                warn!(ticket_id = item.id, job_name = new.name; "{warning}");
            }
        }
        self.starting
            .insert(item.source_id.clone(), new.name.clone());
        let (runtime, sender) = (Arc::clone(&self.runtime), self.sender.clone());
        let (source_id, item_id, new) = (item.source_id.clone(), item.id.clone(), new.clone());
        self.spawns.run(move || {
            let begun = clock::now();
            let result = match spec {
                Ok(spec) => runtime.spawn(&spec, begun),
                Err(why) => Err(Refused::Item(why)),
            };
            let done = Done::Spawned {
                source_id,
                new,
                item_id,
                begun,
                result,
            };
            // The loop may have left.
            let _ = sender.send(Event::Done(done));
        });
    }

    fn stop(&mut self, run: &Run, stop: &Stop) {
        let stop = stop.clone();
        self.action(run, "stop it", move |runtime, run| runtime.stop(run, &stop));
    }

    fn remove(&mut self, run: &Run, removal: Removal) {
        self.action(run, "remove it", move |runtime, run| {
            runtime.remove(run, removal)
        });
    }

    fn action(
        &mut self,
        run: &Run,
        what: &'static str,
        act: impl FnOnce(&Runtime, &Run) -> Result<(), String> + Send + 'static,
    ) {
        self.in_hand.insert(run.uid.clone());
        let (runtime, sender) = (Arc::clone(&self.runtime), self.sender.clone());
        let run = Box::new(run.clone());
        self.actions.run(move || {
            let result = act(&runtime, &run);
            let _ = sender.send(Event::Done(Done::Acted { run, what, result }));
        });
    }

    /// The last lines of what an agent wrote, without secrets.
    fn tail(&self, run: &Run) -> String {
        let tail = self.runtime.tail(run).unwrap_or_else(|e| {
            debug!(ticket_id = run.item_id, job_name = run.name; "no output of it: {e}");
            vec![]
        });
        let text = String::from_utf8_lossy(&tail);
        let redactor = read(&self.redactor);
        let clean = redactor.clean(&text);
        last_lines(&clean, TAIL_LINES, TAIL_BYTES).to_owned()
    }

    /// Tells the source. True if it knows now.
    fn report(&mut self, outcome: &Outcome, tail: &str, subject: Subject) -> bool {
        let mut outcome = outcome.clone();
        {
            let redactor = read(&self.redactor);
            outcome.reason = redactor.clean(&outcome.reason).into_owned();
            for past in &mut outcome.history {
                past.reason = redactor.clean(&past.reason).into_owned();
            }
        }
        let told = self.source.report(&outcome, tail);
        let now = clock::now();
        match told {
            Ok(()) => {
                self.core.note(now, Note::Told(&subject));
                self.tally.failures.remove(&subject);
                self.tally.failed |= outcome.end == End::Failed;
                // What it blocked may start, and what has changed is wanted.
                self.next_poll = now;
                true
            }
            Err(trouble) => {
                error!(ticket_id = outcome.item_id;
                    "cannot report that it {}: {trouble}", outcome.end.word());
                self.core.note(now, Note::Failed(&subject));
                self.tally.trouble = true;
                *self.tally.failures.entry(subject).or_default() += 1;
                false
            }
        }
    }

    /// Takes in how an action went. True if the loop should look at once.
    fn done(&mut self, done: Done) -> bool {
        let now = clock::now();
        match done {
            Done::Spawned {
                source_id,
                new,
                item_id,
                begun,
                result,
            } => {
                self.starting.remove(&source_id);
                match result {
                    Ok(()) => {
                        debug!(ticket_id = item_id, job_name = new.name; "started");
                        if self.spawn_trouble.over() {
                            info!("agents can be started again");
                        }
                        self.tally.spawn.over();
                        self.core.note(now, Note::Spawned(&source_id));
                        return false;
                    }
                    Err(Refused::Item(why)) => {
                        let (attempt, why) = (new.attempt, why.as_str());
                        let source_id = source_id.as_str();
                        self.core.note(
                            now,
                            Note::Refused {
                                source_id,
                                attempt,
                                begun,
                                why,
                            },
                        );
                        if self.how == How::Once {
                            warn!(ticket_id = item_id, job_name = new.name; "refused: {why}");
                        }
                    }
                    Err(Refused::Everything(why)) => {
                        if self.spawn_trouble.is(&why) {
                            error!("nothing can be started: {why}");
                        }
                        self.tally.spawn.failed(self.next_poll);
                        self.core.note(now, Note::RuntimeRefused(&why));
                    }
                }
                self.tally.trouble = true;
            }
            Done::Acted { run, what, result } => {
                self.in_hand.remove(&run.uid);
                let subject = Subject::Run(run.uid.clone());
                match result {
                    Ok(()) => {
                        self.tally.failures.remove(&subject);
                        self.core.note(now, Note::Done(&subject));
                    }
                    Err(why) => {
                        warn!(ticket_id = run.item_id, job_name = run.name, attempt = run.attempt;
                            "cannot {what}: {why}");
                        self.tally.trouble = true;
                        self.core.note(now, Note::Failed(&subject));
                        *self.tally.failures.entry(subject).or_default() += 1;
                    }
                }
            }
        }
        true
    }

    // --- waiting

    /// Waits until then, until something happens, or until told to leave.
    fn wait(&mut self, until: Stamp) {
        let mut until = until;
        loop {
            let pause = until.since(clock::now());
            match self.events.recv_timeout(pause) {
                Err(_) => return,
                Ok(Event::Leave) => {
                    self.leaving = true;
                    return;
                }
                Ok(Event::Changed) => until = until.min(clock::now().plus(GATHER)),
                Ok(Event::Done(done)) => {
                    let urgent = self.done(done);
                    let gather = match urgent || self.starting.is_empty() {
                        true => Duration::ZERO,
                        false => GATHER_SPAWNS,
                    };
                    until = until.min(clock::now().plus(gather));
                }
            }
        }
    }

    /// Whether the word to leave came between two actions.
    fn told_to_leave(&mut self) -> bool {
        while let Ok(event) = self.events.try_recv() {
            match event {
                Event::Leave => self.leaving = true,
                Event::Changed => {}
                Event::Done(done) => {
                    self.done(done);
                }
            }
        }
        self.leaving
    }

    /// Waits for the actions in hand. Whoever wants that bounded, leaves.
    fn finish(&mut self) {
        while !self.starting.is_empty() || !self.in_hand.is_empty() {
            match self.events.recv() {
                Ok(Event::Done(done)) => {
                    self.done(done);
                }
                Ok(Event::Changed | Event::Leave) => {}
                Err(_) => return,
            }
        }
    }

    // --- ends

    fn spawns_given_up(&self) -> bool {
        self.how == How::UntilDone && self.tally.spawn.are_enough()
    }

    /// Whether only a change from outside could move anything.
    fn is_done(&self, plan: &Plan) -> bool {
        let source_given_up = self.tally.source.are_enough();
        let list_given_up = self.tally.list.are_enough();
        let moves = |verdict: &Verdict| match verdict {
            Verdict::Wait(Waiting::SourceSilent) => !source_given_up,
            Verdict::Wait(Waiting::RuntimeSilent) => !list_given_up,
            Verdict::Wait(Waiting::RuntimeRefuses(_)) | Verdict::Spawn(_) => {
                !self.spawns_given_up()
            }
            Verdict::Wait(Waiting::Again(_)) => {
                self.tally.failures.values().any(|times| *times < TRIES)
            }
            Verdict::Wait(_)
            | Verdict::Keep(_)
            | Verdict::Stop(_)
            | Verdict::Report(_)
            | Verdict::Remove(_)
            | Verdict::Skip(_) => verdict.moves_by_itself(),
        };
        self.starting.is_empty()
            && self.in_hand.is_empty()
            && (self.items.is_some() || source_given_up)
            && (!self.runtime_trouble.is_on() || list_given_up)
            && !plan.items.iter().chain(&plan.runs).any(moves)
            // What was reported just now may let something else begin.
            && clock::now() < self.next_poll
    }

    fn once_ended(&self) -> Ended {
        if self.tally.trouble {
            Ended::Badly
        } else {
            Ended::Well
        }
    }

    fn wait_ended(&self, plan: &Plan) -> Ended {
        let stuck =
            |v: &Verdict| matches!(v, Verdict::Skip(_) | Verdict::Wait(Waiting::Refused { .. }));
        let unreported = |v: &Verdict| {
            matches!(v, Verdict::Wait(Waiting::Again(_) | Waiting::SourceSilent))
                || matches!(v, Verdict::Keep(Keeping::ForRetry(_)))
        };
        let badly = self.tally.failed
            || self.tally.source.are_enough()
            || self.tally.list.are_enough()
            || self.spawns_given_up()
            || self.source.bad_entries() > 0
            || plan.items.iter().any(stuck)
            || plan.runs.iter().any(unreported);
        if badly { Ended::Badly } else { Ended::Well }
    }

    /// One pass that only says what it would do.
    fn dry_run(mut self) -> Ended {
        let (plan, items, _) = self.look();
        let redactor = read(&self.redactor);
        let mut out = String::new();
        for (verdict, item) in plan.items.iter().zip(&items) {
            let Verdict::Spawn(new) = verdict else {
                continue;
            };
            match self.spec(new, item) {
                Ok(spec) => {
                    for warning in &spec.warnings {
                        warn!(ticket_id = item.id, job_name = new.name; "{warning}");
                    }
                    let clean = |text: &str| redactor.clean(text).into_owned();
                    out += &self.runtime.command_line(&spec, &clean);
                    out.push('\n');
                }
                Err(why) => warn!(ticket_id = item.id; "cannot run: {why}"),
            }
        }
        // Whoever reads it may have seen enough.
        let _ = std::io::stdout().write_all(out.as_bytes());
        self.once_ended()
    }
}

fn read(redactor: &RwLock<Redactor>) -> RwLockReadGuard<'_, Redactor> {
    redactor.read().unwrap_or_else(PoisonError::into_inner)
}
