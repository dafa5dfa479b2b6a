//! Tables that read back as the runtime's structures, and prefixes.

use std::mem::offset_of;

use super::tables::PROGRAM_BYTES;
use super::*;
use gem_runtime::c::{self, Status};
use gem_runtime::simd::Level;
use gem_runtime::{Name, Task};

#[test]
fn prefixes_begin_c_names() {
    for good in ["gem", "_a", "M2"] {
        assert!(is_prefix(good), "{good}");
    }
    for bad in ["", "2m", "a-b", "a b", "ä", &"a".repeat(65)] {
        assert!(!is_prefix(bad), "{bad}");
    }
}

#[test]
fn messages_are_one_per_status() {
    let messages = Status::ALL.map(Status::message);
    let mut different = messages.to_vec();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), messages.len());
}

/// Every field has a value of its own, so that no two can be exchanged.
#[cfg(target_pointer_width = "64")]
#[test]
fn the_exported_structure_is_the_runtimes() {
    let mut program =
        gemc_kernels::ir::testing::valid_program(&gemc_kernels::ir::testing::Bytes::random(3, 700));
    program.shape = gem_runtime::abi::ProgramShape {
        arena_bytes: 10,
        kv_bytes_per_position: 11,
        ring_bytes: 0,
        rewind: u32::MAX,
        max_rows: 12,
        max_outputs: 13,
        logits: 14,
        logits_stride: 15,
        weight_bytes: 16,
    };
    let info = ModelInfo {
        name: "toy".into(),
        task: Task::SequenceClassification,
        target: "board".into(),
        level: Level::X86V3,
        vocab_size: 21,
        hidden_size: 22,
        max_positions: 23,
        domains: vec![Name::from("law")].into(),
        labels: vec![Name::from("good"), Name::from("bad"), Name::from("ugly")].into(),
        embedding: 0,
        conventions: gem_runtime::Conventions {
            score: gem_runtime::LabelScore::Sigmoid,
            pools_prompt: false,
            ..gem_runtime::Conventions::PLAIN
        },
        bits_per_weight: 4.25,
        weight_bytes: 24,
        plan_hash: std::array::from_fn(|i| i as u8),
        layout: 0x0123_4567_89ab_cdef,
        bos: None,
        eos: vec![25, 26, 27, 28].into(),
    };
    let target = Target::find("x86-64-v3").unwrap();
    let contents = Contents {
        program: &program,
        info: &info,
        target: &target,
        prefix: "gem",
    };
    let tables = Tables::new(&contents);
    let image = &tables.program;
    assert_eq!(image.bytes().len(), size_of::<c::ProgramTable>());
    // SAFETY: the structure is plain data, as long as the bytes; its pointers are not followed.
    let read: c::ProgramTable = unsafe {
        image
            .bytes()
            .as_ptr()
            .cast::<c::ProgramTable>()
            .read_unaligned()
    };
    assert_eq!([read.abi, read.bytes], [c::ABI, PROGRAM_BYTES]);
    assert_eq!(
        (read.plan_hash, read.layout, read.shape),
        (info.plan_hash, info.layout, program.shape)
    );
    let counts = [
        program.body.len(),
        program.head.len(),
        program.tables.len(),
        program.taps.len(),
    ];
    let found = [read.n_body, read.n_head, read.n_tables, read.n_taps];
    assert_eq!(found.map(|n| n as usize), counts);
    assert_eq!(
        [
            read.task,
            read.vocab_size,
            read.hidden_size,
            read.max_positions
        ],
        [c::SEQUENCE_CLASSIFICATION, 21, 22, 23]
    );
    assert_eq!([read.max_context, read.n_logits], [12, 3]);
    let conventions = gem_runtime::Conventions::of_word(read.conventions);
    assert_eq!(conventions.expect("its own word"), info.conventions);
    assert!(gem_runtime::Conventions::of_word(0).is_err());
    assert!(gem_runtime::Conventions::of_word(u32::MAX).is_err());
    assert_eq!([read.n_labels, read.n_domains, read.n_eos], [3, 1, 4]);
    assert_eq!((read.bos, read.bits_per_weight), (c::NONE, 4.25));
    assert_eq!(read.weight_bytes, 24);
    let offsets = [
        offset_of!(c::ProgramTable, name),
        offset_of!(c::ProgramTable, target),
        offset_of!(c::ProgramTable, level),
        offset_of!(c::ProgramTable, features),
        offset_of!(c::ProgramTable, body),
        offset_of!(c::ProgramTable, head),
    ];
    let found = image.pointers().iter().map(|(at, _)| *at as usize);
    let found: Vec<usize> = found.collect();
    assert_eq!(found[..offsets.len()], offsets);
    let last = [
        offset_of!(c::ProgramTable, labels),
        offset_of!(c::ProgramTable, domains),
        offset_of!(c::ProgramTable, eos),
    ];
    assert!(found.ends_with(&last), "{found:?}");
    let name = image.pointers()[0].1;
    let Address::Constant(at) = name else {
        panic!("{name:?} is no text");
    };
    assert!(tables.constants.bytes()[at as usize..].starts_with(b"toy\0"));
}
