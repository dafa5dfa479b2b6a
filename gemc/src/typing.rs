//! Untyped graph in, graph whose every wire has a type out.
