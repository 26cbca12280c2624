//! Which of several replicas acts: the one that holds a Lease
//! (<https://kubernetes.io/docs/concepts/architecture/leases/>).
//!
//! Times are measured on our own monotonic clock: those in the Lease are for
//! people. Whoever holds it stops acting well before anybody else may take it.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::random_hex,
    client::{self, Call, Client, Error, JSON},
    objects::Meta,
};
use crate::{clock, http::Method};

/// How long a Lease holds after its last renewal.
const HOLDS: Duration = Duration::from_secs(15);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(5);
/// How long after its last renewal its holder acts on.
const ACTS: Duration = Duration::from_secs(10);
/// How often one that stands by looks, and a renewal that failed is repeated.
const LOOK: Duration = Duration::from_secs(1);
/// How long a call may take.
const CALL: Duration = Duration::from_secs(4);

/// A place in the election of one owner.
pub struct Lease {
    client: Arc<Client>,
    namespace: String,
    name: String,
    identity: String,
    held: Mutex<Held>,
    closing: Condvar,
}

/// Where we stand.
#[derive(Default)]
struct Held {
    /// Until when we act.
    until: Option<Instant>,
    /// What the Lease looked like, and since when it has.
    seen: Option<(Seen, Instant)>,
    /// Whom we have called the leader.
    said: String,
    closed: bool,
}

/// What the Lease says.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    version: String,
    holder: String,
    holds: Duration,
    changes: u64,
    acquired: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    metadata: Meta,
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<u64>,
    lease_transitions: Option<u64>,
    acquire_time: Option<String>,
}

impl Seen {
    fn of(body: &[u8]) -> Result<Seen, Error> {
        let object: Object = client::read(body)?;
        Ok(Seen {
            version: object.metadata.resource_version,
            holder: object.spec.holder_identity.unwrap_or_default(),
            holds: Duration::from_secs(object.spec.lease_duration_seconds.unwrap_or(0)),
            changes: object.spec.lease_transitions.unwrap_or(0),
            acquired: object.spec.acquire_time.unwrap_or_default(),
        })
    }
}

impl Lease {
    /// A place in the election for the Lease `name`; nothing may be changed by
    /// `client` until it is won. `pod` is what we are called in it.
    ///
    /// # Errors
    /// If there is no random number to be had, which tells us from another of
    /// that name.
    pub fn new(
        client: Arc<Client>,
        namespace: &str,
        name: String,
        pod: &str,
    ) -> std::io::Result<Lease> {
        let random = random_hex()?;
        client.lead_until(Instant::now());
        Ok(Lease {
            client,
            namespace: namespace.to_owned(),
            name,
            identity: format!("{pod}_{random}"),
            held: Mutex::default(),
            closing: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stands for election until [`Lease::close`]; `changed` is called when we
    /// lead and when we no longer do.
    pub fn stand(&self, changed: impl Fn()) {
        let mut led = false;
        let mut trouble = String::new();
        loop {
            let step = self.step();
            let leads = self.client.leads();
            match step {
                Ok(()) if !trouble.is_empty() => {
                    log::info!("the Lease {} can be reached again", self.name);
                    trouble.clear();
                }
                Ok(()) => {}
                Err(e) => {
                    let why = e.to_string();
                    if why != trouble {
                        log::warn!("the Lease {} cannot be had: {why}", self.name);
                        trouble = why;
                    }
                }
            }
            if leads != led {
                led = leads;
                match leads {
                    true => log::info!("leads as {}", self.identity),
                    false => log::warn!("leads no longer; stands by"),
                }
                changed();
            }
            let pause = match leads && trouble.is_empty() {
                true => RENEW,
                false => LOOK,
            };
            let held = self.lock();
            let (held, _) = self
                .closing
                .wait_timeout_while(held, pause, |held| !held.closed)
                .unwrap_or_else(PoisonError::into_inner);
            if held.closed {
                return;
            }
        }
    }

    /// Looks at the Lease, and takes or renews it if it is ours to take.
    fn step(&self) -> Result<(), Error> {
        let mut held = self.lock();
        if held.closed {
            return Ok(());
        }
        // We know what it looks like as long as nobody else has touched it.
        if held.until.is_none_or(|until| Instant::now() >= until) || held.seen.is_none() {
            self.look(&mut held)?;
        }
        let Some((seen, since)) = held.seen.clone() else {
            return self.create(&mut held);
        };
        let ours = seen.holder == self.identity;
        let free = seen.holder.is_empty() || since.elapsed() > seen.holds;
        if !ours && !free {
            self.lead(&mut held, None);
            if held.said != seen.holder {
                log::info!("stands by: {} leads", seen.holder);
                held.said = seen.holder;
            }
            return Ok(());
        }
        let written = self.write(&mut held, &seen, ours);
        if let Err(e) = &written
            && (e.is(409) || e.is(404))
        {
            // Somebody else was faster, or it was taken away.
            held.seen = None;
            self.look(&mut held)?;
            let lost = held.seen.as_ref();
            if lost.is_none_or(|(seen, _)| seen.holder != self.identity) {
                self.lead(&mut held, None);
            }
            return Ok(());
        }
        written
    }

    fn look(&self, held: &mut Held) -> Result<(), Error> {
        let path = format!("{}/{}", self.leases(), self.name);
        let call = Call {
            deadline: CALL,
            ..Call::get(&path)
        };
        let seen = match self.client.call_unled(&call) {
            Ok(answer) => Some(Seen::of(&answer.body)?),
            Err(e) if e.is(404) => None,
            Err(e) => return Err(e),
        };
        held.seen = match (seen, held.seen.take()) {
            (Some(seen), Some((before, since))) if seen == before => Some((seen, since)),
            (Some(seen), _) => Some((seen, Instant::now())),
            (None, _) => None,
        };
        Ok(())
    }

    fn leases(&self) -> String {
        format!(
            "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
            self.namespace
        )
    }

    fn create(&self, held: &mut Held) -> Result<(), Error> {
        let now = stamp();
        let lease = self.lease(None, &self.identity, HOLDS, 0, &now, &now);
        match self.send(held, Method::Post, &self.leases(), &lease) {
            // The next look finds it.
            Err(e) if e.is(409) => Ok(()),
            other => other,
        }
    }

    fn write(&self, held: &mut Held, seen: &Seen, ours: bool) -> Result<(), Error> {
        let now = stamp();
        let (changes, acquired) = match ours && !seen.acquired.is_empty() {
            true => (seen.changes, seen.acquired.as_str()),
            false => (seen.changes + 1, now.as_str()),
        };
        let version = Some(seen.version.as_str());
        let lease = self.lease(version, &self.identity, HOLDS, changes, acquired, &now);
        let path = format!("{}/{}", self.leases(), self.name);
        self.send(held, Method::Put, &path, &lease)
    }

    fn lease(
        &self,
        version: Option<&str>,
        holder: &str,
        holds: Duration,
        changes: u64,
        acquired: &str,
        renewed: &str,
    ) -> Value {
        let mut meta = json!({ "name": self.name });
        if let Some(version) = version {
            meta["resourceVersion"] = json!(version);
        }
        json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": meta,
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": holds.as_secs(),
                "acquireTime": acquired,
                "renewTime": renewed,
                "leaseTransitions": changes,
            },
        })
    }

    /// Writes the Lease as ours. What counts is when the writing was begun.
    fn send(&self, held: &mut Held, method: Method, path: &str, to: &Value) -> Result<(), Error> {
        let begun = Instant::now();
        let body = to.to_string();
        let call = Call {
            deadline: CALL,
            ..Call::change(method, path, JSON, body.as_bytes())
        };
        let answer = self.client.call_unled(&call)?;
        held.seen = Some((Seen::of(&answer.body)?, Instant::now()));
        self.lead(held, Some(begun + ACTS));
        Ok(())
    }

    fn lead(&self, held: &mut Held, until: Option<Instant>) {
        held.until = until;
        self.client.lead_until(until.unwrap_or_else(Instant::now));
    }

    /// Gives the Lease away, if it is ours, and stands for it no more.
    pub fn close(&self) {
        let mut held = self.lock();
        held.closed = true;
        self.closing.notify_all();
        let led = held.until.is_some_and(|until| Instant::now() < until);
        self.lead(&mut held, None);
        let Some((seen, _)) = held.seen.take().filter(|_| led) else {
            return;
        };
        let version = Some(seen.version.as_str());
        let second = Duration::from_secs(1);
        let lease = self.lease(version, "", second, seen.changes, &seen.acquired, &stamp());
        let (path, body) = (
            format!("{}/{}", self.leases(), self.name),
            lease.to_string(),
        );
        let call = Call {
            deadline: CALL,
            ..Call::change(Method::Put, &path, JSON, body.as_bytes())
        };
        if let Err(e) = self.client.call_unled(&call) {
            log::debug!("the Lease is not given away, and ends by itself: {e}");
        }
    }
}

/// Now, with the microseconds without which a Lease is refused.
fn stamp() -> String {
    clock::now().to_string().replace('Z', "000Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_leads_stops_before_another_may_begin() {
        // A call that was begun just before is over by then, too.
        assert!(ACTS + CALL < HOLDS && RENEW + CALL < ACTS);
    }

    #[test]
    fn times_have_microseconds() {
        let now = stamp();
        assert_eq!(now.len(), "2026-11-22T09:00:00.000000Z".len());
        assert!(now.ends_with("000Z"), "{now}");
    }

    #[test]
    fn a_lease_without_anything_is_free() {
        let seen = Seen::of(br#"{"metadata":{"resourceVersion":"7"},"spec":{}}"#).unwrap();
        assert_eq!((seen.version.as_str(), seen.holder.as_str()), ("7", ""));
        let null = br#"{"spec":{"holderIdentity":null,"leaseDurationSeconds":null}}"#;
        assert_eq!(Seen::of(null).unwrap().holds, Duration::ZERO);
        assert!(Seen::of(b"7").is_err());
    }
}
