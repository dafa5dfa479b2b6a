//! A connection -> one that must be done by a time, and the head of the HTTP/1.1 message on it.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Bytes of a head, at most.
const LONGEST_HEAD: u64 = 8 << 10;

/// A connection with a time by which all must be read and written, however slowly the other side does its part.
pub struct Timed {
    stream: TcpStream,
    until: Instant,
}

impl Timed {
    /// Allows this time from now on.
    pub fn new(stream: TcpStream, within: Duration) -> Self {
        let until = Instant::now() + within;
        Self { stream, until }
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        // A timeout of zero is none.
        (!left.is_zero())
            .then_some(left)
            .ok_or_else(|| ErrorKind::TimedOut.into())
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer).map_err(timed_out)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Unix says of a timeout that the call would block.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
        _ => error,
    }
}

/// The first line of a message, and its fields.
#[derive(Debug)]
pub struct Head {
    /// What is asked or answered.
    pub first: String,
    fields: Vec<(String, String)>,
}

impl Head {
    /// Reads up to the empty line.
    ///
    /// # Errors
    /// Those of the connection; [`ErrorKind::InvalidData`] for a head that is too long, ends early or is not text.
    pub fn read(from: &mut impl BufRead) -> io::Result<Self> {
        let mut from = from.take(LONGEST_HEAD);
        let first = line(&mut from)?;
        let mut fields = Vec::new();
        loop {
            let line = line(&mut from)?;
            if line.is_empty() {
                return Ok(Self { first, fields });
            }
            let (name, value) = line.split_once(':').ok_or_else(no_head)?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// The value of a field, by its name in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let found = fields.find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A line without its end.
fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let whole = line.strip_suffix('\n').ok_or_else(no_head)?;
    Ok(whole.strip_suffix('\r').unwrap_or(whole).to_owned())
}

fn no_head() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "no head of an HTTP message")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn a_side_that_never_ends_is_left() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let other = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            while stream.write_all(b"a").is_ok() {
                thread::sleep(Duration::from_millis(5));
            }
        });
        let stream = TcpStream::connect(address).expect("it listens");
        let mut timed = Timed::new(stream, Duration::from_millis(100));
        let ended = timed.read_to_end(&mut Vec::new());
        assert!(ended.is_err_and(|why| why.kind() == ErrorKind::TimedOut));
        drop(timed);
        other.join().expect("it saw the end");
    }

    #[test]
    fn heads_are_bounded() {
        let read = |text: String| Head::read(&mut text.as_bytes()).map(|head| head.fields.len());
        let fields = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert_eq!(read(fields(1000)).expect("a head"), 1000);
        for endless in [fields(2000), "a".repeat(10_000)] {
            assert!(read(endless).is_err_and(|why| why.kind() == ErrorKind::InvalidData));
        }
    }
}
