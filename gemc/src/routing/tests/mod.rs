//! Measures on records made by hand, with answers worked out by hand, and on what the executor decides.

mod executed;
mod fixture;

use super::information::{entropy, normalised_mutual_information};
use super::*;
use fixture::{Row, graph, near, records, site};

/// Two texts over two routed layers; see the tests for what is in them.
fn two_domains() -> Routes {
    let graph = graph(&["layers.0", "layers.1"]);
    let mut collector = Collector::new(&graph);
    let a = [
        Row::new(&[0.75, 0.25], &[0], 0),
        Row::new(&[0.5, 0.5], &[0, 1], 1),
        Row::new(&[0.2, 0.8], &[1], 0),
        Row::new(&[0.25, 0.25], &[], 2),
    ];
    let b = [
        Row::new(&[0.1, 0.9], &[1], 0),
        Row::new(&[0.1, 0.9], &[1], 0),
    ];
    let b_later = [
        Row::new(&[0.9, 0.1], &[0], 0),
        Row::new(&[0.1, 0.9], &[1], 0),
    ];
    collector
        .push("a", &records(&[site(0, &a), site(1, &a)]), 0..4)
        .unwrap();
    collector
        .push("b", &records(&[site(0, &b), site(1, &b_later)]), 0..2)
        .unwrap();
    collector.finish()
}

#[test]
fn traffic_gates_and_choices() {
    let routes = two_domains();
    assert_eq!((routes.tokens(), routes.texts["a"]), (6, 4));
    let a = &routes.sites[0].domains["a"];
    assert_eq!((a.tokens, a.fired), (4, Some(0.75)));
    for traffic in &a.traffic {
        // Alone with gate 1, and together with gate 1/2: gates are renormalised.
        assert_eq!((traffic.tokens, traffic.share), (2, 0.5));
        assert_eq!((traffic.gate, traffic.gate_squared), (1.5, 1.25));
    }
    assert_eq!(
        (&a.argmax[..], &a.states[..]),
        (&[3, 1][..], &[2, 1, 1][..])
    );
    assert_eq!(
        (a.together(0, 1), a.together(1, 0), a.together(0, 0)),
        (1, 1, 2)
    );
    let all = &routes.sites[0].all;
    assert_eq!((all.tokens, &all.states[..]), (6, &[2, 3, 1][..]));
    assert_eq!((all.together(0, 1), all.traffic[1].gate), (1, 3.5));
    assert_eq!(routes.sites[0].unreached, [0usize; 0]);
    assert_eq!(routes.sites[0].unrouted, Unrouted::General);
    assert_eq!(routes.state_name(&routes.sites[0], 2), "general");
}

#[test]
fn entropies_and_mutual_information() {
    let routes = two_domains();
    let site = &routes.sites[0];
    let binary = |p: f64| -p * p.ln() - (1.0 - p) * (1.0 - p).ln();
    let mean = (binary(0.75) + 2.0 * 2f64.ln() + binary(0.2)) / 4.0;
    // p are f32.
    assert!((site.domains["a"].entropy_p.unwrap() - mean).abs() < 1e-7);
    near(site.domains["a"].entropy_states, 1.5 * 2f64.ln());
    near(site.domains["b"].entropy_states, 0.0);
    let of = |counts: &[u64]| entropy(counts.iter().copied()).unwrap();
    let (texts, states, both) = (of(&[4, 2]), of(&[2, 3, 1]), of(&[2, 1, 1, 2]));
    near(
        site.domain_nmi,
        2.0 * (texts + states - both) / (texts + states),
    );
}

#[test]
fn clusters_and_density() {
    let routes = two_domains();
    let site = &routes.sites[0];
    let clusters = site.domains["a"].clusters.as_ref().unwrap();
    assert_eq!((clusters.clusters, clusters.occupied), (4, 0.75));
    assert_eq!(
        clusters.tokens.iter().collect::<Vec<_>>(),
        [(&0, &2), (&1, &1), (&2, &1)]
    );
    near(clusters.entropy, 1.5 * 2f64.ln());
    // Domains 0 0 1 2, clusters 0 1 0 2, causal: each row itself, 1 sees 0, 2 sees 0.
    let density = |domain: &str| site.domains[domain].density.unwrap();
    near(density("a").single, 6.0 / 10.0);
    assert_eq!((density("a").mixed, density("a").across), (None, None));
    // Rows 0 and 1 of `a`, then row 1 of `b`: domains 0 0 1, clusters 0 1 0.
    near(density("b").mixed, 5.0 / 6.0);
    near(density("b").across, 1.0 / 2.0);
    near(site.all.density.unwrap().single, 9.0 / 13.0);
}

#[test]
fn transitions_between_sites() {
    let routes = two_domains();
    let [transition] = &routes.transitions[..] else {
        panic!("two sites have one transition");
    };
    assert_eq!(
        (&transition.from[..], &transition.to[..]),
        ("layers.0", "layers.1")
    );
    near(transition.domains["a"].nmi, 1.0);
    assert_eq!(
        transition.domains["b"].nmi, None,
        "the first choice never changes"
    );
    let all = &transition.all;
    near(Some(all.probability(1, 0)), 1.0 / 3.0);
    near(Some(all.probability(1, 1)), 2.0 / 3.0);
    assert_eq!((all.probability(2, 2), all.probability(0, 2)), (1.0, 0.0));
    let joint = [((0, 0), 2), ((1, 1), 2), ((1, 0), 1), ((2, 2), 1)];
    near(
        all.nmi,
        normalised_mutual_information::<u32, u32>(joint).unwrap(),
    );
}

#[test]
fn the_routing_graph_is_a_graph() {
    let routes = two_domains();
    let graph = routes.graph();
    assert_eq!((graph.node_count(), graph.edge_count()), (6, 4));
    assert!(!petgraph::algo::is_cyclic_directed(&graph));
    let shares: f64 = graph.node_weights().map(|node| node.share).sum();
    near(Some(shares), 2.0);
    insta::assert_snapshot!(dot(&graph), @r#"
    digraph routes {
      rankdir=LR
      node [shape=ellipse, fontname=monospace]
      subgraph "cluster_layers.0" {
        label="layers.0"
        r0 [label="law \"x\"\n2 tokens, 33.3 %"]
        r1 [label="stem\n3 tokens, 50.0 %"]
        r2 [label="general\n1 tokens, 16.7 %"]
      }
      subgraph "cluster_layers.1" {
        label="layers.1"
        r3 [label="law \"x\"\n3 tokens, 50.0 %"]
        r4 [label="stem\n2 tokens, 33.3 %"]
        r5 [label="general\n1 tokens, 16.7 %"]
      }
      r0 -> r3 [label="1.000", penwidth=4.25]
      r1 -> r3 [label="0.333", penwidth=1.58]
      r1 -> r4 [label="0.667", penwidth=2.92]
      r2 -> r5 [label="1.000", penwidth=4.25]
    }
    "#);
}

#[test]
fn rare_is_below_half_a_percent_of_the_fired() {
    let graph = graph(&["layers.0"]);
    let count = |rare: usize, unfired: usize| {
        let mut rows = vec![Row::new(&[0.9, 0.1], &[0], 0); 1000 - rare];
        rows.extend(vec![Row::new(&[0.1, 0.9], &[1], 0); rare]);
        rows.extend(vec![Row::new(&[0.3, 0.1], &[], 0); unfired]);
        let mut collector = Collector::new(&graph);
        let records = records(&[site(0, &rows)]);
        collector.push("a", &records, 0..rows.len()).unwrap();
        let site = collector.finish().sites.remove(0);
        (site.unreached, site.rare)
    };
    assert_eq!(count(4, 0), (vec![], vec![1]));
    assert_eq!(count(5, 500), (vec![], vec![]), "the unfired do not count");
    assert_eq!(count(0, 0), (vec![1], vec![]));
}

#[test]
fn nothing_fired_and_windows_of_one_token() {
    let graph = graph(&["layers.0", "layers.1"]);
    let mut collector = Collector::new(&graph);
    let row = [Row::new(&[0.2, 0.1], &[], 3)];
    let one = records(&[site(0, &row), site(1, &row)]);
    collector.push("a", &one, 0..1).unwrap();
    collector.push("b", &one, 0..1).unwrap();
    collector.push("b", &one, 1..1).unwrap();
    let routes = collector.finish();
    let site = &routes.sites[0];
    assert_eq!((site.all.tokens, site.all.fired), (2, Some(0.0)));
    assert_eq!(
        (&site.unreached[..], &site.all.states[..]),
        (&[0, 1][..], &[0, 0, 2][..])
    );
    assert_eq!(
        (site.domain_nmi, site.all.entropy_states),
        (None, Some(0.0))
    );
    let density = site.domains["b"].density.unwrap();
    assert_eq!((density.single, density.mixed), (Some(1.0), None));
    assert_eq!(routes.transitions[0].all.probability(2, 2), 1.0);
    assert!(!routes.json().contains("-0.0"), "{}", routes.json());
}

#[test]
fn no_text_has_no_shares() {
    for sites in [&["layers.0", "layers.1"][..], &["final"], &[]] {
        let graph = graph(sites);
        let routes = Collector::new(&graph).finish();
        assert_eq!((routes.tokens(), routes.sites.len()), (0, sites.len()));
        for site in &routes.sites {
            assert_eq!((site.all.fired, site.all.entropy_p), (None, None));
            assert_eq!(site.all.entropy_states, None);
        }
        let states: usize = routes.sites.iter().map(|s| s.all.states.len()).sum();
        let network = routes.graph();
        assert_eq!((network.node_count(), network.edge_count()), (states, 0));
        assert!(dot(&network).ends_with("}\n"));
        assert_eq!(routes.expected(&graph, |_| 1.0), ExpectedCost::default());
    }
    let routes = Collector::new(&graph(&["final"])).finish();
    assert_eq!(
        routes.state_name(&routes.sites[0], 2),
        "none",
        "the input passes"
    );
}

#[test]
fn records_of_something_else_are_refused_and_change_nothing() {
    let graph = graph(&["layers.0", "layers.1"]);
    let mut collector = Collector::new(&graph);
    let rows = [Row::new(&[0.75, 0.25], &[0], 0)];
    let partial = records(&[site(0, &rows)]);
    let refused = collector.push("a", &partial, 0..1).unwrap_err();
    assert!(
        refused.to_string().contains("without layers.1"),
        "{refused}"
    );
    let whole = records(&[site(0, &rows), site(1, &rows)]);
    let refused = collector.push("a", &whole, 0..2).unwrap_err();
    assert!(refused.to_string().contains("0..2"), "{refused}");
    let wide = [Row::new(&[0.5, 0.25, 0.25], &[0], 0)];
    let refused = collector.push("a", &records(&[site(0, &rows), site(1, &wide)]), 0..1);
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("expected 2 modules and 4 clusters, found 3"),
        "{refused}"
    );
    assert_eq!(collector.finish().tokens(), 0);
}

#[test]
fn json_keeps_what_was_measured() {
    let routes = two_domains();
    let text = routes.json();
    assert_eq!(
        text,
        two_domains().json(),
        "the same text gives the same bytes"
    );
    let read: Routes = serde_json::from_str(&text).unwrap();
    assert_eq!(read.sites[0].all.states, routes.sites[0].all.states);
    let clusters = |r: &Routes| r.sites[0].domains["a"].clusters.clone().unwrap().tokens;
    assert_eq!(clusters(&read), clusters(&routes));
    assert_eq!(read.transitions[0].all.edges.len(), 4);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["sites"][0]["all"]["coselection"][0]["tokens"], 1);
    assert_eq!(value["sites"][0]["unrouted"], "general");
}
