//! Connections: requests off them, answers and watches onto them, and faults
//! in between.

use std::{
    io::{BufReader, Write},
    net::{Shutdown, TcpStream},
    sync::PoisonError,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    Fault, STEP, Shared, State,
    answer::{Outcome, Watch},
    refusal::Refusal,
    store::{self, JOBS, Kind},
    wire::{self, Request},
};

/// Answers what comes over one connection.
pub fn connection(shared: &Shared, stream: TcpStream) {
    let number = {
        let mut state = shared.lock();
        if state.away {
            return;
        }
        state.connected += 1;
        let number = state.connected - 1;
        state
            .connections
            .insert(number, stream.try_clone().unwrap());
        number
    };
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Ok(Some(request)) = wire::read(&mut reader, number) {
        if !serve(shared, request, &stream) {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
    shared.lock().connections.remove(&number);
}

/// Answers one request; false if the connection has to go.
fn serve(shared: &Shared, request: Request, mut stream: &TcpStream) -> bool {
    let mut state = shared.lock();
    let place = state.requests.len();
    state.requests.push(request.clone());
    let armed = state
        .faults
        .iter_mut()
        .find(|armed| armed.left > 0 && (armed.when)(&request));
    let fault = armed.map(|armed| {
        armed.left -= 1;
        armed.fault.clone()
    });
    let outcome = match &fault {
        Some(Fault::Close) => return false,
        Some(Fault::Hang) => {
            // For as long as the other side, or this double, has patience.
            drop(state);
            let mut rest = [0; 64];
            let _ = std::io::Read::read(&mut stream, &mut rest);
            return false;
        }
        Some(Fault::Answer(answer)) => Outcome::Answer(answer.clone()),
        Some(Fault::Lost | Fault::Cut) | None => state.server.answer(&request),
    };
    let date = http_date(&state);
    let answer = match outcome {
        Outcome::Watch(watch) => {
            state.requests[place].status = 200;
            let watches = state.watches;
            drop(state);
            let _ = tell(shared, &watch, watches, &date, stream);
            return false;
        }
        Outcome::Answer(answer) => answer,
    };
    state.requests[place].status = answer.status;
    drop(state);
    shared.news.notify_all();
    let (head, body) = answer.bytes(&date);
    match fault {
        Some(Fault::Lost) => return false,
        Some(Fault::Cut) => {
            let _ = stream.write_all(&[&head, &body[..body.len() / 2]].concat());
            return false;
        }
        Some(Fault::Answer(_) | Fault::Hang | Fault::Close) | None => {}
    }
    let whole = stream.write_all(&[&head, body].concat()).is_ok();
    whole
        && request
            .headers
            .get("connection")
            .is_none_or(|c| c != "close")
}

/// Tells what changes until the time is up, the watch is cut or nobody
/// listens any more.
fn tell(
    shared: &Shared,
    watch: &Watch,
    watches: usize,
    date: &str,
    stream: &TcpStream,
) -> std::io::Result<()> {
    let mut stream = stream.try_clone()?;
    let head = format!(
        "HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let end = Instant::now() + Duration::from_secs(watch.limit);
    let mut told = watch.from;
    let event = |kind: &str, object: &Value| {
        let object = match kind {
            "ERROR" => object.clone(),
            _ => watch.kind.whole(object),
        };
        json!({"type": kind, "object": object}).to_string() + "\n"
    };
    let mut state = shared.lock();
    let mut lines = Vec::new();
    if watch.from == 0 {
        let store = &state.server.store;
        for object in store.list(watch.kind, &watch.namespace) {
            if watch.selector.takes(&object) {
                lines.push(event("ADDED", &object));
            }
        }
        told = store.version;
    }
    loop {
        let store = &state.server.store;
        if told < store.forgotten {
            let refusal = Refusal::new(
                410,
                "Expired",
                format!("too old resource version: {told} ({})", store.forgotten),
            );
            lines.push(event("ERROR", &refusal.body()));
        }
        for change in store.changes.iter().filter(|c| c.version > told) {
            if change.kind != watch.kind || change.namespace != watch.namespace {
                continue;
            }
            let [before, after] = [&change.before, &change.after].map(|object| {
                object
                    .as_ref()
                    .filter(|object| watch.selector.takes(object))
            });
            let line = match (before, after) {
                (None, Some(new)) => event("ADDED", new),
                (Some(_), Some(new)) => event("MODIFIED", new),
                (Some(old), None) => event("DELETED", old),
                (None, None) => continue,
            };
            lines.push(line);
        }
        let late = told < store.forgotten;
        told = store.version;
        let over = state.over || state.watches != watches || late;
        let timed_out = Instant::now() >= end;
        if timed_out && watch.bookmarks {
            let bookmark = bookmark(watch.kind, told);
            lines.push(json!({"type": "BOOKMARK", "object": bookmark}).to_string() + "\n");
        }
        drop(state);
        if !lines.is_empty() {
            wire::chunk(&mut stream, lines.concat().as_bytes())?;
            lines.clear();
        }
        if timed_out || late {
            return stream.write_all(b"0\r\n\r\n");
        }
        if over {
            return Ok(());
        }
        state = shared.lock();
        if state.server.store.version == told && state.watches == watches && !state.over {
            let left = end.saturating_duration_since(Instant::now());
            let waited = shared.news.wait_timeout(state, left.min(STEP * 5));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn bookmark(kind: &Kind, version: u64) -> Value {
    let mut object = json!({"metadata": {"resourceVersion": version.to_string()}});
    if kind == JOBS {
        object["spec"] = json!({"template": {"metadata": {}, "spec": {"containers": null}}});
        object["status"] = json!({});
    }
    kind.whole(&object)
}

/// As in `Thu, 26 Nov 2026 01:12:13 GMT`.
fn http_date(state: &State) -> String {
    let now = state.server.store.now();
    let words = store::seconds(now);
    let number = |from: usize, to: usize| words[from..to].parse::<usize>().unwrap();
    let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    format!(
        "{}, {} {} {} {} GMT",
        days[(now.0 / 86_400_000 % 7) as usize],
        &words[8..10],
        months[number(5, 7) - 1],
        &words[..4],
        &words[11..19]
    )
}
