//! The two hidden verbs of the binary: the supervisor of a process run, and
//! the step in which its child becomes the agent.
//!
//! Both have the run's locked file as standard input. The supervisor keeps it
//! until `exit` is written; its child until it has written down who it is and
//! becomes the agent. So once the lock is free and there is no `pid`, no agent
//! was ever started and none will be.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::{fd::AsFd, unix::process::ExitStatusExt},
    path::Path,
    process::ExitStatus,
};

use rustix::{
    io::Errno,
    process::{Pid, WaitId, WaitIdOptions, setsid, waitid},
};

use super::{
    files::{ExitFile, PidFile, RunDir},
    group,
};
use crate::{clock, cmd};

/// The verb of the supervisor; its argument is the run's directory.
pub const SUPERVISE: &str = "__supervise";
/// The verb of its child; likewise.
pub const BECOME: &str = "__become";

/// Runs the agent of this directory and writes down how it ended.
///
/// # Errors
/// If that cannot be written down. The lock goes free without an `exit`, and
/// the orchestrator finds out.
pub fn supervise(dir: &Path) -> io::Result<()> {
    // An error means that we lead a session already.
    let _ = setsid();
    let dir = RunDir(dir.to_owned());
    let child = own_lock()
        .and_then(|lock| cmd::start_child(&[OsStr::new(BECOME), dir.0.as_os_str()], lock));
    let (exit_code, why) = match child {
        Ok(mut child) => {
            let pid = i32::try_from(child.id()).unwrap_or(0);
            if let Some(pid) = Pid::from_raw(pid) {
                // Left unreaped for a moment: so long its number, and that of
                // its group, is not given to others.
                let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
                while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
            }
            // As in a container: when the first process ends, all do.
            group::kill_group(pid);
            (Some(code(child.wait()?)), None)
        }
        Err(e) => (
            Some(126),
            Some(format!("its agent could not be started: {e}")),
        ),
    };
    dir.write(
        "exit",
        &ExitFile {
            exit_code,
            at: clock::now().to_string(),
            why,
        },
    )
}

/// Writes down which process this is, and becomes the agent. Comes back only
/// if that fails: with the exit code, its reason being in the log.
#[must_use]
pub fn become_agent(dir: &Path) -> u8 {
    let _ = setsid();
    let dir = RunDir(dir.to_owned());
    let pid = PidFile {
        pid: i32::try_from(std::process::id()).unwrap_or(0),
        start_ticks: group::own_start_ticks(),
        boot_id: group::boot_id(),
        started: clock::now().to_string(),
    };
    let argv = dir.write("pid", &pid).and_then(|()| dir.argv());
    let (program, error) = match argv {
        Ok(argv) => {
            let program = argv.first().map(|p| p.to_string_lossy().into_owned());
            (
                program.unwrap_or_default(),
                cmd::become_program(&argv, &dir.part("work")),
            )
        }
        Err(e) => (String::new(), e),
    };
    eprintln!("orchestrator: cannot run `{program}`: {error}");
    if error.kind() == io::ErrorKind::NotFound {
        127
    } else {
        126
    }
}

/// 128 + n for a signal, as shells have it.
fn code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn own_lock() -> io::Result<File> {
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}
