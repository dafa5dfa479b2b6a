//! Random programs: any shape of IR for the parser and verifier, and valid ones for comparing executions.

mod kernels;
mod values;

use super::{Bytes, shape};
use crate::ir::build::{FunctionBuilder, FunctionRef};
use crate::ir::{
    Block, Cmp, Count, Elem, Extent, FuncId, Function, Half, Items, Kernel, KernelId, Local, Op,
    Param, ParamId, Phase, Program, Space, Stmt, Table, TableEntry, Tap, Ty, ValueDef, ValueId,
    VarId,
};
use kernels::{IN_WORDS, OUT_WORDS, UNITS, WEIGHT_BYTES};

/// A program without meaning: ids, types and numbers at random, mostly refused by the verifier. Its text must read
/// back as itself, and the verifier must not stumble.
#[must_use]
pub fn any_program(data: &[u8]) -> Program {
    let mut b = Bytes::new(data);
    let mut s = shape(b.word() % 4096, u64::from(b.word()), b.word() % 256);
    s.logits_stride = b.word() % 64;
    (s.ring_bytes, s.rewind) = (b.word() % 256, small_or_any(&mut b, 9));
    Program {
        shape: s,
        functions: repeat(&mut b, 3, any_function),
        kernels: repeat(&mut b, 3, any_kernel),
        tables: repeat(&mut b, 3, |b| Table {
            doc: any_name(b),
            entries: repeat(b, 3, any_entry),
        }),
        body: repeat(&mut b, 3, any_phase),
        head: repeat(&mut b, 2, any_phase),
        taps: repeat(&mut b, 2, any_tap),
        halves: repeat(&mut b, 2, |b| Half {
            site: any_name(b),
            before: b.word() % 64,
            heads: small_or_any(b, 5),
            width: small_or_any(b, 40),
            ring: small_or_any(b, 3),
        }),
    }
}

/// A number below a bound, or now and then one as large as can be written.
fn small_or_any(b: &mut Bytes, bound: u32) -> u32 {
    match b.below(4) {
        0 => b.pick(&[u32::MAX, 1 << 31, 1 << 16]),
        _ => b.word() % bound,
    }
}

fn repeat<T>(b: &mut Bytes, most: usize, mut f: impl FnMut(&mut Bytes) -> T) -> Vec<T> {
    (0..b.below(most + 1)).map(|_| f(b)).collect()
}

/// Values of a kernel without meaning.
const VALUES: usize = 25;

fn any_name(b: &mut Bytes) -> String {
    const NAMES: [&str; 8] = ["x", "in", "v1", "a b", "q\"\\\n", "", "sum_2", "é\u{1}"];
    b.pick(&NAMES).to_owned()
}

fn any_value(b: &mut Bytes) -> ValueId {
    ValueId(b.byte().into())
}

fn any_ty(b: &mut Bytes) -> Ty {
    b.pick(&crate::ir::ALL_TYPES)
}

fn any_items(b: &mut Bytes) -> Items {
    match b.below(4) {
        0 => Items::Fixed(b.word()),
        1 => Items::PerRow(b.word() % 1000),
        2 => Items::PerOutput(b.byte().into()),
        _ => Items::Loaded {
            offset: b.word() % 512,
            max: b.byte().into(),
        },
    }
}

fn any_entry(b: &mut Bytes) -> TableEntry {
    TableEntry {
        kernel: KernelId(b.below(4) as u32),
        args: repeat(b, 4, |b| b.word() % 64),
    }
}

fn any_phase(b: &mut Bytes) -> Phase {
    Phase {
        entry: any_entry(b),
        items: any_items(b),
        doc: any_name(b),
    }
}

fn any_tap(b: &mut Bytes) -> Tap {
    Tap {
        site: any_name(b),
        after: b.below(4) as u32,
        modules: b.word(),
        top_k: b.byte().into(),
        p: b.word(),
        fired: b.byte().into(),
        gates: b.byte().into(),
        domain: b.byte().into(),
        cluster: (b.below(2) == 1).then(|| b.word()),
    }
}

fn any_function(b: &mut Bytes) -> Function {
    Function {
        name: any_name(b),
        doc: any_name(b),
        params: b.below(4) as u32,
        values: repeat(b, 8, any_def),
        result: any_value(b),
    }
}

fn any_kernel(b: &mut Bytes) -> Kernel {
    let mut values = vec![ValueDef {
        op: Op::Item,
        ty: Ty::I32,
        name: None,
    }];
    values.extend((1..VALUES).map(|_| any_def(b)));
    Kernel {
        name: any_name(b),
        doc: any_name(b),
        params: repeat(b, 4, any_param),
        items: b.word() % 1024,
        values,
        vars: repeat(b, 3, |b| Local {
            ty: any_ty(b),
            count: (b.below(2) == 1).then(|| any_count(b)),
            name: (b.below(2) == 1).then(|| any_name(b)),
        }),
        body: any_block(b, 3),
    }
}

fn any_count(b: &mut Bytes) -> Count {
    Count {
        n: small_or_any(b, 5),
        name: (b.below(2) == 1).then(|| any_name(b)),
    }
}

fn any_param(b: &mut Bytes) -> Param {
    let name = any_name(b);
    match b.below(4) {
        0 => Param::Scalar {
            name,
            max: b.word(),
        },
        1 => Param::Table {
            name,
            len: b.byte().into(),
        },
        _ => Param::Region {
            name,
            space: b.pick(&Space::ALL),
            elem: b.pick(&Elem::ALL),
            len: Extent {
                per_context: i64::from(b.below(3) as u32) * i64::from(b.word() as i32),
                fixed: i64::from(b.word() as i32) * i64::from(b.byte()),
            },
            mutable: b.below(2) == 1,
        },
    }
}

fn any_def(b: &mut Bytes) -> ValueDef {
    ValueDef {
        op: any_op(b),
        ty: any_ty(b),
        name: (b.below(2) == 1).then(|| any_name(b)),
    }
}

fn any_op(b: &mut Bytes) -> Op {
    const UNARY: [fn(ValueId) -> Op; 17] = [
        Op::Abs,
        Op::Neg,
        Op::Sqrt,
        Op::Not,
        Op::ToFloat,
        Op::ToInt,
        Op::Splat,
        Op::WidenS,
        Op::WidenU,
        Op::Narrow,
        Op::HalfToFloat,
        Op::FloatToHalf,
        Op::Low,
        Op::High,
        Op::FoldPairs,
        Op::ReduceAdd,
        Op::ReduceMax,
    ];
    const BINARY: [fn(ValueId, ValueId) -> Op; 17] = [
        Op::Add,
        Op::Sub,
        Op::Mul,
        Op::Div,
        Op::Rem,
        Op::Min,
        Op::Max,
        Op::And,
        Op::Or,
        Op::Xor,
        Op::Bounded,
        Op::Lookup,
        Op::Dot2U,
        Op::Dot2S,
        Op::DotWords,
        Op::AddPairs,
        Op::Join,
    ];
    const LEAVES: [Op; 4] = [Op::Index, Op::RowCount, Op::OutputCount, Op::Context];
    match b.below(24) {
        0 => Op::I32(b.word() as i32),
        1 => Op::F32(b.word()),
        2 => Op::I32Lanes(std::array::from_fn(|_| b.byte().into())),
        3 => Op::I8Lanes(std::array::from_fn(|_| b.byte() as i8)),
        4 => Op::Scalar(ParamId(b.below(5) as u32)),
        5 => Op::Get(VarId(b.below(4) as u32)),
        19 => Op::Element(VarId(b.below(4) as u32), any_value(b)),
        6 => Op::Fma(any_value(b), any_value(b), any_value(b)),
        7 => Op::Select(any_value(b), any_value(b), any_value(b)),
        8 => {
            let make = b.pick(&[Op::Dot4U as fn(_, _, _) -> _, Op::Dot4S, Op::Lookup32]);
            make(any_value(b), any_value(b), any_value(b))
        }
        9 => Op::Shl(any_value(b), b.byte().into()),
        10 => Op::ShrU(any_value(b), b.below(34) as u32),
        11 => Op::ShrS(any_value(b), b.below(34) as u32),
        12 => Op::Cmp(b.pick(&Cmp::ALL), any_value(b), any_value(b)),
        13 => Op::Bits(any_ty(b), any_value(b)),
        14 => Op::Load {
            region: ParamId(b.below(5) as u32),
            slot: (b.below(4) == 1).then(|| any_value(b)),
            index: any_value(b),
            range: (b.below(2) == 1).then(|| (b.word() as i32, b.byte().into())),
        },
        15 => Op::Call(FuncId(b.below(4) as u32), repeat(b, 3, any_value)),
        16 => b.pick(&UNARY)(any_value(b)),
        17 => LEAVES[b.below(4)].clone(),
        18 => Op::Param(b.below(4) as u32),
        20 => Op::Dot4SBy(any_value(b), any_value(b), any_value(b), b.below(5) as u32),
        21 => Op::MulSBy(any_value(b), any_value(b), b.below(5) as u32),
        22 => Op::MacSBy(any_value(b), any_value(b), any_value(b), b.below(5) as u32),
        _ => b.pick(&BINARY)(any_value(b), any_value(b)),
    }
}

fn any_block(b: &mut Bytes, depth: usize) -> Block {
    repeat(b, 8, |b| any_stmt(b, depth))
}

fn any_stmt(b: &mut Bytes, depth: usize) -> Stmt {
    match b.below(if depth > 0 { 15 } else { 10 }) {
        0 => Stmt::Var(VarId(b.below(3) as u32), any_value(b)),
        1 => Stmt::Set(VarId(b.below(3) as u32), any_value(b)),
        2 => Stmt::Store {
            region: ParamId(b.below(4) as u32),
            slot: (b.below(4) == 1).then(|| any_value(b)),
            index: any_value(b),
            value: any_value(b),
        },
        3 => Stmt::Call {
            table: ParamId(b.below(4) as u32),
            entry: any_value(b),
            begin: any_value(b),
            end: any_value(b),
        },
        4 => Stmt::Comment(any_name(b)),
        5 => Stmt::SetElement(VarId(b.below(3) as u32), any_value(b), any_value(b)),
        14 => Stmt::Strips {
            // As with `for`.
            first: ValueId(b.below(VALUES) as u32),
            size: ValueId(b.below(VALUES) as u32),
            end: any_value(b),
            count: any_count(b),
            body: any_block(b, depth - 1),
        },
        13 => Stmt::Repeat {
            // As with `for`.
            index: ValueId(b.below(VALUES) as u32),
            count: any_count(b),
            body: any_block(b, depth - 1),
        },
        10 => Stmt::For {
            // The text of a `for` defines its index, so it must be a value of the kernel.
            index: ValueId(b.below(VALUES) as u32),
            start: any_value(b),
            end: any_value(b),
            body: any_block(b, depth - 1),
        },
        12 => Stmt::Outline {
            name: any_name(b),
            // As with `for`.
            inputs: repeat(b, 3, |b| (ValueId(b.below(VALUES) as u32), any_value(b))),
            body: any_block(b, depth - 1),
        },
        11 => Stmt::If {
            cond: any_value(b),
            then: any_block(b, depth - 1),
            otherwise: any_block(b, depth - 1),
        },
        _ => Stmt::Let(ValueId(b.below(26) as u32)),
    }
}

/// A program that verifies and runs without a trap, whatever its weights and arena hold in the beginning: the three
/// executions must leave the same bytes in arena and kv. Floats are kept finite, since which NaN an operation yields
/// is the machine's choice.
#[must_use]
pub fn valid_program(data: &[u8]) -> Program {
    let mut b = Bytes::new(data);
    let functions = valid_functions();
    let refs: Vec<FunctionRef> = functions
        .iter()
        .enumerate()
        .map(|(i, f)| FunctionRef::new(FuncId::from_index(i), f))
        .collect();
    let mut kernels = Vec::new();
    let mut body = Vec::new();
    let words = IN_WORDS;
    let phases = 1 + b.below(3);
    for i in 0..phases {
        kernels.push(kernels::mixed(&mut b, &format!("mixed_{i}"), &refs));
        // The phase reads the input and what the phase before wrote, and writes a block of its own.
        let block = |i: usize| ((words + OUT_WORDS * i) * 4 / 64) as u32;
        let before = if i == 0 { 0 } else { block(i - 1) };
        body.push(Phase {
            entry: TableEntry {
                kernel: KernelId::from_index(i),
                args: vec![0, before, block(i), b.below(64) as u32],
            },
            items: b.pick(&[Items::Fixed(UNITS), Items::PerRow(2), Items::PerOutput(3)]),
            doc: "random operations".to_owned(),
        });
    }
    let scale = KernelId::from_index(kernels.len());
    kernels.push(kernels::scale());
    let caller = KernelId::from_index(kernels.len());
    kernels.push(kernels::caller());
    let rows = KernelId::from_index(kernels.len());
    kernels.push(kernels::kv_rows());
    let out = ((words + OUT_WORDS * phases) * 4 / 64) as u32;
    let called = |n: u32| TableEntry {
        kernel: scale,
        args: vec![out, n],
    };
    let phase = |kernel, args, items, doc: &str| Phase {
        entry: TableEntry { kernel, args },
        items,
        doc: doc.to_owned(),
    };
    body.push(phase(caller, vec![0], Items::Fixed(4), "through a table"));
    body.push(phase(
        rows,
        vec![0, 4, 1],
        Items::PerRow(1),
        "kv of each row",
    ));
    let mut s = shape(
        ((words + OUT_WORDS * (phases + 1)) * 4) as u32,
        WEIGHT_BYTES,
        80,
    );
    s.ring_bytes = (4 * kernels::RING).next_multiple_of(64) as u32;
    s.logits_stride = 4;
    Program {
        shape: s,
        functions,
        kernels,
        tables: vec![Table {
            doc: "scales".to_owned(),
            entries: vec![called(1), called(3)],
        }],
        body,
        head: Vec::new(),
        taps: Vec::new(),
        halves: Vec::new(),
    }
}

fn valid_functions() -> Vec<Function> {
    let half_of = FunctionBuilder::build("half_of", "x / 2", |f| f.param("x", Ty::F32) * 0.5);
    let half = FunctionRef::new(FuncId(0), &half_of);
    let doc = "x (x / 2 + 1), lane by lane and of a scalar";
    let poly = FunctionBuilder::build("poly", doc, |f| {
        let x = f.param("x", Ty::F32x16);
        let s = f.param("s", Ty::F32);
        x * x.mul_add(half.call(&[s]).splat(), 1.0)
    });
    vec![half_of, poly]
}
