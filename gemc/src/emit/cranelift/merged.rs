//! Compiled copies for object files: `gemc_kernels::micro::OBJECT` to functions with what they refer to, ready to be placed
//! in another object.
//!
//! The file is ELF for x86-64, made while gemc was built. Each of its functions has a section of its own; they refer to
//! constants alone, relative to where they stand. Anything else is a fault of gemc's build, and its tests say so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use cranelift_codegen::binemit::Reloc;
use cranelift_module::{DataDescription, Linkage, Module, ModuleReloc, ModuleRelocTarget};
use gem_runtime::simd::Level;
use object::read::elf::ElfFile64;
use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationFlags, RelocationTarget,
    SectionIndex, SectionKind, elf,
};

use super::error::EmitError;

/// Number of a section of the file.
type Section = usize;

/// The number of a copy among all.
pub(super) type Number = u32;

/// All copies, and the constants that they share.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// By level, best first: the number of each copy by the key of its outline.
    levels: Vec<(Level, BTreeMap<u64, Number>)>,
    functions: Vec<Function>,
    constants: BTreeMap<Section, Constants>,
}

#[derive(Debug)]
struct Function {
    code: &'static [u8],
    alignment: u64,
    references: Vec<Reference>,
}

/// A place in a function's code that is to hold the distance from it to a constant.
#[derive(Debug)]
struct Reference {
    at: u32,
    constants: Section,
    /// What is added to the address of the constants.
    addend: i64,
}

#[derive(Debug)]
struct Constants {
    bytes: &'static [u8],
    alignment: u64,
}

impl Merged {
    /// The copies for the system that gemc was built for, if there are any.
    pub(super) fn of_this_system() -> Option<&'static Self> {
        static MERGED: OnceLock<Option<Merged>> = OnceLock::new();
        let read = || (!gemc_kernels::micro::OBJECT.is_empty()).then(Self::read);
        let merged = MERGED.get_or_init(read).as_ref();
        merged.filter(|merged| !merged.functions.is_empty())
    }

    /// The best copy for CPUs of a level.
    pub(super) fn find(&self, key: u64, level: Level) -> Option<Number> {
        let levels = self.levels.iter().filter(|(of, _)| level.includes(*of));
        levels
            .filter_map(|(_, numbers)| numbers.get(&key))
            .next()
            .copied()
    }

    /// Reads the file. One that cannot be read whole gives no copies: code without them is right, and a test asks for them.
    fn read() -> Self {
        let file = ElfFile64::parse(gemc_kernels::micro::OBJECT);
        let read = file.ok().and_then(|file| Reader::new(&file).read());
        debug_assert!(read.is_some(), "the object file of copies is readable");
        read.unwrap_or_default()
    }

    /// Places copies in a module under names that begin with `prefix`: what calls of each refer to.
    pub(super) fn place<M: Module>(
        &self,
        module: &mut M,
        numbers: &BTreeSet<Number>,
        prefix: &str,
    ) -> Result<BTreeMap<Number, ModuleRelocTarget>, EmitError> {
        let functions = || numbers.iter().map(|&n| (n, &self.functions[n as usize]));
        let used = functions().flat_map(|(_, function)| &function.references);
        let used: BTreeSet<Section> = used.map(|reference| reference.constants).collect();
        let mut constants = BTreeMap::new();
        for (i, section) in used.into_iter().enumerate() {
            let Constants { bytes, alignment } = self.constants[&section];
            let name = format!("{prefix}_copies_constants{i}");
            let data = module
                .declare_data(&name, Linkage::Local, false, false)
                .map_err(Box::new)?;
            let mut description = DataDescription::new();
            description.define(bytes.into());
            description.set_align(alignment);
            module.define_data(data, &description).map_err(Box::new)?;
            constants.insert(section, ModuleRelocTarget::from(data));
        }
        let signature = super::copy::signature(module.isa().default_call_conv());
        let mut placed = BTreeMap::new();
        for (i, (number, function)) in functions().enumerate() {
            let name = format!("{prefix}_copy{i}");
            let id = module
                .declare_function(&name, Linkage::Local, &signature)
                .map_err(Box::new)?;
            let references = function.references.iter().map(|reference| ModuleReloc {
                offset: reference.at,
                kind: Reloc::X86PCRel4,
                name: constants[&reference.constants].clone(),
                addend: reference.addend,
            });
            let references: Vec<ModuleReloc> = references.collect();
            module
                .define_function_bytes(id, function.alignment, function.code, &references)
                .map_err(Box::new)?;
            placed.insert(number, ModuleRelocTarget::from(id));
        }
        Ok(placed)
    }
}

/// Reads [`Merged`] from the file; `None` wherever it is not as described above.
struct Reader<'a> {
    file: &'a ElfFile64<'static>,
    merged: Merged,
    /// Functions that were read.
    numbers: BTreeMap<Section, Number>,
}

/// An address as a section and an offset in it.
struct Place {
    section: Section,
    offset: i64,
}

impl<'a> Reader<'a> {
    fn new(file: &'a ElfFile64<'static>) -> Self {
        Self {
            file,
            merged: Merged::default(),
            numbers: BTreeMap::new(),
        }
    }

    fn read(mut self) -> Option<Merged> {
        for level in Level::ALL.into_iter().rev() {
            let name = format!("gemc_copies_{}", level.name());
            let Some(symbol) = self.file.symbol_by_name(&name) else {
                continue;
            };
            let table = self.pointer(&Place {
                section: symbol.section_index()?.0,
                offset: symbol.address().cast_signed(),
            })?;
            let count = self.word(symbol.section_index()?.0, symbol.address() + 8)?;
            let numbers = (0..count).map(|i| self.entry(&table, i));
            let numbers = numbers.collect::<Option<_>>()?;
            self.merged.levels.push((level, numbers));
        }
        Some(self.merged)
    }

    /// A key, and the number of its function.
    fn entry(&mut self, table: &Place, i: u64) -> Option<(u64, Number)> {
        let at = u64::try_from(table.offset).ok()? + 16 * i;
        let key = self.word(table.section, at)?;
        let code = self.pointer(&Place {
            section: table.section,
            offset: at.cast_signed() + 8,
        })?;
        Some((key, self.function(&code)?))
    }

    fn function(&mut self, place: &Place) -> Option<Number> {
        if let Some(&number) = self.numbers.get(&place.section) {
            return Some(number);
        }
        let section = self
            .file
            .section_by_index(SectionIndex(place.section))
            .ok()?;
        if section.kind() != SectionKind::Text || place.offset != 0 {
            return None;
        }
        let mut references = Vec::new();
        for (at, reference) in section.relocations() {
            let relative = RelocationFlags::Elf {
                r_type: elf::R_X86_64_PC32,
            };
            if reference.flags() != relative {
                return None;
            }
            let place = self.target(reference.target(), reference.addend())?;
            self.keep_constants(place.section)?;
            references.push(Reference {
                at: u32::try_from(at).ok()?,
                constants: place.section,
                addend: place.offset,
            });
        }
        let number = Number::try_from(self.merged.functions.len()).ok()?;
        self.merged.functions.push(Function {
            code: section.data().ok()?,
            alignment: section.align(),
            references,
        });
        self.numbers.insert(place.section, number);
        Some(number)
    }

    fn keep_constants(&mut self, index: Section) -> Option<()> {
        let section = self.file.section_by_index(SectionIndex(index)).ok()?;
        let plain = matches!(
            section.kind(),
            SectionKind::ReadOnlyData | SectionKind::ReadOnlyString
        );
        if !plain || section.relocations().next().is_some() {
            return None;
        }
        let constants = Constants {
            bytes: section.data().ok()?,
            alignment: section.align(),
        };
        self.merged.constants.insert(index, constants);
        Some(())
    }

    /// What an address in a table leads to.
    fn pointer(&self, at: &Place) -> Option<Place> {
        let section = self.file.section_by_index(SectionIndex(at.section)).ok()?;
        let offset = u64::try_from(at.offset).ok()?;
        let (_, reference) = section.relocations().find(|(at, _)| *at == offset)?;
        self.target(reference.target(), reference.addend())
    }

    fn target(&self, target: RelocationTarget, addend: i64) -> Option<Place> {
        let RelocationTarget::Symbol(symbol) = target else {
            return None;
        };
        let symbol = self.file.symbol_by_index(symbol).ok()?;
        Some(Place {
            section: symbol.section_index()?.0,
            offset: symbol.address().cast_signed() + addend,
        })
    }

    fn word(&self, section: Section, at: u64) -> Option<u64> {
        let section = self.file.section_by_index(SectionIndex(section)).ok()?;
        let at = usize::try_from(at).ok()?;
        let bytes = section.data().ok()?.get(at..at + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }
}

#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
mod tests {
    use cranelift_module::default_libcall_names;
    use cranelift_object::{ObjectBuilder, ObjectModule};

    use super::*;
    use crate::emit::cranelift::{Effort, Isa};
    use crate::target::Target;

    const LEVELS: [Level; 3] = [Level::X86V3, Level::X86V3Vnni, Level::X86V4Vnni];

    #[test]
    fn the_file_has_the_copies_that_are_linked_here() {
        let merged = Merged::of_this_system().expect("copies of this system");
        for level in LEVELS {
            let numbers = merged.levels.iter().find(|(of, _)| *of == level);
            let (_, numbers) = numbers.expect("the level has copies");
            let here: BTreeSet<u64> = gemc_kernels::micro::keys(level).collect();
            assert!(
                !here.is_empty() && numbers.keys().copied().eq(here),
                "{level:?}"
            );
        }
        let own = merged.levels[2].1.keys().next().copied().unwrap();
        assert!(merged.find(own, Level::Portable).is_none());
        assert!(merged.find(own, Level::X86V4Vnni).is_some());
        // AVX-512 with VNNI does not include AVX-VNNI, though it is the higher level.
        let [v3, vnni, v4] = LEVELS.map(|level| {
            let keys = gemc_kernels::micro::keys(level);
            keys.collect::<BTreeSet<u64>>()
        });
        let apart = vnni
            .iter()
            .find(|key| !v3.contains(key) && !v4.contains(key));
        let apart = *apart.expect("products of bytes by weights in registers");
        assert!(merged.find(apart, Level::X86V3Vnni).is_some());
        assert!(merged.find(apart, Level::X86V4Vnni).is_none());
    }

    #[test]
    fn placed_copies_refer_to_what_is_placed_with_them() {
        let merged = Merged::of_this_system().expect("copies of this system");
        let isa = Isa::of_target(&Target::find("x86-64-v3").unwrap(), Effort::Low).unwrap();
        let module = ObjectBuilder::new(isa.shared(), "copies", default_libcall_names());
        let mut module = ObjectModule::new(module.unwrap());
        let all = (0..merged.functions.len() as u32).collect();
        let placed = merged.place(&mut module, &all, "gem").unwrap();
        assert_eq!(placed.len(), merged.functions.len());
        let bytes = module.finish().emit().unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let named = file.symbols().filter(|symbol| symbol.name() != Ok(""));
        for symbol in named {
            assert!(symbol.is_local() && !symbol.is_undefined(), "{symbol:?}");
        }
        let references = file.sections().flat_map(|section| section.relocations());
        let expected = merged.functions.iter().map(|f| f.references.len());
        assert_eq!(references.count(), expected.sum::<usize>());
    }
}
