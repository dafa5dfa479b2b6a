//! A revision of a model -> its commit and files, each with size and hash, as the hub lists them.
//!
//! Nothing of it is believed: names stay below the snapshot, hashes are hashes.

use std::io::Read as _;

use serde::Deserialize;
use ureq::http::StatusCode;

use super::HubError;
use super::client::{Answer, Client};

/// Bytes of a listing at most.
const LONGEST: u64 = 64 << 20;

/// What a revision holds.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) files: Vec<File>,
}

/// A file of a revision.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) size: u64,
    /// The name of its blob: SHA-256 of what LFS keeps, else the hash that git has for it.
    pub(super) hash: String,
}

#[derive(Deserialize)]
struct Revision {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    #[serde(alias = "oid")]
    sha256: String,
    size: u64,
}

/// Asks for a revision.
pub(super) fn of(client: &Client, repository: &str, revision: &str) -> Result<Listing, HubError> {
    let url = client.listing_url(repository, revision);
    let answer = patiently(client, &url)?;
    if !answer.status.is_success() {
        return Err(refusal(
            client,
            &answer,
            repository,
            &url,
            &Asked::Revision(revision),
        ));
    }
    let wrong = |what: String| HubError::Answer {
        url: url.clone(),
        what,
    };
    let mut bytes = Vec::new();
    let read = answer.body.take(LONGEST).read_to_end(&mut bytes);
    read.map_err(|e| wrong(format!("the answer cannot be read: {e}")))?;
    let listed: Revision = serde_json::from_slice(&bytes)
        .map_err(|e| wrong(format!("the answer is no listing: {e}")))?;
    if !is_hash(&listed.sha) {
        return Err(wrong("names no commit".to_owned()));
    }
    let files = listed.siblings.into_iter().filter_map(Sibling::file);
    Ok(Listing {
        commit: listed.sha,
        files: files.collect(),
    })
}

impl Sibling {
    /// `None` for what no snapshot should hold, or the hub says too little of.
    fn file(self) -> Option<File> {
        let (size, hash) = match self.lfs {
            Some(lfs) => (lfs.size, lfs.sha256),
            None => (self.size?, self.blob_id?),
        };
        let below = |part: &str| !["", ".", ".."].contains(&part) && !part.contains(['\\', '\0']);
        let name_fits =
            self.rfilename.split('/').all(below) && !self.rfilename.contains(char::is_control);
        (name_fits && is_hash(&hash)).then_some(File {
            name: self.rfilename,
            size,
            hash,
        })
    }
}

/// SHA-1 or SHA-256 in hexadecimal.
pub(super) fn is_hash(text: &str) -> bool {
    [40, 64].contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Asks again where the hub is busy or the connection fails.
fn patiently(client: &Client, url: &str) -> Result<Answer, HubError> {
    let patience = client.patience();
    let (mut tries, mut pause) = (1, patience.pause);
    loop {
        let last = tries >= patience.tries;
        match client.get(url, 0) {
            Ok(answer) if last || !is_busy(answer.status) => return Ok(answer),
            Err(what) if last => {
                let url = url.to_owned();
                return Err(HubError::Connection { url, what });
            }
            Ok(_) | Err(_) => std::thread::sleep(pause),
        }
        tries += 1;
        pause *= 2;
    }
}

/// Whether asking later may help.
pub(super) fn is_busy(status: StatusCode) -> bool {
    status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
}

/// What was asked for.
pub(super) enum Asked<'a> {
    Revision(&'a str),
    File(&'a str),
}

/// What an answer that is none means.
pub(super) fn refusal(
    client: &Client,
    answer: &Answer,
    repository: &str,
    url: &str,
    asked: &Asked<'_>,
) -> HubError {
    let header = |name: &str| {
        let value = answer
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    };
    let repository = repository.to_owned();
    let said = header("x-error-message").to_owned();
    match (answer.status.as_u16(), header("x-error-code"), asked) {
        (401 | 403, "GatedRepo", _) => HubError::Gated {
            page: client.page(&repository),
            repository,
        },
        (404, "RevisionNotFound", Asked::Revision(revision)) => HubError::NoRevision {
            repository,
            revision: (*revision).to_owned(),
        },
        (404, "EntryNotFound" | "", Asked::File(file)) => HubError::NoFile {
            repository,
            file: (*file).to_owned(),
        },
        // To strangers the hub does not tell what is private from what is not there.
        (404, ..) | (401 | 403, "RepoNotFound", _) => HubError::NoModel { repository },
        (401, ..) if !client.has_token() => HubError::NoModel { repository },
        (401 | 403, ..) => HubError::Token { repository, said },
        (status, ..) => HubError::Answer {
            url: url.to_owned(),
            what: format!("the hub answers {status} {said}")
                .trim_end()
                .to_owned(),
        },
    }
}
