//! The memory a filetest runs on: settings in remarks, and what is shown afterwards.

use gem_runtime::abi::Row;
use gemc::executions::check_machine_code;
use gemc_kernels::ir::testing::{Bytes, Memory, interpret};
use gemc_kernels::ir::verify::Verified;
use std::fmt::Write;

/// Numbers shown on one line.
const LANES_A_LINE: usize = 16;

/// Settings of a file, in order:
///
/// - `; context N`, `; slots N`: capacity and number of slots (1 and 1).
/// - `; rows TOKEN,SLOT,POSITION,VISIBLE ...`, `; outputs I ...`: rows of the step (one of zeros), wanted outputs (none).
/// - `; set BUFFER TYPE @BYTE VALUE ...`: puts numbers into memory. BUFFER is weights, arena or kv0, kv1 ...; TYPE is
///   i8, u8, i16, u16, i32, u32 or f32; floats may be given by their bits.
/// - `; fill BUFFER TYPE @BYTE COUNT SEED LO HI`: puts random integers of `LO..=HI` there.
/// - `; show BUFFER TYPE @BYTE COUNT`: prints numbers after the run.
#[derive(Clone, Debug)]
pub struct Setup {
    context: u32,
    slots: usize,
    rows: Vec<Row>,
    outputs: Vec<u32>,
    writes: Vec<(Place, Vec<u8>)>,
    shows: Vec<(Place, usize)>,
}

#[derive(Clone, Debug)]
struct Place {
    buffer: String,
    ty: Lane,
    byte: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Lane {
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    F32,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            context: 1,
            slots: 1,
            rows: vec![Row {
                token: 0,
                slot: 0,
                position: 0,
                visible: 1,
            }],
            outputs: Vec::new(),
            writes: Vec::new(),
            shows: Vec::new(),
        }
    }
}

impl Setup {
    /// Reads a line, if it is a setting.
    ///
    /// # Errors
    /// A setting with wrong arguments.
    pub fn read(&mut self, line: &str) -> Result<(), String> {
        let Some(remark) = line.strip_prefix("; ") else {
            return Ok(());
        };
        let mut words = remark.split_whitespace();
        match words.next() {
            Some("context") => self.context = number(words.next())?,
            Some("slots") => self.slots = number(words.next())?,
            Some("rows") => self.rows = words.map(row).collect::<Result<_, _>>()?,
            Some("outputs") => {
                self.outputs = words.map(|w| number(Some(w))).collect::<Result<_, _>>()?
            }
            Some("set") => {
                let place = place(&mut words)?;
                let mut bytes = Vec::new();
                for word in words {
                    bytes.extend(place.ty.encode(word)?);
                }
                self.writes.push((place, bytes));
            }
            Some("fill") => {
                let place = place(&mut words)?;
                let count = number(words.next())?;
                let bytes = random(
                    place.ty,
                    count,
                    number(words.next())?,
                    number(words.next())?,
                    number(words.next())?,
                )?;
                self.writes.push((place, bytes));
            }
            Some("show") => {
                let place = place(&mut words)?;
                self.shows.push((place, number(words.next())?));
            }
            _ => {}
        }
        Ok(())
    }

    /// Runs a program in the interpreter, and as machine code, which must leave the same memory; what is shown, or the
    /// trap.
    ///
    /// # Errors
    /// A setting that does not fit the program, or executions that differ.
    pub fn run(&self, verified: &Verified) -> Result<String, String> {
        let mut memory = self.memory(verified)?;
        if let Err(trap) = interpret(verified, &mut memory) {
            return Ok(format!("trap: {trap}"));
        }
        let before = self.memory(verified)?;
        check_machine_code(verified, &memory.image(), || before.clone())?;
        let mut out = String::new();
        for (place, count) in &self.shows {
            place.show(*count, &mut memory, &mut out)?;
        }
        Ok(out)
    }
}

impl Setup {
    /// The memory that a run starts from.
    ///
    /// # Errors
    /// A setting that does not fit the program.
    pub fn memory(&self, verified: &Verified) -> Result<Memory, String> {
        let mut memory = Memory::new(verified.program().shape, self.context, self.slots);
        memory.set_rows(&self.rows, &self.outputs);
        for (place, bytes) in &self.writes {
            let buffer = place.buffer(&mut memory)?;
            let end = place.byte + bytes.len();
            let target = buffer.get_mut(place.byte..end);
            target
                .ok_or(format!("{place:?} ends at {end}, beyond the buffer"))?
                .copy_from_slice(bytes);
        }
        Ok(memory)
    }
}

fn number<T: std::str::FromStr>(word: Option<&str>) -> Result<T, String> {
    let word = word.ok_or("a number is missing")?;
    word.parse()
        .map_err(|_| format!("{word} is no such number"))
}

fn row(word: &str) -> Result<Row, String> {
    let fields: Vec<u32> = word
        .split(',')
        .map(|f| number(Some(f)))
        .collect::<Result<_, _>>()?;
    match fields[..] {
        [token, slot, position, visible] => Ok(Row {
            token,
            slot,
            position,
            visible,
        }),
        _ => Err(format!("{word}: expected TOKEN,SLOT,POSITION,VISIBLE")),
    }
}

fn place<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<Place, String> {
    let buffer = words.next().ok_or("a buffer is missing")?.to_owned();
    let name = words.next().unwrap_or_default();
    let ty = Lane::ALL.into_iter().find(|(n, _)| *n == name);
    let byte = words.next().and_then(|w| w.strip_prefix('@'));
    Ok(Place {
        buffer,
        ty: ty.ok_or(format!("{name} is no type of lanes"))?.1,
        byte: number(byte)?,
    })
}

fn random(ty: Lane, count: usize, seed: u64, lo: i64, hi: i64) -> Result<Vec<u8>, String> {
    if lo > hi {
        return Err(format!("{lo} is above {hi}"));
    }
    let mut out = Vec::new();
    for chunk in Bytes::random(seed, count * 4).chunks_exact(4) {
        let x = chunk.iter().fold(0, |x, b| x << 8 | i64::from(*b));
        out.extend(ty.encode(&(lo + x % (hi - lo + 1)).to_string())?);
    }
    Ok(out)
}

impl Place {
    fn buffer<'m>(&self, memory: &'m mut Memory) -> Result<&'m mut [u8], String> {
        match (self.buffer.as_str(), self.buffer.strip_prefix("kv")) {
            ("weights", _) => Ok(memory.weights()),
            ("arena", _) => Ok(memory.arena()),
            (_, Some(slot)) => Ok(memory.kv(number(Some(slot))?)),
            (other, _) => Err(format!("{other}: expected weights, arena or kv0")),
        }
    }

    fn show(&self, count: usize, memory: &mut Memory, out: &mut String) -> Result<(), String> {
        let size = self.ty.bytes();
        let bytes = self
            .buffer(memory)?
            .get(self.byte..self.byte + count * size);
        let bytes = bytes.ok_or(format!("{self:?} is beyond the buffer"))?;
        for (i, line) in bytes.chunks(size * LANES_A_LINE).enumerate() {
            let lanes: Vec<String> = line.chunks_exact(size).map(|b| self.ty.decode(b)).collect();
            let head = if i == 0 {
                format!("{} @{}:", self.buffer, self.byte)
            } else {
                " ".to_owned()
            };
            let _ = writeln!(out, "{head} {}", lanes.join(" "));
        }
        Ok(())
    }
}

impl Lane {
    const ALL: [(&'static str, Self); 7] = [
        ("i8", Self::I8),
        ("u8", Self::U8),
        ("i16", Self::I16),
        ("u16", Self::U16),
        ("i32", Self::I32),
        ("u32", Self::U32),
        ("f32", Self::F32),
    ];

    const fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
        }
    }

    /// Bytes of a number: decimal, or hexadecimal bits.
    fn encode(self, word: &str) -> Result<Vec<u8>, String> {
        let bits = match (word.strip_prefix("0x"), self) {
            (Some(hex), _) => u32::from_str_radix(hex, 16).map_err(|e| format!("{word}: {e}"))?,
            (None, Self::F32) => number::<f32>(Some(word))?.to_bits(),
            (None, _) => {
                let n: i64 = number(Some(word))?;
                let width = 8 * self.bytes();
                let fits = -(1 << (width - 1)) <= n && n < 1 << width;
                fits.then_some(n as u32)
                    .ok_or(format!("{word} does not fit {self:?}"))?
            }
        };
        Ok(bits.to_le_bytes()[..self.bytes()].to_vec())
    }

    /// A number; which NaN it is says nothing.
    fn decode(self, b: &[u8]) -> String {
        let mut word = [0; 4];
        word[..b.len()].copy_from_slice(b);
        let bits = u32::from_le_bytes(word);
        match self {
            Self::I8 => (bits as i8).to_string(),
            Self::I16 => (bits as i16).to_string(),
            Self::I32 => (bits as i32).to_string(),
            Self::U8 | Self::U16 | Self::U32 => bits.to_string(),
            Self::F32 => format!("{:?}", f32::from_bits(bits)),
        }
    }
}
