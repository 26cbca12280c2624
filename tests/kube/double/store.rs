//! The objects, their versions, and what has changed since when, as etcd keeps
//! them. Never judges what it is given.

use std::collections::{BTreeMap, BTreeSet};

use recac_orchestrator::core::Stamp;
use serde_json::{Map, Value, json};

/// A kind of object that the double knows.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// Empty for the core.
    pub group: &'static str,
    pub plural: &'static str,
    pub name: &'static str,
}

pub const JOBS: &Kind = &Kind {
    group: "batch",
    plural: "jobs",
    name: "Job",
};
pub const PODS: &Kind = &Kind {
    group: "",
    plural: "pods",
    name: "Pod",
};
pub const EVENTS: &Kind = &Kind {
    group: "",
    plural: "events",
    name: "Event",
};
const KINDS: &[&Kind] = &[
    JOBS,
    PODS,
    EVENTS,
    &Kind {
        group: "",
        plural: "configmaps",
        name: "ConfigMap",
    },
    &Kind {
        group: "",
        plural: "secrets",
        name: "Secret",
    },
    &Kind {
        group: "coordination.k8s.io",
        plural: "leases",
        name: "Lease",
    },
];

impl Kind {
    /// Which one is meant; all are of version `v1`.
    pub fn find(group: &str, plural: &str) -> Option<&'static Kind> {
        let mut kinds = KINDS.iter().copied();
        kinds.find(|kind| kind.group == group && kind.plural == plural)
    }

    pub fn api_version(&self) -> String {
        match self.group {
            "" => "v1".into(),
            group => format!("{group}/v1"),
        }
    }

    /// As messages name it: `jobs.batch`, `secrets`.
    pub fn resource(&self) -> String {
        match self.group {
            "" => self.plural.into(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// With kind and version, as it is told of alone; those of a list have none.
    pub fn whole(&self, object: &Value) -> Value {
        let mut whole = json!({"kind": self.name, "apiVersion": self.api_version()});
        let fields = whole.as_object_mut().unwrap();
        fields.extend(object.as_object().cloned().unwrap_or_default());
        whole
    }
}

/// What the namespace has of its own.
#[derive(Clone, Debug, Default)]
pub struct Namespace {
    /// PodSecurity `restricted` is enforced.
    pub restricted: bool,
    /// `count/jobs.batch` of a quota of this name.
    pub quota: Option<(String, usize)>,
    /// Service accounts beside `default`.
    pub accounts: BTreeSet<String>,
}

/// Something that a watch may have to tell.
#[derive(Clone, Debug)]
pub struct Change {
    pub version: u64,
    pub kind: &'static Kind,
    pub namespace: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

type Key = (&'static str, String, String);

/// All of it.
#[derive(Debug)]
pub struct Store {
    objects: BTreeMap<Key, Value>,
    /// The newest.
    pub version: u64,
    /// Since `forgotten`, in its order.
    pub changes: Vec<Change>,
    /// What happened up to here nobody can be told any more.
    pub forgotten: u64,
    pub namespaces: BTreeMap<String, Namespace>,
    /// Seconds that the server's clock is ahead.
    pub skew: i64,
    made: u64,
}

impl Store {
    pub fn new() -> Store {
        Store {
            objects: BTreeMap::new(),
            version: 300,
            changes: Vec::new(),
            forgotten: 0,
            namespaces: BTreeMap::new(),
            skew: 0,
            made: 0,
        }
    }

    pub fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Option<&Value> {
        let key = (kind.plural, namespace.to_owned(), name.to_owned());
        self.objects.get(&key)
    }

    /// All of a kind in a namespace, by name.
    pub fn list(&self, kind: &Kind, namespace: &str) -> Vec<Value> {
        let ours = |key: &Key| key.0 == kind.plural && key.1 == namespace;
        let objects = self.objects.iter().filter(|(key, _)| ours(key));
        objects.map(|(_, object)| object.clone()).collect()
    }

    /// One of a kind in a namespace of which this is so.
    pub fn find(&self, kind: &Kind, namespace: &str, so: impl Fn(&Value) -> bool) -> Option<Value> {
        let ours = |key: &Key| key.0 == kind.plural && key.1 == namespace;
        let mut all = self.objects.iter().filter(|(key, _)| ours(key));
        all.find(|(_, object)| so(object)).map(|(_, o)| o.clone())
    }

    /// Writes one down under a new version, and gives it as it is now.
    pub fn put(&mut self, kind: &'static Kind, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let (namespace, name) = place(&object);
        let key = (kind.plural, namespace.clone(), name);
        let before = self.objects.insert(key, object.clone());
        self.changes.push(Change {
            version: self.version,
            kind,
            namespace,
            before,
            after: Some(object.clone()),
        });
        object
    }

    pub fn remove(&mut self, kind: &'static Kind, namespace: &str, name: &str) {
        let key = (kind.plural, namespace.to_owned(), name.to_owned());
        let Some(mut before) = self.objects.remove(&key) else {
            return;
        };
        self.version += 1;
        before["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.changes.push(Change {
            version: self.version,
            kind,
            namespace: namespace.to_owned(),
            before: Some(before),
            after: None,
        });
    }

    /// Changes one in place, if it is there and comes out different.
    pub fn change(
        &mut self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) {
        let Some(old) = self.get(kind, namespace, name) else {
            return;
        };
        let mut new = old.clone();
        change(&mut new);
        if new != *old {
            self.put(kind, new);
        }
    }

    /// Compaction: who asks for what was up to now is told to list again.
    pub fn forget(&mut self) {
        self.forgotten = self.version;
        self.changes.clear();
    }

    /// Such as `4f6d0000-0000-4000-8000-00000000002a`, never the same again.
    pub fn uid(&mut self) -> String {
        self.made += 1;
        format!(
            "{:08x}-0000-4000-8000-{:012x}",
            self.made.wrapping_mul(0x9e37_79b9) as u32,
            self.made
        )
    }

    /// The five characters at the end of a generated name.
    pub fn suffix(&mut self) -> String {
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        self.made += 1;
        let mut left = self.made.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8;
        let letters = std::iter::repeat_with(|| {
            let letter = LETTERS[(left % LETTERS.len() as u64) as usize];
            left /= LETTERS.len() as u64;
            letter as char
        });
        letters.take(5).collect()
    }

    /// The server's idea of the time.
    pub fn now(&self) -> Stamp {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.unwrap().as_millis() as i64 + 1000 * self.skew;
        Stamp(now as u64)
    }

    /// The same in words, as metadata has it.
    pub fn time(&self) -> String {
        seconds(self.now())
    }
}

/// Whole seconds, as in `2026-11-22T09:34:00Z`.
pub fn seconds(stamp: Stamp) -> String {
    format!("{}Z", &stamp.to_string()[..19])
}

/// Namespace and name of an object.
pub fn place(object: &Value) -> (String, String) {
    let field = |name: &str| text(&object["metadata"][name]);
    (field("namespace"), field("name"))
}

/// A string; empty if it is none.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A map that may be missing.
pub fn entries(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}
