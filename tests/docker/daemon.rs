//! A daemon that is away, or goes away under running agents.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Stdio},
    rc::Rc,
    sync::Arc,
};

use rustix::process::Signal;
use serde_json::json;

use super::{BEGIN, Docker, Image};
use crate::world::{World, kill};

/// A docker daemon that is nobody else's, so that it may be ended.
struct Daemon {
    /// Short, for the sockets in it.
    dir: PathBuf,
}

impl Daemon {
    /// None where that cannot be: it takes root.
    fn new(world: &World) -> Option<Rc<Daemon>> {
        if !rustix::process::geteuid().is_root()
            || world.try_call("dockerd", &["--version"]).is_err()
            || world.try_call("unshare", &["--net", "true"]).is_err()
        {
            return None;
        }
        let dir = std::env::temp_dir().join(&world.owner);
        fs::create_dir(&dir).unwrap();
        world.set(
            "DOCKER_HOST",
            format!("unix://{}/docker.sock", dir.display()),
        );
        let daemon = Rc::new(Daemon { dir });
        let (at_end, on_failure) = (Rc::clone(&daemon), Rc::clone(&daemon));
        world.at_end(move |world| at_end.clear(world));
        world.on_failure(move |_| {
            let log = fs::read_to_string(on_failure.dir.join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            format!(
                "--- the daemon\n{}",
                lines[lines.len().saturating_sub(60)..].join("\n")
            )
        });
        Some(daemon)
    }

    /// Starts it, and comes back when it answers.
    fn start(&self, world: &World, more: &[&str]) -> Child {
        let dir = self.dir.display();
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("log"));
        // In a network of its own: a daemon without a bridge removes docker0,
        // which is another daemon's.
        let mut command = world.command("unshare");
        command.args(["--net", "dockerd"]);
        // Not one of the processes that the world ends with SIGKILL.
        command
            .env("HOME", &self.dir)
            .stdout(Stdio::null())
            .stderr(log.unwrap());
        for (option, value) in [
            ("data-root", "data"),
            ("exec-root", "exec"),
            ("pidfile", "pid"),
        ] {
            command.arg(format!("--{option}={dir}/{value}"));
        }
        command.arg(format!("--host=unix://{dir}/docker.sock"));
        // Whatever containerd it finds: nothing in common with other daemons.
        command.arg(format!("--containerd-namespace={}", world.owner));
        command.arg(format!("--containerd-plugins-namespace={}-p", world.owner));
        command.args([
            "--bridge=none",
            "--iptables=false",
            "--ip-forward=false",
            "--storage-driver=vfs",
        ]);
        let child = command.args(more).spawn().unwrap();
        world.wait_for("the daemon answers", || {
            world.try_call("docker", &["version"]).is_ok()
        });
        child
    }

    /// Ends it, and waits until it has gone.
    fn end(&self, world: &World, mut daemon: Child, signal: Signal) {
        kill(daemon.id() as i32, signal);
        daemon.wait().unwrap();
        // Its containerd goes with it. Where nobody takes notice of that, the
        // next daemon would take it for alive.
        let pid = self.dir.join("exec/containerd/containerd.pid");
        if let Ok(containerd) = fs::read_to_string(&pid) {
            let words = format!("/proc/{}/cmdline", containerd.trim());
            world.wait_for("containerd has gone", || {
                fs::read(&words).unwrap_or_default().is_empty()
            });
            let _ = fs::remove_file(pid);
        }
    }

    fn clear(&self, world: &World) {
        let read = |name: &str| {
            fs::read_to_string(self.dir.join(name))
                .ok()?
                .trim()
                .parse()
                .ok()
        };
        // The daemon ends the containerd that it has started.
        let pids: Vec<i32> = ["pid", "exec/containerd/containerd.pid"]
            .into_iter()
            .filter_map(read)
            .collect();
        let ours = |pid: &i32| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&words).contains(&*self.dir.to_string_lossy())
        };
        for pid in pids {
            if ours(&pid) {
                kill(pid, Signal::TERM);
                let begun = std::time::Instant::now();
                while ours(&pid) && begun.elapsed() < crate::world::PATIENCE {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
            }
        }
        // What a daemon that was killed has left mounted.
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let mounts = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for mount in mounts.filter(|m| m.starts_with(&*self.dir.to_string_lossy())) {
            let _ = world.try_call("umount", &["--lazy", mount]);
        }
        if let Err(e) = fs::remove_dir_all(&self.dir) {
            eprintln!("cannot remove {}: {e}", self.dir.display());
        }
    }
}

#[test]
fn agents_survive_their_daemon_or_are_tried_again() {
    let world = World::new("restart");
    let Some(daemon) = Daemon::new(&world) else {
        super::say("skipped: a daemon that goes away, for that takes root and dockerd");
        return;
    };
    let first = daemon.start(&world, &[]);
    let host = format!("unix://{}/docker.sock", daemon.dir.display());
    let image = Arc::new(Image::build(&world, Some(host.into())));
    let docker = Docker::with(world, image);
    let ids = ["A-1", "A-2", "A-3"];
    docker.items(&ids.map(|id| json!({"id": id})).into_iter().collect());
    let agent = format!("rmdir /ledger/*.lives; {BEGIN} await go");
    let started = docker
        .orchestrator()
        .agent(&agent)
        .arg("--max-attempts=4")
        .start();
    let begun = |attempt| {
        docker.wait_for("all agents run", || {
            let names = docker.call(
                "docker",
                &["ps", "--format={{.Label \"recac.io/item-id\"}}"],
            );
            let mut names: Vec<&str> = names.lines().collect();
            names.sort_unstable();
            assert!(
                names.windows(2).all(|two| two[0] != two[1]),
                "two at once: {names:?}"
            );
            ids.iter().all(|id| docker.begun(id) == attempt) && names.len() == ids.len()
        });
    };

    begun(1);
    // A daemon that is told to end takes its containers along.
    daemon.end(&docker, first, Signal::TERM);
    started.wait_for_log("so nothing is done");
    let second = daemon.start(&docker, &[]);
    begun(2);
    // Under one that dies they live on, and the next one adopts them
    let before = docker.containers();
    daemon.end(&docker, second, Signal::KILL);
    let third = daemon.start(&docker, &["--live-restore"]);
    begun(2);
    assert_eq!(docker.containers(), before);
    // or ends them.
    daemon.end(&docker, third, Signal::KILL);
    let fourth = daemon.start(&docker, &[]);
    begun(3);
    docker.give("go");
    docker.wait_for("all is reported", || docker.outcomes().len() >= ids.len());
    docker.wait_for("nothing is left", || docker.containers().is_empty());
    assert_eq!(started.terminate().code, Some(0));
    for id in ids {
        let outcome = docker.outcome(id);
        assert_eq!(
            (&outcome["outcome"], &outcome["attempts"]),
            (&json!("succeeded"), &json!(3)),
            "{id}"
        );
        assert_eq!(docker.begun(id), 3, "{id}");
        assert_eq!(outcome["history"].as_array().unwrap().len(), 2, "{id}");
    }
    // The world ends it, when the last container is gone.
    drop((docker, fourth));
}

#[test]
fn a_daemon_that_is_away_costs_no_item_an_attempt() {
    let Some(docker) = Docker::new("away") else {
        return;
    };
    docker.items(&json!([{"id": "A-1"}]));
    let orchestrator = docker
        .orchestrator()
        .agent("true")
        .arg("--start-timeout=1s");
    let nowhere = format!("unix://{}", docker.path("no.sock").display());
    let output = orchestrator.clone().env("DOCKER_HOST", nowhere).finish(1);
    let said = output.stderr.matches("so nothing is done").count();
    assert_eq!(said, 1, "told once:\n{}", output.stderr);
    assert_eq!(docker.outcomes().len(), 0);
    orchestrator.finish(0);
    assert_eq!(docker.outcome("A-1")["attempts"], 1);
    docker.assert_nothing_left();
}
