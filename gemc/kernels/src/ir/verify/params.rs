//! Checks of a kernel's parameters, by themselves.

use super::error::Problem;
use super::range::at;
use super::{Errors, MAX_LOCAL_BYTES, structure};
use crate::ir::{Elem, Extent, Kernel, Param, ParamId, Space};

/// Lengths beyond these are no region of any device, and their products leave 64 bits.
const MAX_FIXED: i64 = 1 << 40;
const MAX_PER_CONTEXT: i64 = 1 << 31;
/// Parameters of a kernel at most.
const MAX_PARAMS: usize = 256;

/// Checks declarations; returns the bytes of local memory.
pub(super) fn check(kernel: &Kernel, errors: &mut Errors) -> u32 {
    if i32::try_from(kernel.items).is_err() {
        errors.push(Problem::Program {
            what: "number of items".to_owned(),
            found: kernel.items.to_string(),
            expected: format!("at most {}", i32::MAX),
        });
    }
    if kernel.params.len() > MAX_PARAMS {
        errors.push(Problem::Program {
            what: "number of parameters".to_owned(),
            found: kernel.params.len().to_string(),
            expected: format!("at most {MAX_PARAMS}"),
        });
    }
    let mut local = 0i64;
    for (i, param) in kernel.params.iter().enumerate() {
        let id = ParamId::from_index(i);
        if let Some(rule) = broken_rule(param) {
            errors.push(Problem::Param {
                param: id,
                name: param.name().to_owned(),
                rule,
            });
        } else if let Param::Region {
            space: Space::Local,
            elem,
            len,
            ..
        } = param
        {
            local += len.fixed * i64::from(elem.bytes());
        }
    }
    if local > MAX_LOCAL_BYTES {
        errors.push(Problem::Program {
            what: "local memory".to_owned(),
            found: format!("{local} bytes"),
            expected: format!("at most {MAX_LOCAL_BYTES}"),
        });
        return 0;
    }
    u32::try_from(local).unwrap_or(0)
}

fn broken_rule(param: &Param) -> Option<String> {
    if !structure::is_identifier(param.name()) {
        return Some("the name must be an identifier".to_owned());
    }
    match param {
        Param::Region {
            space,
            elem,
            len,
            mutable,
            ..
        } => region_rule(*space, *elem, *len, *mutable),
        Param::Scalar { max, .. } => (i32::try_from(*max).is_err())
            .then(|| format!("max is {max}, expected at most {}", i32::MAX)),
        Param::Table { len, .. } => (*len == 0 || i32::try_from(*len).is_err())
            .then(|| format!("len is {len}, expected in 1..={}", i32::MAX)),
    }
}

fn region_rule(space: Space, elem: Elem, len: Extent, mutable: bool) -> Option<String> {
    let name = space.name();
    if !(0..=MAX_PER_CONTEXT).contains(&len.per_context)
        || len.fixed.abs() > MAX_FIXED
        || at(len, 1) < 0
    {
        return Some(format!(
            "length is {len}, expected at least 0 for every context, of at most {MAX_PER_CONTEXT}*context+{MAX_FIXED}"
        ));
    }
    if len.per_context != 0 && space != Space::Kv {
        return Some(format!(
            "length is {len}, expected a constant; only kv grows with the context"
        ));
    }
    if mutable && !space.is_writable() {
        return Some(format!("{name} is read only"));
    }
    if matches!(space, Space::Rows | Space::Outputs) && elem != Elem::I32 {
        return Some(format!("elements of {name} are i32"));
    }
    None
}
