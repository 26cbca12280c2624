//! HTTP requests: one agent for each server and its credentials.
//!
//! Every call has a deadline, every body a limit; a status is an answer and
//! never an error. Never tries anything twice, never follows a redirect (so no
//! credential reaches a host that nobody named), keeps no cookies, and logs
//! nothing.

mod proxy;

use std::{
    io::Read,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

pub use proxy::{Proxies, Proxy};
/// The headers of an answer, by their names in any case.
pub use ureq::http::HeaderMap;
use ureq::{
    Agent,
    config::Config,
    http::{
        self, Uri,
        uri::{Authority, Scheme},
    },
    tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem},
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::{DefaultConnector, NextTimeout},
    },
};

/// How long a connection may take: name, TCP and TLS together.
const CONNECT: Duration = Duration::from_secs(10);
/// Connections to a server that are kept: as many as there are threads that
/// have something to say.
const KEPT: usize = 10;
/// How long the address of a server is taken for right.
const REMEMBERED: Duration = Duration::from_secs(30);
/// How long a whole call may take, its body included.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Who is trusted, and how a server is reached. The default trusts the public
/// authorities that are built in, and goes straight to the server.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The authorities to trust instead of the public ones, as PEM.
    pub roots: Option<Vec<u8>>,
    /// The client's certificate and key, as PEM.
    pub identity: Option<Identity>,
    /// Trust whoever answers.
    pub insecure: bool,
    /// What stands in between.
    pub proxy: Option<Proxy>,
    /// The host and port to connect to, whatever the URL says: so that the
    /// name in the URL is the one its certificate is checked for.
    pub connect_to: Option<String>,
}

/// A client's certificate chain and the key to it, as PEM.
#[derive(Clone)]
pub struct Identity {
    /// The chain, the client's own certificate first.
    pub certificates: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

/// What is asked of a server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Create, or a question that needs a body.
    Post,
    /// Replace.
    Put,
    /// Change in part.
    Patch,
    /// Remove.
    Delete,
}

impl Method {
    /// As it stands in a request.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

/// One request.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// What is asked.
    pub method: Method,
    /// Of what.
    pub url: &'a str,
    /// Further headers, such as `Authorization`.
    pub headers: &'a [(&'a str, &'a str)],
    /// Content type and content.
    pub body: Option<(&'a str, &'a [u8])>,
    /// How long the call may take in all.
    pub deadline: Duration,
    /// Bytes of the answer that are read at most.
    pub largest: usize,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The content, whole.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header by its name in any case, if it is there and is ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Every header of this name that is ASCII, with commas between, as one
    /// would have them.
    #[must_use]
    pub fn headers_named(&self, name: &str) -> String {
        let all = self.headers.get_all(name).into_iter();
        let all: Vec<&str> = all.filter_map(|value| value.to_str().ok()).collect();
        all.join(",")
    }
}

/// An answer whose content is read while it comes.
pub struct Stream {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The content; reading it fails at the deadline.
    pub body: Box<dyn Read + Send>,
}

/// Why there is no whole answer. Whether the server has acted on the request
/// is then not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The server was not reached, did not answer in time, or broke off; a
    /// fragment that says which, without any header or content.
    Broken(String),
    /// There is more than was to be read.
    TooLarge,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failed::Broken(why) => f.write_str(why),
            Failed::TooLarge => f.write_str("the answer is too large"),
        }
    }
}

/// A client for one server: it keeps connections open between calls.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    proxy: Option<Proxy>,
    /// Where the server is, if not where its URL says.
    place: Option<String>,
}

impl Client {
    /// A client under these settings; nothing is connected yet.
    ///
    /// # Errors
    /// If a certificate or a key is none; a fragment that says so.
    pub fn new(settings: &Settings) -> Result<Client, String> {
        let mut tls = TlsConfig::builder().disable_verification(settings.insecure);
        if let Some(pem) = &settings.roots {
            tls = tls.root_certs(RootCerts::Specific(Arc::new(certificates(pem)?)));
        }
        if let Some(identity) = &settings.identity {
            let chain = certificates(&identity.certificates)?;
            let key = PrivateKey::from_pem(&identity.key)
                .map_err(|_| "the client's key is no PEM key".to_owned())?;
            tls = tls.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .max_idle_connections(KEPT)
            .max_idle_connections_per_host(KEPT)
            .user_agent(concat!("recac-orchestrator/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build());
        // It is for each request to say, and not for the environment.
        let config = config.proxy(None);
        let elsewhere = match &settings.connect_to {
            None => None,
            Some(place) => Some(
                place
                    .parse()
                    .map_err(|_| format!("{place:?} is no host and port"))?,
            ),
        };
        let finder = Finder {
            elsewhere,
            ..Finder::default()
        };
        let agent = Agent::with_parts(config.build(), DefaultConnector::default(), finder);
        Ok(Client {
            agent,
            proxy: settings.proxy.clone(),
            place: settings.connect_to.clone(),
        })
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// If there is no whole answer within the limits.
    pub fn send(&self, request: &Request<'_>) -> Result<Answer, Failed> {
        let stream = self.open(request)?;
        let mut body = Vec::new();
        let most = u64::try_from(request.largest).unwrap_or(u64::MAX);
        let mut read = stream.body.take(most.saturating_add(1));
        read.read_to_end(&mut body)
            .map_err(|e| Failed::Broken(format!("the answer breaks off: {}", io_words(&e))))?;
        if body.len() > request.largest {
            return Err(Failed::TooLarge);
        }
        Ok(Answer {
            status: stream.status,
            headers: stream.headers,
            body,
        })
    }

    /// Sends a request; its answer is read while it comes.
    ///
    /// # Errors
    /// If there is not even the head of an answer.
    pub fn open(&self, request: &Request<'_>) -> Result<Stream, Failed> {
        let mut builder = http::Request::builder()
            .method(request.method.word())
            .uri(request.url);
        for (name, value) in request.headers {
            builder = builder.header(*name, *value);
        }
        let no_request = |_| Failed::Broken("the request cannot be made".to_owned());
        let answer = match request.body {
            Some((kind, content)) => {
                let builder = builder.header("content-type", kind);
                self.run(builder.body(content).map_err(no_request)?, request.deadline)
            }
            None => self.run(builder.body(()).map_err(no_request)?, request.deadline),
        };
        let broken = |e| Failed::Broken(words(&e) + &self.way(request.url));
        let (head, body) = answer.map_err(broken)?.into_parts();
        Ok(Stream {
            status: head.status.as_u16(),
            headers: head.headers,
            body: Box::new(body.into_reader()),
        })
    }

    /// The proxy between us and this place.
    fn between(&self, uri: &Uri) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|proxy| proxy.is_for(uri))
    }

    /// How it is reached, for a message, if not as its URL says.
    fn way(&self, url: &str) -> String {
        if let Some(place) = &self.place {
            return format!(", at {place}");
        }
        let uri = url.parse().ok();
        let between = uri.and_then(|uri| self.between(&uri));
        between.map_or(String::new(), |proxy| {
            format!(", through the proxy of {}", proxy.from())
        })
    }

    fn run(
        &self,
        request: http::Request<impl ureq::AsSendBody>,
        deadline: Duration,
    ) -> Result<http::Response<ureq::Body>, ureq::Error> {
        let between = self.between(request.uri());
        let proxy = between.map(|between| between.proxy.clone());
        let request = self.agent.configure_request(request).proxy(proxy);
        let request = request.timeout_global(Some(deadline)).build();
        self.agent.run(request)
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate<'static>>, String> {
    let mut found = Vec::new();
    for item in parse_pem(pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            // A bundle may hold other things.
            Ok(_) => {}
            Err(_) => return Err("it is not PEM".to_owned()),
        }
    }
    match found.is_empty() {
        true => Err("there is no certificate in it".to_owned()),
        false => Ok(found),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "an error of another crate, which may grow"
)]
fn words(e: &ureq::Error) -> String {
    match e {
        ureq::Error::Io(e) => io_words(e),
        ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => {
            format!("no connection within {} s", CONNECT.as_secs())
        }
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        ureq::Error::HostNotFound => "its host is not known".to_owned(),
        ureq::Error::Rustls(e) => format!("TLS: {e}"),
        other => other.to_string(),
    }
}

/// What ureq wraps into an error of reading is unwrapped again.
fn io_words(e: &std::io::Error) -> String {
    match e.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(inner) => words(inner),
        None => e.to_string(),
    }
}

/// Finds servers, and remembers for a while where they are: ureq asks before
/// every request, connected or not, and each question takes a thread.
#[derive(Debug, Default)]
struct Finder {
    /// Every server is at this one place.
    elsewhere: Option<Authority>,
    known: Mutex<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    place: (Option<Scheme>, Authority),
    addresses: ResolvedSocketAddrs,
    at: Instant,
}

impl Resolver for Finder {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut parts = uri.clone().into_parts();
        if let Some(elsewhere) = &self.elsewhere {
            parts.authority = Some(elsewhere.clone());
        }
        let authority = parts.authority.clone();
        let authority = authority.ok_or(ureq::Error::HostNotFound)?;
        // Without a port the scheme says which.
        let place = (parts.scheme.clone(), authority);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*known
            && known.place == place
            && known.at.elapsed() < REMEMBERED
        {
            return Ok(known.addresses.clone());
        }
        let uri = Uri::from_parts(parts).map_err(|e| ureq::Error::Http(e.into()))?;
        let addresses = DefaultResolver::default().resolve(&uri, config, timeout)?;
        *known = Some(Known {
            place,
            addresses: addresses.clone(),
            at: Instant::now(),
        });
        Ok(addresses)
    }
}
