//! A server's patch, looked at again and again -> updates, and a line for whatever is new.

use std::net::SocketAddr;
use std::time::Duration;

use gem_runtime::Error;

use crate::fetch::{Fetched, fetch};
use crate::updates::Updates;

/// Where patches are on the server.
const PATH: &str = "/law.gemp";

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// Takes whatever patch the server has, forever. What goes wrong is told, and tried again.
pub fn watch(updates: &Updates, server: SocketAddr) -> ! {
    let (mut seen, mut last) = (None, None);
    loop {
        let told = look(updates, server, &mut seen);
        // A server that is away stays away for a while: what was said is not said again.
        if let Some(line) = told.as_ref().filter(|_| told != last) {
            eprintln!("update: {line}");
        }
        last = told;
        std::thread::sleep(EVERY);
    }
}

/// Looks once. `seen` is the server's name for what needs no second look.
fn look(updates: &Updates, server: SocketAddr, seen: &mut Option<String>) -> Option<String> {
    let fetched = fetch(server, PATH, seen.as_deref(), updates.most_bytes());
    let Fetched { bytes, tag } = match fetched {
        Ok(fetched) => fetched?,
        Err(why) => return Some(format!("http://{server}{PATH}: {why}")),
    };
    let taken = updates.take(bytes);
    // A disk may have room next time; a patch that does not fit will not fit either.
    *seen = tag.filter(|_| !matches!(taken, Err(Error::Io { .. })));
    taken.unwrap_or_else(|why| Some(format!("refused: {why}")))
}
