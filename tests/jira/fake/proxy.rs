//! A proxy for tests: whatever host it is asked for, it leads to one port of
//! loopback. So `acme.atlassian.net` can be played here.

use std::{
    io::{self, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use super::{
    http::{self, Failed},
    server::{Gate, Serve, Server},
};

/// The proxy while it runs. Ends when it is dropped.
pub struct Proxy {
    server: Server,
    seen: Arc<Mutex<Vec<Connect>>>,
}

/// One host that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Connect {
    /// `acme.atlassian.net:443`; without CONNECT the host of the address.
    pub host: String,
    /// A tunnel, and not a request in the clear.
    pub tunnel: bool,
    pub authorization: Option<String>,
    pub proxy_authorization: Option<String>,
}

impl Proxy {
    /// Leads to this port. What is asked inside of a tunnel, and with which
    /// credentials, knows `Fake::credentials`.
    pub fn start(to: u16) -> Proxy {
        let seen = Arc::new(Mutex::new(vec![]));
        let shared = Arc::clone(&seen);
        let serve: Arc<Serve> = Arc::new(move |stream, _: &Gate| {
            let _ = lead(stream, to, &shared);
        });
        Proxy {
            server: Server::start(0, "proxy", serve),
            seen,
        }
    }

    /// For `HTTPS_PROXY`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port)
    }

    /// What was asked for, in its order.
    pub fn connects(&self) -> Vec<Connect> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The hosts that were asked for, each once, without their ports.
    pub fn hosts(&self) -> Vec<String> {
        let mut hosts: Vec<String> = self
            .connects()
            .into_iter()
            .map(|c| {
                c.host
                    .rsplit_once(':')
                    .map_or(c.host.clone(), |(host, _)| host.to_owned())
            })
            .collect();
        hosts.sort();
        hosts.dedup();
        hosts
    }
}

fn lead(stream: TcpStream, to: u16, seen: &Mutex<Vec<Connect>>) -> io::Result<()> {
    let mut client = BufReader::new(stream);
    let Ok(message) = http::read(&mut client).map_err(|e: Failed| e) else {
        return Ok(());
    };
    let tunnel = message.method == "CONNECT";
    let host = if tunnel {
        message.target.clone()
    } else {
        message.header("host").unwrap_or_default().to_owned()
    };
    seen.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(Connect {
            host,
            tunnel,
            authorization: message.header("authorization").map(str::to_owned),
            proxy_authorization: message.header("proxy-authorization").map(str::to_owned),
        });
    let mut server = TcpStream::connect(("127.0.0.1", to))?;
    server.set_nodelay(true)?;
    if tunnel {
        client
            .get_mut()
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    } else {
        let mut head = format!("{} {} HTTP/1.1\r\n", message.method, message.target);
        for (name, value) in &message.headers {
            head += &format!("{name}: {value}\r\n");
        }
        server.write_all(format!("{head}\r\n").as_bytes())?;
        server.write_all(&message.body)?;
    }
    let (mut back, mut down) = (server.try_clone()?, client.get_ref().try_clone()?);
    let answers = thread::spawn(move || {
        let _ = io::copy(&mut back, &mut down);
        let _ = down.shutdown(Shutdown::Both);
    });
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = client.read(&mut buffer) {
        if server.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
    let _ = answers.join();
    Ok(())
}
