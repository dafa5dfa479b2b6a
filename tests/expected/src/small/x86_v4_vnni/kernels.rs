//! Kernels of this model for level `x86_v4_vnni`: each runs the items `begin..end` of a phase.
//!
//! # Safety
//!
//! The runtime keeps the contract of `gem_runtime::abi::Executable::run`. Under it gemc's verifier proved of
//! these kernels, for the arguments of every phase and for every item, that each access lies in its region and
//! each region in its buffer, and items of a phase write disjoint memory. With debug assertions each access is
//! checked again.

#![allow(clippy::missing_safety_doc, reason = "the module states the contract")]
#![allow(clippy::too_many_arguments, reason = "outlines are given all that they reach")]
use gem_runtime::abi::Ctx;
use gem_runtime::kernel as k;
use gem_runtime::simd::x86_v4_vnni as s;

/// x * x, one rounding
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn square(x: s::F32x16) -> s::F32x16 {
    s::mul_f32x16(x, x)
}

/// x * x * x + bias, in two steps
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn cube(x: s::F32x16, bias: f32) -> s::F32x16 {
    let result = square(x);
    s::fma_f32x16(result, x, s::splat_f32(bias))
}

/// A block that kernels of every shape share. It has the instructions of the kernel that it becomes part of.
#[inline(always)]
unsafe fn dot_n4<const ROWS: usize>(
    codes: k::Region<i8>,
    x_codes: k::Region<i8>,
    scales: k::Region<i8>,
    x_sums: k::Region<i32>,
    x_scales: k::Region<f32>,
    block_count: i32,
    first_block: i32,
    code_at: [i32; ROWS],
    block_at: [i32; ROWS],
    mut acc: [s::F32x16; ROWS],
) -> [s::F32x16; ROWS] {
    // SAFETY: the module's contract.
    unsafe {
        for block in 0..block_count {
            let at = first_block + block;
            let codes_at = at * 256;
            let column = block * 32;
            let mut words = [s::splat_i32(0); ROWS];
            for chunk in 0..4 {
                let bytes = s::stream_once_i8x64(codes.at::<64>(codes_at + chunk * 64));
                let index = s::and_i8x64(bytes, s::splat_i32_i8x64(0x0f0f_0f0f));
                let values = s::lanes_i8x16([
                    0, 11, 21, 30, 38, 45, 52, 58, 64, 70, 76, 82, 90, 98, 108, 120,
                ]);
                let weights = s::lookup_i8x64(values, index);
                let sum = column + chunk * 4;
                k::repeat!(row in ROWS, 2, {
                    let x = k::load_i32(x_codes.at::<4>(code_at[row] + sum));
                    words[row] = s::dot4_u_i8x64(words[row], weights, s::splat_i32_i8x64(x));
                });
                let index_2 = s::shr_u_i8x64::<4>(bytes);
                let weights_2 = s::lookup_i8x64(values, index_2);
                let sum_2 = column + (chunk + 4) * 4;
                k::repeat!(row in ROWS, 2, {
                    let x = k::load_i32(x_codes.at::<4>(code_at[row] + sum_2));
                    words[row] = s::dot4_u_i8x64(words[row], weights_2, s::splat_i32_i8x64(x));
                });
            }
            let scale_bytes = s::load_i8x16(scales.at::<16>(at * 16));
            let scale = s::widen_s_i8x16(scale_bytes);
            let lanes = s::splat_i32(1);
            let factor = s::or_i32x16(scale, lanes);
            let bits = s::and_i32x16(scale, lanes);
            let product = s::mul_i32x16(bits, s::splat_i32(2));
            let shift = s::sub_i32x16(product, s::splat_i32(63));
            k::repeat!(row in ROWS, 2, {
                let x_sum = k::load_i32(x_sums.at::<4>(block_at[row] + block));
                let product_2 = s::mul_i32x16(shift, s::splat_i32(x_sum));
                let sum = s::add_i32x16(words[row], product_2);
                let scaled = s::mul_i32x16(sum, factor);
                let x_scale = k::load_f32(x_scales.at::<4>(block_at[row] + block));
                let float = s::to_float_i32x16(scaled);
                acc[row] = s::fma_f32x16(float, s::splat_f32(x_scale), acc[row]);
            });
        }
    }
    acc
}

/// y [rows, 32] = W x, W [32, 64] in N4
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe extern "C" fn matmul_n4_32x64(ctx: *const Ctx, args: *const u32, begin: u32, end: u32) {
    debug_assert!(end <= 2);
    // SAFETY: the module's contract.
    unsafe {
        let codes = k::Region::<i8>::weights(ctx, *args.add(0), 1024);
        let scales = k::Region::<i8>::weights(ctx, *args.add(1), 64);
        let row_scales = k::Region::<f32>::weights(ctx, *args.add(2), 32);
        let x_codes = k::Region::<i8>::arena(ctx, *args.add(3), 256);
        let x_scales = k::Region::<f32>::arena(ctx, *args.add(4), 8);
        let x_sums = k::Region::<i32>::arena(ctx, *args.add(5), 8);
        let y = k::Region::<f32>::arena(ctx, *args.add(6), 128);
        let row_count = (*ctx).n_rows as i32;
        for item in begin as i32..end as i32 {
            // 2 rows at a time share one pass over the weights
            k::strips!(first in row_count, ROWS = 2, {
                let mut acc = [s::splat_f32(0.0); ROWS];
                let mut code_at: [i32; ROWS] = [0; ROWS];
                let mut block_at: [i32; ROWS] = [0; ROWS];
                k::repeat!(row in ROWS, 2, {
                    let sum = first + (row as i32);
                    code_at[row] = sum * 64;
                    block_at[row] = sum * 2;
                });
                acc = dot_n4(codes, x_codes, scales, x_sums, x_scales, 2, item * 2, code_at, block_at, acc);
                let product = item * 16;
                let row_scale = s::load_f32x16(row_scales.at::<64>(product));
                k::repeat!(row in ROWS, 2, {
                    s::store_f32x16(
                        y.at_mut::<64>((first + (row as i32)) * 32 + product),
                        s::mul_f32x16(acc[row], row_scale),
                    );
                });
            });
        }
    }
}

/// Every operation of the kernel IR, one result after the other
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe extern "C" fn operations(ctx: *const Ctx, args: *const u32, begin: u32, end: u32) {
    debug_assert!(end <= 1);
    // SAFETY: the module's contract.
    unsafe {
        let floats = k::Region::<f32>::arena(ctx, *args.add(0), 48);
        let ints = k::Region::<i32>::arena(ctx, *args.add(1), 48);
        let bytes = k::Region::<i8>::arena(ctx, *args.add(2), 192);
        let results = k::Region::<i32>::arena(ctx, *args.add(3), 2048);
        for _ in begin as i32..end as i32 {
            // Floats, 16 lanes
            let x = s::load_f32x16(floats.at::<64>(0));
            let y = s::load_f32x16(floats.at::<64>(16));
            let z = s::load_f32x16(floats.at::<64>(32));
            let size = s::abs_f32x16(x);
            s::store_f32x16(results.at_mut::<64>(0), s::add_f32x16(x, y));
            s::store_f32x16(results.at_mut::<64>(16), s::sub_f32x16(x, y));
            s::store_f32x16(results.at_mut::<64>(32), s::mul_f32x16(x, y));
            s::store_f32x16(results.at_mut::<64>(48), s::div_f32x16(x, y));
            s::store_f32x16(results.at_mut::<64>(64), s::fma_f32x16(x, y, z));
            s::store_f32x16(results.at_mut::<64>(80), s::min_f32x16(x, y));
            s::store_f32x16(results.at_mut::<64>(96), s::max_f32x16(x, y));
            s::store_f32x16(results.at_mut::<64>(112), size);
            s::store_f32x16(results.at_mut::<64>(128), s::neg_f32x16(x));
            s::store_f32x16(results.at_mut::<64>(144), s::sqrt_f32x16(size));
            s::store_i32x16(results.at_mut::<64>(160), s::to_int_f32x16(x));
            s::store_i16x16(results.at_mut::<32>(176), s::float_to_half_f32x16(x));
            k::store_f32(results.at_mut::<4>(192), s::reduce_add_f32x16(x));
            k::store_f32(results.at_mut::<4>(208), s::reduce_max_f32x16(x));
            s::store_i32x16(results.at_mut::<64>(224), s::bits_f32x16_i32x16(x));
            s::store_i8x64(results.at_mut::<64>(240), s::bits_f32x16_i8x64(x));
            s::store_i16x32(results.at_mut::<64>(256), s::bits_f32x16_i16x32(x));
            let holds = s::cmp_eq_f32x16(x, y);
            s::store_f32x16(results.at_mut::<64>(272), s::select_f32x16(holds, z, x));
            let holds_2 = s::cmp_ne_f32x16(x, y);
            s::store_f32x16(results.at_mut::<64>(288), s::select_f32x16(holds_2, z, x));
            let holds_3 = s::cmp_lt_f32x16(x, y);
            s::store_f32x16(results.at_mut::<64>(304), s::select_f32x16(holds_3, z, x));
            let holds_4 = s::cmp_le_f32x16(x, y);
            s::store_f32x16(results.at_mut::<64>(320), s::select_f32x16(holds_4, z, x));
            let holds_5 = s::cmp_gt_f32x16(x, y);
            s::store_f32x16(results.at_mut::<64>(336), s::select_f32x16(holds_5, z, x));
            let holds_6 = s::cmp_ge_f32x16(x, y);
            s::store_f32x16(results.at_mut::<64>(352), s::select_f32x16(holds_6, z, x));
            let narrow = s::float_to_half_f32x16(y);
            s::store_f32x16(results.at_mut::<64>(368), s::half_to_float_i16x16(narrow));
            // Integers, 16 lanes
            let i = s::load_i32x16(ints.at::<64>(0));
            let j = s::load_i32x16(ints.at::<64>(16));
            let l = s::load_i32x16(ints.at::<64>(32));
            let narrow_2 = s::narrow_i32x16(i);
            s::store_i32x16(
                results.at_mut::<64>(384),
                s::add_i32x16(
                    i,
                    s::lanes_i32x16([
                        0,
                        1,
                        -2,
                        3,
                        4,
                        5,
                        6,
                        7,
                        8,
                        -2147483648,
                        0x7fff_ffff,
                        11,
                        12,
                        13,
                        14,
                        15,
                    ]),
                ),
            );
            s::store_i32x16(results.at_mut::<64>(400), s::sub_i32x16(i, j));
            s::store_i32x16(results.at_mut::<64>(416), s::mul_i32x16(i, j));
            s::store_i32x16(results.at_mut::<64>(432), s::min_i32x16(i, j));
            s::store_i32x16(results.at_mut::<64>(448), s::max_i32x16(i, j));
            s::store_i32x16(results.at_mut::<64>(464), s::and_i32x16(i, j));
            s::store_i32x16(results.at_mut::<64>(480), s::or_i32x16(i, j));
            s::store_i32x16(results.at_mut::<64>(496), s::xor_i32x16(i, j));
            s::store_i32x16(results.at_mut::<64>(512), s::shl_i32x16::<5>(i));
            s::store_i32x16(results.at_mut::<64>(528), s::shr_s_i32x16::<5>(i));
            s::store_i32x16(results.at_mut::<64>(544), s::shr_u_i32x16::<5>(i));
            s::store_f32x16(results.at_mut::<64>(560), s::to_float_i32x16(i));
            k::store_i32(results.at_mut::<4>(576), s::reduce_add_i32x16(i));
            s::store_i8x16(results.at_mut::<16>(592), narrow_2);
            s::store_i32x16(results.at_mut::<64>(608), s::widen_s_i8x16(narrow_2));
            s::store_i32x16(results.at_mut::<64>(624), s::widen_u_i8x16(narrow_2));
            s::store_f32x16(results.at_mut::<64>(640), s::bits_i32x16_f32x16(i));
            let holds_7 = s::cmp_eq_i32x16(i, j);
            s::store_i32x16(results.at_mut::<64>(656), s::select_i32x16(holds_7, i, l));
            let holds_8 = s::cmp_ne_i32x16(i, j);
            s::store_i32x16(results.at_mut::<64>(672), s::select_i32x16(holds_8, i, l));
            let holds_9 = s::cmp_lt_i32x16(i, j);
            s::store_i32x16(results.at_mut::<64>(688), s::select_i32x16(holds_9, i, l));
            let holds_10 = s::cmp_le_i32x16(i, j);
            s::store_i32x16(results.at_mut::<64>(704), s::select_i32x16(holds_10, i, l));
            let holds_11 = s::cmp_gt_i32x16(i, j);
            s::store_i32x16(results.at_mut::<64>(720), s::select_i32x16(holds_11, i, l));
            let holds_12 = s::cmp_ge_i32x16(i, j);
            s::store_i32x16(results.at_mut::<64>(736), s::select_i32x16(holds_12, i, l));
            // Bytes and words
            let byte = s::load_i8x64(bytes.at::<64>(0));
            let byte_2 = s::load_i8x64(bytes.at::<64>(64));
            let byte_3 = s::load_i8x64(bytes.at::<64>(128));
            let bits = s::and_i8x64(byte, s::splat_i32_i8x64(0x0f0f_0f0f));
            let lanes = s::splat_i32(1000);
            let products = s::dot2_u_i8x64(byte, byte_2);
            let products_2 = s::dot2_s_i8x64(bits, byte_3);
            let sum = s::add_i16x32(products, products_2);
            s::store_i8x64(results.at_mut::<64>(752), bits);
            s::store_i8x64(results.at_mut::<64>(768), s::or_i8x64(byte, byte_2));
            s::store_i8x64(results.at_mut::<64>(784), s::xor_i8x64(byte, byte_2));
            s::store_i8x64(results.at_mut::<64>(800), s::shr_u_i8x64::<3>(byte_2));
            s::store_i8x64(
                results.at_mut::<64>(816),
                s::lookup_i8x64(
                    s::lanes_i8x16([-63, -52, -42, -33, -25, -18, -11, -5, 1, 7, 13, 19, 27, 35, 45, 57]),
                    bits,
                ),
            );
            s::store_i32x16(results.at_mut::<64>(832), s::dot4_u_i8x64(lanes, byte, byte_2));
            s::store_i32x16(results.at_mut::<64>(848), s::dot4_s_i8x64(lanes, byte_2, byte_3));
            s::store_i16x32(results.at_mut::<64>(864), products);
            s::store_i16x32(results.at_mut::<64>(880), s::dot2_s_i8x64(byte_2, byte_3));
            s::store_i16x32(results.at_mut::<64>(896), sum);
            s::store_i32x16(
                results.at_mut::<64>(912),
                s::dot_words_i16x32(sum, s::splat_i32_i16x32(0x0001_0001)),
            );
            s::store_i32x16(results.at_mut::<64>(928), s::bits_i8x64_i32x16(byte_2));
            s::store_i16x32(results.at_mut::<64>(944), s::bits_i8x64_i16x32(byte_2));
            // Scalars
            let float = k::load_f32(floats.at::<4>(3));
            let float_2 = k::load_f32(floats.at::<4>(17));
            let float_3 = k::load_f32(floats.at::<4>(40));
            let int = k::load_i32(ints.at::<4>(3));
            let int_2 = k::load_i32(ints.at::<4>(17));
            let sum_2 = float + float_2;
            let holds_13 = float < float_2;
            let holds_14 = float_2 > float_3;
            k::store_f32(results.at_mut::<4>(960), sum_2 * 0.1);
            k::store_f32(results.at_mut::<4>(976), float - float_2);
            k::store_f32(results.at_mut::<4>(992), float / float_2);
            k::store_f32(results.at_mut::<4>(1008), s::fma_f32(float, float_2, float_3));
            k::store_f32(results.at_mut::<4>(1024), k::min_f32(float, float_2));
            k::store_f32(results.at_mut::<4>(1040), k::max_f32(float, -f32::INFINITY));
            k::store_f32(results.at_mut::<4>(1056), -float);
            k::store_f32(results.at_mut::<4>(1072), s::sqrt_f32(f32::abs(float)));
            k::store_i32(results.at_mut::<4>(1088), s::to_int_f32(float));
            k::store_f32(results.at_mut::<4>(1104), int as f32);
            k::store_i32(results.at_mut::<4>(1120), f32::to_bits(float) as i32);
            k::store_f32(results.at_mut::<4>(1136), f32::from_bits(int as u32));
            k::store_f32(results.at_mut::<4>(1152), if holds_13 && holds_14 { float } else { float_2 });
            k::store_i32(results.at_mut::<4>(1168), if !(holds_13 || holds_14) { int } else { int_2 });
            k::store_i32(results.at_mut::<4>(1184), int.wrapping_sub(int_2).wrapping_mul(int));
            k::store_i32(results.at_mut::<4>(1200), int.wrapping_add(int_2));
            k::store_i32(results.at_mut::<4>(1216), i32::min(int, int_2));
            k::store_i32(results.at_mut::<4>(1232), i32::max(int, int_2));
            k::store_i32(results.at_mut::<4>(1248), int & int_2);
            k::store_i32(results.at_mut::<4>(1264), int | int_2);
            k::store_i32(results.at_mut::<4>(1280), int ^ int_2);
            k::store_i32(results.at_mut::<4>(1296), int << 3);
            k::store_i32(results.at_mut::<4>(1312), int >> 3);
            k::store_i32(results.at_mut::<4>(1328), ((int as u32) >> 3) as i32);
            s::store_f32x16(results.at_mut::<64>(1344), s::splat_f32(sum_2));
        }
    }
}

/// y [rows, 16]: sums over a slot's positions, through every statement
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe extern "C" fn statements(ctx: *const Ctx, args: *const u32, begin: u32, end: u32) {
    debug_assert!(end <= 4);
    // SAFETY: the module's contract.
    unsafe {
        let rows = k::Region::<i32>::rows(ctx);
        let memory = k::KvRegion::<f32>::new(ctx, *args.add(0), 16 * (*ctx).context as usize);
        let x = k::Region::<f32>::arena(ctx, *args.add(1), 128);
        let y = k::Region::<f32>::arena(ctx, *args.add(2), 64);
        let repeat = *args.add(3) as i32;
        debug_assert!(* args.add(3) <= 8);
        let modules = *args.add(4);
        let row_count = (*ctx).n_rows as i32;
        let context = (*ctx).context as i32;
        for item in begin as i32..end as i32 {
            let mut scratch_memory = k::Local::<f32, 32>::zeroed();
            let scratch = scratch_memory.region();
            let rows_at = item * 4;
            let token = k::load_i32(rows.at::<4>(rows_at));
            let slot = k::load_i32(rows.after::<4>(rows_at, 1));
            let position = k::load_i32(rows.after::<4>(rows_at, 2));
            let bounded = k::bounded(position, context);
            // Remember the row
            let x_value = s::load_f32x16(x.at::<64>(item * 32));
            s::store_f32x16(memory.slot(slot).at_mut::<64>(bounded * 16), x_value);
            // Sum what the slot remembers, up to this position
            let mut sum = s::splat_f32(0.0);
            for index in 0..bounded + 1 {
                let memory_value = s::load_f32x16(memory.slot(slot).nth::<64>(index, 16, 0));
                sum = s::add_f32x16(sum, memory_value);
            }
            if row_count > 2 {
                sum = cube(sum, 0.5);
            } else {
                sum = s::neg_f32x16(sum);
            }
            for _ in 0..repeat {
                let scratch_value = s::load_f32x16(scratch.at::<64>(16));
                s::store_f32x16(scratch.at_mut::<64>(16), s::add_f32x16(scratch_value, sum));
            }
            let scratch_value = s::load_f32x16(scratch.at::<64>(16));
            s::store_f32x16(y.at_mut::<64>(item * 16), scratch_value);
            k::call_table(ctx, modules, k::bounded(token & 1, 2) as u32, item as u32, (item + 1) as u32);
        }
    }
}

/// y[row] = factor * (y[row] + row)
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe extern "C" fn double_row(ctx: *const Ctx, args: *const u32, begin: u32, end: u32) {
    debug_assert!(end <= 4);
    // SAFETY: the module's contract.
    unsafe {
        let y = k::Region::<i32>::arena(ctx, *args.add(0), 4);
        for item in begin as i32..end as i32 {
            let y_value = k::load_i32(y.at::<4>(item));
            k::store_i32(y.at_mut::<4>(item), y_value.wrapping_add(item).wrapping_mul(2));
        }
    }
}

/// y[row] = factor * (y[row] + row)
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe extern "C" fn triple_row(ctx: *const Ctx, args: *const u32, begin: u32, end: u32) {
    debug_assert!(end <= 4);
    // SAFETY: the module's contract.
    unsafe {
        let y = k::Region::<i32>::arena(ctx, *args.add(0), 4);
        for item in begin as i32..end as i32 {
            let y_value = k::load_i32(y.at::<4>(item));
            k::store_i32(y.at_mut::<4>(item), y_value.wrapping_add(item).wrapping_mul(3));
        }
    }
}

/// logits [outputs, 16] = x [rows, 16] of the wanted rows
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe extern "C" fn lm_head_16(ctx: *const Ctx, args: *const u32, begin: u32, end: u32) {
    debug_assert!(end <= 2);
    // SAFETY: the module's contract.
    unsafe {
        let outputs = k::Region::<i32>::outputs(ctx);
        let x = k::Region::<f32>::arena(ctx, *args.add(0), 64);
        let logits = k::Region::<f32>::arena(ctx, *args.add(1), 32);
        for item in begin as i32..end as i32 {
            let output = k::load_i32(outputs.at::<4>(item));
            let x_value = s::load_f32x16(x.at::<64>(k::bounded(output, 4) * 16));
            s::store_f32x16(logits.at_mut::<64>(item * 16), x_value);
        }
    }
}
