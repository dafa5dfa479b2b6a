//! Values of options -> numbers. Whatever is no number, or is out of range, is refused in words that say what is allowed.

use std::fmt::Display;
use std::str::FromStr;

use gem_runtime::team::MOST_THREADS;

/// Whole numbers of a range.
pub fn whole<T>(least: T, most: T) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + Display + Clone,
{
    move |text| {
        let number = text.parse().ok().filter(|n| (&least..=&most).contains(&n));
        number.ok_or_else(|| format!("allowed are whole numbers from {least} to {most}"))
    }
}

/// Numbers of threads.
pub fn threads(text: &str) -> Result<u32, String> {
    whole(1, MOST_THREADS as u32)(text)
}

/// Numbers above 0.
pub fn above_zero(text: &str) -> Result<f64, &'static str> {
    real(text, |n| n > 0.0).ok_or("allowed are numbers above 0")
}

/// Numbers from 0.
pub fn from_zero(text: &str) -> Result<f64, &'static str> {
    real(text, |n| n >= 0.0).ok_or("allowed are numbers from 0")
}

/// Numbers from 0 to 1.
pub fn share(text: &str) -> Result<f64, &'static str> {
    real(text, |n| (0.0..=1.0).contains(&n)).ok_or("allowed are numbers from 0 to 1")
}

/// Shares of single precision, below the whole.
pub fn fraction(text: &str) -> Result<f32, &'static str> {
    match share(text) {
        Ok(n) if n < 1.0 => Ok(n as f32),
        _ => Err("allowed are numbers from 0, below 1"),
    }
}

/// A finite number that holds.
fn real(text: &str, holds: impl Fn(f64) -> bool) -> Option<f64> {
    text.parse()
        .ok()
        .filter(|n: &f64| n.is_finite() && holds(*n))
}

/// A number of bytes, with or without a suffix.
pub fn bytes(text: &str) -> Result<u64, &'static str> {
    let text = text.trim().to_ascii_uppercase();
    let units = [("K", 1e3), ("M", 1e6), ("G", 1e9)];
    let suffixed = units
        .iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)));
    let (digits, unit) = suffixed.unwrap_or((&text, 1.0));
    let number = digits.trim().parse().ok().map(|n: f64| n * unit);
    match number {
        Some(n) if (1.0..1e18).contains(&n) => Ok(n as u64),
        _ => Err("allowed are numbers of bytes from 1, 7.5M for instance"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_in_range_is_refused() {
        assert_eq!(whole(1_u32, 4)("4"), Ok(4));
        for text in [
            "0",
            "5",
            "-1",
            "",
            "x",
            "1.0",
            "nan",
            "99999999999999999999",
        ] {
            let refused = whole(1_u32, 4)(text);
            assert_eq!(
                refused,
                Err("allowed are whole numbers from 1 to 4".to_owned())
            );
        }
        for text in ["nan", "inf", "-inf", "1e999", "-0.5", "", "0x1", "1,5"] {
            assert!(
                above_zero(text).is_err() && from_zero(text).is_err(),
                "{text}"
            );
            assert!(share(text).is_err() && fraction(text).is_err(), "{text}");
            assert!(bytes(text).is_err(), "{text}");
        }
        assert_eq!((above_zero("0").is_err(), from_zero("0")), (true, Ok(0.0)));
        assert_eq!((share("1"), fraction("1").is_err()), (Ok(1.0), true));
        assert_eq!(
            (bytes("7.5m"), bytes("12"), bytes("2 K")),
            (Ok(7_500_000), Ok(12), Ok(2000))
        );
        for text in ["0", "0.5", "1e30", "K", "\u{212a}", "7.5T", "nanM"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
