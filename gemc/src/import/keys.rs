//! One JSON object -> typed values, key by key. Every key that is asked for is accounted for; what is left over at the
//! end is unknown. Findings are collected, and a value that is wrong comes back as `None`.

use std::ops::RangeInclusive;

use serde::Serialize;
use serde_json::{Map, Value};

use super::error::{Finding, Findings, Place, nearest, shown};
use super::json::kind;

/// What became of a config key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyUse {
    /// It shapes the model.
    Used,
    /// It was read and has no effect, for this reason.
    Ignored(String),
}

/// What is said of a key that nobody asked for.
#[derive(Clone, Copy, Debug)]
pub enum Unread {
    /// It is refused as one that is not known.
    Unknown,
    /// It has no effect, for this reason.
    Ignored(&'static str),
    /// It is refused for this reason.
    Refused(&'static str),
}

/// Every key of the file, nested ones as `router.top_k`, in the order they were read.
pub type KeyAccount = Vec<(String, KeyUse)>;

/// Reads the keys of one JSON object, and notes which of them were read.
#[derive(Debug)]
pub struct Keys<'a> {
    file: &'a str,
    prefix: String,
    map: &'a Map<String, Value>,
    known: Vec<&'static str>,
    account: KeyAccount,
    findings: Findings,
    refused: bool,
    unknown_allowed: bool,
    null_is_absent: bool,
    pooled: bool,
    score: Option<Value>,
}

impl<'a> Keys<'a> {
    /// Starts on the top object of a file.
    pub fn new(file: &'a str, map: &'a Map<String, Value>) -> Self {
        Self {
            file,
            prefix: String::new(),
            map,
            known: Vec::new(),
            account: Vec::new(),
            findings: Findings::default(),
            refused: false,
            unknown_allowed: false,
            null_is_absent: true,
            pooled: false,
            score: None,
        }
    }

    /// Says whether files beside the config turn rows into a vector.
    pub fn pooled(mut self, pooled: bool) -> Self {
        self.pooled = pooled;
        self
    }

    /// Says what a file beside the config names as the function of a classifier's logits.
    pub fn scored(mut self, score: Option<Value>) -> Self {
        self.score = score;
        self
    }

    /// What a file beside the config names as the function of a classifier's logits.
    pub fn score(&self) -> Option<Value> {
        self.score.clone()
    }

    /// Whether files beside the config turn rows into a vector.
    pub fn is_pooled(&self) -> bool {
        self.pooled
    }

    /// Starts on the object under `key`; an absent one reads as empty, and so does what is no object: see
    /// [`Keys::is_refused`].
    pub fn nested(&mut self, key: &'static str, empty: &'a Map<String, Value>) -> Keys<'a> {
        let (map, refused) = match self.get(key) {
            None => (empty, false),
            Some(Value::Object(map)) => (map, false),
            Some(other) => {
                self.refuse(key, format!("found {}", kind(other)), "an object");
                (empty, true)
            }
        };
        let path = self.path(key);
        // What is in it is accounted for one by one.
        if !map.is_empty() {
            self.account.retain(|(k, _)| *k != path);
        }
        Keys {
            prefix: format!("{path}."),
            refused,
            ..Keys::new(self.file, map)
        }
    }

    /// Refuses null where a value must be: it is not the same as nothing.
    pub fn tells_null(mut self) -> Self {
        self.null_is_absent = false;
        self
    }

    /// Whether there is no value; null is refused where it is not the same.
    fn is_absent(&mut self, key: &'static str, allowed: &str) -> bool {
        let absent = self.get(key).is_none();
        if absent && self.written(key) && !self.null_is_absent {
            self.refuse(key, "found null", allowed);
        }
        absent
    }

    /// Whether what stands in the object's place is none: its keys are not absent but unknown.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// Lets unknown keys pass: a value that was refused may have keys of its own.
    pub fn allow_unknown(&mut self) {
        self.unknown_allowed = true;
    }

    /// Takes over what a nested reader found; its unknown keys are refused.
    pub fn absorb(&mut self, nested: Keys<'a>) {
        let (account, findings) = nested.finish(|_| None);
        self.account.extend(account);
        findings.into_iter().for_each(|f| self.findings.push(f));
    }

    /// Refuses what nobody asked for, except keys that have no effect, for the reason that `no_effect` gives.
    pub fn finish(self, no_effect: fn(&str) -> Option<&'static str>) -> (KeyAccount, Vec<Finding>) {
        self.finish_with(&|key, _| no_effect(key).map_or(Unread::Unknown, Unread::Ignored))
    }

    /// Decides on every key that nobody asked for.
    pub fn finish_with(
        mut self,
        unread: &dyn Fn(&str, &Value) -> Unread,
    ) -> (KeyAccount, Vec<Finding>) {
        for (key, value) in self.map {
            if self.unknown_allowed || self.known.contains(&key.as_str()) {
                continue;
            }
            match unread(key, value) {
                Unread::Unknown => {}
                Unread::Ignored(why) => {
                    let why = KeyUse::Ignored(why.to_owned());
                    self.account.push((self.path(key), why));
                    continue;
                }
                Unread::Refused(why) => {
                    let finding =
                        Finding::at(self.place(key), format!("found {}: {why}", kind(value)));
                    self.findings.push(finding.allowed("null, or no such key"));
                    continue;
                }
            }
            let hint = match nearest(key, self.known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known keys: {}", self.known.join(", ")),
            };
            let what = format!("is not known; {hint}");
            self.findings.push(Finding::at(self.place(key), what));
        }
        let findings = self.findings.into_list();
        (self.account, findings)
    }

    fn path(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn place(&self, key: &str) -> Place {
        Place::Key {
            file: self.file.to_owned(),
            key: self.path(key),
        }
    }

    /// Notes a finding about `key`.
    pub fn refuse(&mut self, key: &str, what: impl Into<String>, allowed: impl Into<String>) {
        let finding = Finding::at(self.place(key), what).allowed(allowed);
        self.findings.push(finding);
    }

    /// Notes that `key`, when it is there, has no effect.
    pub fn ignore(&mut self, key: &'static str, why: &str) {
        self.learn(key);
        if self.map.contains_key(key) {
            let path = self.path(key);
            let inside = format!("{path}.");
            self.account
                .retain(|(k, _)| *k != path && !k.starts_with(&inside));
            self.account.push((path, KeyUse::Ignored(why.to_owned())));
        }
    }

    fn learn(&mut self, key: &'static str) {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
    }

    /// The raw value; null counts as absent.
    pub fn get(&mut self, key: &'static str) -> Option<&'a Value> {
        self.learn(key);
        let value = self.map.get(key)?;
        let path = self.path(key);
        if !self.account.iter().any(|(k, _)| *k == path) {
            self.account.push((path, KeyUse::Used));
        }
        (!value.is_null()).then_some(value)
    }

    /// Whether the key is written in the file, be it as null.
    pub fn written(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    fn missing(&mut self, key: &str, allowed: impl Into<String>) {
        self.refuse(key, "is missing", allowed);
    }

    /// An integer in `range`; `default` is taken when it is absent, and without one it is required.
    pub fn count(
        &mut self,
        key: &'static str,
        range: RangeInclusive<usize>,
        default: Option<usize>,
    ) -> Option<usize> {
        let allowed = format!("an integer in {}..={}", range.start(), range.end());
        if self.is_absent(key, &allowed) && self.written(key) && !self.null_is_absent {
            return None;
        }
        match self.get(key) {
            None => {
                if default.is_none() {
                    self.missing(key, allowed);
                }
                default
            }
            Some(value) => {
                let found = value.as_u64().and_then(|v| usize::try_from(v).ok());
                let found = found.filter(|v| range.contains(v));
                if found.is_none() {
                    self.refuse(key, format!("found {}", kind(value)), allowed);
                }
                found
            }
        }
    }

    /// Whether null is written, which some families tell from nothing; the key then counts as read.
    pub fn is_null(&mut self, key: &'static str) -> bool {
        self.get(key).is_none() && self.written(key)
    }

    /// A count where null says that there is none; `default` where nothing is written.
    pub fn count_or_none(
        &mut self,
        key: &'static str,
        range: RangeInclusive<usize>,
        default: Option<usize>,
    ) -> Option<Option<usize>> {
        if self.is_null(key) {
            return Some(None);
        }
        match self.get(key) {
            None => Some(default),
            Some(_) => self.count(key, range, None).map(Some),
        }
    }

    /// Refuses a value that this compiler does not build; nothing written is right.
    pub fn only(&mut self, key: &'static str, allowed: &[Value], why: &str) {
        let Some(value) = self.get(key) else { return };
        if allowed.contains(value) {
            return self.ignore(key, "as this compiler has it");
        }
        let names: Vec<String> = allowed.iter().map(Value::to_string).collect();
        let what = format!("found {}: {why}", kind(value));
        self.refuse(key, what, names.join(", "));
    }

    /// A number for which `holds`; `allowed` says what that is.
    pub fn number(
        &mut self,
        key: &'static str,
        holds: fn(f64) -> bool,
        allowed: &str,
        default: Option<f64>,
    ) -> Option<f64> {
        if self.is_absent(key, allowed) && self.written(key) && !self.null_is_absent {
            return None;
        }
        match self.get(key) {
            None => {
                if default.is_none() {
                    self.missing(key, allowed);
                }
                default
            }
            Some(value) => {
                let found = value.as_f64().filter(|v| v.is_finite() && holds(*v));
                if found.is_none() {
                    self.refuse(key, format!("found {}", kind(value)), allowed);
                }
                found
            }
        }
    }

    /// A list of so many numbers for which `holds`.
    pub fn numbers(
        &mut self,
        key: &'static str,
        holds: fn(f64) -> bool,
        allowed: &str,
        count: usize,
    ) -> Option<Vec<f64>> {
        let value = self.get(key);
        let items = value
            .and_then(Value::as_array)
            .filter(|items| items.len() == count);
        let number = |item: &Value| item.as_f64().filter(|v| v.is_finite() && holds(*v));
        let numbers = items.and_then(|items| items.iter().map(number).collect());
        if numbers.is_none() {
            let found = value.map_or("is missing".to_owned(), |v| format!("found {}", kind(v)));
            self.refuse(key, found, format!("a list of {count}, each {allowed}"));
        }
        numbers
    }

    /// True or false.
    pub fn flag(&mut self, key: &'static str, default: Option<bool>) -> Option<bool> {
        if self.is_absent(key, "true or false") && self.written(key) && !self.null_is_absent {
            return None;
        }
        match self.get(key) {
            None => {
                if default.is_none() {
                    self.missing(key, "true or false");
                }
                default
            }
            Some(Value::Bool(b)) => Some(*b),
            Some(other) => {
                self.refuse(key, format!("found {}", kind(other)), "true or false");
                None
            }
        }
    }

    /// One of the named values.
    pub fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
        default: Option<T>,
    ) -> Option<T> {
        let names: Vec<String> = choices.iter().map(|(n, _)| format!("\"{n}\"")).collect();
        if self.is_absent(key, &names.join(", ")) && self.written(key) && !self.null_is_absent {
            return None;
        }
        match self.get(key) {
            None => {
                if default.is_none() {
                    self.missing(key, names.join(", "));
                }
                default
            }
            Some(value) => {
                let found = choices.iter().find(|(n, _)| value.as_str() == Some(n));
                if found.is_none() {
                    self.refuse(key, format!("found {}", kind(value)), names.join(", "));
                }
                found.map(|(_, v)| *v)
            }
        }
    }

    /// One id or a list of them, as they stand; none when absent. Negative ones mean that there is none.
    pub fn ids(&mut self, key: &'static str) -> Option<Vec<u64>> {
        self.ids_or(key, &[])
    }

    /// The same, where nothing written means `default` and null means none.
    pub fn ids_or(&mut self, key: &'static str, default: &[u64]) -> Option<Vec<u64>> {
        if self.is_null(key) {
            return Some(Vec::new());
        }
        let Some(value) = self.get(key) else {
            return Some(default.to_vec());
        };
        let list = value
            .as_array()
            .map_or(std::slice::from_ref(value), Vec::as_slice);
        if list.iter().any(|id| !(id.is_u64() || id.is_i64())) {
            self.refuse(
                key,
                format!("found {}", kind(value)),
                "a token id or a list of them",
            );
            return None;
        }
        Some(list.iter().filter_map(Value::as_u64).collect())
    }

    /// A list of at most `most` distinct, printable, non-empty strings; empty when absent.
    pub fn names(&mut self, key: &'static str, most: usize) -> Option<Vec<String>> {
        let allowed = format!("a list of at most {most} distinct names without control characters");
        let Some(value) = self.get(key) else {
            return Some(Vec::new());
        };
        let Some(items) = value.as_array().filter(|a| a.len() <= most) else {
            self.refuse(key, format!("found {}", kind(value)), allowed);
            return None;
        };
        let mut names: Vec<String> = Vec::with_capacity(items.len());
        let mut seen = std::collections::HashSet::new();
        for item in items {
            let name = item.as_str().filter(|s| is_name(s));
            let Some(name) = name else {
                self.refuse(key, format!("holds {}", kind(item)), allowed);
                return None;
            };
            if !seen.insert(name) {
                self.refuse(key, format!("holds \"{}\" twice", shown(name)), allowed);
                return None;
            }
            names.push(name.to_owned());
        }
        Some(names)
    }
}

/// Whether a string can name a domain or a label.
pub fn is_name(s: &str) -> bool {
    const LONGEST: usize = 256;
    !s.is_empty() && s.len() <= LONGEST && !s.chars().any(char::is_control)
}
