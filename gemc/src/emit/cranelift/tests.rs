//! What instructions are selected, for targets other than this machine's too; that code stands alone and repeats; and
//! what is refused. What the code computes is compared elsewhere, where it runs.

use gemc_kernels::ir::build::{KernelBuilder, Val};
use gemc_kernels::ir::testing::{Bytes, program_of, shape, valid_program};
use gemc_kernels::ir::verify::{Verified, verify};
use gemc_kernels::ir::{Elem, Items, Kernel, Ty};

use super::*;
use crate::target::Target;

const EFFORTS: [Effort; 2] = [Effort::Low, Effort::High];

/// A target with features beyond its file's.
fn isa(target: &str, features: &[&str], effort: Effort) -> Isa {
    let mut target = Target::find(target).unwrap();
    target
        .features
        .extend(features.iter().map(|f| (*f).to_owned()));
    Isa::of_target(&target, effort).unwrap()
}

/// Stores what `make` makes of two vectors of bytes, in a loop as kernels have it.
fn bytes_kernel(make: impl for<'k> Fn(&'k KernelBuilder, Val<'k>, Val<'k>) -> Val<'k>) -> Verified {
    verified(KernelBuilder::build("k", "one operation", 1, |k| {
        let w = k.weights("w", Elem::I8, 8 * 128);
        let y = k.output("y", Elem::I32, 16);
        let sum = k.var("sum", k.splat(0));
        k.for_n(8, |i| {
            let w = w.row(i, 128);
            let p = w.load_in(Ty::I8x64, 0, 0..=15);
            let q = w.load_in(Ty::I8x64, 64, -127..=127);
            let made = make(k, p, q).bits(Ty::I32x16);
            sum.update(|sum| sum + made);
        });
        y.store(k.item(), sum.get());
    }))
}

fn verified(kernel: Kernel) -> Verified {
    let program = program_of(shape(64, 1024, 0), vec![], kernel, &[0, 0], Items::Fixed(1));
    verify(program).unwrap()
}

fn disassembly(verified: &Verified, isa: &Isa) -> String {
    let compiled = compile(verified, isa, true).unwrap();
    let code = compiled.kernels.into_values().next().unwrap();
    code.listing.unwrap().disassembly
}

/// Whether an instruction is there; its name may end in a suffix of the syntax.
fn has(text: &str, mnemonic: &str) -> bool {
    text.split_whitespace().any(|word| word == mnemonic)
}

fn dot4_u() -> Verified {
    bytes_kernel(|k, p, q| k.splat(7).dot4_u(p, q))
}

fn dot4_s() -> Verified {
    bytes_kernel(|k, p, q| k.splat(0).dot4_s(p, q))
}

fn lookup() -> Verified {
    bytes_kernel(|k, p, _| k.i8_lanes(std::array::from_fn(|i| i as i8 + 1)).lookup(p))
}

#[test]
fn dot_products_of_four_are_single_instructions_where_there_are_any() {
    for effort in EFFORTS {
        let cases = [
            ("x86-64-v3", &["avxvnni"][..], dot4_u(), "vpdpbusd", true),
            ("x86-64-v3-vnni", &[], dot4_u(), "vpdpbusd", true),
            ("x86-64-v4-vnni", &[], dot4_u(), "vpdpbusd", true),
            ("x86-64-v3", &[], dot4_u(), "vpdpbusd", false),
            ("aarch64-dotprod", &[], dot4_s(), "sdot", true),
            ("aarch64", &[], dot4_s(), "sdot", false),
            ("aarch64-dotprod", &["i8mm"], dot4_u(), "usdot", true),
            ("aarch64-dotprod", &[], dot4_u(), "usdot", false),
            ("aarch64", &[], dot4_u(), "sdot", false),
        ];
        for (target, features, verified, mnemonic, expected) in cases {
            let text = disassembly(&verified, &isa(target, features, effort));
            assert_eq!(
                has(&text, mnemonic),
                expected,
                "{target} {features:?} {effort:?}: {mnemonic}\n{text}"
            );
        }
    }
}

#[test]
fn products_of_bytes_and_words_are_single_instructions_on_x86() {
    let pairs = bytes_kernel(|_, p, q| p.dot2_u(q));
    let signed = bytes_kernel(|_, p, q| p.dot2_s(q));
    let words = bytes_kernel(|_, p, q| p.bits(Ty::I16x32).dot_words(q.bits(Ty::I16x32)));
    let table = lookup();
    for effort in EFFORTS {
        let isa = isa("x86-64-v3", &[], effort);
        for (verified, mnemonic) in [
            (&pairs, "vpmaddubsw"),
            (&signed, "vpmaddubsw"),
            (&words, "vpmaddwd"),
            (&table, "vpshufb"),
            (&dot4_u(), "vpmaddwd"),
            (&dot4_s(), "vpmaddwd"),
        ] {
            let text = disassembly(verified, &isa);
            assert!(has(&text, mnemonic), "{effort:?}: {mnemonic}\n{text}");
        }
        // `swizzle` would add this to every lookup.
        assert!(!has(&disassembly(&table, &isa), "vpaddusb"));
    }
}

#[test]
fn lookups_and_signed_products_are_single_instructions_on_arm() {
    let table = lookup();
    for effort in EFFORTS {
        let isa = isa("aarch64", &[], effort);
        for (verified, mnemonic) in [(&table, "tbl"), (&dot4_s(), "smull"), (&dot4_s(), "saddlp")] {
            let text = disassembly(verified, &isa);
            assert!(has(&text, mnemonic), "{effort:?}: {mnemonic}\n{text}");
        }
    }
}

/// Floats of one lane each way, and their minimum, maximum and fused product.
#[test]
fn float_operations_are_single_instructions() {
    let verified = verified(KernelBuilder::build("k", "floats", 1, |k| {
        let x = k.weights("x", Elem::F32, 64);
        let y = k.output("y", Elem::F32, 16);
        let [p, q, r] = [0, 16, 32].map(|at| x.lanes(at));
        let (low, high) = (p.min(q), q.max(r));
        y.store(0, low.mul_add(high, p));
    }));
    for (target, mnemonics) in [
        ("x86-64-v3", &["vminps", "vmaxps"][..]),
        ("aarch64", &["fmla"]),
    ] {
        let text = disassembly(&verified, &isa(target, &[], Effort::Low));
        for mnemonic in mnemonics {
            assert!(has(&text, mnemonic), "{mnemonic}\n{text}");
        }
    }
    let text = disassembly(&verified, &isa("x86-64-v3", &[], Effort::Low));
    assert!(text.contains("vfmadd"), "{text}");
}

#[test]
fn a_target_without_fused_products_is_refused() {
    let mut target = Target::find("x86-64-v3").unwrap();
    target.level = gem_runtime::simd::Level::Portable;
    target.name = "old".to_owned();
    let error = Isa::of_target(&target, Effort::Low)
        .unwrap_err()
        .to_string();
    assert!(error.contains("old") && error.contains("FMA"), "{error}");
}

#[test]
fn a_target_without_a_backend_is_refused() {
    let mut target = Target::find("portable").unwrap();
    for triple in [
        "riscv64gc-unknown-linux-gnu",
        "not a triple",
        "thumbv7em-none-eabihf",
    ] {
        target.triple = triple.to_owned();
        let error = Isa::of_target(&target, Effort::Low)
            .unwrap_err()
            .to_string();
        assert!(error.contains("aarch64"), "{error}");
    }
}

#[test]
fn the_same_program_gives_the_same_code() {
    let verified = verify(valid_program(&Bytes::random(5, 600))).unwrap();
    let isa = isa("aarch64", &[], Effort::Low);
    let [first, second] = [(); 2].map(|()| compile(&verified, &isa, true).unwrap());
    assert!(first == second && first.bytes() > 0);
    for code in first.kernels.values() {
        let listing = code.listing.as_ref().unwrap();
        assert!(listing.clif.starts_with("function") && !listing.disassembly.is_empty());
    }
}

#[cfg(feature = "object")]
#[test]
fn objects_need_no_symbol() {
    let verified = verify(valid_program(&Bytes::random(6, 600))).unwrap();
    for target in [
        "x86-64-v3",
        "x86-64-v3-vnni",
        "x86-64-v4-vnni",
        "aarch64",
        "aarch64-dotprod",
    ] {
        let isa = isa(target, &[], Effort::Low);
        let compiled = compile(&verified, &isa, false).unwrap();
        let bytes = object::kernels(&compiled, &isa).unwrap();
        assert_eq!(bytes, object::kernels(&compiled, &isa).unwrap());
        let symbols = elf_symbols(&bytes);
        let exported = |name: &String| name.starts_with(object::KERNEL_PREFIX);
        let defined: Vec<_> = symbols
            .iter()
            .filter(|(name, defined)| *defined && exported(name))
            .collect();
        assert_eq!(
            defined.len(),
            compiled.kernels.len(),
            "{target}: {symbols:?}"
        );
        let undefined: Vec<_> = symbols.iter().filter(|(_, defined)| !defined).collect();
        assert!(undefined.is_empty(), "{target}: {undefined:?}");
    }
}

/// Named symbols of a 64-bit little-endian ELF file, and whether it defines them.
#[cfg(feature = "object")]
fn elf_symbols(file: &[u8]) -> Vec<(String, bool)> {
    let number = |at: usize, bytes: usize| {
        let bytes = file[at..at + bytes].iter().rev();
        bytes.fold(0usize, |n, b| n << 8 | usize::from(*b))
    };
    let (table, size, count) = (number(0x28, 8), number(0x3a, 2), number(0x3c, 2));
    let section = |i: usize| table + i * size;
    let symbols = (0..count)
        .map(section)
        .find(|&s| number(s + 4, 4) == 2)
        .unwrap();
    let names = number(section(number(symbols + 0x28, 4)) + 0x18, 8);
    let (start, bytes) = (number(symbols + 0x18, 8), number(symbols + 0x20, 8));
    let symbol = |at: usize| {
        let name = &file[names + number(at, 4)..];
        let name = name.split(|b| *b == 0).next().unwrap();
        (
            String::from_utf8_lossy(name).into_owned(),
            number(at + 6, 2) != 0,
        )
    };
    let all = (start..start + bytes).step_by(24).map(symbol);
    all.filter(|(name, _)| !name.is_empty()).collect()
}
