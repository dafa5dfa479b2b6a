//! What is asked for, and what a model has room for -> tokens of the prompt and after it.

use crate::info::Task;

/// Tokens unless told otherwise.
const PREFILL: u32 = 256;
const DECODE: u32 = 32;

/// Tokens of the prompt and after it: as asked for, or as many as there is room for; a model of whole texts has none after it.
///
/// # Errors
/// In words, for more than fits.
pub fn lengths(
    task: Task,
    positions: u32,
    prefill: Option<u32>,
    decode: Option<u32>,
) -> Result<(u32, u32), String> {
    let decode = match task {
        Task::SequenceClassification | Task::TokenClassification | Task::Embedding => Some(0),
        Task::CausalLm => decode,
    };
    let asked = u64::from(prefill.unwrap_or(1)) + u64::from(decode.unwrap_or(0));
    if asked > u64::from(positions) {
        let options = match (prefill, decode) {
            (Some(p), Some(n)) if n > 0 => format!("-p {p} and -n {n}"),
            (Some(p), _) => format!("-p {p}"),
            (None, n) => format!("-n {} and a prompt", n.unwrap_or(0)),
        };
        let s = if positions == 1 { "" } else { "s" };
        return Err(format!(
            "{options}: {asked} tokens do not fit, the model has {positions} position{s}"
        ));
    }
    Ok(match (prefill, decode) {
        (Some(prefill), Some(decode)) => (prefill, decode),
        (Some(prefill), None) => (prefill, DECODE.min(positions - prefill)),
        (None, Some(decode)) => (PREFILL.min(positions - decode), decode),
        (None, None) => {
            let decode = DECODE.min(positions / 2);
            (PREFILL.min(positions - decode), decode)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_fit_the_model() {
        let fit = |positions, p, n| lengths(Task::CausalLm, positions, p, n);
        assert_eq!(fit(1024, None, None), Ok((256, 32)));
        assert_eq!(fit(128, None, None), Ok((96, 32)));
        assert_eq!(fit(10, None, None), Ok((5, 5)));
        assert_eq!(fit(1, None, None), Ok((1, 0)));
        assert_eq!(fit(128, Some(120), None), Ok((120, 8)));
        assert_eq!(fit(128, None, Some(100)), Ok((28, 100)));
        assert_eq!(fit(128, Some(96), Some(32)), Ok((96, 32)));
        for (p, n, words) in [
            (
                Some(129),
                None,
                "-p 129: 129 tokens do not fit, the model has 128 positions",
            ),
            (Some(100), Some(29), "-p 100 and -n 29: 129 tokens"),
            (None, Some(128), "-n 128 and a prompt: 129 tokens"),
            (Some(u32::MAX), Some(u32::MAX), "8589934590 tokens"),
        ] {
            let told = fit(128, p, n).expect_err(words);
            assert!(told.contains(words), "{told}");
        }
        let text = |p, n| lengths(Task::SequenceClassification, 64, p, n);
        assert_eq!(text(None, None), Ok((64, 0)));
        assert_eq!(text(Some(10), Some(3)), Ok((10, 0)));
        assert!(text(Some(65), None).is_err());
    }
}
