//! Two models over one runtime.

gem_macros::include_model!("../../models/gem-cls", bits = 4.25);
gem_macros::include_model!("../../models/gem-lm", bits = 4.25);
