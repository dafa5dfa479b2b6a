//! Statements -> text, in the evaluator's outputs.

use std::sync::Arc;

use super::ast::{Filter, For, Macro, Statement, StatementKind, Target};
use super::evaluate::{Closure, Evaluator, Loop, Scope, place};
use super::meter::Text;
use super::print::write_text;
use super::value::Value;
use super::{Fault, JinjaResult};

/// How a block ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Next,
    Break,
    Continue,
}

impl<'t> Evaluator<'t> {
    /// Runs statements up to their end, or to `break` or `continue`.
    pub fn run(&mut self, body: &'t [Statement]) -> JinjaResult<Flow> {
        self.meter.down()?;
        let mut flow = Flow::Next;
        for statement in body {
            let ran = self
                .meter
                .step()
                .and_then(|()| self.statement(&statement.kind));
            flow = ran.map_err(|fault| fault.at(statement.line))?;
            if flow != Flow::Next {
                break;
            }
        }
        self.meter.up();
        Ok(flow)
    }

    fn statement(&mut self, kind: &'t StatementKind) -> JinjaResult<Flow> {
        match kind {
            StatementKind::Raw(text) => self.write(text)?,
            StatementKind::Emit(value) => {
                let value = self.value(value)?;
                self.emit(&value)?;
            }
            StatementKind::If {
                branches,
                otherwise,
            } => {
                for (when, body) in branches {
                    if self.value(when)?.holds() {
                        return self.run(body);
                    }
                }
                return self.run(otherwise);
            }
            StatementKind::For(statement) => {
                let items = self.value(&statement.items)?;
                return self.for_loop(statement, &items, 0);
            }
            StatementKind::Set(target, value) => {
                let value = self.value(value)?;
                self.assign(target, value)?;
            }
            StatementKind::SetBlock(target, filters, body) => {
                let (value, flow) = self.collected(body)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                let value = self.filtered(filters, value)?;
                self.assign(target, value)?;
            }
            StatementKind::With(variables, body) => {
                let mut values = Vec::with_capacity(variables.len());
                for (_, value) in variables {
                    values.push(self.value(value)?);
                }
                self.scopes.push(Scope::new());
                for ((target, _), value) in variables.iter().zip(values) {
                    self.assign(target, value)?;
                }
                let flow = self.run(body)?;
                self.scopes.pop();
                return Ok(flow);
            }
            StatementKind::Scope(body) => return self.scoped(body),
            StatementKind::FilterBlock(filters, body) => {
                let (value, flow) = self.collected(body)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                let value = self.filtered(filters, value)?;
                self.emit(&value)?;
            }
            StatementKind::Macro(definition) => {
                let value = self.closure(definition)?;
                self.define(&definition.name, value)?;
            }
            StatementKind::CallBlock(call, caller) => self.call_block(call, caller)?,
            StatementKind::Break => return Ok(Flow::Break),
            StatementKind::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn write(&mut self, text: &str) -> JinjaResult<()> {
        self.meter.bytes(text.len())?;
        if let Some(out) = self.out.last_mut() {
            out.push_str(text);
        }
        Ok(())
    }

    fn emit(&mut self, value: &Value) -> JinjaResult<()> {
        if let Value::Text(text) = value {
            return self.write(text);
        }
        let mut text = Text::new(self.meter);
        write_text(value, &mut text)?;
        self.write(&text.finish())
    }

    /// What is set in these statements ends with them.
    fn scoped(&mut self, body: &'t [Statement]) -> JinjaResult<Flow> {
        self.scopes.push(Scope::new());
        let flow = self.run(body)?;
        self.scopes.pop();
        Ok(flow)
    }

    /// The text that statements write, and whether they leave the loop around them: then nobody wants it, as in Jinja2.
    pub fn collected(&mut self, body: &'t [Statement]) -> JinjaResult<(Value, Flow)> {
        self.out.push(String::new());
        let flow = self.scoped(body)?;
        Ok((self.out.pop().unwrap_or_default().into(), flow))
    }

    /// A value after filters.
    fn filtered(&mut self, filters: &'t [Filter], mut value: Value) -> JinjaResult<Value> {
        for filter in filters {
            let arguments = self.arguments(&filter.arguments)?;
            value = self.filter(&filter.name, value, arguments)?;
        }
        Ok(value)
    }

    /// Gives a name a value, in the innermost block.
    fn define(&mut self, name: &'t str, value: Value) -> JinjaResult<()> {
        let scope = self.scopes.last_mut().unwrap_or(&mut self.globals);
        scope.insert(name, value);
        Ok(())
    }

    pub fn assign(&mut self, target: &'t Target, value: Value) -> JinjaResult<()> {
        match target {
            Target::Name(name) => self.define(name, value),
            Target::Attribute(name, attribute) => match self.name(name)? {
                Value::Namespace(at) => {
                    let values = &mut self.namespaces[at];
                    match place(values, attribute, self.meter)? {
                        Some(at) => values[at].1 = value,
                        None => {
                            self.meter.items(1)?;
                            self.meter.text(attribute.len())?;
                            values.push((attribute.clone(), value));
                        }
                    }
                    Ok(())
                }
                other => {
                    let kind = other.kind();
                    Err(Fault::new(format!("`{name}` is a {kind}, not a namespace")))
                }
            },
            Target::Several(targets) => {
                let values = value.items(self.meter)?;
                if values.len() != targets.len() {
                    let (needed, found) = (targets.len(), values.len());
                    let what = format!("{needed} values are needed, {found} are there");
                    return Err(Fault::new(what));
                }
                for (target, value) in targets.iter().zip(values) {
                    self.assign(target, value)?;
                }
                Ok(())
            }
        }
    }

    /// Runs a loop over the items of a value. `break` in its `else` is for the loop around it.
    pub fn for_loop(
        &mut self,
        statement: &'t For,
        items: &Value,
        depth: usize,
    ) -> JinjaResult<Flow> {
        let items = items.items(self.meter)?;
        let items = match &statement.only {
            None => items,
            Some(only) => {
                let mut kept = Vec::new();
                for item in items {
                    self.scopes.push(Scope::new());
                    self.assign(&statement.target, item.clone())?;
                    if self.value(only)?.holds() {
                        kept.push(item);
                    }
                    self.scopes.pop();
                }
                kept
            }
        };
        if items.is_empty() {
            return self.scoped(&statement.otherwise);
        }
        let items = Arc::new(items);
        let at = self.loops.len();
        self.loops.push(Loop {
            statement,
            items: Arc::clone(&items),
            index: 0,
            depth,
            last: None,
        });
        for (index, item) in items.iter().enumerate() {
            self.meter.step()?;
            self.loops[at].index = index;
            let mut scope = Scope::new();
            scope.insert("loop", Value::Loop(at));
            self.scopes.push(scope);
            self.assign(&statement.target, item.clone())?;
            let flow = self.run(&statement.body)?;
            self.scopes.pop();
            if flow == Flow::Break {
                break;
            }
        }
        self.loops.truncate(at);
        Ok(Flow::Next)
    }

    /// A macro as a value, with the blocks it stands in.
    fn closure(&mut self, definition: &'t Macro) -> JinjaResult<Value> {
        let names: usize = self.scopes.iter().map(|scope| scope.len()).sum();
        self.meter.items(names + self.scopes.len())?;
        self.macros.push(Closure {
            definition,
            scopes: Arc::new(self.scopes.clone()),
        });
        Ok(Value::Macro(self.macros.len() - 1))
    }

    fn call_block(
        &mut self,
        call: &'t super::ast::Expression,
        caller: &'t Macro,
    ) -> JinjaResult<()> {
        let super::ast::ExpressionKind::Call(callee, arguments) = &call.kind else {
            return Err(Fault::new("`call` needs a call"));
        };
        let callee = self.value(callee)?;
        let mut arguments = self.arguments(arguments)?;
        let caller = self.closure(caller)?;
        arguments.named.push(("caller".to_owned(), caller));
        let value = self.call(&callee, arguments)?;
        self.emit(&value)
    }
}
