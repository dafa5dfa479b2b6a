//! The clock of the machine -> today's date, where the machine is.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::text::Date;

/// Date and time now, in the local time zone; in UTC where there is none to be had.
pub(crate) fn today() -> Date {
    let seconds = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |s| -s),
    };
    Date::from_unix(seconds.saturating_add(offset(seconds)))
}

/// How many seconds local time is ahead of UTC.
#[cfg(unix)]
fn offset(seconds: i64) -> i64 {
    // Where a `time_t` has 32 bits, it is the system's own clock that ends.
    let time = seconds as libc::time_t;
    let mut local = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both point to values of their types. The function reads the environment: this is the command's own thread,
    // and nothing in this crate changes the environment.
    let found = unsafe { libc::localtime_r(&raw const time, local.as_mut_ptr()) };
    if found.is_null() {
        return 0;
    }
    // SAFETY: zeros are a `tm`, and the function has filled it.
    let local = unsafe { local.assume_init() };
    #[allow(
        clippy::useless_conversion,
        reason = "a C long has 32 bits on some machines"
    )]
    i64::from(local.tm_gmtoff)
}

/// Other systems have no such function in C.
#[cfg(not(unix))]
const fn offset(_: i64) -> i64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn today_is_within_a_day_of_utc() {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        let utc = now.as_secs() as i64;
        let days = [-86_400, 0, 86_400].map(|s| Date::from_unix(utc + s).format("%F"));
        assert!(days.contains(&today().format("%F")));
    }
}
