//! What to do next. Told what is wanted, what runs and what time it is, says
//! what becomes of every item and every run.
//!
//! Never looks at a clock, never does I/O, starts no thread, imports nothing of
//! this program.

mod item;
mod memory;
mod name;
mod outcome;
mod run;
mod stamp;
#[cfg(test)]
mod tests;
mod verdict;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

pub use item::{Fingerprint, Hold, Item, Standing};
pub use memory::{Note, Subject};
pub use name::{id_hash, run_name, run_number};
pub use outcome::{End, Outcome, RunId};
pub use run::{Past, Run, State, Stop, StopCause};
pub use stamp::Stamp;
pub use verdict::{Keeping, NewRun, Removal, Verdict, Waiting, explain, spell};

use memory::Memory;

/// The agent's own word for "trying again is of no use".
const PERMANENT: i32 = 78;
/// The longest pause before another attempt.
const LONGEST_BACKOFF: Duration = Duration::from_secs(3600);
/// A run that still lives this long after its stop was asked for is stopped
/// once more: whoever asked may have died before the runtime heard of it.
const STOP_AGAIN: Duration = Duration::from_secs(30);

/// The numbers of the command line that bound what is done.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `--owner`: part of every run's name.
    pub owner: String,
    /// `--max-agents`
    pub max_agents: usize,
    /// `--max-attempts`, at least 1
    pub max_attempts: u32,
    /// `--retry-backoff`
    pub retry_backoff: Duration,
    /// `--agent-timeout`
    pub agent_timeout: Duration,
    /// `--start-timeout`
    pub start_timeout: Duration,
    /// `--stop-grace`
    pub stop_grace: Duration,
    /// `--interval`: the pause after a refusal
    pub interval: Duration,
}

/// All that is visible at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// What the source wants, in its order; `None` while it cannot be read.
    pub items: Option<&'a [Item]>,
    /// What the source said, by source id, of the items of runs that are not
    /// among `items`.
    pub standings: &'a BTreeMap<String, Standing>,
    /// What the runtime shows; `None` while it cannot be listed.
    pub runs: Option<&'a [Run]>,
    /// Spawns under way: the source id of the item, the name of the run.
    pub starting: &'a BTreeMap<String, String>,
    /// The uids of runs on which an action is under way.
    pub in_hand: &'a BTreeSet<String>,
}

/// What becomes of everything that was shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// A verdict for each of [`Sight::items`], in their order.
    pub items: Vec<Verdict>,
    /// A verdict for each of [`Sight::runs`], in their order.
    pub runs: Vec<Verdict>,
    /// Live runs, those being started included.
    pub live: usize,
    /// When another verdict may follow though nothing else has changed.
    pub wake: Option<Stamp>,
}

/// The decisions, with what they remember between two looks. Losing that
/// memory delays, and neither loses nor doubles anything.
#[derive(Debug)]
pub struct Core {
    limits: Limits,
    memory: Memory,
}

/// What is known of the item of a run.
#[derive(Clone, Copy)]
enum Seen<'a> {
    Wanted(&'a Item),
    Withdrawn(&'a str),
    Gone,
    /// The source did not say.
    Unasked,
    /// The source cannot be read at all.
    Silent,
}

/// How a run stands among those of its item.
#[derive(Clone, Copy)]
struct Age {
    /// None that was born is older.
    oldest: bool,
    rank: Rank,
}

/// Which run of an item remembers its attempts.
#[derive(Clone, Copy, PartialEq)]
enum Rank {
    /// No later one is there.
    Newest,
    /// A later one is there, whose agent may never be started: until it is,
    /// this one remembers the attempts.
    Followed,
    /// A later one has taken over what it remembered.
    Superseded,
}

/// What an item's runs leave to be done for the item.
enum Next {
    /// The run's own verdict comes first.
    AfterRun,
    /// Another attempt, not before `from`.
    Try {
        from: Stamp,
        attempt: u32,
        history: Vec<Past>,
    },
}

/// Collects the earliest of the moments that matter.
#[derive(Default)]
struct Wake(Option<Stamp>);

impl Wake {
    fn at(&mut self, stamp: Stamp) {
        self.0 = Some(self.0.map_or(stamp, |earlier| earlier.min(stamp)));
    }

    /// Whether `due` has come; if not, it is a moment to wake at.
    fn reached(&mut self, now: Stamp, due: Stamp) -> bool {
        if due > now {
            self.at(due);
        }
        due <= now
    }
}

impl Core {
    /// Decisions under these limits, with an empty memory.
    #[must_use]
    pub fn new(limits: Limits) -> Core {
        Core {
            limits,
            memory: Memory::default(),
        }
    }

    /// Takes in how an action went, or what was seen, so that the next
    /// decision knows.
    pub fn note(&mut self, now: Stamp, note: Note<'_>) {
        self.memory.note(now, note, &self.limits);
    }

    /// One verdict for every item and every run. Made from the whole picture
    /// each time, so a missed event or a restart costs a look and nothing else.
    #[must_use]
    pub fn decide(&self, now: Stamp, sight: &Sight<'_>) -> Plan {
        let items = sight.items.unwrap_or_default();
        let Some(runs) = sight.runs else {
            let items = items
                .iter()
                .map(|_| Verdict::Wait(Waiting::RuntimeSilent))
                .collect();
            return Plan {
                items,
                runs: vec![],
                live: sight.starting.len(),
                wake: None,
            };
        };
        let mut wake = Wake::default();
        let live_names: BTreeSet<&str> = runs
            .iter()
            .filter(|r| r.is_live())
            .map(|r| r.name.as_str())
            .collect();
        let unseen = sight
            .starting
            .values()
            .filter(|name| !live_names.contains(name.as_str()));
        let live = live_names.len() + unseen.count();

        let mut of_item: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (i, run) in runs.iter().enumerate() {
            of_item.entry(&run.source_id).or_default().push(i);
        }
        let mut wanted: BTreeMap<&str, &Item> = BTreeMap::new();
        if !of_item.is_empty() {
            let with_runs = items
                .iter()
                .filter(|i| of_item.contains_key(i.source_id.as_str()));
            // Backwards, for of an item that is listed twice the first counts.
            wanted.extend(with_runs.rev().map(|i| (i.source_id.as_str(), i)));
        }

        let mut verdicts = vec![Verdict::Keep(Keeping::Told); runs.len()];
        let mut next: BTreeMap<&str, Next> = BTreeMap::new();
        for (source_id, indices) in &of_item {
            let seen = match (sight.items, wanted.get(source_id)) {
                (None, _) => Seen::Silent,
                (_, Some(item)) => Seen::Wanted(item),
                (Some(_), None) => match sight.standings.get(*source_id) {
                    Some(Standing::Wanted(item)) => Seen::Wanted(item),
                    Some(Standing::Withdrawn(why)) => Seen::Withdrawn(why),
                    Some(Standing::Gone) => Seen::Gone,
                    None => Seen::Unasked,
                },
            };
            let untold = indices
                .iter()
                .filter_map(|i| runs.get(*i).map(|run| (*i, run)));
            let mut untold: Vec<_> = untold.filter(|(_, r)| r.state != State::Told).collect();
            // A claim that came to nothing has taken over nothing.
            let born = untold.iter().filter(|(_, run)| run.state != State::Unborn);
            let by_age = |(_, run): &&(usize, &Run)| (run.number, run.uid.clone());
            let oldest = born.clone().min_by_key(by_age).map(|(i, _)| *i);
            let newest = born.max_by_key(by_age).map(|(i, run)| (*i, *run));
            // The last one says what is left for the item: a live one, if any.
            untold.sort_by_key(|(_, run)| (run.is_live(), run.number, &run.uid));
            for (i, run) in untold {
                let rank = match newest {
                    Some((newest, _)) if newest == i => Rank::Newest,
                    // It may still come to nothing, too.
                    Some((_, newest)) if matches!(newest.state, State::Pending { .. }) => {
                        Rank::Followed
                    }
                    _ => Rank::Superseded,
                };
                let oldest = Some(i) == oldest;
                let age = Age { oldest, rank };
                let (verdict, then) = self.of_run(now, run, age, seen, sight, &mut wake);
                if let Some(slot) = verdicts.get_mut(i) {
                    *slot = verdict;
                }
                next.insert(source_id, then);
            }
        }

        let mut slots = Slots {
            live,
            max: self.limits.max_agents,
        };
        let mut listed = BTreeSet::new();
        let items = items
            .iter()
            .map(|item| {
                if !listed.insert(item.source_id.as_str()) {
                    return Verdict::Wait(Waiting::ListedTwice);
                }
                let numbers = of_item.get(item.source_id.as_str()).into_iter().flatten();
                let highest = numbers.filter_map(|i| runs.get(*i)).map(|r| r.number).max();
                let next = next.remove(item.source_id.as_str());
                self.of_item(now, item, highest, next, sight, &mut slots, &mut wake)
            })
            .collect();
        Plan {
            items,
            runs: verdicts,
            live,
            wake: wake.0,
        }
    }

    fn of_run(
        &self,
        now: Stamp,
        run: &Run,
        age: Age,
        seen: Seen<'_>,
        sight: &Sight<'_>,
        wake: &mut Wake,
    ) -> (Verdict, Next) {
        let first = |verdict| (verdict, Next::AfterRun);
        let keep = |keeping| first(Verdict::Keep(keeping));
        if sight.in_hand.contains(&run.uid) || sight.starting.get(&run.source_id) == Some(&run.name)
        {
            return keep(Keeping::InHand);
        }
        if let Some(until) = self.memory.again(&Subject::Run(run.uid.clone()))
            && !wake.reached(now, until)
        {
            return first(Verdict::Wait(Waiting::Again(until)));
        }
        let due = |stop: Stop| first(Verdict::Stop(stop));
        let stop = |cause, why| Stop {
            cause,
            why,
            at: now,
        };
        if let Some(asked) = run.stop.as_ref().filter(|_| run.is_live()) {
            return if wake.reached(now, asked.at.plus(STOP_AGAIN)) {
                due(stop(asked.cause, asked.why.clone()))
            } else {
                keep(Keeping::Stopping)
            };
        }
        match &run.state {
            State::Told => keep(Keeping::Told),
            State::Unborn => first(Verdict::Remove(Removal::Unborn)),
            // Without it, a former attempt would look like one that nobody has
            // heard about.
            State::Ended { .. } if self.memory.is_told(run) && !age.oldest => keep(Keeping::Last),
            State::Ended { .. } if self.memory.is_told(run) => {
                first(Verdict::Remove(Removal::Told))
            }
            State::Ended { .. } if age.rank == Rank::Superseded => {
                first(Verdict::Remove(Removal::Superseded))
            }
            State::Ended {
                started,
                at,
                exit_code,
                why,
            } => {
                let ended = Ended {
                    run,
                    started: *started,
                    at: *at,
                    exit_code: *exit_code,
                };
                match age.rank {
                    Rank::Followed => {
                        let (_, reason) = self.reason(&ended, why.as_deref(), seen);
                        keep(Keeping::ForRetry(reason))
                    }
                    Rank::Newest | Rank::Superseded => self.of_ended(&ended, why.as_deref(), seen),
                }
            }
            State::Running { orphaned: true, .. } => {
                due(stop(StopCause::Orphaned, "its supervisor died".to_owned()))
            }
            State::Pending {
                since,
                why,
                suspended,
            } => {
                let limit = self.limits.start_timeout;
                if !suspended && wake.reached(now, since.plus(limit)) {
                    let why = why.as_ref().map(|w| format!(": {w}")).unwrap_or_default();
                    let why = format!("not started within {}{why}", spell(limit));
                    return due(stop(StopCause::StartTimeout, why));
                }
                self.of_live(now, run, seen, Keeping::Pending(why.clone()), wake)
            }
            State::Running { since, .. } => {
                let limit = self.limits.agent_timeout;
                if wake.reached(now, since.plus(limit)) {
                    return due(stop(StopCause::AgentTimeout, timed_out(limit)));
                }
                self.of_live(now, run, seen, Keeping::Running, wake)
            }
        }
    }

    /// A run that lives within its limits: stopped only where a person took
    /// its item back and the grace is over.
    fn of_live(
        &self,
        now: Stamp,
        run: &Run,
        seen: Seen<'_>,
        otherwise: Keeping,
        wake: &mut Wake,
    ) -> (Verdict, Next) {
        let keeping = match (seen, self.memory.withdrawn(&run.source_id)) {
            (Seen::Withdrawn(why), Some(since)) => {
                let until = since.plus(self.limits.stop_grace);
                if wake.reached(now, until) {
                    let why = stopped_because(why);
                    let stop = Stop {
                        cause: StopCause::Withdrawn,
                        why,
                        at: now,
                    };
                    return (Verdict::Stop(stop), Next::AfterRun);
                }
                Keeping::Grace {
                    until,
                    why: why.to_owned(),
                }
            }
            _ => otherwise,
        };
        (Verdict::Keep(keeping), Next::AfterRun)
    }

    fn of_ended(&self, ended: &Ended<'_>, why: Option<&str>, seen: Seen<'_>) -> (Verdict, Next) {
        let wait = (Verdict::Wait(Waiting::SourceSilent), Next::AfterRun);
        if matches!(seen, Seen::Silent) {
            return wait;
        }
        let Ended {
            run, at, exit_code, ..
        } = *ended;
        let (cause, reason) = self.reason(ended, why, seen);
        let report = |end, reason: String| {
            let outcome = ended.outcome(end, reason, vec![]);
            (Verdict::Report(Box::new(outcome)), Next::AfterRun)
        };
        match cause {
            Some(StopCause::Withdrawn) => return report(End::Stopped, reason),
            None if exit_code == Some(0) && why.is_none() => {
                return report(End::Succeeded, reason);
            }
            None if exit_code == Some(PERMANENT) => return report(End::Failed, reason),
            Some(StopCause::AgentTimeout | StopCause::StartTimeout | StopCause::Orphaned)
            | None => {}
        }
        // The attempts of this round: those the run remembers, itself, and
        // those the runtime has refused since.
        let refused = self.memory.refused_attempts(&run.source_id);
        let mut attempts = run.history.clone();
        attempts.push(ended.past(&reason));
        attempts.extend_from_slice(refused);
        let made = run.attempt.saturating_add(count(refused));
        let last = refused.last().map_or(reason, |past| past.reason.clone());
        let report = |reason: String| {
            let outcome = match refused {
                [] => ended.outcome(End::Failed, reason, vec![]),
                _ => ended.outcome(End::Failed, reason, attempts.clone()),
            };
            (Verdict::Report(Box::new(outcome)), Next::AfterRun)
        };
        if made >= self.limits.max_attempts {
            return report(last);
        }
        let no_more = |why: &str| report(format!("{last}; not tried again: {why}"));
        match seen {
            Seen::Silent | Seen::Unasked => wait,
            Seen::Gone => no_more("the item is not wanted any more"),
            Seen::Withdrawn(why) => no_more(why),
            Seen::Wanted(Item {
                hold: Some(hold), ..
            }) if hold.lasts() => no_more(&hold.to_string()),
            Seen::Wanted(_) => {
                let end = refused.last().map_or(at, Past::ended);
                let from = end.plus(self.backoff(&run.name, made));
                let attempt = made.saturating_add(1);
                let next = Next::Try {
                    from,
                    attempt,
                    history: attempts,
                };
                (Verdict::Keep(Keeping::ForRetry(last)), next)
            }
        }
    }

    /// Which rule ended the run, if one did, and why it ended in any case.
    fn reason(
        &self,
        ended: &Ended<'_>,
        why: Option<&str>,
        seen: Seen<'_>,
    ) -> (Option<StopCause>, String) {
        let (cause, stopped) = self.stopped(ended, seen).unzip();
        let reason = stopped
            .or(why.map(str::to_owned))
            .unwrap_or_else(|| explain(ended.exit_code));
        (cause, reason)
    }

    /// Which rule ended the run, if one did, and in which words.
    fn stopped(&self, ended: &Ended<'_>, seen: Seen<'_>) -> Option<(StopCause, String)> {
        // What ended before the stop was asked for ended by itself.
        if let Some(stop) = ended.run.stop.as_ref().filter(|stop| stop.at <= ended.at) {
            return Some((stop.cause, stop.why.clone()));
        }
        // The note on why it was stopped can get lost: then it follows again
        // from what is there to see.
        let limit = self.limits.agent_timeout;
        let took = ended
            .started
            .map_or(Duration::ZERO, |started| ended.at.since(started));
        match seen {
            _ if !ended.was_killed() => None,
            _ if took >= limit => Some((StopCause::AgentTimeout, timed_out(limit))),
            Seen::Withdrawn(why) => Some((StopCause::Withdrawn, stopped_because(why))),
            Seen::Wanted(_) | Seen::Gone | Seen::Unasked | Seen::Silent => None,
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one pass over the items, with all it needs"
    )]
    fn of_item(
        &self,
        now: Stamp,
        item: &Item,
        highest: Option<u32>,
        next: Option<Next>,
        sight: &Sight<'_>,
        slots: &mut Slots,
        wake: &mut Wake,
    ) -> Verdict {
        let wait = Verdict::Wait;
        if sight.starting.contains_key(&item.source_id) {
            return wait(Waiting::Starting);
        }
        let refused = self.memory.refused_attempts(&item.source_id);
        let (from, attempt, history) = match next {
            Some(Next::AfterRun) => return wait(Waiting::HasRun),
            Some(Next::Try {
                from,
                attempt,
                history,
            }) => (from, attempt, history),
            None => {
                if let Some(until) = self.memory.again(&Subject::Item(item.source_id.clone()))
                    && !wake.reached(now, until)
                {
                    return wait(Waiting::Again(until));
                }
                match refused.split_last() {
                    None => (now, 1, vec![]),
                    Some((last, former)) if count(refused) >= self.limits.max_attempts => {
                        return Verdict::Report(Box::new(never_ran(item, last, former)));
                    }
                    Some((last, _)) => {
                        let name = run_name(&self.limits.owner, &item.id, 1);
                        let from = last.ended().plus(self.backoff(&name, count(refused)));
                        (from, count(refused).saturating_add(1), refused.to_vec())
                    }
                }
            }
        };
        if let Some(hold) = &item.hold {
            let hold = hold.clone();
            return if hold.lasts() {
                Verdict::Skip(hold)
            } else {
                wait(Waiting::Held(hold))
            };
        }
        if !wake.reached(now, from) {
            return wait(Waiting::Rest {
                until: from,
                attempt,
            });
        }
        if let Some((since, why, until)) = self.memory.refusal(&item.source_id)
            && !wake.reached(now, until)
        {
            return wait(Waiting::Refused {
                since,
                why: why.to_owned(),
            });
        }
        if let Some((why, until)) = self.memory.runtime_refusal()
            && !wake.reached(now, until)
        {
            return wait(Waiting::RuntimeRefuses(why.to_owned()));
        }
        if !slots.take() {
            return wait(Waiting::Slot {
                live: slots.live,
                max: slots.max,
            });
        }
        let number = highest.unwrap_or(0).saturating_add(1);
        let name = run_name(&self.limits.owner, &item.id, number);
        Verdict::Spawn(NewRun {
            name,
            number,
            attempt,
            history,
        })
    }

    /// The pause after attempt `n`: doubling, bounded, and spread by ±20 % so
    /// that what failed together does not come back together. Derived from the
    /// run's name, so that it is the same after a restart.
    fn backoff(&self, name: &str, n: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(n.saturating_sub(1));
        let plain = self
            .limits
            .retry_backoff
            .saturating_mul(doubled)
            .min(LONGEST_BACKOFF);
        let spread = name::fnv64::add(name::fnv64::START, name.as_bytes()) % 401;
        let permille = 800 + u32::try_from(spread).unwrap_or(200);
        (plain.saturating_mul(permille) / 1000).min(LONGEST_BACKOFF)
    }
}

impl Run {
    /// Whether it counts against `--max-agents`.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.state, State::Pending { .. } | State::Running { .. })
    }

    /// Whether its agent ever ran in this round: what is only pending may come
    /// to nothing, and what was told is of an earlier one.
    #[must_use]
    pub fn was_started(&self) -> bool {
        !matches!(
            self.state,
            State::Pending { .. } | State::Unborn | State::Told
        )
    }

    /// Whether it is a former attempt at the item of `later`. It has to go
    /// first, for without a later one it looks like one to be reported.
    #[must_use]
    pub fn is_former(&self, later: &Run) -> bool {
        self.source_id == later.source_id
            && self.number < later.number
            && !matches!(self.state, State::Told | State::Unborn)
    }

    /// What tells it from every other run.
    #[must_use]
    pub fn run_id(&self) -> RunId {
        RunId {
            name: self.name.clone(),
            uid: self.uid.clone(),
        }
    }
}

/// The places that are taken, those given away in this pass included.
struct Slots {
    live: usize,
    max: usize,
}

impl Slots {
    fn take(&mut self) -> bool {
        let free = self.live < self.max;
        self.live += usize::from(free);
        free
    }
}

/// A run that has ended, opened up.
#[derive(Clone, Copy)]
struct Ended<'a> {
    run: &'a Run,
    started: Option<Stamp>,
    at: Stamp,
    exit_code: Option<i32>,
}

impl Ended<'_> {
    /// By one of the signals with which a run is stopped.
    fn was_killed(&self) -> bool {
        matches!(self.exit_code, Some(137 | 143))
    }

    fn past(&self, reason: &str) -> Past {
        let started = self.started.unwrap_or(self.at);
        Past::new(self.run.attempt, started, self.at, self.exit_code, reason)
    }

    /// How the round ended. `attempts`, where there are any, are all of them,
    /// and the last is one that the runtime refused.
    fn outcome(&self, end: End, reason: String, mut attempts: Vec<Past>) -> Outcome {
        let run = self.run;
        let last = attempts.pop().unwrap_or_else(|| {
            attempts.clone_from(&run.history);
            self.past(&reason)
        });
        Outcome {
            item_id: run.item_id.clone(),
            source_id: run.source_id.clone(),
            fingerprint: run.fingerprint,
            end,
            reason,
            attempts: last.attempt,
            exit_code: last.exit_code,
            started: last.started,
            finished: last.ended(),
            history: attempts,
            run: Some(run.run_id()),
        }
    }
}

/// The outcome of an item of which the runtime refused every attempt.
fn never_ran(item: &Item, last: &Past, former: &[Past]) -> Outcome {
    Outcome {
        item_id: item.id.clone(),
        source_id: item.source_id.clone(),
        fingerprint: item.fingerprint,
        end: End::Failed,
        reason: last.reason.clone(),
        attempts: last.attempt,
        exit_code: None,
        started: last.started,
        finished: last.ended(),
        history: former.to_vec(),
        run: None,
    }
}

fn timed_out(limit: Duration) -> String {
    format!("timed out after {}", spell(limit))
}

fn stopped_because(why: &str) -> String {
    format!("stopped because {why}")
}

fn count(refused: &[Past]) -> u32 {
    u32::try_from(refused.len()).unwrap_or(u32::MAX)
}
