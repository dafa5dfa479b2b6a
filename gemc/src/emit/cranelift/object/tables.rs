//! A program with its facts to the constants of an object: the structures of `gem_runtime::c` and `gem_runtime::abi`,
//! field by field, and where the functions find them.

use gem_runtime::c::{self, Status};
use gem_runtime::{Name, Task};
use gemc_kernels::ir::{Half, Items, Phase, ProgramShape, Table, TableEntry, Tap};

use super::Contents;
use super::image::{Address, Image};

/// The constants of an object.
#[derive(Debug)]
pub(super) struct Tables {
    /// Strings and numbers.
    pub(super) constants: Image,
    /// Phases, entries, lists.
    pub(super) tables: Image,
    /// The exported structure.
    pub(super) program: Image,
    pub(super) places: Places,
}

/// Where things are in the tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    /// Phases of the body.
    pub(super) body: u32,
    /// Phases of the head.
    pub(super) head: u32,
    /// Offset of the call tables.
    pub(super) calls: u32,
    /// Pointers to messages: of each status, and one for all other numbers.
    pub(super) messages: u32,
}

impl Tables {
    pub(super) fn new(contents: &Contents<'_>) -> Self {
        let mut builder = Builder::default();
        let program = contents.program;
        let places = Places {
            body: builder.phases(&program.body),
            head: builder.phases(&program.head),
            calls: builder.calls(&program.tables),
            messages: builder.messages(),
        };
        let program = builder.program(contents, places);
        Self {
            constants: builder.constants,
            tables: builder.tables,
            program,
            places,
        }
    }
}

#[derive(Default)]
struct Builder {
    constants: Image,
    tables: Image,
}

impl Builder {
    fn text(&mut self, text: &str) -> Address {
        let at = self.constants.raw(text.as_bytes());
        self.constants.raw(&[0]);
        Address::Constant(at)
    }

    fn words(&mut self, words: &[u32]) -> Address {
        let at = self.constants.align(4);
        words.iter().for_each(|word| self.constants.word(*word));
        Address::Constant(at)
    }

    /// A list of pointers; where it is.
    fn pointers(&mut self, pointers: &[Address]) -> u32 {
        let at = self.start();
        let list = pointers.iter();
        list.for_each(|pointer| self.tables.pointer(Some(*pointer)));
        at
    }

    fn names(&mut self, names: &[Name]) -> Option<Address> {
        let texts: Vec<Address> = names.iter().map(|name| self.text(name)).collect();
        (!texts.is_empty()).then(|| Address::Table(self.pointers(&texts)))
    }

    fn messages(&mut self) -> u32 {
        let known = Status::ALL.map(Status::message);
        let all = known.iter().chain(&["an unknown status"]);
        let texts: Vec<Address> = all.map(|message| self.text(message)).collect();
        self.pointers(&texts)
    }

    /// Where the next structure goes.
    fn start(&mut self) -> u32 {
        self.tables.align(Image::ALIGNMENT as usize)
    }

    /// An `abi::Entry`.
    fn entry(&mut self, entry: &TableEntry) {
        let args = self.words(&entry.args);
        self.tables.pointer(Some(Address::Kernel(entry.kernel)));
        self.tables.pointer(Some(args));
    }

    /// A list of `abi::Phase`.
    fn phases(&mut self, phases: &[Phase]) -> u32 {
        let at = self.start();
        for phase in phases {
            self.entry(&phase.entry);
            let words = match phase.items {
                Items::Fixed(n) => [0, n, 0],
                Items::PerRow(n) => [1, n, 0],
                Items::PerOutput(n) => [2, n, 0],
                Items::Loaded { offset, max } => [3, offset, max],
            };
            words.iter().for_each(|word| self.tables.word(*word));
            self.start();
        }
        at
    }

    /// A list of `abi::Table`.
    fn calls(&mut self, tables: &[Table]) -> u32 {
        let mut starts = Vec::new();
        for table in tables {
            starts.push(self.start());
            table.entries.iter().for_each(|entry| self.entry(entry));
        }
        let at = self.start();
        for (table, start) in tables.iter().zip(starts) {
            self.tables.pointer(Some(Address::Table(start)));
            self.tables.word(table.entries.len() as u32);
            self.start();
        }
        at
    }

    /// A list of `c::Tap`.
    fn taps(&mut self, taps: &[Tap]) -> Option<Address> {
        let sites: Vec<Address> = taps.iter().map(|tap| self.text(&tap.site)).collect();
        let at = self.start();
        for (tap, site) in taps.iter().zip(sites) {
            self.tables.pointer(Some(site));
            let cluster = tap.cluster.unwrap_or(c::NONE);
            let words = [
                tap.after,
                tap.modules,
                tap.top_k,
                tap.p,
                tap.fired,
                tap.gates,
                tap.domain,
                cluster,
            ];
            words.iter().for_each(|word| self.tables.word(*word));
        }
        (!taps.is_empty()).then_some(Address::Table(at))
    }

    /// A list of `c::Half`.
    fn halves(&mut self, halves: &[Half]) -> Option<Address> {
        let sites: Vec<Address> = halves.iter().map(|half| self.text(&half.site)).collect();
        let at = self.start();
        for (half, site) in halves.iter().zip(sites) {
            self.tables.pointer(Some(site));
            let words = [half.before, half.heads, half.width, half.ring];
            words.iter().for_each(|word| self.tables.word(*word));
        }
        (!halves.is_empty()).then_some(Address::Table(at))
    }

    /// The `c::ProgramTable`, field by field.
    fn program(&mut self, contents: &Contents<'_>, places: Places) -> Image {
        let Contents {
            program,
            info,
            target,
            ..
        } = *contents;
        let features: Vec<&str> = target.all_features().collect();
        let texts = [
            &*info.name,
            &*info.target,
            info.level.name(),
            &features.join(","),
        ];
        let texts = texts.map(|text| self.text(text));
        let labels = self.names(&info.labels);
        let domains = self.names(&info.domains);
        let eos = (!info.eos.is_empty()).then(|| self.words(&info.eos));
        let tables = (!program.tables.is_empty()).then_some(Address::Table(places.calls));
        let taps = self.taps(&program.taps);
        let halves = self.halves(&program.halves);

        let mut image = Image::default();
        image.word(c::ABI);
        image.word(PROGRAM_BYTES);
        texts.into_iter().for_each(|text| image.pointer(Some(text)));
        image.raw(&info.plan_hash);
        image.wide(info.layout);
        shape(&mut image, &program.shape);
        image.pointer(Some(Address::Table(places.body)));
        image.pointer(Some(Address::Table(places.head)));
        image.pointer(tables);
        image.pointer(taps);
        image.pointer(halves);
        let counts = [
            program.body.len(),
            program.head.len(),
            program.tables.len(),
            program.taps.len(),
            program.halves.len(),
        ];
        counts.iter().for_each(|count| image.word(*count as u32));
        image.word(match info.task {
            Task::CausalLm => c::CAUSAL_LM,
            Task::SequenceClassification => c::SEQUENCE_CLASSIFICATION,
            Task::Embedding => c::EMBEDDING,
            Task::TokenClassification => c::TOKEN_CLASSIFICATION,
        });
        image.word(info.ids());
        image.word(info.hidden_size);
        image.word(info.max_positions);
        image.word(info.most_positions(program.shape.max_rows));
        image.word(info.output_width() as u32);
        image.word(info.conventions.word());
        image.pointer(labels);
        image.pointer(domains);
        image.pointer(eos);
        let counts = [info.labels.len(), info.domains.len(), info.eos.len()];
        counts.iter().for_each(|count| image.word(*count as u32));
        image.word(info.bos.unwrap_or(c::NONE));
        image.wide(info.bits_per_weight.to_bits());
        image.wide(info.weight_bytes);
        image
    }
}

/// Bytes of a `c::ProgramTable` on a 64-bit target; a test compares.
pub(super) const PROGRAM_BYTES: u32 = 264;

/// An `abi::ProgramShape`.
fn shape(image: &mut Image, shape: &ProgramShape) {
    let ProgramShape {
        arena_bytes,
        kv_bytes_per_position,
        ring_bytes,
        rewind,
        max_rows,
        max_outputs,
        logits,
        logits_stride,
        weight_bytes,
    } = *shape;
    for word in [
        arena_bytes,
        kv_bytes_per_position,
        ring_bytes,
        rewind,
        max_rows,
        max_outputs,
        logits,
        logits_stride,
    ] {
        image.word(word);
    }
    image.wide(weight_bytes);
}
