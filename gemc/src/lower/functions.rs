//! exp, sin, cos, erf, tanh and the activations made of them, as IR functions over 16 lanes.
//!
//! Polynomials, not libm, so that every execution computes the same bits. Errors are within a few ulp on the ranges
//! that a model uses; each docstring says how exactly.

use crate::graph::Activation;
use crate::kernel::build::{FunctionBuilder, FunctionRef, Ops};
use crate::kernel::{Cmp, FuncId, Function, Ty, ValueId};

/// The functions of a program, each made when first asked for.
#[derive(Debug, Default)]
pub struct Functions {
    list: Vec<Function>,
}

impl Functions {
    /// All functions made so far, callees first.
    #[must_use]
    pub fn into_list(self) -> Vec<Function> {
        self.list
    }

    fn get(&mut self, name: &str, make: impl FnOnce(&mut Self) -> Function) -> FunctionRef {
        let index = self
            .list
            .iter()
            .position(|f| f.name == name)
            .unwrap_or_else(|| {
                let function = make(self);
                debug_assert_eq!(function.name, name);
                self.list.push(function);
                self.list.len() - 1
            });
        FunctionRef::new(FuncId::from_index(index), &self.list[index])
    }

    /// `e^x`.
    pub fn exp(&mut self) -> FunctionRef {
        self.get("exp", |_| exp())
    }

    /// `sin x`.
    pub fn sin(&mut self) -> FunctionRef {
        self.get("sin", |_| sine("sin", 0))
    }

    /// `cos x`.
    pub fn cos(&mut self) -> FunctionRef {
        self.get("cos", |_| sine("cos", 1))
    }

    /// `1 / (1 + e^-x)`.
    pub fn sigmoid(&mut self) -> FunctionRef {
        self.get("sigmoid", |this| {
            let exp = this.exp();
            sigmoid(exp)
        })
    }

    /// The activation, elementwise.
    pub fn activation(&mut self, act: Activation) -> FunctionRef {
        match act {
            Activation::Silu => self.get("silu", |this| {
                let sigmoid = this.sigmoid();
                silu(sigmoid)
            }),
            Activation::Gelu => self.get("gelu", |this| {
                let exp = this.exp();
                gelu(exp)
            }),
            Activation::GeluTanh => self.get("gelu_tanh", |this| {
                let exp = this.exp();
                gelu_tanh(exp)
            }),
            Activation::Relu => self.get("relu", |_| relu()),
        }
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
