//! A Jira of our own on loopback: Cloud (REST v3) or Data Center (REST v2),
//! with tickets that change, a search index that lags, a workflow with
//! screens, and everything that goes wrong with the real one. As strict as
//! Atlassian's own description of the API, and stricter with our reports.
//!
//! ```ignore
//! let jira = Fake::cloud();
//! jira.add(Ticket::new("A-1").label("recac-agent").text("Repo: https://github.com/o/r"));
//! jira.add(Ticket::new("A-2").label("recac-agent").priority("High").blocked_by("A-1"));
//! jira.fault(Fault::status(429).retry_after("2").on("POST */search/jql").times(1));
//! // --jira-url {jira.url()} --jira-username {jira.user()}, JIRA_API_TOKEN={jira.token()}
//! assert_eq!(jira.labels("A-1"), ["recac-agent", "recac-agent-done"]);
//! assert_eq!(jira.status("A-1"), "In Progress");
//! assert!(jira.comments("A-1")[0].text().contains("succeeded"));
//! assert_eq!(jira.count("POST */search/jql"), 2);
//! jira.assert_no_violations();
//! ```
//!
//! What is where:
//! - [`Setup`]: context path, German, HTTPS with [`Proxy`], a fixed port.
//! - [`Ticket`]: a ticket before it is added; [`Fake::edit`] changes one later.
//! - [`Fault`]: statuses, slow, cut-off and missing answers, pages repeated.
//!   [`Fake::refuse`] and [`Fake::accept`] close and open the port.
//! - [`Fake::account`]: the kind of token, CAPTCHA, expiry.
//! - [`Fake::workflow`]: the transitions; there are four from everywhere.
//! - [`Fake::lag`]: how far the search is behind.
//! - [`Fake::requests`]: all that was asked. [`Fake::violations`]: what no
//!   client may do.
//!
//! All that was started ends when the value is dropped.
#![allow(dead_code, reason = "each of those who use it needs a part of it")]

pub mod account;
mod adf;
pub mod client;
pub mod fault;
pub mod http;
mod issue;
mod jql;
pub mod proxy;
mod refusal;
mod render;
mod routes;
mod search;
mod server;
pub mod site;
pub mod stamp;
#[cfg(test)]
mod tests;
pub mod ticket;
mod tls;
mod transitions;

use std::{
    io::BufReader,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use self::{
    account::{Account, Kind},
    fault::Fault,
    proxy::Proxy,
    site::{Asked, Lag, Site, Transition},
    ticket::{Category, Comment, Ticket, adf},
};
use self::{
    http::{Failed, Reply},
    server::{Gate, Manner, Serve, Server, Stream},
    site::Language,
    ticket::Link,
    tls::Tls,
};

/// A Jira that is not there yet.
pub struct Setup {
    cloud: bool,
    language: Language,
    context: String,
    port: u16,
    hosts: Vec<String>,
    strangers: Vec<String>,
    self_signed: bool,
}

/// A Jira that answers.
pub struct Fake {
    // Goes first: nobody asks any more then.
    server: Server,
    site: Arc<Mutex<Site>>,
    tls: Option<Tls>,
    url: String,
    local: String,
}

impl Setup {
    pub fn cloud() -> Setup {
        Setup {
            cloud: true,
            language: Language::English,
            context: String::new(),
            port: 0,
            hosts: vec![],
            strangers: vec![],
            self_signed: false,
        }
    }

    pub fn data_center() -> Setup {
        Setup {
            cloud: false,
            ..Setup::cloud()
        }
    }

    /// Names of statuses, priorities and link types, and all texts of errors,
    /// are German.
    pub fn german(mut self) -> Self {
        self.language = Language::German;
        self
    }

    /// `/jira`: everything is below this path.
    pub fn context(mut self, path: &str) -> Self {
        path.clone_into(&mut self.context);
        self
    }

    /// Not any port that is free.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Speaks TLS, with a certificate for these names from a CA of its own
    /// ([`Fake::ca_file`]). The first is that of the site and stands in
    /// [`Fake::url`]; a [`Proxy`] leads there. The account's credentials may
    /// be sent to all of them.
    pub fn https(mut self, hosts: &[&str]) -> Self {
        self.hosts = hosts.iter().map(|&h| h.to_owned()).collect();
        self
    }

    /// With [`Setup::https`]: names that the certificate is good for as well,
    /// and that must not be sent any credentials. So also `api.atlassian.com`,
    /// where nobody may look for a gateway.
    pub fn strangers(mut self, hosts: &[&str]) -> Self {
        self.strangers = hosts.iter().map(|&h| h.to_owned()).collect();
        self
    }

    /// With [`Setup::https`]: the certificate is its own authority, as that of
    /// `openssl req -x509`.
    pub fn self_signed(mut self) -> Self {
        self.self_signed = true;
        self
    }

    pub fn start(self) -> Fake {
        let names: Vec<String> = self.hosts.iter().chain(&self.strangers).cloned().collect();
        let tls = (!names.is_empty()).then(|| Tls::new(&names, self.self_signed));
        let site = Site::new(self.cloud, self.language, "", &self.context);
        let site = Arc::new(Mutex::new(site));
        let (shared, config) = (
            Arc::clone(&site),
            tls.as_ref().map(|t| Arc::clone(&t.config)),
        );
        let serve: Arc<Serve> = Arc::new(move |stream, gate| match &config {
            None => talk(stream, &shared, gate),
            Some(config) => {
                if let Some(stream) = tls::accept(config, stream) {
                    talk(stream, &shared, gate);
                }
            }
        });
        let server = Server::start(self.port, "jira", serve);
        let address = format!("127.0.0.1:{}", server.port);
        let local = format!("http://{address}{}", self.context);
        let url = match self.hosts.first() {
            None => local.clone(),
            Some(host) => format!("https://{host}{}", self.context),
        };
        let hosts = if self.hosts.is_empty() {
            vec![address]
        } else {
            self.hosts
        };
        let mut known = Site::new(self.cloud, self.language, &url, &self.context);
        known.hosts = hosts;
        *lock(&site) = known;
        Fake {
            server,
            site,
            tls,
            url,
            local,
        }
    }
}

impl Fake {
    /// <https://developer.atlassian.com/cloud/jira/platform/rest/v3/>, with a
    /// classic API token.
    pub fn cloud() -> Fake {
        Setup::cloud().start()
    }

    /// <https://developer.atlassian.com/server/jira/platform/rest/v10000/>,
    /// with a personal access token (sent alone).
    pub fn data_center() -> Fake {
        Setup::data_center().start()
    }

    fn site(&self) -> MutexGuard<'_, Site> {
        lock(&self.site)
    }

    /// Does something to what the Jira remembers that has no method here.
    pub fn with<T>(&self, act: impl FnOnce(&mut Site) -> T) -> T {
        act(&mut self.site())
    }

    /// Its address, with the context path, without a slash at the end.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// The address at the gateway. Scoped tokens work there and nowhere else.
    pub fn gateway_url(&self) -> String {
        let root = match self.tls {
            Some(_) => "https://api.atlassian.com".to_owned(),
            None => format!("http://127.0.0.1:{}", self.port()),
        };
        format!("{root}/ex/jira/{}", self.site().cloud_id)
    }

    /// Where a person reads the ticket.
    pub fn browse_url(&self, key: &str) -> String {
        format!("{}/browse/{key}", self.url)
    }

    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// PEM of the CA whose certificate it shows.
    pub fn ca_file(&self) -> &Path {
        &self.tls.as_ref().expect("a fake with HTTPS").ca_file
    }

    /// What goes with the token: an address, or a name.
    pub fn user(&self) -> String {
        self.site().account.user.clone()
    }

    pub fn token(&self) -> String {
        self.site().account.secret.clone()
    }

    /// Another kind of token, CAPTCHA, a server that drops credentials …
    pub fn account(&self, change: impl FnOnce(&mut Account)) {
        change(&mut self.site().account);
    }

    /// The token is worth nothing from now on.
    pub fn expire_token(&self) {
        self.account(|a| a.expires_after = Some(0));
    }

    /// So many more requests are answered, and the token is worth nothing.
    pub fn expire_token_after(&self, requests: usize) {
        self.account(|a| a.expires_after = Some(requests + 1));
    }

    /// The account has another token, and that one works.
    pub fn renew_token(&self, token: &str) {
        self.account(|a| {
            token.clone_into(&mut a.secret);
            (a.expires_after, a.captcha, a.failures) = (None, false, 0);
        });
    }

    pub fn add(&self, ticket: Ticket) {
        self.site().add(ticket);
    }

    pub fn add_all(&self, tickets: impl IntoIterator<Item = Ticket>) {
        let mut site = self.site();
        for ticket in tickets {
            site.add(ticket);
        }
    }

    /// Changes a ticket as a person would. A new key moves it.
    pub fn edit(&self, key: &str, edit: impl FnOnce(&mut Ticket)) {
        self.site().edit(key, edit);
    }

    /// The ticket is gone.
    pub fn delete(&self, key: &str) {
        self.site().remove(key);
    }

    /// A link of the blocking type between two tickets.
    pub fn link(&self, blocker: &str, blocked: &str) {
        let (outward_of, inward_of) = (blocker.to_owned(), blocked.to_owned());
        self.site().link(Link {
            id: 0,
            kind: String::new(),
            outward_of,
            inward_of,
        });
    }

    /// The ticket as it is, not as the search sees it.
    #[track_caller]
    pub fn ticket(&self, key: &str) -> Ticket {
        let site = self.site();
        let found = site.any(key).map(|t| Ticket::clone(t));
        drop(site);
        found.unwrap_or_else(|| panic!("no ticket {key}"))
    }

    #[track_caller]
    pub fn comments(&self, key: &str) -> Vec<Comment> {
        self.ticket(key).comments
    }

    #[track_caller]
    pub fn labels(&self, key: &str) -> Vec<String> {
        self.ticket(key).labels
    }

    #[track_caller]
    pub fn status(&self, key: &str) -> String {
        self.ticket(key).status
    }

    /// The transitions there are, instead of the four that lead from
    /// everywhere to each of the statuses.
    pub fn workflow(&self, transitions: Vec<Transition>) {
        self.site().workflow = transitions;
    }

    /// One more status that tickets and transitions may name.
    pub fn add_status(&self, name: &str, category: Category) {
        self.site().add_status(name, category);
    }

    /// How far the search is behind from now on.
    pub fn lag(&self, lag: Lag) {
        self.site().set_lag(lag);
    }

    /// The search sees what is.
    pub fn refresh_index(&self) {
        self.site().refresh();
    }

    /// A page of a search holds so many issues at most.
    pub fn page_cap(&self, most: usize) {
        self.site().page_cap = most;
    }

    pub fn fault(&self, fault: Fault) {
        self.site().faults.push(fault);
    }

    /// Nothing goes wrong any more.
    pub fn no_faults(&self) {
        self.site().faults.clear();
    }

    /// How many faults have not come up as often as they were to.
    pub fn faults_left(&self) -> usize {
        self.site().faults.iter().filter(|f| !f.is_over()).count()
    }

    /// Connections are refused, until [`Fake::accept`]. Those that are there
    /// end.
    pub fn refuse(&self) {
        self.server.go_away();
    }

    /// Takes connections again, on the same port.
    pub fn accept(&self) {
        self.server.come_back();
    }

    /// Ends the connections that are there.
    pub fn hang_up(&self) {
        self.server.hang_up();
    }

    /// All that was asked, in its order.
    pub fn requests(&self) -> Vec<Asked> {
        self.site().requests.clone()
    }

    /// What was asked that is like this: `POST */search/jql`, see
    /// [`Fault::on`].
    pub fn asked(&self, pattern: &str) -> Vec<Asked> {
        let (method, path) = pattern.split_once(' ').expect("METHOD /path");
        let mut all = self.requests();
        all.retain(|a| fault::glob(method, &a.method) && fault::glob(path, &a.path));
        all
    }

    /// How often that was asked.
    pub fn count(&self, pattern: &str) -> usize {
        self.asked(pattern).len()
    }

    /// What was asked so far is forgotten.
    pub fn forget_requests(&self) {
        self.site().requests.clear();
    }

    /// `Host` and `Authorization` of every request that had one.
    pub fn credentials(&self) -> Vec<(String, String)> {
        let site = self.site();
        let with = site.requests.iter().filter_map(|asked| {
            Some((
                asked.host.clone(),
                asked.header("authorization")?.to_owned(),
            ))
        });
        with.collect()
    }

    /// What no client may do and one did: cookies, credentials for strangers,
    /// a GET with a body, an unknown parameter, a request before the rest that
    /// it was told to take was over, more writes to an issue than are allowed.
    pub fn violations(&self) -> Vec<String> {
        self.site().violations.clone()
    }

    #[track_caller]
    pub fn assert_no_violations(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "violations: {violations:#?}");
    }

    /// How often a write was refused because of the limits of an issue.
    pub fn write_limit_hits(&self) -> usize {
        self.site().write_limit_hits
    }

    /// A proxy that leads every host to this Jira.
    pub fn proxy(&self) -> Proxy {
        Proxy::start(self.port())
    }
}

fn lock(site: &Mutex<Site>) -> MutexGuard<'_, Site> {
    site.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection to its end.
fn talk<S: Stream>(stream: S, site: &Mutex<Site>, gate: &Gate) {
    let mut stream = BufReader::new(stream);
    loop {
        let (reply, manner, head, last) = match http::read(&mut stream) {
            Ok(message) => {
                let (head, last) = (message.method == "HEAD", message.last);
                let (reply, manner) = routes::answer(&mut lock(site), message);
                (reply, manner, head, last)
            }
            Err(Failed::Refused(status)) => {
                lock(site)
                    .violations
                    .push(format!("what was sent is not HTTP: {status}"));
                (
                    Reply::new(status, "text/html", "Bad Request"),
                    Manner::Whole,
                    false,
                    true,
                )
            }
            Err(Failed::End) => return,
        };
        if !server::send(&mut stream, &reply.bytes(head, last), &manner, gate) || last {
            return;
        }
    }
}
