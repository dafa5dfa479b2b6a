//! Builders: formulas in, a [`Kernel`](super::Kernel) or [`Function`](super::Function) out whose every value is typed,
//! defined once and in scope.
//!
//! Misuse (an operand of the wrong type, a value that is out of scope) is a bug of the lowering, not of its input, so it
//! panics where it happens, with the rule that was broken. Arithmetic on literals is folded, and a pure operation that
//! was already computed in an enclosing block is reused.
//!
//! ```
//! use gemc_kernels::ir::build::KernelBuilder;
//! use gemc_kernels::ir::{Elem, Extent, Space};
//!
//! let kernel = KernelBuilder::build("double_64", "y = 2 x, 16 lanes an item", 4, |k| {
//!     let x = k.region("x", Space::Arena, Elem::F32, Extent::fixed(64), false);
//!     let y = k.region("y", Space::Arena, Elem::F32, Extent::fixed(64), true);
//!     let at = k.item() * 16;
//!     y.store(at, x.lanes(at) * 2.0);
//! });
//! assert_eq!(kernel.params.len(), 2);
//! ```

mod core;
mod function;
mod kernel;
mod memory;
mod operand;
#[cfg(test)]
mod tests;
mod val;
mod values;

pub use function::{FunctionBuilder, FunctionRef};
pub use kernel::KernelBuilder;
pub use memory::{Array, Region, Var};
pub use operand::Operand;
pub use val::Val;
pub(super) use values::Values;
