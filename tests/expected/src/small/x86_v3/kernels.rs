//! Kernels of this model for level `x86_v3`: each runs the items `begin..end` of a phase.

use gem_runtime::abi::Ctx;
use gem_runtime::kernel as k;
use gem_runtime::simd::x86_v3 as s;

/// x * x, one rounding
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn square(x: s::F32x16) -> s::F32x16 {
    s::mul_f32x16(x, x)
}

/// x * x * x + bias, in two steps
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn cube(x: s::F32x16, bias: f32) -> s::F32x16 {
    let v2 = square(x);
    s::fma_f32x16(v2, x, s::splat_f32(bias))
}

/// y [rows, 32] = W x, W [32, 64] in N4
///
/// # Safety
/// As `gem_runtime::abi::Program::run`.
#[target_feature(enable = "avx2,fma,f16c")]
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
                    let v42 = s::dot2_u_i8x64(
                        v38,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v39)),
                    );
                    let v45 = s::bits_i32x16_i16x32(s::splat_i32(0x0001_0001));
                    let v46 = s::dot_words_i16x32(v42, v45);
                    let x_codes_v47 = k::load_i32(x_codes.at::<4>(v31));
                    let v50 = s::dot2_u_i8x64(
                        v38,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v47)),
                    );
                    let v51 = s::dot_words_i16x32(v50, v45);
                    let v52 = s::shr_u_i8x64::<4>(codes_v32);
                    let v53 = s::lookup_i8x64(v37, v52);
                    let x_codes_v56 = k::load_i32(x_codes.at::<4>(v30 + 16));
                    let v59 = s::dot2_u_i8x64(
                        v53,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v56)),
                    );
                    let v60 = s::dot_words_i16x32(v59, v45);
                    let v61 = s::add_i32x16(v46, v60);
                    let x_codes_v63 = k::load_i32(x_codes.at::<4>(v31 + 16));
                    let v66 = s::dot2_u_i8x64(
                        v53,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v63)),
                    );
                    let v67 = s::dot_words_i16x32(v66, v45);
                    let v68 = s::add_i32x16(v51, v67);
                    let codes_v71 = s::load_i8x64(codes.at::<64>(v27 + 64));
                    let v72 = s::and_i8x64(codes_v71, v35);
                    let v73 = s::lookup_i8x64(v37, v72);
                    let x_codes_v76 = k::load_i32(x_codes.at::<4>(v30 + 4));
                    let v79 = s::dot2_u_i8x64(
                        v73,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v76)),
                    );
                    let v80 = s::dot_words_i16x32(v79, v45);
                    let v81 = s::add_i32x16(v61, v80);
                    let x_codes_v83 = k::load_i32(x_codes.at::<4>(v31 + 4));
                    let v86 = s::dot2_u_i8x64(
                        v73,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v83)),
                    );
                    let v87 = s::dot_words_i16x32(v86, v45);
                    let v88 = s::add_i32x16(v68, v87);
                    let v89 = s::shr_u_i8x64::<4>(codes_v71);
                    let v90 = s::lookup_i8x64(v37, v89);
                    let x_codes_v93 = k::load_i32(x_codes.at::<4>(v30 + 20));
                    let v96 = s::dot2_u_i8x64(
                        v90,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v93)),
                    );
                    let v97 = s::dot_words_i16x32(v96, v45);
                    let v98 = s::add_i32x16(v81, v97);
                    let x_codes_v100 = k::load_i32(x_codes.at::<4>(v31 + 20));
                    let v103 = s::dot2_u_i8x64(
                        v90,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v100)),
                    );
                    let v104 = s::dot_words_i16x32(v103, v45);
                    let v105 = s::add_i32x16(v88, v104);
                    let codes_v108 = s::load_i8x64(codes.at::<64>(v27 + 128));
                    let v109 = s::and_i8x64(codes_v108, v35);
                    let v110 = s::lookup_i8x64(v37, v109);
                    let x_codes_v113 = k::load_i32(x_codes.at::<4>(v30 + 8));
                    let v116 = s::dot2_u_i8x64(
                        v110,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v113)),
                    );
                    let v117 = s::dot_words_i16x32(v116, v45);
                    let v118 = s::add_i32x16(v98, v117);
                    let x_codes_v120 = k::load_i32(x_codes.at::<4>(v31 + 8));
                    let v123 = s::dot2_u_i8x64(
                        v110,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v120)),
                    );
                    let v124 = s::dot_words_i16x32(v123, v45);
                    let v125 = s::add_i32x16(v105, v124);
                    let v126 = s::shr_u_i8x64::<4>(codes_v108);
                    let v127 = s::lookup_i8x64(v37, v126);
                    let x_codes_v130 = k::load_i32(x_codes.at::<4>(v30 + 24));
                    let v133 = s::dot2_u_i8x64(
                        v127,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v130)),
                    );
                    let v134 = s::dot_words_i16x32(v133, v45);
                    let v135 = s::add_i32x16(v118, v134);
                    let x_codes_v137 = k::load_i32(x_codes.at::<4>(v31 + 24));
                    let v140 = s::dot2_u_i8x64(
                        v127,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v137)),
                    );
                    let v141 = s::dot_words_i16x32(v140, v45);
                    let v142 = s::add_i32x16(v125, v141);
                    let codes_v145 = s::load_i8x64(codes.at::<64>(v27 + 192));
                    let v146 = s::and_i8x64(codes_v145, v35);
                    let v147 = s::lookup_i8x64(v37, v146);
                    let x_codes_v150 = k::load_i32(x_codes.at::<4>(v30 + 12));
                    let v153 = s::dot2_u_i8x64(
                        v147,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v150)),
                    );
                    let v154 = s::dot_words_i16x32(v153, v45);
                    let v155 = s::add_i32x16(v135, v154);
                    let x_codes_v157 = k::load_i32(x_codes.at::<4>(v31 + 12));
                    let v160 = s::dot2_u_i8x64(
                        v147,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v157)),
                    );
                    let v161 = s::dot_words_i16x32(v160, v45);
                    let v162 = s::add_i32x16(v142, v161);
                    let v163 = s::shr_u_i8x64::<4>(codes_v145);
                    let v164 = s::lookup_i8x64(v37, v163);
                    let x_codes_v167 = k::load_i32(x_codes.at::<4>(v30 + 28));
                    let v170 = s::dot2_u_i8x64(
                        v164,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v167)),
                    );
                    let v171 = s::dot_words_i16x32(v170, v45);
                    let v172 = s::add_i32x16(v155, v171);
                    let x_codes_v174 = k::load_i32(x_codes.at::<4>(v31 + 28));
                    let v177 = s::dot2_u_i8x64(
                        v164,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v174)),
                    );
                    let v178 = s::dot_words_i16x32(v177, v45);
                    let v179 = s::add_i32x16(v162, v178);
                    let scales_v181 = s::load_i8x16(scales.at::<16>(v25 * 16));
                    let v182 = s::widen_s_i8x16(scales_v181);
                    let v184 = s::splat_i32(1);
                    let v185 = s::or_i32x16(v182, v184);
                    let v186 = s::and_i32x16(v182, v184);
                    let v189 = s::mul_i32x16(v186, s::splat_i32(2));
                    let v192 = s::sub_i32x16(v189, s::splat_i32(63));
                    let v193 = v20 + v24;
                    let x_sums_v194 = k::load_i32(x_sums.at::<4>(v193));
                    let v196 = s::mul_i32x16(v192, s::splat_i32(x_sums_v194));
                    let v197 = s::add_i32x16(v172, v196);
                    let v198 = s::mul_i32x16(v197, v185);
                    let v199 = s::to_float_i32x16(v198);
                    let x_scales_v200 = k::load_f32(x_scales.at::<4>(v193));
                    acc = s::fma_f32x16(v199, s::splat_f32(x_scales_v200), acc);
                    let v204 = v22 + v24;
                    let x_sums_v205 = k::load_i32(x_sums.at::<4>(v204));
                    let v207 = s::mul_i32x16(v192, s::splat_i32(x_sums_v205));
                    let v208 = s::add_i32x16(v179, v207);
                    let v209 = s::mul_i32x16(v208, v185);
                    let v210 = s::to_float_i32x16(v209);
                    let x_scales_v211 = k::load_f32(x_scales.at::<4>(v204));
                    acc_m1 = s::fma_f32x16(v210, s::splat_f32(x_scales_v211), acc_m1);
                }
                let v216 = item * 16;
                let row_scales_v217 = s::load_f32x16(row_scales.at::<64>(v216));
                s::store_f32x16(
                    y.at_mut::<64>(v6 * 32 + v216),
                    s::mul_f32x16(acc, row_scales_v217),
                );
                s::store_f32x16(
                    y.at_mut::<64>(v8 * 32 + v216),
                    s::mul_f32x16(acc_m1, row_scales_v217),
                );
            }
            for v228 in v4 * 2..row_count {
                let mut acc_m2 = s::splat_f32(0.0);
                let block_count_v235 = 2;
                let first_block_v236 = item * 2;
                let v237 = v228 * 64;
                let v238 = v228 * 2;
                for v240 in 0..block_count_v235 {
                    let v241 = first_block_v236 + v240;
                    let v243 = v241 * 256;
                    let v246 = v237 + v240 * 32;
                    let codes_v247 = s::load_i8x64(codes.at::<64>(v243));
                    let v250 = s::bits_i32x16_i8x64(s::splat_i32(0x0f0f_0f0f));
                    let v251 = s::and_i8x64(codes_v247, v250);
                    let v252 = s::lanes_i8x16([
                        0, 11, 21, 30, 38, 45, 52, 58, 64, 70, 76, 82, 90, 98, 108, 120,
                    ]);
                    let v253 = s::lookup_i8x64(v252, v251);
                    let x_codes_v254 = k::load_i32(x_codes.at::<4>(v246));
                    let v257 = s::dot2_u_i8x64(
                        v253,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v254)),
                    );
                    let v260 = s::bits_i32x16_i16x32(s::splat_i32(0x0001_0001));
                    let v261 = s::dot_words_i16x32(v257, v260);
                    let v262 = s::shr_u_i8x64::<4>(codes_v247);
                    let v263 = s::lookup_i8x64(v252, v262);
                    let x_codes_v266 = k::load_i32(x_codes.at::<4>(v246 + 16));
                    let v269 = s::dot2_u_i8x64(
                        v263,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v266)),
                    );
                    let v270 = s::dot_words_i16x32(v269, v260);
                    let v271 = s::add_i32x16(v261, v270);
                    let codes_v274 = s::load_i8x64(codes.at::<64>(v243 + 64));
                    let v275 = s::and_i8x64(codes_v274, v250);
                    let v276 = s::lookup_i8x64(v252, v275);
                    let x_codes_v279 = k::load_i32(x_codes.at::<4>(v246 + 4));
                    let v282 = s::dot2_u_i8x64(
                        v276,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v279)),
                    );
                    let v283 = s::dot_words_i16x32(v282, v260);
                    let v284 = s::add_i32x16(v271, v283);
                    let v285 = s::shr_u_i8x64::<4>(codes_v274);
                    let v286 = s::lookup_i8x64(v252, v285);
                    let x_codes_v289 = k::load_i32(x_codes.at::<4>(v246 + 20));
                    let v292 = s::dot2_u_i8x64(
                        v286,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v289)),
                    );
                    let v293 = s::dot_words_i16x32(v292, v260);
                    let v294 = s::add_i32x16(v284, v293);
                    let codes_v297 = s::load_i8x64(codes.at::<64>(v243 + 128));
                    let v298 = s::and_i8x64(codes_v297, v250);
                    let v299 = s::lookup_i8x64(v252, v298);
                    let x_codes_v302 = k::load_i32(x_codes.at::<4>(v246 + 8));
                    let v305 = s::dot2_u_i8x64(
                        v299,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v302)),
                    );
                    let v306 = s::dot_words_i16x32(v305, v260);
                    let v307 = s::add_i32x16(v294, v306);
                    let v308 = s::shr_u_i8x64::<4>(codes_v297);
                    let v309 = s::lookup_i8x64(v252, v308);
                    let x_codes_v312 = k::load_i32(x_codes.at::<4>(v246 + 24));
                    let v315 = s::dot2_u_i8x64(
                        v309,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v312)),
                    );
                    let v316 = s::dot_words_i16x32(v315, v260);
                    let v317 = s::add_i32x16(v307, v316);
                    let codes_v320 = s::load_i8x64(codes.at::<64>(v243 + 192));
                    let v321 = s::and_i8x64(codes_v320, v250);
                    let v322 = s::lookup_i8x64(v252, v321);
                    let x_codes_v325 = k::load_i32(x_codes.at::<4>(v246 + 12));
                    let v328 = s::dot2_u_i8x64(
                        v322,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v325)),
                    );
                    let v329 = s::dot_words_i16x32(v328, v260);
                    let v330 = s::add_i32x16(v317, v329);
                    let v331 = s::shr_u_i8x64::<4>(codes_v320);
                    let v332 = s::lookup_i8x64(v252, v331);
                    let x_codes_v335 = k::load_i32(x_codes.at::<4>(v246 + 28));
                    let v338 = s::dot2_u_i8x64(
                        v332,
                        s::bits_i32x16_i8x64(s::splat_i32(x_codes_v335)),
                    );
                    let v339 = s::dot_words_i16x32(v338, v260);
                    let v340 = s::add_i32x16(v330, v339);
                    let scales_v342 = s::load_i8x16(scales.at::<16>(v241 * 16));
                    let v343 = s::widen_s_i8x16(scales_v342);
                    let v345 = s::splat_i32(1);
                    let v346 = s::or_i32x16(v343, v345);
                    let v347 = s::and_i32x16(v343, v345);
                    let v350 = s::mul_i32x16(v347, s::splat_i32(2));
                    let v353 = s::sub_i32x16(v350, s::splat_i32(63));
                    let v354 = v238 + v240;
                    let x_sums_v355 = k::load_i32(x_sums.at::<4>(v354));
                    let v357 = s::mul_i32x16(v353, s::splat_i32(x_sums_v355));
                    let v358 = s::add_i32x16(v340, v357);
                    let v359 = s::mul_i32x16(v358, v346);
                    let v360 = s::to_float_i32x16(v359);
                    let x_scales_v361 = k::load_f32(x_scales.at::<4>(v354));
                    acc_m2 = s::fma_f32x16(v360, s::splat_f32(x_scales_v361), acc_m2);
                }
                let v366 = item * 16;
                let row_scales_v367 = s::load_f32x16(row_scales.at::<64>(v366));
                s::store_f32x16(
                    y.at_mut::<64>(v228 * 32 + v366),
                    s::mul_f32x16(acc_m2, row_scales_v367),
                );
            }
        }
    }
}

/// Every operation of the kernel IR, one result after the other
///
/// # Safety
/// As `gem_runtime::abi::Program::run`.
#[target_feature(enable = "avx2,fma,f16c")]
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
#[target_feature(enable = "avx2,fma,f16c")]
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
#[target_feature(enable = "avx2,fma,f16c")]
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
#[target_feature(enable = "avx2,fma,f16c")]
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
#[target_feature(enable = "avx2,fma,f16c")]
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
