//! Limits of the parser; its errors and round trips are in the filetests and with the random programs.

use super::parse;

const SHAPE: &str = "shape arena_bytes 0 kv_bytes_per_position 0 max_rows 1 max_outputs 1 logits 0 logits_stride 0 \
                     weight_bytes 0\n";

#[test]
fn deep_blocks_are_refused_not_followed() {
    let open = "if v0 {\n".repeat(100_000);
    let text = format!("{SHAPE}kernel k0 k items 1 {{\ndoc \"\"\n{open}");
    let error = parse(&text).unwrap_err();
    assert_eq!(error.expected, "blocks at most 64 deep");
}

#[test]
fn errors_count_lines_and_characters() {
    let error = parse(&format!("{SHAPE}\n  tap \"é\" x")).unwrap_err();
    assert_eq!((error.line, error.column), (3, 11));
    assert_eq!(
        error.to_string(),
        "line 3, column 11: found `x`, expected `after`"
    );
}

#[test]
fn huge_ids_allocate_nothing() {
    let text = format!("{SHAPE}kernel k0 k items 1 {{\ndoc \"\"\nv4294967295: i32 = item\n}}\n");
    let error = parse(&text).unwrap_err();
    assert!(error.expected.contains("a definition of v0"), "{error}");
}
