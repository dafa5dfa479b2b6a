//! Programs with the memory they start from and what the interpreter leaves of it: random ones, the filetests that run, and
//! kernels of every format. Other executions are held against them.

use gemc::executions::check_machine_code;
use gemc::target::Target;
use gemc_kernels::ir::testing::{Bytes, Image, Memory, interpret, valid_program};
use gemc_kernels::ir::text::print;
use gemc_kernels::ir::verify::{Verified, verify};
use gemc_kernels::kernels::samples;

use crate::gemk::{Setup, files, runnable};

/// A program, its memory before and after.
#[derive(Debug)]
pub struct Sample {
    /// Name of the sample, an identifier.
    pub name: String,
    /// The proved program.
    pub verified: Verified,
    /// What the interpreter leaves.
    pub expected: Image,
    start: Start,
}

#[derive(Debug)]
enum Start {
    Random(u64),
    Setup(Setup),
    Memory(Memory),
}

impl Sample {
    /// The random program that so many bytes of a seed choose.
    ///
    /// # Panics
    /// When it is refused or traps, which is a defect.
    #[must_use]
    pub fn random(seed: u64, bytes: usize) -> Self {
        let program = valid_program(&Bytes::random(seed, bytes));
        let text = print(&program);
        let verified = verify(program);
        let verified = verified.unwrap_or_else(|e| unreachable!("seed {seed}: {e:#?}\n{text}"));
        let sample = Self::new(format!("random_{seed}"), verified, Start::Random(seed));
        sample.unwrap_or_else(|| unreachable!("seed {seed} traps\n{text}"))
    }

    /// Every filetest that runs without a trap.
    ///
    /// # Panics
    /// When the filetests cannot be read.
    #[must_use]
    pub fn filetests() -> Vec<Self> {
        let files = files().expect("the folder of filetests");
        let sample = |(name, path): (String, _)| {
            let text = std::fs::read_to_string(path).expect("a filetest");
            let (verified, setup) = runnable(&text).expect("settings that are understood")?;
            Self::new(name.replace(['/', '.'], "_"), verified, Start::Setup(setup))
        };
        files.into_iter().filter_map(sample).collect()
    }

    /// Products and embeddings of every format, and every kind of kernel, as a target has them.
    ///
    /// # Panics
    /// When one is refused or traps, which is a defect.
    #[must_use]
    pub fn kernels(target: &Target) -> Vec<Self> {
        let sample = |(name, program, memory)| {
            let verified = verify(program).unwrap_or_else(|e| unreachable!("{name}: {e:?}"));
            let sample = Self::new(String::clone(&name), verified, Start::Memory(memory));
            let sample = sample.unwrap_or_else(|| unreachable!("{name} traps"));
            let before = sample.memory().image();
            assert!(before != sample.expected, "{name} writes nothing");
            sample
        };
        let all = samples::all(target.dot, target.row_block);
        all.into_iter().map(sample).collect()
    }

    /// A program on memory of its own. Nothing if it traps.
    #[must_use]
    pub fn on(name: String, verified: Verified, memory: Memory) -> Option<Self> {
        Self::new(name, verified, Start::Memory(memory))
    }

    /// Nothing if the program traps.
    fn new(name: String, verified: Verified, start: Start) -> Option<Self> {
        let mut memory = start.memory(&verified);
        interpret(&verified, &mut memory).ok()?;
        Some(Self {
            name,
            expected: memory.image(),
            verified,
            start,
        })
    }

    /// The memory it starts from.
    #[must_use]
    pub fn memory(&self) -> Memory {
        self.start.memory(&self.verified)
    }

    /// Holds machine code of this process against the interpreter.
    ///
    /// # Panics
    /// When they differ.
    pub fn check_machine_code(&self) {
        let done = check_machine_code(&self.verified, &self.expected, || self.memory());
        assert_eq!(done, Ok(()), "{}", self.described("machine code"));
    }

    /// Holds what an execution left, arena and slots one after the other, against what the interpreter left.
    ///
    /// # Panics
    /// When they differ.
    pub fn check(&self, execution: &str, left: &[u8]) {
        let difference = self.expected.difference(&self.expected.like(left));
        assert_eq!(difference, None, "{}", self.described(execution));
    }

    /// The program, for a person who has to find what is wrong.
    #[must_use]
    pub fn described(&self, execution: &str) -> String {
        let text = print(self.verified.program());
        format!("{}, {execution}\n{text}", self.name)
    }

    /// Bytes of arena and slots.
    #[must_use]
    pub fn bytes_left(&self) -> usize {
        let slots = self.expected.kv.iter().map(Vec::len);
        self.expected.arena.len() + slots.sum::<usize>()
    }
}

impl Start {
    fn memory(&self, verified: &Verified) -> Memory {
        match self {
            Self::Random(seed) => Memory::random(verified.program().shape, *seed),
            Self::Setup(setup) => setup.memory(verified).expect("settings that fit"),
            Self::Memory(memory) => memory.clone(),
        }
    }
}
