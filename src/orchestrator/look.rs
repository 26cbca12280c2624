//! Taking in what there is to see: the source, the runtime, and what the core
//! makes of both. Acts on nothing.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::Duration,
};

use log::{debug, error, info, warn};

use super::{How, Orchestrator};
use crate::{
    agent::is_secret,
    clock,
    core::{Hold, Item, Note, Plan, Run, Sight, Stamp, Standing, State, Verdict},
    source::Trouble,
};

/// How often old logs, and what an earlier start left behind, are looked for.
const PRUNE: Duration = Duration::from_secs(3600);

/// How long nothing is listed at most while nothing is to be done.
const QUIET: Duration = Duration::from_secs(60);

/// One look at everything, with the verdicts on it.
pub struct Picture {
    /// The verdicts.
    pub plan: Plan,
    /// What they are on, in their order.
    pub items: Arc<Vec<Item>>,
    /// Likewise.
    pub runs: Vec<Run>,
}

impl Orchestrator {
    /// Everything there is to see, and what the core makes of it.
    pub(super) fn look(&mut self) -> Picture {
        let now = clock::now();
        if now >= self.next_prune && self.how != How::DryRun {
            self.next_prune = now.plus(PRUNE);
            self.state.prune(now, self.keep_logs);
            self.runtime.sweep();
        }
        if now >= self.next_poll {
            self.poll(now);
        }
        let runs = match self.is_quiet(now) {
            true => Some(vec![]),
            false => self.list(now),
        };
        self.look_up_missing(now, runs.as_deref().unwrap_or_default());
        let mut plan = self.decide(now, runs.as_deref());
        // A place that one item does not take falls to another.
        let mut fresh = BTreeSet::new();
        while self.fresh_look(now, &plan, &mut fresh) {
            plan = self.decide(now, runs.as_deref());
        }
        let items = self.items.clone().unwrap_or_default();
        let runs = runs.unwrap_or_default();
        self.notices.tell(&plan, &items, &runs);
        Picture { plan, items, runs }
    }

    fn poll(&mut self, now: Stamp) {
        self.next_poll = now.plus(self.limits.interval).plus(self.drift());
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
                self.items = Some(Arc::new(items));
                self.standings.clear();
            }
            Err(trouble) => {
                self.source_failed(&trouble);
                self.tally.source.failed(self.next_poll);
                match trouble {
                    Trouble::Refused(_) => self.tally.source.give_up(),
                    // It was never there: another try would change nothing.
                    Trouble::Everything(_) if !self.tally.read => self.tally.source.give_up(),
                    Trouble::Everything(_) | Trouble::Later(..) | Trouble::Item(_) => {}
                }
                self.items = None;
            }
        }
    }

    /// A little more than the interval, so that orchestrators that were started
    /// together do not ask the same server together for ever.
    fn drift(&self) -> Duration {
        if !self.source.is_shared() {
            return Duration::ZERO;
        }
        // Seeded anew for each, by the operating system.
        let random = RandomState::new().build_hasher().finish() % 101;
        let permille = u32::try_from(random).unwrap_or_default();
        self.limits.interval * permille / 1000
    }

    fn source_failed(&mut self, trouble: &Trouble) {
        self.tally.trouble = true;
        let mut pauses = String::new();
        if let Trouble::Later(_, Some(pause)) = trouble {
            pauses = format!(", for {} s", pause.as_millis().div_ceil(1000));
            // From now, not from the begin of this tick, and never in the last
            // part of a millisecond: a poll that comes before the pause is over
            // is in vain, and the next one is an interval later.
            let over = clock::now().plus(*pause).plus(Duration::from_millis(1));
            self.next_poll = self.next_poll.max(over);
        }
        let why = trouble.to_string();
        if self.source_trouble.is(&why) {
            match (self.how, trouble) {
                (How::Forever, Trouble::Later(..) | Trouble::Item(_)) => warn!("{why}{pauses}"),
                (How::Forever, Trouble::Everything(_) | Trouble::Refused(_)) => {
                    warn!("{why}; nothing is started until that is mended");
                }
                _ => error!("{why}{pauses}"),
            }
        }
    }

    /// What is not the source's to say: whether an agent can be given it.
    fn admit(&self, item: &mut Item) {
        if item.hold.is_none() {
            item.hold = self.agent.unfit(item).map(Hold::Unfit);
        }
        let secrets = item.env.iter().filter(|(name, _)| is_secret(name));
        self.hide(secrets.map(|(name, value)| (name.as_str(), value.as_str())));
    }

    /// Whether a listing can wait: nothing is wanted, nothing ran when it was
    /// last looked, and nothing was begun since. So an idle program costs next
    /// to nothing, also where each listing starts a client.
    fn is_quiet(&self, now: Stamp) -> bool {
        now < self.quiet_until
            && self.starting.is_empty()
            && self.in_hand.is_empty()
            && self.items.as_ref().is_some_and(|items| items.is_empty())
    }

    fn list(&mut self, now: Stamp) -> Option<Vec<Run>> {
        match self.runtime.list(now) {
            Ok(mut runs) => {
                runs.iter_mut().for_each(|run| self.hear(run));
                if self.runtime_trouble.over() {
                    info!("the runs can be seen again");
                }
                self.tally.list.over();
                self.quiet_until = match runs.is_empty() {
                    true => now.plus(QUIET),
                    false => now,
                };
                self.core.note(now, Note::Listed(&runs));
                self.note_starts(&runs);
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

    /// Makes the words of others fit to be kept: whatever becomes of them, no
    /// secret goes along.
    fn hear(&self, run: &mut Run) {
        let why = match &mut run.state {
            State::Pending { why, .. } | State::Ended { why, .. } => why.as_mut(),
            State::Running { .. } | State::Unborn | State::Told => None,
        };
        let stop = run.stop.as_mut().map(|stop| &mut stop.why);
        let history = run.history.iter_mut().map(|past| &mut past.reason);
        for text in why.into_iter().chain(stop).chain(history) {
            *text = self.heard(text);
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
        for item in items.iter() {
            missing.remove(item.source_id.as_str());
        }
        let missing: Vec<&str> = missing.into_iter().collect();
        if missing.is_empty() {
            return;
        }
        let looked = self.source.look_up(now, &missing);
        for (id, mut standing) in looked.standings {
            if let Standing::Wanted(item) = &mut standing {
                self.admit(item);
                // It can be tried again, though no poll shows it.
                if let Some(items) = &mut self.items {
                    Arc::make_mut(items).push((**item).clone());
                }
            }
            self.unread.remove(&id);
            self.core.note(now, Note::LookedUp(&id, &standing));
            self.standings.insert(id, standing);
        }
        for (source_id, why) in looked.unread {
            let run = runs.iter().find(|run| run.source_id == source_id);
            let item_id = run.map_or(source_id.clone(), |run| run.item_id.clone());
            self.is_unread(&source_id, &item_id, why);
        }
        if let Some(trouble) = looked.trouble {
            self.source_failed(&trouble);
        }
    }

    /// Takes in that an item cannot be read, though the source answers.
    fn is_unread(&mut self, source_id: &str, item_id: &str, why: String) {
        self.tally.trouble = true;
        if self.unread.get(source_id) != Some(&why) {
            warn!(ticket_id = item_id; "it cannot be read now, so nothing is started for it: {why}");
        }
        self.unread.insert(source_id.to_owned(), why);
    }

    /// Looks at the items once more that are about to be started, for the
    /// last poll may be old; not at those in `fresh`, where it puts the others.
    /// True if the plan has to be made anew.
    fn fresh_look(&mut self, now: Stamp, plan: &Plan, fresh: &mut BTreeSet<String>) -> bool {
        let Some(items) = &self.items else {
            return false;
        };
        let spawns = plan.items.iter().zip(items.iter());
        let spawns = spawns.filter(|(verdict, _)| matches!(verdict, Verdict::Spawn(_)));
        let ids: BTreeSet<String> = spawns
            .map(|(_, item)| item.source_id.clone())
            .filter(|id| !fresh.contains(id))
            .collect();
        if ids.is_empty() {
            return false;
        }
        let asked: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut looked = self.source.fresh(now, &asked);
        if let Some(trouble) = &looked.trouble {
            self.source_failed(trouble);
            if !matches!(trouble, Trouble::Later(..)) {
                self.items = None;
                return true;
            }
        }
        let whole = looked.trouble.is_none() && looked.unread.is_empty();
        match whole {
            true => self.tally.fresh.over(),
            false => self.tally.fresh.failed(self.next_poll),
        }
        let mut items = Arc::unwrap_or_clone(self.items.take().unwrap_or_default());
        let before = items.len();
        let mut changed = false;
        items.retain_mut(|item| {
            if !ids.contains(&item.source_id) {
                return true;
            }
            if let Some(why) = looked.unread.remove(&item.source_id) {
                self.is_unread(&item.source_id, &item.id, why);
                return false;
            }
            let Some(Standing::Wanted(seen)) = looked.standings.remove(&item.source_id) else {
                return false;
            };
            self.unread.remove(&item.source_id);
            let mut seen = *seen;
            self.admit(&mut seen);
            changed |= seen != *item;
            *item = seen;
            true
        });
        changed |= items.len() != before;
        fresh.extend(ids);
        self.items = Some(Arc::new(items));
        changed
    }

    fn decide(&self, now: Stamp, runs: Option<&[Run]>) -> Plan {
        self.core.decide(
            now,
            &Sight {
                items: self.items.as_ref().map(|items| items.as_slice()),
                standings: &self.standings,
                runs,
                starting: &self.starting,
                in_hand: &self.in_hand,
            },
        )
    }
}
