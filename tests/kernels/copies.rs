//! The checked-in copies of inner loops hold what is emitted now: there is no second definition of a dot product.

use gem_runtime::simd::Level;
use gem_tests::needs::repository;
use gemc::target::Target;
use gemc_kernels::ir::verify::verify;
use gemc_kernels::kernels::with_outlines;
use gemc_kernels::rust::micro::copies;

#[test]
fn copies_are_those_emitted_now() {
    for target in Target::all().iter().filter(|t| t.level != Level::Portable) {
        let program = verify(with_outlines(target.dot, target.row_block));
        let copies = copies(&program.expect("sound kernels"), target.level);
        let path = repository("gemc/kernels/src/micro").join(format!("{}.rs", target.level.name()));
        if std::env::var_os("GEM_BLESS").is_some() {
            std::fs::write(&path, &copies).expect("a writable source tree");
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == copies,
            "{} is out of date: GEM_BLESS=1 cargo test -p gem-tests --test kernels copies",
            path.display()
        );
    }
}
