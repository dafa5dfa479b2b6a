//! `config_sentence_transformers.json` -> what stands before the texts that an encoder is given, for each kind of text.

use crate::error::{Error, Result};

/// Prompts by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompts {
    /// Name and text, which may be empty.
    pub named: Vec<(String, String)>,
    /// The name of the one that is used where none is asked for.
    pub default: Option<String>,
}

impl Prompts {
    /// The text of a name, else of the default; empty where there is none.
    ///
    /// # Errors
    /// [`Error::Text`] for a name that there is not, with those that there are.
    pub fn text(&self, name: Option<&str>) -> Result<&str> {
        let Some(name) = name.or(self.default.as_deref()) else {
            return Ok("");
        };
        let found = self.named.iter().find(|(known, _)| known == name);
        found.map(|(_, text)| text.as_str()).ok_or_else(|| {
            let known: Vec<&str> = self.named.iter().map(|(name, _)| name.as_str()).collect();
            let allowed = match known.is_empty() {
                true => "the model has none".to_owned(),
                false => format!("allowed: {}", known.join(", ")),
            };
            Error::Text(format!(
                "there is no prompt \"{}\"; {allowed}",
                name.escape_debug()
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_found_by_its_name_or_is_the_default() {
        let prompts = Prompts {
            named: vec![
                ("query".into(), "q: ".into()),
                ("document".into(), String::new()),
            ],
            default: Some("query".into()),
        };
        assert_eq!(prompts.text(None).expect("the default"), "q: ");
        assert_eq!(prompts.text(Some("document")).expect("named"), "");
        let told = prompts
            .text(Some("quary"))
            .expect_err("unknown")
            .to_string();
        assert!(
            told.contains("\"quary\"; allowed: query, document"),
            "{told}"
        );
        assert_eq!(Prompts::default().text(None).expect("none"), "");
        let told = Prompts::default().text(Some("query")).expect_err("none");
        assert!(told.to_string().contains("the model has none"), "{told}");
    }
}
