//! A program, or a C library -> what it needs of the machine that runs it, or gives: versions of glibc, read from the
//! versioned symbols of the ELF file.

use std::fmt;
use std::fs;
use std::path::Path;

use object::elf::{DT_NEEDED, FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, SectionTable};
use object::{Endianness, FileKind};
use serde::{Deserialize, Serialize};

/// What begins the names of glibc's versions.
const PREFIX: &str = "GLIBC_";

/// What a program needs of the machine that runs it, beside the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirements {
    /// The oldest glibc that has all symbols it asks for; nothing when it asks for none.
    pub glibc: Option<String>,
    /// Shared libraries, by file name; none of a static program.
    pub libraries: Vec<String>,
}

impl Requirements {
    /// Of the program at a path; nothing when the file is no ELF file or cannot be read.
    #[must_use]
    pub fn of(program: &Path) -> Option<Self> {
        Self::parse(&fs::read(program).ok()?)
    }

    /// Of a program's bytes.
    fn parse(bytes: &[u8]) -> Option<Self> {
        match FileKind::parse(bytes).ok()? {
            FileKind::Elf32 => needed::<FileHeader32<Endianness>>(bytes),
            FileKind::Elf64 => needed::<FileHeader64<Endianness>>(bytes),
            _ => None,
        }
    }
}

impl fmt::Display for Requirements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.libraries.is_empty() {
            return f.write_str("needs no C library: it is static");
        }
        let others = self.libraries.iter().filter(|name| !of_glibc(name));
        let others: Vec<&str> = others.map(String::as_str).collect();
        match (&self.glibc, others.is_empty()) {
            (Some(version), _) => write!(f, "needs glibc {version} or newer")?,
            (None, false) => f.write_str("needs")?,
            (None, true) => f.write_str("needs a C library")?,
        }
        if !others.is_empty() {
            let and = if self.glibc.is_some() { " and" } else { "" };
            write!(f, "{and} {}", others.join(", "))?;
        }
        if self.glibc.is_some() {
            f.write_str(" (found from the program's versioned symbols)")?;
        }
        Ok(())
    }
}

/// Whether a shared library is a part of glibc, so that the version of glibc says all of it.
fn of_glibc(name: &str) -> bool {
    let parts = ["libc.", "libm.", "libdl.", "libpthread.", "librt.", "ld-"];
    parts.iter().any(|part| name.starts_with(part))
}

/// The version of the glibc whose `libc.so.6` this is.
#[must_use]
pub fn glibc_version(library: &Path) -> Option<String> {
    let bytes = fs::read(library).ok()?;
    match FileKind::parse(&*bytes).ok()? {
        FileKind::Elf32 => given::<FileHeader32<Endianness>>(&bytes),
        FileKind::Elf64 => given::<FileHeader64<Endianness>>(&bytes),
        _ => None,
    }
}

fn needed<Elf: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Option<Requirements> {
    let (endian, sections) = sections::<Elf>(bytes)?;
    let mut found = Requirements::default();
    let dynamic = sections.dynamic_table(endian, bytes).ok()?;
    for entry in dynamic.iter().filter(|entry| entry.tag == DT_NEEDED) {
        found.libraries.extend(text(dynamic.string(entry)));
    }
    let mut versions = Vec::new();
    if let Some((mut files, names)) = sections.gnu_verneed(endian, bytes).ok()? {
        let names = sections.strings(endian, bytes, names).ok()?;
        while let Some((_, mut symbols)) = files.next().ok()? {
            while let Some(symbol) = symbols.next().ok()? {
                versions.extend(text(symbol.name(endian, names)));
            }
        }
    }
    found.glibc = newest(&versions);
    Some(found)
}

fn given<Elf: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Option<String> {
    let (endian, sections) = sections::<Elf>(bytes)?;
    let (mut definitions, names) = sections.gnu_verdef(endian, bytes).ok()??;
    let names = sections.strings(endian, bytes, names).ok()?;
    let mut versions = Vec::new();
    while let Some((_, mut symbols)) = definitions.next().ok()? {
        while let Some(symbol) = symbols.next().ok()? {
            versions.extend(text(symbol.name(endian, names)));
        }
    }
    newest(&versions)
}

fn sections<Elf: FileHeader<Endian = Endianness>>(
    bytes: &[u8],
) -> Option<(Endianness, SectionTable<'_, Elf>)> {
    let header = Elf::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    Some((endian, header.sections(endian, bytes).ok()?))
}

fn text(name: object::Result<&[u8]>) -> Option<String> {
    Some(String::from_utf8_lossy(name.ok()?).into_owned())
}

/// The newest of glibc's versions among names of versions.
fn newest(names: &[String]) -> Option<String> {
    let number = |version: &str| -> Option<Vec<u32>> {
        let parts = version.split('.').map(|part| part.parse().ok());
        parts.collect()
    };
    let versions = names.iter().filter_map(|name| name.strip_prefix(PREFIX));
    let numbered = versions.filter_map(|version| Some((number(version)?, version)));
    numbered.max().map(|(_, version)| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let all = names(&["GLIBC_2.9", "GLIBC_2.34", "GCC_4.2.0", "GLIBC_PRIVATE"]);
        assert_eq!(newest(&all).as_deref(), Some("2.34"));
        assert_eq!(newest(&names(&["GCC_3.0", "GLIBC_PRIVATE"])), None);
    }

    #[test]
    fn requirements_read_as_a_line() {
        let needs = |glibc: Option<&str>, libraries: &[&str]| {
            let glibc = glibc.map(str::to_owned);
            let libraries = names(libraries);
            Requirements { glibc, libraries }.to_string()
        };
        assert_eq!(needs(None, &[]), "needs no C library: it is static");
        assert_eq!(
            needs(
                Some("2.34"),
                &["libc.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2"]
            ),
            "needs glibc 2.34 or newer and libgcc_s.so.1 (found from the program's versioned symbols)"
        );
        assert_eq!(needs(None, &["libc.musl-x86_64.so.1"]), "needs a C library");
        assert_eq!(needs(None, &["libz.so.1"]), "needs libz.so.1");
    }

    /// This test is a program of this machine itself.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn a_program_of_this_machine_needs_no_more_than_it_has() {
        let own = std::env::current_exe().expect("a path");
        let needs = Requirements::of(&own).expect("an ELF file");
        assert!(needs.glibc.as_deref().is_some_and(|v| v.starts_with("2.")));
        assert!(needs.libraries.iter().any(|name| name == "libc.so.6"));
        let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert_eq!(Requirements::of(&text), None, "not a program");
        let mut cut = fs::read(&own).expect("readable");
        cut.truncate(200);
        assert_eq!(Requirements::parse(&cut), None, "a program cut short");
    }
}
