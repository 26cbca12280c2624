//! What goes wrong on command: on which requests, how often, and how.

use std::time::Duration;

use super::{
    http::Reply,
    refusal,
    site::{Asked, Site},
};

/// One thing that goes wrong. Once, on every request, unless it is told
/// otherwise. Of several that fit a request the first one that was set counts.
///
/// ```ignore
/// fake.fault(Fault::status(429).retry_after("17").on("POST *").times(3));
/// fake.fault(Fault::cut_off().on("POST */comment")); // and the comment is there
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    method: String,
    path: String,
    skip: usize,
    times: usize,
    pub(super) kind: Kind,
    pub(super) done: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Status {
        status: u16,
        headers: Vec<(String, String)>,
        reply: Option<Reply>,
    },
    Slow(Duration),
    Trickle(Duration),
    CutOff,
    Close,
    ThenClose,
    Hang,
    SameToken,
    SamePage,
    EmptyPage,
}

impl Fault {
    fn new(kind: Kind, done: bool) -> Fault {
        Fault {
            method: "*".to_owned(),
            path: "*".to_owned(),
            skip: 0,
            times: 1,
            kind,
            done,
        }
    }

    /// This status, with the body that Jira has for it. The request has no
    /// effect.
    pub fn status(status: u16) -> Fault {
        Fault::new(
            Kind::Status {
                status,
                headers: vec![],
                reply: None,
            },
            false,
        )
    }

    /// This answer.
    pub fn reply(status: u16, content_type: &str, body: &str) -> Fault {
        let reply = Some(Reply::new(status, content_type, body));
        Fault::new(
            Kind::Status {
                status,
                headers: vec![],
                reply,
            },
            false,
        )
    }

    /// 302 to another place.
    pub fn redirect(to: &str) -> Fault {
        Fault::status(302).header("Location", to)
    }

    /// The answer begins after so long. The request has its effect at once.
    pub fn slow(wait: Duration) -> Fault {
        Fault::new(Kind::Slow(wait), true)
    }

    /// So long lies between the bytes of the answer.
    pub fn trickle(wait: Duration) -> Fault {
        Fault::new(Kind::Trickle(wait), true)
    }

    /// The connection ends in the middle of the answer. The request has its
    /// effect.
    pub fn cut_off() -> Fault {
        Fault::new(Kind::CutOff, true)
    }

    /// The connection ends without an answer, and without an effect.
    pub fn close() -> Fault {
        Fault::new(Kind::Close, false)
    }

    /// All is well, and then the connection ends though nobody said so.
    pub fn then_close() -> Fault {
        Fault::new(Kind::ThenClose, true)
    }

    /// There is never an answer, and no effect.
    pub fn hang() -> Fault {
        Fault::new(Kind::Hang, false)
    }

    /// A search on Cloud gives the token that it was asked with (the first
    /// page: one that leads to itself).
    pub fn same_token() -> Fault {
        Fault::new(Kind::SameToken, true).on("* */search/jql")
    }

    /// A search gives the page before it once more, on Cloud with a new token.
    pub fn same_page() -> Fault {
        Fault::new(Kind::SamePage, true).on("* */search*")
    }

    /// A search gives no issues, though more are to come.
    pub fn empty_page() -> Fault {
        Fault::new(Kind::EmptyPage, true).on("* */search*")
    }

    /// Only requests like this: a method or `*`, and a path without context
    /// path, prefix of the gateway and query, where `*` is any text.
    pub fn on(mut self, pattern: &str) -> Self {
        let (method, path) = pattern.split_once(' ').expect("METHOD /path");
        method.clone_into(&mut self.method);
        path.clone_into(&mut self.path);
        self
    }

    /// So often.
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// Not on the first so many requests that fit.
    pub fn after(mut self, skip: usize) -> Self {
        self.skip = skip;
        self
    }

    /// The request has its effect all the same.
    pub fn done_anyway(mut self) -> Self {
        self.done = true;
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Kind::Status { headers, .. } = &mut self.kind {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Seconds, a date, or nonsense. Where it can be read, requests that come
    /// earlier are a violation.
    pub fn retry_after(self, value: &str) -> Self {
        self.header("Retry-After", value)
    }

    /// `RateLimit-Reason`. With `jira-per-issue-on-write` only this issue has
    /// to wait.
    pub fn reason(self, value: &str) -> Self {
        self.header("RateLimit-Reason", value)
    }

    fn fits(&self, asked: &Asked) -> bool {
        glob(&self.method, &asked.method) && glob(&self.path, &asked.path)
    }

    /// Nothing is left of it.
    pub fn is_over(&self) -> bool {
        self.times == 0
    }
}

/// The fault of this request, if it has one; counted.
pub fn take(site: &mut Site, asked: &Asked) -> Option<Fault> {
    for fault in &mut site.faults {
        if fault.times == 0 || !fault.fits(asked) {
            continue;
        }
        if fault.skip > 0 {
            fault.skip -= 1;
            continue;
        }
        fault.times = fault
            .times
            .saturating_sub(usize::from(fault.times != usize::MAX));
        return Some(fault.clone());
    }
    None
}

/// The answer of a fault that has one of its own.
pub fn reply(fault: &Fault, site: &Site) -> Option<Reply> {
    let Kind::Status {
        status,
        headers,
        reply,
    } = &fault.kind
    else {
        return None;
    };
    let mut answer = reply.clone().unwrap_or_else(|| refusal::of(*status, site));
    for (name, value) in headers {
        answer = answer.header(name, value);
    }
    Some(answer)
}

/// `*` is any text, also none.
pub fn glob(pattern: &str, text: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(rest) = text.strip_prefix(before) else {
        return false;
    };
    let starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    starts.into_iter().any(|at| glob(after, &rest[at..]))
}

/// What a search of a page is told by a fault.
#[derive(Clone, Copy, Default)]
pub struct Page {
    pub same_token: bool,
    pub same_page: bool,
    pub empty: bool,
}

impl Page {
    pub fn of(fault: Option<&Fault>) -> Page {
        let kind = fault.map(|f| &f.kind);
        Page {
            same_token: matches!(kind, Some(Kind::SameToken)),
            same_page: matches!(kind, Some(Kind::SamePage)),
            empty: matches!(kind, Some(Kind::EmptyPage)),
        }
    }
}
