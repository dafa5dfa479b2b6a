//! The other end of a pipe -> answers, as if the model were in this process.

use std::io::{Read, Write};

use super::message::{self, Answer};
use super::wire::{broken, io, read_frame, write_frame};
use super::{
    BenchRequest, BenchResult, LogitsRequest, LogitsResult, Peer, ProbeRequest, ProbeResult,
};
use crate::error::{Error, Result};
use crate::info::ModelInfo;

/// Asks a program that runs [`super::serve`].
#[derive(Debug)]
pub struct Client<R, W> {
    from: R,
    to: W,
    frame: Vec<u8>,
}

impl<R: Read, W: Write> Client<R, W> {
    /// Asks through these streams; reading should be buffered.
    pub const fn new(from: R, to: W) -> Self {
        Self {
            from,
            to,
            frame: Vec::new(),
        }
    }

    fn ask(&mut self, request: &[u8]) -> Result<()> {
        write_frame(&mut self.to, request)?;
        self.to.flush().map_err(io)
    }

    fn answer(&mut self) -> Result<Answer> {
        if !read_frame(&mut self.from, &mut self.frame)? {
            return Err(broken("the model's program ended without an answer"));
        }
        match Answer::decode(&self.frame)? {
            Answer::Failed(why) => Err(Error::Remote(why)),
            Answer::Refused(what) => Err(Error::Options(what)),
            answer => Ok(answer),
        }
    }

    /// The one frame of an answer, if it is of the kind that `pick` takes.
    fn only<T>(&mut self, request: &[u8], pick: impl FnOnce(Answer) -> Option<T>) -> Result<T> {
        self.ask(request)?;
        pick(self.answer()?).ok_or_else(|| broken("an answer to another request"))
    }
}

impl<R: Read, W: Write> Peer for Client<R, W> {
    fn info(&mut self) -> Result<ModelInfo> {
        self.only(&message::info_request(), |answer| match answer {
            Answer::Info(info) => Some(*info),
            _ => None,
        })
    }

    fn logits(
        &mut self,
        request: &LogitsRequest,
        each: &mut dyn FnMut(u32, &[f32]),
    ) -> Result<LogitsResult> {
        self.ask(&message::logits_request(request))?;
        let mut routing = Vec::new();
        loop {
            match self.answer()? {
                Answer::Row(position, logits) => each(position, &logits),
                Answer::Routing(record) => routing.push(record),
                Answer::Done(saturated) => return Ok(LogitsResult { routing, saturated }),
                _ => return Err(broken("an answer to another request")),
            }
        }
    }

    fn bench(&mut self, request: &BenchRequest) -> Result<BenchResult> {
        self.only(&message::bench_request(request), |answer| match answer {
            Answer::Bench(result) => Some(result),
            _ => None,
        })
    }

    fn probe(&mut self, request: &ProbeRequest) -> Result<ProbeResult> {
        self.only(&message::probe_request(request), |answer| match answer {
            Answer::Probe(result) => Some(result),
            _ => None,
        })
    }
}
