//! Thousands of random worlds around the decision core. Items appear, change
//! and vanish; runs end well, badly or never; actions fail before or after
//! they took effect; source and runtime fall silent; the orchestrator dies
//! between any two actions and starts anew. After every step the promises of
//! the program are checked.
//!
//! A failure prints its seed: `RECAC_TEST_SEED=… cargo test simulation`.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use recac_orchestrator::core::{
    Core, End, Fingerprint, Hold, Item, Limits, NewRun, Note, Outcome, Past, Plan, Removal, Run,
    RunId, Sight, Stamp, Standing, State, Stop, Subject, Verdict, Waiting, run_number,
};

use crate::random::{Random, seed};

/// At least as many as the project promises.
const STEPS: usize = 220_000;
/// Of one world before it is left to come to rest.
const STEPS_OF_A_WORLD: usize = 150;

#[test]
fn simulation_of_random_worlds_keeps_every_promise() {
    let first = seed();
    let mut steps = 0;
    let mut world = 0;
    while steps < STEPS {
        let seed = first.wrapping_add(world);
        let played = catch_unwind(AssertUnwindSafe(|| World::new(seed).play()));
        match played {
            Ok(n) => steps += n,
            Err(_) => panic!("the world of RECAC_TEST_SEED={seed} broke a promise; see above"),
        }
        world += 1;
    }
    println!("{world} worlds, {steps} steps, first seed {first}");
}

/// An item as its source keeps it.
struct Entry {
    present: bool,
    closed: bool,
    version: u64,
    hold: Option<Hold>,
    /// The run would be refused, whatever is tried.
    refused: bool,
}

/// A run as its runtime keeps it.
struct Kept {
    run: Run,
    /// When and how its agent ends, if nobody stops it.
    ends: Option<(Stamp, i32)>,
}

struct World {
    random: Random,
    now: Stamp,
    limits: Limits,
    entries: BTreeMap<String, Entry>,
    kept: Vec<Kept>,
    /// As an outcomes file holds them: a repeat was recognised and left out.
    told: Vec<Outcome>,
    /// Runs really started since the item was last reported.
    started: BTreeMap<String, u32>,
    /// The uids of former attempts, and of which item.
    former: BTreeMap<String, String>,
    uids: u64,
    source_up: bool,
    runtime_up: bool,
    runtime_refuses: bool,
    /// What was told stays for a while, as a Job does.
    keeps_told: bool,
    /// No more trouble: from here on everything has to come to an end.
    calm: bool,
    // The orchestrator.
    core: Core,
    starting: BTreeMap<String, (NewRun, Item)>,
    steps: usize,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let secs = |n| Duration::from_secs(n);
        let limits = Limits {
            owner: "default".into(),
            max_agents: random.below(4) as usize + 1,
            max_attempts: random.below(4) as u32 + 1,
            retry_backoff: secs(random.below(30)),
            agent_timeout: secs(60 + random.below(200)),
            start_timeout: secs(10 + random.below(60)),
            stop_grace: secs(random.below(60)),
            interval: secs(1 + random.below(20)),
        };
        World {
            core: Core::new(limits.clone()),
            keeps_told: random.one_in(2),
            random,
            now: Stamp(1_795_489_507_000),
            limits,
            entries: BTreeMap::new(),
            kept: vec![],
            told: vec![],
            started: BTreeMap::new(),
            former: BTreeMap::new(),
            uids: 0,
            source_up: true,
            runtime_up: true,
            runtime_refuses: false,
            calm: false,
            starting: BTreeMap::new(),
            steps: 0,
        }
    }

    fn play(mut self) -> usize {
        for _ in 0..STEPS_OF_A_WORLD {
            self.trouble();
            self.tick();
            self.now = self
                .now
                .plus(Duration::from_millis(self.random.below(15_000)));
        }
        self.come_to_rest();
        self.steps
    }

    /// Everything that people, agents and machines do meanwhile.
    fn trouble(&mut self) {
        let id = format!("IT-{}", self.random.below(6));
        match self.random.below(16) {
            0..=2 => {
                let version = self.random.below(3);
                let entry = self.entries.entry(id).or_insert(Entry {
                    present: true,
                    closed: false,
                    version,
                    hold: None,
                    refused: false,
                });
                entry.present = true;
                entry.version = version;
            }
            3 => self.change(&id, |e, _| e.present = false),
            4 => self.change(&id, |e, _| e.closed = !e.closed),
            5 => self.change(&id, |e, r| {
                e.hold = match r.below(4) {
                    0 => Some(Hold::Blocked(vec!["IT-9".into()])),
                    1 => Some(Hold::BlockerFailed("IT-9".into())),
                    _ => None,
                }
            }),
            6 => self.change(&id, |e, _| e.refused = !e.refused),
            7 => self.source_up = !self.source_up,
            8 => self.runtime_up = !self.runtime_up,
            9 => self.runtime_refuses = !self.runtime_refuses,
            10 => self.die(),
            11 if !self.kept.is_empty() && self.random.one_in(4) => {
                // A person removes a run: nobody knows of its attempts any more.
                let i = self.random.below(self.kept.len() as u64) as usize;
                let gone = self.kept.remove(i).run;
                if gone.state != State::Told {
                    self.started.remove(&gone.source_id);
                    self.former.retain(|_, id| *id != gone.source_id);
                }
            }
            12 if !self.kept.is_empty() => {
                let i = self.random.below(self.kept.len() as u64) as usize;
                let run = &mut self.kept[i].run;
                let mut back = None;
                match &mut run.state {
                    State::Running { orphaned, .. } => *orphaned = true,
                    // Whoever was about to start its agent dies.
                    State::Pending { .. } if run.stop.is_none() => {
                        run.state = State::Unborn;
                        let (id, number) = (run.source_id.clone(), run.number);
                        back = Some((id, number));
                        if let Some(started) = self.started.get_mut(&run.source_id) {
                            *started = started.saturating_sub(1);
                        }
                    }
                    _ => {}
                }
                // The attempt before it is the last one again.
                if let Some((id, number)) = back {
                    let runs = self.kept.iter().map(|k| &k.run);
                    let before = runs.filter(|r| r.source_id == id && r.number < number);
                    if let Some(last) = before.max_by_key(|r| r.number) {
                        self.former.remove(&last.uid);
                    }
                }
            }
            _ => {}
        }
    }

    fn change(&mut self, id: &str, how: impl Fn(&mut Entry, &mut Random)) {
        if let Some(entry) = self.entries.get_mut(id) {
            how(entry, &mut self.random);
        }
    }

    /// The orchestrator is killed and starts anew. What it had begun to start
    /// happens or does not; the next one waits until that is decided.
    fn die(&mut self) {
        for (_, (new, item)) in std::mem::take(&mut self.starting) {
            if self.random.one_in(2) {
                let _ = self.start(&new, &item);
            }
        }
        self.core = Core::new(self.limits.clone());
    }

    fn die_sometimes(&mut self) -> bool {
        let dies = !self.calm && self.random.one_in(25);
        if dies {
            self.die();
        }
        dies
    }

    // --- the source

    fn item(&self, id: &str) -> Option<Item> {
        let entry = self.entries.get(id).filter(|e| e.present && !e.closed)?;
        let fingerprint = Fingerprint(entry.version);
        let last = self.told.iter().rev().find(|o| o.source_id == id);
        if last.is_some_and(|o| o.fingerprint == fingerprint) {
            return None;
        }
        Some(Item {
            id: id.into(),
            source_id: id.into(),
            summary: String::new(),
            description: String::new(),
            repo_url: None,
            url: None,
            env: BTreeMap::new(),
            facts: vec![],
            fingerprint,
            hold: entry.hold.clone(),
        })
    }

    fn standing(&self, id: &str) -> Standing {
        match (self.item(id), self.entries.get(id)) {
            (Some(item), _) => Standing::Wanted(Box::new(item)),
            (None, Some(e)) if e.present && e.closed => Standing::Withdrawn("it is closed".into()),
            (None, _) => Standing::Gone,
        }
    }

    fn tell(&mut self, outcome: &Outcome) {
        let repeat = match &outcome.run {
            Some(run) => self.told.iter().any(|o| o.run.as_ref() == Some(run)),
            None => self.told.iter().any(|o| o == outcome),
        };
        if repeat {
            return;
        }
        if let Some(run) = &outcome.run {
            let former = self.former.contains_key(&run.uid);
            assert!(!former, "not the last attempt: {outcome:#?}");
        }
        let attempts = outcome.history.len() as u32 + 1;
        assert_eq!(
            outcome.attempts, attempts,
            "history and count differ: {outcome:#?}"
        );
        assert!(outcome.attempts <= self.limits.max_attempts, "{outcome:#?}");
        self.started.remove(&outcome.source_id);
        self.told.push(outcome.clone());
    }

    // --- the runtime

    fn start(&mut self, new: &NewRun, item: &Item) -> Result<(), ()> {
        if self.kept.iter().any(|k| k.run.name == new.name) {
            return Err(());
        }
        assert_eq!(run_number("default", &item.id, &new.name), Some(new.number));
        let now = self.now;
        let state = match self.random.below(8) {
            0 if !self.calm => State::Unborn,
            1 => State::Pending {
                since: now,
                why: Some("no node".into()),
                suspended: false,
            },
            _ => State::Running {
                since: now,
                orphaned: false,
            },
        };
        if state != State::Unborn {
            *self.started.entry(item.source_id.clone()).or_default() += 1;
            let born = self.kept.iter().map(|k| &k.run);
            let born = born.filter(|r| r.source_id == item.source_id && r.state != State::Unborn);
            let former = born.map(|r| (r.uid.clone(), r.source_id.clone()));
            self.former.extend(former);
        }
        let after = now.plus(Duration::from_secs(1 + self.random.below(90)));
        let code = *self.random.pick(&[0, 0, 0, 1, 1, 1, 78, 137]);
        let never = self.random.one_in(8);
        let waits = matches!(state, State::Pending { .. });
        self.uids += 1;
        self.kept.push(Kept {
            run: Run {
                name: new.name.clone(),
                uid: format!("u{}", self.uids),
                item_id: item.id.clone(),
                source_id: item.source_id.clone(),
                number: new.number,
                attempt: new.attempt,
                fingerprint: item.fingerprint,
                // Through its text, as a label keeps it.
                history: Past::of_text(&Past::to_text(&new.history)),
                stop: None,
                state,
            },
            ends: (!waits && !never).then_some((after, code)),
        });
        Ok(())
    }

    /// Agents whose time has come end.
    fn pass_time(&mut self) {
        for kept in &mut self.kept {
            if let (Some((at, code)), true) = (kept.ends, kept.run.is_live())
                && at <= self.now
            {
                let started = match kept.run.state {
                    State::Running { since, .. } => Some(since),
                    _ => None,
                };
                let state = State::Ended {
                    started,
                    at,
                    exit_code: Some(code),
                    why: None,
                };
                kept.run.state = state;
            }
        }
    }

    fn stop(&mut self, uid: &str, stop: &Stop) {
        let lost = !self.calm && self.random.one_in(10);
        let (now, slow) = (self.now, self.random.below(12));
        let code = *self.random.pick(&[143, 137, 0]);
        if let Some(kept) = self.kept.iter_mut().find(|k| k.run.uid == uid) {
            kept.run.stop = (!lost).then(|| stop.clone());
            let at = now.plus(Duration::from_secs(slow));
            kept.ends = Some(kept.ends.map_or((at, code), |ends| ends.min((at, code))));
        }
    }

    // --- the orchestrator

    fn tick(&mut self) -> Plan {
        self.steps += 1;
        self.pass_time();
        self.finish_spawns();
        let items: Option<Vec<Item>> = self
            .source_up
            .then(|| self.entries.keys().filter_map(|id| self.item(id)).collect());
        if let Some(items) = &items {
            self.core.note(self.now, Note::Polled(items));
        }
        let mut runs: Option<Vec<Run>> = self
            .runtime_up
            .then(|| self.kept.iter().map(|k| k.run.clone()).collect());
        // In any order, and so is what is done with them.
        if let (Some(runs), true) = (&mut runs, self.random.one_in(2)) {
            runs.reverse();
        }
        let mut standings = BTreeMap::new();
        if let (Some(items), Some(runs)) = (&items, &runs) {
            self.core.note(self.now, Note::Listed(runs));
            for run in runs {
                if !items.iter().any(|i| i.source_id == run.source_id)
                    && (self.calm || !self.random.one_in(10))
                {
                    let standing = self.standing(&run.source_id);
                    self.core
                        .note(self.now, Note::LookedUp(&run.source_id, &standing));
                    standings.insert(run.source_id.clone(), standing);
                }
            }
        }
        let starting = self
            .starting
            .iter()
            .map(|(id, (new, _))| (id.clone(), new.name.clone()))
            .collect();
        let sight = Sight {
            items: items.as_deref(),
            standings: &standings,
            runs: runs.as_deref(),
            starting: &starting,
            in_hand: &BTreeSet::new(),
        };
        let plan = self.core.decide(self.now, &sight);
        self.check_plan(&plan, &sight);
        self.act(
            &plan,
            items.as_deref().unwrap_or_default(),
            runs.as_deref().unwrap_or_default(),
        );
        self.check_world();
        plan
    }

    fn finish_spawns(&mut self) {
        let all = self.calm;
        for id in self.starting.keys().cloned().collect::<Vec<_>>() {
            if !all && self.random.one_in(2) {
                continue;
            }
            let (new, item) = self.starting.remove(&id).unwrap();
            if self.runtime_refuses {
                self.core
                    .note(self.now, Note::RuntimeRefused("the daemon is ill"));
                continue;
            }
            let refused = self.entries.get(&id).is_some_and(|e| e.refused);
            let before = !self.calm && self.random.one_in(10);
            let after = !self.calm && self.random.one_in(10);
            if refused || before || self.start(&new, &item).is_err() || after {
                let note = Note::Refused {
                    source_id: &id,
                    attempt: new.attempt,
                    begun: self.now,
                    why: "no such image",
                };
                self.core.note(self.now, note);
            } else {
                self.core.note(self.now, Note::Spawned(&id));
            }
        }
    }

    fn act(&mut self, plan: &Plan, items: &[Item], runs: &[Run]) {
        for (verdict, run) in plan.runs.iter().zip(runs) {
            let subject = Subject::Run(run.uid.clone());
            match verdict {
                Verdict::Stop(stop) => {
                    if self.die_sometimes() {
                        return;
                    }
                    if !self.calm && self.random.one_in(6) {
                        self.core.note(self.now, Note::Failed(&subject));
                        continue;
                    }
                    self.stop(&run.uid, stop);
                    self.core.note(self.now, Note::Done(&subject));
                }
                Verdict::Report(outcome) if !self.report(outcome, &subject) => {
                    return;
                }
                Verdict::Remove(removal) => {
                    if *removal == Removal::Unborn {
                        assert_eq!(run.state, State::Unborn);
                    }
                    if self.die_sometimes() {
                        return;
                    }
                    if !self.calm && self.random.one_in(3) {
                        self.core.note(self.now, Note::Failed(&subject));
                        continue;
                    }
                    let same = |k: &Kept| k.run.uid == run.uid;
                    match self.kept.iter_mut().find(|k| same(k)) {
                        Some(kept) if self.keeps_told && *removal == Removal::Told => {
                            kept.run.state = State::Told;
                        }
                        _ => self.kept.retain(|k| !same(k)),
                    }
                    self.core.note(self.now, Note::Done(&subject));
                }
                _ => {}
            }
        }
        for (verdict, item) in plan.items.iter().zip(items) {
            match verdict {
                Verdict::Report(outcome)
                    if !self.report(outcome, &Subject::Item(item.source_id.clone())) =>
                {
                    return;
                }
                Verdict::Spawn(new) => {
                    if self.die_sometimes() {
                        return;
                    }
                    // The fresh look: reports of this very pass count.
                    if let Standing::Wanted(item) = self.standing(&item.source_id) {
                        self.starting
                            .insert(item.source_id.clone(), (new.clone(), *item));
                    }
                }
                _ => {}
            }
        }
    }

    /// Report first, remove later; false if the orchestrator died meanwhile.
    fn report(&mut self, outcome: &Outcome, subject: &Subject) -> bool {
        if self.die_sometimes() {
            return false;
        }
        if !self.calm && self.random.one_in(6) {
            self.core.note(self.now, Note::Failed(subject));
            return true;
        }
        self.tell(outcome);
        if self.die_sometimes() {
            return false;
        }
        if !self.calm && self.random.one_in(6) {
            // It took effect, and we do not know.
            self.core.note(self.now, Note::Failed(subject));
            return true;
        }
        self.core.note(self.now, Note::Told(subject));
        true
    }

    // --- the promises

    fn check_plan(&mut self, plan: &Plan, sight: &Sight<'_>) {
        assert_eq!(
            plan,
            &self.core.decide(self.now, sight),
            "same sight, same plan"
        );
        assert_eq!(plan.items.len(), sight.items.map_or(0, <[Item]>::len));
        assert_eq!(plan.runs.len(), sight.runs.map_or(0, <[Run]>::len));
        for verdict in plan.items.iter().chain(&plan.runs) {
            assert!(!verdict.to_string().is_empty());
            if let Verdict::Wait(Waiting::Slot { live, max }) = verdict {
                assert!(live >= max, "waits for a slot that is free: {verdict}");
            }
            if sight.runs.is_none() {
                assert_eq!(*verdict, Verdict::Wait(Waiting::RuntimeSilent));
            }
        }
        // Nothing changes by itself before the moment to wake at.
        if let Some(wake) = plan.wake {
            assert!(wake > self.now);
            let within = self.random.below(wake.0 - self.now.0);
            let later = self.core.decide(Stamp(self.now.0 + within), sight);
            let still = |v: &Verdict| match v {
                Verdict::Stop(stop) => Verdict::Stop(Stop {
                    at: Stamp(0),
                    ..stop.clone()
                }),
                other => other.clone(),
            };
            let all = |p: &Plan| p.items.iter().chain(&p.runs).map(still).collect::<Vec<_>>();
            assert_eq!(all(plan), all(&later), "a verdict changed before {wake}");
        }
    }

    fn check_world(&self) {
        let live: Vec<&Run> = self
            .kept
            .iter()
            .map(|k| &k.run)
            .filter(|r| r.is_live())
            .collect();
        let items: BTreeSet<&str> = live.iter().map(|r| r.source_id.as_str()).collect();
        assert_eq!(
            items.len(),
            live.len(),
            "two live runs of one item: {live:#?}"
        );
        let starting = self.starting.len();
        assert!(
            live.len() + starting <= self.limits.max_agents,
            "{} live and {starting} starting, of {}",
            live.len(),
            self.limits.max_agents
        );
        for (id, started) in &self.started {
            assert!(
                *started <= self.limits.max_attempts,
                "{id} was started {started} times"
            );
        }
        let markers: BTreeSet<&RunId> = self.told.iter().filter_map(|o| o.run.as_ref()).collect();
        let with_run = self.told.iter().filter(|o| o.run.is_some()).count();
        assert_eq!(markers.len(), with_run, "one run was told twice");
        for outcome in &self.told {
            if outcome.end == End::Stopped {
                assert!(outcome.reason.contains("closed"), "{outcome:#?}");
            }
        }
    }

    /// With no more trouble every item that is wanted and can run gets its
    /// outcome, and nothing is left over. Time only moves to the moments the
    /// plan asks for, to the next poll, or to the end of an agent.
    fn come_to_rest(&mut self) {
        self.calm = true;
        self.source_up = true;
        self.runtime_up = true;
        self.runtime_refuses = false;
        let orphaned = |k: &Kept| matches!(k.run.state, State::Running { orphaned: true, .. });
        for entry in self.entries.values_mut() {
            if matches!(entry.hold, Some(Hold::Blocked(_))) {
                entry.hold = None;
            }
        }
        for _ in 0..2000 {
            let plan = self.tick();
            let moves = plan
                .items
                .iter()
                .chain(&plan.runs)
                .any(Verdict::moves_by_itself);
            if !moves && self.starting.is_empty() {
                self.check_rest(&plan);
                return;
            }
            let poll = self.now.plus(self.limits.interval);
            let ends = self
                .kept
                .iter()
                .filter(|k| k.run.is_live())
                .filter_map(|k| k.ends);
            let next = ends.map(|(at, _)| at).chain(plan.wake).chain([poll]).min();
            self.now = next
                .unwrap_or(poll)
                .max(self.now.plus(Duration::from_millis(1)));
        }
        let odd: Vec<&Run> = self
            .kept
            .iter()
            .filter(|k| !orphaned(k))
            .map(|k| &k.run)
            .collect();
        panic!("never came to rest: {odd:#?}");
    }

    fn check_rest(&self, plan: &Plan) {
        let told = |k: &Kept| k.run.state == State::Told;
        assert!(self.kept.iter().all(told), "left over: {:#?}", plan.runs);
        for id in self.entries.keys() {
            if let Standing::Wanted(item) = self.standing(id) {
                assert!(
                    item.hold.is_some_and(|h| h.lasts()),
                    "{id} was never reported"
                );
            }
        }
    }
}
