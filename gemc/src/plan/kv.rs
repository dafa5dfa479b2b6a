//! How keys and values of attention are kept: a choice between a context's memory and exactness.

/// Format of keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KvFormat {
    /// As computed.
    #[default]
    F32,
    /// Half precision: half the memory.
    F16,
    /// Codes with one scale for a head of a position: a quarter of the memory and a little more.
    Int8,
}

impl KvFormat {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Int8];

    /// Name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }

    /// Behind the names of kernels and outlines.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::F32 => "",
            Self::F16 => "_kvf16",
            Self::Int8 => "_kvint8",
        }
    }
}
