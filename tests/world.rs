//! A world for each test: a directory, an owner and names of its own, and the
//! real program started in it from outside. When it goes, it takes with it
//! all that was started or made in it, and nothing else. A test that fails
//! says what the world looked like.

use std::{
    cell::RefCell,
    ffi::{OsStr, OsString},
    fmt::Write as _,
    fs::{self, File},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long anything is waited for, on the slowest and busiest machine. Never
/// how long a test takes: it looks every [`LOOK`], or less often where a look
/// costs something.
pub const PATIENCE: Duration = Duration::from_secs(180);
/// How long a whole call of the program may take.
const WHOLE: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(20);
/// Of each text in a report of a failure, from its end.
const SHOWN: usize = 16 * 1024;

/// What one test has for itself.
pub struct World {
    /// Scratch. Everything is in here.
    pub dir: PathBuf,
    /// No other test has it, nor any other run of this test.
    pub owner: String,
    env: RefCell<Vec<(OsString, OsString)>>,
    /// Of every call of the program: its command line and where its output is.
    calls: RefCell<Vec<(Vec<OsString>, PathBuf)>>,
    /// Looked at for a report of a failure.
    looks: RefCell<Vec<Look>>,
    ends: RefCell<Vec<End>>,
}

/// Says something about the world for a report of a failure.
type Look = Box<dyn Fn(&World) -> String>;
/// Takes away what was made outside of the directory.
type End = Box<dyn FnOnce(&World)>;

impl World {
    /// A new one. `test` is for people who look at what is there.
    pub fn new(test: &str) -> World {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let moment = now.expect("a clock after 1970").as_nanos() as u32;
        let unique = format!(
            "{:x}-{moment:x}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let test: String = test.chars().take(15).collect();
        let owner = format!("t{unique}-{}", test.replace('_', "-"));
        let owner = owner.trim_end_matches('-').to_owned();
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&owner);
        fs::create_dir_all(dir.join("home")).unwrap();
        // Nothing of the environment of whoever runs the tests, but what it
        // takes to find programs and the daemon.
        let kept = ["PATH", "DOCKER_HOST", "LLVM_PROFILE_FILE"];
        let kept = kept.iter().filter_map(|name| {
            let value = std::env::var_os(name)?;
            Some((OsString::from(name), value))
        });
        let home = (OsString::from("HOME"), dir.join("home").into_os_string());
        World {
            env: RefCell::new(kept.chain([home]).collect()),
            dir,
            owner,
            calls: RefCell::default(),
            looks: RefCell::default(),
            ends: RefCell::default(),
        }
    }

    /// Sets a variable for everything that is started from now on.
    pub fn set(&self, name: &str, value: impl AsRef<OsStr>) {
        let mut env = self.env.borrow_mut();
        env.retain(|(n, _)| n != name);
        env.push((name.into(), value.as_ref().to_owned()));
    }

    /// Has this said, too, when the test fails.
    pub fn on_failure(&self, look: impl Fn(&World) -> String + 'static) {
        self.looks.borrow_mut().push(Box::new(look));
    }

    /// Has this done at the end, however the test went, when nothing that was
    /// started in this world runs any more. The last one first.
    pub fn at_end(&self, end: impl FnOnce(&World) + 'static) {
        self.ends.borrow_mut().push(Box::new(end));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn state_dir(&self) -> PathBuf {
        self.path("state")
    }

    /// Puts a work file in place, at once.
    pub fn items(&self, items: &Value) {
        let new = self.path("work.json.new");
        fs::write(&new, serde_json::to_vec_pretty(items).unwrap()).unwrap();
        fs::rename(new, self.path("work.json")).unwrap();
    }

    /// A command line of the program in this world, to be added to.
    pub fn orchestrator(&self) -> Orchestrator<'_> {
        let path = |flag: &str, name| {
            let mut arg = OsString::from(flag);
            arg.push(self.path(name));
            arg
        };
        Orchestrator {
            world: self,
            args: vec![
                "--poller=file".into(),
                path("--work-file=", "work.json"),
                path("--state-dir=", "state"),
                format!("--owner={}", self.owner).into(),
                "--interval=1s".into(),
                "--retry-backoff=100ms".into(),
                "--verbose".into(),
            ],
            env: vec![],
        }
    }

    /// The lines of the outcomes file that are whole, in their order.
    pub fn outcomes(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("work.outcomes.jsonl")).unwrap_or_default();
        let whole = text.split_inclusive('\n').filter(|l| l.ends_with('\n'));
        whole
            .map(|line| serde_json::from_str(line).expect("a line of the outcomes is JSON"))
            .collect()
    }

    /// The one outcome of this item.
    #[track_caller]
    pub fn outcome(&self, id: &str) -> Value {
        let mut all = self.outcomes();
        all.retain(|outcome| outcome["id"] == id);
        assert_eq!(all.len(), 1, "outcomes of {id:?}");
        all.remove(0)
    }

    /// Looks again and again until there is something.
    #[track_caller]
    pub fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            let looked = Instant::now();
            if let Some(found) = look() {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
            // Those who wait shall not take the machine from what they wait for.
            thread::sleep(LOOK.max(4 * looked.elapsed()));
        }
    }

    /// Looks again and again until it is so.
    #[track_caller]
    pub fn wait_for(&self, what: &str, mut so: impl FnMut() -> bool) {
        self.until(what, || so().then_some(()));
    }

    /// A command with the environment of this world and no other.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.env.borrow().iter().cloned());
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command that has to succeed; gives its standard output.
    #[track_caller]
    pub fn call(&self, program: &str, args: &[&str]) -> String {
        match self.try_call(program, args) {
            Ok(stdout) => stdout,
            Err(why) => panic!("{why}"),
        }
    }

    /// Runs a command; gives its standard output, or what went wrong.
    pub fn try_call(&self, program: &str, args: &[&str]) -> Result<String, String> {
        let mut command = self.command(program);
        command.args(args);
        output(command, PATIENCE).map_err(|why| format!("{program} {args:?}: {why}"))
    }

    /// The pids of all processes that were started in this world, by what
    /// they have as `HOME`: also of those that nobody waits for any more.
    pub fn processes(&self) -> Vec<i32> {
        let mut home = b"HOME=".to_vec();
        home.extend(self.path("home").as_os_str().as_encoded_bytes());
        let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|e| {
            let pid: i32 = e.file_name().to_str()?.parse().ok()?;
            let environ = fs::read(e.path().join("environ")).ok()?;
            environ.split(|b| *b == 0).any(|v| v == home).then_some(pid)
        });
        pids.collect()
    }

    /// Ends every process that was started in this world.
    fn kill_all(&self) {
        // Again: one of them may have started another in between.
        for _ in 0..3 {
            for pid in self.processes() {
                kill(pid, Signal::KILL);
            }
        }
    }

    fn report(&self) -> String {
        let mut text = format!("=== the world of {}\n", self.owner);
        for (argv, at) in self.calls.borrow().iter() {
            let _ = writeln!(text, "--- {argv:?}");
            for end in ["exit", "stdout", "stderr"] {
                let content = fs::read(at.with_extension(end)).unwrap_or_default();
                let content = shown(&content);
                if !content.is_empty() {
                    let _ = writeln!(text, "- {end}: {content}");
                }
            }
        }
        let outcomes = fs::read(self.path("work.outcomes.jsonl")).unwrap_or_default();
        let _ = writeln!(text, "--- outcomes\n{}", shown(&outcomes));
        let _ = writeln!(text, "--- state directory");
        tree(&self.state_dir(), 0, &mut text);
        for look in self.looks.borrow().iter() {
            text += &look(self);
            text.push('\n');
        }
        text
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.report());
        }
        self.kill_all();
        while let Some(end) = self.ends.get_mut().pop() {
            end(self);
        }
        self.kill_all();
        if let Err(e) = fs::remove_dir_all(&self.dir) {
            eprintln!("cannot remove {}: {e}", self.dir.display());
        }
    }
}

/// A command line in the making.
#[derive(Clone)]
pub struct Orchestrator<'w> {
    world: &'w World,
    args: Vec<OsString>,
    env: Vec<(String, OsString)>,
}

impl<'w> Orchestrator<'w> {
    /// One more argument; of an option given twice the last one counts.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        self.args.extend(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// The agent is this script of a shell. It reads variables.
    pub fn agent(self, script: &str) -> Self {
        let script = script.replace('\'', r"'\''");
        self.arg(format!("--agent-command=sh -c '{script}'"))
    }

    /// Starts it, and comes back while it runs.
    pub fn start(self) -> Started<'w> {
        let world = self.world;
        let program = env!("CARGO_BIN_EXE_orchestrator");
        let number = world.calls.borrow().len();
        let at = world.path(&format!("call-{number}"));
        let create = |end| File::create(at.with_extension(end)).unwrap();
        let mut command = world.command(program);
        command.args(&self.args).envs(self.env);
        // Files, so that nothing is lost and nobody blocks, whoever is killed.
        command.stdout(create("stdout")).stderr(create("stderr"));
        let child = command.spawn().expect("the program can be started");
        let argv = std::iter::once(program.into()).chain(self.args).collect();
        world.calls.borrow_mut().push((argv, at.clone()));
        Started { world, child, at }
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(self) -> Output {
        self.start().wait()
    }

    /// Runs it with `--once --wait` to its end, which has to be this one.
    #[track_caller]
    pub fn finish(self, code: i32) -> Output {
        let output = self.args(["--once", "--wait"]).run();
        assert_eq!(output.code, Some(code), "exit code");
        output
    }
}

/// The program while it runs. It is killed if nobody wants it any more.
pub struct Started<'w> {
    world: &'w World,
    child: Child,
    at: PathBuf,
}

impl Started<'_> {
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        text(&self.at.with_extension("stderr"))
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal);
    }

    /// `kill -9`, of this one process alone.
    #[track_caller]
    pub fn kill(self) -> Output {
        self.signal(Signal::KILL);
        self.wait()
    }

    /// SIGTERM, and its end.
    #[track_caller]
    pub fn terminate(self) -> Output {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Its end.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if begun.elapsed() > WHOLE {
                panic!("the program does not end within {WHOLE:?}");
            }
            thread::sleep(LOOK);
        };
        self.output(status)
    }

    fn output(&self, status: ExitStatus) -> Output {
        fs::write(self.at.with_extension("exit"), format!("{status}")).unwrap();
        Output {
            code: status.code(),
            signal: status.signal(),
            stdout: text(&self.at.with_extension("stdout")),
            stderr: self.stderr(),
        }
    }

    /// Waits until standard error holds this.
    #[track_caller]
    pub fn wait_for_log(&self, words: &str) {
        let what = format!("the log says {words:?}");
        self.world.wait_for(&what, || self.stderr().contains(words));
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a call of the program ended.
#[derive(Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Sends a signal to one process.
pub fn kill(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may be gone already.
        let _ = kill_process(pid, signal);
    }
}

/// Runs a command to its end; gives its standard output, or what went wrong.
pub fn output(mut command: Command, limit: Duration) -> Result<String, String> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|e| e.to_string())?;
    let pid = child.id() as i32;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(limit) else {
        kill(pid, Signal::KILL);
        return Err(format!("takes longer than {limit:?}"));
    };
    let output = output.map_err(|e| e.to_string())?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{}: {}", output.status, stderr.trim())),
    }
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// The end of a text, and how much is missing before it.
fn shown(text: &[u8]) -> String {
    let cut = text.len().saturating_sub(SHOWN);
    let end = String::from_utf8_lossy(&text[cut..]);
    match cut {
        0 => end.into_owned(),
        cut => format!("[{cut} bytes before]\n{end}"),
    }
}

/// A listing, with what is in files that are small.
fn tree(dir: &Path, depth: usize, text: &mut String) {
    let mut entries: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().collect();
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let _ = write!(text, "{:depth$}{name}", "", depth = 2 * depth);
        if path.is_dir() && !path.is_symlink() {
            text.push_str("/\n");
            tree(&path, depth + 1, text);
            continue;
        }
        let content = fs::read(&path).unwrap_or_default();
        let _ = match content.len() {
            0 => writeln!(text),
            1..=400 => writeln!(text, ": {:?}", String::from_utf8_lossy(&content)),
            size => writeln!(text, ": {size} bytes"),
        };
    }
}
