//! The socket: a thread that accepts, a thread for each connection, and an end
//! to all of them. Can be away for a while and come back on the same port.

use std::{
    collections::HashMap,
    io::{BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Serves one connection to its end.
pub type Serve = dyn Fn(TcpStream, &Gate) + Send + Sync;

/// A server. Ends when it is dropped, with all its connections.
pub struct Server {
    pub port: u16,
    gate: Arc<Gate>,
    accepts: Option<JoinHandle<()>>,
}

/// What the threads of one server know of each other.
#[derive(Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Nobody is to be let in.
    away: bool,
    listening: bool,
    over: bool,
    streams: HashMap<u64, TcpStream>,
    next: u64,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until(&self, so: impl Fn(&State) -> bool) {
        let wait = self.changed.wait_while(self.state(), |state| !so(state));
        drop(wait.unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits; less long if the server ends. False if it does.
    pub fn pause(&self, long: Duration) -> bool {
        let end = Instant::now() + long;
        let mut state = self.state();
        while !state.over {
            let Some(left) = end.checked_duration_since(Instant::now()) else {
                return true;
            };
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    /// Waits until the server ends or goes away.
    pub fn pause_for_ever(&self) {
        self.wait_until(|state| state.over || state.away);
    }

    fn enter(&self, stream: &TcpStream) -> Option<u64> {
        let mut state = self.state();
        if state.over || state.away {
            return None;
        }
        let number = state.next;
        state.next += 1;
        state.streams.insert(number, stream.try_clone().ok()?);
        Some(number)
    }

    fn leave(&self, number: u64) {
        self.state().streams.remove(&number);
        self.changed.notify_all();
    }

    fn shut(&self, change: impl FnOnce(&mut State), port: u16) {
        let mut state = self.state();
        change(&mut state);
        for stream in state.streams.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        self.changed.notify_all();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", port));
    }
}

impl Server {
    /// Listens on loopback. Port 0: one that is free.
    pub fn start(port: u16, name: &str, serve: Arc<Serve>) -> Server {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let gate = Arc::new(Gate::default());
        gate.state().listening = true;
        let (shared, name) = (Arc::clone(&gate), name.to_owned());
        let accepts = thread::Builder::new()
            .name(name)
            .spawn(move || accept(&shared, port, listener, &serve))
            .expect("a thread");
        Server {
            port,
            gate,
            accepts: Some(accepts),
        }
    }

    /// Connections are refused from now on, and those that are there end.
    pub fn go_away(&self) {
        self.gate.shut(|state| state.away = true, self.port);
        self.gate
            .wait_until(|state| !state.listening && state.streams.is_empty());
    }

    /// Connections are taken again, on the same port.
    pub fn come_back(&self) {
        self.gate.state().away = false;
        self.gate.changed.notify_all();
        self.gate.wait_until(|state| state.listening);
    }

    /// Ends the connections that are there.
    pub fn hang_up(&self) {
        for stream in self.gate.state().streams.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.gate.wait_until(|state| state.streams.is_empty());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.gate.shut(|state| state.over = true, self.port);
        if let Some(accepts) = self.accepts.take() {
            let _ = accepts.join();
        }
        self.gate.wait_until(|state| state.streams.is_empty());
    }
}

fn accept(gate: &Arc<Gate>, port: u16, listener: TcpListener, serve: &Arc<Serve>) {
    let mut listener = Some(listener);
    loop {
        let state = gate.state();
        if state.over {
            return;
        }
        let away = state.away;
        drop(state);
        if away {
            listener = None;
            gate.state().listening = false;
            gate.changed.notify_all();
            gate.wait_until(|state| state.over || !state.away);
            continue;
        }
        let Some(open) = &listener else {
            // The port may be in use for a moment by a connection of others.
            match TcpListener::bind(("127.0.0.1", port)) {
                Ok(new) => {
                    listener = Some(new);
                    gate.state().listening = true;
                    gate.changed.notify_all();
                }
                Err(_) => {
                    gate.pause(Duration::from_millis(10));
                }
            }
            continue;
        };
        let Ok((stream, _)) = open.accept() else {
            continue;
        };
        let Some(number) = gate.enter(&stream) else {
            continue;
        };
        let _ = stream.set_nodelay(true);
        let (shared, serve) = (Arc::clone(gate), Arc::clone(serve));
        let served = thread::Builder::new().spawn(move || {
            let leaves = Leaves(&shared, number);
            serve(stream, leaves.0);
        });
        if served.is_err() {
            gate.leave(number);
        }
    }
}

/// Leaves also when the thread panics.
struct Leaves<'g>(&'g Gate, u64);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

/// What a connection is, with TLS or without.
pub trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// How an answer goes out.
pub enum Manner {
    Whole,
    After(Duration),
    Slowly(Duration),
    Half,
    Nothing,
    Never,
    ThenClose,
}

/// Sends an answer. False: the connection is at its end.
pub fn send<S: Stream>(
    stream: &mut BufReader<S>,
    bytes: &[u8],
    manner: &Manner,
    gate: &Gate,
) -> bool {
    let stream = stream.get_mut();
    let mut write = |bytes: &[u8]| {
        stream
            .write_all(bytes)
            .and_then(|()| stream.flush())
            .is_ok()
    };
    match manner {
        Manner::Whole => write(bytes),
        Manner::After(wait) => gate.pause(*wait) && write(bytes),
        Manner::Slowly(wait) => bytes.chunks(1).all(|byte| gate.pause(*wait) && write(byte)),
        Manner::Half => {
            let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(0) + 4;
            let half = head + bytes.len().saturating_sub(head) / 2;
            write(&bytes[..half.min(bytes.len())]);
            false
        }
        Manner::Nothing => false,
        Manner::Never => {
            gate.pause_for_ever();
            false
        }
        Manner::ThenClose => {
            write(bytes);
            false
        }
    }
}
