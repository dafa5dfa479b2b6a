//! `tokenizer.ggml.pre` -> how a text is cut before its bytes are merged, as the model's own `tokenizer.json` has it.
//!
//! llama.cpp's names are of groups of models that it treats alike.

use serde_json::{Value as Json, json};

/// Contractions, words, numbers, other characters and spaces, of GPT-2.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
/// Letters with case, as the first DeepSeek lists them.
const CASED: &str = r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+";
const DEEPSEEK_EAST: &str = "[一-龥ࠀ-一가-퟿]+";

/// What `tokenizer.ggml.pre` stands for.
pub struct Splits {
    /// Pre-tokenizers, in order.
    pub steps: Vec<Json>,
    /// Whether characters are composed first.
    pub composed: bool,
    /// Whether a word in the vocabulary is one token, whatever its merges say.
    pub whole_words: bool,
    /// Whether a text begins with the token for that.
    pub begins: bool,
}

fn split(regex: &str) -> Json {
    json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false})
}

fn digits(individual: bool) -> Json {
    json!({"type": "Digits", "individual_digits": individual})
}

/// # Errors
/// For a name that is not known.
pub fn of(pre: &str) -> Result<Splits, String> {
    let plain = |steps: Vec<Json>| Splits {
        steps,
        composed: false,
        whole_words: false,
        begins: false,
    };
    let composed = |steps: Vec<Json>| Splits {
        composed: true,
        ..plain(steps)
    };
    let punctuation = || json!({"type": "Punctuation", "behavior": "Contiguous"});
    Ok(match pre {
        "gpt-2" | "phi-2" | "jais" | "trillion" | "granite-docling" | "mellum" | "exaone4"
        | "gigachat" => plain(vec![split(GPT2)]),
        "mpt" | "olmo" | "modern-bert" => composed(vec![split(GPT2)]),
        "smollm" | "starcoder" | "refact" | "codeshell" | "exaone" | "minerva-7b" | "mellum2" => {
            plain(vec![digits(true), split(GPT2)])
        }
        "command-r" => composed(vec![digits(true), split(GPT2)]),
        "falcon" => plain(vec![punctuation(), split(GPT2), split("[0-9][0-9][0-9]")]),
        "default" => plain(vec![
            punctuation(),
            split(GPT2),
            digits(false),
            split("[0-9][0-9][0-9]"),
        ]),
        "llama-bpe" | "llama3" | "llama-v3" | "lfm2" | "falcon3" | "falcon-h1" | "pixtral"
        | "midm-2.0" => Splits {
            whole_words: true,
            begins: true,
            ..plain(vec![split(LLAMA3)])
        },
        "smaug-bpe" | "dbrx" | "chatglm-bpe" => plain(vec![split(LLAMA3)]),
        "glm4" | "glm5" => Splits {
            whole_words: true,
            ..plain(vec![split(LLAMA3)])
        },
        "qwen2" | "deepseek-r1-qwen" | "kormo" | "f2llmv2" => composed(vec![split(QWEN2)]),
        "megrez" | "stablelm2" | "hunyuan" | "solar-open" | "grok-2" => plain(vec![split(QWEN2)]),
        // Marks stay beside their letters, as the ids that llama.cpp keeps for it say.
        "qwen35" => plain(vec![split(QWEN35)]),
        "gpt-4o" | "llama4" | "kanana2" | "talkie" | "minimax-m2" => plain(vec![split(O200K)]),
        "tekken" => Splits {
            whole_words: true,
            begins: true,
            ..plain(vec![split(TEKKEN)])
        },
        "deepseek-llm" => plain(vec![
            split(r"[\r\n]"),
            split(CASED),
            split("\\s?[!-/:-~！-／：-～‘-‟\u{3000}-。]+"),
            split(r"\s+$"),
            split(DEEPSEEK_EAST),
            digits(false),
        ]),
        "deepseek-coder" => plain(vec![
            split(r"[\r\n]"),
            split(r"\s?\p{L}+"),
            split(r"\s?\p{P}+"),
            split(DEEPSEEK_EAST),
            digits(true),
        ]),
        "deepseek-v3" | "hunyuan-dense" | "joyai-llm" => plain(vec![
            split(r"\p{N}{1,3}"),
            split("[一-龥\u{3040}-ゟ゠-ヿ]+"),
            split(DEEPSEEK3),
        ]),
        other => {
            let other = crate::import::error::shown(other);
            return Err(format!(
                "metadata: `tokenizer.ggml.pre` is \"{other}\", which is not rebuilt; allowed: a tokenizer.json beside the \
                 file, or one of default, gpt-2, mpt, smollm, command-r, falcon, llama-bpe, dbrx, glm4, qwen2, qwen35, \
                 gpt-4o, tekken, deepseek-llm, deepseek-coder, deepseek-v3 and their kin"
            ));
        }
    })
}
