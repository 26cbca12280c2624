//! The life of an item, by example: what is seen, and in which words the core
//! answers. Times are seconds from [`T`].

mod ends;
mod limits;
mod pauses;
mod refusals;
mod starts;

use super::*;

const T: u64 = 1_795_489_507_000;

fn at(seconds: i64) -> Stamp {
    Stamp(T.checked_add_signed(seconds * 1000).unwrap())
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn item(id: &str) -> Item {
    Item {
        id: id.into(),
        source_id: id.into(),
        summary: String::new(),
        description: String::new(),
        repo_url: None,
        url: None,
        env: BTreeMap::new(),
        facts: vec![],
        fingerprint: Fingerprint(7),
        hold: None,
    }
}

impl Item {
    fn held(self, hold: Hold) -> Item {
        let hold = Some(hold);
        Item { hold, ..self }
    }
}

/// A run of the item `id` whose agent has been running from [`T`] on.
fn run(id: &str, number: u32) -> Run {
    let name = run_name("default", id, number);
    Run {
        uid: format!("uid of {name}"),
        name,
        item_id: id.into(),
        source_id: id.into(),
        number,
        attempt: number,
        fingerprint: Fingerprint(7),
        history: (1..number).map(past).collect(),
        stop: None,
        state: State::Running {
            since: at(0),
            orphaned: false,
        },
    }
}

/// A former attempt.
fn past(attempt: u32) -> Past {
    let began = i64::from(attempt) * 60 - 3600;
    Past::new(attempt, at(began), at(began + 20), Some(1), "exit code 1")
}

impl Run {
    fn is(self, state: State) -> Run {
        Run { state, ..self }
    }

    fn orphaned(self) -> Run {
        let since = at(0);
        self.is(State::Running {
            since,
            orphaned: true,
        })
    }

    fn pending(self, why: Option<&str>) -> Run {
        self.is(State::Pending {
            since: at(0),
            why: why.map(str::to_owned),
            suspended: false,
        })
    }

    fn suspended(self) -> Run {
        self.is(State::Pending {
            since: at(0),
            why: None,
            suspended: true,
        })
    }

    /// Its agent ended at that second, 20 s after it began.
    fn ended(self, second: i64, exit_code: i32) -> Run {
        self.is(State::Ended {
            started: Some(at(second - 20)),
            at: at(second),
            exit_code: Some(exit_code),
            why: None,
        })
    }

    fn stop_asked(self, second: i64, cause: StopCause, why: &str) -> Run {
        let stop = Some(Stop {
            cause,
            why: why.into(),
            at: at(second),
        });
        Run { stop, ..self }
    }
}

/// All that is visible, and the core that looks at it.
struct World {
    core: Core,
    items: Option<Vec<Item>>,
    runs: Option<Vec<Run>>,
    standings: BTreeMap<String, Standing>,
    starting: BTreeMap<String, String>,
    in_hand: BTreeSet<String>,
}

fn see(items: &[Item], runs: &[Run]) -> World {
    World {
        core: Core::new(Limits {
            owner: "default".into(),
            max_agents: 5,
            max_attempts: 3,
            retry_backoff: secs(30),
            agent_timeout: secs(7200),
            start_timeout: secs(600),
            stop_grace: secs(600),
            interval: secs(60),
        }),
        items: Some(items.to_vec()),
        runs: Some(runs.to_vec()),
        standings: BTreeMap::new(),
        starting: BTreeMap::new(),
        in_hand: BTreeSet::new(),
    }
}

impl World {
    fn limited(mut self, how: impl Fn(&mut Limits)) -> World {
        how(&mut self.core.limits);
        self
    }

    fn source_silent(mut self) -> World {
        self.items = None;
        self
    }

    fn starting(mut self, id: &str, number: u32) -> World {
        let name = run_name("default", id, number);
        self.starting.insert(id.into(), name);
        self
    }

    /// The source was asked at that second, and answered so.
    fn answered(mut self, second: i64, id: &str, standing: Standing) -> World {
        self.note(second, Note::LookedUp(id, &standing));
        self.standings.insert(id.into(), standing);
        self
    }

    fn withdrawn(self, second: i64, id: &str) -> World {
        let why = "the ticket is closed".to_owned();
        self.answered(second, id, Standing::Withdrawn(why))
    }

    fn note(&mut self, second: i64, note: Note<'_>) {
        self.core.note(at(second), note);
    }

    fn refused(&mut self, second: i64, id: &str, attempt: u32) {
        let note = Note::Refused {
            source_id: id,
            attempt,
            begun: at(second),
            why: "no such image",
        };
        self.note(second, note);
    }

    fn sight(&self) -> Sight<'_> {
        Sight {
            items: self.items.as_deref(),
            standings: &self.standings,
            runs: self.runs.as_deref(),
            starting: &self.starting,
            in_hand: &self.in_hand,
        }
    }

    fn plan(&self, second: i64) -> Plan {
        self.core.decide(at(second), &self.sight())
    }

    /// The verdicts in words: of the items, then of the runs.
    fn says(&self, second: i64) -> Vec<String> {
        let plan = self.plan(second);
        let all = plan.items.iter().chain(&plan.runs);
        all.map(Verdict::to_string).collect()
    }

    /// What the only item is started with.
    fn spawn(&self, second: i64) -> NewRun {
        match self.plan(second).items.as_slice() {
            [Verdict::Spawn(new)] => new.clone(),
            other => panic!("no spawn of one item, but {other:?}"),
        }
    }

    /// The only report.
    fn report(&self, second: i64) -> Outcome {
        let plan = self.plan(second);
        let all = plan.items.iter().chain(&plan.runs);
        let reports: Vec<_> = all.filter(|v| matches!(v, Verdict::Report(_))).collect();
        match reports.as_slice() {
            [Verdict::Report(outcome)] => Outcome::clone(outcome),
            _ => panic!("not one report: {plan:?}"),
        }
    }

    /// The stop of the first run.
    fn stop(&self, second: i64) -> Stop {
        match self.plan(second).runs.as_slice() {
            [Verdict::Stop(stop), ..] => stop.clone(),
            other => panic!("no stop, but {other:?}"),
        }
    }

    /// Until when the only item rests.
    fn rest(&self, second: i64) -> Stamp {
        match self.plan(second).items.as_slice() {
            [Verdict::Wait(Waiting::Rest { until, .. })] => *until,
            other => panic!("no rest of one item, but {other:?}"),
        }
    }

    fn wake(&self, second: i64) -> Option<Stamp> {
        self.plan(second).wake
    }
}
