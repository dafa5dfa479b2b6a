//! Checks of pure functions: types, order, and their divisions and words for any parameters.

use super::error::{Place, Problem};
use super::flow::Flow;
use super::{Errors, MAX_CALL_DEPTH, structure};
use crate::ir::typing::{FunctionTypes, result_type};
use crate::ir::{Function, Op, Program, ValueId};

pub(super) fn check(program: &Program, number: usize, f: &Function, errors: &mut Errors) {
    let before = errors.total;
    structure::check_text("doc", &f.doc, errors);
    if f.values.len() < f.params as usize || f.values.len() <= f.result.index() {
        errors.push(Problem::NotVisible);
        return;
    }
    let types = FunctionTypes {
        function: f,
        functions: &program.functions,
    };
    for (i, def) in f.values.iter().enumerate() {
        let v = ValueId::from_index(i);
        structure::check_hint(v, def.name.as_deref(), errors);
        check_op(number, f.params, v, &def.op, errors);
        match result_type(&types, &def.op, def.ty) {
            Ok(found) if found == def.ty => {}
            Ok(found) => errors.push_at(
                Some(v),
                Problem::Declared {
                    declared: def.ty,
                    found,
                },
            ),
            Err(error) => errors.push_at(Some(v), error),
        }
    }
    if errors.total == before {
        Flow::of_function(program, f, errors).straight(f.values.len());
    }
}

/// Checks how deep calls of functions go. Each calls only earlier ones.
pub(super) fn check_depth(program: &Program, errors: &mut Errors) {
    let mut levels: Vec<usize> = Vec::new();
    for f in &program.functions {
        let mut level = 1;
        for def in &f.values {
            if let Op::Call(callee, _) = def.op {
                let below = levels.get(callee.index()).copied().unwrap_or(0);
                level = level.max(below + 1);
            }
        }
        if level > MAX_CALL_DEPTH {
            errors.at(Place::function(&f.name));
            errors.push(Problem::Program {
                what: "levels of calls".to_owned(),
                found: level.to_string(),
                expected: format!("at most {MAX_CALL_DEPTH}"),
            });
        }
        levels.push(level);
    }
}

/// Order of values and calls, and that nothing but parameters is read.
fn check_op(number: usize, params: u32, v: ValueId, op: &Op, errors: &mut Errors) {
    op.for_each_operand(|operand| {
        if operand >= v {
            errors.push_at(Some(operand), Problem::NotVisible);
        }
    });
    match op {
        Op::Param(n) if *n == v.0 && v.0 < params => {}
        Op::Param(_) => errors.push_at(
            Some(v),
            Problem::Misplaced {
                op: "param",
                rule: "parameter n is value n of a function",
            },
        ),
        _ if v.0 < params => errors.push_at(
            Some(v),
            Problem::Misplaced {
                op: op.mnemonic(),
                rule: "the first values of a function are its parameters",
            },
        ),
        Op::Call(f, _) if f.index() >= number => {
            errors.push_at(Some(v), Problem::CallOrder(*f));
        }
        Op::Item
        | Op::Index
        | Op::Scalar(_)
        | Op::RowCount
        | Op::OutputCount
        | Op::Context
        | Op::Get(_)
        | Op::Element(..)
        | Op::Load { .. } => errors.push_at(Some(v), Problem::NotPure(op.mnemonic())),
        _ => {}
    }
}
