//! A tiny checkpoint whose layer is dead: its general path and modules add next to nothing.
