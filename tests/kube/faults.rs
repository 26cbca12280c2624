//! Against the double: what a real server does not do on command.

mod cost;
mod leader;
mod outcomes;
mod server;
mod states;
mod watch;

use std::{fs, ops::Deref, os::unix::fs::PermissionsExt, rc::Rc};

use serde_json::{Value, json};

use super::double::{Double, NAMESPACE, TOKEN};
use crate::{
    kube,
    world::{Orchestrator, World},
};

/// A world with a double.
pub struct Faked {
    world: World,
    pub double: Rc<Double>,
}

impl Deref for Faked {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

/// Gives the kubeconfig as it is, which is JSON, with one context and nothing
/// in other files.
const KUBECTL: &str = r#"#!/bin/sh
[ "$1 $2" = "config view" ] || { echo "error: not a thing for tests: $*" >&2; exit 1; }
file=$KUBECONFIG before=
for word; do
    case $before in --kubeconfig) file=$word;; esac
    case $word in --kubeconfig=*) file=${word#*=};; esac
    before=$word
done
cat "$file"
"#;

impl Faked {
    pub fn new(test: &str) -> Faked {
        let world = World::new(test);
        let double = Rc::new(Double::start());
        let bin = world.path("bin");
        fs::create_dir(&bin).unwrap();
        fs::write(bin.join("kubectl"), KUBECTL).unwrap();
        fs::set_permissions(bin.join("kubectl"), fs::Permissions::from_mode(0o700)).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        world.set("PATH", format!("{}:{path}", bin.display()));
        double.kubeconfig(&world.path("kubeconfig"), json!({"token": TOKEN}));
        let shown = Rc::clone(&double);
        world.on_failure(move |_| shown.report());
        Faked { world, double }
    }

    /// A command line of the program that leads to the double. The namespace
    /// is that of the context.
    pub fn orchestrator(&self) -> Orchestrator<'_> {
        self.world
            .orchestrator()
            .arg("--mode=k8s")
            .arg(format!(
                "--kubeconfig={}",
                self.path("kubeconfig").display()
            ))
            .arg("--image=agent:test")
            .arg("--agent-command=true")
    }

    /// The runs of this item.
    pub fn jobs(&self, id: &str) -> Vec<Value> {
        let mut jobs = self.double.jobs();
        jobs.retain(|job| kube::mark(job, "recac.io/item-id") == id);
        jobs
    }

    /// The name of the newest run of this item, which there will be.
    #[track_caller]
    pub fn job(&self, id: &str) -> String {
        self.until(&format!("{id} has a job"), || {
            Some(kube::name(self.jobs(id).last()?).to_owned())
        })
    }

    /// The outcomes in the ConfigMap.
    pub fn outcomes(&self) -> Vec<Value> {
        kube::outcomes(&self.outcome_map().unwrap_or_default())
    }

    pub fn outcome_map(&self) -> Option<Value> {
        let name = format!("recac-orchestrator-outcomes-{}", self.owner);
        self.double.object("", "configmaps", &name)
    }

    /// The one outcome of this item.
    #[track_caller]
    pub fn outcome(&self, id: &str) -> Value {
        kube::outcome(self.outcomes(), id)
    }

    /// How many LISTs of Jobs there have been, and how they were answered.
    pub fn lists(&self, status: u16) -> usize {
        let jobs = format!("/namespaces/{NAMESPACE}/jobs");
        let mut asked = self.double.asked("GET", &jobs);
        asked.retain(|request| !request.is_watch() && request.status == status);
        asked.len()
    }

    /// Waits for more passes of the loop.
    #[track_caller]
    pub fn passes(&self, status: u16, more: usize) {
        let before = self.lists(status);
        self.wait_for("the loop goes round", || {
            self.lists(status) >= before + more
        });
    }
}
