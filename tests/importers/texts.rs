//! Requests, a line of JSON each -> what gemc makes of texts and conversations, a line of JSON each: for the Python scripts of
//! this folder, which compare it with Hugging Face's.
//!
//! `texts rebuild FILE.gguf FOLDER` writes the tokenizer in a GGUF file's metadata as files; `texts encode FOLDER` takes
//! `{"text", "limit"}`; `texts chat` takes `{"template", "tokens", "messages", "variables", "date"}`, and with a folder behind it
//! gives ids, too.

use std::error::Error;
use std::io::{self, BufRead as _, Write as _};
use std::path::Path;

use gem_runtime::text::{
    ChatOptions, ChatTemplate, Date, Detokenizer, Message, TOKENIZER, TextConfig, TextFiles,
    TextFolder, Tokenizer,
};
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["rebuild", file, folder] => rebuild(Path::new(file), Path::new(folder)),
        ["encode", folder] => {
            let tokenizer = tokenizer(Path::new(folder))?;
            each_line(|request| encoded(&tokenizer, request))
        }
        ["chat"] => each_line(|request| Ok(written(None, request))),
        ["chat", folder] => {
            let tokenizer = tokenizer(Path::new(folder))?;
            each_line(|request| Ok(written(Some(&tokenizer), request)))
        }
        _ => Err("usage: texts rebuild FILE FOLDER | encode FOLDER | chat [FOLDER]".into()),
    }
}

fn rebuild(file: &Path, folder: &Path) -> Outcome<()> {
    for (name, bytes) in gemc::import::gguf_texts(file)?.into_files() {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, bytes)?;
    }
    Ok(())
}

/// The tokenizer of a folder, for a model with as many ids as it names.
fn tokenizer(folder: &Path) -> Outcome<Tokenizer> {
    let files = TextFolder::read(folder).map_err(gem_runtime::Error::from)?;
    let json = files.get(TOKENIZER).ok_or("no tokenizer.json")?;
    let highest = gemc::import::highest_id(json)?;
    let size = highest.map_or(1, |(id, _)| id + 1);
    Ok(Tokenizer::new(json, u32::try_from(size)?)?)
}

fn each_line(answer: impl Fn(&Value) -> Outcome<Value>) -> Outcome<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        writeln!(out, "{}", answer(&serde_json::from_str(&line?)?)?)?;
    }
    Ok(out.flush()?)
}

/// Ids with and without what belongs around a text, cut to `limit`, and the text of the plain ones: whole, and piece by piece.
fn encoded(tokenizer: &Tokenizer, request: &Value) -> Outcome<Value> {
    let text = request["text"].as_str().ok_or("no text")?;
    let plain = tokenizer.encode_plain(text)?;
    let limit = request["limit"].as_u64().map(|limit| limit as usize);
    let cut = limit.map(|limit| tokenizer.encode_cut(text, limit).ok());
    let mut stream = Detokenizer::new(tokenizer, &[]);
    let streamed: Result<String, _> = plain.iter().map(|id| stream.push(*id)).collect();
    Ok(json!({
        "ids": tokenizer.encode(text)?, "plain": plain, "cut": cut,
        "decoded": tokenizer.decode(&plain)?, "streamed": streamed?
    }))
}

fn written(tokenizer: Option<&Tokenizer>, request: &Value) -> Value {
    let text = render(request);
    let ids = text.as_ref().ok().zip(tokenizer);
    let ids = ids.and_then(|(text, tokenizer)| tokenizer.encode_plain(text).ok());
    match text {
        Ok(text) => json!({"text": text, "ids": ids}),
        Err(error) => json!({"error": error.to_string()}),
    }
}

fn render(request: &Value) -> Outcome<String> {
    let field = |name: &str| request[name].to_string();
    let tokens = field("tokens");
    let files = TextFiles {
        tokenizer_config: Some(tokens.as_bytes()),
        ..TextFiles::default()
    };
    let config = TextConfig::new(&files, u32::MAX).map_err(|wrong| format!("{wrong:?}"))?;
    let mut options = ChatOptions::default();
    options.variables.set_all(&field("variables"))?;
    if let Some([year, month, day]) = request["date"].as_array().map(Vec::as_slice) {
        let number = |value: &Value| value.as_u64().unwrap_or(0) as u32;
        options.date = Some(Date::new(number(year), number(month), number(day))?);
    }
    let template = ChatTemplate::new(request["template"].as_str().ok_or("no template")?);
    let messages = Message::parse_all(&field("messages"))?;
    Ok(template.render(&messages, &config.tokens, &options)?)
}
