//! Calls of the API server, with the credentials as they are now.
//!
//! Tries nothing twice, but for a 401, which is answered by reading the
//! credentials again. Never logs a header or a body; what a server warns of is
//! logged once.

use std::{
    collections::BTreeSet,
    fmt,
    io::Read,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, de::DeserializeOwned};

use super::{
    super::lock,
    access::{Access, Credential, Exec, Origin, User},
    objects::List,
    skew::Skew,
};
use crate::{
    clock,
    http::{self, Answer, Failed, HeaderMap, Method, Proxies, Request},
    redact::shortened,
};

/// How long a call may take.
pub const CALL: Duration = Duration::from_secs(30);
/// Objects on a page of a LIST.
const PAGE: usize = 500;
/// Bytes of an answer that are taken in at most.
const LARGEST: usize = 256 << 20;
/// How long a server that asks for a pause is waited for in a call. A longer
/// pause is kept by refusing calls until it is over.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes that are kept of what a server says of its no.
const SAID: usize = 1024;
/// A credential is replaced when less than this is left of it.
const EARLY: Duration = Duration::from_secs(30);
/// What a list that ran out of time half way is begun anew for, at most.
const ANEW: usize = 3;

/// What else there is to say of a 401.
const NOBODY: &str = "; the API server does not take our credentials, which are those of the \
                      kubeconfig's user or of the service account";

/// The content type of a merge patch.
pub const MERGE: &str = "application/merge-patch+json";
/// The content type of everything else.
pub const JSON: &str = "application/json";

/// Why a call did not do what it was to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The server said no.
    Said {
        /// The HTTP status.
        status: u16,
        /// The word for it in a `Status` object, such as `Forbidden`.
        reason: String,
        /// What it says about it.
        message: String,
    },
    /// There is no answer, and whether the server has acted is not known; or
    /// it was not even asked.
    Silent(String),
}

impl Error {
    /// Whether the server answered with this status.
    #[must_use]
    pub fn is(&self, code: u16) -> bool {
        matches!(self, Error::Said { status, .. } if *status == code)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Said {
                status,
                reason,
                message,
            } if reason.is_empty() => write!(f, "the API server answers {status}: {message}"),
            Error::Said {
                status,
                reason,
                message,
            } => {
                f.write_str(reason)?;
                if message != reason {
                    write!(f, ": {message}")?;
                }
                match status {
                    401 => f.write_str(NOBODY),
                    _ => Ok(()),
                }
            }
            Error::Silent(why) => f.write_str(why),
        }
    }
}

/// A call.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// What is asked.
    pub method: Method,
    /// From the slash on, with its query.
    pub path: &'a str,
    /// Content type and content.
    pub body: Option<(&'a str, &'a [u8])>,
    /// What is wanted back, where that is not plain JSON.
    pub accept: &'a str,
    /// How long it may take.
    pub deadline: Duration,
}

impl<'a> Call<'a> {
    /// A question.
    #[must_use]
    pub fn get(path: &'a str) -> Call<'a> {
        Call {
            method: Method::Get,
            path,
            body: None,
            accept: JSON,
            deadline: CALL,
        }
    }

    /// A change.
    #[must_use]
    pub fn change(method: Method, path: &'a str, kind: &'a str, body: &'a [u8]) -> Call<'a> {
        Call {
            method,
            body: Some((kind, body)),
            ..Call::get(path)
        }
    }

    fn request(
        &self,
        url: &'a str,
        headers: &'a [(&'a str, &'a str)],
        deadline: Duration,
    ) -> Request<'a> {
        Request {
            method: self.method,
            url,
            headers,
            body: self.body,
            deadline,
            largest: LARGEST,
        }
    }
}

/// The API server, and we as it knows us.
pub struct Client {
    origin: Origin,
    /// Of the environment.
    proxies: Proxies,
    now: Mutex<Now>,
    pause: Pause,
    /// The same of the Lease: who is to lead does not wait for the others.
    lease_pause: Pause,
    warned: Mutex<BTreeSet<String>>,
    skew: Mutex<Skew>,
    /// Until when anything may be changed; for ever without an election.
    lead: Mutex<Option<Instant>>,
}

/// Until when nothing is asked, where the server has asked for that, and its
/// words.
type Pause = Mutex<Option<(Instant, String)>>;

/// What is known at the moment of where and who.
struct Now {
    access: Access,
    http: http::Client,
    /// What was read of a token file or said by a plugin.
    held: Option<Held>,
}

enum Held {
    File(Print, String),
    Plugin(Credential),
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, PartialEq)]
struct Print(u64, i64, i64, u64);

impl Print {
    fn of(path: &Path) -> std::io::Result<Print> {
        let meta = std::fs::metadata(path)?;
        Ok(Print(
            meta.ino(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.size(),
        ))
    }
}

impl Client {
    /// A client; nothing is connected yet.
    ///
    /// # Errors
    /// If it is not known where the server is or who we are.
    pub fn new(origin: Origin, proxies: Proxies) -> Result<Client, String> {
        let access = origin.access()?.through(&proxies)?;
        Client::with(origin, proxies, access)
    }

    fn with(origin: Origin, proxies: Proxies, access: Access) -> Result<Client, String> {
        if access.settings.insecure {
            log::warn!(
                "the certificate of the API server is not checked: insecure-skip-tls-verify"
            );
        }
        if let Some(name) = access.passes_by(&proxies) {
            log::warn!(
                "the API server is reached without the proxy of {name}, which does not go \
                 together with tls-server-name here"
            );
        }
        let now = Now::of(access)?;
        Ok(Client {
            origin,
            proxies,
            now: Mutex::new(now),
            pause: Mutex::default(),
            lease_pause: Mutex::default(),
            warned: Mutex::default(),
            skew: Mutex::default(),
            lead: Mutex::default(),
        })
    }

    /// The namespace of the pod or the context.
    #[must_use]
    pub fn namespace(&self) -> Option<String> {
        lock(&self.now).access.namespace.clone()
    }

    /// How the server's clock goes, as far as its answers have said.
    #[must_use]
    pub fn skew(&self) -> Skew {
        *lock(&self.skew)
    }

    /// From now on changes only until then. Before the first call there is no
    /// limit.
    pub fn lead_until(&self, until: Instant) {
        *lock(&self.lead) = Some(until);
    }

    /// Whether anything may be changed now.
    #[must_use]
    pub fn leads(&self) -> bool {
        lock(&self.lead).is_none_or(|until| Instant::now() < until)
    }

    /// Asks, and reads the whole answer.
    ///
    /// # Errors
    /// Every answer but a good one, and none.
    pub fn call(&self, call: &Call<'_>) -> Result<Answer, Error> {
        self.send(call, &self.pause, || {
            match (call.method, *lock(&self.lead)) {
                (Method::Get, _) | (_, None) => Ok(call.deadline),
                (_, Some(until)) => match until.saturating_duration_since(Instant::now()) {
                    Duration::ZERO => Err(Error::Silent("another replica leads now".to_owned())),
                    left => Ok(call.deadline.min(left)),
                },
            }
        })
    }

    /// As [`Client::call`], without a look at who leads: for the Lease itself,
    /// which keeps only to a pause that it was asked for itself.
    ///
    /// # Errors
    /// As of [`Client::call`].
    pub fn call_unled(&self, call: &Call<'_>) -> Result<Answer, Error> {
        self.send(call, &self.lease_pause, || Ok(call.deadline))
    }

    /// `deadline` is asked each time anything is sent: what was allowed before
    /// a pause may no longer be.
    fn send(
        &self,
        call: &Call<'_>,
        pause: &Pause,
        deadline: impl Fn() -> Result<Duration, Error>,
    ) -> Result<Answer, Error> {
        let sent = self.with_credentials(pause, |http, server, token| {
            let deadline = deadline()?;
            let url = format!("{server}{}", call.path);
            let headers = headers(call.accept, token);
            let answer = http
                .send(&call.request(&url, &headers, deadline))
                .map_err(|failed| silent(server, &failed))?;
            Ok((answer.status, answer))
        })?;
        if let Some(date) = sent.header("date") {
            let mut skew = lock(&self.skew);
            *skew = skew.after(date, clock::now());
        }
        self.heed(&sent.headers);
        match sent.status {
            200..=299 => Ok(sent),
            status => Err(refused(pause, status, &sent.headers, &sent.body)),
        }
    }

    /// Asks; the answer is read while it comes.
    ///
    /// # Errors
    /// As of [`Client::call`].
    pub fn open(&self, call: &Call<'_>) -> Result<Box<dyn Read + Send>, Error> {
        let stream = self.with_credentials(&self.pause, |http, server, token| {
            let url = format!("{server}{}", call.path);
            let headers = headers(call.accept, token);
            let stream = http
                .open(&call.request(&url, &headers, call.deadline))
                .map_err(|failed| silent(server, &failed))?;
            Ok((stream.status, stream))
        })?;
        self.heed(&stream.headers);
        if let 200..=299 = stream.status {
            return Ok(stream.body);
        }
        let mut body = Vec::new();
        // Without it the status alone has to do.
        let _ = stream.body.take(64 * 1024).read_to_end(&mut body);
        Err(refused(&self.pause, stream.status, &stream.headers, &body))
    }

    /// Reads a whole object.
    ///
    /// # Errors
    /// As of [`Client::call`], and if it cannot be read.
    pub fn object<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let answer = self.call(&Call::get(path))?;
        read(&answer.body)
    }

    /// All of a list, page by page, and where a watch goes on from it. `query`
    /// has no question mark.
    ///
    /// # Errors
    /// As of [`Client::call`], and if it cannot be read.
    pub fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &str,
    ) -> Result<(Vec<T>, String), Error> {
        let and = if query.is_empty() { "" } else { "&" };
        let mut anew = 0;
        let mut all: Vec<T> = Vec::new();
        let mut next = String::new();
        loop {
            let more = match next.as_str() {
                "" => String::new(),
                token => format!("&continue={}", escaped(token)),
            };
            let page = format!("{path}?{query}{and}limit={PAGE}{more}");
            match self.object::<List<T>>(&page) {
                Ok(mut list) => {
                    all.append(&mut list.items);
                    if list.metadata.next.is_empty() {
                        return Ok((all, list.metadata.resource_version));
                    }
                    if list.metadata.next == next {
                        return Err(Error::Silent(format!("the list {path} leads in circles")));
                    }
                    next = list.metadata.next;
                }
                // The server has forgotten that moment: half a list is none.
                Err(e) if e.is(410) && !next.is_empty() && anew < ANEW => {
                    anew += 1;
                    all.clear();
                    next.clear();
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Has `send` done with the credentials of now, and once more with fresh
    /// ones after a 401.
    fn with_credentials<T>(
        &self,
        pause: &Pause,
        send: impl Fn(&http::Client, &str, Option<&str>) -> Result<(u16, T), Error>,
    ) -> Result<T, Error> {
        wait(pause)?;
        let mut fresh = false;
        loop {
            let (http, server, token) = self.credentials(fresh).map_err(Error::Silent)?;
            let (status, answer) = send(&http, &server, token.as_deref())?;
            if status != 401 || fresh {
                return Ok(answer);
            }
            fresh = true;
        }
    }

    fn credentials(&self, fresh: bool) -> Result<(http::Client, String, Option<String>), String> {
        let mut now = lock(&self.now);
        if fresh {
            now.held = None;
            if matches!(now.access.user, User::Token(_) | User::Nobody) {
                // They may have been replaced where they come from.
                *now = Now::of(self.origin.access()?.through(&self.proxies)?)?;
            }
        }
        let token = now.token()?.map(|token| format!("Bearer {token}"));
        Ok((now.http.clone(), now.access.server.clone(), token))
    }

    /// Takes in what it warns of.
    fn heed(&self, headers: &HeaderMap) {
        for warning in headers.get_all("warning") {
            let warning = String::from_utf8_lossy(warning.as_bytes());
            for text in warnings(&warning) {
                self.warn(text);
            }
        }
    }

    fn warn(&self, text: String) {
        let mut warned = lock(&self.warned);
        if warned.len() < 1000 && warned.insert(text.clone()) {
            log::warn!("the API server warns: {text}");
        }
    }
}

/// Waits as the server has asked for.
fn wait(pause: &Pause) -> Result<(), Error> {
    let Some((until, why)) = lock(pause).clone() else {
        return Ok(());
    };
    let left = until.saturating_duration_since(Instant::now());
    if left > PATIENCE {
        return Err(Error::Silent(why));
    }
    thread::sleep(left);
    Ok(())
}

/// What a server that says no says; that it asks for a pause is taken in.
fn refused(pause: &Pause, status: u16, headers: &HeaderMap, body: &[u8]) -> Error {
    let mut error = said(status, body);
    let header = headers
        .get("retry-after")
        .filter(|_| status == 429 || status >= 500)
        .and_then(|value| value.to_str().ok());
    let now = clock::now();
    let wait = header.and_then(|text| now.retry_after(text));
    let until = wait.and_then(|wait| Instant::now().checked_add(wait));
    let (Some(wait), Some(until)) = (wait, until) else {
        return error;
    };
    // Every call until then is refused in the same words, which are news once.
    if wait > PATIENCE
        && let Error::Said { message, .. } = &mut error
    {
        *message += &format!("; it asks for a pause until {}", now.plus(wait));
    }
    let mut pause = lock(pause);
    if pause.as_ref().is_none_or(|(before, _)| *before < until) {
        *pause = Some((until, error.to_string()));
    }
    error
}

/// The texts of a `Warning` header: of `299 - "text"`, which a date in quotes
/// may follow and, after a comma, another one; within quotes `\` stands before
/// what means itself (RFC 7234, 5.5).
fn warnings(header: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let (mut quoted, mut first) = (None::<String>, true);
    let mut chars = header.chars();
    while let Some(c) = chars.next() {
        match (&mut quoted, c) {
            (Some(text), '\\') => text.extend(chars.next()),
            (Some(_), '"') => {
                let text = quoted.take();
                texts.extend(text.filter(|_| first));
                first = false;
            }
            (Some(text), c) => text.push(c),
            (None, '"') => quoted = Some(String::new()),
            (None, ',') => first = true,
            (None, _) => {}
        }
    }
    if texts.is_empty() {
        texts.push(header.to_owned());
    }
    texts
}

impl Now {
    fn of(access: Access) -> Result<Now, String> {
        Ok(Now {
            http: http::Client::new(&access.settings)
                .map_err(|why| format!("the API server {}: {why}", access.server))?,
            access,
            held: None,
        })
    }

    /// The token as it is now.
    fn token(&mut self) -> Result<Option<String>, String> {
        match &self.access.user {
            User::Nobody => Ok(None),
            User::Token(token) => Ok(Some(token.clone())),
            User::TokenFile(path) => {
                let failed = |e: std::io::Error| format!("{}: {e}", path.display());
                let print = Print::of(path).map_err(failed)?;
                if let Some(Held::File(before, token)) = &self.held
                    && *before == print
                {
                    return Ok(Some(token.clone()));
                }
                let text = std::fs::read_to_string(path).map_err(failed)?;
                let token = text.trim().to_owned();
                if token.is_empty() {
                    return Err(format!("{}: there is no token in it", path.display()));
                }
                self.held = Some(Held::File(print, token.clone()));
                Ok(Some(token))
            }
            User::Exec(exec) => {
                let exec = exec.clone();
                self.of_plugin(&exec)
            }
        }
    }

    fn of_plugin(&mut self, exec: &Exec) -> Result<Option<String>, String> {
        if let Some(Held::Plugin(credential)) = &self.held
            && credential
                .until
                .is_none_or(|until| clock::now().plus(EARLY) < until)
        {
            return Ok(credential.token.clone());
        }
        let credential = exec.ask()?;
        if credential.identity.is_some() {
            let mut settings = self.access.settings.clone();
            settings.identity.clone_from(&credential.identity);
            self.http = http::Client::new(&settings)?;
        }
        let token = credential.token.clone();
        self.held = Some(Held::Plugin(credential));
        Ok(token)
    }
}

/// The headers of a call. The token is not shown by any error of what sends
/// them.
fn headers<'a>(accept: &'a str, token: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    let mut headers = vec![("accept", accept)];
    headers.extend(token.map(|token| ("authorization", token)));
    headers
}

fn silent(server: &str, failed: &Failed) -> Error {
    Error::Silent(format!("the API server {server}: {failed}"))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    reason: String,
    message: String,
}

/// What a server that says no says.
fn said(status: u16, body: &[u8]) -> Error {
    let read: Status = serde_json::from_slice(body).unwrap_or_default();
    let message = match read.message.is_empty() {
        false => shortened(&read.message, SAID).into_owned(),
        // A proxy in between, perhaps.
        true => {
            let text = String::from_utf8_lossy(body);
            text.chars().filter(|c| !c.is_control()).take(200).collect()
        }
    };
    Error::Said {
        status,
        reason: shortened(&read.reason, SAID).into_owned(),
        message,
    }
}

/// Reads what a server has sent.
///
/// # Errors
/// If it is something else.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body)
        .map_err(|e| Error::Silent(format!("cannot read what the API server says: {e}")))
}

/// Text as it stands in a query.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests;
