//! Listening to the API server, so that an ended run is noticed at once. What
//! is missed is seen at the next look, so nothing depends on it.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    sync::PoisonError,
    thread,
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    super::lock,
    Kube,
    client::{Call, Error, escaped},
    manifest::REPORTED,
    objects::Job,
};

/// How long the server lets us listen.
const LISTEN: Duration = Duration::from_secs(60);
/// How much longer we do, so that a connection that has died is noticed.
const BEYOND: Duration = Duration::from_secs(15);
/// The pauses before listening again, in seconds: none at first, the last one
/// for as long as it goes on that each time soon ends.
const AGAIN: [u64; 4] = [0, 1, 2, 5];
/// A time that is shorter is one that soon ends.
const SOON: Duration = Duration::from_secs(5);

/// A line of a watch.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// The uids of the runs of which this is no news any more.
#[derive(Default)]
struct Told {
    begun: BTreeSet<String>,
    ended: BTreeSet<String>,
}

/// What such a line means to us.
#[derive(Debug, PartialEq)]
enum News {
    /// Nothing, but the watch goes on from here.
    Older(String),
    /// A run has begun, has ended or was taken away; the watch goes on from
    /// here.
    Newer(String),
    /// The server has forgotten where we are.
    Lost,
}

impl Kube {
    /// Calls `wake` when a run has begun or ended, for as long as that says true.
    pub fn watch(&self, wake: impl Fn() -> bool) {
        let mut version = self.version();
        let mut told = Told::default();
        let mut pauses = AGAIN.into_iter();
        loop {
            let begun = Instant::now();
            match self.listen(&mut version, &mut told, &wake) {
                Ok(true) => {}
                Ok(false) => return,
                Err(why) => log::debug!("not listening to the API server: {why}"),
            }
            if version.is_empty() {
                // A list says where to go on from.
                lock(&self.memory).version.clear();
                if !wake() {
                    return;
                }
                version = self.version();
            }
            if begun.elapsed() >= SOON {
                pauses = AGAIN.into_iter();
            }
            let pause = pauses.next().or(AGAIN.last().copied());
            thread::sleep(Duration::from_secs(pause.unwrap_or_default()));
        }
    }

    /// Where the last list leads on from, as soon as there is one.
    fn version(&self) -> String {
        let mut memory = lock(&self.memory);
        while memory.version.is_empty() {
            let woken = self.listed.wait(memory);
            memory = woken.unwrap_or_else(PoisonError::into_inner);
        }
        memory.version.clone()
    }

    /// Listens once. False if nobody wants to be woken any more; `version` is
    /// empty afterwards if the server has forgotten it.
    fn listen(
        &self,
        version: &mut String,
        told: &mut Told,
        wake: &impl Fn() -> bool,
    ) -> Result<bool, String> {
        let path = format!(
            "{}?watch=1&allowWatchBookmarks=true&timeoutSeconds={}&resourceVersion={}&{}",
            self.jobs(),
            LISTEN.as_secs(),
            escaped(version),
            self.ours()
        );
        let call = Call {
            deadline: LISTEN + BEYOND,
            ..Call::get(&path)
        };
        let stream = match self.client.open(&call) {
            Ok(stream) => stream,
            Err(Error::Said { status: 410, .. }) => {
                version.clear();
                return Ok(true);
            }
            Err(e) => return Err(e.to_string()),
        };
        for line in BufReader::with_capacity(64 * 1024, stream).split(b'\n') {
            let line = line.map_err(|e| e.to_string())?;
            match news(&line, told)? {
                News::Older(at) => *version = at,
                News::Newer(at) => {
                    *version = at;
                    if !wake() {
                        return Ok(false);
                    }
                }
                News::Lost => {
                    version.clear();
                    return Ok(true);
                }
            }
        }
        Ok(true)
    }
}

/// Reads a line.
fn news(line: &[u8], told: &mut Told) -> Result<News, String> {
    let odd = |e: serde_json::Error| format!("cannot read what it says: {e}");
    let line: Line = serde_json::from_slice(line).map_err(odd)?;
    if line.kind == "ERROR" {
        return Ok(News::Lost);
    }
    let job: Job = serde_json::from_slice(line.object.get().as_bytes()).map_err(odd)?;
    let meta = job.metadata;
    let version = meta.resource_version.clone();
    let news = match line.kind {
        "DELETED" => {
            told.begun.remove(&meta.uid);
            told.ended.remove(&meta.uid);
            !meta.annotations.contains_key(REPORTED)
        }
        "ADDED" | "MODIFIED" => {
            let ready = job.status.ready == Some(1);
            let ended = Job {
                metadata: meta.clone(),
                ..job
            }
            .has_ended();
            let told_of = meta.annotations.contains_key(REPORTED);
            // From its begin on its time runs, and only a look says how long.
            ended && !told_of && told.ended.insert(meta.uid.clone())
                || ready && told.begun.insert(meta.uid)
        }
        _ => false,
    };
    Ok(match news {
        true => News::Newer(version),
        false => News::Older(version),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn line(kind: &str, status: Value, annotations: Value) -> Vec<u8> {
        let object = json!({
            "kind": "Job",
            "metadata": {"name": "a", "uid": "u", "resourceVersion": "7", "annotations": annotations},
            "status": status,
        });
        json!({"type": kind, "object": object})
            .to_string()
            .into_bytes()
    }

    #[test]
    fn begin_and_end_of_a_run_are_news_once() {
        let mut told = Told::default();
        let mut of = |kind: &str, status: Value, annotations: Value| {
            news(&line(kind, status, annotations), &mut told).unwrap()
        };
        let (live, ready) = (json!({"active": 1}), json!({"active": 1, "ready": 1}));
        let ended = json!({"conditions": [{"type": "Failed", "status": "True"}]});
        let (older, new) = (News::Older("7".into()), News::Newer("7".into()));
        assert_eq!(of("ADDED", live.clone(), json!({})), older);
        assert_eq!(of("BOOKMARK", json!({}), json!({})), older);
        assert_eq!(of("MODIFIED", ready.clone(), json!({})), new);
        assert_eq!(of("MODIFIED", ready.clone(), json!({})), older);
        assert_eq!(of("MODIFIED", ended.clone(), json!({})), new);
        assert_eq!(of("MODIFIED", ended.clone(), json!({})), older);
        assert_eq!(of("MODIFIED", ended.clone(), json!({REPORTED: "x"})), older);
        assert_eq!(of("DELETED", ended.clone(), json!({REPORTED: "x"})), older);
        assert_eq!(of("DELETED", live, json!({})), new);
        assert_eq!(of("ADDED", ended, json!({})), new);
    }

    #[test]
    fn what_is_forgotten_or_odd_is_no_news() {
        let mut told = Told::default();
        let gone = br#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}"#;
        assert_eq!(news(gone, &mut told), Ok(News::Lost));
        for odd in ["", "{", "{}", r#"{"type":"ADDED","object":7}"#] {
            assert!(news(odd.as_bytes(), &mut told).is_err(), "{odd}");
        }
    }
}
