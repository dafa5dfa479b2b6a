//! Errors to statuses with their words; pointers of C to references, null refused.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int};
use std::slice;

use crate::c::Status;
use crate::error::{Error, Result};

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// Why a function ends early.
pub(super) enum Failure {
    Status(Status),
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// A status, with its words kept.
pub(super) fn report(result: Result<(), Failure>) -> c_int {
    let (status, words) = match result {
        Ok(()) => return Status::Ok as c_int,
        Err(Failure::Status(status)) => (status, status.message().to_owned()),
        Err(Failure::Error(error)) => (status(&error), error.to_string()),
    };
    let words = CString::new(words.replace('\0', " ")).unwrap_or_default();
    LAST.with_borrow_mut(|last| *last = words);
    status as c_int
}

/// The status nearest to an error.
const fn status(error: &Error) -> Status {
    match error {
        Error::WeightFile(_) => Status::WeightFile,
        Error::WrongWeights { .. } => Status::WrongWeights,
        Error::Memory { .. } => Status::Memory,
        Error::Empty => Status::Empty,
        Error::Token { .. } => Status::Token,
        Error::Context { .. } => Status::Full,
        Error::Logits { .. } => Status::Logits,
        _ => Status::Failed,
    }
}

/// # Safety
/// `text` is null or a string that ends with a zero byte and lives as long as is asked for.
pub(super) unsafe fn string<'a>(text: *const c_char) -> Result<&'a str, Failure> {
    if text.is_null() {
        return Err(Failure::Status(Status::Null));
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| {
        let what = "a text is not UTF-8".to_owned();
        Failure::Error(Error::Options(what))
    })
}

/// # Safety
/// `start` is null or points to `len` values that live as long as is asked for.
pub(super) unsafe fn list<'a, T>(start: *const T, len: usize) -> Result<&'a [T], Failure> {
    match (len, start.is_null()) {
        (0, _) => Ok(&[]),
        (_, true) => Err(Failure::Status(Status::Null)),
        // SAFETY: the caller's promise.
        (_, false) => Ok(unsafe { slice::from_raw_parts(start, len) }),
    }
}

/// # Safety
/// `pointer` is null or points to a value that nothing else uses meanwhile.
pub(super) unsafe fn exclusive<'a, T>(pointer: *mut T) -> Result<&'a mut T, Failure> {
    // SAFETY: the caller's promise.
    unsafe { pointer.as_mut() }.ok_or(Failure::Status(Status::Null))
}

/// # Safety
/// `pointer` is null or points to a value that nothing changes meanwhile.
pub(super) unsafe fn shared<'a, T>(pointer: *const T) -> Result<&'a T, Failure> {
    // SAFETY: the caller's promise.
    unsafe { pointer.as_ref() }.ok_or(Failure::Status(Status::Null))
}

/// Words of the last error of this thread; valid until the next one.
#[unsafe(no_mangle)]
pub extern "C" fn gem_last_error() -> *const c_char {
    LAST.with_borrow(|last| last.as_ptr())
}
