//! Kernels of this model for level `x86_v4_vnni`: each runs the items `begin..end` of a phase.

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
    let v2 = square(x);
    s::fma_f32x16(v2, x, s::splat_f32(bias))
}

/// y [rows, 32] = W x, W [32, 64] in N4
///
/// # Safety
/// As `gem_runtime::abi::Program::run`.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe extern "C" fn matmul_n4_32x64(
    ctx: *const Ctx,
    args: *const u32,
    begin: u32,
    end: u32,
) {
    debug_assert!(end <= 2);
    // SAFETY: the runtime keeps the contract of `gem_runtime::abi::Program::run`; under it gemc's verifier
    // proved, for these arguments and every item, that each access below lies in its region and each region in
    // its buffer, and items of a phase write disjoint memory.
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
            let v4 = row_count / 2;
            // 2 rows at a time share one pass over the weights
            for v5 in 0..v4 {
                let v6 = v5 * 2;
                let v8 = v6 + 1;
                let v10 = s::splat_f32(0.0);
                let mut acc = v10;
                let mut acc_m1 = v10;
                let block_count = 2;
                let first_block = item * 2;
                let v19 = v6 * 64;
                let v20 = v6 * 2;
                let v21 = v8 * 64;
                let v22 = v8 * 2;
                for v24 in 0..block_count {
                    let v25 = first_block + v24;
                    let v27 = v25 * 256;
                    let v29 = v24 * 32;
                    let v30 = v19 + v29;
                    let v31 = v21 + v29;
                    let codes_v32 = s::load_i8x64(codes.at::<64>(v27));
                    let v35 = s::bits_i32x16_i8x64(s::splat_i32(0x0f0f_0f0f));
                    let v36 = s::and_i8x64(codes_v32, v35);
                    let v37 = s::lanes_i8x16([
                        0, 11, 21, 30, 38, 45, 52, 58, 64, 70, 76, 82, 90, 98, 108, 120,
                    ]);
                    let v38 = s::lookup_i8x64(v37, v36);
                    let x_codes_v39 = k::load_i32(x_codes.at::<4>(v30));
                    let v42 = s::splat_i32(0);
                    let v43 = s::dot4_u_i8x64(
                        v42,
                        v38,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v39)),
                    );
                    let x_codes_v44 = k::load_i32(x_codes.at::<4>(v31));
                    let v47 = s::dot4_u_i8x64(
                        v42,
                        v38,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v44)),
                    );
                    let v48 = s::shr_u_i8x64::<4>(codes_v32);
                    let v49 = s::lookup_i8x64(v37, v48);
                    let x_codes_v52 = k::load_i32(x_codes.at::<4>(v30 + 16));
                    let v55 = s::dot4_u_i8x64(
                        v43,
                        v49,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v52)),
                    );
                    let x_codes_v57 = k::load_i32(x_codes.at::<4>(v31 + 16));
                    let v60 = s::dot4_u_i8x64(
                        v47,
                        v49,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v57)),
                    );
                    let codes_v63 = s::load_i8x64(codes.at::<64>(v27 + 64));
                    let v64 = s::and_i8x64(codes_v63, v35);
                    let v65 = s::lookup_i8x64(v37, v64);
                    let x_codes_v68 = k::load_i32(x_codes.at::<4>(v30 + 4));
                    let v71 = s::dot4_u_i8x64(
                        v55,
                        v65,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v68)),
                    );
                    let x_codes_v73 = k::load_i32(x_codes.at::<4>(v31 + 4));
                    let v76 = s::dot4_u_i8x64(
                        v60,
                        v65,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v73)),
                    );
                    let v77 = s::shr_u_i8x64::<4>(codes_v63);
                    let v78 = s::lookup_i8x64(v37, v77);
                    let x_codes_v81 = k::load_i32(x_codes.at::<4>(v30 + 20));
                    let v84 = s::dot4_u_i8x64(
                        v71,
                        v78,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v81)),
                    );
                    let x_codes_v86 = k::load_i32(x_codes.at::<4>(v31 + 20));
                    let v89 = s::dot4_u_i8x64(
                        v76,
                        v78,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v86)),
                    );
                    let codes_v92 = s::load_i8x64(codes.at::<64>(v27 + 128));
                    let v93 = s::and_i8x64(codes_v92, v35);
                    let v94 = s::lookup_i8x64(v37, v93);
                    let x_codes_v97 = k::load_i32(x_codes.at::<4>(v30 + 8));
                    let v100 = s::dot4_u_i8x64(
                        v84,
                        v94,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v97)),
                    );
                    let x_codes_v102 = k::load_i32(x_codes.at::<4>(v31 + 8));
                    let v105 = s::dot4_u_i8x64(
                        v89,
                        v94,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v102)),
                    );
                    let v106 = s::shr_u_i8x64::<4>(codes_v92);
                    let v107 = s::lookup_i8x64(v37, v106);
                    let x_codes_v110 = k::load_i32(x_codes.at::<4>(v30 + 24));
                    let v113 = s::dot4_u_i8x64(
                        v100,
                        v107,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v110)),
                    );
                    let x_codes_v115 = k::load_i32(x_codes.at::<4>(v31 + 24));
                    let v118 = s::dot4_u_i8x64(
                        v105,
                        v107,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v115)),
                    );
                    let codes_v121 = s::load_i8x64(codes.at::<64>(v27 + 192));
                    let v122 = s::and_i8x64(codes_v121, v35);
                    let v123 = s::lookup_i8x64(v37, v122);
                    let x_codes_v126 = k::load_i32(x_codes.at::<4>(v30 + 12));
                    let v129 = s::dot4_u_i8x64(
                        v113,
                        v123,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v126)),
                    );
                    let x_codes_v131 = k::load_i32(x_codes.at::<4>(v31 + 12));
                    let v134 = s::dot4_u_i8x64(
                        v118,
                        v123,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v131)),
                    );
                    let v135 = s::shr_u_i8x64::<4>(codes_v121);
                    let v136 = s::lookup_i8x64(v37, v135);
                    let x_codes_v139 = k::load_i32(x_codes.at::<4>(v30 + 28));
                    let v142 = s::dot4_u_i8x64(
                        v129,
                        v136,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v139)),
                    );
                    let x_codes_v144 = k::load_i32(x_codes.at::<4>(v31 + 28));
                    let v147 = s::dot4_u_i8x64(
                        v134,
                        v136,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v144)),
                    );
                    let scales_v149 = s::load_i8x16(scales.at::<16>(v25 * 16));
                    let v150 = s::widen_s_i8x16(scales_v149);
                    let v152 = s::splat_i32(1);
                    let v153 = s::or_i32x16(v150, v152);
                    let v154 = s::and_i32x16(v150, v152);
                    let v157 = s::mul_i32x16(v154, s::splat_i32(2));
                    let v160 = s::sub_i32x16(v157, s::splat_i32(63));
                    let v161 = v20 + v24;
                    let x_sums_v162 = k::load_i32(x_sums.at::<4>(v161));
                    let v164 = s::mul_i32x16(v160, s::splat_i32(x_sums_v162));
                    let v165 = s::add_i32x16(v142, v164);
                    let v166 = s::mul_i32x16(v165, v153);
                    let v167 = s::to_float_i32x16(v166);
                    let x_scales_v168 = k::load_f32(x_scales.at::<4>(v161));
                    acc = s::fma_f32x16(v167, s::splat_f32(x_scales_v168), acc);
                    let v172 = v22 + v24;
                    let x_sums_v173 = k::load_i32(x_sums.at::<4>(v172));
                    let v175 = s::mul_i32x16(v160, s::splat_i32(x_sums_v173));
                    let v176 = s::add_i32x16(v147, v175);
                    let v177 = s::mul_i32x16(v176, v153);
                    let v178 = s::to_float_i32x16(v177);
                    let x_scales_v179 = k::load_f32(x_scales.at::<4>(v172));
                    acc_m1 = s::fma_f32x16(v178, s::splat_f32(x_scales_v179), acc_m1);
                }
                let v184 = item * 16;
                let row_scales_v185 = s::load_f32x16(row_scales.at::<64>(v184));
                s::store_f32x16(
                    y.at_mut::<64>(v6 * 32 + v184),
                    s::mul_f32x16(acc, row_scales_v185),
                );
                s::store_f32x16(
                    y.at_mut::<64>(v8 * 32 + v184),
                    s::mul_f32x16(acc_m1, row_scales_v185),
                );
            }
            for v196 in v4 * 2..row_count {
                let mut acc_m2 = s::splat_f32(0.0);
                let block_count_v203 = 2;
                let first_block_v204 = item * 2;
                let v205 = v196 * 64;
                let v206 = v196 * 2;
                for v208 in 0..block_count_v203 {
                    let v209 = first_block_v204 + v208;
                    let v211 = v209 * 256;
                    let v214 = v205 + v208 * 32;
                    let codes_v215 = s::load_i8x64(codes.at::<64>(v211));
                    let v218 = s::bits_i32x16_i8x64(s::splat_i32(0x0f0f_0f0f));
                    let v219 = s::and_i8x64(codes_v215, v218);
                    let v220 = s::lanes_i8x16([
                        0, 11, 21, 30, 38, 45, 52, 58, 64, 70, 76, 82, 90, 98, 108, 120,
                    ]);
                    let v221 = s::lookup_i8x64(v220, v219);
                    let x_codes_v222 = k::load_i32(x_codes.at::<4>(v214));
                    let v226 = s::dot4_u_i8x64(
                        s::splat_i32(0),
                        v221,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v222)),
                    );
                    let v227 = s::shr_u_i8x64::<4>(codes_v215);
                    let v228 = s::lookup_i8x64(v220, v227);
                    let x_codes_v231 = k::load_i32(x_codes.at::<4>(v214 + 16));
                    let v234 = s::dot4_u_i8x64(
                        v226,
                        v228,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v231)),
                    );
                    let codes_v237 = s::load_i8x64(codes.at::<64>(v211 + 64));
                    let v238 = s::and_i8x64(codes_v237, v218);
                    let v239 = s::lookup_i8x64(v220, v238);
                    let x_codes_v242 = k::load_i32(x_codes.at::<4>(v214 + 4));
                    let v245 = s::dot4_u_i8x64(
                        v234,
                        v239,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v242)),
                    );
                    let v246 = s::shr_u_i8x64::<4>(codes_v237);
                    let v247 = s::lookup_i8x64(v220, v246);
                    let x_codes_v250 = k::load_i32(x_codes.at::<4>(v214 + 20));
                    let v253 = s::dot4_u_i8x64(
                        v245,
                        v247,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v250)),
                    );
                    let codes_v256 = s::load_i8x64(codes.at::<64>(v211 + 128));
                    let v257 = s::and_i8x64(codes_v256, v218);
                    let v258 = s::lookup_i8x64(v220, v257);
                    let x_codes_v261 = k::load_i32(x_codes.at::<4>(v214 + 8));
                    let v264 = s::dot4_u_i8x64(
                        v253,
                        v258,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v261)),
                    );
                    let v265 = s::shr_u_i8x64::<4>(codes_v256);
                    let v266 = s::lookup_i8x64(v220, v265);
                    let x_codes_v269 = k::load_i32(x_codes.at::<4>(v214 + 24));
                    let v272 = s::dot4_u_i8x64(
                        v264,
                        v266,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v269)),
                    );
                    let codes_v275 = s::load_i8x64(codes.at::<64>(v211 + 192));
                    let v276 = s::and_i8x64(codes_v275, v218);
                    let v277 = s::lookup_i8x64(v220, v276);
                    let x_codes_v280 = k::load_i32(x_codes.at::<4>(v214 + 12));
                    let v283 = s::dot4_u_i8x64(
                        v272,
                        v277,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v280)),
                    );
                    let v284 = s::shr_u_i8x64::<4>(codes_v275);
                    let v285 = s::lookup_i8x64(v220, v284);
                    let x_codes_v288 = k::load_i32(x_codes.at::<4>(v214 + 28));
                    let v291 = s::dot4_u_i8x64(
                        v283,
                        v285,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v288)),
                    );
                    let scales_v293 = s::load_i8x16(scales.at::<16>(v209 * 16));
                    let v294 = s::widen_s_i8x16(scales_v293);
                    let v296 = s::splat_i32(1);
                    let v297 = s::or_i32x16(v294, v296);
                    let v298 = s::and_i32x16(v294, v296);
                    let v301 = s::mul_i32x16(v298, s::splat_i32(2));
                    let v304 = s::sub_i32x16(v301, s::splat_i32(63));
                    let v305 = v206 + v208;
                    let x_sums_v306 = k::load_i32(x_sums.at::<4>(v305));
                    let v308 = s::mul_i32x16(v304, s::splat_i32(x_sums_v306));
                    let v309 = s::add_i32x16(v291, v308);
                    let v310 = s::mul_i32x16(v309, v297);
                    let v311 = s::to_float_i32x16(v310);
                    let x_scales_v312 = k::load_f32(x_scales.at::<4>(v305));
                    acc_m2 = s::fma_f32x16(v311, s::splat_f32(x_scales_v312), acc_m2);
                }
                let v317 = item * 16;
                let row_scales_v318 = s::load_f32x16(row_scales.at::<64>(v317));
                s::store_f32x16(
                    y.at_mut::<64>(v196 * 32 + v317),
                    s::mul_f32x16(acc_m2, row_scales_v318),
                );
            }
        }
    }
}

/// Every operation of the kernel IR, one result after the other
///
/// # Safety
/// As `gem_runtime::abi::Program::run`.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe extern "C" fn operations(
    ctx: *const Ctx,
    args: *const u32,
    begin: u32,
    end: u32,
) {
    debug_assert!(end <= 1);
    // SAFETY: the runtime keeps the contract of `gem_runtime::abi::Program::run`; under it gemc's verifier
    // proved, for these arguments and every item, that each access below lies in its region and each region in
    // its buffer, and items of a phase write disjoint memory.
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
            let v7 = s::abs_f32x16(x);
            s::store_f32x16(results.at_mut::<64>(0), s::add_f32x16(x, y));
            s::store_f32x16(results.at_mut::<64>(16), s::sub_f32x16(x, y));
            s::store_f32x16(results.at_mut::<64>(32), s::mul_f32x16(x, y));
            s::store_f32x16(results.at_mut::<64>(48), s::div_f32x16(x, y));
            s::store_f32x16(results.at_mut::<64>(64), s::fma_f32x16(x, y, z));
            s::store_f32x16(results.at_mut::<64>(80), s::min_f32x16(x, y));
            s::store_f32x16(results.at_mut::<64>(96), s::max_f32x16(x, y));
            s::store_f32x16(results.at_mut::<64>(112), v7);
            s::store_f32x16(results.at_mut::<64>(128), s::neg_f32x16(x));
            s::store_f32x16(results.at_mut::<64>(144), s::sqrt_f32x16(v7));
            s::store_i32x16(results.at_mut::<64>(160), s::to_int_f32x16(x));
            s::store_i16x16(results.at_mut::<32>(176), s::float_to_half_f32x16(x));
            k::store_f32(results.at_mut::<4>(192), s::reduce_add_f32x16(x));
            k::store_f32(results.at_mut::<4>(208), s::reduce_max_f32x16(x));
            s::store_i32x16(results.at_mut::<64>(224), s::bits_f32x16_i32x16(x));
            s::store_i8x64(results.at_mut::<64>(240), s::bits_f32x16_i8x64(x));
            s::store_i16x32(results.at_mut::<64>(256), s::bits_f32x16_i16x32(x));
            let v38 = s::cmp_eq_f32x16(x, y);
            s::store_f32x16(results.at_mut::<64>(272), s::select_f32x16(v38, z, x));
            let v41 = s::cmp_ne_f32x16(x, y);
            s::store_f32x16(results.at_mut::<64>(288), s::select_f32x16(v41, z, x));
            let v44 = s::cmp_lt_f32x16(x, y);
            s::store_f32x16(results.at_mut::<64>(304), s::select_f32x16(v44, z, x));
            let v47 = s::cmp_le_f32x16(x, y);
            s::store_f32x16(results.at_mut::<64>(320), s::select_f32x16(v47, z, x));
            let v50 = s::cmp_gt_f32x16(x, y);
            s::store_f32x16(results.at_mut::<64>(336), s::select_f32x16(v50, z, x));
            let v53 = s::cmp_ge_f32x16(x, y);
            s::store_f32x16(results.at_mut::<64>(352), s::select_f32x16(v53, z, x));
            let v56 = s::float_to_half_f32x16(y);
            s::store_f32x16(results.at_mut::<64>(368), s::half_to_float_i16x16(v56));
            // Integers, 16 lanes
            let i = s::load_i32x16(ints.at::<64>(0));
            let j = s::load_i32x16(ints.at::<64>(16));
            let l = s::load_i32x16(ints.at::<64>(32));
            let v63 = s::narrow_i32x16(i);
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
            s::store_i8x16(results.at_mut::<16>(592), v63);
            s::store_i32x16(results.at_mut::<64>(608), s::widen_s_i8x16(v63));
            s::store_i32x16(results.at_mut::<64>(624), s::widen_u_i8x16(v63));
            s::store_f32x16(results.at_mut::<64>(640), s::bits_i32x16_f32x16(i));
            let v97 = s::cmp_eq_i32x16(i, j);
            s::store_i32x16(results.at_mut::<64>(656), s::select_i32x16(v97, i, l));
            let v100 = s::cmp_ne_i32x16(i, j);
            s::store_i32x16(results.at_mut::<64>(672), s::select_i32x16(v100, i, l));
            let v103 = s::cmp_lt_i32x16(i, j);
            s::store_i32x16(results.at_mut::<64>(688), s::select_i32x16(v103, i, l));
            let v106 = s::cmp_le_i32x16(i, j);
            s::store_i32x16(results.at_mut::<64>(704), s::select_i32x16(v106, i, l));
            let v109 = s::cmp_gt_i32x16(i, j);
            s::store_i32x16(results.at_mut::<64>(720), s::select_i32x16(v109, i, l));
            let v112 = s::cmp_ge_i32x16(i, j);
            s::store_i32x16(results.at_mut::<64>(736), s::select_i32x16(v112, i, l));
            // Bytes and words
            let bytes_v115 = s::load_i8x64(bytes.at::<64>(0));
            let bytes_v116 = s::load_i8x64(bytes.at::<64>(64));
            let bytes_v117 = s::load_i8x64(bytes.at::<64>(128));
            let v121 = s::and_i8x64(
                bytes_v115,
                s::bits_i32x16_i8x64(s::splat_i32(0x0f0f_0f0f)),
            );
            let v125 = s::splat_i32(1000);
            let v126 = s::dot2_u_i8x64(bytes_v115, bytes_v116);
            let v127 = s::dot2_s_i8x64(v121, bytes_v117);
            let v128 = s::add_i16x32(v126, v127);
            s::store_i8x64(results.at_mut::<64>(752), v121);
            s::store_i8x64(
                results.at_mut::<64>(768),
                s::or_i8x64(bytes_v115, bytes_v116),
            );
            s::store_i8x64(
                results.at_mut::<64>(784),
                s::xor_i8x64(bytes_v115, bytes_v116),
            );
            s::store_i8x64(results.at_mut::<64>(800), s::shr_u_i8x64::<3>(bytes_v116));
            s::store_i8x64(
                results.at_mut::<64>(816),
                s::lookup_i8x64(
                    s::lanes_i8x16([
                        -63,
                        -52,
                        -42,
                        -33,
                        -25,
                        -18,
                        -11,
                        -5,
                        1,
                        7,
                        13,
                        19,
                        27,
                        35,
                        45,
                        57,
                    ]),
                    v121,
                ),
            );
            s::store_i32x16(
                results.at_mut::<64>(832),
                s::dot4_u_i8x64(v125, bytes_v115, bytes_v116),
            );
            s::store_i32x16(
                results.at_mut::<64>(848),
                s::dot4_s_i8x64(v125, bytes_v116, bytes_v117),
            );
            s::store_i16x32(results.at_mut::<64>(864), v126);
            s::store_i16x32(
                results.at_mut::<64>(880),
                s::dot2_s_i8x64(bytes_v116, bytes_v117),
            );
            s::store_i16x32(results.at_mut::<64>(896), v128);
            s::store_i32x16(
                results.at_mut::<64>(912),
                s::dot_words_i16x32(
                    v128,
                    s::bits_i32x16_i16x32(s::splat_i32(0x0001_0001)),
                ),
            );
            s::store_i32x16(results.at_mut::<64>(928), s::bits_i8x64_i32x16(bytes_v116));
            s::store_i16x32(results.at_mut::<64>(944), s::bits_i8x64_i16x32(bytes_v116));
            // Scalars
            let floats_v157 = k::load_f32(floats.at::<4>(3));
            let floats_v158 = k::load_f32(floats.at::<4>(17));
            let floats_v159 = k::load_f32(floats.at::<4>(40));
            let ints_v160 = k::load_i32(ints.at::<4>(3));
            let ints_v161 = k::load_i32(ints.at::<4>(17));
            let v163 = floats_v157 + floats_v158;
            let v166 = floats_v157 < floats_v158;
            let v167 = floats_v158 > floats_v159;
            k::store_f32(results.at_mut::<4>(960), v163 * 0.1);
            k::store_f32(results.at_mut::<4>(976), floats_v157 - floats_v158);
            k::store_f32(results.at_mut::<4>(992), floats_v157 / floats_v158);
            k::store_f32(
                results.at_mut::<4>(1008),
                s::fma_f32(floats_v157, floats_v158, floats_v159),
            );
            k::store_f32(
                results.at_mut::<4>(1024),
                k::min_f32(floats_v157, floats_v158),
            );
            k::store_f32(
                results.at_mut::<4>(1040),
                k::max_f32(floats_v157, -f32::INFINITY),
            );
            k::store_f32(results.at_mut::<4>(1056), -floats_v157);
            k::store_f32(results.at_mut::<4>(1072), s::sqrt_f32(f32::abs(floats_v157)));
            k::store_i32(results.at_mut::<4>(1088), s::to_int_f32(floats_v157));
            k::store_f32(results.at_mut::<4>(1104), ints_v160 as f32);
            k::store_i32(results.at_mut::<4>(1120), f32::to_bits(floats_v157) as i32);
            k::store_f32(results.at_mut::<4>(1136), f32::from_bits(ints_v160 as u32));
            k::store_f32(
                results.at_mut::<4>(1152),
                if v166 && v167 { floats_v157 } else { floats_v158 },
            );
            k::store_i32(
                results.at_mut::<4>(1168),
                if !(v166 || v167) { ints_v160 } else { ints_v161 },
            );
            k::store_i32(
                results.at_mut::<4>(1184),
                ints_v160.wrapping_sub(ints_v161).wrapping_mul(ints_v160),
            );
            k::store_i32(results.at_mut::<4>(1200), ints_v160.wrapping_add(ints_v161));
            k::store_i32(results.at_mut::<4>(1216), i32::min(ints_v160, ints_v161));
            k::store_i32(results.at_mut::<4>(1232), i32::max(ints_v160, ints_v161));
            k::store_i32(results.at_mut::<4>(1248), ints_v160 & ints_v161);
            k::store_i32(results.at_mut::<4>(1264), ints_v160 | ints_v161);
            k::store_i32(results.at_mut::<4>(1280), ints_v160 ^ ints_v161);
            k::store_i32(results.at_mut::<4>(1296), ints_v160 << 3);
            k::store_i32(results.at_mut::<4>(1312), ints_v160 >> 3);
            k::store_i32(results.at_mut::<4>(1328), ((ints_v160 as u32) >> 3) as i32);
            s::store_f32x16(results.at_mut::<64>(1344), s::splat_f32(v163));
        }
    }
}

/// y [rows, 16]: sums over a slot's positions, through every statement
///
/// # Safety
/// As `gem_runtime::abi::Program::run`.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe extern "C" fn statements(
    ctx: *const Ctx,
    args: *const u32,
    begin: u32,
    end: u32,
) {
    debug_assert!(end <= 4);
    // SAFETY: the runtime keeps the contract of `gem_runtime::abi::Program::run`; under it gemc's verifier
    // proved, for these arguments and every item, that each access below lies in its region and each region in
    // its buffer, and items of a phase write disjoint memory.
    unsafe {
        let rows = k::Region::<i32>::rows(ctx);
        let memory = k::KvRegion::<
            f32,
        >::new(ctx, *args.add(0), 16 * (*ctx).context as usize);
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
            let v3 = item * 4;
            let token = k::load_i32(rows.at::<4>(v3));
            let slot = k::load_i32(rows.at::<4>(v3 + 1));
            let position = k::load_i32(rows.at::<4>(v3 + 2));
            let v12 = k::bounded(position, context);
            // Remember the row
            let x_v15 = s::load_f32x16(x.at::<64>(item * 32));
            s::store_f32x16(memory.slot(slot).at_mut::<64>(v12 * 16), x_v15);
            // Sum what the slot remembers, up to this position
            let mut sum = s::splat_f32(0.0);
            for v22 in 0..v12 + 1 {
                let memory_v24 = s::load_f32x16(memory.slot(slot).at::<64>(v22 * 16));
                sum = s::add_f32x16(sum, memory_v24);
            }
            if row_count > 2 {
                sum = cube(sum, 0.5);
            } else {
                sum = s::neg_f32x16(sum);
            }
            for _ in 0..repeat {
                let scratch_v35 = s::load_f32x16(scratch.at::<64>(16));
                s::store_f32x16(
                    scratch.at_mut::<64>(16),
                    s::add_f32x16(scratch_v35, sum),
                );
            }
            let scratch_v38 = s::load_f32x16(scratch.at::<64>(16));
            s::store_f32x16(y.at_mut::<64>(item * 16), scratch_v38);
            k::call_table(
                ctx,
                modules,
                k::bounded(token & 1, 2) as u32,
                item as u32,
                (item + 1) as u32,
            );
        }
    }
}

/// y[row] = factor * (y[row] + row)
///
/// # Safety
/// As `gem_runtime::abi::Program::run`.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe extern "C" fn double_row(
    ctx: *const Ctx,
    args: *const u32,
    begin: u32,
    end: u32,
) {
    debug_assert!(end <= 4);
    // SAFETY: the runtime keeps the contract of `gem_runtime::abi::Program::run`; under it gemc's verifier
    // proved, for these arguments and every item, that each access below lies in its region and each region in
    // its buffer, and items of a phase write disjoint memory.
    unsafe {
        let y = k::Region::<i32>::arena(ctx, *args.add(0), 4);
        for item in begin as i32..end as i32 {
            let y_v1 = k::load_i32(y.at::<4>(item));
            k::store_i32(y.at_mut::<4>(item), y_v1.wrapping_add(item).wrapping_mul(2));
        }
    }
}

/// y[row] = factor * (y[row] + row)
///
/// # Safety
/// As `gem_runtime::abi::Program::run`.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe extern "C" fn triple_row(
    ctx: *const Ctx,
    args: *const u32,
    begin: u32,
    end: u32,
) {
    debug_assert!(end <= 4);
    // SAFETY: the runtime keeps the contract of `gem_runtime::abi::Program::run`; under it gemc's verifier
    // proved, for these arguments and every item, that each access below lies in its region and each region in
    // its buffer, and items of a phase write disjoint memory.
    unsafe {
        let y = k::Region::<i32>::arena(ctx, *args.add(0), 4);
        for item in begin as i32..end as i32 {
            let y_v1 = k::load_i32(y.at::<4>(item));
            k::store_i32(y.at_mut::<4>(item), y_v1.wrapping_add(item).wrapping_mul(3));
        }
    }
}

/// logits [outputs, 16] = x [rows, 16] of the wanted rows
///
/// # Safety
/// As `gem_runtime::abi::Program::run`.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub unsafe extern "C" fn lm_head_16(
    ctx: *const Ctx,
    args: *const u32,
    begin: u32,
    end: u32,
) {
    debug_assert!(end <= 2);
    // SAFETY: the runtime keeps the contract of `gem_runtime::abi::Program::run`; under it gemc's verifier
    // proved, for these arguments and every item, that each access below lies in its region and each region in
    // its buffer, and items of a phase write disjoint memory.
    unsafe {
        let outputs = k::Region::<i32>::outputs(ctx);
        let x = k::Region::<f32>::arena(ctx, *args.add(0), 64);
        let logits = k::Region::<f32>::arena(ctx, *args.add(1), 32);
        for item in begin as i32..end as i32 {
            let outputs_v1 = k::load_i32(outputs.at::<4>(item));
            let x_v6 = s::load_f32x16(x.at::<64>(k::bounded(outputs_v1, 4) * 16));
            s::store_f32x16(logits.at_mut::<64>(item * 16), x_v6);
        }
    }
}
