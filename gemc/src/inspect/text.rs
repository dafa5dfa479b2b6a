//! What `gemc inspect` found -> the text it prints.

use std::fmt;

use gem_runtime::text::GENERATION_CONFIG;

use super::{Counts, Inspection, Unused};
use crate::import::{counted, shown};

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = &self.sizes;
        writeln!(f, "family      {}", self.family)?;
        writeln!(f, "task        {}", self.task)?;
        writeln!(
            f,
            "shape       {}, hidden {}, {} of {} columns ({} of keys and values), general path {}, vocabulary {}, {}",
            counted(s.num_hidden_layers, "layer"),
            s.hidden_size,
            counted(s.num_attention_heads, "head"),
            s.head_dim,
            s.num_key_value_heads,
            s.intermediate_size,
            s.vocab_size,
            counted(s.max_position_embeddings, "position")
        )?;
        writeln!(f, "structure   {}", self.structure)?;
        let types: Vec<&str> = self.stored_types.keys().map(String::as_str).collect();
        writeln!(
            f,
            "parameters  {} in {}, {} bytes as {}",
            self.parameters,
            counted(self.tensors_used, "tensor"),
            self.stored_bytes,
            types.join(", ")
        )?;
        let takes = &self.footprint;
        writeln!(
            f,
            "takes       {} of them for a token, {} bytes at 4.25 bits; {} bytes of keys and values a position, {} whatever the \
             context",
            takes.active, takes.bytes_at_4_25, takes.kv_bytes_per_position, takes.kv_bytes_fixed
        )?;
        if let Some(bits) = self.source_bits {
            writeln!(f, "source      {}", requantised(bits))?;
        }
        if !self.values_read {
            f.write_str(
                "values      not looked at; --check reads them all, for NaN and infinity\n",
            )?;
        }
        for (kind, count) in &self.parameters_by_kind {
            writeln!(f, "            {count:>14}  {kind}")?;
        }
        self.write_routing(f)?;
        self.write_names(f, "domains", &self.domains)?;
        self.write_names(f, "labels", &self.labels)?;
        let has = |yes: bool| if yes { "yes" } else { "no" };
        let (tokenizer, chat) = (has(self.tokenizer), has(self.chat_template));
        writeln!(f, "tokenizer   {tokenizer}, chat template {chat}")?;
        self.write_templates(f)?;
        self.write_generation(f)?;
        if let Some(problem) = &self.sampling_problem {
            writeln!(
                f,
                "sampling    {GENERATION_CONFIG} cannot be used: {problem}"
            )?;
        }
        write_records(f, "calibration", &self.calibration)?;
        write_records(f, "evaluation", &self.evaluation)?;
        write_unused(f, "dropped tensors", &self.tensors_dropped)?;
        write_unused(f, "keys without effect", &self.keys_ignored)
    }
}

/// What is to be said of weights that are quantised already.
pub fn requantised(bits: f64) -> String {
    format!(
        "quantised already, to {bits:.2} bits a weight: what that lost stays lost, and is lost a second time; the files that it was \
         made from give a better model"
    )
}

impl Inspection {
    fn write_routing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.routing.is_empty() {
            return writeln!(f, "routing     none: a dense model");
        }
        writeln!(f, "routing")?;
        for r in &self.routing {
            write!(
                f,
                "  {:<9} {} top {} above {}{}, modules {}, general path {}",
                r.site,
                r.score,
                r.top_k,
                r.threshold,
                if r.renormalize { ", renormalised" } else { "" },
                r.modules,
                r.general_path
            )?;
            if let Some(s) = &r.scar {
                let residual = if s.residual { ", residual" } else { "" };
                write!(
                    f,
                    "; SCAR {}, {}, {}{residual}",
                    s.mask,
                    counted(s.heads as usize, "head"),
                    counted(s.clusters, "cluster")
                )?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    /// What ends a text, and the sampling that counts where a run does not say it.
    fn write_generation(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(of) = &self.generation else {
            return Ok(());
        };
        let ids: Vec<String> = of.eos_token_ids.iter().map(u32::to_string).collect();
        match ids.is_empty() {
            true => writeln!(f, "ends        at no token")?,
            false => writeln!(f, "ends        at id {}", ids.join(", "))?,
        }
        let mut parts = match of.temperature == 0.0 {
            true => vec!["the most probable token".to_owned()],
            false => vec![
                format!("temperature {}", of.temperature),
                format!("top-k {}", of.top_k),
                format!("top-p {}", of.top_p),
                format!("min-p {}", of.min_p),
            ],
        };
        if of.repetition_penalty != 1.0 {
            parts.push(format!("repetition penalty {}", of.repetition_penalty));
        }
        parts.push(format!(
            "{} at most",
            counted(of.max_tokens as usize, "token")
        ));
        parts.extend(
            of.stop
                .iter()
                .map(|stop| format!("ends before {:?}", shown(stop))),
        );
        writeln!(f, "sampling    {}", parts.join(", "))
    }

    /// Templates of which there is more to say than that there is one.
    fn write_templates(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let several = self.chat_templates.len() > 1;
        for template in &self.chat_templates {
            let (name, file) = (shown(&template.name), shown(&template.file));
            match &template.problem {
                Some(problem) => {
                    writeln!(f, "            {name} cannot be used: {}", shown(problem))?
                }
                None if several => writeln!(f, "            {name} of {file}")?,
                None => {}
            }
        }
        Ok(())
    }

    fn write_names(&self, f: &mut fmt::Formatter<'_>, what: &str, names: &[String]) -> fmt::Result {
        if names.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = names.iter().map(|n| shown(n)).collect();
        writeln!(f, "{what:<11} {}", names.join(", "))
    }
}

fn write_records(f: &mut fmt::Formatter<'_>, what: &str, records: &Counts) -> fmt::Result {
    if records.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = records
        .iter()
        .map(|(d, n)| format!("{} {n}", shown(d)))
        .collect();
    writeln!(f, "{what:<11} {}", list.join(", "))
}

fn write_unused(f: &mut fmt::Formatter<'_>, what: &str, list: &[Unused]) -> fmt::Result {
    if list.is_empty() {
        return Ok(());
    }
    writeln!(f, "{what}")?;
    for item in list {
        writeln!(f, "  {}: {}", shown(&item.name), item.reason)?;
    }
    Ok(())
}
