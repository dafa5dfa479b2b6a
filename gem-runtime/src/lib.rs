//! What a model compiled by `gemc` links.
