//! Runs translated code: one loop over instructions, compiled once for any machine and once with AVX2 and FMA, which
//! compute the same bits faster.

use super::code::{Arg, Check, Code, Ins, ParamInfo, Size, Vector};
use super::fault::{Fault, Trap};
use super::memory::Memory;
use super::{InterpProgram, scalar, vector};
use crate::ir::verify::Range as Proof;
use crate::ir::{TableEntry, Ty};
use gem_runtime::abi::Ctx;
use std::ops::Range;

/// A fault and the number of the instruction; boxed, so that the loop carries a word.
type Stop = Box<(usize, Fault)>;

/// What code runs in.
struct Env<'a> {
    program: &'a InterpProgram,
    ctx: &'a Ctx,
    memory: &'a Memory<'a>,
    args: &'a [Option<u32>],
}

/// Runs items of an entry. `owner` is the item of the phase, for calls from within one.
///
/// # Safety
/// The entry was verified with its program, and `ctx` is as [`gem_runtime::abi::Executable::run`] asks.
pub(super) unsafe fn run_entry(
    program: &InterpProgram,
    entry: &TableEntry,
    ctx: &Ctx,
    items: Range<u32>,
    owner: Option<u32>,
) -> Result<(), Trap> {
    let code = &program.kernels[entry.kernel.index()];
    let mut words = entry.args.iter().copied();
    let args: Vec<Option<u32>> = code
        .params
        .iter()
        .map(|p| {
            if takes_argument(p) {
                words.next()
            } else {
                None
            }
        })
        .collect();
    let mut local = vec![Vector::default(); code.local_bytes / 64];
    // SAFETY: the arguments are verified; `local` has the kernel's bytes and lives until the end of this call.
    let mut memory = unsafe {
        Memory::new(
            ctx,
            &code.params,
            &args,
            local.as_mut_ptr().cast::<u8>(),
            program.races.as_ref(),
        )
    };
    let (scalars, vectors) = code.stack();
    let mut scalars = vec![0u32; scalars];
    let mut vectors = vec![Vector::default(); vectors];
    for item in items {
        local.fill(Vector::default());
        memory.owner = owner.unwrap_or(item);
        scalars[0] = item;
        let env = Env {
            program,
            ctx,
            memory: &memory,
            args: &args,
        };
        dispatch(&env, code, &mut scalars, &mut vectors).map_err(|stop| trap(code, item, *stop))?;
    }
    Ok(())
}

fn takes_argument(param: &ParamInfo) -> bool {
    use crate::ir::Space;
    !matches!(
        param,
        ParamInfo::Region {
            space: Space::Rows | Space::Outputs | Space::Local,
            ..
        }
    )
}

fn trap(code: &Code, item: u32, (at, fault): (usize, Fault)) -> Trap {
    match fault {
        Fault::Nested(trap) => *trap,
        fault => Trap {
            kernel: code.name.clone(),
            item,
            value: code.origin[at],
            fault,
        },
    }
}

/// Picks the loop for this machine.
fn dispatch(env: &Env, code: &Code, s: &mut [u32], v: &mut [Vector]) -> Result<(), Stop> {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: the processor has the features the function is compiled for.
        return unsafe { run_avx2(env, code, s, v) };
    }
    run(env, code, s, v)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2(env: &Env, code: &Code, s: &mut [u32], v: &mut [Vector]) -> Result<(), Stop> {
    run(env, code, s, v)
}

#[inline(always)]
fn run(env: &Env, code: &Code, s: &mut [u32], v: &mut [Vector]) -> Result<(), Stop> {
    let mut at = 0;
    while let Some(ins) = code.ins.get(at) {
        match step(env, code, *ins, s, v) {
            Ok(None) => at += 1,
            Ok(Some(to)) => at = to as usize,
            Err(fault) => return Err(Box::new((at, *fault))),
        }
    }
    Ok(())
}

/// Runs one instruction; the next one if it is not the one below.
#[inline(always)]
fn step(
    env: &Env,
    code: &Code,
    ins: Ins,
    s: &mut [u32],
    v: &mut [Vector],
) -> Result<Option<u32>, Box<Fault>> {
    macro_rules! s {
        ($slot:expr) => {
            s[$slot as usize]
        };
    }
    macro_rules! v {
        ($slot:expr) => {
            v[$slot as usize]
        };
    }
    match ins {
        Ins::Const { d, bits } => s!(d) = bits,
        Ins::ConstV { d, at } => v!(d) = code.constants[at as usize],
        Ins::Scalar { d, param } => s!(d) = env.args[param as usize].unwrap_or(0),
        Ins::Size { d, size } => s!(d) = env.size(size),
        Ins::Copy { d, a } => s!(d) = s!(a),
        Ins::CopyV { d, a } => v!(d) = v!(a),
        Ins::S1 { op, d, a } => s!(d) = scalar::one(op, s!(a))?,
        Ins::S2 { op, d, a, b } => s!(d) = scalar::two(op, s!(a), s!(b))?,
        Ins::Fma { d, a, b, c } => {
            let [a, b, c] = [a, b, c].map(|x| f32::from_bits(s!(x)));
            s!(d) = a.mul_add(b, c).to_bits();
        }
        Ins::Select { d, cond, a, b } => s!(d) = if s!(cond) != 0 { s!(a) } else { s!(b) },
        Ins::SelectV { d, cond, a, b } => v!(d) = if s!(cond) != 0 { v!(a) } else { v!(b) },
        Ins::Splat { d, a } => v!(d) = Vector::of([s!(a); 16]),
        Ins::Reduce { op, d, a } => s!(d) = vector::reduce(op, &v!(a)),
        Ins::V1 { op, d, a } => v!(d) = vector::one(op, &v!(a))?,
        Ins::V2 { op, d, a, b } => v!(d) = vector::two(op, &v!(a), &v!(b))?,
        Ins::V3 { op, d, a, b, c } => v!(d) = vector::three(op, &v!(a), &v!(b), &v!(c))?,
        Ins::Load { d, access } => s!(d) = u32::from_le_bytes(env.memory.load(access, s)?),
        Ins::LoadV { d, access, check } => {
            let loaded = match access.bytes {
                16 => Vector::narrow(&env.memory.load::<16>(access, s)?),
                32 => Vector::narrow(&env.memory.load::<32>(access, s)?),
                _ => Vector::of(env.memory.load::<64>(access, s)?),
            };
            hold(check, &loaded, access.bytes)?;
            v!(d) = loaded;
        }
        Ins::CheckBytes { a, lo, hi } => {
            for byte in s!(a).to_le_bytes() {
                let found = if hi > 127 {
                    i32::from(byte)
                } else {
                    i32::from(byte as i8)
                };
                within(found, lo, hi)?;
            }
        }
        Ins::CheckProof { a, at } => {
            let (range, ty) = code.ranges[at as usize];
            let lanes = if ty.is_vector() {
                v!(a).lanes(ty)
            } else {
                vec![i64::from(s!(a) as i32)]
            };
            prove(&lanes, range, ty, env.ctx.context)?;
        }
        Ins::CheckI32 { a, lo, hi } => within(s!(a) as i32, lo, hi)?,
        Ins::Store { a, access } => env.memory.store(access, s, s!(a).to_le_bytes())?,
        Ins::StoreV { a, access } => match access.bytes {
            16 => env.memory.store(access, s, v!(a).0[0])?,
            32 => env
                .memory
                .store::<32>(access, s, bytemuck::cast([v!(a).0[0], v!(a).0[1]]))?,
            _ => env.memory.store(access, s, v!(a).u8s())?,
        },
        Ins::Call { function, from, d } => {
            call(env, code, function.index(), from, d, s, v)?;
        }
        Ins::CallTable {
            table,
            entry,
            begin,
            end,
        } => {
            let [entry, begin, end] = [entry, begin, end].map(|x| s!(x) as i32);
            call_table(env, table.index(), entry, begin, end)?;
        }
        Ins::Jump { to } => return Ok(Some(to)),
        Ins::JumpUnless { cond, to } => {
            if s!(cond) == 0 {
                return Ok(Some(to));
            }
        }
        Ins::LoopHead { index, end, exit } => {
            if s!(index) as i32 >= s!(end) as i32 {
                return Ok(Some(exit));
            }
        }
        Ins::LoopNext { index, head } => {
            s!(index) = s!(index).wrapping_add(1);
            return Ok(Some(head));
        }
    }
    Ok(None)
}

impl Env<'_> {
    fn size(&self, size: Size) -> u32 {
        match size {
            Size::Rows => self.ctx.n_rows,
            Size::Outputs => self.ctx.n_outputs,
            Size::Context => self.ctx.context,
        }
    }
}

fn within(found: i32, lo: i32, hi: i32) -> Result<(), Fault> {
    if (lo..=hi).contains(&found) {
        return Ok(());
    }
    Err(Fault::Declared { found, lo, hi })
}

/// Holds a value against what was proved of it.
#[cold]
fn prove(lanes: &[i64], range: Proof, ty: Ty, context: u32) -> Result<(), Fault> {
    let unsigned = ty.is_bytes() && range.hi > 127;
    let hi = range.linear.map_or(range.hi, |l| {
        range.hi.min(l.per_context * i64::from(context) + l.fixed)
    });
    for &lane in lanes {
        let found = if unsigned { lane & 0xff } else { lane };
        if found < range.lo || found > hi {
            return Err(Fault::Proof { found, range });
        }
    }
    Ok(())
}

/// Holds loaded lanes against their declared range.
#[inline(always)]
fn hold(check: Check, loaded: &Vector, bytes: u16) -> Result<(), Fault> {
    #[inline(always)]
    fn all<T: Copy + PartialOrd + Into<i32>>(lanes: &[T], lo: T, hi: T) -> Result<(), Fault> {
        let fits = lanes.iter().fold(true, |ok, &x| ok & (lo <= x) & (x <= hi));
        if fits {
            return Ok(());
        }
        let bad = lanes.iter().find(|&&x| x < lo || x > hi);
        Err(Fault::Declared {
            found: bad.map_or(0, |&x| x.into()),
            lo: lo.into(),
            hi: hi.into(),
        })
    }
    let bytes = usize::from(bytes);
    match check {
        Check::None => Ok(()),
        Check::Signed8(lo, hi) => all(&loaded.i8s()[..bytes], lo, hi),
        Check::Unsigned8(lo, hi) => all(&loaded.u8s()[..bytes], lo, hi),
        Check::Signed16(lo, hi) => all(&loaded.i16s(), lo, hi),
        Check::Signed32(lo, hi) => all(&loaded.i32s(), lo, hi),
    }
}

/// Runs a function on the slots above the caller's.
fn call(
    env: &Env,
    caller: &Code,
    function: usize,
    from: u32,
    d: Arg,
    s: &mut [u32],
    v: &mut [Vector],
) -> Result<(), Box<Fault>> {
    let code = &env.program.functions[function];
    let (s, s_above) = s.split_at_mut(caller.scalars);
    let (v, v_above) = v.split_at_mut(caller.vectors);
    for (arg, param) in caller.args[from as usize..].iter().zip(&code.entry) {
        match (*arg, *param) {
            (Arg::Scalar(a), Arg::Scalar(p)) => s_above[p as usize] = s[a as usize],
            (Arg::Vector(a), Arg::Vector(p)) => v_above[p as usize] = v[a as usize],
            // The typing rules give arguments the parameters' types.
            _ => {}
        }
    }
    dispatch(env, code, s_above, v_above).map_err(|stop| {
        let (at, fault) = *stop;
        Box::new(Fault::Nested(Box::new(trap(
            code,
            env.memory.owner,
            (at, fault),
        ))))
    })?;
    match (d, code.result) {
        (Arg::Scalar(d), Some(Arg::Scalar(r))) => s[d as usize] = s_above[r as usize],
        (Arg::Vector(d), Some(Arg::Vector(r))) => v[d as usize] = v_above[r as usize],
        _ => {}
    }
    Ok(())
}

/// Runs items of a table's entry.
fn call_table(env: &Env, param: usize, entry: i32, begin: i32, end: i32) -> Result<(), Box<Fault>> {
    let table = env.args[param].unwrap_or(0) as usize;
    let bad = || Box::new(Fault::Call { entry, begin, end });
    let index = usize::try_from(entry).map_err(|_| bad())?;
    let (first, last) = (u32::try_from(begin), u32::try_from(end));
    let (Ok(first), Ok(last)) = (first, last) else {
        return Err(bad());
    };
    let target = env.program.tables[table].get(index).ok_or_else(bad)?;
    let owner = Some(env.memory.owner);
    // SAFETY: the table belongs to the verified program, and `ctx` is the one this call was vouched for.
    unsafe { run_entry(env.program, target, env.ctx, first..last, owner) }
        .map_err(|trap| Box::new(Fault::Nested(Box::new(trap))))
}
