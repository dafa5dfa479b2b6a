//! A small page as a snapshot; hostile names, broken numbers and missing sections.

use roxmltree::{Document, ParsingOptions};

use super::*;

/// Parses the page as XML: every tag closed, every text escaped.
fn parse(html: &str) -> Document<'_> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(html, options).unwrap_or_else(|e| panic!("{e}\n{html}"))
}

fn sections(html: &str) -> Vec<String> {
    let document = parse(html);
    let sections = document.descendants().filter(|n| n.has_tag_name("section"));
    sections
        .map(|n| n.attribute("id").unwrap().to_owned())
        .collect()
}

fn state(name: &str, share: f64) -> RouteState {
    RouteState {
        name: name.to_owned(),
        share,
    }
}

/// Every section, with these names and this number in places where any number may be.
fn page(name: &str, x: f64) -> Page {
    let column = |site: &str| RouteColumn {
        site: site.to_owned(),
        states: vec![state(name, x), state("stem", 0.25), state("general", 0.0)],
    };
    let step = |from, to, probability| RouteStep {
        column: 0,
        from,
        to,
        probability,
        share: 0.5 * probability,
    };
    let unit = |layer: &str, format: &str, bits: f64| UnitRow {
        unit: format!("model.{layer}.{name}"),
        layer: layer.to_owned(),
        kind: "module down".to_owned(),
        format: format.to_owned(),
        bits,
        bytes: 1_234_567,
        predicted_kl: Some(x),
        reason: name.to_owned(),
    };
    let point = |series: &str, bytes, kl, chosen: bool| FrontierPoint {
        series: series.to_owned(),
        label: name.to_owned(),
        bytes,
        kl,
        latency_ms: chosen.then_some(2.5),
        chosen,
    };
    Page {
        title: format!("{name} at 3.25 bits"),
        facts: vec![("checkpoint".to_owned(), name.to_owned())],
        routing: Some(RoutingGraph {
            columns: vec![column("layers.0"), column("layers.1")],
            edges: vec![step(0, 0, x), step(1, 2, 1.0)],
        }),
        dead: None,
        traffic: vec![TrafficMap {
            site: "layers.0".to_owned(),
            states: vec![name.to_owned(), "general".to_owned()],
            rows: vec![
                ("law".to_owned(), vec![x, 0.4]),
                (name.to_owned(), vec![0.1, 0.9]),
            ],
        }],
        sites: vec![
            SiteRow {
                site: "layers.0".to_owned(),
                fired: Some(0.9),
                entropy_p: Some(x),
                density_single: Some(0.7),
                unreached: vec![name.to_owned()],
                ..SiteRow::default()
            },
            SiteRow {
                site: "layers.1".to_owned(),
                fired: Some(0.8),
                entropy_p: Some(1.5),
                ..SiteRow::default()
            },
        ],
        causal: vec![CausalRow {
            site: "layers.0".to_owned(),
            module: name.to_owned(),
            share: 0.1,
            kl: x,
            kl_free: None,
        }],
        units: vec![
            unit("layers.0", "N4", 4.25),
            unit("layers.1", "N3", 3.25),
            unit("head", "B8", 8.25),
        ],
        sensitivity: vec![
            SlopeRow {
                group: format!("{name} down"),
                slope: Some(12.0),
                curvature: Some(x),
                measured_kl: Some(0.002),
            },
            SlopeRow {
                group: "head".to_owned(),
                slope: None,
                ..SlopeRow::default()
            },
        ],
        predictions: vec![
            Prediction {
                label: name.to_owned(),
                predicted: 0.01,
                measured: x,
            },
            Prediction {
                label: "plan 2".to_owned(),
                predicted: 0.02,
                measured: 0.025,
            },
        ],
        frontier: vec![
            point("uniform", 9_000_000, 0.02, false),
            point("uniform", 6_000_000, 0.2, false),
            point("plan", 6_000_000, x, true),
        ],
        domains: vec![
            DomainRow {
                domain: "law".to_owned(),
                kl: x,
                uniform: Some(0.3),
            },
            DomainRow {
                domain: name.to_owned(),
                kl: 0.02,
                uniform: None,
            },
        ],
    }
}

const ALL: [&str; 9] = [
    "frontier",
    "domains",
    "bits",
    "predictions",
    "sensitivity",
    "routing",
    "traffic",
    "sites",
    "causal",
];

#[test]
fn a_small_page() {
    let html = render(&page("health", 0.125)).unwrap();
    assert_eq!(html, render(&page("health", 0.125)).unwrap());
    assert_eq!(sections(&html), ALL);
    insta::assert_snapshot!("page", html);
}

#[test]
fn every_plot_has_a_title_and_a_table_behind_it() {
    let html = render(&page("health", 0.125)).unwrap();
    let document = parse(&html);
    for section in document.descendants().filter(|n| n.has_tag_name("section")) {
        let count = |tag: &str| {
            section
                .descendants()
                .filter(|n| n.has_tag_name(tag))
                .count()
        };
        assert!(count("svg") > 0 && count("details") > 0, "{section:?}");
    }
    for plot in document.descendants().filter(|n| n.has_tag_name("svg")) {
        let title = plot.children().find(|n| n.has_tag_name("title"));
        assert!(!title.unwrap().text().unwrap().is_empty());
    }
    // A head names as many columns as every row has.
    for table in document.descendants().filter(|n| n.has_tag_name("details")) {
        let count =
            |row: roxmltree::Node<'_, '_>| row.children().filter(|n| n.is_element()).count();
        let rows: Vec<usize> = table
            .descendants()
            .filter(|n| n.has_tag_name("tr"))
            .map(count)
            .collect();
        assert!(rows.iter().all(|n| *n == rows[0]), "{rows:?}");
    }
}

#[test]
fn nothing_is_loaded_and_nothing_runs() {
    let html = render(&page("health", 0.125)).unwrap();
    for word in ["://", "<script", "<link", "<img", "@import", "url("] {
        assert!(!html.contains(word), "{word}");
    }
    let document = parse(&html);
    for attribute in document.descendants().flat_map(|n| n.attributes()) {
        let name = attribute.name();
        assert!(!name.starts_with("on") && name != "src", "{attribute:?}");
        assert!(
            name != "href" || attribute.value().starts_with('#'),
            "{attribute:?}"
        );
    }
}

#[test]
fn sections_without_data_are_left_out() {
    let empty = render(&Page::default()).unwrap();
    assert!(
        sections(&empty).is_empty() && !empty.contains("<nav>"),
        "{empty}"
    );
    for (i, name) in ALL.iter().enumerate() {
        let full = page("health", 0.125);
        let mut one = Page::default();
        match i {
            0 => one.frontier = full.frontier,
            1 => one.domains = full.domains,
            2 => one.units = full.units,
            3 => one.predictions = full.predictions,
            4 => one.sensitivity = full.sensitivity,
            5 => one.routing = full.routing,
            6 => one.traffic = full.traffic,
            7 => one.sites = full.sites,
            _ => one.causal = full.causal,
        }
        assert_eq!(sections(&render(&one).unwrap()), [*name]);
    }
    let nothing = Page {
        routing: Some(RoutingGraph::default()),
        traffic: vec![TrafficMap::default()],
        ..Page::default()
    };
    assert!(sections(&render(&nothing).unwrap()).is_empty());
}

#[test]
fn hostile_names_stay_text() {
    let hostile = "</svg><script>alert('1')</script>&amp;\"]]>{{ 7 * 7 }}<!--\u{0}\u{202E}\u{FFFF}";
    let html = render(&page(hostile, 0.125)).unwrap();
    assert_eq!(sections(&html), ALL);
    assert!(!html.contains("<script") && !html.contains(">49<"));
    let document = parse(&html);
    let seen = svg::clean(hostile);
    let cells = document.descendants().filter(|n| n.has_tag_name("td"));
    assert!(cells.filter(|n| n.text() == Some(seen.as_str())).count() >= 5);
    let long = "n".repeat(10_000);
    parse(&render(&page(&long, 0.125)).unwrap());
}

#[test]
fn broken_numbers_are_left_out_of_plots_and_named_in_tables() {
    for (x, word) in [
        (f64::NAN, "not a number"),
        (f64::INFINITY, "∞"),
        (f64::NEG_INFINITY, "−∞"),
        (0.0, "0"),
        (-1.0, "−1"),
        (f64::MAX, "1.8e308"),
        (f64::MIN_POSITIVE, "2.23e-308"),
    ] {
        let html = render(&page("health", x)).unwrap();
        assert_eq!(sections(&html), ALL, "{x}");
        let document = parse(&html);
        let mut cells = document.descendants().filter(|n| n.has_tag_name("td"));
        assert!(
            cells.any(|n| n.text() == Some(word)),
            "{x}: no cell says {word}"
        );
        for attribute in document.descendants().flat_map(|n| n.attributes()) {
            let value = attribute.value();
            let bad = value.contains("NaN") || value.split([' ', ',']).any(|part| part == "inf");
            assert!(!bad, "{x}: {attribute:?}");
        }
    }
    // Nothing can be drawn: the tables remain.
    let prediction = Prediction {
        label: "a".to_owned(),
        predicted: f64::NAN,
        measured: 0.0,
    };
    let page = Page {
        predictions: vec![prediction],
        ..Page::default()
    };
    let html = render(&page).unwrap();
    assert_eq!(sections(&html), ["predictions"]);
    assert!(!html.contains("<svg"));
}

#[test]
fn large_models_are_drawn_in_part_and_listed_whole() {
    let states = 129;
    let column = RouteColumn {
        site: "layers.0".to_owned(),
        states: (0..states)
            .map(|i| state(&format!("m{i}"), 1.0 / 129.0))
            .collect(),
    };
    let edges = (0..states).flat_map(|from| {
        (0..states).map(move |to| RouteStep {
            column: 0,
            from,
            to,
            probability: 1.0 / 129.0,
            share: 1e-4,
        })
    });
    let page = Page {
        routing: Some(RoutingGraph {
            columns: vec![column.clone(), column],
            edges: edges.collect(),
        }),
        ..Page::default()
    };
    let html = render(&page).unwrap();
    assert_eq!(html.matches("class=\"link\"").count(), network::EDGES);
    let hidden = states * states - network::EDGES;
    assert!(html.contains(&format!("The weakest {hidden} transitions are not drawn")));
    assert!(html.matches("<tr>").count() > states * states);
}

#[cfg(feature = "calibrate")]
#[test]
fn routes_fill_their_sections() {
    use crate::routing::{
        Causal, Edge, Flow, Measures, ModuleCost, Routes, SiteRoutes, Traffic, Transition, Unrouted,
    };
    let measures = Measures {
        tokens: 4,
        fired: Some(0.75),
        traffic: vec![Traffic::default(); 2],
        states: vec![2, 1, 1],
        ..Measures::default()
    };
    let site = |site: &str| SiteRoutes {
        site: site.to_owned(),
        top_k: 1,
        unrouted: Unrouted::General,
        unreached: vec![1],
        rare: vec![],
        domain_nmi: None,
        all: measures.clone(),
        domains: [("text".to_owned(), measures.clone())].into(),
    };
    let routes = Routes {
        texts: [("text".to_owned(), 4)].into(),
        modules: vec!["law".to_owned(), "stem".to_owned()],
        sites: vec![site("layers.0"), site("layers.1")],
        transitions: vec![Transition {
            from: "layers.0".to_owned(),
            to: "layers.1".to_owned(),
            all: Flow {
                nmi: Some(0.5),
                edges: vec![Edge {
                    from: 0,
                    to: 2,
                    tokens: 2,
                    probability: 1.0,
                }],
            },
            domains: [].into(),
        }],
    };
    let mut page = Page::default();
    page.set_routes(&routes);
    page.set_causal(&Causal {
        tokens: 4,
        outputs: 4,
        modules: vec![ModuleCost {
            site: "layers.0".to_owned(),
            module: 0,
            name: "law".to_owned(),
            tokens: 2,
            kl: 0.1,
            domains: [].into(),
            kl_free: None,
        }],
    });
    let graph = page.routing.as_ref().unwrap();
    assert_eq!(graph.columns[1].states[2], state("general", 0.25));
    assert_eq!((graph.edges[0].column, graph.edges[0].share), (0, 0.5));
    assert_eq!(
        page.traffic[0].rows,
        [("text".to_owned(), vec![0.5, 0.25, 0.25])]
    );
    assert_eq!(
        (page.sites[0].next_nmi, page.sites[1].next_nmi),
        (Some(0.5), None)
    );
    assert_eq!(page.sites[0].unreached, ["stem"]);
    assert_eq!(page.causal[0].share, 0.5);
    assert_eq!(
        sections(&render(&page).unwrap()),
        ["routing", "traffic", "sites", "causal"]
    );
}
