//! What lies in the directory of a process run, and how it is written and
//! read. Decides nothing.
//!
//! | file | written by | says |
//! |---|---|---|
//! | `lock` | | held by the supervisor until `exit` is written |
//! | `run.json` | the orchestrator, before the run has its name | uid, labels |
//! | `argv` | the orchestrator, likewise | the agent's arguments, NUL after each |
//! | `pid` | the agent's own process, just before it becomes the agent | which process |
//! | `stop` | the orchestrator | why it was stopped |
//! | `exit` | the supervisor; the orchestrator if that died | how it ended |
//! | `log` | the agent | its output |
//! | `work/` | the agent | its working directory |

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::ffi::OsStringExt,
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use crate::{core::Stamp, state};

/// `run.json`
#[derive(Debug, Deserialize, Serialize)]
pub struct RunFile {
    /// 16 random hex digits.
    pub uid: String,
    /// When it was claimed, RFC 3339.
    pub created: String,
    /// As on a container.
    pub labels: BTreeMap<String, String>,
}

/// `pid`: a number alone proves nothing, for it is given anew.
#[derive(Debug, Deserialize, Serialize)]
pub struct PidFile {
    /// The process, which also leads a session and a group of this number.
    pub pid: i32,
    /// When it was started, in clock ticks since the machine was.
    pub start_ticks: u64,
    /// Which start of the machine that was.
    pub boot_id: String,
    /// When it was started, RFC 3339.
    pub started: String,
}

/// `exit`
#[derive(Debug, Deserialize, Serialize)]
pub struct ExitFile {
    /// 128 + n for a signal.
    pub exit_code: Option<i32>,
    /// When, RFC 3339.
    pub at: String,
    /// What the code does not say.
    pub why: Option<String>,
}

/// The directory of one run.
#[derive(Clone, Debug)]
pub struct RunDir(pub PathBuf);

impl RunDir {
    /// The path of one of its parts.
    #[must_use]
    pub fn part(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// What it says of itself; `None` if it has no `run.json`.
    ///
    /// # Errors
    /// If the file is there and cannot be read as what it should be.
    pub fn run(&self) -> io::Result<Option<RunFile>> {
        state::read_json(&self.part("run.json"))
    }

    /// The process of the agent, if it was ever started. Agents can write
    /// here: nonsense is a process that is not there.
    ///
    /// # Errors
    /// If the file is there and cannot be read.
    pub fn pid(&self) -> io::Result<Option<PidFile>> {
        or_nonsense(state::read_json(&self.part("pid")), || PidFile {
            pid: 0,
            start_ticks: 0,
            boot_id: String::new(),
            started: String::new(),
        })
    }

    /// How it ended, if it has. Nonsense is an end as well.
    ///
    /// # Errors
    /// As [`RunDir::pid`].
    pub fn exit(&self) -> io::Result<Option<ExitFile>> {
        or_nonsense(state::read_json(&self.part("exit")), || ExitFile {
            exit_code: None,
            at: String::new(),
            why: Some("how it ended cannot be read".to_owned()),
        })
    }

    /// Writes one of the JSON files, safe on disk and all at once.
    ///
    /// # Errors
    /// As the file system gives them.
    pub fn write(&self, name: &str, content: &impl Serialize) -> io::Result<()> {
        state::write_whole(&self.part(name), &serde_json::to_vec(content)?)
    }

    /// The lock file, for trying whether somebody holds it.
    ///
    /// # Errors
    /// As the file system gives them.
    pub fn lock(&self) -> io::Result<File> {
        File::open(self.part("lock"))
    }

    /// Writes the agent's arguments.
    ///
    /// # Errors
    /// As the file system gives them.
    pub fn write_argv(&self, argv: &[String]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for arg in argv {
            bytes.extend_from_slice(arg.as_bytes());
            bytes.push(0);
        }
        state::write_whole(&self.part("argv"), &bytes)
    }

    /// Reads them back.
    ///
    /// # Errors
    /// As the file system gives them.
    pub fn argv(&self) -> io::Result<Vec<OsString>> {
        let mut bytes = fs::read(self.part("argv"))?;
        bytes.pop();
        Ok(bytes
            .split(|b| *b == 0)
            .map(|arg| OsString::from_vec(arg.to_vec()))
            .collect())
    }
}

fn or_nonsense<T>(read: io::Result<Option<T>>, it: impl Fn() -> T) -> io::Result<Option<T>> {
    match read {
        Err(e) if e.kind() == io::ErrorKind::InvalidData => Ok(Some(it())),
        other => other,
    }
}

/// The moment of a file's RFC 3339 text; the beginning of time if it is none.
#[must_use]
pub fn stamp(text: &str) -> Stamp {
    text.parse().unwrap_or_default()
}
