//! The state directory: who holds it, where its parts are, and that nobody
//! else reads them. Directories are 0700, files 0600.
//!
//! Never decides anything, and never creates anything in a dry run, because
//! then nobody asks it to.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, ErrorKind::InvalidData, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::de::DeserializeOwned;

use crate::core::Stamp;

/// How often the lock is asked for, and with which pause: half a second in all.
const LOCK_TRIES: u32 = 25;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The directory of `--state-dir`, and the names of its parts.
#[derive(Clone, Debug)]
pub struct StateDir {
    root: PathBuf,
}

/// Why the state directory cannot be had.
#[derive(Debug)]
pub enum Refused {
    /// Another orchestrator of this owner runs; its pid as far as it is known.
    Locked(PathBuf, String),
    /// The directory cannot be used.
    Broken(PathBuf, io::Error),
}

impl StateDir {
    /// The directory at `root`; nothing is looked at or created.
    #[must_use]
    pub fn at(root: &Path) -> StateDir {
        StateDir {
            root: root.to_owned(),
        }
    }

    /// Raw logs of ended runs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The saved log of a run.
    #[must_use]
    pub fn log(&self, run: &str, uid: &str) -> PathBuf {
        self.logs().join(format!("{run}.{}.log", short(uid)))
    }

    /// The runs of process mode.
    #[must_use]
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Why containers were stopped.
    #[must_use]
    pub fn stops(&self) -> PathBuf {
        self.root.join("stops")
    }

    /// The file that docker commands of this owner hold while they run.
    #[must_use]
    pub fn spawning(&self, owner: &str) -> PathBuf {
        self.root.join(format!("{owner}.spawning"))
    }

    /// Since when tickets are gone that something is to be told.
    #[must_use]
    pub fn gone(&self, owner: &str) -> PathBuf {
        self.root.join(format!("{owner}.gone"))
    }

    fn heartbeat(&self, owner: &str) -> PathBuf {
        self.root.join(format!("{owner}.heartbeat"))
    }

    /// Gives a sign of life: that another one comes until `due`.
    ///
    /// # Errors
    /// As the file system gives them.
    pub fn beat(&self, owner: &str, due: Stamp) -> io::Result<()> {
        let path = self.heartbeat(owner);
        let new = path.with_extension("heartbeat.new");
        // It need not survive a power cut.
        create_file(&new)?.write_all(due.to_string().as_bytes())?;
        std::fs::rename(&new, &path)
    }

    /// Until when the last sign of life promised another one.
    ///
    /// # Errors
    /// As the file system gives them, or what is odd about it.
    pub fn next_beat(&self, owner: &str) -> Result<Stamp, String> {
        let path = self.heartbeat(owner);
        let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        let text = std::fs::read_to_string(&path).map_err(|e| failed(&e))?;
        text.parse().map_err(|e| failed(&e))
    }

    /// Takes the directory for `owner`, creating it if need be. The lock is
    /// the kernel's, so it goes with the process that holds the file open.
    ///
    /// # Errors
    /// If another orchestrator of this owner holds it, or it cannot be used.
    pub fn lock(&self, owner: &str) -> Result<File, Refused> {
        let path = self.root.join(format!("{owner}.lock"));
        let broken = |e| Refused::Broken(self.root.clone(), e);
        create_dir(&self.root).map_err(broken)?;
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(broken)?;
        // A child that one who was just killed had begun to start holds it until
        // it has become another program.
        let mut tries = 0..LOCK_TRIES;
        let locked = loop {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) if tries.next().is_some() => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                other => break other,
            }
        };
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // The message does without it.
                let _ = file.take(32).read_to_string(&mut pid);
                return Err(Refused::Locked(path, pid.trim().to_owned()));
            }
            Err(TryLockError::Error(e)) => return Err(broken(e)),
        }
        file.set_len(0).map_err(broken)?;
        writeln!(file, "{}", std::process::id()).map_err(broken)?;
        Ok(file)
    }

    /// Removes saved logs, and notes on stops, that are older than `keep`.
    /// What cannot be removed stays.
    pub fn prune(&self, now: Stamp, keep: Duration) {
        for dir in [self.logs(), self.stops()] {
            let Ok(entries) = dir.read_dir() else {
                continue;
            };
            for entry in entries.flatten() {
                let modified = entry.metadata().ok().and_then(|m| m.modified().ok());
                let age = modified
                    .and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok())
                    .and_then(|t| u64::try_from(t.as_millis()).ok())
                    .map(|ms| now.since(Stamp(ms)));
                if age.is_some_and(|age| age > keep) {
                    let _ = std::fs::remove_file(entry.path());
                }
            }
        }
    }
}

/// Enough of a container's 64 digits to tell runs apart, and short enough for
/// a file name beside a run's.
fn short(uid: &str) -> &str {
    uid.get(..16).unwrap_or(uid)
}

/// Creates a directory, and those above it, for nobody but us.
///
/// # Errors
/// As the file system gives them.
pub fn create_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Creates or empties a file that nobody but us reads.
///
/// # Errors
/// As the file system gives them.
pub fn create_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

/// Puts a whole file in place at once, safe on disk: a reader sees all of it
/// or nothing.
///
/// # Errors
/// As the file system gives them; what was there before is then still there.
pub fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut file = create_file(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

/// Reads a file of JSON; `None` if it is not there.
///
/// # Errors
/// As the file system gives them, and [`io::ErrorKind::InvalidData`] if it
/// holds something else.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(
            serde_json::from_slice(&bytes).map_err(|e| io::Error::new(InvalidData, e))?,
        )),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Removes a directory with all it holds, also what its owner made read-only,
/// as some package caches are.
///
/// # Errors
/// As the file system gives them; some of it may be gone by then.
pub fn remove_dir(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path);
            std::fs::remove_dir_all(path)
        }
        other => other,
    }
}

/// Makes every directory below writable; symbolic links are not followed.
fn open_up(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mut todo = vec![path.to_owned()];
    while let Some(dir) = todo.pop() {
        let _ = std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700));
        let Ok(entries) = dir.read_dir() else {
            continue;
        };
        let dirs = entries
            .flatten()
            .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
        todo.extend(dirs.map(|e| e.path()));
    }
}
