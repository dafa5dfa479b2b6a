//! Where the small program keeps what, for the tests that build and run it. Its matrix is in format N4.

/// Rows of a step at most.
pub const MAX_ROWS: usize = 4;
/// Shape of the matrix of the matrix product, `[out, in]`.
pub const MATRIX: [usize; 2] = [32, 64];
/// Byte offsets in the arena of [`crate::small`], multiples of 64.
pub mod place {
    /// i8 `[MAX_ROWS][64]`: codes of the activations.
    pub const CODES: u32 = 0;
    /// f32 `[MAX_ROWS][2]`: their scales.
    pub const SCALES: u32 = 256;
    /// i32 `[MAX_ROWS][2]`: sums of their codes.
    pub const SUMS: u32 = 320;
    /// f32 `[MAX_ROWS][32]`: the product.
    pub const PRODUCT: u32 = 384;
    /// f32 `[3][16]`.
    pub const FLOATS: u32 = 896;
    /// i32 `[3][16]`.
    pub const INTS: u32 = 1088;
    /// i8 `[3][64]`.
    pub const BYTES: u32 = 1280;
    /// f32 `[MAX_ROWS][16]`: results of the kernel that has every statement.
    pub const ROWS: u32 = 1472;
    /// i32 `[MAX_ROWS]`, by the kernels of the call table.
    pub const CALLED: u32 = 1728;
    /// f32 `[2][16]`.
    pub const LOGITS: u32 = 1792;
    /// i32 `[OPERATIONS][16]`: results of every operation.
    pub const RESULTS: u32 = 1920;
    /// Bytes in total.
    pub const END: u32 = RESULTS + 64 * 128;
}

/// Bytes per position of key/value memory.
pub const KV_BYTES: u32 = 64;
