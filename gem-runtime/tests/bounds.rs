//! Hostile chat templates: work, memory and depth stay bounded, as the allocator sees them.
#![cfg(feature = "chat")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use gem_runtime::text::{ChatOptions, ChatTemplate, Message, TokenizerConfig};

/// What a template may have allocated at once: twice the 256 MiB that it may make, since what grows is copied when it
/// does, and room for the parsed template.
const MOST: usize = 640 << 20;

/// Counts what is allocated.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's pointer, which came from `alloc`, and its layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn render(template: &str) -> Result<String, String> {
    let messages = [Message::user("hi")];
    let rendered = ChatTemplate::new(template).render(
        &messages,
        &TokenizerConfig::default(),
        &ChatOptions::default(),
    );
    rendered.map_err(|error| error.to_string())
}

/// Renders, and sees that little memory was needed.
fn bounded(template: &str) -> Result<String, String> {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let rendered = render(template);
    let grown = PEAK.load(Ordering::Relaxed) - before;
    let shown: String = template.chars().take(200).collect();
    assert!(grown < MOST, "{shown}: {} MiB", grown >> 20);
    rendered
}

/// Every one of these takes a machine's memory, time or stack where only steps are counted.
#[test]
fn work_memory_and_depth_are_bounded() {
    let doubled = |what: &str| {
        format!(
            "{{% set ns = namespace(s='ab', l=[1]) %}}{{% for i in range(99) %}}{{% set {what} %}}{{% endfor %}}{{{{ ns.l | length }}}}"
        )
    };
    let nested = |open: &str, close: &str| {
        format!("{{{{ {}1{} }}}}", open.repeat(99_999), close.repeat(99_999))
    };
    let unrolled = format!("{{% set s = 'ab' %}}{}", "{% set s = s ~ s %}".repeat(60));
    let chained = format!("{{{{ 1{} }}}}", " + 1".repeat(99_999));
    let ors = format!("{{{{ 0{} }}}}", " or 0".repeat(99_999));
    let filters = format!("{{{{ 1{} }}}}", " | string".repeat(99_999));
    let ifs = format!(
        "{}{}",
        "{% if 1 %}".repeat(99_999),
        "{% endif %}".repeat(99_999)
    );
    let raw = format!(
        "{{% for a in range(9999) %}}{{% for b in range(9999) %}}{}{{% endfor %}}{{% endfor %}}",
        "x".repeat(1 << 20)
    );
    let captured = format!("{{% set t %}}{raw}{{% endset %}}");
    // A hundred thousand times, with a key of a megabyte.
    let keyed = |what: &str| {
        let names = "{% macro m() %}{{ kwargs }}{% endmacro %}{% set ns = namespace(l=[]) %}";
        let key = "{% set k = 'k' * 999999 %}{% set d = {k: 1, 'a': k} %}";
        format!("{names}{key}{{% for i in range(99999) %}}{what}{{% endfor %}}")
    };
    // With a thousand keys.
    let many = |what: &str| {
        let keys = "{% set ns = namespace(l=[]) %}{% for i in range(999) %}{% set ns.l = ns.l + [('k' ~ i, 1)] %}{% endfor %}";
        let all = "{% set d = dict(ns.l, z=1) %}";
        format!("{keys}{all}{{% for i in range(99999) %}}{what}{{% endfor %}}")
    };
    let bombs = [
        doubled("ns.s = ns.s ~ ns.s"),
        doubled("ns.s = ns.s + ns.s"),
        doubled("ns.s = ns.s.replace('a', ns.s)"),
        doubled("ns.s = ns.s | replace('a', ns.s)"),
        doubled("ns.s = ns.s.join([ns.s, ns.s])"),
        doubled("ns.s = [ns.s, ns.s] | join"),
        doubled("ns.s = ns.s * 9"),
        doubled("ns.s = '%s%s' % (ns.s, ns.s)"),
        doubled("ns.s = '{0}{0}'.format(ns.s)"),
        doubled("ns.s = [ns.s, ns.s] | string"),
        doubled("ns.s = [ns.s, ns.s] | tojson"),
        doubled("ns.l = ns.l + ns.l"),
        doubled("ns.l = ns.l * 9"),
        doubled("ns.l = [ns.l, ns.l]"),
        doubled("ns.l = [ns.l]"),
        doubled("ns.l = {'a': ns.l}"),
        unrolled,
        "{{ 'x' * 10**12 }}".into(),
        "{{ 'x' * 10**7 }}".into(),
        "{{ [1] * 10**12 }}".into(),
        "{{ '%1000000000000d' % 1 }}".into(),
        "{{ '%.1000000000f' % 1 }}".into(),
        "{{ '{:>1000000000000}'.format(1) }}".into(),
        "{{ 'x'.center(10**12) }}".into(),
        "{{ 'x'.zfill(10**12) }}".into(),
        "{{ 'x\t'.expandtabs(10**12) }}".into(),
        "{{ 'x\ny' | indent(10**12) }}".into(),
        "{{ [1] | tojson(indent=10**12) }}".into(),
        "{{ [1] | batch(10**12, 0) | list }}".into(),
        "{{ [1] | slice(10**12) | list }}".into(),
        "{{ range(10**12) }}".into(),
        "{% for a in range(99999) %}{% for b in range(99999) %}{{ b }}{% endfor %}{% endfor %}".into(),
        "{% for a in range(99999) %}{% for b in range(99999) %}{% set c = namespace(a=b) %}{% endfor %}{% endfor %}".into(),
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}".into(),
        "{% macro f(x) %}{{ f(x ~ x) }}{% endmacro %}{{ f('abc') }}".into(),
        "{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}".into(),
        "{% set s = 'a' * 99999 %}{% for i in range(99999) %}{% if s + 'b' in s %}{% endif %}{% endfor %}".into(),
        raw,
        captured,
        // What a method gives back is as large as what it takes, times what a piece is beside its text.
        "{% set l = ('a' * 9999999).split('a') %}{% set m = ('a' * 9999999).split('a') %}".into(),
        "{{ ('a ' * 99999999).split() }}".into(),
        "{{ ('a ' * 99999999).rsplit(' ') }}".into(),
        "{{ ('\n' * 199999999).splitlines() }}".into(),
        "{{ ('\n' * 199999999) | indent(1, true) }}".into(),
        "{{ ('a' * 199999999) | list }}".into(),
        "{{ ('a' * 199999999) | map('string') | list }}".into(),
        // Names as large as texts may be, and names looked for among many.
        keyed("{% set n = namespace(**d) %}"),
        keyed("{% set n = namespace(d) %}"),
        keyed("{% set n = dict(**d) %}"),
        keyed("{% set n = '%(a)s' % d %}"),
        keyed("{% set n = m(**d) %}"),
        many("{% set n = '%(z)s' * 99 % d %}"),
        many("{% set n = ('{z}' * 99).format(**d) %}"),
        many("{% set n = namespace(d) %}{% set n.z = n.z %}"),
        "{% set p = 'a' * 999999 %}{% set t = p ~ 'b' %}{% for i in range(99999) %}{% if p.startswith((t, t)) %}{% endif %}{% endfor %}".into(),
        nested("(", ")"),
        nested("[", "]"),
        nested("-", ""),
        nested("not ", ""),
        chained,
        ors,
        filters,
        ifs,
    ];
    for bomb in &bombs {
        let shown: String = bomb.chars().take(90).collect();
        let message = bounded(bomb).expect_err(&shown);
        let told = ["steps", "memory", "levels", "above", "deeper"];
        assert!(
            told.iter().any(|word| message.contains(word)),
            "{shown}: {message}"
        );
    }
    // What holds itself is printed, and let go.
    let own =
        "{% set ns = namespace() %}{% set ns.a = ns %}{% set ns.b = [ns] %}{{ ns }}{{ ns.b }}";
    assert!(render(own).is_ok());
    assert_eq!(render("{{ 'abc'.count('') }}").expect("it ends"), "4");
}
