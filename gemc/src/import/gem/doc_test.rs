//! `docs/checkpoint.md` prints the tensor table of `tensors.rs`; this test keeps the two alike.

use super::{Dim, EMBEDDING, Group, HEAD, LAYER, MODULE, ROUTED};

const PAGE: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../docs/checkpoint.md"
));

fn name(dim: &Dim) -> &'static str {
    match dim {
        Dim::Hidden => "d",
        Dim::Vocab => "vocab_size",
        Dim::Positions => "max_position_embeddings",
        Dim::Types => "type_vocab_size",
        Dim::Query => "q",
        Dim::KeyValue => "kv",
        Dim::Head => "head_dim",
        Dim::General => "f",
        Dim::Module => "fm",
        Dim::Rank => "rank",
        Dim::Domains => "D",
        Dim::Clusters => "clusters",
        Dim::Scar => "3d",
        Dim::Labels => "num_labels",
    }
}

fn rows(group: &Group, prefix: &str, condition: &str) -> String {
    let line = |row: &super::Row| {
        let shape: Vec<&str> = row.shape.iter().map(name).collect();
        let when = match (condition, row.when) {
            ("", when) => when.to_owned(),
            (condition, "always") => condition.to_owned(),
            (condition, when) => format!("{condition}, {when}"),
        };
        format!(
            "| `{prefix}{}` | [{}] | {when} |\n",
            row.path,
            shape.join(", ")
        )
    };
    group.rows.iter().map(line).collect()
}

#[test]
fn the_page_prints_the_table() {
    let table = [
        "| tensor | shape | present |\n|---|---|---|\n".to_owned(),
        rows(&EMBEDDING, EMBEDDING.prefix, ""),
        rows(&LAYER, LAYER.prefix, ""),
        rows(&ROUTED, ROUTED.prefix, "routed layer"),
        rows(&MODULE, MODULE.prefix, "routed layer"),
        rows(&HEAD, HEAD.prefix, ""),
    ]
    .concat();
    assert!(
        PAGE.contains(&table),
        "docs/checkpoint.md must hold:\n{table}"
    );
}
