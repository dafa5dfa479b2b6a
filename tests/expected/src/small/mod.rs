//! The program of `tests/programs.rs`, for every level.

pub mod layout;

/// Declares a level's two files.
macro_rules! level {
    ($name:ident) => {
        #[doc = concat!("Level `", stringify!($name), "`.")]
        pub mod $name {
            mod kernels;
            mod program;

            pub use program::PROGRAM;
        }
    };
}

level!(portable);
#[cfg(target_arch = "aarch64")]
level!(neon);
#[cfg(target_arch = "aarch64")]
level!(neon_dotprod);
#[cfg(target_arch = "x86_64")]
level!(x86_v3);
#[cfg(target_arch = "x86_64")]
level!(x86_v3_vnni);
level!(x86_v4_vnni);
