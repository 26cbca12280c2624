//! Taking in what the API server shows: Jobs, and the pods and events of those
//! whose runs they say more of. Changes nothing, but for the deadline that is
//! the last resort.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::json;

use super::{
    super::{claim, lock},
    Kube,
    client::{Error, escaped},
    manifest,
    objects::{Event, Job, Meta, Pod},
    skew::Skew,
    state::{JOB_NAME, Need, StopNote, after, is_vague},
};
use crate::core::{Run, Stamp, State};

/// Jobs whose pods are asked for by name; of more, all pods are.
const NAMED: usize = 40;
/// By how much the backstop may lie before our own limit until it is moved.
const SLACK: u64 = 30;

/// What was seen at the last look. Losing it costs a look.
#[derive(Default)]
pub(super) struct Memory {
    /// By uid.
    pub(super) seen: BTreeMap<String, Arc<Seen>>,
    /// Where a watch goes on from; empty if that is not known.
    pub(super) version: String,
    /// When that was.
    pub(super) looked: Stamp,
    /// Whether no run can be under way without having been seen.
    pub(super) knows_all: bool,
    pub(super) strangers: BTreeSet<claim::Stranger>,
    /// What we were not allowed to read.
    pub(super) denied: BTreeSet<&'static str>,
}

/// A run as it was seen last.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) run: Run,
    /// Of the Job.
    pub(super) version: String,
    /// Nothing more is to be learnt while the Job does not change.
    pub(super) settled: bool,
    pub(super) suspended: bool,
    /// The pod that counts.
    pub(super) pod: Option<String>,
    /// Its agent's last word.
    pub(super) message: Option<String>,
    /// What was kept of it when it was stopped.
    pub(super) kept: Option<StopNote>,
    /// When a pod was last seen.
    pub(super) alive: Option<Stamp>,
    /// Its Job was deleted, and its pod has still to end.
    pub(super) orphan: bool,
}

impl Seen {
    /// When a pod of it was last seen. One that is settled was there as long
    /// as its Job did not change.
    fn alive(&self, looked: Stamp) -> Option<Stamp> {
        match self.run.state {
            State::Running { .. } if self.settled => Some(looked),
            State::Running { .. }
            | State::Pending { .. }
            | State::Ended { .. }
            | State::Unborn
            | State::Told => self.alive,
        }
    }
}

impl Kube {
    /// All runs of this owner.
    ///
    /// # Errors
    /// If the API server does not say so for certain.
    pub fn list(&self, now: Stamp) -> Result<Vec<Run>, String> {
        let (jobs, version) = self
            .client
            .list::<Job>(&self.jobs(), &self.ours())
            .map_err(|e| e.to_string())?;
        // All times of Jobs and pods are the server's.
        let skew = self.client.skew();
        let now = skew.theirs(now);
        let (before, looked, knows_all) = {
            let memory = lock(&self.memory);
            (memory.seen.clone(), memory.looked, memory.knows_all)
        };
        let alive = |uid: &str| before.get(uid).and_then(|last| last.alive(looked));
        let mut seen = BTreeMap::new();
        let mut open = Vec::new();
        let mut listed = BTreeSet::new();
        for job in jobs {
            listed.insert(job.metadata.uid.clone());
            let last = before.get(&job.metadata.uid);
            let known = last.filter(|last| last.version == job.metadata.resource_version);
            match known.filter(|last| last.settled) {
                Some(last) => {
                    seen.insert(job.metadata.uid, Arc::clone(last));
                }
                None => open.extend(self.claimed(&job).map(|run| (job, run))),
            }
        }
        // Somebody deleted these; their pods may still have to end.
        let mut ghosts: Vec<&Arc<Seen>> = before
            .iter()
            .filter(|(uid, last)| !listed.contains(*uid) && last.run.is_live())
            .map(|(_, last)| last)
            .collect();
        let asked = open.iter().filter(|(job, _)| job.need() != Need::Nothing);
        let asked = asked.map(|(job, _)| job.metadata.name.as_str());
        let names: Vec<&str> = asked
            .chain(ghosts.iter().map(|g| g.run.name.as_str()))
            .collect();
        let (pods, whole) = match (names.len(), knows_all) {
            (0, true) => (BTreeMap::new(), true),
            (1..=NAMED, true) => self.pods(&of_jobs(&names))?,
            _ => self.pods(&self.ours())?,
        };
        let none = Vec::new();
        let of = |uid: &str| pods.get(uid).unwrap_or(&none);
        ghosts.retain(|ghost| of(&ghost.run.uid).iter().any(|pod| !pod.is_over()));
        let strays = pods
            .iter()
            .filter(|(uid, _)| !knows_all && !listed.contains(*uid) && !before.contains_key(*uid));
        let strays: Vec<Seen> = strays
            .filter_map(|(uid, pods)| self.stray(uid, pods))
            .collect();

        let mut states: Vec<State> = open
            .iter()
            .map(|(job, _)| {
                let uid = &job.metadata.uid;
                job.state(of(uid), &[], alive(uid))
            })
            .collect();
        if states.iter().any(is_vague) {
            let events = self.events();
            for ((job, _), state) in open.iter().zip(&mut states).filter(|(_, s)| is_vague(s)) {
                let uid = &job.metadata.uid;
                *state = job.state(of(uid), &events, alive(uid));
            }
        }
        for ((job, mut run), state) in open.into_iter().zip(states) {
            let uid = &job.metadata.uid;
            run.state = after(before.get(uid).map(|last| &last.run.state), state);
            run.stop = job.stop();
            let mut new = self.look(&job, run, of(uid), whole);
            let live = of(uid).iter().any(|pod| !pod.is_over());
            new.alive = live.then_some(now).or_else(|| alive(uid));
            seen.insert(job.metadata.uid, Arc::new(new));
        }
        for ghost in ghosts
            .into_iter()
            .map(|ghost| (**ghost).clone())
            .chain(strays)
        {
            if !ghost.orphan {
                log::warn!(ticket_id = ghost.run.item_id, job_name = ghost.run.name;
                    "its Job was deleted or is no longer marked as ours, and not by us; nothing \
                     is started for it before its pod is gone");
            }
            let ghost = Seen {
                orphan: true,
                ..ghost
            };
            seen.insert(ghost.run.uid.clone(), Arc::new(ghost));
        }
        let runs = seen
            .values()
            .map(|seen| by_our_clock(skew, seen.run.clone()));
        let runs = runs.collect();
        let mut memory = lock(&self.memory);
        memory.seen = seen;
        memory.version = version;
        memory.looked = now;
        memory.knows_all = true;
        drop(memory);
        self.listed.notify_all();
        Ok(runs)
    }

    /// The run of a Job that looks like ours; `None` if it is not.
    fn claimed(&self, job: &Job) -> Option<Run> {
        let meta = &job.metadata;
        self.claim(&meta.name, &meta.uid, meta)
    }

    fn claim(&self, name: &str, uid: &str, meta: &Meta) -> Option<Run> {
        match claim::read(&self.owner, name, uid, |key| meta.mark(key)) {
            Ok(run) => Some(run),
            Err(stranger) => {
                if lock(&self.memory).strangers.insert(stranger.clone()) {
                    log::error!(job_name = stranger.name;
                        "left alone: not a run of ours: {}", stranger.why);
                }
                None
            }
        }
    }

    /// The run of pods whose Job nobody has seen, if one of them still has to
    /// end.
    fn stray(&self, uid: &str, pods: &[Pod]) -> Option<Seen> {
        let live = pods.iter().filter(|pod| !pod.is_over());
        let pod = live.max_by_key(|pod| pod.age())?;
        let run = self.claim(pod.job_name()?, uid, &pod.metadata)?;
        Some(Seen {
            run: Run {
                state: pod.alone(),
                ..run
            },
            version: String::new(),
            settled: false,
            suspended: false,
            pod: Some(pod.metadata.name.clone()),
            message: None,
            kept: None,
            alive: None,
            orphan: false,
        })
    }

    /// What is kept in mind of a run, its backstop moved out if need be.
    fn look(&self, job: &Job, run: Run, pods: &[Pod], whole: bool) -> Seen {
        let pod = pods.iter().max_by_key(|pod| (!pod.is_over(), pod.age()));
        let in_time = self.keep_backstop(job, &run);
        let settled = match run.state {
            State::Running { .. } => job.need() == Need::PodsOnce && !pods.is_empty(),
            State::Ended { .. } => job.has_ended(),
            State::Told => true,
            State::Pending { .. } | State::Unborn => false,
        };
        Seen {
            settled: settled && in_time && whole,
            version: job.metadata.resource_version.clone(),
            suspended: job.spec.suspend == Some(true),
            pod: pod.map(|pod| pod.metadata.name.clone()),
            message: pod.and_then(|pod| pod.message().map(str::to_owned)),
            kept: job.stop_note(),
            alive: None,
            orphan: false,
            run,
        }
    }

    /// The pods that `query` asks for, by the uid of their Job, and whether we
    /// may see them.
    fn pods(&self, query: &str) -> Result<(BTreeMap<String, Vec<Pod>>, bool), String> {
        let mut of: BTreeMap<String, Vec<Pod>> = BTreeMap::new();
        let pods = match self.client.list::<Pod>(&self.core("pods"), query) {
            Ok((pods, _)) => pods,
            Err(e) if e.is(403) => {
                self.denied("pods", "why agents do not start, and how they end", &e);
                return Ok((of, false));
            }
            Err(e) => return Err(e.to_string()),
        };
        for pod in pods {
            if let Some(uid) = pod.job_uid().map(str::to_owned) {
                of.entry(uid).or_default().push(pod);
            }
        }
        Ok((of, true))
    }

    /// Warnings of this namespace. Without them a reason is missing, and
    /// nothing else.
    fn events(&self) -> Vec<Event> {
        let query = format!("fieldSelector={}", escaped("type=Warning"));
        match self.client.list::<Event>(&self.core("events"), &query) {
            Ok((events, _)) => events,
            Err(e) => {
                self.denied("events", "why agents do not start", &e);
                vec![]
            }
        }
    }

    /// Says once that something cannot be read, and what it would say.
    fn denied(&self, what: &'static str, says: &str, e: &Error) {
        if lock(&self.memory).denied.insert(what) {
            log::warn!("cannot read {what}, which would say {says}: {e}");
        }
    }

    /// Moves the Job's own deadline out where it would strike before ours: a
    /// pod was replaced, and time has passed. False if that is still to be done.
    fn keep_backstop(&self, job: &Job, run: &Run) -> bool {
        let settings = &self.settings;
        let by_template = settings
            .template
            .as_ref()
            .is_some_and(|t| t.sets_deadline());
        let (since, left) = match run.state {
            State::Running { since, .. } => (since, settings.agent_timeout),
            State::Pending {
                since,
                suspended: false,
                ..
            } => (
                since,
                settings
                    .start_timeout
                    .saturating_add(settings.agent_timeout),
            ),
            State::Pending { .. } | State::Ended { .. } | State::Unborn | State::Told => {
                return true;
            }
        };
        let after = job.let_go().map(|let_go| since.since(let_go));
        let (Some(is), Some(after)) = (job.spec.active_deadline_seconds, after) else {
            return true;
        };
        let needed = manifest::deadline_after(after, left);
        if by_template || self.dry_run || run.stop.is_some() || needed <= is + SLACK {
            return true;
        }
        let patch = json!({
            "metadata": { "uid": run.uid },
            "spec": { "activeDeadlineSeconds": needed },
        });
        let moved = self.patch(&run.name, &patch);
        if let Err(e) = &moved {
            log::debug!(job_name = run.name; "its own deadline is not moved out yet: {e}");
        }
        moved.is_ok()
    }
}

/// The part of a query that asks for the pods of the Jobs of these names.
fn of_jobs(names: &[&str]) -> String {
    let labels = format!("{JOB_NAME} in ({})", names.join(","));
    format!("labelSelector={}", escaped(&labels))
}

/// The run as our clock has it. What a stop ended did not end before that was
/// asked for, whatever the clocks say.
fn by_our_clock(skew: Skew, run: Run) -> Run {
    let mut state = skew.ours(run.state);
    if let (State::Ended { at, .. }, Some(stop)) = (&mut state, &run.stop) {
        *at = (*at).max(stop.at);
    }
    Run { state, ..run }
}
