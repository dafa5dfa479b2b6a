//! The devices that `gemc` knows by name: a TOML file each, as text.

/// Names and files, in the order in which they are shown. Those for any machine of an architecture stand before those for
/// one device: a machine that could be several is the first.
pub const ALL: &[(&str, &str)] = &[
    ("portable", include_str!("portable.toml")),
    ("x86-64-v3", include_str!("x86-64-v3.toml")),
    ("x86-64-v3-vnni", include_str!("x86-64-v3-vnni.toml")),
    ("x86-64-v4-vnni", include_str!("x86-64-v4-vnni.toml")),
    ("aarch64", include_str!("aarch64.toml")),
    ("aarch64-dotprod", include_str!("aarch64-dotprod.toml")),
    ("pi4", include_str!("pi4.toml")),
    ("pi5", include_str!("pi5.toml")),
    ("pixel6", include_str!("pixel6.toml")),
    ("iphone13", include_str!("iphone13.toml")),
    ("apple-silicon", include_str!("apple-silicon.toml")),
];
