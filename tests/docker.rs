//! The program against a real Docker Engine, seen from outside: work file,
//! outcomes, exit code, and what docker says.

mod crash;
mod daemon;
mod ends;
mod given;
mod limits;
mod people;

use std::{
    io::Write,
    ops::Deref,
    path::Path,
    process::Command,
    sync::{Arc, Mutex, Once, PoisonError, Weak},
    time::Duration,
};

use serde_json::Value;

use crate::world::{Orchestrator, World, output};

/// Writes down that an attempt began, where nobody can take it back, and that
/// there are two at once.
pub const BEGIN: &str = r#"
    await() { until [ -e "/ledger/$1" ]; do sleep 0.05; done; }
    echo "begin $RECAC_ITEM_ID" >>/ledger/log
    mkdir "/ledger/$RECAC_ITEM_ID.lives" || echo "double $RECAC_ITEM_ID" >>/ledger/log
    "#;
/// Writes down that it ends.
pub const END: &str = r#"
    rmdir "/ledger/$RECAC_ITEM_ID.lives"; echo "end $RECAC_ITEM_ID" >>/ledger/log;
    "#;

/// A world with a docker daemon and an image to make agents of.
pub struct Docker {
    // Goes first: nobody uses the image any more then.
    world: World,
    image: Arc<Image>,
}

impl Deref for Docker {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Docker {
    /// A world of its own for a test. None where no docker daemon answers:
    /// then the test is skipped, but never in CI.
    pub fn new(test: &str) -> Option<Docker> {
        let world = World::new(test);
        if let Err(why) = world.try_call("docker", &["version"]) {
            let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
            assert!(!ci, "no docker daemon answers: {why}");
            static SAY: Once = Once::new();
            SAY.call_once(|| say("skipped: the tests of docker, for no docker daemon answers"));
            return None;
        }
        let image = Image::get(&world);
        Some(Docker::with(world, image))
    }

    pub fn with(world: World, image: Arc<Image>) -> Docker {
        std::fs::create_dir(world.path("ledger")).unwrap();
        world.on_failure(|world| {
            let ps = world.try_call("docker", &["ps", "--all", "--filter", &label(world)]);
            let ps = ps.unwrap_or_else(|e| e);
            let log = std::fs::read_to_string(world.path("ledger/log")).unwrap_or_default();
            format!("--- docker ps --all of this owner\n{ps}\n--- what agents did\n{log}")
        });
        world.at_end(|world| {
            for id in containers(world) {
                // A removal may be under way already.
                let _ = world.try_call("docker", &["rm", "--force", "--volumes", &id]);
            }
        });
        Docker { world, image }
    }

    /// A command line of the program with the image of the tests, whose
    /// agents have a directory that is ours in `/ledger`.
    pub fn orchestrator(&self) -> Orchestrator<'_> {
        // What an agent writes has to be ours to remove.
        let user = rustix::process::getuid().as_raw();
        let group = rustix::process::getgid().as_raw();
        let ledger = self.path("ledger");
        self.world
            .orchestrator()
            .arg(format!("--image={}", self.image.tag))
            .arg("--image-pull-policy=Never")
            .arg(format!(
                "--docker-arg=--volume={}:/ledger",
                ledger.display()
            ))
            .arg(format!("--docker-arg=--user={user}:{group}"))
            .arg("--docker-arg=--network=none")
    }

    /// The ids of the containers of this owner.
    pub fn containers(&self) -> Vec<String> {
        containers(self)
    }

    /// What docker says of the one container of this name.
    #[track_caller]
    pub fn inspect(&self, name: &str) -> Value {
        let text = self.call("docker", &["inspect", "--type=container", name]);
        let mut all: Vec<Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    /// What agents wrote into this file of their common directory.
    pub fn ledger(&self, name: &str) -> String {
        std::fs::read_to_string(self.path("ledger").join(name)).unwrap_or_default()
    }

    pub fn ledger_bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path("ledger").join(name)).unwrap_or_default()
    }

    /// How many attempts at this item began.
    pub fn begun(&self, id: &str) -> usize {
        self.lines(&format!("begin {id}"))
    }

    /// How many of them came to their end by themselves.
    pub fn ended(&self, id: &str) -> usize {
        self.lines(&format!("end {id}"))
    }

    fn lines(&self, wanted: &str) -> usize {
        let log = self.ledger("log");
        log.lines().filter(|line| *line == wanted).count()
    }

    /// No two attempts at one item lived at the same time.
    #[track_caller]
    pub fn assert_never_two_at_once(&self) {
        let log = self.ledger("log");
        assert!(!log.contains("double "), "two at once:\n{log}");
    }

    /// Nothing of this owner is left with the daemon, and no client of it.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        assert_eq!(self.containers(), [] as [String; 0], "containers left");
        self.wait_for("no process is left", || self.processes().is_empty());
    }

    /// Lets agents go that wait for this word: `await go` in their script.
    pub fn give(&self, word: &str) {
        std::fs::write(self.path("ledger").join(word), "").unwrap();
    }

    /// A docker client that writes down its arguments, a line for each word
    /// and an empty one after the last, and then runs `script`, in which
    /// `docker "$@"` is the real one.
    pub fn client(&self, script: &str) -> String {
        let path = self.path("docker-client");
        let text = format!(
            "#!/bin/sh\n{{ for word; do printf '%s\\n' \"$word\"; done; echo; }} >>{}\n{script}\n",
            path_of(&self.path("argv"))
        );
        std::fs::write(&path, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&path, mode).unwrap();
        format!("--docker-binary={}", path_of(&path))
    }
}

/// Says something past the test harness, which shows nothing of a test that
/// passes.
pub fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("\n{line}\n").as_bytes());
}

fn label(world: &World) -> String {
    format!("label=recac.io/owner={}", world.owner)
}

fn containers(world: &World) -> Vec<String> {
    let args = ["ps", "--all", "--quiet", "--no-trunc", "--filter"];
    let args: Vec<&str> = args
        .into_iter()
        .chain([label(world).leak() as &str])
        .collect();
    let ids = world.try_call("docker", &args).unwrap_or_default();
    ids.lines().map(str::to_owned).collect()
}

/// An image with nothing in it but busybox. Made when it is first needed, and
/// removed when no test needs it any more.
pub struct Image {
    pub tag: String,
    docker_host: Option<std::ffi::OsString>,
}

impl Image {
    /// The one that all tests share.
    pub fn get(world: &World) -> Arc<Image> {
        static SHARED: Mutex<Weak<Image>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let image = Arc::new(Image::build(world, std::env::var_os("DOCKER_HOST")));
            *shared = Arc::downgrade(&image);
            image
        })
    }

    /// A new one, with the daemon that the world knows.
    pub fn build(world: &World, docker_host: Option<std::ffi::OsString>) -> Image {
        let root = world.path("image");
        let bin = root.join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let busybox = std::env::split_paths(&path)
            .map(|dir| dir.join("busybox"))
            .find(|path| path.is_file())
            .expect("a statically linked busybox along PATH (package busybox-static)");
        std::fs::copy(busybox, bin.join("busybox")).unwrap();
        let applets = world.call(path_of(&bin.join("busybox")), &["--list"]);
        for applet in applets.lines().filter(|a| *a != "busybox") {
            let _ = std::os::unix::fs::symlink("busybox", bin.join(applet));
        }
        let tar = world.path("image.tar");
        world.call("tar", &["-C", path_of(&root), "-cf", path_of(&tar), "."]);
        let tag = format!("recac-test/{}:1", world.owner);
        world.call(
            "docker",
            &["import", "--change", "ENV PATH=/bin", path_of(&tar), &tag],
        );
        let run = ["run", "--rm", "--network=none", &tag, "busybox", "true"];
        if let Err(why) = world.try_call("docker", &run) {
            panic!("is the busybox along PATH linked statically (busybox-static)? {why}");
        }
        Image { tag, docker_host }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let mut command = Command::new("docker");
        command.args(["rmi", &self.tag]);
        if let Some(host) = &self.docker_host {
            command.env("DOCKER_HOST", host);
        }
        if let Err(why) = output(command, Duration::from_secs(30)) {
            eprintln!("cannot remove the image {}: {why}", self.tag);
        }
    }
}

fn path_of(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}
