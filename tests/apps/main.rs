//! Models in somebody's app: by macro, build script and generated crate, in one program; what cargo makes again and when;
//! what a mistake is told as.

mod faults;
mod kills;
mod pages;
mod races;
mod tracking;
mod ways;
mod workspace;
