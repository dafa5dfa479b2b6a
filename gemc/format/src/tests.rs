//! Round trips, edge sizes, extreme values and the error of every codec against its stated tolerance.

mod powers;

use proptest::prelude::*;

use super::*;

/// Relative mean squared error on Gaussian weights: (codec, rounding, largest, smallest believable).
const TOLERANCES: &[(Codec, Rounding, f64, f64)] = &[
    (Codec::B8, Rounding::Plain, 5.0e-5, 1e-5),
    (Codec::B8, Rounding::Search, 3.0e-5, 1e-5),
    (Codec::L6, Rounding::Plain, 5.5e-4, 3e-4),
    (Codec::L6, Rounding::Search, 4.4e-4, 2e-4),
    (Codec::N5, Rounding::Plain, 2.0e-3, 8e-4),
    (Codec::N5, Rounding::Search, 1.35e-3, 8e-4),
    (Codec::L4, Rounding::Plain, 9.0e-3, 5e-3),
    (Codec::L4, Rounding::Search, 6.6e-3, 4e-3),
    (Codec::N4, Rounding::Plain, 8.0e-3, 4e-3),
    (Codec::N4, Rounding::Search, 5.4e-3, 3e-3),
    (Codec::MX4, Rounding::Plain, 1.45e-2, 8e-3),
    (Codec::MX4, Rounding::Search, 1.36e-2, 8e-3),
    (Codec::N3, Rounding::Plain, 3.5e-2, 1e-2),
    (Codec::N3, Rounding::Search, 2.3e-2, 1e-2),
    (Codec::N2, Rounding::Plain, 2.5e-1, 5e-2),
    (Codec::N2, Rounding::Search, 9.6e-2, 5e-2),
];

/// The same on weights of Student's t with 5 degrees of freedom, under search: (codec, largest, smallest believable).
const HEAVY_TAILS: &[(Codec, f64, f64)] = &[
    (Codec::B8, 6e-5, 1e-5),
    (Codec::L6, 8e-4, 2e-4),
    (Codec::N5, 1.9e-3, 8e-4),
    (Codec::L4, 1.15e-2, 4e-3),
    (Codec::N4, 7.8e-3, 3e-3),
    (Codec::MX4, 1.62e-2, 8e-3),
    (Codec::N3, 3.1e-2, 1e-2),
    (Codec::N2, 1.3e-1, 5e-2),
];

const BOTH: [Rounding; 2] = [Rounding::Plain, Rounding::Search];

/// A deterministic stream of roughly normal numbers: sums of 12 uniforms.
pub(crate) fn gaussian(n: usize, mut seed: u64) -> Vec<f32> {
    let mut uniform = move || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..n)
        .map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0)
        .collect()
}

fn relative_error(weights: &[f32], got: impl Iterator<Item = f32>) -> f64 {
    let error: f64 = weights
        .iter()
        .zip(got)
        .map(|(w, g)| f64::from(w - g).powi(2))
        .sum();
    error / weights.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>()
}

fn quantised(codec: Codec, weights: &[f32], rounding: Rounding) -> QuantisedRow {
    let mut row = QuantisedRow::default();
    quantise_row(codec, weights, None, rounding, &mut row);
    row
}

/// Student's t with 5 degrees of freedom: a normal number over the root of the mean square of five.
fn student5(n: usize, seed: u64) -> Vec<f32> {
    gaussian(6 * n, seed)
        .as_chunks::<6>()
        .0
        .iter()
        .map(|[x, chi @ ..]| x / (chi.iter().map(|c| c * c).sum::<f32>() / 5.0).sqrt())
        .collect()
}

fn mean_error(codec: Codec, rounding: Rounding, weights: &[f32]) -> f64 {
    let rows = weights.chunks_exact(1024);
    let count = rows.len() as f64;
    let sum: f64 = rows
        .map(|weights| {
            let row = quantised(codec, weights, rounding);
            relative_error(weights, (0..1024).map(|k| row.weight(codec, k)))
        })
        .sum();
    sum / count
}

/// Largest and smallest believable error.
fn tolerance(codec: Codec, rounding: Rounding) -> (f64, f64) {
    let stated = TOLERANCES.iter().find(|t| t.0 == codec && t.1 == rounding);
    let &(_, _, most, least) = stated.expect("every codec has its tolerance");
    (most, least)
}

#[test]
fn errors_on_gaussian_weights_are_as_stated() {
    let weights = gaussian(1 << 15, 1);
    for &codec in Codec::ALL {
        for rounding in BOTH {
            let error = mean_error(codec, rounding, &weights);
            std::println!("{codec:?} {rounding:?}: {error:.3e}");
            let (most, least) = tolerance(codec, rounding);
            assert!(
                (least..most).contains(&error),
                "{codec:?} {rounding:?}: {error:e}"
            );
        }
    }
}

#[test]
fn errors_on_heavy_tails_are_as_stated() {
    let weights = student5(1 << 15, 7);
    assert_eq!(HEAVY_TAILS.len(), Codec::ALL.len());
    for &(codec, most, least) in HEAVY_TAILS {
        let error = mean_error(codec, Rounding::Search, &weights);
        std::println!("{codec:?}: {error:.3e}");
        assert!((least..most).contains(&error), "{codec:?}: {error:e}");
    }
}

#[test]
fn importance_moves_the_error_where_it_matters_less() {
    let weights = gaussian(1024, 2);
    let importance: Vec<f32> = (0..1024)
        .map(|k| if k % 2 == 0 { 10.0 } else { 0.0 })
        .collect();
    for codec in [Codec::N5, Codec::N4, Codec::L4, Codec::N3, Codec::N2] {
        let even_error = |row: &QuantisedRow| -> f32 {
            (0..1024)
                .step_by(2)
                .map(|k| (weights[k] - row.weight(codec, k)).powi(2))
                .sum()
        };
        let mut weighted = QuantisedRow::default();
        quantise_row(
            codec,
            &weights,
            Some(&importance),
            Rounding::Search,
            &mut weighted,
        );
        let unweighted = quantised(codec, &weights, Rounding::Search);
        assert!(
            even_error(&weighted) < 0.85 * even_error(&unweighted),
            "{codec:?}"
        );
    }
}

#[test]
fn edge_sizes_round_trip_with_padding_in_range() {
    for &codec in Codec::ALL {
        for rows in [1, 15, 16, 17] {
            for cols in [1, 31, 32, 33] {
                check_round_trip(codec, rows, cols);
            }
        }
    }
}

/// A matrix of one part.
fn shape(rows: usize, cols: usize) -> Shape {
    Shape {
        parts: vec![rows],
        cols,
    }
}

fn check_round_trip(codec: Codec, rows: usize, cols: usize) {
    let shape = shape(rows, cols);
    let size = shape.size(codec);
    let weights = gaussian(rows * cols, 3);
    let unit = pack(&shape, codec, &weights, Inputs::Unknown(Rounding::Plain));
    assert_eq!(unit.len(), size.bytes);
    assert!(
        [size.scales_offset, size.row_scales_offset, size.bytes]
            .iter()
            .all(|o| o % ALIGN == 0)
    );
    let (lo, hi) = codec.spec().codes;
    let mut row = QuantisedRow::default();
    for r in 0..size.tiles * TILE_ROWS {
        unpack_row(&size, &unit, r, &mut row);
        assert!(row.codes.iter().all(|c| (lo..=hi).contains(c)));
        if r < rows {
            let direct = quantised(codec, &weights[r * cols..][..cols], Rounding::Plain);
            assert_eq!((&row.codes, &row.scales), (&direct.codes, &direct.scales));
            assert_eq!(row.row_scale, direct.row_scale);
        } else {
            assert!((0..cols).all(|k| row.weight(codec, k) == 0.0), "{codec:?}");
        }
    }
}

#[test]
fn codes_lie_where_kernels_expect_them() {
    let weights: Vec<f32> = (0..16 * 32).map(|i| (i % 97) as f32 - 48.0).collect();
    for &codec in Codec::ALL {
        let shape = shape(16, 32);
        let size = shape.size(codec);
        let unit = pack(&shape, codec, &weights, Inputs::Unknown(Rounding::Plain));
        for r in 0..16 {
            let row = quantised(codec, &weights[r * 32..][..32], Rounding::Plain);
            assert_eq!(unit[size.scales_offset + r], row.scales[0]);
            for k in 0..32 {
                let at = |chunk: usize| unit[chunk * 64 + r * 4 + k % 4];
                let stored = stored(codec.spec().code_bits, k / 4, at);
                assert_eq!(stored as i8, row.codes[k], "{codec:?}: row {r}, column {k}");
            }
        }
    }
}

/// The code of a k-group, given its byte of every chunk: the layout once more, without its general rule.
fn stored(bits: u32, group: usize, at: impl Fn(usize) -> u8) -> u8 {
    let nibble = |chunk: usize| at(chunk) >> (4 * (group / 4)) & 15;
    match bits {
        8 => at(group),
        6 if group < 6 => at(group) & 63,
        6 => {
            let first = 3 * (group - 6);
            at(first) >> 6 | at(first + 1) >> 6 << 2 | at(first + 2) >> 6 << 4
        }
        5 => nibble(group % 4) | (at(4) >> group & 1) << 4,
        4 => nibble(group % 4),
        3 if group % 4 < 3 => nibble(group % 4) & 7,
        3 => nibble(0) >> 3 | nibble(1) >> 3 << 1 | nibble(2) >> 3 << 2,
        2 => at(group % 2) >> (2 * (group / 2)) & 3,
        bits => unreachable!("no rule for {bits} bits"),
    }
}

#[test]
fn zeros_stay_zero() {
    for &codec in Codec::ALL {
        for rounding in BOTH {
            let row = quantised(codec, &[0.0; 70], rounding);
            assert!((0..70).all(|k| row.weight(codec, k) == 0.0), "{codec:?}");
            // A zero block beside a live one.
            let mut weights = vec![0.0; 64];
            weights[3] = 1.0;
            let row = quantised(codec, &weights, rounding);
            let largest = (32..64)
                .map(|k| row.weight(codec, k).abs())
                .fold(0.0, f32::max);
            // Codecs without a zero have row scales.
            let has_row_scales = codec.spec().row_scale_bytes > 0;
            let most = if has_row_scales { row.row_scale } else { 0.0 };
            assert!(largest <= most, "{codec:?}: {largest}");
        }
    }
}

#[test]
fn huge_and_tiny_weights_stay_finite_and_accurate() {
    let base = gaussian(96, 4);
    for scale in [1e-45f32, 1e-38, 1e-33, 1e-20, 1e20, 1e37, f32::MAX / 8.0] {
        let weights: Vec<f32> = base.iter().map(|w| w * scale).collect();
        for &codec in Codec::ALL {
            for rounding in BOTH {
                let row = quantised(codec, &weights, rounding);
                assert!((0..96).all(|k| row.weight(codec, k).is_finite()));
                if (1e-30..1e38).contains(&scale) {
                    let error = relative_error(&weights, (0..96).map(|k| row.weight(codec, k)));
                    let most = 2.0 * tolerance(codec, rounding).0;
                    assert!(error < most, "{codec:?} {scale:e}: {error}");
                }
            }
        }
    }
}

#[test]
fn parts_stand_padded_in_their_order_and_bytes_count_no_padding() {
    let shape = Shape {
        parts: vec![5, 32, 33],
        cols: 33,
    };
    assert_eq!(shape.first_rows().collect::<Vec<_>>(), [0, 32, 64]);
    let tiles = [0..5, 5..5, 5..21, 21..37, 37..53, 53..69, 69..70, 70..70];
    assert_eq!(shape.tiles(), tiles);
    let packed = [0, 4, 5, 36, 37, 69].map(|row| shape.packed_row(row));
    assert_eq!(packed, [0, 4, 32, 63, 64, 96]);
    for &codec in Codec::ALL {
        let size = shape.size(codec);
        assert_eq!(size.tiles, tiles.len());
        let code_bits = 70 * 33 * codec.spec().code_bits as usize;
        let row_scale = codec.spec().row_scale_bytes;
        let bytes = code_bits.div_ceil(8) + 70 * (2 + row_scale);
        assert_eq!(shape.bytes(codec), bytes as u64);
        // Whole tiles and blocks have nothing but gaps between planes.
        let whole = Shape {
            parts: vec![64],
            cols: 96,
        };
        assert_eq!(whole.bytes(codec), whole.size(codec).bytes as u64);
    }
    assert_eq!(mean_bits([(30, Codec::N4), (10, Codec::B8)]), 5.25);
    assert_eq!(mean_bits([]), 0.0);
}

#[test]
fn dequantised_rows_are_the_quantised_ones() {
    let (rows, cols) = (18, 70);
    let weights = gaussian(rows * cols, 5);
    let size = shape(rows, cols).size(Codec::N4);
    let inputs = Inputs::Unknown(Rounding::Search);
    let unit = pack(&shape(rows, cols), Codec::N4, &weights, inputs);
    let (mut scratch, mut out) = (QuantisedRow::default(), vec![0.0; cols]);
    for r in 0..rows {
        dequantise_row(&size, &unit, r, &mut scratch, &mut out);
        let row = quantised(Codec::N4, &weights[r * cols..][..cols], Rounding::Search);
        assert!((0..cols).all(|k| out[k] == row.weight(Codec::N4, k)));
    }
}

#[test]
fn wider_registers_give_the_same_bits() {
    let weights = gaussian(1000, 6);
    for &codec in Codec::ALL {
        for rounding in BOTH {
            let mut narrow = QuantisedRow::default();
            quantise::anywhere(codec, &weights, None, rounding, &mut narrow);
            assert_eq!(narrow, quantised(codec, &weights, rounding), "{codec:?}");
        }
    }
}

#[test]
fn ids_and_names_find_their_codec() {
    for &codec in Codec::ALL {
        assert_eq!(Codec::from_id(codec as u8), Some(codec));
        assert_eq!(Codec::from_name(&codec.name().to_lowercase()), Some(codec));
    }
    assert_eq!(Codec::from_id(0), None);
    assert_eq!(
        TileOrder::from_id(TileOrder::Tile16 as u8),
        Some(TileOrder::Tile16)
    );
    assert_eq!(Codec::N4.bits_per_weight(), 4.25);
}

#[test]
fn the_ladder_ascends_in_size_and_has_the_first_codec_of_each() {
    let expected = [
        Codec::N2,
        Codec::N3,
        Codec::N4,
        Codec::N5,
        Codec::L6,
        Codec::B8,
    ];
    assert_eq!(Codec::LADDER, expected);
}

#[test]
fn values_ascend_with_codes_and_padding_is_nearest_to_zero() {
    for &codec in Codec::ALL {
        let spec = codec.spec();
        let values: Vec<i32> = (spec.codes.0..=spec.codes.1)
            .map(|code| codec.value(code, 0))
            .collect();
        assert!(values.is_sorted(), "{codec:?}");
        let least = values.iter().map(|v| v.abs()).min();
        let padding = codec.value(spec.padding, 0).abs();
        assert_eq!(Some(padding), least, "{codec:?}");
        assert!(spec.row_scale_bytes > 0 || padding == 0, "{codec:?}");
    }
}

#[test]
fn activations_follow_their_rule() {
    let mut x = [0.0f32; 32];
    for (i, x) in x.iter_mut().enumerate() {
        *x = (i as f32 - 16.0) * 0.37;
    }
    let mut codes = [1; 32];
    let scale = activation::quantise_block(&x, &mut codes);
    assert_eq!(codes[0], -127);
    for (x, c) in x.iter().zip(codes) {
        assert!((x - f32::from(c) * scale).abs() <= 0.51 * scale);
    }
    for nothing in [0.0, 1e-38] {
        let scale = activation::quantise_block(&[nothing; 32], &mut codes);
        assert_eq!((scale, codes), (0.0, [0; 32]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_finite_row_gives_codes_in_range_and_finite_weights(
        weights in prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::ZERO | prop::num::f32::SUBNORMAL, 1..100),
    ) {
        for &codec in Codec::ALL {
            let (lo, hi) = codec.spec().codes;
            for rounding in BOTH {
                let row = quantised(codec, &weights, rounding);
                prop_assert!(row.codes.iter().all(|c| (lo..=hi).contains(c)));
                prop_assert!((0..weights.len()).all(|k| row.weight(codec, k).is_finite()));
            }
        }
    }
}
