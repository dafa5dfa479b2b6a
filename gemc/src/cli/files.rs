//! `gemc doctor FILE`: a weight file, or the codes of a plan -> what it is, and whether every byte is as it was written.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use gem_runtime::file::{Damage, VERSION};
use gem_runtime::hex;
use gem_runtime::storage::Weights;
use gemc_format::Codec;
use serde::Serialize;

use super::{Failure, Outcome, Ui};
use crate::package::WEIGHTS;
use crate::plan::codes::Codes;
use crate::plan::file::{codes_path, is_plan_file};

/// Damaged parts that people are told of one by one.
const TOLD: usize = 20;

/// What was found in a file of codes.
#[derive(Debug, Serialize)]
struct ExaminedCodes {
    file: String,
    bytes: u64,
    /// Quantised units, equal ones once.
    units: usize,
    intact: bool,
    damage: Vec<Bytes>,
    seconds: f64,
}

/// Damaged codes of a unit.
#[derive(Debug, Serialize)]
struct Bytes {
    /// First byte in the file.
    begin: u64,
    /// One behind the last.
    end: u64,
}

impl fmt::Display for ExaminedCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, units) = (self.bytes, self.units);
        writeln!(f, "{}: codes of a plan, {units} units", self.file)?;
        if self.intact {
            return write!(f, "intact   {bytes} bytes, read in {:.3} s", self.seconds);
        }
        let told = |place: &Bytes| format!("bytes {} to {}", place.begin, place.end - 1);
        let places = self.damage.iter().map(told).collect();
        write_damage(f, places, "plan again, or copy the file again")
    }
}

/// What is damaged, as far as anybody reads on, and what to do.
fn write_damage(f: &mut fmt::Formatter<'_>, places: Vec<String>, cure: &str) -> fmt::Result {
    for words in places.iter().take(TOLD) {
        writeln!(f, "damaged  {words}")?;
    }
    if places.len() > TOLD {
        writeln!(f, "         and {} more", places.len() - TOLD)?;
    }
    write!(f, "         {cure}")
}

/// What was found in a weight file.
#[derive(Debug, Serialize)]
struct FileReport {
    file: String,
    bytes: u64,
    version: u32,
    plan_hash: String,
    /// Says what stands where.
    layout: String,
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
            words: match record {
                Some((_, record)) => format!("{} {damage}", format_name(record.codec)),
                None => damage.to_string(),
            },
        }
    }
}

fn format_name(codec: u8) -> &'static str {
    Codec::from_id(codec).map_or("plain", Codec::name)
}

impl fmt::Display for FileReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            bytes,
            version,
            plan_hash,
            layout,
            records,
            formats,
            damage,
            seconds,
            ..
        } = self;
        writeln!(f, "{file}: weight file, version {version}")?;
        writeln!(f, "plan     {plan_hash}")?;
        writeln!(f, "layout   {layout}")?;
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
        let places = damage.iter().map(|place| place.words.clone()).collect();
        write_damage(f, places, "copy or build the file again")
    }
}

/// Reads a file, the codes of a plan, or the weight file in a folder, and tells what it is.
pub(super) fn examine(path: &Path, json: bool, ui: &Ui) -> Result<Outcome, Failure> {
    let in_folder = path.is_dir().then(|| path.join(WEIGHTS));
    let path = in_folder.as_deref().unwrap_or(path);
    if is_plan_file(path) {
        return codes(&codes_path(path), json, ui);
    }
    if Codes::are_in(path) {
        codes(path, json, ui)
    } else {
        weights(path, json, ui)
    }
}

/// How a file that was told of ends the command.
fn ended(intact: bool) -> Result<Outcome, Failure> {
    match intact {
        true => Ok(Outcome::Done),
        // The result has said why.
        false => Err(Failure::Told(1)),
    }
}

fn codes(path: &Path, json: bool, ui: &Ui) -> Result<Outcome, Failure> {
    let wrong = |error| Failure::Input(Box::new(error));
    let codes = Codes::open(path).map_err(wrong)?;
    let started = Instant::now();
    let damage = codes.damage();
    let seconds = started.elapsed().as_secs_f64();
    let bytes = |range: Range<u64>| Bytes {
        begin: range.start,
        end: range.end,
    };
    let examined = ExaminedCodes {
        file: path.display().to_string(),
        bytes: codes.file_bytes(),
        units: codes.len(),
        intact: damage.is_empty(),
        damage: damage.into_iter().map(bytes).collect(),
        seconds,
    };
    ui.result(json, &examined)?;
    ended(examined.intact)
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
    let examined = FileReport {
        file: path.display().to_string(),
        bytes: weights.file_bytes(),
        version: VERSION,
        plan_hash: hex(file.plan_hash()),
        layout: hex(&file.layout().to_be_bytes()),
        records: file.records().len(),
        formats,
        intact: damage.is_empty(),
        damage: damage.iter().map(Place::from).collect(),
        seconds,
    };
    ui.result(json, &examined)?;
    ended(examined.intact)
}
