//! The one place that starts a process. Each has a deadline, or is one that
//! is meant to outlive us.
//!
//! Never uses a shell, and never shows the environment or the arguments of
//! what it started: secrets stand in the one, text of tickets in the other.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

/// Bytes of standard output taken in at most; more is an error.
const MOST: usize = 256 * 1024 * 1024;
/// Bytes of standard error kept, from its end.
const STDERR: usize = 4096;
/// How long a grandchild may hold the pipes open after its parent has gone.
const GRACE: Duration = Duration::from_secs(2);

/// A command that did not do its job: which one, and why.
#[derive(Debug)]
pub struct Failed {
    what: String,
    /// What went wrong.
    pub cause: Cause,
}

/// What went wrong with a command.
#[derive(Debug)]
pub enum Cause {
    /// It could not be started.
    Start(io::Error),
    /// It was ended because it took longer than this.
    TooLong(Duration),
    /// It said more than can be taken in: this many bytes.
    TooMuch(usize),
    /// It ended, but something it started holds its output open: what was
    /// read may not be all.
    Held,
    /// It ended with another status than 0.
    Status {
        /// The status.
        status: ExitStatus,
        /// The end of what it wrote to standard error.
        stderr: String,
        /// What it wrote to standard output.
        stdout: Vec<u8>,
    },
}

impl Failed {
    /// The exit code, where it ended by itself.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        match &self.cause {
            Cause::Status { status, .. } => status.code(),
            Cause::Start(_) | Cause::TooLong(_) | Cause::TooMuch(_) | Cause::Held => None,
        }
    }
}

impl std::error::Error for Failed {}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Start(e) => write!(f, "cannot start `{}`: {e}", self.what),
            Cause::TooLong(limit) => {
                write!(f, "`{}` took longer than {}s", self.what, limit.as_secs())
            }
            Cause::TooMuch(bytes) => {
                write!(f, "`{}` wrote more than {bytes} bytes", self.what)
            }
            Cause::Held => write!(f, "`{}` ended, but its output stays open", self.what),
            Cause::Status { status, stderr, .. } => {
                write!(f, "`{}` failed with {}", self.what, told(*status))?;
                match message(stderr) {
                    stderr if stderr.is_empty() => Ok(()),
                    stderr => write!(f, ": {stderr}"),
                }
            }
        }
    }
}

/// What a program wrote on its way out, in one line, without its own help and
/// the advice to look at it.
fn message(stderr: &str) -> String {
    let lines = stderr.lines().map(str::trim);
    let help = |line: &str| line.starts_with("Usage:") || line.contains("--help'");
    let lines = lines.filter(|line| !line.is_empty() && !help(line));
    lines.collect::<Vec<_>>().join("; ")
}

fn told(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit code".to_owned(),
    }
}

/// A program with its arguments, and what is to be set in its environment.
pub struct Call {
    command: Command,
    what: String,
}

impl Call {
    /// A call of `program`, found along `PATH` if it holds no slash. It is
    /// given our environment, no input, and a process group of its own, so
    /// that an interrupt from a terminal lets it finish.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn new(program: impl AsRef<OsStr>) -> Call {
        let what = program.as_ref().to_string_lossy().into_owned();
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).process_group(0);
        Call { command, what }
    }

    /// Adds arguments; the first of all names the call in messages.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Call {
        for arg in args {
            if self.command.get_args().next().is_none() {
                self.what.push(' ');
                self.what.push_str(&arg.as_ref().to_string_lossy());
            }
            self.command.arg(arg);
        }
        self
    }

    /// Sets a variable, on top of our own environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Call {
        self.command.env(name, value);
        self
    }

    /// Keeps `file` open in the process, as its standard input: so a lock on
    /// it lasts as long as the process does.
    #[must_use]
    pub fn holding(mut self, file: File) -> Call {
        self.command.stdin(file);
        self
    }

    fn failed(&self, cause: Cause) -> Failed {
        Failed {
            what: self.what.clone(),
            cause,
        }
    }

    fn start(&mut self) -> Result<Child, Failed> {
        self.command
            .spawn()
            .map_err(|e| self.failed(Cause::Start(e)))
    }

    /// Runs it to its end and gives back what it wrote to standard output.
    ///
    /// # Errors
    /// If it cannot be started, does not end in time, writes more than 256 MiB
    /// or ends with another status than 0.
    pub fn read(mut self, limit: Duration) -> Result<Vec<u8>, Failed> {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.start()?;
        // Both pipes are drained at once: a child blocked on a full stderr
        // would otherwise never close stdout.
        let stdout = drain(child.stdout.take(), MOST, Keep::Start);
        let stderr = drain(child.stderr.take(), STDERR, Keep::End);
        let status = self.wait(&mut child, limit)?;
        let received = stdout.recv_timeout(GRACE);
        let (stdout, cut) = received.map_err(|_| self.failed(Cause::Held))?;
        if cut {
            return Err(self.failed(Cause::TooMuch(MOST)));
        }
        if status.success() {
            return Ok(stdout);
        }
        let (stderr, _) = stderr.recv_timeout(GRACE).unwrap_or_default();
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        Err(self.failed(Cause::Status {
            status,
            stderr,
            stdout,
        }))
    }

    /// Runs it to its end and gives back the last `keep` bytes of what it
    /// wrote to standard output and standard error, as they came.
    ///
    /// # Errors
    /// As [`Call::read`]; the bytes are then the message.
    pub fn tail(mut self, limit: Duration, keep: usize) -> Result<Vec<u8>, Failed> {
        let (read, write) = io::pipe().map_err(|e| self.failed(Cause::Start(e)))?;
        let both = write
            .try_clone()
            .map_err(|e| self.failed(Cause::Start(e)))?;
        self.command.stdout(write).stderr(both);
        let mut child = self.start()?;
        // Our own ends of the pipe go, or it would never end.
        self.command.stdout(Stdio::null()).stderr(Stdio::null());
        let output = drain(Some(read), keep, Keep::End);
        let status = self.wait(&mut child, limit)?;
        let (output, _) = output.recv_timeout(GRACE).unwrap_or_default();
        if status.success() {
            return Ok(output);
        }
        let stderr = String::from_utf8_lossy(&output).into_owned();
        Err(self.failed(Cause::Status {
            status,
            stderr,
            stdout: vec![],
        }))
    }

    /// Runs it to its end with both its outputs going straight into `file`.
    ///
    /// # Errors
    /// If it cannot be started, does not end in time or ends with another
    /// status than 0.
    pub fn save(mut self, limit: Duration, file: File) -> Result<(), Failed> {
        let both = file.try_clone().map_err(|e| self.failed(Cause::Start(e)))?;
        self.command.stdout(file).stderr(both);
        let mut child = self.start()?;
        let status = self.wait(&mut child, limit)?;
        if status.success() {
            return Ok(());
        }
        let (stderr, stdout) = (String::new(), vec![]);
        Err(self.failed(Cause::Status {
            status,
            stderr,
            stdout,
        }))
    }

    /// Runs it until it ends by itself, until `on_line`, which is given each
    /// line of its standard output, says false, or until `listener` is closed.
    ///
    /// # Errors
    /// If it cannot be started or its output cannot be read.
    pub fn follow(
        mut self,
        listener: &Listener,
        mut on_line: impl FnMut(&str) -> bool,
    ) -> Result<(), Failed> {
        self.command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut held = listener.lock();
        if held.closed {
            return Ok(());
        }
        let mut child = self.start()?;
        let stdout = child.stdout.take();
        held.child = Some(child);
        drop(held);
        if let Some(stdout) = stdout {
            for line in BufReader::new(stdout).split(b'\n') {
                let line = line.map_err(|e| self.failed(Cause::Start(e)))?;
                if !on_line(&String::from_utf8_lossy(&line)) {
                    break;
                }
            }
        }
        if let Some(mut child) = listener.lock().child.take() {
            end(&mut child);
        }
        Ok(())
    }

    fn wait(&self, child: &mut Child, limit: Duration) -> Result<ExitStatus, Failed> {
        let end_at = Instant::now() + limit;
        let mut pause = Duration::from_millis(1);
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if Instant::now() >= end_at => {
                    end(child);
                    return Err(self.failed(Cause::TooLong(limit)));
                }
                Ok(None) => thread::sleep(pause),
                Err(e) => return Err(self.failed(Cause::Start(e))),
            }
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}

/// The process of a [`Call::follow`], for whoever wants it to end.
#[derive(Default)]
pub struct Listener {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    child: Option<Child>,
    closed: bool,
}

impl Listener {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the process, and lets no further one begin.
    pub fn close(&self) {
        let mut held = self.lock();
        held.closed = true;
        if let Some(mut child) = held.child.take() {
            end(&mut child);
        }
    }
}

fn end(child: &mut Child) {
    // It may just have ended by itself; there is nothing else to do about it.
    let _ = child.kill();
    let _ = child.wait();
}

/// Which part of too much output is kept.
#[derive(Clone, Copy, PartialEq)]
enum Keep {
    Start,
    End,
}

/// Reads a pipe to its end on a thread of its own. What is received: at most
/// `keep` bytes of it, and whether there was more.
fn drain(
    pipe: Option<impl Read + Send + 'static>,
    keep: usize,
    which: Keep,
) -> mpsc::Receiver<(Vec<u8>, bool)> {
    let (tx, rx) = mpsc::channel();
    thread::spawn(move || {
        let mut kept = Vec::new();
        let mut cut = false;
        let mut buffer = [0; 16 * 1024];
        if let Some(mut pipe) = pipe {
            while let Ok(n @ 1..) = pipe.read(&mut buffer) {
                let Some(new) = buffer.get(..n) else { break };
                if which == Keep::Start && kept.len() + n > keep {
                    cut = true;
                    continue;
                }
                kept.extend_from_slice(new);
                // In large steps, so that a long output is not moved about.
                if kept.len() > 2 * keep.max(buffer.len()) && which == Keep::End {
                    cut = true;
                    kept.drain(..kept.len() - keep);
                }
            }
        }
        if which == Keep::End && kept.len() > keep {
            cut = true;
            kept.drain(..kept.len() - keep);
        }
        // Whoever waited may have given up.
        let _ = tx.send((kept, cut));
    });
    rx
}

/// This very program, as it was when it was started: a newer one under the
/// same path changes nothing for those that run.
const OURSELVES: &str = "/proc/self/exe";

/// Starts this program again with `args`, to live on without us: `env` is its
/// whole environment, `lock` its standard input, `log` takes its outputs.
///
/// # Errors
/// As the operating system gives them.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn start_ourselves<'a>(
    args: &[&OsStr],
    env: impl IntoIterator<Item = (&'a str, &'a str)>,
    dir: &Path,
    lock: File,
    log: File,
) -> io::Result<Child> {
    let log_too = log.try_clone()?;
    Command::new(OURSELVES)
        .arg0("orchestrator")
        .args(args)
        .env_clear()
        .envs(env)
        .current_dir(dir)
        .stdin(lock)
        .stdout(log)
        .stderr(log_too)
        .spawn()
}

/// Starts this program again with `args`, as a child that shares our
/// environment and outputs, with `lock` as its standard input.
///
/// # Errors
/// As the operating system gives them.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn start_child(args: &[&OsStr], lock: File) -> io::Result<Child> {
    Command::new(OURSELVES)
        .arg0("orchestrator")
        .args(args)
        .stdin(lock)
        .spawn()
}

/// Becomes another program, without input, in `dir`. Comes back only with the
/// reason why that failed.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn become_program(argv: &[OsString], dir: &Path) -> io::Error {
    let Some((program, args)) = argv.split_first() else {
        return io::Error::new(io::ErrorKind::NotFound, "no command");
    };
    Command::new(program)
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .exec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Call {
        Call::new("sh").args(["-c", script])
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_flood_on_stderr_does_not_block_stdout() {
        let script = "head -c 3000000 /dev/zero >&2; echo fine";
        assert_eq!(sh(script).read(LONG).unwrap(), b"fine\n");
    }

    #[test]
    fn a_failure_carries_stderr_but_neither_arguments_nor_environment() {
        let bad = sh("echo no such image >&2; exit 125 # hunter1").env("TOKEN", "hunter2");
        let bad = bad.read(LONG).unwrap_err();
        assert_eq!(
            bad.to_string(),
            "`sh -c` failed with exit code 125: no such image"
        );
        assert_eq!(bad.code(), Some(125));
        assert!(!format!("{bad:?}").contains("hunter"));
    }

    #[test]
    fn a_hung_command_is_given_up() {
        let bad = sh("exec sleep 600")
            .read(Duration::from_millis(50))
            .unwrap_err();
        assert!(matches!(bad.cause, Cause::TooLong(_)), "{bad}");
    }

    #[test]
    fn an_orphan_that_holds_the_pipe_does_not_hold_us_nor_is_half_an_output_taken() {
        let bad = sh("sleep 6 & echo half").read(LONG).unwrap_err();
        assert!(matches!(bad.cause, Cause::Held), "{bad}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let bad = Call::new("no-such-docker")
            .args(["ps"])
            .read(LONG)
            .unwrap_err();
        assert!(
            bad.to_string()
                .starts_with("cannot start `no-such-docker ps`: "),
            "{bad}"
        );
    }

    #[test]
    fn a_tail_is_the_end_of_both_outputs() {
        let out = sh("seq 100000; echo last >&2").tail(LONG, 12).unwrap();
        assert_eq!(out, b"100000\nlast\n");
    }

    #[test]
    fn lines_are_followed_until_told_otherwise() {
        let mut seen = vec![];
        let call = sh("echo a; echo b; exec sleep 600");
        call.follow(&Listener::default(), |line| {
            seen.push(line.to_owned());
            line != "b"
        })
        .unwrap();
        assert_eq!(seen, ["a", "b"]);
    }

    #[test]
    fn a_closed_listener_ends_its_process_and_begins_no_other() {
        let listener = Listener::default();
        let call = sh("echo a; exec sleep 600");
        call.follow(&listener, |_| {
            listener.close();
            true
        })
        .unwrap();
        sh("exit 1").follow(&listener, |_| panic!()).unwrap();
    }
}
