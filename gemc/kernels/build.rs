//! With feature `relocatable`, for x86-64 Linux: compiled copies -> an object file of them and what they call, which
//! refers to nothing else. Elsewhere the file is empty.
//!
//! The copies that are linked into gemc cannot be taken out of it again, so rustc compiles their text once more, with the
//! part of gem-runtime that it names.

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "relocatable")]
    relocatable::write()?;
    Ok(())
}

#[cfg(feature = "relocatable")]
mod relocatable {
    use std::env;
    use std::ffi::OsString;
    use std::fs;
    use std::io::{Error, Result};
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use gem_runtime::sources;

    /// Levels that have copies, named as their modules and files.
    const LEVELS: &[&str] = &["x86_v3", "x86_v3_vnni", "x86_v4_vnni"];

    /// Modules of gem-runtime that copies need.
    const MODULES: &[&str] = &["abi", "kernel", "simd"];

    pub fn write() -> Result<()> {
        let micro = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("src/micro");
        println!("cargo::rerun-if-changed={}", micro.display());
        let out = PathBuf::from(variable("OUT_DIR")?);
        let object = out.join("copies.o");
        let of_target = |name| env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
        if (of_target("ARCH"), of_target("OS")) != ("x86_64".into(), "linux".into()) {
            return fs::write(object, []);
        }
        let runtime = out.join("gem_runtime.rs");
        write_runtime(&runtime)?;
        let copies = out.join("copies.rs");
        write_copies(&copies, &micro)?;
        let rlib = out.join("libgem_runtime.rlib");
        rustc(&runtime, "gem_runtime", &rlib, &["--crate-type=rlib"])?;
        let named = format!("gem_runtime={}", rlib.display());
        let one = ["--crate-type=lib", "--emit=obj", "-Ccodegen-units=1"];
        rustc(
            &copies,
            "copies",
            &object,
            &[&one[..], &["--extern", &named]].concat(),
        )
    }

    fn variable(name: &str) -> Result<OsString> {
        env::var_os(name).ok_or_else(|| Error::other(format!("{name} is not set")))
    }

    /// The modules, with a file that holds them together.
    fn write_runtime(root: &Path) -> Result<()> {
        let folder = root.with_extension("");
        let mut text = String::new();
        for module in MODULES {
            let file = folder.join(module);
            let nested = file.join("mod.rs");
            let file = match nested.strip_prefix(&folder).is_ok_and(known) {
                true => nested,
                false => file.with_extension("rs"),
            };
            text += &format!("#[path = {file:?}]\npub mod {module};\n");
        }
        for (path, source) in sources::FILES {
            let module = path.split(['/', '.']).next().unwrap_or_default();
            if MODULES.contains(&module) {
                let file = folder.join(path);
                fs::create_dir_all(file.parent().unwrap_or(&folder))?;
                fs::write(file, source)?;
            }
        }
        fs::write(root, text)
    }

    fn known(path: &Path) -> bool {
        sources::FILES
            .iter()
            .any(|(file, _)| Path::new(file) == path)
    }

    /// The files of the levels, with what they share and a symbol for the table of each.
    fn write_copies(root: &Path, micro: &Path) -> Result<()> {
        // A loop that writes zeros must stay one: as a call of memset a copy would refer to a symbol.
        let mut text = String::from(
            "#![no_builtins]\n\
            pub type Run = unsafe extern \"C\" fn(*const *mut u8, *const i32, *mut f32);\n\
            #[repr(C)] pub struct Copy { key: u64, run: Run }\n\
            const fn copy(key: u64, run: Run) -> Copy { Copy { key, run } }\n",
        );
        for level in LEVELS {
            let file = micro.join(level).with_extension("rs");
            text += &format!(
                "#[path = {file:?}]\nmod {level};\n\
                #[unsafe(no_mangle)]\npub static gemc_copies_{level}: &[Copy] = {level}::COPIES;\n"
            );
        }
        fs::write(root, text)
    }

    fn rustc(root: &Path, name: &str, out: &Path, options: &[&str]) -> Result<()> {
        let mut command = Command::new(variable("RUSTC")?);
        command
            .args([
                "--edition=2024",
                "--cap-lints=allow",
                "--cfg=feature=\"std\"",
            ])
            .args(["-Copt-level=3", "-Cpanic=abort", "-Cforce-unwind-tables=no"])
            .args(["-Crelocation-model=pic", "--crate-name", name, "-o"])
            .args([out.as_os_str(), root.as_os_str(), "--target".as_ref()])
            .arg(variable("TARGET")?)
            .args(options);
        match command.status()?.success() {
            true => Ok(()),
            false => Err(Error::other(format!("failed: {command:?}"))),
        }
    }
}
