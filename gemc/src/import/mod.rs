//! A GEM checkpoint in, a graph and its weights out.
