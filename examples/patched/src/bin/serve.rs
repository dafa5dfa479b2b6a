//! Serves the patches of one folder over plain HTTP/1.1, for this machine: `serve FOLDER [ADDRESS]`.
//!
//! Only names in the folder itself that end in `.gemp` are served, one connection after the other. Real servers are
//! somebody else's; what an app needs of them is a length, and a tag so that nothing comes twice.
#![forbid(unsafe_code)]

use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use gem_runtime::file::Checksum;
use gem_runtime::regular;
use patched::http::{Head, Timed};

const ADDRESS: &str = "127.0.0.1:4100";

/// For a whole connection.
const WITHIN: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let mut given = std::env::args().skip(1);
    let Some(folder) = given.next() else {
        eprintln!("usage: serve FOLDER [ADDRESS]; the address is {ADDRESS} unless given");
        return ExitCode::from(2);
    };
    let address = given.next().unwrap_or(ADDRESS.to_owned());
    match serve(Path::new(&folder), &address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{address}: {why}");
            ExitCode::FAILURE
        }
    }
}

fn serve(folder: &Path, address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    println!("serving {} on {}", folder.display(), listener.local_addr()?);
    io::stdout().flush()?;
    for stream in listener.incoming() {
        // Whoever hangs up is no reason to stop.
        if let Err(why) = stream.and_then(|stream| answer(stream, folder)) {
            eprintln!("{why}");
        }
    }
    Ok(())
}

fn answer(stream: TcpStream, folder: &Path) -> io::Result<()> {
    let mut connection = BufReader::new(Timed::new(stream, WITHIN));
    let request = Head::read(&mut connection)?;
    let (head, body) = answered(&request, folder);
    let head = format!("HTTP/1.1 {head}Connection: close\r\n\r\n");
    connection.get_mut().write_all(head.as_bytes())?;
    connection.get_mut().write_all(&body)
}

/// Status and fields, and what follows them.
fn answered(request: &Head, folder: &Path) -> (String, Vec<u8>) {
    let file = asked(&request.first).map(|name| folder.join(name));
    let Some(bytes) = file.and_then(read) else {
        return (
            "404 Not Found\r\nContent-Length: 0\r\n".to_owned(),
            Vec::new(),
        );
    };
    let tag = format!("\"{:016x}\"", Checksum::of(&bytes));
    if request.field("if-none-match") == Some(&tag) {
        return (format!("304 Not Modified\r\nETag: {tag}\r\n"), Vec::new());
    }
    let head = format!(
        "200 OK\r\nContent-Length: {}\r\nETag: {tag}\r\n",
        bytes.len()
    );
    (head, bytes)
}

/// The name of the patch that a request asks for. It leads nowhere else.
fn asked(request: &str) -> Option<&str> {
    let name = request.strip_prefix("GET /")?.split(' ').next()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let stem = name.strip_suffix(".gemp")?;
    stem.bytes().all(plain).then_some(name)
}

fn read(file: PathBuf) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    regular::open(&file).ok()?.read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        assert_eq!(asked("GET /law.gemp HTTP/1.1"), Some("law.gemp"));
        for request in [
            "GET /../law.gemp HTTP/1.1",
            "GET //law.gemp HTTP/1.1",
            "GET /law.gemw HTTP/1.1",
            "GET / HTTP/1.1",
            "POST /law.gemp HTTP/1.1",
            "",
        ] {
            assert_eq!(asked(request), None, "{request}");
        }
    }
}
