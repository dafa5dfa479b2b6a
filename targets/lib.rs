//! The devices that `gemc` knows by name: a TOML file each, as text.

/// Names and files, in the order in which they are shown.
pub const ALL: &[(&str, &str)] = &[
    ("portable", include_str!("portable.toml")),
    ("x86-64-v3", include_str!("x86-64-v3.toml")),
    ("x86-64-v4-vnni", include_str!("x86-64-v4-vnni.toml")),
    ("aarch64", include_str!("aarch64.toml")),
    ("aarch64-dotprod", include_str!("aarch64-dotprod.toml")),
];
