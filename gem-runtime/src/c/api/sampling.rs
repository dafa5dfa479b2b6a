//! How tokens are chosen, as C has it.

use std::ffi::{c_char, c_int};

use super::failure::{Failure, exclusive, list, report, shared, string};
use super::session::Text;
use crate::sample::Sampling;

/// `gem_sampling`; see [`Sampling`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// See [`Sampling::temperature`].
    pub temperature: f32,
    /// See [`Sampling::top_k`].
    pub top_k: u32,
    /// See [`Sampling::top_p`].
    pub top_p: f32,
    /// See [`Sampling::min_p`].
    pub min_p: f32,
    /// See [`Sampling::repetition_penalty`].
    pub repetition_penalty: f32,
    /// See [`Sampling::max_tokens`].
    pub max_tokens: u32,
    /// See [`Sampling::seed`].
    pub seed: u64,
    /// See [`Sampling::stop`].
    pub stop: *const *const c_char,
    /// Number of entries of `stop`.
    pub n_stop: u32,
}

/// The most probable token always, up to 256 of them.
///
/// # Safety
/// `sampling` is null or takes a value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gem_sampling_greedy(sampling: *mut Choice) {
    if !sampling.is_null() {
        // SAFETY: the caller's promise.
        unsafe { sampling.write(choice(&Sampling::default())) }
    }
}

/// How the model's makers want tokens chosen.
///
/// # Safety
/// `text` is open, `sampling` takes a value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gem_sampling_of(text: *const Text, sampling: *mut Choice) -> c_int {
    // SAFETY: the caller's promise.
    let fill = || unsafe {
        let text = shared(text)?;
        let mut made = choice(text.engine.text()?.sampling());
        (made.stop, made.n_stop) = text.stops.list();
        *exclusive(sampling)? = made;
        Ok(())
    };
    report(fill())
}

fn choice(sampling: &Sampling) -> Choice {
    Choice {
        temperature: sampling.temperature,
        top_k: sampling.top_k,
        top_p: sampling.top_p,
        min_p: sampling.min_p,
        repetition_penalty: sampling.repetition_penalty,
        max_tokens: sampling.max_tokens,
        seed: sampling.seed,
        stop: std::ptr::null(),
        n_stop: 0,
    }
}

/// # Safety
/// The list of strings is one.
pub(super) unsafe fn sampling(choice: &Choice) -> Result<Sampling, Failure> {
    // SAFETY: the caller's promise.
    let stop = unsafe { list(choice.stop, choice.n_stop as usize)? }.iter();
    // SAFETY: the caller's promise.
    let stop = stop.map(|text| unsafe { string(*text) }.map(str::to_owned));
    Ok(Sampling {
        temperature: choice.temperature,
        top_k: choice.top_k,
        top_p: choice.top_p,
        min_p: choice.min_p,
        repetition_penalty: choice.repetition_penalty,
        seed: choice.seed,
        max_tokens: choice.max_tokens,
        stop: stop.collect::<Result<_, Failure>>()?,
    })
}
