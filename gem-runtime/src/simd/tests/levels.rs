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
fn levels_have_names() {
    for level in Level::ALL {
        assert_eq!(Level::from_name(level.name()), Some(level));
    }
}
