//! exp, sin, cos, erf, tanh and the activations made of them, as IR functions over 16 lanes.
//!
//! Polynomials, not libm, so that every execution computes the same bits. Errors are within a few ulp on the ranges
//! that a model uses; each docstring says how exactly.

use crate::choices::{Activation, CLAMPED_FACTOR, CLAMPED_LIMIT};
use crate::ir::build::{FunctionBuilder, FunctionRef, Val};
use crate::ir::{FuncId, Function, Kernel, Op, Ty, ValueDef};

/// A function that kernels call. Kernels are written with the place in [`Math::ALL`] for a function's number; [`link`] gives
/// those that are called their numbers in a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Math {
    /// `e^x`.
    Exp,
    /// `sin x`.
    Sin,
    /// `cos x`.
    Cos,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// `x sigmoid(x)`.
    Silu,
    /// By the error function.
    Gelu,
    /// GELU in its approximation by tanh.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// The hyperbolic tangent.
    Tanh,
    /// SiLU of another slope, of what is below a limit.
    ClampedSilu,
}

impl Math {
    /// Every function; each calls only those before it.
    pub const ALL: [Self; 10] = [
        Self::Exp,
        Self::Sin,
        Self::Cos,
        Self::Sigmoid,
        Self::Silu,
        Self::Gelu,
        Self::GeluTanh,
        Self::Relu,
        Self::Tanh,
        Self::ClampedSilu,
    ];

    /// The function of an activation.
    #[must_use]
    pub const fn of(act: Activation) -> Self {
        match act {
            Activation::Silu => Self::Silu,
            Activation::Gelu => Self::Gelu,
            Activation::GeluTanh => Self::GeluTanh,
            Activation::Relu => Self::Relu,
            Activation::Tanh => Self::Tanh,
            Activation::ClampedSilu => Self::ClampedSilu,
        }
    }

    /// The function in IR: its values and what they give.
    #[must_use]
    pub fn function(self) -> Function {
        match self {
            Self::Exp => exp(),
            Self::Sin => sine("sin", 0),
            Self::Cos => sine("cos", 1),
            Self::Sigmoid => sigmoid(Self::Exp.reference()),
            Self::Silu => silu(Self::Sigmoid.reference()),
            Self::Gelu => gelu(Self::Exp.reference()),
            Self::GeluTanh => gelu_tanh(Self::Exp.reference()),
            Self::Relu => relu(),
            Self::Tanh => tanh(Self::Exp.reference()),
            Self::ClampedSilu => clamped_silu(Self::Sigmoid.reference()),
        }
    }

    /// What a kernel's builder calls it by.
    #[must_use]
    pub fn reference(self) -> FunctionRef {
        FunctionRef::new(FuncId::from_index(self as usize), &self.function())
    }
}

/// The functions that kernels call, callees first, in the order of their first calls; calls get their numbers among these.
pub fn link(kernels: &mut [Kernel]) -> Vec<Function> {
    let mut linked = FunctionTable::default();
    for kernel in kernels.iter_mut() {
        linked.calls(&mut kernel.values);
    }
    linked.functions
}

/// Functions of a program in the making.
#[derive(Default)]
struct FunctionTable {
    functions: Vec<Function>,
    /// By place in [`Math::ALL`].
    numbers: [Option<FuncId>; Math::ALL.len()],
}

impl FunctionTable {
    fn calls(&mut self, values: &mut [ValueDef]) {
        for value in values {
            if let Op::Call(function, _) = &mut value.op {
                *function = self.number(function.index());
            }
        }
    }

    fn number(&mut self, place: usize) -> FuncId {
        if let Some(known) = self.numbers[place] {
            return known;
        }
        let mut function = Math::ALL[place].function();
        self.calls(&mut function.values);
        let id = FuncId::from_index(self.functions.len());
        self.functions.push(function);
        self.numbers[place] = Some(id);
        id
    }
}

/// `((c0 x + c1) x + c2) …` by fused steps, highest power first.
fn horner<'k>(f: &'k FunctionBuilder, x: Val<'k>, coefficients: &[f32]) -> Val<'k> {
    let rest = coefficients[1..].iter();
    rest.fold(f.splat(coefficients[0]), |acc, &c| acc.mul_add(x, c))
}

/// Below, the result is 0: e^-87 is the last normal power.
const EXP_LOW: f32 = -87.0;
/// Above, the result stays at e^88.
const EXP_HIGH: f32 = 88.0;

/// Cody-Waite reduction by ln 2 in two parts, then the Taylor polynomial of degree 6 on |r| <= ln2/2 (error 2e-8).
fn exp() -> Function {
    let doc = "e^x within 2 ulp; 0 below -87, e^88 above 88";
    FunctionBuilder::build("exp", doc, |f| {
        let x = f.param("x", Ty::F32x16);
        let clamped = x.max(EXP_LOW).min(EXP_HIGH);
        let n = (clamped * std::f32::consts::LOG2_E).to_int();
        let nf = n.to_float();
        let r = nf.mul_add(-0.693_359_4, clamped);
        let r = nf.mul_add(2.121_944_4e-4, r);
        let taylor = [
            1.0 / 720.0,
            1.0 / 120.0,
            1.0 / 24.0,
            1.0 / 6.0,
            0.5,
            1.0,
            1.0,
        ];
        let p = horner(f, r, &taylor);
        let power = ((n + 127) << 23).bits(Ty::F32x16);
        let value = p * power;
        x.lt(EXP_LOW).select(f.splat(0.0), value)
    })
}

/// Reduction by pi/2 in three parts with fused steps (exact enough for |x| < 2^17), then the two kernels' polynomials
/// on |r| <= pi/4. `quadrant` 0 gives sin, 1 gives cos.
fn sine(name: &str, quadrant: i32) -> Function {
    FunctionBuilder::build(name, "within 2e-7 for |x| < 131072", |f| {
        let x = f.param("x", Ty::F32x16);
        let n = (x * std::f32::consts::FRAC_2_PI).to_int();
        let nf = n.to_float();
        let parts = [-1.570_796_4_f32, 4.371_139e-8, 1.715_124_5e-15];
        let r = parts.into_iter().fold(x, |r, part| nf.mul_add(part, r));
        let r2 = r * r;
        let s = horner(
            f,
            r2,
            &[2.755_731_4e-6, -1.984_127e-4, 8.333_333e-3, -0.166_666_67],
        );
        let s = s.mul_add(r2 * r, r);
        let c = horner(
            f,
            r2,
            &[
                -2.755_731_4e-7,
                2.480_158_7e-5,
                -1.388_888_9e-3,
                0.041_666_668,
                -0.5,
                1.0,
            ],
        );
        let q = n + f.splat(quadrant);
        let odd = (q & 1).eq(1);
        let upper = (q & 2).eq(2);
        let value = odd.select(c, s);
        upper.select(-value, value)
    })
}

fn sigmoid(exp: FunctionRef) -> Function {
    FunctionBuilder::build("sigmoid", "1 / (1 + e^-x)", |f| {
        sigmoid_of(f.param("x", Ty::F32x16), &exp)
    })
}

fn sigmoid_of<'k>(x: Val<'k>, exp: &FunctionRef) -> Val<'k> {
    1.0 / (1.0 + exp.call(&[-x]))
}

fn silu(sigmoid: FunctionRef) -> Function {
    FunctionBuilder::build("silu", "x sigmoid(x)", |f| {
        let x = f.param("x", Ty::F32x16);
        x * sigmoid.call(&[x])
    })
}

fn clamped_silu(sigmoid: FunctionRef) -> Function {
    let doc = "c sigmoid(1.702 c) of c = min(x, 7)";
    FunctionBuilder::build("clamped_silu", doc, |f| {
        let x = f.param("x", Ty::F32x16).min(CLAMPED_LIMIT);
        x * sigmoid.call(&[x * CLAMPED_FACTOR])
    })
}

fn relu() -> Function {
    FunctionBuilder::build("relu", "max(x, 0)", |f| f.param("x", Ty::F32x16).max(0.0))
}

/// `2 sigmoid(2 x) - 1`.
fn tanh(exp: FunctionRef) -> Function {
    let doc = "tanh x as 2 sigmoid(2x) - 1, absolute error below 3e-7";
    FunctionBuilder::build("tanh", doc, |f| {
        let x = f.param("x", Ty::F32x16);
        sigmoid_of(x * 2.0, &exp) * 2.0 - 1.0
    })
}

/// `0.5 x (1 + tanh u) = x sigmoid(2 u)` with `u = sqrt(2/pi) (x + 0.044715 x^3)`.
fn gelu_tanh(exp: FunctionRef) -> Function {
    let doc = "the tanh form of gelu, as x sigmoid(2u)";
    FunctionBuilder::build("gelu_tanh", doc, |f| {
        let x = f.param("x", Ty::F32x16);
        let u2 = (x * x).mul_add(0.044_715, 1.0) * x * (2.0 * 0.797_884_6);
        x * sigmoid_of(u2, &exp)
    })
}

/// Coefficients of erfc's Chebyshev fit in `t = 1 / (1 + |x|/2)`, constant last: Press et al., *Numerical Recipes*,
/// section 6.2, fractional error 1.2e-7; each as the shortest decimal of its single.
const ERFC: [f32; 10] = [
    0.170_872_77,
    -0.822_152_23,
    1.488_515_9,
    -1.135_204,
    0.278_868_07,
    -0.186_288_06,
    0.096_784_18,
    0.374_091_96,
    1.000_023_7,
    -1.265_512_2,
];

/// `x/2 (1 + erf(x / sqrt 2)) = x/2 erfc(-x / sqrt 2)`, by `erfc(z) = t exp(-z^2 + poly(t))` for z >= 0.
fn gelu(exp: FunctionRef) -> Function {
    let doc = "x/2 (1 + erf(x / sqrt 2)), absolute error below 3e-7 |x|";
    FunctionBuilder::build("gelu", doc, |f| {
        let x = f.param("x", Ty::F32x16);
        let z = (x * std::f32::consts::FRAC_1_SQRT_2).abs();
        let t = 1.0 / z.mul_add(0.5, 1.0);
        let poly = horner(f, t, &ERFC);
        let e = exp.call(&[(-z).mul_add(z, poly)]);
        let erfc = t * e;
        let mirrored = 2.0 - erfc;
        let factor = x.gt(0.0).select(mirrored, erfc);
        x * 0.5 * factor
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_stands_at_its_place_and_calls_only_those_before() {
        for (place, math) in Math::ALL.into_iter().enumerate() {
            assert_eq!(math as usize, place);
            for value in &math.function().values {
                if let Op::Call(callee, _) = value.op {
                    assert!(callee.index() < place, "{math:?}");
                }
            }
        }
    }
}
