//! Where local memory is made zero: at the start of an item or, which means the same and costs less, of the branch that
//! alone uses it.

use super::walk::walk;
use super::{Block, Kernel, Op, Param, ParamId, Space, Stmt};

/// The blocks that local regions belong to.
#[derive(Clone, Debug)]
pub struct Homes<'a>(Vec<(&'a Block, ParamId)>);

impl<'a> Homes<'a> {
    /// Those of a kernel's local regions: the innermost branches of conditions outside loops, each of which an item enters
    /// once at most, else the body.
    #[must_use]
    pub fn of(kernel: &'a Kernel) -> Self {
        let locals = kernel.params.iter().enumerate().filter(|(_, param)| {
            matches!(
                param,
                Param::Region {
                    space: Space::Local,
                    ..
                }
            )
        });
        let home = |(i, _)| {
            let region = ParamId::from_index(i);
            (home(kernel, &kernel.body, region), region)
        };
        Self(locals.map(home).collect())
    }

    /// The regions that begin as zeros where this block of the kernel begins.
    pub fn begin_at(&self, block: &Block) -> Vec<ParamId> {
        let here = (self.0.iter()).filter(|(home, _)| std::ptr::eq(*home, block));
        here.map(|(_, region)| *region).collect()
    }
}

/// The innermost block that holds every access to a region, an item enters once at most, and `block` is or has inside.
fn home<'a>(kernel: &Kernel, block: &'a Block, region: ParamId) -> &'a Block {
    let mut users = block.iter().filter(|stmt| {
        accesses(kernel, stmt, region) || stmt.blocks().any(|inner| uses(kernel, inner, region))
    });
    let only = (users.next(), users.next());
    let (
        Some(Stmt::If {
            then, otherwise, ..
        }),
        None,
    ) = only
    else {
        return block;
    };
    match [then, otherwise].map(|branch| uses(kernel, branch, region)) {
        [true, true] => block,
        [true, false] => home(kernel, then, region),
        _ => home(kernel, otherwise, region),
    }
}

/// Whether anything in a block reads or writes a region.
fn uses(kernel: &Kernel, block: &Block, region: ParamId) -> bool {
    let mut found = false;
    walk(block, &mut |stmt| found |= accesses(kernel, stmt, region));
    found
}

/// Whether a statement itself does.
fn accesses(kernel: &Kernel, stmt: &Stmt, region: ParamId) -> bool {
    match stmt {
        Stmt::Let(v) => matches!(
            kernel.values[v.index()].op,
            Op::Load { region: read, .. } if read == region
        ),
        Stmt::Store {
            region: written, ..
        } => *written == region,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Elem;
    use crate::ir::build::KernelBuilder;

    #[test]
    fn a_region_belongs_to_the_branch_that_alone_uses_it() {
        let kernel = KernelBuilder::build("k", "homes", 1, |k| {
            let [branch, loops, both] =
                ["branch", "loops", "both"].map(|name| k.local(name, Elem::I32, 4));
            let out = k.output("out", Elem::I32, 4);
            let one = k.row_count().gt(1);
            let then = || {
                k.when(k.row_count().gt(2), || branch.store(0, 1));
                both.store(0, 2);
                k.for_n(3, |i| k.when(one, || loops.store(i, i)));
            };
            k.if_(one, then, || both.store(1, 3));
            out.store(0, both.get(0));
        });
        let homes = Homes::of(&kernel);
        let named = |block: &Block| -> Vec<&str> {
            let regions = homes.begin_at(block).into_iter();
            regions.map(|p| kernel.params[p.index()].name()).collect()
        };
        assert_eq!(named(&kernel.body), ["both"]);
        let is_if = |stmt: &&Stmt| matches!(stmt, Stmt::If { .. });
        let Some(Stmt::If {
            then, otherwise, ..
        }) = kernel.body.iter().find(is_if)
        else {
            panic!("the kernel has a condition");
        };
        assert_eq!(named(then), ["loops"]);
        assert!(named(otherwise).is_empty());
        let Some(Stmt::If { then, .. }) = then.iter().find(is_if) else {
            panic!("the branch has a condition");
        };
        assert_eq!(named(then), ["branch"]);
    }
}
