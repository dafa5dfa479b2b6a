//! Products of bytes and words, in the forms that Cranelift selects single instructions from.
//!
//! Cranelift has no operation for a dot product: it recognises one exact tree of widening, multiplication and pairwise
//! addition (`vpdpbusd`, `sdot`, `usdot`, `pmaddwd`). A tree that differs is computed as written, which is right but
//! slow; tests read the disassembly.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::emitter::Emitter;
use super::isa::Features;
use super::segments::Segments;

/// How bytes are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Signed,
    Unsigned,
}

impl Emitter<'_> {
    /// `acc` plus 4 products of unsigned and signed bytes.
    pub(super) fn dot4_u(&mut self, acc: Value, unsigned: Value, signed: Value) -> Value {
        match self.features {
            Features::X86 { vnni: true } => {
                self.tree(acc, (signed, Sign::Signed), (unsigned, Sign::Unsigned))
            }
            Features::X86 { vnni: false } => {
                self.even_and_odd(acc, (unsigned, Sign::Unsigned), (signed, Sign::Signed))
            }
            Features::Arm { .. } => {
                self.tree(acc, (unsigned, Sign::Unsigned), (signed, Sign::Signed))
            }
        }
    }

    /// `acc` plus 4 products of signed bytes.
    pub(super) fn dot4_s(&mut self, acc: Value, a: Value, b: Value) -> Value {
        let (a, b) = ((a, Sign::Signed), (b, Sign::Signed));
        match self.features {
            Features::X86 { .. } => self.even_and_odd(acc, a, b),
            Features::Arm { .. } => self.tree(acc, a, b),
        }
    }

    /// 2 products of unsigned and signed bytes, whose sum fits 16 bits.
    pub(super) fn dot2_u(&mut self, unsigned: Value, signed: Value) -> Value {
        match self.features {
            Features::X86 { .. } => self.ins().x86_pmaddubsw(signed, unsigned),
            Features::Arm { .. } => self.pairs((unsigned, Sign::Unsigned), (signed, Sign::Signed)),
        }
    }

    /// 2 products of signed bytes, neither of them -128.
    pub(super) fn dot2_s(&mut self, a: Value, b: Value) -> Value {
        match self.features {
            // The magnitude of `a` times `b` with the sign of `a`.
            Features::X86 { .. } => {
                let zero = self.bytes(types::I8X16, [0; 16]);
                let negative = self.ins().icmp(IntCC::SignedLessThan, a, zero);
                let flipped = self.ins().bxor(b, negative);
                let signed = self.ins().isub(flipped, negative);
                let magnitude = self.ins().iabs(a);
                self.ins().x86_pmaddubsw(signed, magnitude)
            }
            Features::Arm { .. } => self.pairs((a, Sign::Signed), (b, Sign::Signed)),
        }
    }

    /// 2 products of words.
    pub(super) fn dot_words(&mut self, a: Value, b: Value) -> Value {
        let [al, bl] = [a, b].map(|x| self.ins().swiden_low(x));
        let low = self.ins().imul(al, bl);
        let [ah, bh] = [a, b].map(|x| self.ins().swiden_high(x));
        let high = self.ins().imul(ah, bh);
        self.ins().iadd_pairwise(low, high)
    }

    /// Bytes `4 n ..` in every lane.
    pub(super) fn spread(&mut self, bytes: Value, n: u32) -> Value {
        let words = self.cast(types::I32X4, bytes);
        let word = self.ins().extractlane(words, n as u8);
        let all = self.ins().splat(types::I32X4, word);
        self.cast(types::I8X16, all)
    }

    /// Products of signed bytes by bytes `4 n ..` of others, in 16 bits.
    pub(super) fn products_by(&mut self, a: Segments, b: Value, n: u32) -> Segments {
        let all = (self.spread(b, n), Sign::Signed);
        let [first, second] = [0, 1].map(|i| self.products((a.at(i), Sign::Signed), all));
        Segments::of([first[0], first[1], second[0], second[1]])
    }

    /// `acc` plus sums of two neighbouring words.
    pub(super) fn add_pairs(&mut self, acc: Value, words: Value) -> Value {
        let low = self.ins().swiden_low(words);
        let high = self.ins().swiden_high(words);
        let pairs = self.ins().iadd_pairwise(low, high);
        self.ins().iadd(acc, pairs)
    }

    /// The tree of a dot product of four.
    fn tree(&mut self, acc: Value, a: (Value, Sign), b: (Value, Sign)) -> Value {
        let pairs = self.products(a, b).map(|products| {
            let low = self.ins().swiden_low(products);
            let high = self.ins().swiden_high(products);
            self.ins().iadd_pairwise(low, high)
        });
        let dot = self.ins().iadd_pairwise(pairs[0], pairs[1]);
        self.ins().iadd(dot, acc)
    }

    /// Sums of neighbouring products, in 16 bits.
    fn pairs(&mut self, a: (Value, Sign), b: (Value, Sign)) -> Value {
        let [low, high] = self.products(a, b);
        self.ins().iadd_pairwise(low, high)
    }

    /// Products of the lower and upper bytes, in 16 bits.
    fn products(&mut self, a: (Value, Sign), b: (Value, Sign)) -> [Value; 2] {
        let [al, bl] = [a, b].map(|(x, sign)| match sign {
            Sign::Signed => self.ins().swiden_low(x),
            Sign::Unsigned => self.ins().uwiden_low(x),
        });
        let low = self.ins().imul(al, bl);
        let [ah, bh] = [a, b].map(|(x, sign)| match sign {
            Sign::Signed => self.ins().swiden_high(x),
            Sign::Unsigned => self.ins().uwiden_high(x),
        });
        [low, self.ins().imul(ah, bh)]
    }

    /// Even and odd bytes as words: sums of their products have 32 bits and cannot saturate.
    fn even_and_odd(&mut self, acc: Value, a: (Value, Sign), b: (Value, Sign)) -> Value {
        let ([a_even, a_odd], [b_even, b_odd]) = (self.as_words(a), self.as_words(b));
        let even = self.dot_words(a_even, b_even);
        let odd = self.dot_words(a_odd, b_odd);
        let dot = self.ins().iadd(even, odd);
        self.ins().iadd(acc, dot)
    }

    /// Even and odd bytes, extended to words.
    fn as_words(&mut self, (bytes, sign): (Value, Sign)) -> [Value; 2] {
        let words = self.cast(types::I16X8, bytes);
        let eight = self.int(8);
        match sign {
            Sign::Signed => {
                let shifted = self.ins().ishl(words, eight);
                [shifted, words].map(|x| self.ins().sshr(x, eight))
            }
            Sign::Unsigned => {
                let low = self.halves(0xff);
                [self.ins().band(words, low), self.ins().ushr(words, eight)]
            }
        }
    }
}
