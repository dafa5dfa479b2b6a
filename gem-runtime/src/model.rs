//! Program, facts and weights -> an [`Engine`] that several sessions share.
//!
//! Invariant: in an engine, the weights belong to the program, the program's tables agree with each other and with the
//! facts, and the CPU has the instructions; sessions rely on it.

use alloc::boxed::Box;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;

use crate::abi::{Executable, Items, Part};
use crate::abi::{HalfTap, ProgramShape, RoutingTap};
use crate::error::{Error, Result};
use crate::info::{ModelInfo, Task};
use crate::license::License;
use crate::session::{Session, SessionOptions};
use crate::storage::Weights;

/// Name of the weight file in a model's folder.
#[cfg(feature = "std")]
pub const WEIGHTS: &str = "model.gemw";

/// A model that is ready to run. Generated crates implement it.
///
/// ```
/// use gem_runtime::{Model, Result};
///
/// /// The best label, by any model that classifies.
/// fn best(model: &impl Model, text: &str) -> Result<Option<String>> {
///     let labels = model.classify(text)?;
///     Ok(labels.into_iter().next().map(|best| best.label))
/// }
/// ```
pub trait Model {
    /// Program, weights and text that sessions of it use.
    fn engine(&self) -> &Engine;

    /// Facts about it.
    fn info(&self) -> &ModelInfo {
        self.engine().info()
    }

    /// Licence texts that came with the checkpoint; empty when it had none.
    fn license(&self) -> &[License] {
        self.engine().license()
    }

    /// Starts a session, which shares the model; so may several, on any threads, and they may outlive this value.
    ///
    /// # Errors
    /// [`Error::Options`], [`Error::Memory`], or [`Error::Io`] when no thread can be started.
    fn session(&self, options: SessionOptions) -> Result<Session> {
        Session::new(self.engine(), options)
    }

    /// Labels of a text, best first, by a session of its own. Who has many texts keeps a session and calls
    /// [`Session::classify`].
    ///
    /// # Errors
    /// As of [`Model::session`] and [`Session::classify`].
    #[cfg(feature = "tokenizer")]
    fn classify(&self, text: &str) -> Result<alloc::vec::Vec<crate::Label>> {
        self.session(SessionOptions::default())?.classify(text)
    }

    /// Labels of a pair of texts, as [`Session::classify_pair`] gives them, by a session of its own.
    ///
    /// # Errors
    /// As of [`Model::session`] and [`Session::classify_pair`].
    #[cfg(feature = "tokenizer")]
    fn classify_pair(&self, first: &str, second: &str) -> Result<alloc::vec::Vec<crate::Label>> {
        let mut session = self.session(SessionOptions::default())?;
        session.classify_pair(first, second)
    }

    /// The label of every token of a text, by a session of its own.
    ///
    /// # Errors
    /// As of [`Model::session`] and [`Session::label_tokens`].
    #[cfg(feature = "tokenizer")]
    fn label_tokens(&self, text: &str) -> Result<alloc::vec::Vec<crate::TokenLabel>> {
        self.session(SessionOptions::default())?.label_tokens(text)
    }

    /// The vector of a text, by a session of its own. Who has many texts keeps a session and calls [`Session::embed`].
    ///
    /// # Errors
    /// As of [`Model::session`] and [`Session::embed`].
    #[cfg(feature = "tokenizer")]
    fn embed(&self, text: &str) -> Result<alloc::vec::Vec<f32>> {
        self.session(SessionOptions::default())?.embed(text)
    }

    /// The same behind the prompt of a name; see [`Session::embed_as`].
    ///
    /// # Errors
    /// As of [`Model::session`] and [`Session::embed_as`].
    #[cfg(feature = "tokenizer")]
    fn embed_as(&self, prompt: Option<&str>, text: &str) -> Result<alloc::vec::Vec<f32>> {
        let mut session = self.session(SessionOptions::default())?;
        session.embed_as(prompt, text)
    }
}

/// A program with its weights. Clones share both, and cost nothing.
///
/// ```
/// use gem_runtime::{Engine, Model, Result, Session, SessionOptions};
///
/// /// Engines of different models have one type: an app keeps them in a map, a list or a field.
/// struct Chat {
///     engine: Engine,
///     session: Session,
/// }
///
/// fn chat(model: &impl Model) -> Result<Chat> {
///     let session = model.session(SessionOptions::default())?;
///     let engine = model.engine().clone();
///     Ok(Chat { engine, session })
/// }
/// ```
#[derive(Clone)]
pub struct Engine {
    parts: Arc<Parts>,
    license: Arc<[License]>,
    #[cfg(feature = "tokenizer")]
    text: Option<Arc<crate::text::Text>>,
}

/// What belongs together.
struct Parts {
    info: ModelInfo,
    program: Box<dyn Executable + Send>,
    weights: Weights,
}

impl core::fmt::Debug for Engine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Engine")
            .field("info", self.info())
            .field("shape", self.program().shape())
            .finish_non_exhaustive()
    }
}

impl Model for Engine {
    fn engine(&self) -> &Engine {
        self
    }
}

impl Engine {
    /// Joins the parts of a model.
    ///
    /// # Errors
    /// [`Error::WrongWeights`] for weights of another program, [`Error::Cpu`] when this CPU cannot run it,
    /// [`Error::Program`] when its tables contradict each other.
    pub fn new(
        info: ModelInfo,
        program: Box<dyn Executable + Send>,
        weights: Weights,
    ) -> Result<Self> {
        if !info.level.supported() {
            return Err(Error::Cpu { needed: info.level });
        }
        check_weights(&info, program.shape(), &weights)?;
        check_shape(&info, program.shape())?;
        check_phases(&*program)?;
        for tap in program.taps() {
            check_tap(tap, program.shape(), program.phases(Part::Body).len())?;
        }
        for half in program.halves() {
            check_half(half, program.shape())?;
        }
        Ok(Self {
            parts: Arc::new(Parts {
                info,
                program,
                weights,
            }),
            license: Arc::default(),
            #[cfg(feature = "tokenizer")]
            text: None,
        })
    }

    /// Adds what the model needs to read and write text; engines may share it.
    #[cfg(feature = "tokenizer")]
    #[must_use]
    pub fn with_text(mut self, text: Option<impl Into<Arc<crate::text::Text>>>) -> Self {
        self.text = text.map(Into::into);
        self
    }

    /// What the model needs to read and write text.
    ///
    /// # Errors
    /// [`Error::Text`] when it has nothing of the kind.
    #[cfg(feature = "tokenizer")]
    pub fn text(&self) -> Result<&crate::text::Text> {
        self.shared_text().map(|text| &**text)
    }

    /// The same, to be kept.
    #[cfg(feature = "tokenizer")]
    pub(crate) fn shared_text(&self) -> Result<&Arc<crate::text::Text>> {
        let missing = || Error::text(&self.info().name, "the model has no tokenizer");
        self.text.as_ref().ok_or_else(missing)
    }

    /// Joins a program with weights and the contents of the files about text, from anywhere: an asset pack, the program.
    /// A model without a tokenizer is joined by [`Engine::new`].
    ///
    /// # Errors
    /// As of [`Engine::new`] and [`Text::new`](crate::text::Text::new).
    #[cfg(feature = "tokenizer")]
    pub fn from_parts(
        info: ModelInfo,
        program: Box<dyn Executable + Send>,
        weights: Weights,
        texts: &crate::text::TextFiles<'_>,
    ) -> Result<Self> {
        let engine = Self::new(info, program, weights)?;
        let text = crate::text::Text::new(texts, engine.info().vocab_size)?;
        Ok(engine.with_text(Some(text)))
    }

    /// Joins a program with its model in a bundle: the only one there is, or else the one of its name.
    ///
    /// # Errors
    /// As of [`Bundle::model`](crate::bundle::Bundle::model), [`Bundle::weights`](crate::bundle::Bundle::weights) and
    /// [`Engine::new`]; [`Error::WrongWeights`] for a model of another layout, as a bundle for another program has;
    /// [`Error::Text`] for a broken tokenizer.
    #[cfg(feature = "std")]
    pub fn from_bundle(
        info: ModelInfo,
        program: Box<dyn Executable + Send>,
        bundle: &crate::bundle::Bundle,
    ) -> Result<Self> {
        let model = bundle.model(&info.name)?;
        let engine = Self::new(info, program, bundle.weights(model)?)?;
        #[cfg(feature = "tokenizer")]
        let engine = {
            let files = bundle.text_folder(model)?;
            let text = crate::text::Text::of_folder(&files, engine.info().vocab_size)?;
            engine.with_text(text)
        };
        Ok(engine)
    }

    /// Adds the licence texts of the checkpoint.
    #[must_use]
    pub fn with_license(self, license: impl Into<Arc<[License]>>) -> Self {
        let license = license.into();
        Self { license, ..self }
    }

    /// Licence texts that came with the checkpoint; empty when it had none.
    #[must_use]
    pub fn license(&self) -> &[License] {
        &self.license
    }

    /// Joins a program with the weight file at a path, or with `model.gemw` in a folder; and with the tokenizer beside
    /// it, if there is one.
    ///
    /// # Errors
    /// As [`Engine::new`] and [`Weights::open`]; [`Error::Text`] for a broken tokenizer. Whether the weights are undamaged
    /// is seen by [`Weights::verify`] only.
    #[cfg(feature = "std")]
    pub fn open(
        info: ModelInfo,
        program: Box<dyn Executable + Send>,
        path: &std::path::Path,
    ) -> Result<Self> {
        let in_folder = path.is_dir().then(|| path.join(WEIGHTS));
        let file = in_folder.as_deref().unwrap_or(path);
        let engine = Self::new(info, program, Weights::open(file)?)?;
        #[cfg(feature = "tokenizer")]
        let engine = {
            let folder = file.parent().unwrap_or(std::path::Path::new(""));
            let text = crate::text::Text::open(folder, engine.info().vocab_size)?;
            engine.with_text(text)
        };
        Ok(engine)
    }

    /// Facts about the model.
    #[must_use]
    pub fn info(&self) -> &ModelInfo {
        &self.parts.info
    }

    /// The program that steps run.
    #[must_use]
    pub fn program(&self) -> &dyn Executable {
        &*self.parts.program
    }

    /// The weights that the program reads.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.parts.weights
    }
}

fn check_weights(info: &ModelInfo, shape: &ProgramShape, weights: &Weights) -> Result<()> {
    let same = |what, expected: String, found: String| {
        if expected == found {
            return Ok(());
        }
        Err(Error::WrongWeights {
            file: weights.file().map(String::from),
            what,
            expected,
            found,
        })
    };
    same("plan", hex(&info.plan_hash), hex(weights.plan_hash()))?;
    let layout = |digest: u64| hex(&digest.to_be_bytes());
    same("layout", layout(info.layout), layout(weights.layout()))?;
    let found = weights.body().len();
    same("size", shape.weight_bytes.to_string(), found.to_string())
}

/// Lower-case hexadecimal digits.
///
/// ```
/// use gem_runtime::{from_hex, hex};
///
/// let hash = [0xa5; 32];
/// assert_eq!(from_hex(&hex(&hash)), hash);
/// ```
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from_digit(u32::from(digit), 16).unwrap_or('?'))
        .collect()
}

/// The 32 bytes that 64 hexadecimal digits stand for; for constants in generated code.
///
/// # Panics
/// For anything else, which in a constant is an error of the compiler.
#[must_use]
pub const fn from_hex(digits: &str) -> [u8; 32] {
    const fn value(digit: u8) -> u8 {
        match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => u8::MAX,
        }
    }
    let digits = digits.as_bytes();
    assert!(digits.len() == 64, "a hash has 64 digits");
    let mut bytes = [0; 32];
    let mut i = 0;
    while i < 32 {
        let (high, low) = (value(digits[2 * i]), value(digits[2 * i + 1]));
        assert!(high < 16 && low < 16, "a hash has digits 0-9 and a-f");
        bytes[i] = high << 4 | low;
        i += 1;
    }
    bytes
}

fn require(holds: bool, what: &'static str) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(Error::Program(what))
    }
}

/// Whether `count` 32-bit elements at a byte offset lie in the arena.
fn in_arena(shape: &ProgramShape, offset: u32, count: u64) -> bool {
    let end = count
        .checked_mul(4)
        .map(|n| n.saturating_add(u64::from(offset)));
    offset.is_multiple_of(4) && end.is_some_and(|end| end <= u64::from(shape.arena_bytes))
}

fn check_shape(info: &ModelInfo, shape: &ProgramShape) -> Result<()> {
    require(shape.max_rows > 0, "a step has no rows")?;
    require(shape.max_outputs > 0, "a head has no outputs")?;
    require(info.max_positions > 0, "there are no positions")?;
    require(
        info.output_width() <= u64::from(shape.logits_stride) && info.output_width() > 0,
        "a row of logits does not fit its stride",
    )?;
    let logits = u64::from(shape.max_outputs) * u64::from(shape.logits_stride);
    require(
        in_arena(shape, shape.logits, logits),
        "logits outside the arena",
    )?;
    require(
        matches!(
            info.task,
            Task::SequenceClassification | Task::TokenClassification
        ) != info.labels.is_empty(),
        "labels do not go with the task",
    )?;
    require(
        matches!(info.conventions.token_types, 1 | 2)
            && info.vocab_size <= i32::MAX as u32 / info.conventions.token_types,
        "there are more token types than kernels tell apart",
    )
}

fn check_phases(program: &dyn Executable) -> Result<()> {
    let shape = program.shape();
    for items in [Part::Body, Part::Head]
        .iter()
        .flat_map(|part| program.phases(*part))
    {
        let holds = match *items {
            Items::Fixed(_) => true,
            Items::PerRow(n) => n.checked_mul(shape.max_rows).is_some(),
            Items::PerOutput(n) => n.checked_mul(shape.max_outputs).is_some(),
            Items::Loaded { offset, .. } => in_arena(shape, offset, 1),
        };
        require(holds, "a phase's item count cannot be read")?;
    }
    Ok(())
}

fn check_half(half: &HalfTap, shape: &ProgramShape) -> Result<()> {
    require(
        half.fits(shape),
        "keys or values lie outside a slot's memory",
    )
}

fn check_tap(tap: &RoutingTap, shape: &ProgramShape, phases: usize) -> Result<()> {
    let rows = u64::from(shape.max_rows);
    let holds = [
        (tap.p, u64::from(tap.modules)),
        (tap.fired, u64::from(tap.top_k)),
        (tap.gates, u64::from(tap.top_k)),
        (tap.domain, 1),
        (tap.cluster.unwrap_or(0), u64::from(tap.cluster.is_some())),
    ]
    .iter()
    .all(|(offset, each)| in_arena(shape, *offset, rows * each));
    require(
        holds && (tap.after as usize) < phases,
        "a routing tap lies outside the program",
    )
}
