//! `gemc doctor FILE`: a weight file, or the codes of a plan -> what it is, and whether every byte is as it was written.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Instant;

use gem_runtime::file::{Damage, VERSION};
use gem_runtime::format::Codec;
use gem_runtime::storage::Weights;
use gem_runtime::{hex, regular};
use serde::Serialize;

use super::{Failure, Outcome, Ui};
use crate::package::WEIGHTS;
use crate::plan::codes::Codes;
use crate::plan::file::{codes_path, is_plan};

/// Damaged parts that people are told of one by one.
const TOLD: usize = 20;

/// A file of codes that is whole.
#[derive(Debug, Serialize)]
struct WholeCodes {
    file: String,
    bytes: u64,
    /// Quantised units, equal ones once.
    units: usize,
    intact: bool,
    seconds: f64,
}

impl fmt::Display for WholeCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, units) = (self.bytes, self.units);
        writeln!(f, "{}: codes of a plan, {units} units", self.file)?;
        write!(f, "intact   {bytes} bytes, read in {:.3} s", self.seconds)
    }
}

/// What was found in a weight file.
#[derive(Debug, Serialize)]
struct Examined {
    file: String,
    bytes: u64,
    version: u32,
    target: String,
    plan_hash: String,
    /// Number of records.
    records: usize,
    /// Records of each format; "plain" for values as they are.
    formats: BTreeMap<&'static str, usize>,
    intact: bool,
    damage: Vec<Place>,
    /// What reading and comparing took.
    seconds: f64,
}

/// A damaged part.
#[derive(Debug, Serialize)]
struct Place {
    /// Its place among the records; none for padding.
    record: Option<usize>,
    name_hash: Option<String>,
    format: Option<&'static str>,
    /// First byte in the file.
    begin: u64,
    /// One behind the last.
    end: u64,
    #[serde(skip)]
    words: String,
}

impl From<&Damage> for Place {
    fn from(damage: &Damage) -> Self {
        let record = damage.record;
        Self {
            record: record.map(|(index, _)| index),
            name_hash: record.map(|(_, record)| format!("{:016x}", record.name_hash)),
            format: record.map(|(_, record)| format_name(record.codec)),
            begin: damage.range.start,
            end: damage.range.end,
            words: damage.to_string(),
        }
    }
}

fn format_name(codec: u8) -> &'static str {
    Codec::from_id(codec).map_or("plain", Codec::name)
}

impl fmt::Display for Examined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            bytes,
            version,
            target,
            plan_hash,
            records,
            formats,
            damage,
            seconds,
            ..
        } = self;
        writeln!(f, "{file}: weight file, version {version}, for {target}")?;
        writeln!(f, "plan     {plan_hash}")?;
        let formats: Vec<String> = formats
            .iter()
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        writeln!(f, "records  {records}: {}", formats.join(", "))?;
        if self.intact {
            let rate = *bytes as f64 / seconds.max(1e-9) / 1e9;
            return write!(
                f,
                "intact   {bytes} bytes, read in {seconds:.3} s ({rate:.1} GB/s)"
            );
        }
        for place in damage.iter().take(TOLD) {
            writeln!(f, "damaged  {}", place.words)?;
        }
        if damage.len() > TOLD {
            writeln!(f, "         and {} more", damage.len() - TOLD)?;
        }
        write!(f, "         copy or build the file again")
    }
}

/// Bytes of a plan at most.
const LONGEST_PLAN: u64 = 64 << 20;

/// Reads a file, the codes of a plan, or the weight file in a folder, and tells what it is.
pub(super) fn examine(path: &Path, json: bool, ui: &Ui) -> Result<Outcome, Failure> {
    let in_folder = path.is_dir().then(|| path.join(WEIGHTS));
    let path = in_folder.as_deref().unwrap_or(path);
    let of_plan = regular::read_text(path, LONGEST_PLAN).is_ok_and(|text| is_plan(&text));
    if of_plan {
        return codes(&codes_path(path), json, ui);
    }
    if Codes::are_in(path) {
        codes(path, json, ui)
    } else {
        weights(path, json, ui)
    }
}

fn codes(path: &Path, json: bool, ui: &Ui) -> Result<Outcome, Failure> {
    let wrong = |error| Failure::Input(Box::new(error));
    let codes = Codes::open(path).map_err(wrong)?;
    let started = Instant::now();
    let units = codes.check().map_err(wrong)?;
    let whole = WholeCodes {
        file: path.display().to_string(),
        bytes: codes.file_bytes(),
        units,
        intact: true,
        seconds: started.elapsed().as_secs_f64(),
    };
    ui.result(json, &whole)?;
    Ok(Outcome::Done)
}

fn weights(path: &Path, json: bool, ui: &Ui) -> Result<Outcome, Failure> {
    let weights = Weights::open(path)?;
    let file = weights.as_file()?;
    let started = Instant::now();
    let damage = file.damage();
    let seconds = started.elapsed().as_secs_f64();
    let mut formats = BTreeMap::new();
    for record in file.records() {
        *formats.entry(format_name(record.codec)).or_default() += 1;
    }
    let examined = Examined {
        file: path.display().to_string(),
        bytes: weights.file_bytes(),
        version: VERSION,
        target: file.target().to_owned(),
        plan_hash: hex(file.plan_hash()),
        records: file.records().len(),
        formats,
        intact: damage.is_empty(),
        damage: damage.iter().map(Place::from).collect(),
        seconds,
    };
    ui.result(json, &examined)?;
    if examined.intact {
        Ok(Outcome::Done)
    } else {
        // The result has said why.
        Err(Failure::Told(1))
    }
}
