//! As much HTTP/1.1 as an admin page needs: one GET per connection. Knows no page.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::net::clock::Clock;

/// Longest request line with all headers, in bytes.
const MAX_HEAD: usize = 8 * 1024;
/// How long a whole request may take to come in.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the reply may be stuck.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of what the other side still sends is read before its connection is closed, in bytes.
const MAX_LINGER: usize = 64 * 1024;

/// A request without headers, since no page needs them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    /// What stands before the `?`.
    pub(super) path: String,
    /// What stands behind it, not decoded.
    query: String,
}

impl Request {
    /// The value of `name=value` in the query. Values are not decoded: none that a page takes needs escapes.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }
}

/// A reply, written whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: &'static str,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
}

impl Response {
    /// Plain text; a line end is added.
    pub(super) fn text(status: &'static str, text: &str) -> Self {
        let body = format!("{text}\n").into_bytes();
        Response { status, content_type: "text/plain; charset=utf-8", body }
    }

    /// 200 with plain text.
    pub(super) fn ok(text: &str) -> Self {
        Response::text("200 OK", text)
    }
}

/// Reads one request. A refusal to send is the error of a client that does not speak HTTP or says too much.
pub(super) fn read_request(stream: &mut TcpStream) -> io::Result<Result<Request, Response>> {
    let clock = Clock::new();
    let deadline = clock.now().after(READ_TIMEOUT);
    let mut head = Vec::new();
    let mut piece = [0; 2048];
    loop {
        let left = deadline.since(clock.now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let read = match stream.read(&mut piece) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        head.extend_from_slice(piece.get(..read).unwrap_or_default());
        if let Some(end) = memchr::memmem::find(&head, b"\r\n\r\n").filter(|end| *end <= MAX_HEAD) {
            return Ok(parse(head.get(..end).unwrap_or_default()));
        }
        if head.len() > MAX_HEAD {
            return Ok(Err(Response::text("431 Request Header Fields Too Large", "too long a request")));
        }
    }
}

fn parse(head: &[u8]) -> Result<Request, Response> {
    let bad = || Response::text("400 Bad Request", "malformed request");
    let head = std::str::from_utf8(head).map_err(|_| bad())?;
    let line = head.split("\r\n").next().unwrap_or_default();
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, version] = words.as_slice() else { return Err(bad()) };
    if !version.starts_with("HTTP/1.") || !target.starts_with('/') {
        return Err(bad());
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok(Request { method: (*method).into(), path: path.into(), query: query.into() })
}

/// Writes the reply and closes, letting the other side read all of it.
pub(super) fn write_response(stream: &mut TcpStream, response: &Response) -> io::Result<()> {
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    stream.write_all(&encode(response))?;
    stream.shutdown(Shutdown::Write)?;
    linger(stream)
}

/// Writes a short reply without reading the request and without waiting for anything.
pub(super) fn write_refusal(stream: &mut TcpStream, response: &Response) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.write_all(&encode(response))
}

fn encode(response: &Response) -> Vec<u8> {
    let Response { status, content_type, body } = response;
    let allow = if status.starts_with("405") { "Allow: GET\r\n" } else { "" };
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{allow}\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Closing with unread input would reset the connection, and the reply might be lost on the way.
fn linger(stream: &mut TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut piece = [0; 2048];
    let mut total = 0;
    while total < MAX_LINGER {
        match stream.read(&mut piece)? {
            0 => break,
            read => total += read,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_taken_apart() {
        let request = parse(b"GET /a/b?x=1&level=debug HTTP/1.1\r\nHost: h").unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/a/b"));
        assert_eq!((request.param("level"), request.param("x")), (Some("debug"), Some("1")));
        assert_eq!((request.param("lev"), request.param("y")), (None, None));
        assert_eq!(parse(b"GET / HTTP/1.0").unwrap().param("x"), None);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let cases: [&[u8]; 7] = [
            b"",
            b"GET",
            b"GET /",
            b"GET / HTTP/2",
            b"GET a HTTP/1.1",
            b"GET  / HTTP/1.1",
            b"G\xff / HTTP/1.1",
        ];
        for case in cases {
            assert_eq!(parse(case).unwrap_err().status, "400 Bad Request");
        }
    }
}
