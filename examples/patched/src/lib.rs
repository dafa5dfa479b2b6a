//! An app that updates module `law` of its model from a server while it answers; its parts, and those of the server.
#![forbid(unsafe_code)]

pub mod answer;
pub mod fetch;
pub mod http;
pub mod newest;
pub mod updates;
pub mod watch;
