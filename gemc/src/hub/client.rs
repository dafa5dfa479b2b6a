//! An address of the hub -> its answer, behind all redirects.
//!
//! Invariant: the token goes to the endpoint's own scheme, host and port, and nowhere else; never over an open line to
//! another machine.

use std::io::Read;
use std::time::Duration;

use ureq::http::{HeaderMap, StatusCode, Uri};

use super::HubError;
use crate::import::hub::home_of_process;

const HUB: &str = "https://huggingface.co";

/// Redirects in a row, at most.
const MOST_REDIRECTS: usize = 10;

/// Bytes of a token at most.
const LONGEST_TOKEN: u64 = 4096;

/// Which hub, and as whom.
#[derive(Clone)]
pub struct Access {
    /// Address of the hub, without a path.
    pub endpoint: String,
    /// The user's token.
    pub token: Option<String>,
    /// How long to wait, and how often to try again.
    pub patience: Patience,
    /// Whether proxies count that the environment names.
    pub proxies: bool,
}

/// How long to wait, and how often to try again.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Tries in a row that bring nothing, at most.
    pub tries: u32,
    /// Wait before the second try; twice as long before each one after it.
    pub pause: Duration,
    /// How long nothing may come.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            tries: 5,
            pause: Duration::from_secs(1),
            silence: Duration::from_secs(60),
        }
    }
}

impl Access {
    /// As the environment says: `HF_ENDPOINT`, and a token from `HF_TOKEN` or the file that Hugging Face's `login` writes.
    ///
    /// # Errors
    /// When it says that nothing is to be fetched.
    pub fn of_process() -> Result<Self, HubError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let is_set = |name: &str| {
            variable(name).is_some_and(|value| {
                !["0", "false", "no", "off"].contains(&value.to_lowercase().as_str())
            })
        };
        if is_set("HF_HUB_OFFLINE") {
            return Err(HubError::Offline);
        }
        let kept = || {
            let file = variable("HF_TOKEN_PATH").map(Into::into);
            let file = file.or_else(|| Some(home_of_process()?.join("token")))?;
            let bytes = gem_runtime::regular::read_text(&file, LONGEST_TOKEN).ok()?;
            String::from_utf8(bytes).ok()
        };
        let implicit = !is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN");
        let token = variable("HF_TOKEN").or_else(kept).filter(|_| implicit);
        Ok(Self {
            endpoint: variable("HF_ENDPOINT").unwrap_or_else(|| HUB.to_owned()),
            token: token.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()),
            patience: Patience::default(),
            proxies: true,
        })
    }
}

/// The token stays unsaid.
impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|_| "...");
        f.debug_struct("Access")
            .field("endpoint", &self.endpoint)
            .field("token", &token)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

/// Asks a hub.
#[derive(Debug)]
pub(super) struct Client {
    agent: ureq::Agent,
    access: Access,
    endpoint: Place,
}

/// What came.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// `x-linked-etag`, else `etag`, of the hub's own answer, without quotes.
    pub(super) hash: Option<String>,
    pub(super) body: Box<dyn Read>,
}

/// Where an address leads.
#[derive(Clone, Debug)]
struct Place {
    scheme: String,
    /// With the port.
    authority: String,
    path: String,
}

impl Client {
    pub(super) fn new(access: Access) -> Result<Self, HubError> {
        let endpoint = access.endpoint.trim_end_matches('/');
        let place =
            Place::parse(endpoint).ok_or_else(|| HubError::Endpoint(access.endpoint.clone()))?;
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("gemc/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(access.patience.silence))
            .timeout_recv_response(Some(access.patience.silence))
            .timeout_per_read(Some(access.patience.silence));
        if !access.proxies {
            config = config.proxy(None);
        }
        Ok(Self {
            agent: config.build().into(),
            endpoint: place,
            access,
        })
    }

    pub(super) const fn patience(&self) -> Patience {
        self.access.patience
    }

    pub(super) const fn has_token(&self) -> bool {
        self.access.token.is_some()
    }

    /// Where people read about a model.
    pub(super) fn page(&self, repository: &str) -> String {
        format!("{}/{repository}", self.endpoint)
    }

    /// Where a revision of a model is listed, with the hashes of its files.
    pub(super) fn listing_url(&self, repository: &str, revision: &str) -> String {
        let revision = revision.replace('/', "%2F");
        format!(
            "{}/api/models/{repository}/revision/{revision}?blobs=true",
            self.endpoint
        )
    }

    /// Where a file of a commit is.
    pub(super) fn file_url(&self, repository: &str, commit: &str, file: &str) -> String {
        format!(
            "{}/{repository}/resolve/{commit}/{}",
            self.endpoint,
            escaped(file)
        )
    }

    /// Asks once; bytes from `from` on where it is not the beginning.
    ///
    /// # Errors
    /// In words, when the connection fails: another try may do.
    pub(super) fn get(&self, url: &str, from: u64) -> Result<Answer, String> {
        let mut place = Place::parse(url).ok_or("is not an address")?;
        let mut hash = None;
        for _ in 0..=MOST_REDIRECTS {
            let mut request = self.agent.get(place.to_string());
            if let Some(token) = self.access.token.as_ref().filter(|_| self.trusts(&place)) {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            if from > 0 {
                request = request.header("range", format!("bytes={from}-"));
            }
            let response = request.call().map_err(|error| error.to_string())?;
            let (parts, body) = response.into_parts();
            let header = |name: &str| {
                parts
                    .headers
                    .get(name)
                    .and_then(|value| value.to_str().ok())
            };
            // Storage behind the hub has names of its own for the same contents.
            hash = hash.or_else(|| {
                let tag = header("x-linked-etag").or_else(|| header("etag"))?;
                Some(tag.trim_start_matches("W/").trim_matches('"').to_owned())
            });
            match header("location").filter(|_| parts.status.is_redirection()) {
                Some(location) => place = place.follow(location)?,
                None => {
                    return Ok(Answer {
                        status: parts.status,
                        headers: parts.headers,
                        hash,
                        body: Box::new(body.into_reader()),
                    });
                }
            }
        }
        Err(format!(
            "leads to more than {MOST_REDIRECTS} other addresses"
        ))
    }

    /// Whether the token may be sent there.
    fn trusts(&self, place: &Place) -> bool {
        let own =
            (&place.scheme, &place.authority) == (&self.endpoint.scheme, &self.endpoint.authority);
        own && (place.scheme == "https" || place.is_here())
    }
}

impl Place {
    fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let scheme = uri.scheme_str().filter(|s| ["http", "https"].contains(s))?;
        Some(Self {
            scheme: scheme.to_owned(),
            authority: uri.authority().map(|a| a.as_str().to_lowercase())?,
            path: uri
                .path_and_query()
                .map_or("", |path| path.as_str())
                .trim_end_matches('/')
                .to_owned(),
        })
    }

    /// Where a redirect leads.
    fn follow(&self, location: &str) -> Result<Self, String> {
        let next = match location.starts_with('/') && !location.starts_with("//") {
            true => Some(Self {
                path: location.to_owned(),
                ..self.clone()
            }),
            false => Self::parse(location),
        };
        match next {
            Some(next) if self.scheme == "https" && next.scheme == "http" => {
                Err("leads from https to http, where anybody may change what comes".to_owned())
            }
            Some(next) => Ok(next),
            None => Err(format!("leads to {location}, which is not an address")),
        }
    }

    /// Whether it is this machine.
    fn is_here(&self) -> bool {
        let host = self
            .authority
            .rsplit_once(':')
            .map_or(&*self.authority, |(host, _)| host);
        ["localhost", "127.0.0.1", "[::1]"].contains(&host)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

/// A path as it stands in an address.
fn escaped(path: &str) -> String {
    let mut url = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                url.push(byte as char)
            }
            other => url.push_str(&format!("%{other:02X}")),
        }
    }
    url
}
