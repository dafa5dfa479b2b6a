//! Checks of what kernels are given: names, sizes, phases, call tables, taps.

use super::error::{Place, Problem};
use super::range::at;
use super::{Errors, KernelInfo, MAX_CALL_DEPTH, structure};
use crate::ir::{
    Extent, Half, Items, KernelId, Param, Program, ProgramShape, Space, TableEntry, TableId, Tap,
};
use gem_runtime::abi::{ARG_UNIT, MAX_CONTEXT};
use std::collections::HashSet;

fn problem(what: impl Into<String>, found: impl ToString, expected: impl ToString) -> Problem {
    Problem::Program {
        what: what.into(),
        found: found.to_string(),
        expected: expected.to_string(),
    }
}

/// Checks the program's sizes.
pub(super) fn check_shape(shape: &ProgramShape, errors: &mut Errors) {
    errors.at(Place::default());
    let most = i32::MAX as u32 / 4;
    for (what, n) in [
        ("max_rows", shape.max_rows),
        ("max_outputs", shape.max_outputs),
    ] {
        if n == 0 || n > most {
            errors.push(problem(what, n, format!("1..={most}")));
        }
    }
    if !shape.ring_bytes.is_multiple_of(ARG_UNIT as u32) || shape.ring_bytes > i32::MAX as u32 {
        let allowed = format!("a multiple of {ARG_UNIT} below 2^31");
        errors.push(problem("ring_bytes", shape.ring_bytes, allowed));
    }
    let end =
        u64::from(shape.logits) + 4 * u64::from(shape.max_outputs) * u64::from(shape.logits_stride);
    if !shape.logits.is_multiple_of(4) || end > u64::from(shape.arena_bytes) {
        errors.push(problem(
            "logits",
            format!("{}..{end}", shape.logits),
            format!("a multiple of 4 within the arena of {}", shape.arena_bytes),
        ));
    }
}

/// Checks that kernels and functions have different identifiers as names.
pub(super) fn check_names(program: &Program, errors: &mut Errors) {
    errors.at(Place::default());
    let functions = program.functions.iter().map(|f| &f.name);
    let mut seen = HashSet::new();
    for name in functions.chain(program.kernels.iter().map(|k| &k.name)) {
        let rule = if !structure::is_identifier(name) {
            "is not an identifier"
        } else if !seen.insert(name) {
            "is taken"
        } else {
            continue;
        };
        errors.push(Problem::Name {
            name: name.clone(),
            rule,
        });
    }
}

/// Checks phases, tables and taps against the kernels, which are sound by themselves.
pub(super) fn check_phases(program: &Program, kernels: &[&KernelInfo], errors: &mut Errors) {
    for (t, table) in program.tables.iter().enumerate() {
        errors.at(Place::item(format!("table {}", TableId::from_index(t))));
        structure::check_text("doc", &table.doc, errors);
    }
    if !check_nesting(program, errors) {
        return;
    }
    let mut check = Check {
        program,
        kernels,
        errors,
        seen: HashSet::new(),
    };
    for (part, phases) in [("body", &program.body), ("head", &program.head)] {
        for (i, phase) in phases.iter().enumerate() {
            check.errors.at(Place::item(format!("{part} phase {i}")));
            structure::check_text("doc", &phase.doc, check.errors);
            if let Some(items) = check.items(phase.items) {
                check.entry(&phase.entry, items);
            }
        }
    }
    // Entries that no phase reaches must be sound as well: backends emit all of them.
    for (t, table) in program.tables.iter().enumerate() {
        check
            .errors
            .at(Place::item(format!("table {}", TableId::from_index(t))));
        for entry in &table.entries {
            check.entry(entry, 0);
        }
    }
    for tap in &program.taps {
        check.errors.at(Place::item(format!("tap {:?}", tap.site)));
        check.tap(tap);
    }
    for half in &program.halves {
        check
            .errors
            .at(Place::item(format!("half {:?}", half.site)));
        check.half(half);
    }
}

/// Checks that tables lead only to tables before them, a few levels deep: calls end, and recursion over them does.
fn check_nesting(program: &Program, errors: &mut Errors) -> bool {
    let mut levels: Vec<usize> = Vec::new();
    let before = errors.total;
    for (t, table) in program.tables.iter().enumerate() {
        errors.at(Place::item(format!("table {}", TableId::from_index(t))));
        let mut level = 1;
        for inner in table
            .entries
            .iter()
            .flat_map(|e| table_arguments(program, e))
        {
            match levels.get(inner as usize) {
                Some(below) => level = level.max(below + 1),
                None => errors.push(problem(
                    "table of an entry",
                    TableId(inner),
                    format!("a table before {}", TableId::from_index(t)),
                )),
            }
        }
        if level > MAX_CALL_DEPTH {
            errors.push(problem(
                "levels of calls",
                level,
                format!("at most {MAX_CALL_DEPTH}"),
            ));
        }
        levels.push(level);
    }
    errors.total == before
}

/// The tables that an entry's kernel is given.
fn table_arguments(program: &Program, entry: &TableEntry) -> Vec<u32> {
    let params = program
        .kernels
        .get(entry.kernel.index())
        .map_or(&[][..], |k| &k.params);
    params
        .iter()
        .filter(|p| p.takes_argument())
        .zip(&entry.args)
        .filter(|(p, _)| matches!(p, Param::Table { .. }))
        .map(|(_, arg)| *arg)
        .collect()
}

struct Check<'a> {
    program: &'a Program,
    kernels: &'a [&'a KernelInfo],
    errors: &'a mut Errors,
    /// Entries that were checked, with the items they are asked for.
    seen: HashSet<(KernelId, &'a [u32], i64)>,
}

impl<'a> Check<'a> {
    /// The number of items of a phase, at most.
    fn items(&mut self, items: Items) -> Option<i64> {
        let shape = &self.program.shape;
        match items {
            Items::Fixed(n) => Some(n.into()),
            Items::PerRow(n) => i64::from(n).checked_mul(shape.max_rows.into()),
            Items::PerOutput(n) => i64::from(n).checked_mul(shape.max_outputs.into()),
            Items::Loaded { offset, max } => {
                self.in_arena("item count", offset, 4, 4);
                Some(max.into())
            }
        }
    }

    fn entry(&mut self, entry: &'a TableEntry, items: i64) {
        if !self.seen.insert((entry.kernel, &entry.args, items)) {
            return;
        }
        let Some(kernel) = self.program.kernels.get(entry.kernel.index()) else {
            let known = self.program.kernels.len();
            self.errors
                .push(problem("kernel", entry.kernel, format!("one of {known}")));
            return;
        };
        if items > i64::from(kernel.items) {
            self.errors.push(problem(
                format!("number of items of {}", kernel.name),
                items,
                format!("at most {}", kernel.items),
            ));
        }
        let params = kernel.params.iter().filter(|p| p.takes_argument());
        if params.clone().count() != entry.args.len() {
            self.errors.push(problem(
                format!("number of arguments of {}", kernel.name),
                entry.args.len(),
                params.count(),
            ));
            return;
        }
        let mut args = entry.args.iter();
        for (i, param) in kernel.params.iter().enumerate() {
            let arg = if param.takes_argument() {
                args.next().copied().unwrap_or(0)
            } else {
                0
            };
            let what = format!("argument {} of {}", param.name(), kernel.name);
            self.arg(&what, param, arg);
            if let Param::Table { len, .. } = param {
                self.table(&what, entry, i, arg, *len);
            }
        }
    }

    fn arg(&mut self, what: &str, param: &Param, arg: u32) {
        match param {
            Param::Scalar { max, .. } if arg > *max => {
                self.errors
                    .push(problem(what, arg, format!("at most {max}")));
            }
            Param::Region {
                space, elem, len, ..
            } => self.region(what, *space, elem.bytes().into(), *len, arg),
            _ => {}
        }
    }

    /// Checks that a region fits its buffer, in bytes.
    fn region(&mut self, what: &str, space: Space, elem: i64, len: Extent, arg: u32) {
        let shape = &self.program.shape;
        let offset = i64::from(arg) * ARG_UNIT as i64;
        let (end, size) = match space {
            Space::Weights => (
                offset.saturating_add(elem * len.fixed),
                i64::try_from(shape.weight_bytes).unwrap_or(i64::MAX),
            ),
            Space::Arena => (
                offset.saturating_add(elem * len.fixed),
                shape.arena_bytes.into(),
            ),
            Space::Kv => return self.kv_region(what, elem, len, arg),
            Space::Rows => (len.fixed, 4 * i64::from(shape.max_rows)),
            Space::Outputs => (len.fixed, shape.max_outputs.into()),
            Space::Local => return,
        };
        if end > size {
            self.errors.push(problem(
                what,
                format!("{} ending at {end}", space.name()),
                format!("an end of at most {size}"),
            ));
        }
    }

    fn kv_region(&mut self, what: &str, elem: i64, len: Extent, arg: u32) {
        if len.per_context == 0 {
            return self.ring(what, elem * len.fixed, arg);
        }
        let size = Extent::per_context(self.program.shape.kv_bytes_per_position.into());
        let end = Extent {
            per_context: elem * len.per_context + i64::from(arg),
            fixed: elem * len.fixed,
        };
        // Both are linear in the context, so the ends of its interval decide.
        let fits = [1, i64::from(MAX_CONTEXT)]
            .iter()
            .all(|&c| at(end, c) <= at(size, c));
        if !fits {
            self.errors.push(problem(
                what,
                format!("kv ending at {end}"),
                format!("an end of at most {size}"),
            ));
        }
    }

    /// Checks that a region which does not grow with the context lies in a slot, before its pointer.
    fn ring(&mut self, what: &str, bytes: i64, arg: u32) {
        let before = i64::from(arg) * ARG_UNIT as i64;
        let ring_bytes = i64::from(self.program.shape.ring_bytes);
        if before > ring_bytes || bytes > before {
            self.errors.push(problem(
                what,
                format!("{bytes} bytes, {before} before a slot's pointer"),
                format!("no more than those, and at most {ring_bytes} before it"),
            ));
        }
    }

    fn table(&mut self, what: &str, caller: &TableEntry, param: usize, arg: u32, len: u32) {
        let Some(table) = self.program.tables.get(arg as usize) else {
            let known = self.program.tables.len();
            self.errors.push(problem(
                what,
                TableId(arg),
                format!("one of {known} tables"),
            ));
            return;
        };
        if table.entries.len() < len as usize {
            self.errors.push(problem(
                format!("{what}: entries of {}", TableId(arg)),
                table.entries.len(),
                format!("at least {len}"),
            ));
        }
        let calls = &self.kernels[caller.kernel.index()].calls;
        let items = calls
            .iter()
            .filter(|call| call.table.index() == param)
            .map(|call| call.items)
            .max();
        let Some(items) = items else { return };
        for entry in table.entries.iter().take(len as usize) {
            self.entry(entry, items);
        }
    }

    fn tap(&mut self, tap: &Tap) {
        let rows = u64::from(self.program.shape.max_rows);
        if tap.after as usize >= self.program.body.len() {
            let phases = self.program.body.len();
            self.errors
                .push(problem("phase", tap.after, format!("one of {phases}")));
        }
        let (modules, top_k) = (u64::from(tap.modules), u64::from(tap.top_k));
        self.in_arena("p", tap.p, 4 * rows * modules, 4);
        self.in_arena("fired", tap.fired, 4 * rows * top_k, 4);
        self.in_arena("gates", tap.gates, 4 * rows * top_k, 4);
        self.in_arena("domain", tap.domain, 4 * rows, 4);
        if let Some(cluster) = tap.cluster {
            self.in_arena("cluster", cluster, 4 * rows, 4);
        }
    }

    fn half(&mut self, half: &Half) {
        let shape = &self.program.shape;
        if !half.to_runtime().fits(shape) {
            let Half {
                before,
                heads,
                width,
                ring,
                ..
            } = half;
            self.errors.push(problem(
                "keys or values",
                format!("{heads} heads of {width}, ring {ring}, before {before}"),
                format!(
                    "halves within {} bytes per position, or {} of rings",
                    shape.kv_bytes_per_position, shape.ring_bytes
                ),
            ));
        }
    }

    fn in_arena(&mut self, what: &str, offset: u32, bytes: u64, align: u32) {
        let size = u64::from(self.program.shape.arena_bytes);
        let end = u64::from(offset).saturating_add(bytes);
        if end > size || !offset.is_multiple_of(align) {
            self.errors.push(problem(
                what,
                format!("{offset}..{end} of the arena"),
                format!("a multiple of {align} with an end of at most {size}"),
            ));
        }
    }
}
