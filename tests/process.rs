//! The program with `--mode process`, seen from outside: work file, outcomes,
//! exit code, the state directory, and what `/proc` says of its processes.

mod given;
mod kills;
mod life;
mod lock;
mod odd;
mod restart;

use std::{fs, path::PathBuf};

use serde_json::Value;

use crate::world::{Orchestrator, World};

/// Writes down that an attempt began, where nobody can take it back.
pub const BEGIN: &str =
    r#"echo "begin $RECAC_ITEM_ID $RECAC_ATTEMPT $RECAC_RUN $$" >>"$MARKS/log";"#;
/// Writes down that it ends.
pub const END: &str = r#"echo "end $RECAC_ITEM_ID $RECAC_ATTEMPT $RECAC_RUN $$" >>"$MARKS/log";"#;
/// Waits until the test opens the gate.
pub const GATE: &str = r#"until [ -e "$MARKS/gate" ]; do sleep 0.05; done;"#;

/// A command line with plain processes, whose agents have a directory that is
/// ours in `$MARKS`.
pub fn orchestrator(world: &World) -> Orchestrator<'_> {
    let marks = world.path("marks");
    fs::create_dir_all(&marks).unwrap();
    world
        .orchestrator()
        .arg("--mode=process")
        .arg(format!("--agent-env=MARKS={}", marks.display()))
}

/// A line that an agent wrote with [`BEGIN`] or [`END`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub begin: bool,
    pub item: String,
    pub attempt: u64,
    pub run: String,
    pub pid: i32,
}

/// All of them, in their order. Ids must be without spaces.
pub fn marks(world: &World) -> Vec<Mark> {
    let text = mark_file(world, "log");
    let whole = text.split_inclusive('\n').filter(|l| l.ends_with('\n'));
    let mark = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [what, item, attempt, run, pid] = words[..] else {
            panic!("not a mark: {line:?}");
        };
        Mark {
            begin: what == "begin",
            item: item.to_owned(),
            attempt: attempt.parse().unwrap(),
            run: run.to_owned(),
            pid: pid.parse().unwrap(),
        }
    };
    whole.map(mark).collect()
}

/// What agents wrote into this file of their common directory.
pub fn mark_file(world: &World, name: &str) -> String {
    fs::read_to_string(world.path("marks").join(name)).unwrap_or_default()
}

/// How many attempts began.
pub fn begun(world: &World) -> usize {
    marks(world).iter().filter(|mark| mark.begin).count()
}

/// Lets agents past [`GATE`].
pub fn open_gate(world: &World) {
    fs::write(world.path("marks").join("gate"), "").unwrap();
}

/// The directories of runs, and whatever else lies there.
pub fn run_dirs(world: &World) -> Vec<PathBuf> {
    let entries = fs::read_dir(world.state_dir().join("runs"));
    let mut dirs: Vec<_> = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .collect();
    dirs.sort();
    dirs
}

/// The one run there is.
#[track_caller]
pub fn run_dir(world: &World) -> PathBuf {
    let mut dirs = run_dirs(world);
    assert_eq!(dirs.len(), 1, "{dirs:?}");
    dirs.remove(0)
}

/// One of the JSON files of a run.
pub fn part(dir: &std::path::Path, name: &str) -> Option<Value> {
    serde_json::from_slice(&fs::read(dir.join(name)).ok()?).ok()
}

/// The agent of a run, as soon as it is written down.
#[track_caller]
pub fn agent_pid(world: &World, dir: &std::path::Path) -> i32 {
    world.until("the agent's pid is written down", || {
        part(dir, "pid")?["pid"].as_i64()
    }) as i32
}

/// The parent of a process.
pub fn parent(pid: i32) -> Option<i32> {
    stat(pid)?.get(1)?.parse().ok()
}

/// The fields of `/proc/PID/stat` behind the name: state, parent, group,
/// session, …
pub fn stat(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// Whether a process is there, and not at its end.
pub fn lives(pid: i32) -> bool {
    stat(pid).is_some_and(|fields| fields[0] != "Z" && fields[0] != "X")
}

/// No run and no process of this world is left.
#[track_caller]
pub fn assert_nothing_left(world: &World) {
    assert_eq!(run_dirs(world), [] as [PathBuf; 0], "runs left");
    // The supervisor has let go of the run a moment before its own end.
    world.wait_for("the processes of this world are gone", || {
        world.processes().is_empty()
    });
}
