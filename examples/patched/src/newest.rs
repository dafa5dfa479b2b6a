//! Weight files -> the model of the moment: any thread takes it, and the thread of updates replaces it.
//!
//! Invariant: whoever took a model has it with its weights for as long as it is held; nothing changes under an answer.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gem_runtime::patch::{self, Patch};
use gem_runtime::storage::Weights;
use gem_runtime::text::Text;
use gem_runtime::{Engine, Result};

/// The model of the moment.
pub struct Newest {
    held: Mutex<Held>,
    /// Weights change; how text is read does not.
    text: Option<Arc<Text>>,
    /// Where weights with patches are.
    patched: PathBuf,
}

/// A model and the file that it maps.
struct Held {
    engine: Engine,
    file: PathBuf,
}

impl Newest {
    /// The patched weights in the folder `state`, if there are any for this program, else those that were shipped, which
    /// have the tokenizer beside them.
    ///
    /// # Errors
    /// When the weights that were shipped, or the tokenizer, cannot be used.
    pub fn open(shipped: &Path, state: &Path) -> Result<Self> {
        let folder = shipped.parent().unwrap_or(Path::new(""));
        let text = Text::open(folder, gem_lm::INFO.vocab_size)?.map(Arc::new);
        let patched = state.join("model.gemw");
        let mut held = Held::open(shipped, text.clone())?;
        if patched.exists() {
            match Held::open(&patched, text.clone()) {
                Ok(newer) => held = newer,
                Err(why) => eprintln!("{why}: the weights that were shipped are used"),
            }
        }
        Ok(Self {
            held: Mutex::new(held),
            text,
            patched,
        })
    }

    /// The model of the moment. A clone shares it.
    pub fn engine(&self) -> Engine {
        self.lock().engine.clone()
    }

    /// Makes a patched copy of the newest weights, which then are the newest, here and after the next start. Where that
    /// fails, the model stays what it was. For one thread: of two at once, one patch might be lost.
    ///
    /// # Errors
    /// As of [`patch::apply`], and when the copy cannot be opened.
    pub fn apply(&self, patch: &Patch) -> Result<()> {
        let from = self.lock().file.clone();
        patch::apply(&from, std::slice::from_ref(patch), &self.patched)?;
        // Answers go on meanwhile, by the old model.
        let newer = Held::open(&self.patched, self.text.clone())?;
        *self.lock() = newer;
        Ok(())
    }

    /// Nothing is done under the lock that could leave half a model.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Maps a weight file.
    fn open(file: &Path, text: Option<Arc<Text>>) -> Result<Self> {
        let model = gem_lm::Model::new(Weights::open(file)?)?;
        Ok(Self {
            engine: model.into_engine().with_text(text),
            file: file.to_owned(),
        })
    }
}
