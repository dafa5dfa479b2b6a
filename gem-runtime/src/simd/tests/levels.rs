//! What levels say of themselves.

use crate::simd::Level;

#[test]
fn what_a_cpu_lacks_is_named_and_nothing_else() {
    for level in Level::ALL {
        let missing: Vec<&str> = level.missing().collect();
        assert_eq!(missing.is_empty(), level.supported());
        let told = crate::Error::Cpu { needed: level }.to_string();
        let told = told.replace(&format!("`{}`", level.name()), "the level");
        for feature in level.features().split(',').filter(|f| !f.is_empty()) {
            assert_eq!(told.contains(feature), missing.contains(&feature), "{told}");
        }
    }
    assert!(Level::Portable.supported());
    #[cfg(target_arch = "x86_64")]
    assert_eq!(
        Level::X86V3.supported(),
        std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("fma")
            && std::arch::is_x86_feature_detected!("f16c")
    );
}

#[test]
fn a_level_includes_those_whose_features_it_has() {
    use Level::{Neon, NeonDotprod, Portable, X86V3, X86V3Vnni, X86V4Vnni};
    let included = [
        (Neon, Portable),
        (NeonDotprod, Portable),
        (NeonDotprod, Neon),
        (X86V3, Portable),
        (X86V3Vnni, Portable),
        (X86V3Vnni, X86V3),
        (X86V4Vnni, Portable),
        (X86V4Vnni, X86V3),
    ];
    for level in Level::ALL {
        for other in Level::ALL {
            // Ice Lake and Zen 4 have AVX-512 with VNNI, and no AVX-VNNI.
            let expected = level == other || included.contains(&(level, other));
            assert_eq!(level.includes(other), expected, "{level:?} {other:?}");
        }
    }
}

#[test]
fn levels_have_names() {
    for level in Level::ALL {
        assert_eq!(Level::from_name(level.name()), Some(level));
    }
}
