//! Tokens -> the arguments of `include_model!`.

use std::path::Path;

use gemc::WeightsIn;
use gemc::build::Build;
use proc_macro2::TokenStream;
use quote::ToTokens as _;
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::{Expr, ExprArray, ExprLit, Ident, Lit, LitStr, Token};

const KEYS: &str = "bits, plan, target, name, weights, text, crate";

/// The folder, then values by their keys.
pub(crate) struct Arguments {
    pub(crate) folder: LitStr,
    values: Vec<(Ident, Value)>,
}

enum Value {
    Literal(Lit),
    List(Vec<Lit>),
    Path(TokenStream),
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let folder: LitStr = input.parse().map_err(|e| {
            syn::Error::new(
                e.span(),
                "the first argument is the checkpoint's folder, a string",
            )
        })?;
        let mut values: Vec<(Ident, Value)> = Vec::new();
        while !input.is_empty() {
            input.parse::<Token![,]>()?;
            if input.is_empty() {
                break;
            }
            let key = input.call(Ident::parse_any)?;
            input.parse::<Token![=]>()?;
            if values.iter().any(|(known, _)| *known == key) {
                return Err(syn::Error::new(
                    key.span(),
                    format!("`{key}` is given twice"),
                ));
            }
            let value = match key == "crate" {
                true => Value::Path(input.call(syn::Path::parse_mod_style)?.into_token_stream()),
                false => value(input)?,
            };
            values.push((key, value));
        }
        Ok(Self { folder, values })
    }
}

fn value(input: ParseStream<'_>) -> syn::Result<Value> {
    let expression: Expr = input.parse()?;
    let literal = |expression: &Expr| match expression {
        Expr::Lit(ExprLit { lit, .. }) => Ok(lit.clone()),
        other => Err(syn::Error::new_spanned(other, "a literal is expected here")),
    };
    match &expression {
        Expr::Array(ExprArray { elems, .. }) => Ok(Value::List(
            elems.iter().map(literal).collect::<Result<_, _>>()?,
        )),
        other => Ok(Value::Literal(literal(other)?)),
    }
}

impl Arguments {
    /// What they ask for; paths are relative to `root`.
    pub(crate) fn build(&self, root: &Path) -> syn::Result<Build> {
        let mut build = Build::new(self.folder.value()).relative_to(root);
        let given = |wanted: &str| self.values.iter().find(|(key, _)| key == wanted);
        if let (Some(_), Some((key, _))) = (given("bits"), given("plan")) {
            return Err(syn::Error::new(
                key.span(),
                "`bits` and `plan` exclude each other",
            ));
        }
        for (key, value) in &self.values {
            build = set(build, key, value, root)?;
        }
        Ok(build)
    }
}

fn set(build: Build, key: &Ident, value: &Value, root: &Path) -> syn::Result<Build> {
    let wrong = |wanted: &str| syn::Error::new(key.span(), format!("`{key}` is {wanted}"));
    Ok(match (key.to_string().as_str(), value) {
        ("bits", Value::Literal(Lit::Float(bits))) => build.bits(bits.base10_digits()),
        ("bits", Value::Literal(Lit::Int(bits))) => build.bits(bits.base10_digits()),
        ("bits", Value::Literal(Lit::Str(bits))) => build.bits(bits.value()),
        ("bits", _) => return Err(wrong("a number or a name")),
        ("plan", Value::Literal(Lit::Str(plan))) => build.plan(root.join(plan.value())),
        ("plan", _) => return Err(wrong("the path of a file")),
        ("target", Value::Literal(target)) => build.target(target_name(target, root)?),
        ("target", Value::List(targets)) if !targets.is_empty() => {
            targets.iter().try_fold(build, |build, target| {
                Ok::<_, syn::Error>(build.target(target_name(target, root)?))
            })?
        }
        ("target", _) => return Err(wrong("a name, or a list of names")),
        ("name", Value::Literal(Lit::Str(name))) => build.name(name.value()),
        ("name", _) => return Err(wrong("a string")),
        ("weights", Value::Literal(Lit::Str(text))) => match text.value().as_str() {
            "embed" => build.weights(WeightsIn::Program),
            "file" => build.weights(WeightsIn::File),
            _ => {
                return Err(syn::Error::new(
                    text.span(),
                    "allowed are \"embed\" and \"file\"",
                ));
            }
        },
        ("weights", _) => return Err(wrong("\"embed\" or \"file\"")),
        ("text", Value::Literal(Lit::Bool(text))) => build.text(text.value()),
        ("text", _) => return Err(wrong("`true` or `false`")),
        ("crate", Value::Path(path)) => build.runtime(path.clone()),
        _ => {
            let words = format!("unknown argument `{key}`; known: {KEYS}");
            return Err(syn::Error::new(key.span(), words));
        }
    })
}

/// A target's name; the path of a target file is relative to the crate.
fn target_name(target: &Lit, root: &Path) -> syn::Result<String> {
    let Lit::Str(text) = target else {
        return Err(syn::Error::new(
            target.span(),
            "a target's name is a string",
        ));
    };
    let name = text.value();
    let path = root.join(&name);
    match path.to_str() {
        Some(path) if name.ends_with(".toml") => Ok(path.to_owned()),
        _ => Ok(name),
    }
}
