//! A date and time of day -> text, as Python's `strftime` writes it with the names of the C locale.

use std::fmt::Write as _;

use crate::error::{Error, Result};

const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A date with a time of day, of no time zone: what a template's `strftime_now` tells.
///
/// ```
/// use gem_runtime::text::Date;
///
/// assert_eq!(Date::new(2024, 2, 29)?.format("%d %B %Y"), "29 February 2024");
/// assert!(Date::new(2023, 2, 29).is_err());
/// # Ok::<(), gem_runtime::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    year: i64,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
}

impl Date {
    /// Noon of a day: months and days count from 1.
    ///
    /// # Errors
    /// [`Error::Options`] when there is no such day in the years 1 to 9999.
    pub fn new(year: u32, month: u32, day: u32) -> Result<Self> {
        let date = Self {
            year: i64::from(year),
            month,
            day,
            hour: 12,
            minute: 0,
            second: 0,
        };
        let known = (1..=9999).contains(&year) && (1..=12).contains(&month);
        if known && (1..=days_of_month(date.year, month)).contains(&day) {
            return Ok(date);
        }
        let what = format!("date {year}-{month}-{day} is not a day of the years 1 to 9999");
        Err(Error::Options(what))
    }

    /// The same day at another time.
    ///
    /// # Errors
    /// [`Error::Options`] when there is no such time.
    pub fn at(self, hour: u32, minute: u32, second: u32) -> Result<Self> {
        if hour < 24 && minute < 60 && second < 61 {
            return Ok(Self {
                hour,
                minute,
                second,
                ..self
            });
        }
        let what = format!("time {hour}:{minute}:{second} is not a time of day");
        Err(Error::Options(what))
    }

    /// So many seconds after the beginning of 1970, in UTC; what is not in the years 1 to 9999 becomes the nearest day.
    #[must_use]
    pub fn from_unix(seconds: i64) -> Self {
        const FIRST: i64 = -62_135_596_800;
        const LAST: i64 = 253_402_300_799;
        let seconds = seconds.clamp(FIRST, LAST);
        let (days, rest) = (
            seconds.div_euclid(86_400),
            seconds.rem_euclid(86_400) as u32,
        );
        let (year, month, day) = civil(days);
        Self {
            year,
            month,
            day,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }

    /// Days since the beginning of 1970.
    fn days(&self) -> i64 {
        // Years begin in March, so that the day that some have comes last.
        let year = self.year - i64::from(self.month <= 2);
        let month = i64::from((self.month + 9) % 12);
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let of_year = (153 * month + 2) / 5 + i64::from(self.day) - 1;
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
    }

    /// Monday is 0.
    fn weekday(&self) -> usize {
        (self.days() + 3).rem_euclid(7) as usize
    }

    /// The first of January is 1.
    fn day_of_year(&self) -> u32 {
        let before = (1..self.month).map(|month| days_of_month(self.year, month));
        before.sum::<u32>() + self.day
    }

    /// Year and week of ISO 8601.
    fn iso_week(&self) -> (i64, u32) {
        let thursday = self.days() - self.weekday() as i64 + 3;
        let (year, ..) = civil(thursday);
        let first = Self {
            year,
            month: 1,
            day: 1,
            ..*self
        };
        (year, ((thursday - first.days()) / 7 + 1) as u32)
    }

    /// Writes the date by a format of `strftime`: the codes of Python and glibc; an unknown one stays as it is.
    #[must_use]
    pub fn format(&self, format: &str) -> String {
        let mut out = String::new();
        let mut rest = format;
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            let code = &rest[at + 1..];
            let flag = code.chars().next().filter(|c| "-_0^#".contains(*c));
            let letter = code[flag.map_or(0, char::len_utf8)..].chars().next();
            let length = 1 + flag.map_or(0, char::len_utf8) + letter.map_or(0, char::len_utf8);
            match letter.and_then(|letter| self.code(letter)) {
                Some(text) => out.push_str(&flagged(&text, flag)),
                None => out.push_str(&rest[at..at + length]),
            }
            rest = &rest[at + length..];
        }
        out.push_str(rest);
        out
    }

    fn code(&self, letter: char) -> Option<String> {
        let (day, month) = (DAYS[self.weekday()], MONTHS[self.month as usize - 1]);
        let hour12 = (self.hour + 11) % 12 + 1;
        let half = if self.hour < 12 { "AM" } else { "PM" };
        let sunday = (self.weekday() as u32 + 1) % 7;
        let week = |first: u32| (self.day_of_year() + 6 - first) / 7;
        Some(match letter {
            'a' => day[..3].to_owned(),
            'A' => day.to_owned(),
            'b' | 'h' => month[..3].to_owned(),
            'B' => month.to_owned(),
            'c' => self.format("%a %b %e %H:%M:%S %Y"),
            'C' => format!("{:02}", self.year / 100),
            'd' => format!("{:02}", self.day),
            'D' | 'x' => self.format("%m/%d/%y"),
            'e' => format!("{:2}", self.day),
            'f' => "000000".to_owned(),
            'F' => self.format("%Y-%m-%d"),
            'g' => format!("{:02}", self.iso_week().0 % 100),
            'G' => self.iso_week().0.to_string(),
            'H' => format!("{:02}", self.hour),
            'I' => format!("{hour12:02}"),
            'j' => format!("{:03}", self.day_of_year()),
            'k' => format!("{:2}", self.hour),
            'l' => format!("{hour12:2}"),
            'm' => format!("{:02}", self.month),
            'M' => format!("{:02}", self.minute),
            'n' => "\n".to_owned(),
            'p' => half.to_owned(),
            'P' => half.to_lowercase(),
            'r' => self.format("%I:%M:%S %p"),
            'R' => self.format("%H:%M"),
            's' => self.seconds().to_string(),
            'S' => format!("{:02}", self.second),
            't' => "\t".to_owned(),
            'T' | 'X' => self.format("%H:%M:%S"),
            'u' => (self.weekday() + 1).to_string(),
            'U' => format!("{:02}", week(sunday)),
            'V' => format!("{:02}", self.iso_week().1),
            'w' => sunday.to_string(),
            'W' => format!("{:02}", week(self.weekday() as u32)),
            'y' => format!("{:02}", self.year % 100),
            'Y' => self.year.to_string(),
            // A date without time zone has no name and no distance of one.
            'z' | 'Z' => String::new(),
            '%' => "%".to_owned(),
            _ => return None,
        })
    }

    fn seconds(&self) -> i64 {
        let of_day = self.hour * 3600 + self.minute * 60 + self.second;
        self.days() * 86_400 + i64::from(of_day)
    }
}

/// What glibc's flags do: `-` no padding, `_` spaces, `0` zeros, `^` and `#` other letters.
fn flagged(text: &str, flag: Option<char>) -> String {
    let number = text.trim_start_matches([' ', '0']);
    let number = if number.is_empty() || !number.starts_with(|c: char| c.is_ascii_digit()) {
        &text[text.len().saturating_sub(1)..]
    } else {
        number
    };
    let is_number = text.chars().all(|c| c == ' ' || c.is_ascii_digit()) && !text.is_empty();
    let mut out = String::new();
    match flag {
        Some('-') if is_number => out.push_str(number),
        Some(fill @ ('_' | '0')) if is_number => {
            let fill = if fill == '_' { ' ' } else { '0' };
            out.extend(std::iter::repeat_n(fill, text.len() - number.len()));
            out.push_str(number);
        }
        Some('^') => out.push_str(&text.to_uppercase()),
        Some('#') if matches!(text, "AM" | "PM") => out.push_str(&text.to_lowercase()),
        Some('#') => out.push_str(&text.to_uppercase()),
        _ => {
            let _ = write!(out, "{text}");
        }
    }
    out
}

fn days_of_month(year: i64, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Year, month and day of a day since the beginning of 1970.
fn civil(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month as u32, day as u32)
}
