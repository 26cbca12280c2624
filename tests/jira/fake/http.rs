//! HTTP/1.1 as far as a server on loopback needs it: one request in, one
//! answer out, on a connection that stays. Knows nothing of Jira.

use std::io::{self, BufRead, BufReader, Read, Write};

/// Servers of Atlassian's refuse a longer line of request with 414.
const LONGEST_LINE: usize = 8 * 1024;
const LONGEST_HEAD: usize = 64 * 1024;
/// Answers longer than this go in chunks.
const CHUNKED: usize = 64 * 1024;

/// What came in.
#[derive(Clone, Debug)]
pub struct Message {
    pub method: String,
    /// As it stands in the first line.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// There was a `Content-Length` or a `Transfer-Encoding`.
    pub framed: bool,
    /// The client wants no other answer on this connection.
    pub last: bool,
}

/// What goes out.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Why there is no message. The status to answer with, or none where the
/// connection is at its end.
pub enum Failed {
    End,
    Refused(u16),
}

impl From<io::Error> for Failed {
    fn from(_: io::Error) -> Failed {
        Failed::End
    }
}

impl Message {
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

pub fn header<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    let found = headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

/// Waits for the next request.
pub fn read<S: Read + Write>(stream: &mut BufReader<S>) -> Result<Message, Failed> {
    let first = line(stream, LONGEST_LINE, 414)?;
    let mut words = first.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Failed::Refused(400));
    };
    if !target.is_ascii() || !version.starts_with("HTTP/1.") {
        return Err(Failed::Refused(400));
    }
    let mut headers = vec![];
    let mut length = 0;
    loop {
        let line = line(stream, LONGEST_HEAD, 431)?;
        length += line.len();
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else {
            return Err(Failed::Refused(400));
        };
        if length > LONGEST_HEAD || name.is_empty() || name.contains(' ') {
            return Err(Failed::Refused(if length > LONGEST_HEAD {
                431
            } else {
                400
            }));
        }
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let get = |name| header(&headers, name);
    if get("expect").is_some_and(|e| e.eq_ignore_ascii_case("100-continue")) {
        stream
            .get_mut()
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let chunked = get("transfer-encoding").is_some_and(|t| t.eq_ignore_ascii_case("chunked"));
    let declared = get("content-length").map(|n| n.parse::<u64>());
    let mut body = vec![];
    if chunked {
        loop {
            let size = line(stream, LONGEST_LINE, 400)?;
            let size = size.split(';').next().unwrap_or_default();
            let size = u64::from_str_radix(size, 16).map_err(|_| Failed::Refused(400))?;
            if stream.by_ref().take(size).read_to_end(&mut body)? as u64 != size {
                return Err(Failed::End);
            }
            // The end of the chunk, or of the trailers.
            if !line(stream, LONGEST_LINE, 400)?.is_empty() {
                return Err(Failed::Refused(400));
            }
            if size == 0 {
                break;
            }
        }
    } else if let Some(size) = &declared {
        let size = *size.as_ref().map_err(|_| Failed::Refused(400))?;
        if stream.by_ref().take(size).read_to_end(&mut body)? as u64 != size {
            return Err(Failed::End);
        }
    }
    let connection = get("connection").unwrap_or_default().to_ascii_lowercase();
    Ok(Message {
        method: method.to_owned(),
        target: target.to_owned(),
        framed: chunked || declared.is_some(),
        last: connection.contains("close") || version == "HTTP/1.0",
        headers,
        body,
    })
}

/// One line without its end.
fn line<S: Read>(
    stream: &mut BufReader<S>,
    longest: usize,
    too_long: u16,
) -> Result<String, Failed> {
    let mut line = vec![];
    let most = longest as u64 + 2;
    if stream.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
        return Err(Failed::End);
    }
    if line.pop() != Some(b'\n') {
        return Err(if line.len() > longest {
            Failed::Refused(too_long)
        } else {
            Failed::End
        });
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

impl Reply {
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Reply {
        let mut reply = Reply {
            status,
            headers: vec![],
            body: body.into(),
        };
        if !content_type.is_empty() {
            reply = reply.header("Content-Type", content_type);
        }
        reply
    }

    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply::new(status, "application/json;charset=UTF-8", body)
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// As it goes over the wire.
    pub fn bytes(&self, head: bool, last: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + 1024);
        let _ = write!(out, "HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            let _ = write!(out, "{name}: {value}\r\n");
        }
        if last {
            out.extend(b"Connection: close\r\n");
        }
        if self.status == 204 {
            out.extend(b"\r\n");
        } else if self.body.len() > CHUNKED {
            out.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            for chunk in self.body.chunks(CHUNKED / 4 + 1).take_while(|_| !head) {
                let _ = write!(out, "{:x}\r\n", chunk.len());
                out.extend(chunk);
                out.extend(b"\r\n");
            }
            out.extend(if head { &b""[..] } else { b"0\r\n\r\n" });
        } else {
            let _ = write!(out, "Content-Length: {}\r\n\r\n", self.body.len());
            if !head {
                out.extend(&self.body);
            }
        }
        out
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        410 => "Gone",
        413 => "Payload Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Other",
    }
}

/// `%41` and, in queries, `+`. None where it is not UTF-8.
pub fn decode(text: &str, plus: bool) -> Option<String> {
    let mut out = vec![];
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' if plus => b' ',
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

/// `a=1&b=2`.
pub fn query(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decode(name, true)?, decode(value, true)?))
    });
    pairs.collect()
}

/// Base64 as `Authorization` has it.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = text.as_bytes();
    if text.is_empty() || !text.len().is_multiple_of(4) {
        return None;
    }
    let mut out = vec![];
    for four in text.chunks(4) {
        let padding = four.iter().rev().take_while(|b| **b == b'=').count();
        if padding > 2 {
            return None;
        }
        let mut bits = 0_u32;
        for byte in &four[..4 - padding] {
            let digit = DIGITS.iter().position(|d| d == byte)?;
            bits = bits << 6 | digit as u32;
        }
        bits <<= 6 * padding;
        out.extend(&bits.to_be_bytes()[1..4 - padding]);
    }
    Some(out)
}
