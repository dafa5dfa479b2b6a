//! An address and a path -> the bytes that a server has there, over plain HTTP/1.1, if they are new.
//!
//! Invariant: no more memory is taken than was allowed, and no more time, whatever the server does.

use std::fmt;
use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::http::{Head, Timed};

/// For connecting, and then for all the rest.
const WITHIN: Duration = Duration::from_secs(10);

/// What a server has.
#[derive(Debug)]
pub struct Fetched {
    pub bytes: Vec<u8>,
    /// The server's name for these bytes, its `ETag`.
    pub tag: Option<String>,
}

/// Why nothing came.
#[derive(Debug)]
pub enum FetchError {
    /// What the system said.
    Io(io::Error),
    /// The server says this instead.
    Status(String),
    /// The server does not say how long its answer is, as it has to here.
    Length,
    /// The answer is longer than was allowed.
    TooLong { bytes: u64, most: u64 },
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Status(line) => write!(f, "the server says `{line}`"),
            Self::Length => f.write_str("the server does not say a length"),
            Self::TooLong { bytes, most } => {
                write!(f, "has {bytes} bytes; allowed: at most {most}")
            }
        }
    }
}

impl std::error::Error for FetchError {}

impl From<io::Error> for FetchError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What the server has at a path, in at most so many bytes; nothing where it has nothing, or only what is known by its tag.
///
/// # Errors
/// [`FetchError`], within some seconds.
pub fn fetch(
    server: SocketAddr,
    path: &str,
    known: Option<&str>,
    most: u64,
) -> Result<Option<Fetched>, FetchError> {
    let stream = TcpStream::connect_timeout(&server, WITHIN)?;
    let mut connection = BufReader::new(Timed::new(stream, WITHIN));
    let condition = known.map_or(String::new(), |tag| format!("If-None-Match: {tag}\r\n"));
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n{condition}\r\n");
    connection.get_mut().write_all(request.as_bytes())?;
    let head = Head::read(&mut connection)?;
    match status(&head) {
        Some("200") => {}
        Some("304" | "404") => return Ok(None),
        _ => return Err(FetchError::Status(head.first)),
    }
    let length = length(&head, most)?;
    let mut bytes = Vec::with_capacity(length);
    connection.take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() < length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    let tag = head.field("etag").map(str::to_owned);
    Ok(Some(Fetched { bytes, tag }))
}

/// The code in a status line.
fn status(head: &Head) -> Option<&str> {
    let mut words = head.first.split(' ');
    let http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    words.next().filter(|_| http)
}

/// Bytes of the answer, before any memory is taken for them.
fn length(head: &Head, most: u64) -> Result<usize, FetchError> {
    let said = head.field("content-length");
    let said = said.filter(|_| head.field("transfer-encoding").is_none());
    let bytes: u64 = said
        .and_then(|said| said.parse().ok())
        .ok_or(FetchError::Length)?;
    let length = usize::try_from(bytes).ok().filter(|_| bytes <= most);
    length.ok_or(FetchError::TooLong { bytes, most })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// What comes of a server that answers so.
    fn fetched(answer: &'static str, known: Option<&str>) -> Result<Option<Fetched>, FetchError> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let server = thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a client");
            let mut connection = BufReader::new(Timed::new(stream, WITHIN));
            let head = Head::read(&mut connection).expect("a request");
            let sent = connection.get_mut().write_all(answer.as_bytes());
            sent.expect("it listens");
            head
        });
        let fetched = fetch(address, "/law.gemp", known, 5);
        let asked = server.join().expect("it answered");
        assert_eq!(asked.first, "GET /law.gemp HTTP/1.1");
        assert_eq!(asked.field("if-none-match"), known);
        fetched
    }

    #[test]
    fn what_is_new_comes_with_its_tag() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\nbytes and more";
        let new = fetched(answer, None).expect("an answer").expect("new");
        assert_eq!(
            (&new.bytes[..], new.tag),
            (&b"bytes"[..], Some("\"a\"".to_owned()))
        );
        let answer = "HTTP/1.1 304 Not Modified\r\n\r\n";
        assert!(fetched(answer, Some("\"a\"")).is_ok_and(|new| new.is_none()));
        assert!(fetched("HTTP/1.1 404 Not Found\r\n\r\n", None).is_ok_and(|new| new.is_none()));
    }

    #[test]
    fn what_a_server_does_wrong_is_said() {
        let answers = [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nbytes",
                "has 6 bytes; allowed: at most 5",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n",
                "at most 5",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
                "does not say a length",
            ),
            ("HTTP/1.1 200 OK\r\n\r\nbytes", "does not say a length"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                "a length",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbyte",
                "end of file",
            ),
            ("HTTP/1.1 500 Oh\r\n\r\n", "says `HTTP/1.1 500 Oh`"),
            ("HTTP/1.1 200 OK\r\n", "no head"),
            ("HTTP/1.1 200 OK\r\nnothing\r\n\r\n", "no head"),
            ("", "no head"),
        ];
        for (answer, expected) in answers {
            let told = fetched(answer, None).expect_err(answer).to_string();
            assert!(told.contains(expected), "{answer:?}: {told}");
        }
    }
}
