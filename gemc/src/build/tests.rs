//! Modules as text.
