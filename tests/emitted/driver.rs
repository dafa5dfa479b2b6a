//! Memory of programs on standard input -> what they leave of it on standard output, one after the other.

#![deny(warnings)]

use std::io::{Read, Write};

use gem_runtime::abi::{CompiledProgram, Ctx, Part, Executable, Row};

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    fn read(from: &mut impl Read) -> Self {
        let len = word(from) as usize;
        let mut lines = vec![Line([0; 64]); len.div_ceil(64).max(1)];
        // SAFETY: a line is 64 bytes without padding, and there are enough of them.
        let bytes = unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), len) };
        from.read_exact(bytes).expect("all of it");
        Self { lines, len }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

fn word(from: &mut impl Read) -> u32 {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes).expect("a number");
    u32::from_le_bytes(bytes)
}

fn words(from: &mut impl Read) -> Vec<u32> {
    (0..word(from)).map(|_| word(from)).collect()
}

fn main() {
    let mut from = std::io::stdin().lock();
    let mut to = std::io::stdout().lock();
    for program in PROGRAMS {
        run(program, &mut from, &mut to);
        // What is written tells how far it came.
        to.flush().expect("somebody reads");
    }
}

fn run(program: &CompiledProgram, from: &mut impl Read, to: &mut impl Write) {
    let weights = Buffer::read(from);
    let mut arena = Buffer::read(from);
    let mut slots: Vec<Buffer> = (0..word(from)).map(|_| Buffer::read(from)).collect();
    let row = |w: &[u32]| Row {
        token: w[0],
        slot: w[1],
        position: w[2],
        visible: w[3],
    };
    let rows: Vec<Row> = words(from).chunks(4).map(row).collect();
    let outputs = words(from);
    let context = word(from);
    let ring_bytes = word(from) as usize;
    let kv: Vec<*mut u8> = slots
        .iter_mut()
        .map(|s| {
            assert!(ring_bytes <= s.len, "rings fit");
            // SAFETY: as asserted.
            unsafe { s.lines.as_mut_ptr().cast::<u8>().add(ring_bytes) }
        })
        .collect();
    let ctx = Ctx {
        weights: weights.lines.as_ptr().cast(),
        arena: arena.lines.as_mut_ptr().cast(),
        kv: kv.as_ptr(),
        rows: rows.as_ptr(),
        outputs: outputs.as_ptr(),
        tables: program.tables.as_ptr(),
        n_rows: rows.len() as u32,
        n_slots: slots.len() as u32,
        n_outputs: outputs.len() as u32,
        context,
    };
    for part in [Part::Body, Part::Head] {
        for (phase, items) in program.phases(part).iter().enumerate() {
            // SAFETY: the context describes live memory of the program's sizes, phases run in order and items once.
            unsafe { program.run(part, phase, &ctx, 0, items.count(&ctx)) };
        }
    }
    for buffer in std::iter::once(&arena).chain(&slots) {
        to.write_all(buffer.bytes()).expect("somebody reads");
    }
}
