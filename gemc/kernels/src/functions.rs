//! exp, sin, cos, erf, tanh and the activations made of them, as IR functions over 16 lanes.
//!
//! Polynomials, not libm, so that every execution computes the same bits. Errors are within a few ulp on the ranges
//! that a model uses; each docstring says how exactly.

use crate::choices::Activation;
use crate::ir::build::{FunctionBuilder, FunctionRef, Ops};
use crate::ir::{Cmp, FuncId, Function, Kernel, Op, Ty, ValueDef, ValueId};

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
    /// By tanh.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
}

impl Math {
    /// Every function; each calls only those before it.
    pub const ALL: [Self; 8] = [
        Self::Exp,
        Self::Sin,
        Self::Cos,
        Self::Sigmoid,
        Self::Silu,
        Self::Gelu,
        Self::GeluTanh,
        Self::Relu,
    ];

    /// The function of an activation.
    #[must_use]
    pub const fn of(act: Activation) -> Self {
        match act {
            Activation::Silu => Self::Silu,
            Activation::Gelu => Self::Gelu,
            Activation::GeluTanh => Self::GeluTanh,
            Activation::Relu => Self::Relu,
        }
    }

    /// Its definition.
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
        }
    }

    /// For calls.
    #[must_use]
    pub fn reference(self) -> FunctionRef {
        FunctionRef::new(FuncId::from_index(self as usize), &self.function())
    }
}

/// The functions that kernels call, callees first, in the order of their first calls; calls get their numbers among these.
pub fn link(kernels: &mut [Kernel]) -> Vec<Function> {
    let mut linked = Linked::default();
    for kernel in kernels.iter_mut() {
        linked.calls(&mut kernel.values);
    }
    linked.functions
}

/// Functions of a program in the making.
#[derive(Default)]
struct Linked {
    functions: Vec<Function>,
    /// By place in [`Math::ALL`].
    numbers: [Option<FuncId>; Math::ALL.len()],
}

impl Linked {
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

/// A float constant in every lane.
fn lanes(b: &mut FunctionBuilder, value: f32) -> ValueId {
    let scalar = b.f32(value);
    b.splat(scalar)
}

/// `((c0 x + c1) x + c2) …` by fused steps, highest power first.
fn horner(b: &mut FunctionBuilder, x: ValueId, coefficients: &[f32]) -> ValueId {
    let mut acc = lanes(b, coefficients[0]);
    for &c in &coefficients[1..] {
        let c = lanes(b, c);
        acc = b.fma(acc, x, c);
    }
    acc
}

/// Below, the result is 0: e^-87 is the last normal power.
const EXP_LOW: f32 = -87.0;
/// Above, the result stays at e^88.
const EXP_HIGH: f32 = 88.0;

/// Cody-Waite reduction by ln 2 in two parts, then the Taylor polynomial of degree 6 on |r| <= ln2/2 (error 2e-8).
fn exp() -> Function {
    let mut b = FunctionBuilder::new("exp", "e^x within 2 ulp; 0 below -87, e^88 above 88");
    let x = b.param("x", Ty::F32x16);
    let low = lanes(&mut b, EXP_LOW);
    let high = lanes(&mut b, EXP_HIGH);
    let clamped = b.max(x, low);
    let clamped = b.min(clamped, high);
    let log2e = lanes(&mut b, std::f32::consts::LOG2_E);
    let scaled = b.mul(clamped, log2e);
    let n = b.to_int(scaled);
    let nf = b.to_float(n);
    let ln2_high = lanes(&mut b, -0.693_359_4);
    let ln2_low = lanes(&mut b, 2.121_944_4e-4);
    let r = b.fma(nf, ln2_high, clamped);
    let r = b.fma(nf, ln2_low, r);
    let p = horner(
        &mut b,
        r,
        &[
            1.0 / 720.0,
            1.0 / 120.0,
            1.0 / 24.0,
            1.0 / 6.0,
            0.5,
            1.0,
            1.0,
        ],
    );
    let bias = b.i32(127);
    let bias = b.splat(bias);
    let exponent = b.add(n, bias);
    let bits = b.shl(exponent, 23);
    let power = b.bits(Ty::F32x16, bits);
    let value = b.mul(p, power);
    let zero = lanes(&mut b, 0.0);
    let tiny = b.cmp(Cmp::Lt, x, low);
    let result = b.select(tiny, zero, value);
    b.finish(result)
}

/// Reduction by pi/2 in three parts with fused steps (exact enough for |x| < 2^17), then the two kernels' polynomials
/// on |r| <= pi/4. `quadrant` 0 gives sin, 1 gives cos.
fn sine(name: &str, quadrant: i32) -> Function {
    let mut b = FunctionBuilder::new(name, "within 2e-7 for |x| < 131072");
    let x = b.param("x", Ty::F32x16);
    let inverse = lanes(&mut b, std::f32::consts::FRAC_2_PI);
    let scaled = b.mul(x, inverse);
    let n = b.to_int(scaled);
    let nf = b.to_float(n);
    let mut r = x;
    for part in [-1.570_796_4, 4.371_139e-8, 1.715_124_5e-15] {
        let part = lanes(&mut b, part);
        r = b.fma(nf, part, r);
    }
    let r2 = b.mul(r, r);
    let s = horner(
        &mut b,
        r2,
        &[2.755_731_4e-6, -1.984_127e-4, 8.333_333e-3, -0.166_666_67],
    );
    let r3 = b.mul(r2, r);
    let s = b.fma(s, r3, r);
    let c = horner(
        &mut b,
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
    let offset = b.i32(quadrant);
    let offset = b.splat(offset);
    let q = b.add(n, offset);
    let one = b.i32(1);
    let one = b.splat(one);
    let two = b.i32(2);
    let two = b.splat(two);
    let odd = b.and(q, one);
    let odd = b.cmp(Cmp::Eq, odd, one);
    let upper = b.and(q, two);
    let upper = b.cmp(Cmp::Eq, upper, two);
    let value = b.select(odd, c, s);
    let negated = b.neg(value);
    let result = b.select(upper, negated, value);
    b.finish(result)
}

fn sigmoid(exp: FunctionRef) -> Function {
    let mut b = FunctionBuilder::new("sigmoid", "1 / (1 + e^-x)");
    let x = b.param("x", Ty::F32x16);
    let result = sigmoid_of(&mut b, x, exp);
    b.finish(result)
}

fn sigmoid_of(b: &mut FunctionBuilder, x: ValueId, exp: FunctionRef) -> ValueId {
    let negated = b.neg(x);
    let e = b.call_fn(&exp, &[negated]);
    let one = lanes(b, 1.0);
    let denominator = b.add(one, e);
    b.div(one, denominator)
}

fn silu(sigmoid: FunctionRef) -> Function {
    let mut b = FunctionBuilder::new("silu", "x sigmoid(x)");
    let x = b.param("x", Ty::F32x16);
    let s = b.call_fn(&sigmoid, &[x]);
    let result = b.mul(x, s);
    b.finish(result)
}

fn relu() -> Function {
    let mut b = FunctionBuilder::new("relu", "max(x, 0)");
    let x = b.param("x", Ty::F32x16);
    let zero = lanes(&mut b, 0.0);
    let result = b.max(x, zero);
    b.finish(result)
}

/// `0.5 x (1 + tanh u) = x sigmoid(2 u)` with `u = sqrt(2/pi) (x + 0.044715 x^3)`.
fn gelu_tanh(exp: FunctionRef) -> Function {
    let mut b = FunctionBuilder::new("gelu_tanh", "the tanh form of gelu, as x sigmoid(2u)");
    let x = b.param("x", Ty::F32x16);
    let x2 = b.mul(x, x);
    let cubic = lanes(&mut b, 0.044_715);
    let one = lanes(&mut b, 1.0);
    let inner = b.fma(x2, cubic, one);
    let inner = b.mul(inner, x);
    let factor = lanes(&mut b, 2.0 * 0.797_884_6);
    let u2 = b.mul(inner, factor);
    let s = sigmoid_of(&mut b, u2, exp);
    let result = b.mul(x, s);
    b.finish(result)
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
    let mut b = FunctionBuilder::new(
        "gelu",
        "x/2 (1 + erf(x / sqrt 2)), absolute error below 3e-7 |x|",
    );
    let x = b.param("x", Ty::F32x16);
    let root = lanes(&mut b, std::f32::consts::FRAC_1_SQRT_2);
    let scaled = b.mul(x, root);
    let z = b.abs(scaled);
    let one = lanes(&mut b, 1.0);
    let half = lanes(&mut b, 0.5);
    let denominator = b.fma(z, half, one);
    let t = b.div(one, denominator);
    let poly = horner(&mut b, t, &ERFC);
    let negated = b.neg(z);
    let exponent = b.fma(negated, z, poly);
    let e = b.call_fn(&exp, &[exponent]);
    let erfc = b.mul(t, e);
    let two = lanes(&mut b, 2.0);
    let mirrored = b.sub(two, erfc);
    let zero = lanes(&mut b, 0.0);
    let positive = b.cmp(Cmp::Gt, x, zero);
    let factor = b.select(positive, mirrored, erfc);
    let half_x = b.mul(x, half);
    let result = b.mul(half_x, factor);
    b.finish(result)
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
